//! Keys as people hand them around (NVMe base 2.0 section 8.13.5): `DHHC-1:HH:base64(secret || CRC-32):`.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::hash::Hash;

/// A secret, and how it is made into the key that HMAC is given. It is never printed.
#[derive(Clone)]
pub struct Key {
    transform: Option<Hash>,
    secret: Vec<u8>,
}

/// Why a key is none. Nothing of the key is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not of this form at all.
    #[error("the key does not have the form DHHC-1:HH:BASE64:")]
    Form,
    /// HH is something else.
    #[error("the hash of the key is none of 00, 01, 02 and 03")]
    Transform,
    /// Characters that do not belong there, or too few of them.
    #[error("what follows DHHC-1:HH: is not base64")]
    Base64,
    /// Neither 32 nor 48 nor 64 bytes.
    #[error("the secret in the key has {0} bytes, not 32, 48 or 64")]
    Length(usize),
    /// A transformation with a hash of another length: tools do not make such keys, and old hosts misread them.
    #[error("the secret in the key has {length} bytes, which do not go with hash {hash:02}")]
    Mismatch {
        /// Bytes of the secret.
        length: usize,
        /// The HH.
        hash: u8,
    },
    /// A character was changed on the way.
    #[error("the checksum of the key is wrong")]
    Checksum,
}

const CRC_LENGTH: usize = 4;

impl Key {
    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (transform, encoded) = text
            .strip_prefix("DHHC-1:")
            .and_then(|rest| rest.strip_suffix(':'))
            .and_then(|rest| rest.split_once(':'))
            .ok_or(KeyError::Form)?;
        let transform = match transform {
            "00" => None,
            "01" => Some(Hash::Sha256),
            "02" => Some(Hash::Sha384),
            "03" => Some(Hash::Sha512),
            _ => return Err(KeyError::Transform),
        };
        let mut secret = STANDARD.decode(encoded).map_err(|_| KeyError::Base64)?;
        let length = secret.len().saturating_sub(CRC_LENGTH);
        if !Hash::ALL.iter().any(|hash| hash.length() == length) {
            return Err(KeyError::Length(length));
        }
        // The CRC of RFC 1952, least significant byte first.
        let crc = secret.split_off(length);
        if crc32fast::hash(&secret).to_le_bytes()[..] != crc[..] {
            return Err(KeyError::Checksum);
        }
        match transform {
            Some(hash) if hash.length() != length => Err(KeyError::Mismatch {
                length,
                hash: hash.identifier(),
            }),
            _ => Ok(Self { transform, secret }),
        }
    }

    /// What HMAC is given, for the entity of this name (NVMe base 2.0 section 8.13.5).
    pub(super) fn transformed(&self, nqn: &str) -> Cow<'_, [u8]> {
        match self.transform {
            None => Cow::Borrowed(&self.secret),
            Some(hash) => {
                Cow::Owned(hash.hmac(&self.secret, &[nqn.as_bytes(), b"NVMe-over-Fabrics"]))
            }
        }
    }

    /// Whether the secrets are the same, whatever is made of them.
    pub fn same_secret(&self, other: &Self) -> bool {
        self.secret.ct_eq(&other.secret).into()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.transform == other.transform && self.same_secret(other)
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard, with each transformation.
    const EXAMPLE: &str = "ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n";
    const LONG: &str = "ojmm6ISA2DBpZEldEJqJvA1/cAl1wDmeolS0fCIn2qZpK0b7gpx3qu76yHpjlOOXNyjqf0oFYCWxUqkXGN2xEBOVxoA=";

    #[test]
    fn known_keys_are_read() {
        let plain = Key::parse(&format!("DHHC-1:00:{EXAMPLE}:")).expect("good");
        let transformed = Key::parse(&format!("DHHC-1:01:{EXAMPLE}:")).expect("good");
        assert_eq!(plain.secret.len(), 32);
        assert_eq!(plain.secret[..4], [0x89, 0xae, 0xb3, 0x1a]);
        assert!(plain.same_secret(&transformed));
        assert_ne!(plain, transformed);
        let long = Key::parse(&format!("DHHC-1:03:{LONG}:")).expect("good");
        assert_eq!(long.secret.len(), 64);
        // nvme-cli's documentation has one of SHA-384.
        let middle =
            "DHHC-1:02:d4gmzh5i0I3npDMWAmJX/nAvAw7ioKmS2w44ceutFeObYDFG/r6zOB3UW0FLzevsI7XDJg==:";
        assert_eq!(Key::parse(middle).expect("good").secret.len(), 48);
    }

    #[test]
    fn bad_keys_are_told_apart() {
        let of = |text: &str| Key::parse(text).map(|_| ());
        for text in [
            "",
            "DHHC-1",
            "DHHC-1:00:",
            "correct horse battery",
            &format!("DHHC-2:00:{EXAMPLE}:"),
            &format!("DHHC-1:00:{EXAMPLE}"),
        ] {
            assert_eq!(of(text), Err(KeyError::Form), "{text}");
        }
        for hash in ["04", "1", "", "0x", "+1"] {
            let text = format!("DHHC-1:{hash}:{EXAMPLE}:");
            assert_eq!(of(&text), Err(KeyError::Transform), "{text}");
        }
        for base64 in ["%", "ia6zG", &format!("{EXAMPLE} "), &format!("{EXAMPLE}:")] {
            let text = format!("DHHC-1:00:{base64}:");
            assert_eq!(of(&text), Err(KeyError::Base64), "{text}");
        }
        assert_eq!(of("DHHC-1:00::"), Err(KeyError::Length(0)));
        assert_eq!(of("DHHC-1:00:AAAA:"), Err(KeyError::Length(0)));
        let short = format!("DHHC-1:00:{}:", &EXAMPLE[..44]);
        assert_eq!(of(&short), Err(KeyError::Length(29)));
        let other = EXAMPLE.replace("ia6z", "ia6y");
        let text = format!("DHHC-1:00:{other}:");
        assert_eq!(of(&text), Err(KeyError::Checksum));
        let (length, hash) = (32, 3);
        let text = format!("DHHC-1:03:{EXAMPLE}:");
        assert_eq!(of(&text), Err(KeyError::Mismatch { length, hash }));
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let key = Key::parse(&format!("DHHC-1:00:{EXAMPLE}:")).expect("good");
        assert_eq!(format!("{key:?}"), "(secret)");
    }
}
