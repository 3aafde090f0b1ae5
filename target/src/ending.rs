//! The end of the daemon: its threads are waited for, but for none of them for ever.
//!
//! A store may hang, and so may the disk of the state directory, and any path that an operator names. Whoever waits for one of them then
//! cannot be ended: the kernel may still write to our memory, so what a command uses must stay as long as the command is in flight. Such
//! threads are left behind: they are named in the log, whatever does not depend on them is brought to its end in order, and the process
//! ends with them.

use std::mem::ManuallyDrop;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;

/// How long to sleep before looking again whether a thread has ended, at first and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// When whoever has not ended is given up, counted from when the daemon was told to end. All of it is less than the 90 s that systemd
/// waits, if nothing else is configured, before it kills a service: that would tell nobody what is not durable.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Sessions, whose commands are to end.
    pub sessions: Duration,
    /// I/O threads. What is in flight there ends within microseconds, or hangs.
    pub shards: Duration,
    /// The flush of all devices. What is not on its medium by then is in the page cache, is the kernel's to write also when the daemon is
    /// gone, and is lost only with power.
    pub stores: Duration,
    /// Changes of reservations.
    pub changes: Duration,
    /// The rest of the I/O engine; counted from the end of all that is above.
    pub engine: Duration,
    /// What clients of the control socket asked for; counted from the end of all that is above.
    pub clients: Duration,
    /// Everything.
    pub all: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            sessions: seconds(25),
            shards: seconds(28),
            stores: seconds(65),
            changes: seconds(68),
            engine: seconds(3),
            clients: seconds(10),
            all: seconds(85),
        }
    }
}

/// Something is left behind.
#[derive(Debug, Error)]
#[error("not everything ended in time: see the log for what, and for the stores that hang")]
pub struct Unended;

/// How the end goes.
#[derive(Debug)]
pub struct Ending {
    /// When whoever has not ended is given up.
    pub times: Times,
    began: Option<Instant>,
    whole: bool,
}

impl Default for Ending {
    fn default() -> Self {
        Self::within(Times::default())
    }
}

impl Ending {
    /// One with times of its own.
    pub fn within(times: Times) -> Self {
        Self {
            times,
            began: None,
            whole: true,
        }
    }

    /// That long after the daemon was told to end, which is now if nobody has asked before.
    pub fn by(&mut self, time: Duration) -> Instant {
        *self.began.get_or_insert_with(Instant::now) + time
    }

    /// Something did not end in time.
    pub fn leave_behind(&mut self) {
        self.whole = false;
    }

    /// Drops what waits for others when it is dropped, and leaves it behind if that takes longer than until `deadline`. `what` is for
    /// people.
    pub fn let_go(&mut self, what: &'static str, value: impl Send + 'static, deadline: Instant) {
        if !drop_until(value, deadline) {
            tracing::warn!(
                what,
                "not ended: a store, or the way to one, hangs; stopping regardless"
            );
            self.leave_behind();
        }
    }

    /// Whether everything ended.
    pub fn result(&self) -> Result<(), Unended> {
        match self.whole {
            true => Ok(()),
            false => Err(Unended),
        }
    }
}

/// Threads that were waited for, each with what tells it from the others.
#[derive(Debug)]
pub(crate) struct Joined<N, T> {
    /// What those that ended came to, or how they panicked.
    pub(crate) ended: Vec<(N, thread::Result<T>)>,
    /// Those that did not.
    pub(crate) left: Vec<N>,
}

/// Waits until threads have ended, but no longer than until `deadline`. Those that have not go on, and nobody waits for them any more.
pub(crate) fn join_until<N, T>(
    threads: impl IntoIterator<Item = (N, JoinHandle<T>)>,
    deadline: Instant,
) -> Joined<N, T> {
    let mut joined = Joined {
        ended: Vec::new(),
        left: Vec::new(),
    };
    for (name, thread) in threads {
        // The others end meanwhile.
        match ends_until(&thread, deadline) {
            true => joined.ended.push((name, thread.join())),
            false => joined.left.push(name),
        }
    }
    joined
}

