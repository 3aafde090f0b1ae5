//! `chap` and `dhchap`: what initiators prove themselves with. Values of these parameters are never logged.

use super::{CHANGE_ERRORS, Method, Run, shape};
use crate::config::edit::{Edit, Scheme};
use crate::control::params::{Kind, Param, Params};
use crate::control::reports::ChangeReport;

const TARGET: Param = Param::required("target", Kind::String, "which target");
const GROUP: Param = Param::optional(
    "group",
    Kind::String,
    "which access group of it; if not given, all those that have nothing of their own",
);

const USER: Param = Param::required("user", Kind::String, "the name that the initiator gives");
const SECRET: Param = Param::required("secret", Kind::String, "what it proves to know");
const MUTUAL_USER: Param = Param::optional("mutual_user", Kind::String, "the name that we give");
const MUTUAL_SECRET: Param =
    Param::optional("mutual_secret", Kind::String, "what we prove to know");

/// Those of a target or a group in the configuration.
pub(super) const CHAP: Param = Param::optional(
    "chap",
    Kind::Object(&[USER, SECRET, MUTUAL_USER, MUTUAL_SECRET]),
    "what iSCSI and iSER initiators prove themselves with",
);

const KEY: Param = Param::required(
    "key",
    Kind::String,
    "what the host proves to know, as `nvme gen-dhchap-key` prints it",
);
const CONTROLLER_KEY: Param = Param::optional(
    "controller_key",
    Kind::String,
    "what we prove to know, in the same form",
);
const HASHES: Param = Param::optional(
    "hashes",
    Kind::List(&Kind::Word(&["sha256", "sha384", "sha512"])),
    "hash functions that may be used (default: all)",
);
const GROUPS: Param = Param::optional(
    "groups",
    Kind::List(&Kind::Word(&[
        "null",
        "ffdhe2048",
        "ffdhe3072",
        "ffdhe4096",
        "ffdhe6144",
        "ffdhe8192",
    ])),
    "Diffie-Hellman groups that may be used (default: all)",
);

/// Those of a target or a group in the configuration.
pub(super) const DHCHAP: Param = Param::optional(
    "dhchap",
    Kind::Object(&[KEY, CONTROLLER_KEY, HASHES, GROUPS]),
    "what NVMe hosts prove themselves with",
);

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "chap.set",
        description: "what iSCSI and iSER initiators of a group, or a target, prove themselves with from now on; those that have proved nothing are closed",
        params: &[TARGET, GROUP, USER, SECRET, MUTUAL_USER, MUTUAL_SECRET],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            let keys = [USER, SECRET, MUTUAL_USER, MUTUAL_SECRET].map(|param| param.name);
            Ok(set(&params, Scheme::Chap, &keys))
        }),
    },
    Method {
        name: "chap.remove",
        description: "initiators over iSCSI and iSER need not prove anything any more; those of a group what its target asks for, if anything",
        params: &[TARGET, GROUP],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| Ok(remove(&params, Scheme::Chap))),
    },
    Method {
        name: "dhchap.set",
        description: "what NVMe hosts of a group, or a target, prove themselves with from now on; those that have proved nothing are closed",
        params: &[TARGET, GROUP, KEY, CONTROLLER_KEY, HASHES, GROUPS],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            let keys = [KEY, CONTROLLER_KEY, HASHES, GROUPS].map(|param| param.name);
            Ok(set(&params, Scheme::Dhchap, &keys))
        }),
    },
    Method {
        name: "dhchap.remove",
        description: "NVMe hosts of a target prove nothing any more; those of a group what its target asks for, if anything",
        params: &[TARGET, GROUP],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| Ok(remove(&params, Scheme::Dhchap))),
    },
];

fn set(params: &Params, scheme: Scheme, keys: &[&str]) -> Edit {
    Edit::SetCredentials {
        target: params.owned("target"),
        group: params.optional_text("group"),
        scheme,
        credentials: params.object(keys),
    }
}

fn remove(params: &Params, scheme: Scheme) -> Edit {
    Edit::RemoveCredentials {
        target: params.owned("target"),
        group: params.optional_text("group"),
        scheme,
    }
}
