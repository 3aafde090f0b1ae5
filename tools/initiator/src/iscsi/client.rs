//! Numbers and tags of one connection in the full feature phase.

use std::collections::HashMap;

use super::login::Negotiated;
use super::pdu::{NO_TAG, Pdu, opcode};
use super::request::{self, Direction};
use super::response::{Incoming, ProtocolError};

/// What waits under a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SCSI Command.
    Command,
    /// Task Management Function Request.
    Task,
    /// NOP-Out.
    Nop,
    /// Text Request.
    Text,
    /// Logout Request.
    Logout,
}

/// Builds requests with their numbers, and checks those of responses.
#[derive(Clone, Debug)]
pub struct Client {
    /// The next command's number.
    pub cmd_sn: u32,
    /// The status number that we expect next.
    pub exp_stat_sn: u32,
    /// Highest number that the target takes.
    pub max_cmd_sn: u32,
    /// The number that the target expects next.
    pub exp_cmd_sn: u32,
    /// The next tag.
    pub next_itt: u32,
    waiting: HashMap<u32, Kind>,
    /// Numbers under which commands went out, for ABORT TASK.
    numbers: HashMap<u32, u32>,
}

impl Client {
    /// Goes on where the login ended.
    pub fn new(login: &Negotiated) -> Self {
        Self {
            cmd_sn: login.cmd_sn,
            exp_stat_sn: login.exp_stat_sn,
            max_cmd_sn: login.max_cmd_sn,
            exp_cmd_sn: login.exp_cmd_sn,
            next_itt: 0x1000_0001,
            waiting: HashMap::new(),
            numbers: HashMap::new(),
        }
    }

    /// Whether the target takes a command now.
    pub fn can_send(&self) -> bool {
        // Serial numbers (RFC 1982): the difference decides.
        self.max_cmd_sn.wrapping_sub(self.cmd_sn) as i32 >= 0
    }

    /// Requests without a response.
    pub fn outstanding(&self) -> usize {
        self.waiting.len()
    }

    /// What waits under `itt`.
    pub fn waits(&self, itt: u32) -> Option<Kind> {
        self.waiting.get(&itt).copied()
    }

    /// The CmdSN of a command that was sent and waits.
    pub fn number_of(&self, itt: u32) -> Option<u32> {
        self.numbers.get(&itt).copied()
    }

    /// Nothing is expected under `itt` any more.
    pub fn abandon(&mut self, itt: u32) {
        self.waiting.remove(&itt);
        self.numbers.remove(&itt);
    }

    /// A fresh tag, under which `kind` is waited for.
    pub fn expect(&mut self, kind: Kind) -> u32 {
        let itt = self.next_itt;
        self.next_itt = match itt.wrapping_add(1) {
            NO_TAG => 1,
            next => next,
        };
        self.waiting.insert(itt, kind);
        itt
    }

    /// SCSI Command; see [`request::command`].
    pub fn command(
        &mut self,
        lun: [u8; 8],
        attribute: u8,
        cdb: &[u8],
        direction: Direction,
        expected: u32,
        immediate_data: Vec<u8>,
    ) -> Pdu {
        let itt = self.expect(Kind::Command);
        let data = immediate_data;
        let pdu = request::command(itt, lun, attribute, cdb, direction, expected, data);
        let pdu = self.number(pdu);
        self.numbers.insert(itt, pdu.word(24));
        pdu
    }

    /// NOP-Out that wants `data` back.
    pub fn nop(&mut self, immediate: bool, data: Vec<u8>) -> Pdu {
        let itt = self.expect(Kind::Nop);
        self.number(request::nop_out(itt, immediate, data))
    }

    /// Task Management Function Request; `referenced` is the command's tag for ABORT TASK, [`NO_TAG`] otherwise.
    pub fn task(&mut self, lun: [u8; 8], function: u8, referenced: u32) -> Pdu {
        let itt = self.expect(Kind::Task);
        let number = self.number_of(referenced).unwrap_or(0);
        self.number(request::task_management(
            itt, lun, function, referenced, number,
        ))
    }

    /// Text Request, whole.
    pub fn text(&mut self, data: Vec<u8>) -> Pdu {
        let itt = self.expect(Kind::Text);
        self.number(request::text(itt, NO_TAG, data, true))
    }

