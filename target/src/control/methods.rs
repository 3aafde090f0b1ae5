//! The methods that there are: one row each.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::rpc::{Code, RpcError};
use super::{ClearError, Management};
use crate::config::ByteSize;
use crate::config::nearest::suggestion;
use crate::device::resize::ResizeError;

/// One method.
#[derive(Serialize)]
pub(super) struct Method {
    /// `noun.verb`.
    pub(super) name: &'static str,
    description: &'static str,
    pub(super) params: &'static [Param],
    #[serde(skip)]
    run: fn(&dyn Management, &Params) -> Result<Value, RpcError>,
}

/// One parameter.
#[derive(Serialize)]
pub(super) struct Param {
    pub(super) name: &'static str,
    #[serde(rename = "type")]
    kind: Kind,
    required: bool,
    description: &'static str,
}

/// What a parameter may be. One that is not required may also be `null`, which is as if it were not there.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    String,
    Boolean,
    /// A number of bytes, or a string such as `"512MiB"`.
    Size,
}

impl Kind {
    fn takes(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::Size => size(value).is_some(),
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Boolean => "true or false",
            Self::Size => "a number of bytes, or a size such as \"10GiB\"",
        }
    }
}

const ONE: Param = Param {
    name: "name",
    kind: Kind::String,
    required: true,
    description: "which one",
};
const NAME: &[Param] = &[ONE];
const RESIZE: &[Param] = &[
    ONE,
    Param {
        name: "size",
        kind: Kind::Size,
        required: false,
        description: "what its store is to have first, in bytes or with a unit; what it has by now if not given",
    },
    Param {
        name: "force",
        kind: Kind::Boolean,
        required: false,
        description: "also if data are lost by it",
    },
];

const NAME_OR_ALL: &[Param] = &[Param {
    name: "name",
    kind: Kind::String,
    required: false,
    description: "which device; all if not given",
}];
const CLEAR: &[Param] = &[
    ONE,
    Param {
        name: "force",
        kind: Kind::Boolean,
        required: false,
        description: "also if somebody who is registered is logged in",
    },
];

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "status",
        description: "the daemon at a glance",
        params: &[],
        run: |daemon, _| to_value(&daemon.status()),
    },
    Method {
        name: "device.list",
        description: "all devices",
        params: &[],
        run: |daemon, _| Ok(json!({ "devices": to_value(&daemon.devices())? })),
    },
    Method {
        name: "device.show",
        description: "one device: size, zero-copy mode, queue depth, counters",
        params: NAME,
        run: |daemon, params| one("device", daemon.devices(), |d| &d.name, params),
    },
    Method {
        name: "device.resize",
        description: "gives a device, and its store, another size while it is served",
        params: RESIZE,
        run: resize,
    },
    Method {
        name: "reservation.show",
        description: "reservations: type, holders, registrants with their keys",
        params: NAME_OR_ALL,
        run: reservations,
    },
    Method {
        name: "reservation.clear",
        description: "ends the reservation and all registrations of a device",
        params: CLEAR,
        run: clear,
    },
    Method {
        name: "target.list",
        description: "all targets",
        params: &[],
        run: |daemon, _| Ok(json!({ "targets": to_value(&daemon.targets())? })),
    },
    Method {
        name: "target.show",
        description: "one target: names, portals, groups, and what to type on an initiator",
        params: NAME,
        run: |daemon, params| one("target", daemon.targets(), |t| &t.name, params),
    },
    Method {
        name: "session.list",
        description: "who is logged in",
        params: &[],
        run: |daemon, _| Ok(json!({ "sessions": to_value(&daemon.sessions())? })),
    },
    Method {
        name: "stats",
        description: "what the process as a whole uses and has done",
        params: &[],
        run: |daemon, _| to_value(&daemon.stats()),
    },
    Method {
        name: "rpc.schema",
        description: "the methods that there are, with their parameters",
        params: &[],
        run: |_, _| Ok(json!({ "methods": to_value(METHODS)? })),
    },
];

/// Finds a method and runs it.
pub(super) fn call(
    daemon: &dyn Management,
    name: &str,
    params: Option<Value>,
) -> Result<Value, RpcError> {
    let Some(method) = METHODS.iter().find(|method| method.name == name) else {
        let known: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
        let message = format!("no method {}; {}", shorten(name), suggestion(name, &known));
        return Err(RpcError::new(Code::MethodNotFound, message));
    };
    (method.run)(daemon, &Params::new(method, params)?)
}

