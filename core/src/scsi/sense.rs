//! Sense data (SPC-4 4.5).

/// What kind of trouble it is (SPC-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SenseKey {
    /// Nothing to report.
    NoSense = 0x0,
    /// Not accessible now.
    NotReady = 0x2,
    /// The medium failed.
    MediumError = 0x3,
    /// The device failed.
    HardwareError = 0x4,
    /// The command is wrong.
    IllegalRequest = 0x5,
    /// Something happened that the initiator has to know first.
    UnitAttention = 0x6,
    /// Writing is not allowed.
    DataProtect = 0x7,
    /// An EXTENDED COPY ended before its end.
    CopyAborted = 0xa,
    /// Gave up; may be tried again.
    AbortedCommand = 0xb,
    /// Data differ.
    Miscompare = 0xe,
}

/// A sense key with an additional sense code and qualifier (SPC-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenseCode {
    /// What kind of trouble.
    pub key: SenseKey,
    /// Additional sense code.
    pub asc: u8,
    /// Additional sense code qualifier.
    pub ascq: u8,
}

/// Every sense code that pagecast sends, by the name that the standard gives it.
pub mod codes {
    use super::{SenseCode, SenseKey};

    macro_rules! codes {
        ($($name:ident = $key:ident $asc:literal $ascq:literal, $text:literal;)+) => {
            $(
                #[doc = $text]
                pub const $name: SenseCode =
                    SenseCode { key: SenseKey::$key, asc: $asc, ascq: $ascq };
            )+

            /// All of them, with the standard's text.
            pub const ALL: &[(SenseCode, &str)] = &[$(($name, $text),)+];
        };
    }

