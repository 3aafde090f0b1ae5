//! The login phase (RFC 7143 6, 11.12).

use super::chap;
use super::pdu::{Pdu, opcode};
use super::response::ProtocolError;
use super::text::{self, Pairs};

/// Transit.
const TRANSIT: u8 = 0x80;
/// Stages.
const SECURITY: u8 = 0;
const OPERATIONAL: u8 = 1;
const FULL_FEATURE: u8 = 3;
/// Rounds that a login may take.
const MAX_ROUNDS: u32 = 32;
/// No keys.
const NOTHING: &[(&str, &str)] = &[];

/// Who logs in where, and what it offers.
#[derive(Clone, Debug)]
pub struct LoginOptions {
    /// InitiatorName.
    pub initiator: String,
    /// TargetName; a discovery session without.
    pub target: Option<String>,
    /// Names the session together with the initiator's name.
    pub isid: [u8; 6],
    /// Not zero to add a connection to a session.
    pub tsih: u16,
    /// Names the connection within its session.
    pub cid: u16,
    /// The first CmdSN.
    pub cmd_sn: u32,
    /// Proves who we are.
    pub chap: Option<Chap>,
    /// Whether the security stage is left out. Not with CHAP.
    pub skip_security: bool,
    /// Operational keys.
    pub keys: Pairs,
}

/// Names and secrets.
#[derive(Clone, Debug)]
pub struct Chap {
    /// Ours (CHAP_N).
    pub user: String,
    /// Ours.
    pub secret: Vec<u8>,
    /// Algorithms by number, best first: `7,5`.
    pub algorithms: String,
    /// What the target must know to prove itself, with the identifier and challenge that we send.
    pub mutual: Option<Mutual>,
}

/// What the target is asked.
#[derive(Clone, Debug)]
pub struct Mutual {
    /// The name that it must give.
    pub user: String,
    /// The secret that it must know.
    pub secret: Vec<u8>,
    /// CHAP_I.
    pub id: u8,
    /// CHAP_C.
    pub challenge: Vec<u8>,
}

impl LoginOptions {
    /// As open-iscsi over iSER: a normal session, immediate data.
    pub fn iser(initiator: &str, target: &str) -> Self {
        let mut options = Self::new(initiator, Some(target));
        options.offer("InitiatorRecvDataSegmentLength", "262144");
        options.offer("TargetRecvDataSegmentLength", "8192");
        options.offer("RDMAExtensions", "Yes");
        options
    }

    /// As open-iscsi over TCP.
    pub fn tcp(initiator: &str, target: &str) -> Self {
        let mut options = Self::new(initiator, Some(target));
        options.offer("HeaderDigest", "None");
        options.offer("DataDigest", "None");
        options.offer("MaxRecvDataSegmentLength", "262144");
        options
    }

    /// As open-iscsi for SendTargets, over either.
    pub fn discovery(initiator: &str) -> Self {
        let mut options = Self::new(initiator, None);
        options.offer("HeaderDigest", "None");
        options.offer("DataDigest", "None");
        options.offer("MaxRecvDataSegmentLength", "8192");
        options
    }

    fn new(initiator: &str, target: Option<&str>) -> Self {
        let mut options = Self {
            initiator: initiator.to_owned(),
            target: target.map(str::to_owned),
            // A random one (RFC 7143 11.12.5), which is always the same here.
            isid: [0x80, 0, 0, 0, 0, 1],
            tsih: 0,
            cid: 0,
            cmd_sn: 1,
            chap: None,
            skip_security: false,
            keys: Vec::new(),
        };
        options.offer("DefaultTime2Wait", "2");
        options.offer("DefaultTime2Retain", "0");
        options.offer("ErrorRecoveryLevel", "0");
        if target.is_some() {
            for (key, value) in [
                ("InitialR2T", "No"),
                ("ImmediateData", "Yes"),
                ("MaxBurstLength", "16776192"),
                ("FirstBurstLength", "262144"),
                ("MaxOutstandingR2T", "1"),
                ("MaxConnections", "1"),
                ("DataPDUInOrder", "Yes"),
                ("DataSequenceInOrder", "Yes"),
            ] {
                options.offer(key, value);
            }
        }
        options
    }

    /// Offers a key, or another value of one.
    pub fn offer(&mut self, key: &str, value: &str) {
        self.withdraw(key);
        self.keys.push((key.to_owned(), value.to_owned()));
    }

    /// Does not offer a key.
    pub fn withdraw(&mut self, key: &str) {
        self.keys.retain(|(name, _)| name != key);
    }

    /// With another session of the same initiator.
    pub fn with_isid(mut self, last: u8) -> Self {
        self.isid[5] = last;
        self
    }

    /// With CHAP.
    pub fn with_chap(mut self, user: &str, secret: &str, algorithms: &str) -> Self {
        self.chap = Some(Chap {
            user: user.to_owned(),
            secret: secret.as_bytes().to_vec(),
            algorithms: algorithms.to_owned(),
            mutual: None,
        });
        self
    }

