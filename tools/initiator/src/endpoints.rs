//! What the initiators share: a connection manager, and what they have at the near ends of its connections.

use std::ops::{Index, IndexMut};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use pagecast_rdma::fabric::{
    Adapter, CmEvent, Completion, CompletionStatus, ConnectionId, ConnectionManager,
};

use crate::error::InitiatorError;
use crate::link::{Link, Receive};

/// Turns that a wait may take before it counts as stalled.
const DEFAULT_PATIENCE: u64 = 1_000_000;

/// The near end of a connection: an SRP channel, an iSER connection, an NVMe queue.
pub(crate) trait Endpoint {
    /// Its connection.
    fn id(&self) -> ConnectionId;

    /// Whether there is a connection, or an attempt at one. If not, the manager has forgotten it.
    fn is_alive(&self) -> bool;

    /// Whether the target has refused what was sent over the connection, which is to be left.
    fn is_refused(&self) -> bool {
        false
    }

    /// The way to the target is known: makes the queue pair, and connects.
    fn resolved(
        &mut self,
        manager: &mut dyn ConnectionManager,
        adapter: Arc<dyn Adapter>,
    ) -> Result<(), InitiatorError>;

    /// The target has accepted the connection, with private data.
    fn established(&mut self, private_data: Vec<u8>) -> Result<(), InitiatorError>;

    /// What there is between [`Endpoint::resolved`] and [`Endpoint::end`].
    fn link(&mut self) -> Option<&mut Link>;

    /// Whether this side leaves: work that is flushed is the expected end then.
    fn is_closing(&self) -> bool;

    /// A message has arrived.
    fn received(&mut self, at: Receive, completion: &Completion) -> Result<(), InitiatorError>;

    /// All that has completed was taken. Returns whether there was something to do.
    fn settle(&mut self) -> Result<bool, InitiatorError> {
        Ok(false)
    }

    /// Lets go of the connection.
    fn end(&mut self, manager: &mut dyn ConnectionManager, ending: Ending);
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The target refused the connection.
    Rejected {
        /// The connection manager's reason code.
        reason: i32,
        /// The target's own words.
        private_data: Vec<u8>,
    },
    /// It could not be made, or failed.
    Failed(String),
    /// Somebody left.
    Closed(String),
}

/// A connection manager and its endpoints. They are never removed, so that an index names one for good.
#[derive(Debug)]
pub(crate) struct Endpoints<L> {
    // Before the manager, so that queue pairs go before their connections.
    endpoints: Vec<L>,
    pub(crate) manager: Box<dyn ConnectionManager>,
    pub(crate) patience: u64,
}

impl<L: Endpoint> Endpoints<L> {
    pub(crate) fn over(manager: Box<dyn ConnectionManager>) -> Self {
        Self {
            endpoints: Vec::new(),
            manager,
            patience: DEFAULT_PATIENCE,
        }
    }

    /// Returns its index.
    pub(crate) fn push(&mut self, endpoint: L) -> usize {
        self.endpoints.push(endpoint);
        self.endpoints.len() - 1
    }

    /// Takes everything that has happened, and returns whether anything had.
    pub(crate) fn turn(&mut self) -> Result<bool, InitiatorError> {
        let mut progress = false;
        while let Some(event) = self.manager.next_event()? {
            progress = true;
            self.manage(event)?;
        }
        for endpoint in &mut self.endpoints {
            let why = match poll(endpoint, &mut progress)? {
                None if endpoint.is_refused() => Some("refused".to_owned()),
                why => why,
            };
            if let Some(why) = why {
                // The peer should know, whatever it was. It may know already.
                let _ = self.manager.disconnect(endpoint.id());
                endpoint.end(&mut *self.manager, Ending::Closed(why));
            }
        }
        Ok(progress)
    }

    fn manage(&mut self, event: CmEvent) -> Result<(), InitiatorError> {
        match event {
            CmEvent::Resolved {
                connection,
                adapter,
            } => {
                let manager = &mut *self.manager;
                if let Some(endpoint) = find(&mut self.endpoints, connection)
                    && let Err(error) = endpoint.resolved(manager, adapter)
                {
                    endpoint.end(manager, Ending::Failed(error.to_string()));
                }
                Ok(())
            }
            CmEvent::Established {
                connection,
                private_data,
            } => match find(&mut self.endpoints, connection) {
                Some(endpoint) => endpoint.established(private_data),
                None => Ok(()),
            },
            CmEvent::Rejected {
                connection,
                reason,
                private_data,
            } => {
                let ending = Ending::Rejected {
                    reason,
                    private_data,
                };
                self.end(connection, ending)
            }
            CmEvent::Failed { connection, why } => self.end(connection, Ending::Failed(why)),
            CmEvent::Disconnected { connection } => {
                self.end(connection, Ending::Closed("disconnected".to_owned()))
            }
            CmEvent::AdapterRemoved { connection } => {
                self.end(connection, Ending::Closed("adapter removed".to_owned()))
            }
            // Nothing listens here.
            CmEvent::ListenerRemoved { .. } => Ok(()),
            CmEvent::ConnectRequest(request) => Ok(self.manager.reject(request.connection, &[])?),
        }
    }

    fn end(&mut self, connection: ConnectionId, ending: Ending) -> Result<(), InitiatorError> {
        if let Some(endpoint) = find(&mut self.endpoints, connection) {
            // What arrived before the end counts, a logout with its reason above all.
            poll(endpoint, &mut false)?;
            endpoint.end(&mut *self.manager, ending);
        }
        Ok(())
    }

    /// Readable when the connection manager has something.
    pub(crate) fn event_fd(&self) -> BorrowedFd<'_> {
        self.manager.event_fd()
    }
}

impl<L> Index<usize> for Endpoints<L> {
    type Output = L;

    fn index(&self, index: usize) -> &L {
        &self.endpoints[index]
    }
}

impl<L> IndexMut<usize> for Endpoints<L> {
    fn index_mut(&mut self, index: usize) -> &mut L {
        &mut self.endpoints[index]
    }
}

/// Takes what has completed. Returns why the connection cannot go on, if so.
fn poll<L: Endpoint>(
    endpoint: &mut L,
    progress: &mut bool,
) -> Result<Option<String>, InitiatorError> {
    let mut batch = [Completion::default(); 16];
    while let Some(link) = endpoint.link() {
        let count = link.poll(&mut batch)?;
        for completion in batch.get(..count).unwrap_or_default() {
            *progress = true;
            if let Some(why) = completed(endpoint, completion)? {
                return Ok(Some(why));
            }
        }
        if count < batch.len() {
            break;
        }
    }
    *progress |= endpoint.settle()?;
    Ok(None)
}

fn completed<L: Endpoint>(
    endpoint: &mut L,
    completion: &Completion,
) -> Result<Option<String>, InitiatorError> {
    let Some(link) = endpoint.link() else {
        return Ok(None);
    };
    let received = link.take_back(completion);
    if !completion.status.is_success() {
        let expected = completion.status == CompletionStatus::FLUSHED && endpoint.is_closing();
        return Ok((!expected).then(|| completion.status.to_string()));
    }
    if let Some(at) = received {
        endpoint.received(at, completion)?;
    }
    Ok(None)
}

/// Only endpoints that are alive: the connections of others are forgotten.
fn find<L: Endpoint>(endpoints: &mut [L], connection: ConnectionId) -> Option<&mut L> {
    endpoints
        .iter_mut()
        .find(|endpoint| endpoint.id() == connection && endpoint.is_alive())
}
