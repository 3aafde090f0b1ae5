//! iSER: data on the way that it should take, sessions, task management, pings.

use std::time::Duration;

use pagecast_backends::testing::Kind;
use pagecast_initiator::iscsi::pdu::NO_TAG;
use pagecast_initiator::iscsi::{Incoming, LoginOptions, text};
use pagecast_initiator::iser::wire::{LIBISCSI, LINUX};
use pagecast_initiator::iser::{Command, ConnectionHandle, Data, Event, Options, State};
use pagecast_initiator::scsi;
use pagecast_rdma::sim::{OperationKind, TraceEvent};
use pagecast_tests::iser::{TARGET, discovery, initiator_name, login, read, write};
use pagecast_tests::{Host, Setup, World, pattern, seeds};
use pagecastd::shard::messages::ControlMessage;

const LENGTHS: [usize; 8] = [512, 1024, 4096, 8192, 12_288, 65_536, 262_144, 1 << 20];

const ABORT_TASK: u8 = 1;
const CLEAR_ACA: u8 = 3;
const LUN_RESET: u8 = 5;
const TARGET_WARM_RESET: u8 = 6;
const TASK_REASSIGN: u8 = 8;

/// Messages that met no receive, as far back as the trace goes.
fn ran_dry(world: &World) -> usize {
    let trace = world.net.trace();
    let dry = |event: &TraceEvent| matches!(event, TraceEvent::NotReady { .. });
    trace.iter().filter(|entry| dry(&entry.event)).count()
}

fn executed(world: &World, wanted: OperationKind) -> usize {
    let trace = world.net.trace();
    let is =
        |event: &TraceEvent| matches!(event, TraceEvent::Executed { kind, .. } if *kind == wanted);
    trace.iter().filter(|entry| is(&entry.event)).count()
}

fn sessions(world: &World) -> usize {
    world.daemon.shared.sessions().len()
}

// --- data --------------------------------------------------------------------------------------------------------

#[test]
fn data_of_every_length_with_and_without_immediate_data() {
    for seed in seeds(0..3) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.iser().build();
            let connection = world.iser_session(0);
            for (turn, &length) in LENGTHS.iter().enumerate() {
                let lba = world.random.below(8192 - length as u64 / 512);
                for immediate in [0, 512, 4096, 8192] {
                    let immediate = immediate.min(length);
                    let bytes = pattern(length, seed ^ (turn as u64) << 8 ^ immediate as u64);
                    world.iser_write(0, connection, lba, &bytes, immediate);
                    for _ in 0..2 {
                        let found = world.iser_read(0, connection, lba, (length / 512) as u32);
                        assert!(
                            found == bytes,
                            "seed {seed}: {length} bytes, {immediate} immediate"
                        );
                    }
                }
            }
            assert_eq!(ran_dry(&world), 0, "seed {seed}");
            world.finish();
        }
    }
}

#[test]
fn a_second_read_comes_from_the_page_cache() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).iser().build();
        let connection = world.iser_session(0);
        let bytes = pattern(1 << 20, seed);
        world.iser_write(0, connection, 0, &bytes, 0);
        world.iser_read(0, connection, 0, 2048);
        let before = world.written_from();
        assert!(world.iser_read(0, connection, 0, 2048) == bytes);
        // The net's own books of what was sent from where.
        let after = world.written_from();
        assert_eq!(after.0 - before.0, 1 << 20, "seed {seed}: from windows");
        assert_eq!(after.1 - before.1, 0, "seed {seed}: from staging memory");
        world.finish();
    }
}

#[test]
fn data_that_came_with_the_command_is_not_asked_for() {
    let mut world = Setup::new(2).iser().build();
    let connection = world.iser_session(0);
    let bytes = pattern(8192, 4);
    world.iser_write(0, connection, 100, &bytes, 8192);
    assert_eq!(executed(&world, OperationKind::RdmaRead), 0);
    world.iser_write(0, connection, 100, &bytes, 4096);
    assert_eq!(executed(&world, OperationKind::RdmaRead), 1);
    assert!(world.iser_read(0, connection, 100, 16) == bytes);
    world.finish();
}

