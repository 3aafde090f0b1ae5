//! Information units to the initiator.

use thiserror::Error;

use super::wire::{Tag, opcode, put};

/// Bytes of SRP_RSP before response and sense data.
pub const RESPONSE_SIZE: usize = 36;
/// Most bytes of sense data that a response carries (SPC-5 4.5.1: the longest sense data there is).
pub const MAX_SENSE: usize = 252;
/// Longest response that we ever emit.
pub const MAX_RESPONSE_SIZE: usize = RESPONSE_SIZE + RESPONSE_DATA_SIZE + MAX_SENSE;
/// Bytes of SRP_CRED_REQ and of SRP_T_LOGOUT.
pub const SHORT_REQUEST_SIZE: usize = 16;
/// Bytes of SRP_AER_REQ before its sense data.
pub const AER_REQUEST_SIZE: usize = 36;

/// Bytes of response data: three reserved and the code.
const RESPONSE_DATA_SIZE: usize = 4;

/// CHECK CONDITION (SAM-5 5.3)
const CHECK_CONDITION: u8 = 0x02;

/// SRP_RSP (SRP r16a 6.9): how a command or a task management request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The request's tag.
    pub tag: Tag,
    /// Credits that the initiator gets: see [`super::credits`].
    pub request_limit_delta: i32,
    /// SCSI status; GOOD for task management.
    pub status: u8,
    /// Data that was not moved, for data out and data in.
    pub residuals: Residuals,
    /// What else there is to say.
    pub payload: Payload<'a>,
}

/// What a response carries besides its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Nothing.
    None,
    /// Sense data; cut off where the initiator's limit is.
    Sense(&'a [u8]),
    /// The result of task management.
    Code(ResponseCode),
}

impl<'a> Response<'a> {
    /// A command's end; empty `sense` is no sense.
    pub fn command(
        tag: Tag,
        delta: i32,
        status: u8,
        residuals: Residuals,
        sense: &'a [u8],
    ) -> Self {
        Self {
            tag,
            request_limit_delta: delta,
            status,
            residuals,
            payload: match sense {
                [] => Payload::None,
                sense => Payload::Sense(sense),
            },
        }
    }

    /// A command that was refused with sense data: nothing of its data was moved.
    pub fn check_condition(tag: Tag, delta: i32, residuals: Residuals, sense: &'a [u8]) -> Self {
        Self::command(tag, delta, CHECK_CONDITION, residuals, sense)
    }

    /// A task management function's end.
    pub fn task_management(tag: Tag, delta: i32, code: ResponseCode) -> Self {
        Self {
            tag,
            request_limit_delta: delta,
            status: 0,
            residuals: Residuals::NONE,
            payload: Payload::Code(code),
        }
    }

    /// Writes the response and returns its length. `limit` is the longest information unit that the initiator takes.
    pub fn emit(&self, out: &mut [u8], limit: u32) -> Result<usize, EmitError> {
        let room = usize::try_from(limit).unwrap_or(usize::MAX).min(out.len());
        let needed = match self.payload {
            Payload::Code(_) => RESPONSE_SIZE + RESPONSE_DATA_SIZE,
            Payload::None | Payload::Sense(_) => RESPONSE_SIZE,
        };
        if room < needed {
            return Err(EmitError { needed, room });
        }
        let mut flags = 0;
        let mut counts = [0u32; 2];
        match self.residuals.out {
            Residual::None => {}
            Residual::Over(count) => (flags, counts[0]) = (flags | flag::DOOVER, count),
            Residual::Under(count) => (flags, counts[0]) = (flags | flag::DOUNDER, count),
        }
        match self.residuals.r#in {
            Residual::None => {}
            Residual::Over(count) => (flags, counts[1]) = (flags | flag::DIOVER, count),
            Residual::Under(count) => (flags, counts[1]) = (flags | flag::DIUNDER, count),
        }
        // Both lists are bounded by constants. They begin in the same place: there never are both.
        let (mut code_length, mut sense_length) = (0, 0);
        match self.payload {
            Payload::None => {}
            Payload::Code(code) => {
                flags |= flag::RSPVALID;
                code_length = RESPONSE_DATA_SIZE;
                put(out, RESPONSE_SIZE, &[0, 0, 0, code as u8]);
            }
            Payload::Sense(sense) => {
                sense_length = sense.len().min(MAX_SENSE).min(room - RESPONSE_SIZE);
                if sense_length > 0 {
                    flags |= flag::SNSVALID;
                }
                put(out, RESPONSE_SIZE, &sense[..sense_length]);
            }
        }

