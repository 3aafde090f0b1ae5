//! Log pages (SPC-4 7.3, SBC-3 log parameters).

use crate::scsi::statistics::Statistics;
use crate::scsi::unit::LogicalUnit;

/// A log page that is made of parameters.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) code: u8,
    pub(super) contents: Contents,
}

/// What a page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    WriteErrors,
    ReadErrors,
    VerifyErrors,
    /// Only of a disk with thin provisioning.
    Provisioning,
    Temperature,
    SelfTests,
    /// Only of a disk that does not spin.
    SolidState,
    General,
    InformationalExceptions,
}

/// Sorted by page code.
#[rustfmt::skip]
pub(super) static PAGES: &[Page] = &[
    Page { code: 0x02, contents: Contents::WriteErrors },
    Page { code: 0x03, contents: Contents::ReadErrors },
    Page { code: 0x05, contents: Contents::VerifyErrors },
    Page { code: 0x0c, contents: Contents::Provisioning },
    Page { code: 0x0d, contents: Contents::Temperature },
    Page { code: 0x10, contents: Contents::SelfTests },
    Page { code: 0x11, contents: Contents::SolidState },
    Page { code: 0x19, contents: Contents::General },
    Page { code: 0x2f, contents: Contents::InformationalExceptions },
];

/// One parameter of a page.
#[derive(Debug)]
pub(super) struct LogParameter {
    pub(super) code: u16,
    /// FORMAT AND LINKING.
    pub(super) format: u8,
    /// At most 255 bytes.
    pub(super) value: Vec<u8>,
}

/// A counter that stops at its largest value.
const BOUNDED: u8 = 0x00;
/// A list of binary fields.
const LIST: u8 = 0x03;

/// No temperature is known.
const NO_TEMPERATURE: u8 = 0xff;

impl Contents {
    /// With their cumulative values, or counters with zeros. Lists are always as they are now (SPC-4).
    pub(super) fn parameters(self, unit: &LogicalUnit, cumulative: bool) -> Vec<LogParameter> {
        let now = unit.statistics();
        match self {
            Self::WriteErrors if cumulative => error_counters(now.write_bytes, now.write_errors),
            Self::ReadErrors if cumulative => error_counters(now.read_bytes, now.read_errors),
            Self::WriteErrors | Self::ReadErrors | Self::VerifyErrors => error_counters(0, 0),
            Self::Provisioning => provisioning(unit.block_size(), &now),
            Self::Temperature => temperature(),
            Self::SelfTests => self_tests(),
            // PERCENTAGE USED ENDURANCE INDICATOR: what is worn is not this disk (SBC-3).
            Self::SolidState => vec![list(1, vec![0; 4])],
            Self::General => general(unit.block_size(), &now),
            // No exception is there to report (SPC-4): additional sense code and qualifier, temperature, and where tools
            // look for the temperature that would be too high.
            Self::InformationalExceptions => {
                vec![list(0, vec![0, 0, NO_TEMPERATURE, NO_TEMPERATURE])]
            }
        }
    }
}

fn list(code: u16, value: Vec<u8>) -> LogParameter {
    LogParameter {
        code,
        format: LIST,
        value,
    }
}

/// Read, write and verify error counters (SPC-4): nothing is corrected here, so these are zero but for the bytes
/// processed and the errors that were not corrected.
fn error_counters(bytes: u64, uncorrected: u64) -> Vec<LogParameter> {
    [0, 0, 0, 0, 0, bytes, uncorrected]
        .into_iter()
        .zip(0..)
        .map(|(value, code)| LogParameter {
            code,
            format: BOUNDED,
            value: value.to_be_bytes().to_vec(),
        })
        .collect()
}

/// Logical block provisioning (SBC-3): available and used resources, as far as they are known. There is no threshold, so a
/// threshold set is one block.
fn provisioning(block_size: u32, now: &Statistics) -> Vec<LogParameter> {
    let resource = |code, bytes: Option<u64>, scope: u8| {
        let blocks = bytes? / u64::from(block_size);
        let count = u32::try_from(blocks).unwrap_or(u32::MAX);
        let mut value = count.to_be_bytes().to_vec();
        value.extend([scope, 0, 0, 0]);
        Some(list(code, value))
    };
    // SCOPE: what is available others may take, what is used is this unit's.
    [
        resource(1, now.available_bytes, 2),
        resource(2, now.used_bytes, 1),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Temperature and reference temperature (SPC-4).
fn temperature() -> Vec<LogParameter> {
    [0, 1]
        .map(|code| list(code, vec![0, NO_TEMPERATURE]))
        .into()
}

/// The last twenty self-tests (SPC-4), none of which was made: the default self-test is not logged.
fn self_tests() -> Vec<LogParameter> {
    (1..=20).map(|code| list(code, vec![0; 16])).collect()
}

/// General access statistics and performance, idle time, and the time interval that they count in (SPC-4). No times are
/// counted, but tools look for all three.
fn general(block_size: u32, now: &Statistics) -> Vec<LogParameter> {
    let block_size = u64::from(block_size);
    let counts = [
        now.reads,
        now.writes,
        // LOGICAL BLOCKS RECEIVED, LOGICAL BLOCKS TRANSMITTED.
        now.write_bytes / block_size,
        now.read_bytes / block_size,
        // Processing intervals, and both weighted numbers.
        0,
        0,
        0,
        0,
    ];
    let value = counts.into_iter().flat_map(u64::to_be_bytes).collect();
    // One microsecond: 1 times ten to the power of minus 6.
    let interval = [6_u32, 1].into_iter().flat_map(u32::to_be_bytes).collect();
    vec![list(1, value), list(2, vec![0; 8]), list(3, interval)]
}
