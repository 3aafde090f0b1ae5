//! Groups that ask initiators who they are, and sessions that come to be in them without a login.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use pagecast_initiator::iser::{ConnectionHandle, Options, State};
use pagecast_initiator::nvme::{ControllerOptions, Credentials, auth};
use pagecast_tests::changes::{STORE, add_initiator, move_to};
use pagecast_tests::iser::{initiator_name, login};
use pagecast_tests::nvme::{controller, host_nqn, io_queue};
use pagecast_tests::{Setup, World, pattern, seeds};
use pagecastd::config::edit::{Edit, Scheme};
use pagecastd::control::reports::ChangeReport;
use pagecastd::events::Closed;
use serde_json::json;

const KEY: &str = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:";
const OTHER_KEY: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
const SECRET: &str = "0123456789ab";

/// Who is in `safe` has to prove it, who is in `open` or nowhere else has not. `other` asks for something else than `safe`.
fn groups(seed: u64) -> Setup {
    let mut setup = Setup::new(seed).iser().nvme().kept();
    setup.devices.push(
        r#"{ "name": "secret", "backend": "memory", "size": "4MiB", "zero_copy": "off" }"#
            .to_owned(),
    );
    setup.groups = format!(
        r#"[ {{ "name": "safe", "initiators": [], "luns": {{ "0": "secret" }},
                "chap": {{ "user": "joe", "secret": "{SECRET}" }}, "dhchap": {{ "key": "{KEY}" }} }},
             {{ "name": "other", "initiators": [], "luns": {{ "0": "secret" }},
                "chap": {{ "user": "jim", "secret": "ba9876543210" }}, "dhchap": {{ "key": "{OTHER_KEY}" }} }},
             {{ "name": "open", "initiators": ["0x*"], "luns": {{ "0": "secret" }} }},
             {{ "name": "rest", "default": true, "luns": {{ "0": "disk0" }} }} ]"#
    );
    setup
}

fn proving(key: &str) -> ControllerOptions {
    ControllerOptions {
        credentials: Some(Credentials {
            key: key.to_owned(),
            controller_key: None,
            offer: auth::Offer {
                groups: vec![0],
                ..auth::Offer::default()
            },
            seed: 99,
        }),
        ..controller(0)
    }
}

/// The only session that a change concerned: its group before and now, and the LUNs that it lost.
fn only(report: &ChangeReport) -> (&str, Option<&str>, &[u32]) {
    let [one] = &report.sessions[..] else {
        panic!("{:?}", report.sessions);
    };
    (&one.group_before, one.group.as_deref(), &one.luns_removed)
}

fn sessions(world: &World) -> usize {
    world.daemon.shared.sessions().len()
}

fn is_up(world: &World, connection: ConnectionHandle) -> bool {
    *world.iser[0].state(connection) == State::Up
}

fn log_in(world: &mut World, proof: Option<(&str, &str)>) -> Result<ConnectionHandle, State> {
    let login = match proof {
        Some((user, secret)) => login(0).with_chap(user, secret, "5"),
        None => login(0),
    };
    let (connection, state) = world.iser_connect(0, Options::new(login));
    match state {
        State::Up => {
            world.iser_connections.push((0, connection));
            Ok(connection)
        }
        state => Err(state),
    }
}

/// Whoever takes a name that is nobody's yet sees nothing of what that name is given later.
#[test]
fn a_name_alone_does_not_reach_a_group_that_asks_for_chap() {
    for seed in seeds(0..8) {
        let mut world = groups(seed).build();
        let name = initiator_name(0);
        let pretender = log_in(&mut world, None).expect("a session");
        world.iser_read(0, pretender, 0, 1);
        let report = world.must_change(vec![add_initiator("safe", &name)]);
        assert_eq!(only(&report), ("rest", None, &[0][..]), "seed {seed}");
        world.iser_over(0, pretender);
        world.settle();
        assert_eq!(sessions(&world), 0, "seed {seed}");
        // As a login would have it.
        assert!(log_in(&mut world, None).is_err(), "seed {seed}");
        let proved = log_in(&mut world, Some(("joe", SECRET))).expect("a session");
        world.iser_write(0, proved, 0, &pattern(512, seed), 0);
        world.finish();
    }
}

