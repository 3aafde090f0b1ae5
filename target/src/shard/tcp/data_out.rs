//! Data from the initiator: unsolicited, or asked for by R2T (RFC 7143 sections 4.2.5.2, 11.7 and 11.8).

use crate::iscsi::pdu::{BHS_LENGTH, DataOut, R2T, RESERVED_TAG};
use crate::shard::Shard;
use crate::shard::messages::CloseReason;
use crate::shard::port::Port;
use crate::shard::protocol::Protocol;
use crate::shard::stream::Frame;
use crate::shard::task::{Link, Phase, Task, TaskId};
use crate::staging::CHUNK;

use super::Sequence;

/// R2Ts that an initiator may still be answering although their command is gone.
const STALE: u32 = 1 << 16;

/// A Data-Out PDU, without its data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    itt: u32,
    ttt: u32,
    data_sn: u32,
    offset: u32,
    is_final: bool,
}

impl Part {
    pub(super) fn of(data: &DataOut<'_>) -> Self {
        Self {
            itt: data.itt,
            ttt: data.ttt,
            data_sn: data.data_sn,
            offset: data.offset,
            is_final: data.is_final,
        }
    }
}

impl Shard {
    /// Gets `bytes` of the initiator's data into the task's staged memory: what came unasked is here, the rest comes by R2T.
    /// Ends in `fetched`.
    pub(in crate::shard) fn tcp_fetch(&mut self, id: TaskId, bytes: u64) {
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        task.phase = Phase::Fetching;
        // What the plan asks for was checked against what is offered, which fits.
        task.tcp.wanted = bytes as u32;
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let port = self.ports.get(connection.port).and_then(Option::as_deref);
        if let (Some(stream), Some(port)) = (&mut connection.stream, port) {
            let here = stream.books.immediate.take_if(|(task, _)| *task == id);
            if let Some(pdu) = here.and_then(|(_, frame)| stream.input.pdu(&frame)) {
                place(port, task, 0, pdu.data);
            }
        }
        let kept = std::mem::take(&mut task.unsolicited);
        if let (false, Some(port)) = (kept.is_empty(), port) {
            place(port, task, 0, &kept);
        }
        self.release_held(slot, kept.len());
        self.want_data(id);
    }

