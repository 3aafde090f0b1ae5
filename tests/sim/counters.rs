//! What devices and sessions count.

use std::time::Duration;

use pagecast_tests::{Setup, World, pattern};
use pagecastd::control::Management;
use pagecastd::control::reports::{DeviceReport, SessionReport};

fn sessions(world: &World) -> Vec<SessionReport> {
    Management::sessions(&*world.daemon.shared)
}

fn device(world: &World) -> DeviceReport {
    Management::devices(&*world.daemon.shared).remove(0)
}

/// All three transports write and read; every command is counted once, by its session and by its device, on whichever shard.
#[test]
fn sessions_count_what_they_do() {
    let mut setup = Setup::new(1).iser().nvme();
    setup.hosts = 3;
    let mut world = setup.build();
    let srp = world.log_in(0);
    let iser = world.iser_session(1);
    let nvme = world.nvme_controller(2);
    let before: Vec<SessionReport> = sessions(&world);
    let bytes = pattern(4096, 7);
    for _ in 0..3 {
        world.write(0, srp, 0, &bytes);
        world.iser_write(1, iser, 64, &bytes, 0);
        world.nvme_write(2, nvme.io[0], 128, &bytes);
        world.nvme_write(2, nvme.io[1], 128, &bytes);
    }
    for _ in 0..5 {
        world.read(0, srp, 0, 16);
        world.iser_read(1, iser, 64, 16);
        world.nvme_read(2, nvme.io[0], 128, 16);
    }
    world.settle();
    let after = sessions(&world);
    for (one, before) in after.iter().zip(&before) {
        let name = &one.transport;
        let over_two_queues = if name == "nvme-rdma" { 2 } else { 1 };
        assert_eq!(before.counters.reads, 0, "{name}");
        assert_eq!(one.counters.reads, 5, "{name}");
        assert_eq!(one.counters.read_bytes, 5 * 8192, "{name}");
        assert_eq!(one.counters.writes, 3 * over_two_queues, "{name}");
        assert_eq!(
            one.counters.write_bytes,
            3 * over_two_queues * 4096,
            "{name}"
        );
        assert_eq!(one.latency.read.count, 5, "{name}");
        assert_eq!(one.latency_buckets.read.iter().sum::<u64>(), 5, "{name}");
        assert_eq!(one.latency.write.count, one.counters.writes, "{name}");
        assert_eq!(one.in_flight, 0, "{name}");
    }
    let device = device(&world);
    assert_eq!(device.latency.read.count, 15);
    assert_eq!(device.latency.write.count, 12);
    assert_eq!(device.counters.reads, 15);
    world.finish();
}

/// What a queue has counted stays in the sum when the queue is gone.
#[test]
fn what_is_gone_stays_counted() {
    let mut world = Setup::new(2).nvme().build();
    let controller = world.nvme_controller(0);
    world.nvme_read(0, controller.io[0], 0, 8);
    world.nvme_read(0, controller.io[1], 0, 8);
    world.settle();
    assert_eq!(sessions(&world)[0].counters.reads, 2);
    world.nvme[0]
        .disconnect(controller.io[1])
        .expect("a disconnect");
    world.nvme_over(0, controller.io[1]);
    world.settle();
    let session = &sessions(&world)[0];
    assert_eq!(session.counters.reads, 2);
    assert_eq!(session.counters.read_bytes, 2 * 8 * 512);
    world.nvme_read(0, controller.io[0], 0, 8);
    world.settle();
    assert_eq!(sessions(&world)[0].counters.reads, 3);
    world.finish();
}

/// Requests for events wait for hours, and are no slow commands.
#[test]
fn waiting_for_events_takes_no_time() {
    let mut world = Setup::new(3).nvme().build();
    let controller = world.nvme_controller(0);
    world.nvme_send(
        0,
        controller.admin,
        &pagecast_initiator::nvme::admin::asynchronous_event(),
    );
    world.settle();
    let before = sessions(&world)[0].counters.other;
    for _ in 0..6 {
        world.pass(Duration::from_secs(10));
        world.nvme_read(0, controller.io[0], 0, 1);
    }
    world.settle();
    let session = &sessions(&world)[0];
    assert!(session.latency.other.max_us < 1_000_000, "{session:?}");
    assert!(session.counters.other >= before);
    world.nvme_disconnect(0, &controller);
    world.settle();
    assert!(device(&world).latency.other.max_us < 1_000_000);
    world.finish();
}
