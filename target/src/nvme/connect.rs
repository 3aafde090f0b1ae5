//! The Connect command (NVMe base 2.0 section 6.3).

use std::time::Duration;

use pagecast_core::nvme::{Completion, Host, MAX_NQN, SQE_SIZE, Status};

/// Opcode of fabrics commands.
pub const FABRICS: u8 = 0x7f;

/// Fabrics command types (NVMe base 2.0 figure 389).
pub mod fctype {
    /// Property Set
    pub const PROPERTY_SET: u8 = 0x00;
    /// Connect
    pub const CONNECT: u8 = 0x01;
    /// Property Get
    pub const PROPERTY_GET: u8 = 0x04;
    /// Authentication Send
    pub const AUTH_SEND: u8 = 0x05;
    /// Authentication Receive
    pub const AUTH_RECEIVE: u8 = 0x06;
    /// Disconnect
    pub const DISCONNECT: u8 = 0x08;
}

/// Bytes of Connect data.
pub const DATA_LENGTH: u32 = 1024;

/// Any controller: the one that a host asks for where controllers are made for those who ask (dynamic controller model).
pub const ANY_CONTROLLER: u16 = 0xffff;

/// The command's own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectCommand {
    /// Queue identifier.
    pub queue: u16,
    /// Entries in the submission queue, counted from one.
    pub entries: u32,
    /// The host does without submission queue flow control.
    pub no_flow_control: bool,
    /// Keep-alive time; zero for none.
    pub keep_alive: Duration,
}

impl ConnectCommand {
    /// Reads the entry.
    pub fn parse(entry: &[u8; SQE_SIZE]) -> Result<Self, Completion> {
        let word = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        if word(40) != 0 {
            return Err(Status::CONNECT_FORMAT.into());
        }
        let size = word(44);
        if size == 0 {
            return Err(invalid_in_command(44));
        }
        let keep_alive = u32::from_le_bytes([entry[48], entry[49], entry[50], entry[51]]);
        Ok(Self {
            queue: word(42),
            entries: u32::from(size) + 1,
            no_flow_control: entry[46] & 1 << 2 != 0,
            keep_alive: Duration::from_millis(u64::from(keep_alive)),
        })
    }
}

/// What comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectData {
    /// Who connects.
    pub host: Host,
    /// Controller identifier, or [`ANY_CONTROLLER`].
    pub controller: u16,
    /// The subsystem that it wants.
    pub subsystem: String,
}

impl ConnectData {
    /// Reads the data.
    pub fn parse(data: &[u8]) -> Result<Self, Completion> {
        let data: &[u8; DATA_LENGTH as usize] = data
            .first_chunk()
            .ok_or(Completion::from(Status::DATA_SGL_LENGTH_INVALID))?;
        let mut id = [0; 16];
        id.copy_from_slice(&data[..16]);
        Ok(Self {
            controller: u16::from_le_bytes([data[16], data[17]]),
            subsystem: qualified_name(&data[256..512]).ok_or(invalid_in_data(256))?,
            host: Host {
                nqn: qualified_name(&data[512..768]).ok_or(invalid_in_data(512))?,
                id,
            },
        })
    }
}

/// An NVMe qualified name (NVMe base 2.0 section 4.5) that ends in a NUL and has nothing in it that a log should not have.
fn qualified_name(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|&byte| byte == 0)?;
    if end == 0 || end > MAX_NQN {
        return None;
    }
    let name = std::str::from_utf8(&field[..end]).ok()?;
    // Access groups match addresses as well as names: no name may look like one.
    (name.starts_with("nqn.") && !name.chars().any(char::is_control)).then(|| name.to_owned())
}

/// CONNECT INVALID PARAMETERS at a byte of the submission queue entry.
pub fn invalid_in_command(offset: u16) -> Completion {
    Completion {
        result: u64::from(offset),
        status: Status::CONNECT_INVALID_PARAMETERS,
    }
}

