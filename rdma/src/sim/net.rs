//! The state of a simulated network, and the steps that change it.
//!
//! Locks, in the order in which they are taken: the net's state, one or more queue pairs, a completion queue. The owner
//! of a queue pair takes the last two alone, and never both, when it posts and polls.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Thread;

use super::cm::Cm;
use super::memory::MemoryTable;
use super::node::{PostFaults, SimFabric};
use super::queue_pair::{self, QueuePairState};
use super::random::Random;
use super::trace::{Trace, TraceEvent};
use crate::event_fd::EventFd;
use crate::fabric::{AdapterEvent, Capabilities, Operation, Sge};

/// What all handles of one net share.
#[derive(Debug)]
pub(super) struct Net {
    state: Mutex<State>,
    /// Threads that step by themselves.
    runners: Mutex<Vec<Thread>>,
    runner_count: AtomicUsize,
    /// Something was posted since a runner last looked.
    kicked: AtomicBool,
}

/// Everything that only steps and slow calls touch.
#[derive(Debug)]
pub(super) struct State {
    pub(super) random: Random,
    pub(super) steps: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) links: BTreeMap<u32, Link>,
    pub(super) memory: MemoryTable,
    pub(super) cm: Cm,
    pub(super) trace: Trace,
    pub(super) next_queue_pair: u32,
    pub(super) next_completion_queue: u64,
    /// Completion queues that overran in this step.
    pub(super) overruns: Vec<u64>,
    /// The gather list at work, reused.
    pub(super) list: Vec<Sge>,
    urgent: Vec<Choice>,
    timed: Vec<Choice>,
}

/// One machine with one adapter.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) addresses: Vec<std::net::IpAddr>,
    pub(super) capabilities: Capabilities,
    pub(super) removed: bool,
    pub(super) events: VecDeque<AdapterEvent>,
    pub(super) event: Arc<EventFd>,
    pub(super) fabric: Weak<SimFabric>,
    pub(super) post_faults: Arc<PostFaults>,
    /// Registrations until one fails, zero for never.
    pub(super) failing_registration: u64,
}

/// A queue pair as the network sees it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) core: Arc<queue_pair::Core>,
    pub(super) node: usize,
    /// The queue pair at the other end, since the connection manager joined them.
    pub(super) peer: Option<u32>,
    /// READs that it may have in flight.
    pub(super) initiator_depth: u8,
    /// READs of the peer that it answers at once.
    pub(super) responder_resources: u8,
    /// Times that a SEND without a receive is tried again, 7 for ever.
    pub(super) rnr_retry: u8,
    /// What is left of them for the SEND at the head.
    pub(super) rnr_left: u8,
    pub(super) paused: bool,
    /// Nothing moves before this step, unless nothing else moves either.
    pub(super) delayed_until: u64,
    /// SENDs of the peer that will find no receive, whatever is posted.
    pub(super) dry: u64,
    pub(super) traffic: Traffic,
}

/// What a queue pair carried, as its requester.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// SENDs, with invalidate or without.
    pub sends: u64,
    /// Their bytes.
    pub send_bytes: u64,
    /// RDMA WRITEs.
    pub rdma_writes: u64,
    /// Their bytes.
    pub rdma_write_bytes: u64,
    /// RDMA READs.
    pub rdma_reads: u64,
    /// Their bytes.
    pub rdma_read_bytes: u64,
    /// SENDs that found no receive.
    pub not_ready: u64,
}

/// Something that a step could do.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Execute(u32),
    ReadResponse(u32),
    Flush(u32),
    /// The place in the queue of messages.
    Message(usize),
    /// A SEND without a receive has one try less.
    NotReady(u32),
    /// The peer's queue pair does not answer.
    Unanswered(u32),
    DelayOver(u32),
    /// The place in the list of timers.
    Timer(usize),
}

