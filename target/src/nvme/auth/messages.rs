//! Authentication messages (NVMe base 2.0 sections 8.13.4 and 8.13.5): what a host sends is checked, what it gets is written.

use super::groups::DhGroup;
use super::hash::Hash;

/// AUTH_TYPE of messages that all protocols share.
const COMMON: u8 = 0x00;
/// AUTH_TYPE of DH-HMAC-CHAP's messages, and AUTHID of its protocol descriptor.
const DHCHAP: u8 = 0x01;

// AUTH_ID.
const NEGOTIATE: u8 = 0x00;
const FAILURE2: u8 = 0xf0;
const FAILURE1: u8 = 0xf1;
const CHALLENGE: u8 = 0x01;
const REPLY: u8 = 0x02;
const SUCCESS1: u8 = 0x03;
const SUCCESS2: u8 = 0x04;

/// What all messages but the failures have at least, T_ID included.
const HEADER: usize = 6;
const NEGOTIATE_HEADER: usize = 8;
const DESCRIPTOR: usize = 64;
/// Where a protocol descriptor's identifiers begin, and how many bytes each of its two lists has.
const LISTS: usize = 4;
const LIST: usize = 30;
const REPLY_HEADER: usize = 16;
const SUCCESS2_LENGTH: usize = 16;
const FAILURE_LENGTH: usize = 8;

/// Why an exchange fails: the reason code explanation of AUTH_Failure1 and AUTH_Failure2. The reason code is always 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// A response is wrong, or there is no key to make one with.
    AuthenticationFailed,
    /// The host does not offer DH-HMAC-CHAP.
    ProtocolNotUsable,
    /// The host wants a secure channel made of the exchange.
    SecureChannelMismatch,
    /// No hash function that both want.
    HashNotUsable,
    /// No group that both want.
    GroupNotUsable,
    /// A length or a value that is wrong.
    IncorrectPayload,
    /// A message that does not belong here.
    IncorrectMessage,
}

impl Reason {
    pub(super) const fn explanation(self) -> u8 {
        match self {
            Self::AuthenticationFailed => 1,
            Self::ProtocolNotUsable => 2,
            Self::SecureChannelMismatch => 3,
            Self::HashNotUsable => 4,
            Self::GroupNotUsable => 5,
            Self::IncorrectPayload => 6,
            Self::IncorrectMessage => 7,
        }
    }
}

/// A message of the host's.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) transaction: u16,
    /// What it says, or why it makes no sense.
    pub(super) body: Result<Body<'a>, Reason>,
}

#[derive(Debug)]
pub(super) enum Body<'a> {
    Negotiate(Negotiate<'a>),
    Reply(Reply<'a>),
    Success2,
    /// With the host's explanation.
    Failure2(u8),
}

/// What the host can do.
#[derive(Debug)]
pub(super) struct Negotiate<'a> {
    /// 0 if no secure channel is to be made.
    pub(super) secure_channel: u8,
    /// Identifiers of hash functions and of groups, if it offers DH-HMAC-CHAP.
    pub(super) offer: Option<Offer<'a>>,
}

#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub(super) hashes: &'a [u8],
    pub(super) groups: &'a [u8],
}

/// What the host answers to our challenge, with its own.
#[derive(Debug)]
pub(super) struct Reply<'a> {
    pub(super) response: &'a [u8],
    /// S2 and C2, if it wants to know who we are.
    pub(super) challenge: Option<(u32, &'a [u8])>,
    /// g^y mod p; empty without a group.
    pub(super) public: &'a [u8],
}

impl<'a> Message<'a> {
    /// Fewer bytes than a transaction identifier takes are of no transaction: 0 is then as good as any.
    pub(super) fn parse(bytes: &'a [u8]) -> Self {
        let transaction = match bytes.first_chunk::<HEADER>() {
            Some(&[_, _, _, _, low, high]) => u16::from_le_bytes([low, high]),
            None => 0,
        };
        Self {
            transaction,
            body: Body::parse(bytes),
        }
    }
}

impl<'a> Body<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let header = bytes
            .first_chunk::<HEADER>()
            .ok_or(Reason::IncorrectPayload)?;
        match (header[0], header[1]) {
            (COMMON, NEGOTIATE) => Negotiate::parse(bytes).map(Self::Negotiate),
            (DHCHAP, REPLY) => Reply::parse(bytes).map(Self::Reply),
            (DHCHAP, SUCCESS2) if bytes.len() == SUCCESS2_LENGTH => Ok(Self::Success2),
            (COMMON, FAILURE2) => match bytes {
                &[.., explanation] if bytes.len() == FAILURE_LENGTH => {
                    Ok(Self::Failure2(explanation))
                }
                _ => Err(Reason::IncorrectPayload),
            },
            (DHCHAP, SUCCESS2) => Err(Reason::IncorrectPayload),
            _ => Err(Reason::IncorrectMessage),
        }
    }
}