    /// Text Request that asks for more of the response to `itt`.
    pub fn text_more(&mut self, itt: u32, ttt: u32) -> Pdu {
        self.waiting.insert(itt, Kind::Text);
        self.number(request::text(itt, ttt, Vec::new(), true))
    }

    /// Logout Request.
    pub fn logout(&mut self, reason: u8, cid: u16) -> Pdu {
        let itt = self.expect(Kind::Logout);
        self.number(request::logout(itt, reason, cid))
    }

    /// Writes CmdSN and ExpStatSN; what is not immediate takes a number.
    pub fn number(&mut self, mut pdu: Pdu) -> Pdu {
        if pdu.opcode() != opcode::DATA_OUT {
            pdu.set_word(24, self.cmd_sn);
            if !pdu.immediate() {
                self.cmd_sn = self.cmd_sn.wrapping_add(1);
            }
        }
        pdu.set_word(28, self.exp_stat_sn);
        pdu
    }

    /// Understands a PDU of the target. Answers to its pings are numbered.
    pub fn receive(&mut self, pdu: &Pdu) -> Result<Incoming, ProtocolError> {
        let incoming = Incoming::decode(pdu)?;
        self.check_numbers(pdu, &incoming)?;
        let (itt, kind) = match &incoming {
            Incoming::Response(response) => (response.itt, Kind::Command),
            Incoming::DataIn {
                itt, status: None, ..
            }
            | Incoming::R2t { itt, .. } => {
                return match self.waits(*itt) {
                    Some(Kind::Command) => Ok(incoming),
                    _ => Err(ProtocolError::Tag(*itt)),
                };
            }
            Incoming::DataIn { itt, .. } => (*itt, Kind::Command),
            Incoming::Task { itt, .. } => (*itt, Kind::Task),
            Incoming::Pong { itt, .. } => (*itt, Kind::Nop),
            Incoming::Text { itt, .. } => (*itt, Kind::Text),
            Incoming::Logout { itt, .. } => (*itt, Kind::Logout),
            Incoming::Ping(answer) => return Ok(Incoming::Ping(self.number(answer.clone()))),
            Incoming::Numbers | Incoming::Reject { .. } | Incoming::Async { .. } => {
                return Ok(incoming);
            }
        };
        if self.waiting.remove(&itt) != Some(kind) {
            return Err(ProtocolError::Tag(itt));
        }
        self.numbers.remove(&itt);
        Ok(incoming)
    }

    fn check_numbers(&mut self, pdu: &Pdu, incoming: &Incoming) -> Result<(), ProtocolError> {
        // A Data-In without status has no StatSN (RFC 7143 11.7.5).
        let counted = !matches!(incoming, Incoming::DataIn { status: None, .. });
        if counted && pdu.word(24) != self.exp_stat_sn {
            return Err(ProtocolError::Number {
                what: "StatSN",
                found: pdu.word(24),
                expected: self.exp_stat_sn,
            });
        }
        if incoming.has_status() {
            self.exp_stat_sn = self.exp_stat_sn.wrapping_add(1);
        }
        let (expected, highest) = (pdu.word(28), pdu.word(32));
        if (highest.wrapping_sub(expected) as i32) < -1 {
            return Err(ProtocolError::Field("MaxCmdSN below ExpCmdSN - 1"));
        }
        // Neither ever goes back (RFC 7143 4.2.2.1).
        if (expected.wrapping_sub(self.exp_cmd_sn) as i32) < 0 {
            return Err(ProtocolError::Number {
                what: "ExpCmdSN",
                found: expected,
                expected: self.exp_cmd_sn,
            });
        }
        if (highest.wrapping_sub(self.max_cmd_sn) as i32) < 0 {
            return Err(ProtocolError::Number {
                what: "MaxCmdSN",
                found: highest,
                expected: self.max_cmd_sn,
            });
        }
        if (self.cmd_sn.wrapping_sub(expected) as i32) < 0 {
            return Err(ProtocolError::Field("ExpCmdSN beyond what was sent"));
        }
        (self.exp_cmd_sn, self.max_cmd_sn) = (expected, highest);
        Ok(())
    }
}
