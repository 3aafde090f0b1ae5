//! TransportIDs: initiator ports as parameter lists name them (SPC-4 section 7.6.4).

use crate::names::{ISCSI_PORT_SEPARATOR, iscsi_name, iscsi_port};
use crate::reservations::{InitiatorPort, Registrant};
use crate::scsi::port::protocol::{ISCSI, NONE as NO_PROTOCOL, SRP};

/// TPID FORMAT of an iSCSI initiator port's name; zero is that of a node's, without a session.
const PORT_NAME: u8 = 0x40;

/// Bytes of every TransportID but iSCSI's.
const LENGTH: usize = 24;
/// Bytes of an iSCSI TransportID before its name.
const HEADER: usize = 4;
/// Least ADDITIONAL LENGTH of an iSCSI TransportID.
const LEAST_NAME: usize = 20;

/// Whom a TransportID names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransportId {
    /// An initiator port.
    Port(InitiatorPort),
    /// All initiator ports of the iSCSI node with this name.
    Node(String),
}

/// The field of a TransportID that is wrong: byte, and bit if it is smaller than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrong(pub(crate) usize, pub(crate) Option<u8>);

/// Bytes of the TransportID that stands for a registrant.
pub(crate) fn encoded_length(registrant: &Registrant) -> usize {
    match registrant {
        Registrant::Scsi {
            initiator: InitiatorPort::Iscsi { name, isid },
            ..
        } => HEADER + name_field(name.len() + ISCSI_PORT_SEPARATOR.len() + 2 * isid.len()),
        Registrant::Scsi {
            initiator: InitiatorPort::Srp(_),
            ..
        }
        | Registrant::Nvme { .. } => LENGTH,
    }
}

/// The TransportID that stands for a registrant.
pub(crate) fn encode(registrant: &Registrant) -> Vec<u8> {
    match registrant {
        Registrant::Scsi {
            initiator: InitiatorPort::Srp(port),
            ..
        } => fixed(SRP, port),
        Registrant::Scsi {
            initiator: InitiatorPort::Iscsi { name, isid },
            ..
        } => iscsi(name, isid),
        // The host identifier is where SRP has its port identifier.
        Registrant::Nvme { host } => fixed(NO_PROTOCOL, host),
    }
}

fn fixed(protocol: u8, identifier: &[u8; 16]) -> Vec<u8> {
    [&[protocol, 0, 0, 0, 0, 0, 0, 0], &identifier[..]].concat()
}

fn iscsi(name: &str, isid: &[u8; 6]) -> Vec<u8> {
    let text = iscsi_port(name, isid);
    let length = name_field(text.len());
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let mut bytes = vec![PORT_NAME | ISCSI, 0, high, low];
    bytes.extend(text.into_bytes());
    bytes.resize(HEADER + length, 0);
    bytes
}

/// Bytes of the field for a name: a zero at its end, and up to a multiple of four.
fn name_field(name: usize) -> usize {
    (name / 4 + 1).saturating_mul(4).max(LEAST_NAME)
}

/// The TransportID at the beginning of `bytes`, and how many of them it has.
pub(crate) fn parse(bytes: &[u8]) -> Result<(TransportId, usize), Wrong> {
    let first = *bytes.first().ok_or(Wrong(0, None))?;
    match (first & 0xc0, first & 0x0f) {
        (0, SRP) => {
            let identifier = bytes.get(8..LENGTH).and_then(<[u8]>::first_chunk);
            let identifier = identifier.ok_or(Wrong(0, None))?;
            Ok((TransportId::Port(InitiatorPort::Srp(*identifier)), LENGTH))
        }
        (format @ (0 | PORT_NAME), ISCSI) => {
            let (text, length) = iscsi_text(bytes)?;
            let id = if format == PORT_NAME {
                port_name(text).map(TransportId::Port)
            } else {
                iscsi_name(text).map(TransportId::Node)
            };
            Ok((id.ok_or(Wrong(HEADER, None))?, length))
        }
        (_, SRP | ISCSI) => Err(Wrong(0, Some(7))),
        _ => Err(Wrong(0, Some(3))),
    }
}

