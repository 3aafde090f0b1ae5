//! The configuration while it is being put together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::devices::Devices;
use super::names::Names;
use super::notes::{Notes, Place};
use super::{Imported, portals};

/// The largest LUN that a configuration may have.
pub(super) const LUN_MAX: u16 = 0x3fff;

/// The prefix of the iSCSI name of a target that was given none.
const DEFAULT_IQN: &str = "iqn.2026-11.io.pagecast:";

#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) notes: Notes,
    pub(super) devices: Devices,
    pub(super) targets: Vec<Target>,
    pub(super) target_names: Names,
    pub(super) discovery_chap: Option<Chap>,
}

#[derive(Debug)]
pub(super) struct Target {
    /// Where it comes from.
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) iqn: Option<String>,
    /// Both halves of the SRP target port identifier, which are the same.
    pub(super) srp_guid: Option<u64>,
    pub(super) chap: Option<Chap>,
    pub(super) portals: Vec<Portal>,
    pub(super) groups: Vec<Group>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    Srp,
    Iser,
    IscsiTcp,
}

impl Transport {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Srp => "srp",
            Self::Iser => "iser",
            Self::IscsiTcp => "iscsi-tcp",
        }
    }

    /// Listens in the RDMA/CM's port space, and not in TCP's.
    pub(super) fn is_rdma(self) -> bool {
        !matches!(self, Self::IscsiTcp)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Portal {
    pub(super) transport: Transport,
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) name: String,
    /// It admits whoever no other group admits.
    pub(super) default: bool,
    pub(super) initiators: Vec<String>,
    pub(super) chap: Option<Chap>,
    pub(super) luns: BTreeMap<u16, Lun>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lun {
    pub(super) device: String,
    pub(super) read_only: bool,
}

/// CHAP names and secrets. Not for `Debug`: it would show them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Chap {
    user: String,
    secret: String,
    mutual: Option<(String, String)>,
}

impl std::fmt::Debug for Chap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chap")
    }
}

impl Chap {
    /// As the configuration takes it, or why it would not. Secrets are not in the answer.
    pub(super) fn new(user: &str, secret: &str) -> Result<Self, &'static str> {
        check_credentials(user, secret)?;
        Ok(Self {
            user: user.to_owned(),
            secret: secret.to_owned(),
            mutual: None,
        })
    }

    /// What the target proves itself with.
    pub(super) fn set_mutual(&mut self, user: &str, secret: &str) -> Result<(), &'static str> {
        check_credentials(user, secret)?;
        if secret == self.secret {
            return Err("it has the initiator's secret, and the two must differ");
        }
        self.mutual = Some((user.to_owned(), secret.to_owned()));
        Ok(())
    }

    fn to_json(&self) -> Value {
        let mut chap = json!({ "user": self.user, "secret": self.secret });
        if let Some((user, secret)) = &self.mutual {
            chap["mutual_user"] = json!(user);
            chap["mutual_secret"] = json!(secret);
        }
        chap
    }
}

fn check_credentials(user: &str, secret: &str) -> Result<(), &'static str> {
    let printable = |text: &str| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if !(1..=255).contains(&user.len()) || !printable(user) {
        return Err("its name is not one of 1 to 255 printable ASCII characters");
    }
    if !(12..=255).contains(&secret.len()) {
        return Err("its secret is not one of 12 to 255 bytes (RFC 7143 section 9.2.1)");
    }
    if secret.chars().any(char::is_control) {
        return Err("its secret has a control character in it");
    }
    Ok(())
}

impl Draft {
    /// Keeps target names free whose derived iSCSI name would be one that the source has.
    pub(super) fn reserve_iqn(&mut self, iqn: &str) {
        if let Some(name) = iqn.strip_prefix(DEFAULT_IQN) {
            self.target_names.reserve(name);
        }
    }

    pub(super) fn finish(mut self) -> Imported {
        portals::settle(&mut self.targets, &mut self.notes);
        let mut config = Map::new();
        config.insert("devices".to_owned(), self.devices.to_json());
        let targets: Vec<Value> = self.targets.iter().map(Target::to_json).collect();
        config.insert("targets".to_owned(), Value::Array(targets));
        if let Some(chap) = &self.discovery_chap {
            config.insert("discovery_chap".to_owned(), chap.to_json());
        }
        Imported {
            config: Value::Object(config),
            unmapped: self.notes.into_list(),
        }
    }
}

impl Target {
    fn to_json(&self) -> Value {
        let mut target = json!({ "name": self.name });
        if let Some(iqn) = &self.iqn {
            target["iqn"] = json!(iqn);
        }
        if let Some(guid) = self.srp_guid {
            target["srp_id_ext"] = json!(format!("{guid:016x}"));
            target["srp_ioc_guid"] = json!(format!("{guid:016x}"));
        }
        if let Some(chap) = &self.chap {
            target["chap"] = chap.to_json();
        }
        let portals = self.portals.iter().map(|portal| {
            json!({
                "transport": portal.transport.as_str(),
                "address": portal.address.to_string(),
                "port": portal.port,
            })
        });
        target["portals"] = portals.collect();
        target["groups"] = self.groups.iter().map(Group::to_json).collect();
        target
    }
}

impl Group {
    fn to_json(&self) -> Value {
        let mut group = json!({ "name": self.name });
        if self.default {
            group["default"] = json!(true);
        }
        if !self.default || !self.initiators.is_empty() {
            group["initiators"] = json!(self.initiators);
        }
        if let Some(chap) = &self.chap {
            group["chap"] = chap.to_json();
        }
        let luns: Map<String, Value> = self
            .luns
            .iter()
            .map(|(number, lun)| (number.to_string(), lun.to_json()))
            .collect();
        group["luns"] = Value::Object(luns);
        group
    }
}

impl Lun {
    fn to_json(&self) -> Value {
        if self.read_only {
            return json!({ "device": self.device, "read_only": true });
        }
        json!(self.device)
    }
}
