//! Carrying out work requests, with all that may go wrong on the way (IBTA volume 1, 9.7.5 to 9.9).

use std::sync::Arc;

use super::memory::{Direction, Place};
use super::net::{Link, State};
use super::queue_pair::{self, QueuePairState, SendSlot};
use super::trace::TraceEvent;
use crate::fabric::{AdapterEvent, CompletionStatus, Operation};

/// IBV_WC_LOC_QP_OP_ERR: the queue pair cannot do this at all.
const LOCAL_QP_OPERATION: CompletionStatus = CompletionStatus(2);

/// How a request went wrong: what its requester is told, and what becomes of the responder.
#[derive(Clone, Copy, Debug)]
struct Failure {
    status: CompletionStatus,
    responder: Responder,
}

#[derive(Clone, Copy, Debug)]
enum Responder {
    /// It never learned of the request.
    Untouched,
    /// Its adapter refused, and broke the queue pair.
    Refused,
    /// Its receive at the head was at fault: it completes with this.
    ReceiveFailed(CompletionStatus),
}

impl Failure {
    const LOCAL_PROTECTION: Self = Self {
        status: CompletionStatus::LOCAL_PROTECTION,
        responder: Responder::Untouched,
    };
    const REMOTE_ACCESS: Self = Self {
        status: CompletionStatus::REMOTE_ACCESS,
        responder: Responder::Refused,
    };
}

/// Both ends of a request, and the request.
struct Exchange {
    number: u32,
    core: Arc<queue_pair::Core>,
    node: usize,
    peer: u32,
    peer_core: Arc<queue_pair::Core>,
    peer_node: usize,
    slot: SendSlot,
}

impl State {
    /// Carries out the next request of a queue pair.
    pub(super) fn execute(&mut self, number: u32) {
        let Some(exchange) = self.exchange(number, |queues| queues.send_next) else {
            return;
        };
        let result = match exchange.slot.operation {
            Operation::Send => self.send(&exchange, None),
            Operation::SendWithInvalidate { key } => self.send(&exchange, Some(key)),
            Operation::RdmaWrite { address, key } => self.rdma_write(&exchange, (address, key)),
            Operation::RdmaRead { address, key } => self.rdma_read(&exchange, (address, key)),
        };
        match result {
            Ok(bytes) => {
                let done = !matches!(exchange.slot.operation, Operation::RdmaRead { .. });
                let overrun = {
                    let mut queues = exchange.core.lock();
                    queues.advance(done);
                    exchange.core.retire_done(&mut queues).is_err()
                };
                self.overran(&exchange.core, overrun);
                self.count(&exchange, bytes);
                self.note(TraceEvent::Executed {
                    queue_pair: number,
                    id: exchange.slot.id,
                    kind: exchange.slot.operation.into(),
                    bytes,
                });
            }
            Err(failure) => {
                // A refusal acknowledges all that came before it: earlier READs have their data first.
                while exchange.core.lock().reads_in_flight > 0 {
                    self.read_response(number);
                }
                if exchange.core.lock().state == QueuePairState::Error {
                    return;
                }
                self.fail_request(&exchange, failure);
            }
        }
    }

    /// Brings the data of the oldest READ in flight. Keys are looked at again: they may be gone by now.
    pub(super) fn read_response(&mut self, number: u32) {
        let Some(exchange) = self.exchange(number, |queues| queues.send_retired) else {
            return;
        };
        let Operation::RdmaRead { address, key } = exchange.slot.operation else {
            return;
        };
        match self.check_read(&exchange, (address, key)) {
            Ok((_, remote)) => {
                let list = std::mem::take(&mut self.list);
                self.memory
                    .rdma(exchange.node, &list, remote, Direction::Read);
                self.list = list;
                let overrun = {
                    let mut queues = exchange.core.lock();
                    queues.read_done();
                    exchange.core.retire_done(&mut queues).is_err()
                };
                self.overran(&exchange.core, overrun);
                self.note(TraceEvent::ReadDone {
                    queue_pair: number,
                    id: exchange.slot.id,
                });
            }
            Err(failure) => self.fail_request(&exchange, failure),
        }
    }

    /// A SEND at the head finds no receive, and time passes.
    pub(super) fn not_ready(&mut self, number: u32) {
        let Some(exchange) = self.exchange(number, |queues| queues.send_next) else {
            return;
        };
        if let Some(peer) = self.links.get_mut(&exchange.peer) {
            peer.dry = peer.dry.saturating_sub(1);
        }
        let Some(link) = self.links.get_mut(&number) else {
            return;
        };
        link.traffic.not_ready += 1;
        let left = link.rnr_left;
        if link.rnr_retry < 7 {
            link.rnr_left = left.saturating_sub(1);
        }
        self.note(TraceEvent::NotReady {
            queue_pair: number,
            left,
        });
        if left == 0 {
            let status = CompletionStatus::RNR_RETRY_EXCEEDED;
            let responder = Responder::Untouched;
            self.fail_request(&exchange, Failure { status, responder });
        }
    }

