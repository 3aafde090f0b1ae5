//! Changes of the configuration in a [`World`], made while it goes on.
//!
//! Whoever asks for a change waits for the control thread, and afterwards for commands that have to end. So it asks on a thread of its
//! own, while the world is turned here. Until the change is in force nothing but the control thread does anything, so that it comes
//! where the seed wants it; how long its thread takes afterwards is the one thing that no seed decides.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pagecastd::config::edit::Edit;
use pagecastd::control::reports::ChangeReport;
use pagecastd::control::{ChangeError, Management};
use pagecastd::daemon::Shared;
use pagecastd::device::Device;
use serde_json::Value;

use crate::world::World;

/// The target of every world, by the name that changes give it.
pub const STORE: &str = "store";

/// A change that is in force, and whose caller may still wait.
#[derive(Debug)]
pub struct Changing<T> {
    caller: JoinHandle<T>,
}

impl<T> Changing<T> {
    /// Whether whoever asked for it has its answer.
    pub fn is_over(&self) -> bool {
        self.caller.is_finished()
    }
}

impl World {
    /// Makes changes, all or none, while the world goes on.
    pub fn change(&mut self, edits: Vec<Edit>) -> Result<ChangeReport, ChangeError> {
        let changing = self.begin_change(edits);
        self.end(changing)
    }

    /// Makes changes, which must be good ones.
    pub fn must_change(&mut self, edits: Vec<Edit>) -> ChangeReport {
        let what = format!("{edits:?}");
        self.change(edits)
            .unwrap_or_else(|error| panic!("seed {}: {what}: {error}", self.seed))
    }

    /// Makes changes; they are in force, or refused, when this returns.
    pub fn begin_change(
        &mut self,
        edits: Vec<Edit>,
    ) -> Changing<Result<ChangeReport, ChangeError>> {
        self.begin(move |shared| shared.change(&edits))
    }

    /// Reads the configuration file again.
    pub fn reload(&mut self, force: bool) -> Result<ChangeReport, ChangeError> {
        let changing = self.begin(move |shared| shared.reload(force));
        self.end(changing)
    }

    /// Asks the daemon for something that its control thread does. That it is done, or not going to be, when this returns.
    pub fn begin<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Changing<T> {
        let before = Arc::as_ptr(&self.daemon.shared.inventory());
        let shared = Arc::clone(&self.daemon.shared);
        let caller = thread::spawn(move || ask(&shared));
        let since = Instant::now();
        while !caller.is_finished() {
            self.daemon.control.turn();
            if Arc::as_ptr(&self.daemon.shared.inventory()) != before {
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "nothing changes");
            thread::yield_now();
        }
        Changing { caller }
    }

    /// Waits until whoever asked has its answer, while the world goes on.
    pub fn end<T>(&mut self, changing: Changing<T>) -> T {
        self.run_until(|_| changing.is_over().then_some(()));
        changing.caller.join().expect("no panic")
    }

    /// Ends a session by its number.
    pub fn close_session(&mut self, id: u64) -> bool {
        let changing = self.begin(move |shared| shared.close_session(id));
        self.end(changing).is_some()
    }

    /// A device in service.
    pub fn device(&self, name: &str) -> Option<Arc<Device>> {
        self.daemon.shared.inventory().device(name).cloned()
    }

    /// The configuration in force, as text.
    pub fn configuration(&self) -> String {
        self.daemon.shared.inventory().config.to_json()
    }
}

/// A pattern moves to another group.
pub fn move_to(initiator: &str, to: &str) -> Edit {
    Edit::MoveInitiator {
        target: STORE.to_owned(),
        initiator: initiator.to_owned(),
        from: None,
        to: to.to_owned(),
    }
}

/// A group gets one more pattern.
pub fn add_initiator(group: &str, initiator: &str) -> Edit {
    Edit::AddInitiator {
        target: STORE.to_owned(),
        group: group.to_owned(),
        initiator: initiator.to_owned(),
    }
}

/// A group has a pattern less.
pub fn remove_initiator(group: &str, initiator: &str) -> Edit {
    Edit::RemoveInitiator {
        target: STORE.to_owned(),
        group: group.to_owned(),
        initiator: initiator.to_owned(),
    }
}

/// A device gets a LUN, with leave to write or without.
pub fn map(group: &str, lun: u16, device: &str, read_only: bool) -> Edit {
    Edit::Map {
        target: STORE.to_owned(),
        group: group.to_owned(),
        lun,
        device: device.to_owned(),
        read_only,
        replace: false,
    }
}

/// A LUN is free again.
pub fn unmap(group: &str, lun: u16) -> Edit {
    Edit::Unmap {
        target: STORE.to_owned(),
        group: group.to_owned(),
        lun,
    }
}

/// One more group, after the others.
pub fn add_group(json: &str) -> Edit {
    Edit::AddGroup {
        target: STORE.to_owned(),
        group: value(json),
        before: None,
    }
}

/// A group less.
pub fn remove_group(name: &str) -> Edit {
    Edit::RemoveGroup {
        target: STORE.to_owned(),
        name: name.to_owned(),
    }
}

/// One more device.
pub fn add_device(json: &str) -> Edit {
    Edit::AddDevice(value(json))
}

/// A device less.
pub fn remove_device(name: &str, force: bool) -> Edit {
    Edit::RemoveDevice {
        name: name.to_owned(),
        force,
    }
}

/// What JSON text means.
pub fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}
