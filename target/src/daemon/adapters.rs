//! Adapters: taken into service when they are found, let go of when they are gone.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pagecast_rdma::fabric::{Adapter, AdapterEvent, CompletionQueue, FabricError};

use super::buffers::{BufferStock, Layout};
use super::{Control, StartError, devices, layout};
use crate::config::Settings;
use crate::device::{Device, MAX_ADAPTERS};
use crate::events::EventKind;
use crate::shard::connection::MessageBuffers;
use crate::shard::messages::{CloseReason, ShardMessage};
use crate::shard::port::Port;

/// An adapter in service.
#[derive(Debug)]
pub struct AdapterPort {
    /// The adapter.
    pub adapter: Arc<dyn Adapter>,
    /// Message buffers on it.
    pub stock: BufferStock,
    /// The completion queue of each shard.
    pub queues: Vec<Arc<dyn CompletionQueue>>,
    /// Whether it is there.
    pub presence: Presence,
}

/// Whether an adapter is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    There,
    /// Its device is being removed, and was seen to be so then. It is let go of after its last connection.
    Leaving(Instant),
    /// It is gone: no logins over it, and its connections are closed.
    Gone,
}

/// How long connections may end by themselves when their device is being removed. An initiator on the same machine says goodbye over them.
const FAREWELL: Duration = Duration::from_secs(10);

/// A device that a thread attaches to an adapter.
#[derive(Debug)]
pub(super) struct Attaching {
    device: usize,
    adapter: Weak<dyn Adapter>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Takes adapters into service that were not there before. Slow: registers their buffers.
    pub fn find_adapters(&mut self) -> Result<(), StartError> {
        if !self.needs_adapters() {
            return Ok(());
        }
        for adapter in self.fabric.adapters()? {
            if self.port_of(&adapter).is_none() {
                self.add_adapter(adapter)?;
            }
        }
        Ok(())
    }

    /// Whether adapters are of any use. Where all is TCP they are other people's, and their memory is for something else.
    fn needs_adapters(&self) -> bool {
        self.shared.inventory().config.needs_rdma()
    }

    /// Looks for adapters that were plugged in, that nobody needed before, or that are gone, and for the addresses that they bring.
    pub fn look_around(&mut self, now: Instant) {
        if !self.needs_adapters() && self.in_service().next().is_none() {
            return self.listen_again();
        }
        match self.fabric.adapters() {
            Ok(adapters) => {
                self.let_go_of_missing(&adapters, now);
                if self.needs_adapters() {
                    self.take_in(adapters);
                }
            }
            Err(error) => tracing::debug!(%error, "looking for adapters"),
        }
        self.listen_again();
    }

    /// The adapters in service, with their numbers.
    fn in_service(&self) -> impl Iterator<Item = (usize, &Arc<dyn Adapter>)> {
        let ports = self.ports.iter().enumerate();
        ports
            .filter(|(number, _)| self.local_port != Some(*number))
            .filter_map(|(number, port)| Some((number, &port.as_ref()?.adapter)))
    }

    /// Not every driver tells that its device is gone, and SoftRoCE's waits for us to let go of it. But one that is being removed is no
    /// longer listed either, while what else uses it in the kernel still has to.
    fn let_go_of_missing(&mut self, adapters: &[Arc<dyn Adapter>], now: Instant) {
        for number in 0..MAX_ADAPTERS {
            let Some(Some(port)) = self.ports.get_mut(number) else {
                continue;
            };
            let is_listed = adapters
                .iter()
                .any(|other| Arc::ptr_eq(other, &port.adapter));
            let adapter = port.adapter.name();
            match port.presence {
                _ if self.local_port == Some(number) => {}
                Presence::Leaving(_) if is_listed => port.presence = Presence::There,
                _ if is_listed => {}
                Presence::There => {
                    tracing::warn!(adapter, "adapter is being removed");
                    port.presence = Presence::Leaving(now);
                    self.retire_if_unused(number);
                }
                Presence::Leaving(since) if now.saturating_duration_since(since) >= FAREWELL => {
                    tracing::warn!(adapter, "adapter is gone");
                    self.adapter_gone(number);
                }
                Presence::Leaving(_) | Presence::Gone => {}
            }
        }
    }

