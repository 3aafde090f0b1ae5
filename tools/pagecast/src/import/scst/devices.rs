//! HANDLER sections: vdisk_fileio and vdisk_blockio become devices.

use super::{Section, facts};
use crate::import::devices::{Store, Wanted, naa};
use crate::import::draft::Draft;
use crate::import::notes::show;

/// What this module reads of a device.
const READ: [&str; 8] = [
    "filename",
    "blocksize",
    "read_only",
    "write_through",
    "nv_cache",
    "usn",
    "t10_dev_id",
    "naa_id",
];

pub(super) fn import(draft: &mut Draft, handler: &Section<'_>) {
    for device in handler.named(&mut draft.notes, "DEVICE") {
        match handler.name() {
            "vdisk_fileio" => disk(draft, &device, Store::File),
            "vdisk_blockio" => disk(draft, &device, Store::Block),
            other => {
                let (what, remedy) = facts::handler(other);
                draft.notes.add(
                    &device.place,
                    format!("device {} is not imported: {what}", show(device.name())),
                    remedy,
                );
                draft.devices.leave(device.name());
            }
        }
    }
    handler.attributes(&mut draft.notes, &["DEVICE"], &[facts::HANDLER]);
}

fn disk(draft: &mut Draft, device: &Section<'_>, store: fn(String) -> Store) {
    let notes = &mut draft.notes;
    device.attributes(notes, &READ, &[facts::DEVICE]);
    let Some((path, place)) = device.word(notes, "filename") else {
        notes.add(
            &device.place,
            format!(
                "device {} is not imported: it has no filename",
                show(device.name())
            ),
            "add the device by hand with its path",
        );
        draft.devices.leave(device.name());
        return;
    };
    if !path.starts_with('/') {
        notes.add(
            &place,
            format!("the path {} is relative", show(path)),
            "in pagecast it begins at the directory of the configuration; make it absolute",
        );
    }
    let block_size = block_size(draft, device);
    let notes = &mut draft.notes;
    let read_only = device.flag(notes, "read_only").unwrap_or(false);
    let write_through = device.flag(notes, "write_through").unwrap_or(false);
    if let Some(true) = device.flag(notes, "nv_cache") {
        notes.group(
            &device.place,
            "nv_cache 1",
            "SCST reports no volatile cache and ignores the commands that flush it. pagecast never ignores them: \
             these devices report their cache, and what a host flushes is on the disk",
            "nothing has to be done; hosts that do not flush want \"write_cache\": false",
        );
    }
    let (serial, naa) = identity(draft, device);
    let wanted = Wanted {
        place: device.place.clone(),
        key: device.name().to_owned(),
        name: device.name().to_owned(),
        store: store(path.to_owned()),
        block_size,
        read_only,
        write_cache: !write_through,
        reservations: true,
        serial,
        naa,
    };
    draft.devices.add(&mut draft.notes, wanted);
}

fn block_size(draft: &mut Draft, device: &Section<'_>) -> u64 {
    const DEFAULT: u64 = 512;
    let Some((text, place)) = device.word(&mut draft.notes, "blocksize") else {
        return DEFAULT;
    };
    text.parse().unwrap_or_else(|_| {
        draft.notes.add(
            &place,
            format!("{} is not a block size; {DEFAULT} is taken", show(text)),
            "give what the device's hosts know it with",
        );
        DEFAULT
    })
}

/// The serial number and the NAA designator.
fn identity(draft: &mut Draft, device: &Section<'_>) -> (Option<String>, Option<String>) {
    let notes = &mut draft.notes;
    let usn = device.word(notes, "usn");
    let t10 = device.word(notes, "t10_dev_id");
    let naa_id = device.word(notes, "naa_id");
    let serial = match (usn, t10) {
        (Some((usn, _)), t10) => {
            if let Some((_, place)) = t10.filter(|(t10, _)| *t10 != usn) {
                notes.group(
                    &place,
                    "t10_dev_id",
                    "it is not the usn, and pagecast has one serial number (the usn) in both places",
                    "a host that knows the disk by its T10 vendor designator sees another one: use its NAA designator",
                );
            }
            Some(usn.to_owned())
        }
        (None, Some((t10, place))) => {
            notes.group(
                &place,
                "t10_dev_id",
                "it is the serial number now, since there is no usn",
                "to keep the serial number that hosts have seen, set \"serial\" to what `sg_inq -p sn` says of the disk",
            );
            Some(t10.to_owned())
        }
        (None, None) => None,
    };
    let unnamed = naa_id.is_none();
    let naa = naa_id.and_then(|(text, place)| {
        let naa = naa(text);
        if naa.is_none() {
            notes.add(
                &place,
                format!("{} is not an NAA designator that pagecast takes", show(text)),
                "give 16 hex digits that begin with 2, 3 or 5, or 32 that begin with 6; without it hosts see another disk",
            );
        }
        naa
    });
    if unnamed {
        notes.group(
            &device.place,
            "no naa_id",
            "SCST has an identity of its own making for such a device, which is not in this file: hosts see another disk",
            "mount by label or UUID, or know the disk by another multipath alias; see docs/migrate.md",
        );
    }
    (serial, naa)
}
