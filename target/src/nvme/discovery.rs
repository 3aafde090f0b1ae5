//! The discovery log page (NVMe base 2.0 section 5.16.1.23; RDMA transport 1.0 section 3.1).

use std::net::{IpAddr, SocketAddr};

use pagecast_core::nvme::{ADMIN_QUEUE_DEPTH, DISCOVERY_NQN};

use super::connect::ANY_CONTROLLER;

/// Bytes of the header, and of each entry.
const ENTRY: usize = 1024;

/// One way to a subsystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What is there.
    pub kind: Kind,
    /// Where.
    pub address: SocketAddr,
    /// Which of our ports that is (PORTID); addresses of one port have the same.
    pub port: u16,
}

/// What a record is about (SUBTYPE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another discovery service.
    Referral,
    /// An NVM subsystem, by its name.
    Subsystem(String),
    /// The discovery service that was asked.
    Current,
}

impl Kind {
    fn subtype(&self) -> u8 {
        match self {
            Self::Referral => 1,
            Self::Subsystem(_) => 2,
            Self::Current => 3,
        }
    }

    /// EFLAGS. The service that was asked keeps connections for as long as hosts want them (EPCSD).
    fn flags(&self) -> u16 {
        match self {
            Self::Current => 1 << 1,
            Self::Referral | Self::Subsystem(_) => 0,
        }
    }

    fn subsystem(&self) -> &str {
        match self {
            Self::Subsystem(name) => name,
            Self::Referral | Self::Current => DISCOVERY_NQN,
        }
    }
}

/// Writes the whole page, header included.
pub fn log_page(generation: u64, records: &[Record]) -> Vec<u8> {
    let mut page = vec![0; ENTRY];
    page[..8].copy_from_slice(&generation.to_le_bytes());
    page[8..16].copy_from_slice(&(records.len() as u64).to_le_bytes());
    // Bytes 17 and 16, RECFMT, are zero.
    for record in records {
        page.extend_from_slice(&entry(record));
    }
    page
}

fn entry(record: &Record) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let address = record.address.ip().to_canonical();
    // TRTYPE: RDMA.
    entry[0] = 1;
    // ADRFAM.
    entry[1] = match address {
        IpAddr::V4(_) => 1,
        IpAddr::V6(_) => 2,
    };
    entry[2] = record.kind.subtype();
    // TREQ: no secure channel is asked for, and submission queue flow control stays.
    entry[3] = 0;
    entry[4..6].copy_from_slice(&record.port.to_le_bytes());
    entry[6..8].copy_from_slice(&ANY_CONTROLLER.to_le_bytes());
    entry[8..10].copy_from_slice(&ADMIN_QUEUE_DEPTH.to_le_bytes());
    entry[10..12].copy_from_slice(&record.kind.flags().to_le_bytes());
    put(&mut entry[32..64], &record.address.port().to_string());
    put(&mut entry[256..512], record.kind.subsystem());
    put(&mut entry[512..768], &address.to_string());
    // TSAS: a reliable connection, over a provider that nothing is said about, by RDMA/CM.
    entry[768..771].copy_from_slice(&[1, 1, 1]);
    entry
}

/// Text that ends in NULs, which initiators take as well as the spaces of the standard. A name has at most [`MAX_NQN`] bytes.
///
/// [`MAX_NQN`]: pagecast_core::nvme::MAX_NQN
fn put(field: &mut [u8], text: &str) {
    for (to, &from) in field.iter_mut().zip(text.as_bytes()) {
        *to = from;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: Kind, address: &str, port: u16) -> Record {
        Record {
            kind,
            address: address.parse().expect("an address"),
            port,
        }
    }

    #[test]
    fn a_page_as_it_is_on_the_wire() {
        let subsystem = Kind::Subsystem("nqn.2026-11.io.pagecast:store".to_owned());
        let page = log_page(
            0x1122_3344_5566_7788,
            &[
                record(Kind::Current, "10.99.0.1:4420", 1),
                record(subsystem, "[fd00:99::1]:4421", 0x102),
            ],
        );
        assert_eq!(page.len(), 3 * 1024);
        assert_eq!(
            page[..18],
            *b"\x88\x77\x66\x55\x44\x33\x22\x11\x02\0\0\0\0\0\0\0\0\0"
        );
        assert!(page[18..1024].iter().all(|&byte| byte == 0));

        let current = &page[1024..2048];
        assert_eq!(current[..12], *b"\x01\x01\x03\0\x01\0\xff\xff\x20\0\x02\0");
        assert_eq!(current[32..37], *b"4420\0");
        assert_eq!(
            current[256..293],
            *b"nqn.2014-08.org.nvmexpress.discovery\0"
        );
        assert_eq!(current[512..522], *b"10.99.0.1\0");
        assert_eq!(current[768..772], *b"\x01\x01\x01\0");

        let subsystem = &page[2048..];
        assert_eq!(
            subsystem[..12],
            *b"\x01\x02\x02\0\x02\x01\xff\xff\x20\0\0\0"
        );
        assert_eq!(subsystem[32..37], *b"4421\0");
        assert_eq!(subsystem[256..286], *b"nqn.2026-11.io.pagecast:store\0");
        assert_eq!(subsystem[512..524], *b"fd00:99::1\0\0");
    }

    #[test]
    fn a_referral_names_the_discovery_service() {
        let page = log_page(1, &[record(Kind::Referral, "10.0.0.2:8009", 0)]);
        assert_eq!(page[1024 + 2], 1);
        assert_eq!(page[1024 + 10..][..2], [0, 0]);
        assert!(page[1024 + 256..].starts_with(DISCOVERY_NQN.as_bytes()));
    }

    /// Reads back what a host reads.
    fn text(field: &[u8]) -> String {
        let end = field.iter().position(|&byte| byte == 0);
        String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(name in "[ -~]{1,223}", address: IpAddr, port: u16, id: u16) {
            let address = SocketAddr::new(address, port);
            let page = log_page(7, &[Record { kind: Kind::Subsystem(name.clone()), address, port: id }]);
            let entry = &page[1024..];
            prop_assert_eq!(text(&entry[256..512]), name);
            prop_assert_eq!(text(&entry[32..64]), port.to_string());
            prop_assert_eq!(text(&entry[512..768]), address.ip().to_canonical().to_string());
            prop_assert_eq!(&entry[4..6], id.to_le_bytes());
        }
    }
}
