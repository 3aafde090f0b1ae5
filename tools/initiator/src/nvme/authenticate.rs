//! The messages of [`auth`](super::auth) on a queue, by Authentication Send and Receive (NVMe base 2.0 sections 6.1 and 6.2).

use super::admin;
use super::auth::{AuthError, HostExchange, Offer};
use super::command::Data;
use super::host::{NvmeHost, QueueHandle};
use crate::error::InitiatorError;
use crate::memory::Buffer;

/// Room for any message of the controller's.
const ROOM: usize = 4096;

/// What a host has to prove itself with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The host's key, as `DHHC-1:...`.
    pub key: String,
    /// The controller's, if it is to prove itself as well.
    pub controller_key: Option<String>,
    /// What is offered.
    pub offer: Offer,
    /// Where the numbers come from that nobody should guess; tests want to have the same ones again.
    pub seed: u64,
}

/// One authentication of one queue. It never blocks: see [`step`](Self::step).
pub struct Authentication {
    queue: QueueHandle,
    exchange: HostExchange,
    random: u64,
    stage: Stage,
    waits: Option<(u16, Buffer)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Negotiate,
    Challenge,
    Reply,
    Success,
    Finish,
}

impl std::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Nothing secret.
        write!(f, "Authentication({:?}, {:?})", self.queue, self.stage)
    }
}

impl Authentication {
    /// Begins. The names are those of Connect.
    pub fn start(
        host: &mut NvmeHost,
        queue: QueueHandle,
        credentials: &Credentials,
        names: (&str, &str),
    ) -> Result<Self, InitiatorError> {
        let exchange = HostExchange::new(
            &credentials.key,
            credentials.controller_key.as_deref(),
            names.0,
            names.1,
            credentials.offer.clone(),
            credentials.seed as u16,
        )?;
        let negotiate = exchange.negotiate();
        let mut this = Self {
            queue,
            exchange,
            random: credentials.seed,
            stage: Stage::Negotiate,
            waits: None,
        };
        this.say(host, &negotiate)?;
        Ok(this)
    }

    /// Goes on as far as it can without turning the host. True once both have proved what they had to.
    pub fn step(&mut self, host: &mut NvmeHost) -> Result<bool, InitiatorError> {
        while let Some((cid, buffer)) = &self.waits {
            let Some(reply) = host.poll_reply(self.queue, *cid) else {
                return Ok(false);
            };
            let (reply, heard) = (reply?, buffer.read(0, buffer.length()).unwrap_or_default());
            self.waits = None;
            if !reply.is_success() {
                return Err(InitiatorError::CommandFailed {
                    what: "Authentication Send or Receive",
                    status: reply.status(),
                });
            }
            self.go_on(host, message(&heard))?;
        }
        Ok(true)
    }

    fn go_on(&mut self, host: &mut NvmeHost, heard: &[u8]) -> Result<(), InitiatorError> {
        match self.stage {
            Stage::Negotiate => {
                self.stage = Stage::Challenge;
                self.listen(host)
            }
            Stage::Challenge => {
                let random = &mut self.random;
                let mut entropy = |bytes: &mut [u8]| bytes.fill_with(|| next(random));
                let reply = self.exchange.answer(heard, &mut entropy)?;
                self.stage = Stage::Reply;
                self.say(host, &reply)
            }
            Stage::Reply => {
                self.stage = Stage::Success;
                self.listen(host)
            }
            Stage::Success => {
                self.stage = Stage::Finish;
                match self.exchange.finish(heard) {
                    Ok(Some(last)) => self.say(host, &last),
                    Ok(None) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            Stage::Finish => Ok(()),
        }
    }

    fn say(&mut self, host: &mut NvmeHost, message: &[u8]) -> Result<(), InitiatorError> {
        let length = message.len();
        let buffer = host.allocate(self.queue, length)?;
        let filled = buffer.write(0, message);
        let piece = filled.and_then(|()| buffer.piece(0, length));
        let piece = piece.map_err(|_| InitiatorError::Invalid("memory"))?;
        let command = admin::authentication(0x05, length as u32, Data::keyed(piece));
        self.waits = Some((host.send(self.queue, &command)?, buffer));
        Ok(())
    }

    fn listen(&mut self, host: &mut NvmeHost) -> Result<(), InitiatorError> {
        let buffer = host.allocate(self.queue, ROOM)?;
        let piece = buffer.piece(0, ROOM);
        let piece = piece.map_err(|_| InitiatorError::Invalid("memory"))?;
        let command = admin::authentication_receive(ROOM as u32, Data::keyed(piece));
        self.waits = Some((host.send(self.queue, &command)?, buffer));
        Ok(())
    }
}

/// The message at the start of what came: it says itself how long it is (NVMe base 2.0 figures 441 to 446).
fn message(heard: &[u8]) -> &[u8] {
    let byte = |at: usize| heard.get(at).copied().map_or(0, usize::from);
    let length = match heard.get(1) {
        // DH-HMAC-CHAP_Challenge: a challenge, and a public value.
        Some(0x01) => 16 + byte(6) + byte(10) + (byte(11) << 8),
        // DH-HMAC-CHAP_Success1: a response, if there is one.
        Some(0x03) => 16 + if byte(8) & 1 == 1 { byte(6) } else { 0 },
        // AUTH_Failure
        _ => 8,
    };
    heard.get(..length).unwrap_or(heard)
}

/// SplitMix64, a byte at a time.
fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 56) as u8
}

impl From<AuthError> for InitiatorError {
    fn from(error: AuthError) -> Self {
        Self::Authentication(error)
    }
}
