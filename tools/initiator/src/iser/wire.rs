//! The iSER header and the private data, from the initiator's side (RFC 7145 9; InfiniBand annex A12).

use pagecast_rdma::fabric::RemoteBuffer;

use crate::iscsi::{Pdu, ProtocolError};

/// Bytes of the header.
pub const HEADER_SIZE: usize = 28;
/// Bytes of header and basic header segment.
pub const MESSAGE_HEADERS: usize = HEADER_SIZE + 48;
/// What Linux says: no zero-based addresses, keys may be invalidated.
pub const LINUX: [u8; 4] = [0x80, 0, 0, 0];
/// What libiscsi says: no zero-based addresses, keys may not be invalidated.
pub const LIBISCSI: [u8; 4] = [0xc0, 0, 0, 0];

/// Puts the header in front of a PDU. Only addresses and keys of the memory go into it.
pub fn encode(write: Option<RemoteBuffer>, read: Option<RemoteBuffer>, pdu: &Pdu) -> Vec<u8> {
    let mut bytes = vec![0x10, 0, 0, 0];
    for (flag, memory) in [(0x08, write), (0x04, read)] {
        if memory.is_some() {
            bytes[0] |= flag;
        }
        bytes.extend(memory.map_or(0, |memory| memory.key).to_be_bytes());
        bytes.extend(memory.map_or(0, |memory| memory.address).to_be_bytes());
    }
    bytes.extend(pdu.encode());
    bytes
}

/// Takes the header off a message of the target.
pub fn decode(message: &[u8]) -> Result<Pdu, ProtocolError> {
    let (header, pdu) = message
        .split_at_checked(HEADER_SIZE)
        .ok_or(ProtocolError::Length(message.len()))?;
    if header[0] != 0x10 {
        return Err(ProtocolError::Iser("type or flags"));
    }
    if header[1..].iter().any(|byte| *byte != 0) {
        return Err(ProtocolError::Iser("fields that are reserved"));
    }
    Pdu::decode(pdu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_pdu() {
        let pdu = Pdu::new(0x01);
        let memory = |key| RemoteBuffer {
            address: 0x0102,
            key,
            length: 9,
        };
        let bytes = encode(Some(memory(3)), Some(memory(4)), &pdu);
        assert_eq!(bytes.len(), MESSAGE_HEADERS);
        let expected = [
            0x1c, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 1, 2,
        ];
        assert_eq!(bytes[..28], expected);
        assert_eq!(decode(&bytes), Err(ProtocolError::Iser("type or flags")));
        assert_eq!(decode(&encode(None, None, &pdu)), Ok(pdu));
        assert!(decode(&bytes[..20]).is_err());
    }
}
