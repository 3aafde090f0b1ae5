//! A target that is just large enough to put the protocol code of this module through its paces: one disk in memory, one
//! thread, no policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use pagecast_memory::{Anonymous, Memory};
use pagecast_rdma::fabric::{
    Access, Adapter, Chain, CmEvent, Completion, CompletionQueue, ConnectParams, ConnectRequest,
    ConnectionId, ConnectionManager, Fabric, ListenAddress, Operation, PeerAddress, QueuePair,
    QueuePairConfig, RemoteBuffer, ServiceId, WorkId,
};
use pagecast_rdma::region::Region;
use pagecast_rdma::slots::Slots;

use super::super::buffers::{Data, DataBuffer, Indirect, parse_descriptor_table};
use super::super::credits::Credits;
use super::super::iu::{Command, InformationUnit, Refusal, TaskManagement, TaskManagementFunction};
use super::super::login::{Login, LoginRequest, LoginSettings, RejectReason, Transport};
use super::super::nexus::{NexusId, Nexuses};
use super::super::response::{
    LogoutReason, Residuals, Response, ResponseCode, emit_credit_request, emit_target_logout,
    illegal_request_sense,
};
use super::super::wire::Tag;

/// Bytes of the disk.
pub(super) const DISK: usize = 1 << 20;
/// A vendor-specific operation code whose commands stay in service until they are aborted.
pub(super) const HANG: u8 = 0xc0;

/// Where it listens for the native InfiniBand CM.
pub(super) const SERVICE: ServiceId = ServiceId(0x0000_0000_0106_15b3);

const BLOCK: u64 = 512;
const RECEIVE: u64 = 1 << 62;
const JOB: u64 = 1 << 61;

pub(super) struct Mini {
    manager: Box<dyn ConnectionManager>,
    pub(super) settings: LoginSettings,
    pub(super) credits: u32,
    pub(super) refuse: Option<RejectReason>,
    pub(super) nexuses: Nexuses<ConnectionId>,
    pub(super) channels: BTreeMap<ConnectionId, Channel>,
    disk: Option<Arc<Region>>,
}

pub(super) struct Channel {
    queue_pair: Box<dyn QueuePair>,
    completions: Arc<dyn CompletionQueue>,
    receives: Slots,
    sends: Slots,
    tables: Slots,
    free_sends: Vec<usize>,
    login: Login,
    nexus: NexusId,
    disk: Arc<Region>,
    pub(super) credits: Credits,
    hanging: Vec<Tag>,
    jobs: BTreeMap<u64, Job>,
    next_job: u64,
    over: bool,
}

/// What waits for an RDMA READ.
enum Job {
    /// Data out arrives on the disk.
    Write(Tag),
    /// A descriptor table arrives.
    Table {
        tag: Tag,
        length: usize,
        total: u32,
        at: u64,
        out: bool,
    },
}

impl Mini {
    pub(super) fn new(fabric: &dyn Fabric, settings: LoginSettings, credits: u32) -> Self {
        let mut manager = fabric.connection_manager().unwrap();
        manager
            .listen(ListenAddress::Ip("0.0.0.0:5555".parse().unwrap()), 16)
            .unwrap();
        manager.listen(ListenAddress::Service(SERVICE), 16).unwrap();
        Self {
            manager,
            settings,
            credits,
            refuse: None,
            nexuses: Nexuses::default(),
            channels: BTreeMap::new(),
            disk: None,
        }
    }

    pub(super) fn disk(&self) -> Vec<u8> {
        self.disk.as_ref().unwrap().slice().to_vec()
    }

    pub(super) fn only_channel(&mut self) -> &mut Channel {
        assert_eq!(self.channels.len(), 1);
        self.channels.values_mut().next().unwrap()
    }

    pub(super) fn turn(&mut self) {
        while let Some(event) = self.manager.next_event().unwrap() {
            match event {
                CmEvent::ConnectRequest(request) => self.connect_request(&request),
                CmEvent::Disconnected { connection } | CmEvent::Failed { connection, .. } => {
                    self.drop_channel(connection);
                }
                _ => {}
            }
        }
        let mut over = Vec::new();
        for (&connection, channel) in &mut self.channels {
            channel.poll();
            if channel.over {
                over.push(connection);
            }
        }
        for connection in over {
            let _ = self.manager.disconnect(connection);
            self.drop_channel(connection);
        }
    }

