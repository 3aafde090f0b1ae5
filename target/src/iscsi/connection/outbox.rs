//! PDUs of ours that belong to no task, waiting to be sent.

use std::collections::VecDeque;

use crate::iscsi::login::LoginResponse;
use crate::iscsi::pdu::response::emit_login;
use crate::iscsi::pdu::{
    AsyncEvent, AsyncMessage, BHS_LENGTH, LogoutResponse, NopIn, Numbers, RESERVED_TAG, Reject,
    RejectReason, TextResponse, padded,
};

/// Most bytes of ping data that wait to be sent back. One ping may bring more, if it is the only one.
const MAX_ECHO: usize = 64 << 10;

/// What happens once a PDU is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    GoOn,
    /// The connection is to be closed.
    Close,
    /// The login is over: digests are in use from the next PDU on, in both directions, and SCSI commands may come.
    FullFeature,
}

/// A PDU to send.
#[derive(Debug)]
pub(super) enum Control {
    /// A step of the login.
    Login(Box<LoginResponse>, Then),
    /// The answer to a ping; a task until it is sent.
    Echo {
        itt: u32,
        lun: [u8; 8],
        data: Vec<u8>,
    },
    /// A ping of ours.
    Ping { ttt: u32 },
    /// Part of a text exchange; a task until it is sent.
    Text(TextReply),
    /// The answer to a logout; a task until it is sent.
    Logout(LogoutResponse, Then),
    /// A PDU was rejected.
    Reject {
        reason: RejectReason,
        header: [u8; BHS_LENGTH],
    },
    /// Something happens to the connection.
    Async(AsyncMessage, Then),
}

/// A text response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextReply {
    pub(super) itt: u32,
    pub(super) lun: [u8; 8],
    pub(super) ttt: u32,
    pub(super) is_final: bool,
    pub(super) continues: bool,
    pub(super) data: Vec<u8>,
}

impl Control {
    /// Whether it ends a task of the window.
    pub(super) fn ends_task(&self) -> bool {
        matches!(self, Self::Echo { .. } | Self::Text(_) | Self::Logout(..))
    }

    /// Whether it takes a status number (RFC 7143 section 4.2.2.2).
    pub(super) fn has_status(&self) -> bool {
        !matches!(self, Self::Ping { .. })
    }

    /// What happens after.
    pub(super) fn then(&self) -> Then {
        match self {
            Self::Login(_, then) | Self::Logout(_, then) | Self::Async(_, then) => *then,
            _ => Then::GoOn,
        }
    }

    fn is_about_luns(&self) -> bool {
        matches!(self, Self::Async(message, _) if matches!(message.event, AsyncEvent::Scsi { .. }))
    }

    fn data_length(&self) -> usize {
        match self {
            Self::Login(response, _) => response.data.len(),
            Self::Echo { data, .. } | Self::Text(TextReply { data, .. }) => data.len(),
            Self::Reject { .. } => BHS_LENGTH,
            Self::Async(message, _) => message.data_length(),
            Self::Ping { .. } | Self::Logout(..) => 0,
        }
    }

    /// Writes it.
    pub(super) fn emit(&self, numbers: Numbers, out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Login(response, _) => emit_login(response, numbers, out),
            Self::Echo { itt, lun, data } => NopIn {
                itt: *itt,
                ttt: RESERVED_TAG,
                lun: *lun,
                data,
            }
            .emit(numbers, out),
            Self::Ping { ttt } => NopIn {
                itt: RESERVED_TAG,
                ttt: *ttt,
                lun: [0; 8],
                data: &[],
            }
            .emit(numbers, out),
            Self::Text(reply) => TextResponse {
                itt: reply.itt,
                lun: reply.lun,
                ttt: reply.ttt,
                is_final: reply.is_final,
                continues: reply.continues,
                data: &reply.data,
            }
            .emit(numbers, out),
            Self::Logout(response, _) => response.emit(numbers, out),
            Self::Reject { reason, header } => Reject {
                reason: *reason,
                header,
            }
            .emit(numbers, out),
            Self::Async(message, _) => message.emit(numbers, out),
        }
    }
}

/// The queue. It is as long as there may be tasks, rejects and login responses at most, which others see to.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Control>,
    /// Bytes of ping data.
    echoes: usize,
    /// A text response is in the queue.
    text: bool,
    /// The news of another LUN map is in the queue.
    luns: bool,
}

impl Outbox {
    /// Appends.
    pub(super) fn push(&mut self, control: Control) {
        match &control {
            Control::Echo { data, .. } => self.echoes += data.len(),
            Control::Text(_) => self.text = true,
            control if control.is_about_luns() => self.luns = true,
            _ => {}
        }
        self.queue.push_back(control);
    }

    /// Whether there is room to send so many bytes of a ping back.
    pub(super) fn takes_echo(&self, length: usize) -> bool {
        self.echoes == 0 || self.echoes.saturating_add(length) <= MAX_ECHO
    }

    /// The next one.
    pub(super) fn front(&self) -> Option<&Control> {
        self.queue.front()
    }

    /// It is sent.
    pub(super) fn pop(&mut self) {
        match self.queue.pop_front() {
            Some(Control::Echo { data, .. }) => self.echoes -= data.len(),
            Some(Control::Text(_)) => self.text = false,
            Some(control) if control.is_about_luns() => self.luns = false,
            _ => {}
        }
    }

    /// Whether a text response waits; there is never more than one.
    pub(super) fn has_text(&self) -> bool {
        self.text
    }

    /// Whether the news of another LUN map waits; older news is told along with it.
    pub(super) fn has_luns(&self) -> bool {
        self.luns
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes that the next one needs.
    pub(super) fn next_length(&self) -> Option<usize> {
        let next = self.queue.front()?;
        Some(BHS_LENGTH + padded(next.data_length()))
    }

    /// PDUs that wait, and bytes of their data segments.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        let owned = |control: &Control| match control {
            Control::Reject { .. } => 0,
            control => control.data_length(),
        };
        (self.queue.len(), self.queue.iter().map(owned).sum())
    }
}