#[test]
fn more_or_less_room_than_the_command_wants() {
    for setup in [Setup::new(3), Setup::new(3).staged()] {
        let mut world = setup.iser().build();
        let connection = world.iser_session(0);
        let bytes = pattern(8192, 9);
        world.iser_write(0, connection, 0, &bytes, 0);
        for _ in 0..2 {
            let small = world.iser_buffer(0, connection, 4096);
            let reply = world.iser_execute(0, connection, &read(&small, 0, 16));
            let residual = reply.response().expect("a response").residual;
            assert_eq!((reply.status(), residual), (0, -4096));
            assert!(small.read(0, 4096).expect("a buffer") == bytes[..4096]);
            let large = world.iser_buffer(0, connection, 16_384);
            large.fill(0xee).expect("a buffer");
            let reply = world.iser_execute(0, connection, &read(&large, 0, 16));
            let residual = reply.response().expect("a response").residual;
            assert_eq!((reply.status(), residual), (0, 8192));
            assert!(reply.data() == bytes);
            let rest = large.read(8192, 8192).expect("a buffer");
            assert!(rest.iter().all(|&byte| byte == 0xee));
        }
        // A write with more data than its CDB wants, all of it immediate.
        let buffer = world.iser_filled(0, connection, &bytes);
        let mut command = write(&buffer, 50, 8192);
        command.cdb = scsi::write16(50, 8, false);
        let reply = world.iser_execute(0, connection, &command);
        let residual = reply.response().expect("a response").residual;
        assert_eq!((reply.status(), residual), (0, 4096));
        assert!(world.iser_read(0, connection, 50, 8) == bytes[..4096]);
        world.finish();
    }
}

/// One disk, whoever speaks what: both see what either wrote, from windows or staged.
#[test]
fn srp_and_iser_share_a_disk() {
    for seed in seeds(0..6) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.iser().build();
            let channel = world.log_in(0);
            let connection = world.iser_session(1);
            for round in 0..12 {
                let blocks = 1 + world.random.below(200);
                let lba = world.random.below(2048 - blocks);
                let bytes = pattern(blocks as usize * 512, seed << 8 | round);
                if world.random.once_in(2) {
                    world.write(0, channel, lba, &bytes);
                } else {
                    world.iser_write(1, connection, lba, &bytes, bytes.len().min(4096));
                }
                assert!(world.read(0, channel, lba, blocks as u32) == bytes);
                assert!(world.iser_read(1, connection, lba, blocks as u32) == bytes);
            }
            world.finish();
        }
    }
}

/// READs and WRITEs of pieces of the disk that are each command's own, as many as the window has room for, all checked.
#[test]
fn many_at_once() {
    for seed in seeds(0..3) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.iser().setting("\"queue_depth\": 16").build();
            let connections = [world.iser_session(0), world.iser_session(1)];
            let mut model = vec![vec![0; 16_384]; 32];
            for _ in 0..5 {
                let mut flights = Vec::new();
                for (host, &connection) in connections.iter().enumerate() {
                    for place in (0..16).map(|at| at * 2 + host) {
                        if !world.iser[host].can_send(connection) || world.random.once_in(3) {
                            continue;
                        }
                        let lba = place as u64 * 32;
                        let buffer = world.iser_buffer(host, connection, 16_384);
                        let command = if world.random.once_in(2) {
                            read(&buffer, lba, 32)
                        } else {
                            model[place] = pattern(16_384, world.random.next_u64());
                            buffer.write(0, &model[place]).expect("a buffer");
                            let immediate = [0, 512, 8192][world.random.below(3) as usize];
                            write(&buffer, lba, immediate)
                        };
                        let itt = world.iser_send(host, connection, &command);
                        flights.push((host, connection, itt, place));
                    }
                }
                for (host, connection, itt, place) in flights {
                    let reply = world.iser_reply(host, connection, itt);
                    assert!(reply.is_good(), "seed {seed}: {reply:?}");
                    if reply.piece.is_some() {
                        assert!(reply.data() == model[place], "seed {seed}, {place}");
                    }
                }
            }
            world.finish();
        }
    }
}

