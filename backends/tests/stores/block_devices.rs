use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use pagecast_backends::{
    Backend, BackendError, Engine, OpenError, Operation, ThreadPool, Token, io_queue,
};
use pagecast_memory::Slice;

use crate::support::{
    Directory, Mounted, PAGE, Pipe, buffer, open, pattern, read, run, skipped, write,
};

const SIZE: usize = 4 * 1024 * 1024;

type Outcome = Result<(), BackendError>;

/// A loop device, detached when the test ends.
pub(crate) struct Loop(pub(crate) String);

impl Loop {
    /// Needs root and the loop driver; says so and gives nothing where they are missing.
    pub(crate) fn attach(file: &Path, arguments: &[&str]) -> Option<Self> {
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
    let mut pipe = Pipe::new(65_536 + PAGE);
    store.execute(&pipe.splice(512, 65_024)).unwrap();
    assert!(pipe.take(65_024) == expected[512..]);

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

/// The store under test, both directly and through each engine.
fn everywhere(store: &Arc<dyn Backend>, operation: impl Fn() -> Operation) -> Vec<Outcome> {
    let pool = ThreadPool::new(1).unwrap();
    let mut results = vec![store.execute(&operation())];
    for engine in [Engine::Auto, Engine::Threads] {
        let (mut queue, _) = io_queue(engine, &pool, 4).unwrap();
        queue.submit(store, operation(), Token(1));
        queue.flush();
        let mut done = Vec::new();
        while queue.in_flight() > 0 {
            queue.poll(&mut done);
            std::thread::yield_now();
        }
        results.extend(done.into_iter().map(|done| done.result));
    }
    results
}

#[test]
fn bad_sectors_are_medium_errors_and_no_signals() {
    let directory = Directory::new(&std::env::temp_dir());
    let image = directory.file("image", SIZE);
    let Some(device) = Loop::attach(&image, &[]) else {
        return;
    };
    // A loop device answers EIO for what its file has lost.
    let half = SIZE as u64 / 2;
    let file = fs::File::options().write(true).open(&image).unwrap();
    file.set_len(half).unwrap();
    let store: Arc<dyn Backend> = Arc::new(open(Path::new(&device.0)).unwrap());
    let medium = Err(BackendError::Medium(libc::EIO));
    for offset in [half + (1 << 20), SIZE as u64 - 4096] {
        let results = everywhere(&store, || read(offset, vec![buffer(4096)]));
        assert_eq!(results, [medium.clone(), medium.clone(), medium.clone()]);
    }
    let pages = store.page_cache().unwrap();
    assert_eq!(pages.populate(SIZE as u64 - 65_536, 4096), medium);
    assert_eq!(pages.populate(0, half), Ok(()));
    let results = everywhere(&store, || read(0, vec![buffer(65_536)]));
    assert_eq!(results, [Ok(()), Ok(()), Ok(())]);
}

#[test]
fn a_failed_write_back_fails_the_flush() {
    let directory = Directory::new(&std::env::temp_dir());
    let point = directory.path().join("small");
    fs::create_dir(&point).unwrap();
    let target = point.to_str().unwrap();
    let mounting = run("mount", &["-t", "tmpfs", "-o", "size=256k", "none", target]);
    if let Err(why) = mounting {
        return skipped(&why);
    }
    let _mounted = Mounted(&point);
    let image = point.join("image");
    fs::File::create(&image)
        .unwrap()
        .set_len(SIZE as u64)
        .unwrap();
    let Some(device) = Loop::attach(&image, &[]) else {
        return;
    };
    let store: Arc<dyn Backend> = Arc::new(open(Path::new(&device.0)).unwrap());
    // The page cache takes more than the loop device can put anywhere.
    let written = store.execute(&write(0, &vec![1; 2 << 20]));
    assert_eq!(written, Ok(()));
    let pool = ThreadPool::new(1).unwrap();
    let (mut queue, _) = io_queue(Engine::Auto, &pool, 4).unwrap();
    let mut done = Vec::new();
    queue.submit(&store, Operation::Flush, Token(1));
    queue.submit(&store, Operation::Flush, Token(2));
    queue.flush();
    while queue.in_flight() > 0 {
        queue.poll(&mut done);
        std::thread::yield_now();
    }
    assert_eq!(done.len(), 2);
    for done in &done {
        assert!(
            matches!(
                done.result,
                Err(BackendError::Medium(_) | BackendError::NoSpace)
            ),
            "{done:?}"
        );
    }
    // What failed is lost and was reported; the store is not condemned.
    assert_eq!(store.execute(&Operation::Flush), Ok(()));
}
