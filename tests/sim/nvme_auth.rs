//! Authentication of NVMe hosts, in band: who knows the key, who does not, and who says anything at all.

use std::time::Duration;

use pagecast_initiator::InitiatorError;
use pagecast_initiator::nvme::{
    Authentication, Command, ControllerOptions, Credentials, Data, QueueHandle, QueueOptions,
    admin, auth, io,
};
use pagecast_tests::nvme::{SUBSYSTEM, connect, controller, host_nqn, io_queue, once};
use pagecast_tests::{Host, Setup, World, pattern, seeds};

// Status code type and status code.
const INVALID_FIELD: (u8, u8) = (0, 0x02);
const SEQUENCE_ERROR: (u8, u8) = (0, 0x0c);
const SGL_LENGTH: (u8, u8) = (0, 0x0f);
const AUTHENTICATION_REQUIRED: (u8, u8) = (1, 0x91);

fn sessions(world: &World) -> usize {
    world.daemon.shared.sessions().len()
}

const KEY: &str = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:";
const OTHER_KEY: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";

fn with_keys(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.groups = format!(
        r#"[ {{ "name": "g", "initiators": ["*"], "luns": {{ "0": "disk0" }},
            "dhchap": {{ "key": "{KEY}", "controller_key": "{OTHER_KEY}" }} }} ]"#
    );
    setup.nvme()
}

fn authenticating(
    host: Host,
    key: &str,
    controller_key: Option<&str>,
    group: u8,
) -> ControllerOptions {
    ControllerOptions {
        credentials: Some(Credentials {
            key: key.to_owned(),
            controller_key: controller_key.map(str::to_owned),
            offer: auth::Offer {
                groups: vec![group],
                ..auth::Offer::default()
            },
            seed: 99,
        }),
        ..controller(host)
    }
}

#[test]
fn hosts_prove_who_they_are() {
    let mut world = with_keys(1).build();
    for (controller_key, group) in [(None, 0), (Some(OTHER_KEY), 0), (Some(OTHER_KEY), 1)] {
        let options = authenticating(0, KEY, controller_key, group);
        let controller = world.nvme_controller_with(0, options);
        world.nvme_write(0, controller.io[0], 9, &pattern(512, 1));
        world.nvme_read(0, controller.io[1], 9, 1);
        world.nvme_disconnect(0, &controller);
    }
    world.finish();
}

#[test]
fn hosts_that_cannot_are_not_let_in() {
    let mut world = with_keys(1).build();
    let bystander = world.nvme_controller_with(1, authenticating(1, KEY, None, 0));
    let wrong = world.nvme_try_controller(0, authenticating(0, OTHER_KEY, None, 0));
    let wrong = wrong.expect_err("the wrong key");
    let refused = auth::AuthError::Refused {
        reason: 1,
        explanation: 1,
    };
    assert!(
        matches!(&wrong, InitiatorError::Authentication(error) if *error == refused),
        "{wrong}"
    );
    // A controller with the wrong key is not believed either.
    let wrong = world.nvme_try_controller(0, authenticating(0, KEY, Some(KEY), 0));
    let wrong = wrong.expect_err("the wrong controller's key");
    assert!(
        matches!(
            &wrong,
            InitiatorError::Authentication(auth::AuthError::NotAuthentic)
        ),
        "{wrong}"
    );
    let without = world.nvme_try_controller(0, controller(0));
    let without = without.expect_err("no key");
    assert!(
        matches!(&without, InitiatorError::CommandFailed { status, .. }
            if status.code() == AUTHENTICATION_REQUIRED),
        "{without}"
    );
    // Whoever is in the middle of it has no time for ever.
    world.pass(Duration::from_secs(31));
    world.nvme_read(1, bystander.io[0], 0, 1);
    let queues = world.nvme_queues.clone();
    for (host, queue) in queues {
        assert!(host == 1 || !world.nvme[host].is_alive(queue));
    }
    assert_eq!(sessions(&world), 1);
    world.finish();
}

