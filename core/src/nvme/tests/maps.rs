//! Namespaces that come, go, and change while a host uses them.

use std::sync::Arc;

use super::io_fixture::{HOST, Io, PLAIN, THIN, block, command, status};
use crate::block::BlockOp;
use crate::nvme::command::{Command, Fuse};
use crate::nvme::controller::Kind;
use crate::nvme::opcodes;
use crate::nvme::plan::{Completion, Pending, Plan};
use crate::nvme::status::Status;
use crate::nvme::testing::{registrant, u32_at, u64_at};
use crate::reservations::{Action, Change, Expected, ReservationType};
use crate::scsi::testing::thin_model;
use crate::scsi::{DiskModel, Identity, Mapping, Naa};

const OTHER: [u8; 16] = [7; 16];
const NAMESPACES_CHANGED: u32 = 0x0004_0002;
/// Namespaces as they are at first, by their disks.
const FIRST: [(u32, usize); 4] = [(1, 0), (2, 1), (3, 2), (5, 3)];

/// Maps disks by their places to namespaces, some of which the host may not write to.
fn map_with(io: &Io, map: &[(u32, usize)], read_only: &[u32]) {
    let mapping = |(nsid, disk): &(u32, usize)| {
        let unit = io.disks[*disk].1.clone();
        let read_only = read_only.contains(nsid);
        (nsid - 1, Mapping { unit, read_only })
    };
    io.session.set_luns(&map.iter().map(mapping).collect());
}

fn map(io: &Io, namespaces: &[(u32, usize)]) {
    map_with(io, namespaces, &[]);
}

/// An admin queue whose host wants to hear of namespaces.
fn admin() -> Io {
    let mut io = Io::admin();
    let mut configure = command(0x09, 0, 0, 1);
    configure.cdw10 = [0x0b, 1 << 8, 0, 0, 0, 0];
    assert_eq!(io.status(&configure), Status::SUCCESS);
    for _ in 0..4 {
        assert!(matches!(io.plan(&command(0x0c, 0, 0, 1)), Plan::Event));
    }
    assert_eq!(look(&mut io), None);
    io
}

fn look(io: &mut Io) -> Option<u32> {
    io.queue.controller().look(&mut io.units);
    io.queue.controller().take_event()
}

/// What is told of namespaces, and which the page has.
#[track_caller]
fn changed(io: &mut Io) -> Vec<u32> {
    let told = look(io);
    let page = io.log(0x04, 4096);
    let fields = page.chunks(4).map(|field| u32_at(field, 0));
    let changed: Vec<_> = fields.take_while(|nsid| *nsid != 0).collect();
    let expected = (!changed.is_empty()).then_some(NAMESPACES_CHANGED);
    assert_eq!(told, expected);
    // The request that was told is asked again.
    if told.is_some() {
        assert!(matches!(io.plan(&command(0x0c, 0, 0, 1)), Plan::Event));
    }
    changed
}

fn identify(io: &mut Io, cns: u32, nsid: u32) -> Vec<u8> {
    let mut identify = command(0x06, nsid, 0, 1);
    identify.cdw10 = [cns, 0, 0, 0, 0, 0];
    io.reply(&identify)
}

/// The Active Namespace ID list.
fn active(io: &mut Io) -> Vec<u32> {
    let list = identify(io, 0x02, 0);
    let fields = list.chunks(4).map(|field| u32_at(field, 0));
    fields.take_while(|nsid| *nsid != 0).collect()
}

