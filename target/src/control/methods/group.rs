//! `group` and `initiator`: who sees what.

use super::credentials::{CHAP, DHCHAP};
use super::{Answer, CHANGE_ERRORS, Method, Run, not_found, shape, to_value};
use crate::config::GroupConfig;
use crate::config::edit::Edit;
use crate::control::Management;
use crate::control::params::{Kind, Param, Params};
use crate::control::reports::{ChangeReport, GroupList, GroupReport};
use crate::control::rpc::Code;

const TARGET: Param = Param::required("target", Kind::String, "which target");
const GROUP: Param = Param::required("group", Kind::String, "which access group of the target");
const LUN: Param = Param::required(
    "lun",
    Kind::Integer(0, GroupConfig::LUN_MAX as u64),
    "the logical unit number; NVMe hosts see LUN n as namespace n + 1",
);
const PATTERN: Param = Param::required(
    "initiator",
    Kind::String,
    "a pattern of initiator names: `*` is any text, `?` any character, a leading `!` shuts out whom it matches",
);

pub(super) const INITIATORS: Param = Param::optional(
    "initiators",
    Kind::List(&Kind::String),
    "patterns of initiator names: `*` is any text, `?` any character, a leading `!` shuts out whom it matches",
);
pub(super) const LUNS: Param = Param::optional(
    "luns",
    Kind::Map(&Kind::Either(
        &Kind::String,
        &Kind::Object(&[
            Param::required("device", Kind::String, "which device"),
            Param::optional(
                "read_only",
                Kind::Boolean,
                "the group's initiators may not write (default: false)",
            ),
        ]),
    )),
    "what they see: the name of a device by LUN, or an object where there is more to say",
);

/// A change of one pattern's place.
const PATTERN_OF: &[Param] = &[TARGET, GROUP, PATTERN];

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "group.list",
        description: "access groups, in the order in which initiators are matched",
        params: &[Param::optional(
            "target",
            Kind::String,
            "of which target; of all if not given",
        )],
        result: shape::<GroupList>,
        errors: &[Code::NotFound],
        run: Run::Tell(list),
    },
    Method {
        name: "group.add",
        description: "one more access group",
        params: &[
            TARGET,
            Param::required(
                "name",
                Kind::String,
                "how it is called from now on; unique within the target",
            ),
            INITIATORS,
            LUNS,
            Param::optional(
                "before",
                Kind::String,
                "the group that it comes before; the last one if not given",
            ),
            Param::optional(
                "default",
                Kind::Boolean,
                "it admits whoever no other group admits; one per target",
            ),
            CHAP,
            DHCHAP,
        ],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            let keys = ["name", "default", "initiators", "chap", "dhchap", "luns"];
            Ok(Edit::AddGroup {
                target: params.owned("target"),
                group: params.object(&keys),
                before: params.optional_text("before"),
            })
        }),
    },
    Method {
        name: "group.remove",
        description: "an access group less; sessions go to the next one that admits them, or are closed",
        params: &[TARGET, Param::required("name", Kind::String, "which group")],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            Ok(Edit::RemoveGroup {
                target: params.owned("target"),
                name: params.owned("name"),
            })
        }),
    },
    Method {
        name: "group.map",
        description: "a device appears to the initiators of a group",
        params: &[
            TARGET,
            GROUP,
            LUN,
            Param::required("device", Kind::String, "which device"),
            Param::optional(
                "read_only",
                Kind::Boolean,
                "the group's initiators may not write (default: false)",
            ),
            Param::optional(
                "replace",
                Kind::Boolean,
                "also if the number is mapped: it is this from now on, in one step; to the same device with another `read_only` as well (default: false)",
            ),
        ],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            Ok(Edit::Map {
                target: params.owned("target"),
                group: params.owned("group"),
                lun: params.lun("lun"),
                device: params.owned("device"),
                read_only: params.flag("read_only"),
                replace: params.flag("replace"),
            })
        }),
    },
    Method {
        name: "group.unmap",
        description: "a LUN disappears from the initiators of a group; what is in flight is finished first",
        params: &[TARGET, GROUP, LUN],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            Ok(Edit::Unmap {
                target: params.owned("target"),
                group: params.owned("group"),
                lun: params.lun("lun"),
            })
        }),
    },
    Method {
        name: "initiator.add",
        description: "one more pattern of a group",
        params: PATTERN_OF,
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            Ok(Edit::AddInitiator {
                target: params.owned("target"),
                group: params.owned("group"),
                initiator: params.owned("initiator"),
            })
        }),
    },
    Method {
        name: "initiator.move",
        description: "a pattern moves to another group; what is mapped in both goes on without a pause",
        params: &[
            TARGET,
            PATTERN,
            Param::required("to", Kind::String, "the group that it goes to"),
            Param::optional(
                "from",
                Kind::String,
                "the group that it is in; needed only if several have it",
            ),
        ],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            Ok(Edit::MoveInitiator {
                target: params.owned("target"),
                initiator: params.owned("initiator"),
                from: params.optional_text("from"),
                to: params.owned("to"),
            })
        }),
    },
    Method {
        name: "initiator.remove",
        description: "a pattern less; sessions that no other group admits are closed",
        params: PATTERN_OF,
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            Ok(Edit::RemoveInitiator {
                target: params.owned("target"),
                group: params.owned("group"),
                initiator: params.owned("initiator"),
            })
        }),
    },
];

fn list(daemon: &dyn Management, params: &Params) -> Answer {
    let targets = daemon.targets();
    let wanted = params.has("target").then(|| params.text("target"));
    if let Some(name) = wanted
        && !targets.iter().any(|target| target.name == name)
    {
        let known: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        return Err(not_found("target", name, &known));
    }
    let sessions = daemon.sessions();
    let mut groups = Vec::new();
    for target in &targets {
        if wanted.is_some_and(|name| name != target.name) {
            continue;
        }
        for group in &target.groups {
            let name = group.name.to_string();
            let within = sessions
                .iter()
                .filter(|session| session.target == target.name && session.group == name);
            groups.push(GroupReport {
                target: target.name.clone(),
                sessions: within.count(),
                default: group.default,
                initiators: group.initiators.clone(),
                chap: (group.chap.as_ref().or(target.chap.as_ref())).map(|chap| chap.user.clone()),
                dhchap: group.dhchap.is_some() || target.dhchap.is_some(),
                luns: to_value(&group.luns)?,
                name,
            });
        }
    }
    to_value(&GroupList { groups })
}
