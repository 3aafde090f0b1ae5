use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use pagecast_backends::{Backend, FileBackend, FileOptions, Misplaced, Place};

use crate::block_devices::Loop;
use crate::support::{Directory, Mounted, open, pattern, run, skipped, write};

const SIZE: usize = 65_536;

/// A store that is served, and where it was when that began.
struct Served {
    store: FileBackend,
    place: Place,
}

impl Served {
    fn new(path: &Path) -> Self {
        let store = open(path).unwrap();
        let place = Place::of(path, store.descriptor());
        Self { store, place }
    }

    fn look(&self) -> Option<Misplaced> {
        self.place.look(self.store.descriptor()).unwrap()
    }

    /// By its path alone, as of a store without a descriptor.
    fn look_from_afar(&self) -> Option<Misplaced> {
        self.place.look(None).unwrap()
    }
}

/// The command in a message, which is for people to type, with a place for the copy.
fn copy_as_told(message: &str, copy: &Path) {
    let (_, command) = message.split_once("(cp ").expect("a command");
    let (command, _) = command.split_once(" COPY)").expect("a command");
    let status = Command::new("cp")
        .args(command.split(' '))
        .arg(copy)
        .status();
    assert!(status.unwrap().success(), "{message}");
}

#[test]
fn a_file_that_is_deleted_can_be_copied() {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        let served = Served::new(&path);
        assert_eq!((served.look(), served.look_from_afar()), (None, None));
        fs::remove_file(&path).unwrap();
        let misplaced = served.look().expect("it is deleted");
        assert!(
            matches!(&misplaced, Misplaced::Deleted { path: at, .. } if *at == path),
            "{misplaced:?}"
        );
        assert!(matches!(
            served.look_from_afar(),
            Some(Misplaced::Moved { .. })
        ));
        // What is written now is in the copy as well.
        served.store.execute(&write(4096, &[7; 4096])).unwrap();
        let copy = directory.path().join("copy");
        copy_as_told(&misplaced.to_string(), &copy);
        let mut expected = pattern(0, SIZE);
        expected[4096..8192].fill(7);
        assert!(fs::read(&copy).unwrap() == expected);
        // The copy is another file until the daemon has opened it.
        fs::rename(&copy, &path).unwrap();
        let misplaced = served.look().expect("another one");
        assert!(
            matches!(misplaced, Misplaced::Overwritten { .. }),
            "{misplaced:?}"
        );
        copy_as_told(&misplaced.to_string(), &copy);
        assert!(fs::read(&copy).unwrap() == expected);
        drop(served);
        assert_eq!(Served::new(&copy).look(), None);
    }
}

#[test]
fn a_file_that_is_moved_and_put_back() {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        let away = directory.path().join("away");
        let served = Served::new(&path);
        fs::rename(&path, &away).unwrap();
        let moved = Some(Misplaced::Moved { path: path.clone() });
        assert_eq!(served.look(), moved);
        fs::create_dir(&path).unwrap();
        let replaced = Some(Misplaced::Replaced { path: path.clone() });
        assert_eq!(served.look(), replaced);
        fs::remove_dir(&path).unwrap();
        directory.file("disk", SIZE);
        assert_eq!(
            (served.look(), served.look_from_afar()),
            (replaced.clone(), replaced)
        );
        fs::rename(&away, &path).unwrap();
        assert_eq!((served.look(), served.look_from_afar()), (None, None));
        // Another name is enough, however one comes to it.
        fs::hard_link(&path, &away).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(served.look(), moved);
        symlink("away", &path).unwrap();
        assert_eq!(served.look(), None);
    }
}

#[test]
fn a_symbolic_link_that_changes() {
    let directory = Directory::new(&std::env::temp_dir());
    let at = |name: &str| directory.path().join(name);
    directory.file("one", SIZE);
    directory.file("two", SIZE);
    symlink("one", at("disk")).unwrap();
    symlink(".", at("here")).unwrap();
    let served = Served::new(&at("disk"));
    let lead = |to: &str| {
        symlink(to, at("new")).unwrap();
        fs::rename(at("new"), at("disk")).unwrap();
        served.look()
    };
    assert_eq!(lead("here/here/one"), None, "another way to the same file");
    assert_eq!(lead(at("one").to_str().unwrap()), None);
    let path = at("disk");
    let replaced = Some(Misplaced::Replaced { path: path.clone() });
    assert_eq!(lead("two"), replaced);
    let moved = Some(Misplaced::Moved { path });
    assert_eq!(lead("three"), moved);
    assert_eq!(lead("disk"), moved, "round and round");
    assert_eq!(lead("one"), None);
}

/// What cannot be told is no news.
#[test]
fn a_path_that_nobody_may_look_at() {
    let directory = Directory::new(&std::env::temp_dir());
    let path = directory.file("disk", SIZE);
    let served = Served::new(&path);
    // Too long for any file system: an error that says nothing about the file.
    let strange = PathBuf::from(format!("/{}", "x".repeat(300)));
    let place = Place::of(&strange, served.store.descriptor());
    assert!(place.look(served.store.descriptor()).is_err());
    assert_eq!(served.look(), None);
}