/// CONNECT INVALID PARAMETERS at a byte of the data.
pub fn invalid_in_data(offset: u16) -> Completion {
    Completion {
        result: u64::from(offset) | 1 << 16,
        status: Status::CONNECT_INVALID_PARAMETERS,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Connect to the admin queue as Linux sends it: 32 entries, a keep-alive time of 5 seconds.
    const ADMIN: [u8; SQE_SIZE] = {
        let mut entry = [0; SQE_SIZE];
        entry[0] = 0x7f;
        entry[1] = 0x40;
        entry[4] = 0x01;
        entry[44] = 31;
        entry[48] = 0x88;
        entry[49] = 0x13;
        entry
    };

    fn data(subsystem: &[u8], host: &[u8]) -> Vec<u8> {
        let mut data = vec![0; DATA_LENGTH as usize];
        data[..16].copy_from_slice(&[0x5a; 16]);
        data[16..18].copy_from_slice(&[0xff, 0xff]);
        data[256..][..subsystem.len()].copy_from_slice(subsystem);
        data[512..][..host.len()].copy_from_slice(host);
        data
    }

    #[test]
    fn a_command_of_linux() {
        assert_eq!(
            ConnectCommand::parse(&ADMIN),
            Ok(ConnectCommand {
                queue: 0,
                entries: 32,
                no_flow_control: false,
                keep_alive: Duration::from_secs(5),
            })
        );
        let mut io = ADMIN;
        io[42..44].copy_from_slice(&[0x02, 0x01]);
        io[44..46].copy_from_slice(&[0xff, 0xff]);
        io[46] = 0x04;
        io[48..52].fill(0);
        assert_eq!(
            ConnectCommand::parse(&io),
            Ok(ConnectCommand {
                queue: 0x102,
                entries: 0x1_0000,
                no_flow_control: true,
                keep_alive: Duration::ZERO,
            })
        );
    }

    #[test]
    fn what_is_wrong_with_a_command_is_said() {
        let mut format = ADMIN;
        format[40] = 1;
        assert_eq!(
            ConnectCommand::parse(&format),
            Err(Status::CONNECT_FORMAT.into())
        );
        let mut size = ADMIN;
        size[44] = 0;
        let refused = ConnectCommand::parse(&size).expect_err("an empty queue");
        assert_eq!(refused.status, Status::CONNECT_INVALID_PARAMETERS);
        // Bits 15:0 are where, bit 16 (IATTR) says that it is in the data.
        assert_eq!(refused.result, 44);
    }

    #[test]
    fn data_of_a_host() {
        let data = data(b"nqn.2026-11.io.pagecast:store", b"nqn.2014-08.org:host");
        assert_eq!(
            ConnectData::parse(&data),
            Ok(ConnectData {
                host: Host {
                    nqn: "nqn.2014-08.org:host".to_owned(),
                    id: [0x5a; 16],
                },
                controller: ANY_CONTROLLER,
                subsystem: "nqn.2026-11.io.pagecast:store".to_owned(),
            })
        );
        assert_eq!(
            ConnectData::parse(&data[..1023]),
            Err(Status::DATA_SGL_LENGTH_INVALID.into())
        );
    }

    #[test]
    fn names_that_are_none() {
        let name = |length: usize| [b"nqn.", &vec![b'n'; length - 4][..]].concat();
        let longest = name(MAX_NQN);
        assert!(ConnectData::parse(&data(&longest, &longest)).is_ok());
        let too_long = name(MAX_NQN + 1);
        let endless = name(256);
        for bad in [
            &b""[..],
            b"nqn.\n",
            b"10.0.0.2",
            b"nqn.\xff\xfe",
            b"nqn.\x1b[31m",
            &too_long,
            &endless,
        ] {
            assert_eq!(
                ConnectData::parse(&data(bad, b"nqn.host")),
                Err(invalid_in_data(256)),
                "{bad:?}"
            );
            let refused = ConnectData::parse(&data(b"nqn.subsystem", bad)).expect_err("bad");
            assert_eq!(refused.result, 1 << 16 | 512, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_does_harm(entry: [u8; SQE_SIZE], data in prop::collection::vec(any::<u8>(), 0..1100)) {
            if let Ok(command) = ConnectCommand::parse(&entry) {
                prop_assert!((2..=0x1_0000).contains(&command.entries));
            }
            if let Ok(data) = ConnectData::parse(&data) {
                prop_assert!(data.subsystem.len() <= MAX_NQN && data.host.nqn.len() <= MAX_NQN);
            }
        }
    }
}
