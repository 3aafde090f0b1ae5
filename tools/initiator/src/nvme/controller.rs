//! Bringing a controller up: what Linux sends from `nvme connect` to a block device, in its order.

use std::net::SocketAddr;

use super::admin::{self, LogPage, Width, property};
use super::authenticate::{Authentication, Credentials};
use super::codec::ProtocolError;
use super::command::{Command, Data, Reply};
use super::connect::Connect;
use super::discovery;
use super::host::{NvmeHost, QueueHandle};
use super::queue::{QueueOptions, QueueState};
use crate::error::InitiatorError;

/// Bytes of identify data.
const IDENTIFY: usize = 4096;
/// Entries of the admin queue, where Linux has it.
const ADMIN_ENTRIES: u16 = 32;
/// Notices that Linux wants: namespace attributes, firmware activation, ANA, discovery log.
const NOTICES: u32 = 1 << 8 | 1 << 9 | 1 << 11 | 1 << 31;

/// Controller configuration with the sizes of the entries that fabrics have (NVMe base 2.0 figure 46).
const CONFIGURATION: u32 = 6 << 16 | 4 << 20;
/// All supported I/O command sets.
const ALL_COMMAND_SETS: u32 = 6 << 4;
const ENABLE: u32 = 1;

/// What to connect.
#[derive(Clone, Debug)]
pub struct ControllerOptions {
    /// Who connects to what; the controller identifier is that of the admin queue.
    pub connect: Connect,
    /// I/O queues that are wanted.
    pub queues: u16,
    /// Entries of each of them.
    pub entries: u16,
    /// Whether responses are to invalidate the keys of memory that bring-up uses.
    pub invalidate: bool,
    /// What the host proves itself with on each queue that asks for it.
    pub credentials: Option<Credentials>,
    /// Whether an Asynchronous Event Request is left waiting.
    pub event: bool,
    /// Changes what a queue is connected with.
    pub adjust: fn(&mut QueueOptions),
}

impl ControllerOptions {
    /// As Linux does, with one I/O queue of 128 entries.
    pub fn new(connect: Connect) -> Self {
        Self {
            connect,
            queues: 1,
            entries: 128,
            invalidate: false,
            credentials: None,
            event: true,
            adjust: |_| {},
        }
    }
}

/// A controller that is up.
#[derive(Clone, Debug)]
pub struct Controller {
    /// The admin queue.
    pub admin: QueueHandle,
    /// The I/O queues, from number 1 on.
    pub io: Vec<QueueHandle>,
    /// Controller identifier.
    pub id: u16,
    /// CAP.
    pub capabilities: u64,
    /// VS.
    pub version: u32,
    /// CC as it was set.
    pub configuration: u32,
    /// Identify controller data.
    pub identify: Vec<u8>,
    /// The namespaces that are active.
    pub namespaces: Vec<Namespace>,
    /// The Asynchronous Event Request that waits.
    pub event: Option<u16>,
}

/// A namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Its identifier.
    pub id: u32,
    /// Blocks in it.
    pub blocks: u64,
    /// Bytes in each.
    pub block_size: u32,
    /// Identify namespace data.
    pub identify: Vec<u8>,
    /// Namespace identification descriptors.
    pub descriptors: Vec<u8>,
}

impl Controller {
    /// All queues.
    pub fn queues(&self) -> impl Iterator<Item = QueueHandle> {
        std::iter::once(self.admin).chain(self.io.clone())
    }

    /// Disables the controller (CC.EN), which resets it.
    pub fn reset(&self) -> Command {
        admin::property_set(property::CC, self.configuration & !ENABLE)
    }

    /// Tells the controller of a normal shutdown (CC.SHN).
    pub fn shutdown(&self) -> Command {
        admin::property_set(property::CC, self.configuration | 1 << 14)
    }
}

