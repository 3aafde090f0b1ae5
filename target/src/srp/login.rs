//! Login: the request in the private data of a connection request, and the two answers to it.

use thiserror::Error;

use super::names::PortId;
use super::response::MAX_RESPONSE_SIZE;
use super::wire::{
    self, BUFFER_FORMAT_DIRECT, BUFFER_FORMAT_INDIRECT, MIN_IU_LENGTH, Tag, array, be16, be32,
    opcode, put,
};

/// Longest information unit that we take unless told otherwise: a command, its longest additional CDB and immediate data of
/// 8 KiB, which is what SRP targets have always offered, and no less than any initiator is known to ask for.
pub const DEFAULT_MAX_IT_IU_LENGTH: u32 = 8276;
/// Bytes of SRP_LOGIN_RSP. Always sent whole: Linux reads all of it without a look at the length.
pub const LOGIN_RESPONSE_SIZE: usize = 52;
/// Bytes of SRP_LOGIN_REJ.
pub const LOGIN_REJECT_SIZE: usize = 32;

/// Bytes of SRP_LOGIN_REQ (SRP r16a 6.2).
const NATIVE_SIZE: usize = 64;
/// Bytes of the form without reserved fields that RDMA/CM leaves room for.
const RDMA_CM_SIZE: usize = 56;
/// Immediate data starts after the command, at the least.
const MIN_IMMEDIATE_OFFSET: u16 = 48;

/// Request and response flag: immediate data (SRP-2).
const IMMEDIATE: u8 = 0x80;
/// Request and response flags: multichannel action and result.
const MULTICHANNEL_MASK: u8 = 0x03;

/// Which connection manager carries the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RDMA/CM, whose own header leaves 56 bytes.
    RdmaCm,
    /// The native InfiniBand CM (AF_IB): the information unit itself.
    NativeIb,
}

/// SRP_LOGIN_REQ as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// The type, which should say login.
    pub opcode: u8,
    /// Comes back in the answer.
    pub tag: Tag,
    /// Longest information unit that the initiator wants to send.
    pub request_length: u32,
    /// Buffer formats that it needs, as bits.
    pub buffer_formats: u16,
    /// Multichannel action, and whether immediate data is wanted.
    pub flags: u8,
    /// Where immediate data would start.
    pub immediate_offset: u16,
    /// Who it is.
    pub initiator_port: PortId,
    /// Whom it wants.
    pub target_port: PortId,
}

/// Private data that is too short for a login. There is nobody to send a reject to: refuse the connection without private data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("login of {0} bytes is too short")]
pub struct LoginTooShort(pub usize);

impl LoginRequest {
    /// Reads private data, which connection managers pad: more bytes than the form has are not an error.
    pub fn parse(private_data: &[u8], over: Transport) -> Result<Self, LoginTooShort> {
        let parsed = match over {
            Transport::RdmaCm => array(private_data, 0).and_then(Self::from_rdma_cm),
            Transport::NativeIb => array(private_data, 0).and_then(Self::from_native),
        };
        parsed.ok_or(LoginTooShort(private_data.len()))
    }

    fn from_rdma_cm(bytes: [u8; RDMA_CM_SIZE]) -> Option<Self> {
        Some(Self {
            tag: array(&bytes, 0).map(Tag::from_bytes)?,
            buffer_formats: be16(&bytes, 8)?,
            flags: bytes[10],
            opcode: bytes[11],
            request_length: be32(&bytes, 12)?,
            initiator_port: array(&bytes, 16).map(PortId)?,
            target_port: array(&bytes, 32).map(PortId)?,
            immediate_offset: be16(&bytes, 48)?,
        })
    }

    fn from_native(bytes: [u8; NATIVE_SIZE]) -> Option<Self> {
        Some(Self {
            opcode: bytes[0],
            tag: wire::tag(&bytes)?,
            request_length: be32(&bytes, 16)?,
            buffer_formats: be16(&bytes, 24)?,
            flags: bytes[26],
            immediate_offset: be16(&bytes, 28)?,
            initiator_port: array(&bytes, 32).map(PortId)?,
            target_port: array(&bytes, 48).map(PortId)?,
        })
    }