    fn take_in(&mut self, adapters: Vec<Arc<dyn Adapter>>) {
        self.unusable
            .retain(|name| adapters.iter().any(|adapter| adapter.name() == name));
        for adapter in adapters {
            if self.port_of(&adapter).is_some() {
                continue;
            }
            let name = adapter.name().to_owned();
            match self.add_adapter(adapter) {
                Ok(_) => self.unusable.retain(|other| *other != name),
                // Others may be better. Told once, though it is tried again.
                Err(error) if !self.unusable.contains(&name) => {
                    tracing::error!(adapter = name, %error, "cannot use an adapter");
                    let what = format!("cannot use the adapter {name}: {error}");
                    self.shared.events.tell(EventKind::Error { what });
                    self.unusable.push(name);
                }
                Err(_) => {}
            }
        }
    }

    /// The number of an adapter in service.
    pub(super) fn port_of(&self, adapter: &Arc<dyn Adapter>) -> Option<usize> {
        self.ports
            .iter()
            .position(|port| matches!(port, Some(port) if Arc::ptr_eq(&port.adapter, adapter)))
    }

    /// Takes an adapter into service and returns its number.
    pub(super) fn add_adapter(&mut self, adapter: Arc<dyn Adapter>) -> Result<usize, StartError> {
        let Some(number) = self.ports.iter().position(Option::is_none) else {
            return Err(FabricError::Invalid("too many adapters").into());
        };
        let settings = &self.shared.settings;
        let staging = staging_share(settings);
        // Byte streams have buffers of their own, and no windows.
        let local = adapter.capabilities().max_work_requests == 0;
        let layout = if local {
            Layout::NONE
        } else {
            layout(settings)
        };
        let memory_error = |bytes: usize, source: FabricError| StartError::Memory {
            adapter: adapter.name().to_owned(),
            bytes,
            source,
        };
        let stock = BufferStock::new(Arc::clone(&adapter), layout, self.orders.clone())
            .map_err(|source| memory_error(layout.bytes(), source))?;
        let shares = self
            .shards
            .iter()
            .map(|_| Port::open(Arc::clone(&adapter), staging))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| memory_error(staging, source))?;
        let queues = shares
            .iter()
            .map(|share| Arc::clone(&share.completions))
            .collect();
        for (shard, share) in self.shards.iter().zip(shares) {
            shard
                .mail
                .send(ShardMessage::Port(number, Some(Box::new(share))));
        }
        if !local {
            tracing::info!(adapter = adapter.name(), "adapter in service");
            self.shared.adapters().push(Arc::clone(&adapter));
            for device in &self.shared.inventory().devices {
                self.attach(device, &adapter);
            }
            self.shared.events.tell(EventKind::AdapterAdded {
                adapter: adapter.name().to_owned(),
            });
        }
        self.ports[number] = Some(AdapterPort {
            adapter,
            stock,
            queues,
            presence: Presence::There,
        });
        self.count_message_bytes();
        Ok(number)
    }

    /// Has devices attached to adapters by threads from now on.
    pub fn attach_by_threads(&mut self) {
        self.attaching = Some(Vec::new());
    }

    /// Serves the page cache of a device over an adapter as well. What works there is tried with a page of its store, which may hang: from
    /// when there are threads, one of them does it. Until it has, connections over the adapter are served without windows.
    pub(super) fn attach(&mut self, device: &Arc<Device>, adapter: &Arc<dyn Adapter>) {
        let Some(windows) = &device.windows else {
            return;
        };
        if windows.cache(adapter).is_some() {
            return;
        }
        let Some(attaching) = &mut self.attaching else {
            return device.attach(adapter);
        };
        attaching.retain(|one| !one.thread.is_finished());
        let is_same = |one: &Attaching| {
            one.device == device.index && one.adapter.ptr_eq(&Arc::downgrade(adapter))
        };
        if attaching.iter().any(is_same) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let (own, own_adapter) = (Arc::clone(device), Arc::clone(adapter));
        let attaches = move || {
            own.attach(&own_adapter);
            // It may have gone meanwhile.
            let stays = (shared.adapters().iter()).any(|other| Arc::ptr_eq(other, &own_adapter));
            if !stays {
                own.detach(&own_adapter);
            }
        };
        let name = "device-attach".to_owned();
        match thread::Builder::new().name(name).spawn(attaches) {
            Ok(thread) => attaching.push(Attaching {
                device: device.index,
                adapter: Arc::downgrade(adapter),
                thread,
            }),
            Err(error) => {
                tracing::warn!(device = device.name, adapter = adapter.name(), %error, "no windows there: cannot start a thread");
            }
        }
    }

    /// Message buffers that were ordered have come, or will not. Those of an adapter that is out of service go at once.
    pub(super) fn buffers_delivered(
        &mut self,
        adapter: &Arc<dyn Adapter>,
        buffers: Option<MessageBuffers>,
    ) {
        let mut ports = self.ports.iter_mut().flatten();
        if let Some(port) = ports.find(|port| Arc::ptr_eq(&port.adapter, adapter)) {
            match buffers {
                Some(buffers) => port.stock.delivered(buffers),
                None => port.stock.failed(),
            }
        }
        self.count_message_bytes();
    }

    fn count_message_bytes(&self) {
        let ports = self.ports.iter().flatten();
        let bytes: usize = ports.map(|port| port.stock.bytes()).sum();
        self.shared.message_bytes.store(bytes as u64, Relaxed);
    }

    /// Takes what adapters report, and says whether there was anything.
    pub(super) fn adapter_events(&mut self) -> bool {
        let mut any = false;
        for number in 0..MAX_ADAPTERS {
            while let Some(event) = self.ports[number]
                .as_ref()
                .and_then(|port| port.adapter.next_event())
            {
                any = true;
                self.adapter_event(number, event);
            }
        }
        any
    }

    fn adapter_event(&mut self, number: usize, event: AdapterEvent) {
        let name = self.ports[number]
            .as_ref()
            .map_or_else(String::new, |port| port.adapter.name().to_owned());
        match event {
            AdapterEvent::Fatal => {
                tracing::error!(adapter = %name, "adapter failed or was removed");
                self.adapter_gone(number);
            }
            AdapterEvent::CompletionQueueError => {
                tracing::error!(adapter = %name, "a completion queue overran; closing the adapter's connections");
                self.close_all(number);
            }
            AdapterEvent::PortActive(port) => {
                tracing::info!(adapter = %name, port, "port is up");
            }
            AdapterEvent::PortError(port) => {
                tracing::warn!(adapter = %name, port, "port is down");
            }
            AdapterEvent::QueuePairError(queue_pair) => {
                tracing::debug!(adapter = %name, queue_pair, "queue pair error");
            }
            AdapterEvent::Other(code) => {
                tracing::debug!(adapter = %name, code, "adapter event");
            }
        }
    }

    /// An adapter is gone: its connections are closed, and after the last one it is let go of.
    pub(super) fn adapter_gone(&mut self, number: usize) {
        if let Some(Some(port)) = self.ports.get_mut(number)
            && port.presence != Presence::Gone
        {
            port.presence = Presence::Gone;
            self.close_all(number);
            self.retire_if_unused(number);
        }
    }

    fn close_all(&mut self, number: usize) {
        let lost: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, entry)| entry.port == number)
            .map(|(&key, _)| key)
            .collect();
        for key in lost {
            self.end(key, CloseReason::AdapterRemoved);
        }
    }

    /// Lets go of an adapter that is gone or going, once it has no connection any more.
    pub(super) fn retire_if_unused(&mut self, number: usize) {
        let Some(place) = self.ports.get_mut(number) else {
            return;
        };
        let stays = |port: &AdapterPort| port.presence == Presence::There;
        let used = (self.connections.values()).any(|entry| entry.port == number);
        if used || place.as_ref().is_none_or(stays) {
            return;
        }
        if let Some(port) = place.take() {
            for shard in &self.shards {
                shard.mail.send(ShardMessage::Port(number, None));
            }
            let mut adapters = self.shared.adapters();
            adapters.retain(|adapter| !Arc::ptr_eq(adapter, &port.adapter));
            drop(adapters);
            // After that: whoever attaches one on a thread looks there when it is done.
            for device in &self.shared.inventory().devices {
                device.detach(&port.adapter);
            }
            tracing::info!(adapter = port.adapter.name(), "adapter out of service");
            self.shared.events.tell(EventKind::AdapterRemoved {
                adapter: port.adapter.name().to_owned(),
            });
        }
        self.count_message_bytes();
    }
}

/// Bytes of staging memory that each shard has on each adapter.
pub(super) fn staging_share(settings: &Settings) -> usize {
    (settings.staging_memory.bytes() as usize / settings.shard_count()).max(devices::MIN_STAGING)
}
