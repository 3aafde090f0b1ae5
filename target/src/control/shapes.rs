//! Parts of reports that are parts of the configuration as well, as the schema describes them.
//!
//! Nothing makes these: the configuration's own types are what is serialised, and tests compare them with these.
#![expect(dead_code, reason = "described, and never made")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// What iSCSI and iSER initiators prove themselves with. Secrets are not shown.
#[derive(Serialize, JsonSchema)]
pub(super) struct Chap {
    /// The name that the initiator gives.
    user: String,
    /// Always `(set)`.
    secret: String,
    /// The name that we give.
    #[serde(skip_serializing_if = "Option::is_none")]
    mutual_user: Option<String>,
    /// Always `(set)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mutual_secret: Option<String>,
}

/// What NVMe hosts prove themselves with. Keys are not shown.
#[derive(Serialize, JsonSchema)]
pub(super) struct Dhchap {
    /// Always `(set)`.
    key: String,
    /// Always `(set)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    controller_key: Option<String>,
    /// Hash functions that may be used.
    hashes: Vec<String>,
    /// Diffie-Hellman groups that may be used.
    groups: Vec<String>,
}

/// An access group, as in the configuration.
#[derive(Serialize, JsonSchema)]
pub(super) struct Group {
    /// Unique within the target.
    name: String,
    /// Patterns of initiator names.
    initiators: Vec<String>,
    /// It admits whoever no other group admits.
    #[serde(skip_serializing_if = "is_false")]
    default: bool,
    /// What its iSCSI and iSER initiators prove themselves with instead of what the target says.
    #[serde(skip_serializing_if = "Option::is_none")]
    chap: Option<Chap>,
    /// The same for NVMe hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    dhchap: Option<Dhchap>,
    /// What its initiators see, by LUN.
    luns: BTreeMap<String, Lun>,
}

/// What a LUN is.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Lun {
    /// The device's name.
    Name(String),
    /// Where there is more to say.
    Object {
        /// The device's name.
        device: String,
        /// The group's initiators may not write.
        read_only: bool,
    },
}

/// Where a target listens.
#[derive(Serialize, JsonSchema)]
pub(super) struct Portal {
    /// `srp`, `iser`, `nvme-rdma` or `iscsi-tcp`.
    transport: String,
    /// An IP address, unless there is a service id.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The port, unless there is a service id.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// 16 hex digits, of SRP over the native InfiniBand connection manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_id: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !*value
}
