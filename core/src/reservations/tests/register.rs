//! REGISTER, REGISTER AND IGNORE EXISTING KEY (SPC-4 section 5.13.7) and NVMe's Reservation Register.

use super::*;

/// SPC-4 table 67, row by row, without SPEC_I_PT.
#[test]
fn register_follows_its_table() {
    let [a, b, ..] = four();
    let table = registered(&[(&a, 1)]);

    unchanged(&table, &b, register_over(Expected::Key(0), 0));
    let more = quietly(&table, &b, register_over(Expected::Key(0), 2));
    assert_eq!(key_of(&more, &b), Some(2));
    assert_eq!(key_of(&more, &a), Some(1));
    for key in [0, 2] {
        let conflict = refused(&table, &b, register_over(Expected::Key(1), key));
        assert_eq!(conflict, Refusal::Conflict);
    }

    for (given, key) in [(0, 0), (0, 1), (2, 0), (2, 2)] {
        let conflict = refused(&table, &a, register_over(Expected::Key(given), key));
        assert_eq!(conflict, Refusal::Conflict);
    }
    let gone = quietly(&table, &a, register_over(Expected::Key(1), 0));
    assert_eq!(key_of(&gone, &a), None);
    let other = quietly(&table, &a, register_over(Expected::Key(1), 9));
    assert_eq!(key_of(&other, &a), Some(9));
    let same = quietly(&table, &a, register_over(Expected::Key(1), 1));
    assert_eq!(key_of(&same, &a), Some(1));
}

/// SPC-4 table 68, row by row.
#[test]
fn register_and_ignore_existing_key_follows_its_table() {
    let [a, b, ..] = four();
    let table = registered(&[(&a, 1)]);
    unchanged(&table, &b, register_over(Expected::Any, 0));
    let more = quietly(&table, &b, register_over(Expected::Any, 2));
    assert_eq!(key_of(&more, &b), Some(2));
    let gone = quietly(&table, &a, register_over(Expected::Any, 0));
    assert_eq!(key_of(&gone, &a), None);
    let other = quietly(&table, &a, register_over(Expected::Any, 9));
    assert_eq!(key_of(&other, &a), Some(9));
}

#[test]
fn nvme_registers_once_and_replaces_what_is_there() {
    let [a, b, ..] = four();
    let table = registered(&[(&a, 1)]);

    // Register: the same key again is no fault, another one is.
    let same = quietly(&table, &a, register_over(Expected::Unregistered, 1));
    assert_eq!(same.registrations(), table.registrations());
    assert_eq!(same.generation(), table.generation() + 1);
    let other = refused(&table, &a, register_over(Expected::Unregistered, 2));
    assert_eq!(other, Refusal::Conflict);
    let more = quietly(&table, &b, register_over(Expected::Unregistered, 2));
    assert_eq!(key_of(&more, &b), Some(2));
    let zero = refused(&table, &b, register_over(Expected::Unregistered, 0));
    assert_eq!(zero, Refusal::ZeroKey);
    let zero = refused(&table, &a, register_over(Expected::Unregistered, 0));
    assert_eq!(zero, Refusal::Conflict);

    // Replace and unregister: of one that is there, and with its key if that matters.
    for expected in [Expected::Registered(1), Expected::AnyRegistered] {
        let replaced = quietly(&table, &a, register_over(expected, 7));
        assert_eq!(key_of(&replaced, &a), Some(7));
        let gone = quietly(&table, &a, register_over(expected, 0));
        assert_eq!(key_of(&gone, &a), None);
        for key in [0, 7] {
            let stranger = refused(&table, &b, register_over(expected, key));
            assert_eq!(stranger, Refusal::Conflict);
        }
    }
    for key in [0, 7] {
        let wrong = refused(&table, &a, register_over(Expected::Registered(2), key));
        assert_eq!(wrong, Refusal::Conflict);
        let none = refused(&table, &b, register_over(Expected::Registered(0), key));
        assert_eq!(none, Refusal::Conflict);
    }
}