impl Net {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(State {
                random: Random::new(seed),
                steps: 0,
                nodes: Vec::new(),
                links: BTreeMap::new(),
                memory: MemoryTable::new(),
                cm: Cm::new(),
                trace: Trace::new(),
                next_queue_pair: 0x11,
                next_completion_queue: 0,
                overruns: Vec::new(),
                list: Vec::new(),
                urgent: Vec::new(),
                timed: Vec::new(),
            }),
            runners: Mutex::new(Vec::new()),
            runner_count: AtomicUsize::new(0),
            kicked: AtomicBool::new(false),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the runners. Costs a load where there are none, and two atomics where they are awake.
    pub(super) fn kick(&self) {
        if self.runner_count.load(Ordering::SeqCst) > 0 && !self.kicked.swap(true, Ordering::SeqCst)
        {
            for runner in self.runners().iter() {
                runner.unpark();
            }
        }
    }

    /// Forgets the kicks so far; the caller looks for work afterwards.
    pub(super) fn take_kick(&self) -> bool {
        self.kicked.swap(false, Ordering::SeqCst)
    }

    pub(super) fn add_runner(&self, thread: Thread) {
        let mut runners = self.runners();
        runners.push(thread);
        self.runner_count.store(runners.len(), Ordering::SeqCst);
    }

    pub(super) fn remove_runner(&self, thread: &Thread) {
        let mut runners = self.runners();
        runners.retain(|runner| runner.id() != thread.id());
        self.runner_count.store(runners.len(), Ordering::SeqCst);
    }

    fn runners(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a step found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stepped {
    /// It did something.
    Moved,
    /// Nothing can happen unless time passes: retries, timeouts, delays.
    NeedsTime,
    /// Nothing can happen.
    Idle,
}

impl State {
    /// Does one thing that can happen now, or failing that, if `time_passes`, one that takes time.
    pub(super) fn step(&mut self, time_passes: bool) -> Stepped {
        self.collect_choices();
        let among = if !self.urgent.is_empty() {
            &self.urgent
        } else if self.timed.is_empty() {
            return Stepped::Idle;
        } else if time_passes {
            &self.timed
        } else {
            return Stepped::NeedsTime;
        };
        let choice = among[self.random.below(among.len())];
        self.take(choice);
        Stepped::Moved
    }

    /// Lets time pass: does one of the things that wait for it, whatever else there is to do.
    pub(super) fn tick(&mut self) -> Stepped {
        self.collect_choices();
        if self.timed.is_empty() {
            return Stepped::Idle;
        }
        let choice = self.timed[self.random.below(self.timed.len())];
        self.take(choice);
        Stepped::Moved
    }

    fn take(&mut self, choice: Choice) {
        self.steps += 1;
        match choice {
            Choice::Execute(number) => self.execute(number),
            Choice::ReadResponse(number) => self.read_response(number),
            Choice::Flush(number) => self.flush(number),
            Choice::Message(at) => self.deliver(at),
            Choice::NotReady(number) => self.not_ready(number),
            Choice::Unanswered(number) => self.unanswered(number),
            Choice::DelayOver(number) => {
                if let Some(link) = self.links.get_mut(&number) {
                    link.delayed_until = 0;
                }
                self.note(TraceEvent::DelayOver { queue_pair: number });
            }
            Choice::Timer(at) => self.timeout(at),
        }
        self.handle_overruns();
    }

    fn collect_choices(&mut self) {
        let mut urgent = std::mem::take(&mut self.urgent);
        let mut timed = std::mem::take(&mut self.timed);
        urgent.clear();
        timed.clear();
        for (&number, link) in &self.links {
            self.choices_of(number, link, &mut urgent, &mut timed);
        }
        for at in 0..self.cm.messages.len() {
            if self.cm.is_first_of_its_sender(at) {
                urgent.push(Choice::Message(at));
            }
        }
        self.cm.drop_stale_timers();
        timed.extend((0..self.cm.timers.len()).map(Choice::Timer));
        self.urgent = urgent;
        self.timed = timed;
    }

    /// Adds what a queue pair could do now, and what it could do given time.
    fn choices_of(
        &self,
        number: u32,
        link: &Link,
        urgent: &mut Vec<Choice>,
        timed: &mut Vec<Choice>,
    ) {
        let (state, reading, next) = {
            let queues = link.core.lock();
            if queues.state == QueuePairState::Error && queues.has_work() {
                urgent.push(Choice::Flush(number));
            }
            let next = queues.has_send().then(|| queues.send(queues.send_next));
            let next = next.map(|slot| slot.operation);
            (queues.state, queues.reads_in_flight, next)
        };
        let waits = reading == 0 && next.is_none();
        if state != QueuePairState::Ready || link.paused || waits {
            return;
        }
        let Some(peer) = link.peer.and_then(|peer| self.links.get(&peer)) else {
            timed.push(Choice::Unanswered(number));
            return;
        };
        let (peer_state, peer_has_receive) = {
            let queues = peer.core.lock();
            (queues.state, queues.has_receive())
        };
        match peer_state {
            // Its side of the handshake is not done: packets are lost and sent again.
            QueuePairState::Init => return,
            QueuePairState::Error => {
                timed.push(Choice::Unanswered(number));
                return;
            }
            QueuePairState::Ready => {}
        }
        if link.delayed_until > self.steps {
            timed.push(Choice::DelayOver(number));
            return;
        }
        if reading > 0 {
            urgent.push(Choice::ReadResponse(number));
        }
        match next {
            Some(Operation::Send | Operation::SendWithInvalidate { .. }) => {
                if peer.dry == 0 && peer_has_receive {
                    urgent.push(Choice::Execute(number));
                } else if reading == 0 && (peer.dry > 0 || link.rnr_retry < 7) {
                    timed.push(Choice::NotReady(number));
                }
            }
            // IBTA 9.4.4: no more outstanding READs than negotiated. With none at all the request fails at once.
            Some(Operation::RdmaRead { .. })
                if reading > 0 && reading >= u32::from(link.initiator_depth) => {}
            Some(_) => urgent.push(Choice::Execute(number)),
            None => {}
        }
    }

    pub(super) fn note(&mut self, event: TraceEvent) {
        self.trace.push(self.steps, event);
    }

    /// Reports an asynchronous event of an adapter.
    pub(super) fn announce(&mut self, node: usize, event: AdapterEvent) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.events.push_back(event);
            node.event.signal();
        }
    }

