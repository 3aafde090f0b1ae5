//! The devices of a draft: each store, serial number and NAA designator is there once.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::names::Names;
use super::notes::{Notes, Place, show};

/// What the source says of a device.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) place: Place,
    /// What LUN maps call it.
    pub(super) key: String,
    /// What people call it.
    pub(super) name: String,
    pub(super) store: Store,
    pub(super) block_size: u64,
    pub(super) read_only: bool,
    pub(super) write_cache: bool,
    pub(super) reservations: bool,
    pub(super) serial: Option<String>,
    pub(super) naa: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Store {
    File(String),
    Block(String),
    Memory(u64),
}

impl Store {
    fn path(&self) -> Option<&str> {
        match self {
            Self::File(path) | Self::Block(path) => Some(path),
            Self::Memory(_) => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Devices {
    list: Vec<Device>,
    names: Names,
    found: HashMap<String, Found>,
    paths: HashMap<String, usize>,
    serials: HashSet<String>,
    naas: HashSet<String>,
}

#[derive(Debug)]
struct Device {
    name: String,
    wanted: Wanted,
}

/// What became of a device of the source.
#[derive(Debug)]
enum Found {
    Imported {
        index: usize,
        /// As the source said it of this name for the store.
        read_only: bool,
    },
    Left,
}

impl Devices {
    const SMALLEST_MEMORY: u64 = 4096;
    const LARGEST_MEMORY: u64 = 1 << 46;

    /// Keeps in mind that there is a device of which nothing is imported; the caller has said why.
    pub(super) fn leave(&mut self, key: &str) {
        self.found.insert(key.to_owned(), Found::Left);
    }

    pub(super) fn add(&mut self, notes: &mut Notes, wanted: Wanted) {
        if let Some((what, remedy)) = unusable(&wanted) {
            notes.add(
                &wanted.place,
                format!("device {} is not imported: {what}", show(&wanted.name)),
                remedy,
            );
            self.leave(&wanted.key);
            return;
        }
        let same = wanted.store.path().and_then(|path| self.paths.get(path));
        if let Some(&index) = same {
            self.add_again(notes, wanted, index);
            return;
        }
        let index = self.list.len();
        self.found.insert(
            wanted.key.clone(),
            Found::Imported {
                index,
                read_only: wanted.read_only,
            },
        );
        if let Some(path) = wanted.store.path() {
            self.paths.insert(path.to_owned(), index);
        }
        let name = self.names.give(&wanted.name, "device");
        if name != wanted.name {
            notes.add(
                &wanted.place,
                format!("device {} is called {name} here", show(&wanted.name)),
                "names have letters, digits, '-', '_' and '.', at most 64, and are there once; choose another one if you like",
            );
        }
        let mut device = Device { name, wanted };
        self.keep_identities_apart(notes, &mut device);
        self.list.push(device);
    }

    /// A second name for a store: LUN maps that have it get the first device.
    fn add_again(&mut self, notes: &mut Notes, wanted: Wanted, index: usize) {
        let Some(first) = self.list.get_mut(index) else {
            return;
        };
        if first.wanted.block_size != wanted.block_size {
            notes.add(
                &wanted.place,
                format!(
                    "device {} is not imported: {} has the same store with another block size",
                    show(&wanted.name),
                    first.name
                ),
                "a store is one device with one block size; decide which one its hosts need",
            );
            self.leave(&wanted.key);
            return;
        }
        notes.add(
            &wanted.place,
            format!(
                "device {} has the same store as {}: LUNs that are to be it are {1}",
                show(&wanted.name),
                first.name
            ),
            "a store is one device with one identity; hosts that knew the other identity see another disk",
        );
        self.found.insert(
            wanted.key,
            Found::Imported {
                index,
                read_only: wanted.read_only,
            },
        );
        // The LUNs say who may not write, see `find`.
        first.wanted.read_only &= wanted.read_only;
    }

    fn keep_identities_apart(&mut self, notes: &mut Notes, device: &mut Device) {
        let remedy =
            "initiators tell disks apart by it; this device gets one that follows from its name";
        let wanted = &mut device.wanted;
        if let Some(serial) = wanted.serial.take() {
            if !is_serial(&serial) {
                notes.add(
                    &wanted.place,
                    format!(
                        "the serial number {} is not 1 to 64 printable ASCII characters",
                        show(&serial)
                    ),
                    remedy,
                );
            } else if self.serials.insert(serial.clone()) {
                wanted.serial = Some(serial);
            } else {
                notes.add(
                    &wanted.place,
                    format!(
                        "the serial number {} is that of another device",
                        show(&serial)
                    ),
                    remedy,
                );
            }
        }
        if let Some(naa) = wanted.naa.take() {
            if self.naas.insert(naa.clone()) {
                wanted.naa = Some(naa);
            } else {
                notes.add(
                    &wanted.place,
                    format!("the NAA designator {naa} is that of another device"),
                    remedy,
                );
            }
        }
    }

    /// The name of a device of the source, and whether its LUNs have to be read-only. `None` if there is no such device;
    /// `Some(None)` if it was not imported.
    pub(super) fn find(&self, key: &str) -> Option<Option<(String, bool)>> {
        match self.found.get(key)? {
            Found::Left => Some(None),
            Found::Imported { index, read_only } => {
                let device = self.list.get(*index)?;
                let lun_read_only = *read_only && !device.wanted.read_only;
                Some(Some((device.name.clone(), lun_read_only)))
            }
        }
    }

    pub(super) fn to_json(&self) -> Value {
        self.list.iter().map(Device::to_json).collect()
    }
}

impl Device {
    fn to_json(&self) -> Value {
        let Wanted {
            store,
            block_size,
            read_only,
            write_cache,
            reservations,
            serial,
            naa,
            ..
        } = &self.wanted;
        let mut device = match store {
            Store::File(path) => json!({ "name": self.name, "backend": "file", "path": path }),
            Store::Block(path) => json!({ "name": self.name, "backend": "block", "path": path }),
            Store::Memory(size) => json!({ "name": self.name, "backend": "memory", "size": size }),
        };
        if *block_size != 512 {
            device["block_size"] = json!(block_size);
        }
        if *read_only {
            device["read_only"] = json!(true);
        }
        if !*write_cache {
            device["write_cache"] = json!(false);
        }
        if !*reservations {
            device["reservations"] = json!(false);
        }
        if let Some(serial) = serial {
            device["serial"] = json!(serial);
        }
        if let Some(naa) = naa {
            device["naa"] = json!(naa);
        }
        device
    }
}

/// Why the daemon would not take it, and what to do.
fn unusable(wanted: &Wanted) -> Option<(String, &'static str)> {
    if !matches!(wanted.block_size, 512 | 4096) {
        return Some((
            format!("its block size is {}", wanted.block_size),
            "pagecast has blocks of 512 and 4096 bytes; what is on the disk was made for its block size, so copy it as files",
        ));
    }
    match &wanted.store {
        Store::Memory(size) => {
            let good = (Devices::SMALLEST_MEMORY..=Devices::LARGEST_MEMORY).contains(size)
                && size.is_multiple_of(wanted.block_size);
            (!good).then(|| {
                (
                    format!("{size} bytes are no size for a memory device"),
                    "give it one from 4 KiB to 64 TiB",
                )
            })
        }
        Store::File(path) | Store::Block(path) => {
            let bad = path.is_empty() || path.contains('\0') || path.ends_with('/');
            bad.then(|| {
                (
                    format!("{} is not the path of a file", show(path)),
                    "add the device by hand with its path",
                )
            })
        }
    }
}

fn is_serial(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
        && text.trim() == text
}

/// An NAA designator as the configuration has it: 16 digits of type 2, 3 or 5, or 32 of type 6.
pub(super) fn naa(text: &str) -> Option<String> {
    let digits = text.to_ascii_lowercase();
    let digits = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("naa."))
        .unwrap_or(&digits);
    let good = match digits.as_bytes().first()? {
        b'2' | b'3' | b'5' => digits.len() == 16,
        b'6' => digits.len() == 32,
        _ => false,
    };
    (good && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| digits.to_owned())
}
