//! An initiator for tests: it builds PDUs, and reads what comes back.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::iscsi::directory::{Credentials, Lookup, TargetRecord};
use crate::iscsi::pdu::{Lengths, padded};

pub(super) const INITIATOR: &str = "iqn.1993-08.org.debian:01:a1b2c3";
pub(super) const TARGET: &str = "iqn.2026-11.io.pagecast:store";
pub(super) const CID: u16 = 5;

/// So many targets, of which [`TARGET`] is the first.
#[derive(Debug)]
struct House(usize);

impl Directory for House {
    fn target(&self, target: &str, _: &str) -> Lookup {
        match target {
            TARGET => Lookup::Admitted(None),
            _ => Lookup::NotFound,
        }
    }

    fn discovery_credentials(&self) -> Option<Arc<Credentials>> {
        None
    }

    fn targets(&self, initiator: &str) -> Vec<TargetRecord> {
        assert_eq!(initiator, INITIATOR);
        let name = |number| match number {
            0 => TARGET.to_owned(),
            number => format!("{TARGET}.{number}"),
        };
        let record = |number| TargetRecord {
            name: name(number),
            addresses: vec!["192.0.2.1:3260,1".into(), "[2001:db8::1]:3260,1".into()],
        };
        (0..self.0).map(record).collect()
    }
}

/// A PDU of an initiator.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) bhs: [u8; 48],
    pub(super) ahs: Vec<u8>,
    pub(super) data: Vec<u8>,
}

/// For immediate delivery.
pub(super) const NOW: u8 = 0x40;

impl Frame {
    pub(super) fn new(opcode: u8, flags: u8, itt: u32) -> Self {
        let mut bhs = [0; 48];
        (bhs[0], bhs[1]) = (opcode, flags);
        Self {
            bhs,
            ahs: Vec::new(),
            data: Vec::new(),
        }
        .word(16, itt)
    }

    pub(super) fn word(mut self, at: usize, value: u32) -> Self {
        self.bhs[at..at + 4].copy_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }

    pub(super) fn pdu(&self) -> Pdu<'_> {
        Pdu {
            bhs: &self.bhs,
            ahs: &self.ahs,
            data: &self.data,
        }
    }
}

/// A PDU of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) bhs: [u8; 48],
    pub(super) data: Vec<u8>,
    pub(super) then: Then,
}

impl Sent {
    pub(super) fn of(bytes: &[u8], then: Then) -> Self {
        let lengths = Lengths::of(bytes.first_chunk().unwrap());
        assert_eq!(lengths.ahs, 0);
        assert_eq!(bytes.len(), 48 + padded(lengths.data));
        Self {
            bhs: *bytes.first_chunk().unwrap(),
            data: bytes[48..48 + lengths.data].to_vec(),
            then,
        }
    }

    pub(super) fn opcode(&self) -> u8 {
        self.bhs[0]
    }

    pub(super) fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.bhs[at..at + 4].try_into().unwrap())
    }

    pub(super) fn itt(&self) -> u32 {
        self.word(16)
    }

    pub(super) fn stat_sn(&self) -> u32 {
        self.word(24)
    }

    /// ExpCmdSN and MaxCmdSN.
    pub(super) fn window(&self) -> (u32, u32) {
        (self.word(28), self.word(32))
    }

    /// The reason, if it is a Reject of this PDU.
    #[track_caller]
    pub(super) fn rejects(&self, frame: &Frame) -> u8 {
        assert_eq!(self.opcode(), opcode::REJECT);
        assert_eq!(self.data, frame.bhs);
        self.bhs[2]
    }
}

/// A connection and the initiator's side of it.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) connection: Connection,
    pub(super) now: Duration,
    /// CmdSN of the next command.
    pub(super) cmd_sn: u32,
    pub(super) next_itt: u32,
}

pub(super) const LIMITS: Limits = Limits {
    commands: 4,
    receive_data_segment: 65_536,
    max_burst: 1 << 20,
    first_burst: 65_536,
};

pub(super) const TIMERS: Timers = Timers {
    login: Duration::from_secs(15),
    discovery: Duration::from_secs(60),
    nop_interval: Duration::from_secs(10),
    nop_timeout: Duration::from_secs(5),
};

impl Rig {
    pub(super) fn new(datamover: Datamover, targets: usize) -> Self {
        let house = Arc::new(House(targets));
        Self {
            connection: Connection::new(datamover, LIMITS, house, TIMERS, Duration::ZERO),
            now: Duration::ZERO,
            cmd_sn: 100,
            next_itt: 1,
        }
    }

    /// After the login to a normal session.
    pub(super) fn normal(keys: &str) -> Self {
        let mut rig = Self::new(Datamover::Tcp, 1);
        rig.log_in(&format!("TargetName={TARGET}\0{keys}"));
        rig
    }

