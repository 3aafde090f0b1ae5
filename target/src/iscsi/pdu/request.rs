//! What initiators send.

use thiserror::Error;

use super::ahs::Ahs;
use super::{Pdu, half, lun, opcode, word};
use crate::iscsi::login::LoginRequest;

/// F: the last, or nothing follows (several sections).
const FINAL: u8 = 0x80;
/// C: text that goes on (section 11.10.2).
const CONTINUE: u8 = 0x40;

/// A PDU from an initiator.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// A command.
    ScsiCommand(ScsiCommand<'a>),
    /// A task management function.
    TaskManagement(TaskManagement),
    /// A step of the login.
    Login(LoginRequest<'a>),
    /// Keys and values outside of the login.
    Text(TextRequest<'a>),
    /// Data of a command.
    DataOut(DataOut<'a>),
    /// The initiator is leaving.
    Logout(Logout),
    /// A ping, or the answer to ours.
    NopOut(NopOut<'a>),
    /// A request to send again; never agreed to at error recovery level 0.
    Snack,
    /// Anything else.
    Unknown(u8),
}

impl<'a> Request<'a> {
    /// Reads a PDU.
    pub fn parse(pdu: &Pdu<'a>) -> Result<Self, FieldError> {
        Ok(match pdu.opcode() {
            opcode::SCSI_COMMAND => Self::ScsiCommand(ScsiCommand::parse(pdu)?),
            opcode::TASK_MANAGEMENT => Self::TaskManagement(TaskManagement::parse(pdu)),
            opcode::LOGIN => Self::Login(login(pdu)),
            opcode::TEXT => Self::Text(TextRequest::parse(pdu)?),
            opcode::DATA_OUT => Self::DataOut(DataOut::parse(pdu)),
            opcode::LOGOUT => Self::Logout(Logout::parse(pdu)),
            opcode::NOP_OUT => Self::NopOut(NopOut::parse(pdu)),
            opcode::SNACK => Self::Snack,
            other => Self::Unknown(other),
        })
    }
}

/// SCSI Command (section 11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiCommand<'a> {
    /// Initiator task tag: names the command in all that follows.
    pub itt: u32,
    /// Its place in the order of commands; RefCmdSN of an abort has it.
    pub cmd_sn: u32,
    /// The logical unit number, in the form of SAM-5 4.7.
    pub lun: [u8; 8],
    /// How it is to be queued.
    pub attribute: TaskAttribute,
    /// R: there will be data in.
    pub reads: bool,
    /// W: there will be data out.
    pub writes: bool,
    /// Bytes that the initiator expects to move: out if there is data out, else in.
    pub expected_data_transfer_length: u32,
    /// Data out that came along.
    pub immediate: &'a [u8],
    /// Not F: unsolicited Data-Out PDUs follow.
    pub unsolicited_follows: bool,
    /// The CDB, or its start.
    pub cdb: &'a [u8; 16],
    /// The CDB from its seventeenth byte on: mostly nothing. See [`whole_cdb`](Self::whole_cdb).
    pub cdb_extension: &'a [u8],
}

impl<'a> ScsiCommand<'a> {
    /// Reads a PDU whose operation code is that of a command.
    #[inline]
    pub fn parse(pdu: &Pdu<'a>) -> Result<Self, FieldError> {
        let bhs = pdu.bhs;
        let flags = bhs[1];
        let (reads, writes) = (flags & 0x40 != 0, flags & 0x20 != 0);
        let cdb_extension = match pdu.ahs {
            [] => &[],
            ahs => Ahs::parse(ahs)?.cdb_extension,
        };
        // Section 11.3.1: W and F must not both be 0, and data comes with writes only.
        let unsolicited_follows = flags & FINAL == 0;
        if !writes && (unsolicited_follows || !pdu.data.is_empty()) {
            return Err(FieldError::DataWithoutWrite);
        }
        let [.., cdb] = bhs.as_chunks::<16>().0 else {
            return Err(FieldError::Ahs);
        };
        Ok(Self {
            itt: pdu.itt(),
            cmd_sn: pdu.cmd_sn(),
            lun: lun(bhs),
            attribute: TaskAttribute::parse(flags)?,
            reads,
            writes,
            expected_data_transfer_length: word::<20>(bhs),
            immediate: pdu.data,
            unsolicited_follows,
            cdb,
            cdb_extension,
        })
    }

    /// The CDB in one piece, in `scratch` if it has an extension.
    pub fn whole_cdb<'b>(&'b self, scratch: &'b mut [u8; 260]) -> &'b [u8] {
        let length = self.cdb.len() + self.cdb_extension.len();
        match (self.cdb_extension, scratch.get_mut(..length)) {
            ([], _) | (_, None) => self.cdb,
            (extension, Some(whole)) => {
                let (start, rest) = whole.split_at_mut(self.cdb.len());
                start.copy_from_slice(self.cdb);
                rest.copy_from_slice(extension);
                whole
            }
        }
    }
}

/// The task attribute (section 11.3.1, SAM-5 8.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAttribute {
    /// Untagged: one at a time, were it not for hosts that mean SIMPLE.
    Untagged,
    /// SIMPLE
    Simple,
    /// ORDERED
    Ordered,
    /// HEAD OF QUEUE
    HeadOfQueue,
    /// ACA
    Aca,
}

impl TaskAttribute {
    #[inline]
    fn parse(flags: u8) -> Result<Self, FieldError> {
        Ok(match flags & 0x07 {
            0 => Self::Untagged,
            1 => Self::Simple,
            2 => Self::Ordered,
            3 => Self::HeadOfQueue,
            4 => Self::Aca,
            other => return Err(FieldError::Attribute(other)),
        })
    }
}

/// SCSI Task Management Function Request (section 11.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagement {
    /// Initiator task tag of the request.
    pub itt: u32,
    /// The logical unit number, for functions that have one.
    pub lun: [u8; 8],
    /// What to do.
    pub function: ManagementFunction,
    /// The task that it is about, for ABORT TASK and TASK REASSIGN.
    pub referenced_task_tag: u32,
    /// CmdSN of the request: what came before it is what ABORT TASK SET and others are about.
    pub cmd_sn: u32,
    /// CmdSN of the task to abort.
    pub ref_cmd_sn: u32,
}

impl TaskManagement {
    fn parse(pdu: &Pdu<'_>) -> Self {
        Self {
            itt: pdu.itt(),
            lun: lun(pdu.bhs),
            function: ManagementFunction::from(pdu.bhs[1] & 0x7f),
            referenced_task_tag: word::<20>(pdu.bhs),
            cmd_sn: pdu.cmd_sn(),
            ref_cmd_sn: word::<32>(pdu.bhs),
        }
    }
}

/// Task management functions (section 11.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagementFunction {
    /// ABORT TASK
    AbortTask,
    /// ABORT TASK SET
    AbortTaskSet,
    /// CLEAR ACA
    ClearAca,
    /// CLEAR TASK SET
    ClearTaskSet,
    /// LOGICAL UNIT RESET
    LogicalUnitReset,
    /// TARGET WARM RESET
    TargetWarmReset,
    /// TARGET COLD RESET
    TargetColdReset,
    /// TASK REASSIGN: for error recovery level 2.
    TaskReassign,
    /// Not known, those of RFC 7144 included.
    Unknown(u8),
}