#[test]
fn commands_without_data_and_with_sense() {
    let mut world = Setup::new(1).iser().build();
    let connection = world.iser_session(0);
    let plain = |cdb| Command::new(0, cdb, Data::None);
    assert!(
        world
            .iser_execute(0, connection, &plain(scsi::test_unit_ready()))
            .is_good()
    );
    assert!(
        world
            .iser_execute(0, connection, &plain(scsi::synchronize_cache()))
            .is_good()
    );
    let nonsense = world.iser_execute(0, connection, &plain(vec![0xff; 16]));
    assert_eq!(
        (nonsense.status(), nonsense.sense()),
        (2, Some((5, 0x20, 0)))
    );
    let buffer = world.iser_buffer(0, connection, 512);
    let beyond = world.iser_execute(0, connection, &read(&buffer, 8192, 1));
    assert_eq!((beyond.status(), beyond.sense()), (2, Some((5, 0x21, 0))));
    assert_eq!(beyond.response().expect("a response").residual, 512);
    let reply = world.iser_execute(
        0,
        connection,
        &Command::new(
            0,
            scsi::inquiry(None, 255),
            Data::In(
                world
                    .iser_buffer(0, connection, 255)
                    .piece(0, 255)
                    .expect("it"),
            ),
        ),
    );
    assert_eq!(reply.data()[8..16], *b"PAGECAST");
    world.finish();
}

#[test]
fn keys_are_invalidated_for_those_who_want_it() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).iser().build();
        let mut options = Options::new(login(0));
        options.private_data = LINUX.to_vec();
        let connection = world.iser_log_in(0, options);
        assert_eq!(world.iser[0].answer(connection)[..4], [0x80, 0, 0, 0]);
        let buffer = world.iser_buffer(0, connection, 4096);
        let reply = world.iser_execute(0, connection, &read(&buffer, 0, 8));
        assert!(reply.is_good());
        world.iser_write(0, connection, 0, &pattern(4096, 1), 0);
        world.iser_write(0, connection, 0, &pattern(4096, 2), 4096);
        let inquiry = Command::new(0, scsi::test_unit_ready(), Data::None);
        assert!(world.iser_execute(0, connection, &inquiry).is_good());
        // One read, one write; there was no key in the others.
        assert_eq!(executed(&world, OperationKind::SendWithInvalidate), 2);
        // The key is gone: using it again breaks the connection.
        let itt = world.iser_send(0, connection, &read(&buffer, 0, 8));
        assert!(world.iser_try_reply(0, connection, itt).is_err());
        world.iser_over(0, connection);
        world.finish();
    }
}

#[test]
fn keys_of_others_are_left_alone() {
    for private_data in [LIBISCSI.to_vec(), Vec::new()] {
        let mut world = Setup::new(8).iser().build();
        let mut options = Options::new(login(0));
        options.private_data = private_data;
        let connection = world.iser_log_in(0, options);
        assert_eq!(world.iser[0].answer(connection)[..4], [0xc0, 0, 0, 0]);
        let buffer = world.iser_buffer(0, connection, 4096);
        for _ in 0..3 {
            let reply = world.iser_execute(0, connection, &read(&buffer, 0, 8));
            assert!(reply.is_good());
        }
        assert_eq!(executed(&world, OperationKind::SendWithInvalidate), 0);
        world.finish();
    }
}

/// As many commands as the window has room for.
fn load(world: &mut World, host: Host, connection: ConnectionHandle) -> Vec<u32> {
    let mut tags = Vec::new();
    while world.iser[host].can_send(connection) {
        let blocks = 1 + world.random.below(300) as u32;
        let lba = world.random.below(4096 - u64::from(blocks));
        let length = blocks as usize * 512;
        let buffer = world.iser_buffer(host, connection, length);
        let command = match world.random.below(3) {
            0 => read(&buffer, lba, blocks),
            1 => write(&buffer, lba, length.min(8192)),
            _ => write(&buffer, lba, 0),
        };
        let sent = world.iser[host].send(connection, &command);
        tags.push(sent.expect("an open window"));
    }
    tags
}