    /// With a question to the target; after [`with_chap`](Self::with_chap).
    pub fn with_mutual(mut self, user: &str, secret: &str) -> Self {
        if let Some(chap) = &mut self.chap {
            chap.mutual = Some(Mutual {
                user: user.to_owned(),
                secret: secret.as_bytes().to_vec(),
                id: 0x2a,
                challenge: (0..16).map(|i| 0xa0 ^ i).collect(),
            });
        }
        self
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This request. `last` says that it asks for the full feature phase.
    Send {
        /// The request.
        pdu: Pdu,
        /// Whether its response may be the last one.
        last: bool,
    },
    /// Nothing: logged in.
    Done(Negotiated),
    /// The target refused.
    Refused {
        /// Status class: 1 redirected, 2 our fault, 3 the target's.
        class: u8,
        /// Status detail.
        detail: u8,
    },
}

/// How a login ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Names the session from now on.
    pub tsih: u16,
    /// The next command's number.
    pub cmd_sn: u32,
    /// Next status number.
    pub exp_stat_sn: u32,
    /// As of the last response.
    pub exp_cmd_sn: u32,
    /// As of the last response.
    pub max_cmd_sn: u32,
    /// All keys that the target sent.
    pub keys: Pairs,
}

impl Negotiated {
    /// The target's value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        text::value(&self.keys, key)
    }

    /// The target's value of a key with a number.
    pub fn number(&self, key: &str) -> Option<u32> {
        self.value(key)?.parse().ok()
    }
}

/// A login under way.
#[derive(Clone, Debug)]
pub struct Login {
    options: LoginOptions,
    state: State,
    rounds: u32,
    exp_stat_sn: u32,
    answered: Pairs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// AuthMethod was offered.
    Method,
    /// CHAP_A was offered.
    Algorithm,
    /// CHAP_R was sent.
    Proof,
    /// Operational keys were sent.
    Operational,
}

impl Login {
    /// The login, and its first request.
    pub fn start(options: LoginOptions) -> (Self, Step) {
        let mut login = Self {
            state: State::Method,
            rounds: 0,
            exp_stat_sn: 0,
            answered: Vec::new(),
            options,
        };
        let mut keys = vec![("InitiatorName", login.options.initiator.clone())];
        match &login.options.target {
            Some(target) => {
                keys.push(("TargetName", target.clone()));
                keys.push(("SessionType", "Normal".to_owned()));
            }
            None => keys.push(("SessionType", "Discovery".to_owned())),
        }
        let step = match (&login.options.chap, login.options.skip_security) {
            (Some(_), _) => {
                keys.push(("AuthMethod", "CHAP,None".to_owned()));
                login.request(SECURITY, None, &keys)
            }
            (None, false) => {
                keys.push(("AuthMethod", "None".to_owned()));
                login.request(SECURITY, Some(OPERATIONAL), &keys)
            }
            (None, true) => {
                login.state = State::Operational;
                let offers = login.options.keys.clone();
                keys.extend(
                    offers
                        .iter()
                        .map(|(key, value)| (key.as_str(), value.clone())),
                );
                login.request(OPERATIONAL, Some(FULL_FEATURE), &keys)
            }
        };
        (login, step)
    }

