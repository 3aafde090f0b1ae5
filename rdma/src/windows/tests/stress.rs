//! Threads that acquire while others revoke, shrink, and a budget evicts.

use std::sync::atomic::{AtomicBool, AtomicU64};

use super::*;

const WINDOWS: u64 = 24;
const BUDGET: u64 = 6;

/// A small generator: what it draws need not be good, only different in each thread.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn no_lease_ever_overlaps_a_deregistration() {
    let rig = Rig::new(
        WINDOWS * WINDOW,
        Settings {
            registrars: 3,
            backoff: Duration::from_millis(1),
            ..settings(BUDGET)
        },
    );
    let ledger = &rig.adapter.ledger;
    let stop = AtomicBool::new(false);
    let revoked = AtomicU64::new(0);

    thread::scope(|scope| {
        for seed in 0..3 {
            let (rig, stop) = (&rig, &stop);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                let mut held = Vec::new();
                while !stop.load(SeqCst) {
                    let offset = dice.below(WINDOWS * WINDOW - WINDOW - 1);
                    let length = 1 + dice.below(WINDOW);
                    if let Some((lease, sges)) = rig.acquire(offset, length) {
                        for sge in &sges {
                            ledger.begin(sge.key, sge.address, sge.length);
                        }
                        held.push((lease, sges));
                    }
                    if held.len() > dice.below(4) as usize {
                        let (lease, sges) = held.swap_remove(0);
                        for sge in &sges {
                            ledger.end(sge.key);
                        }
                        drop(lease);
                    }
                    if dice.below(64) == 0 {
                        thread::yield_now();
                    }
                }
                for (lease, sges) in held {
                    for sge in &sges {
                        ledger.end(sge.key);
                    }
                    drop(lease);
                }
            });
        }
        for seed in 10..12 {
            let (rig, stop, revoked) = (&rig, &stop, &revoked);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                while !stop.load(SeqCst) {
                    let first = dice.below(WINDOWS);
                    let last = (first + dice.below(5)).min(WINDOWS - 1);
                    let range = first * WINDOW..(last + 1) * WINDOW;
                    let guard = rig
                        .windows
                        .revoke_and_wait(range.clone(), PATIENCE)
                        .unwrap();
                    for window in first..=last {
                        assert!(rig.acquire(window * WINDOW, 1).is_none());
                    }
                    if dice.below(4) == 0 {
                        thread::sleep(Duration::from_millis(1));
                    }
                    let base = rig.source.base();
                    assert!(!ledger.overlaps(&(base + range.start..base + range.end)));
                    revoked.fetch_add(1, SeqCst);
                    drop(guard);
                }
            });
        }
        scope.spawn(|| {
            let mut dice = Dice(99);
            for _ in 0..150 {
                rig.adapter
                    .refuse
                    .store(if dice.below(8) == 0 { libc::EFAULT } else { 0 }, SeqCst);
                thread::sleep(Duration::from_millis(10));
            }
            rig.adapter.refuse.store(0, SeqCst);
            stop.store(true, SeqCst);
        });
    });

    rig.settle();
    let statistics = rig.cache.statistics();
    assert!(revoked.load(SeqCst) > 10, "revocations came through");
    assert!(
        statistics.hits > 100 && statistics.evictions > 0,
        "{statistics:?}"
    );
    assert_eq!(ledger.violations.load(SeqCst), 0);
    assert!(ledger.most_pinned.load(SeqCst) <= BUDGET * WINDOW);
    assert_eq!(statistics.windows, ledger.live() as u64);

    drop(
        rig.windows
            .revoke_and_wait(0..WINDOWS * WINDOW, PATIENCE)
            .unwrap(),
    );
    assert_eq!(ledger.live(), 0);
    assert_eq!(rig.cache.statistics().windows, 0);
    assert_eq!(rig.windows.service().statistics().pinned_bytes, 0);
}
