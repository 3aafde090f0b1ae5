//! Which command does what while a device is reserved: every transport as the holder, every transport beside it, all six types.

use pagecast_initiator::nvme::reservation;
use pagecast_initiator::nvme::{Fuse, admin, io};
use pagecast_initiator::scsi;
use pagecast_initiator::scsi::reserve::{persistent_reserve_in, report};
use pagecast_tests::nvme::once;
use pagecast_tests::reservations::{
    Cluster, Kind, Notice, Outcome, Registration, Transfer, Transport,
};
use pagecast_tests::{Host, Setup, pattern, seeds};

use super::reservations_rare::naa;

/// Whoever may write does so from here on.
const OPEN: u64 = 0;
/// Nobody who may not write changes what is here.
const FENCED: u64 = 4096;
/// Blocks of both.
const BLOCKS: u64 = 32;

/// Where a command works, and with which data: what is there already, or something that must not get there.
struct Place {
    lba: u64,
    data: Vec<u8>,
}

/// What is in all blocks at first.
fn there() -> Vec<u8> {
    pattern(512, 7)
}

type Run = fn(&mut Cluster, Host, &Place) -> Outcome;

/// A command, and what becomes of it under a reservation of somebody else's: five letters, A allowed and C conflict, in the
/// columns of the standards' tables.
///
/// 1. Write Exclusive, from whoever does not hold it
/// 2. Exclusive Access, from whoever does not hold it
/// 3. the other four types, from registrants
/// 4. Write Exclusive of Registrants Only or All Registrants, from whoever is not registered
/// 5. Exclusive Access of those, from whoever is not registered
struct Row(&'static str, &'static str, Run);

