use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::sync::{Arc, OnceLock};

use pagecast_backends::{
    Backend, BackendError, FileBackend, FileOptions, MemoryBackend, OpenError, Operation,
    StoredExtent,
};

use crate::support::{
    Directory, Mounted, buffer, memory, open, pattern, read, reopen, run, skipped, write,
};

const SIZE: usize = 256 * 1024;

/// The same stores for every test: a file on each file system, and anonymous memory.
fn each_store(test: impl Fn(&FileBackend)) {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        test(&open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().len(), SIZE as u64);
    }
    let store = MemoryBackend::create(SIZE as u64).unwrap();
    store.execute(&write(0, &pattern(0, SIZE))).unwrap();
    test(&store);
}

#[test]
fn reads_and_writes_scattered_buffers() {
    each_store(|store| {
        let buffers = vec![buffer(512), buffer(7680), buffer(512)];
        let operation = read(3584, buffers.clone());
        store.execute(&operation).unwrap();
        let bytes: Vec<u8> = buffers.iter().flat_map(|b| b.to_vec()).collect();
        assert_eq!(bytes, pattern(3584, 8704));

        let written = Operation::Write {
            offset: 4096,
            buffers: vec![memory(&[1; 512]), memory(&[2; 1024])],
            durable: true,
        };
        store.execute(&written).unwrap();
        store.execute(&Operation::Flush).unwrap();
        let back = buffer(2560);
        store.execute(&read(3584, vec![back.clone()])).unwrap();
        let mut expected = pattern(3584, 2560);
        expected[512..1024].fill(1);
        expected[1024..2048].fill(2);
        assert_eq!(back.to_vec(), expected);
    });
}

#[test]
fn more_buffers_than_one_system_call_takes() {
    each_store(|store| {
        let buffers: Vec<_> = (0..3000).map(|_| buffer(64)).collect();
        store.execute(&read(0, buffers.clone())).unwrap();
        let bytes: Vec<u8> = buffers.iter().flat_map(|b| b.to_vec()).collect();
        assert_eq!(bytes, pattern(0, 3000 * 64));
    });
}

#[test]
fn nothing_happens_past_the_end() {
    each_store(|store| {
        let size = SIZE as u64;
        for operation in [
            read(size - 512, vec![buffer(1024)]),
            read(size, vec![buffer(512)]),
            read(u64::MAX - 100, vec![buffer(512)]),
            write(size - 512, &[9; 1024]),
            write(u64::MAX - 100, &[9; 512]),
            Operation::Discard {
                offset: size - 512,
                length: 1024,
            },
            Operation::WriteZeroes {
                offset: 512,
                length: u64::MAX,
                durable: false,
            },
        ] {
            assert_eq!(
                store.execute(&operation),
                Err(BackendError::PastEnd),
                "{operation:?}"
            );
        }
        assert_eq!(store.current_size(), Ok(size));
        let tail = buffer(512);
        store
            .execute(&read(size - 512, vec![tail.clone()]))
            .unwrap();
        assert_eq!(tail.to_vec(), pattern(SIZE - 512, 512));
    });
}

#[test]
fn discards_and_zeroes_read_as_zeros_and_nothing_around_them_does() {
    each_store(|store| {
        assert!(store.properties().can_discard && store.properties().discard_zeroes);
        let ranges = [
            (0u64, 8192u64),
            (20_480 + 512, 1024),
            (65_536, 131_072 + 512),
        ];
        let as_discard = |(offset, length)| Operation::Discard { offset, length };
        let as_zeroes = |durable| {
            move |(offset, length)| Operation::WriteZeroes {
                offset,
                length,
                durable,
            }
        };
        let ways: [&dyn Fn((u64, u64)) -> Operation; 3] =
            [&as_discard, &as_zeroes(false), &as_zeroes(true)];
        for way in ways {
            store.execute(&write(0, &pattern(0, SIZE))).unwrap();
            let mut expected = pattern(0, SIZE);
            for range in ranges {
                store.execute(&way(range)).unwrap();
                expected[range.0 as usize..(range.0 + range.1) as usize].fill(0);
            }
            let bytes = buffer(SIZE);
            store.execute(&read(0, vec![bytes.clone()])).unwrap();
            assert!(bytes.to_vec() == expected, "after {:?}", way((0, 512)));
            assert_eq!(store.current_size(), Ok(SIZE as u64));
        }
    });
}