    /// Decides, in the order in which other targets do, what the protocol has to say about the login. Whether this initiator
    /// may come in is the caller's decision, after this one: [`reject`](Self::reject).
    pub fn check(&self, settings: &LoginSettings) -> Result<Login, LoginReject> {
        if self.opcode != opcode::LOGIN_REQ {
            return Err(self.reject(RejectReason::UnableToEstablish));
        }
        if !(MIN_IU_LENGTH..=settings.max_it_iu_length).contains(&self.request_length) {
            return Err(self.reject(RejectReason::RequestLengthTooLarge));
        }
        if !settings.enabled {
            return Err(self.reject(RejectReason::InsufficientResources));
        }
        if self.target_port != settings.target_port {
            return Err(self.reject(RejectReason::UnableToAssociate));
        }
        if self.buffer_formats & (BUFFER_FORMAT_DIRECT | BUFFER_FORMAT_INDIRECT) == 0 {
            return Err(self.reject(RejectReason::UnsupportedFormat));
        }
        let action = match self.flags & MULTICHANNEL_MASK {
            0 => MultichannelAction::Terminate,
            1 => MultichannelAction::Maintain,
            _ => return Err(self.reject(RejectReason::MultichannelUnsupported)),
        };
        Ok(Login {
            tag: self.tag,
            initiator_port: self.initiator_port,
            target_port: self.target_port,
            request_length: self.request_length,
            max_it_iu_length: settings.max_it_iu_length,
            action,
            immediate_offset: self.immediate(settings),
        })
    }

    /// A reject of this login.
    pub fn reject(&self, reason: RejectReason) -> LoginReject {
        LoginReject {
            tag: self.tag,
            reason,
        }
    }

    /// An offset that makes no sense turns immediate data off instead of the initiator away.
    fn immediate(&self, settings: &LoginSettings) -> Option<u16> {
        let offset = self.immediate_offset;
        let usable = settings.immediate_data
            && self.flags & IMMEDIATE != 0
            && offset >= MIN_IMMEDIATE_OFFSET
            && u32::from(offset) < self.request_length;
        usable.then_some(offset)
    }
}

/// What a target says to logins.
#[derive(Clone, Copy, Debug)]
pub struct LoginSettings {
    /// Who we are.
    pub target_port: PortId,
    /// Longest information unit that we take: the bound of every receive buffer.
    pub max_it_iu_length: u32,
    /// Whether immediate data may be agreed on.
    pub immediate_data: bool,
    /// Whether logins are wanted at all now.
    pub enabled: bool,
}

impl LoginSettings {
    /// The defaults of a target with this identifier.
    pub fn new(target_port: PortId) -> Self {
        Self {
            target_port,
            max_it_iu_length: DEFAULT_MAX_IT_IU_LENGTH,
            immediate_data: true,
            enabled: true,
        }
    }
}

/// A login that the protocol has nothing against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// Comes back in the answer.
    pub tag: Tag,
    /// Who it is.
    pub initiator_port: PortId,
    /// Whom it wants.
    pub target_port: PortId,
    /// Longest information unit that the initiator will send: at least 64, at most `max_it_iu_length`.
    pub request_length: u32,
    /// Longest information unit that we take.
    pub max_it_iu_length: u32,
    /// What is to become of the nexus's other channels.
    pub action: MultichannelAction,
    /// Where immediate data starts, if it was agreed on.
    pub immediate_offset: Option<u16>,
}

impl Login {
    /// Bytes that each receive buffer of the channel needs. The initiator's choice, but never above our own limit.
    pub fn receive_size(&self) -> usize {
        self.request_length.min(self.max_it_iu_length) as usize
    }

    /// Longest information unit that the initiator takes from us. It gets back what it asked for in the other direction:
    /// deployed initiators size their receive buffers by it, once, at their first login.
    pub fn max_ti_iu_length(&self) -> u32 {
        self.request_length
    }

    /// Bytes that a send buffer for responses needs.
    pub fn response_size(&self) -> usize {
        (self.max_ti_iu_length() as usize).min(MAX_RESPONSE_SIZE)
    }

    /// SRP_LOGIN_RSP (SRP r16a 6.3), the private data of the accept. `credits` is the initial request limit; Linux sizes
    /// its queue by it once and for all, and keeps one for task management, so that it must be at least two.
    pub fn accept(&self, credits: u32, result: MultichannelResult) -> [u8; LOGIN_RESPONSE_SIZE] {
        let mut unit = [0; LOGIN_RESPONSE_SIZE];
        unit[0] = opcode::LOGIN_RSP;
        put(&mut unit, 4, &credits.to_be_bytes());
        put(&mut unit, 8, &self.tag.to_bytes());
        put(&mut unit, 16, &self.max_it_iu_length.to_be_bytes());
        put(&mut unit, 20, &self.max_ti_iu_length().to_be_bytes());
        put(&mut unit, 24, &SUPPORTED_FORMATS.to_be_bytes());
        unit[26] = result as u8;
        if self.immediate_offset.is_some() {
            unit[26] |= IMMEDIATE;
        }
        unit
    }
}

