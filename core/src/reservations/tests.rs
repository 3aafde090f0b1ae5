//! The rules one by one, by the sections of SPC-4; then at random against a model; then by many at once.

mod model;
mod movement;
mod preempt;
mod random;
mod register;
mod reserve;
mod shared;
mod threads;
mod verdicts;

use super::{
    Action, Applied, Change, Expected, InitiatorPort, Notice, Refusal, Registrant, ReservationType,
    Table,
};

/// Room in the tables of these tests.
const LIMIT: usize = 8;

fn srp(number: u8) -> Registrant {
    Registrant::Scsi {
        initiator: InitiatorPort::Srp([number; 16]),
        target: "eui.1".into(),
        port: 1,
    }
}

fn iscsi(number: u8) -> Registrant {
    Registrant::Scsi {
        initiator: InitiatorPort::Iscsi {
            name: format!("iqn.2026-11.test:{number}"),
            isid: [0x40, 0, 0, 0, 0, number],
        },
        target: "iqn.2026-11.test:target".into(),
        port: 2,
    }
}

fn nvme(number: u8) -> Registrant {
    Registrant::Nvme { host: [number; 16] }
}

/// Four of three protocols: the rules are the same for all of them.
fn four() -> [Registrant; 4] {
    [srp(1), nvme(2), iscsi(3), srp(4)]
}

fn change(by: &Registrant, action: Action) -> Change {
    Change {
        by: by.clone(),
        action,
    }
}

/// REGISTER as SCSI has it, from nothing.
fn register(key: u64) -> Action {
    register_over(Expected::Key(0), key)
}

fn register_over(expected: Expected, key: u64) -> Action {
    Action::Register {
        expected,
        key,
        others: Vec::new(),
        persist: None,
    }
}

fn register_with(key: u64, others: &[&Registrant]) -> Action {
    Action::Register {
        expected: Expected::Key(0),
        key,
        others: others.iter().copied().cloned().collect(),
        persist: None,
    }
}

fn reserve(key: u64, kind: ReservationType) -> Action {
    let key = Some(key);
    Action::Reserve { key, kind }
}

fn release(key: u64, kind: ReservationType) -> Action {
    let key = Some(key);
    Action::Release { key, kind }
}

fn clear(key: u64) -> Action {
    Action::Clear { key: Some(key) }
}

fn preempt(key: u64, victim: u64, kind: ReservationType) -> Action {
    Action::Preempt {
        key: Some(key),
        victim,
        kind,
        abort: false,
    }
}

fn preempt_and_abort(key: u64, victim: u64, kind: ReservationType) -> Action {
    Action::Preempt {
        key: Some(key),
        victim,
        kind,
        abort: true,
    }
}

/// What comes of a change, which has to be a possible table.
fn done(table: &Table, by: &Registrant, action: Action) -> Applied {
    let what = format!("{action:?}");
    match table.apply(&change(by, action)) {
        Ok(applied) => {
            check(&applied, by);
            applied
        }
        Err(refusal) => panic!("{what}: {refusal:?}"),
    }
}

fn refused(table: &Table, by: &Registrant, action: Action) -> Refusal {
    let what = format!("{action:?}");
    match table.apply(&change(by, action)) {
        Ok(_) => panic!("{what} was done"),
        Err(refusal) => refusal,
    }
}

/// A change that is to be done, and nobody hears of it.
fn quietly(table: &Table, by: &Registrant, action: Action) -> Table {
    let applied = done(table, by, action);
    assert_eq!(applied.notices, []);
    assert_eq!(applied.aborted, []);
    applied.table
}

/// A change that is good but changes nothing.
fn unchanged(table: &Table, by: &Registrant, action: Action) {
    assert_eq!(&quietly(table, by, action), table);
}

/// What every table and every outcome has to be like.
fn check(applied: &Applied, by: &Registrant) {
    let table = &applied.table;
    let again = Table::restore(
        table.limit,
        table.registrations().clone(),
        table.holder().cloned(),
    );
    assert!(again.is_ok(), "{again:?}: {table:?}");
    let mut told: Vec<_> = applied.notices.iter().map(|(to, _)| to).collect();
    assert!(!told.contains(&by), "{applied:?}");
    told.sort();
    told.dedup();
    assert_eq!(told.len(), applied.notices.len(), "{applied:?}");
    assert!(applied.aborted.is_sorted(), "{applied:?}");
}

/// A table in which these have registered with these keys.
fn registered(all: &[(&Registrant, u64)]) -> Table {
    all.iter().fold(Table::new(LIMIT), |table, (one, key)| {
        quietly(&table, one, register(*key))
    })
}

fn key_of(table: &Table, one: &Registrant) -> Option<u64> {
    table.registrations().get(one).copied()
}

/// The type that somebody in particular holds.
fn held_by(table: &Table, one: &Registrant) -> Option<ReservationType> {
    table
        .holder()
        .filter(|holder| holder.registrant.as_ref() == Some(one))
        .map(|holder| holder.kind)
}

/// The type that all registrants hold.
fn held_by_all(table: &Table) -> Option<ReservationType> {
    table
        .holder()
        .filter(|holder| holder.registrant.is_none())
        .map(|holder| holder.kind)
}

/// Who is told, in order; everybody the same.
fn told(applied: &Applied, notice: Notice) -> Vec<Registrant> {
    assert!(
        applied.notices.iter().all(|(_, what)| *what == notice),
        "{applied:?}"
    );
    sorted(applied.notices.iter().map(|(to, _)| to))
}

fn sorted<'a>(all: impl IntoIterator<Item = &'a Registrant>) -> Vec<Registrant> {
    let mut all: Vec<_> = all.into_iter().cloned().collect();
    all.sort();
    all
}
