//! LOG SENSE (SPC-4 6.9).

mod pages;

use super::cdb::Cdb;
use super::plan::{Context, Planned};
use super::sense::Sense;
use super::unit::LogicalUnit;
use pages::{Contents, LogParameter, PAGES, Page};

/// LOG SENSE. LOG SELECT does not exist: nothing here can be set or saved.
pub(crate) fn log_sense(context: &Context<'_>, cdb: &Cdb) -> Planned {
    // SP: nothing is saved.
    if cdb.bit(1, 0) {
        return Err(Sense::cdb_bits(1, 0));
    }
    // PPC is obsolete.
    if cdb.bit(1, 1) {
        return Err(Sense::cdb_bits(1, 1));
    }
    // PC: cumulative values. The others are thresholds, of which there are none, and what counters start with.
    let cumulative = cdb.byte(2) >> 6 == 1;
    let (code, subpage, pointer) = (cdb.byte(2) & 0x3f, cdb.byte(3), cdb.u16(5));
    let page = match (code, subpage) {
        (SUPPORTED, 0 | ALL) if pointer != 0 => return Err(Sense::cdb_byte(5)),
        (SUPPORTED, 0) => supported_pages(context.unit),
        (SUPPORTED, ALL) => supported_subpages(context.unit),
        (_, 0) => {
            let page = available(context.unit).find(|page| page.code == code);
            let page = page.ok_or(Sense::cdb_bits(2, 5))?;
            parameter_page(page, context.unit, cumulative, pointer)?
        }
        _ => return Err(Sense::cdb_byte(3)),
    };
    context.data(page, cdb.u16(7).into())
}

/// Page code of the lists of pages.
const SUPPORTED: u8 = 0x00;
/// Subpage code of all subpages.
const ALL: u8 = 0xff;
/// DS: what is in the page is not saved.
const DS: u8 = 0x80;
/// SPF: there is a subpage code.
const SPF: u8 = 0x40;

fn available(unit: &LogicalUnit) -> impl Iterator<Item = &'static Page> {
    let model = unit.model();
    PAGES.iter().filter(move |page| match page.contents {
        Contents::Provisioning => model.provisioning.is_some(),
        Contents::SolidState => !model.rotational,
        _ => true,
    })
}

/// Supported log pages (SPC-4 7.3).
fn supported_pages(unit: &LogicalUnit) -> Vec<u8> {
    let mut page = vec![SUPPORTED, 0, 0, 0, SUPPORTED];
    page.extend(available(unit).map(|page| page.code));
    with_length(page)
}

/// Supported log pages and subpages (SPC-4 7.3).
fn supported_subpages(unit: &LogicalUnit) -> Vec<u8> {
    let mut page = vec![SPF | SUPPORTED, ALL, 0, 0, SUPPORTED, 0, SUPPORTED, ALL];
    page.extend(available(unit).flat_map(|page| [page.code, 0]));
    with_length(page)
}

fn parameter_page(
    page: &Page,
    unit: &LogicalUnit,
    cumulative: bool,
    pointer: u16,
) -> Result<Vec<u8>, Sense> {
    let parameters = page.contents.parameters(unit, cumulative);
    let largest = parameters.iter().map(|parameter| parameter.code).max();
    if pointer > largest.unwrap_or(0) {
        return Err(Sense::cdb_byte(5));
    }
    let mut bytes = vec![DS | page.code, 0, 0, 0];
    let wanted = parameters
        .iter()
        .filter(|parameter| parameter.code >= pointer);
    wanted.for_each(|parameter| encode(parameter, &mut bytes));
    Ok(with_length(bytes))
}

/// A log parameter (SPC-4 7.3).
fn encode(parameter: &LogParameter, page: &mut Vec<u8>) {
    page.extend(parameter.code.to_be_bytes());
    page.extend([parameter.format, parameter.value.len() as u8]);
    page.extend(&parameter.value);
}

/// PAGE LENGTH. The longest page has 404 bytes.
fn with_length(mut page: Vec<u8>) -> Vec<u8> {
    let length = (page.len() - 4) as u16;
    page[2..4].copy_from_slice(&length.to_be_bytes());
    page
}