/// SPC-4 table 67, with SPEC_I_PT.
#[test]
fn others_are_registered_all_or_none() {
    let [a, b, c, d] = four();
    let table = registered(&[(&d, 4)]);

    let all = quietly(&table, &a, register_with(1, &[&b, &c]));
    for one in [&a, &b, &c] {
        assert_eq!(key_of(&all, one), Some(1));
    }
    assert_eq!(all.generation(), table.generation() + 1);

    // One of them is registered: note b.
    let taken = refused(&table, &a, register_with(1, &[&b, &d, &c]));
    assert_eq!(taken, Refusal::AlreadyRegistered);
    // Who asks is registered: note c, whether it unregisters or not; but a wrong key is a conflict first.
    for key in [0, 5] {
        let action = |given| Action::Register {
            expected: Expected::Key(given),
            key,
            others: vec![b.clone()],
            persist: None,
        };
        assert_eq!(refused(&table, &d, action(4)), Refusal::AlreadyRegistered);
        assert_eq!(refused(&table, &d, action(3)), Refusal::Conflict);
    }
    // From a stranger, key zero is for nothing, whoever else is named.
    unchanged(&table, &a, register_with(0, &[&b]));
    // Who is named twice, or names itself, is registered once.
    let twice = quietly(&table, &a, register_with(1, &[&b, &b, &a]));
    assert_eq!(twice.registrations().len(), 3);
}

#[test]
fn there_is_room_for_so_many() {
    let all: Vec<_> = (0..=u8::try_from(LIMIT).unwrap()).map(nvme).collect();
    let [first, second, .., last] = &all[..] else {
        panic!("{all:?}")
    };
    let pairs: Vec<_> = all[..LIMIT].iter().map(|one| (one, 1)).collect();
    let full = registered(&pairs);
    assert_eq!(full.registrations().len(), LIMIT);
    for expected in [Expected::Key(0), Expected::Any, Expected::Unregistered] {
        let more = refused(&full, last, register_over(expected, 1));
        assert_eq!(more, Refusal::NoRoom);
    }
    // Those who are there have their room.
    quietly(&full, first, register_over(Expected::Key(1), 2));
    let less = quietly(&full, first, register_over(Expected::Key(1), 0));
    quietly(&less, last, register(1));
    // Others take room as well, none of them or all.
    let more = refused(&less, first, register_with(1, &[last]));
    assert_eq!(more, Refusal::NoRoom);
    let less = quietly(&less, second, register_over(Expected::Key(1), 0));
    let full = quietly(&less, first, register_with(1, &[last, last, first]));
    assert_eq!(full.registrations().len(), LIMIT);
}

#[test]
fn a_table_that_holds_nothing_takes_nothing() {
    let table = Table::new(0);
    assert_eq!(refused(&table, &srp(1), register(1)), Refusal::NoRoom);
}

/// SPC-4 section 5.13.7: whatever is reserved, registering goes on, and changes nothing of it.
#[test]
fn a_key_changes_without_the_reservation() {
    let [a, b, ..] = four();
    for kind in ReservationType::ALL {
        let table = registered(&[(&a, 1)]);
        let table = quietly(&table, &a, reserve(1, kind));
        let table = quietly(&table, &b, register(2));
        let after = quietly(&table, &a, register_over(Expected::Key(1), 7));
        assert_eq!(after.holder(), table.holder());
        done(&after, &a, release(7, kind));
    }
}

/// SPC-4 section 5.13.11.2.3.
#[test]
fn a_holder_that_unregisters_releases() {
    let [a, b, c, _] = four();
    for kind in ReservationType::ALL {
        let table = registered(&[(&a, 1), (&b, 2), (&c, 3)]);
        let table = quietly(&table, &a, reserve(1, kind));
        let gone = done(&table, &a, register_over(Expected::Key(1), 0));
        let others = match kind {
            // Nobody but the holder had any use of it.
            ReservationType::WriteExclusive | ReservationType::ExclusiveAccess => {
                assert_eq!(gone.table.holder(), None);
                vec![]
            }
            ReservationType::WriteExclusiveRegistrantsOnly
            | ReservationType::ExclusiveAccessRegistrantsOnly => {
                assert_eq!(gone.table.holder(), None);
                sorted([&b, &c])
            }
            // The others still hold it.
            ReservationType::WriteExclusiveAllRegistrants
            | ReservationType::ExclusiveAccessAllRegistrants => {
                assert_eq!(held_by_all(&gone.table), Some(kind));
                vec![]
            }
        };
        assert_eq!(told(&gone, Notice::ReservationReleased), others);
        assert_eq!(gone.aborted, []);
    }
}

