//! Every engine through the same tests.

use std::os::fd::AsFd;
use std::sync::Arc;

use pagecast_backends::{
    Backend, BackendError, Done, Engine, IoQueue, MemoryBackend, Operation, ThreadPool, Token,
    io_queue,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::{Directory, buffer, memory, open, pattern, read, skipped, write};

const SIZE: usize = 1024 * 1024;

fn each_queue(depth: u32, test: impl Fn(&mut dyn IoQueue, &Arc<dyn Backend>)) {
    let pool = ThreadPool::new(2).unwrap();
    for store in stores() {
        for engine in engines() {
            let (mut queue, _) = io_queue(engine, &pool, depth).unwrap();
            // The test for the previous engine wrote to it.
            let original = write(0, &pattern(0, SIZE));
            store.1.execute(&original).unwrap();
            test(queue.as_mut(), &store.1);
        }
    }
}

/// Skips io_uring, and says so, where the machine does not allow it.
fn engines() -> Vec<Engine> {
    let pool = ThreadPool::new(1).unwrap();
    match io_queue(Engine::IoUring, &pool, 1) {
        Ok(_) => vec![Engine::IoUring, Engine::Threads],
        Err(why) => {
            skipped(&why.to_string());
            vec![Engine::Threads]
        }
    }
}

fn stores() -> Vec<(Option<Directory>, Arc<dyn Backend>)> {
    let mut stores: Vec<(Option<Directory>, Arc<dyn Backend>)> = Vec::new();
    for directory in Directory::everywhere() {
        let store = open(&directory.file("disk", SIZE)).unwrap();
        stores.push((Some(directory), Arc::new(store)));
    }
    let store = MemoryBackend::create(SIZE as u64).unwrap();
    store.execute(&write(0, &pattern(0, SIZE))).unwrap();
    stores.push((None, Arc::new(store)));
    stores
}

fn readable(queue: &dyn IoQueue, timeout_ms: i64) -> bool {
    let timeout = Timespec {
        tv_sec: timeout_ms / 1000,
        tv_nsec: timeout_ms % 1000 * 1_000_000,
    };
    let fd = queue.event_fd();
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).unwrap() == 1
}

/// Sleeps on the event descriptor only, as an idle shard does, so that a lost wake-up fails the test.
fn finish(queue: &mut dyn IoQueue) -> Vec<Done> {
    let mut done = Vec::new();
    queue.flush();
    while queue.in_flight() > 0 {
        assert!(
            readable(queue, 20_000),
            "nobody said that something is done"
        );
        queue.poll(&mut done);
    }
    done.sort_by_key(|done| done.token.0);
    done
}

fn run(queue: &mut dyn IoQueue, store: &Arc<dyn Backend>, operation: Operation) -> Done {
    queue.submit(store, operation, Token(77));
    let mut done = finish(queue);
    assert_eq!(done.len(), 1);
    assert_eq!(done[0].token, Token(77));
    done.remove(0)
}

#[test]
fn operations_come_back_with_their_results_and_buffers() {
    each_queue(8, |queue, store| {
        let done = run(queue, store, read(4096, vec![buffer(100), buffer(5000)]));
        assert_eq!(done.result, Ok(()));
        let Operation::Read { buffers, .. } = done.operation else {
            panic!("another operation came back");
        };
        let bytes: Vec<u8> = buffers.iter().flat_map(|b| b.to_vec()).collect();
        assert_eq!(bytes, pattern(4096, 5100));

        for durable in [false, true] {
            let operation = Operation::Write {
                offset: 8192,
                buffers: vec![memory(&[4; 512]), memory(&[5; 512])],
                durable,
            };
            assert_eq!(run(queue, store, operation).result, Ok(()));
        }
        assert_eq!(run(queue, store, Operation::Flush).result, Ok(()));
        let zeroes = Operation::WriteZeroes {
            offset: 8192 + 256,
            length: 256,
            durable: true,
        };
        assert_eq!(run(queue, store, zeroes).result, Ok(()));
        let discard = Operation::Discard {
            offset: 16_384,
            length: 4096,
        };
        assert_eq!(run(queue, store, discard).result, Ok(()));

        let bytes = buffer(SIZE);
        let done = run(queue, store, read(0, vec![bytes.clone()]));
        assert_eq!(done.result, Ok(()));
        let mut expected = pattern(0, SIZE);
        expected[8192..8704].fill(4);
        expected[8704..9216].fill(5);
        expected[8448..8704].fill(0);
        expected[16_384..20_480].fill(0);
        assert!(bytes.to_vec() == expected);
    });
}

#[test]
fn failures_come_back_too() {
    each_queue(8, |queue, store| {
        let size = SIZE as u64;
        for operation in [
            read(size - 512, vec![buffer(512), buffer(512)]),
            read(size, vec![buffer(512)]),
            read(u64::MAX - 10, vec![buffer(512)]),
            write(size - 512, &[1; 1024]),
            Operation::Discard {
                offset: size,
                length: 512,
            },
        ] {
            let done = run(queue, store, operation);
            assert_eq!(done.result, Err(BackendError::PastEnd), "{done:?}");
        }
        assert_eq!(store.current_size(), Ok(size));
        let mapped = store.page_cache().unwrap().memory(false).unwrap();
        let into_mapping = read(0, vec![pagecast_memory::Slice::whole(mapped)]);
        assert_eq!(
            run(queue, store, into_mapping).result,
            Err(BackendError::Failed(libc::EFAULT))
        );
    });
}

