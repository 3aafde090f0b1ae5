//! The Connect command and its data (NVMe base 2.0 section 6.3).

use super::admin::fabrics;
use super::codec::Cqe;
use super::command::Command;

/// Bytes of its data.
pub const DATA_LENGTH: usize = 1024;

/// Asks for a controller of its own.
pub const DYNAMIC: u16 = 0xffff;

/// Who connects to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// NVMe qualified name of the host.
    pub host: String,
    /// Host identifier.
    pub host_id: [u8; 16],
    /// NVMe qualified name of the subsystem.
    pub subsystem: String,
    /// Which controller: [`DYNAMIC`] on the admin queue, its identifier on the others.
    pub controller: u16,
    /// Keep-alive time in milliseconds; 0 for none.
    pub keep_alive: u32,
    /// Connect attributes: bit 2 asks to do without submission queue flow control.
    pub attributes: u8,
}

impl Connect {
    /// A host that asks a subsystem for a controller, without keep-alive.
    pub fn new(host: &str, host_id: [u8; 16], subsystem: &str) -> Self {
        Self {
            host: host.to_owned(),
            host_id,
            subsystem: subsystem.to_owned(),
            controller: DYNAMIC,
            keep_alive: 0,
            attributes: 0,
        }
    }

    /// The command, without its data. `entries` counts from one.
    pub fn command(&self, queue: u16, entries: u16) -> Command {
        let mut command = fabrics(0x01).dword(12, self.keep_alive);
        let entry = &mut command.entry;
        entry.put(42, &queue.to_le_bytes());
        entry.put(44, &entries.wrapping_sub(1).to_le_bytes());
        entry.put(46, &[self.attributes]);
        command
    }

    /// The data. A name that is too long is cut, and has no NUL then.
    pub fn data(&self) -> [u8; DATA_LENGTH] {
        let mut data = [0; DATA_LENGTH];
        data[..16].copy_from_slice(&self.host_id);
        data[16..18].copy_from_slice(&self.controller.to_le_bytes());
        for (at, name) in [(256, &self.subsystem), (512, &self.host)] {
            let room = data[at..at + 256].iter_mut();
            for (to, from) in room.zip(name.bytes()) {
                *to = from;
            }
        }
        data
    }
}

/// What a controller answers to a Connect that succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Controller identifier.
    pub controller: u16,
    /// The host has to authenticate (AUTHREQ, bit 17: ATR).
    pub authentication_required: bool,
}

impl From<&Cqe> for Connected {
    fn from(completion: &Cqe) -> Self {
        Self {
            controller: completion.result as u16,
            authentication_required: completion.result & 1 << 17 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_standard_has_them() {
        let mut connect = Connect::new("h", [7; 16], "s");
        connect.keep_alive = 0x0102;
        connect.attributes = 4;
        let entry = connect.command(3, 128).entry.0;
        assert_eq!((entry[0], entry[1], entry[4]), (0x7f, 0x40, 1));
        assert_eq!(entry[40..52], [0, 0, 3, 0, 127, 0, 4, 0, 2, 1, 0, 0]);
        let data = connect.data();
        assert_eq!(data[15..19], [7, 0xff, 0xff, 0]);
        assert_eq!(data[256..258], [b's', 0]);
        assert_eq!(data[512..514], [b'h', 0]);
    }
}
