//! Key=value pairs (RFC 7143 section 6.1), as they arrive and as we write them.
//!
//! What arrives is bounded in bytes, pieces and pairs before anything is done with it.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::mem;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

/// Longest text, over all the PDUs that it continues in.
pub const MAX_TEXT: usize = 16 * 1024;
/// Most pairs of one text.
pub const MAX_PAIRS: usize = 64;
/// Most PDUs that one text continues in.
pub const MAX_PIECES: u32 = 32;
/// Longest key (RFC 7143 section 6.1).
pub const MAX_KEY: usize = 63;

/// The answer to a key that nothing is known of (RFC 7143 section 6.2).
pub const NOT_UNDERSTOOD: &str = "NotUnderstood";
/// The answer to a key that has no meaning here.
pub const IRRELEVANT: &str = "Irrelevant";
/// The answer to a value that cannot be agreed to.
pub const REJECT: &str = "Reject";
/// The list value that stands for none of them.
pub const NONE: &str = "None";
/// The boolean value for true.
pub const YES: &str = "Yes";
/// The boolean value for false.
pub const NO: &str = "No";

/// A text that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TextError {
    /// More bytes than [`MAX_TEXT`].
    #[error("text of more than {MAX_TEXT} bytes")]
    TooLong,
    /// It goes on and on.
    #[error("text in more than {MAX_PIECES} pieces")]
    TooManyPieces,
    /// More than [`MAX_PAIRS`].
    #[error("text of more than {MAX_PAIRS} keys")]
    TooManyPairs,
    /// The last pair has no NUL.
    #[error("text whose last pair does not end")]
    Unterminated,
    /// No `=`.
    #[error("text with a key that has no value")]
    NoValue,
    /// Too long, empty, or of other characters than a key may have.
    #[error("text with a malformed key")]
    BadKey,
    /// Not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// The same key twice.
    #[error("text that has a key twice")]
    Repeated,
}

/// A key and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// At most [`MAX_KEY`] letters, digits and a few signs.
    pub key: &'a str,
    /// Anything but NUL.
    pub value: &'a str,
}

/// Puts together a text that continues over PDUs (the C bit, RFC 7143 sections 11.10.2 and 11.12.2).
#[derive(Debug, Default)]
pub struct Assembler {
    bytes: Vec<u8>,
    pieces: u32,
}

impl Assembler {
    /// Takes the data of a PDU; returns the whole text with the last one.
    pub fn push(&mut self, data: &[u8], continues: bool) -> Result<Option<Vec<u8>>, TextError> {
        self.pieces += 1;
        if self.pieces > MAX_PIECES {
            return Err(TextError::TooManyPieces);
        }
        if data.len() > MAX_TEXT - self.bytes.len() {
            return Err(TextError::TooLong);
        }
        self.bytes.extend_from_slice(data);
        if continues {
            return Ok(None);
        }
        self.pieces = 0;
        Ok(Some(mem::take(&mut self.bytes)))
    }
}

/// Reads a whole text. A key that comes twice is an error: none of those that initiators send may (RFC 7143 section 6.2).
pub fn parse(text: &[u8]) -> Result<Vec<Pair<'_>>, TextError> {
    if text.len() > MAX_TEXT {
        return Err(TextError::TooLong);
    }
    let Some((&end, body)) = text.split_last() else {
        return Ok(Vec::new());
    };
    if end != 0 {
        return Err(TextError::Unterminated);
    }
    let mut pairs = Vec::new();
    let mut keys = BTreeSet::new();
    for pair in body.split(|&byte| byte == 0) {
        if pairs.len() == MAX_PAIRS {
            return Err(TextError::TooManyPairs);
        }
        let pair = std::str::from_utf8(pair).map_err(|_| TextError::NotUtf8)?;
        let (key, value) = pair.split_once('=').ok_or(TextError::NoValue)?;
        if !is_key(key) {
            return Err(TextError::BadKey);
        }
        if !keys.insert(key) {
            return Err(TextError::Repeated);
        }
        pairs.push(Pair { key, value });
    }
    Ok(pairs)
}

/// RFC 7143 section 6.1 wants a capital letter first, which its own iSCSIProtocolLevel has not; `#` is of the registered extensions
/// (`X#NodeArchitecture`, RFC 4850).
fn is_key(key: &str) -> bool {
    key.len() <= MAX_KEY
        && key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-+@_#".contains(&byte))
}

/// A text that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextWriter(Vec<u8>);

