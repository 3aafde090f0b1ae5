//! Moving data: RDMA READs of what initiators send, and data-in with its response in one chain.

use pagecast_rdma::fabric::{Chain, Operation, PostError, RemoteBuffer, Sge, WorkId};

use super::Shard;
use super::connection::Connection;
use super::messages::CloseReason;
use super::task::{Cursor, Link, Phase, Task, TaskId, TaskTable};
use super::work_id::{self, Kind};

/// Bytes that one RDMA READ asks for at most. Small enough that other commands get their turn on the link.
const MAX_READ: u32 = 1 << 20;

impl Shard {
    /// Starts to read the initiator's memory (`task.remote`, or the table) into `task.local`.
    pub(super) fn fetch(&mut self, id: TaskId, bytes: u64) {
        let task = self.tasks.get(id);
        if task.link == Link::Tcp {
            return self.tcp_fetch(id, bytes);
        }
        task.cursor = Cursor {
            left: bytes,
            ..Cursor::default()
        };
        task.phase = Phase::Fetching;
        if !task.unsolicited.is_empty() {
            self.place_unsolicited(id, bytes);
            let task = self.tasks.get(id);
            if task.cursor.left == 0 {
                task.phase = Phase::Running;
                return self.fetched(id);
            }
        }
        let task = self.tasks.get(id);
        let slot = usize::from(task.connection);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.fetch_queue.push_back(id);
        }
        self.pump_fetches(slot);
    }

    /// Posts as many RDMA READs as the peer answers at once and the send queue holds. Never more: some adapters hang
    /// with more than the negotiated number in flight.
    pub(super) fn pump_fetches(&mut self, slot: usize) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        if connection.closing.is_some() {
            return;
        }
        let chain = &mut self.chain;
        let mut stuck = false;
        chain.clear();
        // One entry stays free for responses, which must not starve behind reads.
        while connection.reads_free > 0 && connection.room > chain.len() as u32 + 1 {
            let Some(&id) = connection.fetch_queue.front() else {
                break;
            };
            let task = self.tasks.get(id);
            let Some((remote, local)) = next_read(task) else {
                // Decoding made sure that the descriptors hold what the plan asks for.
                tracing::error!(key = ?connection.key, "a command's descriptors ran out");
                connection.fetch_queue.pop_front();
                stuck = true;
                continue;
            };
            let operation = Operation::RdmaRead {
                address: remote.address,
                key: remote.key,
            };
            let work = work_id::encode(connection.key, Kind::Fetch(id));
            chain.push(work, operation, true, [local]);
            task.fetching += 1;
            connection.reads_free -= 1;
            if task.cursor.left == 0 {
                connection.fetch_queue.pop_front();
            }
        }
        if stuck {
            for request in chain.requests() {
                if let Some((_, _, Kind::Fetch(id))) = work_id::decode(request.id) {
                    self.tasks.get(id).fetching -= 1;
                    connection.reads_free += 1;
                }
            }
            self.close(slot, CloseReason::TransportError);
            return;
        }
        if chain.is_empty() {
            return;
        }
        if let Err(error) = connection.post_fetches(chain) {
            let key = connection.key;
            tracing::warn!(?key, %error, "cannot post RDMA READs");
            // Nothing of the chain was taken, so nothing of it will complete.
            for request in chain.requests() {
                if let Some((_, _, Kind::Fetch(id))) = work_id::decode(request.id) {
                    self.tasks.get(id).fetching -= 1;
                    connection.reads_free += 1;
                }
            }
            self.close(slot, CloseReason::TransportError);
        }
    }

    pub(super) fn fetch_completed(&mut self, slot: usize, id: TaskId, ok: bool) {
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.completed(1);
            connection.reads_free += 1;
        }
        let lost = !ok || self.is_closing(slot);
        let task = self.tasks.get(id);
        task.fetching -= 1;
        if task.fetching == 0 {
            if task.aborted || lost {
                self.retire(id);
            } else if task.cursor.left == 0 {
                task.phase = Phase::Running;
                self.fetched(id);
            }
        }
        self.pump_fetches(slot);
        self.pump_room(slot);
    }

    /// Sends what the task has for the initiator, and its response; or queues it until there is room.
    pub(super) fn transmit(&mut self, id: TaskId) {
        let task = self.tasks.get(id);
        if task.link == Link::Tcp {
            return self.tcp_transmit(id);
        }
        let slot = usize::from(task.connection);
        task.phase = Phase::Room;
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        if connection.closing.is_some() {
            self.retire(id);
            return self.finish_close(slot);
        }
        // Whoever waits already goes first.
        if !connection.room_queue.is_empty() {
            connection.room_queue.push_back(id);
            return self.pump_room(slot);
        }
        match send_some(connection, &mut self.tasks, id, &mut self.chain) {
            Ok(true) => {}
            Ok(false) => connection.room_queue.push_back(id),
            Err(error) => self.post_failed(slot, &error),
        }
    }

    fn post_failed(&mut self, slot: usize, error: &PostError) {
        tracing::warn!(slot, %error, "cannot post a response");
        self.close(slot, CloseReason::TransportError);
    }

    /// Sends for those who wait for room, as long as there is some.
    pub(super) fn pump_room(&mut self, slot: usize) {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return;
            };
            if connection.closing.is_some() {
                return;
            }
            let Some(&id) = connection.room_queue.front() else {
                return;
            };
            match send_some(connection, &mut self.tasks, id, &mut self.chain) {
                Ok(false) => return,
                Ok(true) => {
                    connection.room_queue.pop_front();
                }
                Err(error) => return self.post_failed(slot, &error),
            }
        }
    }

    pub(super) fn partial_completed(&mut self, slot: usize, id: TaskId, ok: bool) {
        let task = self.tasks.get(id);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.completed(task.posted);
        }
        if !ok || task.aborted {
            self.retire(id);
        } else {
            // The rest goes before those who came later: the response must not be late for having much data.
            task.phase = Phase::Room;
            if let Some(Some(connection)) = self.connections.get_mut(slot) {
                connection.room_queue.push_front(id);
            }
            self.pump_room(slot);
        }
    }

    pub(super) fn response_completed(&mut self, slot: usize, id: TaskId) {
        let task = self.tasks.get(id);
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.completed(task.posted);
            connection.sent(task.send_slot);
        }
        self.release(id);
        self.pump_fetches(slot);
        self.pump_room(slot);
        self.pump_control(slot);
    }

    pub(super) fn control_completed(&mut self, slot: usize, send: u32) {
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.completed(1);
            connection.sent(send);
            connection.controls = connection.controls.saturating_sub(1);
            // The logout was the last of them.
            if let Some((reason, _)) = connection.leaving
                && connection.controls == 0
            {
                return self.close(slot, reason);
            }
        }
        self.pump_room(slot);
        self.pump_control(slot);
    }
}

