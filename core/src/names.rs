//! Names that an initiator goes by, for [`access`](crate::access) patterns.

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
}
