//! `pagecast session`.

use clap::Subcommand;

use super::Request;
use super::params::Params;

#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// All sessions, one line each
    List,
    /// One session: who it is, what it has done, how long its commands take
    Show {
        /// As in `session list`
        id: u64,
    },
    /// End a session
    ///
    /// Its commands are aborted. Initiators log in again by themselves as long as a group admits them: to keep one out,
    /// take its pattern from the group (`pagecast initiator remove`).
    Close {
        /// As in `session list`
        id: u64,
    },
}

impl Session {
    pub(super) fn request(self) -> Request {
        match self {
            Self::List => Request::new("session.list", Params::new()),
            Self::Show { id } => Request::new("session.show", Params::new().with("id", id)),
            Self::Close { id } => Request::new("session.close", Params::new().with("id", id)),
        }
    }
}
