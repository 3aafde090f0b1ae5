//! What targets send.
//!
//! Every `emit` writes a basic header segment, and the data segment with its padding where there is one, and returns the length; or
//! `None`, having written nothing that counts, if there is no room. Digests come in between, and are the datamover's.

use super::{BHS_LENGTH, RESERVED_TAG, opcode, padded};
use crate::iscsi::login::LoginResponse;

/// F, and the bit that is always set where there is no F.
const FINAL: u8 = 0x80;
/// C: text that goes on (section 11.11.2).
const CONTINUE: u8 = 0x40;

/// What a PDU says of the order of things (sections 4.2.2.1 and 4.2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The status number of this PDU, or of the next that has one.
    pub stat_sn: u32,
    /// The next command that we expect.
    pub exp_cmd_sn: u32,
    /// The last command that the initiator may send.
    pub max_cmd_sn: u32,
}

/// Data that was not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Residual {
    /// As much as the initiator expected.
    #[default]
    None,
    /// This many bytes less than it expected.
    Underflow(u32),
    /// This many bytes more.
    Overflow(u32),
}

impl Residual {
    /// O and U, and the count (sections 11.4.1 and 11.4.5).
    #[inline]
    fn fields(self) -> (u8, u32) {
        match self {
            Self::None => (0, 0),
            Self::Underflow(count) => (0x02, count),
            Self::Overflow(count) => (0x04, count),
        }
    }
}

/// SCSI Response (section 11.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiResponse<'a> {
    /// The command.
    pub itt: u32,
    /// 0 if the command completed at the target, 1 for a target failure.
    pub response: u8,
    /// SCSI status; means something if it completed.
    pub status: u8,
    /// Data that was not moved.
    pub residual: Residual,
    /// Sense data; may be empty.
    pub sense: &'a [u8],
    /// Data-In and R2T PDUs that the command had.
    pub exp_data_sn: u32,
}

impl ScsiResponse<'_> {
    /// Writes it. Sense data is cut off where the data segment would be longer than `limit`.
    #[inline]
    pub fn emit(&self, numbers: Numbers, limit: usize, out: &mut [u8]) -> Option<usize> {
        let (bhs, data) = out.split_first_chunk_mut()?;
        let length = match self.sense {
            [] => 0,
            sense => put_sense(sense, limit, data)?,
        };
        let (residual_flags, residual) = self.residual.fields();
        start(bhs, opcode::SCSI_RESPONSE, FINAL | residual_flags, length);
        bhs[2] = self.response;
        bhs[3] = self.status;
        put::<16, 4>(bhs, self.itt.to_be_bytes());
        put_numbers(bhs, numbers);
        put::<36, 4>(bhs, self.exp_data_sn.to_be_bytes());
        put::<44, 4>(bhs, residual.to_be_bytes());
        Some(BHS_LENGTH + padded(length))
    }
}

/// SenseLength and sense data (section 11.4.7). Returns the length without padding.
fn put_sense(sense: &[u8], limit: usize, out: &mut [u8]) -> Option<usize> {
    // SenseLength has 16 bits; SPC-5 4.5.1 has sense data end at 252 bytes.
    let fits = limit.saturating_sub(2).min(252);
    let sense = sense.get(..fits).unwrap_or(sense);
    let length = 2 + sense.len();
    let out = out.get_mut(..padded(length))?;
    let (count, rest) = out.split_first_chunk_mut()?;
    *count = (sense.len() as u16).to_be_bytes();
    fill(rest, sense);
    Some(length)
}

/// SCSI Task Management Function Response (section 11.6), and what it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ManagementResponse {
    /// Function complete.
    Complete = 0,
    /// Task does not exist.
    TaskDoesNotExist = 1,
    /// LUN does not exist.
    LunDoesNotExist = 2,
    /// Task still allegiant.
    TaskStillAllegiant = 3,
    /// Task allegiance reassignment not supported.
    ReassignmentNotSupported = 4,
    /// Task management function not supported.
    NotSupported = 5,
    /// Function authorization failed.
    NotAuthorized = 6,
    /// Function rejected.
    Rejected = 255,
}

impl ManagementResponse {
    /// Writes the response to request `itt`.
    pub fn emit(self, itt: u32, numbers: Numbers, out: &mut [u8]) -> Option<usize> {
        let (bhs, _) = out.split_first_chunk_mut()?;
        start(bhs, opcode::TASK_MANAGEMENT_RESPONSE, FINAL, 0);
        bhs[2] = self as u8;
        put::<16, 4>(bhs, itt.to_be_bytes());
        put_numbers(bhs, numbers);
        Some(BHS_LENGTH)
    }
}

