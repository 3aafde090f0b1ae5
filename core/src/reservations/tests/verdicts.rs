//! What is allowed under which reservation (SPC-4 table 65, SBC-3 table 13, NVMe base 2.0 section 8.19), written out.

use std::sync::Arc;

use super::*;
use crate::reservations::{Access, Reservations, Seat};
use Access::{Always, Informs, Reads, Writes};
use ReservationType::{
    ExclusiveAccess, ExclusiveAccessAllRegistrants, ExclusiveAccessRegistrantsOnly, WriteExclusive,
    WriteExclusiveAllRegistrants, WriteExclusiveRegistrantsOnly,
};

/// What a type allows to the holder, to another registrant and to a stranger; the rest conflicts.
const ALLOWED: [(ReservationType, [&[Access]; 3]); 6] = [
    (
        WriteExclusive,
        [
            &[Always, Informs, Reads, Writes],
            &[Always, Informs, Reads],
            &[Always, Informs, Reads],
        ],
    ),
    (
        ExclusiveAccess,
        [
            &[Always, Informs, Reads, Writes],
            &[Always, Informs],
            &[Always, Informs],
        ],
    ),
    (
        WriteExclusiveRegistrantsOnly,
        [
            &[Always, Informs, Reads, Writes],
            &[Always, Informs, Reads, Writes],
            &[Always, Informs, Reads],
        ],
    ),
    (
        ExclusiveAccessRegistrantsOnly,
        [
            &[Always, Informs, Reads, Writes],
            &[Always, Informs, Reads, Writes],
            &[Always, Informs],
        ],
    ),
    (
        WriteExclusiveAllRegistrants,
        [
            &[Always, Informs, Reads, Writes],
            &[Always, Informs, Reads, Writes],
            &[Always, Informs, Reads],
        ],
    ),
    (
        ExclusiveAccessAllRegistrants,
        [
            &[Always, Informs, Reads, Writes],
            &[Always, Informs, Reads, Writes],
            &[Always, Informs],
        ],
    ),
];

fn seat(registrant: Option<&Registrant>) -> Arc<Seat> {
    Arc::new(Seat::new(registrant.cloned()))
}

fn allowed(seat: &Seat) -> Vec<Access> {
    [Always, Informs, Reads, Writes]
        .into_iter()
        .filter(|access| seat.allows(*access))
        .collect()
}

#[test]
fn what_is_allowed_is_what_the_standards_allow() {
    assert_eq!(ALLOWED.map(|(kind, _)| kind), ReservationType::ALL);
    let protocols = [
        (srp(1), nvme(2), iscsi(3)),
        (nvme(1), iscsi(2), srp(3)),
        (iscsi(1), srp(2), nvme(3)),
    ];
    for (kind, rows) in ALLOWED {
        for (holder, registrant, stranger) in &protocols {
            let table = registered(&[(holder, 1), (registrant, 2)]);
            let shared = Reservations::new(table);
            // Some were there before, some come after, and some cannot register at all.
            let before = [Some(holder), Some(registrant), Some(stranger), None].map(seat);
            before.iter().for_each(|seat| shared.join(seat));
            for seat in &before {
                assert_eq!(allowed(seat), [Always, Informs, Reads, Writes]);
            }
            let reserve = change(holder, reserve(1, kind));
            shared.begin(&reserve).unwrap().commit();
            let after = [Some(holder), Some(registrant), Some(stranger), None].map(seat);
            after.iter().for_each(|seat| shared.join(seat));
            for seats in [before, after] {
                for (seat, who) in seats.iter().zip([0, 1, 2, 2]) {
                    assert_eq!(allowed(seat), rows[who], "{kind:?} {who}");
                }
            }
        }
    }
}

/// Identities are whole ones: no part of them makes another one the holder.
#[test]
fn who_is_alike_is_still_another() {
    let holder = iscsi(1);
    let Registrant::Scsi {
        initiator: InitiatorPort::Iscsi { name, isid },
        target,
        port,
    } = holder.clone()
    else {
        panic!("{holder:?}")
    };
    let table = quietly(
        &registered(&[(&holder, 1)]),
        &holder,
        reserve(1, ExclusiveAccess),
    );
    let of = |initiator, target: &Arc<str>, port| Registrant::Scsi {
        initiator,
        target: Arc::clone(target),
        port,
    };
    let port_of = |name: &str, isid| InitiatorPort::Iscsi {
        name: name.to_owned(),
        isid,
    };
    let alike = [
        of(port_of(&name, [0; 6]), &target, port),
        of(port_of("iqn.2026-11.test:2", isid), &target, port),
        of(port_of(&name, isid), &"iqn.2026-11.test:other".into(), port),
        of(port_of(&name, isid), &target, 1),
        nvme(1),
        srp(1),
    ];
    for one in &alike {
        assert!(!table.is_holder(one));
        assert_eq!(table.verdict(Some(one)), Informs);
    }
    assert_eq!(table.verdict(Some(&holder)), Writes);
    assert_eq!(table.verdict(None), Informs);
}
