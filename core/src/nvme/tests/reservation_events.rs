//! Reservation notifications (NVMe base 2.0 section 8.19.1), and the features about reservations.

use super::io_fixture::{HOST, Io, PLAIN, THIN, command, get_log};
use crate::nvme::controller::Kind;
use crate::nvme::plan::{Completion, Plan};
use crate::nvme::status::Status;
use crate::nvme::testing::{registrant, u32_at, u64_at};
use crate::reservations::{Action, Change, Expected, Registrant, ReservationType};

const OTHER: [u8; 16] = [7; 16];
/// I/O Command specific status, Reservation Log Page Available, Reservation Notification.
const RESERVATIONS: u32 = 0x0080_0006;
const NAMESPACES: u32 = 0x0004_0002;

fn apply(io: &Io, nsid: u32, by: [u8; 16], action: Action) {
    let (_, unit) = io
        .disks
        .iter()
        .find(|(number, _)| *number == nsid - 1)
        .expect("a disk");
    let by = registrant(by);
    let change = Change { by, action };
    let prepared = unit
        .reservations()
        .begin(&change)
        .expect("a change that can be made");
    prepared.commit();
}

fn register(io: &Io, nsid: u32, by: [u8; 16], key: u64) {
    let action = Action::Register {
        expected: Expected::Any,
        key,
        others: Vec::new(),
        persist: None,
    };
    apply(io, nsid, by, action);
}

/// Both are registered; the other clears, by which this host loses the reservation and its registration.
fn clear(io: &Io, nsid: u32) {
    register(io, nsid, HOST, 1);
    register(io, nsid, OTHER, 2);
    apply(io, nsid, OTHER, Action::Clear { key: Some(2) });
}

/// The other one preempts this host.
fn preempt(io: &Io, nsid: u32) {
    register(io, nsid, HOST, 1);
    register(io, nsid, OTHER, 2);
    let action = Action::Preempt {
        key: Some(2),
        victim: 1,
        kind: ReservationType::WriteExclusive,
        abort: false,
    };
    apply(io, nsid, OTHER, action);
}

/// The other one releases what only registrants could use.
fn release(io: &Io, nsid: u32) {
    let kind = ReservationType::WriteExclusiveRegistrantsOnly;
    register(io, nsid, HOST, 1);
    register(io, nsid, OTHER, 2);
    let key = Some(2);
    apply(io, nsid, OTHER, Action::Reserve { key, kind });
    apply(io, nsid, OTHER, Action::Release { key, kind });
}

fn wait(io: &mut Io) {
    assert!(matches!(io.plan(&command(0x0c, 0, 0, 1)), Plan::Event));
}

fn look(io: &mut Io) -> Option<u32> {
    io.queue.controller().look(&mut io.units);
    io.queue.controller().take_event()
}

/// LPC, type, NALP, NSID.
fn read(io: &mut Io) -> (u64, u8, u8, u32) {
    let page = io.log(0x80, 64);
    assert_eq!(page[10..12], [0; 2]);
    assert_eq!(page[16..], [0; 48]);
    (u64_at(&page, 0), page[8], page[9], u32_at(&page, 12))
}

fn feature(io: &mut Io, opcode: u8, nsid: u32, id: u32, value: u32) -> Plan {
    let mut feature = command(opcode, nsid, 0, 1);
    feature.cdw10 = [id, value, 0, 0, 0, 0];
    io.plan(&feature)
}

#[track_caller]
fn set(io: &mut Io, nsid: u32, id: u32, value: u32) -> Status {
    super::io_fixture::status(feature(io, 0x09, nsid, id, value))
}

#[track_caller]
fn get(io: &mut Io, nsid: u32, id: u32) -> Completion {
    match feature(io, 0x0a, nsid, id, 0) {
        Plan::Respond(completion) => completion,
        other => panic!("not a completion: {other:?}"),
    }
}

#[test]
fn the_page_byte_by_byte() {
    let mut io = Io::admin();
    assert_eq!(io.log(0x80, 64), [0; 64]);
    preempt(&io, THIN);
    let page = io.log(0x80, 64);
    let mut expected = [0; 64];
    expected[0] = 1;
    expected[8] = 1;
    expected[12] = THIN as u8;
    assert_eq!(page, expected);
    assert_eq!(io.log(0x80, 64), [0; 64]);
}

