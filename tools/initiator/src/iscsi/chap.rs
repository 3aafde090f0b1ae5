//! CHAP (RFC 1994, RFC 7143 12.1.3) from the side that proves itself first.

use md5::{Digest, Md5};
use sha2::Sha256;
use sha3::Sha3_256;

/// The response to a challenge, by the algorithm's number: 5 MD5, 7 SHA-256, 8 SHA3-256. `None` if it is another.
pub fn respond(algorithm: &str, id: u8, secret: &[u8], challenge: &[u8]) -> Option<Vec<u8>> {
    fn hash<D: Digest>(id: u8, secret: &[u8], challenge: &[u8]) -> Vec<u8> {
        let mut digest = D::new();
        digest.update([id]);
        digest.update(secret);
        digest.update(challenge);
        digest.finalize().to_vec()
    }
    Some(match algorithm {
        "5" => hash::<Md5>(id, secret, challenge),
        "7" => hash::<Sha256>(id, secret, challenge),
        "8" => hash::<Sha3_256>(id, secret, challenge),
        _ => return None,
    })
}

/// Bytes as a hexadecimal constant.
pub fn to_hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

/// Reads a hexadecimal constant.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))?;
    if digits.is_empty() || digits.len() % 2 != 0 || !digits.is_ascii() {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}
