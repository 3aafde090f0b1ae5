//! Many nexuses and changes at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;
use crate::reservations::{Access, Reservations, Seat};

const ROUNDS: usize = 400;

fn join(shared: &Reservations, registrant: Registrant) -> Arc<Seat> {
    let seat = Arc::new(Seat::new(Some(registrant)));
    shared.join(&seat);
    seat
}

/// Tries again while another change is under way.
fn make(shared: &Reservations, by: &Registrant, action: &Action) -> Result<(), Refusal> {
    let change = change(by, action.clone());
    loop {
        match shared.begin(&change) {
            Ok(prepared) => {
                prepared.commit();
                return Ok(());
            }
            Err(Refusal::Busy) => thread::yield_now(),
            Err(refusal) => return Err(refusal),
        }
    }
}

/// After a commit, nobody has an older verdict: neither who was there nor who has come meanwhile.
#[test]
fn nobody_is_under_an_older_table() {
    let kind = ReservationType::ExclusiveAccess;
    let shared = Reservations::new(registered(&[(&srp(1), 1)]));
    let seats: Mutex<Vec<Arc<Seat>>> = Mutex::default();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(SeqCst) {
                // Joined before it is listed, so that whoever is listed has a verdict.
                let mut seats = seats.lock().unwrap();
                seats.push(join(&shared, nvme(2)));
                let gone = (seats.len() > 20).then(|| seats.swap_remove(0));
                drop(seats);
                if let Some(gone) = gone {
                    shared.leave(&gone);
                }
            }
        });
        for _ in 0..ROUNDS {
            make(&shared, &srp(1), &reserve(1, kind)).unwrap();
            // Whoever is listed has not left. If one is wrong, the lock ends the other thread as well.
            let all = seats.lock().unwrap();
            assert!(all.iter().all(|seat| !seat.allows(Access::Reads)));
            drop(all);
            make(&shared, &srp(1), &release(1, kind)).unwrap();
            let all = seats.lock().unwrap();
            assert!(all.iter().all(|seat| seat.allows(Access::Writes)));
        }
        over.store(true, SeqCst);
    });
}

/// Changes, nexuses that come and go, RESERVE and resets, all at once: at last everything agrees, and no change is lost.
#[test]
fn changes_do_not_lose_each_other() {
    let shared = Reservations::new(Table::new(64));
    let under_way = AtomicUsize::new(0);
    let counted = AtomicUsize::new(0);
    let watchers: Vec<_> = (0..8).map(|number| join(&shared, nvme(number))).collect();
    thread::scope(|scope| {
        for number in 0..4_u8 {
            let (shared, under_way, counted) = (&shared, &under_way, &counted);
            scope.spawn(move || {
                let me = nvme(number);
                for round in 0..ROUNDS {
                    let kind = ReservationType::ALL[round % 6];
                    let actions = [
                        register_over(Expected::Any, u64::from(number) + 1),
                        Action::Reserve { key: None, kind },
                        Action::Preempt {
                            key: None,
                            victim: u64::from((number + 1) % 4) + 1,
                            kind,
                            abort: true,
                        },
                        Action::Release { key: None, kind },
                    ];
                    for (place, action) in actions.iter().enumerate() {
                        let change = change(&me, action.clone());
                        // Every other one is not made: that leaves nothing behind.
                        let Ok(prepared) = shared.begin(&change) else {
                            continue;
                        };
                        assert_eq!(under_way.fetch_add(1, SeqCst), 0);
                        let commit = round % 2 == 0;
                        under_way.fetch_sub(1, SeqCst);
                        if !commit {
                            drop(prepared);
                            continue;
                        }
                        if place % 2 == 0 {
                            counted.fetch_add(1, SeqCst);
                        }
                        prepared.commit();
                    }
                }
            });
        }
        for number in 8..10_u8 {
            let shared = &shared;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let seat = join(shared, nvme(number));
                    let _ = shared.reserve(&seat);
                    if round % 3 == 0 {
                        shared.reset();
                    }
                    if round % 2 == 0 {
                        let _ = shared.release(&seat);
                    }
                    let _ = shared.live();
                    let _ = seat.take_notice();
                    shared.leave(&seat);
                }
            });
        }
    });
    shared.reset();
    let table = shared.table();
    assert_eq!(table.generation() as usize, counted.load(SeqCst));
    for (number, seat) in watchers.iter().enumerate() {
        let one = nvme(u8::try_from(number).unwrap());
        assert_eq!(seat.verdict(), table.verdict(Some(&one)));
    }
    assert_eq!(shared.live().len(), watchers.len());
    // Nothing is under way any more.
    make(&shared, &nvme(0), &Action::Wipe).unwrap();
    assert!(watchers.iter().all(|seat| seat.allows(Access::Writes)));
}

/// A nexus that takes its notices while more come misses none.
#[test]
fn notices_are_not_lost() {
    let kind = ReservationType::WriteExclusiveRegistrantsOnly;
    let shared = Reservations::new(registered(&[(&srp(1), 1), (&nvme(2), 2)]));
    let seat = join(&shared, nvme(2));
    let acknowledged = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                while !seat.has_notices() {
                    thread::yield_now();
                }
                assert_eq!(seat.take_notice(), Some(Notice::ReservationReleased));
                acknowledged.fetch_add(1, SeqCst);
            }
        });
        for round in 0..ROUNDS {
            make(&shared, &srp(1), &reserve(1, kind)).unwrap();
            make(&shared, &srp(1), &release(1, kind)).unwrap();
            while acknowledged.load(SeqCst) <= round {
                thread::yield_now();
            }
        }
    });
    assert!(!seat.has_notices());
}