/// A controller on its way up. It never blocks: see [`step`](Self::step).
#[derive(Debug)]
pub struct Bringup {
    to: SocketAddr,
    options: ControllerOptions,
    stage: Stage,
    waits: Waits,
    authentication: Option<(QueueHandle, Authentication)>,
    controller: Option<Controller>,
    found: Vec<u32>,
    queues: Vec<QueueHandle>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connect,
    Capabilities,
    Disable,
    CapabilitiesAgain,
    ReadyTimeouts,
    Enable,
    Ready,
    Version,
    Identify,
    Effects,
    Ana,
    Smart,
    CommandSet,
    QueueCount,
    IoQueue,
    EventConfiguration,
    Event,
    ActiveNamespaces,
    Descriptors,
    Namespace,
    Done,
}

#[derive(Clone, Copy, Debug)]
enum Waits {
    Nothing,
    ForQueue(QueueHandle),
    ForReply(u16),
}

impl Bringup {
    /// Nothing was sent yet.
    pub fn new(to: SocketAddr, options: ControllerOptions) -> Self {
        Self {
            to,
            options,
            stage: Stage::Connect,
            waits: Waits::Nothing,
            authentication: None,
            controller: None,
            found: Vec::new(),
            queues: Vec::new(),
        }
    }

    /// All queues that it has begun to connect, whatever became of them. Those of a bring-up that failed stay until somebody
    /// disconnects them.
    pub fn queues(&self) -> &[QueueHandle] {
        &self.queues
    }

    /// Goes on as far as it can without turning the host. `Some` is the controller; then it must not be called again.
    pub fn step(&mut self, host: &mut NvmeHost) -> Result<Option<Controller>, InitiatorError> {
        loop {
            if let Some((queue, authentication)) = &mut self.authentication {
                let queue = *queue;
                if !authentication.step(host)? {
                    return Ok(None);
                }
                self.authentication = None;
                self.connected(host, queue)?;
            }
            match self.waits {
                Waits::Nothing if self.stage == Stage::Done => return Ok(self.controller.take()),
                Waits::Nothing => self.next(host)?,
                Waits::ForQueue(queue) => match host.state(queue) {
                    QueueState::Connecting => return Ok(None),
                    QueueState::Up => {
                        self.waits = Waits::Nothing;
                        self.authenticate(host, queue)?;
                    }
                    other => return Err(InitiatorError::QueueDown(other.clone())),
                },
                Waits::ForReply(cid) => {
                    let admin = self.controller()?.admin;
                    let Some(reply) = host.poll_reply(admin, cid) else {
                        return Ok(None);
                    };
                    self.waits = Waits::Nothing;
                    self.answered(&reply?)?;
                }
            }
        }
    }

