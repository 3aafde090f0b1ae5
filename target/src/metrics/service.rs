//! The server as the configuration has it, which may change while it runs.

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use super::server::{MetricsError, MetricsServer};
use crate::config::MetricsConfig;
use crate::control::Management;

/// Serves metrics, or does not, or somewhere else.
#[derive(Default)]
pub struct MetricsService {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whom to ask; none before it has begun, and then there is no server.
    daemon: Option<Weak<dyn Management>>,
    server: Option<(MetricsConfig, MetricsServer)>,
}

impl MetricsService {
    /// Serves what `daemon` tells, for as long as there is one.
    pub fn begin(
        &self,
        config: Option<&MetricsConfig>,
        daemon: Weak<dyn Management>,
    ) -> Result<(), MetricsError> {
        self.lock().daemon = Some(daemon);
        self.change(config)
    }

    /// Serves as configured from now on. If that fails, everything is as it was.
    pub fn change(&self, config: Option<&MetricsConfig>) -> Result<(), MetricsError> {
        let mut state = self.lock();
        let Some(daemon) = state.daemon.clone() else {
            return Ok(());
        };
        let before = state.server.as_ref().map(|(config, _)| *config);
        if before.as_ref() == config {
            return Ok(());
        }
        let Some(config) = config else {
            state.server = None;
            return Ok(());
        };
        // The same port of another address may be in the way of itself.
        if before.is_some_and(|before| before.port == config.port) {
            state.server = None;
        }
        match MetricsServer::start(config, daemon.clone()) {
            Ok(server) => {
                state.server = Some((*config, server));
                Ok(())
            }
            Err(error) => {
                if let (None, Some(before)) = (&state.server, before) {
                    let again = MetricsServer::start(&before, daemon);
                    state.server = again.ok().map(|server| (before, server));
                }
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MetricsService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsService")
            .field("server", &self.lock().server)
            .finish_non_exhaustive()
    }
}
