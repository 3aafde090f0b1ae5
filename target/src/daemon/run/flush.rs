//! The flush of all devices at the end: initiators' caches may be gone with their sessions, so what was acknowledged is made durable.
//!
//! A store may hang. Each is flushed on a thread of its own, and nobody waits for it in silence, or for ever.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, unbounded};
use pagecast_backends::{Backend, Operation};

use crate::device::Device;

/// How often to tell of the devices that are still being flushed.
const TELL: Duration = Duration::from_secs(5);

/// Makes devices durable, as far as that is done by `deadline`. Returns whether all are.
pub(super) fn flush(devices: &[Arc<Device>], deadline: Instant) -> bool {
    let stores = devices.iter().map(|device| Store {
        device: device.name.clone(),
        backend: Arc::clone(&device.backend),
    });
    flush_until(stores.collect(), TELL, deadline)
}

/// What is flushed, and whose it is.
struct Store {
    device: String,
    backend: Arc<dyn Backend>,
}

fn flush_until(stores: Vec<Store>, tell: Duration, deadline: Instant) -> bool {
    let began = Instant::now();
    let (answer, answered) = unbounded();
    let mut all = true;
    let mut waited_for = Vec::new();
    for Store { device, backend } in stores {
        waited_for.push(device.clone());
        let (name, answer) = (device.clone(), answer.clone());
        let flushes = move || {
            let flushed = backend.execute(&Operation::Flush);
            // Nobody may wait any more.
            let _ = answer.send((name, flushed));
        };
        let started = thread::Builder::new()
            .name("device-flush".to_owned())
            .spawn(flushes);
        if let Err(error) = started {
            tracing::error!(device, %error, "not flushed: cannot start a thread");
            waited_for.pop();
            all = false;
        }
    }
    drop(answer);
    let mut told = began;
    while !waited_for.is_empty() {
        match answered.recv_deadline(deadline.min(told + tell)) {
            Ok((device, flushed)) => {
                waited_for.retain(|other| *other != device);
                if let Err(error) = flushed {
                    tracing::error!(device, %error, "cannot flush");
                    all = false;
                }
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {
                told += tell;
                let devices = waited_for.join(", ");
                tracing::info!(
                    devices,
                    "still writing to their stores; stopping after that"
                );
            }
            Err(RecvTimeoutError::Timeout) => {
                let devices = waited_for.join(", ");
                tracing::warn!(
                    devices,
                    "what was written last is not durable: their stores, or the way to them, hang; stopping regardless"
                );
                return false;
            }
            Err(RecvTimeoutError::Disconnected) => {
                let devices = waited_for.join(", ");
                tracing::error!(
                    devices,
                    "flushing panicked; please report this with the log"
                );
                return false;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use pagecast_backends::testing::{Fault, FaultyBackend, Kind};
    use pagecast_backends::{BackendError, MemoryBackend};

    use super::*;
    use crate::logged::logged;

    /// Whether flushing ends well, and what the log says of it.
    fn flushed(backends: &[&Arc<FaultyBackend>], tell: u64, limit: u64) -> (bool, String) {
        let stores = (backends.iter().enumerate()).map(|(number, backend)| Store {
            device: format!("disk{number}"),
            backend: Arc::clone(*backend) as Arc<dyn Backend>,
        });
        logged(tracing::Level::INFO, || {
            let milliseconds = Duration::from_millis;
            let deadline = Instant::now() + milliseconds(limit);
            flush_until(stores.collect(), milliseconds(tell), deadline)
        })
    }

    fn store() -> Arc<FaultyBackend> {
        FaultyBackend::new(Arc::new(MemoryBackend::create(4096).expect("memory")))
    }

    /// All of them are at work before any is done.
    #[test]
    fn devices_are_flushed_side_by_side() {
        let stores = [store(), store(), store()];
        for store in &stores {
            store.hold(Kind::Flush);
        }
        let both = stores.clone();
        let releases = thread::spawn(move || {
            let since = Instant::now();
            let at_work = || both.iter().all(|store| store.held() == 1);
            while !at_work() && since.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(1));
            }
            let result = at_work();
            both.iter().for_each(|store| store.release());
            result
        });
        let [a, b, c] = &stores;
        let result = flushed(&[a, b, c], 300_000, 300_000);
        assert_eq!(result, (true, String::new()));
        assert!(releases.join().expect("no panic"), "one after the other");
        for store in stores {
            assert_eq!(store.take_executed(), [Kind::Flush]);
        }
    }

    /// It is told of, and given up in the end; the others are durable.
    #[test]
    fn a_store_that_hangs_when_all_are_flushed() {
        let (well, hangs) = (store(), store());
        hangs.hold(Kind::Flush);
        let began = Instant::now();
        let (all, log) = flushed(&[&well, &hangs], 200, 1100);
        let took = began.elapsed();
        assert!(!all, "{log}");
        assert!(took >= Duration::from_millis(1100), "{took:?}");
        assert_eq!(well.take_executed(), [Kind::Flush]);
        let lines: Vec<&str> = log.lines().map(str::trim_start).collect();
        let (last, told) = lines.split_last().expect("lines");
        assert!(!told.is_empty() && told.len() <= 5, "{log}");
        for line in told {
            let expected =
                "INFO still writing to their stores; stopping after that devices=\"disk1\"";
            assert_eq!(*line, expected, "{log}");
        }
        let expected = "WARN what was written last is not durable: ";
        assert!(last.starts_with(expected), "{log}");
        assert!(last.ends_with("devices=\"disk1\""), "{log}");
        // It has its store for as long as it is at it.
        assert_eq!((hangs.held(), Arc::strong_count(&hangs)), (1, 2));
        hangs.release();
        let since = Instant::now();
        while Arc::strong_count(&hangs) > 1 {
            assert!(since.elapsed() < Duration::from_secs(60), "it is kept");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_store_that_cannot_be_flushed() {
        let (fails, well) = (store(), store());
        fails.inject(Fault::every(Kind::Flush, BackendError::NoSpace));
        let (all, log) = flushed(&[&fails, &well], 300_000, 300_000);
        assert!(!all, "{log}");
        assert!(
            log.starts_with("ERROR cannot flush device=\"disk0\""),
            "{log}"
        );
        assert_eq!(log.lines().count(), 1, "{log}");
        assert_eq!(well.take_executed(), [Kind::Flush]);
    }

    #[test]
    fn nothing_to_flush() {
        assert_eq!(flushed(&[], 1, 1), (true, String::new()));
    }
}
