//! The end of the threads that serve, and of what they were at.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use super::flush;
use crate::daemon::{Shared, StartError};
use crate::device::Device;
use crate::ending::{Ending, join_until};

/// Threads that serve, and have been told to end.
pub(super) struct Threads {
    /// The shards, by number.
    pub(super) shards: Vec<JoinHandle<io::Result<()>>>,
    /// Who changes reservations.
    pub(super) changes: JoinHandle<()>,
}

/// Waits for threads, and makes what was written durable. Those that hang keep the others from nothing.
pub(super) fn end(
    threads: Threads,
    shared: &Shared,
    ending: &mut Ending,
) -> Result<(), StartError> {
    let mut ended = Ok(());
    // A shard has its store's operations in its memory: it is there until the last of them has ended, however long that takes.
    let shards = threads.shards.into_iter().enumerate();
    let joined = join_until(shards, ending.by(ending.times.shards));
    for (_, result) in joined.ended {
        let result = result.unwrap_or_else(|_| {
            let panicked = io::Error::other("it panicked; please report this with its log");
            Err(panicked)
        });
        if let Err(source) = result {
            ended = ended.and(Err(StartError::System {
                what: "an I/O thread stopped",
                source,
            }));
        }
    }
    let inventory = shared.inventory();
    if !joined.left.is_empty() {
        tell_of_shards(&joined.left, &inventory.devices);
        ending.leave_behind();
    }
    // Those that are at work already go on; there are no more.
    shared.changer.end();
    if !flush::flush(&inventory.devices, ending.by(ending.times.stores)) {
        ended = ended.and(Err(StartError::System {
            what: "not everything that was written is durable",
            source: io::Error::other("see the log for the devices"),
        }));
    }
    // What was asked for is made whole, though nobody may be left to hear of it. Data go first: another disk may hang.
    let changes = [((), threads.changes)];
    let joined = join_until(changes, ending.by(ending.times.changes));
    if joined.ended.iter().any(|(_, result)| result.is_err()) {
        tracing::error!("the thread for reservations panicked; please report this with the log");
    }
    if !joined.left.is_empty() {
        tracing::warn!(
            state = %shared.state.display(),
            "a change of reservations is not durable: the disk of the state directory, or the way to it, hangs; stopping regardless"
        );
        ending.leave_behind();
    }
    ended
}

/// Tells of shards that do not end, and of the devices that they have commands at.
fn tell_of_shards(left: &[usize], devices: &[Arc<Device>]) {
    let busy: Vec<String> = (devices.iter())
        .filter_map(|device| {
            let of_shard = |shard: &usize| Some(&device.counters.get(*shard)?.in_flight);
            let commands: u64 = (left.iter().filter_map(of_shard))
                .map(|in_flight| in_flight.load(Relaxed))
                .sum();
            (commands > 0).then(|| format!("{} ({commands} in flight)", device.name))
        })
        .collect();
    let shards: Vec<String> = left.iter().map(usize::to_string).collect();
    // A device that was removed, or whose initiators gave up before, may be the one.
    let devices = match busy.is_empty() {
        true => "unknown".to_owned(),
        false => busy.join(", "),
    };
    tracing::warn!(
        shards = shards.join(", "),
        devices,
        "commands do not end: their stores, or the way to them, hang; stopping regardless"
    );
}
