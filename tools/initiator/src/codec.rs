//! SRP as an initiator writes and reads it (SRP r16a clause 6, Annex B; immediate data as in SRP-2).

use pagecast_rdma::fabric::RemoteBuffer;
use thiserror::Error;

/// Bytes of SRP_CMD before the additional CDB.
pub const COMMAND_SIZE: usize = 48;
/// Where the Linux initiator puts immediate data: behind a command, its longest additional CDB, and a descriptor.
pub const IMMEDIATE_OFFSET: u16 = 68;

const LOGIN_RSP: u8 = 0xc0;
const RSP: u8 = 0xc1;
const LOGIN_REJ: u8 = 0xc2;
const T_LOGOUT: u8 = 0x80;
const CRED_REQ: u8 = 0x81;
const AER_REQ: u8 = 0x82;
const IMMEDIATE_FLAG: u8 = 0x80;

/// A login request.
#[derive(Clone, Copy, Debug)]
pub struct LoginRequest {
    /// Comes back in the answer.
    pub tag: u64,
    /// Buffer formats that we need: bit 1 direct, bit 2 indirect.
    pub buffer_formats: u16,
    /// Whether the nexus's other channels stay.
    pub multichannel: bool,
    /// Where immediate data would start, if it is asked for.
    pub immediate_offset: Option<u16>,
    /// Longest information unit that we will send.
    pub request_length: u32,
    /// Who we are.
    pub initiator_port: [u8; 16],
    /// Whom we want.
    pub target_port: [u8; 16],
}

impl LoginRequest {
    fn flags(&self) -> u8 {
        match self.immediate_offset {
            Some(_) => IMMEDIATE_FLAG | u8::from(self.multichannel),
            None => u8::from(self.multichannel),
        }
    }

    /// The 64 bytes for a connect request over the native InfiniBand CM: SRP_LOGIN_REQ itself.
    pub fn encode_native(&self) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[8..16].copy_from_slice(&self.tag.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.request_length.to_be_bytes());
        bytes[24..26].copy_from_slice(&self.buffer_formats.to_be_bytes());
        bytes[26] = self.flags();
        bytes[28..30].copy_from_slice(&self.immediate_offset.unwrap_or(0).to_be_bytes());
        bytes[32..48].copy_from_slice(&self.initiator_port);
        bytes[48..64].copy_from_slice(&self.target_port);
        bytes
    }

    /// The 56 bytes for a connect request over RDMA/CM.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(56);
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend(self.buffer_formats.to_be_bytes());
        // The second is the type: SRP_LOGIN_REQ.
        bytes.extend([self.flags(), 0]);
        bytes.extend(self.request_length.to_be_bytes());
        bytes.extend(self.initiator_port);
        bytes.extend(self.target_port);
        bytes.extend(self.immediate_offset.unwrap_or(0).to_be_bytes());
        bytes.extend([0; 6]);
        bytes
    }
}

/// A login that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginReply {
    /// Ours.
    pub tag: u64,
    /// Initial request limit.
    pub request_limit: i32,
    /// Longest information unit that the target takes.
    pub max_it_iu_length: u32,
    /// Longest information unit that the target sends.
    pub max_ti_iu_length: u32,
    /// Buffer formats that it knows.
    pub buffer_formats: u16,
    /// What became of other channels: 0 there were none, 1 terminated, 2 maintained.
    pub multichannel: u8,
    /// Whether immediate data was agreed on.
    pub immediate: bool,
}

impl LoginReply {
    /// Reads the private data of the connect reply.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = Fields(bytes);
        fields.expect(LOGIN_RSP, 52)?;
        let flags = fields.byte(26)?;
        Ok(Self {
            tag: fields.u64(8)?,
            request_limit: fields.i32(4)?,
            max_it_iu_length: fields.u32(16)?,
            max_ti_iu_length: fields.u32(20)?,
            buffer_formats: fields.u16(24)?,
            multichannel: flags & 0x03,
            immediate: flags & IMMEDIATE_FLAG != 0,
        })
    }
}

/// A login that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRejection {
    /// Ours.
    pub tag: u64,
    /// Why: 0x00010000 and up.
    pub reason: u32,
}

impl LoginRejection {
    /// Reads the private data of a reject.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = Fields(bytes);
        fields.expect(LOGIN_REJ, 32)?;
        Ok(Self {
            tag: fields.u64(8)?,
            reason: fields.u32(4)?,
        })
    }
}

/// The data descriptor of a command.
#[derive(Clone, Copy, Debug)]
pub enum Descriptor<'a> {
    /// No data.
    None,
    /// One piece of memory.
    Direct(RemoteBuffer),
    /// A table, the first entries of it here, and the sum of all its lengths.
    Indirect {
        /// Where the whole table is.
        table: RemoteBuffer,
        /// Entries in the information unit.
        list: &'a [RemoteBuffer],
        /// Sum of all lengths.
        total: u32,
    },
    /// Bytes in the information unit, at this offset.
    Immediate {
        /// Where they start.
        offset: u16,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// The direction of a command's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the target.
    Out,
    /// From the target.
    In,
}

