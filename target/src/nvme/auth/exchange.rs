//! The controller's side of one transaction: which message is due when, and what is computed from what.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pagecast_core::nvme::Status;
use subtle::ConstantTimeEq;

use super::groups::{DhGroup, Ephemeral};
use super::hash::Hash;
use super::key::Key;
use super::messages::{self, Body, Message, Negotiate, Reason, Reply};

/// What a host has to prove to know, and what we prove to know if it asks. Shared by all queues that it holds for.
pub struct Credentials {
    key: Key,
    controller_key: Option<Key>,
    hashes: Vec<Hash>,
    groups: Vec<DhGroup>,
    /// The last sequence number that a challenge had; 0 before the first.
    sequence: AtomicU32,
}

/// One authentication transaction.
pub struct Exchange {
    credentials: Arc<Credentials>,
    subsystem: String,
    host: String,
    transaction: u16,
    /// What the host is to fetch next.
    due: Option<Vec<u8>>,
    state: State,
}

/// What is waited for, once nothing is due.
enum State {
    Negotiate,
    Reply(Challenge),
    Success2,
    Over(Progress),
}

/// What the host was asked to answer.
struct Challenge {
    hash: Hash,
    /// `None` for the NULL group.
    ephemeral: Option<Ephemeral>,
    sequence: u32,
    value: Vec<u8>,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Going,
    /// The host has proved who it is, and the exchange is over.
    Authenticated,
    /// It is over, and the host has not; the reason is for the log.
    Failed(&'static str),
}

/// The reason that the host is told, and the one for the log.
type Failure = (Reason, &'static str);

impl Credentials {
    /// Whether a host proves the same to both.
    pub fn has_key_of(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// `hashes` and `groups` are those that are allowed; the strongest that the host offers is chosen.
    pub fn new(
        key: Key,
        controller_key: Option<Key>,
        hashes: Vec<Hash>,
        groups: Vec<DhGroup>,
    ) -> Self {
        Self {
            key,
            controller_key,
            hashes,
            groups,
            sequence: AtomicU32::new(0),
        }
    }

    /// Begins anywhere, increases, and is never zero (section 8.13.5.3).
    fn next_sequence(&self, entropy: &mut dyn FnMut(&mut [u8])) -> u32 {
        let mut first = [0; 4];
        entropy(&mut first);
        let first = u32::from_le_bytes(first).max(1);
        let next = |last: u32| match last {
            0 => first,
            last => last.checked_add(1).unwrap_or(1),
        };
        let last = self
            .sequence
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            });
        // The closure never says no.
        last.map_or(first, next)
    }
}

impl Exchange {
    /// Nothing was said yet. The names are those of the Connect command.
    pub fn new(credentials: Arc<Credentials>, subsystem: &str, host: &str) -> Self {
        Self {
            credentials,
            subsystem: subsystem.to_owned(),
            host: host.to_owned(),
            transaction: 0,
            due: None,
            state: State::Negotiate,
        }
    }

    /// Takes a message of the host's (Authentication Send), as long as its transfer length says. May compute for milliseconds.
    ///
    /// A message that will not do is not an error of the command: the host is told by the message that it fetches next.
    pub fn receive(
        &mut self,
        message: &[u8],
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), Status> {
        if self.progress() != Progress::Going {
            return Err(Status::COMMAND_SEQUENCE_ERROR);
        }
        let message = Message::parse(message);
        if matches!(self.state, State::Negotiate) {
            self.transaction = message.transaction;
        }
        if let Err((reason, text)) = self.take(&message, entropy) {
            // The first failure is the one that counts.
            if !matches!(self.state, State::Over(Progress::Failed(_))) {
                self.due = Some(messages::failure1(self.transaction, reason));
                self.state = State::Over(Progress::Failed(text));
            }
        }
        Ok(())
    }

    /// The message that is due (Authentication Receive), if one is and it has no more than `room` bytes.
    pub fn send(&mut self, room: usize) -> Result<Vec<u8>, Status> {
        let due = self.due.as_ref().ok_or(Status::COMMAND_SEQUENCE_ERROR)?;
        if due.len() > room {
            return Err(Status::INVALID_FIELD);
        }
        self.due.take().ok_or(Status::COMMAND_SEQUENCE_ERROR)
    }