#[test]
fn each_kind_of_notice_has_its_type() {
    for (happens, kind) in [(preempt as fn(&Io, u32), 1), (release, 2), (clear, 3)] {
        let mut io = Io::admin();
        happens(&io, PLAIN);
        assert_eq!(read(&mut io), (1, kind, 0, PLAIN));
    }
}

#[test]
fn every_controller_of_the_host_hears_and_nobody_else() {
    let mut io = Io::admin();
    let mut again = io.other(Some(registrant(HOST))).into_admin(Kind::Io);
    let mut other = io.other(Some(registrant(OTHER))).into_admin(Kind::Io);
    let mut nobody = io.other(None).into_admin(Kind::Io);
    for host in [&mut io, &mut again, &mut other, &mut nobody] {
        wait(host);
    }
    clear(&io, PLAIN);
    assert_eq!(look(&mut io), Some(RESERVATIONS));
    assert_eq!(look(&mut again), Some(RESERVATIONS));
    assert_eq!(look(&mut other), None);
    assert_eq!(look(&mut nobody), None);
    assert_eq!(read(&mut io), (1, 3, 0, PLAIN));
    assert_eq!(read(&mut again), (1, 3, 0, PLAIN));
    assert_eq!(read(&mut other), (0, 0, 0, 0));
}

#[test]
fn a_host_is_told_until_it_reads() {
    let mut io = Io::admin();
    (0..4).for_each(|_| wait(&mut io));
    clear(&io, PLAIN);
    assert_eq!(look(&mut io), Some(RESERVATIONS));
    preempt(&io, THIN);
    preempt(&io, 3);
    assert_eq!(look(&mut io), None);
    // The page is read, and the event is not armed again (RAE).
    let mut retain = get_log(0x80, 64);
    retain.cdw10[0] |= 1 << 15;
    let page = io.reply(&retain);
    assert_eq!((u64_at(&page, 0), page[8], page[9]), (1, 3, 2));
    assert_eq!(look(&mut io), None);
    // There is another one.
    assert_eq!(read(&mut io), (2, 1, 1, THIN));
    assert_eq!(look(&mut io), Some(RESERVATIONS));
    assert_eq!(read(&mut io), (3, 1, 0, 3));
    assert_eq!(look(&mut io), None);
    clear(&io, 3);
    assert_eq!(look(&mut io), Some(RESERVATIONS));
    // Behind the page there is nothing to read.
    for retain in [0, 1 << 15] {
        let mut behind = get_log(0x80, 64);
        behind.cdw10[0] |= retain;
        behind.cdw10[2] = 64;
        assert_eq!(io.reply(&behind), [0; 64]);
        behind.cdw10[2] = 68;
        assert_eq!(io.status(&behind), Status::INVALID_FIELD);
        behind.cdw10[2] = 1 << 16;
        assert_eq!(io.status(&behind), Status::INVALID_FIELD);
    }
    assert_eq!(read(&mut io), (4, 3, 0, 3));
}

/// Each notification is a page of its own (NVMe base 2.0 section 8.19.1), in the order in which they came.
#[test]
fn notices_of_a_kind_are_as_many_as_there_were() {
    let mut io = Io::admin();
    for happens in [release as fn(&Io, u32), preempt, release, clear, clear] {
        happens(&io, PLAIN);
    }
    for (count, kind) in [(1, 2), (2, 1), (3, 2), (4, 3), (5, 3)] {
        assert_eq!(read(&mut io), (count, kind, 5 - count as u8, PLAIN));
    }
    assert_eq!(read(&mut io), (0, 0, 0, 0));
}

#[test]
fn notices_of_namespaces_and_of_reservations_do_not_wait_for_each_other() {
    let mut io = Io::admin();
    assert_eq!(set(&mut io, 0, 0x0b, 1 << 8), Status::SUCCESS);
    (0..2).for_each(|_| wait(&mut io));
    io.disks[0].1.set_capacity(5);
    clear(&io, THIN);
    io.queue.controller().look(&mut io.units);
    assert_eq!(io.queue.controller().take_event(), Some(RESERVATIONS));
    assert_eq!(io.queue.controller().take_event(), Some(NAMESPACES));
    assert_eq!(io.queue.controller().take_event(), None);
    wait(&mut io);
    // One was read, the other was not.
    read(&mut io);
    io.disks[0].1.set_capacity(6);
    assert_eq!(look(&mut io), None);
    clear(&io, THIN);
    assert_eq!(look(&mut io), Some(RESERVATIONS));
    // Nobody waits.
    io.log(0x04, 4096);
    read(&mut io);
    clear(&io, THIN);
    assert_eq!(look(&mut io), None);
    wait(&mut io);
    assert_eq!(io.queue.controller().take_event(), Some(RESERVATIONS));
}