/// SCSI Data-In (section 11.7): its header. The data, which is padded and comes after it, is the datamover's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataIn {
    /// The command.
    pub itt: u32,
    /// Counts the Data-In PDUs of the command.
    pub data_sn: u32,
    /// Where the data goes, in the command's data.
    pub offset: u32,
    /// Bytes of data; below 2^24.
    pub length: u32,
    /// F: the last of its sequence.
    pub is_final: bool,
    /// S: the command ends here with this status and residual, and there will be no SCSI Response. It has to be a status
    /// without sense data, in the last PDU (section 11.7.3).
    pub end: Option<(u8, Residual)>,
}

impl DataIn {
    /// Writes the header. StatSN counts for PDUs with an `end` only.
    #[inline]
    pub fn emit(&self, numbers: Numbers, out: &mut [u8]) -> Option<usize> {
        let (bhs, _) = out.split_first_chunk_mut()?;
        let mut flags = if self.is_final { FINAL } else { 0 };
        let (mut status, mut residual) = (0, 0);
        if let Some((code, amount)) = self.end {
            let (bits, count) = amount.fields();
            flags |= FINAL | bits | 0x01;
            (status, residual) = (code, count);
        }
        start(bhs, opcode::DATA_IN, flags, self.length as usize);
        bhs[3] = status;
        put::<16, 4>(bhs, self.itt.to_be_bytes());
        put::<20, 4>(bhs, RESERVED_TAG.to_be_bytes());
        put_numbers(bhs, numbers);
        if self.end.is_none() {
            put::<24, 4>(bhs, [0; 4]);
        }
        put::<36, 4>(bhs, self.data_sn.to_be_bytes());
        put::<40, 4>(bhs, self.offset.to_be_bytes());
        put::<44, 4>(bhs, residual.to_be_bytes());
        Some(BHS_LENGTH)
    }
}

/// Ready To Transfer (section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R2T {
    /// The command.
    pub itt: u32,
    /// Its logical unit.
    pub lun: [u8; 8],
    /// Names the R2T in the Data-Out PDUs that answer it.
    pub ttt: u32,
    /// Counts the R2Ts of the command.
    pub r2t_sn: u32,
    /// What data to send: from here on,
    pub offset: u32,
    /// this much.
    pub length: u32,
}

impl R2T {
    /// Writes it. StatSN is the next one's.
    pub fn emit(&self, numbers: Numbers, out: &mut [u8]) -> Option<usize> {
        let (bhs, _) = out.split_first_chunk_mut()?;
        start(bhs, opcode::R2T, FINAL, 0);
        put::<8, 8>(bhs, self.lun);
        put::<16, 4>(bhs, self.itt.to_be_bytes());
        put::<20, 4>(bhs, self.ttt.to_be_bytes());
        put_numbers(bhs, numbers);
        put::<36, 4>(bhs, self.r2t_sn.to_be_bytes());
        put::<40, 4>(bhs, self.offset.to_be_bytes());
        put::<44, 4>(bhs, self.length.to_be_bytes());
        Some(BHS_LENGTH)
    }
}

/// Asynchronous Message (section 11.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncMessage {
    /// What happens.
    pub event: AsyncEvent,
}

/// What an asynchronous message is about (section 11.9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncEvent {
    /// A logical unit has something to say that is no answer to a command.
    Scsi {
        /// The logical unit.
        lun: [u8; 8],
        /// Sense data.
        sense: [u8; 18],
    },
    /// The initiator is to log out within so many seconds.
    LogoutRequested {
        /// Parameter3.
        within: u16,
    },
    /// This connection is about to be dropped.
    ConnectionDrop {
        /// The connection.
        cid: u16,
        /// Seconds to wait before reconnecting.
        time2wait: u16,
        /// Seconds until tasks are gone.
        time2retain: u16,
    },
    /// All connections of the session are about to be dropped.
    SessionDrop {
        /// Seconds to wait before reconnecting.
        time2wait: u16,
        /// Seconds until tasks are gone.
        time2retain: u16,
    },
}

