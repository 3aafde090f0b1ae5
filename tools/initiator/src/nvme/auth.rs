//! DH-HMAC-CHAP, the host's side (NVMe base 2.0 section 8.13.5).
//!
//! It shares nothing with the target's side but SHA-2 and the multiplication of long numbers: HMAC is written out, and primes are
//! computed from their definition, so that a misreading over there does not cancel out here. It offers whatever it is told to,
//! known or not.

mod numbers;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Identifiers of hash functions and of Diffie-Hellman groups that a host offers, in its order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// 1 to 3 are known: SHA-256, SHA-384, SHA-512.
    pub hashes: Vec<u8>,
    /// 0 to 5 are known: none, and those of RFC 7919 from 2048 to 8192 bits.
    pub groups: Vec<u8>,
}

impl Default for Offer {
    /// What Linux offers.
    fn default() -> Self {
        Self {
            hashes: vec![1, 2, 3],
            groups: vec![0, 1, 2, 3, 4, 5],
        }
    }
}

/// Why an exchange ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not of the form that `nvme gen-dhchap-key` prints.
    #[error("not a DH-HMAC-CHAP key: {0}")]
    Key(&'static str),
    /// AUTH_Failure1.
    #[error("the controller says no: reason {reason}, explanation {explanation}")]
    Refused {
        /// Reason code.
        reason: u8,
        /// Reason code explanation.
        explanation: u8,
    },
    /// A message that breaks the rules.
    #[error("the controller's message is wrong: {0}")]
    Malformed(&'static str),
    /// The controller does not know its key.
    #[error("the controller is not who it says it is")]
    NotAuthentic,
}

/// One transaction on one queue: [`negotiate`](Self::negotiate), [`answer`](Self::answer), [`finish`](Self::finish).
pub struct HostExchange {
    key: Key,
    controller_key: Option<Key>,
    host: String,
    subsystem: String,
    offer: Offer,
    transaction: u16,
    /// What the controller has to answer our challenge with.
    expected: Option<Vec<u8>>,
    hash: u8,
}

impl HostExchange {
    /// Keys are in the form `DHHC-1:HH:...:`; with one for the controller, it has to prove that it knows it.
    pub fn new(
        key: &str,
        controller_key: Option<&str>,
        host: &str,
        subsystem: &str,
        offer: Offer,
        transaction: u16,
    ) -> Result<Self, AuthError> {
        Ok(Self {
            key: Key::parse(key)?,
            controller_key: controller_key.map(Key::parse).transpose()?,
            host: host.to_owned(),
            subsystem: subsystem.to_owned(),
            offer,
            transaction,
            expected: None,
            hash: 0,
        })
    }

    /// AUTH_Negotiate, to be sent first.
    pub fn negotiate(&self) -> Vec<u8> {
        let mut message = self.header(0, 0);
        // No secure channel; one protocol descriptor.
        message.extend([0, 1]);
        let count = |list: &[u8]| u8::try_from(list.len()).unwrap_or(u8::MAX);
        let Offer { hashes, groups } = &self.offer;
        message.extend([1, 0, count(hashes), count(groups)]);
        for list in [hashes, groups] {
            let mut thirty = list.clone();
            thirty.resize(30, 0);
            message.extend(thirty);
        }
        message
    }

    /// Takes DH-HMAC-CHAP_Challenge, and gives DH-HMAC-CHAP_Reply.
    pub fn answer(
        &mut self,
        challenge: &[u8],
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Vec<u8>, AuthError> {
        let body = self.body(challenge, 1)?;
        let (Some(&[length, _, hash, group, low, high]), Some(&[s0, s1, s2, s3]), Some(rest)) = (
            body.get(..6).and_then(<[u8]>::first_chunk),
            body.get(6..10).and_then(<[u8]>::first_chunk),
            body.get(10..),
        ) else {
            return Err(AuthError::Malformed("a challenge that is cut off"));
        };
        let sequence = [s0, s1, s2, s3];
        if sequence == [0; 4] {
            return Err(AuthError::Malformed("sequence number 0"));
        }
        if !self.offer.hashes.contains(&hash) || !self.offer.groups.contains(&group) {
            return Err(AuthError::Malformed("a choice that was not offered"));
        }
        let hash_length = digest(hash, &[]).len();
        let public_length = usize::from(u16::from_le_bytes([low, high]));
        if usize::from(length) != hash_length || rest.len() != hash_length + public_length {
            return Err(AuthError::Malformed("lengths that do not add up"));
        }
        let (c1, theirs) = rest.split_at(hash_length);
        let (session, ours) = exchange(hash, group, theirs, entropy)?;
        self.hash = hash;

        let key = self.key.transform(&self.host);
        let c1 = augment(hash, session.as_deref(), c1);
        let transaction = self.transaction.to_le_bytes();
        let mut input = [&c1[..], &sequence, &transaction, &[0], b"HostHost"].concat();
        input.extend([self.host.as_bytes(), &[0], self.subsystem.as_bytes()].concat());
        let response = hmac(hash, &key, &input);

        let mut message = self.header(1, 2);
        let mutual = self.controller_key.as_ref().map(|key| {
            let (mut c2, mut sequence) = (vec![0; hash_length], [0; 4]);
            entropy(&mut c2);
            entropy(&mut sequence);
            sequence[0] |= 1;
            (key.transform(&self.subsystem), c2, sequence)
        });
        let valid = u8::from(mutual.is_some());
        let our_length = u16::try_from(ours.len()).unwrap_or(u16::MAX).to_le_bytes();
        message.extend([length, 0, valid, 0, our_length[0], our_length[1]]);
        let (c2, sequence) = match &mutual {
            Some((_, c2, sequence)) => (c2.clone(), *sequence),
            None => (vec![0; hash_length], [0; 4]),
        };
        message.extend([&sequence, &response[..], &c2, &ours].concat());

        self.expected = mutual.map(|(key, c2, sequence)| {
            let c2 = augment(hash, session.as_deref(), &c2);
            let mut input = [&c2[..], &sequence, &transaction, &[0], b"Controller"].concat();
            input.extend([self.subsystem.as_bytes(), &[0], self.host.as_bytes()].concat());
            hmac(hash, &key, &input)
        });
        Ok(message)
    }

    /// Takes DH-HMAC-CHAP_Success1, and gives DH-HMAC-CHAP_Success2 if the controller had to prove itself.
    pub fn finish(&mut self, success: &[u8]) -> Result<Option<Vec<u8>>, AuthError> {
        let body = self.body(success, 3)?;
        let Some((&[length, _, valid, ..], response)) = body.split_first_chunk::<10>() else {
            return Err(AuthError::Malformed("a success that is cut off"));
        };
        let hash_length = digest(self.hash, &[]).len();
        if usize::from(length) != hash_length {
            return Err(AuthError::Malformed("another hash length"));
        }
        match (&self.expected, valid) {
            (None, 0) if response.is_empty() => Ok(None),
            (Some(expected), 1) if response.len() == hash_length => {
                if response != expected {
                    return Err(AuthError::NotAuthentic);
                }
                let mut message = self.header(1, 4);
                message.extend([0; 10]);
                Ok(Some(message))
            }
            _ => Err(AuthError::Malformed("a response too many or too few")),
        }
    }

    /// AUTH_Failure2: this host gives up.
    pub fn give_up(&self, explanation: u8) -> Vec<u8> {
        let mut message = self.header(0, 0xf0);
        message.extend([1, explanation]);
        message
    }

    fn header(&self, kind: u8, id: u8) -> Vec<u8> {
        let [low, high] = self.transaction.to_le_bytes();
        vec![kind, id, 0, 0, low, high]
    }

    /// What follows the transaction identifier of a DH-HMAC-CHAP message.
    fn body<'m>(&self, message: &'m [u8], id: u8) -> Result<&'m [u8], AuthError> {
        let Some((&[kind, found, _, _, low, high], body)) = message.split_first_chunk() else {
            return Err(AuthError::Malformed("no header"));
        };
        if u16::from_le_bytes([low, high]) != self.transaction {
            return Err(AuthError::Malformed("another transaction"));
        }
        match (kind, found, body) {
            (0, 0xf1, &[reason, explanation]) => Err(AuthError::Refused {
                reason,
                explanation,
            }),
            (1, found, body) if found == id => Ok(body),
            _ => Err(AuthError::Malformed("another message")),
        }
    }
}

