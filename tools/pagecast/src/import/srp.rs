//! What other targets call SRP initiators and ports, and what pagecast calls them.
//!
//! SCST names a session by the port GID that it comes from, or by the IP address with the RDMA/CM; LIO's ACLs have the port
//! identifier, the GID or the GUID. Here an initiator is its port identifier as `0x` and 32 digits, the GUID half of that as
//! 16 digits, or its IP address. The GUID is the second half of the GID that the initiator has at index 0.

use std::net::IpAddr;

/// The subnet prefix that GIDs have unless a subnet manager gave them another.
const DEFAULT_PREFIX: &str = "fe80000000000000";
/// Any GUID, and no port identifier and hardly any address.
const ANY_GUID: &str = "????????????????";

/// The patterns that stand for one of another target; none if there are no such.
pub(super) fn patterns(text: &str) -> Vec<String> {
    let (not, body) = match text.strip_prefix('!') {
        Some(body) => ("!", body),
        None => ("", text),
    };
    let body = body.to_ascii_lowercase();
    let found = if body.contains(['*', '?']) {
        wild(&body).into_iter().collect()
    } else {
        exact(&body)
    };
    found.iter().map(|name| format!("{not}{name}")).collect()
}

fn exact(body: &str) -> Vec<String> {
    // Before addresses: eight groups of two digits are one, too.
    if let Some(guid) = colon_guid(body) {
        return vec![guid];
    }
    if let Ok(address) = body.parse::<IpAddr>() {
        return match address.to_canonical() {
            IpAddr::V4(address) => vec![address.to_string()],
            // The same text is a GID and an address. With the default prefix it is a GID.
            IpAddr::V6(address) => {
                let digits = format!("{:032x}", u128::from(address));
                let mut names = half(&digits).into_iter().collect::<Vec<_>>();
                if !digits.starts_with(DEFAULT_PREFIX) {
                    names.push(address.to_string());
                }
                names
            }
        };
    }
    let digits = body
        .strip_prefix("0x")
        .or_else(|| body.strip_prefix("ib."))
        .unwrap_or(body);
    if !is_hex(digits) {
        return Vec::new();
    }
    match digits.len() {
        16 => vec![digits.to_owned()],
        32 if digits.starts_with(DEFAULT_PREFIX) => half(digits).into_iter().collect(),
        32 => vec![format!("0x{digits}")],
        _ => Vec::new(),
    }
}

fn wild(body: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_hexdigit() || matches!(c, '*' | '?');
    if body.chars().all(|c| c == '*') {
        return Some("*".to_owned());
    }
    if let Some(rest) = body.strip_prefix("0x") {
        return rest.chars().all(allowed).then(|| body.to_owned());
    }
    if body.chars().all(allowed) {
        return Some(body.to_owned());
    }
    let address = |c: char| c.is_ascii_digit() || matches!(c, '.' | '*' | '?');
    if body.contains('.') {
        return body.chars().all(address).then(|| body.to_owned());
    }
    if !body.chars().all(|c| allowed(c) || c == ':') {
        return None;
    }
    // A GID. Colons stand between groups of four digits, so that they can go when the prefix has gone as a whole.
    let prefix = "fe80:0000:0000:0000:";
    match body.strip_prefix(prefix) {
        Some("*") => Some(ANY_GUID.to_owned()),
        Some(rest) => Some(rest.replace(':', "")),
        None if body.starts_with('*') => Some(body.replace(':', "")),
        None => {
            let literal = body.strip_suffix('*')?;
            prefix.starts_with(literal).then(|| ANY_GUID.to_owned())
        }
    }
}

/// A GUID as groups of four or two digits, as 16 digits.
pub(super) fn colon_guid(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split(':').collect();
    let width = match groups.len() {
        4 => 4,
        8 => 2,
        _ => return None,
    };
    groups
        .iter()
        .all(|group| group.len() == width && is_hex(group))
        .then(|| groups.concat().to_ascii_lowercase())
}

/// The GUID of a GID, as 16 digits.
pub(super) fn gid_guid(text: &str) -> Option<String> {
    let digits = match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(gid)) => format!("{:032x}", u128::from(gid)),
        _ => {
            let lower = text.to_ascii_lowercase();
            let digits = lower
                .strip_prefix("ib.")
                .or_else(|| lower.strip_prefix("0x"))
                .unwrap_or(&lower);
            (digits.len() == 32 && is_hex(digits)).then(|| digits.to_owned())?
        }
    };
    half(&digits)
}

fn half(digits: &str) -> Option<String> {
    digits.get(16..).map(str::to_owned)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_targets() {
        let cases: [(&str, &[&str]); 25] = [
            (
                "fe80:0000:0000:0000:0002:c903:0005:f34b",
                &["0002c9030005f34b"],
            ),
            ("fe80::2:c903:5:f34b", &["0002c9030005f34b"]),
            (
                "!FE80:0000:0000:0000:0002:C903:0005:F34B",
                &["!0002c9030005f34b"],
            ),
            (
                "fec0:0000:0000:0001:0002:c903:0005:f34b",
                &["0002c9030005f34b", "fec0::1:2:c903:5:f34b"],
            ),
            ("0000:0000:0000:0000:0000:ffff:0a63:0002", &["10.99.0.2"]),
            ("10.99.0.2", &["10.99.0.2"]),
            ("10.99.0.*", &["10.99.0.*"]),
            (
                "0x00000000000000010002c9030005f34b",
                &["0x00000000000000010002c9030005f34b"],
            ),
            ("0xfe800000000000000002c9030005f34b", &["0002c9030005f34b"]),
            ("ib.fe800000000000000002c9030005f34b", &["0002c9030005f34b"]),
            ("0x0002c9030005f34b", &["0002c9030005f34b"]),
            ("0002c9030005f34b", &["0002c9030005f34b"]),
            ("0002:c903:0005:f34b", &["0002c9030005f34b"]),
            ("00:02:c9:03:00:05:f3:4b", &["0002c9030005f34b"]),
            ("*", &["*"]),
            ("!*", &["!*"]),
            ("fe80:0000:0000:0000:0002:c903:*", &["0002c903*"]),
            ("fe80:0000:0000:0000:*", &["????????????????"]),
            ("fe80:*", &["????????????????"]),
            ("*:0005:f34?", &["*0005f34?"]),
            ("0x0000000000000001*", &["0x0000000000000001*"]),
            ("ff02:*", &[]),
            ("iqn.2006-10.net.vlnb:ini", &[]),
            ("host1", &[]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(patterns(text), expected, "{text}");
        }
    }

    #[test]
    fn guids_of_targets() {
        assert_eq!(
            gid_guid("fe80:0000:0000:0000:0002:c903:0005:f34b").as_deref(),
            Some("0002c9030005f34b")
        );
        assert_eq!(
            gid_guid("ib.fe80000000000000001175000077dd7e").as_deref(),
            Some("001175000077dd7e")
        );
        assert_eq!(gid_guid("ib_srpt_target_0"), None);
        assert_eq!(
            colon_guid("0002:C903:0005:f34a").as_deref(),
            Some("0002c9030005f34a")
        );
        assert_eq!(colon_guid("0002:c903:0005"), None);
    }
}