/// The name in an iSCSI TransportID, and how long the whole is.
fn iscsi_text(bytes: &[u8]) -> Result<(&str, usize), Wrong> {
    let Some(&[_, _, high, low]) = bytes.first_chunk() else {
        return Err(Wrong(0, None));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < LEAST_NAME || !length.is_multiple_of(4) {
        return Err(Wrong(2, None));
    }
    let field = bytes.get(HEADER..HEADER + length).ok_or(Wrong(2, None))?;
    // It ends with the first zero, "without regard for the specified length" (SPC-4 section 7.6.4.6): what follows is not looked at.
    let end = field.iter().position(|byte| *byte == 0);
    let (text, _) = field.split_at(end.ok_or(Wrong(HEADER, None))?);
    let text = str::from_utf8(text).map_err(|error| Wrong(HEADER + error.valid_up_to(), None))?;
    Ok((text, HEADER + length))
}

fn port_name(text: &str) -> Option<InitiatorPort> {
    let (name, digits) = text.rsplit_once(ISCSI_PORT_SEPARATOR)?;
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !hexadecimal || !(1..=12).contains(&digits.len()) {
        return None;
    }
    let [_, _, isid @ ..] = u64::from_str_radix(digits, 16).ok()?.to_be_bytes();
    let name = iscsi_name(name)?;
    Some(InitiatorPort::Iscsi { name, isid })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scsi(initiator: InitiatorPort) -> Registrant {
        Registrant::Scsi {
            initiator,
            target: "iqn.2026-11.org.example:t".into(),
            port: 2,
        }
    }

    fn iscsi_port(name: &str) -> InitiatorPort {
        InitiatorPort::Iscsi {
            name: name.into(),
            isid: [0x00, 0x02, 0x3d, 0x00, 0x00, 0x01],
        }
    }

    fn named(first: u8, text: &[u8], length: u16) -> Vec<u8> {
        let mut bytes = vec![first, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(text);
        bytes.resize(HEADER + usize::from(length), 0);
        bytes
    }

    #[test]
    fn srp_and_nvme_have_twenty_four_bytes() {
        let port = *b"0123456789abcdef";
        assert_eq!(
            encode(&scsi(InitiatorPort::Srp(port))),
            *b"\x04\0\0\0\0\0\0\x000123456789abcdef"
        );
        assert_eq!(
            encode(&Registrant::Nvme { host: port }),
            *b"\x0f\0\0\0\0\0\0\x000123456789abcdef"
        );
    }

    #[test]
    fn iscsi_has_the_name_of_the_port() {
        // 12 + 17 bytes and the zero: 32.
        assert_eq!(
            encode(&scsi(iscsi_port("iqn.2026-11."))),
            *b"\x45\0\0\x20iqn.2026-11.,i,0x00023d000001\0\0\0"
        );
        // A multiple of four without the zero gets four more.
        let bytes = encode(&scsi(iscsi_port("iqn.2026-11.abc")));
        assert_eq!(bytes.len(), 4 + 36);
        assert_eq!(bytes[2..4], [0, 36]);
        assert_eq!(bytes[36..], [0; 4]);
    }

    #[test]
    fn what_is_encoded_can_be_parsed() {
        for port in [
            InitiatorPort::Srp([0xab; 16]),
            iscsi_port("iqn.1993-08.org.debian:01:a1b2"),
            iscsi_port(&format!("iqn.{}", "x".repeat(219))),
            iscsi_port("iqn.odd,i,0x12"),
        ] {
            let mut bytes = encode(&scsi(port.clone()));
            let length = bytes.len();
            assert_eq!(length, encoded_length(&scsi(port.clone())));
            assert!(length >= 24 && length.is_multiple_of(4));
            bytes.extend([0xee; 30]);
            assert_eq!(parse(&bytes), Ok((TransportId::Port(port), length)));
            for short in 0..length {
                assert!(parse(&bytes[..short]).is_err(), "{short}");
            }
        }
    }

    #[test]
    fn names_are_compared_in_lower_case() {
        let bytes = named(0x45, b"IQN.2026-11.Example,i,0x00023D000001", 40);
        let port = iscsi_port("iqn.2026-11.example");
        assert_eq!(parse(&bytes), Ok((TransportId::Port(port), 44)));
        let bytes = named(0x05, b"IQN.2026-11.Example", 20);
        let node = TransportId::Node("iqn.2026-11.example".into());
        assert_eq!(parse(&bytes), Ok((node, 24)));
    }

    #[test]
    fn a_name_ends_at_its_first_zero() {
        let node = TransportId::Node("iqn.a".into());
        for text in [&b"iqn.a\0x"[..], b"iqn.a\0\0,i,0x1\xff\x01\0!"] {
            let bytes = named(0x05, text, 20);
            assert_eq!(parse(&bytes), Ok((node.clone(), 24)), "{text:x?}");
        }
        let bytes = named(0x45, b"iqn.2026-11.example,i,0x1\0zz", 28);
        let mut port = iscsi_port("iqn.2026-11.example");
        if let InitiatorPort::Iscsi { isid, .. } = &mut port {
            *isid = [0, 0, 0, 0, 0, 1];
        }
        assert_eq!(parse(&bytes), Ok((TransportId::Port(port), 32)));
    }

    #[test]
    fn a_session_identifier_may_be_short() {
        let bytes = named(0x45, b"iqn.2026-11.example,i,0x1", 28);
        let (id, _) = parse(&bytes).expect("good");
        let TransportId::Port(InitiatorPort::Iscsi { isid, .. }) = id else {
            panic!("{id:?}");
        };
        assert_eq!(isid, [0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        let good = b"iqn.2026-11.example,i,0x00023d000001";
        let long = format!("iqn.{},i,0x1", "x".repeat(220));
        for (bytes, wrong) in [
            (vec![], Wrong(0, None)),
            // Fibre Channel, SAS, no specific protocol.
            (vec![0x00; 24], Wrong(0, Some(3))),
            (named(0x06, &[], 20), Wrong(0, Some(3))),
            (named(0x0f, &[], 20), Wrong(0, Some(3))),
            // Formats that the protocols do not have.
            (named(0x44, &[], 20), Wrong(0, Some(7))),
            (named(0x85, good, 40), Wrong(0, Some(7))),
            (named(0xc5, good, 40), Wrong(0, Some(7))),
            // ADDITIONAL LENGTH.
            (named(0x05, b"iqn.a", 16), Wrong(2, None)),
            (named(0x45, good, 41), Wrong(2, None)),
            (named(0x45, good, 40)[..43].to_vec(), Wrong(2, None)),
            (vec![0x45, 0, 0xff, 0xfc, b'i', b'q', b'n'], Wrong(2, None)),
            (vec![0x45, 0, 0], Wrong(0, None)),
            // No zero at the end.
            (named(0x45, good, 36), Wrong(4, None)),
            (named(0x05, b"iqn.2026-11.example0", 20), Wrong(4, None)),
            // No name, or no session.
            (named(0x05, b"", 20), Wrong(4, None)),
            (named(0x05, b"iqn.", 20), Wrong(4, None)),
            (named(0x05, b"host.example", 20), Wrong(4, None)),
            (named(0x05, b"iqn.a b", 20), Wrong(4, None)),
            (named(0x05, b"iqn.a\xff", 20), Wrong(9, None)),
            (named(0x45, b"iqn.2026-11.example", 20), Wrong(4, None)),
            (named(0x45, b"iqn.2026-11.example,i,0x", 28), Wrong(4, None)),
            (
                named(0x45, b"iqn.2026-11.example,i,0x+1", 28),
                Wrong(4, None),
            ),
            (named(0x45, b"iqn.a,i,0x0123456789abc", 24), Wrong(4, None)),
            (named(0x45, b",i,0x0123456789ab", 20), Wrong(4, None)),
            (named(0x45, long.as_bytes(), 232), Wrong(4, None)),
        ] {
            assert_eq!(parse(&bytes), Err(wrong), "{bytes:x?}");
        }
    }
}
