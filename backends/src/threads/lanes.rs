//! Each store's line of jobs, and the threads that work it off.
//!
//! A line is there while it has threads. They are called as jobs come: one that sleeps, the latest first, so that those that are
//! not needed sleep on until their time is over; a new one if nobody sleeps. Only one new thread is on its way at a time. It
//! starts the next if it finds more than it takes, so that a burst does not keep the shard starting threads, and jobs that are
//! done in no time need few.
//!
//! Nobody waits for a job that nobody comes for: as long as there are jobs, somebody is on the way, who calls the next when more
//! are left, or all threads that there may be are at work, and look again when they are done.
//!
//! Locks: the table of lines before a line. No thread is started with one held.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread, ThreadId};
use std::time::{Duration, Instant};

use super::Job;
use crate::BackendError;

/// How often the log says that threads cannot be started.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// What a thread does.
pub(super) type Body = Box<dyn FnOnce() + Send>;

/// Starts a thread.
pub(super) type Start = fn(Body) -> io::Result<JoinHandle<()>>;

/// The lines of all stores that have anything to do, or had until lately.
#[derive(Debug)]
pub(super) struct Lanes {
    /// Threads of one store at most.
    most: usize,
    /// How long a thread without work stays.
    linger: Duration,
    start: Start,
    /// By the address of the store. A job keeps its store alive, so two stores that have jobs never share a line; one that
    /// follows another at its address finds its sleeping threads.
    by_store: Mutex<HashMap<usize, Arc<Lane>>>,
    /// Threads that run, and some that have ended.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// When the log last said that threads cannot be started.
    told: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Lane {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads, all in all.
    threads: usize,
    /// Those that sleep; who went to sleep last is at the end.
    asleep: Vec<Thread>,
    /// Those that were started or called, and have not looked at the jobs since.
    coming: usize,
    /// There will be no more jobs.
    ending: bool,
}

/// What has to be done for somebody to come.
enum Call {
    Nothing,
    Wake(Thread),
    Start,
}

impl Lanes {
    pub(super) fn new(most: usize, linger: Duration, start: Start) -> Self {
        Self {
            most,
            linger,
            start,
            by_store: Mutex::default(),
            threads: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Has the job run, or ends it as [busy](BackendError::Busy) where no thread can be had.
    pub(super) fn submit(self: &Arc<Self>, job: Job) {
        let store = job.store();
        let mut table = locked(&self.by_store);
        let lane = Arc::clone(table.entry(store).or_default());
        // With the table still locked: the last thread would otherwise take the line away.
        let mut state = locked(&lane.state);
        drop(table);
        state.jobs.push_back(job);
        let call = state.call(self.most);
        drop(state);
        self.carry_out(call, store, &lane);
    }

    /// Has the threads end when nothing is left to do, and waits for them. Nothing is submitted any more.
    pub(super) fn end(&self) {
        for lane in locked(&self.by_store).values() {
            let mut state = locked(&lane.state);
            state.ending = true;
            state.asleep.iter().for_each(Thread::unpark);
        }
        // Those that a thread still starts are here before that thread ends.
        loop {
            let Some(thread) = locked(&self.threads).pop() else {
                return;
            };
            let _ = thread.join();
        }
    }

    fn carry_out(self: &Arc<Self>, call: Call, store: usize, lane: &Arc<Lane>) {
        match call {
            Call::Nothing => {}
            Call::Wake(thread) => thread.unpark(),
            Call::Start => self.start(store, lane),
        }
    }

    fn start(self: &Arc<Self>, store: usize, lane: &Arc<Lane>) {
        let (lanes, its) = (Arc::clone(self), Arc::clone(lane));
        match (self.start)(Box::new(move || lanes.work(store, &its))) {
            Ok(thread) => {
                let mut threads = locked(&self.threads);
                forget_ended(&mut threads);
                threads.push(thread);
            }
            Err(error) => self.not_started(store, lane, &error),
        }
    }

    /// Those that run do all the work then. If there are none it fails.
    fn not_started(&self, store: usize, lane: &Lane, error: &io::Error) {
        let now = Instant::now();
        let mut told = locked(&self.told);
        if told.is_none_or(|told| now.duration_since(told) >= TELL_AGAIN) {
            *told = Some(now);
            tracing::warn!(
                %error,
                "no more I/O threads can be started: stores are slower, and hosts may have to try again; allow the process more \
                 threads (systemd: TasksMax; shell: ulimit -u) or more memory"
            );
        }
        drop(told);
        let mut table = locked(&self.by_store);
        let mut state = locked(&lane.state);
        state.coming -= 1;
        state.threads -= 1;
        let mut lost = VecDeque::new();
        if state.threads == 0 {
            table.remove(&store);
            lost = std::mem::take(&mut state.jobs);
        }
        drop(state);
        drop(table);
        for job in lost {
            job.finish(Err(BackendError::Busy));
        }
    }

    fn work(self: &Arc<Self>, store: usize, lane: &Arc<Lane>) {
        // It was started, so it is expected.
        let mut expected = true;
        while let Some(job) = self.next(store, lane, expected) {
            expected = false;
            job.run();
        }
        forget_ended(&mut locked(&self.threads));
    }

    /// The next job; sleeps for it. None if the calling thread is not needed any more: it is not counted then.
    fn next(self: &Arc<Self>, store: usize, lane: &Arc<Lane>, mut expected: bool) -> Option<Job> {
        let mut state = locked(&lane.state);
        loop {
            if std::mem::take(&mut expected) {
                state.coming -= 1;
            }
            if let Some(job) = state.jobs.pop_front() {
                let call = if state.jobs.is_empty() || state.coming > 0 {
                    Call::Nothing
                } else {
                    state.call(self.most)
                };
                drop(state);
                self.carry_out(call, store, lane);
                return Some(job);
            }
            if state.ending {
                state.threads -= 1;
                return None;
            }
            let me = thread::current();
            let id = me.id();
            state.asleep.push(me);
            drop(state);
            let until = Instant::now() + self.linger;
            thread::park_timeout(self.linger);
            // Who leaves has to hold the table: nobody may have found the line in it and be about to use it.
            let table = (Instant::now() >= until).then(|| locked(&self.by_store));
            state = locked(&lane.state);
            expected = !state.gets_up(id);
            if let Some(mut table) = table
                && !expected
                && state.jobs.is_empty()
            {
                state.threads -= 1;
                if state.threads == 0 {
                    table.remove(&store);
                }
                return None;
            }
        }
    }
}

impl State {
    /// Calls somebody for the jobs there are.
    fn call(&mut self, most: usize) -> Call {
        if let Some(thread) = self.asleep.pop() {
            self.coming += 1;
            return Call::Wake(thread);
        }
        if self.coming > 0 || self.threads >= most {
            return Call::Nothing;
        }
        self.coming += 1;
        self.threads += 1;
        Call::Start
    }

    /// A thread that slept does not any more. False if it was called.
    fn gets_up(&mut self, id: ThreadId) -> bool {
        let place = self.asleep.iter().position(|thread| thread.id() == id);
        if let Some(place) = place {
            self.asleep.remove(place);
        }
        place.is_some()
    }
}

fn forget_ended(threads: &mut Vec<JoinHandle<()>>) {
    threads.retain(|thread| !thread.is_finished());
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
impl Lanes {
    /// Lines, and threads over all of them: at work or coming, and asleep.
    pub(super) fn census(&self) -> (usize, usize, usize) {
        let table = locked(&self.by_store);
        let (mut awake, mut asleep) = (0, 0);
        for lane in table.values() {
            let state = locked(&lane.state);
            asleep += state.asleep.len();
            awake += state.threads - state.asleep.len();
        }
        (table.len(), awake, asleep)
    }

    /// Threads that have not ended yet.
    pub(super) fn running(&self) -> usize {
        let mut threads = locked(&self.threads);
        forget_ended(&mut threads);
        threads.len()
    }
}
