//! Who is at the other end of a connection.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

use rustix::net::sockopt::socket_peercred;

/// A process, as the kernel knew it when it connected.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Counts clients.
    serial: u64,
    /// Process, user and group; none if the kernel does not say.
    credentials: Option<(i32, u32, u32)>,
    user: OnceLock<Option<String>>,
}

impl Peer {
    pub(super) fn new(serial: u64, stream: &UnixStream) -> Self {
        let credentials = socket_peercred(stream).ok().map(|who| {
            let pid = who.pid.as_raw_nonzero().get();
            (pid, who.uid.as_raw(), who.gid.as_raw())
        });
        Self {
            serial,
            credentials,
            user: OnceLock::new(),
        }
    }

    /// The name of its user, if it is one of this machine's own.
    fn user(&self) -> Option<&str> {
        let (_, uid, _) = self.credentials?;
        let look_up = || name_of(uid, &passwd()?);
        self.user.get_or_init(look_up).as_deref()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}", self.serial)?;
        if let Some((pid, uid, gid)) = self.credentials {
            write!(f, " (pid {pid}, uid {uid}")?;
            if let Some(user) = self.user() {
                write!(f, " {user}")?;
            }
            write!(f, ", gid {gid})")?;
        }
        Ok(())
    }
}

fn passwd() -> Option<String> {
    let mut text = String::new();
    let file = File::open("/etc/passwd").ok()?;
    file.take(1 << 20).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The first name with that number (passwd(5)).
fn name_of(uid: u32, passwd: &str) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?;
        (number.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\n:x:7::\nstore:x:7:7::/:/bin/false\nother:x:7:7::/:\n";
        assert_eq!(name_of(0, passwd).as_deref(), Some("root"));
        assert_eq!(name_of(7, passwd).as_deref(), Some("store"));
        assert_eq!(name_of(8, passwd), None);
        assert_eq!(name_of(0, ""), None);
    }

    #[test]
    fn ourselves() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let text = Peer::new(3, &one).to_string();
        let pid = std::process::id();
        assert!(
            text.starts_with(&format!("client 3 (pid {pid}, uid ")),
            "{text}"
        );
    }
}
