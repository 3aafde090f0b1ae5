//! Hosts that have no commands under way when their LUN map changes.

use std::time::Duration;

use pagecast_initiator::iscsi::Incoming;
use pagecast_initiator::iser::Event;
use pagecast_tests::changes::move_to;
use pagecast_tests::luns::LUNS_CHANGED;
use pagecast_tests::reservations::{Cluster, Outcome};
use pagecast_tests::{Host, seeds};

use super::{ISER, SRP, cluster};

/// How often the iSER host was told, while nothing happened, that its LUNs have changed.
fn news(cluster: &mut Cluster) -> usize {
    for _ in 0..4 {
        cluster.world.pass(Duration::from_secs(1));
    }
    let connection = cluster.connection(ISER);
    let events = cluster.world.iser[ISER].take_events(connection);
    let told = |event: &&Event| match event {
        // SCSI asynchronous event, with sense data: UNIT ATTENTION, REPORTED LUNS DATA HAS CHANGED (RFC 7143 section 11.9)
        Event::Incoming(Incoming::Async { event: 0, data, .. }) => {
            assert_eq!(data[..5], [0, 18, 0x70, 0, 6], "{data:x?}");
            assert_eq!(data[14..16], [0x3f, 0x0e], "{data:x?}");
            true
        }
        _ => false,
    };
    events.iter().filter(told).count()
}

fn go_to(cluster: &mut Cluster, host: Host, group: &str) {
    let name = cluster.name(host);
    cluster.world.must_change(vec![move_to(&name, group)]);
}

#[test]
fn iscsi_hosts_need_not_ask() {
    for seed in seeds(0..3) {
        let mut cluster = cluster(seed);
        assert_eq!(news(&mut cluster), 0, "seed {seed}");
        go_to(&mut cluster, SRP, "two");
        assert_eq!(news(&mut cluster), 0, "seed {seed}: somebody else moved");
        go_to(&mut cluster, ISER, "two");
        assert_eq!(news(&mut cluster), 1, "seed {seed}");
        assert_eq!(news(&mut cluster), 0, "seed {seed}: it was told");
        // However often it moves at once, it has to look once.
        for group in ["one", "two", "one"] {
            go_to(&mut cluster, ISER, group);
        }
        assert!((1..=3).contains(&news(&mut cluster)), "seed {seed}");
        // Whoever does not listen is told with its next command.
        assert_eq!(
            cluster.hears(ISER, 0),
            [LUNS_CHANGED, Outcome::Good],
            "seed {seed}"
        );
        cluster.finish();
    }
}