        let mut header = [0; RESPONSE_SIZE];
        header[0] = opcode::RSP;
        put(&mut header, 4, &self.request_limit_delta.to_be_bytes());
        put(&mut header, 8, &self.tag.to_bytes());
        header[18] = flags;
        header[19] = self.status;
        put(&mut header, 20, &counts[0].to_be_bytes());
        put(&mut header, 24, &counts[1].to_be_bytes());
        put(&mut header, 28, &(sense_length as u32).to_be_bytes());
        put(&mut header, 32, &(code_length as u32).to_be_bytes());
        put(out, 0, &header);
        Ok(RESPONSE_SIZE + code_length + sense_length)
    }
}

/// The result of a task management function (byte 3 of response data).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ResponseCode {
    /// FUNCTION COMPLETE
    Complete = 0,
    /// REQUEST FIELDS INVALID
    RequestFieldsInvalid = 2,
    /// TASK MANAGEMENT FUNCTION NOT SUPPORTED
    FunctionNotSupported = 4,
    /// TASK MANAGEMENT FUNCTION FAILED
    FunctionFailed = 5,
}

/// Why a target logs an initiator out (SRP r16a 6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LogoutReason {
    /// No reason given.
    Unspecified = 0,
    /// The channel was idle and its resources are needed.
    Inactive = 1,
    /// An information unit of a type that a target does not take.
    InvalidType = 2,
    /// A response without an outstanding request.
    SpuriousResponse = 3,
    /// A new login said to end the channels that exist.
    MultiChannelAction = 4,
    /// The data-out buffer descriptor has an unsupported format.
    DataOutFormat = 5,
    /// The data-in buffer descriptor has an unsupported format.
    DataInFormat = 6,
    /// An information unit that is too short for its type.
    InvalidLength = 8,
}

/// Data that was not moved, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Residuals {
    /// Data out.
    pub out: Residual,
    /// Data in.
    pub r#in: Residual,
}

impl Residuals {
    /// Everything was moved.
    pub const NONE: Self = Self {
        out: Residual::None,
        r#in: Residual::None,
    };

    /// For a command with data out (see [`Residual::of`]).
    pub fn of_out(expected: u64, offered: u32, moved: u64) -> Self {
        Self {
            out: Residual::of(expected, offered, moved),
            r#in: Residual::None,
        }
    }

    /// For a command with data in.
    pub fn of_in(expected: u64, offered: u32, moved: u64) -> Self {
        Self {
            out: Residual::None,
            r#in: Residual::of(expected, offered, moved),
        }
    }
}

/// Data that was not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Residual {
    /// The buffer was used up, exactly.
    #[default]
    None,
    /// This many bytes had no room in the initiator's buffer.
    Over(u32),
    /// This many bytes of the initiator's buffer were not used.
    Under(u32),
}

impl Residual {
    /// What is left of a buffer of `offered` bytes, when the command is about `expected` bytes and `moved` of them were moved.
    ///
    /// A buffer that was not used up is an underflow whatever the command expected, so that a failed command reports all of it.
    pub fn of(expected: u64, offered: u32, moved: u64) -> Self {
        let offered = u64::from(offered);
        let clamp = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        if moved < offered {
            Self::Under(clamp(offered - moved))
        } else if expected > offered {
            Self::Over(clamp(expected - offered))
        } else {
            Self::None
        }
    }
}