    codes! {
        NO_SENSE = NoSense 0x00 0x00, "NO ADDITIONAL SENSE INFORMATION";
        UNIT_STOPPED = NotReady 0x04 0x02, "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED";
        WRITE_ERROR = MediumError 0x0c 0x00, "WRITE ERROR";
        READ_ERROR = MediumError 0x11 0x00, "UNRECOVERED READ ERROR";
        INTERNAL_FAILURE = HardwareError 0x44 0x00, "INTERNAL TARGET FAILURE";
        INVALID_INFORMATION_UNIT = IllegalRequest 0x0e 0x03, "INVALID FIELD IN COMMAND INFORMATION UNIT";
        PARAMETER_LIST_LENGTH = IllegalRequest 0x1a 0x00, "PARAMETER LIST LENGTH ERROR";
        INVALID_OPCODE = IllegalRequest 0x20 0x00, "INVALID COMMAND OPERATION CODE";
        LBA_OUT_OF_RANGE = IllegalRequest 0x21 0x00, "LOGICAL BLOCK ADDRESS OUT OF RANGE";
        INVALID_FIELD_IN_CDB = IllegalRequest 0x24 0x00, "INVALID FIELD IN CDB";
        LUN_NOT_SUPPORTED = IllegalRequest 0x25 0x00, "LOGICAL UNIT NOT SUPPORTED";
        INVALID_FIELD_IN_PARAMETERS = IllegalRequest 0x26 0x00, "INVALID FIELD IN PARAMETER LIST";
        INVALID_RELEASE = IllegalRequest 0x26 0x04, "INVALID RELEASE OF PERSISTENT RESERVATION";
        TOO_MANY_COPY_TARGETS = IllegalRequest 0x26 0x06, "TOO MANY TARGET DESCRIPTORS";
        UNSUPPORTED_COPY_TARGET = IllegalRequest 0x26 0x07, "UNSUPPORTED TARGET DESCRIPTOR TYPE CODE";
        TOO_MANY_COPY_SEGMENTS = IllegalRequest 0x26 0x08, "TOO MANY SEGMENT DESCRIPTORS";
        UNSUPPORTED_COPY_SEGMENT = IllegalRequest 0x26 0x09, "UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE";
        INLINE_DATA_LENGTH = IllegalRequest 0x26 0x0b, "INLINE DATA LENGTH EXCEEDED";
        SAVING_NOT_SUPPORTED = IllegalRequest 0x39 0x00, "SAVING PARAMETERS NOT SUPPORTED";
        INVALID_MESSAGE = IllegalRequest 0x49 0x00, "INVALID MESSAGE ERROR";
        NO_REGISTRATION_RESOURCES = IllegalRequest 0x55 0x04, "INSUFFICIENT REGISTRATION RESOURCES";
        RESET_OCCURRED = UnitAttention 0x29 0x00, "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED";
        POWER_ON_OCCURRED = UnitAttention 0x29 0x01, "POWER ON OCCURRED";
        TARGET_RESET_OCCURRED = UnitAttention 0x29 0x02, "SCSI BUS RESET OCCURRED";
        UNIT_RESET_OCCURRED = UnitAttention 0x29 0x03, "BUS DEVICE RESET FUNCTION OCCURRED";
        MODE_PARAMETERS_CHANGED = UnitAttention 0x2a 0x01, "MODE PARAMETERS CHANGED";
        RESERVATIONS_PREEMPTED = UnitAttention 0x2a 0x03, "RESERVATIONS PREEMPTED";
        RESERVATIONS_RELEASED = UnitAttention 0x2a 0x04, "RESERVATIONS RELEASED";
        REGISTRATIONS_PREEMPTED = UnitAttention 0x2a 0x05, "REGISTRATIONS PREEMPTED";
        CAPACITY_CHANGED = UnitAttention 0x2a 0x09, "CAPACITY DATA HAS CHANGED";
        INQUIRY_DATA_CHANGED = UnitAttention 0x3f 0x03, "INQUIRY DATA HAS CHANGED";
        LUNS_CHANGED = UnitAttention 0x3f 0x0e, "REPORTED LUNS DATA HAS CHANGED";
        WRITE_PROTECTED = DataProtect 0x27 0x00, "WRITE PROTECTED";
        SOFTWARE_WRITE_PROTECTED = DataProtect 0x27 0x02, "LOGICAL UNIT SOFTWARE WRITE PROTECTED";
        SPACE_ALLOCATION_FAILED = DataProtect 0x27 0x07, "SPACE ALLOCATION FAILED WRITE PROTECT";
        COPY_ABORTED = CopyAborted 0x00 0x00, "NO ADDITIONAL SENSE INFORMATION";
        COPY_TARGET_UNREACHABLE = CopyAborted 0x08 0x04, "UNREACHABLE COPY TARGET";
        COPY_DEVICE_FAILURE = CopyAborted 0x0d 0x01, "THIRD PARTY DEVICE FAILURE";
        COPY_DEVICE_TYPE = CopyAborted 0x0d 0x03, "INCORRECT COPY TARGET DEVICE TYPE";
        COPY_INEXACT_SEGMENT = CopyAborted 0x26 0x0a, "UNEXPECTED INEXACT SEGMENT";
        COPY_WRITE_PROTECTED = CopyAborted 0x27 0x00, "WRITE PROTECTED";
        COPY_SOFTWARE_WRITE_PROTECTED = CopyAborted 0x27 0x02, "LOGICAL UNIT SOFTWARE WRITE PROTECTED";
        COPY_SPACE_ALLOCATION_FAILED = CopyAborted 0x27 0x07, "SPACE ALLOCATION FAILED WRITE PROTECT";
        COMMAND_ABORTED = AbortedCommand 0x00 0x00, "NO ADDITIONAL SENSE INFORMATION";
        DATA_PHASE_ERROR = AbortedCommand 0x4b 0x00, "DATA PHASE ERROR";
        MISCOMPARE = Miscompare 0x1d 0x00, "MISCOMPARE DURING VERIFY OPERATION";
    }
}

/// The field that was wrong (SPC-4 4.5.2.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldPointer {
    /// In the CDB, not in the parameter list.
    pub in_cdb: bool,
    /// Byte where it starts.
    pub byte: u16,
    /// Its most significant bit in that byte, for a field that is smaller than a byte.
    pub bit: Option<u8>,
}

