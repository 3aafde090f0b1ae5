//! Threads for a built daemon, and the control thread's loop.

mod end;
mod flush;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use pagecast_rdma::fabric::Adapter;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{Control, Daemon, Shared, StartError, buffers, offline};
use crate::device::MAX_ADAPTERS;
use crate::ending::Ending;
use crate::shard::messages::{ControlMessage, Mailer};

/// How often the control thread looks for adapters that were plugged in, and for addresses that have come.
const SCAN: Duration = Duration::from_secs(5);

/// Over how long the worst command time is taken.
const PERIOD: Duration = Duration::from_secs(15);

const SIGNALS: u64 = u64::MAX;
const MAIL: u64 = u64::MAX - 1;
const MANAGER: u64 = u64::MAX - 2;
const TCP: u64 = u64::MAX - 3;
const HANGUPS: u64 = u64::MAX - 4;

/// Whom a running daemon tells of its life.
pub trait Observer: Send + Sync {
    /// It serves.
    fn ready(&self);
    /// It has been told to read its configuration again.
    fn reloading(&self);
    /// It has done so, for better or worse.
    fn reloaded(&self);
    /// It has been told to stop.
    fn stopping(&self);
}

impl Daemon {
    /// Gives every part its thread, and serves until SIGTERM or SIGINT. SIGHUP has it read its configuration again. What does not end
    /// in time then is left behind, and `ending` knows.
    pub fn run(self, observer: Arc<dyn Observer>, ending: &mut Ending) -> Result<(), StartError> {
        let signal_error = |source| StartError::System {
            what: "cannot handle signals",
            source,
        };
        let signals = Signals {
            end: signal_pipe(&[SIGTERM, SIGINT]).map_err(signal_error)?,
            hangup: signal_pipe(&[SIGHUP]).map_err(signal_error)?,
            reload: reloader(&self.shared, &observer).map_err(thread_error)?,
        };
        self.run_until(&signals, &*observer, ending)
    }

    /// The same, with signals from anywhere.
    fn run_until(
        mut self,
        signals: &Signals,
        observer: &dyn Observer,
        ending: &mut Ending,
    ) -> Result<(), StartError> {
        let orders = buffers::keeper(self.control_address.clone()).map_err(thread_error)?;
        self.control.order_from(orders);
        self.control.attach_by_threads();
        self.control
            .authenticate_by_threads()
            .map_err(thread_error)?;
        let changer = &self.shared.changer;
        let changes = (changer.start(self.control_address.clone())).map_err(thread_error)?;
        let mut shards = Vec::new();
        for (number, shard) in self.shards.into_iter().enumerate() {
            let control = self.control_address.clone();
            let thread = thread::Builder::new()
                .name(format!("shard-{number}"))
                .spawn(move || {
                    // Also when it panics: its initiators must not wait for nobody.
                    let _alarm = Alarm(control);
                    shard.run()
                })
                .map_err(thread_error)?;
            shards.push(thread);
        }
        let watchers = offline::watch(&self.shared).map_err(thread_error)?;
        observer.ready();
        let served = serve(&mut self.control, signals, observer, ending).map_err(|source| {
            StartError::System {
                what: "the control thread cannot wait for events",
                source,
            }
        });
        self.control.stop();
        drop(watchers);
        let ended = end::end(end::Threads { shards, changes }, &self.shared, ending);
        // Nobody uses the pool any more, but for shards that are left behind, which have their own hold of it.
        let deadline = Instant::now() + ending.times.engine;
        ending.let_go("the I/O engine", (self.control, self.pool), deadline);
        served.and(ended)
    }
}

fn thread_error(source: io::Error) -> StartError {
    StartError::System {
        what: "cannot start a thread",
        source,
    }
}

/// Ends the daemon when the thread that holds it ends.
struct Alarm(Mailer<ControlMessage>);

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.send(ControlMessage::Shutdown);
    }
}

/// What tells the control thread of signals, and whom it passes them on to.
struct Signals {
    end: UnixStream,
    hangup: UnixStream,
    reload: Sender<()>,
}

