//! Stores that hang beside stores that work, and threads that come and go.

use std::ops::Deref;
use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use pagecast_memory::{Anonymous, Slice};

use super::lanes::Body;
use super::*;
use crate::testing::{FaultyBackend, Kind};
use crate::{Engine, MemoryBackend, io_queue};

const SIZE: u64 = 65_536;
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(20);

fn start(body: Body) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().spawn(body)
}

/// A pool, whose state tests may look at.
fn pool(threads: usize, linger: Duration) -> (ThreadPool, Arc<Lanes>) {
    pool_with(threads, linger, start)
}

fn pool_with(threads: usize, linger: Duration, start: Start) -> (ThreadPool, Arc<Lanes>) {
    let pool = ThreadPool::with(threads, linger, start);
    let lanes = Arc::clone(&pool.workers.lanes);
    (pool, lanes)
}

/// A store that is released when a test fails, whose queue would wait for it. So it is declared after the queue.
struct Store(Arc<FaultyBackend>);

impl Deref for Store {
    type Target = Arc<FaultyBackend>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.0.release();
    }
}

fn store() -> Store {
    let inner = MemoryBackend::create(SIZE).unwrap();
    Store(FaultyBackend::new(Arc::new(inner)))
}

fn backend(store: &Store) -> Arc<dyn Backend> {
    Arc::clone(&store.0) as Arc<dyn Backend>
}

fn read(offset: u64) -> Operation {
    let memory = Anonymous::new(4096).unwrap();
    Operation::Read {
        offset,
        buffers: vec![Slice::whole(Arc::new(memory))],
    }
}

#[track_caller]
fn eventually(mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < give_up, "it never came");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until `count` operations are done, and takes them.
#[track_caller]
fn take(queue: &mut dyn IoQueue, count: usize) -> Vec<Done> {
    let mut done = Vec::new();
    eventually(|| {
        queue.poll(&mut done);
        done.len() >= count
    });
    assert_eq!(done.len(), count);
    done.sort_by_key(|done| done.token.0);
    done
}

#[test]
fn a_store_that_hangs_holds_up_nobody_else() {
    for engine in [Engine::Auto, Engine::Threads] {
        let (pool, lanes) = pool(4, FOR_EVER);
        // One queue, as on a shard that serves both, and that of another shard.
        let (mut queue, _) = io_queue(engine, &pool, 16).unwrap();
        let mut other = ThreadQueue::new(&pool).unwrap();
        let (hung, well) = (store(), store());
        hung.hold(Kind::Read);
        for token in 0..40 {
            queue.submit(&backend(&hung), read(0), Token(token));
        }
        queue.flush();
        eventually(|| hung.held() == 4);
        for token in 0..40 {
            queue.submit(&backend(&well), read(4096), Token(100 + token));
            other.submit(&backend(&well), read(8192), Token(token));
        }
        queue.flush();
        for (token, done) in take(queue.as_mut(), 40).into_iter().enumerate() {
            assert_eq!(done.token, Token(100 + token as u64));
            assert_eq!(done.result, Ok(()));
        }
        take(&mut other, 40);
        assert_eq!((queue.in_flight(), hung.held()), (40, 4));
        // Half of them for one store, and no more than there may be.
        let (stores, awake, asleep) = lanes.census();
        assert_eq!(stores, 2);
        assert!((5..=8).contains(&(awake + asleep)), "{awake} {asleep}");
        hung.release();
        for (token, done) in take(queue.as_mut(), 40).into_iter().enumerate() {
            assert_eq!(done.token, Token(token as u64));
            assert_eq!(done.result, Ok(()));
        }
        assert_eq!(queue.in_flight(), 0);
    }
}

#[test]
fn a_store_has_as_many_threads_as_it_keeps_busy() {
    let (pool, lanes) = pool(3, FOR_EVER);
    let mut queue = ThreadQueue::new(&pool).unwrap();
    let store = store();
    assert_eq!((lanes.census(), lanes.running()), ((0, 0, 0), 0));
    store.hold(Kind::Read);
    for busy in 1..=3 {
        queue.submit(&backend(&store), read(0), Token(busy));
        eventually(|| store.held() == busy as usize);
        assert_eq!(lanes.census(), (1, busy as usize, 0));
    }
    queue.submit(&backend(&store), read(0), Token(4));
    assert_eq!((lanes.census(), lanes.running()), ((1, 3, 0), 3));
    // What is not held goes past nobody: there is no thread left.
    queue.submit(&backend(&store), Operation::Flush, Token(5));
    thread::sleep(SHORT);
    assert_eq!((store.held(), queue.in_flight()), (3, 5));
    store.release();
    take(&mut queue, 5);
    eventually(|| lanes.census() == (1, 0, 3));
    // One that sleeps is enough.
    for token in 0..50 {
        queue.submit(&backend(&store), read(0), Token(token));
        take(&mut queue, 1);
        eventually(|| lanes.census() == (1, 0, 3));
    }
    assert_eq!(lanes.running(), 3);
}

