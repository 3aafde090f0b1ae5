//! The table as its nexuses share it: verdicts, notices, saving, and RESERVE of SCSI-2 beside it.

use std::sync::Arc;

use super::*;
use crate::reservations::{Access, MOST_NOTICES, Reservations, Seat};
use ReservationType::{
    ExclusiveAccess, ExclusiveAccessAllRegistrants, ExclusiveAccessRegistrantsOnly, WriteExclusive,
};

fn join(shared: &Reservations, registrant: &Registrant) -> Arc<Seat> {
    let seat = Arc::new(Seat::new(Some(registrant.clone())));
    shared.join(&seat);
    seat
}

fn make(shared: &Reservations, by: &Registrant, action: Action) -> Vec<Registrant> {
    shared.begin(&change(by, action)).unwrap().commit()
}

fn heard(seat: &Seat) -> Vec<Notice> {
    let all: Vec<_> = std::iter::from_fn(|| seat.take_notice()).collect();
    assert!(!seat.has_notices());
    all
}

#[test]
fn a_change_is_in_force_when_it_is_committed() {
    let [a, b, ..] = four();
    let shared = Reservations::new(registered(&[(&a, 1), (&b, 2)]));
    let seat = join(&shared, &b);
    let reserve = change(&a, reserve(1, ExclusiveAccess));

    let prepared = shared.begin(&reserve).unwrap();
    assert_eq!(
        prepared.table().unwrap().holder().unwrap().registrant,
        Some(a.clone())
    );
    assert_eq!(shared.table().holder(), None);
    assert!(seat.allows(Access::Writes));
    // One at a time.
    assert_eq!(shared.begin(&reserve).unwrap_err(), Refusal::Busy);
    drop(prepared);
    assert_eq!(shared.table().holder(), None);
    assert!(seat.allows(Access::Writes));

    shared.begin(&reserve).unwrap().commit();
    assert!(shared.table().is_holder(&a));
    assert_eq!(seat.verdict(), Access::Informs);
    // What is refused is no change under way.
    let conflict = change(&b, super::reserve(2, ExclusiveAccess));
    assert_eq!(shared.begin(&conflict).unwrap_err(), Refusal::Conflict);
    assert_eq!(make(&shared, &a, release(1, ExclusiveAccess)), []);
    assert!(seat.allows(Access::Writes));
}

/// At start: sessions may be there before it.
#[test]
fn a_table_that_is_restored_is_in_force() {
    let [a, b, ..] = four();
    let shared = Reservations::new(Table::new(LIMIT));
    let seats = [&a, &b].map(|one| join(&shared, one));
    let saved = quietly(&registered(&[(&a, 1)]), &a, reserve(1, ExclusiveAccess));
    let saved = Table::restore(
        LIMIT,
        saved.registrations().clone(),
        saved.holder().cloned(),
    )
    .unwrap();
    assert!(saved.persistent());
    assert_eq!(saved.generation(), 0);
    shared.restore(saved);
    assert_eq!(seats[0].verdict(), Access::Writes);
    assert_eq!(seats[1].verdict(), Access::Informs);
}

#[test]
fn all_nexuses_of_a_registrant_hear_of_it() {
    use Notice::{RegistrationPreempted, ReservationPreempted, ReservationReleased};
    let registrants_only = ExclusiveAccessRegistrantsOnly;
    let [a, nvme_host, scsi_host, c] = four();
    // SCSI's have each condition once, the gravest first; NVMe's hear of everything, as it came.
    let nvme_hears = [
        ReservationReleased,
        ReservationReleased,
        ReservationReleased,
        RegistrationPreempted,
        ReservationPreempted,
    ];
    let scsi_hears = [
        ReservationPreempted,
        ReservationReleased,
        RegistrationPreempted,
    ];
    for (b, hears) in [(nvme_host, &nvme_hears[..]), (scsi_host, &scsi_hears[..])] {
        let is_scsi = hears.len() == 3;
        let shared = Reservations::new(registered(&[(&a, 1), (&b, 2), (&c, 3)]));
        let mine = join(&shared, &a);
        let theirs = [&b, &b, &b].map(|one| join(&shared, one));
        let third = join(&shared, &c);
        let stranger = join(&shared, &nvme(9));
        let [first, second, gone] = &theirs;
        shared.leave(gone);

        for _ in 0..3 {
            make(&shared, &a, reserve(1, registrants_only));
            make(&shared, &a, release(1, registrants_only));
        }
        let times = if is_scsi { 1 } else { 3 };
        assert_eq!(heard(first), vec![ReservationReleased; times]);
        make(&shared, &a, reserve(1, registrants_only));
        make(&shared, &a, preempt(1, 2, WriteExclusive));
        assert_eq!(heard(first), [RegistrationPreempted]);
        make(&shared, &b, register(2));
        make(&shared, &a, clear(1));
        assert_eq!(heard(second), hears);
        assert_eq!(heard(first), [ReservationPreempted]);
        assert_eq!(heard(&third), [ReservationPreempted, ReservationReleased]);
        for seat in [&mine, &stranger, gone] {
            assert_eq!(heard(seat), []);
        }
    }
}