/// H(g^xy), and our g^x. The NULL group has neither.
fn exchange(
    hash: u8,
    group: u8,
    theirs: &[u8],
    entropy: &mut dyn FnMut(&mut [u8]),
) -> Result<(Option<Vec<u8>>, Vec<u8>), AuthError> {
    let bits = match group {
        0 if theirs.is_empty() => return Ok((None, Vec::new())),
        1 => 2048,
        2 => 3072,
        3 => 4096,
        4 => 6144,
        5 => 8192,
        _ => return Err(AuthError::Malformed("an unknown group")),
    };
    if theirs.len() != bits / 8 {
        return Err(AuthError::Malformed("a public value of another length"));
    }
    let mut secret = [0; 48];
    entropy(&mut secret);
    let prime = numbers::prime(bits);
    let ours = numbers::power(&prime, &[2], &secret);
    let shared = numbers::power(&prime, theirs, &secret);
    Ok((Some(digest(hash, &shared)), ours))
}

/// Ca: the challenge, with the session key in it if there is one.
fn augment(hash: u8, session: Option<&[u8]>, challenge: &[u8]) -> Vec<u8> {
    match session {
        Some(session) => hmac(hash, session, challenge),
        None => challenge.to_vec(),
    }
}

/// A secret, and the hash function that makes a key of it; 0 for none.
struct Key {
    secret: Vec<u8>,
    hash: u8,
}

