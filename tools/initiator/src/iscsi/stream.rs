//! PDUs on a TCP stream: padding and digests (RFC 7143 11.1, 13.1).

use super::pdu::{BHS_SIZE, Pdu};
use super::response::ProtocolError;

/// Which digests are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// CRC32C behind the headers.
    pub header: bool,
    /// CRC32C behind the data segment and its padding.
    pub data: bool,
}

impl Digests {
    /// Writes a PDU, padded and with its digests.
    pub fn encode(self, pdu: &Pdu) -> Vec<u8> {
        let mut bytes = [&pdu.bhs[..], &pdu.ahs].concat();
        if self.header {
            let digest = crc32c::crc32c(&bytes);
            bytes.extend(digest.to_le_bytes());
        }
        if !pdu.data.is_empty() {
            let start = bytes.len();
            bytes.extend_from_slice(&pdu.data);
            bytes.resize(start + pdu.data.len().next_multiple_of(4), 0);
            if self.data {
                let digest = crc32c::crc32c(&bytes[start..]);
                bytes.extend(digest.to_le_bytes());
            }
        }
        bytes
    }

    /// Takes one PDU from the front of what has arrived; `None` if there is not a whole one yet.
    pub fn take(self, arrived: &mut Vec<u8>) -> Result<Option<Pdu>, ProtocolError> {
        let Some(bhs) = arrived.first_chunk::<BHS_SIZE>() else {
            return Ok(None);
        };
        let mut pdu = Pdu::new(0);
        pdu.bhs = *bhs;
        let headers = BHS_SIZE + pdu.ahs_length();
        let data_at = headers + if self.header { 4 } else { 0 };
        let data_end = data_at + pdu.data_length();
        let padded_end = data_at + pdu.data_length().next_multiple_of(4);
        let has_digest = self.data && pdu.data_length() > 0;
        let end = padded_end + if has_digest { 4 } else { 0 };
        if arrived.len() < end {
            return Ok(None);
        }
        if self.header && !matches(&arrived[..headers], &arrived[headers..data_at]) {
            return Err(ProtocolError::Digest("header"));
        }
        if has_digest && !matches(&arrived[data_at..padded_end], &arrived[padded_end..end]) {
            return Err(ProtocolError::Digest("data"));
        }
        pdu.ahs = arrived[BHS_SIZE..headers].to_vec();
        pdu.data = arrived[data_at..data_end].to_vec();
        arrived.drain(..end);
        Ok(Some(pdu))
    }
}

fn matches(bytes: &[u8], digest: &[u8]) -> bool {
    digest == crc32c::crc32c(bytes).to_le_bytes()
}
