//! `target` and `portal`: what initiators log in to, and where.

use super::credentials::{CHAP, DHCHAP};
use super::group::{INITIATORS, LUNS};
use super::{CHANGE_ERRORS, Method, Run, one, shape, to_value};
use crate::config::edit::Edit;
use crate::control::Management;
use crate::control::params::{Kind, Param, Params};
use crate::control::reports::{ChangeReport, TargetList, TargetReport};
use crate::control::rpc::{Code, RpcError};

const NAME: Param = Param::required("name", Kind::String, "which one");

const TRANSPORT: Param = Param::required(
    "transport",
    Kind::Word(&["srp", "iser", "nvme-rdma", "iscsi-tcp"]),
    "what is spoken there",
);
const ADDRESS: Param = Param::optional(
    "address",
    Kind::String,
    "an IP address; \"0.0.0.0\" and \"::\" are all of them; needed unless there is a service_id",
);
const PORT: Param = Param::optional(
    "port",
    Kind::Integer(1, 65535),
    "the usual one of the transport if not given",
);
const SERVICE_ID: Param = Param::optional(
    "service_id",
    Kind::String,
    "instead of address and port, for SRP over the native InfiniBand connection manager: 16 hex digits",
);

/// The keys of a portal in the configuration.
const PORTAL: &[Param] = &[TRANSPORT, ADDRESS, PORT, SERVICE_ID];
const PORTAL_KEYS: [&str; 4] = ["transport", "address", "port", "service_id"];

/// The keys of a group in the configuration.
const GROUP: &[Param] = &[
    Param::required("name", Kind::String, "unique within the target"),
    INITIATORS,
    LUNS,
    Param::optional(
        "default",
        Kind::Boolean,
        "it admits whoever no other group admits; one per target",
    ),
    CHAP,
    DHCHAP,
];

/// The keys of a target in the configuration.
const TARGET: &[Param] = &[
    Param::required(
        "name",
        Kind::String,
        "how it is called from now on; unique among targets",
    ),
    Param::optional(
        "portals",
        Kind::List(&Kind::Object(PORTAL)),
        "where it listens",
    ),
    Param::optional(
        "groups",
        Kind::List(&Kind::Object(GROUP)),
        "its access groups, in the order in which initiators are matched",
    ),
    Param::optional(
        "iqn",
        Kind::String,
        "iSCSI name; made from the name if not given",
    ),
    Param::optional(
        "nqn",
        Kind::String,
        "NVMe qualified name; made from the name if not given",
    ),
    Param::optional(
        "srp_id_ext",
        Kind::String,
        "first half of the SRP target port identifier, 16 hex digits; made from the name if not given",
    ),
    Param::optional(
        "srp_ioc_guid",
        Kind::String,
        "second half of the SRP target port identifier, 16 hex digits; made from the name if not given",
    ),
    CHAP,
    DHCHAP,
];

/// Where a portal is added or removed.
const PORTAL_OF: &[Param] = &[
    Param::required("target", Kind::String, "which target"),
    TRANSPORT,
    ADDRESS,
    PORT,
    SERVICE_ID,
];

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "target.list",
        description: "all targets",
        params: &[],
        result: shape::<TargetList>,
        errors: &[],
        run: Run::Tell(|daemon, _| {
            to_value(&TargetList {
                targets: daemon.targets(),
            })
        }),
    },
    Method {
        name: "target.show",
        description: "one target: names, portals, groups, and what to type on an initiator",
        params: &[NAME],
        result: shape::<TargetReport>,
        errors: &[Code::NotFound],
        run: Run::Tell(|daemon, params| one("target", daemon.targets(), |t| &t.name, params)),
    },
    Method {
        name: "target.add",
        description: "one more target, with the keys that a target has in the configuration",
        params: TARGET,
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Add(Edit::AddTarget),
    },
    Method {
        name: "target.remove",
        description: "a target less; who logs in to it while it is being removed is logged out with it",
        params: &[
            NAME,
            Param::optional(
                "force",
                Kind::Boolean,
                "also if initiators are logged in: their sessions are closed",
            ),
        ],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(remove),
    },
    Method {
        name: "portal.add",
        description: "one more place where a target listens",
        params: PORTAL_OF,
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            Ok(Edit::AddPortal {
                target: params.owned("target"),
                portal: params.object(&PORTAL_KEYS),
            })
        }),
    },
    Method {
        name: "portal.remove",
        description: "a target does not listen there any more; who is logged in through it stays",
        params: PORTAL_OF,
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            Ok(Edit::RemovePortal {
                target: params.owned("target"),
                portal: params.object(&PORTAL_KEYS),
            })
        }),
    },
];

fn remove(daemon: &dyn Management, params: Params) -> Result<Edit, RpcError> {
    let name = params.owned("name");
    if !params.flag("force") {
        let sessions = daemon.sessions();
        let sessions = sessions.iter().filter(|session| session.target == name);
        let are = match sessions.count() {
            0 => return Ok(Edit::RemoveTarget { name }),
            1 => "1 session is".to_owned(),
            many => format!("{many} sessions are"),
        };
        let message = format!(
            "target {name}: {are} logged in, and would be closed; log them out first, or say so (\"force\", --force)"
        );
        return Err(RpcError::new(Code::Refused, message));
    }
    Ok(Edit::RemoveTarget { name })
}