#[test]
fn the_window_is_what_the_receives_are() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed)
            .iser()
            .setting("\"queue_depth\": 5")
            .build();
        let connections = [world.iser_session(0), world.iser_session(1)];
        for _ in 0..20 {
            for (host, &connection) in connections.iter().enumerate() {
                let tags = load(&mut world, host, connection);
                assert!(tags.len() <= 5, "seed {seed}");
                // What is for immediate delivery comes on top.
                for _ in 0..3 {
                    let data = b"ping".to_vec();
                    let nop = world.iser[host]
                        .request(connection, |client| client.nop(true, data))
                        .expect("sent");
                    world.iser_reply(host, connection, nop);
                }
            }
            for _ in 0..world.random.below(100) {
                world.pump();
            }
            for (host, &connection) in connections.iter().enumerate() {
                while world.iser[host].next_reply(connection).is_some() {}
            }
        }
        world.settle();
        assert_eq!(ran_dry(&world), 0, "seed {seed}");
        world.finish();
    }
}

// --- sessions ----------------------------------------------------------------------------------------------------

#[test]
fn what_is_negotiated() {
    let mut world = Setup::new(1).iser().setting("\"queue_depth\": 20").build();
    let connection = world.iser_session(0);
    let agreed = world.iser[0].negotiated(connection).expect("a login");
    assert_ne!(agreed.tsih, 0);
    assert_eq!(agreed.value("RDMAExtensions"), Some("Yes"));
    assert_eq!(agreed.value("InitialR2T"), Some("Yes"));
    assert_eq!(agreed.value("ImmediateData"), Some("Yes"));
    assert_eq!(agreed.value("TargetPortalGroupTag"), Some("1"));
    assert_eq!(agreed.number("TargetRecvDataSegmentLength"), Some(8192));
    assert!(agreed.number("InitiatorRecvDataSegmentLength") >= Some(512));
    assert_eq!(agreed.max_cmd_sn - agreed.exp_cmd_sn, 19);
    world.finish();
}

#[test]
fn logins_that_leave_out_the_security_stage() {
    let mut world = Setup::new(4).iser().build();
    let mut options = Options::new(login(0));
    options.login.skip_security = true;
    let connection = world.iser_log_in(0, options);
    world.iser_read(0, connection, 0, 8);
    world.finish();
}

fn refused(world: &mut World, login: LoginOptions) -> (u8, u8) {
    let (connection, state) = world.iser_connect(0, Options::new(login));
    let State::Refused { class, detail } = state else {
        panic!("seed {}: {state:?}", world.seed);
    };
    // The target keeps nothing of it, whether the initiator leaves or not.
    world.iser_over(0, connection);
    (class, detail)
}

#[test]
fn refusals_say_why() {
    let groups = r#"[{ "name": "one", "initiators": ["*host1"], "luns": { "0": "disk0" } }]"#;
    for seed in seeds(0..4) {
        let mut setup = Setup::new(seed).iser();
        setup.groups = groups.to_owned();
        let mut world = setup.build();
        let bystander = world.iser_session(1);
        // Forbidden, not found, no RDMAExtensions.
        assert_eq!(refused(&mut world, login(0)), (2, 2));
        let nowhere = LoginOptions::iser(&initiator_name(1), "iqn.2026-11.io.pagecast:other");
        assert_eq!(refused(&mut world, nowhere), (2, 3));
        let mut without = login(1).with_isid(9);
        without.withdraw("RDMAExtensions");
        assert_eq!(refused(&mut world, without).0, 2);
        let mut another = login(1).with_isid(9);
        another.tsih = 77;
        assert_eq!(refused(&mut world, another), (2, 0x0a));
        assert!(world.iser[1].is_up(bystander));
        world.iser_read(1, bystander, 0, 8);
        world.settle();
        assert_eq!(sessions(&world), 1);
        assert_eq!(world.target_queue_pairs().len(), 1, "seed {seed}");
        world.finish();
    }
}

