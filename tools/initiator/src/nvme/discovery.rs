//! The discovery log page (NVMe base 2.0 section 5.16.1.23; for RDMA, RDMA transport 1.0 section 4).

use super::codec::ProtocolError;

/// Log page identifier.
pub const LOG_PAGE: u8 = 0x70;
/// Name of every discovery subsystem.
pub const NQN: &str = "nqn.2014-08.org.nvmexpress.discovery";
/// Bytes of the header, and of each entry.
pub const RECORD: usize = 1024;

/// The log page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryLog {
    /// Generation counter.
    pub generation: u64,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// One way to one subsystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Transport type: 1 RDMA, 3 TCP.
    pub transport: u8,
    /// Address family: 1 IPv4, 2 IPv6, 3 InfiniBand.
    pub family: u8,
    /// 1 a referral, 2 an NVM subsystem, 3 this discovery subsystem.
    pub kind: u8,
    /// Transport requirements.
    pub requirements: u8,
    /// Port identifier.
    pub port: u16,
    /// Controller identifier: FFFFh where controllers are dynamic.
    pub controller: u16,
    /// Entries that the admin queue may have.
    pub admin_entries: u16,
    /// Entry flags.
    pub flags: u16,
    /// Transport service identifier: the port's number.
    pub service: String,
    /// NVMe qualified name of the subsystem.
    pub subsystem: String,
    /// Transport address.
    pub address: String,
    /// Transport specific address subtype: queue pair type, provider type, connection management.
    pub specific: [u8; 3],
}

impl DiscoveryLog {
    /// Reads a whole page.
    pub fn decode(page: &[u8]) -> Result<Self, ProtocolError> {
        let (header, rest) = page
            .split_at_checked(RECORD)
            .ok_or(ProtocolError::Data("no discovery log page header"))?;
        let (generation, count) = (quad(header, 0), quad(header, 8));
        if header[16..].iter().any(|&byte| byte != 0) {
            return Err(ProtocolError::Data("record format, or reserved bytes"));
        }
        let entries = rest.chunks_exact(RECORD);
        if u64::try_from(entries.len()).is_ok_and(|there| there < count) {
            return Err(ProtocolError::Data("fewer entries than announced"));
        }
        let entries = entries.take(usize::try_from(count).unwrap_or(usize::MAX));
        Ok(Self {
            generation,
            entries: entries.map(Entry::decode).collect::<Result<_, _>>()?,
        })
    }
}

impl Entry {
    fn decode(entry: &[u8]) -> Result<Self, ProtocolError> {
        let word = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let reserved = [&entry[12..32], &entry[64..256]];
        if reserved.concat().iter().any(|&byte| byte != 0) {
            return Err(ProtocolError::Data("reserved bytes of an entry"));
        }
        Ok(Self {
            transport: entry[0],
            family: entry[1],
            kind: entry[2],
            requirements: entry[3],
            port: word(4),
            controller: word(6),
            admin_entries: word(8),
            flags: word(10),
            service: text(&entry[32..64])?,
            subsystem: text(&entry[256..512])?,
            address: text(&entry[512..768])?,
            specific: [entry[768], entry[769], entry[770]],
        })
    }
}

fn quad(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

/// Text that is padded with NULs; addresses and service identifiers may be padded with spaces.
fn text(field: &[u8]) -> Result<String, ProtocolError> {
    let end = field.iter().position(|&byte| byte == 0);
    let (text, padding) = field.split_at(end.unwrap_or(field.len()));
    if padding.iter().any(|&byte| byte != 0) {
        return Err(ProtocolError::Data("text after its end"));
    }
    match std::str::from_utf8(text) {
        Ok(text) => Ok(text.trim_end_matches(' ').to_owned()),
        Err(_) => Err(ProtocolError::Data("text that is no UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page() {
        let mut page = vec![0; 3 * RECORD];
        page[0] = 7;
        page[8] = 1;
        let entry = &mut page[RECORD..2 * RECORD];
        entry[..12].copy_from_slice(&[1, 1, 2, 0, 5, 0, 0xff, 0xff, 32, 0, 1, 0]);
        entry[32..36].copy_from_slice(b"4420");
        entry[256..259].copy_from_slice(b"nqn");
        entry[512..516].copy_from_slice(b"10.1");
        entry[768..771].copy_from_slice(&[1, 1, 1]);
        let log = DiscoveryLog::decode(&page).expect("a page");
        assert_eq!((log.generation, log.entries.len()), (7, 1));
        let entry = &log.entries[0];
        assert_eq!((entry.kind, entry.port, entry.controller), (2, 5, 0xffff));
        assert_eq!(
            (entry.service.as_str(), entry.address.as_str()),
            ("4420", "10.1")
        );
        page[8] = 3;
        assert!(DiscoveryLog::decode(&page).is_err());
        page[8] = 1;
        page[RECORD + 200 + 256] = 1;
        assert!(DiscoveryLog::decode(&page).is_err());
        assert!(DiscoveryLog::decode(&page[..1000]).is_err());
    }
}
