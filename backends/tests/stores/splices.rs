//! Ranges that move into pipes.

use std::fs::OpenOptions;
use std::sync::Arc;

use pagecast_backends::{
    Backend, BackendError, Engine, FileBackend, MemoryBackend, ThreadPool, Token, io_queue,
};

use crate::support::{Directory, PAGE, Pipe, open, pattern, write};

const SIZE: usize = 512 * 1024;

fn each_store(test: impl Fn(&FileBackend)) {
    for directory in Directory::everywhere() {
        test(&open(&directory.file("disk", SIZE)).unwrap());
    }
    let store = MemoryBackend::create(SIZE as u64).unwrap();
    store.execute(&write(0, &pattern(0, SIZE))).unwrap();
    test(&store);
}

#[test]
fn ranges_come_out_as_they_are_in_the_store() {
    each_store(|store| {
        let mut pipe = Pipe::new(256 * 1024);
        let pages = pipe.pages * PAGE;
        for (offset, length) in [
            (0, PAGE),
            (512, 512),
            (4096 - 512, 1024),
            (8192, pages),
            // A page at either end is there in part.
            (8192 + 512, pages - PAGE),
            (SIZE - 512, 512),
            (77, 0),
        ] {
            let operation = pipe.splice(offset as u64, length as u64);
            store.execute(&operation).unwrap();
            assert!(pipe.take(length) == pattern(offset, length));
        }
    });
}

#[test]
fn holes_are_zeros() {
    for directory in Directory::everywhere() {
        let path = directory.path().join("sparse");
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        file.set_len(SIZE as u64).unwrap();
        let store = open(&path).unwrap();
        store.execute(&write(8192, &[7; 512])).unwrap();
        let mut pipe = Pipe::new(256 * 1024);
        store.execute(&pipe.splice(4096, 16 * 1024)).unwrap();
        let mut expected = vec![0; 16 * 1024];
        expected[4096..4096 + 512].fill(7);
        assert!(pipe.take(16 * 1024) == expected);
    }
}

#[test]
fn a_splice_that_ends_early_is_an_error() {
    each_store(|store| {
        let pipe = Pipe::new(64 * 1024);
        let size = SIZE as u64;
        for (offset, length) in [(size - 512, 1024), (size, 512), (u64::MAX - 100, 512)] {
            let result = store.execute(&pipe.splice(offset, length));
            assert_eq!(result, Err(BackendError::PastEnd), "{offset}+{length}");
        }
        // Nobody empties it: an error, and not a thread that waits for ever.
        let full = Pipe::new(64 * 1024);
        let result = store.execute(&full.splice(0, (full.pages * PAGE) as u64 + 1));
        assert_eq!(
            result,
            Err(BackendError::Failed(
                rustix::io::Errno::AGAIN.raw_os_error()
            ))
        );
    });
}

#[test]
fn engines_hand_splices_to_the_pool() {
    let pool = ThreadPool::new(2).unwrap();
    for engine in [Engine::Auto, Engine::Threads] {
        let (mut queue, _) = io_queue(engine, &pool, 8).unwrap();
        let store = MemoryBackend::create(SIZE as u64).unwrap();
        store.execute(&write(0, &pattern(0, SIZE))).unwrap();
        let backend: Arc<dyn Backend> = Arc::new(store);
        let mut pipe = Pipe::new(64 * 1024);
        queue.submit(&backend, pipe.splice(4096, 8192), Token(3));
        queue.flush();
        let mut done = Vec::new();
        while queue.in_flight() > 0 {
            let fd = queue.event_fd();
            let mut fds = [rustix::event::PollFd::new(
                &fd,
                rustix::event::PollFlags::IN,
            )];
            rustix::event::poll(&mut fds, None).unwrap();
            queue.poll(&mut done);
        }
        assert_eq!((done[0].token, done[0].result.clone()), (Token(3), Ok(())));
        assert!(pipe.take(8192) == pattern(4096, 8192));
    }
}