/// SPC-4 section 5.12.1, table of SPC commands that are allowed in the presence of various reservations; SBC-3 section 4.17, the
/// same of SBC commands.
const SCSI: &[Row] = &[
    // SPC-4
    Row("TEST UNIT READY", "AAAAA", |c, h, _| c.test_unit_ready(h)),
    Row("INQUIRY", "AAAAA", |c, h, _| {
        input(c, h, scsi::inquiry(None, 96), 96)
    }),
    Row("REQUEST SENSE", "AAAAA", |c, h, _| {
        input(c, h, vec![0x03, 0, 0, 0, 252, 0], 252)
    }),
    Row("REPORT LUNS", "AAAAA", |c, h, _| {
        input(c, h, scsi::report_luns(64), 64)
    }),
    Row("LOG SENSE", "AAAAA", |c, h, _| {
        input(c, h, scsi::log_sense(0, 64), 64)
    }),
    Row("REPORT TARGET PORT GROUPS", "AAAAA", |c, h, _| {
        input(c, h, maintenance_in(0x0a), 256)
    }),
    Row("PERSISTENT RESERVE IN", "AAAAA", |c, h, _| {
        input(c, h, persistent_reserve_in(report::KEYS, 256), 256)
    }),
    Row("PREVENT ALLOW MEDIUM REMOVAL, ALLOW", "AAAAA", |c, h, _| {
        command(c, h, vec![0x1e, 0, 0, 0, 0, 0])
    }),
    Row(
        "PREVENT ALLOW MEDIUM REMOVAL, PREVENT",
        "CCACC",
        |c, h, _| {
            let outcome = command(c, h, vec![0x1e, 0, 0, 0, 1, 0]);
            command(c, h, vec![0x1e, 0, 0, 0, 0, 0]);
            outcome
        },
    ),
    Row("MODE SENSE (6)", "ACAAC", |c, h, _| {
        input(c, h, vec![0x1a, 0, 0x3f, 0, 0xff, 0], 255)
    }),
    Row("REPORT SUPPORTED OPERATION CODES", "ACAAC", |c, h, _| {
        input(c, h, maintenance_in(0x0c), 256)
    }),
    Row(
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
        "ACAAC",
        |c, h, _| input(c, h, maintenance_in(0x0d), 256),
    ),
    Row("MODE SELECT (6)", "CCACC", |c, h, _| {
        command(c, h, vec![0x15, 0x10, 0, 0, 0, 0])
    }),
    Row("SEND DIAGNOSTIC", "CCACC", |c, h, _| {
        command(c, h, vec![0x1d, 0x04, 0, 0, 0, 0])
    }),
    Row("EXTENDED COPY", "CCACC", |c, h, at| {
        let name = naa(c, h);
        let segments = [(OPEN, at.lba + 20, 1)];
        let (cdb, list) = scsi::extended_copy(&name, &name, 512, &segments);
        c.scsi(h, cdb, Transfer::Out(list)).0
    }),
    // SBC-3
    Row("READ CAPACITY (16)", "AAAAA", |c, h, _| {
        input(c, h, scsi::read_capacity16(32), 32)
    }),
    Row("START STOP UNIT, start", "AAAAA", |c, h, _| {
        command(c, h, vec![0x1b, 0, 0, 0, 1, 0])
    }),
    Row("START STOP UNIT, stop", "CCACC", |c, h, _| {
        let outcome = command(c, h, vec![0x1b, 0, 0, 0, 0, 0]);
        command(c, h, vec![0x1b, 0, 0, 0, 1, 0]);
        outcome
    }),
    Row("READ (16)", "ACAAC", |c, h, at| c.read(h, at.lba).0),
    Row("READ (10)", "ACAAC", |c, h, _| {
        input(c, h, vec![0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], 512)
    }),
    Row("VERIFY (16)", "ACAAC", |c, h, at| {
        command(c, h, scsi::verify16(at.lba, 1, 0))
    }),
    Row("PRE-FETCH (16)", "ACAAC", |c, h, at| {
        // CONDITION MET tells that all of it has room.
        match command(c, h, scsi::prefetch16(at.lba, 1)) {
            Outcome::Scsi(0x04) => Outcome::Good,
            other => other,
        }
    }),
    Row("GET LBA STATUS", "ACAAC", |c, h, at| {
        input(c, h, scsi::get_lba_status(at.lba, 64), 64)
    }),
    Row("WRITE (16)", "CCACC", |c, h, at| {
        c.write(h, at.lba, &at.data)
    }),
    Row("WRITE (10)", "CCACC", |c, h, at| {
        let mut cdb = vec![0x2a, 0];
        cdb.extend((at.lba as u32 + 1).to_be_bytes());
        cdb.extend([0, 0, 1, 0]);
        c.scsi(h, cdb, Transfer::Out(at.data.clone())).0
    }),
    Row("WRITE AND VERIFY (16)", "CCACC", |c, h, at| {
        let cdb = scsi::write_and_verify16(at.lba + 2, 1, 0);
        c.scsi(h, cdb, Transfer::Out(at.data.clone())).0
    }),
    Row("ORWRITE (16)", "CCACC", |c, h, at| {
        let cdb = scsi::orwrite16(at.lba + 3, 1);
        c.scsi(h, cdb, Transfer::Out(at.data.clone())).0
    }),
    Row("COMPARE AND WRITE", "CCACC", |c, h, at| {
        let both = [there(), at.data.clone()].concat();
        let cdb = scsi::compare_and_write(at.lba + 4, 1, false);
        c.scsi(h, cdb, Transfer::Out(both)).0
    }),
    Row("WRITE SAME (16)", "CCACC", |c, h, at| {
        let cdb = scsi::write_same16(at.lba + 16, 2, false, false);
        c.scsi(h, cdb, Transfer::Out(at.data.clone())).0
    }),
    Row("UNMAP", "CCACC", |c, h, at| {
        let (cdb, list) = scsi::unmap(&[(at.lba + 18, 2)]);
        c.scsi(h, cdb, Transfer::Out(list)).0
    }),
    Row("SYNCHRONIZE CACHE (16)", "CCACC", |c, h, _| {
        command(c, h, scsi::synchronize_cache())
    }),
];

