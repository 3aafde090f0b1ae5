//! PREEMPT and PREEMPT AND ABORT (SPC-4 sections 5.13.11.2.4 to 5.13.11.2.6).

use super::*;
use ReservationType::{
    ExclusiveAccess as EA, ExclusiveAccessAllRegistrants as EAAR, WriteExclusive as WE,
    WriteExclusiveAllRegistrants as WEAR,
};

fn of_one() -> impl Iterator<Item = ReservationType> {
    ReservationType::ALL
        .into_iter()
        .filter(|kind| !kind.is_held_by_all())
}

/// Both forms; the commands of `victims` end by the second.
fn both(
    table: &Table,
    by: &Registrant,
    (key, victim, kind): (u64, u64, ReservationType),
    victims: &[&Registrant],
) -> Applied {
    let without = done(table, by, preempt(key, victim, kind));
    assert_eq!(without.aborted, []);
    let with = done(table, by, preempt_and_abort(key, victim, kind));
    assert_eq!(with.aborted, sorted(victims.iter().copied()));
    assert_eq!(with.table, without.table);
    assert_eq!(with.notices, without.notices);
    without
}

fn notices(applied: &Applied) -> Vec<(Registrant, Notice)> {
    let mut notices = applied.notices.clone();
    notices.sort();
    notices
}

fn expected(all: &[(&Registrant, Notice)]) -> Vec<(Registrant, Notice)> {
    let mut all: Vec<_> = all
        .iter()
        .map(|(to, what)| ((*to).clone(), *what))
        .collect();
    all.sort();
    all
}

/// Table 72: the key of the one that holds. Section 5.13.11.2.4.3, a) to f).
#[test]
fn the_holder_is_preempted() {
    let [a, b, c, d] = four();
    for old in of_one() {
        for new in ReservationType::ALL {
            // c has the holder's key, d one of its own.
            let table = registered(&[(&a, 1), (&b, 2), (&c, 1), (&d, 4)]);
            let table = quietly(&table, &a, reserve(1, old));
            let after = both(&table, &b, (2, 1, new), &[&a, &c]);
            assert_eq!(key_of(&after.table, &a), None);
            assert_eq!(key_of(&after.table, &c), None);
            assert_eq!(key_of(&after.table, &b), Some(2));
            assert_eq!(key_of(&after.table, &d), Some(4));
            if new.is_held_by_all() {
                assert_eq!(held_by_all(&after.table), Some(new));
            } else {
                assert_eq!(held_by(&after.table, &b), Some(new));
            }
            let mut heard = vec![
                (&a, Notice::RegistrationPreempted),
                (&c, Notice::RegistrationPreempted),
            ];
            // Who remains hears of another type alone.
            if new != old {
                heard.push((&d, Notice::ReservationReleased));
            }
            assert_eq!(notices(&after), expected(&heard), "{old:?} {new:?}");
        }
    }
}

/// The same, by one that has the key of the holder itself: it stays.
#[test]
fn who_preempts_the_holder_stays_even_with_its_key() {
    let [a, b, c, _] = four();
    let table = registered(&[(&a, 1), (&b, 1), (&c, 1)]);
    let table = quietly(&table, &a, reserve(1, WE));
    let after = both(&table, &b, (1, 1, WE), &[&a, &c]);
    assert_eq!(after.table.registrations().len(), 1);
    assert_eq!(held_by(&after.table, &b), Some(WE));
    assert_eq!(
        told(&after, Notice::RegistrationPreempted),
        sorted([&a, &c])
    );
}

/// Section 5.13.11.2.4.3: the holder preempts itself, by which it changes the type, and those who share its key go.
#[test]
fn a_holder_preempts_itself() {
    let [a, b, c, _] = four();
    for old in of_one() {
        for new in ReservationType::ALL {
            let table = registered(&[(&a, 1), (&b, 1), (&c, 3)]);
            let table = quietly(&table, &a, reserve(1, old));
            let after = both(&table, &a, (1, 1, new), &[&b]);
            assert_eq!(key_of(&after.table, &a), Some(1));
            assert_eq!(key_of(&after.table, &b), None);
            assert_eq!(after.table.holder().map(|holder| holder.kind), Some(new));
            assert!(after.table.is_holder(&a));
            let mut heard = vec![(&b, Notice::RegistrationPreempted)];
            if new != old {
                heard.push((&c, Notice::ReservationReleased));
            }
            assert_eq!(notices(&after), expected(&heard));
        }
    }
}

/// Table 72: any other key; section 5.13.11.2.5. Scope and type are not looked at.
#[test]
fn registrants_are_removed() {
    let [a, b, c, d] = four();
    let table = registered(&[(&a, 1), (&b, 2), (&c, 2), (&d, 4)]);
    let mut tables = vec![table.clone()];
    tables.extend(ReservationType::ALL.map(|kind| quietly(&table, &a, reserve(1, kind))));
    for table in tables {
        for new in ReservationType::ALL {
            for by in [(&a, 1), (&d, 4)] {
                let after = both(&table, by.0, (by.1, 2, new), &[&b, &c]);
                assert_eq!(after.table.holder(), table.holder());
                assert_eq!(after.table.registrations().len(), 2);
                assert_eq!(
                    told(&after, Notice::RegistrationPreempted),
                    sorted([&b, &c])
                );
            }
        }
    }
}

