//! Who comes in, and to which access group: the table of cases of `core`, by every name of every transport. Each case is tried twice:
//! on an initiator that is in already when the groups become those of the case, and on one that comes then.

use pagecast_core::access::cases::{Case, cases};
use pagecast_initiator::ChannelState;
use pagecast_initiator::iser::{Options, State};
use pagecast_initiator::nvme::QueueOptions;
use pagecast_tests::changes::{add_group, remove_group};
use pagecast_tests::iser::{initiator_name, login};
use pagecast_tests::nvme::{connect, host_nqn, refusal};
use pagecast_tests::{Setup, World, host_address};
use pagecastd::config::edit::Edit;
use pagecastd::events::{EventKind, Subscription};
use std::time::Duration;

/// The host of all cases.
const HOST: usize = 0;

/// An SRP initiator port whose halves are not the same.
const PORT: [u8; 16] = *b"\x10\x21\x32\x43\x54\x65\x76\x87\x98\xa9\xba\xcb\xdc\xed\xfe\x0f";

/// CHANNEL LIMIT REACHED FOR INITIATOR, of SRP_LOGIN_REJ
const SRP_REFUSAL: u32 = 0x0001_0006;
/// The initiator is not allowed access to the target (RFC 7143 section 11.13.5).
const ISCSI_REFUSAL: (u8, u8) = (2, 2);
/// Connect Invalid Host
const NVME_REFUSAL: (u8, u8) = (1, 0x84);

#[derive(Clone, Copy, Debug)]
enum Over {
    Srp,
    Iser,
    Nvme,
}

/// A host that comes, and goes.
#[derive(Clone, Debug)]
enum In {
    Srp(pagecast_initiator::ChannelId),
    Iser(pagecast_initiator::iser::ConnectionHandle),
    Nvme(pagecast_initiator::nvme::QueueHandle),
}

impl Over {
    /// Its session, or none if it is refused as its transport does it.
    fn log_in(self, world: &mut World) -> Option<In> {
        match self {
            Self::Srp => {
                let mut options = world.options(HOST);
                options.request.initiator_port = PORT;
                match world.connect(HOST, options) {
                    (channel, ChannelState::Up) => Some(In::Srp(channel)),
                    (_, ChannelState::Refused { rejection, .. }) => {
                        let rejection = rejection.expect("SRP_LOGIN_REJ");
                        assert_eq!(rejection.reason, SRP_REFUSAL);
                        None
                    }
                    (_, other) => panic!("{other:?}"),
                }
            }
            Self::Iser => match world.iser_connect(HOST, Options::new(login(HOST))) {
                (connection, State::Up) => Some(In::Iser(connection)),
                (_, State::Refused { class, detail }) => {
                    assert_eq!((class, detail), ISCSI_REFUSAL);
                    None
                }
                (_, other) => panic!("{other:?}"),
            },
            Self::Nvme => {
                let options = QueueOptions::new(0, 32).connecting(connect(HOST));
                let (queue, state) = world.nvme_connect(HOST, options);
                if world.nvme[HOST].is_up(queue) {
                    return Some(In::Nvme(queue));
                }
                assert_eq!(refusal(state).0, NVME_REFUSAL);
                None
            }
        }
    }
}

fn is_up(world: &World, host: &In) -> bool {
    match *host {
        In::Srp(channel) => world.initiators[HOST].is_up(channel),
        In::Iser(connection) => world.iser[HOST].is_up(connection),
        In::Nvme(queue) => world.nvme[HOST].is_up(queue),
    }
}

fn log_out(world: &mut World, host: &In) {
    match *host {
        In::Srp(channel) => drop(world.initiators[HOST].disconnect(channel)),
        In::Iser(connection) => drop(world.iser[HOST].disconnect(connection)),
        In::Nvme(queue) => drop(world.nvme[HOST].disconnect(queue)),
    }
    world.settle();
}

/// The groups of the sessions that there are.
fn groups(world: &World) -> Vec<String> {
    let sessions = world.daemon.shared.sessions();
    sessions
        .values()
        .map(|session| session.group().to_string())
        .collect()
}

