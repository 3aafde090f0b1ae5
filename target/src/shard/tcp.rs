//! The TCP datamover of iSCSI in a shard (RFC 7143): commands, R2T and Data-Out, Data-In and responses over a byte stream.
//!
//! - `sockets`: which connections have something to read, and which can be sent to.
//! - `arrival`: PDUs become tasks, and what goes with them.
//! - `data_out`: unsolicited data, R2Ts, and Data-Out PDUs into staged memory.
//! - `data_in`: a READ's pages into a pipe, Data-In PDUs, and responses.
//!
//! Nothing is sent before the end of a turn, so that what a turn brings about for a connection leaves together.

mod arrival;
mod data_in;
mod data_out;
mod sockets;

use super::pipes::Pipe;
pub(super) use sockets::Sockets;

/// How far a task is on a byte stream.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of its data that have arrived: the first ones.
    pub arrived: u32,
    /// Bytes of its data that are wanted.
    pub wanted: u32,
    /// The Data-Out PDUs that are arriving, or were asked for.
    pub sequence: Option<Sequence>,
    /// R2Ts that were sent.
    pub r2ts: u32,
    /// It has ended, and its response waits for the end of the sequence.
    pub ended: bool,
    /// Where a READ's data is, if it is not staged.
    pub pipe: Option<Pipe>,
    /// Bytes of a READ that went into the pipe so far.
    pub spliced: u32,
    /// Bytes for the initiator that are in Data-In PDUs.
    pub sent: u32,
    /// Data-In PDUs.
    pub data_in: u32,
}

/// A sequence of Data-Out PDUs (RFC 7143 section 11.7).
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    /// The R2T that it answers, or the reserved tag if nobody asked.
    ttt: u32,
    /// DataSN of the next PDU.
    data_sn: u32,
    /// Where it ends at the latest, in the command's data.
    end: u32,
}
