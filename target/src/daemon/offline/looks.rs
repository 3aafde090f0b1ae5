//! Looks that may hang, each of which holds up no other one.
//!
//! One thread takes them all, one after the other, as long as they come back. When some had to wait for longer than a round, threads
//! are added for them, which end when nothing waits. Whatever is still being looked at is not looked at again.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

/// How long a look may take before somebody is told.
const SILENT: Duration = Duration::from_secs(10);

/// Threads that one round adds, at most. Those that hang stay, one for each store that does.
const MORE: usize = 16;

/// Something to look at.
#[derive(Debug)]
pub(super) struct Look<T> {
    /// Tells it from others.
    pub(super) index: usize,
    /// For people.
    pub(super) name: String,
    /// What to look at.
    pub(super) at: T,
}

/// What people should be told after a round: names, each once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// These have not come back for long.
    pub(super) silent: Vec<String>,
    /// These have after all.
    pub(super) answered: Vec<String>,
}

#[derive(Debug)]
struct UnderWay {
    name: String,
    /// Since when somebody looks; none while nobody does yet.
    since: Option<Instant>,
    told: bool,
    done: bool,
}

type Table = Mutex<BTreeMap<usize, UnderWay>>;

/// Looks at things, round by round.
pub(super) struct Looks<T> {
    under_way: Arc<Table>,
    wait: Sender<Look<T>>,
    waiting: Receiver<Look<T>>,
    look: Arc<dyn Fn(T) + Send + Sync>,
    /// Whether there is the thread that stays.
    begun: AtomicBool,
    /// Whether it waits for more.
    at_rest: Arc<AtomicBool>,
}

impl<T: Send + 'static> Looks<T> {
    pub(super) fn new(look: impl Fn(T) + Send + Sync + 'static) -> Self {
        let (wait, waiting) = unbounded();
        Self {
            under_way: Arc::default(),
            wait,
            waiting,
            look: Arc::new(look),
            begun: AtomicBool::new(false),
            at_rest: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Begins to look at all of these but those that are being looked at, and does not wait for it.
    pub(super) fn round(&self, looks: Vec<Look<T>>, now: Instant) -> (News, io::Result<()>) {
        let stuck = !self.waiting.is_empty() || !self.at_rest.load(Relaxed);
        let mut under_way = lock(&self.under_way);
        let mut news = News::default();
        under_way.retain(|_, one| {
            if one.done {
                news.answered.push(one.name.clone());
            }
            !one.done
        });
        for one in under_way.values_mut() {
            let is_silent = (one.since).is_some_and(|since| now.duration_since(since) >= SILENT);
            if is_silent && !one.told {
                one.told = true;
                news.silent.push(one.name.clone());
            }
        }
        for look in looks {
            if under_way.contains_key(&look.index) {
                continue;
            }
            let begun = UnderWay {
                name: look.name.clone(),
                since: None,
                told: false,
                done: false,
            };
            under_way.insert(look.index, begun);
            // There is always somebody who receives it: we do.
            let _ = self.wait.send(look);
        }
        drop(under_way);
        // What nobody takes waits for the next round.
        (news, self.have_takers(stuck))
    }

    fn have_takers(&self, stuck: bool) -> io::Result<()> {
        if !self.begun.load(Relaxed) {
            self.stay()?;
            self.begun.store(true, Relaxed);
        }
        let more = if stuck { self.waiting.len() } else { 0 };
        (0..more.min(MORE)).try_for_each(|_| self.help())
    }

    /// Adds the thread that waits for more when it is done.
    fn stay(&self) -> io::Result<()> {
        let (waiting, at_rest, take) = (
            self.waiting.clone(),
            Arc::clone(&self.at_rest),
            self.taker(),
        );
        let takes = move || {
            while let Ok(look) = waiting.recv() {
                at_rest.store(false, Relaxed);
                take(look);
                at_rest.store(true, Relaxed);
            }
        };
        spawn(takes)
    }

    /// Adds a thread, which ends when nothing waits.
    fn help(&self) -> io::Result<()> {
        let (waiting, take) = (self.waiting.clone(), self.taker());
        let takes = move || {
            while let Ok(look) = waiting.try_recv() {
                take(look);
            }
        };
        spawn(takes)
    }

    /// Looks at one, and notes that.
    fn taker(&self) -> impl Fn(Look<T>) + Send + 'static {
        let (under_way, look) = (Arc::clone(&self.under_way), Arc::clone(&self.look));
        move |taken| {
            if let Some(one) = lock(&under_way).get_mut(&taken.index) {
                one.since = Some(Instant::now());
            }
            look(taken.at);
            let mut under_way = lock(&under_way);
            match under_way.get_mut(&taken.index) {
                Some(one) if one.told => one.done = true,
                _ => drop(under_way.remove(&taken.index)),
            }
        }
    }
}

