//! Log pages (NVMe base 2.0 section 5.16), by their bytes.

use std::sync::Arc;

use super::io_fixture::{Io, LARGE, MAX_TRANSFER, PLAIN, READ_ONLY, THIN, command, get_log};
use crate::nvme::controller::{DiscoverySource, Kind};
use crate::nvme::plan::Plan;
use crate::nvme::status::Status;
use crate::scsi::{Statistics, StatisticsSource};

/// Log specific parameter, retain, and offset type and such, where they are in Get Log Page.
const RETAIN: u32 = 1 << 15;

fn u16_at(data: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([data[at], data[at + 1]])
}

fn u32_at(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(data[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"))
}

fn is_zero(data: &[u8]) -> bool {
    data.iter().all(|byte| *byte == 0)
}

#[derive(Debug)]
struct Discovery;

impl DiscoverySource for Discovery {
    fn log_page(&self) -> Vec<u8> {
        let mut page = vec![0; 2048];
        page[0] = 3;
        page[8] = 1;
        page[1024] = 1;
        page
    }

    fn generation(&self) -> u64 {
        3
    }
}

fn discovery() -> Io {
    Io::admin_of(Kind::Discovery(Arc::new(Discovery)))
}

#[test]
fn supported_pages_are_those_that_are_there() {
    for (mut io, expected) in [
        (
            Io::admin(),
            &[0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0c, 0x12, 0x80][..],
        ),
        (discovery(), &[0x00, 0x01, 0x70][..]),
    ] {
        let data = io.log(0x00, 1024);
        for page in 0..=u8::MAX {
            let supported = expected.contains(&page);
            let field = u32_at(&data, usize::from(page) * 4);
            assert_eq!(field, supported.into(), "{page:02x}");
            if supported {
                io.log(page, 512);
            } else {
                let refused = io.status(&get_log(page, 512));
                assert_eq!(refused, Status::INVALID_LOG_PAGE, "{page:02x}");
            }
        }
    }
}

#[test]
fn replies_are_as_long_as_asked_for() {
    let mut io = Io::admin();
    assert_eq!(io.log(0x02, 4), [0, 0, 0, 100]);
    // Behind the page there are zeros, but not as many as anybody cares to ask for.
    let long = io.log(0x03, 2048);
    assert_eq!(long.len(), 2048);
    assert!(is_zero(&long[512..]));
    assert_eq!(io.reply(&get_log(0x03, MAX_TRANSFER)).len(), 4096);
    let refused = io.status(&get_log(0x03, MAX_TRANSFER + 4));
    assert_eq!(refused, Status::INVALID_FIELD);

    // NUMDU counts.
    let mut huge = get_log(0x03, 4);
    huge.cdw10[1] = 0xffff;
    huge.data_length = u32::MAX;
    assert_eq!(io.status(&huge), Status::INVALID_FIELD);

    for (data_length, fits) in [(511, false), (512, true), (4096, true)] {
        let mut command = get_log(0x03, 512);
        command.data_length = data_length;
        if fits {
            assert_eq!(io.reply(&command).len(), 512);
        } else {
            assert_eq!(io.status(&command), Status::DATA_SGL_LENGTH_INVALID);
        }
    }
}

#[test]
fn pages_are_read_from_an_offset() {
    let mut io = Io::admin();
    let whole = io.log(0x05, 4096);
    let mut command = get_log(0x05, 64);
    command.cdw10[2] = 1024;
    assert_eq!(io.reply(&command), whole[1024..1088]);
    command.cdw10[2] = 4096 - 32;
    let end = io.reply(&command);
    assert_eq!(end[..32], whole[4096 - 32..]);
    assert!(is_zero(&end[32..]) && end.len() == 64);
    command.cdw10[2] = 4096;
    assert!(is_zero(&io.reply(&command)));
    for (low, high) in [(4100, 0), (1, 0), (2, 0), (0, 1), (u32::MAX - 3, u32::MAX)] {
        command.cdw10[2..4].copy_from_slice(&[low, high]);
        assert_eq!(io.status(&command), Status::INVALID_FIELD, "{low} {high}");
    }
    // An index instead.
    let mut command = get_log(0x05, 64);
    command.cdw10[4] = 1 << 23;
    assert_eq!(io.status(&command), Status::INVALID_FIELD);
}

#[test]
fn errors_are_noted_latest_first() {
    let mut io = Io::admin();
    assert!(is_zero(&io.log(0x01, 4096)));
    io.queue.failed(0xabcd, 7, Status::LBA_OUT_OF_RANGE);
    let mut unknown = command(0xee, 9, 0, 1);
    unknown.cid = 0x5678;
    assert_eq!(io.status(&unknown), Status::INVALID_OPCODE);

    let data = io.log(0x01, 192);
    assert_eq!(u64_at(&data, 0), 2);
    assert_eq!(u16_at(&data, 8), 0);
    assert_eq!(u16_at(&data, 10), 0x5678);
    assert_eq!(u16_at(&data, 12), 0x8002);
    assert_eq!(u16_at(&data, 14), 0xffff);
    assert_eq!(u32_at(&data, 24), 9);
    assert_eq!(u64_at(&data, 64), 1);
    assert_eq!(u16_at(&data, 64 + 10), 0xabcd);
    assert_eq!(u16_at(&data, 64 + 12), 0x8100);
    assert_eq!(u32_at(&data, 64 + 24), 7);
    assert!(is_zero(&data[128..]));

    for _ in 0..100 {
        io.queue.failed(1, 1, Status::INVALID_FIELD);
    }
    let data = io.reply(&get_log(0x01, 8192));
    assert_eq!(data.len(), 4096, "no more than there can be");
    assert_eq!(u64_at(&data, 0), 102);
    assert_eq!(u64_at(&data, 63 * 64), 39);
    // SMART counts them, too.
    assert_eq!(u64_at(&io.log(0x02, 512), 176), 102);
}

#[derive(Debug)]
struct Fixed(Statistics);

impl StatisticsSource for Fixed {
    fn statistics(&self) -> Statistics {
        self.0
    }
}

#[test]
fn smart_sums_what_namespaces_did() {
    let mut io = Io::admin();
    let statistics = |reads| Statistics {
        reads,
        read_bytes: 512_000 * reads,
        writes: 2 * reads,
        write_bytes: 1,
        read_errors: 3,
        write_errors: 4,
        ..Statistics::default()
    };
    io.disks[0].1.set_statistics(Arc::new(Fixed(statistics(5))));
    io.disks[1]
        .1
        .set_statistics(Arc::new(Fixed(statistics(1000))));
    for (nsid, reads, disks) in [
        (0, 1005, 2),
        (u32::MAX, 1005, 2),
        (PLAIN, 5, 1),
        (THIN, 1000, 1),
        (LARGE, 0, 0),
    ] {
        let mut command = get_log(0x02, 512);
        command.nsid = nsid;
        let data = io.reply(&command);
        assert_eq!(data[..4], [0, 0, 0, 100]);
        assert_eq!(u64_at(&data, 32), reads, "{nsid}");
        // Rounded up, the sum of all.
        assert_eq!(u64_at(&data, 48), u64::from(disks > 0));
        assert_eq!(u64_at(&data, 64), reads);
        assert_eq!(u64_at(&data, 80), 2 * reads);
        assert_eq!(u64_at(&data, 160), 7 * disks);
        assert!(is_zero(&data[192..]));
    }
    for nsid in [4, 6, u32::MAX - 1] {
        let mut command = get_log(0x02, 512);
        command.nsid = nsid;
        assert_eq!(io.status(&command), Status::INVALID_NAMESPACE);
    }
}

#[test]
fn a_disk_with_two_numbers_counts_once() {
    let mut io = Io::admin();
    let disk = io.disks[0].1.clone();
    disk.set_statistics(Arc::new(Fixed(Statistics {
        reads: 7,
        ..Statistics::default()
    })));
    let luns = crate::scsi::testing::luns(&[(0, &disk), (9, &disk)]);
    io.session.set_luns(&luns);
    assert_eq!(u64_at(&io.log(0x02, 512), 64), 7);
}

#[test]
fn firmware_is_in_the_first_slot() {
    let data = Io::admin().log(0x03, 512);
    assert_eq!(data[0], 1);
    assert!(data[8..16].iter().all(|byte| matches!(byte, 0x20..=0x7e)));
    assert!(is_zero(&data[16..]));
}

#[test]
fn effects_are_those_of_the_table() {
    let mut io = Io::admin();
    let data = io.log(0x05, 4096);
    let admin = [0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18];
    let reading = [0x00, 0x02, 0x05, 0x0c, 0x0d, 0x0e, 0x11, 0x15];
    let changing = [0x01, 0x08, 0x09, 0x19];
    for opcode in 0..=255_usize {
        let expected = u32::from(admin.contains(&opcode));
        assert_eq!(u32_at(&data, opcode * 4), expected, "{opcode:02x}");
        let expected = match opcode {
            _ if reading.contains(&opcode) => 1,
            _ if changing.contains(&opcode) => 3,
            _ => 0,
        };
        assert_eq!(u32_at(&data, 1024 + opcode * 4), expected, "{opcode:02x}");
    }
    assert!(is_zero(&data[2048..]));
    let mut other = get_log(0x05, 4096);
    other.cdw10[4] = 2 << 24;
    assert_eq!(io.status(&other), Status::INVALID_COMMAND_SET);
}

#[test]
fn features_that_are_listed_are_there() {
    let mut io = Io::admin();
    let data = io.log(0x12, 1024);
    for id in 0..=255_usize {
        let mut get = command(0x0a, PLAIN, 0, 1);
        // Current value; an extended host identifier.
        get.cdw10 = [id as u32, 1, 0, 0, 0, 0];
        let there = match io.plan(&get) {
            Plan::Respond(completion) => completion.status.is_success(),
            other => matches!(other, Plan::Reply(_)),
        };
        let scope = if matches!(id, 0x82 | 0x83) {
            1 << 20
        } else {
            1 << 21
        };
        let expected = if there { 1 | scope } else { 0 };
        assert_eq!(u32_at(&data, id * 4), expected, "{id:02x}");
    }
    assert_eq!(u32_at(&data, 0x0b * 4), 0x20_0001);
    assert_eq!(u32_at(&data, 0x82 * 4), 0x10_0001);
}

#[test]
fn all_namespaces_are_in_one_optimized_group() {
    let mut io = Io::admin();
    let data = io.log(0x0c, 72);
    let changes = u64_at(&data, 0);
    assert_eq!(u16_at(&data, 8), 1);
    assert!(is_zero(&data[10..16]));
    assert_eq!(u32_at(&data, 16), 1);
    assert_eq!(u32_at(&data, 20), 4);
    assert_eq!(u64_at(&data, 24), changes);
    assert_eq!(data[32], 1);
    assert!(is_zero(&data[33..48]));
    let namespaces = [48, 52, 56, 60].map(|at| u32_at(&data, at));
    assert_eq!(namespaces, [PLAIN, THIN, READ_ONLY, LARGE]);
    assert!(is_zero(&data[64..]));

    // Return Groups Only.
    let mut groups = get_log(0x0c, 64);
    groups.cdw10[0] |= 1 << 8;
    let data = io.reply(&groups);
    assert_eq!((u16_at(&data, 8), u32_at(&data, 20)), (1, 0));
    assert!(is_zero(&data[48..]));

    io.map(&[0, 1]);
    io.queue.controller().look(&mut io.units);
    let data = io.log(0x0c, 56);
    assert_eq!(u64_at(&data, 0), changes + 1);
    assert_eq!(u32_at(&data, 20), 2);
}

#[test]
fn changed_namespaces_are_told_once() {
    let mut io = Io::admin();
    assert!(is_zero(&io.log(0x04, 4096)));
    io.disks[1].1.set_capacity(77);
    io.map(&[0, 1, 2, 8]);
    io.queue.controller().look(&mut io.units);
    let mut retain = get_log(0x04, 4096);
    retain.cdw10[0] |= RETAIN;
    let retained = io.reply(&retain);
    let data = io.log(0x04, 4096);
    assert_eq!(retained, data);
    let namespaces = [0, 4, 8, 12].map(|at| u32_at(&data, at));
    assert_eq!(namespaces, [THIN, LARGE, 9, 0]);
    assert!(is_zero(&data[16..]));
    assert!(is_zero(&io.log(0x04, 4096)));
}

#[test]
fn more_changed_namespaces_than_fit_are_one() {
    let mut io = Io::admin();
    io.log(0x04, 4096);
    let disk = io.disks[0].1.clone();
    let many: Vec<_> = (0..1028).map(|number| (number, &disk)).collect();
    for (count, first) in [(1028, u32::MAX), (1027, 1028)] {
        io.session
            .set_luns(&crate::scsi::testing::luns(&many[..count]));
        io.queue.controller().look(&mut io.units);
        let data = io.log(0x04, 4096);
        assert_eq!(u32_at(&data, 0), first);
        assert!(is_zero(&data[4..]));
    }
    // As many as just fit.
    io.session.set_luns(&crate::scsi::testing::luns(&many[..3]));
    io.queue.controller().look(&mut io.units);
    let data = io.log(0x04, 4096);
    assert_eq!((u32_at(&data, 0), u32_at(&data, 4092)), (4, 1027));
}

#[test]
fn the_discovery_page_comes_from_its_source() {
    let mut io = discovery();
    let data = io.log(0x70, 1024);
    assert_eq!((data[0], data[8]), (3, 1));
    let mut entry = get_log(0x70, 1024);
    entry.cdw10[2] = 1024;
    assert_eq!(io.reply(&entry)[0], 1);
}
