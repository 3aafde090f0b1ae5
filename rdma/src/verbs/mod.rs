//! The fabric over libibverbs and librdmacm.
//!
//! Who keeps whom alive, so that everything is destroyed in the order that verbs wants:
//!
//! ```text
//! queue pair ──> connection manager id ──> event channel
//!     │
//!     ├──> completion queue ──> completion channel
//!     │           │
//!     └───────────┴──> device: protection domain ──> librdmacm's list of open contexts
//! memory region ─────────^
//! ```
//!
//! A connection manager id is held by the manager's table as well, until the connection is forgotten: so the queue pair
//! may be dropped before or after, by any thread.
//!
//! Events of both kinds are acknowledged as soon as they are taken, because destroying what an unacknowledged event is
//! about blocks.

mod adapter;
mod address;
mod advice;
mod call;
mod cm;
mod cm_event;
mod cm_id;
mod completion_queue;
mod device;
mod queue_pair;
mod registration;
mod registry;
mod send_list;

use std::sync::Arc;

use adapter::VerbsAdapter;
use advice::Findings;
use cm::VerbsConnectionManager;
use registry::Registry;

use crate::fabric::{Adapter, ConnectionManager, Fabric, FabricError};

/// RDMA as this machine has it. Open it once in a process: librdmacm's contexts, and with them the adapters' events, belong to
/// the process.
#[derive(Debug)]
pub struct VerbsFabric {
    registry: Arc<Registry>,
}

impl VerbsFabric {
    /// Finds the adapters and makes sure that connections can be made. Without them the error says what to do.
    pub fn open() -> Result<Arc<Self>, FabricError> {
        if let Err(error) = rdma_sys::layout::verify() {
            tracing::error!(%error);
            return Err(FabricError::Invalid(
                "this build does not fit the rdma-core headers that it was made with: build it again",
            ));
        }
        let fabric = Self {
            registry: Arc::default(),
        };
        let found = fabric.registry.refresh();
        let problem = match &found {
            Ok(adapters) if adapters.is_empty() => Some("no device can be opened".to_owned()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        // The channel is opened to see whether it can be.
        let problem = match problem {
            None => fabric.connection_manager().err().map(|e| e.to_string()),
            some => some,
        };
        match problem {
            None => Ok(Arc::new(fabric)),
            Some(problem) => Err(FabricError::NoDevice(Findings::gather().advice(&problem))),
        }
    }
}

impl Fabric for VerbsFabric {
    fn adapters(&self) -> Result<Vec<Arc<dyn Adapter>>, FabricError> {
        let adapters = self.registry.refresh()?;
        let seam = |adapter: Arc<VerbsAdapter>| adapter as Arc<dyn Adapter>;
        Ok(adapters.into_iter().map(seam).collect())
    }

    fn connection_manager(&self) -> Result<Box<dyn ConnectionManager>, FabricError> {
        Ok(Box::new(VerbsConnectionManager::new(Arc::clone(
            &self.registry,
        ))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For machines without RDMA, such as most that build this; on others there is nothing to refuse.
    #[test]
    fn without_a_device_the_error_says_what_to_do() {
        match VerbsFabric::open() {
            Ok(fabric) => assert!(!fabric.adapters().unwrap().is_empty()),
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with("no RDMA device: "), "{error}");
                assert!(
                    ["modprobe", "permission", "apt-get"]
                        .iter()
                        .any(|advice| error.contains(advice)),
                    "{error}"
                );
            }
        }
    }
}