impl AsyncMessage {
    /// Writes it.
    pub fn emit(&self, numbers: Numbers, out: &mut [u8]) -> Option<usize> {
        let (bhs, data) = out.split_first_chunk_mut()?;
        let (event, parameters) = match self.event {
            AsyncEvent::Scsi { .. } => (0, [0; 3]),
            AsyncEvent::LogoutRequested { within } => (1, [0, 0, within]),
            AsyncEvent::ConnectionDrop {
                cid,
                time2wait,
                time2retain,
            } => (2, [cid, time2wait, time2retain]),
            AsyncEvent::SessionDrop {
                time2wait,
                time2retain,
            } => (3, [0, time2wait, time2retain]),
        };
        let length = self.data_length();
        start(bhs, opcode::ASYNC_MESSAGE, FINAL, length);
        if let AsyncEvent::Scsi { lun, sense } = &self.event {
            put_sense(sense, length, data)?;
            put::<8, 8>(bhs, *lun);
        }
        put::<16, 4>(bhs, RESERVED_TAG.to_be_bytes());
        put_numbers(bhs, numbers);
        bhs[36] = event;
        put::<38, 2>(bhs, parameters[0].to_be_bytes());
        put::<40, 2>(bhs, parameters[1].to_be_bytes());
        put::<42, 2>(bhs, parameters[2].to_be_bytes());
        Some(BHS_LENGTH + padded(length))
    }

    /// Length of its data segment, which only sense data has (section 11.9.4).
    pub fn data_length(&self) -> usize {
        match &self.event {
            AsyncEvent::Scsi { sense, .. } => 2 + sense.len(),
            _ => 0,
        }
    }
}

/// Text Response (section 11.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextResponse<'a> {
    /// The request.
    pub itt: u32,
    /// As in the request.
    pub lun: [u8; 8],
    /// Where to go on, or [`RESERVED_TAG`] in the last response.
    pub ttt: u32,
    /// F: the exchange is over.
    pub is_final: bool,
    /// C: the text goes on in the next response.
    pub continues: bool,
    /// The text.
    pub data: &'a [u8],
}

impl TextResponse<'_> {
    /// Writes it.
    pub fn emit(&self, numbers: Numbers, out: &mut [u8]) -> Option<usize> {
        let (bhs, data) = out.split_first_chunk_mut()?;
        let length = put_data(data, self.data)?;
        let flags = if self.is_final { FINAL } else { 0 };
        let more = if self.continues { CONTINUE } else { 0 };
        start(bhs, opcode::TEXT_RESPONSE, flags | more, self.data.len());
        put::<8, 8>(bhs, self.lun);
        put::<16, 4>(bhs, self.itt.to_be_bytes());
        put::<20, 4>(bhs, self.ttt.to_be_bytes());
        put_numbers(bhs, numbers);
        Some(BHS_LENGTH + length)
    }
}

/// Writes a Login Response (section 11.13).
pub fn emit_login(response: &LoginResponse, numbers: Numbers, out: &mut [u8]) -> Option<usize> {
    let (bhs, data) = out.split_first_chunk_mut()?;
    let length = put_data(data, &response.data)?;
    let mut flags = response.csg.code() << 2;
    if response.transit {
        flags |= FINAL | response.nsg.code();
    }
    if response.continue_ {
        flags |= CONTINUE;
    }
    start(bhs, opcode::LOGIN_RESPONSE, flags, response.data.len());
    bhs[2] = response.version_max;
    bhs[3] = response.version_active;
    put::<8, 6>(bhs, response.isid);
    put::<14, 2>(bhs, response.tsih.to_be_bytes());
    put::<16, 4>(bhs, response.itt.to_be_bytes());
    put_numbers(bhs, numbers);
    bhs[36] = response.status.class;
    bhs[37] = response.status.detail;
    Some(BHS_LENGTH + length)
}

/// Logout Response (section 11.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogoutResponse {
    /// The request.
    pub itt: u32,
    /// 0 success, 1 no such connection, 2 recovery is not supported, 3 cleanup failed.
    pub response: u8,
    /// Seconds to wait before reconnecting.
    pub time2wait: u16,
    /// Seconds until tasks are gone.
    pub time2retain: u16,
}

impl LogoutResponse {
    /// Writes it.
    pub fn emit(&self, numbers: Numbers, out: &mut [u8]) -> Option<usize> {
        let (bhs, _) = out.split_first_chunk_mut()?;
        start(bhs, opcode::LOGOUT_RESPONSE, FINAL, 0);
        bhs[2] = self.response;
        put::<16, 4>(bhs, self.itt.to_be_bytes());
        put_numbers(bhs, numbers);
        put::<40, 2>(bhs, self.time2wait.to_be_bytes());
        put::<42, 2>(bhs, self.time2retain.to_be_bytes());
        Some(BHS_LENGTH)
    }
}

