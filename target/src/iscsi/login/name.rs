//! iSCSI names (RFC 7143 section 4.2.7), as peers give them.

/// Longest, in bytes.
const LONGEST: usize = 223;

/// The name in the lower case in which names compare (RFC 3722), if it is one. Of an iqn, only what could do harm elsewhere is refused:
/// initiators in the field have underscores in theirs.
pub(super) fn iscsi_name(given: &str) -> Option<String> {
    let name = given.to_ascii_lowercase();
    let hexadecimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let good = match name.split_once('.')? {
        ("iqn", rest) => {
            !rest.is_empty() && !rest.chars().any(|c| c.is_whitespace() || c.is_control())
        }
        ("eui", digits) => digits.len() == 16 && hexadecimal(digits),
        ("naa", digits) => matches!(digits.len(), 16 | 32) && hexadecimal(digits),
        _ => false,
    };
    (good && name.len() <= LONGEST).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_in_lower_case() {
        for (given, name) in [
            (
                "iqn.1993-08.org.debian:01:a1b2",
                "iqn.1993-08.org.debian:01:a1b2",
            ),
            (
                "IQN.1991-05.com.Microsoft:Win_Host",
                "iqn.1991-05.com.microsoft:win_host",
            ),
            ("eui.02004567A425678D", "eui.02004567a425678d"),
            ("naa.52004567BA64678D", "naa.52004567ba64678d"),
            (
                "naa.62004567BA64678D0123456789ABCDEF",
                "naa.62004567ba64678d0123456789abcdef",
            ),
        ] {
            assert_eq!(iscsi_name(given).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_is_no_name() {
        let long = format!("iqn.{}", "x".repeat(LONGEST - 3));
        assert!(iscsi_name(&long[1..]).is_none() && iscsi_name(&long[..LONGEST]).is_some());
        for given in [
            "",
            "iqn",
            "iqn.",
            "host",
            "iqn.a b",
            "iqn.a\nb",
            "iqn.a\u{a0}b",
            "eui.02004567A425678",
            "eui.02004567A425678G",
            "naa.02004567A425678D0",
            "nqn.2014-08.org",
            &long,
        ] {
            assert_eq!(iscsi_name(given), None, "{given:?}");
        }
    }
}
