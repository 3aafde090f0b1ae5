//! One side: its connection manager, its completion queue, its buffers.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pagecast_memory::Anonymous;
use pagecast_rdma::fabric::{
    Access, Adapter, CmEvent, Completion, CompletionQueue, CompletionStatus, ConnectParams,
    ConnectRequest, ConnectionId, ConnectionManager, Fabric, QueuePair, QueuePairConfig, Sge,
    WorkId,
};
use pagecast_rdma::region::Region;

use crate::Outcome;

/// Long enough for an emulated machine to retry until it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const CONFIG: QueuePairConfig = QueuePairConfig {
    send_requests: 16,
    receive_requests: 16,
    send_sge: 4,
};

/// One side of the wire.
pub(crate) struct Peer {
    pub(crate) manager: Box<dyn ConnectionManager>,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) completions: Arc<dyn CompletionQueue>,
}

/// A connection and what it has on this side.
pub(crate) struct End {
    pub(crate) connection: ConnectionId,
    pub(crate) pair: Box<dyn QueuePair>,
    /// To receive into, and to send from.
    pub(crate) buffer: Region,
}

impl Peer {
    pub(crate) fn new(fabric: &dyn Fabric) -> Outcome<Self> {
        let adapter = fabric.adapters()?.into_iter().next().ok_or("no adapter")?;
        Ok(Self {
            manager: fabric.connection_manager()?,
            completions: adapter.completion_queue(256)?,
            adapter,
        })
    }

    /// Memory with every right.
    pub(crate) fn shared(&self, len: usize) -> Outcome<Region> {
        let access = Access {
            local_write: true,
            remote_read: true,
            remote_write: true,
            on_demand: false,
        };
        Ok(self
            .adapter
            .register(Arc::new(Anonymous::new(len)?), 0..len, access)?)
    }

    /// A queue pair, and a buffer for it.
    pub(crate) fn end(&mut self, connection: ConnectionId) -> Outcome<End> {
        let pair = self
            .manager
            .create_queue_pair(connection, CONFIG, &self.completions)?;
        Ok(End {
            connection,
            pair,
            buffer: self.shared(1 << 16)?,
        })
    }