    /// How it stands. It is over once the host has fetched the last message that there was for it.
    pub fn progress(&self) -> Progress {
        match self.state {
            State::Over(progress) if self.due.is_none() => progress,
            _ => Progress::Going,
        }
    }

    fn take(
        &mut self,
        message: &Message<'_>,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), Failure> {
        let body = match &message.body {
            Ok(body) => body,
            Err(reason) => return Err((*reason, "the host's message makes no sense")),
        };
        if message.transaction != self.transaction {
            let text = "the host's message is of another transaction";
            return Err((Reason::IncorrectPayload, text));
        }
        match (body, &self.state) {
            // A host may give up whenever it has begun.
            (Body::Failure2(explanation), State::Reply(_) | State::Success2) => {
                self.due = None;
                self.state = State::Over(Progress::Failed(given_up(*explanation)));
                Ok(())
            }
            _ if self.due.is_some() => {
                let text = "the host spoke when it had to listen";
                Err((Reason::IncorrectMessage, text))
            }
            (Body::Negotiate(offer), State::Negotiate) => self.negotiate(offer, entropy),
            (Body::Reply(reply), State::Reply(_)) => {
                // Whatever comes of it, this challenge is used up.
                match mem::replace(&mut self.state, State::Negotiate) {
                    State::Reply(challenge) => self.reply(&challenge, reply),
                    _ => Err((Reason::IncorrectMessage, "no challenge was sent")),
                }
            }
            (Body::Success2, State::Success2) => {
                self.state = State::Over(Progress::Authenticated);
                Ok(())
            }
            _ => Err((
                Reason::IncorrectMessage,
                "the host's message is out of turn",
            )),
        }
    }

    fn negotiate(
        &mut self,
        negotiate: &Negotiate<'_>,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), Failure> {
        if negotiate.secure_channel != 0 {
            let text = "the host wants a secure channel, which RDMA does not have";
            return Err((Reason::SecureChannelMismatch, text));
        }
        let Some(offer) = &negotiate.offer else {
            let text = "the host does not offer DH-HMAC-CHAP";
            return Err((Reason::ProtocolNotUsable, text));
        };
        let credentials = &self.credentials;
        let hashes = credentials.hashes.iter().copied();
        let hash = hashes
            .filter(|hash| offer.hashes.contains(&hash.identifier()))
            .max();
        let Some(hash) = hash else {
            let text = "the host offers no hash function that is allowed";
            return Err((Reason::HashNotUsable, text));
        };
        let groups = credentials.groups.iter().copied();
        let group = groups
            .filter(|group| offer.groups.contains(&group.identifier()))
            .max();
        let Some(group) = group else {
            let text = "the host offers no Diffie-Hellman group that is allowed";
            return Err((Reason::GroupNotUsable, text));
        };

        let mut value = vec![0; hash.length()];
        entropy(&mut value);
        let sequence = credentials.next_sequence(entropy);
        let ephemeral = Ephemeral::generate(group, entropy);
        let public = ephemeral.as_ref().map_or(&[][..], Ephemeral::public);
        let message = messages::challenge(self.transaction, hash, group, sequence, &value, public);
        self.due = Some(message);
        self.state = State::Reply(Challenge {
            hash,
            ephemeral,
            sequence,
            value,
        });
        Ok(())
    }

