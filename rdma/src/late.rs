//! A provider that is opened when it is needed and there.
//!
//! A daemon may be up before the driver of its adapter is, or be given portals over RDMA long after its start. [`LateFabric`] has no
//! adapter until its provider opens, which it tries whenever somebody looks for adapters or wants to listen.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::epoll;

use crate::fabric::{
    Adapter, CmEvent, CompletionQueue, ConnectParams, ConnectionId, ConnectionManager, Fabric,
    FabricError, ListenAddress, ListenerId, QueuePair, QueuePairConfig,
};

/// A provider that may not be there yet.
#[derive(Debug)]
pub struct LateFabric {
    provider: Arc<Provider>,
}

impl LateFabric {
    /// The provider that `open` opens. [`FabricError::NoDevice`] is taken as "not yet".
    pub fn new(
        open: impl Fn() -> Result<Arc<dyn Fabric>, FabricError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            provider: Arc::new(Provider {
                open: Box::new(open),
                opened: Mutex::new(None),
            }),
        }
    }

    /// One that is never there.
    pub fn never() -> Self {
        Self::new(|| Err(FabricError::NoDevice("there never is".to_owned())))
    }
}

impl Fabric for LateFabric {
    fn adapters(&self) -> Result<Vec<Arc<dyn Adapter>>, FabricError> {
        match self.provider.get() {
            Ok(fabric) => fabric.adapters(),
            Err(FabricError::NoDevice(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn connection_manager(&self) -> Result<Box<dyn ConnectionManager>, FabricError> {
        Ok(Box::new(LateConnectionManager {
            provider: Arc::clone(&self.provider),
            manager: None,
            events: epoll::create(epoll::CreateFlags::CLOEXEC)
                .map_err(|error| call("epoll_create1", error))?,
        }))
    }
}

fn call(call: &'static str, error: rustix::io::Errno) -> FabricError {
    FabricError::Call {
        call,
        source: error.into(),
    }
}

struct Provider {
    open: Box<dyn Fn() -> Result<Arc<dyn Fabric>, FabricError> + Send + Sync>,
    opened: Mutex<Option<Arc<dyn Fabric>>>,
}

impl Provider {
    fn get(&self) -> Result<Arc<dyn Fabric>, FabricError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        match &*opened {
            Some(fabric) => Ok(Arc::clone(fabric)),
            None => Ok(Arc::clone(opened.insert((self.open)()?))),
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Provider")
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

/// The connection manager of a provider that may not be there yet.
#[derive(Debug)]
struct LateConnectionManager {
    provider: Arc<Provider>,
    manager: Option<Box<dyn ConnectionManager>>,
    // Readable when the manager's own descriptor is: whoever watches this one need not know when the manager came.
    events: OwnedFd,
}

impl LateConnectionManager {
    /// The manager, opened if its provider is there.
    fn opened(&mut self) -> Result<&mut dyn ConnectionManager, FabricError> {
        if self.manager.is_none() {
            let manager = self.provider.get()?.connection_manager()?;
            epoll::add(
                &self.events,
                manager.event_fd(),
                epoll::EventData::new_u64(0),
                epoll::EventFlags::IN,
            )
            .map_err(|error| call("epoll_ctl", error))?;
            self.manager = Some(manager);
        }
        self.known()
    }

    /// The manager, if a connection can be its.
    fn known(&mut self) -> Result<&mut dyn ConnectionManager, FabricError> {
        match &mut self.manager {
            Some(manager) => Ok(manager.as_mut()),
            None => Err(FabricError::UnknownConnection),
        }
    }
}

impl ConnectionManager for LateConnectionManager {
    fn listen(&mut self, at: ListenAddress, backlog: u32) -> Result<ListenerId, FabricError> {
        self.opened()?.listen(at, backlog)
    }

    fn unlisten(&mut self, listener: ListenerId) {
        if let Some(manager) = &mut self.manager {
            manager.unlisten(listener);
        }
    }

    fn resolve(&mut self, to: SocketAddr) -> Result<ConnectionId, FabricError> {
        self.opened()?.resolve(to)
    }

    fn create_queue_pair(
        &mut self,
        connection: ConnectionId,
        config: QueuePairConfig,
        completions: &Arc<dyn CompletionQueue>,
    ) -> Result<Box<dyn QueuePair>, FabricError> {
        self.known()?
            .create_queue_pair(connection, config, completions)
    }

    fn connect(
        &mut self,
        connection: ConnectionId,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError> {
        self.known()?.connect(connection, params)
    }

    fn accept(
        &mut self,
        connection: ConnectionId,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError> {
        self.known()?.accept(connection, params)
    }

    fn reject(&mut self, connection: ConnectionId, private_data: &[u8]) -> Result<(), FabricError> {
        self.known()?.reject(connection, private_data)
    }

    fn notify_established(&mut self, connection: ConnectionId) -> Result<(), FabricError> {
        self.known()?.notify_established(connection)
    }

    fn disconnect(&mut self, connection: ConnectionId) -> Result<(), FabricError> {
        self.known()?.disconnect(connection)
    }

    fn forget(&mut self, connection: ConnectionId) {
        if let Some(manager) = &mut self.manager {
            manager.forget(connection);
        }
    }

    fn next_event(&mut self) -> Result<Option<CmEvent>, FabricError> {
        match &mut self.manager {
            Some(manager) => manager.next_event(),
            None => Ok(None),
        }
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::SeqCst;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::fabric::ServiceId;
    use crate::sim::SimNet;

    fn is_readable(manager: &dyn ConnectionManager) -> bool {
        let fd = manager.event_fd();
        let mut polled = [PollFd::new(&fd, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut polled, Some(&now)).unwrap();
        polled[0].revents().contains(PollFlags::IN)
    }

    #[test]
    fn what_is_not_there_serves_no_portal() {
        let fabric = LateFabric::never();
        assert!(fabric.adapters().unwrap().is_empty());
        let mut manager = fabric.connection_manager().unwrap();
        for at in [
            ListenAddress::Ip("127.0.0.1:5000".parse().unwrap()),
            ListenAddress::Service(ServiceId(0x0106_1234)),
        ] {
            let refused = manager.listen(at, 1).unwrap_err();
            assert!(matches!(refused, FabricError::NoDevice(_)), "{refused}");
        }
        assert!(manager.next_event().unwrap().is_none());
        assert!(!is_readable(&*manager));
    }

    #[test]
    fn what_comes_later_is_used() {
        let net = SimNet::new(1);
        let far = net.fabric("far", &["10.0.0.2".parse().unwrap()]).unwrap();
        let near = net.fabric("near", &["10.0.0.1".parse().unwrap()]).unwrap();
        let there = Arc::new(AtomicBool::new(false));
        let fabric = LateFabric::new({
            let there = Arc::clone(&there);
            move || match there.load(SeqCst) {
                true => Ok(Arc::clone(&near) as Arc<dyn Fabric>),
                false => Err(FabricError::NoDevice("not yet".to_owned())),
            }
        });
        let mut manager = fabric.connection_manager().unwrap();
        let address: SocketAddr = "10.0.0.1:5000".parse().unwrap();
        let refused = manager.listen(ListenAddress::Ip(address), 1).unwrap_err();
        assert!(refused.to_string().contains("not yet"), "{refused}");

        there.store(true, SeqCst);
        let adapters = fabric.adapters().unwrap();
        assert_eq!(adapters.len(), 1);
        assert!(Arc::ptr_eq(&adapters[0], &fabric.adapters().unwrap()[0]));
        let listener = manager.listen(ListenAddress::Ip(address), 1).unwrap();
        assert!(!is_readable(&*manager));

        let mut peer = far.connection_manager().unwrap();
        peer.resolve(address).unwrap();
        net.run_until_idle();
        let Some(CmEvent::Resolved {
            connection,
            adapter,
        }) = peer.next_event().unwrap()
        else {
            panic!("not resolved");
        };
        let completions = adapter.completion_queue(8).unwrap();
        let config = QueuePairConfig {
            send_requests: 1,
            receive_requests: 1,
            send_sge: 1,
        };
        let _pair = peer
            .create_queue_pair(connection, config, &completions)
            .unwrap();
        peer.connect(connection, &ConnectParams::default()).unwrap();
        net.run_until_idle();
        assert!(is_readable(&*manager), "who watched before hears of it");
        let Some(CmEvent::ConnectRequest(request)) = manager.next_event().unwrap() else {
            panic!("no request");
        };
        assert_eq!(request.listener, listener);
        manager.reject(request.connection, b"").unwrap();
    }
}