const CHAP: &str = r#"[{ "name": "everyone", "initiators": ["*"], "luns": { "0": "disk0" },
    "chap": { "user": "joe", "secret": "0123456789ab", "mutual_user": "store", "mutual_secret": "ba9876543210" } }]"#;

#[test]
fn chap() {
    for seed in seeds(0..3) {
        let mut setup = Setup::new(seed).iser();
        setup.groups = CHAP.to_owned();
        let mut world = setup.build();
        for algorithms in ["5", "7", "8", "8,7,5"] {
            let right = login(0).with_chap("joe", "0123456789ab", algorithms);
            let connection = world.iser_log_in(0, Options::new(right.clone()));
            world.iser_read(0, connection, 0, 8);
            let mutual = right.with_mutual("store", "ba9876543210").with_isid(2);
            let connection = world.iser_log_in(0, Options::new(mutual));
            world.iser_read(0, connection, 0, 8);
        }
        for wrong in [
            login(0).with_chap("joe", "0123456789ac", "5"),
            login(0).with_chap("jo", "0123456789ab", "5"),
            login(0),
        ] {
            assert_eq!(
                refused(&mut world, wrong.with_isid(7)),
                (2, 1),
                "seed {seed}"
            );
        }
        world.finish();
    }
}

/// The group whose secret is asked for is the one that lets in, also where it knows the initiator by its address.
#[test]
fn one_group_asks_and_admits() {
    let mut setup = Setup::new(3).iser();
    setup.groups = format!(
        r#"[{{ "name": "neighbours", "initiators": ["{}"], "luns": {{ "0": "disk0" }} }},
            {{ "name": "others", "initiators": ["iqn.*"], "luns": {{ "0": "disk0" }},
               "chap": {{ "user": "joe", "secret": "0123456789ab" }} }}]"#,
        pagecast_tests::world::host_address(0)
    );
    setup.hosts = 2;
    let mut world = setup.build();
    world.iser_log_in(0, Options::new(login(0)));
    let proved = login(1).with_chap("joe", "0123456789ab", "5");
    world.iser_log_in(1, Options::new(proved));
    let sessions = world.daemon.shared.sessions().clone();
    let groups = sessions.values().map(|session| session.group().to_string());
    assert_eq!(groups.collect::<Vec<_>>(), ["neighbours", "others"]);
    world.finish();
}

#[test]
fn discovery_with_one_receive() {
    for seed in seeds(0..4) {
        // Far more addresses than fit into one response.
        let mut world = Setup::new(seed).iser_portals(90).build();
        let connection = world.iser_log_in(0, Options::new(discovery(0)));
        for which in ["All", TARGET] {
            let question = text::encode(&[("SendTargets", which)]);
            let itt = world.iser[0]
                .request(connection, |client| client.text(question))
                .expect("sent");
            let answer = world.iser_reply(0, connection, itt).text().expect("text");
            assert_eq!(answer[0], ("TargetName".to_owned(), TARGET.to_owned()));
            assert_eq!(answer.len(), 91, "seed {seed}: {answer:?}");
            let first = ("TargetAddress".to_owned(), "10.0.0.1:3260,1".to_owned());
            assert!(answer.contains(&first), "seed {seed}: {answer:?}");
        }
        // Nothing came that was not asked for.
        assert_eq!(ran_dry(&world), 0, "seed {seed}");
        let logout = world.iser[0]
            .request(connection, |client| client.logout(0, 0))
            .expect("sent");
        assert_eq!(world.iser_reply(0, connection, logout).code(), Some(0));
        world.iser_over(0, connection);
        assert_eq!(ran_dry(&world), 0, "seed {seed}");
        world.finish();
    }
}

#[test]
fn an_idle_discovery_session_ends_without_a_word() {
    let mut world = Setup::new(2)
        .iser()
        .setting("\"nop_interval\": \"5s\", \"nop_timeout\": \"4s\"")
        .build();
    let connection = world.iser_log_in(0, Options::new(discovery(0)));
    for _ in 0..8 {
        world.pass(Duration::from_secs(1));
    }
    assert!(world.iser[0].is_up(connection));
    for _ in 0..3 {
        world.pass(Duration::from_secs(1));
    }
    world.iser_over(0, connection);
    assert_eq!(ran_dry(&world), 0);
    world.finish();
}

