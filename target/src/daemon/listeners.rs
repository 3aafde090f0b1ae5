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

/// A listener: one of those that a portal needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) portal: Portal,
    address: ListenAddress,
}

impl Place {
    /// Those of one portal among `all`. An IPv6 listener takes IPv6 only, so the wildcard for both is two listeners, unless others are there
    /// for IPv4.
    fn of(portal: Portal, all: &[Portal]) -> Vec<Self> {
        let has_ipv4 = |port: u16| {
            all.iter().any(|other| {
                let is_ipv4 = matches!(other.endpoint, Endpoint::Ip { address: IpAddr::V4(_), port: its } if its == port);
                is_ipv4 && other.transport.is_rdma() == portal.transport.is_rdma()
            })
        };
        let ip = |address, port| ListenAddress::Ip(SocketAddr::new(address, port));
        let addresses = match portal.endpoint {
            Endpoint::Ip { address, port }
                if address.is_unspecified() && address.is_ipv6() && !has_ipv4(port) =>
            {
                vec![ip(Ipv4Addr::UNSPECIFIED.into(), port), ip(address, port)]
            }
            Endpoint::Ip { address, port } => vec![ip(address, port)],
            Endpoint::Service { service_id } => {
                vec![ListenAddress::Service(ServiceId(service_id.value()))]
            }
        };
        let place = |address| Self { portal, address };
        addresses.into_iter().map(place).collect()
    }

    /// Whether there cannot be both.
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        if self.portal.transport.is_rdma() != other.portal.transport.is_rdma() {
            return false;
        }
        match (self.address, other.address) {
            (ListenAddress::Ip(one), ListenAddress::Ip(other)) => {
                let overlap = one.ip() == other.ip()
                    || one.ip().is_unspecified()
                    || other.ip().is_unspecified();
                one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && overlap
            }
            (one, other) => one == other,
        }
    }
}