/// What was sent for the namespace that had the identifier before does not reach the one that has it now.
#[test]
fn a_namespace_that_the_host_takes_for_another_one_is_out_of_reach() {
    let swaps: [&[&[(u32, usize)]]; 2] = [&[&[(1, 0), (2, 3)]], &[&[(1, 0)], &[(1, 0), (2, 3)]]];
    for swap in swaps {
        // All that say who it is, and some that do not.
        for (cns, opens) in [
            (0x00, true),
            (0x03, true),
            (0x05, true),
            (0x08, true),
            (0x01, false),
            (0x02, false),
            (0x07, false),
        ] {
            let named = |nsid: u32| DiskModel {
                identity: Identity::new(format!("s{nsid}"), Naa::local(nsid.into())),
                ..thin_model()
            };
            let mut io = Io::of_models([1, 2, 3, 5].map(|nsid| (nsid, named(nsid))));
            let mut admin = Io {
                queue: Io::new().queue,
                units: io.session.channel(),
                session: io.session.clone(),
                disks: io.disks.clone(),
            }
            .into_admin(Kind::Io);
            swap.iter().for_each(|step| map(&io, step));
            for row in opcodes::io_rows(true) {
                let refused = io.status(&example(row.opcode, 2));
                assert_eq!(refused, Status::INVALID_NAMESPACE, "{}", row.name);
            }
            let [compare, write] = pair(2);
            let fused = io.queue.plan_fused(&compare, &write, &mut io.units);
            assert_eq!(status(fused), Status::INVALID_NAMESPACE);
            // The other one is known.
            io.block(&example(0x01, 1));
            // Who has no room for the answer has not seen it.
            let mut short = command(0x06, 2, 0, 1);
            short.cdw10 = [cns, 0, 0, 0, 0, 0];
            short.data_length = 512;
            assert_eq!(admin.status(&short), Status::DATA_SGL_LENGTH_INVALID);
            let refused = io.status(&example(0x01, 2));
            assert_eq!(refused, Status::INVALID_NAMESPACE);
            identify(
                &mut admin,
                cns,
                if matches!(cns, 1 | 2 | 7) { 0 } else { 2 },
            );
            let reached = matches!(io.plan(&example(0x01, 2)), Plan::Block(_));
            assert_eq!(reached, opens, "{cns:x}");
        }
    }
}

#[test]
fn namespaces_come_and_go() {
    let mut io = admin();
    assert_eq!(active(&mut io), [1, 2, 3, 5]);
    map(&io, &[(1, 0), (9, 1)]);
    assert_eq!(changed(&mut io), [2, 3, 5, 9]);
    assert_eq!(active(&mut io), [1, 9]);
    assert_eq!(identify(&mut io, 0x00, 2), [0; 4096]);
    let mut descriptors = command(0x06, 2, 0, 1);
    descriptors.cdw10 = [0x03, 0, 0, 0, 0, 0];
    assert_eq!(io.status(&descriptors), Status::INVALID_NAMESPACE);
    assert_ne!(identify(&mut io, 0x00, 9), [0; 4096]);
    // What is equal on both sides is not news.
    map(&io, &[(1, 0), (9, 1)]);
    assert_eq!(changed(&mut io), []);
    map(&io, &FIRST);
    assert_eq!(changed(&mut io), [2, 3, 5, 9]);
}

#[test]
fn another_disk_takes_a_namespace() {
    let mut io = admin();
    let [first, second] = [1, 2].map(|nsid| identify(&mut io, 0x00, nsid));
    map(&io, &[(1, 1), (2, 1), (3, 2), (5, 3)]);
    assert_eq!(changed(&mut io), [1]);
    assert_ne!(first, second);
    assert_eq!(identify(&mut io, 0x00, 1), second);
    // Nobody looked while it was the other one. The host may have used it.
    map(&io, &FIRST);
    map(&io, &[(1, 1), (2, 1), (3, 2), (5, 3)]);
    assert_eq!(changed(&mut io), [1]);
    map(&io, &[(2, 1), (3, 2), (5, 3)]);
    map(&io, &[(1, 1), (2, 1), (3, 2), (5, 3)]);
    assert_eq!(changed(&mut io), [1]);
}

#[test]
fn hosts_make_room_for_more_than_there_are() {
    let mut io = Io::admin();
    for (count, mnan) in [(1, 1024), (512, 1024), (700, 1400)] {
        let all: Vec<_> = (1..=count).map(|nsid| (nsid, 0)).collect();
        map(&io, &all);
        assert_eq!(u32_at(&identify(&mut io, 0x01, 0), 540), mnan);
    }
}

#[test]
fn write_protection_is_of_the_controller() {
    let mut io = admin();
    let mut other = io.other(Some(registrant(OTHER))).into_admin(Kind::Io);
    assert_eq!(identify(&mut io, 0x00, PLAIN)[99], 0);
    for (read_only, nsattr) in [(&[PLAIN][..], 1), (&[], 0)] {
        map_with(&io, &FIRST, read_only);
        assert_eq!(changed(&mut io), [PLAIN]);
        assert_eq!(identify(&mut io, 0x00, PLAIN)[99], nsattr);
        assert_eq!(identify(&mut io, 0x08, PLAIN)[8], nsattr);
        assert_eq!(identify(&mut other, 0x00, PLAIN)[99], 0);
    }
    // A disk that is read-only is so however it is mapped.
    assert_eq!(identify(&mut io, 0x00, 3)[99], 1);
}