fn mount(arguments: &[&str]) -> bool {
    let mounted = run("mount", arguments);
    if let Err(why) = &mounted {
        skipped(why);
    }
    mounted.is_ok()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn files_that_are_mounted() {
    let directory = Directory::new(&std::env::temp_dir());
    let (file, path) = (
        directory.file("original", SIZE),
        directory.file("bound", 512),
    );
    if !mount(&["--bind", text(&file), text(&path)]) {
        return;
    }
    let mounted = Mounted(&path);
    let served = Served::new(&path);
    assert_eq!(served.look(), None);
    // The mount keeps it, but not for ever.
    fs::remove_file(&file).unwrap();
    let misplaced = served.look();
    assert!(
        matches!(misplaced, Some(Misplaced::Deleted { .. })),
        "{misplaced:?}"
    );
    drop(served);
    drop(mounted);

    // A mount of the same directory over itself changes nothing.
    let path = directory.file("disk", SIZE);
    let served = Served::new(&path);
    if !mount(&["--bind", text(directory.path()), text(directory.path())]) {
        return;
    }
    let mounted = Mounted(directory.path());
    assert_eq!(served.look(), None);
    drop(mounted);
    assert_eq!(served.look(), None);
}

#[test]
fn a_file_system_that_is_unmounted_lazily() {
    let directory = Directory::new(&std::env::temp_dir());
    let image = directory.file("image", 4 << 20);
    let point = directory.path().join("mounted");
    fs::create_dir(&point).unwrap();
    let Some(device) = Loop::attach(&image, &[]) else {
        return;
    };
    if let Err(why) = run("mkfs.ext2", &["-q", "-F", &device.0]) {
        return skipped(&why);
    }
    if !mount(&[&device.0, text(&point)]) {
        return;
    }
    let mounted = Mounted(&point);
    let path = point.join("disk");
    fs::write(&path, pattern(0, SIZE)).unwrap();
    let served = Served::new(&path);
    run("umount", &["--lazy", text(&point)]).unwrap();
    // It is not there any more, which is not to say that it is deleted.
    let moved = Some(Misplaced::Moved { path: path.clone() });
    assert_eq!(served.look(), moved);
    run("mount", &[&device.0, text(&point)]).unwrap();
    assert_eq!(served.look(), None, "the same file system");
    drop(served);
    drop(mounted);
}

/// File systems that are made of others tell of a file by its layer, which changes when it is written first.
#[test]
fn files_on_overlays() {
    let upper_is_elsewhere = [false, true];
    for elsewhere in upper_is_elsewhere {
        let directory = Directory::new(&std::env::temp_dir());
        let other = Directory::new(Path::new("/dev/shm"));
        let top = if elsewhere { &other } else { &directory };
        let make = |directory: &Directory, name: &str| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (lower, point) = (make(&directory, "lower"), make(&directory, "point"));
        let (upper, work) = (make(top, "upper"), make(top, "work"));
        for name in ["written", "read", "deleted"] {
            fs::write(lower.join(name), pattern(0, SIZE)).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={},xino=off",
            lower.display(),
            upper.display(),
            work.display()
        );
        if !mount(&["-t", "overlay", "overlay", "-o", &options, text(&point)]) {
            return;
        }
        let mounted = Mounted(&point);
        let written = Served::new(&point.join("written"));
        written.store.execute(&write(0, &[1; 512])).unwrap();
        assert_eq!(written.look(), None);

        // Somebody else is the first who writes.
        let path = point.join("read");
        let options = FileOptions {
            path: path.clone(),
            read_only: true,
        };
        let store = FileBackend::open(&options).unwrap();
        let place = Place::of(&path, store.descriptor());
        let read = Served { store, place };
        assert_eq!(read.look(), None);
        let writer = fs::File::options().append(true).open(&path).unwrap();
        writer.set_len(2 * SIZE as u64).unwrap();
        assert_eq!(read.look(), None);

        let path = point.join("deleted");
        let deleted = Served::new(&path);
        fs::remove_file(&path).unwrap();
        let misplaced = deleted.look();
        assert!(
            matches!(misplaced, Some(Misplaced::Deleted { .. })),
            "{misplaced:?}"
        );
        fs::write(&path, pattern(0, SIZE)).unwrap();
        let misplaced = deleted.look();
        assert!(
            matches!(misplaced, Some(Misplaced::Overwritten { .. })),
            "{misplaced:?}"
        );
        drop((written, read, deleted, writer));
        drop(mounted);
    }
}

#[test]
fn a_block_device_by_its_names() {
    let directory = Directory::new(&std::env::temp_dir());
    let Some(device) = Loop::attach(&directory.file("image", SIZE), &[]) else {
        return;
    };
    let path = directory.path().join("by-id");
    symlink(&device.0, &path).unwrap();
    let served = Served::new(&path);
    assert_eq!((served.look(), served.look_from_afar()), (None, None));
    fs::remove_file(&path).unwrap();
    let misplaced = served.look();
    assert!(
        matches!(misplaced, Some(Misplaced::Nameless { .. })),
        "{misplaced:?}"
    );
    // A node of its own leads to it as well.
    let number = fs::metadata(&device.0).map(|it| std::os::unix::fs::MetadataExt::rdev(&it));
    let number = number.unwrap();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let node = |minor: u32| {
        let numbers = [major.to_string(), minor.to_string()];
        run("mknod", &[text(&path), "b", &numbers[0], &numbers[1]]).unwrap();
    };
    node(minor);
    assert_eq!((served.look(), served.look_from_afar()), (None, None));
    fs::remove_file(&path).unwrap();
    node(minor + 1);
    let misplaced = served.look();
    let device = format!("{major}:{minor}");
    assert_eq!(
        misplaced,
        Some(Misplaced::Renamed {
            path: path.clone(),
            device
        })
    );
    fs::remove_file(&path).unwrap();
    directory.file("by-id", SIZE);
    let misplaced = served.look();
    assert!(
        matches!(misplaced, Some(Misplaced::Renamed { .. })),
        "{misplaced:?}"
    );
}
