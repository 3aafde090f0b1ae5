//! Information units from the initiator.

use thiserror::Error;

use super::buffers::{BufferError, Data, Header};
use super::response::{LogoutReason, ResponseCode};
use super::wire::{self, Tag, array, opcode};

/// Bytes of SRP_CMD before the additional CDB.
pub const COMMAND_SIZE: usize = 48;
/// Bytes of SRP_TSK_MGMT.
pub const TASK_MANAGEMENT_SIZE: usize = 48;

/// What an initiator may send once it is logged in.
#[derive(Clone, Debug)]
pub enum InformationUnit<'a> {
    /// SRP_CMD. Costs a credit.
    Command(Command<'a>),
    /// SRP_TSK_MGMT. Costs a credit.
    TaskManagement(TaskManagement),
    /// SRP_I_LOGOUT: the initiator is about to disconnect. There is no response.
    InitiatorLogout {
        /// Its tag.
        tag: Tag,
    },
    /// SRP_CRED_RSP, the answer to our SRP_CRED_REQ. Costs no credit.
    CredRsp {
        /// The tag of our request.
        tag: Tag,
    },
    /// SRP_AER_RSP, the answer to our SRP_AER_REQ. Costs no credit.
    AerRsp {
        /// The tag of our request.
        tag: Tag,
    },
    /// Anything else, a second login included. SRP ends the channel for it: see [`Refusal::UNKNOWN_TYPE`].
    Unknown {
        /// Its type.
        opcode: u8,
        /// Its tag, if that much arrived.
        tag: Option<Tag>,
    },
}

impl<'a> InformationUnit<'a> {
    /// Reads exactly the bytes that arrived: the receive buffer up to the completion's `byte_len`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IuError> {
        let opcode = *bytes.first().ok_or(IuError::Empty)?;
        let tag = wire::tag(bytes);
        match opcode {
            opcode::CMD => Command::parse(bytes).map(Self::Command),
            opcode::TSK_MGMT => TaskManagement::parse(bytes).map(Self::TaskManagement),
            opcode::I_LOGOUT => Ok(Self::InitiatorLogout {
                tag: tag.ok_or(IuError::NoTag { opcode })?,
            }),
            opcode::CRED_RSP => Ok(Self::CredRsp {
                tag: tag.ok_or(IuError::NoTag { opcode })?,
            }),
            opcode::AER_RSP => Ok(Self::AerRsp {
                tag: tag.ok_or(IuError::NoTag { opcode })?,
            }),
            _ => Ok(Self::Unknown { opcode, tag }),
        }
    }
}

/// A SCSI command as it arrived (SRP r16a 6.8). Its data descriptors are read by [`data`](Self::data).
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Names it in the response, and in task management.
    pub tag: Tag,
    /// The logical unit number, in the form of SAM-5 4.7.
    pub lun: [u8; 8],
    /// The task attribute.
    pub attribute: TaskAttribute,
    /// The CDB with its additional bytes: at least 16, mostly more than the operation code needs.
    pub cdb: &'a [u8],
    buffers: Header<'a>,
}

impl<'a> Command<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, IuError> {
        let tag = wire::tag(bytes).ok_or(IuError::NoTag {
            opcode: opcode::CMD,
        })?;
        let too_short = IuError::CommandTooShort { tag };
        let header: [u8; COMMAND_SIZE] = array(bytes, 0).ok_or(too_short)?;
        // In units of four bytes, in the upper six bits.
        let cdb_end = COMMAND_SIZE + usize::from(header[31] & !3);
        Ok(Self {
            tag,
            lun: array(&header, 20).ok_or(too_short)?,
            attribute: TaskAttribute::parse(header[29]).ok_or(IuError::TaskAttribute {
                tag,
                value: header[29],
            })?,
            cdb: bytes.get(32..cdb_end).ok_or(too_short)?,
            buffers: Header {
                bytes,
                at: cdb_end,
                formats: header[5],
                out_count: header[6],
                in_count: header[7],
            },
        })
    }

    /// Where the command's data is. `immediate` is the offset of immediate data if login agreed on it.
    pub fn data(&self, immediate: Option<u16>) -> Result<Data<'a>, BufferError> {
        self.buffers.data(immediate)
    }
}

/// The task attribute (SAM-5 8.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAttribute {
    /// SIMPLE
    Simple,
    /// HEAD OF QUEUE
    HeadOfQueue,
    /// ORDERED
    Ordered,
    /// ACA
    Aca,
}

impl TaskAttribute {
    fn parse(byte: u8) -> Option<Self> {
        match byte & 0x07 {
            0 => Some(Self::Simple),
            1 => Some(Self::HeadOfQueue),
            2 => Some(Self::Ordered),
            4 => Some(Self::Aca),
            _ => None,
        }
    }
}

