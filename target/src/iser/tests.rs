//! Byte vectors, and bytes of any kind.

use pagecast_rdma::fabric::RemoteBuffer;
use proptest::prelude::*;

use super::header::{HEADER_SIZE, HeaderError, TARGET_HEADER, Tagged, Tags};
use super::message::{BHS_SIZE, MESSAGE_HEADERS, Message, MessageError};
use super::negotiation::{Initiator, answer};

/// As Linux sends it: READ(10) of 8 blocks from LBA 2048, 4096 bytes expected, to key 0x1234 at 0xffff_8881_0203_0000.
const READ: [u8; 76] = [
    0x14, 0, 0, 0, // control, RSV
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // no write tag
    0, 0, 0x12, 0x34, 0xff, 0xff, 0x88, 0x81, 0x02, 0x03, 0, 0, // read tag
    0x01, 0xc1, 0, 0, 0, 0, 0, 0, // SCSI command, F R simple; no AHS, no data
    0, 0, 0, 0, 0, 0, 0, 0, // LUN 0
    0x10, 0, 0, 0x35, // ITT
    0, 0, 0x10, 0, // expected data transfer length
    0, 0, 0, 7, // CmdSN
    0, 0, 0, 9, // ExpStatSN
    0x28, 0, 0, 0, 0x08, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, // CDB
];

/// A write of 12 bytes, of which 8 are here.
fn write() -> Vec<u8> {
    let mut bytes = vec![
        0x18, 0, 0, 0, // control, WSV
        0, 0, 0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0x10, 8, // write tag, past the immediate data
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mut bhs = [0; BHS_SIZE];
    bhs[..8].copy_from_slice(&[0x01, 0xa1, 0, 0, 0, 0, 0, 8]);
    bhs[23] = 12;
    bytes.extend(bhs);
    bytes.extend(*b"eight by");
    bytes
}

fn with_lengths(ahs_words: u8, data: u32, behind_headers: usize) -> Vec<u8> {
    let mut bytes = TARGET_HEADER.to_vec();
    let mut bhs = [0; BHS_SIZE];
    bhs[4] = ahs_words;
    bhs[5..8].copy_from_slice(&data.to_be_bytes()[1..]);
    bytes.extend(bhs);
    bytes.extend((0..behind_headers).map(|i| i as u8));
    bytes
}

#[test]
fn a_read_as_linux_sends_it() {
    let message = Message::parse(&READ).unwrap();
    let read = Tagged {
        stag: 0x1234,
        base_offset: 0xffff_8881_0203_0000,
    };
    assert_eq!(
        message.tags,
        Tags {
            write: None,
            read: Some(read)
        }
    );
    assert_eq!(message.bhs[..], READ[28..]);
    assert_eq!((message.ahs, message.data), (&[][..], &[][..]));
    assert_eq!(message.tags.invalidatable(), Some(0x1234));
    assert_eq!(message.tags.encode(), READ[..28]);
    assert_eq!(
        read.buffer(4096),
        RemoteBuffer {
            address: 0xffff_8881_0203_0000,
            key: 0x1234,
            length: 4096
        }
    );
}

#[test]
fn a_write_with_some_of_its_data() {
    let bytes = write();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.data, b"eight by");
    assert_eq!(message.data_at, 76);
    assert_eq!(message.tags.read, None);
    assert_eq!(message.tags.write.unwrap().base_offset, 0x1_0000_1008);
    assert_eq!(message.tags.invalidatable(), Some(0xabcd));
    assert_eq!(message.tags.encode(), bytes[..28]);
}

#[test]
fn fields_without_their_flag_are_nothing() {
    let mut bytes = READ;
    bytes[0] = 0x10;
    let tags = Tags::decode(&bytes).unwrap();
    assert_eq!(tags, Tags::default());
    assert_eq!(tags.invalidatable(), None);
    assert_eq!(tags.encode(), TARGET_HEADER);
    // Reserved bits of the lower half do not matter.
    bytes[0] = 0x17;
    assert_eq!(Tags::decode(&bytes).unwrap().read.unwrap().stag, 0x1234);
}