impl FieldPointer {
    /// The three sense key specific bytes, valid bit included. A pointer into a segment descriptor has SD and counts from
    /// its start (SPC-4, segment pointer sense key specific data).
    fn bytes(self, in_segment: bool) -> [u8; 3] {
        let command = if self.in_cdb { 0x40 } else { 0 };
        let segment = if in_segment { 0x20 } else { 0 };
        let bit = self.bit.map_or(0, |bit| 0x08 | (bit & 0x07));
        let [high, low] = self.byte.to_be_bytes();
        [0x80 | command | segment | bit, high, low]
    }
}

/// How sense data are laid out. Chosen by the D_SENSE bit of the control mode page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenseFormat {
    /// 70h (SPC-4 4.5.3).
    #[default]
    Fixed,
    /// 72h (SPC-4 4.5.2).
    Descriptor,
}

/// Sense data before they are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// What happened.
    pub code: SenseCode,
    /// The INFORMATION field.
    pub information: Option<u64>,
    /// Which field was wrong. With a `segment` it is one of that segment descriptor.
    pub field: Option<FieldPointer>,
    /// The segment of an EXTENDED COPY that failed, in the COMMAND-SPECIFIC INFORMATION field.
    pub segment: Option<u16>,
    /// How to encode it.
    pub format: SenseFormat,
}

impl From<SenseCode> for Sense {
    fn from(code: SenseCode) -> Self {
        Self {
            code,
            information: None,
            field: None,
            segment: None,
            format: SenseFormat::Fixed,
        }
    }
}

impl Sense {
    /// No sense data that pagecast encodes are longer.
    pub const MAX_LENGTH: usize = 40;

    /// INVALID FIELD IN CDB, for a field whose most significant bit is `bit` of `byte`.
    pub(crate) fn cdb_bits(byte: u16, bit: u8) -> Self {
        let field = Some(FieldPointer {
            in_cdb: true,
            byte,
            bit: Some(bit),
        });
        Self {
            field,
            ..codes::INVALID_FIELD_IN_CDB.into()
        }
    }

    /// INVALID FIELD IN CDB, for a field of whole bytes from `byte` on.
    pub(crate) fn cdb_byte(byte: u16) -> Self {
        let field = Some(FieldPointer {
            in_cdb: true,
            byte,
            bit: None,
        });
        Self {
            field,
            ..codes::INVALID_FIELD_IN_CDB.into()
        }
    }

    /// INVALID FIELD IN PARAMETER LIST, for a field that starts in `byte`.
    pub(crate) fn parameter(byte: usize, bit: Option<u8>) -> Self {
        let byte = u16::try_from(byte).unwrap_or(u16::MAX);
        let field = Some(FieldPointer {
            in_cdb: false,
            byte,
            bit,
        });
        Self {
            field,
            ..codes::INVALID_FIELD_IN_PARAMETERS.into()
        }
    }

