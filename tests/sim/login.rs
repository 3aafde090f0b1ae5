//! Logins: who comes in, what refusals say, and that the listener lives on.

use pagecast_initiator::{ChannelId, ChannelState, LoginOptions};
use pagecast_tests::{Setup, World, host_address, seeds};

/// The target refused with this reason.
fn assert_refused(world: &mut World, options: LoginOptions, reason: u32) {
    let (_, state) = world.connect(0, options);
    let ChannelState::Refused { rejection, .. } = state else {
        panic!("seed {}: {state:?}", world.seed);
    };
    let rejection = rejection.unwrap_or_else(|| panic!("no SRP_LOGIN_REJ for {reason:#x}"));
    assert_eq!(rejection.reason, reason, "{reason:#x}");
}

/// A login still works, and so does the session that was there before.
fn assert_alive(world: &mut World, bystander: ChannelId) {
    world.read(1, bystander, 0, 8);
    let channel = world.log_in(0);
    world.read(0, channel, 0, 8);
    let sessions = world.daemon.shared.sessions().len();
    assert_eq!(sessions, 2, "seed {}", world.seed);
}

#[test]
fn accepted() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).setting("\"queue_depth\": 12").build();
        let channel = world.log_in(0);
        let login = world.initiators[0].login(channel).expect("a reply");
        assert_eq!((login.request_limit, login.multichannel), (12, 0));
        assert_eq!(login.max_it_iu_length, 8276);
        assert!(login.immediate);
        assert_eq!(world.daemon.shared.sessions().len(), 1);
        world.finish();
    }
}

#[test]
fn refusals_say_why() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).build();
        let bystander = world.log_in(1);
        let good = world.options(0);

        let mut wrong_target = good.clone();
        wrong_target.request.target_port[15] ^= 1;
        assert_refused(&mut world, wrong_target, 0x0001_0003);

        let mut too_long = good.clone();
        too_long.request.request_length = 8277;
        assert_refused(&mut world, too_long, 0x0001_0002);
        let mut too_short = good.clone();
        too_short.request.request_length = 63;
        assert_refused(&mut world, too_short, 0x0001_0002);

        let mut unknown_formats = good.clone();
        unknown_formats.request.buffer_formats = 0xfff9;
        assert_refused(&mut world, unknown_formats, 0x0001_0004);

        assert_alive(&mut world, bystander);
        world.finish();
    }
}

#[test]
fn nobody_without_a_group() {
    for seed in seeds(0..4) {
        let mut setup = Setup::new(seed);
        // Host 0 is 0xa0a0..., host 1 is 0xa1a1...
        setup.groups =
            r#"[{ "name": "some", "initiators": ["!0xa0*", "*"], "luns": { "0": "disk0" } }]"#
                .to_owned();
        let mut world = setup.build();
        let bystander = world.log_in(1);
        let options = world.options(0);
        assert_refused(&mut world, options, 0x0001_0006);
        world.read(1, bystander, 0, 1);
        assert_eq!(world.daemon.shared.sessions().len(), 1);
        world.finish();
    }
}

/// A port identifier is only what an initiator says of itself: it opens no door that its own group does not.
#[test]
fn nobody_joins_a_session_of_another_group() {
    for seed in seeds(0..4) {
        let mut setup = Setup::new(seed);
        setup.groups = format!(
            r#"[{{ "name": "first", "initiators": ["{}"], "luns": {{ "0": "disk0" }} }},
                {{ "name": "second", "initiators": ["{}"], "luns": {{ }} }}]"#,
            host_address(0),
            host_address(1),
        );
        let mut world = setup.build();
        let channel = world.log_in(0);
        let pretended = world.options(0).multichannel();
        let (_, state) = world.connect(1, pretended);
        let ChannelState::Refused { rejection, .. } = state else {
            panic!("seed {seed}: {state:?}");
        };
        assert_eq!(
            rejection.map(|rejection| rejection.reason),
            Some(0x0001_0006)
        );
        world.read(0, channel, 0, 8);
        world.finish();
    }
}

