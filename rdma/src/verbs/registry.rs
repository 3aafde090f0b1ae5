//! The adapters that are in use, each once.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use rdma_sys::ibv_context;

use super::adapter::VerbsAdapter;
use super::device::DeviceList;
use crate::fabric::FabricError;

/// Whether librdmacm says that there is no device.
fn is_no_device(error: &FabricError) -> bool {
    matches!(error, FabricError::Call { source, .. } if source.raw_os_error() == Some(libc::ENODEV))
}

/// Adapters by the context that librdmacm's ids report.
#[derive(Debug, Default)]
pub(super) struct Registry {
    adapters: Mutex<Vec<Arc<VerbsAdapter>>>,
}

impl Registry {
    /// Looks for devices, forgets those that are gone (their users keep them), and returns all that are there.
    pub(super) fn refresh(&self) -> Result<Vec<Arc<VerbsAdapter>>, FabricError> {
        let mut adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        // An adapter in use keeps a list that it is in, so no context of ours is closed and its address given to another
        // while we compare.
        let list = match DeviceList::get() {
            Ok(list) => Arc::new(list),
            // How librdmacm says that the last one is gone, and also that it could not look.
            Err(error) if is_no_device(&error) => {
                retain(&mut adapters, |adapter| adapter.device().is_listed());
                return match adapters.is_empty() {
                    true => Ok(Vec::new()),
                    false => Err(error),
                };
            }
            Err(error) => return Err(error),
        };
        let present: Vec<_> = list.contexts().collect();
        retain(&mut adapters, |adapter| {
            present.contains(&adapter.device().context())
        });
        for adapter in adapters.iter() {
            adapter.device().keep_open_by(&list);
        }
        for context in present {
            if adapters
                .iter()
                .any(|known| known.device().context() == context)
            {
                continue;
            }
            match VerbsAdapter::new(context, &list) {
                Ok(adapter) => adapters.push(Arc::new(adapter)),
                Err(error) => tracing::warn!(%error, "cannot use an RDMA device"),
            }
        }
        Ok(adapters.clone())
    }

    /// The adapter of `context`, if need be after another look at the devices.
    pub(super) fn find(&self, context: NonNull<ibv_context>) -> Option<Arc<VerbsAdapter>> {
        let of = |adapters: &[Arc<VerbsAdapter>]| {
            adapters
                .iter()
                .find(|adapter| adapter.device().context() == context)
                .cloned()
        };
        let known = {
            let adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
            of(&adapters)
        };
        known.or_else(|| of(&self.refresh().ok()?))
    }
}

/// Forgets the adapters that are not there any more.
fn retain(adapters: &mut Vec<Arc<VerbsAdapter>>, is_there: impl Fn(&VerbsAdapter) -> bool) {
    adapters.retain(|adapter| {
        let stays = is_there(adapter);
        if !stays {
            adapter.device().set_gone();
        }
        stays
    });
}