/// Reject (section 11.17). The data segment is the header of the PDU that is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject<'a> {
    /// Why.
    pub reason: RejectReason,
    /// The PDU that is rejected.
    pub header: &'a [u8; BHS_LENGTH],
}

/// Why a PDU is rejected (section 11.17.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RejectReason {
    /// Data (payload) digest error.
    DataDigest = 0x02,
    /// SNACK reject.
    Snack = 0x03,
    /// Protocol error.
    ProtocolError = 0x04,
    /// Command not supported.
    NotSupported = 0x05,
    /// Immediate command reject: too many immediate commands.
    TooManyImmediate = 0x06,
    /// Task in progress.
    TaskInProgress = 0x07,
    /// Invalid PDU field.
    InvalidField = 0x09,
    /// Long op reject: out of resources.
    OutOfResources = 0x0a,
}

impl Reject<'_> {
    /// Writes it.
    pub fn emit(&self, numbers: Numbers, out: &mut [u8]) -> Option<usize> {
        let (bhs, data) = out.split_first_chunk_mut()?;
        let length = put_data(data, self.header)?;
        start(bhs, opcode::REJECT, FINAL, BHS_LENGTH);
        bhs[2] = self.reason as u8;
        put::<16, 4>(bhs, RESERVED_TAG.to_be_bytes());
        put_numbers(bhs, numbers);
        Some(BHS_LENGTH + length)
    }
}

/// NOP-In (section 11.19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NopIn<'a> {
    /// The ping that this answers, or [`RESERVED_TAG`]. Only answers have a StatSN of their own.
    pub itt: u32,
    /// Names our ping, or [`RESERVED_TAG`] if no answer is wanted.
    pub ttt: u32,
    /// As in the ping.
    pub lun: [u8; 8],
    /// What came with the ping.
    pub data: &'a [u8],
}

impl NopIn<'_> {
    /// Writes it.
    pub fn emit(&self, numbers: Numbers, out: &mut [u8]) -> Option<usize> {
        let (bhs, data) = out.split_first_chunk_mut()?;
        let length = put_data(data, self.data)?;
        start(bhs, opcode::NOP_IN, FINAL, self.data.len());
        put::<8, 8>(bhs, self.lun);
        put::<16, 4>(bhs, self.itt.to_be_bytes());
        put::<20, 4>(bhs, self.ttt.to_be_bytes());
        put_numbers(bhs, numbers);
        Some(BHS_LENGTH + length)
    }
}

/// Everything zero but for what all PDUs have. Nothing that we send has a data segment of 2^24 bytes.
#[inline]
fn start(bhs: &mut [u8; BHS_LENGTH], opcode: u8, flags: u8, data_length: usize) {
    *bhs = [0; BHS_LENGTH];
    bhs[0] = opcode;
    bhs[1] = flags;
    put::<4, 4>(bhs, (data_length as u32 & 0x00ff_ffff).to_be_bytes());
}

#[inline]
fn put_numbers(bhs: &mut [u8; BHS_LENGTH], numbers: Numbers) {
    put::<24, 4>(bhs, numbers.stat_sn.to_be_bytes());
    put::<28, 4>(bhs, numbers.exp_cmd_sn.to_be_bytes());
    put::<32, 4>(bhs, numbers.max_cmd_sn.to_be_bytes());
}

#[inline]
fn put<const AT: usize, const N: usize>(bhs: &mut [u8; BHS_LENGTH], bytes: [u8; N]) {
    const { assert!(AT + N <= BHS_LENGTH) };
    bhs[AT..AT + N].copy_from_slice(&bytes);
}

/// The data segment. Returns its length with padding.
fn put_data(out: &mut [u8], data: &[u8]) -> Option<usize> {
    let length = padded(data.len());
    fill(out.get_mut(..length)?, data);
    Some(length)
}

/// `data`, and zeroes for what is left of `out`, which is not shorter.
fn fill(out: &mut [u8], data: &[u8]) {
    if let Some((start, padding)) = out.split_at_mut_checked(data.len()) {
        start.copy_from_slice(data);
        padding.fill(0);
    }
}
