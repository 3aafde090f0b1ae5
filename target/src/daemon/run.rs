//! Threads for a built daemon, and the control thread's loop.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::fd::{AsRawFd, OwnedFd};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Control, Daemon, StartError, buffers};
use crate::shard::messages::ControlMessage;

/// How often the control thread looks for adapters that were plugged in.
const SCAN: Duration = Duration::from_secs(5);

/// How long everything may take to end after a signal.
const SHUTDOWN: Duration = Duration::from_secs(20);

const SIGNALS: u64 = u64::MAX;
const MAIL: u64 = u64::MAX - 1;
const MANAGER: u64 = u64::MAX - 2;

impl Daemon {
    /// Gives every part its thread, calls `ready`, and serves until SIGTERM or SIGINT.
    pub fn run(mut self, ready: impl FnOnce(), stopping: impl Fn()) -> Result<(), StartError> {
        let signals = signal_pipe().map_err(|source| StartError::System {
            what: "cannot handle signals",
            source,
        })?;
        let orders = buffers::keeper(self.control_address.clone()).map_err(thread_error)?;
        self.control.order_from(orders);
        let mut threads = Vec::new();
        for (number, shard) in self.shards.into_iter().enumerate() {
            let control = self.control_address.clone();
            let thread = thread::Builder::new()
                .name(format!("shard-{number}"))
                .spawn(move || {
                    if let Err(error) = shard.run() {
                        tracing::error!(number, %error, "a shard stopped");
                        control.send(ControlMessage::Shutdown);
                    }
                })
                .map_err(thread_error)?;
            threads.push(thread);
        }
        ready();
        let served =
            serve(&mut self.control, &signals, &stopping).map_err(|source| StartError::System {
                what: "the control thread cannot wait for events",
                source,
            });
        self.control.stop();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a shard panicked");
            }
        }
        flush(&self.shared);
        // Shards are gone: nobody uses the pool any more.
        drop(self.pool);
        served
    }
}

fn thread_error(source: io::Error) -> StartError {
    StartError::System {
        what: "cannot start a thread",
        source,
    }
}

/// Makes what was acknowledged durable: the initiators' caches may be gone with their sessions.
fn flush(shared: &super::Shared) {
    for device in shared.devices.iter() {
        if let Err(error) = device.backend.execute(&pagecast_backends::Operation::Flush) {
            tracing::error!(device = %device.name, %error, "cannot flush");
        }
    }
}

fn signal_pipe() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

fn serve(control: &mut Control, signals: &UnixStream, stopping: &dyn Fn()) -> io::Result<()> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    watch(&set, signals, SIGNALS)?;
    watch(&set, control.inbox.event_fd(), MAIL)?;
    watch(&set, control.manager.event_fd(), MANAGER)?;
    let mut watched = Vec::new();
    let mut next_scan = Instant::now() + SCAN;
    let mut deadline: Option<Instant> = None;
    let mut events = Vec::with_capacity(16);
    loop {
        for (port, adapter) in control.adapters.iter().enumerate().skip(watched.len()) {
            watch(&set, adapter.event_fd(), port as u64)?;
            watched.push(adapter.event_fd().as_raw_fd());
        }
        while control.turn() {}
        if control.is_stopped() {
            return Ok(());
        }
        let now = Instant::now();
        if control.draining {
            let deadline = *deadline.get_or_insert(now + SHUTDOWN);
            if now >= deadline {
                tracing::warn!("not everything ended in time; stopping regardless");
                return Ok(());
            }
        } else if now >= next_scan {
            next_scan = now + SCAN;
            if let Err(error) = control.find_adapters() {
                tracing::debug!(%error, "looking for adapters");
            }
        }
        events.clear();
        let timeout = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 500_000_000,
        };
        match epoll::wait(
            &set,
            rustix::buffer::spare_capacity(&mut events),
            Some(&timeout),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                SIGNALS => {
                    let mut byte = [0];
                    let _ = rustix::io::read(signals, &mut byte);
                    tracing::info!("signal received");
                    stopping();
                    control.shut_down();
                }
                MAIL => control.inbox.acknowledge(),
                _ => {}
            }
        }
    }
}

fn watch(set: &OwnedFd, source: impl AsFd, name: u64) -> io::Result<()> {
    epoll::add(
        set,
        source,
        epoll::EventData::new_u64(name),
        epoll::EventFlags::IN,
    )?;
    Ok(())
}