/// Writes SRP_CRED_REQ, which gives credits to an initiator that has nothing outstanding to answer.
pub fn emit_credit_request(out: &mut [u8], tag: Tag, delta: i32) -> Result<usize, EmitError> {
    emit_short(out, opcode::CRED_REQ, tag, &delta.to_be_bytes())
}

/// Writes SRP_T_LOGOUT; disconnect when it is sent.
pub fn emit_target_logout(
    out: &mut [u8],
    tag: Tag,
    reason: LogoutReason,
) -> Result<usize, EmitError> {
    emit_short(out, opcode::T_LOGOUT, tag, &(reason as u32).to_be_bytes())
}

/// Writes SRP_AER_REQ: sense data that belongs to no command. Cut off at the initiator's `limit`. Linux answers it and
/// does nothing else.
pub fn emit_event_request(
    out: &mut [u8],
    limit: u32,
    tag: Tag,
    delta: i32,
    lun: [u8; 8],
    sense: &[u8],
) -> Result<usize, EmitError> {
    let room = usize::try_from(limit).unwrap_or(usize::MAX).min(out.len());
    let sense_room = room.checked_sub(AER_REQUEST_SIZE).ok_or(EmitError {
        needed: AER_REQUEST_SIZE,
        room,
    })?;
    let sense = &sense[..sense.len().min(MAX_SENSE).min(sense_room)];
    let mut header = [0; AER_REQUEST_SIZE];
    header[0] = opcode::AER_REQ;
    put(&mut header, 4, &delta.to_be_bytes());
    put(&mut header, 8, &tag.to_bytes());
    put(&mut header, 20, &lun);
    put(&mut header, 28, &(sense.len() as u32).to_be_bytes());
    put(out, 0, &header);
    put(out, AER_REQUEST_SIZE, sense);
    Ok(AER_REQUEST_SIZE + sense.len())
}

/// Fixed-format sense data for ILLEGAL REQUEST (SPC-5 4.5.3), for what is refused before there is a SCSI command.
pub fn illegal_request_sense(asc: u8, ascq: u8) -> [u8; 18] {
    let mut sense = [0; 18];
    sense[0] = 0x70;
    sense[2] = 0x05;
    sense[7] = 10;
    sense[12] = asc;
    sense[13] = ascq;
    sense
}

/// The buffer, or the initiator's limit, is too small for even the shortest form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("information unit of {needed} bytes does not fit into {room}")]
pub struct EmitError {
    /// Bytes that it takes.
    pub needed: usize,
    /// Bytes that there are.
    pub room: usize,
}

/// Flags of SRP_RSP.
mod flag {
    pub(super) const RSPVALID: u8 = 0x01;
    pub(super) const SNSVALID: u8 = 0x02;
    pub(super) const DOOVER: u8 = 0x04;
    pub(super) const DOUNDER: u8 = 0x08;
    pub(super) const DIOVER: u8 = 0x10;
    pub(super) const DIUNDER: u8 = 0x20;
}

