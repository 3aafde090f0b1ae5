//! What steps do: messages arrive, are lost, or are waited for in vain.

use std::net::SocketAddr;

use super::{Body, Dial, Endpoint, Event, Message, Phase, REJECT_DATA, Timer, gid_of, reason};
use crate::fabric::{ConnectionId, PeerAddress};
use crate::sim::net::State;
use crate::sim::trace::TraceEvent;

impl State {
    /// Delivers, or loses, the message at this place in the queue.
    pub(in crate::sim) fn deliver(&mut self, at: usize) {
        let Some(message) = self.cm.messages.remove(at) else {
            return;
        };
        let connection = ConnectionId(message.from);
        let Some(kind) = message.body.kind() else {
            self.note(TraceEvent::Resolved { connection });
            return self.resolve(message.from);
        };
        let lost = self.cm.take_loss(kind);
        self.note(TraceEvent::Cm {
            message: kind,
            from: connection,
            lost,
        });
        if lost {
            self.lose(&message);
        } else {
            self.arrive(message);
        }
    }

    fn arrive(&mut self, message: Message) {
        let (from, to) = (message.from, message.to);
        if let Body::Request { .. } = message.body {
            return self.request_arrives(from, message.body);
        }
        let Some((to, phase)) = to.and_then(|to| Some((to, self.cm.connections.get(&to)?.phase)))
        else {
            // Nobody there any more. Only the side that offered a connection would wait for ever.
            if matches!(message.body, Body::Reply { .. }) {
                self.wait_in_vain(from, Phase::Accepted);
            }
            return;
        };
        match (message.body, phase) {
            (
                Body::Reply {
                    private_data,
                    responder_resources,
                    initiator_depth,
                    rnr_retry,
                },
                Phase::Connecting,
            ) => {
                let depths = (responder_resources, initiator_depth);
                self.reply_arrives(to, from, (private_data, depths, rnr_retry));
            }
            (Body::Reply { .. }, _) => self.wait_in_vain(from, Phase::Accepted),
            (Body::ReadyToUse, Phase::Accepted) => self.established(to, Vec::new()),
            (
                Body::Reject {
                    reason,
                    private_data,
                },
                Phase::Connecting,
            ) => self.end(to, Event::Rejected(to, reason, private_data)),
            (Body::Reject { .. }, Phase::Requested | Phase::Accepted) => {
                self.end(to, Event::Failed(to, "the peer gave up"));
            }
            (Body::DisconnectRequest, Phase::Accepted | Phase::Established) => {
                self.set_phase(to, Phase::Disconnected);
                self.report(to, Event::Disconnected(to));
            }
            // Both at once: each takes the other's request for its reply.
            (Body::DisconnectRequest | Body::DisconnectReply, Phase::Disconnecting) => {
                self.set_phase(to, Phase::Over);
                self.report(to, Event::Disconnected(to));
            }
            _ => {}
        }
    }

    fn resolve(&mut self, id: u64) {
        let Some(endpoint) = self.cm.connections.get(&id) else {
            return;
        };
        let (node, dial) = (endpoint.node, endpoint.dial);
        let there = dial.and_then(|dial| self.node_for(dial)).is_some();
        let here = match dial {
            Some(Dial::Ip(to)) => self.nodes[node].address_towards(to).is_some(),
            _ => true,
        };
        if there && here && !self.nodes[node].removed {
            self.set_phase(id, Phase::Resolved);
            self.report(id, Event::Resolved(id));
        } else {
            self.end(id, Event::Failed(id, "no route to the address"));
        }
    }

    fn request_arrives(&mut self, from: u64, body: Body) {
        let Some(active) = self.cm.connections.get(&from) else {
            return;
        };
        let Some(dial) = active.dial else { return };
        let from_node = active.node;
        let Some(node) = self.node_for(dial) else {
            return self.wait_in_vain(from, Phase::Connecting);
        };
        let Body::Request {
            private_data,
            responder_resources,
            initiator_depth,
            rnr_retry,
        } = body
        else {
            return;
        };
        let refusal = |reason| Body::Reject {
            reason,
            private_data: vec![0; REJECT_DATA],
        };
        // A refusal by the CM itself: its sender is nobody.
        let nobody = self.cm.new_id();
        let Some(listener) = self.cm.listener_for(node, dial) else {
            let body = refusal(reason::INVALID_SERVICE_ID);
            return self.cm.send(nobody, Some(from), body);
        };
        let (peer, local) = self.addresses_of(from_node, node, dial);
        let Some(listening) = self.cm.listeners.get_mut(&listener) else {
            return;
        };
        if listening.waiting >= listening.backlog {
            let body = refusal(reason::CONSUMER_DEFINED);
            return self.cm.send(nobody, Some(from), body);
        }
        listening.waiting += 1;
        let manager = listening.manager;
        let id = nobody;
        self.cm.connections.insert(
            id,
            Endpoint {
                manager,
                node,
                phase: Phase::Requested,
                peer: Some(from),
                queue_pair: None,
                dial: None,
                rnr_retry,
            },
        );
        if let Some(active) = self.cm.connections.get_mut(&from) {
            active.peer = Some(id);
        }
        self.cm.report(
            manager,
            Event::Request {
                connection: id,
                listener,
                peer,
                local,
                private_data,
                responder_resources,
                initiator_depth,
            },
        );
    }

