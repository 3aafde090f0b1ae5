//! Who devices and targets are when nobody says so.
//!
//! Initiators know disks and targets by these values for years: they follow from a name and the machine id alone, and
//! the way they do must never change (the tests pin it). The machine id is made once and kept in the state directory, so
//! that the same names on two machines, or on a machine and its clone with a state directory of its own, differ.
//!
//! Why NAA 3h: the other types hold an OUI, which IEEE assigns and which this project has not got; a borrowed one could
//! collide with a disk of its owner. NAA 3h is locally assigned, 60 bits, ours to choose (SPC-4 section 7.8.6.6.4).
//! For the same reason an SRP GUID, which is an EUI-64, has its local bit set.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::{DeviceConfig, Guid, Naa, TargetConfig, Uuid};

/// The name of the file with the machine id in the state directory: 32 hex digits and a newline.
pub const MACHINE_ID_FILE: &str = "machine-id";

/// The iSCSI name of a target that was given none: in small letters, as iSCSI names are (RFC 7143 section 4.2.7.1). Logins are matched
/// without regard to case, so that initiators which know it with the capitals of the target's name find it too.
pub fn default_iqn(target: &str) -> String {
    format!("iqn.2026-11.io.pagecast:{}", target.to_ascii_lowercase())
}

/// The NVMe qualified name of a target that was given none. Hosts and targets compare these byte by byte, so capitals stay.
pub fn default_nqn(target: &str) -> String {
    format!("nqn.2026-11.io.pagecast:{target}")
}

/// What tells this machine from others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MachineId([u8; 16]);

/// Why there is no machine id.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}: {cause}; create it, owned by the user of the daemon, or name another with --state-dir", directory.display())]
    StateDirectory {
        /// Which one.
        directory: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The machine id cannot be read.
    #[error("cannot read the machine id {}: {cause}; make it readable for the user of the daemon", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file holds something else.
    #[error("{} is not a machine id (32 hex digits); restore it from a backup, or remove it if initiators may see new identities", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
    },
}

impl MachineId {
    /// The machine id in `directory`; made, and durable, if there is none yet. Creates the directory, but not its
    /// parents: a wrong path should not become a new identity.
    pub fn load(directory: &Path) -> Result<Self, IdentityError> {
        let state_error = |cause| IdentityError::StateDirectory {
            directory: directory.to_owned(),
            cause,
        };
        match DirBuilder::new().mode(0o750).create(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(state_error(cause)),
        }
        let file = directory.join(MACHINE_ID_FILE);
        if let Some(id) = Self::read(&file)? {
            return Ok(id);
        }
        create(directory, &file).map_err(state_error)?;
        // Not what was just written: another daemon may have been first.
        Self::read(&file)?.ok_or_else(|| state_error(io::ErrorKind::NotFound.into()))
    }

    /// A machine id for tests and tools.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    fn read(file: &Path) -> Result<Option<Self>, IdentityError> {
        const LENGTH: usize = 33;
        let mut text = Vec::new();
        let read =
            File::open(file).and_then(|open| open.take(LENGTH as u64 + 1).read_to_end(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => {
                return Err(IdentityError::Read {
                    file: file.to_owned(),
                    cause,
                });
            }
        }
        std::str::from_utf8(&text)
            .ok()
            .map(str::trim_end)
            .filter(|text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|text| u128::from_str_radix(text, 16).ok())
            .map(|value| Some(Self(value.to_be_bytes())))
            .ok_or_else(|| IdentityError::Damaged {
                file: file.to_owned(),
            })
    }

