//! Serving the control socket.
//!
//! One thread accepts, and each client has one of its own, up to a bound: a client that is slow, or stopped, keeps nobody
//! waiting but itself. Nothing here is on the I/O path.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::Management;
use super::client::{self, Activity, Watchers};
use super::peer::Peer;
use super::rpc::{Code, RpcError};
use super::socket::{ControlSocket, SocketError};
use crate::acceptor::Acceptor;
use crate::ending::{Times, join_until};

/// Clients at a time. Of them, so many (`client::MAX_WATCHERS`) may watch events for long. When there are more, the one goes that has
/// asked for nothing for longest.
pub const MAX_CLIENTS: usize = 96;

/// Serves the control socket until it is dropped, which ends every client. What one has asked for may hang: it is not waited for longer
/// than [`Times`] says.
#[derive(Debug)]
pub struct ControlServer {
    acceptor: Acceptor,
    clients: Arc<Clients>,
}

impl ControlServer {
    /// Makes the socket at `path` and serves it.
    pub fn start(path: &Path, daemon: Arc<dyn Management>) -> Result<Self, SocketError> {
        let system = |cause| SocketError::System {
            path: path.to_owned(),
            cause,
        };
        let socket = ControlSocket::bind(path)?;
        socket.listener().set_nonblocking(true).map_err(system)?;
        let serving = Serving::default();
        let clients = Arc::clone(&serving.0);
        let mut serial = 0;
        let accept = move |socket: &ControlSocket| {
            let (stream, _) = socket.listener().accept()?;
            serial += 1;
            let peer = Arc::new(Peer::new(serial, &stream));
            match peer.check(socket.access()) {
                Ok(()) => admit(serial, peer, stream, &serving.0, &daemon),
                Err(error) => {
                    warn!("{peer} may not use the control socket, and was turned away");
                    // Its socket buffer is empty: this never waits.
                    let _ = (&stream).write_all(&error.line());
                }
            }
            Ok(())
        };
        let acceptor = Acceptor::start("control", socket, accept).map_err(system)?;
        Ok(Self { acceptor, clients })
    }

    /// Ends every client and waits so long for what they have asked for; then the socket goes. Returns whether all have ended.
    pub fn end(self, patience: Duration) -> bool {
        // Nobody else says.
        let _ = self.clients.patience.set(patience);
        drop(self.acceptor);
        !self.clients.left.load(Relaxed)
    }
}

/// Ends all clients when nobody accepts any more.
#[derive(Default)]
struct Serving(Arc<Clients>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The clients that are being served, by serial number.
#[derive(Debug, Default)]
struct Clients {
    list: Mutex<HashMap<u64, Client>>,
    watchers: Arc<Watchers>,
    /// How long they are waited for at the end, if somebody has said.
    patience: OnceLock<Duration>,
    /// Some did not end then.
    left: AtomicBool,
}

/// What it takes to end a client.
#[derive(Debug)]
struct Client {
    peer: Arc<Peer>,
    stream: UnixStream,
    activity: Arc<Activity>,
    /// Set once it runs.
    thread: Option<JoinHandle<()>>,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Client>> {
        // The map is whole at every moment, whoever panicked.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the one that has been idle for longest, if any is.
    fn end_idle(&self) -> bool {
        let mut list = self.lock();
        let idle = list
            .iter()
            .filter_map(|(serial, client)| Some((client.activity.idle_since()?, *serial)));
        // It may have got something to do by now; then the next one is as good.
        let mut idle: Vec<_> = idle.collect();
        idle.sort_unstable();
        for (_, serial) in idle {
            let Some(client) = list.get(&serial) else {
                continue;
            };
            if client.activity.end() {
                // One that has gone by itself is as good. Its thread ends by itself.
                let _ = client.stream.shutdown(Shutdown::Both);
                list.remove(&serial);
                debug!("client {serial} made room for another one");
                return true;
            }
        }
        false
    }

    /// Ends all of them and waits for their threads, though not for ever.
    fn end(&self) {
        let all: Vec<Client> = self.lock().drain().map(|(_, client)| client).collect();
        for client in &all {
            // One that has gone by itself is as good.
            let _ = client.stream.shutdown(Shutdown::Both);
        }
        let patience = self.patience.get().copied();
        let deadline = Instant::now() + patience.unwrap_or_else(|| Times::default().clients);
        let threads = (all.into_iter()).filter_map(|client| Some((client.peer, client.thread?)));
        // They have nothing to say, not even if they panicked.
        let left = join_until(threads, deadline).left;
        if !left.is_empty() {
            let clients: Vec<String> = left.iter().map(|peer| peer.to_string()).collect();
            let clients = clients.join(", ");
            warn!(
                clients,
                "what they asked for does not end: a store, or the way to some path, hangs; stopping regardless"
            );
            self.left.store(true, Relaxed);
        }
    }
}

/// Removes a client from the list when its thread ends, however it ends.
struct Leave {
    clients: Arc<Clients>,
    serial: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.serial);
    }
}

fn admit(
    serial: u64,
    peer: Arc<Peer>,
    stream: UnixStream,
    clients: &Arc<Clients>,
    daemon: &Arc<dyn Management>,
) {
    debug!("{peer} connected");
    // Only this thread adds clients, so that there is still room below.
    if clients.lock().len() >= MAX_CLIENTS && !clients.end_idle() {
        warn!("{MAX_CLIENTS} control clients are connected; one more was turned away");
        let message = format!("{MAX_CLIENTS} clients are connected; try again later");
        // Its socket buffer is empty: this never waits.
        let _ = (&stream).write_all(&RpcError::new(Code::Busy, message).line());
        return;
    }
    match start(serial, peer, stream, clients, daemon) {
        Ok(thread) => {
            // Not there any more if it was quick.
            if let Some(client) = clients.lock().get_mut(&serial) {
                client.thread = Some(thread);
            }
        }
        Err(error) => warn!(%error, "cannot serve a control client"),
    }
}

fn start(
    serial: u64,
    peer: Arc<Peer>,
    stream: UnixStream,
    clients: &Arc<Clients>,
    daemon: &Arc<dyn Management>,
) -> io::Result<JoinHandle<()>> {
    let activity = Arc::new(Activity::default());
    clients.lock().insert(
        serial,
        Client {
            peer: Arc::clone(&peer),
            stream: stream.try_clone()?,
            activity: Arc::clone(&activity),
            thread: None,
        },
    );
    // From here on it leaves the list whatever happens, a failure to start included.
    let leave = Leave {
        clients: Arc::clone(clients),
        serial,
    };
    let daemon = Arc::clone(daemon);
    let watchers = Arc::clone(&clients.watchers);
    thread::Builder::new()
        .name(format!("control-{serial}"))
        .spawn(move || {
            let _leave = leave;
            match client::serve(&stream, &*daemon, &peer, &activity, &watchers) {
                Ok(()) => debug!("{peer} has gone"),
                Err(error) => debug!("{peer} is lost: {error}"),
            }
        })
}
