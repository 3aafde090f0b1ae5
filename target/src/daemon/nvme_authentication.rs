//! Hosts that have to prove who they are: threads that compute what their authentication needs.

use std::io;
use std::thread;

use crossbeam_channel::{Sender, TrySendError};
use pagecast_core::nvme::{Completion, Status};

use super::Control;
use crate::nvme::auth::Exchange;
use crate::shard::entropy::entropy;
use crate::shard::messages::{ConnectionKey, Mailer, ShardMessage};

/// Threads that compute what authentication needs: powers of large numbers, twice for each queue.
const AUTHENTICATORS: usize = 2;
/// Steps that may wait for them.
const MAX_STEPS: usize = 256;

impl Control {
    /// Has messages of hosts that authenticate looked at by threads from now on.
    pub(super) fn authenticate_by_threads(&mut self) -> io::Result<()> {
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.mail.clone()).collect();
        self.authenticators = Some(authenticators(&shards)?);
        Ok(())
    }

    /// Looks at a message of a host that authenticates. That takes milliseconds, during which nobody else could log in.
    pub(super) fn authenticate(
        &mut self,
        key: ConnectionKey,
        exchange: Box<Exchange>,
        message: Vec<u8>,
    ) {
        let mut step = Step {
            key,
            exchange,
            message,
        };
        if let Some(authenticators) = &self.authenticators {
            match authenticators.try_send(step) {
                Ok(()) => return,
                // So many hosts at once; this one may try again.
                Err(TrySendError::Full(step)) => {
                    let busy = Status::INTERNAL_ERROR.into();
                    let message = ShardMessage::Authenticated(key, step.exchange, busy);
                    return self.tell(key, message);
                }
                Err(TrySendError::Disconnected(back)) => step = back,
            }
        }
        self.tell(key, step.take());
    }
}

/// A step of a host's authentication.
#[derive(Debug)]
pub(super) struct Step {
    key: ConnectionKey,
    exchange: Box<Exchange>,
    message: Vec<u8>,
}

impl Step {
    fn take(mut self) -> ShardMessage {
        let completion = match self.exchange.receive(&self.message, &mut entropy) {
            Ok(()) => Completion::SUCCESS,
            Err(status) => status.into(),
        };
        ShardMessage::Authenticated(self.key, self.exchange, completion)
    }
}

/// Starts the threads that take steps. They end when nobody can send one any more.
fn authenticators(shards: &[Mailer<ShardMessage>]) -> io::Result<Sender<Step>> {
    let (steps, taken) = crossbeam_channel::bounded::<Step>(MAX_STEPS);
    for number in 0..AUTHENTICATORS {
        let (taken, shards) = (taken.clone(), shards.to_vec());
        thread::Builder::new()
            .name(format!("nvme-auth-{number}"))
            .spawn(move || {
                for step in taken {
                    if let Some(shard) = shards.get(usize::from(step.key.shard)) {
                        shard.send(step.take());
                    }
                }
            })?;
    }
    Ok(steps)
}
