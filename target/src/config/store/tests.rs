//! Documents in files, and files after crashes.

mod crashes;
mod random;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::json;

use super::*;

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("pagecast-store-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn of(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file with a text, read as a document.
    fn document(&self, name: &str, text: &str) -> Document {
        let file = self.of(name);
        fs::write(&file, text).unwrap();
        Document::from_file(&file).unwrap().0
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const TEXT: &str =
    r#"{ "devices": [ { "name": "disk0", "backend": "file", "path": "d.img" } ], "shards": 1 }"#;

fn ram(name: &str) -> Edit {
    Edit::AddDevice(json!({ "name": name, "backend": "memory", "size": "1MiB" }))
}

fn with_ram(document: &Document, name: &str) -> Document {
    document.edited(&[ram(name)]).unwrap().0
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().mode() & 0o7777
}

#[test]
fn what_is_saved_reads_back() {
    let directory = Directory::new("again");
    let document = directory.document("c.json", TEXT);
    assert_eq!(document.file(), Some(&*directory.of("c.json")));
    let changed = with_ram(&document, "ram0");
    changed.save().unwrap();
    let text = fs::read_to_string(directory.of("c.json")).unwrap();
    assert_eq!(
        text,
        r#"{
  "devices": [
    { "name": "disk0", "backend": "file", "path": "d.img" },
    { "name": "ram0", "backend": "memory", "size": "1MiB" }
  ],
  "shards": 1
}
"#
    );
    assert_eq!(text, changed.to_text());
    let (again, config) = Document::from_file(&directory.of("c.json")).unwrap();
    assert_eq!(again, changed);
    let disk = config.devices[0].store.path().unwrap();
    assert_eq!(*disk, directory.of("d.img"));
    // And again, from what was saved.
    with_ram(&changed, "ram1").save().unwrap();
    assert_eq!(directory.names(), ["c.json"]);
}

#[test]
fn a_relative_path_is_that_of_the_file_even_when_the_daemon_goes_elsewhere() {
    let directory = Directory::new("relative");
    let document = directory.document("c.json", TEXT);
    assert!(document.file().unwrap().is_absolute());
    assert!(document.to_text().contains(r#""path": "d.img""#));
}

#[test]
fn the_mode_of_the_file_stays() {
    let directory = Directory::new("mode");
    let document = directory.document("c.json", TEXT);
    let file = directory.of("c.json");
    for wanted in [0o640, 0o600, 0o644, 0o400] {
        fs::set_permissions(&file, fs::Permissions::from_mode(wanted)).unwrap();
        document.save().unwrap();
        assert_eq!(mode(&file), wanted);
    }
    // One that is gone is made for its owner alone.
    fs::remove_file(&file).unwrap();
    document.save().unwrap();
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn the_owner_of_the_file_stays() {
    let directory = Directory::new("owner");
    let document = directory.document("c.json", TEXT);
    let file = directory.of("c.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    if std::os::unix::fs::chown(&file, Some(12345), Some(54321)).is_err() {
        // Not as root: nobody can give files away.
        return;
    }
    document.save().unwrap();
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321));
    assert_eq!(mode(&file), 0o640);
}

#[test]
fn links_are_followed() {
    let directory = Directory::new("links");
    fs::create_dir(directory.of("real")).unwrap();
    fs::write(directory.of("real/c.json"), TEXT).unwrap();
    symlink("real/c.json", directory.of("one")).unwrap();
    symlink(directory.of("one"), directory.of("two")).unwrap();
    let (document, config) = Document::from_file(&directory.of("two")).unwrap();
    // Paths in it are relative to where the link is.
    assert_eq!(config.devices[0].store.path(), Some(&directory.of("d.img")));
    let changed = with_ram(&document, "ram0");
    changed.save().unwrap();
    assert!(directory.of("two").is_symlink() && directory.of("one").is_symlink());
    let text = fs::read_to_string(directory.of("real/c.json")).unwrap();
    assert_eq!(text, changed.to_text());
    assert_eq!(directory.names(), ["one", "real", "two"]);

    fs::remove_file(directory.of("real/c.json")).unwrap();
    let error = changed.save().expect_err("the link leads nowhere");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(directory.of("one").is_symlink());
}

#[test]
fn what_somebody_edited_is_not_written_over() {
    let directory = Directory::new("edited");
    let file = directory.of("c.json");
    let document = directory.document("c.json", TEXT);
    let first = with_ram(&document, "ram0");
    first.save().unwrap();
    let by_hand = first.to_text().replace("\"shards\": 1", "\"shards\": 2");
    fs::write(&file, &by_hand).unwrap();

    let second = with_ram(&first, "ram1");
    let error = second.save().expect_err("it was edited").to_string();
    assert_eq!(
        error,
        "it was edited since it was read; run `pagecast config reload` first to have what is in it now"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), by_hand);
    assert_eq!(directory.names(), ["c.json"]);

    // Read again, it is ours again; and so it is when the hand has put it back.
    let (read, config) = Document::from_file(&file).unwrap();
    assert_eq!(config.settings.shards, Some(2));
    fs::write(&file, first.to_text()).unwrap();
    second.save().unwrap();
    assert!(with_ram(&read, "ram2").save().is_err());

    // What is meant to be written over is, and known from then on.
    fs::write(&file, &by_hand).unwrap();
    second.save_to(&file, true).unwrap();
    with_ram(&second, "ram2").save().unwrap();
    // The same text is no edit, and a file that is gone has none.
    fs::write(&file, second.to_text()).unwrap();
    second.save().unwrap();
    fs::remove_file(&file).unwrap();
    second.save().unwrap();
}

#[test]
fn to_another_file() {
    let directory = Directory::new("elsewhere");
    let document = directory.document("c.json", TEXT);
    let copy = directory.of("copy.json");
    let bytes = document.save_to(&copy, false).unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), document.to_text());
    assert_eq!(bytes, document.to_text().len() as u64);
    assert_eq!(mode(&copy), 0o600);

    let error = document.save_to(&copy, false).expect_err("it is there");
    assert_eq!(
        error.to_string(),
        "it is there already; name another, or replace it (\"force\", --force)"
    );
    // An older one, which everybody may read: the new one has secrets.
    fs::write(&copy, r#"{ "devices": [] }"#).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
    document.save_to(&copy, true).unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), document.to_text());
    assert_eq!(mode(&copy), 0o600);
    // Nobody needs to read it.
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o440)).unwrap();
    document.save_to(&copy, true).unwrap();
    assert_eq!(mode(&copy), 0o400);
    // The own file keeps its mode.
    let own = directory.of("c.json");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).unwrap();
    document.save_to(&own, true).unwrap();
    assert_eq!(mode(&own), 0o644);

    let error = document.save_to(Path::new("copy.json"), true);
    assert_eq!(
        error.expect_err("relative").to_string(),
        "the path is relative, and means nothing to the daemon: give the whole path"
    );
    let nowhere = directory.of("no/copy.json");
    for force in [false, true] {
        let error = document.save_to(&nowhere, force).expect_err("no directory");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
    // Only files are replaced.
    for (force, kind) in [
        (false, io::ErrorKind::AlreadyExists),
        (true, io::ErrorKind::Other),
    ] {
        let null = directory.of("null");
        let _ = fs::remove_file(&null);
        symlink("/dev/null", &null).unwrap();
        let error = document.save_to(&null, force).expect_err("a device");
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(directory.names(), ["c.json", "copy.json", "null"]);
}

#[test]
fn only_configurations_are_replaced() {
    let directory = Directory::new("images");
    let document = directory.document("c.json", TEXT);
    let other = directory.of("other");
    for contents in [
        "something else",
        "",
        "[]",
        "{\"shards\": 0}",
        "\0\u{1}image",
        "cafe0123cafe0123",
    ] {
        fs::write(&other, contents).unwrap();
        let error = document.save_to(&other, true).expect_err(contents);
        assert_eq!(
            error.to_string(),
            "what is there is no configuration, and is left alone; name another file, or remove that one first"
        );
        assert_eq!(fs::read_to_string(&other).unwrap(), contents);
    }
    fs::write(&other, [0xFF, 0xFE]).unwrap();
    document.save_to(&other, true).expect_err("bytes");
    // What a device serves is what its initiators wrote there.
    let image = directory.of("d.img");
    let expected = "device disk0 has its data there; name another";
    for force in [false, true] {
        let error = document.save_to(&image, force).expect_err("not there yet");
        assert_eq!(error.to_string(), expected);
    }
    fs::write(&image, TEXT).unwrap();
    symlink("d.img", directory.of("link")).unwrap();
    fs::create_dir(directory.of("dir")).unwrap();
    for name in ["d.img", "link", "dir/../d.img"] {
        let error = document.save_to(&directory.of(name), true).expect_err(name);
        assert_eq!(error.to_string(), expected, "{name}");
    }
    assert_eq!(fs::read_to_string(&image).unwrap(), TEXT);
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let directory = Directory::new("longest");
    let document = directory.document("c.json", TEXT);
    let long = |name: &str| {
        let path = format!("/{name}{}", "x".repeat(9 << 20));
        Edit::AddDevice(json!({ "name": name, "backend": "file", "path": path }))
    };
    let (document, _) = document.edited(&[long("one")]).unwrap();
    document.save().unwrap();
    let error = document.edited(&[long("two")]).expect_err("too long");
    let text = error.to_string();
    assert!(
        text.starts_with("the configuration would have 18874"),
        "{text:.200}"
    );
    assert!(
        text.ends_with(
            "bytes, and 16777216 are the most; leave something out; one pattern with '*' or '?' does for many names"
        ),
        "{text}"
    );
    // And so it goes on.
    let gone = Edit::RemoveDevice {
        name: "one".to_owned(),
        force: false,
    };
    let (shorter, _) = document.edited(&[gone]).unwrap();
    shorter.save().unwrap();
    Document::from_file(&directory.of("c.json")).unwrap();

    // Somebody else's long file is not lost, whatever is known of it.
    let file = directory.of("c.json");
    fs::write(&file, " ".repeat(17 << 20)).unwrap();
    for saved in [shorter.save(), shorter.save_to(&file, true).map(drop)] {
        assert_eq!(
            saved.expect_err("long").to_string(),
            "it was edited, and has more than 16777216 bytes now; make it shorter, or move it away"
        );
    }
    assert_eq!(fs::metadata(&file).unwrap().len(), 17 << 20);
}

#[test]
fn in_another_directory_it_means_the_same() {
    let directory = Directory::new("moved");
    let document = directory.document("c.json", TEXT);
    fs::create_dir(directory.of("backup")).unwrap();
    let copy = directory.of("backup/c.json");
    document.save_to(&copy, false).unwrap();
    let here = Document::from_file(&directory.of("c.json")).unwrap().1;
    let there = Document::from_file(&copy).unwrap().1;
    assert_eq!(here, there);
    // The document itself stays as it was written.
    assert!(document.to_text().contains(r#""path": "d.img""#));
}

#[test]
fn one_image_has_no_file() {
    let config = Config::from_file_options(Path::new("/srv/d.img"), &["*".to_owned()]).unwrap();
    let document = Document::from_config(&config);
    assert_eq!(document.file(), None);
    let (same, again) = document.edited(&[]).unwrap();
    assert_eq!((&same, again), (&document, config));
    let error = document.save().expect_err("no file").to_string();
    assert_eq!(error, "there is no configuration file");

    let directory = Directory::new("image");
    let (changed, config) = document.edited(&[ram("ram0")]).unwrap();
    changed.save_to(&directory.of("c.json"), false).unwrap();
    let (_, read) = Document::from_file(&directory.of("c.json")).unwrap();
    assert_eq!(read, config);
}

#[test]
fn a_file_that_is_not_there_or_not_good() {
    let directory = Directory::new("bad");
    let file = directory.of("c.json");
    let error = Document::from_file(&file).expect_err("not there");
    assert!(matches!(error, ConfigError::Read { .. }), "{error}");
    fs::write(&file, "{").unwrap();
    let error = Document::from_file(&file).expect_err("no JSON");
    assert!(matches!(error, ConfigError::Syntax { .. }), "{error}");
    fs::write(&file, r#"{ "shards": 0 }"#).unwrap();
    let error = Document::from_file(&file)
        .expect_err("no shards")
        .to_string();
    let origin = file.display();
    assert_eq!(
        error,
        format!("{origin}: shards: 0 is too small; give a number from 1 to 256")
    );
    fs::write(&file, " ".repeat(16 << 20) + "{}").unwrap();
    let error = Document::from_file(&file).expect_err("too long");
    assert!(matches!(error, ConfigError::TooLong { .. }), "{error}");
}

#[test]
fn what_might_keep_us_waiting_is_not_read() {
    let directory = Directory::new("pipe");
    let pipe = directory.of("c.json");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    symlink("c.json", directory.of("link")).unwrap();
    for name in ["c.json", "link"] {
        let (done, until) = std::sync::mpsc::channel();
        let file = directory.of(name);
        std::thread::spawn(move || done.send(Document::from_file(&file).map(drop)));
        let read = until.recv_timeout(std::time::Duration::from_secs(10));
        let error = read.expect("it does not wait").expect_err("a pipe");
        let text = error.to_string();
        assert!(text.contains("it is not a plain file"), "{text}");
    }
    let error = Document::from_file(&directory.0).expect_err("a directory");
    let text = error.to_string();
    assert!(text.ends_with("name the file, not its directory"), "{text}");
}

/// Every document of the documentation.
#[test]
fn examples_of_the_documentation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files: Vec<PathBuf> = fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.push(root.join("README.md"));
    let directory = Directory::new("examples");
    let mut found = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for block in text.split("```json\n").skip(1) {
            let block = block.split("```").next().unwrap();
            // Other blocks are requests, answers, and parts of documents.
            let keys = ["devices", "targets", "metrics"];
            let whole = serde_json::from_str::<serde_json::Value>(block)
                .is_ok_and(|value| keys.iter().any(|key| value.get(key).is_some()));
            if !whole || block.contains("jsonrpc") {
                continue;
            }
            found += 1;
            let place = file.display();
            let document = directory.document("c.json", block);
            document.save().unwrap();
            let (again, config) = Document::from_file(&directory.of("c.json")).unwrap();
            assert_eq!(again, document, "{place}");
            let read = Config::parse(&config.to_json(), "again");
            assert_eq!(read.unwrap(), config, "{place}");
        }
    }
    assert!(found >= 3, "{found} examples");
}