impl TextWriter {
    /// Adds a pair.
    pub fn pair(&mut self, key: &str, value: impl Display) {
        self.0
            .extend_from_slice(format!("{key}={value}\0").as_bytes());
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a numerical-value: decimal, or hexadecimal after `0x`.
pub fn number(value: &str) -> Option<u64> {
    let (digits, radix) = match hexadecimal(value) {
        Some(digits) => (digits, 16),
        None => (value, 10),
    };
    // The standard library's own parser would take a sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// Reads a boolean-value.
pub fn boolean(value: &str) -> Option<bool> {
    match value {
        YES => Some(true),
        NO => Some(false),
        _ => None,
    }
}

/// The boolean-value for.
pub fn yes_or_no(value: bool) -> &'static str {
    if value { YES } else { NO }
}

/// Reads a list-of-values.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',')
}

/// Reads a binary-value of at most `longest` bytes: pairs of hexadecimal digits after `0x`, or base64 after `0b`.
pub fn binary(value: &str, longest: usize) -> Option<Vec<u8>> {
    let bytes = match hexadecimal(value) {
        Some(digits) => from_hex(digits)?,
        None => {
            let digits = value
                .strip_prefix("0b")
                .or_else(|| value.strip_prefix("0B"))?;
            BASE64.decode(digits).ok()?
        }
    };
    (bytes.len() <= longest).then_some(bytes)
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Writes a binary-value, in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    "0x".chars()
        .chain(digits.flat_map(|two| two.into_bytes()).map(char::from))
        .collect()
}

fn hexadecimal(value: &str) -> Option<&str> {
    value
        .strip_prefix("0x")
        .or_else(|| value.strip_prefix("0X"))
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs
        .iter()
        .map(|&[high, low]| u8::try_from(digit(high)? << 4 | digit(low)?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[u8]) -> Vec<(&str, &str)> {
        let pairs = parse(text).unwrap();
        pairs.iter().map(|pair| (pair.key, pair.value)).collect()
    }

    #[test]
    fn a_text_is_its_pairs_in_their_order() {
        assert_eq!(
            pairs(b"B=1\0A=x=y\0X#Node=\0iSCSIProtocolLevel=2\0"),
            [
                ("B", "1"),
                ("A", "x=y"),
                ("X#Node", ""),
                ("iSCSIProtocolLevel", "2")
            ]
        );
        assert_eq!(pairs(b""), []);
    }

    #[test]
    fn what_is_no_text_says_why() {
        let long_key = [b"K".repeat(64), b"=1\0".to_vec()].concat();
        let cases: [(&[u8], TextError); 10] = [
            (b"A=1", TextError::Unterminated),
            (b"A=1\0B", TextError::Unterminated),
            (b"A\0", TextError::NoValue),
            (b"A=1\0\0", TextError::NoValue),
            (b"\0", TextError::NoValue),
            (b"=1\0", TextError::BadKey),
            (b"1A=1\0", TextError::BadKey),
            (&long_key, TextError::BadKey),
            (b"A=\xff\xfe\0", TextError::NotUtf8),
            (b"A=1\0B=1\0A=1\0", TextError::Repeated),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
        assert_eq!(parse(&long_key[1..]).unwrap().len(), 1);
    }

    #[test]
    fn pairs_are_bounded() {
        let text = |pairs: usize| -> Vec<u8> {
            (0..pairs)
                .flat_map(|n| format!("K{n}=1\0").into_bytes())
                .collect()
        };
        assert_eq!(parse(&text(MAX_PAIRS)).unwrap().len(), MAX_PAIRS);
        assert_eq!(parse(&text(MAX_PAIRS + 1)), Err(TextError::TooManyPairs));
        assert_eq!(parse(&text(10_000)), Err(TextError::TooLong));
        assert_eq!(parse(&vec![0; MAX_TEXT + 1]), Err(TextError::TooLong));
    }

    #[test]
    fn pieces_make_a_text() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(b"A=1\0B", true), Ok(None));
        assert_eq!(
            assembler.push(b"=2\0", false),
            Ok(Some(b"A=1\0B=2\0".to_vec()))
        );
        assert_eq!(assembler.push(b"C=3\0", false), Ok(Some(b"C=3\0".to_vec())));
    }

    #[test]
    fn pieces_are_bounded_in_bytes_and_in_number() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(&vec![b'a'; MAX_TEXT], true), Ok(None));
        assert_eq!(assembler.push(b"a", true), Err(TextError::TooLong));

        let mut assembler = Assembler::default();
        for _ in 0..MAX_PIECES {
            assert_eq!(assembler.push(b"", true), Ok(None));
        }
        assert_eq!(assembler.push(b"", true), Err(TextError::TooManyPieces));
        assert_eq!(
            Assembler::default().push(&vec![b'a'; 1 << 20], false),
            Err(TextError::TooLong)
        );
    }

    #[test]
    fn numbers() {
        for (value, read) in [
            ("0", Some(0)),
            ("262144", Some(262_144)),
            ("0x40000", Some(262_144)),
            ("0XfF", Some(255)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("0x", None),
            ("+1", None),
            ("-1", None),
            (" 1", None),
            ("1a", None),
            ("0x+1", None),
        ] {
            assert_eq!(number(value), read, "{value:?}");
        }
    }

    #[test]
    fn binary_values() {
        for (value, read) in [
            ("0x00ffA5", Some(vec![0, 0xff, 0xa5])),
            ("0X00", Some(vec![0])),
            ("0bAP+l", Some(vec![0, 0xff, 0xa5])),
            ("0BAA==", Some(vec![0])),
            ("0bAA", Some(vec![0])),
            ("0x", Some(vec![])),
            ("0x0", None),
            ("0x0g", None),
            ("0x+1", None),
            ("00ff", None),
            ("", None),
            ("0b!!", None),
            ("0x00000000", None),
            ("0bAAAAAA", None),
        ] {
            assert_eq!(binary(value, 3), read, "{value:?}");
        }
        assert_eq!(hex(&[0, 0xff, 0x0a]), "0x00ff0a");
    }

    #[test]
    fn written_text_reads_back() {
        let mut text = TextWriter::default();
        assert!(text.is_empty());
        text.pair("MaxConnections", 1);
        text.pair("InitialR2T", yes_or_no(boolean("No").unwrap()));
        assert_eq!(text.len(), 17 + 14);
        assert_eq!(text.into_bytes(), b"MaxConnections=1\0InitialR2T=No\0");
    }
}
