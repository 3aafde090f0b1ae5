//! What a PDU from the initiator comes to.

use crate::iscsi::login::{LoginFailure, LoginSummary};
use crate::iscsi::pdu::{DataOut, ScsiCommand, TaskManagement};

/// What is to be done.
#[derive(Debug)]
pub enum Event<'a> {
    /// Nothing more; maybe there is something in the outbox.
    Consumed,
    /// A command. It is in service until [`scsi_response`](super::Connection::scsi_response), a last
    /// [`data_in`](super::Connection::data_in) with its end, or [`task_ended`](super::Connection::task_ended).
    Command(ScsiCommand<'a>),
    /// A command to answer with CHECK CONDITION, and not to execute. In service like others.
    Refused(ScsiCommand<'a>, Refusal),
    /// Data of a command. If there is no such command, it was aborted or refused, and the data means nothing.
    DataOut(DataOut<'a>),
    /// A task management function. In service until [`management_response`](super::Connection::management_response).
    Management(TaskManagement),
    /// Somebody who has proved who they are wants a normal session. Call [`admitted`](super::Connection::admitted) or
    /// [`refused`](super::Connection::refused).
    Admit(Box<LoginSummary>),
    /// The login failed. The answer is in the outbox; close when it says so.
    LoginFailed(Box<LoginFailure>),
    /// The initiator logs out. The answer is in the outbox; close when it says so. Its tasks end.
    Logout,
    /// The initiator broke the protocol in a way that leaves nothing to say: drop the connection.
    Violation(String),
}

/// Why a command is not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Unsolicited data that was not agreed to.
    UnexpectedUnsolicitedData,
    /// More unsolicited data than was agreed to, or than the command is about.
    IncorrectAmountOfData,
    /// Data in both directions.
    Bidirectional,
}

impl Refusal {
    /// Sense key, additional sense code and qualifier (RFC 7143 section 11.4.7.2).
    pub const fn sense(self) -> (u8, u8, u8) {
        match self {
            // ABORTED COMMAND, WRITE ERROR - UNEXPECTED UNSOLICITED DATA
            Self::UnexpectedUnsolicitedData => (0x0b, 0x0c, 0x0c),
            // ABORTED COMMAND, WRITE ERROR - NOT ENOUGH UNSOLICITED DATA, which the RFC has as "incorrect amount".
            Self::IncorrectAmountOfData => (0x0b, 0x0c, 0x0d),
            // ILLEGAL REQUEST, INVALID FIELD IN COMMAND INFORMATION UNIT
            Self::Bidirectional => (0x05, 0x0e, 0x03),
        }
    }
}