#[test]
fn operations_without_bytes_end_as_well() {
    each_queue(8, |queue, store| {
        assert_eq!(run(queue, store, read(0, Vec::new())).result, Ok(()));
        let nothing = Operation::Write {
            offset: 0,
            buffers: vec![buffer(512).part(5..5).unwrap()],
            durable: true,
        };
        assert_eq!(run(queue, store, nothing).result, Ok(()));
    });
}

#[test]
fn many_more_operations_than_the_queue_is_deep() {
    each_queue(4, |queue, store| {
        for round in 0..3 {
            for token in 0..200u64 {
                let operation = if token % 10 == 9 {
                    Operation::Flush
                } else {
                    read(token * 4096, vec![buffer(4096)])
                };
                queue.submit(store, operation, Token(token));
            }
            assert_eq!(queue.in_flight(), 200);
            let done = finish(queue);
            assert_eq!(done.len(), 200, "round {round}");
            for (token, done) in done.into_iter().enumerate() {
                assert_eq!(done.token, Token(token as u64));
                assert_eq!(done.result, Ok(()));
                if let Operation::Read { buffers, .. } = done.operation {
                    assert!(buffers[0].to_vec() == pattern(token * 4096, 4096));
                }
            }
        }
    });
}

#[test]
fn more_buffers_than_one_request_takes() {
    each_queue(4, |queue, store| {
        let buffers: Vec<_> = (0..2500).map(|_| buffer(16)).collect();
        let done = run(queue, store, read(0, buffers.clone()));
        assert_eq!(done.result, Ok(()));
        let bytes: Vec<u8> = buffers.iter().flat_map(|b| b.to_vec()).collect();
        assert_eq!(bytes, pattern(0, 40_000));
    });
}

#[test]
fn an_idle_queue_is_not_readable() {
    each_queue(4, |queue, store| {
        assert!(!readable(queue, 0));
        let mut done = Vec::new();
        queue.poll(&mut done);
        for _ in 0..50 {
            run(queue, store, read(0, vec![buffer(512)]));
            run(queue, store, Operation::Flush);
            let discard = Operation::Discard {
                offset: 0,
                length: 512,
            };
            run(queue, store, discard);
            assert!(!readable(queue, 0));
        }
    });
}

#[test]
fn dropping_a_queue_waits_for_what_is_in_flight() {
    let pool = ThreadPool::new(1).unwrap();
    for (_directory, store) in stores() {
        for engine in engines() {
            let (mut queue, _) = io_queue(engine, &pool, 4).unwrap();
            let written = memory(&[6; 4096]);
            for at in 0..64 {
                let operation = Operation::Write {
                    offset: at * 4096,
                    buffers: vec![written.clone()],
                    durable: at % 8 == 0,
                };
                queue.submit(&store, operation, Token(at));
            }
            drop(queue);
            assert_eq!(Arc::strong_count(written.memory()), 1);
            let bytes = buffer(64 * 4096);
            store.execute(&read(0, vec![bytes.clone()])).unwrap();
            assert!(bytes.to_vec().iter().all(|byte| *byte == 6));
        }
    }
}

#[test]
fn the_engine_is_chosen_and_explained() {
    let pool = ThreadPool::new(1).unwrap();
    let (_, choice) = io_queue(Engine::Auto, &pool, 8).unwrap();
    assert_eq!(choice.engine, engines()[0]);
    assert!(!choice.reason.is_empty());
    let (_, choice) = io_queue(Engine::Threads, &pool, 8).unwrap();
    assert_eq!(choice.engine, Engine::Threads);
}

#[test]
fn a_queue_made_elsewhere_serves_several_stores() {
    let pool = ThreadPool::new(1).unwrap();
    for engine in engines() {
        let stores = stores();
        let (mut queue, _) = io_queue(engine, &pool, 2).unwrap();
        let shard = std::thread::spawn(move || {
            for token in 0..90u64 {
                let store = &stores[token as usize % stores.len()].1;
                let operation = read(token * 8192, vec![buffer(8192)]);
                queue.submit(store, operation, Token(token));
                if token % 7 == 0 {
                    queue.flush();
                }
            }
            // By polling alone, without ever sleeping in the kernel.
            let mut done = Vec::new();
            queue.flush();
            while queue.in_flight() > 0 {
                queue.poll(&mut done);
                std::hint::spin_loop();
            }
            for done in done {
                let Operation::Read { offset, buffers } = done.operation else {
                    panic!("another operation came back");
                };
                assert_eq!(done.result, Ok(()));
                assert!(buffers[0].to_vec() == pattern(offset as usize, 8192));
            }
        });
        shard.join().unwrap();
    }
}

#[test]
fn cold_reads_wake_a_sleeper() {
    let directory = Directory::new(&std::env::temp_dir());
    let path = directory.file("disk", SIZE);
    let file = std::fs::File::open(&path).unwrap();
    file.sync_all().unwrap();
    let store: Arc<dyn Backend> = Arc::new(open(&path).unwrap());
    let pool = ThreadPool::new(2).unwrap();
    for engine in engines() {
        let (mut queue, _) = io_queue(engine, &pool, 16).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        // From the end, so that reading ahead does not warm what follows.
        for token in (0..16u64).rev() {
            let operation = read(token * 65_536, vec![buffer(4096)]);
            queue.submit(&store, operation, Token(token));
        }
        for (token, done) in finish(queue.as_mut()).into_iter().enumerate() {
            let Operation::Read { buffers, .. } = done.operation else {
                panic!("another operation came back");
            };
            assert_eq!(done.result, Ok(()));
            assert!(buffers[0].to_vec() == pattern(token * 65_536, 4096));
        }
    }
}