/// Strangers of one address do not take the room of others, and have no more than a minute, whether they ask for targets or for nothing.
#[test]
fn strangers_are_few_and_soon_gone() {
    let mut setup = Setup::new(5).iser();
    setup.hosts = 2;
    let mut world = setup.build();
    for count in 0..32 {
        let options = if count % 2 == 0 {
            Options::raw()
        } else {
            Options::new(discovery(0))
        };
        let (_, state) = world.iser_connect(0, options);
        assert_eq!(state, State::Up, "{count}");
    }
    let (_, state) = world.iser_connect(0, Options::new(login(0)));
    assert!(matches!(state, State::Rejected { .. }), "{state:?}");
    world.iser_session(1);
    for _ in 0..62 {
        world.pass(Duration::from_secs(1));
    }
    world.iser_session(0);
    world.settle();
    assert_eq!(world.target_queue_pairs().len(), 2);
    world.finish();
}

#[test]
fn discovery_asks_for_its_own_secret() {
    let mut setup = Setup::new(3)
        .iser()
        .setting(r#""discovery_chap": { "user": "finder", "secret": "abcdefghijkl" }"#);
    setup.groups = CHAP.to_owned();
    let mut world = setup.build();
    assert_eq!(refused(&mut world, discovery(0)), (2, 1));
    let right = discovery(0).with_chap("finder", "abcdefghijkl", "5");
    let connection = world.iser_log_in(0, Options::new(right));
    // Whatever a discovery session sends, it has no logical units.
    let command = Command::new(0, scsi::test_unit_ready(), Data::None);
    let itt = world.iser_send(0, connection, &command);
    let outcome = world.run_until(|world| {
        let events = world.iser[0].take_events(connection);
        let rejected = events
            .iter()
            .any(|event| matches!(event, Event::Incoming(Incoming::Reject { .. })));
        let answered = world.iser[0].take_reply(connection, itt).is_some();
        (rejected || answered || !world.iser[0].is_up(connection)).then_some(answered)
    });
    assert!(!outcome);
    world.finish();
}

#[test]
fn logout() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).iser().build();
        let connection = world.iser_session(0);
        world.iser_read(0, connection, 0, 8);
        let itt = world.iser[0]
            .request(connection, |client| client.logout(0, 0))
            .expect("sent");
        assert_eq!(world.iser_reply(0, connection, itt).code(), Some(0));
        // We do not hang up; the target does.
        let state = world.iser_over(0, connection);
        assert!(matches!(state, State::Closed(_)), "seed {seed}: {state:?}");
        world.settle();
        assert_eq!((sessions(&world), ran_dry(&world)), (0, 0), "seed {seed}");
        world.finish();
    }
}

#[test]
fn a_session_takes_its_own_place() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed).iser().build();
        let old = world.iser_session(0);
        let other = world.iser_log_in(0, Options::new(login(0).with_isid(2)));
        let bystander = world.iser_session(1);
        // Stuck: the new session must not start before it is gone.
        world.io.hold(Kind::Write);
        let buffer = world.iser_filled(0, old, &pattern(4096, 1));
        world.iser_send(0, old, &write(&buffer, 0, 4096));
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        let to = ([10, 0, 0, 1], 3260).into();
        let new = world.iser[0]
            .connect(to, Options::new(login(0)))
            .expect("a connection");
        world.settle();
        assert!(!world.iser[0].is_up(new), "seed {seed}");
        world.io.release();
        world.run_until(|world| world.iser[0].is_up(new).then_some(()));
        world.iser_connections.push((0, new));
        world.iser_over(0, old);
        assert!(world.iser_read(0, new, 0, 8) == pattern(4096, 1));
        assert!(world.iser[0].is_up(other) && world.iser[1].is_up(bystander));
        world.iser_read(0, other, 0, 8);
        assert_eq!(sessions(&world), 3, "seed {seed}");
        world.finish();
    }
}