/// NVMe base 2.0 section 8.19.1, table of command behavior in the presence of a reservation, with the groups of commands that the NVM
/// command set has; admin commands but for those of the write group are allowed.
const NVME: &[Row] = &[
    // Read group
    Row("Read", "ACAAC", |c, h, at| c.read(h, at.lba).0),
    Row("Compare", "ACAAC", |c, h, at| {
        let buffer = c.world.nvme_filled(h, c.queue(h), &there());
        c.nvme_io(h, &io::compare(1, at.lba, 1, once(&buffer))).0
    }),
    Row("Verify", "ACAAC", |c, h, at| {
        c.nvme_io(h, &io::verify(1, at.lba, 1)).0
    }),
    // Write group
    Row("Write", "CCACC", |c, h, at| c.write(h, at.lba, &at.data)),
    Row("Write in the capsule", "CCACC", |c, h, at| {
        let data = pagecast_initiator::nvme::Data::InCapsule(at.data.clone());
        c.nvme_io(h, &io::write(1, at.lba + 1, 1, data)).0
    }),
    Row("Write Zeroes", "CCACC", |c, h, at| {
        c.nvme_io(h, &io::write_zeroes(1, at.lba + 16, 1, false)).0
    }),
    Row("Write Zeroes, deallocating", "CCACC", |c, h, at| {
        c.nvme_io(h, &io::write_zeroes(1, at.lba + 17, 1, true)).0
    }),
    Row("Dataset Management", "CCACC", |c, h, at| {
        let range = io::Blocks {
            lba: at.lba + 18,
            count: 1,
        };
        let data = pagecast_initiator::nvme::Data::InCapsule(io::dataset_ranges(&[range]));
        c.nvme_io(h, &io::deallocate(1, 1, data)).0
    }),
    Row("Dataset Management, data by key", "CCACC", |c, h, at| {
        let range = io::Blocks {
            lba: at.lba + 19,
            count: 1,
        };
        let list = c
            .world
            .nvme_filled(h, c.queue(h), &io::dataset_ranges(&[range]));
        c.nvme_io(h, &io::deallocate(1, 1, once(&list))).0
    }),
    Row("Flush", "CCACC", |c, h, _| c.nvme_io(h, &io::flush(1)).0),
    Row("Copy", "CCACC", |c, h, at| {
        let range = io::Blocks {
            lba: OPEN,
            count: 1,
        };
        let list = c
            .world
            .nvme_filled(h, c.queue(h), &io::copy_ranges(&[range]));
        c.nvme_io(h, &io::copy(1, at.lba + 20, 1, once(&list))).0
    }),
    Row("Compare and Write, fused", "CCACC", |c, h, at| {
        let queue = c.queue(h);
        let old = c.world.nvme_filled(h, queue, &there());
        let new = c.world.nvme_filled(h, queue, &at.data);
        let compare = io::compare(1, at.lba + 4, 1, once(&old)).fused(Fuse::First);
        let write = io::write(1, at.lba + 4, 1, once(&new)).fused(Fuse::Second);
        let first = c.world.nvme_send(h, queue, &compare);
        let second = c.world.nvme_send(h, queue, &write);
        let first = c.world.nvme_reply(h, queue, first).code();
        let second = c.world.nvme_reply(h, queue, second).code();
        // One half says why, the other one may say that it was aborted since its half failed.
        match (first, second) {
            ((0, 0), (0, 0)) => Outcome::Good,
            ((0, 0x83), (0, 0x83 | 0x09)) | ((0, 0x09), (0, 0x83)) => Outcome::Conflict,
            ((kind, code), _) => Outcome::Nvme(kind, code),
        }
    }),
    // Neither
    Row("Reservation Report", "AAAAA", |c, h, _| {
        c.nvme_in(h, 64, |data| reservation::report(1, 64, true, data))
            .0
    }),
    Row("Identify", "AAAAA", |c, h, _| {
        let buffer = c.world.nvme_buffer(h, c.controller(h).admin, 4096);
        c.nvme_admin(h, &admin::identify(0, 1, once(&buffer))).0
    }),
    Row("Get Features", "AAAAA", |c, h, _| {
        let get = admin::get_features(0x07, 0, 0, pagecast_initiator::nvme::Data::None);
        c.nvme_admin(h, &get).0
    }),
];

