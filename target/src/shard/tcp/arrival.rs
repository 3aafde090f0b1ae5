//! PDUs become tasks.

use crate::iscsi::connection::Event;
use crate::iscsi::pdu::{RESERVED_TAG, ScsiCommand};
use crate::shard::Shard;
use crate::shard::protocol::Protocol;
use crate::shard::receive::{Next, decide};
use crate::shard::stream::{Frame, Stream};
use crate::shard::task::{Link, Phase, Task};

use super::Sequence;
use super::data_out::Part;

/// Unsolicited data that is kept for tasks that have no memory for it yet, before reading stops.
const HELD_MAX: usize = 1 << 20;

impl Stream {
    /// Whether reading has to stop until memory is there for what was read. Not while data of tasks that may have memory is
    /// still to come: others may be waiting for that memory.
    pub(super) fn is_overcommitted(&self) -> bool {
        self.books.held > HELD_MAX && self.books.sequences == 0
    }
}

impl Shard {
    /// A PDU has arrived.
    pub(super) fn stream_message(&mut self, slot: usize, frame: &Frame) {
        let draining = self.draining.is_some();
        let id = self.tasks.allocate();
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return self.tasks.release(id);
        };
        let connection = &mut **connection;
        let (Some(stream), Protocol::Iscsi(channel)) =
            (&mut connection.stream, &mut connection.protocol)
        else {
            return self.tasks.release(id);
        };
        let task = self.tasks.get(id);
        task.connection = slot as u16;
        task.link = Link::Tcp;
        let Some(pdu) = stream.input.pdu(frame) else {
            return self.tasks.release(id);
        };
        let first_burst = channel.connection.parameters().first_burst;
        let event = channel.event(pdu, self.clock);
        let mut announced = None;
        match &event {
            Event::DataOut(data) => {
                let part = Part::of(data);
                self.tasks.release(id);
                return self.data_arrived(slot, frame, &part);
            }
            Event::Command(command) => {
                announced = Some(note_data(command, first_burst, task));
            }
            Event::Refused(command, _) => {
                note_data(command, first_burst, task);
            }
            _ => {}
        }
        let received = channel.received(event, task);
        let (scsi, order) = (&mut connection.scsi, &connection.order);
        let next = decide(received, scsi, order, task, draining);
        if task.tcp.sequence.is_some() {
            stream.books.sequences += 1;
            stream.books.progress = Some(self.now);
        }
        if let (Next::Follow(_) | Next::Enter(_), Some(1..)) = (&next, announced) {
            stream.books.immediate = Some((id, frame.clone()));
        }
        self.proceed(slot, id, None, next);
        self.keep_immediate(slot);
    }

    /// The data that came with a command is about to go. If the command waits for memory, it is kept.
    fn keep_immediate(&mut self, slot: usize) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let Some(stream) = &mut connection.stream else {
            return;
        };
        let Some((id, frame)) = stream.books.immediate.take() else {
            return;
        };
        let task = self.tasks.get(id);
        if matches!(task.phase, Phase::Staging(_) | Phase::Ordered)
            && let Some(pdu) = stream.input.pdu(&frame)
        {
            task.unsolicited.extend_from_slice(pdu.data);
            stream.books.held += pdu.data.len();
        }
    }
}

/// Notes what data comes unasked with a command, or after it; returns how much came with it.
fn note_data(command: &ScsiCommand<'_>, first_burst: u32, task: &mut Task) -> u32 {
    let expected = command.expected_data_transfer_length;
    task.lun = command.lun;
    task.tcp.arrived = command.immediate.len() as u32;
    let follows = command.writes && command.unsolicited_follows;
    // Commands that are refused may say anything.
    if follows && expected > task.tcp.arrived {
        task.tcp.sequence = Some(Sequence {
            ttt: RESERVED_TAG,
            data_sn: 0,
            end: expected.min(first_burst).max(task.tcp.arrived),
        });
    }
    task.tcp.arrived
}
