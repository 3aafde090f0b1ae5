//! Logins: what is negotiated, who is let in, and what the others are told.

use pagecast_initiator::iscsi::LoginOptions;
use pagecast_initiator::iser::Options;
use pagecast_tests::iser::{initiator_name, login};
use pagecast_tests::{Setup, seeds};

use super::{CHAP, refused, sessions};

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
