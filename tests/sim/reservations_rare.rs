//! What is rare: initiator ports that are named, reservations that move, tables that are full, devices that cannot be reserved.

use pagecast_initiator::nvme::{Command, admin, reservation};
use pagecast_initiator::scsi;
use pagecast_initiator::scsi::reserve::{
    Move, Parameters, action, iscsi_transport_id, persistent_reserve_in, persistent_reserve_out,
    release6, release10, report, reserve6, reserve10, srp_transport_id,
};
use pagecast_tests::iser::initiator_name;
use pagecast_tests::nvme::once;
use pagecast_tests::reservations::{Cluster, Kind, Notice, Outcome, Transfer, Transport};
use pagecast_tests::{Host, Setup, pattern};

use Outcome::{Conflict, Good, Sense};
use Transport::{Iser, Nvme, Srp};

pub(crate) const SRP: Host = 0;
pub(crate) const ISER: Host = 1;
pub(crate) const NVME: Host = 2;
/// The second SRP host.
pub(crate) const OTHER: Host = 3;
/// The second iSER host.
pub(crate) const ANOTHER: Host = 4;
pub(crate) const FIVE: [Transport; 5] = [Srp, Iser, Nvme, Srp, Iser];

/// Relative identifiers of a target's ports.
const SRP_PORT: u16 = 1;
const ISCSI_PORT: u16 = 2;

const ISID: [u8; 6] = [0x80, 0, 0, 0, 0, 1];

const INVALID_OPCODE: Outcome = Sense(5, 0x20, 0);
const INVALID_PARAMETER: Outcome = Sense(5, 0x26, 0);
const LIST_LENGTH: Outcome = Sense(5, 0x1a, 0);
const NO_ROOM: Outcome = Sense(5, 0x55, 4);

pub(crate) fn write(cluster: &mut Cluster, host: Host) -> Outcome {
    cluster.write(host, host as u64, &pattern(512, 1))
}

pub(crate) fn command(cluster: &mut Cluster, host: Host, cdb: Vec<u8>) -> Outcome {
    cluster.scsi(host, cdb, Transfer::None).0
}

fn transport_id(cluster: &Cluster, host: Host) -> Vec<u8> {
    match cluster.transport(host) {
        Srp => srp_transport_id([0xa0 + host as u8; 16]),
        Iser => iscsi_transport_id(&initiator_name(host), Some(ISID)),
        Nvme => {
            let mut id = vec![0x0f, 0, 0, 0, 0, 0, 0, 0];
            id.extend([0x50 + host as u8; 16]);
            id
        }
    }
}

// --- other initiator ports ---------------------------------------------------------------------------------------

fn spec_i_pt(key: u64, others: Vec<Vec<u8>>) -> Vec<u8> {
    let list = Parameters {
        others: Some(others),
        ..Parameters::keys(0, key)
    };
    list.encode()
}

#[test]
fn others_are_registered_as_well() {
    for (host, other) in [(SRP, OTHER), (ISER, ANOTHER)] {
        let mut cluster = Cluster::new(Setup::new(1), &FIVE);
        let list = spec_i_pt(7, vec![transport_id(&cluster, other)]);
        assert_eq!(cluster.reserve_out(host, action::REGISTER, 0, &list), Good);
        assert_eq!(cluster.view(NVME).keys, [7, 7]);
        assert_eq!(cluster.view(NVME).generation, 1);
        assert_eq!(cluster.reserve(other, 7, Kind::ExclusiveAccess), Good);
        assert_eq!(cluster.read(NVME, 0).0, Conflict);
        assert_eq!(cluster.read(host, 0).0, Conflict);
        // Those who have the same key go together.
        assert_eq!(cluster.register(NVME, 3), Good);
        let done = cluster.preempt(NVME, 3, 7, Kind::WriteExclusive);
        assert_eq!(done, Good);
        let gone = vec![Notice::RegistrationPreempted];
        let told = [(host, gone.clone()), (other, gone)];
        assert_eq!(cluster.everybody_told(), told);
        assert_eq!(cluster.view(host).keys, [3]);
        cluster.finish();
    }
}

