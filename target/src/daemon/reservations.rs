//! Changes of reservations: one after the other, on a thread of their own, since a change is on stable storage before it is
//! acknowledged.

use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use pagecast_core::reservations::{Action, Change, Refusal, Registrant};
use thiserror::Error;

use super::Control;
use crate::device::Device;
use crate::device::reservations::SaveError;
use crate::device::reservations::names::{InitiatorName, Key, WhoAndWhere, type_name};
use crate::events::{EventKind, Events};
use crate::shard::messages::{ControlMessage, Mailer, ReservationWork, Reserved, ShardMessage};

/// How long an operator waits for a change. Disks that take longer are broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who makes the changes of reservations that hosts and operators ask for, in the order in which they do.
#[derive(Debug, Default)]
pub struct Changer {
    way: Mutex<Way>,
    /// Where changes are told.
    events: Arc<Events>,
}

#[derive(Debug, Default)]
enum Way {
    /// Whoever asks makes it: for tests, which drive everything by hand.
    #[default]
    Oneself,
    /// A thread.
    Thread(Sender<Work>),
    /// Nobody any more: the daemon ends.
    Nobody,
}

/// A change that is asked for.
#[derive(Debug)]
enum Work {
    /// By a host: its shard is told.
    Host(Box<ReservationWork>, Mailer<ShardMessage>),
    /// By an operator.
    Operator(Arc<Device>, Sender<Result<(), ChangeError>>),
}

/// Why reservations are as they were.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// The rules do not allow it, or not now.
    #[error("another change is under way; try again")]
    Refused(Refusal),
    /// It could not be made durable.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// We are at fault.
    #[error("the daemon failed; please report this with its log")]
    Panic,
    /// The daemon ends.
    #[error("the daemon is stopping")]
    Stopping,
    /// It takes long. It may yet be made.
    #[error(
        "the change was not durable after {} seconds, and may yet be made: look at the disk of the state directory, \
         then at the reservations", PATIENCE.as_secs()
    )]
    Slow,
}

impl ChangeError {
    /// What a host is told.
    fn refusal(&self) -> Refusal {
        match self {
            Self::Refused(refusal) => *refusal,
            _ => Refusal::NotSaved,
        }
    }
}

impl Changer {
    /// Tells changes there.
    pub(super) fn telling(events: Arc<Events>) -> Self {
        Self {
            way: Mutex::default(),
            events,
        }
    }

    /// Has changes made by a thread from now on. If it fails at something that never should fail, `control` hears of it, and the
    /// daemon ends in order.
    pub(super) fn start(&self, control: Mailer<ControlMessage>) -> io::Result<JoinHandle<()>> {
        let (works, taken) = unbounded();
        let events = Arc::clone(&self.events);
        let thread = thread::Builder::new()
            .name("reservations".to_owned())
            .spawn(move || work(&taken, &control, &events))?;
        *self.lock() = Way::Thread(works);
        Ok(thread)
    }

    /// No more changes: the thread ends when it has made those that were asked for.
    pub(super) fn end(&self) {
        *self.lock() = Way::Nobody;
    }

    /// Ends all reservations and registrations of a device.
    pub(super) fn wipe(&self, device: &Arc<Device>) -> Result<(), ChangeError> {
        let (answer, answered) = bounded(1);
        self.make(Work::Operator(Arc::clone(device), answer));
        match answered.recv_timeout(PATIENCE) {
            Ok(result) => result,
            Err(error) if error.is_timeout() => Err(ChangeError::Slow),
            Err(_) => Err(ChangeError::Stopping),
        }
    }