#[test]
fn a_discard_frees_space() {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        let store = open(&path).unwrap();
        store.execute(&Operation::Flush).unwrap();
        let before = fs::metadata(&path).unwrap().blocks();
        let discard = Operation::Discard {
            offset: 0,
            length: 128 * 1024,
        };
        store.execute(&discard).unwrap();
        let after = fs::metadata(&path).unwrap().blocks();
        assert_eq!(before - after, 256, "{}", store.properties().description);
    }
}

#[test]
fn a_file_that_shrinks_neither_lies_nor_grows_back() {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        let store = open(&path).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(8192)
            .unwrap();
        assert_eq!(store.current_size(), Ok(8192));
        for operation in [
            read(4096, vec![buffer(8192)]),
            write(4096, &[1; 8192]),
            write(65_536, &[1; 512]),
            Operation::Discard {
                offset: 65_536,
                length: 512,
            },
            Operation::WriteZeroes {
                offset: 4096,
                length: 8192,
                durable: false,
            },
        ] {
            assert_eq!(store.execute(&operation), Err(BackendError::PastEnd));
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 8192);
        let bytes = buffer(8192);
        store.execute(&read(0, vec![bytes.clone()])).unwrap();
        assert_eq!(bytes.to_vec(), pattern(0, 8192));
    }
}

#[test]
fn a_second_open_is_refused_and_told_who_holds_the_file() {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        let first = open(&path).unwrap();
        let message = open(&path).unwrap_err().to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        let pid = format!("process {} (", std::process::id());
        assert!(message.contains(&pid), "{message}");

        // What was taken from the page cache holds the file as well.
        let memory = first.page_cache().unwrap().memory(false).unwrap();
        drop(first);
        assert!(matches!(open(&path), Err(OpenError::InUse { .. })));
        drop(memory);
        reopen(&path);
    }
}

#[test]
fn readers_share_a_file_but_not_with_a_writer() {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        let options = FileOptions {
            path: path.clone(),
            read_only: true,
        };
        let store = FileBackend::open(&options).unwrap();
        let _second = FileBackend::open(&options).unwrap();
        assert!(matches!(open(&path), Err(OpenError::InUse { .. })));

        assert!(store.properties().read_only && !store.properties().can_discard);
        for operation in [
            write(0, &[1; 512]),
            Operation::Discard {
                offset: 0,
                length: 512,
            },
            Operation::WriteZeroes {
                offset: 0,
                length: 512,
                durable: false,
            },
        ] {
            assert_eq!(store.execute(&operation), Err(BackendError::ReadOnly));
        }
        store.execute(&Operation::Flush).unwrap();
        store.execute(&read(0, vec![buffer(SIZE)])).unwrap();
        let pages = store.page_cache().unwrap();
        assert_eq!(pages.memory(true).unwrap_err(), BackendError::ReadOnly);
    }
}

#[test]
fn what_cannot_be_a_disk_is_refused_with_a_remedy() {
    let directory = Directory::new(&std::env::temp_dir());
    let at = |name: &str| directory.path().join(name);
    let refusal = |path: &std::path::Path| {
        let error = open(path).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        (error, message)
    };

    let (error, message) = refusal(&at("missing"));
    assert!(matches!(error, OpenError::NotFound { .. }), "{error:?}");
    assert!(message.contains("truncate -s"), "{message}");

    let (error, _) = refusal(directory.path());
    assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");

    let (error, message) = refusal(std::path::Path::new("/dev/null"));
    assert!(matches!(error, OpenError::WrongKind { .. }), "{error:?}");
    assert!(message.contains("character device"), "{message}");

    let (error, message) = refusal(&directory.file("empty", 0));
    assert!(matches!(error, OpenError::Empty { .. }), "{error:?}");
    assert!(message.contains("truncate -s"), "{message}");

    let (error, message) = refusal(&directory.file("odd", 1000));
    assert!(
        matches!(error, OpenError::Unaligned { size: 1000, .. }),
        "{error:?}"
    );
    assert!(message.contains("truncate -s %512"), "{message}");

    assert!(matches!(
        MemoryBackend::create(0),
        Err(OpenError::Empty { .. })
    ));
    assert!(matches!(
        MemoryBackend::create(1000),
        Err(OpenError::Unaligned { .. })
    ));
    assert!(matches!(
        MemoryBackend::create(1 << 63),
        Err(OpenError::Memory { .. })
    ));
}

