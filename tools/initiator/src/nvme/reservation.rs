//! Reservations (NVMe base 2.0 sections 7.2 to 7.5, 5.16.1.24, 5.27.1.25 and 5.27.1.26).

use super::command::{Command, Data};

/// Opcodes.
pub mod opcode {
    /// Reservation Register
    pub const REGISTER: u8 = 0x0d;
    /// Reservation Report
    pub const REPORT: u8 = 0x0e;
    /// Reservation Acquire
    pub const ACQUIRE: u8 = 0x11;
    /// Reservation Release
    pub const RELEASE: u8 = 0x15;
}

/// Feature: Reservation Notification Mask.
pub const NOTIFICATION_MASK: u8 = 0x82;
/// Feature: Reservation Persistence.
pub const PERSISTENCE: u8 = 0x83;
/// Log page: Reservation Notification.
pub const NOTIFICATIONS: u8 = 0x80;
/// The asynchronous event that announces it: I/O command specific status, reservation log page available, the page.
pub const EVENT: u32 = 0x80_0006;

/// RREGA
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Register a key.
    Register = 0,
    /// Unregister it.
    Unregister = 1,
    /// Replace it.
    Replace = 2,
}

/// CPTPL
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// As it is.
    NoChange = 0,
    /// Reserved.
    Reserved = 1,
    /// Registrations and reservations go with the power.
    Clear = 2,
    /// They stay.
    Set = 3,
}

/// RACQA
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquire {
    /// Acquire.
    Acquire = 0,
    /// Preempt.
    Preempt = 1,
    /// Preempt and abort.
    PreemptAndAbort = 2,
}

/// RRELA
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Release.
    Release = 0,
    /// Clear.
    Clear = 1,
}

/// Reservation Register with the current and the new key.
pub fn register(nsid: u32, action: Register, persist: Persist, current: u64, new: u64) -> Command {
    Command::new(opcode::REGISTER, nsid)
        .dword(10, action as u32 | (persist as u32) << 30)
        .with(keys(&[current, new]))
}

/// Reservation Acquire with the current key, and that of who is preempted.
pub fn acquire(nsid: u32, action: Acquire, kind: u8, current: u64, victim: u64) -> Command {
    Command::new(opcode::ACQUIRE, nsid)
        .dword(10, action as u32 | u32::from(kind) << 8)
        .with(keys(&[current, victim]))
}

/// Reservation Release with the current key.
pub fn release(nsid: u32, action: Release, kind: u8, current: u64) -> Command {
    Command::new(opcode::RELEASE, nsid)
        .dword(10, action as u32 | u32::from(kind) << 8)
        .with(keys(&[current]))
}

/// Reservation Report of so many bytes, a multiple of 4, with extended data structures on demand.
pub fn report(nsid: u32, length: u32, extended: bool, data: Data) -> Command {
    Command::new(opcode::REPORT, nsid)
        .dword(10, (length / 4).wrapping_sub(1))
        .dword(11, u32::from(extended))
        .with(data)
}

/// One of the former three with IEKEY: the current key does not matter.
pub fn ignoring_key(mut command: Command) -> Command {
    command.entry.0[40] |= 1 << 3;
    command
}

fn keys(keys: &[u64]) -> Data {
    Data::InCapsule(keys.iter().flat_map(|key| key.to_le_bytes()).collect())
}

/// Reservation status, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// GEN
    pub generation: u32,
    /// RTYPE; zero if nobody has reserved.
    pub kind: u8,
    /// REGCTL: how many there are, whether or not they are all here.
    pub count: u16,
    /// PTPLS
    pub persistent: u8,
    /// Those that are here.
    pub registrants: Vec<Registrant>,
}

/// A registrant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrant {
    /// CNTLID
    pub controller: u16,
    /// RCSTS bit 0.
    pub holds: bool,
    /// HOSTID: 16 bytes of the extended structure, 8 of the other.
    pub host: Vec<u8>,
    /// RKEY
    pub key: u64,
}

impl Status {
    /// As many registrants as there are whole.
    pub fn parse(data: &[u8], extended: bool) -> Option<Self> {
        let half = |at: usize| Some(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?));
        let (head, entry) = if extended { (64, 64) } else { (24, 24) };
        let count = half(5)?;
        let entries = data.get(head..).unwrap_or_default().chunks_exact(entry);
        let registrants = entries.take(usize::from(count)).map(|entry| {
            let (key, host) = if extended {
                (&entry[8..16], &entry[16..32])
            } else {
                (&entry[16..24], &entry[8..16])
            };
            Registrant {
                controller: u16::from_le_bytes([entry[0], entry[1]]),
                holds: entry[2] & 1 != 0,
                host: host.to_vec(),
                key: u64::from_le_bytes(key.try_into().unwrap_or_default()),
            }
        });
        Some(Self {
            generation: u32::from_le_bytes(data.get(..4)?.try_into().ok()?),
            kind: *data.get(4)?,
            count,
            persistent: *data.get(9)?,
            registrants: registrants.collect(),
        })
    }
}

/// A reservation notification, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Log Page Count
    pub count: u64,
    /// 0 none, 1 registration preempted, 2 reservation released, 3 reservation preempted.
    pub kind: u8,
    /// Number of Available Log Pages
    pub available: u8,
    /// Namespace
    pub nsid: u32,
}

impl Notification {
    /// Bytes of the log page.
    pub const LENGTH: u32 = 64;

    /// Nothing if it is shorter than that.
    pub fn parse(data: &[u8]) -> Option<Self> {
        Some(Self {
            count: u64::from_le_bytes(data.get(..8)?.try_into().ok()?),
            kind: *data.get(8)?,
            available: *data.get(9)?,
            nsid: u32::from_le_bytes(data.get(12..16)?.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_standard_has_them() {
        let command = ignoring_key(register(3, Register::Replace, Persist::Set, 1, 2));
        assert_eq!((command.entry.0[0], command.entry.0[4]), (0x0d, 3));
        assert_eq!(command.entry.0[40..44], [0x0a, 0, 0, 0xc0]);
        let Data::InCapsule(keys) = command.data else {
            panic!("{:?}", command.data);
        };
        assert_eq!((keys.len(), keys[0], keys[8]), (16, 1, 2));
        let command = acquire(1, Acquire::PreemptAndAbort, 6, 1, 2);
        assert_eq!(command.entry.0[40..44], [2, 6, 0, 0]);
        let command = release(1, Release::Clear, 0, 1);
        assert_eq!(command.entry.0[40..44], [1, 0, 0, 0]);
        let command = report(1, 4096, true, Data::None);
        assert_eq!(command.entry.0[40..48], [0xff, 3, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn reports_are_read() {
        let mut data = vec![0; 64 + 64];
        data[0] = 5;
        data[4] = 3;
        data[5] = 2;
        data[9] = 1;
        data[64..68].copy_from_slice(&[0xff, 0xff, 1, 0]);
        data[72] = 7;
        data[80..96].fill(9);
        let status = Status::parse(&data, true).expect("a header");
        assert_eq!((status.generation, status.kind, status.count), (5, 3, 2));
        let [one] = &status.registrants[..] else {
            panic!("{status:?}");
        };
        assert_eq!((one.controller, one.holds, one.key), (0xffff, true, 7));
        assert_eq!(one.host, [9; 16]);
    }
}