fn command(cluster: &mut Cluster, host: Host, cdb: Vec<u8>) -> Outcome {
    cluster.scsi(host, cdb, Transfer::None).0
}

fn input(cluster: &mut Cluster, host: Host, cdb: Vec<u8>, length: usize) -> Outcome {
    cluster.scsi(host, cdb, Transfer::In(length)).0
}

fn maintenance_in(action: u8) -> Vec<u8> {
    vec![0xa3, action, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
}

/// What a host is to the reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Holder,
    Registrant,
    Stranger,
}

fn column(kind: Kind, role: Role) -> Option<usize> {
    match (kind, role) {
        (_, Role::Holder) => None,
        (Kind::WriteExclusive, _) => Some(0),
        (Kind::ExclusiveAccess, _) => Some(1),
        (_, Role::Registrant) => Some(2),
        (Kind::WriteExclusiveRegistrants | Kind::WriteExclusiveAll, Role::Stranger) => Some(3),
        (Kind::ExclusiveAccessRegistrants | Kind::ExclusiveAccessAll, Role::Stranger) => Some(4),
    }
}

/// Whether the row says that it is allowed. The holder may do everything.
fn allowed(row: &Row, kind: Kind, role: Role) -> bool {
    column(kind, role).is_none_or(|column| row.1.as_bytes()[column] == b'A')
}

/// Host 0 holds; 1 to 3 are registered, 4 to 6 are not.
fn role(host: Host) -> Role {
    match host {
        0 => Role::Holder,
        1..=3 => Role::Registrant,
        _ => Role::Stranger,
    }
}

fn key(host: Host) -> u64 {
    0x1000 + host as u64
}

fn matrix(holder: Transport, setup: impl Fn(u64) -> Setup) {
    for seed in seeds(0..1) {
        matrix_of(holder, setup(seed));
    }
}

fn matrix_of(holder: Transport, setup: Setup) {
    let [srp, iser, nvme] = Transport::ALL;
    let mut cluster = Cluster::new(setup, &[holder, srp, iser, nvme, srp, iser, nvme]);
    let blocks = there().repeat(BLOCKS as usize);
    for area in [OPEN, FENCED] {
        assert_eq!(cluster.write(0, area, &blocks), Outcome::Good);
    }
    for host in 0..=3 {
        assert_eq!(cluster.register(host, key(host)), Outcome::Good);
    }
    let (mut cells, mut wrong) = (0, Vec::new());
    for kind in Kind::ALL {
        assert_eq!(cluster.reserve(0, key(0), kind), Outcome::Good, "{kind:?}");
        for host in cluster.hosts() {
            let rows = if cluster.is_scsi(host) { SCSI } else { NVME };
            for row in rows {
                let allowed = allowed(row, kind, role(host));
                let (area, data) = match allowed {
                    true => (OPEN, there()),
                    false => (FENCED, pattern(512, 8)),
                };
                let place = Place { lba: area, data };
                let found = row.2(&mut cluster, host, &place);
                let expected = if allowed {
                    Outcome::Good
                } else {
                    Outcome::Conflict
                };
                cells += 1;
                if found != expected {
                    let who = (cluster.transport(host), role(host));
                    wrong.push((row.0, kind, who, found, expected));
                }
            }
        }
        // What was refused did nothing.
        for block in 0..BLOCKS {
            let (outcome, found) = cluster.read(0, FENCED + block);
            assert_eq!(outcome, Outcome::Good);
            assert!(found == there(), "{kind:?}: block {block} was written");
        }
        assert_eq!(cluster.release(0, key(0), kind), Outcome::Good, "{kind:?}");
        // SPC-4 section 5.12.11.2; NVMe base 2.0 section 8.19.6: with these types, the other registrants are told.
        let told: Vec<_> = (1..=3)
            .filter(|_| kind.tells_registrants())
            .map(|host| (host, vec![Notice::ReservationReleased]))
            .collect();
        assert_eq!(cluster.everybody_told(), told, "{kind:?}");
    }
    assert!(wrong.is_empty(), "{holder:?} holds: {wrong:#?}");
    // Four hosts and then some of SCSI, two of NVMe.
    assert_eq!(
        cells,
        6 * (4 * SCSI.len() + 2 * NVME.len() + own_rows(holder))
    );
    cluster.finish();
}