#[test]
fn others_that_cannot_be_registered() {
    let mut cluster = Cluster::new(Setup::new(1), &FIVE);
    assert_eq!(cluster.register(OTHER, 4), Good);
    let good = transport_id(&cluster, OTHER);
    let nvme = transport_id(&cluster, NVME);
    let fresh = srp_transport_id([0x77; 16]);
    let mut unknown = fresh.clone();
    unknown[0] = 0x0c;
    let unterminated = {
        let mut id = iscsi_transport_id(&initiator_name(ANOTHER), Some(ISID));
        let end = id.len();
        id[end - 4..].fill(b'x');
        id
    };
    for (what, host, others, expected) in [
        (
            "one that is registered",
            SRP,
            vec![fresh.clone(), good],
            INVALID_PARAMETER,
        ),
        ("an NVMe host", SRP, vec![nvme], INVALID_PARAMETER),
        ("an unknown protocol", SRP, vec![unknown], INVALID_PARAMETER),
        (
            "an iSCSI name without its end",
            ISER,
            vec![unterminated],
            INVALID_PARAMETER,
        ),
        (
            "half of one",
            SRP,
            vec![fresh[..12].to_vec()],
            INVALID_PARAMETER,
        ),
    ] {
        let list = spec_i_pt(7, others);
        let found = cluster.reserve_out(host, action::REGISTER, 0, &list);
        assert_eq!(found, expected, "{what}");
        // None of them is registered.
        assert_eq!(cluster.view(NVME).keys, [4], "{what}");
    }
    // Lengths that lie.
    let honest = spec_i_pt(7, vec![fresh]);
    for (claimed, sent) in [(1000, 52), (24, 48), (0x7fff_ffff, 52), (20, 52)] {
        let mut list = honest[..sent].to_vec();
        list[24..28].copy_from_slice(&u32::to_be_bytes(claimed));
        let found = cluster.reserve_out(SRP, action::REGISTER, 0, &list);
        let refused = [LIST_LENGTH, INVALID_PARAMETER];
        assert!(refused.contains(&found), "{claimed} in {sent}: {found:?}");
        assert_eq!(cluster.view(NVME).keys, [4]);
    }
    // Not with anything but a registration (SPC-4 section 6.16.3).
    assert_eq!(cluster.register(SRP, 1), Good);
    let list = Parameters {
        others: Some(vec![srp_transport_id([0x77; 16])]),
        ..Parameters::keys(1, 0)
    };
    let found = cluster.reserve_out(SRP, action::RESERVE, 1, &list.encode());
    assert!(
        matches!(found, INVALID_PARAMETER | LIST_LENGTH),
        "{found:?}"
    );
    assert_eq!(cluster.view(NVME).kind, None);
    cluster.finish();
}

#[test]
fn lists_of_other_lengths() {
    let mut cluster = Cluster::of_three(1);
    let list = Parameters::keys(0, 7).encode();
    for host in [SRP, ISER] {
        for length in [0, 1, 8, 23, 25, 32] {
            let mut list = list.clone();
            list.resize(length, 0);
            let found = cluster.reserve_out(host, action::REGISTER, 0, &list);
            assert_eq!(found, LIST_LENGTH, "{length} bytes");
        }
        for (service, kind) in [(action::RESERVE, 2), (action::RESERVE, 0x0f), (0x1f, 1)] {
            let found = cluster.reserve_out(host, service, kind, &list);
            assert!(
                matches!(found, Sense(5, 0x24, 0) | Conflict),
                "{service}, type {kind}: {found:?}"
            );
        }
        assert!(cluster.view(NVME).keys.is_empty());
    }
    // As much of a report as there is room for, with the length of all of it.
    assert_eq!(cluster.register(SRP, 7), Good);
    assert_eq!(cluster.register(NVME, 8), Good);
    for (service, all) in [(report::KEYS, 24), (report::FULL_STATUS, 8 + 48 * 2)] {
        for room in [0, 1, 8, 12, 16, 200] {
            let cdb = persistent_reserve_in(service, room as u16);
            let (outcome, data) = cluster.scsi(ISER, cdb, Transfer::In(256));
            assert_eq!((outcome, data.len()), (Good, room.min(all)));
            if room >= 8 {
                assert_eq!(data[4..8], (all as u32 - 8).to_be_bytes());
            }
        }
    }
    cluster.finish();
}

