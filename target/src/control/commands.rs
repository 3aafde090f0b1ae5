//! What people type on an initiator to reach a target.

use std::net::SocketAddr;

use crate::config::{Guid, ServiceId};
use crate::identity::SrpIdentity;

/// What Linux's ib_srp takes in `add_target` to log in over the RDMA/CM.
pub fn srp_login(identity: &SrpIdentity, portal: SocketAddr) -> String {
    let SrpIdentity { id_ext, ioc_guid } = identity;
    format!("id_ext={id_ext},ioc_guid={ioc_guid},dest={portal}")
}

/// What Linux's ib_srp takes in `add_target` to log in over the native InfiniBand CM, to the port with that GID.
pub fn srp_login_native(identity: &SrpIdentity, service_id: ServiceId, gid: [u8; 16]) -> String {
    let SrpIdentity { id_ext, ioc_guid } = identity;
    let gid = u128::from_be_bytes(gid);
    format!("id_ext={id_ext},ioc_guid={ioc_guid},dgid={gid:032x},pkey=ffff,service_id={service_id}")
}

/// An SRP initiator port identifier as groups match it: `0x` and 32 hex digits.
pub fn srp_initiator_name(port_id: &[u8; 16]) -> String {
    format!("0x{:032x}", u128::from_be_bytes(*port_id))
}

/// The GUID half of an SRP initiator port identifier, which groups match too: `0x` and 16 hex digits. Linux puts the GUID
/// last and its own extension first (SRP r16a annex B.2).
pub fn srp_initiator_guid(port_id: &[u8; 16]) -> String {
    let [.., a, b, c, d, e, f, g, h] = *port_id;
    format!("0x{}", Guid(u64::from_be_bytes([a, b, c, d, e, f, g, h])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: SrpIdentity = SrpIdentity {
        id_ext: Guid(0x0200_c0ff_ee00_0001),
        ioc_guid: Guid(0x0200_c0ff_ee00_0002),
    };

    #[test]
    fn logins() {
        let at = |text: &str| text.parse().expect("an address");
        assert_eq!(
            srp_login(&IDENTITY, at("10.99.0.1:5555")),
            "id_ext=0200c0ffee000001,ioc_guid=0200c0ffee000002,dest=10.99.0.1:5555"
        );
        assert_eq!(
            srp_login(&IDENTITY, at("[2001:db8::1]:5555")),
            "id_ext=0200c0ffee000001,ioc_guid=0200c0ffee000002,dest=[2001:db8::1]:5555"
        );
        let service = ServiceId::new(0x0106_15b3).expect("good");
        let mut gid = [0; 16];
        gid[0] = 0xfe;
        gid[15] = 1;
        assert_eq!(
            srp_login_native(&IDENTITY, service, gid),
            "id_ext=0200c0ffee000001,ioc_guid=0200c0ffee000002,\
             dgid=fe000000000000000000000000000001,pkey=ffff,service_id=00000000010615b3"
        );
    }

    #[test]
    fn initiators() {
        let port_id = *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
        assert_eq!(
            srp_initiator_name(&port_id),
            "0x000102030405060708090a0b0c0d0e0f"
        );
        assert_eq!(srp_initiator_guid(&port_id), "0x08090a0b0c0d0e0f");
    }
}
