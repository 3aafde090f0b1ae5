//! The parameter list of MODE SELECT (SPC-4 7.5).

use super::HeaderForm;
use super::pages::{Page, Values, pages_of};
use crate::block::{BlockOp, Transfer};
use crate::scsi::plan::{BlockCommand, PendingParameters, Plan, Planned};
use crate::scsi::response::Response;
use crate::scsi::sense::{Sense, codes};
use crate::scsi::unit::{LogicalUnit, Modes};

/// MODE SELECT with its parameter list. Nothing changes unless all of the list is good.
pub(crate) fn selected(pending: &PendingParameters, data: &[u8], form: HeaderForm) -> Planned {
    let unit = &*pending.nexus.unit;
    let start = skip_header(unit, data, form)?;
    let modes = read_pages(unit, data, start)?;
    let before = unit.set_modes(modes);
    if before == modes {
        return Ok(Plan::Respond(Response::good()));
    }
    pending.nexus.own_mode_change();

    // Without a write cache everything is durable, also what was written while there was one.
    if before.has(Modes::WRITE_CACHE) && !modes.has(Modes::WRITE_CACHE) {
        return Ok(Plan::Block(BlockCommand {
            unit: pending.unit,
            op: BlockOp::Flush,
            fua: false,
            dpo: false,
            transfer: Transfer::None,
        }));
    }
    Ok(Plan::Respond(Response::good()))
}

/// Checks header and block descriptor, and returns where the pages start.
fn skip_header(unit: &LogicalUnit, data: &[u8], form: HeaderForm) -> Result<usize, Sense> {
    let short = || Sense::from(codes::PARAMETER_LIST_LENGTH);
    // MODE DATA LENGTH and DEVICE-SPECIFIC PARAMETER are reserved or ignored here (SPC-4 7.5, SBC-3).
    let (medium_type_at, long, length, header) = match form {
        HeaderForm::Six => {
            let &[_, _, _, length] = data.first_chunk().ok_or_else(short)?;
            (1, false, usize::from(length), 4)
        }
        HeaderForm::Ten => {
            let &[_, _, _, _, flags, _, high, low] = data.first_chunk().ok_or_else(short)?;
            (
                2,
                flags & 1 == 1,
                usize::from(u16::from_be_bytes([high, low])),
                8,
            )
        }
    };
    if data
        .get(medium_type_at)
        .is_some_and(|medium_type| *medium_type != 0)
    {
        return Err(Sense::parameter(medium_type_at, None));
    }
    let descriptor = data.get(header..header + length).ok_or_else(short)?;
    match (length, long) {
        (0, _) => {}
        (8, false) => check_descriptor(unit, descriptor, 4, 0xff_ffff, header)?,
        (16, true) => check_descriptor(unit, descriptor, 8, u64::from(u32::MAX), header)?,
        _ => return Err(Sense::parameter(header - 1, None)),
    }
    Ok(header + length)
}

/// A block descriptor may only say what is so already, or leave the number of blocks as it is (SBC-3).
fn check_descriptor(
    unit: &LogicalUnit,
    descriptor: &[u8],
    count_length: usize,
    size_mask: u64,
    at: usize,
) -> Result<(), Sense> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    let (count, rest) = descriptor.split_at(count_length);
    let all = count.iter().all(|byte| *byte == 0xff);
    let count = number(count);
    if count != 0 && !all && count != unit.capacity() {
        return Err(Sense::parameter(at, None));
    }
    let size_at = descriptor.len() - 4;
    if number(&rest[rest.len() - 4..]) & size_mask != u64::from(unit.block_size()) {
        return Err(Sense::parameter(at + size_at, None));
    }
    Ok(())
}

/// The parameters as they are after all pages from `at` on.
fn read_pages(unit: &LogicalUnit, data: &[u8], mut at: usize) -> Result<Modes, Sense> {
    let current = unit.modes();
    let mut modes = current;
    while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
        let page = find_page(unit, rest, at)?;
        let now = page.bytes(Values::Of(current));
        let wanted = rest.get(..now.len()).ok_or(codes::PARAMETER_LIST_LENGTH)?;
        check_fixed(&now, wanted, &page.bytes(Values::Changeable), at)?;
        modes = page.read(wanted, modes);
        at += now.len();
    }
    Ok(modes)
}

/// The page whose header is at the beginning of `rest`, which is at `at` in the parameter list.
fn find_page(unit: &LogicalUnit, rest: &[u8], at: usize) -> Result<&'static Page, Sense> {
    let &[code, next] = rest.first_chunk().ok_or(codes::PARAMETER_LIST_LENGTH)?;
    // PS is reserved here; SPF says that there is a subpage code.
    let subpage = if code & 0x40 != 0 { next } else { 0 };
    let mut of_code = pages_of(unit)
        .filter(|page| page.code == code & 0x3f)
        .peekable();
    if of_code.peek().is_none() {
        return Err(Sense::parameter(at, Some(5)));
    }
    let page = of_code
        .find(|page| page.subpage == subpage && (subpage != 0) == (code & 0x40 != 0))
        .ok_or(Sense::parameter(at + 1, None))?;
    let header = page.header();
    let found = rest
        .get(..header.len())
        .ok_or(codes::PARAMETER_LIST_LENGTH)?;
    // The codes are right, so it is the PAGE LENGTH that is not.
    if found[1..] != header[1..] {
        return Err(Sense::parameter(at + header.len() / 2, None));
    }
    Ok(page)
}

/// What cannot be changed has to be as it is.
fn check_fixed(now: &[u8], wanted: &[u8], changeable: &[u8], at: usize) -> Result<(), Sense> {
    let bytes = now.iter().zip(wanted).zip(changeable).enumerate().skip(2);
    for (index, ((now, wanted), changeable)) in bytes {
        let wrong = (now ^ wanted) & !changeable;
        if wrong != 0 {
            let bit = 7 - wrong.leading_zeros() as u8;
            return Err(Sense::parameter(at + index, Some(bit)));
        }
    }
    Ok(())
}
