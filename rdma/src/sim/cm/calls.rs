//! What owners of connections ask for.

use super::{
    Body, Dial, Endpoint, NATIVE_REQUEST_DATA, Phase, REJECT_DATA, REPLY_DATA, REQUEST_DATA, Timer,
    padded, reason,
};
use crate::fabric::{ConnectParams, FabricError};
use crate::sim::net::State;
use crate::sim::queue_pair::QueuePairState;

impl State {
    /// Active side: sends the REQ.
    pub(in crate::sim) fn cm_connect(
        &mut self,
        id: u64,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError> {
        let endpoint = self.endpoint(id)?;
        let room = match endpoint.dial {
            Some(Dial::Service(..)) => NATIVE_REQUEST_DATA,
            _ => REQUEST_DATA,
        };
        let (phase, node, queue_pair) = (endpoint.phase, endpoint.node, endpoint.queue_pair);
        if phase != Phase::Resolved || queue_pair.is_none() {
            return Err(FabricError::from_errno("rdma_connect", libc::EINVAL));
        }
        self.check_params("rdma_connect", node, params, room)?;
        self.endpoint(id)?.phase = Phase::Connecting;
        let body = Body::Request {
            private_data: padded(params.private_data, room),
            responder_resources: params.responder_resources,
            initiator_depth: params.initiator_depth,
            rnr_retry: params.rnr_retry_count,
        };
        self.cm.send(id, None, body);
        Ok(())
    }

    /// Passive side: sends the REP; the queue pair may send from here on.
    pub(in crate::sim) fn cm_accept(
        &mut self,
        id: u64,
        params: &ConnectParams<'_>,
    ) -> Result<(), FabricError> {
        let endpoint = self.endpoint(id)?;
        let (phase, node, peer) = (endpoint.phase, endpoint.node, endpoint.peer);
        let rnr_retry = endpoint.rnr_retry;
        let (Phase::Requested, Some(queue_pair)) = (phase, endpoint.queue_pair) else {
            return Err(FabricError::from_errno("rdma_accept", libc::EINVAL));
        };
        self.check_params("rdma_accept", node, params, REPLY_DATA)?;
        self.endpoint(id)?.phase = Phase::Accepted;
        let to = peer
            .and_then(|peer| self.cm.connections.get(&peer))
            .and_then(|peer| peer.queue_pair);
        let depths = (params.initiator_depth, params.responder_resources);
        self.join(queue_pair, to, depths, rnr_retry);
        let body = Body::Reply {
            private_data: padded(params.private_data, REPLY_DATA),
            responder_resources: params.responder_resources,
            initiator_depth: params.initiator_depth,
            rnr_retry: params.rnr_retry_count,
        };
        self.cm.send(id, peer, body);
        Ok(())
    }

    pub(in crate::sim) fn cm_reject(&mut self, id: u64, data: &[u8]) -> Result<(), FabricError> {
        let endpoint = self.endpoint(id)?;
        if endpoint.phase != Phase::Requested || data.len() > REJECT_DATA {
            return Err(FabricError::from_errno("rdma_reject", libc::EINVAL));
        }
        // What it has to say, instead of what forgetting would.
        endpoint.phase = Phase::Over;
        let peer = endpoint.peer;
        let body = Body::Reject {
            reason: reason::CONSUMER_DEFINED,
            private_data: padded(data, REJECT_DATA),
        };
        self.cm.send(id, peer, body);
        self.cm.forget(id);
        Ok(())
    }

    pub(in crate::sim) fn cm_notify_established(&mut self, id: u64) -> Result<(), FabricError> {
        if self.endpoint(id)?.phase == Phase::Accepted {
            self.established(id, Vec::new());
        }
        Ok(())
    }

    pub(in crate::sim) fn cm_disconnect(&mut self, id: u64) -> Result<(), FabricError> {
        let endpoint = self.endpoint(id)?;
        let (phase, peer) = (endpoint.phase, endpoint.peer);
        let queue_pair = endpoint.queue_pair;
        match phase {
            Phase::Accepted | Phase::Established => {
                endpoint.phase = Phase::Disconnecting;
                self.cm.send(id, peer, Body::DisconnectRequest);
                self.cm.timers.push(Timer {
                    connection: id,
                    phase: Phase::Disconnecting,
                });
            }
            Phase::Disconnected => {
                endpoint.phase = Phase::Over;
                self.cm.send(id, peer, Body::DisconnectReply);
            }
            Phase::Disconnecting | Phase::Over => {}
            _ => return Err(FabricError::from_errno("rdma_disconnect", libc::EINVAL)),
        }
        if let Some(queue_pair) = queue_pair {
            self.queue_pair_to_error(queue_pair);
        }
        Ok(())
    }

    fn check_params(
        &self,
        call: &'static str,
        node: usize,
        params: &ConnectParams<'_>,
        room: usize,
    ) -> Result<(), FabricError> {
        let node = &self.nodes[node];
        let refuse = |errno| Err(FabricError::from_errno(call, errno));
        if node.removed {
            return refuse(libc::ENODEV);
        }
        if params.private_data.len() > room
            || params.responder_resources > node.capabilities.max_responder_resources
            || params.initiator_depth > node.capabilities.max_initiator_depth
            || params.rnr_retry_count > 7
            || params.retry_count > 7
        {
            return refuse(libc::EINVAL);
        }
        Ok(())
    }

    pub(in crate::sim) fn endpoint(&mut self, id: u64) -> Result<&mut Endpoint, FabricError> {
        self.cm
            .connections
            .get_mut(&id)
            .ok_or(FabricError::UnknownConnection)
    }

    /// Connects a queue pair to the one at the other end.
    pub(in crate::sim) fn join(
        &mut self,
        number: u32,
        peer: Option<u32>,
        depths: (u8, u8),
        rnr_retry: u8,
    ) {
        if let Some(link) = self.links.get_mut(&number) {
            link.peer = peer;
            (link.initiator_depth, link.responder_resources) = depths;
            (link.rnr_retry, link.rnr_left) = (rnr_retry, rnr_retry);
            let mut queues = link.core.lock();
            if queues.state == QueuePairState::Init {
                queues.state = QueuePairState::Ready;
            }
        }
    }
}
