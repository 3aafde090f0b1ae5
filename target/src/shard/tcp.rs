//! The TCP datamover of iSCSI in a shard (RFC 7143): commands, R2T and Data-Out, Data-In and responses over a byte stream.

use super::Shard;
use super::task::TaskId;

impl Shard {
    /// Takes what sockets have, and gives them what they take; says whether there was anything.
    pub(super) fn poll_sockets(&mut self) -> bool {
        false
    }

    /// A READ that no window serves: its pages go from the page cache into the socket.
    pub(super) fn tcp_start_read(&mut self, _id: TaskId) {}

    /// Gets `bytes` of the initiator's data into the task's staged memory: what came unasked is in `unsolicited`, the rest
    /// by R2T. Ends in `fetched`.
    pub(super) fn tcp_fetch(&mut self, _id: TaskId, _bytes: u64) {}

    /// Sends what the task has for the initiator, and its response. Ends in `release`.
    pub(super) fn tcp_transmit(&mut self, _id: TaskId) {}

    /// Sends what belongs to no task.
    pub(super) fn tcp_control(&mut self, _slot: usize) {}

    /// A task is gone: nothing is to arrive for it any more.
    pub(super) fn tcp_forget(&mut self, _slot: usize, _id: TaskId) {}
}
