//! One look at the daemon.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, ClientError};

/// What the daemon has counted so far.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) stats: Value,
    pub(super) devices: Vec<Value>,
    /// When the devices were counted, on a clock that only goes forward.
    pub(super) devices_at: Duration,
    pub(super) sessions: Vec<Value>,
    pub(super) sessions_at: Duration,
}

/// Looks at the daemon over one connection.
#[derive(Debug)]
pub(super) struct Poller {
    client: Client,
    start: Instant,
}

impl Poller {
    pub(super) fn connect(socket: &Path, patience: Duration) -> Result<Self, ClientError> {
        Self::since(Instant::now(), socket, patience)
    }

    /// As another one whose samples are to be compared with those of this one.
    pub(super) fn since(
        start: Instant,
        socket: &Path,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        let client = Client::connect(socket, patience)?;
        Ok(Self { client, start })
    }

    pub(super) fn sample(&mut self) -> Result<Sample, ClientError> {
        let stats = self.client.call("stats", &json!({}))?;
        let (devices, devices_at) = self.list("device.list", "devices")?;
        let (sessions, sessions_at) = self.list("session.list", "sessions")?;
        Ok(Sample {
            stats,
            devices,
            devices_at,
            sessions,
            sessions_at,
        })
    }

    fn list(&mut self, method: &str, key: &str) -> Result<(Vec<Value>, Duration), ClientError> {
        let mut result = self.client.call(method, &json!({}))?;
        let at = self.start.elapsed();
        match result.get_mut(key).map(Value::take) {
            Some(Value::Array(list)) => Ok((list, at)),
            _ => Err(ClientError::Nonsense(format!("no list {key:?}"))),
        }
    }
}
