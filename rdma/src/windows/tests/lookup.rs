//! Hits, misses, ends, and what may go wrong with a window.

use super::*;

#[test]
fn a_miss_brings_the_window_and_then_it_hits() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    assert_eq!(*rig.cache.mode(), Mode::ReadOnlyMapping);
    assert!(rig.acquire(WINDOW + 512, 1024).is_none());
    rig.settle();
    let (lease, sges) = rig.acquire(WINDOW + 512, 1024).unwrap();
    assert_eq!((lease.windows(), sges.len()), (1, 1));
    assert_eq!(sges[0].address, rig.source.base() + WINDOW + 512);
    assert_eq!(sges[0].length, 1024);
    let statistics = rig.cache.statistics();
    assert_eq!((statistics.hits, statistics.misses), (1, 1));
    assert_eq!((statistics.windows, statistics.registrations), (1, 1));
    assert_eq!(statistics.pinned_bytes, WINDOW);
    assert_eq!(rig.windows.statistics(), statistics);
    let service = rig.windows.service().statistics();
    assert_eq!((service.pinned_bytes, service.total), (WINDOW, statistics));
    assert_eq!(rig.source.populated.load(SeqCst), WINDOW, "read in first");
}

#[test]
fn a_range_over_windows_has_an_entry_for_each_and_needs_them_all() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    rig.warm(1);
    rig.warm(3);
    rig.settle();
    // Window 2 is missing: nothing is handed out, no lease stays on 1 and 3, and 2 is on its way.
    assert!(rig.acquire(WINDOW + 100, 2 * WINDOW).is_none());
    rig.settle();
    let (lease, sges) = rig.acquire(WINDOW + 100, 2 * WINDOW).unwrap();
    assert_eq!(lease.windows(), 3);
    let found: Vec<_> = sges.iter().map(|s| (s.address, s.length)).collect();
    let base = rig.source.base();
    assert_eq!(
        found,
        [
            (base + WINDOW + 100, WINDOW as u32 - 100),
            (base + 2 * WINDOW, WINDOW as u32),
            (base + 3 * WINDOW, 100)
        ]
    );
    for sge in &sges {
        rig.adapter.ledger.begin(sge.key, sge.address, sge.length);
    }
    for sge in &sges {
        rig.adapter.ledger.end(sge.key);
    }
    drop(lease);
    drop(
        rig.windows
            .revoke_and_wait(0..8 * WINDOW, PATIENCE)
            .unwrap(),
    );
    assert_eq!(rig.adapter.ledger.live(), 0);
}

#[test]
fn the_last_window_ends_with_the_device() {
    let size = 2 * WINDOW + 1000;
    let rig = Rig::new(size, settings(8));
    rig.warm(2);
    assert!(rig.acquire(2 * WINDOW, 1000).is_some());
    assert!(rig.acquire(2 * WINDOW, 1001).is_none());
    assert!(rig.acquire(size, 1).is_none());
    assert!(rig.acquire(u64::MAX - 1, 1).is_none());
    assert!(rig.acquire(u64::MAX, 1).is_none());
    assert!(rig.acquire(0, 0).is_none());
    rig.settle();
    assert_eq!(rig.cache.statistics().windows, 1);
    // The page that holds the end is pinned whole.
    assert_eq!(rig.cache.statistics().pinned_bytes, PAGE);
}

#[test]
fn a_threshold_asks_for_more_than_one_miss() {
    let rig = Rig::new(
        8 * WINDOW,
        Settings {
            heat_threshold: 3,
            ..settings(8)
        },
    );
    for _ in 0..2 {
        assert!(rig.acquire(0, 1).is_none());
        rig.settle();
        assert_eq!(rig.adapter.ledger.registrations.load(SeqCst), 0);
    }
    assert!(rig.acquire(0, 1).is_none());
    rig.settle();
    assert!(rig.acquire(0, 1).is_some());
}