impl From<u8> for ManagementFunction {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::AbortTask,
            2 => Self::AbortTaskSet,
            3 => Self::ClearAca,
            4 => Self::ClearTaskSet,
            5 => Self::LogicalUnitReset,
            6 => Self::TargetWarmReset,
            7 => Self::TargetColdReset,
            8 => Self::TaskReassign,
            other => Self::Unknown(other),
        }
    }
}

/// Login Request (section 11.12).
pub fn login<'a>(pdu: &Pdu<'a>) -> LoginRequest<'a> {
    let bhs = pdu.bhs;
    let flags = bhs[1];
    LoginRequest {
        transit: flags & FINAL != 0,
        continue_: flags & CONTINUE != 0,
        csg: flags >> 2 & 0x03,
        nsg: flags & 0x03,
        version_max: bhs[2],
        version_min: bhs[3],
        isid: [bhs[8], bhs[9], bhs[10], bhs[11], bhs[12], bhs[13]],
        tsih: half::<14>(bhs),
        itt: pdu.itt(),
        cid: half::<20>(bhs),
        cmd_sn: pdu.cmd_sn(),
        exp_stat_sn: word::<28>(bhs),
        data: pdu.data,
    }
}

/// Text Request (section 11.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRequest<'a> {
    /// Initiator task tag; the same in all requests of an exchange.
    pub itt: u32,
    /// F: the initiator has nothing more to say.
    pub is_final: bool,
    /// C: this text goes on in the next request.
    pub continues: bool,
    /// The exchange that it goes on with, or [`RESERVED_TAG`](super::RESERVED_TAG) for a new one.
    pub ttt: u32,
    /// To be copied to the response.
    pub lun: [u8; 8],
    /// The text.
    pub data: &'a [u8],
}