    /// Does what the stage is for.
    fn next(&mut self, host: &mut NvmeHost) -> Result<(), InitiatorError> {
        if self.stage == Stage::Connect {
            return self.connect_queue(host, 0);
        }
        if self.stage == Stage::IoQueue {
            let next = self.controller()?.io.len() as u16 + 1;
            if next > self.options.queues || self.is_discovery() {
                self.stage = Stage::EventConfiguration;
                return Ok(());
            }
            return self.connect_queue(host, next);
        }
        let (stage, controller) = (self.stage, self.controller()?);
        let admin_queue = controller.admin;
        let get = |offset| admin::property_get(offset, Width::Four);
        let command = match stage {
            Stage::Capabilities | Stage::CapabilitiesAgain => {
                admin::property_get(property::CAP, Width::Eight)
            }
            Stage::Disable => admin::property_set(property::CC, controller.configuration & !ENABLE),
            // CAP.CRMS.CRWMS
            Stage::ReadyTimeouts if controller.capabilities & 1 << 59 != 0 => get(property::CRTO),
            Stage::Enable => admin::property_set(property::CC, controller.configuration),
            Stage::Ready => get(property::CSTS),
            Stage::Version => get(property::VS),
            Stage::Identify => {
                let data = self.memory(host, IDENTIFY)?;
                admin::identify(0x01, 0, data)
            }
            // LPA bit 1
            Stage::Effects if controller.identify[261] & 1 << 1 != 0 => {
                self.log_page(host, 0x05, 0, 4096)?
            }
            // CMIC bit 3
            Stage::Ana if controller.identify[76] & 1 << 3 != 0 => {
                self.log_page(host, 0x0c, 0, 4096)?
            }
            Stage::Smart if !self.is_discovery() => self.log_page(host, 0x02, u32::MAX, 512)?,
            Stage::CommandSet if !self.is_discovery() => {
                let data = self.memory(host, IDENTIFY)?;
                admin::identify(0x06, 0, data)
            }
            Stage::QueueCount if !self.is_discovery() => {
                let count = u32::from(self.options.queues.max(1) - 1);
                admin::set_features(0x07, 0, count | count << 16, Data::None)
            }
            Stage::EventConfiguration => {
                let notices = double(&controller.identify, 92) & NOTICES;
                admin::set_features(0x0b, 0, notices, Data::None)
            }
            Stage::Event if self.options.event => {
                let cid = host.send(admin_queue, &admin::asynchronous_event())?;
                self.controller_mut()?.event = Some(cid);
                self.stage = after(stage);
                return Ok(());
            }
            Stage::ActiveNamespaces if !self.is_discovery() => {
                let data = self.memory(host, IDENTIFY)?;
                admin::identify(0x02, 0, data)
            }
            Stage::Descriptors | Stage::Namespace => {
                let Some(&nsid) = self.found.first() else {
                    self.stage = Stage::Done;
                    return Ok(());
                };
                let structure = if stage == Stage::Namespace {
                    0x00
                } else {
                    0x03
                };
                admin::identify(structure, nsid, self.memory(host, IDENTIFY)?)
            }
            _ => {
                self.stage = after(stage);
                return Ok(());
            }
        };
        self.waits = Waits::ForReply(host.send(admin_queue, &command)?);
        Ok(())
    }

    fn connect_queue(&mut self, host: &mut NvmeHost, number: u16) -> Result<(), InitiatorError> {
        let mut connect = self.options.connect.clone();
        let mut entries = ADMIN_ENTRIES;
        if number > 0 {
            let controller = self.controller()?;
            connect.controller = controller.id;
            connect.keep_alive = 0;
            // MQES counts from zero.
            let most = (controller.capabilities as u16).saturating_add(1);
            entries = self.options.entries.min(most);
        }
        let mut options = QueueOptions::new(number, entries).connecting(connect);
        (self.options.adjust)(&mut options);
        let queue = host.connect(self.to, options)?;
        self.queues.push(queue);
        self.waits = Waits::ForQueue(queue);
        Ok(())
    }

    /// Begins to prove who the host is, if it has to. Without credentials it goes on, to be refused.
    fn authenticate(
        &mut self,
        host: &mut NvmeHost,
        queue: QueueHandle,
    ) -> Result<(), InitiatorError> {
        let required = host
            .connected(queue)
            .is_some_and(|connected| connected.authentication_required);
        let Some(credentials) = self.options.credentials.as_ref().filter(|_| required) else {
            return self.connected(host, queue);
        };
        let Connect {
            host: name,
            subsystem,
            ..
        } = &self.options.connect;
        let authentication = Authentication::start(host, queue, credentials, (name, subsystem))?;
        self.authentication = Some((queue, authentication));
        Ok(())
    }

    fn connected(&mut self, host: &mut NvmeHost, queue: QueueHandle) -> Result<(), InitiatorError> {
        let id = host.connected(queue).map_or(0, |c| c.controller);
        match &mut self.controller {
            Some(controller) => {
                // NVMe base 2.0 figure 393: the controller that it belongs to.
                if id != controller.id {
                    return Err(wrong("another controller on an I/O queue"));
                }
                controller.io.push(queue);
            }
            None => {
                self.controller = Some(Controller {
                    admin: queue,
                    io: Vec::new(),
                    id,
                    capabilities: 0,
                    version: 0,
                    configuration: CONFIGURATION | ENABLE,
                    identify: Vec::new(),
                    namespaces: Vec::new(),
                    event: None,
                });
                self.stage = after(Stage::Connect);
            }
        }
        Ok(())
    }

