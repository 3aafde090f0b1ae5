//! `config`: the configuration in force, and its file.

use std::path::Path;

use super::{Answer, Method, Run, refusal, shape, to_value};
use crate::control::Management;
use crate::control::params::{Kind, Param, Params, invalid};
use crate::control::reports::{ChangeReport, ConfigReport, SaveReport};
use crate::control::rpc::Code;

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "config.show",
        description: "the configuration in force, without secrets",
        params: &[],
        result: shape::<ConfigReport>,
        errors: &[],
        run: Run::Tell(|daemon, _| to_value(&daemon.config())),
    },
    Method {
        name: "config.save",
        description: "writes the configuration, secrets included, to another file that only its owner may read",
        params: &[
            Param::required("file", Kind::String, "which file: an absolute path"),
            Param::optional("force", Kind::Boolean, "also if it is there already"),
        ],
        result: shape::<SaveReport>,
        errors: &[Code::Refused],
        run: Run::Do(save),
    },
    Method {
        name: "config.reload",
        description: "reads the configuration file again, and makes what has changed in it so",
        params: &[Param::optional(
            "force",
            Kind::Boolean,
            "also if devices that are mapped go, or are opened anew",
        )],
        result: shape::<ChangeReport>,
        errors: &[Code::NotFound, Code::Refused],
        run: Run::Do(|daemon, params| {
            let report = daemon.reload(params.flag("force"));
            to_value(&report.map_err(|error| refusal(&error))?)
        }),
    },
];

fn save(daemon: &dyn Management, params: &Params) -> Answer {
    let file = Path::new(params.text("file"));
    if !file.is_absolute() {
        let message = "the parameter \"file\" must be an absolute path: the daemon's directory is not the caller's";
        return Err(invalid(message));
    }
    let report = daemon.save_config(file, params.flag("force"));
    to_value(&report.map_err(|error| refusal(&error))?)
}
