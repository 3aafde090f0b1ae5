//! What a target sends.

use thiserror::Error;

use super::pdu::{NO_TAG, Pdu, opcode};
use super::request;

/// A PDU of the target, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// SCSI Response, or the last Data-In with status.
    Response(ScsiResponse),
    /// Task Management Function Response.
    Task {
        /// Of the request.
        itt: u32,
        /// 0 complete, 1 no such task, 2 no such LUN, 3 task still allegiant, 4 no reassignment, 5 not supported, 6 not
        /// authorized, 255 rejected.
        response: u8,
    },
    /// NOP-In that answers ours.
    Pong {
        /// Of the request.
        itt: u32,
        /// The data that we sent, as far as it came back.
        data: Vec<u8>,
    },
    /// NOP-In of the target's own that wants an answer: this one.
    Ping(Pdu),
    /// NOP-In of the target's own that only brings numbers.
    Numbers,
    /// Text Response.
    Text {
        /// Of the request.
        itt: u32,
        /// The text, maybe a part.
        data: Vec<u8>,
        /// Where to ask for more, if this is not all.
        more: Option<u32>,
    },
    /// Logout Response.
    Logout {
        /// Of the request.
        itt: u32,
        /// 0 closed, 1 no such connection, 2 no recovery, 3 failed.
        response: u8,
    },
    /// Reject.
    Reject {
        /// Why.
        reason: u8,
        /// The header that was rejected.
        header: Vec<u8>,
    },
    /// Asynchronous Message.
    Async {
        /// Its event: 0 sense data, 1 logout wanted, 2 connection dropped, 3 session dropped, 4 negotiation wanted, 5 tasks
        /// terminated, 255 vendor's.
        event: u8,
        /// Its three parameters.
        parameters: [u16; 3],
        /// The logical unit.
        lun: [u8; 8],
        /// Sense data, with its length in front.
        data: Vec<u8>,
    },
    /// Data-In, for streams. One with status is followed by [`Incoming::Response`], which takes its status from here.
    DataIn {
        /// Of the command.
        itt: u32,
        /// Counts the PDUs of the command.
        data_sn: u32,
        /// Where the data belongs.
        offset: u32,
        /// The data.
        data: Vec<u8>,
        /// Whether the sequence ends.
        last: bool,
        /// The response, if it is here.
        status: Option<ScsiResponse>,
    },
    /// Ready To Transfer, for streams.
    R2t {
        /// Of the command.
        itt: u32,
        /// Goes into the Data-Out PDUs.
        ttt: u32,
        /// Counts the R2Ts of the command.
        r2t_sn: u32,
        /// First byte wanted.
        offset: u32,
        /// How many.
        length: u32,
    },
}

/// SCSI Response (RFC 7143 11.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScsiResponse {
    /// Of the command.
    pub itt: u32,
    /// iSCSI service response: 0 completed at target, 1 target failure.
    pub response: u8,
    /// SCSI status.
    pub status: u8,
    /// Data that was not moved: positive for buffer that was not used, negative for data that had no room.
    pub residual: i64,
    /// Sense data, without its length.
    pub sense: Vec<u8>,
    /// Data-In and R2T PDUs that the target sent (ExpDataSN).
    pub exp_data_sn: u32,
}