    /// 128 bits that follow from this machine, a purpose and a name.
    fn derive(&self, purpose: &str, name: &str) -> u128 {
        let mut hash = Fnv::default();
        for part in [&self.0, purpose.as_bytes(), name.as_bytes()] {
            // With its length, so that no two lists of parts are the same bytes.
            hash.add(&(part.len() as u64).to_be_bytes());
            hash.add(part);
        }
        hash.finish()
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a new id beside `file`, then gives it the name in one step, and makes both durable.
fn create(directory: &Path, file: &Path) -> io::Result<()> {
    let mut random = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let id = MachineId(random);
    let draft = directory.join(format!("{MACHINE_ID_FILE}.{id}.new"));
    let written = write_draft(&draft, id).and_then(|()| {
        // A link, since unlike a rename it leaves alone what another daemon has put there meanwhile.
        match fs::hard_link(&draft, file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // No links on this file system.
            Err(_) => fs::rename(&draft, file),
            Ok(()) => Ok(()),
        }
    });
    // Gone already after a rename.
    let _ = fs::remove_file(&draft);
    written?;
    File::open(directory)?.sync_all()
}

fn write_draft(draft: &Path, id: MachineId) -> io::Result<()> {
    let mut open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(draft)?;
    writeln!(open, "{id}")?;
    open.sync_all()
}

/// How initiators know a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// NAA designator of VPD page 83h.
    pub naa: Naa,
    /// Unit serial number, VPD page 80h.
    pub serial: String,
    /// UUID, for designators and namespaces.
    pub uuid: Uuid,
}

impl DeviceIdentity {
    /// What `device` was given, and what follows from its name for the rest.
    pub fn of(machine: &MachineId, device: &DeviceConfig) -> Self {
        let name = &device.name;
        let serial = || format!("{:016x}", high(machine.derive("device serial", name)));
        Self {
            naa: device
                .naa
                .unwrap_or_else(|| Naa::local(high(machine.derive("device naa", name)))),
            serial: device.serial.clone().unwrap_or_else(serial),
            uuid: device
                .uuid
                .unwrap_or_else(|| Uuid::custom(machine.derive("device uuid", name))),
        }
    }
}

/// How initiators know a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetIdentity {
    /// iSCSI name.
    pub iqn: String,
    /// NVMe qualified name.
    pub nqn: String,
    /// Serial number of the NVM subsystem.
    pub nvme_serial: String,
    /// SRP target port identifier.
    pub srp: SrpIdentity,
}

/// An SRP target port identifier (SRP r16a annex B.2): identifier extension, then I/O controller GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SrpIdentity {
    /// First half.
    pub id_ext: Guid,
    /// Second half.
    pub ioc_guid: Guid,
}

impl SrpIdentity {
    /// As an SRP login has it.
    pub fn port_id(&self) -> [u8; 16] {
        ((u128::from(self.id_ext.0) << 64) | u128::from(self.ioc_guid.0)).to_be_bytes()
    }
}

impl TargetIdentity {
    /// What `target` was given, and what follows from its name for the rest.
    pub fn of(machine: &MachineId, target: &TargetConfig) -> Self {
        let name = &target.name;
        let derived = local_guid(high(machine.derive("target srp", name)));
        Self {
            iqn: target.iqn.clone().unwrap_or_else(|| default_iqn(name)),
            nqn: target.nqn.clone().unwrap_or_else(|| default_nqn(name)),
            nvme_serial: format!("{:016x}", high(machine.derive("target nvme serial", name))),
            srp: SrpIdentity {
                id_ext: target.srp_id_ext.unwrap_or(derived),
                ioc_guid: target.srp_ioc_guid.unwrap_or(derived),
            },
        }
    }
}

/// An EUI-64 of an individual, locally administered: the two low bits of the first byte are 1 0.
fn local_guid(value: u64) -> Guid {
    Guid((value & !(0x03 << 56)) | (0x02 << 56))
}

fn high(value: u128) -> u64 {
    u64::try_from(value >> 64).unwrap_or_default()
}

/// A number that is another one for other bytes, most likely; always the same for the same.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash = Fnv::default();
    hash.add(bytes);
    high(hash.finish())
}

/// FNV-1a with 128 bits, and a finish that spreads the last bytes over all of them. It keeps identities apart; it keeps
/// nothing secret.
struct Fnv(u128);

impl Default for Fnv {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Fnv {
    const PRIME: u128 = (1 << 88) | 0x013b;

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(Self::PRIME);
        }
    }

    /// Loses nothing: two states that differ end in values that differ.
    fn finish(&self) -> u128 {
        let low = mix(u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or_default());
        let upper = mix(high(self.0) ^ low);
        (u128::from(upper) << 64) | u128::from(low)
    }
}

