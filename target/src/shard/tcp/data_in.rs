//! Data for the initiator, and responses (RFC 7143 sections 11.4 and 11.7).

use std::sync::Arc;
use std::time::Instant;

use pagecast_backends::Operation;
use pagecast_core::block::BlockFault;
use pagecast_memory::Slice;

use crate::iscsi::connection::Then;
use crate::iscsi::connection::tasks::MAX_RESPONSE;
use crate::iscsi::pdu::DataIn;
use crate::shard::Shard;
use crate::shard::connection::Connection;
use crate::shard::iscsi::Channel;
use crate::shard::messages::CloseReason;
use crate::shard::port::Port;
use crate::shard::protocol::Protocol;
use crate::shard::stream::{Output, Payload, Sent, Stream};
use crate::shard::task::{Cursor, Phase, Stage, Task, TaskId, Work};
use crate::staging::CHUNK;

/// Bytes that are queued before tasks have to wait for their turn.
const QUEUE: usize = 512 * 1024;

/// Bytes of a Data-In PDU at most: small enough that other commands get their turn.
const SEGMENT: usize = 256 * 1024;

/// The mark behind the last PDU of a connection. Tasks have 32 bits.
const LAST: Sent = u64::MAX;

impl Shard {
    /// A READ that no window serves: its pages go from the page cache into a pipe, and from there into the socket.
    pub(in crate::shard) fn tcp_start_read(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        let bytes = task.transferred as usize;
        let looked_at = match self.connections.get(slot) {
            Some(Some(connection)) => match &connection.protocol {
                Protocol::Iscsi(channel) => channel.connection.parameters().data_digest,
                Protocol::Srp(_) | Protocol::Nvme(_) => true,
            },
            _ => true,
        };
        let pipe = if looked_at {
            None
        } else {
            self.sockets.pipes.take()
        };
        match pipe {
            Some(pipe) => {
                self.tasks.get(id).tcp.pipe = Some(pipe);
                self.splice_next(id);
            }
            None => self.stage(id, bytes, Stage::DataIn),
        }
    }

    /// Has the empty pipe filled with what comes next of a READ.
    fn splice_next(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        let (Work::Read { offset, .. }, Some(pipe)) = (&task.work, &task.tcp.pipe) else {
            return;
        };
        let offset = offset + u64::from(task.tcp.spliced);
        let left = task.transferred - u64::from(task.tcp.spliced);
        let operation = Operation::Splice {
            offset,
            length: left.min(pipe.room(offset)),
            pipe: Arc::clone(&pipe.write),
        };
        self.submit(id, operation);
    }

    /// The backend has filled a pipe, or cannot fill any.
    pub(in crate::shard) fn spliced(&mut self, id: TaskId, length: u64, filled: bool) {
        let task = self.tasks.get(id);
        let first = task.tcp.spliced == 0;
        if !filled && !first {
            return self.end_block(id, Err(BlockFault::Unsupported));
        }
        if !filled {
            self.discard_pipe(id);
            let bytes = self.tasks.get(id).transferred as usize;
            return self.stage(id, bytes, Stage::DataIn);
        }
        // No READ is as long as that.
        task.tcp.spliced += length as u32;
        self.count(id, |counters| &counters.read_bytes_zero_copy, length);
        if !first {
            return self.queue_task(id, Phase::Partial);
        }
        let task = self.tasks.get(id);
        task.cursor = Cursor {
            left: task.transferred,
            ..Cursor::default()
        };
        self.end_block(id, Ok(()));
    }

    fn discard_pipe(&mut self, id: TaskId) {
        if let Some(pipe) = self.tasks.get(id).tcp.pipe.take() {
            self.sockets.pipes.discard(pipe);
        }
    }

    /// Sends what the task has for the initiator, and its response. Ends in `release`.
    pub(in crate::shard) fn tcp_transmit(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        // A response has to wait for data that was announced (section 11.4).
        if task.tcp.sequence.is_some() {
            task.tcp.ended = true;
            task.phase = Phase::Room;
            return;
        }
        // What was sent before an error cannot be taken back, and may still be on its way.
        let phase = if task.tcp.sent > 0 {
            Phase::Partial
        } else {
            Phase::Room
        };
        self.queue_task(id, phase);
    }