#[test]
fn the_log_is_bounded_and_says_what_it_has_lost() {
    // Whether the controller looks after each of them, or none.
    for looks in [true, false] {
        let mut io = Io::admin();
        for _ in 0..300 {
            clear(&io, PLAIN);
            if looks {
                io.queue.controller().look(&mut io.units);
            }
        }
        for count in 1..=255_u8 {
            let page = read(&mut io);
            assert_eq!(page, (count.into(), 3, 255 - (count - 1), PLAIN));
        }
        // The last one tells of those that came after it.
        assert_eq!(read(&mut io), (300, 3, 0, PLAIN));
        assert_eq!(read(&mut io), (0, 0, 0, 0));
        preempt(&io, THIN);
        assert_eq!(read(&mut io), (301, 1, 0, THIN));
    }
}

#[test]
fn what_is_masked_is_not_lost() {
    let mut io = Io::admin();
    assert_eq!(set(&mut io, PLAIN, 0x82, 1 << 3), Status::SUCCESS);
    for _ in 0..255 {
        release(&io, PLAIN);
    }
    clear(&io, PLAIN);
    // There is no room for these.
    clear(&io, PLAIN);
    release(&io, PLAIN);
    for count in 1..=254_u8 {
        assert_eq!(read(&mut io), (count.into(), 2, 255 - count, PLAIN));
    }
    assert_eq!(read(&mut io), (256, 2, 0, PLAIN));
    assert_eq!(read(&mut io), (0, 0, 0, 0));
}

#[test]
fn a_reset_forgets_masks_and_notices() {
    let mut io = Io::admin();
    assert_eq!(set(&mut io, PLAIN, 0x82, 2), Status::SUCCESS);
    clear(&io, PLAIN);
    io.queue.controller().look(&mut io.units);
    // That one was collected, this one was not.
    clear(&io, PLAIN);
    for enabled in [0x0046_0000, 0x0046_0001] {
        let mut configure = command(0x7f, 0, 0, 1);
        configure.cdw10 = [0, 0x14, enabled, 0, 0, 0];
        io.plan(&configure);
    }
    assert_eq!(read(&mut io), (0, 0, 0, 0));
    assert_eq!(get(&mut io, PLAIN, 0x82).result, 0);
    clear(&io, PLAIN);
    assert_eq!(read(&mut io), (1, 3, 0, PLAIN));
}

#[test]
fn masks_are_of_a_namespace_and_of_a_controller() {
    for (happens, mask) in [
        (preempt as fn(&Io, u32), 1 << 1),
        (release, 1 << 2),
        (clear, 1 << 3),
    ] {
        for set_mask in [1 << 1, 1 << 2, 1 << 3] {
            let mut io = Io::admin();
            wait(&mut io);
            let mut again = io.other(Some(registrant(HOST))).into_admin(Kind::Io);
            assert_eq!(set(&mut io, PLAIN, 0x82, set_mask), Status::SUCCESS);
            assert_eq!(get(&mut io, PLAIN, 0x82).result, set_mask.into());
            assert_eq!(get(&mut io, THIN, 0x82).result, 0);
            assert_eq!(get(&mut again, PLAIN, 0x82).result, 0);
            happens(&io, PLAIN);
            let masked = set_mask == mask;
            let event = look(&mut io);
            assert_eq!(event, (!masked).then_some(RESERVATIONS), "{mask}");
            assert_eq!(read(&mut io).1 == 0, masked);
            assert_ne!(read(&mut again).1, 0);
            happens(&io, THIN);
            assert_eq!(read(&mut io).3, THIN);
        }
    }
}

