//! Which channels belong to the same I_T nexus: the same pair of initiator and target port.

use std::collections::BTreeMap;

use super::login::{MultichannelAction, MultichannelResult};
use super::names::PortId;

/// The channels of all nexuses. `C` names a channel in the caller's words.
#[derive(Clone, Debug)]
pub struct Nexuses<C> {
    channels: BTreeMap<NexusId, Vec<C>>,
}

/// An I_T nexus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NexusId {
    /// The initiator port.
    pub initiator: PortId,
    /// The target port.
    pub target: PortId,
}

/// What a login did to its nexus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined<C> {
    /// For the login response.
    pub result: MultichannelResult,
    /// Channels to disconnect now. They no longer belong to the nexus.
    pub displaced: Vec<C>,
}

impl<C> Default for Nexuses<C> {
    fn default() -> Self {
        Self {
            channels: BTreeMap::new(),
        }
    }
}

impl<C: Copy + Eq> Nexuses<C> {
    /// Adds a channel that logs in. Join last, when nothing else can refuse the login: the others may end by it.
    pub fn join(&mut self, nexus: NexusId, channel: C, action: MultichannelAction) -> Joined<C> {
        let channels = self.channels.entry(nexus).or_default();
        let result = match action {
            _ if channels.is_empty() => MultichannelResult::NoChannels,
            MultichannelAction::Terminate => MultichannelResult::Terminated,
            MultichannelAction::Maintain => MultichannelResult::Maintained,
        };
        let displaced = match action {
            MultichannelAction::Terminate => std::mem::take(channels),
            MultichannelAction::Maintain => Vec::new(),
        };
        channels.push(channel);
        Joined { result, displaced }
    }

    /// Removes a channel that is gone. Does nothing if it was displaced before.
    pub fn leave(&mut self, nexus: NexusId, channel: C) {
        if let Some(channels) = self.channels.get_mut(&nexus) {
            channels.retain(|&other| other != channel);
            if channels.is_empty() {
                self.channels.remove(&nexus);
            }
        }
    }

    /// The channels of a nexus, oldest first.
    pub fn channels(&self, nexus: NexusId) -> &[C] {
        self.channels.get(&nexus).map_or(&[], Vec::as_slice)
    }

    /// Every nexus with its channels.
    pub fn iter(&self) -> impl Iterator<Item = (NexusId, &[C])> {
        self.channels
            .iter()
            .map(|(&nexus, channels)| (nexus, channels.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MultichannelAction::{Maintain, Terminate};

    fn nexus(initiator: u8) -> NexusId {
        NexusId {
            initiator: PortId([initiator; 16]),
            target: PortId([9; 16]),
        }
    }

    #[test]
    fn several_channels_then_a_fresh_start() {
        let mut nexuses = Nexuses::default();
        let first = nexuses.join(nexus(1), 10, Terminate);
        assert_eq!(first.result, MultichannelResult::NoChannels);
        let second = nexuses.join(nexus(1), 11, Maintain);
        assert_eq!(second.result, MultichannelResult::Maintained);
        assert!(second.displaced.is_empty());
        assert!(nexuses.join(nexus(2), 20, Terminate).displaced.is_empty());
        assert_eq!(nexuses.channels(nexus(1)), [10, 11]);

        let third = nexuses.join(nexus(1), 12, Terminate);
        assert_eq!(third.result, MultichannelResult::Terminated);
        assert_eq!(third.displaced, [10, 11]);
        // The displaced ones report their end later.
        nexuses.leave(nexus(1), 10);
        nexuses.leave(nexus(1), 11);
        assert_eq!(nexuses.channels(nexus(1)), [12]);
        nexuses.leave(nexus(1), 12);
        assert!(nexuses.channels(nexus(1)).is_empty());
        assert_eq!(nexuses.iter().count(), 1);
        let after = nexuses.join(nexus(1), 13, Maintain);
        assert_eq!(after.result, MultichannelResult::NoChannels);
    }
}