    /// The same on iSER.
    pub(super) fn iser() -> Self {
        let mut rig = Self::new(Datamover::Iser, 40);
        rig.log_in(&format!(
            "TargetName={TARGET}\0RDMAExtensions=Yes\0InitialR2T=Yes\0\
             InitiatorRecvDataSegmentLength=262144\0TargetRecvDataSegmentLength=8192\0"
        ));
        rig
    }

    /// After the login to a discovery session.
    pub(super) fn discovery(datamover: Datamover, targets: usize) -> Self {
        let mut rig = Self::new(datamover, targets);
        rig.log_in("SessionType=Discovery\0");
        rig
    }

    fn log_in(&mut self, keys: &str) {
        match self.receive(&self.login(keys)) {
            Event::Admit(_) => self.connection.admitted(7),
            event => assert!(matches!(event, Event::Consumed), "{event:?}"),
        }
        assert!(!self.connection.is_full_feature());
        let response = self.sent();
        assert_eq!(response.then, Then::FullFeature);
        assert!(self.connection.is_full_feature());
    }

    /// A Login Request that goes straight to the full feature phase.
    pub(super) fn login(&self, keys: &str) -> Frame {
        Frame::new(NOW | opcode::LOGIN, 0x87, 1)
            .word(20, u32::from(CID) << 16)
            .word(24, self.cmd_sn)
            .word(28, 1000)
            .data(format!("InitiatorName={INITIATOR}\0{keys}").as_bytes())
    }

    pub(super) fn receive<'a>(&mut self, frame: &'a Frame) -> Event<'a> {
        self.connection
            .receive(frame.pdu(), self.now, &mut |bytes| bytes.fill(0x5a))
    }

    /// What the PDU is rejected for, which is all that happens.
    #[track_caller]
    pub(super) fn rejected(&mut self, frame: &Frame) -> u8 {
        self.consumed(frame);
        let reason = self.sent().rejects(frame);
        self.nothing_to_send();
        reason
    }

    #[track_caller]
    pub(super) fn consumed(&mut self, frame: &Frame) {
        let event = self.receive(frame);
        assert!(matches!(event, Event::Consumed), "{event:?}");
    }

    #[track_caller]
    pub(super) fn violates(&mut self, frame: &Frame) -> String {
        match self.receive(frame) {
            Event::Violation(why) => why,
            event => panic!("{event:?}"),
        }
    }

    /// The next PDU from the outbox.
    #[track_caller]
    pub(super) fn sent(&mut self) -> Sent {
        assert!(self.connection.has_control());
        let length = self.connection.control_length().unwrap();
        let mut out = vec![0xee; length];
        assert_eq!(self.connection.emit_control(&mut out[..length - 1]), None);
        let (written, then) = self.connection.emit_control(&mut out).unwrap();
        assert_eq!(written, length);
        Sent::of(&out, then)
    }

    #[track_caller]
    pub(super) fn nothing_to_send(&mut self) {
        assert!(!self.connection.has_control());
        assert_eq!(self.connection.emit_control(&mut [0; 9000]), None);
    }

    /// A PDU with the next CmdSN.
    pub(super) fn numbered(&mut self, opcode: u8, flags: u8) -> Frame {
        let itt = self.next_itt;
        self.next_itt += 1;
        let frame = Frame::new(opcode, flags, itt).word(24, self.cmd_sn);
        if opcode & NOW == 0 {
            self.cmd_sn = self.cmd_sn.wrapping_add(1);
        }
        frame
    }

    /// TEST UNIT READY
    pub(super) fn command(&mut self) -> Frame {
        self.numbered(opcode::SCSI_COMMAND, 0x81)
    }

    /// A command that writes `expected` bytes.
    pub(super) fn write(&mut self, expected: u32, is_final: bool, immediate: &[u8]) -> Frame {
        let flags = if is_final { 0xa1 } else { 0x21 };
        self.numbered(opcode::SCSI_COMMAND, flags)
            .word(20, expected)
            .data(immediate)
    }

    /// Ends a command well.
    pub(super) fn respond(&mut self, itt: u32) -> Sent {
        let mut out = [0; tasks::MAX_RESPONSE];
        let length = self.connection.scsi_response(&mut out, itt, &Outcome::GOOD);
        Sent::of(&out[..length], Then::GoOn)
    }

    /// A Text Request and the response to it.
    pub(super) fn text(&mut self, data: &str) -> Sent {
        let frame = self
            .numbered(opcode::TEXT, 0x80)
            .word(20, RESERVED_TAG)
            .data(data.as_bytes());
        self.consumed(&frame);
        self.sent()
    }
}
