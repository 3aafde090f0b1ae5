//! Queues over NVMe of hosts that nobody knows yet: how many there may be, and whose do not count.

use pagecast_initiator::nvme::{
    ControllerOptions, Credentials, QueueHandle, QueueOptions, QueueState, auth,
};
use pagecast_tests::nvme::{connect, controller};
use pagecast_tests::{Host, Setup, World};

/// Those of one address.
const MOST: u16 = 32;

const NO_RESOURCES: QueueState = QueueState::Rejected {
    reason: 28,
    status: Some(6),
};

/// A queue whose host does not connect.
fn open(world: &mut World, host: Host, number: u16) -> QueueHandle {
    world.nvme_queue(host, QueueOptions::new(number, 8))
}

#[test]
fn io_queues_of_nobody_are_strangers() {
    let mut world = Setup::new(1).nvme().build();
    for number in 1..=MOST {
        open(&mut world, 0, number);
    }
    for number in [0, 1, MOST + 1] {
        let (_, state) = world.nvme_connect(0, QueueOptions::new(number, 8));
        assert_eq!(state, NO_RESOURCES);
    }
    // There is room for others.
    let bystander = world.nvme_controller(1);
    world.nvme_read(1, bystander.io[0], 0, 1);
    world.finish();
}

#[test]
fn a_host_opens_all_its_queues_at_once() {
    let mut world = Setup::new(1).nvme().build();
    let first = world.nvme_controller(0);
    for number in 3..=64 {
        open(&mut world, 0, number);
    }
    // None of them is a stranger, so its next controller is not kept out by them.
    let second = world.nvme_controller(0);
    world.nvme_read(0, second.io[0], 0, 1);
    world.nvme_read(0, first.io[1], 0, 1);
    let (_, state) = world.nvme_connect(0, QueueOptions::new(65, 8));
    let status = Some(3);
    assert_eq!(state, QueueState::Rejected { reason: 28, status });
    world.finish();
}

#[test]
fn whoever_has_yet_to_prove_it_takes_no_session_from_others() {
    const KEY: &str = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:";
    let mut setup = Setup::new(1).setting(r#""max_sessions": 1"#);
    setup.groups = format!(
        r#"[ {{ "name": "g", "initiators": ["*"], "luns": {{ "0": "disk0" }}, "dhchap": {{ "key": "{KEY}" }} }} ]"#
    );
    let mut world = setup.nvme().build();
    let admin = |host| QueueOptions::new(0, 8).connecting(connect(host));
    for _ in 0..MOST {
        world.nvme_queue(0, admin(0));
    }
    // They are strangers still.
    let (_, state) = world.nvme_connect(0, admin(0));
    assert_eq!(state, NO_RESOURCES);
    let options = ControllerOptions {
        credentials: Some(Credentials {
            key: KEY.to_owned(),
            controller_key: None,
            offer: auth::Offer {
                groups: vec![0],
                ..auth::Offer::default()
            },
            seed: 7,
        }),
        ..controller(1)
    };
    let proven = world.nvme_controller_with(1, options);
    world.nvme_read(1, proven.io[0], 0, 1);
    // It has the only session: its host gets no other.
    let (_, state) = world.nvme_connect(1, admin(1));
    let QueueState::Refused(entry) = state else {
        panic!("{state:?}");
    };
    assert_eq!(entry.status.code(), (1, 0x81), "busy");
    assert!(!entry.status.do_not_retry());
    world.finish();
}
