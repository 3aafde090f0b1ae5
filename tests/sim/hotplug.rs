//! Devices whose stores are missing at the start, or go while they are served.

mod adapters;
mod portals;
mod waits;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pagecast_initiator::{ChannelId, Command, Data, Format, scsi};
use pagecast_tests::world::{read, write};
use pagecast_tests::{Host, Setup, World, pattern, seeds};
use pagecastd::control::Management;
use pagecastd::control::reports::DeviceState;
use pagecastd::daemon::Shared;
use pagecastd::events::{EventKind, Subscription};

const MIB: usize = 1 << 20;
const LUNS_CHANGED: Option<(u8, u8, u8)> = Some((6, 0x3f, 0x0e));
const NO_SUCH_LUN: Option<(u8, u8, u8)> = Some((5, 0x25, 0));
const UNREADABLE: Option<(u8, u8, u8)> = Some((3, 0x11, 0));
const HARDWARE_ERROR: Option<(u8, u8, u8)> = Some((4, 0x44, 0));

/// A disk in memory as LUN 0, and a file that may not be there as LUN 1.
fn two_disks(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup
        .devices
        .push(r#"{ "name": "disk1", "backend": "file", "path": "$DIR/late.img" }"#.to_owned());
    setup.groups =
        r#"[{ "name": "everyone", "initiators": ["*"], "luns": { "0": "disk0", "1": "disk1" } }]"#
            .to_owned();
    setup
}

fn file(world: &World) -> PathBuf {
    world.directory().join("late.img")
}

/// What somebody asks of the daemon on a thread of his own, while everything goes on.
fn aside<T: Send + 'static>(
    world: &mut World,
    call: impl FnOnce(&Shared) -> T + Send + 'static,
) -> T {
    let shared = Arc::clone(&world.daemon.shared);
    let called = std::thread::spawn(move || call(&shared));
    world.run_until(|_| called.is_finished().then_some(()));
    called.join().expect("no panic")
}

fn retry(world: &mut World) -> bool {
    aside(world, Shared::retry_offline)
}

/// The events of devices, in short: `+` for what works, `-` for what does not.
fn told(events: &Subscription) -> Vec<String> {
    let next = || events.next(Duration::ZERO);
    std::iter::from_fn(next)
        .filter_map(|event| match event.kind {
            EventKind::DeviceOnline { device } => Some(format!("+{device}")),
            EventKind::DeviceOffline { device, .. } => Some(format!("-{device}")),
            _ => None,
        })
        .collect()
}

fn at_lun(lun: u16, command: Command) -> Command {
    Command {
        lun: scsi::lun(lun),
        ..command
    }
}

fn sense_of(world: &mut World, channel: ChannelId, lun: u16) -> Option<(u8, u8, u8)> {
    let command = Command::new(lun, scsi::test_unit_ready(), Data::None);
    world.execute(0, channel, &command).sense()
}

fn luns(world: &mut World, host: Host, channel: ChannelId) -> Vec<u8> {
    let buffer = world.buffer(host, channel, 64);
    let data = Data::In(buffer.whole().expect("all of it"), Format::Direct);
    let reply = world.execute(host, channel, &Command::new(0, scsi::report_luns(64), data));
    assert_eq!(reply.status(), 0, "{:?}", reply.sense());
    let data = reply.data();
    let length = usize::from(data[3]);
    data[8..8 + length].chunks(8).map(|lun| lun[1]).collect()
}

fn read_lun1(world: &mut World, channel: ChannelId, lba: u64, blocks: u32) -> Vec<u8> {
    let buffer = world.buffer(0, channel, blocks as usize * 512);
    let reply = world.execute(0, channel, &at_lun(1, read(&buffer, lba, blocks)));
    assert!(reply.is_good(), "seed {}: {:?}", world.seed, reply.sense());
    reply.data()
}

