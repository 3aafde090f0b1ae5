//! The budget and who has to go when it is used up.

use super::*;

#[test]
fn a_hotter_window_takes_the_place_of_the_coldest() {
    let rig = Rig::new(16 * WINDOW, settings(2));
    rig.warm(0);
    rig.warm(8);
    for _ in 0..5 {
        assert!(rig.acquire(8 * WINDOW, 1).is_some());
    }
    rig.warm(4);
    assert!(rig.acquire(8 * WINDOW, 1).is_some(), "the hot one stays");
    assert!(rig.acquire(0, 1).is_none());
    let statistics = rig.cache.statistics();
    assert_eq!((statistics.evictions, statistics.windows), (1, 2));
    assert!(rig.adapter.ledger.most_pinned.load(SeqCst) <= 2 * WINDOW);
    assert_eq!(rig.windows.service().statistics().pinned_bytes, 2 * WINDOW);
}

#[test]
fn a_scan_over_more_than_fits_does_not_turn_everything_over() {
    let rig = Rig::new(16 * WINDOW, settings(4));
    for _ in 0..3 {
        for window in 0..16 {
            let _ = rig.acquire(window * WINDOW, 1);
            rig.settle();
        }
    }
    let statistics = rig.cache.statistics();
    assert_eq!(statistics.windows, 4);
    assert!(statistics.denials > 0);
    // Without the heat's say, each of the 12 others would have been registered in each round.
    assert!(statistics.evictions < 12, "{statistics:?}");
    assert!(rig.adapter.ledger.most_pinned.load(SeqCst) <= 4 * WINDOW);
}

#[test]
fn a_leased_window_is_not_evicted() {
    let rig = Rig::new(16 * WINDOW, settings(1));
    rig.warm(0);
    let (lease, sges) = rig.acquire(0, 512).unwrap();
    rig.adapter
        .ledger
        .begin(sges[0].key, sges[0].address, sges[0].length);
    for _ in 0..20 {
        assert!(rig.acquire(WINDOW, 1).is_none());
        rig.settle();
    }
    assert!(rig.cache.statistics().denials > 0);
    rig.adapter.ledger.end(sges[0].key);
    drop(lease);
    rig.warm(1);
    assert_eq!(rig.adapter.ledger.violations.load(SeqCst), 0);
    assert_eq!(rig.adapter.ledger.most_pinned.load(SeqCst), WINDOW);
}

#[test]
fn devices_share_the_budget() {
    let rig = Rig::new(16 * WINDOW, settings(1));
    rig.warm(0);
    let second = rig
        .windows
        .service()
        .device(FakeSource::new(4 * WINDOW), "disk1");
    let other = second.attach(&as_adapter(&rig.adapter));
    let mut sges = Vec::new();
    eventually(|| other.acquire(0, 1, &mut sges).is_some());
    assert_eq!(rig.cache.statistics().windows, 0);
    assert_eq!(rig.cache.statistics().evictions, 1);
    assert_eq!(second.statistics().windows, 1);
}

#[test]
fn a_budget_below_a_window_means_no_windows() {
    let rig = Rig::new(
        16 * WINDOW,
        Settings {
            budget_bytes: WINDOW - 1,
            ..settings(1)
        },
    );
    for _ in 0..3 {
        assert!(rig.acquire(0, 1).is_none());
        rig.settle();
    }
    assert_eq!(rig.cache.statistics().registrations, 0);
    assert!(rig.cache.statistics().denials > 0);
}

#[test]
fn when_the_kernel_pins_no_more_what_is_pinned_goes_on() {
    let rig = Rig::new(16 * WINDOW, settings(8));
    rig.warm(0);
    rig.warm(2);
    rig.adapter.refuse.store(libc::ENOMEM, SeqCst);
    assert!(rig.acquire(4 * WINDOW, 1).is_none());
    rig.settle();
    let statistics = rig.windows.service().statistics();
    assert_eq!(statistics.limit_bytes, 2 * WINDOW);
    assert_eq!(statistics.pinned_bytes, 2 * WINDOW);
    assert_eq!(statistics.total.registration_failures, 1);
    assert!(rig.acquire(0, 1).is_some() && rig.acquire(2 * WINDOW, 1).is_some());
    // Within the new limit, a hotter window still finds its place.
    rig.adapter.refuse.store(0, SeqCst);
    rig.warm(6);
    assert_eq!(rig.windows.service().statistics().pinned_bytes, 2 * WINDOW);
}
