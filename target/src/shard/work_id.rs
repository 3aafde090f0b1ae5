//! What our work request identifiers mean.
//!
//! ```text
//! 63    60 59          48 47           32 31                 0
//! | kind  | generation   | slot          | receive slot, task |
//! ```
//!
//! The generation tells a completion that was still on its way when its connection went from one of the connection that has
//! the slot now.

use pagecast_rdma::fabric::WorkId;

use super::messages::ConnectionKey;
use super::task::TaskId;

/// What kind of work completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message arrived in this receive slot.
    Receive(u32),
    /// A piece of a task's data-out, or of its descriptor table, was read from the initiator.
    Fetch(TaskId),
    /// A piece of data-in. Asked for silence on success, so this is an error.
    Data(TaskId),
    /// The last request of a chain that did not hold the whole of a task's data-in.
    Partial(TaskId),
    /// A task's response, and all before it.
    Response(TaskId),
    /// A message of ours that belongs to no task, from this send slot.
    Control(u32),
}

const RECEIVE: u64 = 1;
const FETCH: u64 = 2;
const DATA: u64 = 3;
const PARTIAL: u64 = 4;
const RESPONSE: u64 = 5;
const CONTROL: u64 = 6;

/// Generations wrap here.
pub const GENERATIONS: u16 = 1 << 12;

/// Encodes.
pub fn encode(key: ConnectionKey, kind: Kind) -> WorkId {
    let (code, index) = match kind {
        Kind::Receive(slot) => (RECEIVE, slot),
        Kind::Fetch(task) => (FETCH, task.0),
        Kind::Data(task) => (DATA, task.0),
        Kind::Partial(task) => (PARTIAL, task.0),
        Kind::Response(task) => (RESPONSE, task.0),
        Kind::Control(slot) => (CONTROL, slot),
    };
    WorkId(
        code << 60
            | u64::from(key.generation % GENERATIONS) << 48
            | u64::from(key.slot) << 32
            | u64::from(index),
    )
}

/// Decodes into slot, generation and kind; `None` for what we never posted.
pub fn decode(id: WorkId) -> Option<(usize, u16, Kind)> {
    let index = id.0 as u32;
    let kind = match id.0 >> 60 {
        RECEIVE => Kind::Receive(index),
        FETCH => Kind::Fetch(TaskId(index)),
        DATA => Kind::Data(TaskId(index)),
        PARTIAL => Kind::Partial(TaskId(index)),
        RESPONSE => Kind::Response(TaskId(index)),
        CONTROL => Kind::Control(index),
        _ => return None,
    };
    let generation = (id.0 >> 48) as u16 % GENERATIONS;
    Some(((id.0 >> 32) as usize & 0xffff, generation, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let key = ConnectionKey {
            shard: 3,
            slot: 0xfffe,
            generation: GENERATIONS - 1,
        };
        for kind in [
            Kind::Receive(u32::MAX),
            Kind::Fetch(TaskId(0)),
            Kind::Data(TaskId(7)),
            Kind::Partial(TaskId(1)),
            Kind::Response(TaskId(u32::MAX)),
            Kind::Control(3),
        ] {
            assert_eq!(
                decode(encode(key, kind)),
                Some((0xfffe, GENERATIONS - 1, kind))
            );
        }
        assert_eq!(decode(WorkId(0)), None);
    }
}