    /// The reply of `from` comes to `id`: its READ depths, and the RNR retries that it wants of us.
    fn reply_arrives(
        &mut self,
        id: u64,
        from: u64,
        (private_data, depths, rnr_retry): (Vec<u8>, (u8, u8), u8),
    ) {
        let queue_pair_of = |state: &Self, id| {
            let endpoint: Option<&Endpoint> = state.cm.connections.get(&id);
            endpoint.and_then(|endpoint| endpoint.queue_pair)
        };
        let Some(queue_pair) = queue_pair_of(self, id) else {
            self.end(id, Event::Failed(id, "no queue pair to connect"));
            self.wait_in_vain(from, Phase::Accepted);
            return;
        };
        let peer = queue_pair_of(self, from);
        self.join(queue_pair, peer, depths, rnr_retry);
        self.established(id, private_data);
        self.cm.send(id, Some(from), Body::ReadyToUse);
    }

    /// Gives up waiting.
    pub(in crate::sim) fn timeout(&mut self, at: usize) {
        let timer = self.cm.timers.swap_remove(at);
        let id = timer.connection;
        self.note(TraceEvent::CmTimeout {
            connection: ConnectionId(id),
        });
        match timer.phase {
            Phase::Disconnecting => {
                self.set_phase(id, Phase::Over);
                self.report(id, Event::Disconnected(id));
            }
            _ => self.end(id, Event::Failed(id, "the peer did not answer")),
        }
    }

    /// A message is lost for good: whoever waits for it, or for its answer, times out.
    fn lose(&mut self, message: &Message) {
        match message.body {
            Body::Request { .. } => self.wait_in_vain(message.from, Phase::Connecting),
            Body::Reply { .. } => {
                self.wait_in_vain(message.from, Phase::Accepted);
                self.wait_in_vain(message.to.unwrap_or(0), Phase::Connecting);
            }
            Body::ReadyToUse => self.wait_in_vain(message.to.unwrap_or(0), Phase::Accepted),
            Body::Reject { .. } => self.wait_in_vain(message.to.unwrap_or(0), Phase::Connecting),
            // Who disconnects has a timer anyway.
            Body::Resolve | Body::DisconnectRequest | Body::DisconnectReply => {}
        }
    }

    fn wait_in_vain(&mut self, connection: u64, phase: Phase) {
        self.cm.timers.push(Timer { connection, phase });
    }

    pub(in crate::sim) fn established(&mut self, id: u64, private_data: Vec<u8>) {
        self.set_phase(id, Phase::Established);
        self.report(id, Event::Established(id, private_data));
    }

    /// The attempt is over; its queue pair flushes.
    fn end(&mut self, id: u64, event: Event) {
        self.set_phase(id, Phase::Over);
        let queue_pair = self.cm.connections.get(&id).and_then(|e| e.queue_pair);
        if let Some(queue_pair) = queue_pair {
            self.queue_pair_to_error(queue_pair);
        }
        self.report(id, event);
    }

    fn set_phase(&mut self, id: u64, phase: Phase) {
        if let Some(endpoint) = self.cm.connections.get_mut(&id) {
            endpoint.phase = phase;
        }
    }

    fn report(&mut self, id: u64, event: Event) {
        if let Some(endpoint) = self.cm.connections.get(&id) {
            self.cm.report(endpoint.manager, event);
        }
    }

    fn node_for(&self, dial: Dial) -> Option<usize> {
        self.nodes.iter().position(|node| {
            !node.removed
                && match dial {
                    Dial::Ip(to) => node.addresses.contains(&to.ip()),
                    Dial::Service(gid, _) => gid_of(node.capabilities.node_guid) == gid,
                }
        })
    }

    /// The addresses of both ends as the passive side sees them: the peer's, and its own.
    fn addresses_of(&mut self, from: usize, to: usize, dial: Dial) -> (PeerAddress, PeerAddress) {
        let gid = |state: &Self, node: usize| {
            PeerAddress::Gid(gid_of(state.nodes[node].capabilities.node_guid))
        };
        match dial {
            Dial::Service(..) => (gid(self, from), gid(self, to)),
            Dial::Ip(dialled) => {
                self.cm.next_port = self.cm.next_port.checked_add(1).unwrap_or(40_000);
                let port = self.cm.next_port;
                let ip = self.nodes[from].address_towards(dialled);
                let peer = ip.map_or(gid(self, from), |ip| {
                    PeerAddress::Ip(SocketAddr::new(ip, port))
                });
                (peer, PeerAddress::Ip(dialled))
            }
        }
    }
}