    fn queue_task(&mut self, id: TaskId, phase: Phase) {
        let task = self.tasks.get(id);
        task.phase = phase;
        let slot = usize::from(task.connection);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.room_queue.push_back(id);
        }
        self.want_send(slot);
    }

    /// Has what belongs to no task sent.
    pub(in crate::shard) fn tcp_control(&mut self, slot: usize) {
        self.want_send(slot);
    }

    /// Tells the initiator that its session ends, if it would understand that, and closes the connection after that.
    pub(in crate::shard) fn tcp_take_leave(&mut self, slot: usize, reason: CloseReason) {
        let now = self.now;
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let Protocol::Iscsi(channel) = &mut connection.protocol else {
            return;
        };
        if !channel.connection.is_full_feature() {
            return self.close(slot, reason);
        }
        channel.connection.drop_session();
        while send_control(connection, now) {}
        connection.leaving = Some((reason, now));
        self.want_send(slot);
    }

    /// Nothing is sent any more on a connection that is being closed, so that what waits for it is over.
    pub(in crate::shard) fn tcp_close(&mut self, slot: usize) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let Some(stream) = &mut connection.stream else {
            return;
        };
        stream.shut_down();
        stream.input.clear();
        stream.output.clear();
        for id in connection.tasks.clone() {
            if matches!(self.tasks.get(id).phase, Phase::Partial | Phase::Response) {
                // It still has what was not sent.
                self.discard_pipe(id);
                self.retire(id);
            }
        }
    }

    /// Queues PDUs, each task's in its turn, as long as not too much is queued. Says whether there was any.
    pub(super) fn fill_output(&mut self, slot: usize) -> bool {
        let mut any = false;
        loop {
            let now = self.now;
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return any;
            };
            let connection = &mut **connection;
            let queued = connection
                .stream
                .as_ref()
                .map_or(QUEUE, |s| s.output.queued());
            if !connection.is_open() || queued >= QUEUE {
                return any;
            }
            if connection.protocol.has_control() {
                if !send_control(connection, now) {
                    return any;
                }
                any = true;
                continue;
            }
            let Some(id) = connection.room_queue.pop_front() else {
                return any;
            };
            any = true;
            let (Some(stream), Protocol::Iscsi(channel)) =
                (&mut connection.stream, &mut connection.protocol)
            else {
                return any;
            };
            let port = self.ports.get(connection.port).and_then(Option::as_deref);
            let task = self.tasks.get(id);
            match next_pdu(stream, channel, port, id, task) {
                Turn::More => connection.room_queue.push_back(id),
                Turn::Waits => {}
                Turn::Over => self.release(id),
                Turn::Failed => {
                    tracing::error!(key = ?connection.key, "a PDU that cannot be sent");
                    self.close(slot, CloseReason::TransportError);
                    return any;
                }
            }
        }
    }

    /// Everything up to a mark is with the kernel.
    pub(super) fn output_sent(&mut self, slot: usize, mark: Sent) {
        if mark == LAST {
            // The peer reads to the end of it, and closes.
            if let Some(Some(connection)) = self.connections.get(slot)
                && let Some(stream) = &connection.stream
            {
                stream.finish();
            }
            return;
        }
        let id = TaskId(mark as u32);
        let task = self.tasks.get(id);
        match task.phase {
            Phase::Response => self.release(id),
            Phase::Partial if task.aborted => self.retire(id),
            Phase::Partial => self.splice_next(id),
            _ => {}
        }
    }
}

/// What a task's turn came to.
enum Turn {
    /// It has more to send.
    More,
    /// It goes on when its mark is reached.
    Waits,
    /// It is over.
    Over,
    /// Its numbers do not fit together.
    Failed,
}

