//! Storage objects: fileio, block and ramdisk become devices.

use super::{Object, facts, identity};
use crate::import::devices::{Store, Wanted};
use crate::import::draft::Draft;
use crate::import::notes::{Notes, show};

/// The name of the ALUA group that every storage object has.
const DEFAULT_ALUA: &str = "default_tg_pt_gp";

pub(super) fn import(draft: &mut Draft, storage: &Object<'_>) {
    let notes = &mut draft.notes;
    let (Some(plugin), Some(name)) = (storage.text(notes, "plugin"), storage.text(notes, "name"))
    else {
        notes.add(
            &storage.place,
            "a storage object without plugin or name is not imported",
            "add the device by hand if it is needed",
        );
        return;
    };
    let key = format!("/backstores/{plugin}/{name}");
    let attributes = storage.object(notes, "attributes");
    let left = match plugin {
        "fileio" | "block" => match storage.text(notes, "dev") {
            Some(path) => Ok(disk(notes, storage, attributes.as_ref(), plugin, path)),
            None => Err(("it has no dev", "add the device by hand with its path")),
        },
        "ramdisk" => match storage.number(notes, "size") {
            Some(size) => Ok(memory(notes, storage, size)),
            None => Err(("it has no size", "add the device by hand with its size")),
        },
        other => Err(facts::plugin(other)),
    };
    let (store, write_cache) = match left {
        Ok(found) => found,
        Err((what, remedy)) => {
            notes.add(
                &storage.place,
                format!("the storage object {} is not imported: {what}", show(&key)),
                remedy,
            );
            draft.devices.leave(&key);
            return;
        }
    };
    alua(notes, storage);
    let mut block_size = 512;
    let mut reservations = true;
    if let Some(attributes) = &attributes {
        block_size = attributes.number(notes, "block_size").unwrap_or(block_size);
        reservations = attributes.flag(notes, "emulate_pr").unwrap_or(true);
        let handled = ["block_size", "emulate_pr", "emulate_write_cache"];
        attributes.rest(notes, &handled, &[facts::STORAGE_ATTRIBUTES]);
    }
    let own: &[&str] = match plugin {
        "ramdisk" => &["size", "nullio"],
        _ => &["dev", "write_back", "readonly"],
    };
    let handled = [&["plugin", "name", "wwn", "attributes", "alua_tpgs"], own].concat();
    storage.rest(notes, &handled, &[facts::STORAGE]);
    let read_only = own.contains(&"readonly") && storage.flag(notes, "readonly") == Some(true);
    let serial = storage.text(notes, "wwn").map(str::to_owned);
    if serial.is_none() {
        notes.add(
            &storage.place,
            "there is no wwn: LIO makes one when it starts, which is not in this file",
            "hosts see another disk, unless \"serial\" and \"naa\" are set to what they see now (`sg_inq -p di`)",
        );
    }
    let wanted = Wanted {
        place: storage.place.clone(),
        key,
        name: name.to_owned(),
        store,
        block_size,
        read_only,
        write_cache,
        reservations,
        naa: serial.as_deref().map(identity::naa),
        serial,
    };
    draft.devices.add(&mut draft.notes, wanted);
}

/// A file or block device, and whether it has a volatile cache.
fn disk(
    notes: &mut Notes,
    storage: &Object<'_>,
    attributes: Option<&Object<'_>>,
    plugin: &str,
    path: &str,
) -> (Store, bool) {
    if !path.starts_with('/') {
        notes.add(
            &storage.place_of("dev"),
            format!("the path {} is relative", show(path)),
            "in pagecast it begins at the directory of the configuration; make it absolute",
        );
    }
    // How LIO writes, and what it tells hosts of it: what they are told decides when they flush.
    let write_back = storage.flag(notes, "write_back").unwrap_or(false);
    let told = attributes.and_then(|attributes| attributes.flag(notes, "emulate_write_cache"));
    let write_cache = told.unwrap_or(write_back);
    if write_back && !write_cache {
        notes.group(
            &storage.place,
            "write_back true with emulate_write_cache 0",
            "LIO tells hosts that there is no write cache, and answers writes from one; hosts that are told so do not flush, so that here \
             every write is durable before it is answered",
            "remove \"write_cache\": false for speed: hosts are told of the cache then, and flush it when it matters",
        );
    } else if plugin == "fileio" && write_cache && !write_back {
        notes.group(
            &storage.place,
            "write_back false with emulate_write_cache 1",
            "LIO tells hosts of a write cache, and has every write on the disk before it is answered (O_DSYNC); here hosts are told the same, and \
             what they flush is on the disk",
            "set \"write_cache\": false to have every write durable before it is answered",
        );
    }
    if plugin != "block" {
        return (Store::File(path.to_owned()), write_cache);
    }
    if !write_cache && !write_back {
        notes.group(
            &storage.place,
            "write_back false",
            "what LIO answers for a block device is on it, or in its own cache; to keep that promise every write \
             goes through the page cache to the device before it is answered",
            "remove \"write_cache\": false for speed: hosts are told of the cache then, and flush it when it matters",
        );
    }
    (Store::Block(path.to_owned()), write_cache)
}

fn memory(notes: &mut Notes, storage: &Object<'_>, size: u64) -> (Store, bool) {
    // LIO has whole pages.
    const PAGE: u64 = 4096;
    let pages = size.checked_next_multiple_of(PAGE).unwrap_or(size);
    if pages != size {
        notes.add(
            &storage.place_of("size"),
            format!("{size} bytes are {pages} here, which are whole pages"),
            "nothing has to be done",
        );
    }
    if storage.flag(notes, "nullio") == Some(true) {
        notes.add(
            &storage.place_of("nullio"),
            "LIO stores nothing of what is written to this one; pagecast's memory device does, and takes that much memory",
            "make it smaller, or remove it",
        );
    }
    (Store::Memory(pages), true)
}

fn alua(notes: &mut Notes, storage: &Object<'_>) {
    for group in storage.list(notes, "alua_tpgs") {
        let name = group.text(notes, "name").unwrap_or_default();
        let state = group.number(notes, "alua_access_state").unwrap_or(0);
        // 0 is active/optimized (SPC-4).
        if name == DEFAULT_ALUA && state == 0 {
            notes.group(
                &group.place,
                "alua_tpgs",
                "the default group is active/optimized, which every path is in pagecast",
                "nothing has to be done",
            );
        } else {
            notes.add(
                &group.place,
                format!(
                    "the ALUA group {} (access state {state}) is not imported",
                    show(name)
                ),
                facts::ALUA_REMEDY,
            );
        }
    }
}