/// A command that is all right, on a namespace.
fn example(opcode: u8, nsid: u32) -> Command {
    let mut example = command(opcode, nsid, 0, 1);
    match opcode {
        // Deallocate, one range.
        0x09 => example.cdw10 = [0, 4, 0, 0, 0, 0],
        // The extended form, with room for its header.
        0x0e => example.cdw10 = [15, 1, 0, 0, 0, 0],
        // Write Exclusive.
        0x11 | 0x15 => example.cdw10 = [1 << 8, 0, 0, 0, 0, 0],
        _ => {}
    }
    example
}

#[test]
fn what_changes_a_protected_namespace_is_refused() {
    let mut io = Io::new();
    // One disk may not be written to, the other not by this host.
    map_with(&io, &[(THIN, 1), (3, 2)], &[THIN]);
    let mut refused = 0;
    for row in opcodes::io_rows(true) {
        let [mapping, disk] = [THIN, 3].map(|nsid| match io.plan(&example(row.opcode, nsid)) {
            Plan::Respond(Completion { status, .. }) => Some(status),
            _ => None,
        });
        assert_eq!(mapping, disk, "{}", row.name);
        let changes = row.effects == opcodes::Effects::CONTENT;
        let protected = mapping == Some(Status::NAMESPACE_WRITE_PROTECTED);
        assert_eq!(protected, changes, "{}", row.name);
        refused += u32::from(protected);
    }
    assert_eq!(refused, 4);
    let [compare, write] = pair(THIN);
    let fused = io.queue.plan_fused(&compare, &write, &mut io.units);
    assert_eq!(status(fused), Status::NAMESPACE_WRITE_PROTECTED);
    // Others may, and this one may again when it is mapped so.
    let mut other = io.other(Some(registrant(OTHER)));
    assert!(matches!(
        other.block(&example(0x01, THIN)).op,
        BlockOp::Write(_)
    ));
    map(&io, &[(THIN, 1)]);
    assert!(matches!(
        io.block(&example(0x01, THIN)).op,
        BlockOp::Write(_)
    ));
}

fn pair(nsid: u32) -> [Command; 2] {
    let half = |opcode, fuse| Command {
        fuse,
        ..command(opcode, nsid, 0, 1)
    };
    [half(0x05, Fuse::First), half(0x01, Fuse::Second)]
}

#[test]
fn commands_for_a_namespace_that_is_gone() {
    let mut io = Io::new();
    map(&io, &[(PLAIN, 0)]);
    for row in opcodes::io_rows(true) {
        let refused = io.status(&example(row.opcode, THIN));
        assert_eq!(refused, Status::INVALID_NAMESPACE, "{}", row.name);
    }
    let [compare, write] = pair(THIN);
    let fused = io.queue.plan_fused(&compare, &write, &mut io.units);
    assert_eq!(status(fused), Status::INVALID_NAMESPACE);
    for nsid in [0, u32::MAX] {
        let read = command(0x02, nsid, 0, 1);
        assert_eq!(io.status(&read), Status::INVALID_NAMESPACE);
    }
}

#[track_caller]
fn fetched(io: &mut Io, command: &Command) -> Pending {
    match io.plan(command) {
        Plan::Fetch { pending, .. } => pending,
        other => panic!("nothing is fetched: {other:?}"),
    }
}

/// One range of eight blocks, for Dataset Management.
fn range() -> [u8; 16] {
    let mut range = [0; 16];
    range[4] = 8;
    range
}

