//! What other threads tell a shard, and what a shard tells the control thread.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use pagecast_core::nvme::{Completion, Controller};
use pagecast_core::reservations::{Change, Refusal, Registrant};
use pagecast_core::scsi::UnitId;
use pagecast_rdma::fabric::Adapter;
use pagecast_rdma::windows::RevokedRange;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::connection::{Connection, MessageBuffers};
use super::manage::{AbortRequest, AbortTicket};
use super::port::Port;
use super::task::TaskId;
use crate::daemon::configure::Step;
use crate::device::Device;
use crate::device::range_locks::Ticket;
use crate::iscsi::login::{LoginFailure, LoginStatus, LoginSummary};
use crate::nvme::auth::{Credentials, Exchange};
use crate::nvme::connect::{ConnectCommand, ConnectData};
use crate::session::Session;

/// To a shard.
#[derive(Debug)]
pub enum ShardMessage {
    /// A new adapter to serve under this number, or none any more.
    Port(usize, Option<Box<Port>>),
    /// A connection to serve. Its receives are posted; it may already have completions.
    Adopt(Box<Connection>),
    /// The connection in this slot is established.
    Established(ConnectionKey),
    /// What became of a login over this connection.
    Admitted(ConnectionKey, Result<Admission, LoginStatus>),
    /// What became of an NVMe Connect over this connection.
    Connected(ConnectionKey, Result<Box<NvmeAdmission>, Completion>),
    /// A message of an NVMe host that authenticates was looked at.
    Authenticated(ConnectionKey, Box<Exchange>, Completion),
    /// The connection is gone or must go.
    Close(ConnectionKey, CloseReason),
    /// Windows are out of a task's way.
    Revoked(TaskId, Option<RevokedRange>),
    /// A task has the range that it waits for.
    Locked(TaskId, Ticket),
    /// What became of a task's change of reservations.
    Reserved(TaskId, Result<Reserved, Refusal>),
    /// Abort what matches; the ticket goes when all of it is gone.
    Abort(AbortRequest),
    /// What was preempted has not gone by itself: peers that hold it up lose their connections.
    Break(Arc<AbortTicket>),
    /// Let go of devices that are in no LUN map any more; the sender is dropped when nothing is under way to these where they are not
    /// seen any more.
    Prune(Sender<()>, Arc<[UnitId]>),
    /// All that a task management function waited for is gone; and whether there was anything.
    AbortDone(TaskId, bool),
    /// Finish what is in flight, take no new commands, close every connection.
    Drain,
    /// Leave the loop.
    Stop,
}

/// A change of reservations that was made.
#[derive(Debug)]
pub struct Reserved {
    /// Whose commands on the device end.
    pub aborted: Vec<Registrant>,
}

/// A login that was granted.
#[derive(Debug)]
pub struct Admission {
    /// The session that the connection belongs to from now on.
    pub session: Arc<Session>,
    /// Target session identifying handle.
    pub tsih: u16,
}

/// An NVMe Connect that was granted.
#[derive(Debug)]
pub struct NvmeAdmission {
    /// The session that the queue belongs to from now on.
    pub session: Arc<Session>,
    /// Its controller.
    pub controller: Arc<Controller>,
    /// What the host has to prove before it may use the queue.
    pub credentials: Option<Arc<Credentials>>,
}

/// An NVMe Connect: what the host wants.
#[derive(Debug)]
pub struct NvmeConnect {
    /// The command.
    pub command: ConnectCommand,
    /// Its data.
    pub data: ConnectData,
    /// When it came, on the shards' clock.
    pub now: Duration,
}