    fn drop_channel(&mut self, connection: ConnectionId) {
        if let Some(channel) = self.channels.remove(&connection) {
            self.nexuses.leave(channel.nexus, connection);
        }
        self.manager.forget(connection);
    }

    fn connect_request(&mut self, request: &ConnectRequest) {
        let connection = request.connection;
        let over = match request.peer {
            PeerAddress::Ip(_) => Transport::RdmaCm,
            PeerAddress::Gid(_) => Transport::NativeIb,
        };
        let Ok(asked) = LoginRequest::parse(&request.private_data, over) else {
            return self.manager.reject(connection, &[]).unwrap();
        };
        let login = asked
            .check(&self.settings)
            .and_then(|login| match self.refuse {
                Some(reason) => Err(asked.reject(reason)),
                None => Ok(login),
            });
        let login = match login {
            Ok(login) => login,
            Err(reject) => return self.manager.reject(connection, &reject.emit()).unwrap(),
        };

        let adapter: &dyn Adapter = &*request.adapter;
        let disk = self.disk.get_or_insert_with(|| {
            let memory: Arc<dyn Memory> = Arc::new(Anonymous::new(DISK).unwrap());
            Arc::new(
                adapter
                    .register(memory, 0..DISK, Access::LOCAL_WRITE)
                    .unwrap(),
            )
        });
        let credits = Credits::new(self.credits, 1);
        let receives = credits.receives();
        let sends = self.credits + 2;
        let completions = adapter.completion_queue(1024).unwrap();
        let config = QueuePairConfig {
            send_requests: 512,
            receive_requests: receives,
            send_sge: 1,
        };
        let queue_pair = self
            .manager
            .create_queue_pair(connection, config, &completions)
            .unwrap();
        let nexus = NexusId {
            initiator: login.initiator_port,
            target: login.target_port,
        };
        let mut channel = Channel {
            queue_pair,
            completions,
            receives: Slots::allocate(adapter, login.receive_size(), receives as usize).unwrap(),
            sends: Slots::allocate(adapter, login.response_size(), sends as usize).unwrap(),
            tables: Slots::allocate(adapter, 65_536, 1).unwrap(),
            free_sends: (0..sends as usize).collect(),
            login,
            nexus,
            disk: Arc::clone(disk),
            credits,
            hanging: Vec::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            over: false,
        };
        for slot in 0..channel.receives.count() {
            channel.post_receive(slot);
        }
        let joined = self.nexuses.join(nexus, connection, login.action);
        let private_data = login.accept(channel.credits.initial(), joined.result);
        let params = ConnectParams {
            private_data: &private_data,
            ..ConnectParams::default()
        };
        self.manager.accept(connection, &params).unwrap();
        for other in joined.displaced {
            if let Some(other) = self.channels.get_mut(&other) {
                other.log_out(LogoutReason::MultiChannelAction);
            }
            // The logout goes out before the disconnect flushes: a real target waits for its completion.
            self.manager.disconnect(other).unwrap();
        }
        self.channels.insert(connection, channel);
    }
}

impl Channel {
    fn poll(&mut self) {
        let mut batch = [Completion::default(); 8];
        loop {
            let count = self.completions.poll(&mut batch).unwrap();
            for completion in &batch[..count] {
                self.completed(completion);
            }
            if count == 0 {
                break;
            }
        }
        if let Some(request) = self.credits.credit_request() {
            self.send(&mut Chain::default(), |out| {
                emit_credit_request(out, request.tag, request.delta).unwrap()
            });
        }
    }

    fn completed(&mut self, completion: &Completion) {
        if !completion.status.is_success() {
            self.over = true;
            return;
        }
        let id = completion.id.0;
        if id & RECEIVE != 0 {
            let slot = (id & !RECEIVE) as usize;
            self.receives.take_back(slot);
            let bytes = self.receives.bytes(slot, completion.byte_len as usize);
            let bytes = bytes.to_vec();
            self.post_receive(slot);
            self.arrived(&bytes);
        } else if id & JOB != 0 {
            match self.jobs.remove(&id).unwrap() {
                Job::Write(tag) => self.respond(tag, 0, Residuals::NONE, &[]),
                Job::Table {
                    tag,
                    length,
                    total,
                    at,
                    out,
                } => {
                    self.tables.take_back(0);
                    let table = self.tables.bytes(0, length).to_vec();
                    match parse_descriptor_table(&table, total) {
                        Ok(pieces) => self.transfer(tag, at, out, pieces),
                        Err(error) => self.refuse(tag, error.refusal()),
                    }
                }
            }
        } else {
            self.sends.take_back(id as usize);
            self.free_sends.push(id as usize);
        }
    }

