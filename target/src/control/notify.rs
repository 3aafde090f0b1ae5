//! Telling systemd how the daemon is doing (sd_notify(3)).

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends states to whoever started us, if it wants to know.
#[derive(Debug)]
pub struct Notifier {
    to: Option<OsString>,
}

impl Notifier {
    /// To the socket in `$NOTIFY_SOCKET`; to nobody if that is not set.
    pub fn from_environment() -> Self {
        Self::new(env::var_os("NOTIFY_SOCKET"))
    }

    /// To that socket: a path, or `@` and an abstract name.
    pub fn new(to: Option<OsString>) -> Self {
        Self {
            to: to.filter(|to| !to.is_empty()),
        }
    }

    /// Every portal listens. `status` is for people.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={}\n", one_line(status)))
    }

    /// The end has begun.
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1\nSTATUS=draining\n")
    }

    /// The configuration is being read again; [`ready`](Self::ready) when that is over.
    pub fn reloading(&self) -> io::Result<()> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reading the configuration again\n"
        ))
    }

    /// What it is doing, for people.
    pub fn status(&self, status: &str) -> io::Result<()> {
        self.send(&format!("STATUS={}\n", one_line(status)))
    }

    fn send(&self, message: &str) -> io::Result<()> {
        let Some(to) = &self.to else { return Ok(()) };
        let address = match to.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(to)?,
        };
        let socket = UnixDatagram::unbound()?;
        // Whoever does not read this must not keep us from serving.
        socket.set_nonblocking(true)?;
        socket.send_to_addr(message.as_bytes(), &address)?;
        Ok(())
    }
}

/// A line break would start another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn to_a_path() {
        let path = env::temp_dir().join(format!("pagecast-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(Some(path.clone().into()));
        notifier.ready("2 devices\nREADY=0").unwrap();
        assert_eq!(received(&socket), "READY=1\nSTATUS=2 devices READY=0\n");
        notifier.stopping().unwrap();
        assert_eq!(received(&socket), "STOPPING=1\nSTATUS=draining\n");
        std::fs::remove_file(&path).unwrap();
        assert!(notifier.status("gone").is_err());
    }

    #[test]
    fn to_an_abstract_name() {
        let name = format!("pagecast-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::new(Some(format!("@{name}").into()))
            .status("serving")
            .unwrap();
        assert_eq!(received(&socket), "STATUS=serving\n");
    }

    #[test]
    fn to_nobody() {
        Notifier::new(None).ready("x").unwrap();
        Notifier::new(Some(OsString::new())).ready("x").unwrap();
    }
}