fn own_rows(holder: Transport) -> usize {
    match holder {
        Transport::Nvme => NVME.len(),
        Transport::Srp | Transport::Iser => SCSI.len(),
    }
}

#[test]
fn srp_holds() {
    matrix(Transport::Srp, Setup::new);
}

#[test]
fn iser_holds() {
    matrix(Transport::Iser, Setup::new);
}

#[test]
fn nvme_holds() {
    matrix(Transport::Nvme, Setup::new);
}

#[test]
fn without_windows_it_is_the_same() {
    matrix(Transport::Nvme, |seed| Setup::new(seed).staged());
}

/// SPC-4 section 5.12.1, table of PERSISTENT RESERVE OUT service actions that are allowed in the presence of various reservations; NVMe's
/// commands are the same. What registrants may preempt and clear has tests of its own.
#[test]
fn changes_beside_a_reservation() {
    for seed in seeds(0..1) {
        for holder in Transport::ALL {
            changes_beside(seed, holder);
        }
    }
}

fn changes_beside(seed: u64, holder: Transport) {
    use Outcome::{Conflict, Good};
    let [srp, iser, nvme] = Transport::ALL;
    let transports = [holder, srp, iser, nvme, srp, iser, nvme];
    let mut cluster = Cluster::new(Setup::new(seed), &transports);
    for host in 0..=3 {
        assert_eq!(cluster.register(host, key(host)), Good);
    }
    for kind in Kind::ALL {
        assert_eq!(cluster.reserve(0, key(0), kind), Good);
        let held = cluster.view(0);
        for host in 1..=3 {
            let what = format!("{kind:?} of {holder:?}, {:?}", cluster.transport(host));
            let other = Registration::new(9).replacing(key(host));
            assert_eq!(cluster.register_as(host, other), Good, "{what}");
            let back = Registration::new(key(host)).replacing(9);
            assert_eq!(cluster.register_as(host, back), Good, "{what}");
            for wanted in Kind::ALL {
                // Whoever holds it already may say so again (SPC-4 section 5.12.10).
                let holds = wanted == kind && kind.is_held_by_all();
                let expected = if holds { Good } else { Conflict };
                let found = cluster.reserve(host, key(host), wanted);
                assert_eq!(found, expected, "{what}: reserve as {wanted:?}");
            }
            if !kind.is_held_by_all() {
                let found = cluster.release(host, key(host), kind);
                assert_eq!(found, Good, "{what}: nothing of its own to release");
            }
        }
        for host in 4..=6 {
            let what = format!("{kind:?} of {holder:?}, {:?}", cluster.transport(host));
            assert_eq!(cluster.reserve(host, 0, kind), Conflict, "{what}");
            assert_eq!(cluster.release(host, 0, kind), Conflict, "{what}");
            assert_eq!(cluster.clear(host, 0), Conflict, "{what}");
            for victim in [key(0), key(1), 0] {
                let found = cluster.preempt(host, 0, victim, kind);
                assert_eq!(found, Conflict, "{what}: preempt {victim}");
            }
            assert_eq!(cluster.unregister(host, key(0)), Conflict, "{what}");
            assert_eq!(cluster.register(host, 9), Good, "{what}");
            assert_eq!(cluster.unregister(host, 9), Good, "{what}");
        }
        let now = cluster.view(0);
        assert_eq!((now.kind, now.holders), (held.kind, held.holders));
        assert_eq!(cluster.release(0, key(0), kind), Good);
        cluster.everybody_told();
    }
    cluster.finish();
}