/// To the control thread.
#[derive(Debug)]
pub enum ControlMessage {
    /// A shard is done with a connection: nothing of it is left here.
    Closed {
        /// The slot that is free again.
        key: ConnectionKey,
        /// Its message buffers, for the next one.
        buffers: MessageBuffers,
    },
    /// Please disconnect: the shard found a reason to.
    Disconnect {
        /// Which.
        key: ConnectionKey,
    },
    /// A message came before the connection manager said `Established`.
    Early {
        /// Which.
        key: ConnectionKey,
    },
    /// An initiator has agreed with a shard about everything but whether it may come in. Ends in [`ShardMessage::Admitted`].
    Login {
        /// The connection.
        key: ConnectionKey,
        /// Who it is and where it wants to go.
        summary: Box<LoginSummary>,
    },
    /// A login that failed before there was anything to decide; the initiator knows.
    LoginFailed {
        /// The connection.
        key: ConnectionKey,
        /// Whose it was, and why.
        failure: Box<LoginFailure>,
    },
    /// An NVMe host connects a queue. Ends in [`ShardMessage::Connected`].
    Connect {
        /// The connection.
        key: ConnectionKey,
        /// What it wants.
        connect: Box<NvmeConnect>,
    },
    /// A message of an NVMe host that authenticates. Takes long to look at. Ends in [`ShardMessage::Authenticated`].
    Authenticate {
        /// The connection.
        key: ConnectionKey,
        /// Its exchange.
        exchange: Box<Exchange>,
        /// The message.
        message: Vec<u8>,
    },
    /// An NVMe host has proved over this connection who it is.
    Proven {
        /// The connection.
        key: ConnectionKey,
    },
    /// An NVMe host has reset its controller over this connection, the admin queue: the I/O queues go.
    ControllerReset {
        /// The connection.
        key: ConnectionKey,
    },
    /// Change the reservations of a device, durably. Ends in [`ShardMessage::Reserved`].
    Reserve(Box<ReservationWork>),
    /// Do this for a change of the configuration.
    Step(Box<Step>),
    /// Message buffers that were registered in the background.
    Buffers {
        /// On which adapter. Its number may be another one's by now.
        adapter: Arc<dyn Adapter>,
        /// The buffers; none if they could not be registered.
        buffers: Option<MessageBuffers>,
    },
    /// A shard has nothing left after `Drain`.
    Drained {
        /// Which shard.
        shard: usize,
    },
    /// A client of the control socket, or a signal, wants the process to end.
    Shutdown,
}

/// A change of reservations that a task waits for.
#[derive(Debug)]
pub struct ReservationWork {
    /// The task's shard.
    pub shard: u16,
    /// The task.
    pub task: TaskId,
    /// The device.
    pub device: Arc<Device>,
    /// What is asked for.
    pub change: Box<Change>,
    /// Who asks was preempted meanwhile, and the command aborted.
    pub cancelled: Arc<AtomicBool>,
}

/// A connection's place in a shard. The generation tells apart connections that used the same slot one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// The shard.
    pub shard: u16,
    /// The slot in its table.
    pub slot: u16,
    /// Counts the slot's uses.
    pub generation: u16,
}

/// Why a connection is closed; for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer disconnected.
    PeerGone,
    /// The initiator logged in again, over a single channel.
    Replaced,
    /// Its adapter is going away.
    AdapterRemoved,
    /// The daemon is stopping.
    Shutdown,
    /// A work request failed, or could not be posted.
    TransportError,
    /// The peer acknowledged nothing for too long.
    Stalled,
    /// The initiator broke the protocol.
    Violation,
    /// The initiator logged out.
    Logout,
    /// An NVMe host was silent for longer than its keep-alive time.
    KeepAlive,
    /// The admin queue of its NVMe controller is gone, or the controller was reset.
    ControllerGone,
    /// The host did not connect or authenticate in time, or could not; or its initiator is to be in an access group that asks for a proof
    /// which it has not given.
    NotAuthenticated,
    /// Commands of its initiator were preempted, and it acknowledges nothing that would let them end.
    Fenced,
    /// It was never established.
    HandshakeFailed,
    /// An operator asked for it.
    Operator,
    /// No access group admits its initiator any more.
    NotAdmitted,
}

/// The sending side of a mailbox: a channel, and a descriptor that wakes the receiver from its sleep.
#[derive(Debug)]
pub struct Mailer<T> {
    sender: Sender<T>,
    wake: Arc<OwnedFd>,
}

impl<T> Clone for Mailer<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            wake: Arc::clone(&self.wake),
        }
    }
}

impl<T> Mailer<T> {
    /// Sends; a receiver that is gone no longer cares.
    pub fn send(&self, message: T) {
        if self.sender.send(message).is_ok() {
            // A full counter is awake already.
            let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        }
    }
}

/// The receiving side of a mailbox.
#[derive(Debug)]
pub struct Mailbox<T> {
    receiver: Receiver<T>,
    wake: Arc<OwnedFd>,
}

impl<T> Mailbox<T> {
    /// The next message, if there is one.
    pub fn take(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Resets the descriptor; look for messages after, not before.
    pub fn acknowledge(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut count);
    }

    /// Readable after a message came.
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// Makes a mailbox.
pub fn mailbox<T>() -> std::io::Result<(Mailer<T>, Mailbox<T>)> {
    let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    let (sender, receiver) = unbounded();
    Ok((
        Mailer {
            sender,
            wake: Arc::clone(&wake),
        },
        Mailbox { receiver, wake },
    ))
}