/// Posts as much of the task's data as there is room for, and its response if that is all of it. `false`: no room for anything.
fn send_some(
    connection: &mut Connection,
    tasks: &mut TaskTable,
    id: TaskId,
    chain: &mut Chain,
) -> Result<bool, PostError> {
    let task = tasks.get(id);
    let room = connection.room as usize;
    if room == 0 || connection.free_sends.is_empty() {
        return Ok(false);
    }
    // A long list of descriptors is worth waiting for half a queue, not for a single entry.
    let data = work_id::encode(connection.key, Kind::Data(id));
    let before = task.cursor;
    chain.clear();
    while task.cursor.left > 0 && chain.len() + 1 < room {
        push_write(task, chain, data, connection.max_sge);
    }
    if task.cursor.left > 0 {
        if chain.len() < (connection.depth as usize / 2).saturating_sub(1) {
            task.cursor = before;
            return Ok(false);
        }
        chain.signal_last(work_id::encode(connection.key, Kind::Partial(id)));
        task.posted = chain.len() as u32;
        // Only then is there a completion to wait for.
        connection.post(chain)?;
        task.phase = Phase::Partial;
        return Ok(true);
    }
    // The receive is posted before the response that allows the initiator to use it.
    if let Some(receive) = task.receive_slot.take() {
        connection.post_receive(receive)?;
    }
    let Some(send) = connection.free_sends.pop() else {
        task.cursor = before;
        return Ok(false);
    };
    let (length, operation) = connection
        .protocol
        .respond(task, connection.buffers.send.bytes_mut(send as usize));
    let Some(sge) = connection.buffers.send.lend(send as usize, length) else {
        connection.free_sends.push(send);
        return Err(PostError::Invalid("the send slot is in use"));
    };
    let response = work_id::encode(connection.key, Kind::Response(id));
    chain.push(response, operation, true, [sge]);
    task.send_slot = send;
    task.posted = chain.len() as u32;
    task.phase = Phase::Response;
    if let Err(error) = connection.post(chain) {
        // The connection is lost; what was lent comes back so that the books stay true.
        connection.sent(send);
        task.phase = Phase::Room;
        return Err(error);
    }
    Ok(true)
}