#[test]
fn threads_without_work_hold_no_store_and_end() {
    let (pool, lanes) = pool(4, SHORT);
    let mut queue = ThreadQueue::new(&pool).unwrap();
    for round in 0..3 {
        let store = store();
        store.hold(Kind::Read);
        for token in 0..8 {
            queue.submit(&backend(&store), read(0), Token(token));
        }
        eventually(|| store.held() == 4);
        store.release();
        let done = take(&mut queue, 8);
        assert_eq!(Arc::strong_count(&store), 1, "round {round}");
        drop(done);
        eventually(|| (lanes.census(), lanes.running()) == ((0, 0, 0), 0));
    }
}

#[test]
fn a_store_that_hangs_keeps_its_threads_however_long() {
    let (pool, lanes) = pool(2, SHORT);
    let mut queue = ThreadQueue::new(&pool).unwrap();
    let (hung, well) = (store(), store());
    hung.hold(Kind::Read);
    for token in 0..5 {
        queue.submit(&backend(&hung), read(0), Token(token));
        queue.submit(&backend(&well), read(0), Token(10 + token));
    }
    take(&mut queue, 5);
    eventually(|| (lanes.census(), lanes.running()) == ((1, 2, 0), 2));
    thread::sleep(2 * SHORT);
    assert_eq!(lanes.census(), (1, 2, 0));
    hung.release();
    take(&mut queue, 5);
    eventually(|| (lanes.census(), lanes.running()) == ((0, 0, 0), 0));
}

#[test]
fn the_last_clone_waits_for_what_is_queued() {
    let (pool, lanes) = pool(2, FOR_EVER);
    let shared: Weak<Lanes> = Arc::downgrade(&lanes);
    drop(lanes);
    let completions = Arc::new(Completions::new().unwrap());
    let (slow, well) = (store(), store());
    slow.hold(Kind::Flush);
    for token in 0..40 {
        for store in [&slow, &well] {
            pool.run(
                &backend(store),
                Operation::Flush,
                Token(token),
                &completions,
            );
        }
    }
    let clone = pool.clone();
    drop(pool);
    eventually(|| slow.held() == 2);
    let ended = thread::spawn(move || drop(clone));
    thread::sleep(SHORT);
    assert!(!ended.is_finished());
    slow.release();
    eventually(|| ended.is_finished());
    ended.join().unwrap();
    // Each thread has a share in them.
    assert_eq!(shared.strong_count(), 0);
    let mut done = Vec::new();
    assert_eq!(completions.take(&mut done), 80);
    assert!(done.iter().all(|done| done.result.is_ok()));
}

#[test]
fn operations_fail_where_no_thread_can_be_had() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    fn refusing(body: Body) -> io::Result<JoinHandle<()>> {
        if STARTED.fetch_add(1, Ordering::SeqCst) < MOST.load(Ordering::SeqCst) {
            return start(body);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
    let (pool, lanes) = pool_with(4, FOR_EVER, refusing);
    let mut queue = ThreadQueue::new(&pool).unwrap();
    let store = store();
    for token in 0..3 {
        queue.submit(&backend(&store), read(0), Token(token));
        let done = take(&mut queue, 1);
        assert_eq!(done[0].result, Err(BackendError::Busy));
        assert_eq!(Arc::strong_count(&store), 1);
    }
    assert_eq!((lanes.census(), queue.in_flight()), ((0, 0, 0), 0));
    // One can, and does everything.
    STARTED.store(0, Ordering::SeqCst);
    MOST.store(1, Ordering::SeqCst);
    store.hold(Kind::Read);
    for token in 0..10 {
        queue.submit(&backend(&store), read(0), Token(token));
    }
    eventually(|| store.held() == 1);
    assert!(STARTED.load(Ordering::SeqCst) > 1, "nobody was refused");
    assert_eq!(lanes.census(), (1, 1, 0));
    store.release();
    let done = take(&mut queue, 10);
    assert!(done.iter().all(|done| done.result.is_ok()));
}

#[test]
fn nothing_is_lost_while_threads_come_go_and_are_refused() {
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    fn fickle(body: Body) -> io::Result<JoinHandle<()>> {
        if COUNT.fetch_add(1, Ordering::SeqCst) % 3 == 1 {
            REFUSED.fetch_add(1, Ordering::SeqCst);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        start(body)
    }
    let (pool, lanes) = pool_with(3, Duration::from_micros(50), fickle);
    let stores: Vec<Store> = (0..3).map(|_| store()).collect();
    thread::scope(|scope| {
        for shard in 0..3u64 {
            let mut queue = ThreadQueue::new(&pool).unwrap();
            let stores = &stores;
            scope.spawn(move || {
                let until = Instant::now() + Duration::from_secs(1);
                let (mut round, mut done) = (shard, 0);
                while Instant::now() < until {
                    let burst = round % 7 + 1;
                    for token in 0..burst {
                        let store = &stores[((round + token) % 3) as usize];
                        queue.submit(&backend(store), Operation::Flush, Token(token));
                    }
                    for (token, done) in take(&mut queue, burst as usize).iter().enumerate() {
                        assert_eq!(done.token, Token(token as u64));
                        let refused = Err(BackendError::Busy);
                        assert!(done.result.is_ok() || done.result == refused);
                    }
                    done += burst;
                    round += 1;
                }
                assert!(done > 0);
            });
        }
    });
    assert!(REFUSED.load(Ordering::SeqCst) > 0, "nobody was refused");
    eventually(|| (lanes.census(), lanes.running()) == ((0, 0, 0), 0));
}