    /// Writes as much of the sense data as `out` has room for, and returns how much that is.
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let mut bytes = [0; Self::MAX_LENGTH];
        let length = match self.format {
            SenseFormat::Fixed => self.encode_fixed(&mut bytes),
            SenseFormat::Descriptor => self.encode_descriptors(&mut bytes),
        };
        let length = length.min(out.len());
        out[..length].copy_from_slice(&bytes[..length]);
        length
    }

    fn encode_fixed(&self, bytes: &mut [u8; Self::MAX_LENGTH]) -> usize {
        bytes[0] = 0x70;
        // VALID says that INFORMATION means something; it has room for 32 bits only.
        if let Some(Ok(information)) = self.information.map(u32::try_from) {
            bytes[0] |= 0x80;
            bytes[3..7].copy_from_slice(&information.to_be_bytes());
        }
        bytes[2] = self.code.key as u8;
        bytes[7] = 10;
        bytes[12] = self.code.asc;
        bytes[13] = self.code.ascq;
        if let Some(segment) = self.segment {
            // Third and fourth byte of the field (SPC-4, errors while segment descriptors are processed).
            bytes[10..12].copy_from_slice(&segment.to_be_bytes());
        }
        if let Some(field) = self.field {
            bytes[15..18].copy_from_slice(&field.bytes(self.segment.is_some()));
        }
        18
    }

    fn encode_descriptors(&self, bytes: &mut [u8; Self::MAX_LENGTH]) -> usize {
        bytes[0] = 0x72;
        bytes[1] = self.code.key as u8;
        bytes[2] = self.code.asc;
        bytes[3] = self.code.ascq;
        let mut end = 8;
        if let Some(information) = self.information {
            bytes[end..end + 3].copy_from_slice(&[0x00, 0x0a, 0x80]);
            bytes[end + 4..end + 12].copy_from_slice(&information.to_be_bytes());
            end += 12;
        }
        if let Some(segment) = self.segment {
            bytes[end..end + 2].copy_from_slice(&[0x01, 0x0a]);
            bytes[end + 6..end + 8].copy_from_slice(&segment.to_be_bytes());
            end += 12;
        }
        if let Some(field) = self.field {
            bytes[end..end + 2].copy_from_slice(&[0x02, 0x06]);
            bytes[end + 4..end + 7].copy_from_slice(&field.bytes(self.segment.is_some()));
            end += 8;
        }
        bytes[7] = (end - 8) as u8;
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(sense: Sense) -> Vec<u8> {
        let mut bytes = [0xee; 64];
        let length = sense.encode(&mut bytes);
        bytes[..length].to_vec()
    }

    #[test]
    fn fixed_format() {
        let sense = Sense::cdb_bits(1, 7);
        assert_eq!(
            encoded(sense),
            [
                0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xcf, 0, 1
            ]
        );
        let sense = Sense {
            information: Some(0x1_0203),
            ..codes::MISCOMPARE.into()
        };
        assert_eq!(
            encoded(sense),
            [
                0xf0, 0, 0xe, 0, 1, 2, 3, 10, 0, 0, 0, 0, 0x1d, 0, 0, 0, 0, 0
            ]
        );
    }

    #[test]
    fn descriptor_format() {
        let format = SenseFormat::Descriptor;
        let sense = Sense {
            format,
            ..codes::READ_ERROR.into()
        };
        assert_eq!(encoded(sense), [0x72, 3, 0x11, 0, 0, 0, 0, 0]);
        let sense = Sense {
            format,
            information: Some(1 << 40),
            ..Sense::parameter(0x102, None)
        };
        assert_eq!(
            encoded(sense),
            [
                0x72, 5, 0x26, 0, 0, 0, 0, 20, // header
                0, 10, 0x80, 0, 0, 0, 1, 0, 0, 0, 0, 0, // information
                2, 6, 0, 0, 0x80, 1, 2, 0, // sense key specific
            ]
        );
    }

    #[test]
    fn segments_of_a_copy() {
        let sense = Sense {
            segment: Some(0x102),
            field: Some(FieldPointer {
                in_cdb: false,
                byte: 20,
                bit: None,
            }),
            ..codes::COPY_ABORTED.into()
        };
        assert_eq!(
            encoded(sense),
            [
                0x70, 0, 0xa, 0, 0, 0, 0, 10, 0, 0, 1, 2, 0, 0, 0, 0xa0, 0, 20
            ]
        );
        let sense = Sense {
            format: SenseFormat::Descriptor,
            information: Some(1),
            ..sense
        };
        assert_eq!(
            encoded(sense),
            [
                0x72, 0xa, 0, 0, 0, 0, 0, 32, // header
                0, 10, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, // information
                1, 10, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, // command specific information
                2, 6, 0, 0, 0xa0, 0, 20, 0, // sense key specific
            ]
        );
    }

    #[test]
    fn information_that_does_not_fit_is_left_out() {
        let sense = Sense {
            information: Some(1 << 32),
            ..codes::MISCOMPARE.into()
        };
        assert_eq!(encoded(sense)[0], 0x70);
    }

    #[test]
    fn encodes_into_what_room_there_is() {
        let mut bytes = [0xee; 5];
        assert_eq!(Sense::from(codes::READ_ERROR).encode(&mut bytes[..4]), 4);
        assert_eq!(bytes, [0x70, 0, 3, 0, 0xee]);
    }

    #[test]
    fn codes_are_distinct() {
        for (index, (code, _)) in codes::ALL.iter().enumerate() {
            let again = codes::ALL[..index].iter().any(|(other, _)| other == code);
            assert!(!again, "{code:?}");
        }
    }
}
