//! The hosts, and what they do.

use std::time::Duration;

use pagecast_initiator::ChannelId;
use pagecast_initiator::iscsi::LoginOptions;
use pagecast_initiator::iser::{ConnectionHandle, Options};
use pagecast_initiator::nvme::admin::{self, LogPage};
use pagecast_initiator::nvme::reservation::{
    self, Acquire, EVENT, NOTIFICATIONS, Notification, Persist, Register, Release,
};
use pagecast_initiator::nvme::{Controller, QueueHandle};
use pagecast_initiator::scsi::reserve::{
    FullStatus, Keys, Parameters, Reservation, action, report,
};

use super::{Kind, Notice, Outcome, Registration, Transport, View};
use crate::iser::login;
use crate::world::{Host, Setup, World};

/// A world whose hosts have one transport each and share a disk.
#[derive(Debug)]
pub struct Cluster {
    /// The world; a host's number is that of its machine.
    pub world: World,
    /// Where SCSI commands go.
    pub lun: u16,
    setup: Setup,
    pub(super) transports: Vec<Transport>,
    pub(super) members: Vec<Option<Member>>,
}

/// A host that is logged in.
#[derive(Debug)]
pub(super) enum Member {
    Srp(ChannelId),
    Iser(ConnectionHandle),
    Nvme(Controller),
}

impl Cluster {
    /// Builds a world and logs everybody in.
    pub fn new(setup: Setup, transports: &[Transport]) -> Self {
        let setup = Setup {
            hosts: transports.len(),
            ..setup.iser().nvme()
        };
        let mut cluster = Self {
            world: setup.clone().build(),
            lun: 0,
            setup,
            transports: transports.to_vec(),
            members: Vec::new(),
        };
        cluster.everybody_logs_in();
        cluster
    }

    /// One host of each transport.
    pub fn of_three(seed: u64) -> Self {
        Self::new(Setup::new(seed), &Transport::ALL)
    }

    /// The machine of the target loses its power, comes back with its files, and everybody logs in again.
    pub fn restarted(self) -> Self {
        let setup = self.setup.clone();
        self.restarted_with(setup)
    }

    /// The same with another configuration.
    pub fn restarted_with(self, setup: Setup) -> Self {
        let setup = Setup {
            hosts: self.transports.len(),
            ..setup.iser().nvme()
        };
        let mut cluster = Self {
            world: self.world.restarted(&setup),
            lun: 0,
            setup,
            transports: self.transports,
            members: Vec::new(),
        };
        cluster.everybody_logs_in();
        cluster
    }

    /// Everybody logs out, and nothing is left.
    pub fn finish(self) {
        self.world.finish();
    }

    /// Everybody's numbers.
    pub fn hosts(&self) -> std::ops::Range<Host> {
        0..self.transports.len()
    }

    /// What a host speaks.
    pub fn transport(&self, host: Host) -> Transport {
        self.transports[host]
    }

    /// Whether a host speaks SCSI.
    pub fn is_scsi(&self, host: Host) -> bool {
        self.transport(host) != Transport::Nvme
    }

    fn everybody_logs_in(&mut self) {
        self.members.resize_with(self.transports.len(), || None);
        for host in self.hosts() {
            self.log_in(host);
        }
    }

    /// A host logs in.
    pub fn log_in(&mut self, host: Host) {
        let member = match self.transport(host) {
            Transport::Srp => Member::Srp(self.world.log_in(host)),
            Transport::Iser => Member::Iser(self.world.iser_session(host)),
            Transport::Nvme => Member::Nvme(self.world.nvme_controller(host)),
        };
        self.members[host] = Some(member);
    }

    /// A host logs in over iSER under another initiator session identifier, which makes another initiator port of it.
    pub fn log_in_as(&mut self, host: Host, isid: u8) {
        let options = Options::new(LoginOptions::with_isid(login(host), isid));
        self.members[host] = Some(Member::Iser(self.world.iser_log_in(host, options)));
    }

    /// A host goes, and its session with it.
    pub fn leave(&mut self, host: Host) {
        match self.members[host].take().expect("a host that is there") {
            Member::Srp(channel) => {
                self.world.initiators[host]
                    .disconnect(channel)
                    .expect("a channel");
                self.world.over(host, channel);
            }
            Member::Iser(connection) => {
                self.world.iser[host]
                    .disconnect(connection)
                    .expect("a connection");
                self.world.iser_over(host, connection);
            }
            Member::Nvme(controller) => self.world.nvme_disconnect(host, &controller),
        }
        self.world.settle();
    }

    /// The controller of an NVMe host.
    pub fn controller(&self, host: Host) -> &Controller {
        match &self.members[host] {
            Some(Member::Nvme(controller)) => controller,
            other => panic!("host {host}: {other:?}"),
        }
    }