/// There is room for as many as NVMe can tell of; the others are counted by what they were.
#[test]
fn notices_of_nvme_are_bounded() {
    let [a, b, ..] = four();
    let kind = ExclusiveAccessRegistrantsOnly;
    let shared = Reservations::new(registered(&[(&a, 1), (&b, 2)]));
    let seat = join(&shared, &b);
    for _ in 0..MOST_NOTICES + 7 {
        make(&shared, &a, reserve(1, kind));
        make(&shared, &a, release(1, kind));
    }
    make(&shared, &a, preempt(1, 2, WriteExclusive));
    let all = seat.take_notices();
    assert!(!seat.has_notices());
    assert_eq!(all.queued, [Notice::ReservationReleased; MOST_NOTICES]);
    let counts = all.lost.kinds();
    assert_eq!(
        counts,
        [
            (Notice::ReservationPreempted, 0),
            (Notice::ReservationReleased, 7),
            (Notice::RegistrationPreempted, 1)
        ]
    );
    let none = seat.take_notices();
    assert!(none.queued.is_empty() && none.lost == Default::default());
}

#[test]
fn a_commit_says_whose_commands_end() {
    let [a, b, c, _] = four();
    let shared = Reservations::new(registered(&[(&a, 1), (&b, 2), (&c, 2)]));
    let aborted = make(&shared, &a, preempt_and_abort(1, 2, WriteExclusive));
    assert_eq!(aborted, sorted([&b, &c]));
}

#[test]
fn who_can_register_is_listed_once() {
    let [a, b, c, _] = four();
    let shared = Reservations::new(registered(&[(&c, 1)]));
    assert_eq!(shared.live(), []);
    let _seats = [&b, &a, &b].map(|one| join(&shared, one));
    let nobody = Arc::new(Seat::new(None));
    shared.join(&nobody);
    assert_eq!(shared.live(), sorted([&a, &b]));
    let gone = join(&shared, &c);
    assert_eq!(shared.live(), sorted([&a, &b, &c]));
    shared.leave(&gone);
    assert_eq!(shared.live(), sorted([&a, &b]));
    // One that forgot to leave is not taken for a live one.
    drop(join(&shared, &c));
    assert_eq!(shared.live(), sorted([&a, &b]));
}

fn persist(expected: Expected, key: u64, persist: bool) -> Action {
    Action::Register {
        expected,
        key,
        others: Vec::new(),
        persist: Some(persist),
    }
}

fn must_be_saved(shared: &Reservations, by: &Registrant, action: Action) -> bool {
    let prepared = shared.begin(&change(by, action)).unwrap();
    let save = prepared.must_be_saved();
    prepared.commit();
    save
}

#[test]
fn what_outlives_a_loss_of_power_is_saved() {
    let [a, b, ..] = four();
    let shared = Reservations::new(Table::new(LIMIT));
    let saved = |by, action| must_be_saved(&shared, by, action);
    // Nothing is to persist yet.
    assert!(!saved(&a, register(1)));
    assert!(!saved(&a, reserve(1, WriteExclusive)));
    assert!(!saved(&a, release(1, WriteExclusive)));
    assert!(!saved(&a, Action::Persist(false)));
    // From here on it is, each change of it.
    assert!(saved(&b, persist(Expected::Key(0), 2, true)));
    assert!(saved(&a, reserve(1, WriteExclusive)));
    assert!(saved(&b, preempt(2, 1, ExclusiveAccess)));
    assert!(saved(&b, register_over(Expected::Any, 7)));
    assert!(saved(&b, release(7, ExclusiveAccess)));
    // What changes nothing but the generation is as it was saved.
    assert!(!saved(&b, persist(Expected::Key(7), 7, true)));
    assert!(!saved(&b, release(7, ExclusiveAccess)));
    // An empty table is one, too: those before must not come back.
    assert!(saved(&b, clear(7)));
    assert!(shared.table().persistent());
    assert!(saved(&a, register(1)));
    // The last: that nothing is to persist any more.
    assert!(saved(&a, persist(Expected::Key(1), 1, false)));
    assert!(!saved(&a, reserve(1, WriteExclusive)));
    assert!(saved(&a, Action::Persist(true)));
    assert!(saved(&a, Action::Wipe));
    assert!(saved(&a, Action::Persist(false)));
}