#[test]
fn a_device_that_comes_late() {
    for seed in seeds(0..4) {
        let mut world = two_disks(seed).build();
        let events = world.daemon.shared.events();
        let channel = world.log_in(0);
        assert_eq!(luns(&mut world, 0, channel), [0], "seed {seed}");
        assert_eq!(sense_of(&mut world, channel, 1), NO_SUCH_LUN);
        let reports = world.daemon.shared.devices();
        assert_eq!(reports.len(), 2);
        assert_eq!(reports[0].state, DeviceState::Online);
        let late = &reports[1];
        assert_eq!((&*late.name, late.state), ("disk1", DeviceState::Offline));
        let why = late.why.as_deref().expect("a reason");
        assert!(why.contains("late.img does not exist"), "{why}");
        let warnings = world.daemon.shared.status().warnings;
        let warned = |warning: &String| {
            warning.starts_with("device disk1: offline, and tried again: /")
                && warning.contains("late.img does not exist")
        };
        assert!(warnings.iter().any(warned), "{warnings:?}");

        // Nothing, then a file that is about to be filled.
        assert!(!retry(&mut world), "seed {seed}");
        assert!(told(&events).is_empty(), "nothing has changed");
        File::create(file(&world)).expect("a file");
        assert!(!retry(&mut world), "seed {seed}: an empty file");
        assert_eq!(told(&events), ["-disk1"], "for another reason");
        let why = world.daemon.shared.devices()[1].why.clone();
        assert!(why.is_some_and(|why| why.contains("is empty")));
        assert_eq!(sense_of(&mut world, channel, 1), NO_SUCH_LUN);

        let bytes = pattern(MIB, seed);
        fs::write(file(&world), &bytes).expect("a file");
        assert!(retry(&mut world), "seed {seed}");
        assert_eq!(told(&events), ["+disk1"]);
        // Whoever is logged in is told, and sees it without a new login.
        assert_eq!(
            sense_of(&mut world, channel, 0),
            LUNS_CHANGED,
            "seed {seed}"
        );
        assert_eq!(luns(&mut world, 0, channel), [0, 1]);
        let _ = sense_of(&mut world, channel, 1);
        for _ in 0..3 {
            let data = read_lun1(&mut world, channel, 0, 512);
            assert!(data == bytes[..512 * 512], "seed {seed}");
        }
        let late = world.daemon.shared.devices().remove(1);
        assert_eq!(
            (late.state, late.size, late.why),
            (DeviceState::Online, MIB as u64, None)
        );
        assert!(world.daemon.shared.status().warnings.is_empty());
        assert!(!retry(&mut world), "there is nothing to retry");
        world.finish();
    }
}

/// It is wanted no more when it comes.
#[test]
fn a_device_that_is_removed_before_it_comes() {
    use pagecastd::config::edit::Edit;
    let mut world = two_disks(1).build();
    let remove = Edit::RemoveDevice {
        name: "disk1".to_owned(),
        force: true,
    };
    aside(&mut world, move |shared| shared.change(&[remove])).expect("removed");
    assert_eq!(world.daemon.shared.devices().len(), 1);
    fs::write(file(&world), pattern(MIB, 1)).expect("a file");
    assert!(!retry(&mut world));
    assert_eq!(world.daemon.shared.devices().len(), 1);
    world.finish();
}

/// The store of LUN 1 goes, and the test keeps nothing of it.
fn unplug(world: &mut World) {
    let store = world.stores.remove("disk1").expect("a store");
    store.unplug();
}

/// Whether somebody else could lock the file: whether nobody serves it.
fn is_free(path: &Path) -> bool {
    let options = pagecast_backends::FileOptions {
        path: path.to_owned(),
        read_only: false,
    };
    pagecast_backends::FileBackend::open(&options).is_ok()
}

#[test]
fn a_device_that_goes_and_comes_back() {
    for seed in seeds(0..8) {
        let setup = two_disks(seed);
        // It is there this time.
        let world = setup.clone().build();
        let path = file(&world);
        let bytes = pattern(MIB, seed);
        fs::write(&path, &bytes).expect("a file");
        let mut world = world.restarted(&setup);
        let events = world.daemon.shared.events();
        let channel = world.log_in(0);
        for _ in 0..3 {
            assert!(read_lun1(&mut world, channel, 0, 512) == bytes[..512 * 512]);
        }
        // Nothing is wrong, nothing happens.
        world.daemon.shared.look_at_devices();
        assert!(!retry(&mut world));
        assert!(told(&events).is_empty() && !is_free(&path), "seed {seed}");

        let before = Arc::downgrade(&world.daemon.shared.inventory().devices[1]);
        unplug(&mut world);
        // Nobody has looked, so nobody has opened it again.
        assert!(!retry(&mut world), "seed {seed}");
        world.daemon.shared.look_at_devices();
        world.daemon.shared.look_at_devices();
        assert_eq!(told(&events), ["-disk1"], "seed {seed}: once");
        let report = world.daemon.shared.devices().remove(1);
        assert_eq!(report.state, DeviceState::Failed);
        assert_eq!(
            report.why.as_deref(),
            Some("its store is gone (the backing store failed (errno 6))")
        );
        // Its LUN stays, and says so.
        assert_eq!(luns(&mut world, 0, channel), [0, 1]);
        world.pass(Duration::from_millis(2));
        let buffer = world.buffer(0, channel, 4096);
        let reply = world.execute(0, channel, &at_lun(1, read(&buffer, 0, 8)));
        // By what was found last, or by the store.
        let expected = [UNREADABLE, HARDWARE_ERROR];
        assert!(expected.contains(&reply.sense()), "{:?}", reply.sense());
        let reply = world.execute(0, channel, &at_lun(1, write(&buffer, 0)));
        assert_eq!(reply.sense(), HARDWARE_ERROR, "seed {seed}");
        world.read(0, channel, 0, 8);

        // What is in its place is smaller: another disk.
        let away = world.directory().join("away.img");
        fs::rename(&path, &away).expect("renamed");
        assert!(!retry(&mut world), "seed {seed}: nothing is there");
        fs::write(&path, pattern(MIB / 2, 3)).expect("a file");
        assert!(!retry(&mut world), "seed {seed}: half a disk");
        assert_eq!(world.daemon.shared.devices()[1].state, DeviceState::Failed);
        assert!(is_free(&path), "seed {seed}");
        fs::remove_file(&path).expect("removed");
        fs::rename(&away, &path).expect("renamed");

        assert!(retry(&mut world), "seed {seed}");
        assert_eq!(told(&events), ["+disk1"], "seed {seed}");
        world.settle();
        assert!(before.upgrade().is_none(), "seed {seed}: closed");
        assert_eq!(world.daemon.shared.devices()[1].state, DeviceState::Online);
        assert_eq!(
            sense_of(&mut world, channel, 0),
            LUNS_CHANGED,
            "seed {seed}"
        );
        assert_eq!(luns(&mut world, 0, channel), [0, 1]);
        let _ = sense_of(&mut world, channel, 1);
        for _ in 0..3 {
            assert!(read_lun1(&mut world, channel, 0, 512) == bytes[..512 * 512]);
        }
        assert!(!is_free(&path), "seed {seed}: it is served");
        world.finish();
    }
}

