//! The end of a daemon whose threads run, and what hangs meanwhile.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pagecast_backends::testing::{FaultyBackend, Kind};
use pagecast_backends::{Backend, Engine, IoQueue, Operation, ThreadPool, Token, io_queue};
use pagecast_memory::{Anonymous, Slice};
use pagecast_rdma::late::LateFabric;
use tracing::Level;

use super::*;
use crate::config::{Config, DeviceConfig, Document};
use crate::daemon::Parts;
use crate::device::Counters;
use crate::ending::{Times, Unended};
use crate::identity::MachineId;
use crate::logged::logged;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Stores that can be made to hang, of which one may have a command in flight that does.
#[derive(Default)]
struct Stores {
    made: Vec<Arc<FaultyBackend>>,
    /// The shard and the store of the command.
    hangs: Option<(usize, usize)>,
}

impl Parts for Stores {
    fn store(&mut self, _config: &DeviceConfig, opened: Arc<dyn Backend>) -> Arc<dyn Backend> {
        let store = FaultyBackend::new(opened);
        self.made.push(Arc::clone(&store));
        store
    }

    fn io_queue(&mut self, number: usize) -> Option<Box<dyn IoQueue>> {
        let (_, store) = self.hangs.filter(|(shard, _)| *shard == number)?;
        let store = &self.made[store];
        let pool = ThreadPool::new(1).expect("a thread");
        let (mut queue, _) = io_queue(Engine::Auto, &pool, 4).expect("a queue");
        store.hold(Kind::Read);
        let backend: Arc<dyn Backend> = Arc::clone(store) as Arc<dyn Backend>;
        let memory = Arc::new(Anonymous::new(4096).expect("memory"));
        let read = Operation::Read {
            offset: 0,
            buffers: vec![Slice::whole(memory)],
        };
        queue.submit(&backend, read, Token(0));
        queue.flush();
        Some(queue)
    }
}

/// Nobody listens.
struct Nobody;

impl Observer for Nobody {
    fn ready(&self) {}
    fn reloading(&self) {}
    fn reloaded(&self) {}
    fn stopping(&self) {}
}

/// A daemon with two shards and two disks.
struct World {
    daemon: Daemon,
    stores: Vec<Arc<FaultyBackend>>,
    state: PathBuf,
}

impl World {
    fn new(hangs: Option<(usize, usize)>) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Relaxed);
        let state = format!("pagecast-end-{}-{serial}", std::process::id());
        let state = std::env::temp_dir().join(state);
        std::fs::create_dir(&state).expect("made");
        let text = r#"{ "shards": 2, "staging_memory": "4MiB",
                        "devices": [ { "name": "disk0", "backend": "memory", "size": "1MiB" },
                                     { "name": "disk1", "backend": "memory", "size": "1MiB" } ] }"#;
        let config = Config::parse(text, "test").expect("good");
        let mut stores = Stores {
            hangs,
            ..Stores::default()
        };
        let daemon = Daemon::build_with(
            (Document::from_config(&config), config),
            &MachineId::from_bytes([1; 16]),
            &state,
            Arc::new(LateFabric::never()),
            Instant::now(),
            &mut stores,
        );
        let daemon = daemon.expect("built");
        if let Some((shard, store)) = hangs {
            // What the shard counts when it takes a command.
            let device = &daemon.shared.inventory().devices[store];
            Counters::add(&device.counters[shard].in_flight, 1);
        }
        Self {
            daemon,
            stores: stores.made,
            state,
        }
    }
}

/// What became of a daemon that was told to end.
struct Ended {
    result: Result<(), StartError>,
    whole: Result<(), Unended>,
    log: String,
    took: Duration,
}

/// Runs it, and tells it to end. On another thread: if it does not end, that is a failure, and not for ever.
fn run(daemon: Daemon, times: Times) -> Ended {
    let (ended, comes) = bounded(1);
    thread::spawn(move || {
        let mut ending = Ending::within(times);
        let (end, mut kill) = UnixStream::pair().expect("a pair");
        let (hangup, _never) = UnixStream::pair().expect("a pair");
        let signals = Signals {
            end,
            hangup,
            reload: bounded(1).0,
        };
        kill.write_all(b"x").expect("sent");
        let began = Instant::now();
        let (result, log) = logged(Level::INFO, || {
            daemon.run_until(&signals, &Nobody, &mut ending)
        });
        let whole = ending.result();
        let took = began.elapsed();
        let _ = ended.send(Ended {
            result,
            whole,
            log,
            took,
        });
    });
    comes.recv_timeout(LONG).expect("it does not end")
}