    fn arrived(&mut self, bytes: &[u8]) {
        let unit = InformationUnit::parse(bytes);
        match unit {
            Ok(InformationUnit::CredRsp { tag }) => match self.credits.credit_response(tag) {
                Ok(()) => {}
                Err(_) => self.log_out(LogoutReason::SpuriousResponse),
            },
            Ok(InformationUnit::AerRsp { tag }) => match self.credits.event_response(tag) {
                Ok(()) => {}
                Err(_) => self.log_out(LogoutReason::SpuriousResponse),
            },
            Ok(InformationUnit::Unknown { .. }) => self.log_out(LogoutReason::InvalidType),
            Ok(InformationUnit::InitiatorLogout { .. }) => self.over = true,
            Err(error) if error.tag().is_none() => self.log_out(LogoutReason::InvalidLength),
            _ if self.credits.request_arrived().is_err() => self.over = true,
            Err(error) => self.refuse(error.tag().unwrap(), error.refusal()),
            Ok(InformationUnit::TaskManagement(task)) => self.manage(task),
            Ok(InformationUnit::Command(command)) => self.execute(&command, bytes),
        }
    }

    fn manage(&mut self, task: TaskManagement) {
        let code = match task.function {
            TaskManagementFunction::AbortTask => {
                let before = self.hanging.len();
                self.hanging.retain(|&tag| tag != task.task);
                (self.hanging.len()..before).for_each(|_| self.credits.drop_request());
                ResponseCode::Complete
            }
            _ => ResponseCode::FunctionNotSupported,
        };
        let delta = self.credits.respond();
        let limit = self.login.max_ti_iu_length();
        self.send(&mut Chain::default(), |out| {
            Response::task_management(task.tag, delta, code)
                .emit(out, limit)
                .unwrap()
        });
    }

    fn execute(&mut self, command: &Command<'_>, bytes: &[u8]) {
        let tag = command.tag;
        let data = match command.data(self.login.immediate_offset) {
            Ok(data) => data,
            Err(error) => return self.refuse(tag, error.refusal()),
        };
        let at = u64::from_be_bytes(command.cdb[2..10].try_into().unwrap()).wrapping_mul(BLOCK);
        let blocks = u32::from_be_bytes(command.cdb[10..14].try_into().unwrap());
        let expected = u64::from(blocks) * BLOCK;
        match (command.cdb[0], data) {
            (0x00, _) => self.respond(tag, 0, Residuals::NONE, &[]),
            (HANG, _) => self.hanging.push(tag),
            (0x88, Data::In(DataBuffer::Direct(piece))) => {
                // The one format for which this target knows residuals.
                let moved = expected.min(u64::from(piece.length));
                let part = RemoteBuffer {
                    length: moved as u32,
                    ..piece
                };
                let residuals = Residuals::of_in(expected, piece.length, moved);
                self.write_to_peer(tag, at, std::iter::once(part), residuals);
            }
            (0x88, Data::In(DataBuffer::Indirect(indirect))) => {
                self.indirect(tag, at, false, indirect);
            }
            (0x8a, Data::Out(DataBuffer::Direct(piece))) => {
                self.transfer(tag, at, true, std::iter::once(piece));
            }
            (0x8a, Data::Out(DataBuffer::Indirect(indirect))) => {
                self.indirect(tag, at, true, indirect);
            }
            (0x8a, Data::Out(DataBuffer::Immediate(range))) => {
                self.disk.slice().write(at as usize, &bytes[range]).unwrap();
                self.respond(tag, 0, Residuals::NONE, &[]);
            }
            (_, data) => {
                let residuals = match data.out_length() {
                    0 => Residuals::of_in(expected, data.in_length(), 0),
                    length => Residuals::of_out(expected, length, 0),
                };
                let sense = illegal_request_sense(0x20, 0);
                self.respond(tag, 2, residuals, &sense);
            }
        }
    }

