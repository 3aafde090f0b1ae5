//! Where the counters may be read.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;

use super::document::{Object, Problems};
use super::target::{address, port};

/// An address to serve metrics on, over HTTP. Nobody has to prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MetricsConfig {
    /// Loopback unless set otherwise.
    pub address: IpAddr,
    /// Never 0.
    pub port: u16,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 9464,
        }
    }
}

impl MetricsConfig {
    /// Where to listen.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// The value of `key`, if it is there.
    pub(super) fn optional(
        problems: &mut Problems,
        object: &Object<'_>,
        key: &str,
    ) -> Option<Self> {
        let object = problems.object(object.get(key)?, &object.path(key), &["address", "port"])?;
        let default = Self::default();
        Some(Self {
            address: object
                .optional(problems, "address", address)
                .unwrap_or(default.address),
            port: object
                .optional(problems, "port", port)
                .unwrap_or(default.port),
        })
    }

    /// A warning if others than this machine can read them.
    pub(super) fn exposed(&self) -> Option<String> {
        (!self.address.is_loopback()).then(|| {
            format!(
                "metrics are on {}: everybody who can reach that address can read them, and with them the names of devices, \
                 targets and initiators; leave \"address\" out to have them on this machine alone",
                self.socket()
            )
        })
    }
}
