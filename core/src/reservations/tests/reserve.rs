//! RESERVE, RELEASE, CLEAR (SPC-4 sections 5.13.9, 5.13.11.2.2 and 5.13.11.2.7).

use std::sync::Arc;

use super::*;

/// SPC-4 section 5.13.7: whoever is not registered, or gives another key, meets a conflict.
#[test]
fn who_gives_no_key_of_its_own_meets_a_conflict() {
    let [a, b, ..] = four();
    for kind in ReservationType::ALL {
        let free = registered(&[(&a, 1)]);
        let held = quietly(&free, &a, reserve(1, kind));
        for table in [free, held] {
            for (by, key) in [(&b, 0), (&b, 1), (&a, 0), (&a, 2)] {
                for action in [
                    reserve(key, kind),
                    release(key, kind),
                    clear(key),
                    preempt(key, 1, kind),
                    preempt_and_abort(key, 1, kind),
                ] {
                    assert_eq!(refused(&table, by, action), Refusal::Conflict);
                }
            }
            // The key may not matter; a registration always does.
            for action in [
                Action::Reserve { key: None, kind },
                Action::Release { key: None, kind },
                Action::Clear { key: None },
                Action::Preempt {
                    key: None,
                    victim: 1,
                    kind,
                    abort: false,
                },
            ] {
                assert_eq!(refused(&table, &b, action.clone()), Refusal::Conflict);
                done(&table, &a, action);
            }
        }
    }
}

/// SPC-4 section 5.13.9.
#[test]
fn one_reservation_at_a_time() {
    let [a, b, c, _] = four();
    for kind in ReservationType::ALL {
        let table = registered(&[(&a, 1), (&b, 2)]);
        let held = quietly(&table, &a, reserve(1, kind));
        if kind.is_held_by_all() {
            assert_eq!(held_by_all(&held), Some(kind));
        } else {
            assert_eq!(held_by(&held, &a), Some(kind));
        }
        for other in ReservationType::ALL {
            // The holder may say again what it holds.
            if other == kind {
                unchanged(&held, &a, reserve(1, other));
            } else {
                assert_eq!(refused(&held, &a, reserve(1, other)), Refusal::Conflict);
            }
            // Every registrant is a holder of what all registrants hold.
            if other == kind && kind.is_held_by_all() {
                unchanged(&held, &b, reserve(2, other));
            } else {
                assert_eq!(refused(&held, &b, reserve(2, other)), Refusal::Conflict);
            }
            assert_eq!(refused(&held, &c, reserve(0, other)), Refusal::Conflict);
        }
    }
}

/// SPC-4 section 5.13.11.2.2.
#[test]
fn a_release_tells_those_who_shared_it() {
    let [a, b, c, _] = four();
    for kind in ReservationType::ALL {
        let table = registered(&[(&a, 1), (&b, 2), (&c, 3)]);
        let held = quietly(&table, &a, reserve(1, kind));
        let released = done(&held, &a, release(1, kind));
        assert_eq!(released.table, table);
        let others = match kind {
            ReservationType::WriteExclusive | ReservationType::ExclusiveAccess => vec![],
            _ => sorted([&b, &c]),
        };
        assert_eq!(told(&released, Notice::ReservationReleased), others);
        assert_eq!(released.aborted, []);
        // There is nothing to release any more: good.
        unchanged(&released.table, &a, release(1, kind));
    }
}

#[test]
fn a_release_of_another_type_is_refused() {
    let [a, b, ..] = four();
    for kind in ReservationType::ALL {
        let table = registered(&[(&a, 1), (&b, 2)]);
        let held = quietly(&table, &a, reserve(1, kind));
        for other in ReservationType::ALL.into_iter().filter(|one| *one != kind) {
            assert_eq!(refused(&held, &a, release(1, other)), Refusal::WrongType);
            // Who does not hold it is not asked for the type.
            if kind.is_held_by_all() {
                assert_eq!(refused(&held, &b, release(2, other)), Refusal::WrongType);
            } else {
                unchanged(&held, &b, release(2, other));
            }
        }
    }
}

#[test]
fn who_does_not_hold_releases_nothing() {
    let [a, b, ..] = four();
    for kind in ReservationType::ALL {
        let table = registered(&[(&a, 1), (&b, 2)]);
        let held = quietly(&table, &a, reserve(1, kind));
        if kind.is_held_by_all() {
            let released = done(&held, &b, release(2, kind));
            assert_eq!(released.table, table);
            let others = told(&released, Notice::ReservationReleased);
            assert_eq!(others, sorted([&a]));
        } else {
            unchanged(&held, &b, release(2, kind));
        }
    }
}

/// SPC-4 section 5.13.11.2.7.
#[test]
fn clear_ends_everything_and_tells_everybody_else() {
    let [a, b, c, _] = four();
    let table = registered(&[(&a, 1), (&b, 2), (&c, 2)]);
    let mut tables = vec![table.clone()];
    tables.extend(ReservationType::ALL.map(|kind| quietly(&table, &a, reserve(1, kind))));
    for table in tables {
        let cleared = done(&table, &b, clear(2));
        assert!(cleared.table.registrations().is_empty());
        assert_eq!(cleared.table.holder(), None);
        assert_eq!(
            told(&cleared, Notice::ReservationPreempted),
            sorted([&a, &c])
        );
        assert_eq!(cleared.aborted, []);
        // An operator does the same, and is none of them.
        let wiped = table.apply(&change(&b, Action::Wipe)).unwrap();
        assert_eq!(wiped.table, cleared.table);
        assert_eq!(
            told(&wiped, Notice::ReservationPreempted),
            sorted([&a, &b, &c])
        );
    }
}

/// What was said of a loss of power holds until it is said otherwise.
#[test]
fn clear_leaves_persistence_as_it_is() {
    let [a, ..] = four();
    let table = quietly(&registered(&[(&a, 1)]), &a, Action::Persist(true));
    assert!(quietly(&table, &a, clear(1)).persistent());
    assert!(
        table
            .apply(&change(&a, Action::Wipe))
            .unwrap()
            .table
            .persistent()
    );
}

/// A table may have thousands of registrations; only what changes them copies them.
#[test]
fn what_leaves_registrations_as_they_are_copies_none() {
    let [a, b, c, _] = four();
    let kind = ReservationType::WriteExclusive;
    let table = registered(&[(&a, 1), (&b, 2)]);
    let reserved = quietly(&table, &a, reserve(1, kind));
    for (before, by, action) in [
        (&table, &a, reserve(1, kind)),
        (&reserved, &a, reserve(1, kind)),
        (&reserved, &a, release(1, kind)),
        (&reserved, &b, release(2, kind)),
        (&table, &a, release(1, kind)),
        (&table, &c, register_over(Expected::Any, 0)),
        (&table, &a, register_over(Expected::Any, 1)),
        (&table, &a, Action::Persist(true)),
    ] {
        let after = quietly(before, by, action.clone());
        assert!(
            Arc::ptr_eq(&before.registrations, &after.registrations),
            "{action:?}"
        );
    }
    // And it is a copy that changes.
    let more = quietly(&reserved, &c, register(3));
    assert_eq!(
        (reserved.registrations().len(), more.registrations().len()),
        (2, 3)
    );
}
