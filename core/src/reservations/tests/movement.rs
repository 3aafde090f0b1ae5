//! REGISTER AND MOVE (SPC-4 section 5.13.8).

use super::*;

fn moves(key: u64, new_key: u64, to: &Registrant, unregister: bool) -> Action {
    Action::Move {
        key,
        new_key,
        to: to.clone(),
        unregister,
        persist: false,
    }
}

fn of_one() -> impl Iterator<Item = ReservationType> {
    ReservationType::ALL
        .into_iter()
        .filter(|kind| !kind.is_held_by_all())
}

/// Table 70, the last two of its rows that are good.
#[test]
fn a_reservation_moves() {
    let [a, b, c, _] = four();
    for kind in of_one() {
        let table = registered(&[(&a, 1), (&c, 3)]);
        let table = quietly(&table, &a, reserve(1, kind));

        let after = quietly(&table, &a, moves(1, 7, &b, false));
        assert_eq!(held_by(&after, &b), Some(kind));
        assert_eq!(key_of(&after, &b), Some(7));
        assert_eq!(key_of(&after, &a), Some(1));

        // Nothing is released by unregistering: it has moved before.
        let after = quietly(&table, &a, moves(1, 7, &b, true));
        assert_eq!(held_by(&after, &b), Some(kind));
        assert_eq!(key_of(&after, &a), None);

        // To one that is registered: with another key from now on.
        let after = quietly(&table, &a, moves(1, 7, &c, true));
        assert_eq!(held_by(&after, &c), Some(kind));
        assert_eq!(key_of(&after, &c), Some(7));
        assert_eq!(after.registrations().len(), 1);
    }
}

/// Table 70, and the text below it.
#[test]
fn a_reservation_moves_for_its_holder_alone() {
    let [a, b, c, d] = four();
    for unregister in [false, true] {
        for kind in of_one() {
            let table = registered(&[(&a, 1), (&b, 2)]);
            let table = quietly(&table, &a, reserve(1, kind));
            let refused =
                |by, key, new_key, to| refused(&table, by, moves(key, new_key, to, unregister));
            assert_eq!(refused(&d, 0, 7, &c), Refusal::Conflict);
            assert_eq!(refused(&a, 2, 7, &c), Refusal::Conflict);
            assert_eq!(refused(&b, 2, 7, &c), Refusal::Conflict);
            assert_eq!(refused(&a, 1, 0, &c), Refusal::BadMove);
            assert_eq!(refused(&a, 1, 7, &a), Refusal::BadMove);
            // Faults of the parameters come after conflicts.
            assert_eq!(refused(&a, 2, 0, &c), Refusal::Conflict);
            assert_eq!(refused(&b, 2, 0, &c), Refusal::Conflict);
        }
        for kind in ReservationType::ALL
            .into_iter()
            .filter(|kind| kind.is_held_by_all())
        {
            let table = registered(&[(&a, 1), (&b, 2)]);
            let table = quietly(&table, &a, reserve(1, kind));
            let action = moves(1, 7, &b, unregister);
            assert_eq!(refused(&table, &a, action), Refusal::Conflict);
        }
        let table = registered(&[(&a, 1)]);
        let action = moves(1, 7, &b, unregister);
        assert_eq!(refused(&table, &a, action), Refusal::NothingToMove);
        let action = moves(2, 7, &b, unregister);
        assert_eq!(refused(&table, &a, action), Refusal::Conflict);
    }
}

/// It is the initiator port that must be another one; another target port does not make it one.
#[test]
fn a_reservation_does_not_move_to_another_port_for_the_same_initiator() {
    let a = srp(1);
    let Registrant::Scsi {
        initiator, target, ..
    } = a.clone()
    else {
        panic!("{a:?}")
    };
    let elsewhere = Registrant::Scsi {
        initiator,
        target,
        port: 9,
    };
    let table = registered(&[(&a, 1)]);
    let table = quietly(&table, &a, reserve(1, ReservationType::WriteExclusive));
    let action = moves(1, 7, &elsewhere, false);
    assert_eq!(refused(&table, &a, action), Refusal::BadMove);
}

#[test]
fn a_move_needs_room_unless_it_makes_some() {
    let all: Vec<_> = (0..u8::try_from(LIMIT).unwrap()).map(nvme).collect();
    let pairs: Vec<_> = all.iter().map(|one| (one, 1)).collect();
    let full = registered(&pairs);
    let full = quietly(&full, &all[0], reserve(1, ReservationType::WriteExclusive));
    let new = srp(1);
    let action = moves(1, 7, &new, false);
    assert_eq!(refused(&full, &all[0], action), Refusal::NoRoom);
    quietly(&full, &all[0], moves(1, 7, &all[1], false));
    let after = quietly(&full, &all[0], moves(1, 7, &new, true));
    assert_eq!(after.registrations().len(), LIMIT);
}

/// APTPL is looked at (section 5.13.8, a).
#[test]
fn a_move_says_whether_the_table_persists() {
    let [a, b, ..] = four();
    let table = registered(&[(&a, 1)]);
    let table = quietly(&table, &a, reserve(1, ReservationType::WriteExclusive));
    let action = |persist| Action::Move {
        key: 1,
        new_key: 1,
        to: b.clone(),
        unregister: false,
        persist,
    };
    assert!(quietly(&table, &a, action(true)).persistent());
    let on = quietly(&table, &a, Action::Persist(true));
    assert!(!quietly(&on, &a, action(false)).persistent());
}
