//! CHAP (RFC 1994, RFC 7143 section 12.1.3): the initiator proves that it knows a secret, and then we do, if it asks.

use std::sync::Arc;

use md5::Md5;
use sha2::{Digest, Sha256};
use sha3::Sha3_256;
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::directory::{Credentials, Secret};
use super::text::{self, TextWriter};

/// Longest challenge that we answer (RFC 7143 section 12.1.3).
pub const MAX_CHALLENGE: usize = 1024;
/// No digest is longer.
const MAX_DIGEST: usize = 32;

/// Why an initiator is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChapError {
    /// It can do none of the algorithms that we do.
    #[error("it offers no CHAP algorithm out of MD5, SHA-256 and SHA3-256")]
    NoAlgorithm,
    /// Keys that do not belong here, or not all those that do.
    #[error("CHAP keys out of order")]
    OutOfOrder,
    /// A value that is none, or too long.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// An unknown name or the wrong secret; nobody is told which.
    #[error("wrong CHAP name or secret")]
    Wrong,
    /// It wants us to prove who we are, and we have no secret for that.
    #[error("it asks for mutual CHAP, which is not configured here")]
    NoMutual,
    /// It sends back our own challenge.
    #[error("its challenge is our own")]
    Reflected,
    /// One secret for both directions, which would let anybody reflect challenges.
    #[error("the secrets of both directions of CHAP are the same")]
    SameSecret,
}

impl ChapError {
    /// Whether the initiator broke the protocol; if not, it failed to authenticate.
    pub fn is_protocol_error(&self) -> bool {
        matches!(self, Self::OutOfOrder | Self::Malformed(_))
    }
}

/// A digest, by its number in the registry of PPP Authentication Algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// MD5 (RFC 1994), which every initiator has.
    Md5 = 5,
    /// SHA-256.
    Sha256 = 7,
    /// SHA3-256.
    Sha3_256 = 8,
}

impl Algorithm {
    /// The strongest out of a CHAP_A list. SHA-1 (6) is not among ours.
    pub fn strongest(list: &str) -> Option<Self> {
        let offers = |wanted: Self| {
            text::list(list).any(|offered| text::number(offered) == Some(wanted.number()))
        };
        [Self::Sha3_256, Self::Sha256, Self::Md5]
            .into_iter()
            .find(|&algorithm| offers(algorithm))
    }

    /// What CHAP_A has for it.
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// Bytes of our challenges: as many as the digest has.
    const fn challenge_length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha256 | Self::Sha3_256 => 32,
        }
    }

    /// What proves to know a secret (RFC 1994 section 4.1).
    pub fn response(self, id: u8, secret: &Secret, challenge: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => digest::<Md5>(id, secret, challenge),
            Self::Sha256 => digest::<Sha256>(id, secret, challenge),
            Self::Sha3_256 => digest::<Sha3_256>(id, secret, challenge),
        }
    }
}

fn digest<D: Digest>(id: u8, secret: &Secret, challenge: &[u8]) -> Vec<u8> {
    D::new()
        .chain_update([id])
        .chain_update(secret.expose())
        .chain_update(challenge)
        .finalize()
        .to_vec()
}

/// One exchange, from the choice of CHAP on.
#[derive(Debug)]
pub struct Chap {
    credentials: Arc<Credentials>,
    challenge: Option<Challenge>,
}

#[derive(Debug)]
struct Challenge {
    algorithm: Algorithm,
    id: u8,
    bytes: Vec<u8>,
}

/// What an initiator sends after our challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof<'a> {
    /// CHAP_N: its name.
    pub name: &'a str,
    /// CHAP_R: its response.
    pub response: &'a str,
    /// CHAP_I and CHAP_C, if we are to prove who we are.
    pub challenge: Option<(&'a str, &'a str)>,
}

impl Chap {
    /// Before CHAP_A.
    pub fn new(credentials: Arc<Credentials>) -> Self {
        Self {
            credentials,
            challenge: None,
        }
    }

    /// What the initiator has to prove.
    pub fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    /// CHAP_A came: chooses, and challenges.
    pub fn challenge(
        &mut self,
        algorithms: &str,
        entropy: &mut dyn FnMut(&mut [u8]),
        answer: &mut TextWriter,
    ) -> Result<(), ChapError> {
        if self.challenge.is_some() {
            return Err(ChapError::OutOfOrder);
        }
        let algorithm = Algorithm::strongest(algorithms).ok_or(ChapError::NoAlgorithm)?;
        let mut id = [0];
        entropy(&mut id);
        let mut bytes = vec![0; algorithm.challenge_length()];
        entropy(&mut bytes);
        answer.pair("CHAP_A", algorithm.number());
        answer.pair("CHAP_I", id[0]);
        answer.pair("CHAP_C", text::hex(&bytes));
        self.challenge = Some(Challenge {
            algorithm,
            id: id[0],
            bytes,
        });
        Ok(())
    }