    /// Takes the answer to what the stage has asked.
    fn answered(&mut self, reply: &Reply) -> Result<(), InitiatorError> {
        let stage = self.stage;
        if !reply.is_success() {
            // Nothing depends on these, and Linux only warns.
            if matches!(stage, Stage::Effects | Stage::Ana | Stage::Smart) {
                self.stage = after(stage);
                return Ok(());
            }
            let (what, status) = (stage.name(), reply.status());
            return Err(InitiatorError::CommandFailed { what, status });
        }
        let queues = self.options.queues;
        let controller = self.controller_mut()?;
        match stage {
            Stage::Capabilities | Stage::CapabilitiesAgain => {
                controller.capabilities = reply.completion.result;
                // CAP.CSS: I/O command sets.
                if controller.capabilities & 1 << 43 != 0 {
                    controller.configuration |= ALL_COMMAND_SETS;
                }
            }
            Stage::Ready => {
                let status = reply.result();
                if status & 1 << 1 != 0 {
                    return Err(wrong("a fatal status (CSTS.CFS) while it is enabled"));
                }
                if status & 1 == 0 {
                    // Asked again.
                    return Ok(());
                }
            }
            Stage::Version => controller.version = reply.result(),
            Stage::Identify => {
                controller.identify = reply.data();
                self.check_identify()?;
            }
            Stage::QueueCount => {
                let (submission, completion) = (reply.result() as u16, reply.result() >> 16);
                let granted = u32::from(submission).min(completion) + 1;
                self.options.queues = queues.min(granted as u16);
            }
            Stage::ActiveNamespaces => {
                let list = reply.data();
                let (words, _) = list.as_chunks();
                let words = words.iter().map(|word| u32::from_le_bytes(*word));
                self.found = words.take_while(|&nsid| nsid != 0).collect();
            }
            Stage::Descriptors => {
                let descriptors = reply.data();
                let id = self.found.first().copied().unwrap_or_default();
                self.controller_mut()?.namespaces.push(Namespace {
                    id,
                    blocks: 0,
                    block_size: 0,
                    identify: Vec::new(),
                    descriptors,
                });
            }
            Stage::Namespace => {
                self.found.remove(0);
                self.identified(reply.data())?;
                self.stage = Stage::Descriptors;
                return Ok(());
            }
            _ => {}
        }
        self.stage = after(stage);
        Ok(())
    }