#[test]
fn with_both_tags_it_is_the_read_tag_that_may_go() {
    let mut bytes = READ;
    bytes[0] = 0x1c;
    assert_eq!(Tags::decode(&bytes).unwrap().invalidatable(), Some(0x1234));
}

#[test]
fn messages_shorter_than_their_headers() {
    for length in 0..HEADER_SIZE {
        let short = MessageError::Header(HeaderError::Short(length));
        assert_eq!(Message::parse(&READ[..length]), Err(short));
    }
    for length in HEADER_SIZE..MESSAGE_HEADERS {
        let cut = MessageError::NoBasicHeader(length);
        assert_eq!(Message::parse(&READ[..length]), Err(cut));
    }
}

#[test]
fn more_announced_than_arrived() {
    let bytes = with_lengths(0, 8, 7);
    let error = MessageError::Data {
        declared: 8,
        arrived: 7,
    };
    assert_eq!(Message::parse(&bytes), Err(error));
    let bytes = with_lengths(0, 0xff_ffff, 8192);
    assert!(matches!(
        Message::parse(&bytes),
        Err(MessageError::Data { .. })
    ));
    let bytes = with_lengths(2, 0, 7);
    let error = MessageError::Ahs {
        declared: 8,
        arrived: 7,
    };
    assert_eq!(Message::parse(&bytes), Err(error));
    // The data segment starts behind the additional headers.
    let bytes = with_lengths(2, 4, 11);
    let error = MessageError::Data {
        declared: 4,
        arrived: 3,
    };
    assert_eq!(Message::parse(&bytes), Err(error));
}

#[test]
fn additional_headers_data_and_padding() {
    for padding in [0, 3, 100] {
        let bytes = with_lengths(2, 5, 13 + padding);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.ahs, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(message.data, [8, 9, 10, 11, 12]);
        assert_eq!(message.data_at, 84);
    }
}

#[test]
fn other_messages() {
    let mut bytes = READ;
    for (first, error) in [
        (0x20, HeaderError::Hello),
        (0x30, HeaderError::HelloReply),
        (0x00, HeaderError::Type(0)),
        (0x4c, HeaderError::Type(0x4c)),
    ] {
        bytes[0] = first;
        assert_eq!(Message::parse(&bytes), Err(error.into()));
    }
}

#[test]
fn who_takes_invalidation() {
    let takes = |bytes: &[u8]| Initiator::decode(bytes).takes_invalidation;
    assert!(takes(&[0x80, 0, 0, 0]), "Linux");
    assert!(!takes(&[0xc0, 0, 0, 0]), "libiscsi");
    assert!(!takes(&[]), "nothing said");
    assert!(!takes(&[0; 56]), "nothing said, and padded");
    assert!(takes(&[0x80]), "short");
    assert_eq!(answer(true), [0x80, 0, 0, 0]);
    assert_eq!(answer(false), [0xc0, 0, 0, 0]);
}

proptest! {
    #[test]
    fn whatever_arrives_the_parts_lie_inside(
        first in prop_oneof![Just(0x10u8), Just(0x1c), any::<u8>()],
        ahs in prop_oneof![Just(0u8), 0u8..8, any::<u8>()],
        length in prop_oneof![0u32..200, any::<u32>()],
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        if let Some(at) = bytes.first_mut() {
            *at = first;
        }
        if let Some(at) = bytes.get_mut(32..36) {
            at.copy_from_slice(&length.to_be_bytes());
            at[0] = ahs;
        }
        if let Ok(message) = Message::parse(&bytes) {
            let end = message.data_at + message.data.len();
            prop_assert!(end <= bytes.len());
            prop_assert_eq!(&bytes[message.data_at..end], message.data);
            prop_assert_eq!(message.ahs.len(), usize::from(message.bhs[4]) * 4);
            prop_assert_eq!(message.data_at, MESSAGE_HEADERS + message.ahs.len());
        }
    }

    #[test]
    fn headers_survive(write in any::<Option<(u32, u64)>>(), read in any::<Option<(u32, u64)>>()) {
        let tagged = |(stag, base_offset)| Tagged { stag, base_offset };
        let tags = Tags { write: write.map(tagged), read: read.map(tagged) };
        prop_assert_eq!(Tags::decode(&tags.encode()), Ok(tags));
    }
}
