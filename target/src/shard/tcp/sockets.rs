//! Which sockets have something for us, and which take something.
//!
//! Every socket is registered once with an edge-triggered epoll set. It is remembered as readable until a read finds nothing,
//! and as blocked from when it takes no more until it says that it does again.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::shard::Shard;
use crate::shard::messages::{CloseReason, ConnectionKey};
use crate::shard::pipes::PipePool;
use crate::shard::stream::{Arrival, Flow, Sent, Stream};

/// Events that are fetched at a time.
const EVENTS: usize = 64;

/// Reads from one socket before others get their turn.
const READS: usize = 4;

/// Rounds of queueing and sending on one socket before others get their turn.
const SENDS: usize = 8;

/// Pipes of a shard at most, of two descriptors and at most 1 MiB of cached pages each.
const PIPES: u64 = 64;

/// How long a peer may take nothing of what there is to send: as for one that acknowledges nothing on a queue pair.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a shard keeps for its byte streams.
#[derive(Debug)]
pub(in crate::shard) struct Sockets {
    /// Made when the first one comes.
    set: Option<OwnedFd>,
    /// Connections by slot and generation, and what happened to them.
    events: Vec<(u64, epoll::EventFlags)>,
    /// Connections that may have something to read, by slot.
    to_read: Vec<u16>,
    /// Connections that have something to send, by slot.
    to_send: Vec<u16>,
    sent: Vec<Sent>,
    pub(super) pipes: PipePool,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            set: None,
            events: Vec::new(),
            to_read: Vec::new(),
            to_send: Vec::new(),
            sent: Vec::new(),
            pipes: PipePool::new(pipes() as usize),
        }
    }
}

/// How many pipes a shard may have. Where descriptors are few, most are left for connections.
fn pipes() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(PIPES, |descriptors| (descriptors / 64).min(PIPES))
}

impl Sockets {
    /// Readable when a socket has something new to say; nothing as long as there was none.
    pub(in crate::shard) fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        self.set.as_ref().map(AsFd::as_fd)
    }

    fn watch(&mut self, key: ConnectionKey, stream: &Stream) -> std::io::Result<()> {
        let set = match &self.set {
            Some(set) => set,
            None => self.set.insert(epoll::create(epoll::CreateFlags::CLOEXEC)?),
        };
        let data = u64::from(key.generation) << 16 | u64::from(key.slot);
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        epoll::add(set, stream, epoll::EventData::new_u64(data), flags)?;
        Ok(())
    }

    /// Fetches what the sockets have to say, if there are any.
    fn poll(&mut self) {
        let Some(set) = &self.set else { return };
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut room = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS];
        // What does not fit comes the next time. Nothing but an interruption can go wrong.
        if let Ok((events, _)) = epoll::wait(set, &mut room, Some(&at_once)) {
            let events = events.iter().map(|event| (event.data.u64(), event.flags));
            self.events.extend(events);
        }
    }
}

impl Shard {
    /// A connection has come whose link is a byte stream.
    pub(in crate::shard) fn adopt_stream(&mut self, slot: usize) {
        let Some(Some(connection)) = self.connections.get(slot) else {
            return;
        };
        let Some(stream) = &connection.stream else {
            return;
        };
        // What has arrived already is announced as well.
        if let Err(error) = self.sockets.watch(connection.key, stream) {
            tracing::warn!(peer = %connection.session.peer, %error, "cannot wait for a socket");
            self.close(slot, CloseReason::TransportError);
        }
    }

    /// Takes what sockets have; says whether there was anything.
    pub(in crate::shard) fn poll_sockets(&mut self) -> bool {
        self.sockets.poll();
        let mut events = std::mem::take(&mut self.sockets.events);
        for (data, flags) in events.drain(..) {
            let slot = data as u16;
            let Some(Some(connection)) = self.connections.get_mut(usize::from(slot)) else {
                continue;
            };
            if u64::from(connection.key.generation) != data >> 16 {
                continue;
            }
            let Some(stream) = &mut connection.stream else {
                continue;
            };
            let over = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            if flags.intersects(over | epoll::EventFlags::IN | epoll::EventFlags::RDHUP) {
                stream.books.readable = true;
                self.want_read(slot);
            }
            if flags.intersects(over | epoll::EventFlags::OUT) {
                self.want_send(usize::from(slot));
            }
        }
        self.sockets.events = events;
        let ready = std::mem::take(&mut self.sockets.to_read);
        for &slot in &ready {
            if let Some(books) = self.books(slot) {
                books.to_read = false;
                self.read_socket(usize::from(slot));
            }
        }
        !ready.is_empty()
    }

