//! iSER: data on the way that it should take, sessions, task management, pings.

mod data;
mod discovery;
mod load;
mod login;
mod sessions;
mod strangers;
mod tasks;

use pagecast_initiator::iscsi::LoginOptions;
use pagecast_initiator::iser::{Options, State};
use pagecast_rdma::sim::{OperationKind, TraceEvent};
use pagecast_tests::World;

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

fn refused(world: &mut World, login: LoginOptions) -> (u8, u8) {
    let (connection, state) = world.iser_connect(0, Options::new(login));
    let State::Refused { class, detail } = state else {
        panic!("seed {}: {state:?}", world.seed);
    };
    // The target keeps nothing of it, whether the initiator leaves or not.
    world.iser_over(0, connection);
    (class, detail)
}

const CHAP: &str = r#"[{ "name": "everyone", "initiators": ["*"], "luns": { "0": "disk0" },
    "chap": { "user": "joe", "secret": "0123456789ab", "mutual_user": "store", "mutual_secret": "ba9876543210" } }]"#;
