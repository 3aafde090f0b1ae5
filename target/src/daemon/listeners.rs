//! Where the daemon listens: the connection manager's listeners, and TCP's.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use pagecast_rdma::fabric::{FabricError, ListenAddress, ListenerId, ServiceId};
use pagecast_rdma::local::LocalAdapter;
use rustix::io::Errno;

use super::{BACKLOG, Control, StartError};
use crate::config::{Config, Endpoint, Portal};
use crate::events::EventKind;

/// Silence on a TCP connection after which the kernel asks whether the peer is there, and how long it waits for an answer. iSCSI
/// has pings of its own; these are for where they are switched off.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A TCP socket that listens.
#[derive(Debug)]
pub(super) struct TcpPortal {
    socket: TcpListener,
    portal: Portal,
    /// Whether the control thread's sleep ends when somebody connects.
    pub(super) watched: bool,
}

impl TcpPortal {
    /// Readable when somebody connects.
    pub(super) fn event_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Control {
    /// Listens on every portal. Those whose address is not there yet are tried again later.
    pub(super) fn listen(&mut self, config: &Config) -> Result<(), StartError> {
        let portals: Vec<Portal> = (config.listeners().iter())
            .map(|listener| listener.portal)
            .collect();
        for &portal in &portals {
            match self.listen_on(portal, &portals) {
                Err(error) if is_absent(&error) => self.note_silent(portal, why(&error)),
                listening => listening?,
            }
        }
        self.shared.ready.store(true, SeqCst);
        Ok(())
    }

    /// Listens on the portals again whose address was not there.
    pub fn listen_again(&mut self) {
        if self.draining {
            return;
        }
        let silent: Vec<Portal> = (self.shared.troubles.portals().iter())
            .map(|&(portal, _)| portal)
            .collect();
        if silent.is_empty() {
            return;
        }
        let all = self.all_portals();
        for portal in silent {
            match self.listen_on(portal, &all) {
                Ok(()) => {
                    let mut portals = self.shared.troubles.portals();
                    portals.retain(|(other, _)| *other != portal);
                }
                Err(error) => self.note_silent(portal, why(&error)),
            }
        }
    }

    /// The adapter under a listener is gone.
    pub(super) fn listener_lost(&mut self, listener: ListenerId) {
        self.manager.unlisten(listener);
        let Some(portal) = self.listeners.remove(&listener) else {
            return;
        };
        // All of it, if it had several listeners.
        self.drop_listeners(&[portal]);
        self.note_silent(portal, "its RDMA device is gone".to_owned());
        // Another device may have the address already.
        self.listen_again();
    }

    /// A portal does not listen.
    fn note_silent(&self, portal: Portal, why: String) {
        let mut portals = self.shared.troubles.portals();
        match portals.iter_mut().find(|(other, _)| *other == portal) {
            Some((_, before)) if *before == why => return,
            Some((_, before)) => before.clone_from(&why),
            None => portals.push((portal, why.clone())),
        }
        drop(portals);
        tracing::warn!(%portal, why, "not listening; it is tried again");
        let what = format!("not listening on {portal}: {why}; it is tried again");
        self.shared.events.tell(EventKind::Error { what });
    }

    fn all_portals(&self) -> Vec<Portal> {
        let inventory = self.shared.inventory();
        let targets = inventory.config.targets.iter();
        targets
            .flat_map(|target| &target.portals)
            .copied()
            .collect()
    }

    /// Listens on these as well, on all or none.
    pub(super) fn listen_on_all(&mut self, portals: &[Portal]) -> Result<(), String> {
        if self.draining {
            return Err("the daemon is stopping".to_owned());
        }
        let mut all = self.all_portals();
        all.extend(portals);
        for (done, &portal) in portals.iter().enumerate() {
            if let Err(error) = self.listen_on(portal, &all) {
                self.unlisten(portals.get(..=done).unwrap_or_default());
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    /// Listens there no more. Who came in there stays.
    pub(super) fn unlisten(&mut self, portals: &[Portal]) {
        self.drop_listeners(portals);
        (self.shared.troubles.portals()).retain(|(portal, _)| !portals.contains(portal));
        for portal in portals {
            tracing::info!(%portal, "not listening any more");
        }
    }

    fn drop_listeners(&mut self, portals: &[Portal]) {
        let manager = &mut self.manager;
        self.listeners.retain(|&listener, portal| {
            let stays = !portals.contains(portal);
            if !stays {
                manager.unlisten(listener);
            }
            stays
        });
        self.tcp_portals
            .retain(|portal| !portals.contains(&portal.portal));
    }

    /// Listens on one portal of `all`; on all of its addresses or none.
    fn listen_on(&mut self, portal: Portal, all: &[Portal]) -> Result<(), StartError> {
        let has_ipv4 = |port: u16| {
            all.iter().any(|portal| {
                matches!(portal.endpoint, Endpoint::Ip { address: IpAddr::V4(_), port: other } if other == port)
            })
        };
        let addresses = match portal.endpoint {
            // An IPv6 listener takes IPv6 only, so the wildcard for both is two listeners.
            Endpoint::Ip { address, port }
                if address.is_unspecified() && address.is_ipv6() && !has_ipv4(port) =>
            {
                let both = [Ipv4Addr::UNSPECIFIED.into(), address];
                both.map(|address| ListenAddress::Ip(SocketAddr::new(address, port)))
                    .to_vec()
            }
            Endpoint::Ip { address, port } => {
                vec![ListenAddress::Ip(SocketAddr::new(address, port))]
            }
            Endpoint::Service { service_id } => {
                vec![ListenAddress::Service(ServiceId(service_id.value()))]
            }
        };
        for address in addresses {
            if let Err(error) = self.listen_at(address, portal) {
                self.drop_listeners(&[portal]);
                return Err(error);
            }
        }
        tracing::info!(%portal, "listening");
        Ok(())
    }

    fn listen_at(&mut self, address: ListenAddress, portal: Portal) -> Result<(), StartError> {
        let failed = |source: FabricError| {
            let hint = hint(&source);
            StartError::Listen {
                portal: portal.to_string(),
                source,
                hint,
            }
        };
        match address {
            ListenAddress::Ip(address) if !portal.transport.is_rdma() => {
                if self.local_port.is_none() {
                    let adapter = LocalAdapter::new()?;
                    self.local_port = Some(self.add_adapter(Arc::new(adapter))?);
                }
                let socket = listen_tcp(address).map_err(|source| {
                    failed(FabricError::Call {
                        call: "listen",
                        source,
                    })
                })?;
                self.tcp_portals.push(TcpPortal {
                    socket,
                    portal,
                    watched: false,
                });
            }
            address => {
                let id = self.manager.listen(address, BACKLOG).map_err(failed)?;
                self.listeners.insert(id, portal);
            }
        }
        Ok(())
    }

    /// Takes in those who connected over TCP, and says whether there was anybody.
    pub(super) fn accept_tcp(&mut self) -> bool {
        let mut arrived = Vec::new();
        for listener in &self.tcp_portals {
            // Bounded, so that a storm of connections does not keep mail waiting.
            for _ in 0..16 {
                match listener.socket.accept() {
                    Ok((socket, peer)) => arrived.push((socket, peer, listener.portal)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        // Out of descriptors, say. Who waits is turned away, so that the listener is quiet until the next one.
                        self.accept_trouble.note(&error.to_string());
                        drop(self.spare_descriptor.take());
                        drop(listener.socket.accept());
                        self.spare_descriptor = spare_descriptor();
                        break;
                    }
                }
            }
        }
        let any = !arrived.is_empty();
        for (socket, peer, portal) in arrived {
            if let Err(error) = self.adopt_stream(socket, peer, portal) {
                self.accept_trouble.note(&format!("{peer}: {error}"));
            }
        }
        any
    }
}

/// Troubles with newcomers, told once in a while: there may be thousands.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    told: Option<Instant>,
    untold: u64,
}

impl Troubles {
    fn note(&mut self, why: &str) {
        let now = Instant::now();
        let quiet = |told: Instant| now.saturating_duration_since(told) < Duration::from_secs(1);
        if self.told.is_some_and(quiet) {
            self.untold += 1;
            return;
        }
        let before = std::mem::take(&mut self.untold);
        self.told = Some(now);
        tracing::warn!(why, before, "cannot take a connection");
    }
}

/// A descriptor to give up when there is none left to accept a connection with.
pub(super) fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

/// A socket that listens and never blocks. IPv6 sockets take IPv6 alone, as the connection manager's do.
fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG as i32)?;
    Ok(TcpListener::from(socket))
}

/// What a new connection's socket is set to: small PDUs leave at once, and a peer that is gone is noticed.
pub(super) fn prepare(socket: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE)?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    Ok(())
}

/// Whether a portal cannot listen because its address is not there: it may belong to an interface, or an RDMA device, that comes later.
fn is_absent(error: &StartError) -> bool {
    let StartError::Listen { source, .. } = error else {
        return false;
    };
    let FabricError::Call { source, .. } = source else {
        return false;
    };
    matches!(
        source.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::ADDRNOTAVAIL | Errno::NODEV | Errno::NETDOWN | Errno::NETUNREACH)
    )
}

/// Why a portal cannot listen, where it is clear which one.
fn why(error: &StartError) -> String {
    match error {
        StartError::Listen { source, hint, .. } => format!("{source}{hint}"),
        error => error.to_string(),
    }
}

/// What to do when a portal cannot listen.
fn hint(error: &FabricError) -> &'static str {
    match error {
        FabricError::Call { source, .. } => match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another program listens there: stop it, or choose another \"port\""
            }
            std::io::ErrorKind::AddrNotAvailable => {
                "; no interface of this machine that could serve it has that address: use one that has, or \"0.0.0.0\""
            }
            _ => "",
        },
        _ => "",
    }
}