/// A request whose second word is all that it says.
fn emit_short(out: &mut [u8], opcode: u8, tag: Tag, word: &[u8; 4]) -> Result<usize, EmitError> {
    if out.len() < SHORT_REQUEST_SIZE {
        return Err(EmitError {
            needed: SHORT_REQUEST_SIZE,
            room: out.len(),
        });
    }
    let mut unit = [0; SHORT_REQUEST_SIZE];
    unit[0] = opcode;
    put(&mut unit, 4, word);
    put(&mut unit, 8, &tag.to_bytes());
    put(out, 0, &unit);
    Ok(SHORT_REQUEST_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag(0x0102_0304_0506_0708);

    #[test]
    fn good() {
        let mut out = [0xff; 64];
        let response = Response::command(TAG, 1, 0, Residuals::NONE, &[]);
        assert_eq!(response.emit(&mut out, 64), Ok(36));
        let mut expected = [0; 36];
        expected[0] = 0xc1;
        expected[7] = 1;
        expected[8..16].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(out[..36], expected);
        assert_eq!(out[36..], [0xff; 28]);
    }

    #[test]
    fn sense_and_residual() {
        let mut out = [0; MAX_RESPONSE_SIZE];
        let sense = illegal_request_sense(0x24, 0);
        let residuals = Residuals::of_in(4096, 512, 0);
        let response = Response::check_condition(TAG, -1, residuals, &sense);
        assert_eq!(response.emit(&mut out, 8260), Ok(54));
        assert_eq!(out[4..8], [0xff; 4]);
        assert_eq!(out[18..20], [0x02 | 0x20, 2]);
        assert_eq!(out[20..28], [0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(out[28..36], [0, 0, 0, 18, 0, 0, 0, 0]);
        assert_eq!(out[36..54], sense);
    }

    #[test]
    fn sense_is_cut_off_at_the_limit() {
        let sense = [7; 300];
        let response = Response::check_condition(TAG, 1, Residuals::NONE, &sense);
        let mut out = [0; 512];
        assert_eq!(response.emit(&mut out, 64), Ok(64));
        assert_eq!(out[28..32], 28u32.to_be_bytes());
        assert_eq!(out[64..], [0; 448]);
        assert_eq!(response.emit(&mut out, 512), Ok(36 + MAX_SENSE));
        // No room for sense: the flag must not claim any.
        assert_eq!(response.emit(&mut out, 36), Ok(36));
        assert_eq!(out[18], 0);
        assert_eq!(
            response.emit(&mut out, 35),
            Err(EmitError {
                needed: 36,
                room: 35
            })
        );
        assert!(response.emit(&mut out[..35], 512).is_err());
    }

    #[test]
    fn task_management_result() {
        let mut out = [0; 64];
        let response = Response::task_management(TAG, 1, ResponseCode::FunctionNotSupported);
        assert_eq!(response.emit(&mut out, 64), Ok(40));
        assert_eq!(out[18], 0x01);
        assert_eq!(out[28..40], [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4]);
    }

    #[test]
    fn residuals() {
        assert_eq!(Residual::of(512, 512, 512), Residual::None);
        assert_eq!(Residual::of(36, 255, 36), Residual::Under(219));
        assert_eq!(Residual::of(1024, 512, 512), Residual::Over(512));
        assert_eq!(Residual::of(1024, 512, 0), Residual::Under(512));
        assert_eq!(Residual::of(0, 0, 0), Residual::None);
        assert_eq!(Residual::of(512, 0, 0), Residual::Over(512));
        assert_eq!(Residual::of(u64::MAX, 0, 0), Residual::Over(u32::MAX));
        let mut out = [0; 36];
        let residuals = Residuals::of_out(1024, 512, 512);
        let response = Response::command(TAG, 0, 0, residuals, &[]);
        assert_eq!(response.emit(&mut out, 64), Ok(36));
        assert_eq!(out[18], 0x04);
        assert_eq!(out[20..28], [0, 0, 2, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn requests() {
        let mut out = [0xff; 64];
        assert_eq!(emit_credit_request(&mut out, TAG, 3), Ok(16));
        assert_eq!(
            out[..16],
            [0x81, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8]
        );
        assert_eq!(
            emit_target_logout(&mut out, TAG, LogoutReason::InvalidLength),
            Ok(16)
        );
        assert_eq!(out[..8], [0x80, 0, 0, 0, 0, 0, 0, 8]);
        assert!(emit_credit_request(&mut out[..15], TAG, 3).is_err());

        let sense = [9; 64];
        let lun = [0, 5, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            emit_event_request(&mut out, 64, TAG, 2, lun, &sense),
            Ok(64)
        );
        assert_eq!(out[..8], [0x82, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(out[20..28], lun);
        assert_eq!(out[28..32], 28u32.to_be_bytes());
        assert_eq!(out[36..], [9; 28]);
        assert!(emit_event_request(&mut out, 35, TAG, 2, lun, &sense).is_err());
    }
}