impl Incoming {
    /// Reads a PDU of the full feature phase.
    pub fn decode(pdu: &Pdu) -> Result<Self, ProtocolError> {
        let flags = pdu.bhs[1];
        if pdu.immediate() {
            return Err(ProtocolError::Field("immediate bit of a target"));
        }
        if pdu.opcode() != opcode::DATA_IN
            && pdu.opcode() != opcode::TEXT_RESPONSE
            && flags & 0x80 == 0
        {
            return Err(ProtocolError::Field("final bit"));
        }
        let itt = pdu.itt();
        Ok(match pdu.opcode() {
            opcode::SCSI_RESPONSE => Self::Response(ScsiResponse::decode(pdu)?),
            opcode::TASK_MANAGEMENT_RESPONSE => Self::Task {
                itt,
                response: pdu.bhs[2],
            },
            opcode::NOP_IN => match (itt, pdu.word(20)) {
                (NO_TAG, NO_TAG) => Self::Numbers,
                (NO_TAG, _) => Self::Ping(request::nop_answer(pdu)),
                (itt, NO_TAG) => Self::Pong {
                    itt,
                    data: pdu.data.clone(),
                },
                _ => return Err(ProtocolError::Field("NOP-In with two tags")),
            },
            opcode::TEXT_RESPONSE => {
                let (last, more) = (flags & 0x80 != 0, flags & 0x40 != 0);
                let ttt = pdu.word(20);
                if last && (more || ttt != NO_TAG) || !last && ttt == NO_TAG {
                    return Err(ProtocolError::Field("text flags and tag"));
                }
                Self::Text {
                    itt,
                    data: pdu.data.clone(),
                    more: (!last).then_some(ttt),
                }
            }
            opcode::LOGOUT_RESPONSE => Self::Logout {
                itt,
                response: pdu.bhs[2],
            },
            opcode::REJECT => {
                if pdu.data.len() < 48 || itt != NO_TAG {
                    return Err(ProtocolError::Field("reject without the header"));
                }
                Self::Reject {
                    reason: pdu.bhs[2],
                    header: pdu.data.clone(),
                }
            }
            opcode::ASYNC => {
                let half = |at: usize| u16::from_be_bytes([pdu.bhs[at], pdu.bhs[at + 1]]);
                let mut lun = [0; 8];
                lun.copy_from_slice(&pdu.bhs[8..16]);
                Self::Async {
                    event: pdu.bhs[36],
                    parameters: [half(38), half(40), half(42)],
                    lun,
                    data: pdu.data.clone(),
                }
            }
            opcode::DATA_IN => {
                let status = match (flags & 0x01 != 0, flags & 0x80 != 0) {
                    (true, false) => return Err(ProtocolError::Field("status before the end")),
                    (true, true) => Some(ScsiResponse {
                        itt,
                        response: 0,
                        status: pdu.bhs[3],
                        residual: residual(flags, pdu.word(44))?,
                        sense: Vec::new(),
                        exp_data_sn: pdu.word(36).wrapping_add(1),
                    }),
                    (false, _) => None,
                };
                Self::DataIn {
                    itt,
                    data_sn: pdu.word(36),
                    offset: pdu.word(40),
                    data: pdu.data.clone(),
                    last: flags & 0x80 != 0,
                    status,
                }
            }
            opcode::R2T => Self::R2t {
                itt,
                ttt: pdu.word(20),
                r2t_sn: pdu.word(36),
                offset: pdu.word(40),
                length: pdu.word(44),
            },
            other => return Err(ProtocolError::Opcode(other)),
        })
    }

    /// Whether its StatSN counts: the next one is one higher (RFC 7143 4.2.2.2).
    pub fn has_status(&self) -> bool {
        !matches!(
            self,
            Self::Ping(_) | Self::Numbers | Self::R2t { .. } | Self::DataIn { status: None, .. }
        )
    }
}

impl ScsiResponse {
    fn decode(pdu: &Pdu) -> Result<Self, ProtocolError> {
        let flags = pdu.bhs[1];
        if flags & 0x18 != 0 || pdu.word(40) != 0 {
            return Err(ProtocolError::Field("bidirectional residual"));
        }
        let sense = match pdu.data.split_first_chunk::<2>() {
            None if pdu.data.is_empty() => Vec::new(),
            None => return Err(ProtocolError::Field("sense length")),
            Some((length, rest)) => rest
                .get(..usize::from(u16::from_be_bytes(*length)))
                .ok_or(ProtocolError::Field("sense length"))?
                .to_vec(),
        };
        if !matches!(pdu.bhs[2], 0 | 1) {
            return Err(ProtocolError::Field("service response"));
        }
        Ok(Self {
            itt: pdu.itt(),
            response: pdu.bhs[2],
            status: pdu.bhs[3],
            residual: residual(flags, pdu.word(44))?,
            sense,
            exp_data_sn: pdu.word(36),
        })
    }
}

/// Bits 2 overflow, 1 underflow.
fn residual(flags: u8, count: u32) -> Result<i64, ProtocolError> {
    match (flags & 0x06, count) {
        (0, 0) => Ok(0),
        (2, 1..) => Ok(i64::from(count)),
        (4, 1..) => Ok(-i64::from(count)),
        _ => Err(ProtocolError::Field("residual")),
    }
}

/// What the target sent is not iSCSI.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// Not as long as its own lengths say.
    #[error("PDU of {0} bytes does not have the length that it says")]
    Length(usize),
    /// A PDU that a target does not send, or not here.
    #[error("unexpected PDU {0:#04x}")]
    Opcode(u8),
    /// A field has a value that it must not have.
    #[error("wrong {0}")]
    Field(&'static str),
    /// A number is not the next one.
    #[error("{what} is {found}, expected {expected}")]
    Number {
        /// Which one.
        what: &'static str,
        /// As it came.
        found: u32,
        /// As it should have come.
        expected: u32,
    },
    /// A response to nothing.
    #[error("nothing waits under tag {0:#x}")]
    Tag(u32),
    /// A text that is none.
    #[error("text: {0}")]
    Text(&'static str),
    /// A login that goes wrong.
    #[error("login: {0}")]
    Login(String),
    /// A digest that does not match.
    #[error("{0} digest")]
    Digest(&'static str),
    /// An iSER header that a target does not send.
    #[error("iSER header: {0}")]
    Iser(&'static str),
}
