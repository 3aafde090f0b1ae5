//! The daemon's own files, which are no disks: initiators would write over what it needs, and it would write over what they have.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::document::{Fault, Problems};
use super::{Config, ConfigError, DeviceConfig, Store};

/// Where the daemon keeps what is its own.
#[derive(Clone, Debug)]
pub struct OwnFiles {
    configuration: Option<PathBuf>,
    state: PathBuf,
}

impl OwnFiles {
    /// Those of a daemon with this configuration file, if it has one, and this state directory.
    pub fn new(configuration: Option<&Path>, state: &Path) -> Self {
        Self {
            configuration: configuration.map(Path::to_owned),
            state: state.to_owned(),
        }
    }

    /// Whether a file is in the state directory, after all links. This may take as long as the file systems on the way to it.
    pub fn keeps_state_at(&self, file: &Path) -> bool {
        let state = real(&self.state);
        let parent = file.parent().map(real);
        parent.is_some_and(|parent| parent.starts_with(&state)) || real(file).starts_with(&state)
    }

    /// Whether a file is one of those that the daemon keeps in its state directory: the machine's identity, and reservations. Disks may be
    /// beside them.
    fn is_state(&self, file: &Path) -> bool {
        let file = real(file);
        let Ok(within) = file.strip_prefix(real(&self.state)) else {
            return false;
        };
        let first = within.components().next();
        let name = first.map(|first| first.as_os_str().to_string_lossy());
        name.is_some_and(|name| name == "reservations" || name.starts_with("machine-id"))
    }

    /// Whether a file is that of the configuration, or the one beside it that takes its place when it is written.
    fn configures_at(&self, file: &Path) -> bool {
        let Some(own) = &self.configuration else {
            return false;
        };
        let same = |one: fs::Metadata, other: fs::Metadata| {
            (one.dev(), one.ino()) == (other.dev(), other.ino())
        };
        if let (Ok(one), Ok(other)) = (own.metadata(), file.metadata())
            && same(one, other)
        {
            return true;
        }
        let (own, file) = (real(own), real(file));
        let mut new = own.clone().into_os_string();
        new.push("~new");
        file == own || file == *new
    }

    /// Why a device cannot have its data where it is to have them, if that can be told without opening it, and what to do. What is
    /// missing, hangs or is something else altogether is for the opening to tell.
    ///
    /// This may take as long as the file systems on the way to it.
    pub fn refuse(&self, device: &DeviceConfig) -> Result<(), (String, String)> {
        let Some(path) = device.store.path() else {
            return Ok(());
        };
        if self.configures_at(path) {
            let what = format!("{} is the daemon's own configuration", path.display());
            return Err((what, "name the disk's file".to_owned()));
        }
        if self.is_state(path) {
            let what = format!("{} is the daemon's own state", path.display());
            return Err((what, "name the disk's file".to_owned()));
        }
        // Such as a program leaves in /dev that wrote to a disk which was not there.
        if matches!(device.store, Store::Block { .. })
            && path.metadata().is_ok_and(|found| found.is_file())
        {
            let what = format!("{} is a regular file, and no block device", path.display());
            let remedy = "name a block device, or use \"backend\": \"file\" (--file)";
            return Err((what, remedy.to_owned()));
        }
        Ok(())
    }
}

impl Config {
    /// Looks at where devices are to have their data, without opening anything. `origin` is what messages call the configuration.
    pub fn check_stores(&self, own: &OwnFiles, origin: &str) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        for (i, device) in self.devices.iter().enumerate() {
            if let Err((what, remedy)) = own.refuse(device) {
                let what = format!("device {}: {what}", device.name);
                problems.add(&format!("devices[{i}].path"), Fault::new(what, remedy));
            }
        }
        match problems.into_list() {
            none if none.is_empty() => Ok(()),
            problems => Err(ConfigError::Invalid {
                origin: origin.to_owned(),
                problems,
            }),
        }
    }
}

/// A path after all links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let found = fs::canonicalize(path).ok();
    let missing = || {
        let parent = match path.parent()? {
            here if here.as_os_str().is_empty() => Path::new("."),
            parent => parent,
        };
        Some(fs::canonicalize(parent).ok()?.join(path.file_name()?))
    };
    found
        .or_else(missing)
        .or_else(|| std::path::absolute(path).ok())
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::Name;

    fn file(path: PathBuf) -> DeviceConfig {
        DeviceConfig::new(Name::new("d").unwrap(), Store::File { path })
    }

    #[test]
    fn no_disk_is_a_file_of_the_daemon() {
        let name = format!("pagecast-own-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("state/reservations")).unwrap();
        let of = |name: &str| directory.join(name);
        for name in ["config.json", "state/machine-id", "disk.img"] {
            fs::write(of(name), name).unwrap();
        }
        fs::hard_link(of("config.json"), of("hard")).unwrap();
        symlink("config.json", of("soft")).unwrap();
        symlink("state", of("way")).unwrap();
        symlink("state/machine-id", of("id")).unwrap();
        fs::create_dir(of("empty")).unwrap();
        let own = OwnFiles::new(Some(&of("config.json")), &of("state"));
        let refused = |name: &str| own.refuse(&file(of(name)));

        for name in [
            "config.json",
            "hard",
            "soft",
            "empty/../config.json",
            "config.json~new",
        ] {
            let (what, remedy) = refused(name).expect_err(name);
            let expected = format!("{} is the daemon's own configuration", of(name).display());
            assert_eq!((what, &*remedy), (expected, "name the disk's file"));
        }
        for name in [
            "state/machine-id",
            "state/machine-id~new",
            "state/reservations",
            "state/reservations/d",
            "way/reservations/d",
            "id",
        ] {
            let (what, _) = refused(name).expect_err(name);
            assert!(what.ends_with(" is the daemon's own state"), "{what}");
        }
        for name in [
            "disk.img",
            "none.img",
            "empty/d",
            "none/d",
            "state.img",
            "config.json2",
            "state/disk.img",
            "way/disk.img",
        ] {
            assert_eq!(refused(name), Ok(()), "{name}");
        }
        // Without either.
        let none = OwnFiles::new(None, &of("none"));
        assert_eq!(none.refuse(&file(of("config.json"))), Ok(()));
        // A state directory that is not made yet.
        assert!(none.refuse(&file(of("none/machine-id"))).is_err());

        // All of them at once.
        let text = r#"{ "devices": [ { "name": "a", "backend": "file", "path": "config.json" },
            { "name": "b", "backend": "file", "path": "disk.img" }, { "name": "c", "backend": "block", "path": "hard2" },
            { "name": "e", "backend": "file", "path": "id" } ] }"#;
        fs::write(of("hard2"), "").unwrap();
        fs::write(of("config.json"), text).unwrap();
        let config = Config::from_file(&of("config.json")).unwrap();
        let error = config.check_stores(&own, "c.json").expect_err("three");
        let error = error.to_string();
        let lines: Vec<&str> = error.lines().collect();
        for (line, (i, name)) in lines.iter().zip([(0, "a"), (2, "c"), (3, "e")]) {
            let expected = format!("c.json: devices[{i}].path: device {name}: ");
            assert!(line.starts_with(&expected), "{error}");
        }
        assert_eq!(lines.len(), 3, "{error}");
        let block = " is a regular file, and no block device; name a block device, or use \"backend\": \"file\" (--file)";
        assert!(lines[1].ends_with(block), "{error}");
        fs::remove_dir_all(&directory).unwrap();
    }
}