/// A thread that reads the configuration again whenever it is told to, and tells how that went in the log.
fn reloader(shared: &Arc<Shared>, observer: &Arc<dyn Observer>) -> io::Result<Sender<()>> {
    // Who asks while another waits means the same.
    let (reload, wanted) = bounded(1);
    let (shared, observer) = (Arc::clone(shared), Arc::clone(observer));
    thread::Builder::new()
        .name("reload".to_owned())
        .spawn(move || {
            while wanted.recv().is_ok() {
                observer.reloading();
                match shared.read_again(false) {
                    Ok(report) => {
                        for warning in &report.warnings {
                            tracing::warn!("{warning}");
                        }
                        tracing::info!(
                            sessions_changed = report.sessions.len(),
                            restart_needed = ?report.restart_needed,
                            "configuration read again"
                        );
                    }
                    Err(error) => {
                        tracing::error!(%error, "configuration not read again; it is as it was");
                    }
                }
                observer.reloaded();
            }
        })?;
    Ok(reload)
}

fn signal_pipe(signals: &[i32]) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for &signal in signals {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

fn serve(
    control: &mut Control,
    signals: &Signals,
    observer: &dyn Observer,
    ending: &mut Ending,
) -> io::Result<()> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    watch(&set, &signals.end, SIGNALS)?;
    watch(&set, &signals.hangup, HANGUPS)?;
    watch(&set, control.inbox.event_fd(), MAIL)?;
    watch(&set, control.manager.event_fd(), MANAGER)?;
    let mut watched: [Option<Arc<dyn Adapter>>; MAX_ADAPTERS] = Default::default();
    let mut next_scan = Instant::now() + SCAN;
    let mut next_period = Instant::now() + PERIOD;
    let mut events = Vec::with_capacity(16);
    loop {
        watch_adapters(&set, control, &mut watched)?;
        // Sockets that are closed leave the set by themselves.
        for portal in control
            .tcp_portals
            .iter_mut()
            .filter(|portal| !portal.watched)
        {
            watch(&set, portal.event_fd(), TCP)?;
            portal.watched = true;
        }
        let busy = control.turn();
        if control.is_stopped() {
            return Ok(());
        }
        let now = Instant::now();
        if now >= next_period {
            next_period = now + PERIOD;
            control.next_period();
        }
        if control.draining {
            if now >= ending.by(ending.times.sessions) {
                tracing::warn!("not everything ended in time; stopping regardless");
                return Ok(());
            }
        } else if now >= next_scan {
            next_scan = now + SCAN;
            control.look_around(now);
        }
        events.clear();
        let nap = match (busy, control.draining) {
            (true, _) => Duration::ZERO,
            (false, true) => Duration::from_millis(500),
            (false, false) => SCAN,
        };
        let timeout = rustix::event::Timespec {
            tv_sec: nap.as_secs() as i64,
            tv_nsec: i64::from(nap.subsec_nanos()),
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
                    let _ = rustix::io::read(&signals.end, &mut byte);
                    tracing::info!("signal received");
                    observer.stopping();
                    control.shut_down();
                }
                HANGUPS => {
                    let mut bytes = [0; 64];
                    let _ = rustix::io::read(&signals.hangup, &mut bytes);
                    tracing::info!("told to read the configuration again");
                    // One that waits for its turn already will see what this one means.
                    let _ = signals.reload.try_send(());
                }
                MAIL => control.inbox.acknowledge(),
                _ => {}
            }
        }
    }
}

/// Watches the adapters that are in service now, and no others.
fn watch_adapters(
    set: &OwnedFd,
    control: &Control,
    watched: &mut [Option<Arc<dyn Adapter>>; MAX_ADAPTERS],
) -> io::Result<()> {
    for (number, (port, watched)) in control.ports.iter().zip(watched).enumerate() {
        let adapter = port.as_ref().map(|port| &port.adapter);
        let same = match (adapter, &watched) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (None, None) => true,
            _ => false,
        };
        if same {
            continue;
        }
        if let Some(before) = watched.take() {
            epoll::delete(set, before.event_fd())?;
        }
        if let Some(now) = adapter {
            watch(set, now.event_fd(), number as u64)?;
            *watched = Some(Arc::clone(now));
        }
    }
    Ok(())
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