/// A file that was cut off is the same file: it is not opened a second time, and works again when it has its length back.
#[test]
fn a_file_that_is_cut_off_is_looked_at_and_left_alone() {
    let setup = two_disks(7);
    let world = setup.clone().build();
    let path = file(&world);
    fs::write(&path, pattern(MIB, 7)).expect("a file");
    let mut world = world.restarted(&setup);
    let events = world.daemon.shared.events();
    let device = Arc::downgrade(&world.daemon.shared.inventory().devices[1]);
    let cut = File::options().write(true).open(&path).expect("the file");
    cut.set_len(4096).expect("cut off");
    world.daemon.shared.look_at_devices();
    assert_eq!(told(&events), ["-disk1"]);
    let report = world.daemon.shared.devices().remove(1);
    let why = "its store has 4096 bytes left of 1048576";
    assert_eq!(
        (report.state, report.why.as_deref()),
        (DeviceState::Failed, Some(why))
    );
    let warnings = world.daemon.shared.status().warnings;
    assert_eq!(warnings, [format!("device disk1: {why}")]);
    assert!(!retry(&mut world));
    cut.set_len(MIB as u64).expect("its length");
    world.daemon.shared.look_at_devices();
    assert_eq!(told(&events), ["+disk1"]);
    assert_eq!(world.daemon.shared.devices()[1].state, DeviceState::Online);
    let inventory = world.daemon.shared.inventory();
    assert!(std::ptr::eq(
        device.as_ptr(),
        Arc::as_ptr(&inventory.devices[1])
    ));
    drop(inventory);
    world.finish();
}

/// Commands that never come back from a store that is gone keep it open; the device is served from the new one regardless.
#[test]
fn commands_that_are_stuck_in_a_device_that_is_gone() {
    use pagecast_backends::testing::Kind;
    for seed in seeds(0..4) {
        let setup = two_disks(seed);
        let world = setup.clone().build();
        let path = file(&world);
        fs::write(&path, pattern(MIB, seed)).expect("a file");
        let mut world = world.restarted(&setup);
        let channel = world.log_in(0);
        let _ = sense_of(&mut world, channel, 1);
        world.io.hold(Kind::Write);
        let buffer = world.buffer(0, channel, 4096);
        let stuck = world.send(0, channel, &at_lun(1, write(&buffer, 0)));
        world.run_until(|world| (world.io.waiting() == 1).then_some(()));
        unplug(&mut world);
        world.daemon.shared.look_at_devices();
        // The same file: it is locked until the command is done.
        let shared = Arc::clone(&world.daemon.shared);
        let trying = std::thread::spawn(move || shared.retry_offline());
        world.run_until(|world| (luns_of(world).len() == 1).then_some(()));
        assert!(
            !trying.is_finished(),
            "seed {seed}: it waits for the command"
        );
        // Meanwhile everybody is served, and changes are made.
        assert_eq!(
            sense_of(&mut world, channel, 0),
            LUNS_CHANGED,
            "seed {seed}"
        );
        world.read(0, channel, 64, 8);
        world.io.release();
        world.run_until(|_| trying.is_finished().then_some(()));
        assert!(trying.join().expect("no panic"), "seed {seed}");
        let reply = world.reply(0, channel, stuck);
        assert_eq!(reply.sense(), HARDWARE_ERROR, "seed {seed}");
        assert_eq!(luns(&mut world, 0, channel), [0, 1]);
        world.finish();
    }
}

/// The devices that are in service.
fn luns_of(world: &World) -> Vec<String> {
    let inventory = world.daemon.shared.inventory();
    inventory.devices.iter().map(|d| d.name.clone()).collect()
}