/// The finish of SplitMix64, a bijection.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::{process, thread};

    use super::*;
    use crate::config::{Config, DeviceConfig, Name, Store};

    const MACHINE: MachineId = MachineId::from_bytes(*b"0123456789abcdef");

    fn device(name: &str) -> DeviceConfig {
        let store = Store::File { path: "/d".into() };
        DeviceConfig::new(Name::new(name).expect("a name"), store)
    }

    fn target(rest: &str) -> TargetConfig {
        let text = format!(r#"{{ "targets": [ {{ "name": "store"{rest} }} ] }}"#);
        Config::parse(&text, "test")
            .expect("good")
            .targets
            .remove(0)
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("pagecast-{name}-{}", process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    /// Initiators keep these values for years: a change here makes every disk another one.
    #[test]
    fn derived_values_never_change() {
        let identity = DeviceIdentity::of(&MACHINE, &device("disk0"));
        assert_eq!(identity.naa.to_string(), "37eb8b81d3ef3b1b");
        assert_eq!(identity.serial, "5af1d05e7a5ff7ae");
        assert_eq!(
            identity.uuid.to_string(),
            "f86491d4-f922-8592-a9c3-147d80a5c7f4"
        );

        let identity = TargetIdentity::of(&MACHINE, &target(""));
        assert_eq!(identity.iqn, "iqn.2026-11.io.pagecast:store");
        assert_eq!(identity.nqn, "nqn.2026-11.io.pagecast:store");
        assert_eq!(identity.srp.id_ext.to_string(), "7667f24abc420cde");
        assert_eq!(identity.srp.ioc_guid, identity.srp.id_ext);
        assert_eq!(identity.nvme_serial, "7add25286608e071");
    }

    #[test]
    fn capitals_are_for_nvme_alone() {
        let mut target = target("");
        target.name = Name::new("Store_7.A").expect("a name");
        let identity = TargetIdentity::of(&MACHINE, &target);
        assert_eq!(identity.iqn, "iqn.2026-11.io.pagecast:store_7.a");
        assert_eq!(identity.nqn, "nqn.2026-11.io.pagecast:Store_7.A");
    }

    #[test]
    fn what_is_given_is_kept() {
        let mut device = device("disk0");
        device.naa = Naa::parse("5000c50012345678");
        device.serial = Some("S1".to_owned());
        device.uuid = Uuid::parse("f81d4fae-7dec-81d0-a765-00a0c91e6bf6");
        let identity = DeviceIdentity::of(&MACHINE, &device);
        assert_eq!(identity.naa.to_string(), "5000c50012345678");
        assert_eq!(identity.serial, "S1");
        assert_eq!(Some(identity.uuid), device.uuid);

        let target = target(
            r#", "iqn": "iqn.x:y", "nqn": "nqn.x:y", "srp_id_ext": "0000000000000001",
                "srp_ioc_guid": "0000000000000002""#,
        );
        let identity = TargetIdentity::of(&MACHINE, &target);
        assert_eq!(
            (identity.iqn.as_str(), identity.nqn.as_str()),
            ("iqn.x:y", "nqn.x:y")
        );
        let port_id = [[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 2]].concat();
        assert_eq!(identity.srp.port_id()[..], port_id);
    }

    #[test]
    fn nothing_collides() {
        let mut seen = HashSet::new();
        for machine in 0..16 {
            let machine = MachineId::from_bytes([machine; 16]);
            for i in 0..1000 {
                let identity = DeviceIdentity::of(&machine, &device(&format!("disk{i}")));
                assert!(seen.insert(identity.naa.to_string()));
                assert!(seen.insert(identity.serial));
                assert!(seen.insert(identity.uuid.to_string()));
            }
        }
        // Parts do not run into each other.
        assert_ne!(MACHINE.derive("ab", "c"), MACHINE.derive("a", "bc"));
    }

    #[test]
    fn guids_are_local_and_individual() {
        for value in [0, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(local_guid(value).0 >> 56 & 0x03, 0x02);
        }
    }

    /// Published vectors of 128-bit FNV-1a.
    #[test]
    fn fnv() {
        let hash = |text: &str| {
            let mut hash = Fnv::default();
            hash.add(text.as_bytes());
            hash.0
        };
        assert_eq!(hash(""), 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(hash("a"), 0xd228cb696f1a8caf78912b704e4a8964);
        assert_eq!(hash("foobar"), 0x343e1662793c64bf6f0d3597ba446f18);
    }

    #[test]
    fn the_machine_id_is_made_once() {
        let dir = scratch("identity");
        let first = MachineId::load(&dir).expect("made");
        assert_eq!(MachineId::load(&dir).expect("kept"), first);
        let names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, [MACHINE_ID_FILE]);
        assert_eq!(
            fs::read_to_string(dir.join(MACHINE_ID_FILE)).unwrap(),
            format!("{first}\n")
        );
        fs::remove_dir_all(&dir).unwrap();
        assert_ne!(MachineId::load(&dir).expect("made"), first);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn whoever_is_first_decides() {
        let dir = scratch("identity-race");
        fs::create_dir(&dir).unwrap();
        let ids: Vec<MachineId> = thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| MachineId::load(&dir).expect("loaded")))
                .collect();
            all.into_iter()
                .map(|one| one.join().expect("joined"))
                .collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let dir = scratch("identity-bad");
        let error = MachineId::load(&dir.join("missing/state")).expect_err("no parent");
        assert!(
            error
                .to_string()
                .contains("or name another with --state-dir"),
            "{error}"
        );

        fs::create_dir(&dir).unwrap();
        let file = dir.join(MACHINE_ID_FILE);
        for bad in [
            "",
            "0123",
            "0123456789abcdef0123456789abcdeg\n",
            &"0".repeat(33),
        ] {
            fs::write(&file, bad).unwrap();
            let error = MachineId::load(&dir).expect_err(bad);
            assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), bad, "left alone");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
