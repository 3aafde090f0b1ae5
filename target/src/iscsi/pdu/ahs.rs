//! Additional header segments of a command (RFC 7143 section 11.2.2).

use super::FieldError;

/// Extended CDB (section 11.2.2.3).
const EXTENDED_CDB: u8 = 1;
/// Bidirectional Read Expected Data Transfer Length (section 11.2.2.4).
const BIDIRECTIONAL_LENGTH: u8 = 2;
/// The longest CDB (SPC-4 4.3.3) without the 16 bytes that are in the basic header segment.
pub const MAX_CDB_EXTENSION: usize = 260 - 16;

/// What the additional header segments of a command say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ahs<'a> {
    /// The CDB from its seventeenth byte on.
    pub cdb_extension: &'a [u8],
    /// How much a bidirectional command expects to read.
    pub bidirectional_read_length: Option<u32>,
}

impl<'a> Ahs<'a> {
    /// Reads all of them. Each kind may come once.
    pub fn parse(mut bytes: &'a [u8]) -> Result<Self, FieldError> {
        let mut ahs = Self::default();
        while !bytes.is_empty() {
            let ([high, low, kind], rest) = bytes.split_first_chunk().ok_or(FieldError::Ahs)?;
            // AHSLength counts from the byte after the type; padding is up to a multiple of four with the three bytes before it.
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let content = rest.get(..length).ok_or(FieldError::Ahs)?;
            bytes = rest
                .get((3 + length).next_multiple_of(4) - 3..)
                .ok_or(FieldError::Ahs)?;
            match *kind {
                EXTENDED_CDB if ahs.cdb_extension.is_empty() => {
                    ahs.cdb_extension = match content {
                        [_reserved, extension @ ..]
                            if (1..=MAX_CDB_EXTENSION).contains(&extension.len()) =>
                        {
                            extension
                        }
                        _ => return Err(FieldError::Ahs),
                    };
                }
                BIDIRECTIONAL_LENGTH if ahs.bidirectional_read_length.is_none() => {
                    let [_reserved, length @ ..] = content else {
                        return Err(FieldError::Ahs);
                    };
                    let length = length.try_into().map_err(|_| FieldError::Ahs)?;
                    ahs.bidirectional_read_length = Some(u32::from_be_bytes(length));
                }
                _ => return Err(FieldError::Ahs),
            }
        }
        Ok(ahs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(content.len()).unwrap().to_be_bytes().to_vec();
        bytes.push(kind);
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn both_kinds() {
        let mut bytes = segment(1, &[0, 1, 2, 3, 4, 5]);
        assert_eq!(bytes, [0, 6, 1, 0, 1, 2, 3, 4, 5, 0, 0, 0]);
        bytes.extend(segment(2, &[0, 0, 0, 2, 0]));
        let ahs = Ahs::parse(&bytes).unwrap();
        assert_eq!(ahs.cdb_extension, [1, 2, 3, 4, 5]);
        assert_eq!(ahs.bidirectional_read_length, Some(512));
    }

    #[test]
    fn what_is_refused() {
        let twice = [segment(1, &[0, 1]), segment(1, &[0, 1])].concat();
        let cases = [
            segment(0, &[0]),
            segment(3, &[0]),
            segment(1, &[]),
            segment(1, &[0]),
            segment(1, &[0; 2 + MAX_CDB_EXTENSION]),
            segment(2, &[0, 0, 0, 0]),
            segment(2, &[0; 6]),
            twice,
            // Longer than what arrived, with and without padding.
            vec![0, 2, 1, 0],
            vec![0xff, 0xff, 1, 0],
            vec![0, 5, 1, 0, 1, 2, 3, 4],
        ];
        for bytes in &cases[..10] {
            assert_eq!(Ahs::parse(bytes), Err(FieldError::Ahs), "{bytes:?}");
        }
        // Exactly filled.
        assert_eq!(Ahs::parse(&cases[10]).unwrap().cdb_extension, [1, 2, 3, 4]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(ahs) = Ahs::parse(&bytes) {
                prop_assert!(ahs.cdb_extension.len() <= bytes.len());
            }
        }
    }
}