    /// There are as many as there are commands in flight, at most.
    fn make(&self, work: Work) {
        match &*self.lock() {
            Way::Thread(works) => {
                // The thread is there for as long as it can be sent to.
                let _ = works.send(work);
                return;
            }
            Way::Nobody => return,
            Way::Oneself => {}
        }
        if let Err(panic) = finish(&work, &self.events) {
            panic::resume_unwind(panic);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Has a change of reservations made. Who asked hears of it when it is durable.
    pub(super) fn reserve(&mut self, work: Box<ReservationWork>) {
        if let Some(shard) = self.shards.get(usize::from(work.shard)) {
            let mail = shard.mail.clone();
            self.shared.changer.make(Work::Host(work, mail));
        }
    }
}

/// The thread. Every change is made whole, whatever comes, and everybody who asks is answered.
fn work(works: &Receiver<Work>, control: &Mailer<ControlMessage>, events: &Events) {
    for work in works {
        if finish(&work, events).is_err() {
            // As for any thread: who knows what state it has left.
            tracing::error!("changing reservations panicked; please report this with the log");
            control.send(ControlMessage::Shutdown);
        }
    }
}

/// Makes a change and tells who asked for it.
fn finish(work: &Work, events: &Events) -> thread::Result<()> {
    let (device, change) = match work {
        Work::Host(work, _) => (&work.device, &*work.change),
        Work::Operator(device, _) => (device, &by_operator()),
    };
    let cancelled = match work {
        Work::Host(work, _) => work.cancelled.load(Relaxed),
        Work::Operator(..) => false,
    };
    let made = panic::catch_unwind(AssertUnwindSafe(|| match cancelled {
        // Whoever was preempted must not come back by it.
        true => Err(ChangeError::Refused(Refusal::Busy)),
        false => make(device, change, events),
    }));
    let (result, end) = match made {
        Ok(result) => (result, Ok(())),
        Err(panic) => (Err(ChangeError::Panic), Err(panic)),
    };
    match work {
        Work::Host(work, shard) => {
            let result = result.map_err(|error| error.refusal());
            shard.send(ShardMessage::Reserved(work.task, result));
        }
        Work::Operator(_, answer) => {
            // It may have waited long enough.
            let _ = answer.send(result.map(drop));
        }
    }
    end
}

/// Changes the reservations of a device: in its file first, then for everybody.
fn make(device: &Device, change: &Change, events: &Events) -> Result<Reserved, ChangeError> {
    let who = Who(change);
    let action = What(&change.action);
    let prepared = (device.unit.reservations().begin(change)).map_err(|refusal| {
        tracing::debug!(device = %device.name, %who, %action, ?refusal, "reservations stay as they are");
        ChangeError::Refused(refusal)
    })?;
    if let (true, Some(table)) = (prepared.must_be_saved(), prepared.table())
        && let Err(error) = device.reservations.save(table)
    {
        tracing::error!(device = %device.name, %who, %action, %error, "a change of reservations fails");
        events.tell(EventKind::Error {
            what: format!(
                "device {}: a change of reservations fails: {error}",
                device.name
            ),
        });
        return Err(error.into());
    }
    let aborted = prepared.commit();
    tracing::info!(device = %device.name, %who, %action, "reservations changed");
    let table = device.unit.reservations().table();
    let by_host = !matches!(change.action, Action::Wipe);
    events.tell(EventKind::Reservation {
        device: device.name.clone(),
        action: word(&change.action).to_owned(),
        initiator: by_host.then(|| InitiatorName(&change.by).to_string()),
        kind: (table.holder()).map(|holder| type_name(holder.kind).to_owned()),
        registrants: table.registrations().len(),
    });
    Ok(Reserved { aborted })
}

/// What an operator asks for. No host has the identifier zero (NVMe base 2.0 section 5.27.1.25), and nothing depends on it.
fn by_operator() -> Change {
    Change {
        by: Registrant::Nvme { host: [0; 16] },
        action: Action::Wipe,
    }
}

/// What is asked for, in one word of SPC's.
fn word(action: &Action) -> &'static str {
    match action {
        Action::Register { key: 0, .. } => "unregister",
        Action::Register { .. } | Action::Persist(_) => "register",
        Action::Reserve { .. } => "reserve",
        Action::Release { .. } => "release",
        Action::Clear { .. } | Action::Wipe => "clear",
        Action::Preempt { abort: false, .. } => "preempt",
        Action::Preempt { abort: true, .. } => "preempt-and-abort",
        Action::Move { .. } => "register-and-move",
    }
}

/// Who asks, for people.
struct Who<'a>(&'a Change);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.action {
            Action::Wipe => f.write_str("an operator"),
            _ => write!(f, "{}", WhoAndWhere(&self.0.by)),
        }
    }
}