impl<'a> Negotiate<'a> {
    /// AUTH_Negotiate (section 8.13.5.2): SC_C in byte 6, how many protocol descriptors follow in byte 7.
    fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let (header, descriptors) = bytes
            .split_first_chunk::<NEGOTIATE_HEADER>()
            .ok_or(Reason::IncorrectPayload)?;
        if descriptors.len() != usize::from(header[7]) * DESCRIPTOR {
            return Err(Reason::IncorrectPayload);
        }
        let (descriptors, _) = descriptors.as_chunks::<DESCRIPTOR>();
        let offer = descriptors
            .iter()
            .find(|descriptor| descriptor[0] == DHCHAP)
            .map(Offer::parse)
            .transpose()?;
        Ok(Self {
            secure_channel: header[6],
            offer,
        })
    }
}

impl<'a> Offer<'a> {
    /// HALEN in byte 2, DHLEN in byte 3, then both lists.
    fn parse(descriptor: &'a [u8; DESCRIPTOR]) -> Result<Self, Reason> {
        let (hashes, groups) = descriptor[LISTS..].split_at(LIST);
        let list =
            |list: &'a [u8], length: u8| list.get(..length.into()).ok_or(Reason::IncorrectPayload);
        Ok(Self {
            hashes: list(hashes, descriptor[2])?,
            groups: list(groups, descriptor[3])?,
        })
    }
}

impl<'a> Reply<'a> {
    /// DH-HMAC-CHAP_Reply (section 8.13.5.4): HL in byte 6, CVALID in 8, DHVLEN in 10 and 11, S2 in 12 to 15; then R1, C2
    /// (whether it is valid or not) and the DH value.
    fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let (header, rest) = bytes
            .split_first_chunk::<REPLY_HEADER>()
            .ok_or(Reason::IncorrectPayload)?;
        let &[
            _,
            _,
            _,
            _,
            _,
            _,
            length,
            _,
            valid,
            _,
            dh0,
            dh1,
            s0,
            s1,
            s2,
            s3,
        ] = header;
        let cut = |bytes: &'a [u8], length: u8| {
            bytes
                .split_at_checked(length.into())
                .ok_or(Reason::IncorrectPayload)
        };
        let (response, rest) = cut(rest, length)?;
        let (challenge, public) = cut(rest, length)?;
        if public.len() != usize::from(u16::from_le_bytes([dh0, dh1])) {
            return Err(Reason::IncorrectPayload);
        }
        let challenge = match (valid, u32::from_le_bytes([s0, s1, s2, s3])) {
            (0, _) => None,
            // Zero is for challenges that serve a secure channel alone.
            (1, sequence) if sequence != 0 => Some((sequence, challenge)),
            _ => return Err(Reason::IncorrectPayload),
        };
        Ok(Self {
            response,
            challenge,
            public,
        })
    }
}

/// DH-HMAC-CHAP_Challenge (section 8.13.5.3).
pub(super) fn challenge(
    transaction: u16,
    hash: Hash,
    group: DhGroup,
    sequence: u32,
    challenge: &[u8],
    public: &[u8],
) -> Vec<u8> {
    let mut message = header(DHCHAP, CHALLENGE, transaction);
    message.extend([length(challenge), 0, hash.identifier(), group.identifier()]);
    // At most 1024 bytes.
    let public_length = u16::try_from(public.len()).unwrap_or(u16::MAX);
    message.extend(public_length.to_le_bytes());
    message.extend(sequence.to_le_bytes());
    message.extend(challenge);
    message.extend(public);
    message
}

/// DH-HMAC-CHAP_Success1 (section 8.13.5.5). Linux checks HL even if there is no response.
pub(super) fn success1(transaction: u16, hash: Hash, response: Option<&[u8]>) -> Vec<u8> {
    let mut message = header(DHCHAP, SUCCESS1, transaction);
    // At most 64.
    let hash_length = u8::try_from(hash.length()).unwrap_or(u8::MAX);
    message.extend([hash_length, 0, u8::from(response.is_some())]);
    message.extend([0; 7]);
    message.extend(response.unwrap_or_default());
    message
}

/// AUTH_Failure1 (section 8.13.4).
pub(super) fn failure1(transaction: u16, reason: Reason) -> Vec<u8> {
    let mut message = header(COMMON, FAILURE1, transaction);
    message.extend([1, reason.explanation()]);
    message
}

fn header(kind: u8, id: u8, transaction: u16) -> Vec<u8> {
    let [low, high] = transaction.to_le_bytes();
    vec![kind, id, 0, 0, low, high]
}

/// Of a challenge: at most 64.
fn length(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).unwrap_or(u8::MAX)
}