/// What a new channel does to the others of its nexus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultichannelAction {
    /// They end.
    Terminate,
    /// They stay.
    Maintain,
}

/// What became of the other channels of the nexus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MultichannelResult {
    /// There were none.
    NoChannels = 0,
    /// They were ended.
    Terminated = 1,
    /// They stay.
    Maintained = 2,
}

/// A refused login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("login refused: {reason}")]
pub struct LoginReject {
    /// The login's tag.
    pub tag: Tag,
    /// Why.
    pub reason: RejectReason,
}

impl LoginReject {
    /// SRP_LOGIN_REJ (SRP r16a 6.4), the private data of the refusal (CM reason 28).
    pub fn emit(&self) -> [u8; LOGIN_REJECT_SIZE] {
        let mut unit = [0; LOGIN_REJECT_SIZE];
        unit[0] = opcode::LOGIN_REJ;
        put(&mut unit, 4, &(self.reason as u32).to_be_bytes());
        put(&mut unit, 8, &self.tag.to_bytes());
        put(&mut unit, 24, &SUPPORTED_FORMATS.to_be_bytes());
        unit
    }
}

/// Why a login is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[repr(u32)]
pub enum RejectReason {
    /// No other reason fits.
    #[error("unable to establish the channel")]
    UnableToEstablish = 0x0001_0000,
    /// Memory, queue pairs, or a portal that takes no logins now.
    #[error("insufficient resources")]
    InsufficientResources = 0x0001_0001,
    /// The initiator's information units would be too long (or absurdly short).
    #[error("requested information unit length out of range")]
    RequestLengthTooLarge = 0x0001_0002,
    /// There is no such target port here.
    #[error("no such target port")]
    UnableToAssociate = 0x0001_0003,
    /// It needs buffer formats that we do not have.
    #[error("unsupported data buffer formats")]
    UnsupportedFormat = 0x0001_0004,
    /// A multichannel action that SRP does not define.
    #[error("unknown multichannel action")]
    MultichannelUnsupported = 0x0001_0005,
    /// No more channels, or no access: what initiators get that no access group lists.
    #[error("channel limit reached, or no access")]
    ChannelLimitReached = 0x0001_0006,
}

/// What we understand.
const SUPPORTED_FORMATS: u16 = BUFFER_FORMAT_DIRECT | BUFFER_FORMAT_INDIRECT;

#[cfg(test)]
mod tests {
    use super::*;

    const INITIATOR: PortId = PortId([0xa1; 16]);
    const TARGET: PortId = PortId([0xb2; 16]);