#[test]
fn features_of_all_namespaces_can_be_set_and_not_be_read() {
    let mut io = Io::admin();
    assert_eq!(set(&mut io, u32::MAX, 0x82, 0xe), Status::SUCCESS);
    for nsid in [1, 2, 3, 5] {
        assert_eq!(get(&mut io, nsid, 0x82).result, 0xe);
    }
    for id in [0x82, 0x83] {
        assert_eq!(get(&mut io, u32::MAX, id).status, Status::INVALID_FIELD);
        for nsid in [0, 4, 6, u32::MAX - 1] {
            assert_eq!(get(&mut io, nsid, id).status, Status::INVALID_NAMESPACE);
            assert_eq!(set(&mut io, nsid, id, 0), Status::INVALID_NAMESPACE);
        }
        // Capabilities: changeable, of a namespace. Defaults.
        let plan = feature(&mut io, 0x0a, PLAIN, id | 3 << 8, 0);
        assert!(matches!(plan, Plan::Respond(done) if done.result == 6));
        for select in [1, 2] {
            let plan = feature(&mut io, 0x0a, PLAIN, id | select << 8, 0);
            assert!(matches!(plan, Plan::Respond(Completion::SUCCESS)));
        }
        // SV.
        let status = set(&mut io, PLAIN, id | 1 << 31, 0);
        assert_eq!(status, Status::FEATURE_NOT_SAVEABLE);
    }
    for (id, value) in [(0x82, 1), (0x82, 1 << 4), (0x83, 2), (0x83, 1 << 31)] {
        assert_eq!(set(&mut io, PLAIN, id, value), Status::INVALID_FIELD);
    }
    assert_eq!(get(&mut io, PLAIN, 0x82).result, 0xe, "as it was");
}

/// Makes the change that a command comes to.
#[track_caller]
fn persist(io: &mut Io, nsid: u32, value: u32) -> u32 {
    match feature(io, 0x09, nsid, 0x83, value) {
        Plan::Reserve(reserve) => {
            let unit = io.units.unit(reserve.unit);
            assert_eq!(reserve.change.action, Action::Persist(value != 0));
            let prepared = unit.reservations().begin(&reserve.change);
            prepared.expect("nothing is against it").commit();
            unit.id().0
        }
        other => panic!("no change: {other:?}"),
    }
}

#[test]
fn persistence_is_a_change_of_the_table() {
    let mut io = Io::admin();
    assert_eq!(persist(&mut io, THIN, 1), THIN);
    assert_eq!(get(&mut io, THIN, 0x83).result, 1);
    assert_eq!(get(&mut io, PLAIN, 0x83).result, 0);
    // The default and what was saved are not what is.
    for select in [1, 2] {
        let plan = feature(&mut io, 0x0a, THIN, 0x83 | select << 8, 0);
        assert!(matches!(plan, Plan::Respond(Completion::SUCCESS)));
    }
    // Of all that are not yet so, there may be one.
    assert_eq!(set(&mut io, u32::MAX, 0x83, 1), Status::INVALID_FIELD);
    assert_eq!(persist(&mut io, u32::MAX, 0), THIN);
    assert_eq!(set(&mut io, u32::MAX, 0x83, 0), Status::SUCCESS);
    // Whose table it is does not count.
    register(&io, PLAIN, OTHER, 2);
    assert_eq!(persist(&mut io, PLAIN, 1), PLAIN);
    let table = io.disks[0].1.reservations().table();
    assert!(table.persistent() && table.registrations().len() == 1);

    // Nobody, and who has to stay away.
    let mut nobody = io.other(None).into_admin(Kind::Io);
    assert_eq!(
        set(&mut nobody, PLAIN, 0x83, 0),
        Status::RESERVATION_CONFLICT
    );
    let (_, nexuses) = nobody.session.snapshot();
    let reservations = io.disks[1].1.reservations();
    reservations
        .reserve(nexuses[1].1.seat())
        .expect("nobody has");
    assert_eq!(set(&mut io, THIN, 0x83, 1), Status::RESERVATION_CONFLICT);
}

#[test]
fn scsi_hosts_and_operators_are_heard_of_as_well() {
    let mut io = Io::admin();
    register(&io, PLAIN, HOST, 1);
    let scsi = Registrant::Scsi {
        initiator: crate::reservations::InitiatorPort::Srp([3; 16]),
        target: "target".into(),
        port: 1,
    };
    let unit = io.disks[0].1.clone();
    let change = |action| {
        let by = scsi.clone();
        let change = Change { by, action };
        let prepared = unit.reservations().begin(&change);
        prepared.expect("nothing is against it").commit();
    };
    change(Action::Register {
        expected: Expected::Key(0),
        key: 9,
        others: Vec::new(),
        persist: None,
    });
    change(Action::Preempt {
        key: Some(9),
        victim: 1,
        kind: ReservationType::ExclusiveAccess,
        abort: true,
    });
    assert_eq!(read(&mut io), (1, 1, 0, PLAIN));
    register(&io, PLAIN, HOST, 1);
    change(Action::Wipe);
    assert_eq!(read(&mut io).1, 3);
}
