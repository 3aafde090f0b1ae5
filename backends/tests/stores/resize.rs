//! Stores that change their size while they are open.

use std::fs::{self, File};
use std::path::Path;

use pagecast_backends::{
    Backend, BackendError, FileBackend, FileOptions, MemoryBackend, Operation,
};
use pagecast_memory::Slice;

use crate::block_devices::Loop;
use crate::support::{Directory, buffer, open, pattern, read, run, skipped, write};

const SIZE: usize = 256 * 1024;
const MORE: usize = 3 * SIZE;

/// A file on each file system, and anonymous memory, all with the same bytes.
fn each_store(test: impl Fn(&FileBackend)) {
    for directory in Directory::everywhere() {
        test(&open(&directory.file("disk", SIZE)).unwrap());
    }
    let store = MemoryBackend::create(SIZE as u64).unwrap();
    store.execute(&write(0, &pattern(0, SIZE))).unwrap();
    test(&store);
}

fn bytes_of(store: &FileBackend, offset: usize, length: usize) -> Vec<u8> {
    let bytes = buffer(length);
    store
        .execute(&read(offset as u64, vec![bytes.clone()]))
        .unwrap();
    bytes.to_vec()
}

#[test]
fn what_is_added_is_zeros_and_works_like_the_rest() {
    each_store(|store| {
        assert!(store.properties().can_resize);
        store.set_size(MORE as u64).unwrap();
        assert_eq!(store.current_size(), Ok(MORE as u64));
        assert_eq!(bytes_of(store, 0, SIZE), pattern(0, SIZE));
        assert!(
            bytes_of(store, SIZE, MORE - SIZE)
                .iter()
                .all(|&byte| byte == 0)
        );
        store.execute(&write(MORE as u64 - 512, &[7; 512])).unwrap();
        assert_eq!(bytes_of(store, MORE - 512, 512), [7; 512]);
        let discard = Operation::Discard {
            offset: SIZE as u64,
            length: (MORE - SIZE) as u64,
        };
        store.execute(&discard).unwrap();
        assert_eq!(bytes_of(store, MORE - 512, 512), [0; 512]);
        let past = write(MORE as u64 - 512, &[7; 1024]);
        assert_eq!(store.execute(&past), Err(BackendError::PastEnd));
    });
}

#[test]
fn what_is_cut_off_is_gone() {
    each_store(|store| {
        store.set_size(SIZE as u64 / 2).unwrap();
        assert_eq!(store.current_size(), Ok(SIZE as u64 / 2));
        for operation in [
            read(SIZE as u64 / 2, vec![buffer(512)]),
            write(SIZE as u64 / 2, &[1; 512]),
        ] {
            assert_eq!(store.execute(&operation), Err(BackendError::PastEnd));
        }
        assert_eq!(store.current_size(), Ok(SIZE as u64 / 2), "grown back");
        store.set_size(SIZE as u64).unwrap();
        assert_eq!(bytes_of(store, 0, SIZE / 2), pattern(0, SIZE / 2));
        assert!(
            bytes_of(store, SIZE / 2, SIZE / 2)
                .iter()
                .all(|&byte| byte == 0)
        );
    });
}

#[test]
fn the_page_cache_grows_with_the_store() {
    each_store(|store| {
        let pages = store.page_cache().unwrap();
        let old = Slice::whole(pages.memory(false).unwrap());
        assert_eq!(
            pages.populate(SIZE as u64, 4096),
            Err(BackendError::PastEnd)
        );
        store.set_size(MORE as u64).unwrap();
        pages.populate(0, MORE as u64).unwrap();
        let new = Slice::whole(pages.memory(false).unwrap());
        assert_eq!((old.len(), new.len()), (SIZE, MORE));
        for at in [SIZE - 4096, MORE - 4096] {
            store.execute(&write(at as u64, &[3; 4096])).unwrap();
            assert_eq!(new.part(at..at + 4096).unwrap().to_vec(), [3; 4096]);
        }
        // Whoever still has the mapping of before sees the same pages.
        let last = old.part(SIZE - 4096..SIZE).unwrap();
        assert_eq!(last.to_vec(), [3; 4096]);

        store.set_size(SIZE as u64 / 2).unwrap();
        assert_eq!(
            pages.populate(SIZE as u64 / 2, 1),
            Err(BackendError::PastEnd)
        );
        pages.populate(0, SIZE as u64 / 2).unwrap();
        assert_eq!(new.part(0..4096).unwrap().to_vec(), pattern(0, 4096));
    });
}

#[test]
fn somebody_else_may_let_it_grow() {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        let store = open(&path).unwrap();
        let pages = store.page_cache().unwrap();
        let _old = pages.memory(false).unwrap();
        let other = File::options().write(true).open(&path).unwrap();
        other.set_len(MORE as u64).unwrap();
        assert_eq!(store.current_size(), Ok(MORE as u64));
        pages.populate(MORE as u64 - 4096, 4096).unwrap();
        assert_eq!(pages.memory(false).unwrap().len(), MORE);
    }
}

#[test]
fn sizes_that_cannot_be() {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        let store = open(&path).unwrap();
        for size in [1 << 63, u64::MAX - 511, (1 << 63) - 512] {
            let result = store.set_size(size);
            // Memory file systems may take the last.
            if result.is_ok() {
                assert_eq!(size, (1 << 63) - 512);
                store.set_size(SIZE as u64).unwrap();
            } else {
                assert_eq!(result, Err(BackendError::PastEnd), "{size:#x}");
            }
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), SIZE as u64);
        drop(store);
        let store = FileBackend::open(&FileOptions {
            path: path.clone(),
            read_only: true,
        });
        let store = store.unwrap();
        assert!(!store.properties().can_resize);
        assert_eq!(store.set_size(512), Err(BackendError::ReadOnly));
        assert_eq!(fs::metadata(&path).unwrap().len(), SIZE as u64);
    }
}

/// A block device has the size that it has, and gets another one by its own tools.
#[test]
fn block_devices_are_only_looked_at() {
    let directory = Directory::new(&std::env::temp_dir());
    let file = directory.file("image", SIZE);
    let Some(device) = Loop::attach(&file, &[]) else {
        return;
    };
    let store = open(Path::new(&device.0)).unwrap();
    assert!(!store.properties().can_resize);
    let unsupported = Err(BackendError::Unsupported);
    assert_eq!(store.set_size(MORE as u64), unsupported);
    assert_eq!(store.set_size(512), unsupported);
    let pages = store.page_cache().unwrap();
    let _old = pages.memory(false).unwrap();
    let image = File::options().write(true).open(&file).unwrap();
    image.set_len(MORE as u64).unwrap();
    assert_eq!(store.current_size(), Ok(SIZE as u64));
    if let Err(why) = run("losetup", &["--set-capacity", &device.0]) {
        return skipped(&why);
    }
    assert_eq!(store.current_size(), Ok(MORE as u64));
    store.execute(&write(MORE as u64 - 512, &[9; 512])).unwrap();
    assert_eq!(bytes_of(&store, MORE - 512, 512), [9; 512]);
    pages.populate(SIZE as u64, (MORE - SIZE) as u64).unwrap();
    assert_eq!(pages.memory(false).unwrap().len(), MORE);
}