#[test]
fn data_are_for_the_namespace_that_was_meant() {
    let deallocate = example(0x09, THIN);
    let mut copy = example(0x19, THIN);
    copy.cdw10[0] = 0x100;
    let copy_range = [0; 32];
    let mut io = Io::new();
    let begin = |io: &mut Io| [&deallocate, &copy].map(|command| fetched(io, command));
    let unit = io.units.unit_numbered(THIN - 1);
    type Meanwhile = fn(&Io);
    let meanwhile: [Meanwhile; 2] = [
        |io| map(io, &[(PLAIN, 0)]),
        |io| map(io, &[(PLAIN, 0), (THIN, 3)]),
    ];
    for change in meanwhile {
        map(&io, &FIRST);
        let [deallocate, copy] = begin(&mut io);
        assert_eq!((deallocate.unit(), copy.unit()), (unit, unit));
        change(&io);
        // The channel has seen the new map.
        let _ = io.plan(&example(0x02, THIN));
        let planned = block(io.queue.data(deallocate, &range(), &mut io.units));
        assert!(Arc::ptr_eq(io.units.unit(planned.unit), &io.disks[1].1));
        let planned = block(io.queue.data(copy, &copy_range, &mut io.units));
        assert!(Arc::ptr_eq(io.units.unit(planned.unit), &io.disks[1].1));
        let BlockOp::Copy(segments) = planned.op else {
            panic!("not a copy");
        };
        assert_eq!(segments[0].destination, io.disks[1].1.id());
    }
    // Write protection that comes meanwhile stops both.
    map(&io, &FIRST);
    let [deallocate, copy] = begin(&mut io);
    map_with(&io, &FIRST, &[THIN]);
    for (pending, data) in [(deallocate, &range()[..]), (copy, &copy_range)] {
        let refused = status(io.queue.data(pending, data, &mut io.units));
        assert_eq!(refused, Status::NAMESPACE_WRITE_PROTECTED);
    }
}