/// A task management request (SRP r16a 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagement {
    /// Names it in the response.
    pub tag: Tag,
    /// The logical unit number.
    pub lun: [u8; 8],
    /// What to do.
    pub function: TaskManagementFunction,
    /// The command to abort, for ABORT TASK.
    pub task: Tag,
}

impl TaskManagement {
    fn parse(bytes: &[u8]) -> Result<Self, IuError> {
        let tag = wire::tag(bytes).ok_or(IuError::NoTag {
            opcode: opcode::TSK_MGMT,
        })?;
        let too_short = IuError::TaskManagementTooShort { tag };
        let unit: [u8; TASK_MANAGEMENT_SIZE] = array(bytes, 0).ok_or(too_short)?;
        Ok(Self {
            tag,
            lun: array(&unit, 20).ok_or(too_short)?,
            function: TaskManagementFunction::from(unit[30]),
            task: array(&unit, 32).map(Tag::from_bytes).ok_or(too_short)?,
        })
    }
}

/// What a task management request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskManagementFunction {
    /// ABORT TASK
    AbortTask,
    /// ABORT TASK SET
    AbortTaskSet,
    /// CLEAR TASK SET
    ClearTaskSet,
    /// LOGICAL UNIT RESET
    LunReset,
    /// CLEAR ACA
    ClearAca,
    /// Not known: answer with [`ResponseCode::FunctionNotSupported`].
    Unknown(u8),
}

impl From<u8> for TaskManagementFunction {
    fn from(code: u8) -> Self {
        match code {
            0x01 => Self::AbortTask,
            0x02 => Self::AbortTaskSet,
            0x04 => Self::ClearTaskSet,
            0x08 => Self::LunReset,
            0x40 => Self::ClearAca,
            other => Self::Unknown(other),
        }
    }
}

/// An information unit that cannot be served as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IuError {
    /// No byte arrived.
    #[error("empty information unit")]
    Empty,
    /// It ends before its tag.
    #[error("information unit of type {opcode:#04x} ends before its tag")]
    NoTag {
        /// Its type.
        opcode: u8,
    },
    /// A command that ends before its CDB does.
    #[error("command {tag} is too short")]
    CommandTooShort {
        /// The command.
        tag: Tag,
    },
    /// A command with a task attribute that SAM-5 does not define.
    #[error("command {tag} has task attribute {value:#04x}")]
    TaskAttribute {
        /// The command.
        tag: Tag,
        /// The byte.
        value: u8,
    },
    /// A task management request that is too short.
    #[error("task management request {tag} is too short")]
    TaskManagementTooShort {
        /// The request.
        tag: Tag,
    },
}

impl IuError {
    /// The tag to answer to, where there is one.
    pub fn tag(self) -> Option<Tag> {
        match self {
            Self::Empty | Self::NoTag { .. } => None,
            Self::CommandTooShort { tag }
            | Self::TaskAttribute { tag, .. }
            | Self::TaskManagementTooShort { tag } => Some(tag),
        }
    }

    /// How to answer. Whatever has a tag cost the initiator a credit, which the answer gives back.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Empty | Self::NoTag { .. } => Refusal::Disconnect(LogoutReason::InvalidLength),
            Self::CommandTooShort { .. } => Refusal::IU_TOO_SHORT,
            Self::TaskAttribute { .. } => Refusal::INVALID_FIELD_IN_IU,
            Self::TaskManagementTooShort { .. } => {
                Refusal::Response(ResponseCode::RequestFieldsInvalid)
            }
        }
    }
}

/// How to answer what cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// SRP_RSP with CHECK CONDITION and ILLEGAL REQUEST. The answer to every bad command: initiators, Linux among them, look
    /// at the response code for task management only, so that a command refused by it would pass for a good one.
    CheckCondition {
        /// Additional sense code.
        asc: u8,
        /// Additional sense code qualifier.
        ascq: u8,
    },
    /// SRP_RSP with response data, for task management.
    Response(ResponseCode),
    /// SRP_T_LOGOUT, then disconnect.
    Disconnect(LogoutReason),
}