    /// What Linux insists on.
    fn check_identify(&self) -> Result<(), InitiatorError> {
        let controller = self.controller()?;
        let data = &controller.identify;
        let word = |at: usize| u16::from_le_bytes([data[at], data[at + 1]]);
        let mut checks = vec![
            (data.len() == IDENTIFY, "identify data of another size"),
            (word(78) == controller.id, "another CNTLID than Connect's"),
            (
                double(data, 80) == controller.version,
                "another version than VS",
            ),
            (word(320) != 0, "no keep-alive (KAS 0)"),
            (double(data, 536) & 1 << 2 != 0, "no keyed SGLs"),
            (double(data, 536) & 1 << 20 != 0, "no offsets in capsules"),
            (word(1800) == 0, "in-capsule data at an offset (ICDOFF)"),
        ];
        if !self.is_discovery() {
            checks.extend([
                (data[512] == 0x66, "SQES"),
                (data[513] == 0x44, "CQES"),
                (word(514) != 0, "no commands (MAXCMD 0)"),
                (double(data, 1792) >= 4, "capsules without entries (IOCCSZ)"),
                (double(data, 1796) == 1, "IORCSZ"),
                (data[1803] >= 1, "no SGL descriptors (MSDBD 0)"),
            ]);
        }
        match checks.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(wrong(what)),
            None => Ok(()),
        }
    }

    fn identified(&mut self, data: Vec<u8>) -> Result<(), InitiatorError> {
        if data.len() != IDENTIFY {
            return Err(wrong("identify data of another size"));
        }
        let mut blocks = [0; 8];
        blocks.copy_from_slice(&data[..8]);
        let format = usize::from(data[26] & 0xf);
        let exponent = u32::from(data[128 + 4 * format + 2]);
        let namespaces = &mut self.controller_mut()?.namespaces;
        let namespace = namespaces.last_mut().ok_or(wrong("no namespace"))?;
        namespace.blocks = u64::from_le_bytes(blocks);
        namespace.block_size = 1u32
            .checked_shl(exponent)
            .ok_or(wrong("a block size of 4 GiB or more"))?;
        namespace.identify = data;
        Ok(())
    }

    fn is_discovery(&self) -> bool {
        self.options.connect.subsystem == discovery::NQN
    }

    fn memory(&self, host: &NvmeHost, length: usize) -> Result<Data, InitiatorError> {
        let buffer = host.allocate(self.controller()?.admin, length)?;
        let piece = buffer.piece(0, length);
        Ok(Data::Keyed {
            piece: piece.map_err(|_| InitiatorError::Invalid("memory"))?,
            invalidate: self.options.invalidate,
        })
    }

    fn log_page(
        &self,
        host: &NvmeHost,
        id: u8,
        nsid: u32,
        length: u32,
    ) -> Result<Command, InitiatorError> {
        let page = LogPage {
            id,
            nsid,
            length,
            ..LogPage::default()
        };
        let data = self.memory(host, length as usize)?;
        Ok(admin::get_log_page(page, data))
    }

    fn controller(&self) -> Result<&Controller, InitiatorError> {
        self.controller.as_ref().ok_or(OVER)
    }

    fn controller_mut(&mut self) -> Result<&mut Controller, InitiatorError> {
        self.controller.as_mut().ok_or(OVER)
    }
}

const OVER: InitiatorError = InitiatorError::Invalid("the controller is up already");

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Connect | Self::IoQueue | Self::Done => "Connect",
            Self::Capabilities | Self::CapabilitiesAgain => "Property Get of CAP",
            Self::Disable | Self::Enable => "Property Set of CC",
            Self::ReadyTimeouts => "Property Get of CRTO",
            Self::Ready => "Property Get of CSTS",
            Self::Version => "Property Get of VS",
            Self::Identify => "Identify controller",
            Self::Effects | Self::Ana | Self::Smart => "Get Log Page",
            Self::CommandSet => "Identify I/O command set",
            Self::QueueCount => "Set Features of the number of queues",
            Self::EventConfiguration => "Set Features of events",
            Self::Event => "Asynchronous Event Request",
            Self::ActiveNamespaces => "Identify active namespaces",
            Self::Descriptors => "Identify namespace descriptors",
            Self::Namespace => "Identify namespace",
        }
    }
}

fn after(stage: Stage) -> Stage {
    match stage {
        Stage::Connect => Stage::Capabilities,
        Stage::Capabilities => Stage::Disable,
        Stage::Disable => Stage::CapabilitiesAgain,
        Stage::CapabilitiesAgain => Stage::ReadyTimeouts,
        Stage::ReadyTimeouts => Stage::Enable,
        Stage::Enable => Stage::Ready,
        Stage::Ready => Stage::Version,
        Stage::Version => Stage::Identify,
        Stage::Identify => Stage::Effects,
        Stage::Effects => Stage::Ana,
        Stage::Ana => Stage::Smart,
        Stage::Smart => Stage::CommandSet,
        Stage::CommandSet => Stage::QueueCount,
        Stage::QueueCount => Stage::IoQueue,
        Stage::IoQueue => Stage::EventConfiguration,
        Stage::EventConfiguration => Stage::Event,
        Stage::Event => Stage::ActiveNamespaces,
        Stage::ActiveNamespaces => Stage::Descriptors,
        Stage::Descriptors => Stage::Namespace,
        Stage::Namespace | Stage::Done => Stage::Done,
    }
}

fn double(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

fn wrong(what: &'static str) -> InitiatorError {
    InitiatorError::Nvme(ProtocolError::Data(what))
}