#[test]
fn keys_are_for_the_namespace_that_was_meant() {
    let mut io = Io::new();
    let mut register = example(0x0d, THIN);
    register.cdw10 = [1 << 3, 0, 0, 0, 0, 0];
    let pending = fetched(&mut io, &register);
    map(&io, &[(PLAIN, 0), (THIN, 3)]);
    assert!(io.units.unit_numbered(THIN - 1).is_some());
    let keys = [0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    let Plan::Reserve(planned) = io.queue.data(pending, &keys, &mut io.units) else {
        panic!("not a change");
    };
    assert!(Arc::ptr_eq(io.units.unit(planned.unit), &io.disks[1].1));
}

/// Somebody takes the namespace while the data of a command are under way.
#[test]
fn what_is_under_way_to_a_namespace_that_is_gone_is_still_decided_on() {
    let mut io = Io::new();
    let [first, second] = [(); 2].map(|()| fetched(&mut io, &example(0x09, THIN)));
    map(&io, &[(PLAIN, 0), (THIN, 3)]);
    assert!(io.units.unit_numbered(THIN - 1).is_some());
    apply(&io, THIN, OTHER, register_with(2));
    let kind = ReservationType::ExclusiveAccess;
    let key = Some(2);
    apply(&io, THIN, OTHER, Action::Reserve { key, kind });
    let refused = status(io.queue.data(first, &range(), &mut io.units));
    assert_eq!(refused, Status::RESERVATION_CONFLICT);
    apply(&io, THIN, OTHER, Action::Release { key, kind });
    block(io.queue.data(second, &range(), &mut io.units));
}

#[test]
fn both_halves_are_for_what_is_there_when_they_are_whole() {
    let mut io = Io::new();
    let [compare, write] = pair(PLAIN);
    // The transport has the first half when the map changes.
    map(&io, &[(PLAIN, 1)]);
    let planned = block(io.queue.plan_fused(&compare, &write, &mut io.units));
    assert!(Arc::ptr_eq(io.units.unit(planned.unit), &io.disks[1].1));
    assert!(matches!(planned.op, BlockOp::CompareAndWrite(_)));
}

fn register_with(key: u64) -> Action {
    Action::Register {
        expected: Expected::Any,
        key,
        others: Vec::new(),
        persist: None,
    }
}

/// A change of the reservations of the disk that a namespace was at first.
fn apply(io: &Io, nsid: u32, by: [u8; 16], action: Action) {
    let disk = FIRST.iter().find(|(first, _)| *first == nsid);
    let (_, disk) = disk.expect("a disk");
    let by = registrant(by);
    let change = Change { by, action };
    let reservations = io.disks[*disk].1.reservations();
    reservations.begin(&change).expect("good").commit();
}

#[test]
fn a_registration_works_again_when_its_namespace_is_back() {
    let mut io = Io::new();
    let mut other = io.other(Some(registrant(OTHER)));
    apply(&io, PLAIN, HOST, register_with(1));
    let kind = ReservationType::ExclusiveAccess;
    let key = Some(1);
    apply(&io, PLAIN, HOST, Action::Reserve { key, kind });
    let read = example(0x02, PLAIN);
    for nsid in [7, PLAIN] {
        map(&io, &[(THIN, 1)]);
        assert_eq!(io.status(&read), Status::INVALID_NAMESPACE);
        assert_eq!(other.status(&read), Status::RESERVATION_CONFLICT);
        assert_eq!(io.disks[0].1.reservations().live(), [registrant(OTHER)]);
        map(&io, &[(THIN, 1), (nsid, 0)]);
        io.block(&example(0x01, nsid));
    }
    apply(&io, PLAIN, HOST, Action::Release { key, kind });
    other.block(&read);
}

fn feature(io: &mut Io, opcode: u8, nsid: u32, id: u32, value: u32) -> Completion {
    let mut feature = command(opcode, nsid, 0, 1);
    feature.cdw10 = [id, value, 0, 0, 0, 0];
    match io.plan(&feature) {
        Plan::Respond(completion) => completion,
        other => panic!("not a completion: {other:?}"),
    }
}

/// Reservation Notification Mask.
fn mask(io: &mut Io, nsid: u32) -> u64 {
    let completion = feature(io, 0x0a, nsid, 0x82, 0);
    assert_eq!(completion.status, Status::SUCCESS);
    completion.result
}

/// Both are registered; the other clears, of which this host is told.
fn clear(io: &Io, nsid: u32) {
    apply(io, nsid, HOST, register_with(1));
    apply(io, nsid, OTHER, register_with(2));
    apply(io, nsid, OTHER, Action::Clear { key: Some(2) });
}

/// How many notices there are to read, and of which namespace the first is.
fn notices(io: &mut Io) -> (u8, u32) {
    let page = io.log(0x80, 64);
    (page[9] + u8::from(u64_at(&page, 0) != 0), u32_at(&page, 12))
}

#[test]
fn masks_go_with_their_namespace() {
    let mut io = admin();
    let set = feature(&mut io, 0x09, u32::MAX, 0x82, 0xe);
    assert_eq!(set.status, Status::SUCCESS);
    // Write protection makes it no other one.
    map_with(&io, &FIRST, &[PLAIN]);
    assert_eq!((mask(&mut io, PLAIN), mask(&mut io, THIN)), (0xe, 0xe));
    // Another disk has none, nor has this one where it is now.
    map(&io, &[(PLAIN, 1), (THIN, 0)]);
    assert_eq!((mask(&mut io, PLAIN), mask(&mut io, THIN)), (0, 0));
    clear(&io, THIN);
    assert_eq!(notices(&mut io), (1, PLAIN));
    // It comes back, and may be told.
    map(&io, &FIRST);
    assert_eq!(mask(&mut io, PLAIN), 0);
    clear(&io, PLAIN);
    assert_eq!(notices(&mut io), (1, PLAIN));
    // It can be masked again.
    assert_eq!(
        feature(&mut io, 0x09, PLAIN, 0x82, 0xe).status,
        Status::SUCCESS
    );
    clear(&io, PLAIN);
    assert_eq!(notices(&mut io), (0, 0));
}

#[test]
fn notices_go_with_their_namespace() {
    let mut io = admin();
    // One that the controller has taken, and one that waits with the disk.
    clear(&io, PLAIN);
    assert_eq!(look(&mut io), Some(0x0080_0006));
    clear(&io, THIN);
    map(&io, &[(PLAIN, 3), (5, 2)]);
    assert_eq!(notices(&mut io), (0, 0));
    // They do not come back, but others come.
    map(&io, &FIRST);
    assert_eq!(notices(&mut io), (0, 0));
    clear(&io, PLAIN);
    assert_eq!(notices(&mut io), (1, PLAIN));
}

#[test]
fn other_namespaces_keep_their_notices() {
    let mut io = admin();
    clear(&io, PLAIN);
    assert_eq!(look(&mut io), Some(0x0080_0006));
    clear(&io, THIN);
    map(&io, &[(THIN, 1)]);
    assert_eq!(notices(&mut io), (1, THIN));
}

#[test]
fn persistence_is_set_for_what_is_there() {
    let mut io = admin();
    map(&io, &[(PLAIN, 0)]);
    assert_eq!(
        feature(&mut io, 0x09, THIN, 0x83, 1).status,
        Status::INVALID_NAMESPACE
    );
    assert_eq!(
        feature(&mut io, 0x09, THIN, 0x82, 1 << 1).status,
        Status::INVALID_NAMESPACE
    );
    let mut set = command(0x09, u32::MAX, 0, 1);
    set.cdw10 = [0x83, 1, 0, 0, 0, 0];
    let Plan::Reserve(planned) = io.plan(&set) else {
        panic!("there is one that can be set");
    };
    assert!(Arc::ptr_eq(io.units.unit(planned.unit), &io.disks[0].1));
}