#[test]
fn reading_in_order_reads_ahead() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    rig.warm(0);
    rig.settle();
    assert_eq!(rig.cache.statistics().windows, 1);
    rig.warm(1);
    rig.settle();
    assert!(rig.acquire(2 * WINDOW, 1).is_some(), "without a miss");
    assert_eq!(rig.cache.statistics().windows, 3, "one ahead, no more");
}

#[test]
fn a_bad_sector_leaves_the_range_staged_for_a_while() {
    let rig = Rig::new(
        8 * WINDOW,
        Settings {
            backoff: Duration::from_secs(2),
            ..settings(8)
        },
    );
    *rig.source.bad.lock().unwrap() = WINDOW + PAGE..WINDOW + PAGE + 512;
    assert!(rig.acquire(WINDOW, 1).is_none());
    rig.settle();
    assert_eq!(rig.cache.statistics().registration_failures, 1);
    // The sector is replaced, but nobody looks before the backoff is over.
    *rig.source.bad.lock().unwrap() = 0..0;
    for _ in 0..10 {
        let _ = rig.acquire(WINDOW, 1);
    }
    rig.settle();
    assert_eq!(rig.adapter.ledger.registrations.load(SeqCst), 0);
    rig.warm(1);
    assert_eq!(rig.cache.statistics().registration_failures, 1);
    rig.warm(2);
}

#[test]
fn a_refused_registration_backs_off_longer_each_time() {
    let rig = Rig::new(8 * WINDOW, settings(8));
    rig.adapter.refuse.store(libc::EFAULT, SeqCst);
    let start = Instant::now();
    eventually(|| {
        let _ = rig.acquire(0, 1);
        rig.cache.statistics().registration_failures == 3
    });
    assert!(start.elapsed() >= Duration::from_millis(100 + 200));
    assert_eq!(rig.windows.service().statistics().pinned_bytes, 0);
    rig.adapter.refuse.store(0, SeqCst);
    rig.warm(0);
}

#[test]
fn the_probe_takes_what_works() {
    let service = WindowService::new(settings(8)).unwrap();
    let source = FakeSource::new(4 * WINDOW);
    let windows = service.device(source.clone(), "disk0");

    let old_kernel = FakeAdapter::new("old");
    old_kernel.refuse_read_only.store(libc::EFAULT, SeqCst);
    let cache = windows.attach(&as_adapter(&old_kernel));
    assert!(matches!(cache.mode(), Mode::WritableMapping { .. }));
    let mut sges = Vec::new();
    eventually(|| cache.acquire(0, 512, &mut sges).is_some());

    let refusing = FakeAdapter::new("refusing");
    refusing.refuse.store(libc::ENOMEM, SeqCst);
    let cache = windows.attach(&as_adapter(&refusing));
    assert!(cache.mode().to_string().contains("LimitMEMLOCK=infinity"));
    assert!(cache.acquire(0, 512, &mut sges).is_none());
    assert_eq!(cache.statistics().misses, 1);

    let empty = service.device(FakeSource::new(PAGE), "empty");
    empty.invalidate_beyond(0, Box::new(|| ()));
    let cache = empty.attach(&as_adapter(&old_kernel));
    assert!(cache.acquire(0, 512, &mut sges).is_none());

    assert!(Arc::ptr_eq(
        &windows.attach(&as_adapter(&old_kernel)),
        &windows.cache(&as_adapter(&old_kernel)).unwrap()
    ));
}

#[test]
fn settings_are_checked() {
    for bad in [
        Settings {
            window_bytes: WINDOW + 1,
            ..settings(1)
        },
        Settings {
            window_bytes: PAGE / 2,
            ..settings(1)
        },
        Settings {
            window_bytes: 2 << 30,
            ..settings(1)
        },
        Settings {
            registrars: 0,
            ..settings(1)
        },
        Settings {
            heat_threshold: 0,
            ..settings(1)
        },
    ] {
        assert!(matches!(
            WindowService::new(bad),
            Err(WindowError::Settings(_))
        ));
    }
}