    fn indirect(&mut self, tag: Tag, at: u64, out: bool, indirect: Indirect<'_>) {
        let Some(table) = indirect.table else {
            return self.transfer(tag, at, out, indirect.descriptors);
        };
        let length = table.length as usize;
        let sge = self.tables.lend(0, length).unwrap();
        let id = self.job(Job::Table {
            tag,
            length,
            total: indirect.total,
            at,
            out,
        });
        let mut chain = Chain::default();
        let operation = Operation::RdmaRead {
            address: table.address,
            key: table.key,
        };
        chain.push(id, operation, true, [sge]);
        self.queue_pair.post_send(&chain).unwrap();
    }

    fn transfer(
        &mut self,
        tag: Tag,
        at: u64,
        out: bool,
        pieces: impl Iterator<Item = RemoteBuffer>,
    ) {
        if !out {
            return self.write_to_peer(tag, at, pieces, Residuals::NONE);
        }
        let mut chain = Chain::default();
        let id = self.job(Job::Write(tag));
        let mut pieces = pieces.peekable();
        let mut at = at as usize;
        while let Some(piece) = pieces.next() {
            let sge = self.disk.sge(at, piece.length as usize).unwrap();
            at += piece.length as usize;
            let operation = Operation::RdmaRead {
                address: piece.address,
                key: piece.key,
            };
            chain.push(id, operation, pieces.peek().is_none(), [sge]);
        }
        self.queue_pair.post_send(&chain).unwrap();
    }

    /// Data and response in one chain.
    fn write_to_peer(
        &mut self,
        tag: Tag,
        at: u64,
        pieces: impl Iterator<Item = RemoteBuffer>,
        residuals: Residuals,
    ) {
        let mut chain = Chain::default();
        let mut at = at as usize;
        for piece in pieces {
            let sge = self.disk.sge(at, piece.length as usize).unwrap();
            at += piece.length as usize;
            let operation = Operation::RdmaWrite {
                address: piece.address,
                key: piece.key,
            };
            chain.push(WorkId(u64::MAX), operation, false, [sge]);
        }
        let delta = self.credits.respond();
        let limit = self.login.max_ti_iu_length();
        self.send(&mut chain, |out| {
            Response::command(tag, delta, 0, residuals, &[])
                .emit(out, limit)
                .unwrap()
        });
    }

    fn respond(&mut self, tag: Tag, status: u8, residuals: Residuals, sense: &[u8]) {
        let delta = self.credits.respond();
        let limit = self.login.max_ti_iu_length();
        self.send(&mut Chain::default(), |out| {
            Response::command(tag, delta, status, residuals, sense)
                .emit(out, limit)
                .unwrap()
        });
    }

    fn refuse(&mut self, tag: Tag, refusal: Refusal) {
        match refusal {
            Refusal::CheckCondition { asc, ascq } => {
                self.respond(tag, 2, Residuals::NONE, &illegal_request_sense(asc, ascq));
            }
            Refusal::Response(code) => {
                let delta = self.credits.respond();
                self.send(&mut Chain::default(), |out| {
                    Response::task_management(tag, delta, code)
                        .emit(out, 64)
                        .unwrap()
                });
            }
            Refusal::Disconnect(reason) => self.log_out(reason),
        }
    }

    fn log_out(&mut self, reason: LogoutReason) {
        self.send(&mut Chain::default(), |out| {
            emit_target_logout(out, Tag(1), reason).unwrap()
        });
    }

    fn send(&mut self, chain: &mut Chain, emit: impl FnOnce(&mut [u8]) -> usize) {
        let slot = self.free_sends.pop().unwrap();
        let length = emit(self.sends.bytes_mut(slot));
        let sge = self.sends.lend(slot, length).unwrap();
        chain.push(WorkId(slot as u64), Operation::Send, true, [sge]);
        // A queue pair that is gone shows in its completions.
        let _ = self.queue_pair.post_send(chain);
    }

    fn post_receive(&mut self, slot: usize) {
        let sge = self.receives.lend(slot, self.receives.size()).unwrap();
        let _ = self
            .queue_pair
            .post_receive(WorkId(RECEIVE | slot as u64), sge);
    }

    fn job(&mut self, job: Job) -> WorkId {
        self.next_job += 1;
        let id = JOB | self.next_job;
        self.jobs.insert(id, job);
        WorkId(id)
    }
}
