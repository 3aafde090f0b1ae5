//! What a connection speaks: from its messages to tasks, and from tasks that have ended to responses.

use pagecast_core::scsi::{Command, Sense, SenseCode, SenseKey};
use pagecast_rdma::fabric::Operation;

use super::iscsi;
use super::manage::ManagementRequest;
use super::nvme;
use super::srp;
use super::task::{Ending, Task};
pub use crate::iscsi::connection::Then;
use crate::iscsi::login::{LoginFailure, LoginSummary};

/// One connection's protocol state.
#[derive(Debug)]
pub enum Protocol {
    /// SCSI RDMA Protocol.
    Srp(srp::Channel),
    /// iSCSI, over iSER or TCP.
    Iscsi(Box<iscsi::Channel>),
    /// NVMe over RDMA.
    Nvme(Box<nvme::Channel>),
}

/// What a message asks for.
#[derive(Debug)]
pub enum Received<'a> {
    /// A command. The task has its tag and buffers.
    Command(Command<'a>),
    /// A request that cannot be served; answer it so.
    Refused(Ending),
    /// A task management function.
    Management(ManagementRequest),
    /// Nothing more to do: post the receive again.
    Consumed,
    /// A login that the control thread has to decide about. The message is consumed.
    Login(Box<LoginSummary>),
    /// A login that failed; it is answered already. The message is consumed.
    LoginFailed(Box<LoginFailure>),
    /// The initiator is leaving.
    Logout,
    /// The initiator broke the protocol: take leave of it.
    Violation(String),
}

impl Protocol {
    /// Writes the response that a task ended in; returns its length and how it is sent.
    #[inline]
    pub fn respond(&mut self, task: &Task, out: &mut [u8]) -> (usize, Operation) {
        match self {
            Self::Srp(channel) => (channel.respond(task, out), Operation::Send),
            Self::Iscsi(channel) => channel.respond(task, out),
            Self::Nvme(channel) => channel.respond(task, out),
        }
    }

    /// A task that gets no response went away.
    pub fn dropped(&mut self) {
        match self {
            Self::Srp(channel) => channel.dropped(),
            Self::Iscsi(channel) => channel.dropped(),
            Self::Nvme(_) => {}
        }
    }

    /// Whether a message that belongs to no task is due.
    #[inline]
    pub fn has_control(&self) -> bool {
        match self {
            Self::Srp(channel) => channel.credits.credit_request_due(),
            Self::Iscsi(channel) => channel.has_control(),
            Self::Nvme(_) => false,
        }
    }

    /// Writes a message that belongs to no task; returns its length (0 if there is none after all), and whether the connection
    /// ends with it.
    pub fn control(&mut self, out: &mut [u8]) -> (usize, Then) {
        match self {
            Self::Srp(channel) => (channel.credit_request(out).unwrap_or(0), Then::GoOn),
            Self::Iscsi(channel) => channel.control(out),
            Self::Nvme(_) => (0, Then::GoOn),
        }
    }

    /// Writes the message that tells an initiator that its connection ends; returns its length, 0 if the protocol has none.
    pub fn farewell(&mut self, out: &mut [u8]) -> usize {
        match self {
            Self::Srp(channel) => channel.farewell(out),
            Self::Iscsi(channel) => channel.farewell(out),
            Self::Nvme(_) => 0,
        }
    }
}

/// CHECK CONDITION with ILLEGAL REQUEST.
pub fn illegal_request(asc: u8, ascq: u8) -> Ending {
    let sense = Sense::from(SenseCode {
        key: SenseKey::IllegalRequest,
        asc,
        ascq,
    });
    Ending::Scsi(pagecast_core::scsi::Response::check_condition(sense))
}

/// INVALID FIELD IN COMMAND INFORMATION UNIT: a buffer for the other direction, say.
pub fn invalid_field() -> Ending {
    illegal_request(0x0e, 0x03)
}
