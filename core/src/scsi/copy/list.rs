//! The parameter list of EXTENDED COPY (LID1), and the copy that it asks for (SPC-4).

use super::{BLOCK_TO_BLOCK, HEADER_LENGTH, IDENTIFICATION, LIMITS, SEGMENT_LENGTH, TARGET_LENGTH};
use crate::block::{BlockOp, BlockRange, CopySegment, Transfer};
use crate::reservations::Access;
use crate::scsi::attention::Nexus;
use crate::scsi::cdb::Cdb;
use crate::scsi::channel::LunMap;
use crate::scsi::plan::{BlockCommand, Context, ParameterList, PendingParameters, Plan, Planned};
use crate::scsi::response::{Response, Status};
use crate::scsi::sense::{FieldPointer, Sense, SenseCode, SenseKey, codes};
use crate::scsi::session::ScsiSession;
use crate::scsi::unit::{LogicalUnit, Modes};
use crate::scsi::vpd;

/// EXTENDED COPY (LID1), before its parameter list is there.
pub(crate) fn extended_copy(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let length = cdb.u32(10);
    if length == 0 {
        return context.good();
    }
    if !(HEADER_LENGTH as u32..=HEADER_LENGTH as u32 + LIMITS.list_length).contains(&length) {
        return Err(codes::PARAMETER_LIST_LENGTH.into());
    }
    context.fetch(ParameterList::ExtendedCopy, length)
}

/// EXTENDED COPY with its parameter list.
///
/// All of it is checked before anything is copied. What is wrong with the list as such is an ILLEGAL REQUEST; what is wrong
/// with a segment is what would have been found when it was its turn, and ends in COPY ABORTED.
pub(crate) fn extended_copy_list(
    session: &ScsiSession,
    map: &LunMap,
    pending: &PendingParameters,
    data: &[u8],
) -> Planned {
    let list = List::parse(data)?;
    let targets = list.targets(session, map)?;
    let unit = &*pending.nexus.unit;
    let (segments, durable) = list.plan(&targets).inspect_err(|sense| {
        if let (Some(identifier), SenseKey::CopyAborted) = (list.identifier, sense.code.key) {
            let format = unit.sense_format();
            let notes = session.copies();
            notes.fail(unit.id(), identifier, Sense { format, ..*sense });
        }
    })?;
    if let Some(identifier) = list.identifier {
        let notes = session.copies();
        if !notes.begin(unit.id(), identifier, &segments) {
            return Ok(Plan::Respond(Status::Busy.into()));
        }
        if segments.is_empty() {
            notes.end(unit.id(), &segments, Ok(()));
        }
    }
    if segments.is_empty() {
        return Ok(Plan::Respond(Response::good()));
    }
    Ok(Plan::Block(BlockCommand {
        unit: pending.unit,
        op: BlockOp::Copy(segments),
        fua: durable,
        dpo: false,
        transfer: Transfer::None,
    }))
}

/// A parameter list whose lengths and descriptor types are good.
struct List<'a> {
    /// Not if the initiator does not want to ask for the outcome.
    identifier: Option<u8>,
    targets: &'a [u8],
    segments: &'a [u8],
    /// Where they are in the list.
    segments_at: usize,
}

impl<'a> List<'a> {
    fn parse(data: &'a [u8]) -> Result<Self, Sense> {
        let short = || Sense::from(codes::PARAMETER_LIST_LENGTH);
        let (header, rest) = data.split_at_checked(HEADER_LENGTH).ok_or_else(short)?;
        // LIST ID USAGE. STR and PRIORITY change nothing: segments are copied in their order anyway.
        let identifier = match header[1] >> 3 & 0x03 {
            0 | 2 => Some(header[0]),
            3 if header[0] == 0 => None,
            3 => return Err(Sense::parameter(0, None)),
            _ => return Err(Sense::parameter(1, Some(4))),
        };
        let targets_length = number(header, 2, 2) as usize;
        let segments_length = number(header, 8, 4) as usize;
        if number(header, 12, 4) > u64::from(LIMITS.inline_data) {
            return Err(codes::INLINE_DATA_LENGTH.into());
        }
        let (targets, rest) = rest.split_at_checked(targets_length).ok_or_else(short)?;
        let segments = rest.get(..segments_length).ok_or_else(short)?;
        let segments_at = HEADER_LENGTH + targets_length;

        if targets_length > usize::from(LIMITS.targets) * TARGET_LENGTH {
            return Err(codes::TOO_MANY_COPY_TARGETS.into());
        }
        for (index, target) in targets.chunks(TARGET_LENGTH).enumerate() {
            if target[0] != IDENTIFICATION {
                let at = HEADER_LENGTH + index * TARGET_LENGTH;
                return Err(parameter(codes::UNSUPPORTED_COPY_TARGET, at));
            }
        }
        if !targets_length.is_multiple_of(TARGET_LENGTH) {
            return Err(Sense::parameter(2, None));
        }
        for (index, segment) in segments.chunks(SEGMENT_LENGTH).enumerate() {
            let at = segments_at + index * SEGMENT_LENGTH;
            if segment[0] != BLOCK_TO_BLOCK {
                return Err(parameter(codes::UNSUPPORTED_COPY_SEGMENT, at));
            }
            // DESCRIPTOR LENGTH
            if segment.get(2..4) != Some(&[0, SEGMENT_LENGTH as u8 - 4]) {
                return Err(Sense::parameter(at + 2, None));
            }
        }
        if !segments_length.is_multiple_of(SEGMENT_LENGTH) {
            return Err(Sense::parameter(8, None));
        }
        if segments_length > usize::from(LIMITS.segments) * SEGMENT_LENGTH {
            return Err(codes::TOO_MANY_COPY_SEGMENTS.into());
        }
        Ok(Self {
            identifier,
            targets,
            segments,
            segments_at,
        })
    }