/// Section 5.13.11.2.5, its end: one's own key is no fault, and the registration goes.
#[test]
fn who_removes_its_own_key_goes_as_well() {
    let [a, b, c, _] = four();
    let table = registered(&[(&a, 1), (&b, 2), (&c, 2)]);
    let mut tables = vec![table.clone()];
    tables.extend(ReservationType::ALL.map(|kind| quietly(&table, &a, reserve(1, kind))));
    for table in tables {
        let after = both(&table, &b, (2, 2, EA), &[&b, &c]);
        assert_eq!(key_of(&after.table, &b), None);
        assert_eq!(key_of(&after.table, &c), None);
        assert_eq!(after.table.holder(), table.holder());
        // Who asks is not told.
        assert_eq!(told(&after, Notice::RegistrationPreempted), sorted([&c]));
    }
}

/// Table 72: all registrants hold, and the key is zero.
#[test]
fn all_registrants_are_preempted_by_key_zero() {
    let [a, b, c, d] = four();
    for old in [WEAR, EAAR] {
        for new in ReservationType::ALL {
            let table = registered(&[(&a, 1), (&b, 2), (&c, 2), (&d, 4)]);
            let table = quietly(&table, &a, reserve(1, old));
            let after = both(&table, &b, (2, 0, new), &[&a, &c, &d]);
            assert_eq!(after.table.registrations().len(), 1);
            assert_eq!(key_of(&after.table, &b), Some(2));
            assert_eq!(after.table.holder().map(|holder| holder.kind), Some(new));
            assert!(after.table.is_holder(&b));
            assert_eq!(
                told(&after, Notice::RegistrationPreempted),
                sorted([&a, &c, &d])
            );
            // Alone it may do so as well, to change the type.
            let alone = quietly(&registered(&[(&b, 2)]), &b, reserve(2, old));
            let alone = both(&alone, &b, (2, 0, new), &[]);
            assert_eq!(alone.table.registrations(), after.table.registrations());
            assert_eq!(alone.table.holder(), after.table.holder());
        }
    }
}

/// Table 72: all registrants hold, and the key is not zero. Only registrations go, and the reservation with the last of them.
#[test]
fn all_registrants_keep_what_they_hold_while_one_remains() {
    let [a, b, ..] = four();
    for kind in [WEAR, EAAR] {
        let table = registered(&[(&a, 1), (&b, 2)]);
        let table = quietly(&table, &a, reserve(1, kind));
        let after = both(&table, &a, (1, 2, WE), &[&b]);
        assert_eq!(held_by_all(&after.table), Some(kind));
        // One's own key is not the holder's here.
        let after = both(&table, &a, (1, 1, WE), &[&a]);
        assert_eq!(held_by_all(&after.table), Some(kind));
        assert_eq!(after.table.registrations().len(), 1);

        let same = registered(&[(&a, 1), (&b, 1)]);
        let same = quietly(&same, &a, reserve(1, kind));
        let none = both(&same, &a, (1, 1, WE), &[&a, &b]);
        assert!(none.table.registrations().is_empty());
        assert_eq!(none.table.holder(), None);
        assert_eq!(told(&none, Notice::RegistrationPreempted), sorted([&b]));
    }
}

/// Table 72: key zero where one holds is a fault; where nobody holds it is a key that nobody has (figure 9).
#[test]
fn key_zero_stands_for_all_registrants_alone() {
    let [a, b, ..] = four();
    let table = registered(&[(&a, 1), (&b, 2)]);
    for abort in [preempt, preempt_and_abort] {
        assert_eq!(refused(&table, &a, abort(1, 0, WE)), Refusal::Conflict);
        for kind in of_one() {
            let held = quietly(&table, &a, reserve(1, kind));
            for (by, key) in [(&a, 1), (&b, 2)] {
                assert_eq!(refused(&held, by, abort(key, 0, WE)), Refusal::ZeroKey);
            }
        }
    }
}

/// Section 5.13.11.2.5.
#[test]
fn a_key_that_nobody_has_is_a_conflict() {
    let [a, b, ..] = four();
    let table = registered(&[(&a, 1), (&b, 2)]);
    let mut tables = vec![table.clone()];
    tables.extend(ReservationType::ALL.map(|kind| quietly(&table, &a, reserve(1, kind))));
    for table in tables {
        for (by, key) in [(&a, 1), (&b, 2)] {
            assert_eq!(refused(&table, by, preempt(key, 9, WE)), Refusal::Conflict);
            assert_eq!(
                refused(&table, by, preempt_and_abort(key, 9, WE)),
                Refusal::Conflict
            );
        }
    }
}

/// Across protocols it is the same: here an NVMe host ends what a SCSI initiator holds, and is preempted in turn.
#[test]
fn protocols_preempt_each_other() {
    let (scsi, host) = (iscsi(1), nvme(2));
    let table = registered(&[(&scsi, 1), (&host, 2)]);
    let table = quietly(&table, &scsi, reserve(1, EA));
    let after = both(&table, &host, (2, 1, WE), &[&scsi]);
    assert_eq!(held_by(&after.table, &host), Some(WE));
    assert_eq!(told(&after, Notice::RegistrationPreempted), sorted([&scsi]));

    let table = quietly(&after.table, &scsi, register(1));
    let after = both(&table, &scsi, (1, 2, EA), &[&host]);
    assert_eq!(held_by(&after.table, &scsi), Some(EA));
    assert_eq!(told(&after, Notice::RegistrationPreempted), [host]);
}
