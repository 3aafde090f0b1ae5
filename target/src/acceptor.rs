//! A thread that accepts clients: of the control socket, of the metrics port.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tracing::warn;

/// Accepts clients until it is dropped.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// Closed to wake the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Calls `accept` whenever `listener`, which must not block, has a client; its error is that of the system's `accept`. `name` is the
    /// thread's. What `accept` owns is dropped at the end, on the thread, and before the listener: whoever drops this waits for it, so it
    /// must not wait for ever.
    pub(crate) fn start<L: AsFd + Send + 'static>(
        name: &'static str,
        listener: L,
        accept: impl FnMut(&L) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || accept_until(&stopped, name, &listener, accept))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, not even if it panicked.
            let _ = thread.join();
        }
    }
}

/// Accepts clients until the other end of `stopped` is closed.
fn accept_until<L: AsFd>(
    stopped: &UnixStream,
    name: &str,
    listener: &L,
    mut accept: impl FnMut(&L) -> io::Result<()>,
) {
    loop {
        let mut wait = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        if let Err(error) = poll(&mut wait, None)
            && error != rustix::io::Errno::INTR
        {
            warn!(listener = name, %error, "cannot wait for clients; there will be no more");
            return;
        }
        if !wait[1].revents().is_empty() {
            return;
        }
        match accept(listener) {
            Err(error) if !is_passing(&error) => {
                // No descriptors or no memory. The client stays in the backlog, and poll would return at once.
                warn!(listener = name, %error, "cannot accept a client");
                thread::sleep(Duration::from_millis(200));
            }
            _ => {}
        }
    }
}

/// Whether it is the client that is not there, rather than means to take it in.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted)
}