/// In place of the groups that there are.
fn set_groups(world: &mut World, groups: &[String]) {
    let inventory = world.daemon.shared.inventory();
    let before = inventory.targets[0].groups.iter();
    let mut edits: Vec<Edit> = before.map(|group| remove_group(&group.name)).collect();
    drop(inventory);
    edits.extend(groups.iter().map(|group| add_group(group)));
    world.must_change(edits);
}

fn as_json(case: &Case) -> Vec<String> {
    let group = |group: &pagecast_core::access::cases::Group| {
        let patterns: Vec<String> = group.patterns.iter().map(|p| format!("{p:?}")).collect();
        format!(
            r#"{{ "name": "{}", "initiators": [{}], "default": {}, "luns": {{ "0": "disk0" }} }}"#,
            group.name,
            patterns.join(","),
            group.default
        )
    };
    case.groups.iter().map(group).collect()
}

/// The initiators and remedies of refusals that were told.
fn told(events: &Subscription) -> Vec<(Option<String>, String)> {
    let kinds = std::iter::from_fn(|| Some(events.next(Duration::ZERO)?.kind));
    let refused = kinds.filter_map(|kind| match kind {
        EventKind::Refused { initiator, why, .. } => Some((initiator, why)),
        _ => None,
    });
    refused.collect()
}

fn table(over: Over, name: &str, known_by: &str) {
    let mut setup = Setup::new(1).iser().nvme();
    setup.hosts = 1;
    setup.shards = 1;
    let mut world = setup.build();
    world.io.be_eager();
    let everybody = [r#"{ "name": "everybody", "initiators": ["*"], "luns": {} }"#.to_owned()];
    let events = world.daemon.shared.events.subscribe();
    for case in cases(name) {
        let what = format!("{over:?} by {name}: {}: {:?}", case.what, case.groups);
        set_groups(&mut world, &everybody);
        let before = over.log_in(&mut world).expect("everybody comes in");
        assert_eq!(groups(&world), ["everybody"], "{what}");
        set_groups(&mut world, &as_json(&case));
        world.settle();
        let expected: Vec<String> = case.admitted.iter().map(|name| (*name).into()).collect();
        assert_eq!(groups(&world), expected, "{what}");
        assert_eq!(is_up(&world, &before), case.admitted.is_some(), "{what}");
        if case.admitted.is_some() {
            log_out(&mut world, &before);
            assert!(groups(&world).is_empty(), "{what}");
        }
        told(&events);
        let after = over.log_in(&mut world);
        assert_eq!(groups(&world), expected, "{what}: who comes then");
        match after {
            Some(after) => log_out(&mut world, &after),
            None => {
                world.settle();
                let told = told(&events);
                assert_eq!(told.len(), 1, "{what}: {told:?}");
                assert_eq!(told[0].0.as_deref(), Some(known_by), "{what}");
                assert!(told[0].1.contains("\"initiators\""), "{what}: {told:?}");
            }
        }
    }
    world.finish();
}

fn port() -> (String, String) {
    let digits: String = PORT.iter().map(|byte| format!("{byte:02x}")).collect();
    (format!("0x{digits}"), digits[16..].to_owned())
}

#[test]
fn srp_by_port() {
    table(Over::Srp, &port().0, &port().0);
}

#[test]
fn srp_by_guid() {
    table(Over::Srp, &port().1, &port().0);
}

#[test]
fn srp_by_address() {
    table(Over::Srp, &host_address(HOST).to_string(), &port().0);
}

#[test]
fn iser_by_name() {
    table(Over::Iser, &initiator_name(HOST), &initiator_name(HOST));
}

#[test]
fn iser_by_address() {
    table(
        Over::Iser,
        &host_address(HOST).to_string(),
        &initiator_name(HOST),
    );
}

#[test]
fn nvme_by_name() {
    table(Over::Nvme, &host_nqn(HOST), &host_nqn(HOST));
}

#[test]
fn nvme_by_address() {
    table(Over::Nvme, &host_address(HOST).to_string(), &host_nqn(HOST));
}