    fn targets<'s>(
        &self,
        session: &ScsiSession,
        map: &'s LunMap,
    ) -> Result<Vec<Target<'s>>, Sense> {
        let descriptors = self.targets.chunks_exact(TARGET_LENGTH).enumerate();
        let target = descriptors.map(|(index, descriptor)| {
            let target = Target {
                nexus: named(session, map, &descriptor[4..28]),
                device_type: descriptor[1] & 0x1f,
            };
            // DISK BLOCK LENGTH, if it is told. An initiator that is wrong about it is wrong about where its data are.
            let block_length = number(descriptor, 29, 3);
            match target.nexus {
                Some(nexus)
                    if block_length != 0 && block_length != nexus.unit.block_size().into() =>
                {
                    let at = HEADER_LENGTH + index * TARGET_LENGTH + 29;
                    Err(Sense::parameter(at, None))
                }
                _ => Ok(target),
            }
        });
        target.collect()
    }

    /// What to copy, and whether a destination has no write cache that it may stay in.
    fn plan(&self, targets: &[Target<'_>]) -> Result<(Vec<CopySegment>, bool), Sense> {
        let mut segments = Vec::with_capacity(self.segments.len() / SEGMENT_LENGTH);
        let mut durable = false;
        for (number, descriptor) in self.segments.chunks_exact(SEGMENT_LENGTH).enumerate() {
            let planned = Segment::parse(descriptor).plan(targets);
            let planned = planned.map_err(|error| error.sense(number, self.segments_at))?;
            if let Some((segment, destination)) = planned {
                durable |= !destination.write_cache();
                segments.push(segment);
            }
        }
        Ok((segments, durable))
    }
}

/// What a CSCD descriptor names. LU ID TYPE and NUL, which are obsolete, and the initiator port, of which there is none, are
/// ignored.
struct Target<'a> {
    /// Nothing if the session has no such logical unit.
    nexus: Option<&'a Nexus>,
    device_type: u8,
}

/// The unit that a designator names. If the session sees it by several numbers, by one that it may write to.
fn named<'s>(session: &ScsiSession, map: &'s LunMap, descriptor: &[u8]) -> Option<&'s Nexus> {
    let mut read_only = None;
    for slot in &map.slots {
        if is_named(&slot.nexus.unit, session, descriptor) {
            if !slot.nexus.read_only() {
                return Some(&slot.nexus);
            }
            read_only = read_only.or(Some(&*slot.nexus));
        }
    }
    read_only
}

/// Whether a unit is named by a designator: one of those in its device identification page that are of the logical unit,
/// with padding behind it.
fn is_named(unit: &LogicalUnit, session: &ScsiSession, descriptor: &[u8]) -> bool {
    let (Some(page), Some(wanted)) = (
        vpd::page(0x83, unit, session.port()),
        Designator::parse(descriptor),
    ) else {
        return false;
    };
    let mut rest = page.get(4..).unwrap_or_default();
    while let Some(known) = Designator::parse(rest) {
        if known.association == 0 && known == wanted {
            return true;
        }
        rest = &rest[DESIGNATOR_HEADER + known.name.len()..];
    }
    false
}

/// Bytes of a designation descriptor before its name.
const DESIGNATOR_HEADER: usize = 4;

/// A designation descriptor (SPC-4, device identification VPD page), apart from the protocol.
#[derive(PartialEq, Eq)]
struct Designator<'a> {
    code_set: u8,
    association: u8,
    kind: u8,
    name: &'a [u8],
}

impl<'a> Designator<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<DESIGNATOR_HEADER>()?;
        let [code_set, kind, _, length] = *header;
        Some(Self {
            code_set: code_set & 0x0f,
            association: kind >> 4 & 0x03,
            kind: kind & 0x0f,
            name: rest.get(..length.into())?,
        })
    }
}

/// A block device to block device segment descriptor.
struct Segment {
    source: usize,
    destination: usize,
    /// BLOCK DEVICE NUMBER OF BLOCKS, of the destination if DC is set.
    blocks: u64,
    destination_counts: bool,
    source_lba: u64,
    destination_lba: u64,
}

/// Where its fields are in a segment descriptor.
const SOURCE_INDEX: u16 = 4;
const DESTINATION_INDEX: u16 = 6;
const BLOCKS: u16 = 10;
const SOURCE_LBA: u16 = 12;
const DESTINATION_LBA: u16 = 20;

