//! Port identifiers, the names that initiators go by, and what to paste into them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use pagecast_rdma::fabric::{Gid, ServiceId};

/// An SRP port identifier: eight bytes of extension, then an EUI-64 (SRP r16a Annex B; revision 10 had them the other way
/// round).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub [u8; 16]);

impl PortId {
    /// Joins an extension (`id_ext`, `initiator_ext`) and a GUID.
    pub fn new(extension: u64, guid: u64) -> Self {
        Self(((u128::from(extension) << 64) | u128::from(guid)).to_be_bytes())
    }

    /// The first half.
    pub fn extension(self) -> u64 {
        (self.bits() >> 64) as u64
    }

    /// The second half.
    pub fn guid(self) -> u64 {
        self.bits() as u64
    }

    fn bits(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#034x}", self.bits())
    }
}

impl fmt::Debug for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The names under which access groups may list an initiator, most specific first: `0x` and the whole port identifier in
/// hexadecimal, its GUID half alone, and the IP address it came from. The first is also what it is called in reports.
pub fn initiator_names(id: PortId, peer: Option<IpAddr>) -> Vec<String> {
    let mut names = vec![id.to_string(), format!("{:016x}", id.guid())];
    names.extend(peer.map(|ip| ip.to_canonical().to_string()));
    names
}

/// What to write into `/sys/class/infiniband_srp/srp-*/add_target` to log in over RDMA/CM.
pub fn login_line(target: PortId, dest: SocketAddr) -> String {
    // `SocketAddr` puts IPv6 addresses into brackets, as the initiator wants them.
    let dest = SocketAddr::new(dest.ip().to_canonical(), dest.port());
    format!("{},dest={dest}", ids(target))
}

/// The same over the native InfiniBand CM.
pub fn login_line_native(target: PortId, service: ServiceId, gid: Gid, pkey: u16) -> String {
    format!(
        "{},dgid={:032x},pkey={pkey:04x},service_id={:016x}",
        ids(target),
        u128::from_be_bytes(gid.0),
        service.0,
    )
}

fn ids(target: PortId) -> String {
    format!(
        "id_ext={:016x},ioc_guid={:016x}",
        target.extension(),
        target.guid()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PortId = PortId([0, 0, 0, 0, 0, 0, 0, 1, 0xfe, 0, 1, 2, 3, 4, 5, 6]);

    #[test]
    fn halves() {
        assert_eq!(PortId::new(1, 0xfe00_0102_0304_0506), ID);
        assert_eq!(ID.extension(), 1);
        assert_eq!(ID.guid(), 0xfe00_0102_0304_0506);
    }

    #[test]
    fn names() {
        assert_eq!(
            initiator_names(ID, None),
            ["0x0000000000000001fe00010203040506", "fe00010203040506"]
        );
        let mapped: IpAddr = "::ffff:10.99.0.2".parse().unwrap();
        assert_eq!(initiator_names(ID, Some(mapped))[2], "10.99.0.2");
        let six: IpAddr = "fd00::2".parse().unwrap();
        assert_eq!(initiator_names(ID, Some(six))[2], "fd00::2");
    }

    #[test]
    fn login_lines() {
        assert_eq!(
            login_line(ID, "10.99.0.1:5555".parse().unwrap()),
            "id_ext=0000000000000001,ioc_guid=fe00010203040506,dest=10.99.0.1:5555"
        );
        assert!(
            login_line(ID, "[fd00::1]:5555".parse().unwrap()).ends_with(",dest=[fd00::1]:5555")
        );
        let gid = Gid([
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 2, 0xc9, 3, 0, 0x4e, 0xd0, 0xb2,
        ]);
        assert_eq!(
            login_line_native(ID, ServiceId(0x0000_0000_0106_15b3), gid, 0xffff),
            "id_ext=0000000000000001,ioc_guid=fe00010203040506,\
             dgid=fe800000000000000002c903004ed0b2,pkey=ffff,service_id=00000000010615b3"
        );
    }
}