/// Parameters of one call, by name. All of them are known, and all that are required are there.
struct Params(Map<String, Value>);

impl Params {
    fn new(method: &Method, params: Option<Value>) -> Result<Self, RpcError> {
        let invalid = |message| RpcError::new(Code::InvalidParams, message);
        let known: Vec<&str> = method.params.iter().map(|param| param.name).collect();
        let values = match params {
            None => Map::new(),
            Some(Value::Object(values)) => values,
            // By position.
            Some(Value::Array(values)) if values.len() <= known.len() => known
                .iter()
                .map(|&name| name.to_owned())
                .zip(values)
                .collect(),
            Some(Value::Array(values)) => {
                let (most, got) = (known.len(), values.len());
                let message = format!("{} takes {most} parameters, not {got}", method.name);
                return Err(invalid(message));
            }
            Some(_) => return Err(invalid("params is neither an object nor a list".to_owned())),
        };
        if let Some(name) = values.keys().find(|name| !known.contains(&name.as_str())) {
            let hint = if known.is_empty() {
                "it takes none".to_owned()
            } else {
                suggestion(name, &known)
            };
            let message = format!("{} has no parameter {}; {hint}", method.name, shorten(name));
            return Err(invalid(message));
        }
        for param in method.params {
            match values.get(param.name) {
                Some(Value::Null) if !param.required => {}
                Some(value) if param.kind.takes(value) => {}
                Some(_) => {
                    let wanted = param.kind.wanted();
                    let message = format!("the parameter {:?} must be {wanted}", param.name);
                    return Err(invalid(message));
                }
                None if param.required => {
                    let message = format!("{} needs the parameter {:?}", method.name, param.name);
                    return Err(invalid(message));
                }
                None => {}
            }
        }
        Ok(Self(values))
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    fn size(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(size)
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
}

fn size(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => ByteSize::parse(text).map(ByteSize::bytes),
        number => number.as_u64(),
    }
}

fn resize(daemon: &dyn Management, params: &Params) -> Result<Value, RpcError> {
    let name = params.text("name");
    match daemon.resize(name, params.size("size"), params.flag("force")) {
        Ok(report) => to_value(&report),
        Err(ResizeError::NoDevice) => Err(no_device(daemon, name)),
        Err(error) => {
            let message = format!("device {name}: {error}");
            Err(RpcError::new(Code::Refused, message))
        }
    }
}

/// Those of one device are a list as well.
fn reservations(daemon: &dyn Management, params: &Params) -> Result<Value, RpcError> {
    let all = daemon.reservations();
    let list = if params.has("name") {
        vec![one("device", all, |report| &report.name, params)?]
    } else {
        all.iter().map(to_value).collect::<Result<_, _>>()?
    };
    Ok(json!({ "reservations": list }))
}

fn clear(daemon: &dyn Management, params: &Params) -> Result<Value, RpcError> {
    let name = params.text("name");
    match daemon.clear_reservations(name, params.flag("force")) {
        Ok(report) => to_value(&report),
        Err(ClearError::NoDevice) => Err(no_device(daemon, name)),
        Err(error) => {
            let message = format!("device {name}: {error}");
            Err(RpcError::new(Code::Refused, message))
        }
    }
}

fn no_device(daemon: &dyn Management, name: &str) -> RpcError {
    let devices = daemon.devices();
    let known = devices.iter().map(|device| device.name.as_str());
    not_found("device", name, &known.collect::<Vec<_>>())
}

/// The report with the name in the parameters.
fn one<T: Serialize>(
    kind: &str,
    reports: Vec<T>,
    name_of: fn(&T) -> &String,
    params: &Params,
) -> Result<Value, RpcError> {
    let name = params.text("name");
    if let Some(report) = reports.iter().find(|report| name_of(report) == name) {
        return to_value(report);
    }
    let known: Vec<&str> = reports
        .iter()
        .map(|report| name_of(report).as_str())
        .collect();
    Err(not_found(kind, name, &known))
}

fn not_found(kind: &str, name: &str, known: &[&str]) -> RpcError {
    let message = format!(
        "there is no {kind} {}; {}",
        shorten(name),
        suggestion(name, known)
    );
    RpcError::new(Code::NotFound, message)
}

fn to_value<T: Serialize + ?Sized>(report: &T) -> Result<Value, RpcError> {
    serde_json::to_value(report).map_err(|error| RpcError::new(Code::Internal, error.to_string()))
}

/// In quotes, and not longer than a message should be.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
