//! Revocation, shrinking, and the end of caches and services.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;

/// Starts a revocation and returns where its guard will be.
fn revoke(
    windows: &DeviceWindows,
    range: std::ops::Range<u64>,
) -> Arc<Mutex<Option<RevokedRange>>> {
    let place = Arc::new(Mutex::new(None));
    let put = Arc::clone(&place);
    windows.revoke(
        range,
        Box::new(move |revoked| *put.lock().unwrap() = Some(revoked)),
    );
    place
}

fn is_done(place: &Mutex<Option<RevokedRange>>) -> bool {
    place.lock().unwrap().is_some()
}

#[test]
fn a_revocation_waits_for_leases_and_holds_until_its_guard_goes() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    for window in [1, 3, 5] {
        rig.warm(window);
    }
    let (lease, sges) = rig.acquire(3 * WINDOW, 512).unwrap();
    rig.adapter.ledger.begin(sges[0].key, sges[0].address, 512);
    // The byte before window 3 takes window 2 along, which is not there; window 5 is beyond.
    let revoked = revoke(&rig.windows, 3 * WINDOW - 1..3 * WINDOW + 1);
    assert!(
        rig.acquire(3 * WINDOW, 512).is_none(),
        "from that moment on"
    );
    rig.settle();
    thread::sleep(Duration::from_millis(20));
    assert!(!is_done(&revoked));
    assert_eq!(rig.adapter.ledger.live(), 3);
    rig.adapter.ledger.end(sges[0].key);
    drop(lease);
    eventually(|| is_done(&revoked));
    assert_eq!(rig.adapter.ledger.live(), 2);
    assert_eq!(rig.cache.statistics().revocations, 1);
    assert!(rig.acquire(WINDOW, 1).is_some() && rig.acquire(5 * WINDOW, 1).is_some());

    let before = rig.adapter.ledger.registrations.load(SeqCst);
    for window in [2, 3] {
        assert!(rig.acquire(window * WINDOW, 1).is_none());
        rig.settle();
    }
    assert_eq!(rig.adapter.ledger.registrations.load(SeqCst), before);
    let guard = revoked.lock().unwrap().take().unwrap();
    assert_eq!(guard.range(), 3 * WINDOW - 1..3 * WINDOW + 1);
    drop(guard);
    rig.warm(3);
    assert_eq!(rig.adapter.ledger.violations.load(SeqCst), 0);
}

#[test]
fn overlapping_revocations_hold_until_the_last() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    rig.warm(2);
    let first = rig
        .windows
        .revoke_and_wait(0..3 * WINDOW, PATIENCE)
        .unwrap();
    let second = rig
        .windows
        .revoke_and_wait(2 * WINDOW..4 * WINDOW, PATIENCE)
        .unwrap();
    drop(first);
    rig.warm(1);
    assert!(rig.acquire(2 * WINDOW, 1).is_none());
    rig.settle();
    assert!(rig.acquire(2 * WINDOW, 1).is_none());
    drop(second);
    rig.warm(2);
    // Nothing in the range at all, and an empty range, are done as well.
    drop(
        rig.windows
            .revoke_and_wait(6 * WINDOW..7 * WINDOW, PATIENCE),
    );
    drop(
        rig.windows
            .revoke_and_wait(WINDOW..WINDOW, PATIENCE)
            .unwrap(),
    );
    assert!(rig.acquire(WINDOW, 1).is_some());
}

#[test]
fn a_window_that_is_being_read_in_is_not_registered_after_a_revocation() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    rig.source.stall(true);
    assert!(rig.acquire(0, 1).is_none());
    eventually(|| rig.source.waiting.load(SeqCst));
    let revoked = revoke(&rig.windows, 0..1);
    thread::sleep(Duration::from_millis(20));
    assert!(!is_done(&revoked), "a registrar is at it");

    // A disk that does not answer holds up revocations of its own only.
    let other = rig
        .windows
        .service()
        .device(FakeSource::new(8 * WINDOW), "disk1");
    other.attach(&as_adapter(&rig.adapter));
    drop(other.revoke_and_wait(0..WINDOW, PATIENCE).unwrap());

    rig.source.stall(false);
    eventually(|| is_done(&revoked));
    rig.settle();
    assert_eq!(rig.cache.statistics().registrations, 0);
    assert_eq!(rig.windows.service().statistics().pinned_bytes, 0);
    drop(revoked.lock().unwrap().take());
    rig.warm(0);
}

#[test]
fn a_revocation_covers_all_adapters() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    let second = FakeAdapter::new("fake1");
    let other = rig.windows.attach(&as_adapter(&second));
    rig.warm(0);
    let mut sges = Vec::new();
    let mut held = None;
    eventually(|| {
        held = other.acquire(0, 1, &mut sges);
        held.is_some()
    });
    let revoked = revoke(&rig.windows, 0..WINDOW);
    assert!(rig.acquire(0, 1).is_none());
    eventually(|| rig.adapter.ledger.live() == 0);
    assert!(!is_done(&revoked), "the other adapter has a lease");
    drop(held);
    eventually(|| is_done(&revoked));
    assert_eq!(second.ledger.live(), 0);
    // A cache that comes later is bound by it too.
    let third = FakeAdapter::new("fake2");
    let late = rig.windows.attach(&as_adapter(&third));
    assert!(late.acquire(0, 1, &mut sges).is_none());
    rig.settle();
    assert_eq!(third.ledger.live(), 0);
}