/// It may have failed after it was in the file. Then the next one has to be saved, whatever it is.
#[test]
fn a_change_after_one_that_was_not_made_is_saved() {
    let [a, ..] = four();
    let shared = Reservations::new(Table::new(LIMIT));
    let save = change(&a, persist(Expected::Key(0), 1, true));
    assert!(shared.begin(&save).unwrap().must_be_saved());
    assert!(shared.table().registrations().is_empty());
    assert!(!shared.table().persistent());
    for _ in 0..2 {
        let prepared = shared.begin(&change(&a, register(1))).unwrap();
        assert!(prepared.must_be_saved());
        drop(prepared);
    }
    assert!(must_be_saved(&shared, &a, register(1)));
    assert!(!must_be_saved(&shared, &a, reserve(1, WriteExclusive)));
}

/// SPC-2 section 5.5.
#[test]
fn a_unit_is_reserved_for_one_nexus() {
    let [a, b, ..] = four();
    let shared = Reservations::new(Table::new(LIMIT));
    // Two nexuses of one host are two.
    let [first, second, other] = [&a, &a, &b].map(|one| join(&shared, one));
    shared.reserve(&first).unwrap();
    shared.reserve(&first).unwrap();
    assert_eq!(first.verdict(), Access::Writes);
    for seat in [&second, &other] {
        assert_eq!(seat.verdict(), Access::Always);
        assert_eq!(shared.reserve(seat), Err(Refusal::Conflict));
        shared.release(seat).unwrap();
        assert_eq!(seat.verdict(), Access::Always);
    }
    assert_eq!(join(&shared, &a).verdict(), Access::Always);

    shared.release(&first).unwrap();
    shared.reserve(&other).unwrap();
    assert_eq!(first.verdict(), Access::Always);
    shared.leave(&other);
    assert_eq!(first.verdict(), Access::Writes);
    // Who has left hears of no change any more, and may do nothing.
    assert_eq!(other.verdict(), Access::Always);
    shared.leave(&other);
    assert_eq!(first.verdict(), Access::Writes);
    shared.reserve(&second).unwrap();
    assert_eq!(first.verdict(), Access::Always);
    shared.reset();
    assert_eq!(first.verdict(), Access::Writes);
    shared.reserve(&first).unwrap();
}

/// SPC-2 section 5.5.1: neither kind while there is the other.
#[test]
fn reserve_and_persistent_reservations_exclude_each_other() {
    let [a, b, c, _] = four();
    let shared = Reservations::new(Table::new(LIMIT));
    let [mine, other, stranger] = [&a, &b, &c].map(|one| join(&shared, one));
    shared.reserve(&mine).unwrap();
    for by in [&a, &b] {
        let register = change(by, register(1));
        assert_eq!(shared.begin(&register).unwrap_err(), Refusal::Conflict);
    }
    // An operator and a feature are no commands for the medium.
    make(&shared, &a, Action::Wipe);
    make(&shared, &a, Action::Persist(false));
    shared.release(&mine).unwrap();

    make(&shared, &a, register(1));
    make(&shared, &b, register(2));
    for seat in [&mine, &other, &stranger] {
        assert_eq!(shared.reserve(seat), Err(Refusal::Conflict));
        assert_eq!(shared.release(seat), Err(Refusal::Conflict));
    }
    make(&shared, &a, Action::Wipe);
    shared.reserve(&other).unwrap();
    assert_eq!(mine.verdict(), Access::Always);
}

