//! A device that hangs beside one that works.

use super::super::slot::State;
use super::*;

/// Another device of the same service and adapter, as large.
fn beside(rig: &Rig) -> Rig {
    let source = FakeSource::new(8 * WINDOW);
    let service = Arc::clone(rig.windows.service());
    let windows = service.device(source.clone(), "disk1");
    let adapter = Arc::clone(&rig.adapter);
    let cache = windows.attach(&as_adapter(&adapter));
    Rig {
        cache,
        windows,
        source,
        adapter,
    }
}

fn rig(registrars: usize) -> Rig {
    Rig::new(
        8 * WINDOW,
        Settings {
            registrars,
            ..settings(32)
        },
    )
}

/// A store that hangs until this is dropped, by a test that fails as well: the fillers would never end.
struct Hung(Arc<FakeSource>);

impl Drop for Hung {
    fn drop(&mut self) {
        self.0.stall(false);
    }
}

/// Misses every window of a device whose store hangs.
fn hang(rig: &Rig) -> Hung {
    let hung = Hung(Arc::clone(&rig.source));
    rig.source.stall(true);
    // The first miss only makes room for the slots.
    rig.cache.slots().ensure(0).unwrap();
    for window in 0..8 {
        assert!(rig.acquire(window * WINDOW, 1).is_none());
    }
    eventually(|| rig.source.waiting.load(SeqCst));
    hung
}

fn windows(rig: &Rig) -> u64 {
    rig.cache.statistics().windows
}

#[test]
fn a_device_that_hangs_leaves_a_filler_to_the_others() {
    let hung = rig(3);
    let well = beside(&hung);
    let hangs = hang(&hung);
    for window in 0..8 {
        eventually(|| well.acquire(window * WINDOW, 1).is_some());
    }
    assert_eq!((windows(&well), windows(&hung)), (8, 0));
    // Whatever was missed meanwhile is registered in the end, without being missed again.
    assert_eq!(hung.windows.service().statistics().queued, 8);
    drop(hangs);
    eventually(|| windows(&hung) == 8);
    hung.settle();
}

#[test]
fn one_device_alone_has_all_fillers_but_one() {
    for (registrars, most) in [(1, 1), (2, 1), (3, 2), (5, 4)] {
        let rig = rig(registrars);
        let hangs = hang(&rig);
        let filling = || {
            let slots = rig.cache.slots().present(0, 7);
            slots
                .filter(|(_, slot)| slot.word().state() == State::Filling)
                .count()
        };
        eventually(|| filling() == most);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(filling(), most);
        drop(hangs);
        eventually(|| windows(&rig) == 8);
    }
}

#[test]
fn what_a_closed_device_waited_for_is_forgotten() {
    let hung = rig(3);
    let well = beside(&hung);
    let hangs = hang(&hung);
    eventually(|| well.acquire(0, 1).is_some());
    let (send, closed) = crossbeam_channel::bounded(1);
    let on_closed = Box::new(move || send.send(()).unwrap());
    hung.windows.detach(&as_adapter(&hung.adapter), on_closed);
    // Those in the fillers' hands.
    eventually(|| hung.windows.service().statistics().queued == 2);
    assert!(closed.try_recv().is_err());
    drop(hangs);
    closed.recv_timeout(PATIENCE).unwrap();
    hung.settle();
    let Rig { cache, windows, .. } = hung;
    drop(windows);
    eventually(|| Arc::strong_count(&cache) == 1);
}