#[test]
fn pings() {
    for answers in [true, false] {
        for seed in seeds(0..3) {
            let mut world = Setup::new(seed)
                .iser()
                .setting("\"nop_interval\": \"5s\", \"nop_timeout\": \"4s\"")
                .build();
            let mut options = Options::new(login(0));
            options.answer_pings = answers;
            let connection = world.iser_log_in(0, options);
            for _ in 0..20 {
                world.pass(Duration::from_secs(1));
            }
            assert_eq!(world.iser[0].is_up(connection), answers, "seed {seed}");
            let pings = world.iser[0].take_events(connection);
            let are_pings = pings
                .iter()
                .all(|event| matches!(event, Event::Incoming(Incoming::Ping(_))));
            assert!(are_pings && !pings.is_empty(), "seed {seed}: {pings:?}");
            if answers {
                world.iser_read(0, connection, 0, 8);
            }
            world.finish();
        }
    }
}

#[test]
fn strangers_have_a_limited_time() {
    let mut world = Setup::new(1).iser().build();
    let (connection, state) = world.iser_connect(0, Options::raw());
    assert_eq!(state, State::Up);
    for _ in 0..30 {
        world.pass(Duration::from_secs(1));
    }
    assert!(!world.iser[0].is_up(connection));
    world.settle();
    assert!(world.target_queue_pairs().is_empty());
    world.finish();
}

#[test]
fn echoes() {
    let mut world = Setup::new(1).iser().build();
    let connection = world.iser_session(0);
    for (length, immediate) in [(0, true), (7, true), (128, false), (4000, true)] {
        let data = pattern(length, 3);
        let sent = data.clone();
        let itt = world.iser[0]
            .request(connection, |client| client.nop(immediate, sent))
            .expect("sent");
        match world.iser_reply(0, connection, itt).incoming {
            // No more than the initiator has room for.
            Incoming::Pong { data: back, .. } => assert_eq!(back, data[..length.min(128)]),
            other => panic!("{other:?}"),
        }
    }
    world.iser_read(0, connection, 0, 8);
    world.finish();
}

// --- task management ---------------------------------------------------------------------------------------------

fn manage(world: &mut World, connection: ConnectionHandle, function: u8, tag: u32) -> u8 {
    let itt = world.iser[0]
        .request(connection, |client| {
            client.task(scsi::lun(0), function, tag)
        })
        .expect("sent");
    let reply = world.iser_reply(0, connection, itt);
    reply.code().expect("a response code")
}

#[test]
fn functions_and_their_answers() {
    let mut world = Setup::new(1).iser().build();
    let connection = world.iser_session(0);
    assert_eq!(manage(&mut world, connection, ABORT_TASK, 0x77), 1);
    assert_eq!(manage(&mut world, connection, CLEAR_ACA, NO_TAG), 5);
    assert_eq!(manage(&mut world, connection, TASK_REASSIGN, 0x77), 4);
    assert_eq!(manage(&mut world, connection, 99, NO_TAG), 5);
    let nobody = world.iser[0]
        .request(connection, |client| {
            client.task(scsi::lun(5), LUN_RESET, NO_TAG)
        })
        .expect("sent");
    assert_eq!(world.iser_reply(0, connection, nobody).code(), Some(2));
    for function in [LUN_RESET, TARGET_WARM_RESET] {
        assert_eq!(manage(&mut world, connection, function, NO_TAG), 0);
        let buffer = world.iser_buffer(0, connection, 512);
        let reply = world.iser_execute(0, connection, &read(&buffer, 0, 1));
        assert_eq!(reply.sense().map(|sense| sense.0), Some(6), "{function}");
        world.iser_read(0, connection, 0, 1);
    }
    world.finish();
}