/// Writes SRP_CMD.
pub fn encode_command(
    tag: u64,
    lun: [u8; 8],
    attribute: u8,
    cdb: &[u8],
    direction: Direction,
    descriptor: Descriptor<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let (format, count) = match descriptor {
        Descriptor::None => (0, 0),
        Descriptor::Direct(_) => (1, 0),
        Descriptor::Indirect { list, .. } => (
            2,
            u8::try_from(list.len()).map_err(|_| EncodeError("more than 255 descriptors"))?,
        ),
        Descriptor::Immediate { .. } => (3, 0),
    };
    let (fixed, additional) = cdb.split_at(cdb.len().min(16));
    let additional_length = additional.len().next_multiple_of(4);
    if additional_length > 252 {
        return Err(EncodeError("CDB too long"));
    }

    let mut bytes = vec![0; COMMAND_SIZE];
    bytes[0] = 0x02;
    match direction {
        Direction::Out => (bytes[5], bytes[6]) = (format << 4, count),
        Direction::In => (bytes[5], bytes[7]) = (format, count),
    }
    bytes[8..16].copy_from_slice(&tag.to_be_bytes());
    bytes[20..28].copy_from_slice(&lun);
    bytes[29] = attribute;
    bytes[31] = additional_length as u8;
    bytes[32..32 + fixed.len()].copy_from_slice(fixed);
    bytes.extend_from_slice(additional);
    bytes.resize(COMMAND_SIZE + additional_length, 0);
    match descriptor {
        Descriptor::None => {}
        Descriptor::Direct(buffer) => bytes.extend(encode_descriptor(buffer)),
        Descriptor::Indirect { table, list, total } => {
            bytes.extend(encode_descriptor(table));
            bytes.extend(total.to_be_bytes());
            bytes.extend(list.iter().copied().flat_map(encode_descriptor));
        }
        Descriptor::Immediate {
            offset,
            bytes: data,
        } => {
            let length =
                u32::try_from(data.len()).map_err(|_| EncodeError("too much immediate data"))?;
            bytes.extend(length.to_be_bytes());
            if bytes.len() > usize::from(offset) {
                return Err(EncodeError("immediate data would overlap the command"));
            }
            bytes.resize(usize::from(offset), 0);
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

/// Writes one entry of a descriptor table.
pub fn encode_descriptor(buffer: RemoteBuffer) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&buffer.address.to_be_bytes());
    bytes[8..12].copy_from_slice(&buffer.key.to_be_bytes());
    bytes[12..].copy_from_slice(&buffer.length.to_be_bytes());
    bytes
}

/// Writes SRP_TSK_MGMT.
pub fn encode_task_management(tag: u64, lun: [u8; 8], function: u8, task: u64) -> Vec<u8> {
    let mut bytes = vec![0; 48];
    bytes[0] = 0x01;
    bytes[8..16].copy_from_slice(&tag.to_be_bytes());
    bytes[20..28].copy_from_slice(&lun);
    bytes[30] = function;
    bytes[32..40].copy_from_slice(&task.to_be_bytes());
    bytes
}

/// Writes SRP_I_LOGOUT.
pub fn encode_logout(tag: u64) -> Vec<u8> {
    encode_short(0x03, tag)
}

/// Writes SRP_CRED_RSP.
pub fn encode_credit_response(tag: u64) -> Vec<u8> {
    encode_short(0x41, tag)
}

/// Writes SRP_AER_RSP.
pub fn encode_event_response(tag: u64) -> Vec<u8> {
    encode_short(0x42, tag)
}

fn encode_short(opcode: u8, tag: u64) -> Vec<u8> {
    let mut bytes = vec![opcode, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(tag.to_be_bytes());
    bytes
}

/// An information unit from the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetUnit {
    /// SRP_RSP
    Response(Response),
    /// SRP_CRED_REQ
    CreditRequest {
        /// Its tag.
        tag: u64,
        /// Credits that it gives.
        delta: i32,
    },
    /// SRP_AER_REQ
    EventRequest {
        /// Its tag.
        tag: u64,
        /// Credits that it gives.
        delta: i32,
        /// The logical unit that the sense data is about.
        lun: [u8; 8],
        /// Sense data.
        sense: Vec<u8>,
    },
    /// SRP_T_LOGOUT
    Logout {
        /// Why.
        reason: u32,
    },
}

/// SRP_RSP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request's tag.
    pub tag: u64,
    /// Credits that it gives.
    pub delta: i32,
    /// SCSI status.
    pub status: u8,
    /// Data out that was not moved: positive for unused buffer, negative for data that had no room.
    pub residual_out: i64,
    /// The same of data in.
    pub residual_in: i64,
    /// Sense data.
    pub sense: Vec<u8>,
    /// Response code, of task management.
    pub code: Option<u8>,
}

