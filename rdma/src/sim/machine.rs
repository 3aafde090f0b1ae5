//! A machine with several adapters, which may come and go. Each is a node of its own, as [`SimNet::fabric`](super::SimNet::fabric) makes
//! them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use super::connection_manager::SimConnectionManager;
use super::node::SimFabric;
use crate::event_fd::EventFd;
use crate::fabric::{
    Adapter, CmEvent, CompletionQueue, ConnectParams, ConnectRequest, ConnectionId,
    ConnectionManager, Fabric, FabricError, ListenAddress, ListenerId, QueuePair, QueuePairConfig,
};

/// The fabric of a machine with any number of adapters. For those who drive it by hand: its connection managers' descriptors never become
/// readable.
#[derive(Debug, Default)]
pub struct SimMachine {
    slots: Slots,
}

/// Every adapter that ever was in the machine; those that were taken out stay as they are.
type Slots = Arc<Mutex<Vec<Arc<SimFabric>>>>;

impl SimMachine {
    /// Puts an adapter in: a node that was not in the machine before. [`Faults::remove_adapter`](super::Faults::remove_adapter) takes it out.
    pub fn plug(&self, adapter: Arc<SimFabric>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.push(adapter);
    }
}

fn in_slots(slots: &Slots) -> Vec<Arc<SimFabric>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Fabric for SimMachine {
    fn adapters(&self) -> Result<Vec<Arc<dyn Adapter>>, FabricError> {
        let mut all = Vec::new();
        for fabric in in_slots(&self.slots) {
            all.extend(fabric.adapters()?);
        }
        Ok(all)
    }

    fn connection_manager(&self) -> Result<Box<dyn ConnectionManager>, FabricError> {
        Ok(Box::new(MachineManager {
            slots: Arc::clone(&self.slots),
            managers: Vec::new(),
            listeners: HashMap::new(),
            next_listener: 1,
            event: EventFd::new()?,
        }))
    }
}

/// A connection manager of each adapter. Connections have numbers that are unique in the net; listeners are ours.
#[derive(Debug)]
struct MachineManager {
    slots: Slots,
    /// By slot.
    managers: Vec<SimConnectionManager>,
    listeners: HashMap<ListenerId, MachineListener>,
    next_listener: u64,
    event: EventFd,
}

#[derive(Debug)]
struct MachineListener {
    at: ListenAddress,
    backlog: u32,
    /// The slot of each adapter that listens, and its name for it.
    on: Vec<(usize, ListenerId)>,
}

/// A listener on a wildcard is there for adapters that come later, and is not lost with one that goes.
fn is_wildcard(at: ListenAddress) -> bool {
    match at {
        ListenAddress::Ip(at) => at.ip().is_unspecified(),
        ListenAddress::Service(_) => true,
    }
}

impl MachineManager {
    /// Notices adapters that were put in.
    fn catch_up(&mut self) -> Result<(), FabricError> {
        for fabric in in_slots(&self.slots).iter().skip(self.managers.len()) {
            let slot = self.managers.len();
            let mut manager = fabric.sim_connection_manager()?;
            for listener in self.listeners.values_mut().filter(|l| is_wildcard(l.at)) {
                // It may be gone already.
                let listening = manager.listen(listener.at, listener.backlog);
                listener.on.extend(listening.ok().map(|id| (slot, id)));
            }
            self.managers.push(manager);
        }
        Ok(())
    }

    fn ours(&self, slot: usize, theirs: ListenerId) -> Option<ListenerId> {
        let (&id, _) =
            (self.listeners.iter()).find(|(_, listener)| listener.on.contains(&(slot, theirs)))?;
        Some(id)
    }

    /// Asks each adapter's manager, until one knows the connection.
    fn on<T>(
        &mut self,
        mut call: impl FnMut(&mut SimConnectionManager) -> Result<T, FabricError>,
    ) -> Result<T, FabricError> {
        for manager in &mut self.managers {
            match call(manager) {
                Err(FabricError::UnknownConnection) => {}
                result => return result,
            }
        }
        Err(FabricError::UnknownConnection)
    }
}

