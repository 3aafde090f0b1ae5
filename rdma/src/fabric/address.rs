//! Where listeners listen and peers are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A 128-bit port GID, in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gid(pub [u8; 16]);

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pair) in self.0.chunks(2).enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{:02x}{:02x}", pair[0], pair[1])?;
        }
        Ok(())
    }
}

/// An InfiniBand CM service id, in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceId(pub u64);

/// What a listener listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port in the RDMA/CM's TCP port space. The address may be the wildcard of its family: `[::]` takes no
    /// IPv4 connections.
    Ip(SocketAddr),
    /// Any InfiniBand port, native CM (AF_IB, RDMA_PS_IB). Only service ids 0x000000000106pppp and
    /// 0x00000000013fpppp can be had from user space.
    Service(ServiceId),
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// Known by an IP address and port.
    Ip(SocketAddr),
    /// Known by its port GID (AF_IB).
    Gid(Gid),
}

impl PeerAddress {
    /// The IP address, where there is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(at) => Some(at.ip().to_canonical()),
            Self::Gid(_) => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(at) => write!(f, "{at}"),
            Self::Gid(gid) => write!(f, "{gid}"),
        }
    }
}
