//! Log pages (NVMe base 2.0 section 5.16).

mod ana;
mod effects;
mod errors;
mod health;
mod reservations;

use super::command::Command;
use super::controller::{Controller, Kind};
use super::plan::{Plan, Planned};
use super::status::Status;
use crate::scsi::ScsiChannel;

pub(crate) use ana::GROUP as ANA_GROUP;
pub(crate) use errors::{ELPE, ErrorLog};

/// Log Page Attributes of Identify CNS 01h: SMART per namespace, Commands Supported and Effects, and extended data for Get Log Page
/// (32 bit lengths and offsets).
pub(crate) const LPA: u8 = 1 | 1 << 1 | 1 << 2;

/// A log page of the table.
struct Page {
    id: u8,
    who: Who,
    read: fn(&Controller, &Request, &mut ScsiChannel) -> Result<Vec<u8>, Status>,
}

/// Which controllers have a page (NVMe base 2.0 section 3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Io,
    Discovery,
    Both,
}

const fn page(
    id: u8,
    who: Who,
    read: fn(&Controller, &Request, &mut ScsiChannel) -> Result<Vec<u8>, Status>,
) -> Page {
    Page { id, who, read }
}

/// NVMe base 2.0 section 5.16.1, sorted by identifier.
static PAGES: &[Page] = &[
    page(0x00, Who::Both, supported),
    page(0x01, Who::Both, errors::page),
    page(0x02, Who::Io, health::page),
    page(0x03, Who::Io, firmware),
    page(0x04, Who::Io, changed_namespaces),
    page(0x05, Who::Io, effects::commands),
    page(0x0c, Who::Io, ana::page),
    page(0x12, Who::Io, effects::features),
    page(0x70, Who::Discovery, discovery),
    page(0x80, Who::Io, reservations::page),
];

/// Bytes that a reply is filled up to with zeros. Whoever asks for more than a page has gets the page: what comes behind it is not
/// defined, and anybody may ask.
const MOST_PADDING: usize = 4096;

/// Get Log Page. A page that is shorter than what is asked for is followed by zeros.
pub(crate) fn plan(controller: &Controller, command: &Command, units: &mut ScsiChannel) -> Planned {
    let request = Request::of(command)?;
    let page = pages(&controller.setup.kind)
        .find(|page| page.id == request.id)
        .ok_or(Status::INVALID_LOG_PAGE)?;
    if request.bytes > u64::from(controller.setup.max_transfer) {
        return Err(Status::INVALID_FIELD);
    }
    if request.bytes > u64::from(command.data_length) {
        return Err(Status::DATA_SGL_LENGTH_INVALID);
    }
    let data = (page.read)(controller, &request, units)?;
    let rest = usize::try_from(request.offset)
        .ok()
        .and_then(|offset| data.get(offset..))
        .ok_or(Status::INVALID_FIELD)?;
    let asked = request.bytes as usize;
    let mut reply = rest.get(..asked).unwrap_or(rest).to_vec();
    if reply.len() < asked.min(MOST_PADDING) {
        reply.resize(asked.min(MOST_PADDING), 0);
    }
    Ok(Plan::Reply(reply))
}

/// The fields of Get Log Page (NVMe base 2.0 section 5.16).
#[derive(Clone, Copy, Debug)]
struct Request {
    id: u8,
    /// Log Specific Parameter.
    specific: u8,
    /// Retain Asynchronous Event: what the page is about still counts as unread.
    retain: bool,
    namespace: u32,
    bytes: u64,
    offset: u64,
    /// Command Set Identifier.
    command_set: u8,
}

impl Request {
    fn of(command: &Command) -> Result<Self, Status> {
        let [cdw10, cdw11, cdw12, cdw13, cdw14, _] = command.cdw10;
        let offset = u64::from(cdw12) | u64::from(cdw13) << 32;
        // Offset Type says that the offset is an index, which no page here has.
        if cdw14 & 1 << 23 != 0 || !offset.is_multiple_of(4) {
            return Err(Status::INVALID_FIELD);
        }
        let dwords = u64::from(cdw10 >> 16 | (cdw11 & 0xffff) << 16) + 1;
        Ok(Self {
            id: cdw10 as u8,
            specific: (cdw10 >> 8) as u8 & 0x7f,
            retain: cdw10 & 1 << 15 != 0,
            namespace: command.nsid,
            bytes: dwords * 4,
            offset,
            command_set: (cdw14 >> 24) as u8,
        })
    }
}

/// The pages that a controller has.
fn pages(kind: &Kind) -> impl Iterator<Item = &'static Page> {
    let other = match kind {
        Kind::Io => Who::Discovery,
        Kind::Discovery(_) => Who::Io,
    };
    PAGES.iter().filter(move |page| page.who != other)
}

/// Supported Log Pages (NVMe base 2.0 section 5.16.1.1): for each identifier, whether it is supported (LSUPP).
fn supported(
    controller: &Controller,
    _request: &Request,
    _units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    let mut data = vec![0; 256 * 4];
    for page in pages(&controller.setup.kind) {
        if let Some(field) = data.get_mut(usize::from(page.id) * 4) {
            *field = 1;
        }
    }
    Ok(data)
}

/// Firmware Slot Information (NVMe base 2.0 section 5.16.1.4): there is one slot, and it is the active one.
fn firmware(
    _controller: &Controller,
    _request: &Request,
    _units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    let mut data = vec![0; 512];
    put(&mut data, 0, &[1]);
    put(&mut data, 8, &FIRMWARE_REVISION);
    Ok(data)
}

/// Firmware Revision (FR of Identify CNS 01h): 8 ASCII characters.
pub(crate) const FIRMWARE_REVISION: [u8; 8] = {
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let mut field = [b' '; 8];
    let mut at = 0;
    while at < version.len() && at < field.len() {
        field[at] = version[at];
        at += 1;
    }
    field
};

/// Changed Namespace List (NVMe base 2.0 section 5.16.1.5).
fn changed_namespaces(
    controller: &Controller,
    request: &Request,
    _units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    let mut data = vec![0; 4096];
    let changed = controller.lock().events.read_changed(request.retain);
    // More than fit are told as one that cannot be.
    let changed = if changed.len() > 1024 {
        vec![u32::MAX]
    } else {
        changed
    };
    for (field, namespace) in data.chunks_exact_mut(4).zip(changed) {
        field.copy_from_slice(&namespace.to_le_bytes());
    }
    Ok(data)
}

/// Discovery (NVMe base 2.0 section 5.16.1, log page 70h).
fn discovery(
    controller: &Controller,
    request: &Request,
    _units: &mut ScsiChannel,
) -> Result<Vec<u8>, Status> {
    let Kind::Discovery(source) = &controller.setup.kind else {
        return Err(Status::INVALID_LOG_PAGE);
    };
    // First, so that a change that comes in between is told again.
    if !request.retain {
        controller.lock().events.read_discovery();
    }
    Ok(source.log_page())
}

/// Puts a field where it belongs. One that does not fit is left out.
fn put(data: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = data.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}