#[test]
fn a_revocation_that_takes_too_long_ends_by_itself() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    rig.warm(0);
    let lease = rig.acquire(0, 1);
    let late = rig.windows.revoke_and_wait(0..1, Duration::from_millis(20));
    assert!(matches!(late, Err(WindowError::RevokeTimeout)));
    assert!(rig.acquire(0, 1).is_none());
    drop(lease);
    rig.warm(0);
    assert_eq!(rig.cache.statistics().registrations, 2);
}

#[test]
fn shrinking_takes_windows_away_for_good_and_growing_gives_more() {
    let rig = Rig::new(8 * WINDOW, settings(16));
    for window in 0..8 {
        rig.warm(window);
    }
    let size = 3 * WINDOW + 2 * PAGE;
    let done = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&done);
    rig.windows
        .invalidate_beyond(size, Box::new(move || set.store(true, SeqCst)));
    eventually(|| done.load(SeqCst));
    assert_eq!(rig.adapter.ledger.live(), 3);
    rig.warm(3);
    assert!(rig.acquire(3 * WINDOW, 2 * PAGE).is_some());
    assert!(rig.acquire(3 * WINDOW, 2 * PAGE + 1).is_none());
    assert!(rig.acquire(4 * WINDOW, 1).is_none());
    rig.settle();
    assert_eq!(rig.adapter.ledger.live(), 4);

    let before = rig.source.base();
    rig.source.grow(12 * WINDOW);
    rig.windows.grown_to(12 * WINDOW);
    eventually(|| rig.acquire(3 * WINDOW, WINDOW).is_some());
    rig.warm(11);
    let (_lease, sges) = rig.acquire(11 * WINDOW, 1).unwrap();
    assert_eq!(sges[0].address, rig.source.base() + 11 * WINDOW);
    let (_lease, sges) = rig.acquire(0, 1).unwrap();
    assert_eq!(sges[0].address, before, "the old mapping serves on");
}

#[test]
fn a_detached_cache_lets_go_and_stays_closed() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    rig.warm(0);
    rig.warm(4);
    let lease = rig.acquire(0, 1);
    let closed = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&closed);
    rig.windows.detach(
        &as_adapter(&rig.adapter),
        Box::new(move || set.store(true, SeqCst)),
    );
    assert!(rig.windows.cache(&as_adapter(&rig.adapter)).is_none());
    eventually(|| rig.adapter.ledger.live() == 1);
    assert!(!closed.load(SeqCst));
    drop(lease);
    eventually(|| closed.load(SeqCst));
    assert_eq!(rig.adapter.ledger.live(), 0);
    assert!(rig.acquire(0, 1).is_none());
    rig.settle();
    assert_eq!(rig.adapter.ledger.live(), 0);
    let statistics = rig.windows.statistics();
    assert_eq!(statistics.registrations, 2, "history stays");
    assert_eq!((statistics.windows, statistics.pinned_bytes), (0, 0));
}

#[test]
fn when_everything_goes_a_lease_keeps_its_window_alive() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    rig.warm(0);
    rig.warm(4);
    let (lease, sges) = rig.acquire(0, 512).unwrap();
    let ledger = Arc::clone(&rig.adapter.ledger);
    ledger.begin(sges[0].key, sges[0].address, 512);
    let source = Arc::downgrade(&rig.source);
    drop(rig);
    assert_eq!(ledger.live(), 1, "only what is leased");
    ledger.end(sges[0].key);
    drop(lease);
    assert_eq!(ledger.live(), 0);
    assert_eq!(ledger.violations.load(SeqCst), 0);
    assert!(source.upgrade().is_none(), "no cycle keeps the source");
}

#[test]
fn the_last_device_may_be_dropped_by_a_callback() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    rig.warm(0);
    let Rig {
        cache,
        windows,
        source: _source,
        adapter,
    } = rig;
    let windows = Arc::new(Mutex::new(Some(windows)));
    let taken = Arc::clone(&windows);
    let locked = windows.lock().unwrap();
    locked.as_ref().unwrap().revoke(
        0..1,
        Box::new(move |revoked| {
            drop(taken.lock().unwrap().take());
            drop(revoked);
        }),
    );
    drop(locked);
    eventually(|| windows.lock().unwrap().is_none());
    eventually(|| adapter.ledger.live() == 0);
    assert!(cache.acquire(0, 1, &mut Vec::new()).is_none());
}

#[test]
fn a_callback_that_panics_is_the_only_one() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    rig.windows
        .revoke(0..1, Box::new(|_| panic!("on purpose, in a test")));
    drop(rig.windows.revoke_and_wait(0..1, PATIENCE).unwrap());
    rig.warm(0);
}