#[test]
fn every_queue_has_to_prove_it() {
    let mut world = with_keys(1).build();
    let controller = world.nvme_controller_with(0, authenticating(0, KEY, None, 0));
    let queue = world.nvme_queue(0, io_queue(0, &controller, 5));
    let connected = world.nvme[0].connected(queue).expect("it is up");
    assert!(connected.authentication_required);
    let buffer = world.nvme_buffer(0, queue, 512);
    let reply = world.nvme_execute(0, queue, &io::read(1, 0, 1, once(&buffer)));
    assert_eq!(reply.code(), AUTHENTICATION_REQUIRED);
    world.nvme_read(0, controller.io[0], 0, 1);
    world.finish();
}

/// A host may prove it again at any time, and loses its queue if it then cannot.
#[test]
fn again() {
    let mut world = with_keys(1).build();
    let options = authenticating(0, KEY, Some(OTHER_KEY), 0);
    let mine = world.nvme_controller_with(0, options.clone());
    for queue in [mine.admin, mine.io[0]] {
        let credentials = options.credentials.as_ref().expect("they are there");
        let names = (&*host_nqn(0), SUBSYSTEM);
        let started = Authentication::start(&mut world.nvme[0], queue, credentials, names);
        let mut authentication = started.expect("a queue");
        // I/O goes on meanwhile.
        world.nvme_read(0, mine.io[0], 0, 1);
        let passed = world.run_until(|world| {
            let step = authentication.step(&mut world.nvme[0]);
            step.map(|done| done.then_some(())).transpose()
        });
        passed.expect("the right key");
    }
    world.nvme_read(0, mine.io[0], 0, 1);
    let mut wrong = options.credentials.expect("they are there");
    wrong.key = OTHER_KEY.to_owned();
    let names = (&*host_nqn(0), SUBSYSTEM);
    let started = Authentication::start(&mut world.nvme[0], mine.io[0], &wrong, names);
    let mut authentication = started.expect("a queue");
    let failed = world.run_until(|world| {
        let step = authentication.step(&mut world.nvme[0]);
        step.map(|done| done.then_some(())).transpose()
    });
    assert!(
        matches!(failed, Err(InitiatorError::Authentication(_))),
        "{failed:?}"
    );
    world.pass(Duration::from_secs(31));
    world.nvme_over(0, mine.io[0]);
    world.nvme_read(0, mine.io[1], 0, 1);
    world.finish();
}

/// A queue that has to authenticate, of a controller of its own.
fn unproven(world: &mut World) -> QueueHandle {
    let mut options = QueueOptions::new(0, 32).connecting(connect(0));
    options.tolerant = true;
    world.nvme_queue(0, options)
}

fn say(world: &World, queue: QueueHandle, message: &[u8]) -> Command {
    let data = once(&world.nvme_filled(0, queue, message));
    admin::authentication(0x05, message.len() as u32, data)
}

fn exchange() -> auth::HostExchange {
    let offer = auth::Offer::default();
    auth::HostExchange::new(KEY, None, &host_nqn(0), SUBSYSTEM, offer, 7).expect("a key")
}

