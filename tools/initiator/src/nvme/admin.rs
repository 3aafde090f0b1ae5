//! Admin commands (NVMe base 2.0 section 5), and those of fabrics (section 6).

use super::codec::Sqe;
use super::command::{Command, Data};

/// Opcodes.
pub mod opcode {
    /// Get Log Page
    pub const GET_LOG_PAGE: u8 = 0x02;
    /// Identify
    pub const IDENTIFY: u8 = 0x06;
    /// Abort
    pub const ABORT: u8 = 0x08;
    /// Set Features
    pub const SET_FEATURES: u8 = 0x09;
    /// Get Features
    pub const GET_FEATURES: u8 = 0x0a;
    /// Asynchronous Event Request
    pub const ASYNC_EVENT: u8 = 0x0c;
    /// Keep Alive
    pub const KEEP_ALIVE: u8 = 0x18;
    /// All commands of fabrics
    pub const FABRICS: u8 = 0x7f;
}

/// Offsets of properties (NVMe base 2.0 section 3.1.3).
pub mod property {
    /// Controller capabilities: 8 bytes
    pub const CAP: u32 = 0x00;
    /// Version
    pub const VS: u32 = 0x08;
    /// Controller configuration
    pub const CC: u32 = 0x14;
    /// Controller status
    pub const CSTS: u32 = 0x1c;
    /// Controller ready timeouts
    pub const CRTO: u32 = 0x68;
}

/// Properties are 4 or 8 bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 4 bytes.
    Four = 0,
    /// 8 bytes.
    Eight = 1,
}

/// Everything that Get Log Page takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// Log page identifier.
    pub id: u8,
    /// Whose.
    pub nsid: u32,
    /// Bytes; a multiple of 4.
    pub length: u32,
    /// Where to start.
    pub offset: u64,
    /// Log specific field.
    pub specific: u8,
    /// Events that the page tells of stay.
    pub retain: bool,
}

/// A fabrics command of this type.
pub fn fabrics(kind: u8) -> Command {
    Command {
        // There is no namespace: byte 4 is the type.
        entry: {
            let mut entry = Sqe::new(opcode::FABRICS, 0);
            entry.0[4] = kind;
            entry
        },
        data: Data::None,
    }
}

/// Property Get.
pub fn property_get(offset: u32, width: Width) -> Command {
    fabrics(0x04).dword(10, width as u32).dword(11, offset)
}

/// Property Set, of 4 bytes.
pub fn property_set(offset: u32, value: u32) -> Command {
    property_set_wide(offset, Width::Four, u64::from(value))
}

/// Property Set.
pub fn property_set_wide(offset: u32, width: Width, value: u64) -> Command {
    fabrics(0x00)
        .dword(10, width as u32)
        .dword(11, offset)
        .quad(12, value)
}

/// Authentication Send of DH-HMAC-CHAP messages (NVMe base 2.0 section 6.1).
pub fn authentication_send(message: Vec<u8>) -> Command {
    let length = message.len() as u32;
    authentication(0x05, length, Data::InCapsule(message))
}

/// Authentication Receive, into `data`, of at most `length` bytes.
pub fn authentication_receive(length: u32, data: Data) -> Command {
    authentication(0x06, length, data)
}

/// Authentication Send (5) or Receive (6) for security protocol E9h, with its specific fields 01h.
pub fn authentication(kind: u8, length: u32, data: Data) -> Command {
    fabrics(kind)
        .dword(10, 0xe9 << 24 | 1 << 16 | 1 << 8)
        .dword(11, length)
        .with(data)
}

/// Disconnect (NVMe base 2.0 section 6.4).
pub fn disconnect() -> Command {
    fabrics(0x08)
}

/// Identify.
pub fn identify(structure: u8, nsid: u32, data: Data) -> Command {
    Command::new(opcode::IDENTIFY, nsid)
        .dword(10, u32::from(structure))
        .with(data)
}

/// Get Log Page.
pub fn get_log_page(page: LogPage, data: Data) -> Command {
    let dwords = (page.length / 4).wrapping_sub(1);
    let first = u32::from(page.id)
        | u32::from(page.specific & 0x7f) << 8
        | u32::from(page.retain) << 15
        | dwords << 16;
    Command::new(opcode::GET_LOG_PAGE, page.nsid)
        .dword(10, first)
        .dword(11, dwords >> 16)
        .quad(12, page.offset)
        .with(data)
}

/// Set Features, for as long as the controller lives.
pub fn set_features(feature: u8, nsid: u32, value: u32, data: Data) -> Command {
    Command::new(opcode::SET_FEATURES, nsid)
        .dword(10, u32::from(feature))
        .dword(11, value)
        .with(data)
}

/// Get Features: 0 the current value, 1 the default, 2 the saved one, 3 what it can do.
pub fn get_features(feature: u8, nsid: u32, select: u8, data: Data) -> Command {
    Command::new(opcode::GET_FEATURES, nsid)
        .dword(10, u32::from(feature) | u32::from(select) << 8)
        .with(data)
}

/// Asynchronous Event Request.
pub fn asynchronous_event() -> Command {
    Command::new(opcode::ASYNC_EVENT, 0)
}

/// Abort a command of a queue.
pub fn abort(queue: u16, cid: u16) -> Command {
    Command::new(opcode::ABORT, 0).dword(10, u32::from(queue) | u32::from(cid) << 16)
}

/// Keep Alive.
pub fn keep_alive() -> Command {
    Command::new(opcode::KEEP_ALIVE, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_standard_has_them() {
        let get = property_get(property::CSTS, Width::Eight).entry.0;
        assert_eq!((get[0], get[4]), (0x7f, 4));
        assert_eq!((get[40], get[44]), (1, 0x1c));
        let set = property_set(property::CC, 0x0102_0304).entry.0;
        assert_eq!(set[44..52], [0x14, 0, 0, 0, 4, 3, 2, 1]);
        let page = LogPage {
            id: 0x70,
            length: 0x10_0000,
            offset: 1024,
            retain: true,
            ..LogPage::default()
        };
        let log = get_log_page(page, Data::None).entry.0;
        assert_eq!(log[40..48], [0x70, 0x80, 0xff, 0xff, 3, 0, 0, 0]);
        assert_eq!(log[48..56], [0, 4, 0, 0, 0, 0, 0, 0]);
        assert_eq!(abort(2, 0x0304).entry.0[40..44], [2, 0, 4, 3]);
        let auth = authentication_send(vec![1; 5]);
        assert_eq!(auth.entry.0[40..48], [0, 1, 1, 0xe9, 5, 0, 0, 0]);
    }
}