/// Whoever has proved it goes and comes as operators like; what it proved is good for nothing else.
#[test]
fn what_was_proved_is_not_forgotten() {
    for seed in seeds(0..4) {
        let mut world = groups(seed).build();
        let name = initiator_name(0);
        world.must_change(vec![add_initiator("safe", &name)]);
        let session = log_in(&mut world, Some(("joe", SECRET))).expect("a session");
        for (to, before) in [("open", "safe"), ("safe", "open")] {
            let report = world.must_change(vec![move_to(&name, to)]);
            let (was, is, _) = only(&report);
            assert_eq!((was, is), (before, Some(to)), "seed {seed}");
            assert!(is_up(&world, session), "seed {seed}");
        }
        let report = world.must_change(vec![move_to(&name, "other")]);
        assert_eq!(only(&report), ("safe", None, &[0][..]), "seed {seed}");
        world.iser_over(0, session);
        world.settle();
        assert!(log_in(&mut world, Some(("joe", SECRET))).is_err());
        log_in(&mut world, Some(("jim", "ba9876543210"))).expect("a session");
        world.finish();
    }
}

/// A secret is changed first here and then there: whoever proved the old one stays where it is. Whoever proved nothing does not.
#[test]
fn secrets_that_change() {
    let change = |world: &mut World, from: &str, to: &str| {
        let file = world.configuration_file();
        let text = std::fs::read_to_string(&file).expect("a file");
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).expect("a file");
        world.reload(false).expect("a good file")
    };
    for seed in seeds(0..4) {
        let mut world = groups(seed).build();
        let name = initiator_name(0);
        world.must_change(vec![add_initiator("safe", &name)]);
        let session = log_in(&mut world, Some(("joe", SECRET))).expect("a session");
        let report = change(&mut world, SECRET, "another one!");
        assert!(report.sessions.is_empty() && is_up(&world, session));
        assert!(log_in(&mut world, Some(("joe", SECRET))).is_err());
        world.iser_read(0, session, 0, 1);
        // The group that it is in asks from now on.
        world.must_change(vec![move_to(&name, "open")]);
        let session = log_in(&mut world, None).expect("a session");
        let report = change(
            &mut world,
            r#""name": "open","#,
            r#""name": "open", "chap": { "user": "joe", "secret": "another one!" },"#,
        );
        assert_eq!(only(&report), ("open", None, &[0][..]), "seed {seed}");
        world.iser_over(0, session);
        world.finish();
    }
}

fn set_chap(group: Option<&str>, secret: &str) -> Edit {
    Edit::SetCredentials {
        target: STORE.to_owned(),
        group: group.map(str::to_owned),
        scheme: Scheme::Chap,
        credentials: json!({ "user": "joe", "secret": secret }),
    }
}

/// Who puts the first secret into a file that everybody can read is told.
#[test]
fn a_file_that_everybody_reads_gets_a_secret() {
    let mut world = Setup::new(1).iser().kept().build();
    let everybody = Permissions::from_mode(0o644);
    std::fs::set_permissions(world.configuration_file(), everybody).expect("a file");
    let mut told = |secret: &str| {
        let report = world.must_change(vec![set_chap(None, secret)]);
        let mut warnings = report.warnings.iter();
        warnings.any(|warning| warning.contains("can read the secrets in it"))
    };
    assert!(told("said to nobody"));
    assert!(!told("said to nobody else"));
    world.finish();
}

