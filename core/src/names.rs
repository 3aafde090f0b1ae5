//! Names that an initiator goes by, as [`access`](crate::access) patterns and TransportIDs have them.

use core::net::IpAddr;

/// The names of an SRP initiator: its 16-byte port identifier as `0x` and 32 hexadecimal digits, the GUID half of that as
/// 16 digits, and its IP address if it has one.
///
/// The GUID is the second half: that is how SRP revision 16a lays out the identifier (SRP r16a annex B).
pub fn srp_initiator(port_identifier: [u8; 16], address: Option<IpAddr>) -> Vec<String> {
    let identifier = u128::from_be_bytes(port_identifier);
    let guid = identifier as u64;
    let mut names = vec![format!("0x{identifier:032x}"), format!("{guid:016x}")];
    names.extend(address.map(|address| address.to_canonical().to_string()));
    names
}

/// Longest iSCSI name, in bytes (RFC 7143 section 4.2.7.1).
const LONGEST_ISCSI: usize = 223;

/// An iSCSI name (RFC 7143 section 4.2.7) as a peer gives it, in the lower case in which names compare (RFC 3722), if it is one. Of an iqn, only what could do harm elsewhere is refused:
/// initiators in the field have underscores in theirs.
pub fn iscsi_name(given: &str) -> Option<String> {
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
    (good && name.len() <= LONGEST_ISCSI).then_some(name)
}

/// What is between name and ISID in the name of an iSCSI initiator port.
pub(crate) const ISCSI_PORT_SEPARATOR: &str = ",i,0x";

/// The name of an iSCSI initiator port (SPC-4 section 7.6.4.6): its node's, and the initiator session identifier.
pub fn iscsi_port(name: &str, isid: &[u8; 6]) -> String {
    let digits: String = isid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}{ISCSI_PORT_SEPARATOR}{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_srp_initiator_has_three_names() {
        let identifier = *b"\0\0\0\0\0\0\0\x01\xfe\x80\x12\x34\x56\x78\x9a\xbc";
        let address = "::ffff:10.99.0.2".parse().expect("an address");
        assert_eq!(
            srp_initiator(identifier, Some(address)),
            [
                "0x0000000000000001fe80123456789abc",
                "fe80123456789abc",
                "10.99.0.2"
            ]
        );
        assert_eq!(srp_initiator(identifier, None).len(), 2);
    }

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
        let long = format!("iqn.{}", "x".repeat(LONGEST_ISCSI - 3));
        assert!(iscsi_name(&long[1..]).is_none() && iscsi_name(&long[..LONGEST_ISCSI]).is_some());
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
