//! Asynchronous events (NVMe base 2.0 section 5.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::io_fixture::{Io, command, get_log};
use crate::nvme::controller::{DiscoverySource, Kind};
use crate::nvme::plan::Plan;
use crate::nvme::status::Status;

const NAMESPACES: u32 = 1 << 8;
const DISCOVERY: u32 = 1 << 31;
/// Notice, Namespace Attribute Changed, Changed Namespace List.
const NAMESPACES_CHANGED: u32 = 0x0004_0002;
/// Notice, Discovery Log Page Change, Discovery.
const DISCOVERY_CHANGED: u32 = 0x0070_f002;

#[derive(Debug, Default)]
struct Source(AtomicU64);

impl DiscoverySource for Source {
    fn log_page(&self) -> Vec<u8> {
        vec![0; 1024]
    }

    fn generation(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A host that wants these events, and has so many requests waiting.
fn host(mut io: Io, events: u32, requests: usize) -> Io {
    let mut configure = command(0x09, 0, 0, 1);
    configure.cdw10 = [0x0b, events, 0, 0, 0, 0];
    assert_eq!(io.status(&configure), Status::SUCCESS);
    for _ in 0..requests {
        assert!(matches!(request(&mut io), Plan::Event));
    }
    io
}

fn request(io: &mut Io) -> Plan {
    io.plan(&command(0x0c, 0, 0, 1))
}

fn look(io: &mut Io) -> Option<u32> {
    io.queue.controller().look(&mut io.units);
    io.queue.controller().take_event()
}

#[test]
fn four_requests_may_wait() {
    let mut io = host(Io::admin(), NAMESPACES, 4);
    let refused = super::io_fixture::status(request(&mut io));
    assert_eq!(refused, Status::EVENT_LIMIT_EXCEEDED);
    io.controller().event_request_gone();
    assert!(matches!(request(&mut io), Plan::Event));
    // One that was told waits no longer.
    io.map(&[0]);
    assert_eq!(look(&mut io), Some(NAMESPACES_CHANGED));
    assert!(matches!(request(&mut io), Plan::Event));
    for _ in 0..10 {
        io.controller().event_request_gone();
    }
    assert!(matches!(request(&mut io), Plan::Event));
}

#[test]
fn a_change_is_told_until_the_page_is_read() {
    let mut io = host(Io::admin(), NAMESPACES, 4);
    assert_eq!(look(&mut io), None);
    io.map(&[0, 1]);
    assert_eq!(look(&mut io), Some(NAMESPACES_CHANGED));
    assert_eq!(io.controller().take_event(), None);
    // Masked until it is read, and not just looked at.
    io.map(&[0, 1, 2]);
    assert_eq!(look(&mut io), None);
    let mut retain = get_log(0x04, 4096);
    retain.cdw10[0] |= 1 << 15;
    io.reply(&retain);
    io.map(&[0]);
    assert_eq!(look(&mut io), None);
    io.log(0x04, 4096);
    assert_eq!(look(&mut io), None);
    io.disks[0].1.set_capacity(5);
    assert_eq!(look(&mut io), Some(NAMESPACES_CHANGED));
}

#[test]
fn what_changes_about_namespaces_is_noticed() {
    let changes: [fn(&Io); 5] = [
        |io| io.map(&[0]),
        |io| io.map(&[0, 1, 2, 3]),
        |io| io.map(&[1, 0, 2, 4]),
        |io| io.disks[3].1.set_capacity(1),
        // Somebody has set software write protection.
        |io| {
            let modes = io.disks[0].1.modes();
            let protected = modes.with(crate::scsi::Modes::WRITE_PROTECT, true);
            io.disks[0].1.set_modes(protected);
        },
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut io = host(Io::admin(), NAMESPACES, 1);
        assert_eq!(look(&mut io), None);
        change(&io);
        assert_eq!(look(&mut io), Some(NAMESPACES_CHANGED), "{index}");
    }
}

#[test]
fn an_event_waits_for_a_request() {
    let mut io = host(Io::admin(), NAMESPACES, 0);
    io.map(&[0]);
    assert_eq!(look(&mut io), None);
    assert!(matches!(request(&mut io), Plan::Event));
    assert_eq!(io.controller().take_event(), Some(NAMESPACES_CHANGED));
    assert_eq!(io.controller().take_event(), None);
}

#[test]
fn a_page_that_was_read_already_is_not_told() {
    let mut io = host(Io::admin(), NAMESPACES, 0);
    io.map(&[0]);
    assert_eq!(look(&mut io), None);
    io.log(0x04, 4096);
    assert!(matches!(request(&mut io), Plan::Event));
    assert_eq!(io.controller().take_event(), None);
}

#[test]
fn what_nobody_wants_to_hear_is_not_told() {
    let mut io = host(Io::admin(), 0, 1);
    io.map(&[0]);
    assert_eq!(look(&mut io), None);
    // Still the page has it.
    assert_eq!(io.log(0x04, 4096)[0], 2);

    // It may change its mind.
    let mut io = host(Io::admin(), NAMESPACES, 0);
    io.map(&[0]);
    assert_eq!(look(&mut io), None);
    let mut io = host(io, 0, 1);
    assert_eq!(look(&mut io), None);
    // Another kind of notice.
    let mut io = host(Io::admin(), 1 << 11, 1);
    io.map(&[0]);
    assert_eq!(look(&mut io), None);
}

#[test]
fn a_reset_forgets_what_there_was_to_tell() {
    let mut io = host(Io::admin(), NAMESPACES, 0);
    io.map(&[0]);
    assert_eq!(look(&mut io), None);
    io.controller().lock().events.reset();
    let mut io = host(io, NAMESPACES, 1);
    assert_eq!(look(&mut io), None);
    assert_eq!(io.log(0x04, 4096)[..4], [0; 4]);
    io.map(&[0, 1]);
    assert_eq!(look(&mut io), Some(NAMESPACES_CHANGED));
}

#[test]
fn a_discovery_controller_tells_of_its_page() {
    let source = Arc::new(Source::default());
    let io = Io::admin_of(Kind::Discovery(source.clone()));
    let mut io = host(io, DISCOVERY, 2);
    assert_eq!(look(&mut io), None);
    // Namespaces are nothing to it.
    io.map(&[0]);
    assert_eq!(look(&mut io), None);
    source.0.store(7, Ordering::Relaxed);
    assert_eq!(look(&mut io), Some(DISCOVERY_CHANGED));
    source.0.store(8, Ordering::Relaxed);
    assert_eq!(look(&mut io), None);
    io.log(0x70, 1024);
    source.0.store(9, Ordering::Relaxed);
    assert_eq!(look(&mut io), Some(DISCOVERY_CHANGED));
}
