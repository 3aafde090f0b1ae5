//! Who gets a controller over NVMe: connection requests, Connect, discovery.

use pagecast_initiator::nvme::admin::{self, LogPage};
use pagecast_initiator::nvme::discovery::{self, DiscoveryLog};
use pagecast_initiator::nvme::{
    self, Connect, Controller, Data, QueueHandle, QueueOptions, QueueState, io, request,
};
use pagecast_tests::nvme::{SUBSYSTEM, connect, discovering, host_nqn, io_queue, once, refusal};
use pagecast_tests::{Host, Setup, World, pattern};

// Status code type and status code.
const SEQUENCE_ERROR: (u8, u8) = (0, 0x0c);
const CONNECT_FORMAT: (u8, u8) = (1, 0x80);
const INVALID_PARAMETERS: (u8, u8) = (1, 0x82);
const INVALID_HOST: (u8, u8) = (1, 0x84);

fn sessions(world: &World) -> usize {
    world.daemon.shared.sessions().len()
}

/// What is wrong, what is said to it, and how it comes about.
type Case = (&'static str, ((u8, u8), u64), fn(&mut Connect));

// --- connection requests and Connect -----------------------------------------------------------------------------

#[test]
fn private_data_that_are_wrong() {
    let mut world = Setup::new(1).nvme().build();
    let bystander = world.nvme_controller(1);
    let bytes = |queue: u16, change: fn(&mut Vec<u8>)| {
        let mut data = request(queue, 8).to_vec();
        change(&mut data);
        data
    };
    for (what, wanted, data) in [
        // They come padded with zeros, as providers do it; the wire format's own tests have those that are too short.
        ("none", 4, Vec::new()),
        (
            "a format that is not known",
            2,
            bytes(0, |data| data[0] = 1),
        ),
        ("queue 1000", 3, bytes(1000, |_| ())),
        ("queue 65535", 3, bytes(u16::MAX, |_| ())),
        ("a send queue of one", 4, bytes(1, |data| data[6] = 0)),
        (
            "an admin send queue of 33",
            4,
            bytes(0, |data| data[6] = 32),
        ),
        ("a receive queue of none", 5, bytes(1, |data| data[4] = 0)),
    ] {
        let mut options = QueueOptions::new(0, 8);
        options.private_data = Some(data);
        let (_, state) = world.nvme_connect(0, options);
        let status = Some(wanted);
        let rejected = QueueState::Rejected { reason: 28, status };
        assert_eq!(state, rejected, "{what}");
    }
    let mut options = QueueOptions::new(0, 8);
    options.responder_resources = 0;
    let (_, state) = world.nvme_connect(0, options);
    let status = Some(7);
    assert_eq!(state, QueueState::Rejected { reason: 28, status });
    // More bytes than there need be are what some providers make of it.
    let mut options = QueueOptions::new(0, 8).connecting(connect(0));
    options.private_data = Some(bytes(0, |data| data.resize(56, 0)));
    world.nvme_queue(0, options);
    world.nvme_read(1, bystander.io[0], 0, 1);
    world.finish();
}

#[test]
fn connects_that_are_wrong() {
    let mut world = Setup::new(1).nvme().build();
    let bystander = world.nvme_controller(1);
    let in_data = |offset: u64| (INVALID_PARAMETERS, offset | 1 << 16);
    let in_command = |offset: u64| (INVALID_PARAMETERS, offset);
    let cases: [Case; 8] = [
        ("another subsystem", in_data(256), |c| c.subsystem.push('x')),
        ("no subsystem", in_data(256), |c| c.subsystem.clear()),
        ("a name without end", in_data(256), |c| {
            c.subsystem = "n".repeat(256);
        }),
        ("a name of 224", in_data(256), |c| {
            c.subsystem = "n".repeat(224);
        }),
        ("no host", in_data(512), |c| c.host.clear()),
        ("a host with a line feed", in_data(512), |c| {
            c.host.push('\n');
        }),
        ("a certain controller", in_data(16), |c| c.controller = 1),
        ("no host identifier", in_data(0), |c| c.host_id = [0; 16]),
    ];
    for (what, wanted, change) in cases {
        let mut wrong = connect(0);
        change(&mut wrong);
        let options = QueueOptions::new(0, 32).connecting(wrong);
        let (_, state) = world.nvme_connect(0, options);
        assert_eq!(refusal(state), wanted, "{what}");
    }
    // The command's own fields, and data that are not there.
    let queue = world.nvme_queue(0, QueueOptions::new(0, 32));
    let good = world.nvme[0].connect_command(queue, &connect(0));
    let good = good.expect("a queue");
    let dword = |number, value| good.clone().dword(number, value);
    for (what, wanted, command) in [
        ("a format", (CONNECT_FORMAT, 0), dword(10, 1)),
        ("another queue", in_command(42), dword(10, 1 << 16)),
        ("no entries", in_command(44), dword(11, 0)),
        ("33 entries", in_command(44), dword(11, 32)),
        ("65536 entries", in_command(44), dword(11, 0xffff)),
    ] {
        let reply = world.nvme_execute(0, queue, &command);
        let got = (reply.code(), reply.completion.result);
        assert_eq!(got, wanted, "{what}");
    }
    let short = world.nvme_buffer(0, queue, 1023);
    let short = good.clone().with(once(&short));
    assert_eq!(world.nvme_execute(0, queue, &short).code(), (0, 0x0f));
    // Whoever got it wrong may try again.
    assert!(world.nvme_execute(0, queue, &good).is_success());
    assert!(world.nvme[0].is_up(queue));
    let again = world.nvme_execute(0, queue, &good);
    assert_eq!(again.code(), SEQUENCE_ERROR);
    world.nvme_read(1, bystander.io[0], 0, 1);
    world.finish();
}

#[test]
fn io_queues_that_are_wrong() {
    let mut world = Setup::new(1).nvme().build();
    let one = world.nvme_controller(0);
    let other = world.nvme_controller(1);
    let in_data = |offset: u64| (INVALID_PARAMETERS, offset | 1 << 16);
    let cases: [Case; 6] = [
        ("controller 0", in_data(16), |c| c.controller = 0),
        ("any controller", in_data(16), |c| {
            c.controller = nvme::DYNAMIC;
        }),
        ("nobody's controller", in_data(16), |c| c.controller += 100),
        ("another host's name", in_data(512), |c| {
            c.host = host_nqn(1);
        }),
        ("another host's identifier", in_data(0), |c| {
            c.host_id[0] ^= 1;
        }),
        ("another subsystem", in_data(16), |c| c.subsystem.push('x')),
    ];
    for (what, wanted, change) in cases {
        let mut options = io_queue(0, &one, 3);
        change(options.connect.as_mut().expect("a connect"));
        let (_, state) = world.nvme_connect(0, options);
        assert_eq!(refusal(state), wanted, "{what}");
    }
    // The same number twice.
    let (_, state) = world.nvme_connect(0, io_queue(0, &one, 2));
    let (code, _) = refusal(state);
    assert!(
        matches!(code, SEQUENCE_ERROR | INVALID_PARAMETERS),
        "{code:x?}"
    );
    world.nvme_queue(0, io_queue(0, &one, 3));
    // A controller that is not enabled has none.
    world.nvme_succeed(1, other.admin, &other.reset());
    let (_, state) = world.nvme_connect(1, io_queue(1, &other, 1));
    let (code, _) = refusal(state);
    assert!(
        matches!(code, SEQUENCE_ERROR | INVALID_PARAMETERS),
        "{code:x?}"
    );
    for &queue in &one.io {
        world.nvme_read(0, queue, 0, 1);
    }
    world.finish();
}

const TWO_GROUPS: &str = r#"[
    { "name": "first", "initiators": ["nqn.2026-11.io.pagecast.test:host0"], "luns": { "0": "disk0", "6": "disk1" } },
    { "name": "second", "initiators": ["nqn.2026-11.io.pagecast.test:host1"], "luns": { "3": "disk1" } } ]"#;

