//! Other discovery services that NVMe hosts are told of.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::document::{Fault, Node, Object, Problems};
use super::target::{Transport, address, port};

/// Another discovery service, over RDMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Referral {
    /// Never a wildcard.
    pub address: IpAddr,
    /// Never 0.
    pub port: u16,
}

impl Referral {
    /// Where it is.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// The list `key`, without holes.
    pub(super) fn list(
        problems: &mut Problems,
        object: &Object<'_>,
        key: &str,
    ) -> Option<Vec<Self>> {
        let list = object.list(problems, key, |problems, node, path| {
            Some(Self::read(problems, node, path))
        });
        list.into_iter().collect()
    }

    fn read(problems: &mut Problems, node: &Node, path: &str) -> Option<Self> {
        let object = problems.object(node, path, &["address", "port"])?;
        let address = object.required(problems, "address", "\"10.0.0.2\"", |node| {
            let found = address(node)?;
            if found.is_unspecified() {
                return Err(Fault::new(
                    format!("{} is no address that a host can go to", node.show()),
                    "give one of the other machine, such as \"10.0.0.2\"",
                ));
            }
            Ok(found)
        });
        let port = match object.get("port") {
            Some(_) => object.optional(problems, "port", port),
            None => Some(Transport::NvmeRdma.default_port()),
        };
        Some(Self {
            address: address?,
            port: port?,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError};

    fn document(referrals: &str) -> String {
        format!(r#"{{ "discovery_referrals": {referrals} }}"#)
    }

    #[test]
    fn referrals_are_read_and_written() {
        let text =
            document(r#"[ { "address": "10.0.0.2" }, { "address": "fd00::2", "port": 8009 } ]"#);
        let config = Config::parse(&text, "c.json").expect("good");
        let referrals = config.discovery_referrals.iter();
        let sockets: Vec<String> = referrals.map(|one| one.socket().to_string()).collect();
        assert_eq!(sockets, ["10.0.0.2:4420", "[fd00::2]:8009"]);
        let again = Config::parse(&config.to_json(), "c.json").expect("good");
        assert_eq!(again, config);
        assert!(!Config::default().to_json().contains("referrals"));
    }

    #[test]
    fn mistakes_are_told() {
        for (referrals, path, what) in [
            (
                r#"[ { "address": "0.0.0.0" } ]"#,
                "[0].address",
                "no address that a host can go to",
            ),
            (
                r#"[ { "address": "10.0.0.2", "port": 0 } ]"#,
                "[0].port",
                "0",
            ),
            (r#"[ { "port": 8009 } ]"#, "[0]", "\"address\" is missing"),
            (
                r#"[ { "address": "10.0.0.2", "prot": 1 } ]"#,
                "[0].prot",
                "unknown key",
            ),
        ] {
            let error = Config::parse(&document(referrals), "c.json").expect_err(referrals);
            let ConfigError::Invalid { problems, .. } = error else {
                panic!("{error}");
            };
            let text = problems[0].to_string();
            assert!(
                text.contains(&format!("discovery_referrals{path}")) && text.contains(what),
                "{text}"
            );
        }
    }
}