#[test]
fn reservations_move() {
    // To one's own kind, to the other protocol of SCSI, with and without leaving.
    for (host, to, port) in [
        (SRP, OTHER, SRP_PORT),
        (ISER, ANOTHER, ISCSI_PORT),
        (SRP, ISER, ISCSI_PORT),
        (ISER, SRP, SRP_PORT),
    ] {
        for unregister in [false, true] {
            let what = format!("{host} to {to}");
            let mut cluster = Cluster::new(Setup::new(1), &FIVE);
            assert_eq!(cluster.register(host, 1), Good);
            assert_eq!(cluster.reserve(host, 1, Kind::ExclusiveAccess), Good);
            let list = Move {
                key: 1,
                action_key: 9,
                unregister,
                persist: false,
                port,
                to: transport_id(&cluster, to),
            };
            let list = list.encode();
            let found = cluster.reserve_out(host, action::REGISTER_AND_MOVE, 0, &list);
            assert_eq!(found, Good, "{what}");
            let view = cluster.view(NVME);
            let keys = if unregister { vec![9] } else { vec![1, 9] };
            assert_eq!((view.keys, view.holders), (keys, vec![9]), "{what}");
            assert_eq!(write(&mut cluster, to), Good, "{what}");
            assert_eq!(write(&mut cluster, host), Conflict, "{what}");
            assert_eq!(cluster.release(to, 9, Kind::ExclusiveAccess), Good);
            assert_eq!(cluster.everybody_told(), []);
            cluster.finish();
        }
    }
}

#[test]
fn reservations_that_do_not_move() {
    let mut cluster = Cluster::new(Setup::new(1), &FIVE);
    assert_eq!(cluster.register(SRP, 1), Good);
    let to = |to: Vec<u8>, port| Move {
        key: 1,
        action_key: 9,
        port,
        to,
        ..Move::default()
    };
    let service = action::REGISTER_AND_MOVE;
    let other = transport_id(&cluster, OTHER);
    let nvme = transport_id(&cluster, NVME);
    let own = transport_id(&cluster, SRP);
    assert_eq!(cluster.reserve(SRP, 1, Kind::WriteExclusive), Good);
    for (what, list) in [
        ("to oneself", to(own, SRP_PORT)),
        ("to an NVMe host", to(nvme.clone(), SRP_PORT)),
        ("to an NVMe host's port", to(nvme, 3)),
        ("through no port", to(other.clone(), 77)),
        (
            "with no key",
            Move {
                action_key: 0,
                ..to(other.clone(), SRP_PORT)
            },
        ),
    ] {
        let found = cluster.reserve_out(SRP, service, 0, &list.encode());
        assert!(matches!(found, Sense(5, 0x26, _)), "{what}: {found:?}");
        assert_eq!(cluster.view(NVME).keys, [1], "{what}");
    }
    let wrong = Move {
        key: 2,
        ..to(other.clone(), SRP_PORT)
    };
    let found = cluster.reserve_out(SRP, service, 0, &wrong.encode());
    assert_eq!(found, Conflict);
    // What all registrants hold does not move (SPC-4 section 5.12.8).
    assert_eq!(cluster.release(SRP, 1, Kind::WriteExclusive), Good);
    assert_eq!(cluster.reserve(SRP, 1, Kind::WriteExclusiveAll), Good);
    let list = to(other, SRP_PORT).encode();
    assert_eq!(cluster.reserve_out(SRP, service, 0, &list), Conflict);
    cluster.finish();
}

// --- limits ------------------------------------------------------------------------------------------------------

#[test]
fn tables_that_are_full() {
    let disk = r#"{ "name": "disk0", "backend": "memory", "size": "4MiB", "max_registrants": 2 }"#;
    for first in [SRP, ISER, NVME] {
        let mut cluster = Cluster::new(Setup::new(1).device(disk), &FIVE);
        let (second, third) = ((first + 1) % 3, (first + 2) % 3);
        assert_eq!(cluster.register(first, 1), Good);
        if cluster.is_scsi(first) {
            // Both of them or none.
            let (host, other) = if first == SRP {
                (OTHER, 0x78)
            } else {
                (OTHER, 0x79)
            };
            let list = spec_i_pt(7, vec![srp_transport_id([other; 16])]);
            let found = cluster.reserve_out(host, action::REGISTER, 0, &list);
            assert_eq!(found, NO_ROOM);
        }
        assert_eq!(cluster.register(second, 2), Good);
        let found = cluster.register(third, 3);
        let expected = match cluster.is_scsi(third) {
            true => NO_ROOM,
            false => Outcome::Nvme(0, 0x06),
        };
        assert_eq!(found, expected);
        let view = cluster.view(third);
        assert_eq!((view.keys, view.generation), (vec![1, 2], 2));
        // There is room again.
        assert_eq!(cluster.unregister(first, 1), Good);
        assert_eq!(cluster.register(third, 3), Good);
        cluster.finish();
    }
}