impl<'a> TextRequest<'a> {
    fn parse(pdu: &Pdu<'a>) -> Result<Self, FieldError> {
        let flags = pdu.bhs[1];
        let (is_final, continues) = (flags & FINAL != 0, flags & CONTINUE != 0);
        if is_final && continues {
            return Err(FieldError::FinalAndContinue);
        }
        Ok(Self {
            itt: pdu.itt(),
            is_final,
            continues,
            ttt: word::<20>(pdu.bhs),
            lun: lun(pdu.bhs),
            data: pdu.data,
        })
    }
}

/// SCSI Data-Out (section 11.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataOut<'a> {
    /// The command that it belongs to.
    pub itt: u32,
    /// The R2T that it answers, or [`RESERVED_TAG`](super::RESERVED_TAG) if it is unsolicited.
    pub ttt: u32,
    /// As in the R2T.
    pub lun: [u8; 8],
    /// Counts the PDUs of a sequence.
    pub data_sn: u32,
    /// Where the data goes, in the command's data.
    pub offset: u32,
    /// The data.
    pub data: &'a [u8],
    /// F: the last of its sequence.
    pub is_final: bool,
}

impl<'a> DataOut<'a> {
    fn parse(pdu: &Pdu<'a>) -> Self {
        Self {
            itt: pdu.itt(),
            ttt: word::<20>(pdu.bhs),
            lun: lun(pdu.bhs),
            data_sn: word::<36>(pdu.bhs),
            offset: word::<40>(pdu.bhs),
            data: pdu.data,
            is_final: pdu.bhs[1] & FINAL != 0,
        }
    }
}

/// Logout Request (section 11.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logout {
    /// Initiator task tag.
    pub itt: u32,
    /// 0 closes the session, 1 the connection, 2 removes the connection for recovery.
    pub reason: u8,
    /// The connection to close, for other reasons than 0.
    pub cid: u16,
}

impl Logout {
    fn parse(pdu: &Pdu<'_>) -> Self {
        Self {
            itt: pdu.itt(),
            reason: pdu.bhs[1] & 0x7f,
            cid: half::<20>(pdu.bhs),
        }
    }
}

/// NOP-Out (section 11.18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NopOut<'a> {
    /// Initiator task tag of a ping, or [`RESERVED_TAG`](super::RESERVED_TAG) if no answer is wanted.
    pub itt: u32,
    /// Our ping that this answers, or [`RESERVED_TAG`](super::RESERVED_TAG).
    pub ttt: u32,
    /// As in our ping.
    pub lun: [u8; 8],
    /// To be sent back.
    pub data: &'a [u8],
}

impl<'a> NopOut<'a> {
    fn parse(pdu: &Pdu<'a>) -> Self {
        Self {
            itt: pdu.itt(),
            ttt: word::<20>(pdu.bhs),
            lun: lun(pdu.bhs),
            data: pdu.data,
        }
    }
}

/// A PDU whose fields make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FieldError {
    /// Additional header segments that are of no known type, twice there, or longer than what arrived.
    #[error("bad additional header segments")]
    Ahs,
    /// A task attribute that is reserved.
    #[error("task attribute {0}")]
    Attribute(u8),
    /// A command that writes nothing, with data.
    #[error("data with a command that writes nothing")]
    DataWithoutWrite,
    /// Text that both ends and goes on.
    #[error("text with F and C")]
    FinalAndContinue,
}
