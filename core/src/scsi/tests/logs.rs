//! LOG SENSE.

use std::sync::Arc;

use super::super::testing::*;
use super::super::*;

/// LOG SENSE of cumulative values.
fn log(channel: &mut ScsiChannel, page: u8, subpage: u8, pointer: u16) -> Vec<u8> {
    let [high, low] = pointer.to_be_bytes();
    let cdb = [0x4d, 0, 0x40 | page, subpage, 0, high, low, 0xff, 0xff, 0];
    let bytes = data(channel, &cdb);
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    assert_eq!(length, bytes.len() - 4);
    bytes
}

/// Code, control byte and value of each parameter.
fn parameters(page: &[u8]) -> Vec<(u16, u8, Vec<u8>)> {
    let mut rest = &page[4..];
    let mut found = Vec::new();
    while let [high, low, control, length, tail @ ..] = rest {
        let (value, next) = tail.split_at(usize::from(*length));
        found.push((u16::from_be_bytes([*high, *low]), *control, value.to_vec()));
        rest = next;
    }
    assert_eq!(rest, []);
    found
}

#[derive(Debug)]
struct Numbers(Statistics);

impl StatisticsSource for Numbers {
    fn statistics(&self) -> Statistics {
        self.0
    }
}

const BUSY: Statistics = Statistics {
    reads: 3,
    read_bytes: 0x1_0000,
    writes: 5,
    write_bytes: 0x400,
    read_errors: 1,
    write_errors: 2,
    used_bytes: Some(512 * 9),
    available_bytes: Some(1 << 42),
};

fn busy_channel(model: DiskModel) -> ScsiChannel {
    let unit = Arc::new(unit_of(model));
    unit.set_statistics(Arc::new(Numbers(BUSY)));
    ScsiSession::new(port(), None, &luns(&[(0, &unit)])).channel()
}

#[test]
fn what_pages_there_are() {
    let mut channel = channel_of(model());
    let pages = [0x00, 0x02, 0x03, 0x05, 0x0d, 0x10, 0x11, 0x19, 0x2f];
    let list = log(&mut channel, 0x00, 0, 0);
    assert_eq!(list, [&[0, 0, 0, 9][..], &pages].concat());
    let both = log(&mut channel, 0x00, 0xff, 0);
    assert_eq!(both[..8], [0x40, 0xff, 0, 20, 0, 0, 0, 0xff]);
    let others: Vec<u8> = pages[1..].iter().flat_map(|page| [*page, 0]).collect();
    assert_eq!(both[8..], others);
    for page in &pages[1..] {
        // DS: nothing is saved.
        assert_eq!(log(&mut channel, *page, 0, 0)[..2], [0x80 | page, 0]);
    }

    // Whether it is thin and whether it spins makes a difference.
    let list = log(&mut channel_of(thin_model()), 0x00, 0, 0);
    assert!(list[4..].contains(&0x0c));
    let disk = DiskModel {
        rotational: true,
        ..model()
    };
    assert!(!log(&mut channel_of(disk), 0x00, 0, 0)[4..].contains(&0x11));
}

#[test]
fn error_counters() {
    let mut channel = busy_channel(model());
    let value = |number: u64| number.to_be_bytes().to_vec();
    for (page, bytes, errors) in [(0x02, 0x400, 2), (0x03, 0x1_0000, 1), (0x05, 0, 0)] {
        let counters = parameters(&log(&mut channel, page, 0, 0));
        let codes: Vec<u16> = counters.iter().map(|(code, ..)| *code).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6]);
        assert!(counters.iter().all(|(_, control, _)| *control == 0));
        assert_eq!(counters[3].2, value(0));
        assert_eq!(counters[5].2, value(bytes));
        assert_eq!(counters[6].2, value(errors));
    }
    // Thresholds and defaults are zero.
    for control in [0x00, 0x80, 0xc0] {
        let cdb = [0x4d, 0, control | 0x03, 0, 0, 0, 0, 0xff, 0xff, 0];
        let page = data(&mut channel, &cdb);
        let zero = parameters(&page)
            .into_iter()
            .all(|(.., bytes)| bytes == value(0));
        assert!(zero, "{control:02x}");
    }
}