fn long() -> Times {
    Times {
        sessions: LONG,
        shards: LONG,
        stores: LONG,
        changes: LONG,
        engine: LONG,
        clients: LONG,
        all: LONG,
    }
}

/// Nobody has a store any more. What was left behind may take a moment to let go of it.
fn is_let_go(store: &Arc<FaultyBackend>) -> bool {
    let since = Instant::now();
    while Arc::strong_count(store) > 1 {
        if since.elapsed() > LONG {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

#[test]
fn everything_ends() {
    let world = World::new(None);
    let ended = run(world.daemon, long());
    ended.result.expect("well");
    ended.whole.expect("nothing is left");
    assert!(!ended.log.contains("WARN"), "{}", ended.log);
    assert!(!ended.log.contains("ERROR"), "{}", ended.log);
    assert!(ended.took < LONG / 2, "{:?}", ended.took);
    for store in &world.stores {
        assert_eq!(store.take_executed(), [Kind::Flush]);
        assert!(is_let_go(store));
    }
    let _ = std::fs::remove_dir_all(world.state);
}

/// Its shard cannot end. It is named, and everything else is brought to its end.
#[test]
fn a_store_that_hangs_with_a_command_in_flight() {
    let world = World::new(Some((1, 0)));
    let [hangs, well] = &world.stores[..] else {
        panic!("two disks");
    };
    let shards = Duration::from_millis(300);
    let ended = run(world.daemon, Times { shards, ..long() });
    ended.result.expect("everything is durable");
    ended.whole.expect_err("a shard is left behind");
    assert!(ended.took >= shards, "{:?}", ended.took);
    assert!(ended.took < LONG / 2, "{:?}", ended.took);
    let told: Vec<&str> = (ended.log.lines().map(str::trim_start))
        .filter(|line| !line.starts_with("INFO"))
        .collect();
    let expected = "WARN commands do not end: their stores, or the way to them, hang; stopping regardless \
                    shards=\"1\" devices=\"disk0 (1 in flight)\"";
    assert_eq!(told, [expected], "{}", ended.log);
    assert_eq!(hangs.take_executed(), [Kind::Read, Kind::Flush]);
    assert_eq!(well.take_executed(), [Kind::Flush]);
    assert!(is_let_go(well));
    // The command has its memory and its store for as long as it hangs.
    assert_eq!(hangs.held(), 1);
    assert!(Arc::strong_count(hangs) > 1);
    hangs.release();
    assert!(is_let_go(hangs));
    let _ = std::fs::remove_dir_all(world.state);
}

/// The disk of the state directory hangs. Data go first, and the end does not wait for it.
#[test]
fn a_change_of_reservations_that_hangs() {
    let world = World::new(None);
    let (go, wait) = bounded::<()>(0);
    let threads = end::Threads {
        shards: Vec::new(),
        changes: thread::spawn(move || wait.recv().unwrap_or_default()),
    };
    let mut ending = Ending::within(Times {
        changes: Duration::from_millis(300),
        ..long()
    });
    let shared = &world.daemon.shared;
    let (result, log) = logged(Level::INFO, || end::end(threads, shared, &mut ending));
    result.expect("everything is durable");
    ending.result().expect_err("a thread is left behind");
    let expected = "WARN a change of reservations is not durable: ";
    assert!(log.trim_start().starts_with(expected), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    for store in &world.stores {
        assert_eq!(store.take_executed(), [Kind::Flush]);
    }
    drop(go);
    let _ = std::fs::remove_dir_all(world.state);
}

#[test]
fn threads_that_panic_are_told_of() {
    let world = World::new(None);
    let threads = end::Threads {
        shards: vec![
            thread::spawn(|| Ok(())),
            thread::spawn(|| panic!("on purpose")),
        ],
        changes: thread::spawn(|| panic!("on purpose")),
    };
    let mut ending = Ending::within(long());
    let shared = &world.daemon.shared;
    let (result, log) = logged(Level::INFO, || end::end(threads, shared, &mut ending));
    let error = result.expect_err("a shard panicked").to_string();
    assert!(
        error.starts_with("an I/O thread stopped: it panicked"),
        "{error}"
    );
    ending.result().expect("nothing is left");
    let expected = "ERROR the thread for reservations panicked";
    assert!(log.trim_start().starts_with(expected), "{log}");
    let _ = std::fs::remove_dir_all(world.state);
}