    /// Sends for connections that have something to send; says whether that brought anything about.
    pub(in crate::shard) fn flush_sockets(&mut self) -> bool {
        let ready = std::mem::take(&mut self.sockets.to_send);
        let mut any = false;
        for &slot in &ready {
            if let Some(books) = self.books(slot) {
                books.to_send = false;
                any |= self.send_socket(usize::from(slot));
            }
        }
        any || !self.sockets.to_read.is_empty() || !self.sockets.to_send.is_empty()
    }

    /// Has a connection's output looked after at the end of the turn.
    pub(super) fn want_send(&mut self, slot: usize) {
        let slot = slot as u16;
        if let Some(books) = self.books(slot)
            && !std::mem::replace(&mut books.to_send, true)
        {
            self.sockets.to_send.push(slot);
        }
    }

    /// Has a connection read from, if there may be anything.
    pub(super) fn want_read(&mut self, slot: u16) {
        if let Some(books) = self.books(slot)
            && books.readable
            && !std::mem::replace(&mut books.to_read, true)
        {
            self.sockets.to_read.push(slot);
        }
    }

    fn books(&mut self, slot: u16) -> Option<&mut crate::shard::stream::Books> {
        let connection = self
            .connections
            .get_mut(usize::from(slot))?
            .as_deref_mut()?;
        Some(&mut connection.stream.as_mut()?.books)
    }

    fn read_socket(&mut self, slot: usize) {
        for _ in 0..READS {
            if !self.take_frames(slot) {
                return;
            }
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return;
            };
            let leaving = connection.leaving;
            let Some(stream) = &mut connection.stream else {
                return;
            };
            match stream.fill() {
                Ok(Arrival::Bytes(_) | Arrival::Full) => {}
                Ok(Arrival::Nothing) => {
                    stream.books.readable = false;
                    return;
                }
                Ok(Arrival::End) => {
                    let reason = leaving.map_or(CloseReason::PeerGone, |(reason, _)| reason);
                    return self.close(slot, reason);
                }
                Err(error) => {
                    tracing::debug!(slot, %error, "cannot read from a socket");
                    return self.close(slot, CloseReason::TransportError);
                }
            }
        }
        if self.take_frames(slot) {
            self.want_read(slot as u16);
        }
    }

    /// Takes all PDUs that have arrived whole. `false`: no more is to be read now.
    fn take_frames(&mut self, slot: usize) -> bool {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return false;
            };
            let open = connection.is_open();
            let leaving = connection.leaving.is_some() && connection.closing.is_none();
            let Some(stream) = &mut connection.stream else {
                return false;
            };
            if !open {
                stream.input.clear();
                return leaving;
            }
            if stream.is_overcommitted() {
                return false;
            }
            match stream.input.cut() {
                Ok(Some(frame)) => self.stream_message(slot, &frame),
                Ok(None) => return true,
                Err(error) => {
                    tracing::warn!(initiator = %connection.session.initiator, peer = %connection.session.peer, %error, "cannot read PDUs");
                    self.close(slot, CloseReason::Violation);
                    return false;
                }
            }
        }
    }

    fn send_socket(&mut self, slot: usize) -> bool {
        let mut any = false;
        for _ in 0..SENDS {
            let filled = self.fill_output(slot);
            let now = self.now;
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return any;
            };
            if connection.closing.is_some() {
                return any;
            }
            let Some(stream) = &mut connection.stream else {
                return any;
            };
            let before = stream.output.queued();
            let flow = match stream.flush() {
                Ok(flow) => flow,
                Err(error) => {
                    tracing::debug!(slot, %error, "cannot send");
                    self.close(slot, CloseReason::TransportError);
                    return true;
                }
            };
            match flow {
                Flow::Done => stream.books.blocked = None,
                Flow::Blocked if stream.output.queued() < before => {
                    stream.books.blocked = Some(now);
                }
                Flow::Blocked => _ = stream.books.blocked.get_or_insert(now),
            }
            let mut sent = std::mem::take(&mut self.sockets.sent);
            stream.output.take_sent(&mut sent);
            any |= !sent.is_empty();
            for mark in sent.drain(..) {
                self.output_sent(slot, mark);
            }
            self.sockets.sent = sent;
            if flow == Flow::Blocked || !filled {
                return any;
            }
        }
        self.want_send(slot);
        true
    }
}

impl Stream {
    /// Whether the peer takes nothing of what there is to send, or sends nothing of what it was asked for, for too long.
    pub(in crate::shard) fn is_stalled(&self, now: Instant) -> bool {
        let books = &self.books;
        let waits = books.progress.filter(|_| books.sequences > 0);
        let late = |since: Instant| now.saturating_duration_since(since) > STALL_TIMEOUT;
        books.blocked.is_some_and(late) || waits.is_some_and(late)
    }
}
