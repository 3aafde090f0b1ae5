//! Faults on demand.

use std::sync::atomic::Ordering;

use super::cm::Event;
use super::net::Net;
use crate::fabric::{AdapterEvent, ListenAddress};

/// Makes things go wrong. Made by [`SimNet::faults`](super::SimNet::faults); queue pairs are named by their number, which is
/// unique in the whole net, and nodes by their name. Names that do not exist make it return false and do nothing.
#[derive(Debug)]
pub struct Faults<'a>(pub(super) &'a Net);

/// The messages of the connection manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmMessage {
    /// REQ
    Request,
    /// REP
    Reply,
    /// RTU
    ReadyToUse,
    /// REJ
    Reject,
    /// DREQ
    DisconnectRequest,
    /// DREP
    DisconnectReply,
}

impl Faults<'_> {
    /// The `nth` call of `post_send` on this node from now on (1 = the next) fails with EIO.
    pub fn fail_send_post(&self, node: &str, nth: u64) -> bool {
        self.with_node(node, |state, node| {
            let faults = &state.nodes[node].post_faults;
            faults.send.store(nth, Ordering::Relaxed);
        })
    }

    /// The same of `post_receive`.
    pub fn fail_receive_post(&self, node: &str, nth: u64) -> bool {
        self.with_node(node, |state, node| {
            let faults = &state.nodes[node].post_faults;
            faults.receive.store(nth, Ordering::Relaxed);
        })
    }

    /// The `nth` registration on this node from now on (1 = the next) fails with ENOMEM.
    pub fn fail_registration(&self, node: &str, nth: u64) -> bool {
        self.with_node(node, |state, node| {
            state.nodes[node].failing_registration = nth;
        })
    }

    /// The queue pair breaks now: it flushes, its adapter reports it, and its peer finds it dead.
    pub fn break_queue_pair(&self, number: u32) -> bool {
        self.with_link(number, |state| {
            let node = state.links[&number].node;
            state.announce(node, AdapterEvent::QueuePairError(number));
            state.queue_pair_to_error(number);
        })
    }

    /// Nothing that the queue pair posted is carried out until it is resumed.
    pub fn pause(&self, number: u32) -> bool {
        self.set_paused(number, true)
    }

    /// Ends [`pause`](Self::pause).
    pub fn resume(&self, number: u32) -> bool {
        self.set_paused(number, false)
    }

    /// Nothing that the queue pair posted is carried out for this many steps, or until nothing else can happen.
    pub fn delay(&self, number: u32, steps: u64) -> bool {
        self.with_link(number, |state| {
            let until = state.steps.saturating_add(steps);
            if let Some(link) = state.links.get_mut(&number) {
                link.delayed_until = until;
            }
        })
    }

    /// The next `times` SENDs to the queue pair find no receive, whatever is posted.
    pub fn dry_receives(&self, number: u32, times: u64) -> bool {
        self.with_link(number, |state| {
            if let Some(link) = state.links.get_mut(&number) {
                link.dry = times;
            }
        })
    }

    /// The next `count` messages of this kind are lost, retries and all.
    pub fn lose(&self, message: CmMessage, count: u64) {
        self.0.lock().cm.losses.push((message, count));
    }

    /// The node's adapter goes away: everybody is told, and nothing works on it any more.
    pub fn remove_adapter(&self, node: &str) -> bool {
        self.remove(node, true)
    }

    /// The same, and nobody is told, as with drivers that wait for their users: what there is on it works on until its users look for it.
    pub fn remove_adapter_in_silence(&self, node: &str) -> bool {
        self.remove(node, false)
    }

    fn remove(&self, node: &str, told: bool) -> bool {
        self.with_node(node, |state, node| {
            state.nodes[node].removed = true;
            if !told {
                return;
            }
            state.announce(node, AdapterEvent::Fatal);
            let on_it = state.links.iter().filter(|(_, link)| link.node == node);
            let on_it: Vec<_> = on_it.map(|(&number, _)| number).collect();
            for number in on_it {
                state.queue_pair_to_error(number);
            }
            let cm = &state.cm;
            // A listener on a wildcard is bound to no adapter.
            let bound = |at| matches!(at, ListenAddress::Ip(at) if !at.ip().is_unspecified());
            let listeners = cm.listeners.iter();
            let listeners = listeners.filter(|(_, l)| l.node == node && bound(l.at));
            let listeners = listeners.map(|(&id, l)| (l.manager, Event::ListenerRemoved(id)));
            let connections = cm.connections.iter().filter(|(_, c)| c.node == node);
            let connections = connections.map(|(&id, c)| (c.manager, Event::AdapterRemoved(id)));
            let told: Vec<_> = listeners.chain(connections).collect();
            for (manager, event) in told {
                state.cm.report(manager, event);
            }
        })
    }

    fn set_paused(&self, number: u32, paused: bool) -> bool {
        self.with_link(number, |state| {
            if let Some(link) = state.links.get_mut(&number) {
                link.paused = paused;
            }
        })
    }

    fn with_node(&self, name: &str, change: impl FnOnce(&mut super::net::State, usize)) -> bool {
        let mut state = self.0.lock();
        let Some(node) = state.nodes.iter().position(|node| node.name == name) else {
            return false;
        };
        change(&mut state, node);
        drop(state);
        self.0.kick();
        true
    }

    fn with_link(&self, number: u32, change: impl FnOnce(&mut super::net::State)) -> bool {
        let mut state = self.0.lock();
        if !state.links.contains_key(&number) {
            return false;
        }
        change(&mut state);
        drop(state);
        self.0.kick();
        true
    }
}
