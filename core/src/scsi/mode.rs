//! MODE SENSE and MODE SELECT (SPC-4).

mod pages;
mod select;

use super::attention::Nexus;
use super::cdb::Cdb;
use super::plan::{Context, ParameterList, Planned};
use super::sense::{Sense, codes};
use super::unit::{LogicalUnit, Modes};
use pages::{Values, pages_of};

pub(crate) use select::selected;

/// The six-byte and ten-byte commands have headers of different form (SPC-4 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderForm {
    Six,
    Ten,
}

/// MODE SENSE (6).
pub(crate) fn sense6(context: &Context<'_>, cdb: &Cdb) -> Planned {
    let descriptor = if cdb.bit(1, 3) {
        Descriptor::None
    } else {
        Descriptor::Short
    };
    let data = sense(&context.slot.nexus, cdb, HeaderForm::Six, descriptor)?;
    context.data(data, cdb.byte(4).into())
}

/// MODE SENSE (10).
pub(crate) fn sense10(context: &Context<'_>, cdb: &Cdb) -> Planned {
    // DBD, LLBAA.
    let descriptor = match (cdb.bit(1, 3), cdb.bit(1, 4)) {
        (true, _) => Descriptor::None,
        (false, false) => Descriptor::Short,
        (false, true) => Descriptor::Long,
    };
    let data = sense(&context.slot.nexus, cdb, HeaderForm::Ten, descriptor)?;
    context.data(data, cdb.u16(7).into())
}

/// MODE SELECT (6), before its parameter list is there.
pub(crate) fn select6(context: &Context<'_>, cdb: &Cdb) -> Planned {
    select(
        context,
        cdb,
        ParameterList::ModeSelect6,
        cdb.byte(4).into(),
        4,
    )
}

/// MODE SELECT (10), before its parameter list is there.
pub(crate) fn select10(context: &Context<'_>, cdb: &Cdb) -> Planned {
    select(
        context,
        cdb,
        ParameterList::ModeSelect10,
        cdb.u16(7).into(),
        8,
    )
}

fn select(
    context: &Context<'_>,
    cdb: &Cdb,
    list: ParameterList,
    length: u32,
    header: u32,
) -> Planned {
    // SP: nothing is saved.
    if cdb.bit(1, 0) {
        return Err(Sense::cdb_bits(1, 0));
    }
    // PF: pages have the standard's form, not one of our own.
    if !cdb.bit(1, 4) {
        return Err(Sense::cdb_bits(1, 4));
    }
    if length == 0 {
        return context.good();
    }
    if length < header {
        return Err(codes::PARAMETER_LIST_LENGTH.into());
    }
    context.fetch(list, length)
}

/// Mode parameter block descriptors (SBC-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Descriptor {
    None,
    Short,
    Long,
}

impl Descriptor {
    fn bytes(self, unit: &LogicalUnit) -> Vec<u8> {
        let capacity = unit.capacity();
        let block_size = unit.block_size().to_be_bytes();
        match self {
            Self::None => Vec::new(),
            // The block size has three bytes, and so fits beside a density code of zero.
            Self::Short => {
                let blocks = u32::try_from(capacity).unwrap_or(u32::MAX);
                [blocks.to_be_bytes(), block_size].concat()
            }
            Self::Long => [&capacity.to_be_bytes()[..], &[0; 4], &block_size].concat(),
        }
    }
}

fn sense(
    nexus: &Nexus,
    cdb: &Cdb,
    form: HeaderForm,
    descriptor: Descriptor,
) -> Result<Vec<u8>, Sense> {
    let unit = &*nexus.unit;
    let values = match cdb.byte(2) >> 6 {
        0 => Values::Of(unit.modes()),
        1 => Values::Changeable,
        2 => Values::Of(Modes::default_of(unit.model())),
        _ => return Err(codes::SAVING_NOT_SUPPORTED.into()),
    };
    let pages = sense_pages(unit, cdb.byte(2) & 0x3f, cdb.byte(3), values)?;
    let descriptor_bytes = descriptor.bytes(unit);
    let mut data = header(nexus, form, descriptor, descriptor_bytes.len(), pages.len());
    data.extend(descriptor_bytes);
    data.extend(pages);
    Ok(data)
}

/// The pages that a page code and a subpage code ask for (SPC-4 6.11).
fn sense_pages(
    unit: &LogicalUnit,
    code: u8,
    subpage: u8,
    values: Values,
) -> Result<Vec<u8>, Sense> {
    let mut of_code = pages_of(unit)
        .filter(|page| code == ALL_PAGES || page.code == code)
        .peekable();
    if of_code.peek().is_none() {
        return Err(Sense::cdb_bits(2, 5));
    }
    if code == ALL_PAGES && !matches!(subpage, 0x00 | ALL_SUBPAGES) {
        return Err(Sense::cdb_byte(3));
    }
    let wanted = of_code.filter(|page| subpage == ALL_SUBPAGES || page.subpage == subpage);
    let pages: Vec<u8> = wanted.flat_map(|page| page.bytes(values)).collect();
    if pages.is_empty() {
        return Err(Sense::cdb_byte(3));
    }
    Ok(pages)
}

const ALL_PAGES: u8 = 0x3f;
const ALL_SUBPAGES: u8 = 0xff;

fn header(
    nexus: &Nexus,
    form: HeaderForm,
    descriptor: Descriptor,
    descriptor_length: usize,
    pages_length: usize,
) -> Vec<u8> {
    // WP, DPOFUA (SBC-3).
    let specific = 0x10 | if nexus.write_protected() { 0x80 } else { 0 };
    // The lengths are far below 256, and do not count their own field.
    let length = (descriptor_length + pages_length) as u8;
    let descriptor_length = descriptor_length as u8;
    match form {
        HeaderForm::Six => vec![length + 3, 0, specific, descriptor_length],
        HeaderForm::Ten => {
            let long = u8::from(descriptor == Descriptor::Long);
            vec![0, length + 6, 0, specific, long, 0, 0, descriptor_length]
        }
    }
}
