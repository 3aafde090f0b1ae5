//! `device`: what is served.

use super::{Answer, CHANGE_ERRORS, Method, Run, no_device, one, shape, to_value};
use crate::config::edit::Edit;
use crate::control::Management;
use crate::control::params::{Kind, Param, Params};
use crate::control::reports::{ChangeReport, DeviceList, DeviceReport, ResizeReport};
use crate::control::rpc::{Code, RpcError};
use crate::device::resize::ResizeError;

const NAME: Param = Param::required("name", Kind::String, "which one");

/// The keys of a device in the configuration.
const DEVICE: &[Param] = &[
    Param::required(
        "name",
        Kind::String,
        "how it is called from now on; unique among devices",
    ),
    Param::required(
        "backend",
        Kind::Word(&["file", "block", "memory"]),
        "what keeps its bytes",
    ),
    Param::optional(
        "path",
        Kind::String,
        "where the file or the block device is: an absolute path",
    ),
    Param::optional("size", Kind::Size, "bytes of a memory device"),
    Param::optional(
        "block_size",
        Kind::Integer(512, 4096),
        "bytes of a logical block: 512 (default) or 4096",
    ),
    Param::optional(
        "read_only",
        Kind::Boolean,
        "writes are refused (default: false)",
    ),
    Param::optional(
        "write_cache",
        Kind::Boolean,
        "a volatile write cache is reported (default: true)",
    ),
    Param::optional(
        "zero_copy",
        Kind::Word(&["auto", "pinned", "odp", "off"]),
        "how copies are avoided (default: \"auto\")",
    ),
    Param::optional(
        "command_timeout",
        Kind::Duration,
        "how long initiators wait for a command (default: 30 s)",
    ),
    Param::optional(
        "queue_depth_max",
        Kind::Integer(1, 4096),
        "commands in flight, at most (default: 256)",
    ),
    Param::optional(
        "reservations",
        Kind::Boolean,
        "initiators may reserve it (default: true)",
    ),
    Param::optional(
        "max_registrants",
        Kind::Integer(1, 65536),
        "registrants of persistent reservations, at most (default: 4096)",
    ),
    Param::optional(
        "serial",
        Kind::String,
        "unit serial number; made from the name if not given",
    ),
    Param::optional(
        "naa",
        Kind::String,
        "NAA designator, 16 or 32 hex digits; made from the name if not given",
    ),
    Param::optional(
        "uuid",
        Kind::String,
        "UUID; made from the name if not given",
    ),
];

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "device.list",
        description: "all devices",
        params: &[],
        result: shape::<DeviceList>,
        errors: &[],
        run: Run::Tell(|daemon, _| {
            to_value(&DeviceList {
                devices: daemon.devices(),
            })
        }),
    },
    Method {
        name: "device.show",
        description: "one device: size, zero-copy mode, queue depth, counters",
        params: &[NAME],
        result: shape::<DeviceReport>,
        errors: &[Code::NotFound],
        run: Run::Tell(|daemon, params| one("device", daemon.devices(), |d| &d.name, params)),
    },
    Method {
        name: "device.add",
        description: "one more device, with the keys that a device has in the configuration",
        params: DEVICE,
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Add(Edit::AddDevice),
    },
    Method {
        name: "device.resize",
        description: "gives a device, and its store, another size while it is served",
        params: &[
            NAME,
            Param::optional(
                "size",
                Kind::Size,
                "what its store is to have first, in bytes or with a unit; what it has by now if not given",
            ),
            Param::optional("force", Kind::Boolean, "also if data are lost by it"),
        ],
        result: shape::<ResizeReport>,
        errors: &[Code::NotFound, Code::Refused, Code::Incomplete],
        run: Run::Do(resize),
    },
    Method {
        name: "device.remove",
        description: "a device less; its store stays as it is",
        params: &[
            NAME,
            Param::optional(
                "force",
                Kind::Boolean,
                "also if it is mapped: it goes from the LUN maps as well, and what is in flight is finished first",
            ),
        ],
        result: shape::<ChangeReport>,
        errors: CHANGE_ERRORS,
        run: Run::Edit(|_, params| {
            Ok(Edit::RemoveDevice {
                name: params.owned("name"),
                force: params.flag("force"),
            })
        }),
    },
];

fn resize(daemon: &dyn Management, params: &Params) -> Answer {
    let name = params.text("name");
    match daemon.resize(name, params.size("size"), params.flag("force")) {
        Ok(report) => to_value(&report),
        Err(ResizeError::NoDevice) => Err(no_device(daemon, name)),
        Err(error) => {
            let message = format!("device {name}: {error}");
            let code = match error {
                ResizeError::NotKept(_) => Code::Incomplete,
                _ => Code::Refused,
            };
            Err(RpcError::new(code, message))
        }
    }
}