    /// The channel of an SRP host.
    pub fn channel(&self, host: Host) -> ChannelId {
        match self.members[host] {
            Some(Member::Srp(channel)) => channel,
            ref other => panic!("host {host}: {other:?}"),
        }
    }

    /// The connection of an iSER host.
    pub fn connection(&self, host: Host) -> ConnectionHandle {
        match self.members[host] {
            Some(Member::Iser(connection)) => connection,
            ref other => panic!("host {host}: {other:?}"),
        }
    }

    /// An I/O queue of an NVMe host.
    pub fn queue(&self, host: Host) -> QueueHandle {
        self.controller(host).io[0]
    }

    // --- changes -------------------------------------------------------------------------------------------------

    /// Registers, as it is said there.
    pub fn register_as(&mut self, host: Host, how: Registration) -> Outcome {
        if self.is_scsi(host) {
            let service = match how.ignore {
                true => action::REGISTER_AND_IGNORE,
                false => action::REGISTER,
            };
            let list = Parameters {
                persist: how.persist,
                ..Parameters::keys(how.old, how.new)
            };
            return self.reserve_out(host, service, 0, &list.encode());
        }
        let action = match (how.old, how.new) {
            (_, 0) => Register::Unregister,
            (0, _) => Register::Register,
            _ => Register::Replace,
        };
        let persist = if how.persist {
            Persist::Set
        } else {
            Persist::Clear
        };
        let mut command = reservation::register(1, action, persist, how.old, how.new);
        if how.ignore {
            command = reservation::ignoring_key(command);
        }
        self.nvme_io(host, &command).0
    }

    /// Registers for the first time.
    pub fn register(&mut self, host: Host, key: u64) -> Outcome {
        self.register_as(host, Registration::new(key))
    }

    /// Registers so that it outlives a loss of power.
    pub fn register_for_good(&mut self, host: Host, key: u64) -> Outcome {
        self.register_as(host, Registration::persistent(key))
    }

    /// Gives its registration up.
    pub fn unregister(&mut self, host: Host, key: u64) -> Outcome {
        self.register_as(host, Registration::new(0).replacing(key))
    }

    /// Reserves.
    pub fn reserve(&mut self, host: Host, key: u64, kind: Kind) -> Outcome {
        if self.is_scsi(host) {
            let list = Parameters::keys(key, 0).encode();
            return self.reserve_out(host, action::RESERVE, kind.scsi(), &list);
        }
        let command = reservation::acquire(1, Acquire::Acquire, kind.nvme(), key, 0);
        self.nvme_io(host, &command).0
    }

    /// Gives the reservation up.
    pub fn release(&mut self, host: Host, key: u64, kind: Kind) -> Outcome {
        if self.is_scsi(host) {
            let list = Parameters::keys(key, 0).encode();
            return self.reserve_out(host, action::RELEASE, kind.scsi(), &list);
        }
        let command = reservation::release(1, Release::Release, kind.nvme(), key);
        self.nvme_io(host, &command).0
    }

    /// Ends everybody's registrations.
    pub fn clear(&mut self, host: Host, key: u64) -> Outcome {
        if self.is_scsi(host) {
            let list = Parameters::keys(key, 0).encode();
            return self.reserve_out(host, action::CLEAR, 0, &list);
        }
        let command = reservation::release(1, Release::Clear, 0, key);
        self.nvme_io(host, &command).0
    }

    /// Ends the registrations with a key.
    pub fn preempt(&mut self, host: Host, key: u64, victim: u64, kind: Kind) -> Outcome {
        if self.is_scsi(host) {
            let list = Parameters::keys(key, victim).encode();
            return self.reserve_out(host, action::PREEMPT, kind.scsi(), &list);
        }
        let command = reservation::acquire(1, Acquire::Preempt, kind.nvme(), key, victim);
        self.nvme_io(host, &command).0
    }

    // --- what there is -------------------------------------------------------------------------------------------

    /// The table as a host reads it; over SCSI all three reports have to agree.
    pub fn view(&mut self, host: Host) -> View {
        if !self.is_scsi(host) {
            let status = self.report(host);
            return View::of_nvme(status.generation, status.kind, status.registrants);
        }
        let (generation, all) = self.full_status(host);
        let view = View::of_scsi(generation, all);
        let data = self.reserve_in(host, report::KEYS);
        let mut keys = Keys::parse(&data).expect("a list of keys");
        keys.keys.sort_unstable();
        assert_eq!((keys.generation, &keys.keys), (generation, &view.keys));
        let data = self.reserve_in(host, report::RESERVATION);
        let held = Reservation::parse(&data).expect("a reservation or none");
        // Where all registrants hold it, it has the key zero (SPC-4 section 6.15.3.2).
        let expected = view.kind.map(|kind| {
            let key = if kind.is_held_by_all() {
                0
            } else {
                view.holders[0]
            };
            (key, kind.scsi())
        });
        assert_eq!((held.generation, held.held), (generation, expected));
        view
    }

