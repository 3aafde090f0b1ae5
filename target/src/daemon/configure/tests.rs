use std::fs;
use std::time::Instant;

use pagecast_rdma::late::LateFabric;

use super::*;
use crate::daemon::Daemon;
use crate::identity::MachineId;

const MIB: u64 = 1 << 20;

fn daemon(state: &Path) -> Daemon {
    let text = r#"{ "shards": 1, "staging_memory": "4MiB",
                    "devices": [ { "name": "d", "backend": "memory", "size": "1MiB" } ] }"#;
    let config = Config::parse(text, "test").expect("good");
    let _ = fs::remove_dir_all(state);
    fs::create_dir(state).expect("made");
    let daemon = Daemon::build(
        (Document::from_config(&config), config),
        &MachineId::from_bytes([1; 16]),
        state,
        Arc::new(LateFabric::never()),
        Instant::now(),
    );
    daemon.expect("built")
}

fn configured(shared: &Shared) -> u64 {
    match &shared.inventory().config.devices[0].store {
        Store::Memory { size } => size.bytes(),
        other => panic!("{other:?}"),
    }
}

/// The size of a device that somebody keeps open is kept as long as it is the one that is served, and not for another one of its name.
#[test]
fn sizes_are_kept_for_the_device_that_has_them() {
    let state = format!("pagecast-sizes-{}", std::process::id());
    let state = std::env::temp_dir().join(state);
    let daemon = daemon(&state);
    let shared = &daemon.shared;
    let old = Arc::clone(&shared.inventory().devices[0]);
    old.resize(Some(2 * MIB), false, PATIENCE).expect("resized");
    shared.keep_size(Arc::downgrade(&old)).expect("kept");
    assert_eq!(configured(shared), 2 * MIB);

    // It goes, and another one comes, between a change of its size and the turn of what keeps it.
    old.resize(Some(3 * MIB), false, PATIENCE).expect("resized");
    let config = shared.inventory().config.clone();
    let opening = shared.opening(&config, &config.devices[0]);
    let new = opening.open().expect("opened");
    shared.set_inventory(Arc::new(shared.remade(config, vec![new], Vec::new())));
    shared
        .keep_size(Arc::downgrade(&old))
        .expect("of no concern");
    assert_eq!(configured(shared), 2 * MIB);
    assert_eq!(shared.inventory().devices[0].size(), 2 * MIB);
    drop(daemon);
    let _ = fs::remove_dir_all(state);
}
