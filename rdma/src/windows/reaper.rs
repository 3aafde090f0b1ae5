//! Deregisters what was revoked, and tells those who wait. Nothing here blocks on a disk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvError, at, never};

use super::cache::WindowCache;
use super::revoke::{Drain, Progress};

/// Windows of one revocation that are deregistered before others have their turn.
const TURN: usize = 16;

/// What the reaper is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Get windows out of the way.
    Drain(Drain),
    /// Let misses of a failed window count again at some time.
    Backoff {
        cache: Weak<WindowCache>,
        index: u64,
        until: Instant,
    },
    /// End.
    Stop,
}

/// The thread that deregisters.
pub(super) struct Reaper {
    commands: Receiver<Command>,
    /// A lease on a retiring window ended, a registrar finished with a window, or an eviction was done.
    kicked: Receiver<()>,
    drains: Vec<Drain>,
    backoffs: BinaryHeap<Backoff>,
}

impl Reaper {
    pub(super) fn new(commands: Receiver<Command>, kicked: Receiver<()>) -> Self {
        Self {
            commands,
            kicked,
            drains: Vec::new(),
            backoffs: BinaryHeap::new(),
        }
    }

    pub(super) fn run(mut self) {
        let mut busy = false;
        loop {
            if !busy && !self.wait() {
                return self.end();
            }
            // Kicks that come after this look are seen at the next wait; those before it are for what is looked at now.
            while let Ok(command) = self.commands.try_recv() {
                if !self.take(Ok(command)) {
                    return self.end();
                }
            }
            busy = self.advance();
            self.end_backoffs();
        }
    }

    /// Does what can be done at once. Windows that are still leased go with their cache, when the last lease ends.
    fn end(&mut self) {
        while self.advance() {}
    }

    /// Sleeps until there is something to do. False at the end.
    fn wait(&mut self) -> bool {
        let next = self.backoffs.peek().map(|backoff| backoff.until.0);
        let alarm = next.map_or_else(never, at);
        crossbeam_channel::select! {
            recv(self.commands) -> command => self.take(command),
            recv(self.kicked) -> _ => true,
            recv(alarm) -> _ => true,
        }
    }

    fn take(&mut self, command: Result<Command, RecvError>) -> bool {
        match command {
            Ok(Command::Drain(drain)) => self.drains.push(drain),
            Ok(Command::Backoff {
                cache,
                index,
                until,
            }) => self.backoffs.push(Backoff {
                until: Reverse(until),
                cache,
                index,
            }),
            Ok(Command::Stop) | Err(_) => return false,
        }
        true
    }

    /// Goes on with every revocation. True if there is more to do at once.
    fn advance(&mut self) -> bool {
        let mut more = false;
        let mut done = Vec::new();
        let mut at = 0;
        while let Some(drain) = self.drains.get_mut(at) {
            match drain.advance(TURN) {
                Progress::Done => {
                    done.push(self.drains.remove(at));
                    continue;
                }
                Progress::More => more = true,
                Progress::Waiting => {}
            }
            at += 1;
        }
        for mut drain in done {
            // The callback is not ours; that it fails must not take every later revocation with it.
            if catch_unwind(AssertUnwindSafe(|| drain.finish())).is_err() {
                tracing::error!("a callback of a revocation panicked");
            }
        }
        more
    }

    fn end_backoffs(&mut self) {
        let now = Instant::now();
        while self
            .backoffs
            .peek()
            .is_some_and(|backoff| backoff.until.0 <= now)
        {
            let Some(Backoff { cache, index, .. }) = self.backoffs.pop() else {
                return;
            };
            if let Some(slot) = cache.upgrade().as_ref().and_then(|c| c.slots().get(index)) {
                slot.recover();
            }
        }
    }
}

/// A failed window; the one whose time comes first is the greatest.
#[derive(Debug)]
struct Backoff {
    until: Reverse<Instant>,
    cache: Weak<WindowCache>,
    index: u64,
}

impl PartialEq for Backoff {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl Eq for Backoff {}

impl PartialOrd for Backoff {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Backoff {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.until.cmp(&other.until)
    }
}