/// A function is about what came before it. Commands right behind it are answered, though they may arrive at the same moment.
#[test]
fn commands_behind_a_reset_are_not_its_victims() {
    for seed in seeds(0..12) {
        let mut world = Setup::new(seed).staged().iser().build();
        let connection = world.iser_session(0);
        let buffer = world.iser_buffer(0, connection, 4096);
        let reset = world.iser[0]
            .request(connection, |client| {
                client.task(scsi::lun(0), LUN_RESET, NO_TAG)
            })
            .expect("sent");
        let behind: Vec<_> = (0..4)
            .map(|_| world.iser_send(0, connection, &read(&buffer, 0, 8)))
            .collect();
        assert_eq!(world.iser_reply(0, connection, reset).code(), Some(0));
        for itt in behind {
            world.iser_reply(0, connection, itt);
        }
        world.finish();
    }
}

#[test]
fn an_aborted_command_gets_no_response_and_its_place_comes_back() {
    for seed in seeds(0..6) {
        let mut world = Setup::new(seed)
            .staged()
            .iser()
            .setting("\"queue_depth\": 2")
            .build();
        let connection = world.iser_session(0);
        for _ in 0..6 {
            world.io.hold(Kind::Read);
            let buffer = world.iser_buffer(0, connection, 4096);
            let victim = world.iser_send(0, connection, &read(&buffer, 0, 8));
            world.run_until(|world| (world.io.waiting() > 0).then_some(()));
            let abort = world.iser[0]
                .request(connection, |client| {
                    client.task(scsi::lun(0), ABORT_TASK, victim)
                })
                .expect("sent");
            world.settle();
            assert!(world.iser[0].take_reply(connection, abort).is_none());
            world.io.release();
            assert_eq!(world.iser_reply(0, connection, abort).code(), Some(0));
            world.settle();
            assert!(world.iser[0].take_reply(connection, victim).is_none());
            world.iser[0].abandon(connection, victim);
        }
        world.iser_read(0, connection, 0, 8);
        assert_eq!(ran_dry(&world), 0, "seed {seed}");
        world.finish();
    }
}

// --- the end -----------------------------------------------------------------------------------------------------

#[test]
fn connections_are_lost_under_load() {
    for seed in seeds(0..8) {
        for setup in [Setup::new(seed), Setup::new(seed).staged()] {
            let mut world = setup.iser().build();
            let bystander = world.iser_session(1);
            let kept = pattern(4096, seed);
            world.iser_write(1, bystander, 8000, &kept, 0);
            let connection = world.iser_session(0);
            load(&mut world, 0, connection);
            for _ in 0..world.random.below(120) {
                world.pump();
            }
            match world.random.below(3) {
                0 => world.iser[0].fail(connection).expect("a queue pair"),
                1 => world.iser[0].disconnect(connection).expect("a connection"),
                _ => {
                    world.iser[0]
                        .request(connection, |client| client.logout(0, 0))
                        .expect("sent");
                }
            }
            world.iser_over(0, connection);
            assert!(
                world.iser_read(1, bystander, 8000, 8) == kept,
                "seed {seed}"
            );
            world.settle();
            assert_eq!(sessions(&world), 1, "seed {seed}");
            assert_eq!(world.target_queue_pairs().len(), 1, "seed {seed}");
            let again = world.iser_session(0);
            world.iser_read(0, again, 0, 8);
            world.finish();
        }
    }
}

#[test]
fn initiators_are_told_of_the_end() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).iser().build();
        let connection = world.iser_session(0);
        let finder = world.iser_log_in(1, Options::new(discovery(1)));
        world.iser_read(0, connection, 0, 8);
        world.daemon.control_address.send(ControlMessage::Shutdown);
        for _ in 0..4 {
            world.pass(Duration::from_secs(1));
        }
        world.iser_over(0, connection);
        world.iser_over(1, finder);
        let told = world.iser[0].take_events(connection);
        // DROP OF ALL CONNECTIONS OF THE SESSION (RFC 7143 section 11.9.1)
        let ended = told
            .iter()
            .any(|event| matches!(event, Event::Incoming(Incoming::Async { event: 3, .. })));
        assert!(ended, "seed {seed}: {told:?}");
        // Who has no buffer for it is not told.
        assert_eq!(ran_dry(&world), 0, "seed {seed}");
    }
}