/// Drops something on a thread of its own, and waits for that, but no longer than until `deadline`. Returns whether it is gone.
fn drop_until(value: impl Send + 'static, deadline: Instant) -> bool {
    // If there is no thread for it, it stays: to drop it here may take for ever.
    let value = ManuallyDrop::new(value);
    let drops = move || drop(ManuallyDrop::into_inner(value));
    match thread::Builder::new().name("end".to_owned()).spawn(drops) {
        Ok(thread) => join_until([((), thread)], deadline).left.is_empty(),
        Err(error) => {
            tracing::error!(%error, "cannot start a thread");
            false
        }
    }
}

/// Waits until a thread has ended, but no longer than until `deadline`. Looks at least once.
fn ends_until<T>(thread: &JoinHandle<T>, deadline: Instant) -> bool {
    let (mut nap, longest) = LOOK;
    loop {
        if thread.is_finished() {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        thread::sleep(nap.min(left));
        nap = (nap * 2).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, bounded};

    use super::*;

    /// Far more than anything here takes.
    const LONG: Duration = Duration::from_secs(60);

    /// Whoever drops it waits until the other end is closed.
    struct Waits(Receiver<()>);

    impl Drop for Waits {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn systemd_does_not_kill_a_daemon_that_ends() {
        let times = Times::default();
        let order = [
            times.sessions,
            times.shards,
            times.stores,
            times.changes,
            times.changes + times.engine + times.clients,
            times.all,
            Duration::from_secs(90),
        ];
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    }

    #[test]
    fn threads_that_end_are_joined_however_they_end() {
        let threads = [
            ("returns", thread::spawn(|| 7)),
            ("panics", thread::spawn(|| panic!("on purpose"))),
            (
                "takes a while",
                thread::spawn(|| {
                    thread::sleep(Duration::from_millis(100));
                    8
                }),
            ),
        ];
        let began = Instant::now();
        let joined = join_until(threads, began + LONG);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(90) && took < LONG, "{took:?}");
        assert!(joined.left.is_empty(), "{:?}", joined.left);
        let ended: Vec<_> = (joined.ended.into_iter())
            .map(|(name, result)| (name, result.ok()))
            .collect();
        assert_eq!(
            ended,
            [
                ("returns", Some(7)),
                ("panics", None),
                ("takes a while", Some(8))
            ]
        );
    }

    /// All of them together have until the deadline, and those behind one that hangs are joined none the less.
    #[test]
    fn threads_that_do_not_end_are_named() {
        let (go, wait) = bounded::<()>(0);
        let hangs = || {
            let wait = wait.clone();
            thread::spawn(move || wait.recv().unwrap_or_default())
        };
        let threads = [(0, hangs()), (1, hangs()), (2, thread::spawn(|| ()))];
        let began = Instant::now();
        let joined = join_until(threads, began + Duration::from_millis(200));
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(200), "{took:?}");
        assert_eq!(joined.left, [0, 1]);
        assert_eq!(joined.ended.len(), 1);
        drop(go);
    }

    #[test]
    fn what_hangs_when_it_is_dropped_is_left_behind() {
        let mut ending = Ending::default();
        let (go, wait) = bounded(0);
        ending.let_go("one", Waits(wait.clone()), Instant::now());
        ending
            .result()
            .expect_err("whoever drops it waits for ever");
        // It is dropped when it can be.
        drop(go);
        let since = Instant::now();
        let (done, dropped) = bounded::<()>(0);
        let mut ending = Ending::default();
        ending.let_go("both", (Waits(wait), done), since + LONG);
        ending.result().expect("it is gone");
        assert!(dropped.recv().is_err());
        assert!(since.elapsed() < LONG);
    }

    #[test]
    fn the_time_runs_from_the_first_who_asks() {
        let mut ending = Ending::default();
        let first = ending.by(Duration::ZERO);
        thread::sleep(Duration::from_millis(5));
        assert_eq!(ending.by(LONG), first + LONG);
    }
}
