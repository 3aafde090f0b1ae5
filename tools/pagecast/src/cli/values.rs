//! Values of one word that stand for several parameters. What they say is for the daemon to judge.

use serde_json::{Map, Value, json};

use super::UsageError;

/// The transports of a target for which no portal is given.
const EVERY_TRANSPORT: [&str; 4] = ["srp", "iser", "nvme-rdma", "iscsi-tcp"];
/// All addresses of the machine, IPv4 as well.
const ANYWHERE: &str = "::";

/// `TRANSPORT[:ADDRESS[:PORT]]` or `srp:service_id=ID`, with the keys of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Portal(Value);

impl Portal {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (transport, place) = match text.split_once(':') {
            Some((transport, place)) => (transport, Some(place)),
            None => (text, None),
        };
        if transport.is_empty() {
            return Err(format!(
                "the transport is missing; begin with one, such as {}",
                EVERY_TRANSPORT
                    .map(|name| format!("{name}{text}"))
                    .join(", ")
            ));
        }
        let portal = match place {
            None => json!({ "transport": transport, "address": ANYWHERE }),
            Some(place) => match place.strip_prefix("service_id=") {
                Some(id) => json!({ "transport": transport, "service_id": id }),
                None => endpoint(transport, place)?,
            },
        };
        Ok(Self(portal))
    }

    /// Every transport, on every address, on its usual port.
    pub(crate) fn every() -> Vec<Self> {
        EVERY_TRANSPORT
            .map(|transport| Self(json!({ "transport": transport, "address": ANYWHERE })))
            .to_vec()
    }

    pub(crate) fn into_value(self) -> Value {
        self.0
    }
}

fn endpoint(transport: &str, place: &str) -> Result<Value, String> {
    let (address, port) = match place.strip_prefix('[') {
        Some(bracketed) => {
            let Some((address, rest)) = bracketed.split_once(']') else {
                return Err("the bracket that closes the IPv6 address is missing; \
                     write it as [2001:db8::1] or [2001:db8::1]:3260"
                    .to_owned());
            };
            match rest.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None if rest.is_empty() => (address, None),
                None => {
                    return Err(format!(
                        "after the bracket comes :PORT or nothing, not {rest:?}"
                    ));
                }
            }
        }
        None => match place.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(format!(
                    "an IPv6 address goes in brackets, as in {transport}:[2001:db8::1] or {transport}:[2001:db8::1]:3260"
                ));
            }
            Some((address, port)) => (address, Some(port)),
            None => (place, None),
        },
    };
    if address.is_empty() {
        return Err(format!(
            "the address is missing; {transport}:[::] is every address of the machine"
        ));
    }
    let mut portal = json!({ "transport": transport, "address": address });
    if let Some(port) = port {
        let port: u16 = port.parse().map_err(|_| {
            format!(
                "the port {port:?} is not a number from 1 to 65535; leave it out for the usual one"
            )
        })?;
        portal["port"] = json!(port);
    }
    Ok(portal)
}

/// `LUN=DEVICE[:ro]`, an entry of a LUN map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lun {
    number: u64,
    device: Value,
}

impl Lun {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some((number, device)) = text.split_once('=') else {
            return Err(
                "write it as LUN=DEVICE, such as 0=disk0, or 0=disk0:ro for reading only"
                    .to_owned(),
            );
        };
        let number = lun_number(number)?;
        let (name, read_only) = match device.split_once(':') {
            None => (device, false),
            Some((name, "ro")) => (name, true),
            Some((_, other)) => {
                return Err(format!(
                    "after the device comes :ro or nothing, not {:?}",
                    format!(":{other}")
                ));
            }
        };
        if name.is_empty() {
            return Err(format!(
                "the device is missing; write it as {number}=DEVICE"
            ));
        }
        let device = if read_only {
            json!({ "device": name, "read_only": true })
        } else {
            json!(name)
        };
        Ok(Self { number, device })
    }
}

/// A LUN in plain decimal.
pub(crate) fn lun_number(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| format!("the LUN {text:?} is not a number; the first one is 0"))
}