/// What is asked for, for people.
struct What<'a>(&'a Action);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Action::Register { key: 0, .. } => f.write_str("unregister"),
            Action::Register { key, others, .. } => {
                write!(f, "register with key {}", Key(*key))?;
                for other in others {
                    write!(f, ", and {}", WhoAndWhere(other))?;
                }
                Ok(())
            }
            Action::Reserve { kind, .. } => write!(f, "reserve {}", type_name(*kind)),
            Action::Release { kind, .. } => write!(f, "release {}", type_name(*kind)),
            Action::Clear { .. } => f.write_str("clear reservation and registrants"),
            Action::Preempt {
                victim,
                kind,
                abort,
                ..
            } => {
                let abort = if *abort { " and abort" } else { "" };
                write!(
                    f,
                    "preempt{abort} key {}, {}",
                    Key(*victim),
                    type_name(*kind)
                )
            }
            Action::Move { new_key, to, .. } => {
                let (key, to) = (Key(*new_key), WhoAndWhere(to));
                write!(f, "move the reservation to {to} with key {key}")
            }
            Action::Persist(true) => f.write_str("keep reservations across restarts"),
            Action::Persist(false) => f.write_str("keep no reservations across restarts"),
            Action::Wipe => f.write_str("clear reservation and registrants"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::time::Instant;

    use pagecast_core::reservations::{Expected, InitiatorPort, ReservationType, Table};
    use pagecast_rdma::late::LateFabric;

    use super::*;
    use crate::config::{Config, Document};
    use crate::daemon::Daemon;
    use crate::identity::MachineId;
    use crate::shard::messages::mailbox;
    use crate::shard::task::TaskId;

    fn daemon(test: &str) -> (Daemon, PathBuf) {
        let text = r#"{ "shards": 1, "staging_memory": "4MiB",
                        "devices": [ { "name": "d", "backend": "memory", "size": "1MiB" } ] }"#;
        let config = Config::parse(text, "test").expect("good");
        let state = format!("pagecast-changer-{}-{test}", std::process::id());
        let state = std::env::temp_dir().join(state);
        let _ = std::fs::remove_dir_all(&state);
        std::fs::create_dir(&state).expect("made");
        let machine = MachineId::from_bytes([1; 16]);
        let fabric = Arc::new(LateFabric::never());
        let daemon = Daemon::build(
            (Document::from_config(&config), config),
            &machine,
            &state,
            fabric,
            Instant::now(),
        );
        (daemon.expect("built"), state)
    }

    fn host(number: u8) -> Registrant {
        Registrant::Nvme { host: [number; 16] }
    }

    #[test]
    fn works_that_were_asked_for_are_made_in_order_before_the_end() {
        let (daemon, state) = daemon("order");
        let device = &daemon.shared.inventory().devices[0];
        let changer = Changer::default();
        let (control, inbox) = mailbox().expect("a mailbox");
        let thread = changer.start(control).expect("a thread");
        let (shard, answers) = mailbox().expect("a mailbox");
        for number in 1..=20 {
            let change = Change {
                by: host(number),
                action: Action::Register {
                    expected: Expected::Any,
                    key: u64::from(number),
                    others: Vec::new(),
                    persist: Some(true),
                },
            };
            let work = ReservationWork {
                shard: 0,
                task: TaskId(0),
                device: Arc::clone(device),
                change: Box::new(change),
                cancelled: Arc::default(),
            };
            changer.make(Work::Host(Box::new(work), shard.clone()));
        }
        changer.end();
        thread.join().expect("ended");
        let mut answered = 0;
        while let Some(answer) = answers.take() {
            assert!(
                matches!(answer, ShardMessage::Reserved(_, Ok(_))),
                "{answer:?}"
            );
            answered += 1;
        }
        assert_eq!(answered, 20);
        let table = device.unit.reservations().table();
        assert_eq!(table.registrations().len(), 20);
        assert_eq!(table.generation(), 20);
        let saved = device.reservations.load(4096).expect("good").expect("kept");
        assert_eq!(saved.registrations(), table.registrations());
        assert!(matches!(changer.wipe(device), Err(ChangeError::Stopping)));
        assert!(inbox.is_empty());
        let _ = std::fs::remove_dir_all(state);
    }

    #[test]
    fn operators_are_answered() {
        let (daemon, state) = daemon("wipe");
        let device = &daemon.shared.inventory().devices[0];
        let registrations = BTreeMap::from([(host(1), 1)]);
        let table = Table::restore(4096, registrations, None).expect("good");
        device.unit.reservations().restore(table);
        let changer = Changer::default();
        let (control, _inbox) = mailbox().expect("a mailbox");
        let thread = changer.start(control).expect("a thread");
        changer.wipe(device).expect("done");
        let table = device.unit.reservations().table();
        assert!(table.registrations().is_empty());
        changer.end();
        thread.join().expect("ended");
        let _ = std::fs::remove_dir_all(state);
    }

    #[test]
    fn changes_for_people() {
        let by = Registrant::Scsi {
            initiator: InitiatorPort::Iscsi {
                name: "iqn.x:y".to_owned(),
                isid: [0, 2, 0x3d, 0, 0, 1],
            },
            target: "store".into(),
            port: 2,
        };
        let action = Action::Preempt {
            key: Some(1),
            victim: 0xabc,
            kind: ReservationType::WriteExclusive,
            abort: true,
        };
        let change = Change { by, action };
        assert_eq!(
            Who(&change).to_string(),
            "iscsi iqn.x:y,i,0x00023d000001 at store port 2"
        );
        assert_eq!(
            What(&change.action).to_string(),
            "preempt and abort key 0x0000000000000abc, write-exclusive"
        );
        assert_eq!(Who(&by_operator()).to_string(), "an operator");
    }
}