/// Appends one RDMA WRITE: the rest of one remote piece, gathered from as many local pieces as one request may have.
fn push_write(task: &mut Task, chain: &mut Chain, id: WorkId, max_sge: usize) {
    let cursor = &mut task.cursor;
    let Some(remote) = task.remote.get(cursor.remote.0) else {
        // Fewer bytes offered than planned cannot be: the plan was cut to what was offered. Send no more.
        cursor.left = 0;
        return;
    };
    let at = cursor.remote.1;
    let mut room = u64::from(remote.length - at).min(cursor.left) as u32;
    let operation = Operation::RdmaWrite {
        address: remote.address.wrapping_add(u64::from(at)),
        key: remote.key,
    };
    let start = cursor.local;
    let (mut index, mut into) = start;
    let mut pieces = 0;
    let mut moved = 0;
    while room > 0 && pieces < max_sge {
        let Some(sge) = task.local.get(index) else {
            cursor.left = 0;
            break;
        };
        let piece = (sge.len() - into).min(room);
        room -= piece;
        moved += piece;
        into += piece;
        pieces += 1;
        if into == sge.len() {
            index += 1;
            into = 0;
        }
    }
    match task
        .local
        .get(start.0)
        .and_then(|sge| sge.split_at(start.1))
    {
        // Most often one window serves it.
        Some((_, rest)) if pieces == 1 => {
            let sge = rest.split_at(moved).map(|(piece, _)| piece);
            chain.push(id, operation, false, sge);
        }
        _ if moved > 0 => chain.push(id, operation, false, gathered(&task.local, start, moved)),
        _ => {}
    }
    cursor.local = (index, into);
    cursor.left = cursor.left.saturating_sub(u64::from(moved));
    cursor.remote.1 += moved;
    if cursor.remote.1 == remote.length {
        cursor.remote = (cursor.remote.0 + 1, 0);
    }
}

/// `bytes` bytes of `local`, from a position on.
fn gathered(local: &[Sge], from: (usize, u32), bytes: u32) -> impl Iterator<Item = Sge> {
    let mut left = bytes;
    let mut skip = from.1;
    local.iter().skip(from.0).map_while(move |sge| {
        if left == 0 {
            return None;
        }
        let (_, rest) = sge.split_at(skip)?;
        let (piece, _) = rest.split_at(rest.len().min(left))?;
        skip = 0;
        left -= piece.len();
        Some(piece)
    })
}

/// The next RDMA READ of a task, and steps over it.
fn next_read(task: &mut Task) -> Option<(RemoteBuffer, Sge)> {
    let cursor = &mut task.cursor;
    if cursor.left == 0 {
        return None;
    }
    let remote = match &task.table {
        Some(table) => std::slice::from_ref(table),
        None => &task.remote[..],
    };
    // Empty descriptors are legal, and name nothing.
    while remote.get(cursor.remote.0)?.length == cursor.remote.1 {
        cursor.remote = (cursor.remote.0 + 1, 0);
    }
    let from = remote.get(cursor.remote.0)?;
    let into = task.local.get(cursor.local.0)?;
    let (_, into) = into.split_at(cursor.local.1)?;
    let length = (from.length - cursor.remote.1)
        .min(into.len())
        .min(MAX_READ)
        .min(u32::try_from(cursor.left).unwrap_or(u32::MAX));
    let (piece, rest) = into.split_at(length)?;
    let read = RemoteBuffer {
        address: from.address.wrapping_add(u64::from(cursor.remote.1)),
        key: from.key,
        length,
    };
    cursor.remote.1 += length;
    cursor.local.1 += length;
    if rest.is_empty() {
        cursor.local = (cursor.local.0 + 1, 0);
    }
    cursor.left -= u64::from(length);
    Some((read, piece))
}
