use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;

impl Wake for Sender<Ticket> {
    fn wake(self, ticket: Ticket) {
        // A test that is over does not care.
        let _ = self.send(ticket);
    }
}

struct Bench {
    locks: RangeLocks<Sender<Ticket>>,
    sender: Sender<Ticket>,
    woken: Receiver<Ticket>,
}

impl Bench {
    fn new() -> Self {
        let (sender, woken) = channel();
        Self {
            locks: RangeLocks::new(2),
            sender,
            woken,
        }
    }

    fn claim(&self, mode: Mode, range: Range<u64>) -> (Ticket, bool) {
        self.locks.claim(mode, range, self.sender.clone())
    }

    fn granted(&self, mode: Mode, range: Range<u64>) -> Ticket {
        let (ticket, granted) = self.claim(mode, range);
        assert!(granted);
        ticket
    }

    fn waits(&self, mode: Mode, range: Range<u64>) -> Ticket {
        let (ticket, granted) = self.claim(mode, range);
        assert!(!granted);
        ticket
    }

    fn release(&self, ticket: Ticket) -> Vec<Ticket> {
        self.locks.release(0, Hold::Registered(ticket));
        self.woken.try_iter().collect()
    }

    fn assert_idle(&self) {
        assert!(self.locks.state().claims.is_empty());
        assert!(!self.locks.guarded.load(SeqCst));
        assert!(self.locks.share(0));
        self.locks.release(0, Hold::Counted);
    }
}

#[test]
fn no_two_devices_have_the_same_ticket() {
    let (one, other) = (Bench::new(), Bench::new());
    let first = one.granted(Mode::Exclusive, 0..8);
    let second = other.granted(Mode::Exclusive, 0..8);
    assert_ne!(first, second);
    assert!(one.release(first).is_empty() && other.release(second).is_empty());
    one.assert_idle();
    other.assert_idle();
}

#[test]
fn writers_overlap_and_exclusive_ones_do_not() {
    let bench = Bench::new();
    let one = bench.granted(Mode::Shared, 0..100);
    let two = bench.granted(Mode::Shared, 50..60);
    let apart = bench.granted(Mode::Exclusive, 100..200);
    let inside = bench.waits(Mode::Exclusive, 55..56);
    let behind = bench.waits(Mode::Exclusive, 199..201);
    assert_eq!(bench.release(one), []);
    assert_eq!(bench.release(two), [inside]);
    assert_eq!(bench.release(apart), [behind]);
    assert_eq!(bench.release(inside), []);
    assert_eq!(bench.release(behind), []);
    bench.assert_idle();
}

#[test]
fn first_come_first_served() {
    let bench = Bench::new();
    let holder = bench.granted(Mode::Shared, 0..8);
    let exclusive = bench.waits(Mode::Exclusive, 0..8);
    // Writers that come later do not overtake it, elsewhere they need not wait.
    let writers = [
        bench.waits(Mode::Shared, 0..4),
        bench.waits(Mode::Shared, 4..8),
    ];
    let elsewhere = bench.granted(Mode::Shared, 8..16);
    let last = bench.waits(Mode::Exclusive, 3..9);
    assert_eq!(bench.release(holder), [exclusive]);
    assert_eq!(bench.release(exclusive), writers);
    assert_eq!(bench.release(writers[0]), []);
    assert_eq!(bench.release(elsewhere), []);
    assert_eq!(bench.release(writers[1]), [last]);
    assert_eq!(bench.release(last), []);
    bench.assert_idle();
}

#[test]
fn who_gives_up_is_in_nobodys_way() {
    let bench = Bench::new();
    let holder = bench.granted(Mode::Shared, 0..8);
    let gives_up = bench.waits(Mode::Exclusive, 0..8);
    let writer = bench.waits(Mode::Shared, 0..8);
    assert_eq!(bench.release(gives_up), [writer]);
    assert!(bench.locks.share(1), "nobody is exclusive any more");
    bench.locks.release(1, Hold::Counted);
    // What is given back twice, or by a stranger, changes nothing.
    assert_eq!(bench.release(gives_up), []);
    assert_eq!(bench.release(holder), []);
    assert_eq!(bench.release(writer), []);
    bench.assert_idle();
}