    /// The peer's queue pair is gone or broken: retries run out.
    pub(super) fn unanswered(&mut self, number: u32) {
        let Some(link) = self.links.get(&number) else {
            return;
        };
        let core = Arc::clone(&link.core);
        self.fail_head(&core, CompletionStatus::RETRY_EXCEEDED);
        self.queue_pair_to_error(number);
    }

    /// Gives back some of the work of a broken queue pair.
    pub(super) fn flush(&mut self, number: u32) {
        let Some(link) = self.links.get(&number) else {
            return;
        };
        let core = Arc::clone(&link.core);
        let mut queues = core.lock();
        let sends = queues.send_posted - queues.send_retired;
        let receives = queues.receive_posted - queues.receive_retired;
        let count = 1 + self.random.below((sends + receives) as usize);
        let (mut flushed_sends, mut flushed_receives) = (0, 0);
        let mut overrun = false;
        for _ in 0..count {
            let more_sends = queues.send_retired < queues.send_posted;
            let result = if more_sends && (!queues.has_receive() || self.random.below(2) == 0) {
                flushed_sends += 1;
                core.retire_send(&mut queues, CompletionStatus::FLUSHED)
            } else {
                flushed_receives += 1;
                core.retire_receive(&mut queues, CompletionStatus::FLUSHED, 0, None)
            };
            overrun |= result.is_err();
        }
        drop(queues);
        self.overran(&core, overrun);
        self.note(TraceEvent::Flushed {
            queue_pair: number,
            sends: flushed_sends,
            receives: flushed_receives,
        });
    }

    /// A SEND: into the peer's receive at the head.
    fn send(&mut self, exchange: &Exchange, invalidate: Option<u32>) -> Result<u64, Failure> {
        let length = self.check_gather(exchange)?;
        if let Some(key) = invalidate {
            self.memory
                .check_remote_key(exchange.peer_node, key)
                .map_err(|_| Failure::REMOTE_ACCESS)?;
        }
        let into = {
            let queues = exchange.peer_core.lock();
            queues.receive(queues.receive_retired).sge
        };
        // IBTA 9.9.3: the message must fit the receive, and the receive must be good.
        if length > u64::from(into.len()) {
            return Err(Failure {
                status: CompletionStatus::REMOTE_INVALID_REQUEST,
                responder: Responder::ReceiveFailed(CompletionStatus::LOCAL_LENGTH),
            });
        }
        let place = self
            .memory
            .local(exchange.peer_node, into, true)
            .map_err(|_| Failure {
                status: CompletionStatus::REMOTE_OPERATION,
                responder: Responder::ReceiveFailed(CompletionStatus::LOCAL_PROTECTION),
            })?;
        let list = std::mem::take(&mut self.list);
        self.memory.send(exchange.node, &list, place);
        self.list = list;
        if let Some(key) = invalidate {
            self.memory.invalidate(key);
        }
        let overrun = {
            let mut queues = exchange.peer_core.lock();
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            exchange
                .peer_core
                .retire_receive(&mut queues, CompletionStatus::SUCCESS, length, invalidate)
                .is_err()
        };
        self.overran(&exchange.peer_core, overrun);
        if let Some(link) = self.links.get_mut(&exchange.number) {
            link.rnr_left = link.rnr_retry;
        }
        Ok(length)
    }

    fn rdma_write(&mut self, exchange: &Exchange, to: (u64, u32)) -> Result<u64, Failure> {
        let length = self.check_gather(exchange)?;
        let remote = self
            .memory
            .remote(exchange.peer_node, to, length, Direction::Write)
            .map_err(|_| Failure::REMOTE_ACCESS)?;
        let list = std::mem::take(&mut self.list);
        self.memory
            .rdma(exchange.node, &list, remote, Direction::Write);
        self.list = list;
        Ok(length)
    }