#[test]
fn a_registrant_that_does_not_hold_leaves_the_reservation() {
    let [a, b, ..] = four();
    for kind in ReservationType::ALL {
        let table = registered(&[(&a, 1), (&b, 2)]);
        let table = quietly(&table, &a, reserve(1, kind));
        let gone = quietly(&table, &b, register_over(Expected::Key(2), 0));
        assert_eq!(gone.holder(), table.holder());
    }
}

/// SPC-4 table 71: what all registrants hold ends with the last of them.
#[test]
fn the_last_of_all_registrants_releases() {
    let [a, b, ..] = four();
    for kind in [
        ReservationType::WriteExclusiveAllRegistrants,
        ReservationType::ExclusiveAccessAllRegistrants,
    ] {
        let table = registered(&[(&a, 1), (&b, 2)]);
        let table = quietly(&table, &a, reserve(1, kind));
        let one = quietly(&table, &a, register_over(Expected::Any, 0));
        assert_eq!(held_by_all(&one), Some(kind));
        let none = quietly(&one, &b, register_over(Expected::Any, 0));
        assert_eq!(none.holder(), None);
    }
}

/// SPC-4 section 5.13.5.1: the APTPL of the last successful REGISTER counts, whoever sent it.
#[test]
fn the_last_register_says_whether_the_table_persists() {
    let [a, b, ..] = four();
    let registering = |expected, key, persist| Action::Register {
        expected,
        key,
        others: Vec::new(),
        persist,
    };
    let table = quietly(
        &Table::new(LIMIT),
        &a,
        registering(Expected::Key(0), 1, Some(true)),
    );
    assert!(table.persistent());
    // It may leave it as it is, and one that does nothing or is refused does so.
    let as_it_is = quietly(&table, &b, registering(Expected::Key(0), 2, None));
    assert!(as_it_is.persistent());
    unchanged(&table, &b, registering(Expected::Key(0), 0, Some(false)));
    refused(&table, &b, registering(Expected::Key(1), 0, Some(false)));
    let off = quietly(&table, &b, registering(Expected::Any, 2, Some(false)));
    assert!(!off.persistent());
    let on = quietly(&off, &a, registering(Expected::Key(1), 0, Some(true)));
    assert!(on.persistent());
}

/// The feature of NVMe: nobody needs a registration for it, and it counts for nothing else.
#[test]
fn persistence_alone_changes_nothing_else() {
    let [a, b, ..] = four();
    let table = registered(&[(&a, 1)]);
    let on = quietly(&table, &b, Action::Persist(true));
    assert!(on.persistent());
    assert_eq!(on.generation(), table.generation());
    assert_eq!(on.registrations(), table.registrations());
    let off = quietly(&on, &b, Action::Persist(false));
    assert_eq!(off, table);
}

/// SPC-4 section 6.15.2.
#[test]
fn the_generation_counts_what_may_change_registrations() {
    let [a, b, c, _] = four();
    let kind = ReservationType::WriteExclusive;
    let mut table = Table::new(LIMIT);
    assert_eq!(table.generation(), 0);
    let steps = [
        (&a, register(1), 1),
        (&b, register_over(Expected::Any, 2), 2),
        (&a, register_over(Expected::Key(1), 1), 3),
        (&a, reserve(1, kind), 3),
        (&a, reserve(1, kind), 3),
        (&b, release(2, kind), 3),
        (&a, release(1, kind), 3),
        (&a, reserve(1, kind), 3),
        (&b, preempt(2, 1, kind), 4),
        (&b, preempt_and_abort(2, 2, kind), 5),
        (
            &b,
            Action::Move {
                key: 2,
                new_key: 3,
                to: c.clone(),
                unregister: false,
                persist: false,
            },
            6,
        ),
        (&b, Action::Persist(true), 6),
        (&b, register_over(Expected::Registered(2), 0), 7),
        (&c, clear(3), 8),
        (&a, Action::Wipe, 9),
    ];
    for (by, action, generation) in steps {
        let what = format!("{action:?}");
        table = done(&table, by, action).table;
        assert_eq!(table.generation(), generation, "{what}");
    }
    // It wraps (32 bits).
    table.generation = u32::MAX;
    assert_eq!(quietly(&table, &a, register(1)).generation(), 0);
}
