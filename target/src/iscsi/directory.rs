//! What a login asks about targets, initiators and secrets. The daemon answers from its configuration.

use std::fmt;
use std::sync::Arc;

/// The portal group of every portal: sessions may be opened through any of them (RFC 7143 section 4.4.1).
pub const PORTAL_GROUP: u16 = 1;

/// Answers questions of one connection: it knows the portal that the connection came in through.
pub trait Directory: Send + Sync + fmt::Debug {
    /// Whether this initiator may log in to a target here. Names are in lower case.
    fn target(&self, target: &str, initiator: &str) -> Lookup;

    /// What an initiator has to prove for a discovery session; `None` if nothing.
    fn discovery_credentials(&self) -> Option<Arc<Credentials>>;

    /// Targets that this initiator may log in to, with their addresses, for SendTargets.
    fn targets(&self, initiator: &str) -> Vec<TargetRecord>;
}

/// What the directory says of a target.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It may log in, after it has proved who it is if there are credentials.
    Admitted(Option<Arc<Credentials>>),
    /// There is no such target here.
    NotFound,
    /// There is, but no access group admits the initiator.
    Forbidden,
}

/// A target and where it is (RFC 7143 appendix C).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRecord {
    /// Its IQN.
    pub name: String,
    /// TargetAddress values: `address[:port],portal-group-tag`.
    pub addresses: Vec<String>,
}

/// CHAP names and secrets (RFC 1994, RFC 7143 section 12.1.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name that the initiator gives.
    pub user: String,
    /// What only it and we know.
    pub secret: Secret,
    /// What we prove ourselves with if the initiator asks for it.
    pub mutual: Option<(String, Secret)>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("mutual", &self.mutual.as_ref().map(|(name, _)| name))
            .finish_non_exhaustive()
    }
}

/// A secret. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// For those who compute with it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