/// Secrets that are set and taken away by changes are in force at once, and in the file.
#[test]
fn secrets_that_are_set() {
    for seed in seeds(0..4) {
        let mut world = groups(seed).build();
        let name = initiator_name(0);
        world.must_change(vec![add_initiator("open", &name)]);
        let session = log_in(&mut world, None).expect("a session");
        let secret = "said to nobody";
        let report = world.must_change(vec![set_chap(Some("open"), secret)]);
        assert_eq!(only(&report), ("open", None, &[0][..]), "seed {seed}");
        assert_eq!(report.sessions[0].closed, Some(Closed::NotAuthenticated));
        world.iser_over(0, session);
        world.settle();
        assert!(log_in(&mut world, None).is_err());
        let session = log_in(&mut world, Some(("joe", secret))).expect("a session");
        let kept = |world: &World| {
            let file = std::fs::read_to_string(world.configuration_file()).expect("a file");
            file.contains(secret)
        };
        assert!(kept(&world));
        let report = world.must_change(vec![Edit::RemoveCredentials {
            target: STORE.to_owned(),
            group: Some("open".to_owned()),
            scheme: Scheme::Chap,
        }]);
        assert!(report.sessions.is_empty() && is_up(&world, session) && !kept(&world));
        log_in(&mut world, None).expect("nothing is asked");
        world.finish();
    }
}

#[test]
fn nvme_hosts() {
    for seed in seeds(0..8) {
        let mut world = groups(seed).build();
        let name = host_nqn(0);
        let pretender = world.nvme_controller(0);
        world.nvme_read(0, pretender.io[0], 0, 1);
        let report = world.must_change(vec![add_initiator("safe", &name)]);
        assert_eq!(only(&report), ("rest", None, &[0][..]), "seed {seed}");
        for queue in [pretender.admin, pretender.io[0], pretender.io[1]] {
            world.nvme_over(0, queue);
        }
        world.settle();
        assert_eq!(sessions(&world), 0, "seed {seed}");
        let proved = world.nvme_controller_with(0, proving(KEY));
        world.nvme_write(0, proved.io[0], 0, &pattern(512, seed));
        // It has to prove nothing there, and what is asked of its queues is what the group asks for that it is in.
        world.must_change(vec![move_to(&name, "open")]);
        world.nvme_read(0, proved.io[0], 0, 1);
        let queue = world.nvme_queue(0, io_queue(0, &proved, 5));
        let connected = world.nvme[0].connected(queue).expect("it is up");
        assert!(!connected.authentication_required, "seed {seed}");
        world.must_change(vec![move_to(&name, "safe")]);
        world.nvme_read(0, proved.io[0], 0, 1);
        let queue = world.nvme_queue(0, io_queue(0, &proved, 6));
        let connected = world.nvme[0].connected(queue).expect("it is up");
        assert!(connected.authentication_required, "seed {seed}");
        let report = world.must_change(vec![move_to(&name, "other")]);
        assert_eq!(only(&report), ("safe", None, &[0][..]), "seed {seed}");
        world.nvme_over(0, proved.admin);
        world.finish();
    }
}

/// A secret changes while a login is on its way: what was proved with the old one counts only if the login is over by then.
#[test]
fn a_secret_that_changes_during_a_login() {
    let mut refused = 0;
    for rounds in 0..60 {
        let mut world = groups(rounds).build();
        let name = initiator_name(0);
        world.must_change(vec![add_initiator("safe", &name)]);
        let file = world.configuration_file();
        let text = std::fs::read_to_string(&file).expect("a file");
        std::fs::write(&file, text.replace(SECRET, "another one!")).expect("a file");
        let options = Options::new(login(0).with_chap("joe", SECRET, "5"));
        let to = std::net::SocketAddr::from(([10, 0, 0, 1], 3260));
        let connection = world.iser[0].connect(to, options).expect("a connection");
        for _ in 0..rounds * 4 {
            world.pump();
        }
        world.daemon.control.turn();
        let before = sessions(&world);
        world.reload(false).expect("a good file");
        let state = world.run_until(|world| {
            let state = world.iser[0].state(connection);
            let undecided = matches!(state, State::Connecting | State::LoggingIn);
            (!undecided).then(|| state.clone())
        });
        match state {
            State::Up => {
                assert_eq!(before, 1, "after {rounds} rounds");
                world.iser_connections.push((0, connection));
            }
            // Authentication failure.
            State::Refused { class, detail } => {
                assert_eq!((class, detail, before), (2, 1, 0), "after {rounds} rounds");
                refused += 1;
            }
            state => panic!("after {rounds} rounds: {state:?}"),
        }
        world.finish();
    }
    assert!((1..60).contains(&refused), "{refused} times");
}