impl Refusal {
    /// INFORMATION UNIT TOO SHORT (SPC-5 table of additional sense codes)
    pub const IU_TOO_SHORT: Self = Self::CheckCondition {
        asc: 0x0e,
        ascq: 0x01,
    };
    /// INVALID FIELD IN COMMAND INFORMATION UNIT
    pub const INVALID_FIELD_IN_IU: Self = Self::CheckCondition {
        asc: 0x0e,
        ascq: 0x03,
    };
    /// For [`InformationUnit::Unknown`].
    pub const UNKNOWN_TYPE: Self = Self::Disconnect(LogoutReason::InvalidType);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A command with an additional CDB, up to where its descriptors start.
    pub(in super::super) fn command(formats: u8, additional_cdb: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; COMMAND_SIZE];
        bytes[0] = 0x02;
        bytes[5] = formats;
        bytes[8..16].copy_from_slice(&[0x80, 1, 2, 3, 4, 5, 6, 7]);
        bytes[20..28].copy_from_slice(&[0, 3, 0, 0, 0, 0, 0, 0]);
        bytes[31] = additional_cdb.len() as u8;
        bytes[32] = 0x28;
        bytes.extend_from_slice(additional_cdb);
        bytes
    }

    pub(in super::super) fn descriptor(address: u64, key: u32, length: u32) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_be_bytes());
        bytes[8..12].copy_from_slice(&key.to_be_bytes());
        bytes[12..].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    #[test]
    fn a_command() {
        let mut bytes = command(0, &[0xaa; 16]);
        bytes[29] = 2;
        // The two low bits of the additional length are reserved.
        bytes[31] = 19;
        let Ok(InformationUnit::Command(command)) = InformationUnit::parse(&bytes) else {
            panic!("no command")
        };
        assert_eq!(command.tag, Tag(0x8001_0203_0405_0607));
        assert_eq!(command.lun, [0, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(command.attribute, TaskAttribute::Ordered);
        assert_eq!(command.cdb.len(), 32);
        assert_eq!(command.cdb[0], 0x28);
        assert_eq!(command.cdb[16..], [0xaa; 16]);
        assert_eq!(command.data(None), Ok(Data::None));

        for length in 16..bytes.len() {
            let error = InformationUnit::parse(&bytes[..length]).unwrap_err();
            assert_eq!(error, IuError::CommandTooShort { tag: command.tag });
            assert_eq!(error.refusal(), Refusal::IU_TOO_SHORT);
        }
        for length in 1..16 {
            let error = InformationUnit::parse(&bytes[..length]).unwrap_err();
            assert_eq!(error, IuError::NoTag { opcode: 2 });
            assert!(matches!(error.refusal(), Refusal::Disconnect(_)));
        }
        bytes[29] = 3;
        let error = InformationUnit::parse(&bytes).unwrap_err();
        assert_eq!(error.tag(), Some(Tag(0x8001_0203_0405_0607)));
    }

    #[test]
    fn task_management() {
        let mut bytes = vec![0; 48];
        bytes[0] = 1;
        bytes[8..16].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0x80]);
        bytes[20..28].copy_from_slice(&[0x40, 1, 0, 0, 0, 0, 0, 0]);
        bytes[30] = 1;
        bytes[32..40].copy_from_slice(&[9; 8]);
        let Ok(InformationUnit::TaskManagement(request)) = InformationUnit::parse(&bytes) else {
            panic!("no task management")
        };
        assert_eq!(
            request,
            TaskManagement {
                tag: Tag(0x80),
                lun: [0x40, 1, 0, 0, 0, 0, 0, 0],
                function: TaskManagementFunction::AbortTask,
                task: Tag(0x0909_0909_0909_0909),
            }
        );
        let error = InformationUnit::parse(&bytes[..47]).unwrap_err();
        assert_eq!(error.tag(), Some(Tag(0x80)));
        assert_eq!(
            error.refusal(),
            Refusal::Response(ResponseCode::RequestFieldsInvalid)
        );
        assert_eq!(
            TaskManagementFunction::from(0x80),
            TaskManagementFunction::Unknown(0x80)
        );
    }

    #[test]
    fn the_others() {
        let unit = |opcode: u8| {
            let mut bytes = vec![opcode, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend(5u64.to_be_bytes());
            bytes
        };
        assert!(matches!(
            InformationUnit::parse(&unit(0x03)),
            Ok(InformationUnit::InitiatorLogout { tag: Tag(5) })
        ));
        assert!(matches!(
            InformationUnit::parse(&unit(0x41)),
            Ok(InformationUnit::CredRsp { tag: Tag(5) })
        ));
        assert!(matches!(
            InformationUnit::parse(&unit(0x42)),
            Ok(InformationUnit::AerRsp { tag: Tag(5) })
        ));
        assert!(matches!(
            InformationUnit::parse(&unit(0x00)),
            Ok(InformationUnit::Unknown {
                opcode: 0,
                tag: Some(Tag(5))
            })
        ));
        assert!(matches!(
            InformationUnit::parse(&[0xff]),
            Ok(InformationUnit::Unknown {
                opcode: 0xff,
                tag: None
            })
        ));
        assert_eq!(InformationUnit::parse(&[]).unwrap_err(), IuError::Empty);
        assert_eq!(
            InformationUnit::parse(&unit(0x41)[..15]).unwrap_err(),
            IuError::NoTag { opcode: 0x41 }
        );
    }
}