#[test]
fn counted_writers_are_waited_for_once() {
    let bench = Bench::new();
    assert!(bench.locks.share(0) && bench.locks.share(1));
    let exclusive = bench.waits(Mode::Exclusive, 0..1);
    let other = bench.waits(Mode::Exclusive, 7..8);
    assert!(!bench.locks.share(0), "guarded: it has to register");
    // Wherever they write: the exclusive ones cannot tell.
    let writer = bench.granted(Mode::Shared, 2..3);
    bench.locks.release(0, Hold::Counted);
    assert!(bench.woken.try_iter().next().is_none());
    bench.locks.release(1, Hold::Counted);
    let woken: Vec<_> = bench.woken.try_iter().collect();
    assert_eq!(woken, [exclusive, other]);
    let third = bench.granted(Mode::Exclusive, 5..6);
    for ticket in [exclusive, other, third, writer] {
        assert_eq!(bench.release(ticket), []);
    }
    bench.assert_idle();
}

#[test]
fn many_ranges_under_stress() {
    stress(4, 20_000, 12, 6);
}

/// The guard goes up and down all the time.
#[test]
fn threads_race_for_one_block() {
    stress(2, 50_000, 1, 2);
    stress(3, 50_000, 1, 20);
}

/// Threads that write, and that look and then write, for all they are worth: nobody is ever where an exclusive one is, no
/// wake-up is lost, and no count either.
fn stress(threads: u64, rounds: u64, blocks: u64, exclusive_once_in: u64) {
    let block_count = blocks;
    let locks = Arc::new(RangeLocks::<Sender<Ticket>>::new(threads as usize));
    // Writers in each block, or a large negative number for an exclusive one.
    let blocks: Arc<Vec<AtomicI64>> =
        Arc::new((0..block_count).map(|_| AtomicI64::new(0)).collect());
    let counter = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            let (locks, blocks, counter) = (locks.clone(), blocks.clone(), counter.clone());
            std::thread::spawn(move || {
                let (sender, woken) = channel();
                let mut random = 0x9e37_79b9 * (thread + 1);
                let mut next = |below: u64| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    random % below
                };
                let mut increments = 0;
                for _ in 0..rounds {
                    let start = next(block_count);
                    let range = start..(start + 1 + next(3)).min(block_count);
                    let exclusive = next(exclusive_once_in) == 0;
                    let shard = thread as usize;
                    let hold = if !exclusive && locks.share(shard) {
                        Hold::Counted
                    } else {
                        let mode = if exclusive {
                            Mode::Exclusive
                        } else {
                            Mode::Shared
                        };
                        let (ticket, granted) = locks.claim(mode, range.clone(), sender.clone());
                        if !granted && next(8) == 0 {
                            locks.release(shard, Hold::Registered(ticket));
                            continue;
                        }
                        // A ticket of a claim that was given up may still be there.
                        let woken = || woken.recv_timeout(Duration::from_secs(20));
                        while !granted && woken().expect("a wake-up was lost") != ticket {}
                        Hold::Registered(ticket)
                    };
                    let weight = if exclusive { -1000 } else { 1 };
                    let enter = |block: &AtomicI64| {
                        let before = block.fetch_add(weight, SeqCst);
                        assert!(before == 0 || (!exclusive && before > 0), "{before} there");
                    };
                    let range = range.start as usize..range.end as usize;
                    blocks[range.clone()].iter().for_each(enter);
                    if exclusive && range.contains(&0) {
                        // Not atomic, but for the lock.
                        let seen = counter.load(Relaxed);
                        std::thread::yield_now();
                        counter.store(seen + 1, Relaxed);
                        increments += 1;
                    }
                    for block in &blocks[range] {
                        block.fetch_sub(weight, SeqCst);
                    }
                    locks.release(shard, hold);
                }
                increments
            })
        })
        .collect();
    let increments: u64 = threads
        .into_iter()
        .map(|t| t.join().expect("no panic"))
        .sum();
    assert!(increments > 0);
    assert_eq!(counter.load(Relaxed), increments);
    assert!(locks.is_idle());
    assert_eq!(locks.state().exclusive, 0);
    assert!(!locks.guarded.load(SeqCst));
}