impl ConnectionManager for MachineManager {
    fn listen(&mut self, at: ListenAddress, backlog: u32) -> Result<ListenerId, FabricError> {
        self.catch_up()?;
        let mut on = Vec::new();
        let absent = |errno: Option<i32>| matches!(errno, Some(libc::ENODEV | libc::EADDRNOTAVAIL));
        for (slot, manager) in self.managers.iter_mut().enumerate() {
            match manager.listen(at, backlog) {
                Ok(id) => on.push((slot, id)),
                Err(FabricError::Call { source, .. }) if absent(source.raw_os_error()) => {}
                Err(error) => {
                    for (slot, id) in on {
                        self.managers[slot].unlisten(id);
                    }
                    return Err(error);
                }
            }
        }
        if on.is_empty() && !is_wildcard(at) {
            return Err(FabricError::from_errno("rdma_listen", libc::EADDRNOTAVAIL));
        }
        let id = ListenerId(self.next_listener);
        self.next_listener += 1;
        self.listeners
            .insert(id, MachineListener { at, backlog, on });
        Ok(id)
    }

    fn unlisten(&mut self, listener: ListenerId) {
        let listener = self.listeners.remove(&listener);
        for (slot, id) in listener.into_iter().flat_map(|listener| listener.on) {
            self.managers[slot].unlisten(id);
        }
    }

    fn resolve(&mut self, to: SocketAddr) -> Result<ConnectionId, FabricError> {
        self.catch_up()?;
        // Which one it would be, a routing table decides.
        let first = self.managers.first_mut();
        first
            .ok_or_else(|| FabricError::NoDevice("no adapter".to_owned()))?
            .resolve(to)
    }

    fn create_queue_pair(
        &mut self,
        connection: ConnectionId,
        config: QueuePairConfig,
        completions: &Arc<dyn CompletionQueue>,
    ) -> Result<Box<dyn QueuePair>, FabricError> {
        // Here the queue comes first: a manager of another adapter says that it is not its own.
        for manager in &mut self.managers {
            match manager.create_queue_pair(connection, config, completions) {
                Err(FabricError::UnknownConnection | FabricError::Invalid(_)) => {}
                result => return result,
            }
        }
        Err(FabricError::UnknownConnection)
    }

    fn connect(
        &mut self,
        connection: ConnectionId,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError> {
        self.on(|manager| manager.connect(connection, params))
    }

    fn accept(
        &mut self,
        connection: ConnectionId,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError> {
        self.on(|manager| manager.accept(connection, params))
    }

    fn reject(&mut self, connection: ConnectionId, private_data: &[u8]) -> Result<(), FabricError> {
        self.on(|manager| manager.reject(connection, private_data))
    }

    fn notify_established(&mut self, connection: ConnectionId) -> Result<(), FabricError> {
        self.on(|manager| manager.notify_established(connection))
    }

    fn disconnect(&mut self, connection: ConnectionId) -> Result<(), FabricError> {
        self.on(|manager| manager.disconnect(connection))
    }

    fn forget(&mut self, connection: ConnectionId) {
        for manager in &mut self.managers {
            manager.forget(connection);
        }
    }

    fn next_event(&mut self) -> Result<Option<CmEvent>, FabricError> {
        self.catch_up()?;
        for slot in 0..self.managers.len() {
            let Some(event) = self.managers[slot].next_event()? else {
                continue;
            };
            let event = match event {
                CmEvent::ConnectRequest(request) => {
                    let Some(listener) = self.ours(slot, request.listener) else {
                        continue;
                    };
                    CmEvent::ConnectRequest(ConnectRequest {
                        listener,
                        ..request
                    })
                }
                CmEvent::ListenerRemoved { listener } => match self.ours(slot, listener) {
                    Some(listener) => CmEvent::ListenerRemoved { listener },
                    None => continue,
                },
                event => event,
            };
            return Ok(Some(event));
        }
        Ok(None)
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
