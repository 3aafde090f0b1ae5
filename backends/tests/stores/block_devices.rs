use std::fs;
use std::path::Path;
use std::process::Command;

use pagecast_backends::{Backend, BackendError, OpenError, Operation};
use pagecast_memory::Slice;

use crate::support::{Directory, Mounted, buffer, open, pattern, read, run, skipped, write};

const SIZE: usize = 4 * 1024 * 1024;

/// A loop device, detached when the test ends.
struct Loop(String);

impl Loop {
    /// Needs root and the loop driver; says so and gives nothing where they are missing.
    fn attach(file: &Path, arguments: &[&str]) -> Option<Self> {
        let mut all = vec!["--find", "--show"];
        all.extend(arguments);
        all.extend(file.to_str());
        match run("losetup", &all) {
            Ok(device) => Some(Self(device)),
            Err(why) => {
                skipped(&why);
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_block_device_is_a_disk() {
    let directory = Directory::new(&std::env::temp_dir());
    let Some(device) = Loop::attach(&directory.file("image", SIZE), &[]) else {
        return;
    };
    let path = Path::new(&device.0);
    let store = open(path).unwrap();
    let properties = store.properties();
    assert_eq!(properties.size, SIZE as u64);
    assert_eq!(properties.description, "block device");
    assert!(properties.can_discard && !properties.discard_zeroes);

    let message = open(path).unwrap_err().to_string();
    let pid = format!("process {} (", std::process::id());
    assert!(message.contains(&pid), "{message}");

    let written = Operation::Write {
        offset: 512,
        buffers: vec![crate::support::memory(&[3; 1024])],
        durable: true,
    };
    store.execute(&written).unwrap();
    store.execute(&Operation::Flush).unwrap();
    let zeroes = |offset, length| Operation::WriteZeroes {
        offset,
        length,
        durable: true,
    };
    store.execute(&zeroes(8192, 4096)).unwrap();
    let discard = Operation::Discard {
        offset: 1 << 20,
        length: 1 << 20,
    };
    store.execute(&discard).unwrap();
    let mut expected = pattern(0, 65_536);
    expected[512..1536].fill(3);
    expected[8192..12_288].fill(0);
    let bytes = buffer(65_536);
    store.execute(&read(0, vec![bytes.clone()])).unwrap();
    assert!(bytes.to_vec() == expected);

    let pages = store.page_cache().unwrap();
    pages.populate(0, SIZE as u64).unwrap();
    let mapped = Slice::whole(pages.memory(false).unwrap());
    assert!(mapped.part(0..65_536).unwrap().to_vec() == expected);

    let size = SIZE as u64;
    for operation in [
        read(size - 512, vec![buffer(1024)]),
        write(size - 512, &[9; 1024]),
        zeroes(size, 512),
    ] {
        assert_eq!(store.execute(&operation), Err(BackendError::PastEnd));
    }
}

#[test]
fn ranges_that_are_no_whole_logical_blocks() {
    let directory = Directory::new(&std::env::temp_dir());
    let image = directory.file("image", SIZE);
    let Some(device) = Loop::attach(&image, &["--sector-size", "4096"]) else {
        return;
    };
    let store = open(Path::new(&device.0)).unwrap();
    assert_eq!(store.properties().physical_block_size, 4096);
    let zeroes = Operation::WriteZeroes {
        offset: 512,
        length: 8192,
        durable: true,
    };
    store.execute(&zeroes).unwrap();
    let discard = |offset, length| Operation::Discard { offset, length };
    store.execute(&discard(12_800, 1024)).unwrap();
    store.execute(&discard(16_384 + 512, 8192)).unwrap();
    let mut expected = pattern(0, 32_768);
    expected[512..8704].fill(0);
    // Of the second discard one whole block goes, and a loop device turns that into a hole.
    expected[20_480..24_576].fill(0);
    let bytes = buffer(32_768);
    store.execute(&read(0, vec![bytes.clone()])).unwrap();
    assert!(bytes.to_vec() == expected);
}

#[test]
fn a_mounted_device_is_refused() {
    let directory = Directory::new(&std::env::temp_dir());
    let image = directory.file("image", SIZE);
    let Some(device) = Loop::attach(&image, &[]) else {
        return;
    };
    let point = directory.path().join("mounted");
    fs::create_dir(&point).unwrap();
    let mounted = run("mkfs.ext2", &["-q", "-F", &device.0])
        .and_then(|_| run("mount", &[&device.0, point.to_str().unwrap()]));
    if let Err(why) = mounted {
        skipped(&why);
        return;
    }
    let _mounted = Mounted(&point);
    let error = open(Path::new(&device.0)).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(point.to_str().unwrap()), "{message}");
}