#[test]
fn private_data_that_is_no_login() {
    for seed in seeds(0..4) {
        let mut world = Setup::new(seed).build();
        let bystander = world.log_in(1);
        let good = world.options(0).request.encode();
        for length in [0, 1, 4, 24] {
            let mut options = world.options(0);
            options.private_data = Some(good[..length].to_vec());
            let (_, state) = world.connect(0, options);
            assert!(
                matches!(state, ChannelState::Refused { .. }),
                "{length} bytes: {state:?}"
            );
        }
        // A type that is not SRP_LOGIN_REQ.
        let mut other_type = good;
        other_type[11] = 2;
        let mut options = world.options(0);
        options.private_data = Some(other_type);
        assert_refused(&mut world, options, 0x0001_0000);
        assert_alive(&mut world, bystander);
    }
}

#[test]
fn a_second_login_replaces_the_first() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).build();
        let first = world.log_in(0);
        world.read(0, first, 0, 8);
        let second = world.log_in(0);
        world.over(0, first);
        world.read(0, second, 0, 8);
        let login = world.initiators[0].login(second).expect("a reply");
        assert_eq!(login.multichannel, 1, "seed {seed}");
        world.settle();
        assert_eq!(world.daemon.shared.sessions().len(), 1, "seed {seed}");
        assert_eq!(world.target_queue_pairs().len(), 1, "seed {seed}");
        world.finish();
    }
}

#[test]
fn channels_of_one_session() {
    for seed in seeds(0..8) {
        let mut world = Setup::new(seed).build();
        let mut channels = vec![world.log_in(0)];
        for _ in 0..3 {
            let options = world.options(0).multichannel();
            let channel = world.log_in_with(0, options);
            let login = world.initiators[0].login(channel).expect("a reply");
            assert_eq!(login.multichannel, 2, "seed {seed}");
            channels.push(channel);
        }
        assert_eq!(world.daemon.shared.sessions().len(), 1, "seed {seed}");
        world.write(0, channels[0], 64, &pagecast_tests::pattern(4096, seed));
        for &channel in &channels {
            let data = world.read(0, channel, 64, 8);
            assert_eq!(data, pagecast_tests::pattern(4096, seed), "seed {seed}");
        }
        // Losing one leaves the others and the session alone.
        let lost = channels.remove(1);
        world.initiators[0].fail(lost).expect("a channel");
        world.over(0, lost);
        for &channel in &channels {
            world.read(0, channel, 64, 8);
        }
        assert_eq!(world.daemon.shared.sessions().len(), 1, "seed {seed}");
        world.finish();
    }
}

#[test]
fn no_more_sessions_than_allowed() {
    let mut world = Setup::new(1).setting("\"max_sessions\": 1").build();
    let first = world.log_in(0);
    let options = world.options(1);
    let (_, state) = world.connect(1, options);
    let ChannelState::Refused { rejection, .. } = state else {
        panic!("{state:?}");
    };
    assert_eq!(rejection.map(|r| r.reason), Some(0x0001_0001));
    // The one that is in may come again, and make room.
    let second = world.log_in(0);
    world.over(0, first);
    world.read(0, second, 0, 1);
    world.initiators[0].disconnect(second).expect("a channel");
    world.settle();
    world.log_in(1);
    world.finish();
}

#[test]
fn a_lost_handshake_is_forgotten() {
    use pagecast_rdma::sim::CmMessage;
    for seed in seeds(0..4) {
        for lost in [CmMessage::Reply, CmMessage::ReadyToUse] {
            let mut world = Setup::new(seed).build();
            world.net.faults().lose(lost, 1);
            let options = world.options(0);
            let (channel, _) = world.connect(0, options);
            world.settle();
            let _ = world.initiators[0].disconnect(channel);
            world.settle();
            world.pass(std::time::Duration::from_secs(31));
            world.pass(std::time::Duration::from_secs(11));
            assert_eq!(
                world.daemon.shared.sessions().len(),
                0,
                "seed {seed}, {lost:?}"
            );
            let channel = world.log_in(0);
            world.read(0, channel, 0, 1);
            world.finish();
        }
    }
}
