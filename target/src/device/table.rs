//! Every device that is in service, by the number that its logical unit carries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Device;

/// Finds devices by number. Asked when a connection meets a logical unit for the first time, and not again.
#[derive(Debug, Default)]
pub struct DeviceTable {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    devices: BTreeMap<usize, Arc<Device>>,
    next: usize,
}

impl DeviceTable {
    /// A number that no device has, or had.
    pub fn number(&self) -> usize {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        number
    }

    /// A device is in service.
    pub fn insert(&self, device: &Arc<Device>) {
        self.lock().devices.insert(device.index, Arc::clone(device));
    }

    /// A device is out of service: nobody finds it any more.
    pub fn remove(&self, device: &Device) {
        self.lock().devices.remove(&device.index);
    }

    /// The device with that number.
    pub fn get(&self, number: usize) -> Option<Arc<Device>> {
        self.lock().devices.get(&number).cloned()
    }

    /// The table is never left half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