    /// The proof came. Returns the name under which the initiator is known; the caller gives nobody a second try.
    pub fn verify(&self, proof: &Proof<'_>, answer: &mut TextWriter) -> Result<String, ChapError> {
        let ours = self.challenge.as_ref().ok_or(ChapError::OutOfOrder)?;
        let credentials = &self.credentials;
        let response =
            text::binary(proof.response, MAX_DIGEST).ok_or(ChapError::Malformed("CHAP_R"))?;
        let expected = ours
            .algorithm
            .response(ours.id, &credentials.secret, &ours.bytes);
        // Digests of names, so that nothing shows how much of a name is right.
        let name = Sha256::digest(proof.name).ct_eq(&Sha256::digest(&credentials.user));
        if !bool::from(name & expected.ct_eq(&response)) {
            return Err(ChapError::Wrong);
        }
        if let Some((id, challenge)) = proof.challenge {
            let id = text::number(id)
                .and_then(|id| u8::try_from(id).ok())
                .ok_or(ChapError::Malformed("CHAP_I"))?;
            let challenge = text::binary(challenge, MAX_CHALLENGE)
                .filter(|challenge| !challenge.is_empty())
                .ok_or(ChapError::Malformed("CHAP_C"))?;
            if challenge == ours.bytes {
                return Err(ChapError::Reflected);
            }
            let (name, secret) = credentials.mutual.as_ref().ok_or(ChapError::NoMutual)?;
            if bool::from(secret.expose().ct_eq(credentials.secret.expose())) {
                return Err(ChapError::SameSecret);
            }
            let response = ours.algorithm.response(id, secret, &challenge);
            answer.pair("CHAP_N", name);
            answer.pair("CHAP_R", text::hex(&response));
        }
        Ok(credentials.user.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(mutual: Option<(&str, &str)>) -> Arc<Credentials> {
        Arc::new(Credentials {
            user: "joe".into(),
            secret: Secret::new("initiator secret"),
            mutual: mutual.map(|(name, secret)| (name.into(), Secret::new(secret))),
        })
    }

    /// Entropy that counts: an identifier of 1, and a challenge of 2, 2, 2...
    fn challenged(credentials: Arc<Credentials>, algorithms: &str) -> (Chap, String) {
        let mut chap = Chap::new(credentials);
        let mut answer = TextWriter::default();
        let mut calls = 0;
        chap.challenge(
            algorithms,
            &mut |bytes| {
                calls += 1;
                bytes.fill(calls);
            },
            &mut answer,
        )
        .unwrap();
        (chap, String::from_utf8(answer.into_bytes()).unwrap())
    }

    fn proof(algorithm: Algorithm, name: &'static str, secret: &str) -> (&'static str, String) {
        let challenge = vec![2; algorithm.challenge_length()];
        let response = algorithm.response(1, &Secret::new(secret), &challenge);
        (name, text::hex(&response))
    }

    /// Known answers, computed with OpenSSL through Python's hashlib.
    #[test]
    fn responses_are_those_of_other_implementations() {
        let secret = Secret::new("initiator secret");
        for (algorithm, challenge, response) in [
            (
                Algorithm::Md5,
                vec![2; 16],
                "0xf5ead72a86619b4c60be51bd56d36bb2",
            ),
            (
                Algorithm::Sha256,
                vec![2; 32],
                "0x4425a6afa19b39ddc0ddcf64ed44e5f6e8a1b2eae09099619d5799178cca2ebe",
            ),
            (
                Algorithm::Sha3_256,
                vec![2; 32],
                "0xb55f720e337f055b0b48e7c816445a41f5abebd97d17291ad091df483ae78b33",
            ),
        ] {
            assert_eq!(
                text::hex(&algorithm.response(1, &secret, &challenge)),
                response,
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn the_strongest_algorithm_is_chosen() {
        for (list, algorithm) in [
            ("5", Some(Algorithm::Md5)),
            ("5,7", Some(Algorithm::Sha256)),
            ("8,7,6,5", Some(Algorithm::Sha3_256)),
            ("5,6,0x8", Some(Algorithm::Sha3_256)),
            ("6,5", Some(Algorithm::Md5)),
            ("6", None),
            ("", None),
            ("Reject", None),
        ] {
            assert_eq!(Algorithm::strongest(list), algorithm, "{list}");
        }
    }

    #[test]
    fn a_challenge_is_as_long_as_the_digest() {
        let (_, md5) = challenged(credentials(None), "5");
        assert_eq!(
            md5,
            format!("CHAP_A=5\0CHAP_I=1\0CHAP_C=0x{}\0", "02".repeat(16))
        );
        let (_, sha) = challenged(credentials(None), "7");
        assert_eq!(
            sha,
            format!("CHAP_A=7\0CHAP_I=1\0CHAP_C=0x{}\0", "02".repeat(32))
        );
    }

    #[test]
    fn the_right_name_and_secret_pass() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha3_256] {
            let (chap, _) = challenged(credentials(None), &algorithm.number().to_string());
            let (name, response) = proof(algorithm, "joe", "initiator secret");
            let mut answer = TextWriter::default();
            let proof = Proof {
                name,
                response: &response,
                challenge: None,
            };
            assert_eq!(chap.verify(&proof, &mut answer), Ok("joe".into()));
            assert!(answer.is_empty());
        }
    }

    #[test]
    fn a_wrong_name_and_a_wrong_secret_are_alike() {
        for (name, secret) in [
            ("joe", "another secret"),
            ("jon", "initiator secret"),
            ("", "initiator secret"),
            ("joe", ""),
        ] {
            let (chap, _) = challenged(credentials(None), "7");
            let (name, response) = proof(Algorithm::Sha256, name, secret);
            let proof = Proof {
                name,
                response: &response,
                challenge: None,
            };
            assert_eq!(
                chap.verify(&proof, &mut TextWriter::default()),
                Err(ChapError::Wrong)
            );
        }
    }

    fn mutual(
        configured: Option<(&str, &str)>,
        id: &str,
        challenge: &str,
    ) -> Result<String, ChapError> {
        let (chap, _) = challenged(credentials(configured), "5");
        let (name, response) = proof(Algorithm::Md5, "joe", "initiator secret");
        let mut answer = TextWriter::default();
        let proof = Proof {
            name,
            response: &response,
            challenge: Some((id, challenge)),
        };
        chap.verify(&proof, &mut answer)?;
        Ok(String::from_utf8(answer.into_bytes()).unwrap())
    }

    #[test]
    fn we_prove_who_we_are_when_asked() {
        let response = Algorithm::Md5.response(9, &Secret::new("target secret"), &[0xab]);
        assert_eq!(
            mutual(Some(("target", "target secret")), "9", "0xab"),
            Ok(format!("CHAP_N=target\0CHAP_R={}\0", text::hex(&response)))
        );
    }

    #[test]
    fn what_mutual_chap_refuses() {
        let configured = Some(("target", "target secret"));
        let ours = text::hex(&[2; 16]);
        let longest = text::hex(&[7; MAX_CHALLENGE]);
        let too_long = text::hex(&[7; MAX_CHALLENGE + 1]);
        assert!(mutual(configured, "9", &longest).is_ok());
        for (configured, id, challenge, error) in [
            (None, "9", "0xab", ChapError::NoMutual),
            (configured, "9", ours.as_str(), ChapError::Reflected),
            (
                Some(("target", "initiator secret")),
                "9",
                "0xab",
                ChapError::SameSecret,
            ),
            (configured, "256", "0xab", ChapError::Malformed("CHAP_I")),
            (configured, "9", "0x", ChapError::Malformed("CHAP_C")),
            (
                configured,
                "9",
                too_long.as_str(),
                ChapError::Malformed("CHAP_C"),
            ),
        ] {
            assert_eq!(mutual(configured, id, challenge), Err(error));
        }
    }

    #[test]
    fn order_matters() {
        let proof = Proof {
            name: "joe",
            response: "0x00",
            challenge: None,
        };
        let early = Chap::new(credentials(None)).verify(&proof, &mut TextWriter::default());
        assert_eq!(early, Err(ChapError::OutOfOrder));
        assert!(ChapError::OutOfOrder.is_protocol_error());

        let (mut chap, _) = challenged(credentials(None), "5");
        assert_eq!(
            chap.challenge("5", &mut |_| {}, &mut TextWriter::default()),
            Err(ChapError::OutOfOrder)
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let (chap, _) = challenged(credentials(Some(("target", "target secret"))), "5");
        let printed = format!("{chap:?}");
        assert!(printed.contains("joe"));
        assert!(!printed.contains("initiator secret") && !printed.contains("target secret"));
    }
}
