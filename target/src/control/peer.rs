//! Who is at the other end of a connection.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

use rustix::net::sockopt::socket_peercred;

use super::rpc::{Code, RpcError};
use super::socket::Access;

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

    /// Whether it may ask for anything: root, the daemon's user, and members of the socket's group. The mode of the socket says the
    /// same, unless somebody has changed it or has handed a connection on.
    pub(super) fn check(&self, access: Access) -> Result<(), RpcError> {
        let may = self.credentials.is_some_and(|(pid, uid, gid)| {
            let other = || groups_of(pid).is_some_and(|groups| groups.contains(&access.group));
            uid == 0 || uid == access.owner || gid == access.group || other()
        });
        match may {
            true => Ok(()),
            false => Err(RpcError::new(
                Code::Refused,
                "only root, the daemon's user and the group of the control socket may use it; become one of them",
            )),
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

/// The supplementary groups of a process that runs.
fn groups_of(pid: i32) -> Option<Vec<u32>> {
    let mut text = String::new();
    let file = File::open(format!("/proc/{pid}/status")).ok()?;
    file.take(1 << 20).read_to_string(&mut text).ok()?;
    groups_in(&text)
}

/// The line of proc_pid_status(5).
fn groups_in(status: &str) -> Option<Vec<u32>> {
    let line = (status.lines()).find_map(|line| line.strip_prefix("Groups:"))?;
    (line.split_whitespace())
        .map(|group| group.parse().ok())
        .collect()
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
    fn who_may_ask() {
        let access = Access {
            owner: 900,
            group: 901,
        };
        let peer = |pid, uid, gid| Peer {
            credentials: Some((pid, uid, gid)),
            ..Peer::default()
        };
        // No process has that number: pid_max is less.
        let gone = i32::MAX;
        for (uid, gid, may) in [
            (0, 0, true),
            (0, 7, true),
            (900, 7, true),
            (7, 901, true),
            (7, 900, false),
            (901, 0, false),
            (7, 7, false),
        ] {
            let checked = peer(gone, uid, gid).check(access);
            assert_eq!(checked.is_ok(), may, "{uid} {gid}");
        }
        assert!(Peer::default().check(access).is_err());
        // By a supplementary group.
        let own = i32::try_from(std::process::id()).expect("a process");
        if let Some(&group) = groups_of(own).expect("our own").first() {
            let access = Access { group, ..access };
            peer(own, 7, u32::MAX).check(access).expect("a member");
            peer(gone, 7, u32::MAX).check(access).expect_err("gone");
        }
        assert_eq!(
            groups_in("Name:\tx\nGroups:\t0 27 901 \nx:"),
            Some(vec![0, 27, 901])
        );
        assert_eq!(groups_in("Groups: \n"), Some(vec![]));
        assert_eq!(groups_in("Group: 1"), None);
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