#[test]
fn missing_rights_are_named() {
    let directory = Directory::new(&std::env::temp_dir());
    let path = directory.file("disk", 4096);
    let name = path.to_str().unwrap();
    // Root may open everything but what is immutable.
    let root = rustix::process::geteuid().is_root();
    if root {
        if let Err(why) = run("chattr", &["+i", name]) {
            return skipped(&why);
        }
    } else {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    }
    let refused = open(&path);
    if root {
        run("chattr", &["-i", name]).unwrap();
    }
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("reading and writing"), "{message}");
    assert!(message.contains("read_only"), "{message}");
}

#[test]
fn reads_never_touch_memory_that_is_not_writable() {
    let directory = Directory::new(&std::env::temp_dir());
    let store = open(&directory.file("disk", SIZE)).unwrap();
    let pages = store.page_cache().unwrap();
    let mapped = pagecast_memory::Slice::whole(pages.memory(false).unwrap());
    assert_eq!(
        store.execute(&read(0, vec![mapped])),
        Err(BackendError::Failed(libc::EFAULT))
    );
}

#[test]
fn a_full_file_system_is_no_space() {
    let directory = Directory::new(&std::env::temp_dir());
    let point = directory.path().join("small");
    fs::create_dir(&point).unwrap();
    let target = point.to_str().unwrap();
    let mounting = run("mount", &["-t", "tmpfs", "-o", "size=256k", "none", target]);
    if let Err(why) = mounting {
        skipped(&why);
        return;
    }
    let _mounted = Mounted(&point);
    let path = point.join("disk");
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    let store: Arc<dyn Backend> = Arc::new(open(&path).unwrap());
    assert_eq!(
        store.execute(&write(0, &[1; 512 * 1024])),
        Err(BackendError::NoSpace)
    );
    let discard = Operation::Discard {
        offset: 0,
        length: 1 << 20,
    };
    store.execute(&discard).unwrap();
    store.execute(&write(4096, &[1; 512])).unwrap();
}

#[test]
fn others_see_what_was_written() {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        let store = open(&path).unwrap();
        store.execute(&write(1024, b"seen by others!!")).unwrap();
        let mut bytes = [0; 16];
        let other = OpenOptions::new().read(true).open(&path).unwrap();
        other.read_exact_at(&mut bytes, 1024).unwrap();
        assert_eq!(&bytes, b"seen by others!!");
    }
}

#[test]
fn holes_and_data_are_told_apart() {
    each_store(|store| {
        let end = SIZE as u64;
        let extents = |offset, length, most| {
            let found = OnceLock::new();
            let operation = Operation::Extents {
                offset,
                length,
                most,
                found,
            };
            store.execute(&operation).map(|()| match operation {
                Operation::Extents { found, .. } => found.into_inner().unwrap(),
                _ => Vec::new(),
            })
        };
        let whole = |mapped| StoredExtent {
            offset: 0,
            length: end,
            mapped,
        };
        assert_eq!(extents(0, end, 8).unwrap(), [whole(true)]);
        let discard = Operation::Discard {
            offset: 65_536,
            length: 131_072,
        };
        if store.execute(&discard) == Ok(()) {
            let found = extents(0, end, 8).unwrap();
            let cut: Vec<_> = found
                .iter()
                .map(|e| (e.offset, e.length, e.mapped))
                .collect();
            let hole = (65_536, 131_072, false);
            assert_eq!(cut, [(0, 65_536, true), hole, (196_608, 65_536, true)]);
            assert_eq!(extents(0, end, 2).unwrap(), found[..2]);
            assert_eq!(extents(70_000, 100, 2).unwrap().len(), 1);
        }
        assert_eq!(extents(0, end + 1, 8), Err(BackendError::PastEnd));
        let prefetch = |offset, length| Operation::Prefetch { offset, length };
        assert_eq!(store.execute(&prefetch(0, end)), Ok(()));
        assert_eq!(store.execute(&prefetch(end, 1 << 40)), Ok(()));
    });
}

#[test]
fn room_is_told() {
    each_store(|store| {
        let size = SIZE as u64;
        let full = store.usage().unwrap();
        assert_eq!(full.used, size);
        assert!(full.available.is_none_or(|room| room == 0));
        let discard = Operation::Discard {
            offset: 65_536,
            length: 131_072,
        };
        if store.execute(&discard) == Ok(()) {
            let usage = store.usage().unwrap();
            assert!((131_072..=147_456).contains(&usage.used), "{}", usage.used);
            assert!(usage.available.is_none_or(|room| room <= size - usage.used));
        }
    });
}