    /// Moves a queue pair to the error state, from where its work is flushed step by step.
    pub(super) fn queue_pair_to_error(&mut self, number: u32) {
        let Some(link) = self.links.get(&number) else {
            return;
        };
        let was = {
            let mut queues = link.core.lock();
            queues.reads_in_flight = 0;
            std::mem::replace(&mut queues.state, QueuePairState::Error)
        };
        if was != QueuePairState::Error {
            self.note(TraceEvent::QueuePairError { queue_pair: number });
        }
    }

    /// Takes a queue pair out of the net, with whatever it had not reported yet.
    pub(super) fn destroy_queue_pair(&mut self, number: u32) {
        if let Some(link) = self.links.remove(&number) {
            link.core.completions.purge(number);
            self.cm.queue_pair_destroyed(number);
        }
    }

    /// A completion queue that overran takes its queue pairs with it.
    fn handle_overruns(&mut self) {
        while let Some(queue) = self.overruns.pop() {
            self.note(TraceEvent::CompletionQueueOverrun { queue });
            let on_it: Vec<_> = self
                .links
                .iter()
                .filter(|(_, link)| link.core.completions.number == queue)
                .map(|(&number, link)| (number, link.node))
                .collect();
            if let Some(&(_, node)) = on_it.first() {
                self.announce(node, AdapterEvent::CompletionQueueError);
            }
            for (number, _) in on_it {
                self.queue_pair_to_error(number);
            }
        }
    }
}
