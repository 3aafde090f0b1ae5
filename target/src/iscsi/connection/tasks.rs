//! PDUs of ours that belong to a task. They are written when they are sent, since they carry the numbers of that moment.
//!
//! Each needs room for a basic header segment, and returns the bytes that it wrote: none if there was no room.

use super::Connection;
use crate::iscsi::pdu::{DataIn, ManagementResponse, R2T, Residual, ScsiResponse};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// 0 if the command completed at the target, 1 for a target failure (RFC 7143 section 11.4.3).
    pub response: u8,
    /// SCSI status.
    pub status: u8,
    /// Data that was not moved.
    pub residual: Residual,
    /// Sense data; may be empty.
    pub sense: &'a [u8],
    /// Data-In PDUs, or R2Ts, that the command had; zero on iSER.
    pub exp_data_sn: u32,
}

impl Outcome<'_> {
    /// Everything went well.
    pub const GOOD: Self = Self {
        response: 0,
        status: 0,
        residual: Residual::None,
        sense: &[],
        exp_data_sn: 0,
    };
}

/// Longest response to a command or a task management function: sense data is 252 bytes at most.
pub const MAX_RESPONSE: usize = 48 + 256;

impl Connection {
    /// Ends a command. Sense data is cut off at what the initiator takes.
    #[inline]
    pub fn scsi_response(&mut self, out: &mut [u8], itt: u32, outcome: &Outcome<'_>) -> usize {
        self.window.ended();
        let response = ScsiResponse {
            itt,
            response: outcome.response,
            status: outcome.status,
            residual: outcome.residual,
            sense: outcome.sense,
            exp_data_sn: outcome.exp_data_sn,
        };
        let numbers = self.numbers();
        self.with_status(response.emit(numbers, self.longest_data, out))
    }

    /// Ends a task management function.
    pub fn management_response(
        &mut self,
        out: &mut [u8],
        itt: u32,
        response: ManagementResponse,
    ) -> usize {
        self.window.ended();
        let numbers = self.numbers();
        self.with_status(response.emit(itt, numbers, out))
    }

    /// Writes the header of data in. Ends the command if the PDU does.
    #[inline]
    pub fn data_in(&mut self, out: &mut [u8], data: &DataIn) -> usize {
        if data.end.is_some() {
            self.window.ended();
            let numbers = self.numbers();
            self.with_status(data.emit(numbers, out))
        } else {
            let numbers = self.numbers();
            data.emit(numbers, out).unwrap_or(0)
        }
    }

    /// Asks for data out.
    pub fn r2t(&mut self, out: &mut [u8], r2t: &R2T) -> usize {
        let numbers = self.numbers();
        r2t.emit(numbers, out).unwrap_or(0)
    }

    /// A command or a task management function ended without a response: it was aborted.
    #[inline]
    pub fn task_ended(&mut self) {
        self.window.ended();
    }

    /// A PDU with a status number of its own.
    #[inline]
    fn with_status(&mut self, length: Option<usize>) -> usize {
        match length {
            Some(length) => {
                self.stat_sn = self.stat_sn.wrapping_add(1);
                length
            }
            None => 0,
        }
    }
}
