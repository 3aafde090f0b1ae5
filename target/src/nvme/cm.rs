//! Private data of RDMA/CM messages (RDMA transport 1.0 section 3.5).

use thiserror::Error;

/// What a host asks for in its connection request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Queue identifier; 0 for the admin queue.
    pub queue: u16,
    /// Entries in the host's receive queue (HRQSIZE): responses that may be under way.
    pub receive_entries: u16,
    /// Entries in the host's send queue (HSQSIZE, which counts from zero): commands that may be under way.
    pub send_entries: u16,
}

/// Bytes of private data in a request.
const REQUEST_LENGTH: usize = 32;

impl Request {
    /// Reads the private data of a request. Some providers deliver more bytes than were sent.
    pub fn parse(private_data: &[u8]) -> Result<Self, Reject> {
        let data: &[u8; REQUEST_LENGTH] =
            private_data.first_chunk().ok_or(Reject::InvalidLength)?;
        let word = |at: usize| u16::from_le_bytes([data[at], data[at + 1]]);
        if word(0) != 0 {
            return Err(Reject::InvalidFormat);
        }
        Ok(Self {
            queue: word(2),
            receive_entries: word(4),
            send_entries: word(6).saturating_add(1),
        })
    }
}

/// Private data of an acceptance, with the entries of our receive queue (CRQSIZE).
pub fn accept(receive_entries: u16) -> [u8; 32] {
    let mut data = [0; 32];
    data[2..4].copy_from_slice(&receive_entries.to_le_bytes());
    data
}

/// Why a connection is refused (RDMA transport 1.0, figure 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reject {
    /// Too little private data.
    #[error("its private data are too short")]
    InvalidLength = 1,
    /// Of a format that is not known.
    #[error("the format of its private data is not known")]
    InvalidFormat = 2,
    /// More queues than there may be.
    #[error("its queue identifier is out of range")]
    InvalidQueue = 3,
    /// Its send queue.
    #[error("its send queue has an invalid size")]
    InvalidSendEntries = 4,
    /// Its receive queue.
    #[error("its receive queue has an invalid size")]
    InvalidReceiveEntries = 5,
    /// No resources.
    #[error("no resources")]
    NoResources = 6,
    /// It answers no RDMA READ.
    #[error("it answers no RDMA READ (IRD 0), so it could never write")]
    InvalidIrd = 7,
    /// RDMA READs from here.
    #[error("its ORD is invalid")]
    InvalidOrd = 8,
}

impl Reject {
    /// Private data of the refusal.
    pub fn emit(self) -> [u8; 4] {
        let [low, high] = (self as u16).to_le_bytes();
        [0, 0, low, high]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Linux sends for I/O queue 3 with 128 entries, padded as InfiniBand delivers it.
    const LINUX: [u8; 56] = {
        let mut data = [0; 56];
        data[2] = 3;
        data[4] = 128;
        data[6] = 127;
        data
    };

    #[test]
    fn a_request_of_linux() {
        let request = Request {
            queue: 3,
            receive_entries: 128,
            send_entries: 128,
        };
        assert_eq!(Request::parse(&LINUX), Ok(request));
        assert_eq!(Request::parse(&LINUX[..32]), Ok(request));
    }

    #[test]
    fn bad_requests_are_told_apart() {
        assert_eq!(Request::parse(&LINUX[..31]), Err(Reject::InvalidLength));
        assert_eq!(Request::parse(&[]), Err(Reject::InvalidLength));
        let mut other = LINUX;
        other[1] = 1;
        assert_eq!(Request::parse(&other), Err(Reject::InvalidFormat));
    }

    #[test]
    fn answers_are_as_the_standard_has_them() {
        let mut expected = [0; 32];
        expected[2..4].copy_from_slice(&[0x20, 0x01]);
        assert_eq!(accept(0x120), expected);
        for (reject, status) in [
            (Reject::InvalidLength, 1),
            (Reject::InvalidFormat, 2),
            (Reject::InvalidQueue, 3),
            (Reject::InvalidSendEntries, 4),
            (Reject::InvalidReceiveEntries, 5),
            (Reject::NoResources, 6),
            (Reject::InvalidIrd, 7),
            (Reject::InvalidOrd, 8),
        ] {
            assert_eq!(reject.emit(), [0, 0, status, 0], "{reject}");
        }
    }

    proptest! {
        #[test]
        fn every_size_is_read(queue: u16, receive: u16, send: u16, rest: [u8; 24]) {
            let mut data = [0; 32];
            data[2..4].copy_from_slice(&queue.to_le_bytes());
            data[4..6].copy_from_slice(&receive.to_le_bytes());
            data[6..8].copy_from_slice(&send.to_le_bytes());
            data[8..].copy_from_slice(&rest);
            let request = Request::parse(&data).expect("well formed");
            prop_assert_eq!((request.queue, request.receive_entries), (queue, receive));
            prop_assert_eq!(u32::from(request.send_entries), (u32::from(send) + 1).min(0xffff));
        }
    }
}
