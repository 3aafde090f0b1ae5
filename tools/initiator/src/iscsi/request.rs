//! Requests. [`Client`](super::Client) numbers them.

use super::pdu::{NO_TAG, Pdu, opcode};

/// Final.
const FINAL: u8 = 0x80;
/// Immediate delivery.
const IMMEDIATE: u8 = 0x40;

/// The data of a command, by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Neither bit.
    None,
    /// R: to the initiator.
    In,
    /// W: to the target.
    Out,
}

/// SCSI Command (RFC 7143 11.3). `expected` is the expected data transfer length, `attribute` the task attribute: 0 untagged,
/// 1 simple, 2 ordered, 3 head of queue, 4 ACA. What is beyond 16 bytes of the CDB goes into an additional header.
pub fn command(
    itt: u32,
    lun: [u8; 8],
    attribute: u8,
    cdb: &[u8],
    direction: Direction,
    expected: u32,
    immediate_data: Vec<u8>,
) -> Pdu {
    let mut pdu = Pdu::new(opcode::SCSI_COMMAND);
    let direction = match direction {
        Direction::None => 0,
        Direction::In => 0x40,
        Direction::Out => 0x20,
    };
    pdu.bhs[1] = FINAL | direction | attribute;
    pdu.bhs[8..16].copy_from_slice(&lun);
    pdu.set_word(16, itt);
    pdu.set_word(20, expected);
    let (fixed, extended) = cdb.split_at(cdb.len().min(16));
    pdu.bhs[32..32 + fixed.len()].copy_from_slice(fixed);
    if !extended.is_empty() {
        // AHSLength counts the reserved byte as well (RFC 7143 11.2.2.1).
        let mut ahs = (extended.len() as u16 + 1).to_be_bytes().to_vec();
        ahs.extend([1, 0]);
        ahs.extend_from_slice(extended);
        pdu.set_ahs(ahs);
    }
    pdu.set_data(immediate_data);
    pdu
}

/// Data-Out (RFC 7143 11.7), for streams. `ttt` is the R2T's, or [`NO_TAG`] for unsolicited data.
pub fn data_out(
    itt: u32,
    lun: [u8; 8],
    ttt: u32,
    data_sn: u32,
    offset: u32,
    data: Vec<u8>,
    last: bool,
) -> Pdu {
    let mut pdu = Pdu::new(opcode::DATA_OUT);
    pdu.bhs[1] = if last { FINAL } else { 0 };
    pdu.bhs[8..16].copy_from_slice(&lun);
    pdu.set_word(16, itt);
    pdu.set_word(20, ttt);
    pdu.set_word(36, data_sn);
    pdu.set_word(40, offset);
    pdu.set_data(data);
    pdu
}

/// NOP-Out (RFC 7143 11.18) that wants an answer.
pub fn nop_out(itt: u32, immediate: bool, data: Vec<u8>) -> Pdu {
    let mut pdu = Pdu::new(opcode::NOP_OUT | delivery(immediate));
    pdu.bhs[1] = FINAL;
    pdu.set_word(16, itt);
    pdu.set_word(20, NO_TAG);
    pdu.set_data(data);
    pdu
}

/// NOP-Out that answers the target's NOP-In.
pub fn nop_answer(ping: &Pdu) -> Pdu {
    let mut pdu = Pdu::new(opcode::NOP_OUT | IMMEDIATE);
    pdu.bhs[1] = FINAL;
    pdu.bhs[8..16].copy_from_slice(&ping.bhs[8..16]);
    pdu.set_word(16, NO_TAG);
    pdu.set_word(20, ping.word(20));
    pdu
}

/// Task Management Function Request (RFC 7143 11.5): 1 ABORT TASK, 2 ABORT TASK SET, 3 CLEAR ACA, 4 CLEAR TASK SET, 5 LOGICAL
/// UNIT RESET, 6 TARGET WARM RESET, 7 TARGET COLD RESET, 8 TASK REASSIGN.
pub fn task_management(
    itt: u32,
    lun: [u8; 8],
    function: u8,
    referenced: u32,
    referenced_cmd_sn: u32,
) -> Pdu {
    let mut pdu = Pdu::new(opcode::TASK_MANAGEMENT | IMMEDIATE);
    pdu.bhs[1] = FINAL | function;
    pdu.bhs[8..16].copy_from_slice(&lun);
    pdu.set_word(16, itt);
    pdu.set_word(20, referenced);
    pdu.set_word(32, referenced_cmd_sn);
    pdu
}

/// Text Request (RFC 7143 11.10). `ttt` continues a response that was not whole.
pub fn text(itt: u32, ttt: u32, data: Vec<u8>, last: bool) -> Pdu {
    let mut pdu = Pdu::new(opcode::TEXT);
    pdu.bhs[1] = if last { FINAL } else { 0x40 };
    pdu.set_word(16, itt);
    pdu.set_word(20, ttt);
    pdu.set_data(data);
    pdu
}

/// Logout Request (RFC 7143 11.14): 0 close the session, 1 close the connection, 2 remove it for recovery.
pub fn logout(itt: u32, reason: u8, cid: u16) -> Pdu {
    let mut pdu = Pdu::new(opcode::LOGOUT | IMMEDIATE);
    pdu.bhs[1] = FINAL | reason;
    pdu.set_word(16, itt);
    pdu.bhs[20..22].copy_from_slice(&cid.to_be_bytes());
    pdu
}

fn delivery(immediate: bool) -> u8 {
    if immediate { IMMEDIATE } else { 0 }
}