#[test]
fn devices_that_cannot_be_reserved() {
    let disk = r#"{ "name": "disk0", "backend": "memory", "size": "4MiB", "reservations": false }"#;
    let mut cluster = Cluster::new(Setup::new(1).device(disk), &FIVE);
    for host in [SRP, ISER] {
        for service in 0..8 {
            let list = Parameters::keys(0, 1).encode();
            let cdb = persistent_reserve_out(service, 1, 24);
            let (found, _) = cluster.scsi(host, cdb, Transfer::Out(list));
            assert_eq!(found, INVALID_OPCODE, "PERSISTENT RESERVE OUT {service}");
        }
        for service in 0..4 {
            let cdb = persistent_reserve_in(service, 256);
            let (found, _) = cluster.scsi(host, cdb, Transfer::In(256));
            assert_eq!(found, INVALID_OPCODE, "PERSISTENT RESERVE IN {service}");
        }
        for cdb in [reserve6(), release6(), reserve10(), release10()] {
            assert_eq!(command(&mut cluster, host, cdb), INVALID_OPCODE);
        }
        // REPORT SUPPORTED OPERATION CODES of one: there is none.
        for opcode in [0x5e, 0x5f, 0x16, 0x17, 0x56, 0x57] {
            let cdb = vec![0xa3, 0x0c, 0x01, opcode, 0, 0, 0, 0, 1, 0, 0, 0];
            let (outcome, data) = cluster.scsi(host, cdb, Transfer::In(256));
            if outcome == Good {
                assert_eq!(data[1] & 7, 1, "opcode {opcode:#x} is said to be there");
            }
        }
    }
    let (rescap, oncs) = capabilities(&mut cluster);
    assert_eq!((rescap, oncs & 1 << 5), (0, 0));
    for command in nvme_commands() {
        let (found, _) = cluster.nvme_io(NVME, &command);
        assert_eq!(found, Outcome::Nvme(0, 0x01), "{command:?}");
    }
    for host in cluster.hosts() {
        assert_eq!(write(&mut cluster, host), Good);
    }
    cluster.finish();
    // One that can: all types, persistence, and keys that may be ignored.
    let mut cluster = Cluster::of_three(1);
    let (rescap, oncs) = capabilities(&mut cluster);
    assert_eq!((rescap & 0x7f, oncs & 1 << 5), (0x7f, 1 << 5));
    cluster.finish();
}

fn nvme_commands() -> [Command; 4] {
    use reservation::{Acquire, Persist, Register, Release, acquire, register, release};
    [
        register(1, Register::Register, Persist::NoChange, 0, 1),
        acquire(1, Acquire::Acquire, 1, 1, 0),
        release(1, Release::Release, 1, 1),
        Command::new(reservation::opcode::REPORT, 1),
    ]
}

/// RESCAP of Identify Namespace, and ONCS of Identify Controller.
fn capabilities(cluster: &mut Cluster) -> (u8, u16) {
    let controller = cluster.controller(NVME);
    let identify = &controller.identify;
    let oncs = u16::from_le_bytes([identify[520], identify[521]]);
    let admin = controller.admin;
    let buffer = cluster.world.nvme_buffer(NVME, admin, 4096);
    let (outcome, reply) = cluster.nvme_admin(NVME, &admin::identify(0, 1, once(&buffer)));
    assert_eq!(outcome, Good);
    (reply.data()[31], oncs)
}

// --- NVMe's own rules --------------------------------------------------------------------------------------------