/// SPC-4 section 5.13.3: whom a persistent reservation serves is told that all is well, and nothing changes.
#[test]
fn reserve_is_good_for_whom_a_persistent_reservation_serves() {
    let [a, b, c, _] = four();
    for kind in ReservationType::ALL {
        let shared = Reservations::new(registered(&[(&a, 1), (&b, 2)]));
        let [holder, registrant, stranger] = [&a, &b, &c].map(|one| join(&shared, one));
        make(&shared, &a, reserve(1, kind));
        let verdicts = || [&holder, &registrant, &stranger].map(|seat| seat.verdict());
        let before = verdicts();
        let for_registrants = match kind {
            WriteExclusive | ExclusiveAccess => Err(Refusal::Conflict),
            _ => Ok(()),
        };
        for ask in [Reservations::reserve, Reservations::release] {
            assert_eq!(ask(&shared, &holder), Ok(()));
            assert_eq!(ask(&shared, &registrant), for_registrants);
            assert_eq!(ask(&shared, &stranger), Err(Refusal::Conflict));
        }
        assert_eq!(verdicts(), before);
        assert!(shared.table().is_holder(&a));
        make(&shared, &a, release(1, kind));
    }
}

#[test]
fn reserve_waits_for_a_change_under_way() {
    let [a, b, ..] = four();
    let shared = Reservations::new(Table::new(LIMIT));
    let seat = join(&shared, &b);
    let register = change(&a, register(1));
    let prepared = shared.begin(&register).unwrap();
    assert_eq!(shared.reserve(&seat), Err(Refusal::Busy));
    prepared.commit();
    assert_eq!(shared.reserve(&seat), Err(Refusal::Conflict));
}

/// A registrant that is preempted and abort its commands is under the new verdict before anybody is told.
#[test]
fn who_hears_of_a_change_is_under_it() {
    let [a, b, ..] = four();
    let shared = Reservations::new(registered(&[(&a, 1), (&b, 2)]));
    let seat = join(&shared, &b);
    make(&shared, &b, reserve(2, ExclusiveAccessAllRegistrants));
    make(&shared, &a, preempt_and_abort(1, 0, ExclusiveAccess));
    assert!(seat.has_notices());
    assert_eq!(seat.verdict(), Access::Informs);
    assert_eq!(heard(&seat), [Notice::RegistrationPreempted]);
}

#[test]
fn a_retired_nexus_is_judged_and_nothing_else() {
    let [a, b, ..] = four();
    let shared = Reservations::new(Table::new(LIMIT));
    let seats = [&a, &b].map(|one| join(&shared, one));
    assert_eq!(shared.reserve(&seats[0]), Ok(()));
    assert_eq!(seats[1].verdict(), Access::Always);
    // What it had reserved is free at once, and it cannot do so again: nobody would ever free it.
    shared.retire(&seats[0]);
    assert!(!shared.is_reserved());
    assert_eq!(seats[1].verdict(), Access::Writes);
    assert_eq!(shared.reserve(&seats[0]), Err(Refusal::Busy));
    assert!(!shared.is_reserved());
    assert_eq!(shared.live(), std::slice::from_ref(&b));
    // What it has begun is still decided on by what is so.
    assert_eq!(shared.reserve(&seats[1]), Ok(()));
    assert_eq!(seats[0].verdict(), Access::Always);
    assert_eq!(shared.release(&seats[1]), Ok(()));
    assert_eq!(seats[0].verdict(), Access::Writes);
    shared.restore(registered(&[(&a, 1), (&b, 2)]));
    make(&shared, &b, reserve(2, ExclusiveAccess));
    assert_eq!(seats[0].verdict(), Access::Informs);
    // It hears of nothing.
    make(&shared, &b, Action::Clear { key: Some(2) });
    assert_eq!(heard(&seats[0]), []);
    assert_eq!(seats[0].verdict(), Access::Writes);
    // A nexus of the same host that comes later does.
    let again = join(&shared, &a);
    shared.restore(registered(&[(&a, 1), (&b, 2)]));
    make(&shared, &b, Action::Clear { key: Some(2) });
    assert_eq!(heard(&again), [Notice::ReservationPreempted]);
}

#[test]
fn what_a_nexus_was_not_told_goes_with_it() {
    let [a, b, ..] = four();
    let shared = Reservations::new(registered(&[(&a, 1), (&b, 2)]));
    let seat = join(&shared, &a);
    make(&shared, &b, Action::Clear { key: Some(2) });
    assert!(seat.has_notices());
    shared.retire(&seat);
    assert_eq!(heard(&seat), []);
}