impl Segment {
    fn parse(descriptor: &[u8]) -> Self {
        Self {
            source: number(descriptor, SOURCE_INDEX, 2) as usize,
            destination: number(descriptor, DESTINATION_INDEX, 2) as usize,
            blocks: number(descriptor, BLOCKS, 2),
            // CAT has no effect: a segment that leaves a residue is refused.
            destination_counts: descriptor.get(1).is_some_and(|flags| flags & 0x02 != 0),
            source_lba: number(descriptor, SOURCE_LBA, 8),
            destination_lba: number(descriptor, DESTINATION_LBA, 8),
        }
    }

    /// The copy and where it goes; nothing for a segment without blocks.
    fn plan<'a>(
        &self,
        targets: &[Target<'a>],
    ) -> Result<Option<(CopySegment, &'a LogicalUnit)>, SegmentError> {
        let source = reachable(targets, self.source, SOURCE_INDEX, Access::Reads)?;
        let source = &*source.unit;
        let destination = reachable(targets, self.destination, DESTINATION_INDEX, Access::Writes)?;
        if let Some(code) = write_protection(destination) {
            return Err(SegmentError::At(code, DESTINATION_INDEX));
        }
        let destination = &*destination.unit;
        let [source_block, destination_block] =
            [source, destination].map(|unit| u64::from(unit.block_size()));
        let bytes = self.blocks
            * if self.destination_counts {
                destination_block
            } else {
                source_block
            };
        if bytes == 0 {
            return Ok(None);
        }
        if bytes > LIMITS.segment_length.into() {
            return Err(SegmentError::Invalid(BLOCKS));
        }
        if !bytes.is_multiple_of(source_block) || !bytes.is_multiple_of(destination_block) {
            return Err(SegmentError::At(codes::COPY_INEXACT_SEGMENT, BLOCKS));
        }
        let offset = |unit: &LogicalUnit, lba, field| {
            let blocks = bytes / u64::from(unit.block_size());
            BlockRange::within(lba, blocks, unit.capacity())
                .map(|range| range.offset(unit.block_size()))
                .ok_or(SegmentError::At(codes::COPY_ABORTED, field))
        };
        let segment = CopySegment {
            source: source.id(),
            source_offset: offset(source, self.source_lba, SOURCE_LBA)?,
            destination: destination.id(),
            destination_offset: offset(destination, self.destination_lba, DESTINATION_LBA)?,
            bytes,
        };
        Ok(Some((segment, destination)))
    }
}

fn reachable<'a>(
    targets: &[Target<'a>],
    index: usize,
    field: u16,
    access: Access,
) -> Result<&'a Nexus, SegmentError> {
    let target = targets.get(index);
    let nexus = target.and_then(|target| target.nexus);
    let nexus = nexus.ok_or(SegmentError::At(codes::COPY_TARGET_UNREACHABLE, field))?;
    match target {
        Some(target) if target.device_type != 0 => {
            Err(SegmentError::At(codes::COPY_DEVICE_TYPE, field))
        }
        // The copy manager reads and writes for the session, and is told of a conflict in its place.
        _ if !nexus.allows(access) => Err(SegmentError::At(codes::COPY_DEVICE_FAILURE, field)),
        _ => Ok(nexus),
    }
}

/// Why nothing can be copied to a unit.
fn write_protection(nexus: &Nexus) -> Option<SenseCode> {
    let unit = &*nexus.unit;
    if unit.model().read_only || nexus.read_only() {
        Some(codes::COPY_WRITE_PROTECTED)
    } else if unit.modes().has(Modes::WRITE_PROTECT) {
        Some(codes::COPY_SOFTWARE_WRITE_PROTECTED)
    } else {
        None
    }
}

/// Why a segment cannot be copied.
#[derive(Clone, Copy, Debug)]
enum SegmentError {
    /// What processing it would end with, and the field of the segment descriptor that led to it.
    At(SenseCode, u16),
    /// The field of the segment descriptor is beyond a limit.
    Invalid(u16),
}

impl SegmentError {
    fn sense(self, number: usize, segments_at: usize) -> Sense {
        match self {
            Self::At(code, byte) => Sense {
                segment: Some(u16::try_from(number).unwrap_or(u16::MAX)),
                field: Some(FieldPointer {
                    in_cdb: false,
                    byte,
                    bit: None,
                }),
                ..code.into()
            },
            Self::Invalid(byte) => {
                let at = segments_at + number * SEGMENT_LENGTH + usize::from(byte);
                Sense::parameter(at, None)
            }
        }
    }
}

/// Like INVALID FIELD IN PARAMETER LIST, but with another code.
fn parameter(code: SenseCode, byte: usize) -> Sense {
    Sense {
        code,
        ..Sense::parameter(byte, None)
    }
}

/// A big-endian number of at most eight bytes; what is not there counts as nothing.
fn number(bytes: &[u8], at: u16, length: usize) -> u64 {
    let field = bytes.iter().skip(at.into()).take(length);
    field.fold(0, |value, byte| value << 8 | u64::from(*byte))
}