    /// A Data-Out PDU has arrived.
    pub(super) fn data_arrived(&mut self, slot: usize, frame: &Frame, part: &Part) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let Some(stream) = &mut connection.stream else {
            return;
        };
        let Some(length) = stream.input.pdu(frame).map(|pdu| pdu.data.len()) else {
            return;
        };
        let tag = u64::from(part.itt);
        let tasks = &mut self.tasks;
        let expecting = connection.tasks.iter().copied().find_map(|id| {
            let task = tasks.get(id);
            let sequence = task.tcp.sequence.filter(|_| task.tag == tag)?;
            (sequence.ttt == part.ttt).then_some((id, sequence))
        });
        let Some((id, sequence)) = expecting else {
            // The command was aborted or has failed, while its data was on the way already.
            let age = stream.books.next_ttt.wrapping_sub(part.ttt);
            if part.ttt == RESERVED_TAG || (1..=STALE).contains(&age) {
                return;
            }
            return self.bad_data(slot, "data of an R2T that was never sent");
        };
        let task = tasks.get(id);
        let arrived = task.tcp.arrived;
        if part.data_sn != sequence.data_sn {
            let (got, next) = (part.data_sn, sequence.data_sn);
            return self.bad_data(slot, &format!("DataSN {got} where {next} is the next"));
        }
        if part.offset != arrived {
            return self.bad_data(
                slot,
                "Data-Out PDU at another offset than the last one ended",
            );
        }
        let Some(end) = arrived
            .checked_add(length as u32)
            .filter(|&end| end <= sequence.end)
        else {
            return self.bad_data(slot, "more data than was agreed to");
        };
        if part.is_final && part.ttt != RESERVED_TAG && end != sequence.end {
            return self.bad_data(slot, "less data than an R2T asked for");
        }
        stream.books.progress = Some(self.now);
        task.tcp.arrived = end;
        task.tcp.sequence = (!part.is_final).then_some(Sequence {
            data_sn: sequence.data_sn.wrapping_add(1),
            ..sequence
        });
        if part.is_final {
            stream.books.sequences -= 1;
        }
        match task.phase {
            Phase::Fetching => {
                let port = self.ports.get(connection.port).and_then(Option::as_deref);
                if let (Some(pdu), Some(port)) = (stream.input.pdu(frame), port) {
                    place(port, task, arrived as usize, pdu.data);
                }
            }
            Phase::Staging(_) | Phase::Ordered => {
                if let Some(pdu) = stream.input.pdu(frame) {
                    task.unsolicited.extend_from_slice(pdu.data);
                    stream.books.held += length;
                }
            }
            // Nobody is interested in it any more.
            _ => {}
        }
        if part.is_final {
            self.sequence_over(id);
        }
    }

    fn sequence_over(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        if task.tcp.ended {
            task.tcp.ended = false;
            self.transmit(id);
        } else if task.phase == Phase::Fetching {
            self.want_data(id);
        }
    }

    /// Asks for the next data, unless some is on its way, or all is here.
    fn want_data(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        if task.tcp.sequence.is_some() {
            return;
        }
        if task.tcp.arrived >= task.tcp.wanted {
            task.phase = Phase::Running;
            task.cursor.left = 0;
            return self.fetched(id);
        }
        let slot = usize::from(task.connection);
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let (Some(stream), Protocol::Iscsi(channel)) =
            (&mut connection.stream, &mut connection.protocol)
        else {
            return;
        };
        let left = task.tcp.wanted - task.tcp.arrived;
        let length = left.min(channel.connection.parameters().max_burst);
        if stream.books.next_ttt == RESERVED_TAG {
            stream.books.next_ttt = 0;
        }
        let r2t = R2T {
            itt: task.tag as u32,
            lun: task.lun,
            ttt: stream.books.next_ttt,
            r2t_sn: task.tcp.r2ts,
            offset: task.tcp.arrived,
            length,
        };
        let mut header = [0; BHS_LENGTH];
        channel.connection.r2t(&mut header, &r2t);
        stream.books.next_ttt = r2t.ttt.wrapping_add(1);
        stream.books.sequences += 1;
        stream.books.progress = Some(self.now);
        task.tcp.r2ts += 1;
        task.tcp.sequence = Some(Sequence {
            ttt: r2t.ttt,
            data_sn: 0,
            end: r2t.offset + length,
        });
        if !stream.output.push(&header, None) {
            return self.close(slot, CloseReason::TransportError);
        }
        self.want_send(slot);
    }

    fn bad_data(&mut self, slot: usize, why: &str) {
        if let Some(Some(connection)) = self.connections.get(slot) {
            tracing::warn!(initiator = %connection.session.initiator, peer = %connection.session.peer, why, "protocol violation");
        }
        self.take_leave(slot, CloseReason::Violation);
    }

    /// Bytes that were kept have found their place, or are not needed any more.
    fn release_held(&mut self, slot: usize, bytes: usize) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        if let Some(stream) = &mut connection.stream {
            if bytes > 0 {
                stream.books.held -= bytes;
            }
            self.want_read(slot as u16);
        }
    }

    /// A task is gone: nothing is to arrive for it any more, and nothing of it is to be sent.
    pub(in crate::shard) fn tcp_forget(&mut self, slot: usize, id: TaskId) {
        let task = self.tasks.get(id);
        if task.link != Link::Tcp {
            return;
        }
        let (held, sequence) = (task.unsolicited.len(), task.tcp.sequence.take());
        let all_sent = task.tcp.sent == task.tcp.spliced;
        if let Some(pipe) = task.tcp.pipe.take() {
            if all_sent && task.phase == Phase::Response {
                self.sockets.pipes.give_back(pipe);
            } else {
                self.sockets.pipes.discard(pipe);
            }
        }
        // Large ones are rare, and there may be many tasks.
        task.unsolicited = Vec::new();
        if let Some(Some(connection)) = self.connections.get_mut(slot)
            && let Some(stream) = &mut connection.stream
        {
            stream.books.sequences -= usize::from(sequence.is_some());
            stream.books.immediate.take_if(|(task, _)| *task == id);
        }
        self.release_held(slot, held);
    }
}

/// Copies data into the task's staged memory, `at` bytes from its start, as far as it is wanted.
fn place(port: &Port, task: &Task, mut at: usize, data: &[u8]) {
    let wanted = (task.tcp.wanted as usize).saturating_sub(at);
    let mut rest = data.get(..wanted).unwrap_or(data);
    while !rest.is_empty() {
        let chunk = task.chunks.get(at / CHUNK);
        let Some(slice) = chunk.and_then(|&chunk| port.staging.slice(chunk, CHUNK)) else {
            return;
        };
        let (now, later) = rest.split_at(rest.len().min(CHUNK - at % CHUNK));
        // It lies inside, and staging memory is ours and writable.
        let _ = slice.write(at % CHUNK, now);
        at += now.len();
        rest = later;
    }
}