fn two_groups(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.hosts = 3;
    setup.groups = TWO_GROUPS.to_owned();
    setup.devices.push(
        r#"{ "name": "disk1", "backend": "memory", "size": "2MiB", "block_size": 4096 }"#
            .to_owned(),
    );
    setup
}

#[test]
fn hosts_see_what_their_group_has() {
    let mut world = two_groups(1).nvme().build();
    let controllers = [world.nvme_controller(0), world.nvme_controller(1)];
    let seen = |controller: &Controller| -> Vec<(u32, u32, u64)> {
        let each = controller.namespaces.iter();
        each.map(|n| (n.id, n.block_size, n.blocks)).collect()
    };
    assert_eq!(seen(&controllers[0]), [(1, 512, 8192), (7, 4096, 512)]);
    assert_eq!(seen(&controllers[1]), [(4, 4096, 512)]);
    // The same disk under two numbers, with the same names.
    let names = |controller: &Controller, at: usize| controller.namespaces[at].descriptors.clone();
    assert!(names(&controllers[0], 1) == names(&controllers[1], 0));
    assert!(names(&controllers[0], 1) != names(&controllers[0], 0));
    let bytes = pattern(4096, 1);
    let queue = controllers[0].io[0];
    let data = once(&world.nvme_filled(0, queue, &bytes));
    world.nvme_succeed(0, queue, &io::write(7, 511, 1, data));
    let queue = controllers[1].io[0];
    let buffer = world.nvme_buffer(1, queue, 4096);
    let read = world.nvme_succeed(1, queue, &io::read(4, 511, 1, once(&buffer)));
    assert!(read.data() == bytes);
    for nsid in [0, 1, 3, 5, 7, u32::MAX] {
        let data = once(&world.nvme_buffer(1, queue, 4096));
        let reply = world.nvme_execute(1, queue, &io::read(nsid, 0, 1, data));
        assert_eq!(reply.code(), (0, 0x0b), "namespace {nsid}");
    }
    // Nobody's host.
    let (_, state) = world.nvme_connect(2, QueueOptions::new(0, 32).connecting(connect(2)));
    assert_eq!(refusal(state).0, INVALID_HOST);
    world.finish();
}

