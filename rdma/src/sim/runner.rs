//! A thread that steps by itself, for programs with real threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::net::{Net, Stepped};

/// How long what needs time takes: one retry, one timeout, each.
const TICK: Duration = Duration::from_millis(1);

/// Steps as work comes, until it is dropped. Made by [`SimNet::spawn`](super::SimNet::spawn).
#[derive(Debug)]
pub struct Runner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    pub(super) fn spawn(net: Arc<Net>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("sim-net".to_owned())
            .spawn(move || run(&net, &stopped))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It can only have failed by a panic, which was reported then.
            let _ = thread.join();
        }
    }
}

fn run(net: &Net, stop: &AtomicBool) {
    let me = thread::current();
    net.add_runner(me.clone());
    let mut last_tick = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        // Looked at before the work, so that what comes meanwhile is seen: here, or as a kick.
        net.take_kick();
        let mut stepped = net.lock().step(false);
        while stepped == Stepped::Moved && last_tick.elapsed() < TICK {
            stepped = net.lock().step(false);
        }
        if stepped == Stepped::Moved || last_tick.elapsed() >= TICK {
            net.lock().tick();
            last_tick = Instant::now();
            continue;
        }
        match stepped {
            Stepped::Idle => {
                thread::park();
                last_tick = Instant::now();
            }
            _ => thread::park_timeout(TICK),
        }
    }
    net.remove_runner(&me);
}
