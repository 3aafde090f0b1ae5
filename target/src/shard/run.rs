//! The thread's loop: poll while busy, sleep when idle.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pagecast_rdma::fabric::CompletionQueue;
use rustix::event::epoll;
use rustix::fd::OwnedFd;

use super::Shard;

/// How long a sleep may last: timeouts are swept this often.
const NAP: Duration = Duration::from_secs(1);

impl Shard {
    /// Serves until told to stop.
    pub fn run(mut self) -> std::io::Result<()> {
        let mut sleeper = Sleeper::new(&self)?;
        sleeper.watch_queues(&self)?;
        let mut last_work = Instant::now();
        while !self.stopped {
            let now = Instant::now();
            let busy = self.turn(now);
            if std::mem::take(&mut self.ports_changed) {
                sleeper.watch_queues(&self)?;
            }
            if busy {
                last_work = now;
                continue;
            }
            if now.saturating_duration_since(last_work) < self.poll_time {
                std::hint::spin_loop();
                continue;
            }
            sleeper.sleep(&mut self)?;
        }
        Ok(())
    }
}

/// Everything that can wake a shard.
struct Sleeper {
    epoll: OwnedFd,
    /// Whether the shard's sockets are watched.
    sockets: bool,
    /// The queue that is watched for each port.
    watched: [Option<Arc<dyn CompletionQueue>>; super::MAX_ADAPTERS],
    events: Vec<epoll::Event>,
}

const MAIL: u64 = u64::MAX;
const BACKEND: u64 = u64::MAX - 1;
const SOCKETS: u64 = u64::MAX - 2;

impl Sleeper {
    fn new(shard: &Shard) -> std::io::Result<Self> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        watch(&set, shard.inbox.event_fd(), MAIL)?;
        watch(&set, shard.io.event_fd(), BACKEND)?;
        Ok(Self {
            epoll: set,
            sockets: false,
            watched: Default::default(),
            events: Vec::with_capacity(16),
        })
    }

    /// Watches the queues of the ports that there are.
    fn watch_queues(&mut self, shard: &Shard) -> std::io::Result<()> {
        for (number, port) in shard.ports.iter().enumerate() {
            self.watch_queue(number, port.as_ref().map(|port| &port.completions))?;
        }
        Ok(())
    }

    /// Watches `queue`, or nothing, for a port.
    fn watch_queue(
        &mut self,
        number: usize,
        queue: Option<&Arc<dyn CompletionQueue>>,
    ) -> std::io::Result<()> {
        let watched = &mut self.watched[number];
        let same = match (queue, &watched) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (None, None) => true,
            _ => false,
        };
        if same {
            return Ok(());
        }
        if let Some(before) = watched.take() {
            epoll::delete(&self.epoll, before.event_fd())?;
        }
        if let Some(now) = queue {
            watch(&self.epoll, now.event_fd(), number as u64)?;
            *watched = Some(Arc::clone(now));
        }
        Ok(())
    }

    /// Arms every source, looks once more, and sleeps until one of them wakes it.
    fn sleep(&mut self, shard: &mut Shard) -> std::io::Result<()> {
        for port in shard.ports.iter().flatten() {
            if let Err(error) = port.completions.arm() {
                tracing::error!(shard = shard.id, %error, "cannot arm a completion queue");
            }
        }
        if !self.sockets
            && let Some(sockets) = shard.sockets.event_fd()
        {
            watch(&self.epoll, sockets, SOCKETS)?;
            self.sockets = true;
        }
        // What came before the queues were armed is not announced.
        if shard.turn(Instant::now()) || shard.stopped {
            return Ok(());
        }
        super::Gauges::count_sleep(&shard.gauges);
        self.events.clear();
        let timeout = rustix::event::Timespec {
            tv_sec: NAP.as_secs() as i64,
            tv_nsec: i64::from(NAP.subsec_nanos()),
        };
        // Without connections there are no timeouts.
        let timeout = (!shard.is_empty()).then_some(&timeout);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            timeout,
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            match event.data.u64() {
                MAIL => shard.inbox.acknowledge(),
                // They reset their own descriptors when they are polled.
                BACKEND | SOCKETS => {}
                number => {
                    if let Some(Some(port)) = shard.ports.get(number as usize)
                        && let Err(error) = port.completions.acknowledge()
                    {
                        tracing::error!(shard = shard.id, %error, "completion channel failed");
                    }
                }
            }
        }
        Ok(())
    }
}

fn watch(set: &OwnedFd, source: impl AsFd, name: u64) -> std::io::Result<()> {
    epoll::add(
        set,
        source,
        epoll::EventData::new_u64(name),
        epoll::EventFlags::IN,
    )?;
    Ok(())
}
