//! Taking a connection down: flush, count down, destroy, tell the control thread.
//!
//! The end is known by counting: every posted receive and every signaled request completes exactly once, flushed or not. No
//! event says so on every adapter.

use std::time::{Duration, Instant};

use pagecast_rdma::fabric::{Completion, CompletionStatus};

use super::Shard;
use super::connection::{Connection, FLUSH_TIMEOUT_SECONDS};
use super::messages::{CloseReason, ControlMessage};
use super::protocol::{Protocol, Then};
use super::task::Phase;
use super::work_id::Kind;

/// How long a peer may take to establish what was accepted.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a peer may take to acknowledge anything of what we send. A live one takes microseconds; one that posts no receives
/// would keep buffers, windows and other initiators' task management waiting for ever.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a logout may take to leave.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a drain waits for commands in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Shard {
    /// Starts to close a connection. Nothing new is taken or sent; what waits is dropped, what is in flight finishes.
    pub(super) fn close(&mut self, slot: usize, reason: CloseReason) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        if connection.closing.is_some() {
            return;
        }
        tracing::info!(initiator = %connection.session.initiator, key = ?connection.key, ?reason, "closing connection");
        connection.closing = Some((reason, self.now));
        if let Some(queue_pair) = &mut connection.queue_pair
            && let Err(error) = queue_pair.fail()
        {
            tracing::debug!(%error, "cannot move a queue pair to the error state");
        }
        let (key, tasks) = (connection.key, connection.tasks.clone());
        self.control.send(ControlMessage::Disconnect { key });
        for id in tasks {
            self.abort(id);
        }
        self.tcp_close(slot);
        self.finish_close(slot);
    }

    pub(super) fn is_closing(&self, slot: usize) -> bool {
        !matches!(self.connections.get(slot), Some(Some(connection)) if connection.closing.is_none())
    }

    /// Destroys a closing connection once nothing of it is in flight.
    pub(super) fn finish_close(&mut self, slot: usize) {
        let Some(place) = self.connections.get_mut(slot) else {
            return;
        };
        let done = place
            .as_deref()
            .is_some_and(|connection| connection.closing.is_some() && connection.is_quiet());
        if !done {
            return;
        }
        if let Some(connection) = place.take() {
            let connection = *connection;
            // Before its buffers go to somebody else.
            drop(connection.queue_pair);
            let mut buffers = connection.buffers;
            buffers.receive.take_all_back();
            buffers.send.take_all_back();
            self.control.send(ControlMessage::Closed {
                key: connection.key,
                buffers,
            });
        }
    }

    /// A work request failed: the queue pair is lost, and with it the connection, and nothing else.
    pub(super) fn work_failed(&mut self, slot: usize, kind: Kind, completion: &Completion) {
        if self.is_closing(slot) {
            return;
        }
        if completion.status != CompletionStatus::FLUSHED {
            tracing::warn!(slot, ?kind, status = %completion.status, "work request failed");
        }
        self.close(slot, CloseReason::TransportError);
    }

    /// Tells the initiator that it is logged out, if its protocol has a word for that, and closes the connection once that has
    /// left. Nothing more is taken.
    pub(super) fn take_leave(&mut self, slot: usize, close: CloseReason) {
        self.pump_control(slot);
        let chain = &mut self.chain;
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        if !connection.is_open() {
            return;
        }
        if connection.stream.is_some() {
            return self.tcp_take_leave(slot, close);
        }
        let sent = connection.send_control(chain, |protocol, out| protocol.farewell(out));
        if matches!(sent, Ok(true)) {
            connection.leaving = Some((close, self.now));
        } else {
            // The disconnect says the same.
            self.close(slot, close);
        }
    }

    /// Sends what belongs to no task: credits for an initiator that would otherwise wait for them in vain, answers to logins and
    /// pings.
    #[inline]
    pub(super) fn pump_control(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.connections.get(slot)
            && connection.protocol.has_control()
        {
            if connection.stream.is_some() {
                self.tcp_control(slot);
            } else {
                self.send_controls(slot);
            }
        }
    }

    #[cold]
    fn send_controls(&mut self, slot: usize) {
        loop {
            let chain = &mut self.chain;
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return;
            };
            if !connection.is_open() || !connection.protocol.has_control() {
                return;
            }
            let mut then = Then::GoOn;
            let sent = connection.send_control(chain, |protocol, out| {
                let (length, after) = protocol.control(out);
                then = after;
                length
            });
            match sent {
                Ok(true) if then == Then::Close => {
                    connection.leaving = Some((CloseReason::Logout, self.now));
                    return;
                }
                Ok(true) => {}
                // It does not fit a send slot: nothing more can be said.
                Ok(false) if then == Then::Close => {
                    return self.close(slot, CloseReason::Violation);
                }
                Ok(false) => return,
                Err(_) => return self.close(slot, CloseReason::TransportError),
            }
        }
    }

    /// Timeouts of closing connections, and the progress of a drain.
    pub(super) fn sweep_connections(&mut self) {
        for slot in 0..self.connections.len() {
            let Some(connection) = self.connections[slot].as_deref_mut() else {
                continue;
            };
            let Some((_, since)) = connection.closing else {
                let mut late = overdue(connection, self.now);
                match &mut connection.protocol {
                    Protocol::Iscsi(channel) => {
                        if let Some(why) =
                            channel.tick(self.clock, connection.session.scsi.generation())
                        {
                            tracing::warn!(initiator = %connection.session.initiator, peer = %connection.session.peer, %why, "timeout");
                            late = late.or(Some(CloseReason::Stalled));
                        }
                    }
                    Protocol::Nvme(channel) => {
                        late = late.or(channel.tick(self.clock, &mut connection.scsi));
                    }
                    Protocol::Srp(_) => {}
                }
                match late {
                    Some(reason) => self.close(slot, reason),
                    None => {
                        connection.look_for_windows(&self.ports);
                        self.pump_control(slot);
                        self.tell_events(slot);
                    }
                }
                continue;
            };
            let late = Duration::from_secs(FLUSH_TIMEOUT_SECONDS);
            if connection.queue_pair.is_none() || self.now.saturating_duration_since(since) < late {
                continue;
            }
            tracing::warn!(key = ?connection.key, signaled = connection.signaled, receives = connection.receives,
                "a queue pair did not flush in time; destroying it");
            // Once it is destroyed, the adapter has forgotten all of its work.
            connection.queue_pair = None;
            connection.signaled = 0;
            connection.receives = 0;
            let tasks = connection.tasks.clone();
            for id in tasks {
                let task = self.tasks.get(id);
                let waits_for_adapter = matches!(
                    task.phase,
                    Phase::Fetching | Phase::Partial | Phase::Response
                );
                if waits_for_adapter {
                    task.fetching = 0;
                    self.retire(id);
                }
            }
            self.finish_close(slot);
        }
        self.drain();
    }

    fn drain(&mut self) {
        let Some(since) = self.draining else { return };
        let late = self.now.saturating_duration_since(since) >= DRAIN_TIMEOUT;
        for slot in 0..self.connections.len() {
            let Some(connection) = self.connections[slot].as_deref() else {
                continue;
            };
            if late || connection.is_idle() {
                self.take_leave(slot, CloseReason::Shutdown);
            }
        }
        let empty = self.connections.iter().all(Option::is_none);
        if empty && !self.drained {
            self.drained = true;
            let shard = usize::from(self.id);
            self.control.send(ControlMessage::Drained { shard });
        }
    }
}

/// Why an open connection has to be closed now, if it has to.
fn overdue(connection: &mut Connection, now: Instant) -> Option<CloseReason> {
    let since = |then: Instant| now.saturating_duration_since(then);
    if let Some((reason, then)) = connection.leaving {
        return (since(then) > LOGOUT_TIMEOUT).then_some(reason);
    }
    let age = connection.adopted.map_or(Duration::ZERO, since);
    if !connection.established && !connection.announced && age > HANDSHAKE_TIMEOUT {
        return Some(CloseReason::HandshakeFailed);
    }
    if connection
        .stream
        .as_ref()
        .is_some_and(|stream| stream.is_stalled(now))
    {
        return Some(CloseReason::Stalled);
    }
    if connection.signaled == 0 {
        connection.stalled = None;
        return None;
    }
    let stalled = since(*connection.stalled.get_or_insert(now));
    (stalled > STALL_TIMEOUT).then_some(CloseReason::Stalled)
}