    /// Takes the target's answer.
    pub fn receive(&mut self, pdu: &Pdu) -> Result<Step, ProtocolError> {
        if pdu.opcode() != opcode::LOGIN_RESPONSE {
            return Err(ProtocolError::Opcode(pdu.opcode()));
        }
        let (class, detail) = (pdu.bhs[36], pdu.bhs[37]);
        if class != 0 {
            return Ok(Step::Refused { class, detail });
        }
        self.check(pdu)?;
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            return Err(ProtocolError::Login("no end".to_owned()));
        }
        let keys = text::decode(&pdu.data)?;
        let transit = pdu.bhs[1] & TRANSIT != 0;
        self.answered.extend(keys.iter().cloned());
        match self.state {
            State::Method => self.method(&keys, transit),
            State::Algorithm => self.algorithm(&keys),
            State::Proof => self.proof(&keys, transit),
            State::Operational => Ok(self.operational(pdu, transit)),
        }
    }

    fn check(&mut self, pdu: &Pdu) -> Result<(), ProtocolError> {
        if pdu.itt() != 0 {
            return Err(ProtocolError::Tag(pdu.itt()));
        }
        if pdu.bhs[8..14] != self.options.isid {
            return Err(ProtocolError::Field("ISID"));
        }
        if pdu.bhs[2..4] != [0, 0] {
            return Err(ProtocolError::Field("version"));
        }
        let stage = (pdu.bhs[1] >> 2) & 3;
        let ours = match self.state {
            State::Operational => OPERATIONAL,
            _ => SECURITY,
        };
        if stage != ours {
            return Err(ProtocolError::Field("current stage"));
        }
        if self.rounds > 0 && pdu.word(24) != self.exp_stat_sn {
            return Err(ProtocolError::Number {
                what: "StatSN",
                found: pdu.word(24),
                expected: self.exp_stat_sn,
            });
        }
        self.exp_stat_sn = pdu.word(24).wrapping_add(1);
        Ok(())
    }

    fn method(&mut self, keys: &Pairs, transit: bool) -> Result<Step, ProtocolError> {
        match (text::value(keys, "AuthMethod"), &self.options.chap) {
            (Some("CHAP"), Some(chap)) if !transit => {
                let algorithms = chap.algorithms.clone();
                self.state = State::Algorithm;
                Ok(self.request(SECURITY, None, &[("CHAP_A", algorithms)]))
            }
            (Some("None"), _) if transit => Ok(self.offer()),
            // It lets us choose to go on.
            (Some("None"), Some(_)) => {
                self.state = State::Proof;
                Ok(self.request(SECURITY, Some(OPERATIONAL), NOTHING))
            }
            (method, _) => Err(ProtocolError::Login(format!("AuthMethod {method:?}"))),
        }
    }

    fn algorithm(&mut self, keys: &Pairs) -> Result<Step, ProtocolError> {
        let missing = |key: &str| ProtocolError::Login(format!("{key} is missing or wrong"));
        let chap = self.options.chap.as_ref().ok_or_else(|| missing("CHAP"))?;
        let algorithm = text::value(keys, "CHAP_A").ok_or_else(|| missing("CHAP_A"))?;
        if !chap.algorithms.split(',').any(|ours| ours == algorithm) {
            return Err(missing("CHAP_A"));
        }
        let id = text::value(keys, "CHAP_I").and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| missing("CHAP_I"))?;
        let challenge = text::value(keys, "CHAP_C").and_then(chap::from_hex);
        let challenge = challenge.ok_or_else(|| missing("CHAP_C"))?;
        let response = chap::respond(algorithm, id, &chap.secret, &challenge);
        let response = response.ok_or_else(|| missing("CHAP_A"))?;
        let mut answer = vec![
            ("CHAP_N", chap.user.clone()),
            ("CHAP_R", chap::to_hex(&response)),
        ];
        if let Some(mutual) = &chap.mutual {
            answer.push(("CHAP_I", mutual.id.to_string()));
            answer.push(("CHAP_C", chap::to_hex(&mutual.challenge)));
        }
        self.state = State::Proof;
        Ok(self.request(SECURITY, Some(OPERATIONAL), &answer))
    }

    fn proof(&mut self, keys: &Pairs, transit: bool) -> Result<Step, ProtocolError> {
        let wrong = |what: &str| ProtocolError::Login(format!("{what} of the target"));
        if let Some((chap, mutual)) = self
            .options
            .chap
            .as_ref()
            .and_then(|chap| Some((chap, chap.mutual.as_ref()?)))
        {
            let algorithm = text::value(&self.answered, "CHAP_A").unwrap_or(&chap.algorithms);
            let expected = chap::respond(algorithm, mutual.id, &mutual.secret, &mutual.challenge);
            if text::value(keys, "CHAP_R").and_then(chap::from_hex) != expected {
                return Err(wrong("CHAP_R"));
            }
            if text::value(keys, "CHAP_N") != Some(&mutual.user) {
                return Err(wrong("CHAP_N"));
            }
        }
        if !transit {
            return Err(wrong("no transition"));
        }
        Ok(self.offer())
    }

    fn offer(&mut self) -> Step {
        self.state = State::Operational;
        let keys = self.options.keys.clone();
        self.request(OPERATIONAL, Some(FULL_FEATURE), &keys)
    }

    fn operational(&mut self, pdu: &Pdu, transit: bool) -> Step {
        if !transit {
            // It had more to say than to answer; we have not.
            return self.request(OPERATIONAL, Some(FULL_FEATURE), NOTHING);
        }
        Step::Done(Negotiated {
            tsih: u16::from_be_bytes([pdu.bhs[14], pdu.bhs[15]]),
            cmd_sn: self.options.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
            exp_cmd_sn: pdu.word(28),
            max_cmd_sn: pdu.word(32),
            keys: std::mem::take(&mut self.answered),
        })
    }

    fn request<K: AsRef<str>, V: AsRef<str>>(
        &self,
        stage: u8,
        next: Option<u8>,
        keys: &[(K, V)],
    ) -> Step {
        let mut pdu = Pdu::new(opcode::LOGIN | 0x40);
        pdu.bhs[1] = stage << 2 | next.map_or(0, |next| TRANSIT | next);
        pdu.bhs[8..14].copy_from_slice(&self.options.isid);
        pdu.bhs[14..16].copy_from_slice(&self.options.tsih.to_be_bytes());
        pdu.bhs[20..22].copy_from_slice(&self.options.cid.to_be_bytes());
        pdu.set_word(24, self.options.cmd_sn);
        pdu.set_word(28, self.exp_stat_sn);
        pdu.set_data(text::encode(keys));
        Step::Send {
            pdu,
            last: next == Some(FULL_FEATURE),
        }
    }
}