/// Queues one PDU of a task, and its response behind its last.
fn next_pdu(
    stream: &mut Stream,
    channel: &mut Channel,
    port: Option<&Port>,
    id: TaskId,
    task: &mut Task,
) -> Turn {
    let mark = Sent::from(id.0);
    if task.aborted {
        // Part of its data may be on the way out of its memory.
        stream.output.mark(mark);
        return Turn::Waits;
    }
    let total = task.cursor.left as u32;
    let mut ended = false;
    if task.tcp.sent < total {
        match data_in(&mut stream.output, channel, port, task, total) {
            Some(end) => ended = end,
            None => return Turn::Failed,
        }
        if task.tcp.sent < total {
            task.phase = Phase::Partial;
            if task.tcp.pipe.is_some() && task.tcp.sent == task.tcp.spliced {
                stream.output.mark(mark);
                return Turn::Waits;
            }
            return Turn::More;
        }
    }
    if !ended {
        let mut pdu = [0; MAX_RESPONSE];
        let numbers = task.tcp.data_in.wrapping_add(task.tcp.r2ts);
        let length = channel.response(task, &mut pdu, numbers);
        if !stream.output.push_bytes(&pdu[..length]) {
            return Turn::Failed;
        }
    }
    task.phase = Phase::Response;
    if task.tcp.sent == 0 {
        return Turn::Over;
    }
    stream.output.mark(mark);
    Turn::Waits
}

/// Queues the next Data-In PDU; whether the command ended with it, or `None` if its memory is not there.
fn data_in(
    output: &mut Output,
    channel: &mut Channel,
    port: Option<&Port>,
    task: &mut Task,
    total: u32,
) -> Option<bool> {
    // Whole words, but for the end (section 11.7.7).
    let limit = channel.connection.send_limit().min(SEGMENT) as u32 & !3;
    let burst = channel.connection.parameters().max_burst & !3;
    let sent = task.tcp.sent;
    let here = match task.tcp.pipe {
        Some(_) => task.tcp.spliced - sent,
        None => total - sent,
    };
    let length = here.min(limit).min(burst - sent % burst);
    let end = sent + length;
    let payload = match &task.tcp.pipe {
        Some(pipe) => Payload::Pipe(Arc::clone(&pipe.read), length as usize),
        None => Payload::Memory(staged(port?, task, sent as usize, length as usize)?),
    };
    let status = if end == total {
        channel.good_end(task)
    } else {
        None
    };
    let header = channel.data_in(&DataIn {
        itt: task.tag as u32,
        data_sn: task.tcp.data_in,
        offset: sent,
        length,
        is_final: end == total || end.is_multiple_of(burst),
        end: status,
    });
    if !output.push(&header, Some(payload)) {
        return None;
    }
    task.tcp.sent = end;
    task.tcp.data_in += 1;
    Some(status.is_some())
}

/// A part of the task's staged memory.
fn staged(port: &Port, task: &Task, from: usize, length: usize) -> Option<Vec<Slice>> {
    let mut slices = Vec::with_capacity(length / CHUNK + 2);
    let (mut at, end) = (from, from + length);
    while at < end {
        let next = end.min((at / CHUNK + 1) * CHUNK);
        let chunk = port.staging.slice(*task.chunks.get(at / CHUNK)?, CHUNK)?;
        let into = at % CHUNK;
        slices.push(chunk.part(into..into + (next - at)).ok()?);
        at = next;
    }
    Some(slices)
}

/// Queues the next PDU that belongs to no task. `false` if there is none.
fn send_control(connection: &mut Connection, now: Instant) -> bool {
    let (Some(stream), Protocol::Iscsi(channel)) =
        (&mut connection.stream, &mut connection.protocol)
    else {
        return false;
    };
    let Some(length) = channel.connection.control_length() else {
        return false;
    };
    let mut pdu = vec![0; length];
    let Some((length, then)) = channel.connection.emit_control(&mut pdu) else {
        return false;
    };
    let queued = pdu
        .get(..length)
        .is_some_and(|pdu| stream.output.push_bytes(pdu));
    match then {
        Then::GoOn => {}
        // From the next PDU on, in both directions (section 13.1).
        Then::FullFeature => {
            let parameters = channel.connection.parameters();
            stream.set_digests(parameters.header_digest, parameters.data_digest);
            stream.input.set_limit(channel.connection.receive_limit());
        }
        Then::Close => {
            stream.output.mark(LAST);
            connection.leaving.get_or_insert((CloseReason::Logout, now));
        }
    }
    queued
}