    /// READ FULL STATUS of a SCSI host.
    pub fn full_status(&mut self, host: Host) -> (u32, Vec<FullStatus>) {
        let data = self.reserve_in(host, report::FULL_STATUS);
        FullStatus::parse_all(&data).unwrap_or_else(|| panic!("full status {data:?}"))
    }

    /// Reservation Report of an NVMe host, with extended data structures.
    pub fn report(&mut self, host: Host) -> reservation::Status {
        let (outcome, data) =
            self.nvme_in(host, 4096, |data| reservation::report(1, 4096, true, data));
        assert_eq!(outcome, Outcome::Good, "Reservation Report");
        let status = reservation::Status::parse(&data, true).expect("a header");
        assert_eq!(status.registrants.len(), usize::from(status.count));
        status
    }

    /// What a host is told, each once: it hears nothing afterwards.
    pub fn told(&mut self, host: Host) -> Vec<Notice> {
        let mut told = Vec::new();
        if self.is_scsi(host) {
            for _ in 0..8 {
                match self.test_unit_ready(host) {
                    Outcome::Good => return told,
                    Outcome::Sense(6, 0x2a, 3) => told.push(Notice::ReservationPreempted),
                    Outcome::Sense(6, 0x2a, 4) => told.push(Notice::ReservationReleased),
                    Outcome::Sense(6, 0x2a, 5) => told.push(Notice::RegistrationPreempted),
                    other => panic!("seed {}: host {host}: {other:?}", self.world.seed),
                }
            }
            panic!("seed {}: host {host}: {told:?}", self.world.seed);
        }
        let event = self.take_event(host);
        loop {
            let page = self.notification(host);
            assert!(told.len() < 8, "{told:?}");
            match page.kind {
                0 => break,
                1 => told.push(Notice::RegistrationPreempted),
                2 => told.push(Notice::ReservationReleased),
                3 => told.push(Notice::ReservationPreempted),
                other => panic!("notification type {other}"),
            }
            assert_eq!(page.nsid, 1);
        }
        let expected = (!told.is_empty()).then_some(EVENT);
        assert_eq!(event, expected, "seed {}, {told:?}", self.world.seed);
        if event.is_some() {
            self.await_event(host);
            assert_eq!(self.take_event(host), None, "what was read is told again");
        }
        told
    }

    /// What everybody is told who is told something.
    pub fn everybody_told(&mut self) -> Vec<(Host, Vec<Notice>)> {
        let hosts: Vec<_> = self.hosts().filter(|&host| self.is_here(host)).collect();
        let told = hosts.into_iter().map(|host| (host, self.told(host)));
        told.filter(|(_, told)| !told.is_empty()).collect()
    }

    /// A host has been thrown out, and is not logged in any more.
    pub fn is_gone(&mut self, host: Host) {
        self.members[host] = None;
    }

    /// Whether a host is logged in.
    pub fn is_here(&self, host: Host) -> bool {
        self.members[host].is_some()
    }

    /// The reservation notification log page.
    pub fn notification(&mut self, host: Host) -> Notification {
        let admin = self.controller(host).admin;
        let page = LogPage {
            id: NOTIFICATIONS,
            nsid: 0,
            length: Notification::LENGTH,
            ..LogPage::default()
        };
        let page = self.world.nvme_log_page(host, admin, page);
        Notification::parse(&page).expect("a page")
    }

    /// The event that has come, if one has. Events are looked for four times a second.
    pub fn take_event(&mut self, host: Host) -> Option<u32> {
        self.world.pass(Duration::from_millis(500));
        let controller = self.controller(host);
        let (admin, event) = (controller.admin, controller.event?);
        let reply = self.world.nvme[host].poll_reply(admin, event)?;
        let reply = reply.unwrap_or_else(|error| panic!("{error}"));
        assert!(reply.is_success(), "{reply:?}");
        self.controller_mut(host).event = None;
        Some(reply.result())
    }

    /// Lets an event come again.
    pub fn await_event(&mut self, host: Host) {
        let admin = self.controller(host).admin;
        let event = admin::asynchronous_event();
        let event = self.world.nvme_send(host, admin, &event);
        self.controller_mut(host).event = Some(event);
    }

    fn controller_mut(&mut self, host: Host) -> &mut Controller {
        match &mut self.members[host] {
            Some(Member::Nvme(controller)) => controller,
            other => panic!("host {host}: {other:?}"),
        }
    }
}
