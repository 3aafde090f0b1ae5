//! What the daemon answers to iSCSI logins and discovery, from its configuration.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Shared;
use super::targets::{Group, Target};
use crate::config::{Endpoint, Portal};
use crate::iscsi::directory::{Credentials, Directory, Lookup, PORTAL_GROUP, TargetRecord};

/// The directory of one connection.
#[derive(Debug)]
pub(super) struct PortalDirectory {
    pub(super) shared: Arc<Shared>,
    /// Where it came in.
    pub(super) portal: Portal,
    /// Our address, as the initiator dialled it.
    pub(super) local: Option<SocketAddr>,
    /// The initiator's address.
    pub(super) peer: String,
}

impl Directory for PortalDirectory {
    fn target(&self, target: &str, initiator: &str) -> Lookup {
        let inventory = self.shared.inventory();
        let mut targets = inventory.targets_at(self.portal);
        match targets.find(|found| found.identity.iqn.eq_ignore_ascii_case(target)) {
            None => Lookup::NotFound,
            Some(target) => match self.group(target, initiator) {
                None => Lookup::Forbidden,
                Some(group) => Lookup::Admitted(group.credentials.clone()),
            },
        }
    }

    fn discovery_credentials(&self) -> Option<Arc<Credentials>> {
        let inventory = self.shared.inventory();
        let chap = inventory.config.discovery_chap.as_ref()?;
        Some(Arc::new(Credentials::from(chap)))
    }

    fn targets(&self, initiator: &str) -> Vec<TargetRecord> {
        (self.shared.inventory().targets_at(self.portal))
            .filter(|target| self.group(target, initiator).is_some())
            .map(|target| TargetRecord {
                name: target.identity.iqn.clone(),
                addresses: self.addresses(target),
            })
            .collect()
    }
}

impl PortalDirectory {
    fn group<'a>(&self, target: &'a Target, initiator: &str) -> Option<&'a Group> {
        target.group_of_iscsi(initiator, &self.peer)
    }

    /// Where the target can be reached by the transport that asks. A wildcard address is the one that the initiator used.
    fn addresses(&self, target: &Target) -> Vec<String> {
        let portals = target.config.portals.iter();
        let mut addresses: Vec<String> = portals
            .filter(|portal| portal.transport == self.portal.transport)
            .filter_map(|portal| match portal.endpoint {
                Endpoint::Ip { address, port } => {
                    let address = if address.is_unspecified() {
                        self.local?.ip().to_canonical()
                    } else {
                        address
                    };
                    Some(address_text(address, port))
                }
                Endpoint::Service { .. } => None,
            })
            .collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }
}

/// A TargetAddress value (RFC 7143 section 13.8).
fn address_text(address: IpAddr, port: u16) -> String {
    format!("{},{PORTAL_GROUP}", SocketAddr::new(address, port))
}