// --- discovery ---------------------------------------------------------------------------------------------------

fn log(world: &mut World, host: Host, queue: QueueHandle) -> DiscoveryLog {
    let page = LogPage {
        id: discovery::LOG_PAGE,
        length: 16 * 1024,
        ..LogPage::default()
    };
    let bytes = world.nvme_log_page(host, queue, page);
    DiscoveryLog::decode(&bytes).expect("a discovery log page")
}

#[test]
fn discovery_tells_of_every_portal() {
    let mut setup = two_groups(1);
    setup.nvme = 2;
    let mut world = setup.build();
    for (host, number) in [(0, 0), (1, 1), (0, 1)] {
        let controller = world.nvme_controller_at(host, number, discovering(host));
        let controller = controller.expect("a discovery controller");
        assert!(controller.io.is_empty() && controller.namespaces.is_empty());
        let log = log(&mut world, host, controller.admin);
        let subsystems: Vec<_> = log.entries.iter().filter(|entry| entry.kind == 2).collect();
        assert_eq!(subsystems.len(), 2, "{log:?}");
        for entry in &log.entries {
            assert_eq!((entry.transport, entry.family), (1, 1));
            assert_eq!(entry.address, "10.0.0.1");
            assert_eq!(entry.specific[..1], [1], "reliable connected");
            assert_eq!(entry.controller, 0xffff);
            assert!(entry.admin_entries >= 32);
        }
        for (entry, port) in subsystems.iter().zip(["4420", "4421"]) {
            assert_eq!((&*entry.subsystem, &*entry.service), (SUBSYSTEM, port));
        }
        assert!(subsystems[0].port != subsystems[1].port);
    }
    // Whom no group admits, there is nothing to see.
    let nobody = world.nvme_try_controller(2, discovering(2));
    if let Ok(controller) = nobody {
        let log = log(&mut world, 2, controller.admin);
        assert!(log.entries.iter().all(|entry| entry.kind != 2), "{log:?}");
    }
    assert_eq!(sessions(&world), 0);
    world.finish();
}

#[test]
fn discovery_controllers_do_nothing_else() {
    let mut world = Setup::new(1).nvme().build();
    let controller = world.nvme_controller_with(0, discovering(0));
    let queue = controller.admin;
    for command in [
        admin::identify(0x00, 1, once(&world.nvme_buffer(0, queue, 4096))),
        admin::identify(0x02, 0, once(&world.nvme_buffer(0, queue, 4096))),
        admin::set_features(0x07, 0, 0, Data::None),
        io::flush(1),
    ] {
        let reply = world.nvme_execute(0, queue, &command);
        assert!(!reply.is_success(), "{command:?}");
    }
    let mut options = io_queue(0, &controller, 1);
    options.connect.as_mut().expect("a connect").subsystem = discovery::NQN.to_owned();
    let (_, state) = world.nvme_connect(0, options);
    assert_eq!(refusal(state).0, INVALID_PARAMETERS);
    // In pieces, as nvme-cli reads it.
    let whole = log(&mut world, 0, queue);
    for (offset, length) in [(0, 16), (1024, 1024), (8, 8)] {
        let page = LogPage {
            id: discovery::LOG_PAGE,
            offset,
            length,
            ..LogPage::default()
        };
        let part = world.nvme_log_page(0, queue, page);
        if offset == 0 {
            assert_eq!(part[..8], whole.generation.to_le_bytes());
        }
        if offset == 8 {
            assert_eq!(part[0] as usize, whole.entries.len());
        }
    }
    world.finish();
}