/// The object `luns` of a group.
pub(crate) fn lun_map(luns: &[Lun]) -> Result<Value, UsageError> {
    let mut map = Map::new();
    for lun in luns {
        let before = map.insert(lun.number.to_string(), lun.device.clone());
        if before.is_some() {
            return Err(UsageError(format!(
                "--lun {}=... is there twice; a LUN is one device",
                lun.number
            )));
        }
    }
    Ok(Value::Object(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portals() {
        for (text, expected) in [
            ("srp", json!({ "transport": "srp", "address": "::" })),
            (
                "iser:10.0.0.1",
                json!({ "transport": "iser", "address": "10.0.0.1" }),
            ),
            (
                "iser:10.0.0.1:3261",
                json!({ "transport": "iser", "address": "10.0.0.1", "port": 3261 }),
            ),
            (
                "iser:[::1]:3260",
                json!({ "transport": "iser", "address": "::1", "port": 3260 }),
            ),
            (
                "nvme-rdma:[2001:db8::1]",
                json!({ "transport": "nvme-rdma", "address": "2001:db8::1" }),
            ),
            (
                "srp:service_id=00000000010615b3",
                json!({ "transport": "srp", "service_id": "00000000010615b3" }),
            ),
            // For the daemon to refuse: it knows what there is.
            (
                "fc:somewhere:0",
                json!({ "transport": "fc", "address": "somewhere", "port": 0 }),
            ),
        ] {
            assert_eq!(Portal::parse(text), Ok(Portal(expected)), "{text}");
        }
        for (text, expected) in [
            (
                "",
                "the transport is missing; begin with one, such as srp, iser, ",
            ),
            (
                ":10.0.0.1",
                "the transport is missing; begin with one, such as srp:10.0.0.1,",
            ),
            (
                "iser:",
                "the address is missing; iser:[::] is every address",
            ),
            ("iser::3260", "the address is missing"),
            ("iser:[]:3260", "the address is missing"),
            (
                "iser:::1",
                "an IPv6 address goes in brackets, as in iser:[2001:db8::1]",
            ),
            ("iser:fe80::1:3260", "an IPv6 address goes in brackets"),
            (
                "iser:[::1",
                "the bracket that closes the IPv6 address is missing",
            ),
            (
                "iser:[::1]3260",
                "after the bracket comes :PORT or nothing, not \"3260\"",
            ),
            ("iser:10.0.0.1:", "the port \"\" is not a number"),
            (
                "iser:10.0.0.1:65536",
                "the port \"65536\" is not a number from 1 to 65535",
            ),
            ("iser:[::1]:x", "the port \"x\" is not a number"),
        ] {
            let error = Portal::parse(text).expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let every: Vec<Value> = Portal::every()
            .into_iter()
            .map(Portal::into_value)
            .collect();
        assert_eq!(every.len(), 4);
        assert_eq!(
            every[2],
            json!({ "transport": "nvme-rdma", "address": "::" })
        );
    }

    #[test]
    fn luns() {
        let parsed: Vec<Lun> = ["0=disk0", "16383=ram0:ro", "007=x"]
            .iter()
            .map(|text| Lun::parse(text).expect(text))
            .collect();
        assert_eq!(
            lun_map(&parsed).expect("a map"),
            json!({ "0": "disk0", "16383": { "device": "ram0", "read_only": true }, "7": "x" })
        );
        for (text, expected) in [
            ("0", "write it as LUN=DEVICE, such as 0=disk0"),
            ("=disk0", "the LUN \"\" is not a number"),
            ("+1=disk0", "the LUN \"+1\" is not a number"),
            (
                "x=disk0",
                "the LUN \"x\" is not a number; the first one is 0",
            ),
            (
                "99999999999999999999=disk0",
                "the LUN \"99999999999999999999\" is not",
            ),
            ("3=", "the device is missing; write it as 3=DEVICE"),
            ("3=:ro", "the device is missing"),
            (
                "3=disk0:rw",
                "after the device comes :ro or nothing, not \":rw\"",
            ),
            (
                "3=disk0:",
                "after the device comes :ro or nothing, not \":\"",
            ),
        ] {
            let error = Lun::parse(text).expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let twice = [
            Lun::parse("1=a").expect("one"),
            Lun::parse("01=b").expect("the same"),
        ];
        let UsageError(error) = lun_map(&twice).expect_err("twice");
        assert_eq!(error, "--lun 1=... is there twice; a LUN is one device");
    }
}