    /// The next event, asleep until it comes.
    pub(crate) fn event(&mut self) -> Outcome<CmEvent> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.manager.next_event()? {
                return Ok(event);
            }
            sleep(self.manager.event_fd(), deadline)?;
        }
    }

    /// That nothing happens for a while.
    pub(crate) fn no_event(&mut self, within: Duration) -> Outcome {
        let deadline = Instant::now() + within;
        while sleep(self.manager.event_fd(), deadline).is_ok() {
            if let Some(event) = self.manager.next_event()? {
                return Err(format!("unexpected {event:?}").into());
            }
        }
        Ok(())
    }

    pub(crate) fn resolve(&mut self, to: SocketAddr) -> Outcome<ConnectionId> {
        let connection = self.manager.resolve(to)?;
        match self.event()? {
            CmEvent::Resolved {
                connection: of,
                adapter,
            } if of == connection => {
                if !Arc::ptr_eq(&adapter, &self.adapter) {
                    return Err("resolved to another Arc of the adapter".into());
                }
                Ok(connection)
            }
            other => Err(format!("not resolved: {other:?}").into()),
        }
    }

    pub(crate) fn request(&mut self) -> Outcome<ConnectRequest> {
        match self.event()? {
            CmEvent::ConnectRequest(request) => Ok(request),
            other => Err(format!("no connect request: {other:?}").into()),
        }
    }

    /// The private data of the reply.
    pub(crate) fn established(&mut self, connection: ConnectionId) -> Outcome<Vec<u8>> {
        match self.event()? {
            CmEvent::Established {
                connection: of,
                private_data,
            } if of == connection => Ok(private_data),
            other => Err(format!("not established: {other:?}").into()),
        }
    }

    pub(crate) fn disconnected(&mut self, connection: ConnectionId) -> Outcome {
        match self.event()? {
            CmEvent::Disconnected { connection: of } if of == connection => Ok(()),
            other => Err(format!("not disconnected: {other:?}").into()),
        }
    }

    /// The next `count` completions and no more.
    pub(crate) fn completions(&self, count: usize) -> Outcome<Vec<Completion>> {
        let all = self.at_least(count)?;
        if all.len() > count {
            return Err(format!("{count} completions expected: {all:?}").into());
        }
        Ok(all)
    }

    /// The next `count` completions, asleep until they come, and what comes with them.
    pub(crate) fn at_least(&self, count: usize) -> Outcome<Vec<Completion>> {
        let deadline = Instant::now() + PATIENCE;
        let mut all = Vec::new();
        let mut batch = [Completion::default(); 64];
        loop {
            // Polled again after it was armed: what came before is not announced.
            for arm in [false, true] {
                if arm {
                    self.completions.arm()?;
                }
                let found = self.completions.poll(&mut batch)?;
                all.extend_from_slice(&batch[..found]);
                if all.len() >= count {
                    return Ok(all);
                }
            }
            sleep(self.completions.event_fd(), deadline).map_err(|error| {
                format!("{error}; {count} completions expected, so far {all:?}")
            })?;
            self.completions.acknowledge()?;
        }
    }

    /// The next `count` completions as identifiers, all of which must have ended with `status`.
    pub(crate) fn ended(&self, count: usize, status: CompletionStatus) -> Outcome<Vec<u64>> {
        let all = self.completions(count)?;
        match all.iter().find(|done| done.status != status) {
            Some(other) => Err(format!("not {status}: {other:?}").into()),
            None => Ok(all.iter().map(|done| done.id.0).collect()),
        }
    }

    /// That nothing completes for a while.
    pub(crate) fn no_completion(&self, within: Duration) -> Outcome {
        let deadline = Instant::now() + within;
        let mut one = [Completion::default()];
        loop {
            self.completions.arm()?;
            if self.completions.poll(&mut one)? != 0 {
                return Err(format!("unexpected {one:?}").into());
            }
            if sleep(self.completions.event_fd(), deadline).is_err() {
                return Ok(());
            }
            self.completions.acknowledge()?;
        }
    }
}

impl End {
    pub(crate) fn sge(&self, offset: usize, len: usize) -> Outcome<Sge> {
        Ok(self.buffer.sge(offset, len).ok_or("outside the buffer")?)
    }

    /// Receives into the 64 bytes at `id * 64`.
    pub(crate) fn receive(&mut self, id: u64) -> Outcome {
        let into = self.sge(id as usize * 64, 64)?;
        Ok(self.pair.post_receive(WorkId(id), into)?)
    }
}

/// What either side offers in the handshakes below: different everywhere, so that a mix-up shows.
pub(crate) fn params(private_data: &[u8], responder: u8, initiator: u8) -> ConnectParams<'_> {
    ConnectParams {
        private_data,
        responder_resources: responder,
        initiator_depth: initiator,
        ..ConnectParams::default()
    }
}

/// Connects `active` to the listener of `passive` at `to`, each with `receives` receives posted.
pub(crate) fn connect(
    active: &mut Peer,
    passive: &mut Peer,
    to: SocketAddr,
    receives: u64,
) -> Outcome<(End, End)> {
    let connection = active.resolve(to)?;
    let mut near = active.end(connection)?;
    active
        .manager
        .connect(connection, &params(b"let me in", 3, 5))?;
    let request = passive.request()?;
    let mut far = passive.end(request.connection)?;
    for id in 0..receives {
        near.receive(id)?;
        far.receive(id)?;
    }
    passive
        .manager
        .accept(request.connection, &params(b"welcome", 16, 16))?;
    active.established(near.connection)?;
    passive.established(far.connection)?;
    Ok((near, far))
}

/// Sleeps until `fd` is readable. An error past the deadline.
fn sleep(fd: BorrowedFd<'_>, deadline: Instant) -> Outcome {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one whole entry.
    let ready = unsafe { libc::poll(&mut poll, 1, left.as_millis() as i32) };
    match ready {
        1 => Ok(()),
        _ => Err("nothing happened in time".into()),
    }
}