#[test]
fn messages_that_make_no_sense() {
    let mut world = with_keys(1).build();
    let bystander = world.nvme_controller_with(1, authenticating(1, KEY, None, 0));
    let queue = unproven(&mut world);
    let room = |world: &World| once(&world.nvme_buffer(0, queue, 4096));
    let negotiate = exchange().negotiate();
    let long = vec![0; 4097];
    for (what, wanted, command) in [
        (
            "nothing was said yet",
            SEQUENCE_ERROR,
            admin::authentication_receive(4096, room(&world)),
        ),
        (
            "no length",
            INVALID_FIELD,
            admin::authentication(5, 0, room(&world)),
        ),
        ("too much", INVALID_FIELD, say(&world, queue, &long)),
        (
            "less data than it says",
            SGL_LENGTH,
            admin::authentication(5, 4096, Data::None),
        ),
        (
            "another protocol",
            INVALID_FIELD,
            say(&world, queue, &negotiate).dword(10, 0xea01_0100),
        ),
        (
            "another part of it",
            INVALID_FIELD,
            say(&world, queue, &negotiate).dword(10, 0xe902_0100),
        ),
        (
            "a read",
            AUTHENTICATION_REQUIRED,
            admin::property_get(0, admin::Width::Eight),
        ),
    ] {
        let reply = world.nvme_execute(0, queue, &command);
        assert_eq!(reply.code(), wanted, "{what}");
    }
    // Everything that was refused has changed nothing.
    let credentials = authenticating(0, KEY, None, 0).credentials;
    let credentials = credentials.expect("they are there");
    let names = (&*host_nqn(0), SUBSYSTEM);
    let started = Authentication::start(&mut world.nvme[0], queue, &credentials, names);
    let mut authentication = started.expect("a queue");
    let passed = world.run_until(|world| {
        let step = authentication.step(&mut world.nvme[0]);
        step.map(|done| done.then_some(())).transpose()
    });
    passed.expect("the right key");
    world.nvme_succeed(0, queue, &admin::property_get(0, admin::Width::Eight));
    world.nvme_read(1, bystander.io[0], 0, 1);
    world.finish();
}

#[test]
fn noise_in_place_of_messages() {
    for seed in seeds(0..16) {
        let mut world = with_keys(seed).build();
        let bystander = world.nvme_controller_with(1, authenticating(1, KEY, None, 0));
        for _ in 0..8 {
            let queue = unproven(&mut world);
            let mut exchange = exchange();
            let mut messages = vec![exchange.negotiate()];
            for turn in 0..4 {
                let mut message = match messages.pop() {
                    Some(message) => message,
                    None => pattern(1 + world.random.index(200), world.random.next_u64()),
                };
                // Something is wrong with the last one at the latest; with a response it is always its value.
                if turn == 1 && message.len() > 48 {
                    let at = 16 + world.random.index(32);
                    message[at] ^= 1 << world.random.below(8);
                } else if turn > 1 || world.random.once_in(2) {
                    let at = world.random.index(message.len());
                    message[at] ^= 1 << world.random.below(8);
                }
                let mut waiting = Vec::new();
                for _ in 0..=u32::from(world.random.once_in(4)) {
                    let command = say(&world, queue, &message);
                    waiting.extend(world.nvme[0].send(queue, &command).ok());
                }
                let buffer = world.nvme_buffer_if_alive(0, queue, 4096);
                let Some(buffer) = buffer else { break };
                // Whoever has failed is not answered any more.
                world.settle();
                for cid in waiting {
                    world.nvme[0].take_reply(queue, cid);
                }
                let listen = admin::authentication_receive(4096, once(&buffer));
                let Ok(cid) = world.nvme[0].send(queue, &listen) else {
                    break;
                };
                world.settle();
                world.nvme[0].take_reply(queue, cid);
                let heard = buffer.read(0, 4096).expect("all of it");
                // A challenge with the NULL group.
                let length = 16 + usize::from(heard[6]);
                let entropy = &mut |bytes: &mut [u8]| bytes.fill(9);
                messages.extend(exchange.answer(&heard[..length.min(4096)], entropy).ok());
            }
            // Nobody gets in that way.
            let get = admin::property_get(0, admin::Width::Eight);
            if let Ok(cid) = world.nvme[0].send(queue, &get) {
                world.settle();
                if let Some(reply) = world.nvme[0].take_reply(queue, cid) {
                    assert_eq!(reply.code(), AUTHENTICATION_REQUIRED, "seed {seed}");
                }
            }
            world.nvme[0].disconnect(queue).expect("a queue");
            world.nvme_over(0, queue);
        }
        world.nvme_read(1, bystander.io[0], 0, 1);
        world.finish();
    }
}