    /// What Linux sends over RDMA/CM: 56 bytes.
    fn rdma_cm(length: u32, flags: u8, offset: u16) -> Vec<u8> {
        let mut bytes = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 6, flags, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0xa1; 16]);
        bytes.extend([0xb2; 16]);
        bytes.extend(offset.to_be_bytes());
        bytes.extend([0; 6]);
        bytes
    }

    /// The same login as an information unit.
    fn native(length: u32, flags: u8, offset: u16) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0, 6, flags, 0]);
        bytes.extend(offset.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend([0xa1; 16]);
        bytes.extend([0xb2; 16]);
        bytes
    }

    fn request(length: u32, flags: u8, offset: u16) -> LoginRequest {
        LoginRequest::parse(&rdma_cm(length, flags, offset), Transport::RdmaCm).unwrap()
    }

    fn reason(request: LoginRequest, settings: &LoginSettings) -> RejectReason {
        request.check(settings).unwrap_err().reason
    }

    #[test]
    fn both_forms_say_the_same() {
        let parsed = request(8260, 0x81, 68);
        assert_eq!(
            parsed,
            LoginRequest {
                opcode: 0,
                tag: Tag(0x0102_0304_0506_0708),
                request_length: 8260,
                buffer_formats: 6,
                flags: 0x81,
                immediate_offset: 68,
                initiator_port: INITIATOR,
                target_port: TARGET,
            }
        );
        let mut padded = native(8260, 0x81, 68);
        padded.resize(92, 0);
        assert_eq!(
            LoginRequest::parse(&padded, Transport::NativeIb),
            Ok(parsed)
        );
        assert_eq!(
            LoginRequest::parse(&padded[..63], Transport::NativeIb),
            Err(LoginTooShort(63))
        );
        assert_eq!(
            LoginRequest::parse(&rdma_cm(8260, 0, 0)[..55], Transport::RdmaCm),
            Err(LoginTooShort(55))
        );
        assert_eq!(
            LoginRequest::parse(&[], Transport::RdmaCm),
            Err(LoginTooShort(0))
        );
    }

    #[test]
    fn a_good_login_and_its_answer() {
        let settings = LoginSettings::new(TARGET);
        let login = request(8260, 0x81, 68).check(&settings).unwrap();
        assert_eq!(login.action, MultichannelAction::Maintain);
        assert_eq!(login.immediate_offset, Some(68));
        assert_eq!(login.receive_size(), 8260);
        assert_eq!(login.response_size(), MAX_RESPONSE_SIZE);
        let unit = login.accept(128, MultichannelResult::Maintained);
        let mut expected = vec![0xc0, 0, 0, 0, 0, 0, 0, 128, 1, 2, 3, 4, 5, 6, 7, 8];
        expected.extend(8276u32.to_be_bytes());
        expected.extend(8260u32.to_be_bytes());
        expected.extend([0, 6, 0x82]);
        expected.resize(52, 0);
        assert_eq!(unit.to_vec(), expected);

        let login = request(64, 0, 0).check(&settings).unwrap();
        assert_eq!(login.action, MultichannelAction::Terminate);
        assert_eq!(login.response_size(), 64);
        assert_eq!(login.accept(2, MultichannelResult::NoChannels)[26], 0);
    }

    #[test]
    fn immediate_data_is_agreed_on_only_where_it_works() {
        let settings = LoginSettings::new(TARGET);
        let offset = |length, flags, offset, settings: &LoginSettings| {
            let login = request(length, flags, offset).check(settings).unwrap();
            login.immediate_offset
        };
        assert_eq!(offset(8260, 0x80, 48, &settings), Some(48));
        assert_eq!(offset(8260, 0x80, 47, &settings), None);
        assert_eq!(offset(8260, 0x00, 68, &settings), None);
        assert_eq!(offset(8260, 0x80, u16::MAX, &settings), None);
        assert_eq!(offset(68, 0x80, 68, &settings), None);
        let off = LoginSettings {
            immediate_data: false,
            ..settings
        };
        assert_eq!(offset(8260, 0x80, 68, &off), None);
    }

    #[test]
    fn rejects() {
        let settings = LoginSettings::new(TARGET);
        let good = request(8260, 0, 0);
        let long = request(8277, 0, 0);
        assert_eq!(reason(long, &settings), RejectReason::RequestLengthTooLarge);
        assert_eq!(
            reason(request(63, 0, 0), &settings),
            RejectReason::RequestLengthTooLarge
        );
        assert!(request(8276, 0, 0).check(&settings).is_ok());
        let closed = LoginSettings {
            enabled: false,
            ..settings
        };
        assert_eq!(reason(good, &closed), RejectReason::InsufficientResources);
        // The length comes first.
        assert_eq!(reason(long, &closed), RejectReason::RequestLengthTooLarge);
        let elsewhere = LoginSettings::new(INITIATOR);
        assert_eq!(reason(good, &elsewhere), RejectReason::UnableToAssociate);
        let formats = LoginRequest {
            buffer_formats: 1,
            ..good
        };
        assert_eq!(reason(formats, &settings), RejectReason::UnsupportedFormat);
        for flags in [2, 3] {
            let action = LoginRequest { flags, ..good };
            assert_eq!(
                reason(action, &settings),
                RejectReason::MultichannelUnsupported
            );
        }
        let other = LoginRequest { opcode: 2, ..good };
        assert_eq!(reason(other, &settings), RejectReason::UnableToEstablish);

        let unit = good.reject(RejectReason::ChannelLimitReached).emit();
        let mut expected = vec![0xc2, 0, 0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 7, 8];
        expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 6]);
        expected.resize(32, 0);
        assert_eq!(unit.to_vec(), expected);
    }
}