fn spawn(takes: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("device-look".to_owned());
    thread.spawn(takes).map(drop)
}

/// The table is never left half changed.
fn lock(table: &Table) -> MutexGuard<'_, BTreeMap<usize, UnderWay>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// What is looked at: tells that somebody does, and comes back when the test says so, if it hangs.
    struct Thing {
        number: usize,
        looked: Sender<usize>,
        hangs: Option<Arc<Mutex<Receiver<()>>>>,
    }

    fn look(thing: Thing) {
        thing.looked.send(thing.number).expect("a test");
        if let Some(hangs) = thing.hangs {
            // An error is the end of the test.
            let _ = hangs.lock().expect("no panic").recv();
        }
    }

    struct Things {
        looked: Sender<usize>,
        seen: Receiver<usize>,
        hanging: BTreeMap<usize, Arc<Mutex<Receiver<()>>>>,
    }

    impl Things {
        fn new() -> Self {
            let (looked, seen) = channel();
            Self {
                looked,
                seen,
                hanging: BTreeMap::new(),
            }
        }

        fn hang(&mut self, number: usize) -> Sender<()> {
            let (release, hangs) = channel();
            self.hanging.insert(number, Arc::new(Mutex::new(hangs)));
            release
        }

        fn all(&self, count: usize) -> Vec<Look<Thing>> {
            let one = |number| Look {
                index: number,
                name: format!("disk{number}"),
                at: Thing {
                    number,
                    looked: self.looked.clone(),
                    hangs: self.hanging.get(&number).cloned(),
                },
            };
            (0..count).map(one).collect()
        }

        /// The next so many that are looked at, sorted.
        fn seen(&self, count: usize) -> Vec<usize> {
            let next = |_| self.seen.recv_timeout(PATIENCE).expect("a look");
            let mut seen: Vec<_> = (0..count).map(next).collect();
            seen.sort_unstable();
            seen
        }
    }

    /// Until everything but so many is done.
    fn settle(looks: &Looks<Thing>, left: usize) {
        let since = Instant::now();
        let under_way = || lock(&looks.under_way);
        while under_way().values().filter(|one| !one.done).count() > left {
            assert!(since.elapsed() < PATIENCE, "{:?}", under_way());
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn everything_is_looked_at_each_round() {
        let (looks, things) = (Looks::new(look), Things::new());
        for _ in 0..3 {
            let (news, started) = looks.round(things.all(5), Instant::now());
            started.expect("a thread");
            assert_eq!(news, News::default());
            assert_eq!(things.seen(5), [0, 1, 2, 3, 4]);
            settle(&looks, 0);
        }
    }

    #[test]
    fn what_hangs_is_told_of_once_and_holds_up_nothing() {
        let (looks, mut things) = (Looks::new(look), Things::new());
        let release = [things.hang(1), things.hang(2)];
        let now = Instant::now();
        let round = |later: Duration| {
            let (news, started) = looks.round(things.all(6), now + later);
            started.expect("threads");
            news
        };
        assert_eq!(round(Duration::ZERO), News::default());
        assert_eq!(things.seen(2), [0, 1]);
        // The others wait no longer than a round.
        assert_eq!(round(Duration::ZERO), News::default());
        assert_eq!(things.seen(5), [0, 2, 3, 4, 5]);
        settle(&looks, 2);
        assert_eq!(round(Duration::ZERO), News::default());
        assert_eq!(things.seen(4), [0, 3, 4, 5]);
        settle(&looks, 2);
        let silent = News {
            silent: vec!["disk1".to_owned(), "disk2".to_owned()],
            answered: Vec::new(),
        };
        let late = SILENT + PATIENCE;
        assert_eq!(round(late), silent);
        assert_eq!(things.seen(4), [0, 3, 4, 5]);
        settle(&looks, 2);
        assert_eq!(round(late), News::default(), "once");
        assert_eq!(things.seen(4), [0, 3, 4, 5]);
        drop(release);
        settle(&looks, 0);
        let answered = News {
            silent: Vec::new(),
            answered: vec!["disk1".to_owned(), "disk2".to_owned()],
        };
        assert_eq!(round(late), answered);
        // They hang no more: nothing is sent to them.
        assert_eq!(things.seen(6), [0, 1, 2, 3, 4, 5]);
        settle(&looks, 0);
        assert_eq!(round(late), News::default());
    }
}