impl TargetUnit {
    /// Reads what arrived.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = Fields(bytes);
        match fields.byte(0)? {
            RSP => Response::decode(bytes).map(Self::Response),
            CRED_REQ => {
                fields.expect(CRED_REQ, 16)?;
                Ok(Self::CreditRequest {
                    tag: fields.u64(8)?,
                    delta: fields.i32(4)?,
                })
            }
            AER_REQ => {
                let length = fields.u32(28)? as usize;
                fields.expect(AER_REQ, length.saturating_add(36))?;
                Ok(Self::EventRequest {
                    tag: fields.u64(8)?,
                    delta: fields.i32(4)?,
                    lun: fields.array(20)?,
                    sense: bytes.get(36..).unwrap_or_default().to_vec(),
                })
            }
            T_LOGOUT => {
                fields.expect(T_LOGOUT, 16)?;
                Ok(Self::Logout {
                    reason: fields.u32(4)?,
                })
            }
            other => Err(DecodeError::Type(other)),
        }
    }
}

impl Response {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = Fields(bytes);
        let flags = fields.byte(18)?;
        let sense_length = fields.u32(28)? as usize;
        let code_length = fields.u32(32)? as usize;
        fields.expect(
            RSP,
            sense_length.saturating_add(code_length).saturating_add(36),
        )?;
        // Response data comes first.
        let sense_at = 36 + code_length;
        let code = match (flags & 0x01 != 0, code_length) {
            (false, 0) => None,
            (true, 4) => Some(fields.byte(39)?),
            _ => return Err(DecodeError::Inconsistent("response data")),
        };
        if (flags & 0x02 != 0) != (sense_length > 0) {
            return Err(DecodeError::Inconsistent("sense data"));
        }
        if flags & 0xc0 != 0 {
            return Err(DecodeError::Inconsistent("reserved flags"));
        }
        Ok(Self {
            tag: fields.u64(8)?,
            delta: fields.i32(4)?,
            status: fields.byte(19)?,
            residual_out: residual(flags >> 2, fields.u32(20)?)?,
            residual_in: residual(flags >> 4, fields.u32(24)?)?,
            sense: bytes.get(sense_at..).unwrap_or_default().to_vec(),
            code,
        })
    }
}

/// `flags`: bit 0 overflow, bit 1 underflow.
fn residual(flags: u8, count: u32) -> Result<i64, DecodeError> {
    match (flags & 3, count) {
        (0, 0) => Ok(0),
        (1, 1..) => Ok(-i64::from(count)),
        (2, 1..) => Ok(i64::from(count)),
        _ => Err(DecodeError::Inconsistent("residual")),
    }
}

/// What the target sent is not SRP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Not as long as its type and its own lengths say.
    #[error("information unit of {length} bytes, expected {expected}")]
    Length {
        /// What arrived.
        length: usize,
        /// What it should be.
        expected: usize,
    },
    /// A type that a target does not send, or not here.
    #[error("unexpected information unit type {0:#04x}")]
    Type(u8),
    /// Flags and fields disagree.
    #[error("flags and fields disagree about {0}")]
    Inconsistent(&'static str),
    /// A login reply that does not fit the request.
    #[error("login reply: {0}")]
    Login(&'static str),
    /// More credits than there are receives for, or fewer than none.
    #[error("request limit became {0}")]
    RequestLimit(i64),
}

/// The command does not fit the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct EncodeError(pub &'static str);

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// Private data may be padded by the connection manager; everything else is exact.
    fn expect(&self, opcode: u8, length: usize) -> Result<(), DecodeError> {
        let found = self.byte(0)?;
        if found != opcode {
            return Err(DecodeError::Type(found));
        }
        let padded = matches!(opcode, LOGIN_RSP | LOGIN_REJ) && self.0.len() > length;
        if self.0.len() != length && !padded {
            return Err(DecodeError::Length {
                length: self.0.len(),
                expected: length,
            });
        }
        Ok(())
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], DecodeError> {
        self.0
            .get(at..at + N)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(DecodeError::Length {
                length: self.0.len(),
                expected: at + N,
            })
    }

    fn byte(&self, at: usize) -> Result<u8, DecodeError> {
        self.array(at).map(|[byte]| byte)
    }

    fn u16(&self, at: usize) -> Result<u16, DecodeError> {
        self.array(at).map(u16::from_be_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, DecodeError> {
        self.array(at).map(u32::from_be_bytes)
    }

    fn i32(&self, at: usize) -> Result<i32, DecodeError> {
        self.array(at).map(i32::from_be_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, DecodeError> {
        self.array(at).map(u64::from_be_bytes)
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