#[test]
fn statistics_and_performance() {
    let mut channel = busy_channel(model());
    let page = parameters(&log(&mut channel, 0x19, 0, 0));
    let [(1, 3, counts), (2, 3, idle), (3, 3, interval)] = &page[..] else {
        panic!("{page:?}");
    };
    assert_eq!(idle[..], [0; 8]);
    let counts: Vec<u64> = counts
        .chunks(8)
        .map(|bytes| u64::from_be_bytes(bytes.try_into().expect("eight bytes")))
        .collect();
    // Commands, then blocks received and sent.
    assert_eq!(counts, [3, 5, 2, 0x80, 0, 0, 0, 0]);
    assert_eq!(interval[..], [0, 0, 0, 6, 0, 0, 0, 1]);
    // A list has no other values than its own.
    let cdb = [0x4d, 0, 0xd9, 0, 0, 0, 0, 0xff, 0xff, 0];
    assert_eq!(parameters(&data(&mut channel, &cdb)), page);
}

#[test]
fn provisioning() {
    let mut channel = busy_channel(thin_model());
    let page = parameters(&log(&mut channel, 0x0c, 0, 0));
    let available = vec![0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0];
    let used = vec![0, 0, 0, 9, 1, 0, 0, 0];
    assert_eq!(page, [(1, 3, available), (2, 3, used)]);
    // A parameter pointer to one that is not there stands for the next one.
    let unit = Arc::new(unit_of(thin_model()));
    unit.set_statistics(Arc::new(Numbers(Statistics {
        available_bytes: None,
        ..BUSY
    })));
    let mut channel = ScsiSession::new(port(), None, &luns(&[(0, &unit)])).channel();
    assert_eq!(parameters(&log(&mut channel, 0x0c, 0, 1)), page[1..]);
    // Nobody knows: nothing is said.
    let unknown = log(&mut channel_of(thin_model()), 0x0c, 0, 0);
    assert_eq!(unknown, [0x8c, 0, 0, 0]);
}

#[test]
fn what_there_is_nothing_to_say_of() {
    let mut channel = channel_of(model());
    let temperature = log(&mut channel, 0x0d, 0, 0);
    let expected = [0x8d, 0, 0, 12, 0, 0, 3, 2, 0, 0xff, 0, 1, 3, 2, 0, 0xff];
    assert_eq!(temperature, expected);
    let wear = log(&mut channel, 0x11, 0, 0);
    assert_eq!(wear, [0x91, 0, 0, 8, 0, 1, 3, 4, 0, 0, 0, 0]);
    let exceptions = log(&mut channel, 0x2f, 0, 0);
    assert_eq!(exceptions, [0xaf, 0, 0, 8, 0, 0, 3, 4, 0, 0, 0xff, 0xff]);
    let tests = parameters(&log(&mut channel, 0x10, 0, 0));
    assert_eq!(tests.len(), 20);
    let blank = |(code, test): (u16, &(u16, u8, Vec<u8>))| *test == (code, 3, vec![0; 16]);
    assert!((1..).zip(&tests).all(blank));
}

#[test]
fn the_parameter_pointer_leaves_out_what_is_before_it() {
    let mut channel = channel_of(model());
    let whole = log(&mut channel, 0x03, 0, 0);
    let tail = log(&mut channel, 0x03, 0, 5);
    assert_eq!(parameters(&tail), parameters(&whole)[5..]);
    for (page, pointer) in [(0x03, 7), (0x2f, 1), (0x00, 1)] {
        let cdb = [0x4d, 0, 0x40 | page, 0, 0, 0, pointer, 0xff, 0xff, 0];
        assert_eq!(refused(&mut channel, &cdb), Sense::cdb_byte(5));
    }
}

#[test]
fn allocation_lengths_and_bad_fields() {
    let mut channel = channel_of(model());
    let whole = log(&mut channel, 0x10, 0, 0);
    for length in [0, 4, 252] {
        let cut = data(&mut channel, &[0x4d, 0, 0x50, 0, 0, 0, 0, 0, length, 0]);
        assert_eq!(cut, whole[..usize::from(length)]);
    }
    for (byte1, page, subpage, expected) in [
        (0x01, 0x40, 0, Sense::cdb_bits(1, 0)),
        (0x02, 0x40, 0, Sense::cdb_bits(1, 1)),
        (0x00, 0x41, 0, Sense::cdb_bits(2, 5)),
        (0x00, 0x4c, 0, Sense::cdb_bits(2, 5)),
        (0x00, 0x40, 1, Sense::cdb_byte(3)),
        (0x00, 0x4d, 0xff, Sense::cdb_byte(3)),
    ] {
        let cdb = [0x4d, byte1, page, subpage, 0, 0, 0, 0, 0xff, 0];
        assert_eq!(refused(&mut channel, &cdb), expected, "{cdb:02x?}");
    }
    // LOG SELECT: nothing can be set.
    let select = refused(&mut channel, &[0x4c, 0x02, 0x40, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(select.code, sense::codes::INVALID_OPCODE);
}