impl Key {
    fn parse(text: &str) -> Result<Self, AuthError> {
        let [prefix, hash, encoded, ""] = text.split(':').collect::<Vec<_>>()[..] else {
            return Err(AuthError::Key("four parts, the last one empty, are wanted"));
        };
        let hash = match (prefix, hash) {
            ("DHHC-1", "00") => 0,
            ("DHHC-1", "01") => 1,
            ("DHHC-1", "02") => 2,
            ("DHHC-1", "03") => 3,
            _ => return Err(AuthError::Key("an unknown version or hash")),
        };
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_| AuthError::Key("not base64"))?;
        match bytes.split_last_chunk() {
            Some((secret, crc)) if crc32(secret).to_le_bytes() == *crc => Ok(Self {
                secret: secret.to_vec(),
                hash,
            }),
            _ => Err(AuthError::Key("a wrong checksum")),
        }
    }

    fn transform(&self, nqn: &str) -> Vec<u8> {
        match self.hash {
            0 => self.secret.clone(),
            hash => hmac(
                hash,
                &self.secret,
                format!("{nqn}NVMe-over-Fabrics").as_bytes(),
            ),
        }
    }
}

/// CRC-32 of Ethernet, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let fold = |crc: u32, byte: &u8| {
        let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        (0..8).fold(crc ^ u32::from(*byte), step)
    };
    !bytes.iter().fold(u32::MAX, fold)
}

/// HMAC as RFC 2104 writes it.
fn hmac(hash: u8, key: &[u8], message: &[u8]) -> Vec<u8> {
    let block = if hash == 1 { 64 } else { 128 };
    let mut key = if key.len() > block {
        digest(hash, key)
    } else {
        key.to_vec()
    };
    key.resize(block, 0);
    let padded = |pad: u8| key.iter().map(|byte| byte ^ pad).collect::<Vec<_>>();
    let inner = digest(hash, &[&padded(0x36), message].concat());
    digest(hash, &[padded(0x5c), inner].concat())
}

/// Nothing for a hash function that is not known.
fn digest(hash: u8, bytes: &[u8]) -> Vec<u8> {
    match hash {
        1 => Sha256::digest(bytes).to_vec(),
        2 => Sha384::digest(bytes).to_vec(),
        3 => Sha512::digest(bytes).to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_and_hmacs_are_those_of_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        // RFC 4231 test case 2.
        let mac = hmac(1, b"Jefe", b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        let mac = hmac(2, b"Jefe", b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0xaf, 0x45, 0xd2, 0xe3]);
        let mac = hmac(3, b"Jefe", b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0x16, 0x4b, 0x7a, 0x7b]);
        // Test case 6: a key longer than a block.
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(hmac(1, &[0xaa; 131], long)[..4], [0x60, 0xe4, 0x31, 0x59]);
    }

    #[test]
    fn negotiation_is_what_linux_sends() {
        let key = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
        let host = HostExchange::new(key, None, "h", "s", Offer::default(), 0x1234);
        let message = host.expect("a good key").negotiate();
        let mut expected = vec![0, 0, 0, 0, 0x34, 0x12, 0, 1, 1, 0, 3, 6, 1, 2, 3];
        expected.resize(8 + 4 + 30, 0);
        expected.extend([0, 1, 2, 3, 4, 5]);
        expected.resize(72, 0);
        assert_eq!(message, expected);
    }
}
