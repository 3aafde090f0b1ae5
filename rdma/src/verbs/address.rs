//! Socket addresses: IPv4, IPv6 and InfiniBand's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use libc::{
    AF_INET, AF_INET6, in_addr, in6_addr, sa_family_t, sockaddr, sockaddr_in, sockaddr_in6,
};
use rdma_sys::{AF_IB, rdma_port_space, sockaddr_ib};

use crate::fabric::{Gid, ListenAddress, PeerAddress, ServiceId};

/// An address as the calls take it.
pub(super) enum RawAddress {
    V4(sockaddr_in),
    V6(sockaddr_in6),
    Ib(sockaddr_ib),
}

impl RawAddress {
    /// What a listener binds to, and the port space that it does so in.
    pub(super) fn to_listen_at(at: ListenAddress) -> (Self, rdma_port_space) {
        match at {
            ListenAddress::Ip(at) => (Self::ip(at), rdma_port_space::RDMA_PS_TCP),
            ListenAddress::Service(id) => (Self::service(id), rdma_port_space::RDMA_PS_IB),
        }
    }

    pub(super) fn ip(at: SocketAddr) -> Self {
        match at {
            SocketAddr::V4(at) => Self::V4(sockaddr_in {
                sin_family: AF_INET as sa_family_t,
                sin_port: at.port().to_be(),
                sin_addr: in_addr {
                    s_addr: u32::from_ne_bytes(at.ip().octets()),
                },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(at) => Self::V6(sockaddr_in6 {
                sin6_family: AF_INET6 as sa_family_t,
                sin6_port: at.port().to_be(),
                sin6_flowinfo: at.flowinfo().to_be(),
                sin6_addr: in6_addr {
                    s6_addr: at.ip().octets(),
                },
                sin6_scope_id: at.scope_id(),
            }),
        }
    }

    /// Any port of any device, and exactly this service id.
    fn service(id: ServiceId) -> Self {
        Self::Ib(sockaddr_ib {
            sib_family: AF_IB,
            sib_sid: id.0.to_be(),
            sib_sid_mask: u64::MAX,
            ..sockaddr_ib::default()
        })
    }

    /// For a call. Valid while `self` is.
    pub(super) fn as_ptr(&self) -> *const sockaddr {
        match self {
            Self::V4(at) => (&raw const *at).cast(),
            Self::V6(at) => (&raw const *at).cast(),
            Self::Ib(at) => (&raw const *at).cast(),
        }
    }
}

/// Reads an address that a library returned. `None` for a family that we do not know.
///
/// # Safety
/// `at` points to as many readable bytes as the address family in it has.
pub(super) unsafe fn read(at: *const sockaddr) -> Option<PeerAddress> {
    // SAFETY: every address begins with its family.
    let family = unsafe { at.cast::<sa_family_t>().read_unaligned() };
    if family == AF_INET as sa_family_t {
        // SAFETY: the family says that this is what is there.
        let at = unsafe { at.cast::<sockaddr_in>().read_unaligned() };
        let ip = Ipv4Addr::from(at.sin_addr.s_addr.to_ne_bytes());
        let port = u16::from_be(at.sin_port);
        Some(PeerAddress::Ip(SocketAddr::new(IpAddr::V4(ip), port)))
    } else if family == AF_INET6 as sa_family_t {
        // SAFETY: as above.
        let at = unsafe { at.cast::<sockaddr_in6>().read_unaligned() };
        let ip = Ipv6Addr::from(at.sin6_addr.s6_addr);
        let port = u16::from_be(at.sin6_port);
        Some(PeerAddress::Ip(SocketAddr::V6(SocketAddrV6::new(
            ip,
            port,
            0,
            at.sin6_scope_id,
        ))))
    } else if family == AF_IB {
        // SAFETY: as above; every member of the GID's union is 16 plain bytes.
        let gid = unsafe {
            at.cast::<sockaddr_ib>()
                .read_unaligned()
                .sib_addr
                .ib_u
                .uib_addr8
        };
        Some(PeerAddress::Gid(Gid(gid)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(at: &RawAddress, len: usize) -> Vec<u8> {
        // SAFETY: the callers pass the length of the address's type, none of which has padding.
        unsafe { std::slice::from_raw_parts(at.as_ptr().cast::<u8>(), len).to_vec() }
    }

    fn family(family: u16) -> [u8; 2] {
        family.to_ne_bytes()
    }

    #[test]
    fn ipv4() {
        let at = RawAddress::ip("10.99.0.1:5555".parse().unwrap());
        let mut expected = family(2).to_vec();
        expected.extend([0x15, 0xb3, 10, 99, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes(&at, 16), expected);
        // SAFETY: the address is whole.
        let read = unsafe { read(at.as_ptr()) };
        assert_eq!(read.unwrap().to_string(), "10.99.0.1:5555");
    }

    #[test]
    fn ipv6() {
        let mut to = SocketAddrV6::new("fe80::1234".parse().unwrap(), 4420, 0, 3);
        let at = RawAddress::ip(SocketAddr::V6(to));
        let mut expected = family(10).to_vec();
        expected.extend([0x11, 0x44, 0, 0, 0, 0, 0xfe, 0x80]);
        expected.extend([0; 12]);
        expected.extend([0x12, 0x34]);
        expected.extend(3_u32.to_ne_bytes());
        assert_eq!(bytes(&at, 28), expected);
        // SAFETY: the address is whole.
        let read = unsafe { read(at.as_ptr()) };
        to.set_flowinfo(0);
        assert_eq!(read, Some(PeerAddress::Ip(SocketAddr::V6(to))));
    }

    #[test]
    fn infiniband_service() {
        let id = ServiceId(0x0000_0000_0106_15b3);
        let (at, space) = RawAddress::to_listen_at(ListenAddress::Service(id));
        assert_eq!(space, rdma_port_space::RDMA_PS_IB);
        let mut expected = family(27).to_vec();
        expected.extend([0; 6 + 16]); // P_Key, flow, and a GID of zeros: any port
        expected.extend([0, 0, 0, 0, 0x01, 0x06, 0x15, 0xb3]);
        expected.extend([0xff; 8]);
        expected.extend([0; 8]);
        assert_eq!(bytes(&at, 48), expected);
    }

    #[test]
    fn infiniband_peer_is_its_gid() {
        let mut from = sockaddr_ib {
            sib_family: AF_IB,
            ..sockaddr_ib::default()
        };
        from.sib_addr.ib_u.uib_addr8 = [
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x00, 0x02, 0xc9, 0x03, 0x00, 0xa1, 0xb2, 0xc3,
        ];
        // SAFETY: the address is whole.
        let read = unsafe { read((&raw const from).cast()) }.unwrap();
        assert_eq!(read.to_string(), "fe80:0000:0000:0000:0002:c903:00a1:b2c3");
    }

    #[test]
    fn unknown_families_are_not_read() {
        let from = [0xff_u8; 2];
        // SAFETY: the family is there, and no more is read of one that is not known.
        assert_eq!(unsafe { read(from.as_ptr().cast()) }, None);
    }
}