    /// The request half of a READ: checked by both adapters, the data to follow.
    fn rdma_read(&mut self, exchange: &Exchange, from: (u64, u32)) -> Result<u64, Failure> {
        let in_flight = exchange.core.lock().reads_in_flight;
        let of = |link: Option<&Link>| {
            link.map_or((0, 0), |link| {
                (link.initiator_depth, link.responder_resources)
            })
        };
        if of(self.links.get(&exchange.number)).0 == 0 {
            return Err(Failure {
                status: LOCAL_QP_OPERATION,
                responder: Responder::Untouched,
            });
        }
        // IBTA 9.7.5.1.1: more READs than the responder said it has resources for are invalid requests.
        if in_flight >= u32::from(of(self.links.get(&exchange.peer)).1) {
            return Err(Failure {
                status: CompletionStatus::REMOTE_INVALID_REQUEST,
                responder: Responder::Refused,
            });
        }
        Ok(self.check_read(exchange, from)?.0)
    }

    fn check_read(
        &self,
        exchange: &Exchange,
        from: (u64, u32),
    ) -> Result<(u64, Option<Place>), Failure> {
        let length = self
            .memory
            .check_list(exchange.node, &self.list, true)
            .map_err(|_| Failure::LOCAL_PROTECTION)?;
        let remote = self
            .memory
            .remote(exchange.peer_node, from, length, Direction::Read)
            .map_err(|_| Failure::REMOTE_ACCESS)?;
        Ok((length, remote))
    }

    fn check_gather(&self, exchange: &Exchange) -> Result<u64, Failure> {
        self.memory
            .check_list(exchange.node, &self.list, false)
            .map_err(|_| Failure::LOCAL_PROTECTION)
    }

    /// Finds both ends of a request, and loads its list. The bytes are gathered from what memory holds now.
    fn exchange(
        &mut self,
        number: u32,
        which: impl FnOnce(&queue_pair::Queues) -> u64,
    ) -> Option<Exchange> {
        let link = self.links.get(&number)?;
        let peer_number = link.peer?;
        let peer = self.links.get(&peer_number)?;
        let core = Arc::clone(&link.core);
        let slot = {
            let queues = core.lock();
            let which = which(&queues);
            self.list.clear();
            self.list.extend_from_slice(queues.send_sges(which));
            *queues.send(which)
        };
        Some(Exchange {
            number,
            core,
            node: link.node,
            peer: peer_number,
            peer_core: Arc::clone(&peer.core),
            peer_node: peer.node,
            slot,
        })
    }

    /// Ends the request at the head with an error, and both queue pairs as far as they are concerned.
    fn fail_request(&mut self, exchange: &Exchange, failure: Failure) {
        match failure.responder {
            Responder::Untouched => {}
            Responder::Refused => self.break_responder(exchange),
            Responder::ReceiveFailed(status) => {
                let overrun = {
                    let mut queues = exchange.peer_core.lock();
                    exchange
                        .peer_core
                        .retire_receive(&mut queues, status, 0, None)
                        .is_err()
                };
                self.overran(&exchange.peer_core, overrun);
                self.queue_pair_to_error(exchange.peer);
            }
        }
        self.fail_head(&exchange.core, failure.status);
        self.queue_pair_to_error(exchange.number);
    }

    /// IBTA 9.9.3: a refused request breaks the responder's queue pair, with an affiliated event.
    fn break_responder(&mut self, exchange: &Exchange) {
        self.announce(
            exchange.peer_node,
            AdapterEvent::QueuePairError(exchange.peer),
        );
        self.queue_pair_to_error(exchange.peer);
    }

    fn fail_head(&mut self, core: &Arc<queue_pair::Core>, status: CompletionStatus) {
        let (id, overrun) = {
            let mut queues = core.lock();
            if queues.send_retired == queues.send_posted {
                return;
            }
            let id = queues.send(queues.send_retired).id;
            (id, core.retire_send(&mut queues, status).is_err())
        };
        self.overran(core, overrun);
        self.note(TraceEvent::WorkFailed {
            queue_pair: core.number,
            id,
            status,
        });
    }

    fn overran(&mut self, core: &queue_pair::Core, overrun: bool) {
        if overrun {
            self.overruns.push(core.completions.number);
        }
    }

    fn count(&mut self, exchange: &Exchange, bytes: u64) {
        let Some(link) = self.links.get_mut(&exchange.number) else {
            return;
        };
        let traffic = &mut link.traffic;
        let (count, total) = match exchange.slot.operation {
            Operation::Send | Operation::SendWithInvalidate { .. } => {
                (&mut traffic.sends, &mut traffic.send_bytes)
            }
            Operation::RdmaWrite { .. } => {
                (&mut traffic.rdma_writes, &mut traffic.rdma_write_bytes)
            }
            Operation::RdmaRead { .. } => (&mut traffic.rdma_reads, &mut traffic.rdma_read_bytes),
        };
        *count += 1;
        *total += bytes;
    }
}