    fn reply(&mut self, challenge: &Challenge, reply: &Reply<'_>) -> Result<(), Failure> {
        let hash = challenge.hash;
        if reply.response.len() != hash.length() {
            let text = "the host's response is not as long as the hash";
            return Err((Reason::IncorrectPayload, text));
        }
        let session = challenge.session_key(reply)?;

        let key = self.credentials.key.transformed(&self.host);
        let expected = Response {
            challenge: &challenge.value,
            session: session.as_deref(),
            sequence: challenge.sequence,
            transaction: self.transaction,
            role: "HostHost",
            names: [&self.host, &self.subsystem],
        };
        let expected = expected.compute(hash, &key);
        if !bool::from(expected.ct_eq(reply.response)) {
            let text = "the host does not know the key";
            return Err((Reason::AuthenticationFailed, text));
        }

        let Some((sequence, value)) = reply.challenge else {
            self.due = Some(messages::success1(self.transaction, hash, None));
            self.state = State::Over(Progress::Authenticated);
            return Ok(());
        };
        // A challenge that was ours could be meant to make us answer it.
        if value == challenge.value {
            let text = "the host returned our challenge as its own";
            return Err((Reason::AuthenticationFailed, text));
        }
        let Some(key) = &self.credentials.controller_key else {
            let text = "the host asks who we are, and there is no controller key";
            return Err((Reason::AuthenticationFailed, text));
        };
        let key = key.transformed(&self.subsystem);
        let response = Response {
            challenge: value,
            session: session.as_deref(),
            sequence,
            transaction: self.transaction,
            role: "Controller",
            names: [&self.subsystem, &self.host],
        };
        let response = response.compute(hash, &key);
        self.due = Some(messages::success1(self.transaction, hash, Some(&response)));
        self.state = State::Success2;
        Ok(())
    }
}

impl Challenge {
    /// KS = H(g^xy mod p), if there is a group.
    fn session_key(&self, reply: &Reply<'_>) -> Result<Option<Vec<u8>>, Failure> {
        let Some(ephemeral) = &self.ephemeral else {
            return if reply.public.is_empty() {
                Ok(None)
            } else {
                let text = "the host's reply has a Diffie-Hellman value, and there is no group";
                Err((Reason::IncorrectPayload, text))
            };
        };
        if reply.public == ephemeral.public() {
            let text = "the host returned our Diffie-Hellman value as its own";
            return Err((Reason::AuthenticationFailed, text));
        }
        let shared = ephemeral.shared(reply.public).map_err(|_| {
            let text = "the host's Diffie-Hellman value is not one";
            (Reason::IncorrectPayload, text)
        })?;
        Ok(Some(self.hash.digest(&shared)))
    }
}

/// What R1 and R2 are made of (sections 8.13.5.4 and 8.13.5.5).
struct Response<'a> {
    challenge: &'a [u8],
    session: Option<&'a [u8]>,
    sequence: u32,
    transaction: u16,
    role: &'static str,
    /// First who proves itself.
    names: [&'a str; 2],
}

impl Response<'_> {
    fn compute(&self, hash: Hash, key: &[u8]) -> Vec<u8> {
        // With a group, the challenge is augmented: HMAC(KS, C).
        let augmented = self
            .session
            .map(|session| hash.hmac(session, &[self.challenge]));
        let [prover, verifier] = self.names;
        let parts: [&[u8]; 8] = [
            augmented.as_deref().unwrap_or(self.challenge),
            &self.sequence.to_le_bytes(),
            &self.transaction.to_le_bytes(),
            // SC_C: no secure channel.
            &[0],
            self.role.as_bytes(),
            prover.as_bytes(),
            &[0],
            verifier.as_bytes(),
        ];
        hash.hmac(key, &parts)
    }
}

fn given_up(explanation: u8) -> &'static str {
    match explanation {
        1 => "the host gave up: we did not prove who we are",
        2..=5 => "the host gave up: it cannot use what was chosen",
        6 | 7 => "the host gave up: it does not like our messages",
        _ => "the host gave up",
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("mutual", &self.controller_key.is_some())
            .field("hashes", &self.hashes)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("host", &self.host)
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_increase_and_are_never_zero() {
        let key = Key::parse("DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:");
        let key = key.expect("a good key");
        let credentials = Credentials::new(key, None, Vec::new(), Vec::new());
        let next = |first: u32| {
            credentials.next_sequence(&mut |bytes| bytes.copy_from_slice(&first.to_le_bytes()))
        };
        assert_eq!(next(u32::MAX - 1), u32::MAX - 1);
        assert_eq!([next(5), next(5), next(5)], [u32::MAX, 1, 2]);

        credentials.sequence.store(0, Ordering::Relaxed);
        assert_eq!(credentials.next_sequence(&mut |bytes| bytes.fill(0)), 1);
    }
}
