use std::fs::File;

use pagecast_backends::{Backend, BackendError, MemoryBackend};
use pagecast_memory::Slice;

use crate::support::{Directory, buffer, open, pattern, read, write};

const SIZE: usize = 3 * 1024 * 1024 + 512;

#[test]
fn a_mapping_agrees_with_reads_and_writes() {
    for directory in Directory::everywhere() {
        let store = open(&directory.file("disk", SIZE)).unwrap();
        let pages = store.page_cache().unwrap();
        pages.populate(0, SIZE as u64).unwrap();
        let mapped = Slice::whole(pages.memory(false).unwrap());
        assert_eq!(mapped.len(), SIZE);
        assert!(!mapped.writable());
        assert!(mapped.to_vec() == pattern(0, SIZE));

        store.execute(&write(5000, &[0x55; 3000])).unwrap();
        assert_eq!(mapped.part(5000..8000).unwrap().to_vec(), [0x55; 3000]);

        let writable = Slice::whole(pages.memory(true).unwrap());
        assert!(writable.writable());
        assert_eq!(writable.part(5000..8000).unwrap().to_vec(), [0x55; 3000]);
    }
}

#[test]
fn memory_can_be_written_through_its_mapping() {
    let store = MemoryBackend::create(SIZE as u64).unwrap();
    let pages = store.page_cache().unwrap();
    pages.populate(0, SIZE as u64).unwrap();
    let mapped = Slice::whole(pages.memory(true).unwrap());
    mapped.write(SIZE - 512, &[7; 512]).unwrap();
    let bytes = buffer(512);
    let last = SIZE as u64 - 512;
    store.execute(&read(last, vec![bytes.clone()])).unwrap();
    assert_eq!(bytes.to_vec(), [7; 512]);
}

#[test]
fn a_mapping_is_made_once() {
    let store = MemoryBackend::create(4096).unwrap();
    let base = || store.page_cache().unwrap().memory(false).unwrap().base();
    let kept = store.page_cache().unwrap().memory(false).unwrap();
    assert_eq!(base(), kept.base());
}

#[test]
#[expect(unsafe_code, reason = "no crate here offers mincore")]
fn populate_makes_pages_resident() {
    let directory = Directory::new(&std::env::temp_dir());
    let path = directory.file("disk", SIZE);
    let file = File::open(&path).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let store = open(&path).unwrap();
    let pages = store.page_cache().unwrap();
    pages.populate(4096 + 100, 1024 * 1024).unwrap();
    let memory = pages.memory(false).unwrap();
    let mut residency = vec![0u8; SIZE.div_ceil(4096)];
    // SAFETY: the mapping is `SIZE` bytes long and page aligned, and the vector has a byte for each page of it.
    let returned =
        unsafe { libc::mincore(memory.base().as_ptr().cast(), SIZE, residency.as_mut_ptr()) };
    assert_eq!(returned, 0);
    assert!(residency[1..=257].iter().all(|page| page & 1 == 1));
}

#[test]
fn populate_reports_what_is_gone() {
    for directory in Directory::everywhere() {
        let path = directory.file("disk", SIZE);
        let store = open(&path).unwrap();
        let pages = store.page_cache().unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        assert_eq!(
            pages.populate(SIZE as u64 - 100, 101),
            Err(BackendError::PastEnd)
        );
        assert_eq!(pages.populate(u64::MAX, 2), Err(BackendError::PastEnd));
        assert_eq!(pages.populate(SIZE as u64, 0), Ok(()));
        file.set_len(65_536).unwrap();
        assert_eq!(pages.populate(32_768, 65_536), Err(BackendError::PastEnd));
        assert_eq!(pages.populate(32_768, 32_768), Ok(()));
    }
}