#[test]
fn what_nvme_hosts_may_say() {
    use reservation::{
        Acquire, Persist, Register, Release, acquire, ignoring_key, register, release, report,
    };
    let mut cluster = Cluster::of_three(1);
    let mut execute = |command: &Command| cluster.nvme_io(NVME, command).0;
    let invalid = Outcome::Nvme(0, 0x02);
    // Linux: a first registration with CPTPL 11b, and Replace with key 0 to end it.
    let first = register(1, Register::Register, Persist::Set, 0, 5);
    assert_eq!(execute(&first), Good);
    let end = register(1, Register::Replace, Persist::Set, 5, 0);
    assert_eq!(execute(&end), Good);
    // The current key does not matter to a first registration.
    let first = register(1, Register::Register, Persist::NoChange, 99, 5);
    assert_eq!(execute(&first), Good);
    let replace = register(1, Register::Replace, Persist::NoChange, 6, 7);
    assert_eq!(execute(&replace), Conflict);
    assert_eq!(execute(&ignoring_key(replace)), Good);
    for (what, command) in [
        (
            "CPTPL 01b",
            register(1, Register::Register, Persist::Reserved, 0, 5),
        ),
        (
            "RREGA 3",
            register(1, Register::Register, Persist::NoChange, 0, 5).dword(10, 3),
        ),
        (
            "RACQA 3",
            acquire(1, Acquire::Acquire, 1, 7, 0).dword(10, 3 | 1 << 8),
        ),
        (
            "RRELA 2",
            release(1, Release::Release, 1, 7).dword(10, 2 | 1 << 8),
        ),
        ("RTYPE 0", acquire(1, Acquire::Acquire, 0, 7, 0)),
        ("RTYPE 7", acquire(1, Acquire::Acquire, 7, 7, 0)),
    ] {
        assert_eq!(execute(&command), invalid, "{what}");
    }
    let nowhere = register(9, Register::Register, Persist::NoChange, 0, 5);
    assert_eq!(execute(&nowhere), Outcome::Nvme(0, 0x0b));
    // A 128-bit host identifier does not fit into the short form: Host Identifier Inconsistent Format.
    let (outcome, _) = cluster.nvme_in(NVME, 4096, |data| report(1, 4096, false, data));
    assert_eq!(outcome, Outcome::Nvme(0, 0x18));
    // A report that is cut still says how many there are.
    for host in [SRP, ISER] {
        assert_eq!(cluster.register(host, host as u64 + 1), Good);
    }
    let (outcome, data) = cluster.nvme_in(NVME, 100, |data| report(1, 100, true, data));
    assert_eq!(outcome, Good);
    assert_eq!(
        reservation::Status::parse(&data, true).map(|s| s.count),
        Some(3)
    );
    let kind = Kind::WriteExclusiveRegistrants;
    assert_eq!(cluster.reserve(SRP, 1, kind), Good);
    // IEKEY is for one's own registration, and lets nobody do what the reservation forbids.
    let acquire = ignoring_key(acquire(1, Acquire::Acquire, kind.nvme(), 0, 0));
    let found = cluster.nvme_io(NVME, &acquire).0;
    assert!(found == Conflict || found == invalid, "{found:?}");
    assert_eq!(cluster.view(SRP).holders, [1]);
    cluster.finish();
}

// --- copies ------------------------------------------------------------------------------------------------------

/// EXTENDED COPY is sent to one device and may write to another: it needs the right to do so there as well (SPC-4 section 5.16.4).
#[test]
fn copies_do_not_go_around_a_reservation() {
    let mut setup = Setup::new(1);
    setup
        .devices
        .push(r#"{ "name": "disk1", "backend": "memory", "size": "4MiB" }"#.to_owned());
    setup.groups =
        r#"[{ "name": "everyone", "initiators": ["*"], "luns": { "0": "disk0", "1": "disk1" } }]"#
            .to_owned();
    for host in [SRP, ISER] {
        for (kind, source, destination) in [
            (Kind::WriteExclusive, Good, Conflict),
            (Kind::ExclusiveAccess, Conflict, Conflict),
        ] {
            let mut cluster = Cluster::new(setup.clone(), &FIVE);
            let names = [0, 1].map(|lun| {
                cluster.lun = lun;
                naa(&mut cluster, host)
            });
            let there = pattern(512, 1);
            cluster.lun = 0;
            assert_eq!(cluster.write(NVME, 5, &there), Good);
            cluster.lun = 1;
            assert_eq!(cluster.write(host, 5, &pattern(512, 2)), Good);
            cluster.lun = 0;
            assert_eq!(cluster.register(NVME, 3), Good);
            assert_eq!(cluster.reserve(NVME, 3, kind), Good);
            // Sent to the other disk, where nothing is reserved.
            for (from, to, expected) in [(0, 1, source), (1, 0, destination)] {
                cluster.lun = 1;
                let segments = [(5, 5, 1)];
                let (cdb, list) = scsi::extended_copy(&names[from], &names[to], 512, &segments);
                let (found, _) = cluster.scsi(host, cdb, Transfer::Out(list));
                let refused = found == Conflict || matches!(found, Sense(0x0a, ..));
                let what = format!("{kind:?}: from {from} to {to}: {found:?}");
                assert_eq!(found == Good, expected == Good, "{what}");
                assert!(found == Good || refused, "{what}");
                cluster.lun = 0;
                assert!(cluster.read(NVME, 5).1 == there, "{what}");
            }
            cluster.finish();
        }
    }
}

/// The NAA designator of the disk.
pub(crate) fn naa(cluster: &mut Cluster, host: Host) -> Vec<u8> {
    let page = scsi::inquiry(Some(0x83), 255);
    let (_, page) = cluster.scsi(host, page, Transfer::In(255));
    let mut rest = &page[4..];
    while let [code_set, kind, _, length, ..] = *rest {
        let (designator, later) = rest[4..].split_at(length.into());
        if (code_set & 0x0f, kind & 0x3f) == (1, 3) {
            return designator.to_vec();
        }
        rest = later;
    }
    panic!("no NAA designator: {page:02x?}");
}