/// A TCP socket that listens.
#[derive(Debug)]
pub(super) struct TcpPortal {
    socket: TcpListener,
    place: Place,
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
        let portals = config.portals();
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
        let Some(Place { portal, .. }) = self.listeners.remove(&listener) else {
            return;
        };
        // All of it, if it had several listeners.
        self.drop_listeners(portal);
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
        self.shared.inventory().config.portals()
    }

    /// The listeners that portals need, but for those that are tried again by themselves.
    fn needed(&self, portals: &[Portal]) -> Vec<Place> {
        let silent = self.shared.troubles.portals();
        let is_silent = |portal: Portal| silent.iter().any(|(other, _)| *other == portal);
        (portals.iter())
            .filter(|&&portal| !is_silent(portal))
            .flat_map(|&portal| Place::of(portal, portals))
            .collect()
    }

    /// The listeners that there are.
    fn places(&self) -> Vec<Place> {
        let tcp = self.tcp_portals.iter().map(|portal| portal.place);
        self.listeners.values().copied().chain(tcp).collect()
    }

    /// Listens on these portals, on all or none; where that takes it, no more on others. Those that are in nobody's way listen on until
    /// [`listen_as_configured`](Self::listen_as_configured).
    pub(super) fn listen_on_all(&mut self, portals: &[Portal]) -> Result<(), String> {
        if self.draining {
            return Err("the daemon is stopping".to_owned());
        }
        let (needed, there) = (self.needed(portals), self.places());
        let missing: Vec<Place> = (needed.iter())
            .filter(|place| !there.contains(place))
            .copied()
            .collect();
        let is_in_the_way = |place: &Place| missing.iter().any(|new| place.is_in_the_way_of(new));
        self.close_listeners(|place| !needed.contains(place) && is_in_the_way(place));
        for &place in &missing {
            if let Err(error) = self.listen_at(place) {
                self.listen_as_configured();
                return Err(error.to_string());
            }
        }
        for portal in portals {
            if missing.iter().any(|place| place.portal == *portal) {
                tracing::info!(%portal, "listening");
            }
        }
        Ok(())
    }

    /// Listens where the configuration in force says, and nowhere else. Who came in elsewhere stays.
    pub(super) fn listen_as_configured(&mut self) {
        if self.draining {
            return;
        }
        let portals = self.all_portals();
        (self.shared.troubles.portals()).retain(|(portal, _)| portals.contains(portal));
        let (needed, there) = (self.needed(&portals), self.places());
        self.close_listeners(|place| !needed.contains(place));
        for place in there {
            if !portals.contains(&place.portal) {
                tracing::info!(portal = %place.portal, address = ?place.address, "not listening any more");
            }
        }
        // None, but after a change that could not be made.
        let there = self.places();
        for place in needed.into_iter().filter(|place| !there.contains(place)) {
            if let Err(error) = self.listen_at(place) {
                self.drop_listeners(place.portal);
                self.note_silent(place.portal, why(&error));
            }
        }
    }

    fn close_listeners(&mut self, goes: impl Fn(&Place) -> bool) {
        let manager = &mut self.manager;
        self.listeners.retain(|&listener, place| {
            let stays = !goes(place);
            if !stays {
                manager.unlisten(listener);
            }
            stays
        });
        self.tcp_portals.retain(|portal| !goes(&portal.place));
    }

    fn drop_listeners(&mut self, portal: Portal) {
        self.close_listeners(|place| place.portal == portal);
    }

    /// Listens on one portal of `all`; on all of its addresses or none.
    fn listen_on(&mut self, portal: Portal, all: &[Portal]) -> Result<(), StartError> {
        for place in Place::of(portal, all) {
            if let Err(error) = self.listen_at(place) {
                self.drop_listeners(portal);
                return Err(error);
            }
        }
        tracing::info!(%portal, "listening");
        Ok(())
    }

    fn listen_at(&mut self, place: Place) -> Result<(), StartError> {
        let Place { portal, address } = place;
        let failed = |source: FabricError| {
            let hint = hint(&source, portal.transport.is_rdma());
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
                    place,
                    watched: false,
                });
            }
            address => {
                let id = self.manager.listen(address, BACKLOG).map_err(failed)?;
                self.listeners.insert(id, place);
            }
        }
        Ok(())
    }

    /// Whether there is no target at a portal: it listens for a change that is not in force yet. Whoever comes so early is to hear that nobody
    /// is there, and to try again, not that the target is unknown.
    pub(super) fn is_early(&self, portal: Portal) -> bool {
        self.shared.inventory().targets_at(portal).next().is_none()
    }

    /// Takes in those who connected over TCP, and says whether there was anybody.
    pub(super) fn accept_tcp(&mut self) -> bool {
        let mut arrived = Vec::new();
        for listener in &self.tcp_portals {
            // Bounded, so that a storm of connections does not keep mail waiting.
            for _ in 0..16 {
                match listener.socket.accept() {
                    Ok((socket, peer)) => arrived.push((socket, peer, listener.place.portal)),
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
            if self.is_early(portal) {
                tracing::debug!(%peer, %portal, "there is no target here yet");
                continue;
            }
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
    match source {
        FabricError::NoDevice(_) => true,
        FabricError::Call { source, .. } => matches!(
            source.raw_os_error().map(Errno::from_raw_os_error),
            Some(Errno::ADDRNOTAVAIL | Errno::NODEV | Errno::NETDOWN | Errno::NETUNREACH)
        ),
        _ => false,
    }
}

/// Why a portal cannot listen, where it is clear which one.
fn why(error: &StartError) -> String {
    match error {
        // Nothing is to be left out of what waits for its device.
        StartError::Listen {
            source: source @ FabricError::NoDevice(_),
            ..
        } => source.to_string(),
        StartError::Listen { source, hint, .. } => format!("{source}{hint}"),
        error => error.to_string(),
    }
}

/// What to do when a portal cannot listen.
fn hint(error: &FabricError, is_rdma: bool) -> &'static str {
    match error {
        FabricError::NoDevice(_) => {
            "; iscsi-tcp needs none: leave out the other transports (pagecast target add NAME --portal iscsi-tcp)"
        }
        FabricError::Call { source, .. } => match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another program listens there: stop it, or choose another \"port\""
            }
            std::io::ErrorKind::AddrNotAvailable if is_rdma => {
                "; no interface of this machine that RDMA works over has that address: use one that has, or \"0.0.0.0\""
            }
            std::io::ErrorKind::AddrNotAvailable => {
                "; no interface of this machine has that address: use one that has, or \"0.0.0.0\""
            }
            _ => "",
        },
        _ => "",
    }
}
