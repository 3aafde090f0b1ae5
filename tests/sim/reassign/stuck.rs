//! Commands that never end hold up the change that took their unit away, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pagecast_initiator::nvme::{Fuse, io};
use pagecast_tests::changes::{map, remove_device, unmap};
use pagecast_tests::nvme::keyed;
use pagecast_tests::reservations::{Cluster, Outcome};
use pagecastd::config::edit::Edit;

use super::{NVME, SRP, cluster};

fn at_once(cluster: &mut Cluster, edits: Vec<Edit>) {
    let begun = Instant::now();
    let report = cluster.world.must_change(edits);
    assert_eq!(report.warnings.len(), 0, "{report:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "it waited");
}

/// The change gives up waiting, with a warning; none that comes after waits. Half of a fused operation, whose other half may never come,
/// holds up nothing.
#[test]
fn a_stuck_command_holds_up_one_change() {
    let mut cluster = cluster(0);
    let device = {
        let device = cluster.world.device("disk1").expect("a device");
        cluster.world.io.hold_store(&device.backend);
        Arc::downgrade(&device)
    };
    let flights = cluster.launch_at(SRP, 1, 1);
    let queue = cluster.queue(NVME);
    let data = keyed(&cluster.world.nvme_filled(NVME, queue, &[0; 512]));
    let half = io::compare(1, 0, 1, data).fused(Fuse::First);
    let half = cluster.launch_nvme(NVME, 0, &half).expect("room");
    cluster
        .world
        .run_until(|world| (world.io.waiting() > 0).then_some(()));
    at_once(&mut cluster, vec![unmap("one", 2)]);

    // It waits for a while, of real time.
    let changing = cluster.world.begin_change(vec![unmap("one", 1)]);
    while !changing.is_over() {
        cluster.world.settle();
        std::thread::sleep(Duration::from_millis(20));
    }
    let report = cluster.world.end(changing).expect("a good change");
    assert_eq!(report.warnings.len(), 1, "{report:?}");
    at_once(&mut cluster, vec![map("one", 5, "disk3", false)]);
    at_once(&mut cluster, vec![unmap("one", 5)]);

    cluster.world.io.release();
    for flight in &flights {
        assert_eq!(cluster.land(flight), Outcome::Good);
    }
    assert_eq!(cluster.landed(&half), None);
    cluster.forget(&half);
    // Then nothing keeps the device.
    at_once(&mut cluster, vec![remove_device("disk1", false)]);
    assert!(device.upgrade().is_none(), "something keeps it");
    cluster.finish();
}
