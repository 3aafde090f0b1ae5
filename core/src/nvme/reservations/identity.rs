//! Host identifiers of registrants.

use sha2::{Digest, Sha256};

use crate::reservations::{InitiatorPort, Registrant};
use crate::scsi::protocol::{ISCSI, SRP};

/// What stands before everything else that is hashed, so that no other use of SHA-256 gives the same.
const DOMAIN: &[u8] = b"pagecast registrant\0";

/// The host identifier by which NVMe hosts see a registrant.
///
/// An NVMe host has one. That of a SCSI I_T nexus is derived from its names, and so always the same: a UUID of version 8 (RFC 9562
/// section 5.8, in the order of its text form), made of the first 16 bytes of the SHA-256 of these, one after the other:
///
/// 1. the 20 bytes `pagecast registrant` and NUL;
/// 2. the protocol identifier: one byte, 4 for SRP, 5 for iSCSI and iSER;
/// 3. the initiator: for SRP the 16 bytes of the initiator port identifier; for iSCSI the length of its name as four bytes, the
///    name, and the 6 bytes of the ISID;
/// 4. the target: the length of its name as four bytes, and the name;
/// 5. the relative target port identifier: two bytes.
///
/// Numbers are big-endian, names are UTF-8.
pub(crate) fn host_id(registrant: &Registrant) -> [u8; 16] {
    let (initiator, target, port) = match registrant {
        Registrant::Nvme { host } => return *host,
        Registrant::Scsi {
            initiator,
            target,
            port,
        } => (initiator, target, port),
    };
    let mut hash = Sha256::new_with_prefix(DOMAIN);
    match initiator {
        InitiatorPort::Srp(id) => {
            hash.update([SRP]);
            hash.update(id);
        }
        InitiatorPort::Iscsi { name, isid } => {
            hash.update([ISCSI]);
            put_name(&mut hash, name);
            hash.update(isid);
        }
    }
    put_name(&mut hash, target);
    hash.update(port.to_be_bytes());
    let mut id = [0; 16];
    id.iter_mut()
        .zip(hash.finalize())
        .for_each(|(to, from)| *to = from);
    // Version and variant.
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

fn put_name(hash: &mut Sha256, name: &str) {
    // No name is as long as that; if one were, another length would only be another identifier.
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    hash.update(length.to_be_bytes());
    hash.update(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scsi(initiator: InitiatorPort, target: &str, port: u16) -> Registrant {
        Registrant::Scsi {
            initiator,
            target: target.into(),
            port,
        }
    }

    fn iscsi(name: &str, isid: [u8; 6]) -> InitiatorPort {
        let name = name.into();
        InitiatorPort::Iscsi { name, isid }
    }

    const TARGET: &str = "iqn.2026-11.org.example:disks";

    fn hex(id: [u8; 16]) -> String {
        id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What hosts remember must not change: these came from another implementation of the derivation.
    #[test]
    fn identifiers_are_what_they_were() {
        let host = *b"0123456789abcdef";
        assert_eq!(host_id(&Registrant::Nvme { host }), host);
        let srp = InitiatorPort::Srp([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let id = host_id(&scsi(srp, TARGET, 1));
        assert_eq!(hex(id), "1cfcd03e91f787e19dece36fa3ce0b13");
        let name = "iqn.1993-08.org.debian:01:host";
        let initiator = iscsi(name, [0x80, 0, 0, 0x12, 0x34, 0x56]);
        let id = host_id(&scsi(initiator, TARGET, 2));
        assert_eq!(hex(id), "1d1133270fe68716a2b093fc9b52fd12");
    }

    #[test]
    fn whatever_differs_has_another_identifier() {
        let registrants = [
            scsi(InitiatorPort::Srp([1; 16]), TARGET, 1),
            scsi(InitiatorPort::Srp([1; 16]), TARGET, 2),
            scsi(InitiatorPort::Srp([2; 16]), TARGET, 1),
            scsi(
                InitiatorPort::Srp([1; 16]),
                "iqn.2026-11.org.example:disk",
                1,
            ),
            scsi(iscsi("a", [1; 6]), TARGET, 1),
            scsi(iscsi("a", [2; 6]), TARGET, 1),
            scsi(iscsi("ab", [1; 6]), TARGET, 1),
            // The same bytes, cut elsewhere.
            scsi(iscsi("x", *b"yzzzzz"), "t", 1),
            scsi(iscsi("xy", *b"zzzzzt"), "", 1),
        ];
        let mut ids: Vec<_> = registrants.iter().map(host_id).collect();
        for id in &ids {
            assert_eq!((id[6] >> 4, id[8] >> 6), (8, 0b10), "version and variant");
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), registrants.len());
    }
}
