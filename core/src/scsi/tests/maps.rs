//! LUN maps that change while they are used.

use std::sync::Arc;

use super::super::opcodes::{Flags, ROWS};
use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use super::reserve_hosts::*;
use crate::block::BlockOp;
use crate::reservations::Access;

pub(super) const READY: [u8; 6] = [0; 6];
pub(super) const INQUIRY: [u8; 6] = [0x12, 0, 0, 0, 96, 0];
pub(super) const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
pub(super) const WRITE: [u8; 10] = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
pub(super) const RESERVE: [u8; 6] = [0x16, 0, 0, 0, 0, 0];
pub(super) const STOP: [u8; 6] = [0x1b, 0, 0, 0, 0, 0];
pub(super) const REPORT_LUNS: [u8; 12] = [0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
pub(super) const MODE_SENSE_6: [u8; 6] = [0x1a, 0, 0x3f, 0, 255, 0];
/// UNMAP of 8 blocks.
pub(super) const UNMAP: [u8; 10] = [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0];
pub(super) const UNMAP_LIST: [u8; 24] = [
    0, 22, 0, 16, 0, 0, 0, 0, //
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0,
];

/// Disks with identifiers and names of their own, that a session of a host may see.
pub(super) struct Maps {
    pub(super) units: Vec<Arc<LogicalUnit>>,
    pub(super) session: Arc<ScsiSession>,
    pub(super) channel: ScsiChannel,
}

impl Maps {
    /// Of a session that sees the first of them as LUN 0, and the second as LUN 1.
    pub(super) fn new() -> Self {
        let unit = |number: u8| {
            let identity = Identity::new(format!("s{number}"), Naa::local(number.into()));
            let model = DiskModel {
                identity,
                ports: vec![1],
                ..thin_model()
            };
            Arc::new(LogicalUnit::new(UnitId(number.into()), model).expect("a valid model"))
        };
        let units: Vec<_> = (0..3).map(unit).collect();
        let map = luns(&[(0, &units[0]), (1, &units[1])]);
        let session = ScsiSession::new(port(), Some(srp(1)), &map);
        let channel = session.channel();
        Self {
            units,
            session,
            channel,
        }
    }

    /// Maps units by their places to numbers.
    pub(super) fn map(&self, map: &[(u32, usize)]) -> LunChanges {
        self.map_with(map, &[])
    }

    /// The same, and write protected by some numbers.
    pub(super) fn map_with(&self, map: &[(u32, usize)], read_only: &[u32]) -> LunChanges {
        let map: Vec<_> = (map.iter())
            .map(|(number, unit)| (*number, &self.units[*unit]))
            .collect();
        let mut map = luns(&map);
        for number in read_only {
            map.get_mut(number).expect("mapped").read_only = true;
        }
        self.session.set_luns(&map)
    }

    pub(super) fn plan(&mut self, lun: u8, cdb: &[u8]) -> Plan {
        let lun = [0, lun, 0, 0, 0, 0, 0, 0];
        self.channel.plan(&Command {
            lun,
            ..command(cdb)
        })
    }

    /// The sense codes that commands end with until one is good, once the host has looked who is there.
    #[track_caller]
    pub(super) fn told(&mut self, lun: u8) -> Vec<SenseCode> {
        respond(self.plan(lun, &INQUIRY));
        let mut told = Vec::new();
        loop {
            let response = respond(self.plan(lun, &READY));
            if response == Response::good() {
                return told;
            }
            told.push(sense_of(&response).code);
            assert!(told.len() < 9, "{told:?}");
        }
    }

    #[track_caller]
    pub(super) fn fetched(&mut self, lun: u8, cdb: &[u8]) -> PendingParameters {
        match self.plan(lun, cdb) {
            Plan::Parameters { pending, .. } => pending,
            other => panic!("no parameters: {other:?}"),
        }
    }
}

/// A host that sees the unit besides.
pub(super) fn other(unit: &Arc<LogicalUnit>) -> ScsiChannel {
    host(unit, &srp(9))
}

#[test]
fn what_changed_is_said() {
    let maps = Maps::new();
    let changes = |added: &[u32], removed: &[u32], lost: &[u32]| LunChanges {
        added: added.to_vec(),
        removed: removed.to_vec(),
        lost: lost.iter().copied().map(UnitId).collect(),
    };
    assert_eq!(maps.map(&[(0, 0), (1, 1)]), changes(&[], &[], &[]));
    assert!(maps.map(&[(0, 0), (1, 1)]).is_empty());
    assert_eq!(
        maps.map(&[(0, 0), (2, 1), (9, 0)]),
        changes(&[2, 9], &[1], &[])
    );
    assert_eq!(maps.map(&[(0, 1), (2, 1)]), changes(&[0], &[0, 9], &[0]));
    // What else is so of a number is no change of it.
    assert_eq!(
        maps.map_with(&[(0, 1), (2, 1)], &[0, 2]),
        changes(&[], &[], &[])
    );
    // Nobody can address it.
    let limit = Lun::LIMIT;
    assert_eq!(
        maps.map(&[(0, 1), (limit - 1, 1), (limit, 1)]),
        changes(&[limit - 1], &[2], &[])
    );
    assert_eq!(maps.map(&[]), changes(&[], &[0, limit - 1], &[1]));
}

#[test]
fn what_a_dropped_nexus_reserved_is_free_at_once() {
    let mut maps = Maps::new();
    assert_eq!(status(&mut maps.channel, &RESERVE), Status::Good);
    let mut other = other(&maps.units[0]);
    assert_eq!(status(&mut other, &READ), Status::ReservationConflict);
    // Its channel is idle, and has not seen the new map.
    maps.map(&[(1, 1)]);
    assert_eq!(status(&mut other, &RESERVE), Status::Good);
    // What comes back has nothing reserved.
    maps.map(&[(0, 0), (1, 1)]);
    let back = respond(maps.plan(0, &READ));
    assert_eq!(back.status, Status::ReservationConflict);
}

#[test]
fn a_dropped_nexus_is_nobody() {
    let mut maps = Maps::new();
    let unit = maps.units[0].clone();
    let reservations = unit.reservations();
    assert_eq!(reservations.live(), [srp(1)]);
    register(&mut maps.channel, 1);
    let mut other = other(&maps.units[0]);
    register(&mut other, 2);
    good(&mut maps.channel, 1, 3, &list(1, 0, 0));
    let begun = maps.fetched(0, &UNMAP);
    // The registration stays, and the reservation with it.
    maps.map(&[(1, 1)]);
    assert_eq!(reservations.live(), [srp(9)]);
    assert_eq!(reservations.table().registrations().len(), 2);
    assert_eq!(status(&mut other, &READ), Status::ReservationConflict);
    // What it had begun is decided on by what is so now.
    good(&mut other, 4, 3, &list(2, 1, 0));
    let late = respond(maps.channel.parameters(begun, &UNMAP_LIST));
    assert_eq!(late.status, Status::ReservationConflict);
    // Whoever comes back is not told of what was not about it.
    maps.map(&[(0, 0), (1, 1)]);
    assert_eq!(
        respond(maps.plan(0, &READ)).status,
        Status::ReservationConflict
    );
}

#[test]
fn a_registration_works_again_when_its_unit_is_back() {
    let mut maps = Maps::new();
    register(&mut maps.channel, 1);
    good(&mut maps.channel, 1, 3, &list(1, 0, 0));
    let mut other = other(&maps.units[0]);
    for number in [1, 0] {
        // Away, and back: with another number, and by its own.
        maps.map(&[]);
        assert_eq!(
            sense_of(&respond(maps.plan(0, &READ))).code,
            codes::LUN_NOT_SUPPORTED
        );
        assert_eq!(status(&mut other, &WRITE), Status::ReservationConflict);
        maps.map(&[(number, 0)]);
        assert!(maps.told(number as u8).len() <= 1);
        assert!(matches!(maps.plan(number as u8, &WRITE), Plan::Block(_)));
    }
    good(&mut maps.channel, 2, 3, &list(1, 0, 0));
    assert_eq!(status(&mut other, &WRITE), Status::Good);
}

#[test]
fn another_unit_is_told_even_after_a_while() {
    let mut maps = Maps::new();
    maps.map(&[(0, 0), (1, 2)]);
    assert_eq!(maps.told(0), [codes::LUNS_CHANGED]);
    assert_eq!(
        maps.told(1),
        [codes::INQUIRY_DATA_CHANGED, codes::LUNS_CHANGED]
    );
    // The host may never have looked in between.
    maps.map(&[(0, 0)]);
    maps.map(&[(0, 0), (1, 1)]);
    assert_eq!(maps.told(1), [codes::INQUIRY_DATA_CHANGED]);
    assert_eq!(maps.told(0), [codes::LUNS_CHANGED]);
    // Nobody knows what had been LUN 7, for it was nothing.
    maps.map(&[(0, 0), (1, 1), (7, 2)]);
    assert_eq!(maps.told(7), []);
    // A unit that is gone for good is another one whatever comes.
    maps.map(&[(0, 0), (1, 1)]);
    maps.units[2] = Arc::new(unit_of(model()));
    maps.map(&[(0, 0), (1, 1), (7, 2)]);
    assert_eq!(maps.told(7), [codes::INQUIRY_DATA_CHANGED]);
}

/// What was sent for the unit that had the number before does not reach the one that has it now.
#[test]
fn a_unit_that_the_host_takes_for_another_one_is_out_of_reach() {
    let code = |maps: &mut Maps, lun: u8, cdb: &[u8]| match maps.plan(lun, cdb) {
        Plan::Respond(response) => response.sense.map(|sense| sense.code),
        _ => None,
    };
    let page = |page| [0x12, 1, page, 0, 255, 0];
    type Opening = [u8; 6];
    let openings: [(Opening, bool); 4] = [
        (INQUIRY, true),
        (page(0x83), true),
        (page(0x80), false),
        (page(0x00), false),
    ];
    for (inquiry, opens) in openings {
        // At once, after a while, and with a third one in between that the host has never heard of.
        let swaps: [&[&[(u32, usize)]]; 4] = [
            &[&[(0, 0), (1, 2)]],
            &[&[(0, 0)], &[(0, 0), (1, 2)]],
            &[&[(0, 0), (1, 2)], &[(0, 0)], &[(0, 0), (1, 2)]],
            &[&[(0, 0), (1, 2)], &[(0, 0), (1, 1)]],
        ];
        for swap in swaps {
            let mut maps = Maps::new();
            for map in swap {
                maps.map(map);
            }
            assert_eq!(
                code(&mut maps, 1, &WRITE),
                Some(codes::INQUIRY_DATA_CHANGED)
            );
            while code(&mut maps, 1, &WRITE) != Some(codes::LUN_NOT_SUPPORTED) {}
            let model = maps.units[2].model().clone();
            let rows = ROWS.iter().filter(|row| row.available(&model));
            for row in rows.filter(|row| !row.flags.has(Flags::ANY_TIME)) {
                let mut cdb = vec![0; row.usage.len()];
                (cdb[0], cdb[1]) = (row.opcode, row.service_action.unwrap_or(0));
                let refused = code(&mut maps, 1, &cdb) == Some(codes::LUN_NOT_SUPPORTED);
                let changes = row.access == Access::Writes || row.flags.has(Flags::WRITES);
                let looks = !row.flags.has(Flags::NO_MEDIUM);
                assert!(refused || !changes && !looks, "{}", row.name);
                assert!(
                    !refused || looks || row.flags.has(Flags::CHANGES),
                    "{}",
                    row.name
                );
            }
            // Only here.
            maps.told(0);
            assert!(matches!(maps.plan(0, &WRITE), Plan::Block(_)));
            respond(maps.plan(1, &inquiry));
            let expected = (!opens).then_some(codes::LUN_NOT_SUPPORTED);
            assert_eq!(code(&mut maps, 1, &WRITE), expected, "{inquiry:x?}");
            maps.told(1);
            assert!(matches!(maps.plan(1, &WRITE), Plan::Block(_)));
            // It is no stranger any more, whatever else happens.
            maps.units[1].reset();
            maps.units[2].reset();
            maps.map(&[(
                1,
                if swap.len() == 2 && swap[1][1].1 == 1 {
                    1
                } else {
                    2
                },
            )]);
            while code(&mut maps, 1, &WRITE).is_some_and(|code| code != codes::LUN_NOT_SUPPORTED) {}
            assert!(matches!(maps.plan(1, &WRITE), Plan::Block(_)));
        }
    }
}

/// A disk that was closed and opened again is another unit of the same name. What is sent to that name is for it.
#[test]
fn a_disk_that_was_opened_again_is_within_reach() {
    for away in [false, true] {
        let mut maps = Maps::new();
        let model = maps.units[1].model().clone();
        maps.units[1] = Arc::new(LogicalUnit::new(UnitId(9), model).expect("a valid model"));
        if away {
            maps.map(&[(0, 0)]);
        }
        maps.map(&[(0, 0), (1, 1)]);
        let first = respond(maps.plan(1, &WRITE));
        assert_eq!(sense_of(&first).code, codes::INQUIRY_DATA_CHANGED);
        while let Plan::Respond(response) = maps.plan(1, &WRITE) {
            assert_eq!(sense_of(&response).code, codes::LUNS_CHANGED);
        }
    }
}

#[test]
fn what_became_of_a_unit_that_was_away_is_told() {
    let mut maps = Maps::new();
    let there: &[(u32, usize)] = &[(0, 0), (1, 1)];
    maps.map(&[(0, 0)]);
    maps.map(there);
    assert_eq!(maps.told(1), []);

    maps.map(&[(0, 0)]);
    maps.units[1].set_capacity(7);
    maps.map(there);
    assert_eq!(maps.told(1), [codes::CAPACITY_CHANGED]);

    maps.map(&[(0, 0)]);
    maps.units[1].reset();
    maps.map_with(there, &[1]);
    assert_eq!(
        maps.told(1),
        [codes::UNIT_RESET_OCCURRED, codes::MODE_PARAMETERS_CHANGED]
    );

    // It changed, and changed back, without having been told of either.
    maps.map(there);
    maps.map(&[(0, 0)]);
    maps.map_with(there, &[1]);
    assert_eq!(maps.told(1), []);
}

#[test]
fn an_old_report_does_not_answer_a_new_change() {
    let mut maps = Maps::new();
    maps.map(&[(0, 0)]);
    let (old, nexuses) = maps.session.snapshot();
    maps.map(&[(0, 0), (1, 1)]);
    // As a channel would that was reporting when the map changed again.
    nexuses[0].1.luns_seen(old);
    assert_eq!(maps.told(0), [codes::LUNS_CHANGED]);
    maps.map(&[(0, 0)]);
    assert_eq!(respond(maps.plan(0, &REPORT_LUNS)).data.len(), 16);
    assert_eq!(maps.told(0), []);
}

#[test]
fn parameters_are_for_the_unit_that_was_meant() {
    let mut maps = Maps::new();
    let unmap = maps.fetched(1, &UNMAP);
    let select = maps.fetched(1, &[0x15, 0x10, 0, 0, 24, 0]);
    assert_eq!(unmap.unit(), select.unit());
    maps.map(&[(0, 0), (1, 2)]);
    maps.told(0);
    let planned = block(maps.channel.parameters(unmap, &UNMAP_LIST));
    assert!(matches!(planned.op, BlockOp::Unmap(_)));
    assert!(Arc::ptr_eq(maps.channel.unit(planned.unit), &maps.units[1]));
    // The caching mode page without WCE.
    let mut list = vec![0, 0, 0, 0, 0x08, 0x12];
    list.resize(24, 0);
    let flush = block(maps.channel.parameters(select, &list));
    assert!(matches!(flush.op, BlockOp::Flush));
    assert!(Arc::ptr_eq(maps.channel.unit(flush.unit), &maps.units[1]));
    assert!(!maps.units[1].write_cache() && maps.units[2].write_cache());

    // Write protection that comes meanwhile stops it.
    let [unmap, later] = [(); 2].map(|()| maps.fetched(0, &UNMAP));
    maps.map_with(&[(0, 0), (1, 2)], &[0]);
    let refused = respond(maps.channel.parameters(unmap, &UNMAP_LIST));
    assert_eq!(sense_of(&refused).code, codes::WRITE_PROTECTED);
    maps.map(&[(0, 0), (1, 2)]);
    block(maps.channel.parameters(later, &UNMAP_LIST));
}

#[test]
fn what_waited_is_for_the_unit_that_it_came_for() {
    let mut maps = Maps::new();
    let waited = |maps: &mut Maps, unit: u32| maps.channel.plan_for(UnitId(unit), &command(&READ));
    assert!(matches!(waited(&mut maps, 0), Plan::Block(_)));
    // Another unit has the number: not even that it is another one is said to who did not ask for it.
    maps.map(&[(0, 2), (1, 1)]);
    let late = respond(waited(&mut maps, 0));
    assert_eq!(sense_of(&late).code, codes::LUN_NOT_SUPPORTED);
    assert_eq!(
        maps.told(0)[..2],
        [codes::INQUIRY_DATA_CHANGED, codes::LUNS_CHANGED]
    );
    maps.map(&[(1, 1)]);
    let late = respond(waited(&mut maps, 2));
    assert_eq!(sense_of(&late).code, codes::LUN_NOT_SUPPORTED);
}
