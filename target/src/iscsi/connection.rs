//! One connection from its first PDU to its last: what PDUs mean, in which order, and what there is to say to them.
//!
//! A session has one connection, and errors are recovered from by a new session (ErrorRecoveryLevel 0), so that the connection is
//! all there is. Whoever moves the PDUs calls [`receive`](Connection::receive) with each that arrives, in order; works on the
//! [`Event`]s; ends every task that came from one; sends what [`emit_control`](Connection::emit_control) has; and asks
//! [`tick`](Connection::tick) what took too long. What initiators can make it keep is bounded: the tasks of the [`window`], one text
//! exchange, and what waits in the `outbox`.

pub mod event;
pub mod nop;
pub mod tasks;
pub mod window;

mod outbox;
mod requests;
mod send_targets;
mod text_exchange;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use event::{Event, Refusal};
pub use nop::{Timeout, Timers};
pub use outbox::Then;
pub use tasks::Outcome;

use std::sync::Arc;
use std::time::Duration;

use pagecast_core::scsi::Sense;
use pagecast_core::scsi::sense::codes;

use super::directory::Directory;
use super::login::{Login, LoginStatus, LoginSummary, SessionType, Step};
use super::parameters::{Datamover, Limits, Parameters};
use super::pdu::request;
use super::pdu::{
    AsyncEvent, AsyncMessage, BHS_LENGTH, NopIn, Numbers, Pdu, RESERVED_TAG, RejectReason,
    ScsiCommand, opcode,
};
use nop::{Due, Pings};
use outbox::{Control, Outbox};
use text_exchange::TextExchange;
use window::{Arrival, Window};

/// Longest data segment that Linux has a buffer for in a normal session on iSER, whatever it says (ISER_RECV_DATA_SEG_LEN).
const ISER_DATA: usize = 128;
/// Longest data segment of a text response, and of everything before the login is over.
const TEXT_DATA: usize = 8192;
/// PDUs that are rejected before the connection is dropped.
pub const MAX_REJECTS: u32 = 64;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    phase: Phase,
    datamover: Datamover,
    parameters: Parameters,
    window: Window,
    /// StatSN of our next response.
    stat_sn: u32,
    /// Longest data segment that we send.
    longest_data: usize,
    /// Longest data segment that whoever moves the PDUs can send.
    room: usize,
    pings: Pings,
    timers: Timers,
    started: Duration,
    /// When time was last told.
    now: Duration,
    /// When [`Phase::Closing`] began.
    closing: Duration,
    outbox: Outbox,
    rejects: u32,
    text: TextExchange,
    cid: u16,
    login: Login,
    summary: Option<Box<LoginSummary>>,
    directory: Arc<dyn Directory>,
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No Login Request yet.
    Start,
    /// Login Requests and nothing else.
    Login,
    /// The daemon decides on a normal session.
    Deciding,
    /// The last Login Response is in the outbox.
    Granted,
    /// Full feature phase of a normal session.
    Normal,
    /// Full feature phase of a discovery session.
    Discovery,
    /// Our last PDU is in the outbox.
    Closing,
    /// It is sent.
    Closed,
}

impl Connection {
    /// A connection that was just made. Times are those of any clock that does not go back.
    pub fn new(
        datamover: Datamover,
        limits: Limits,
        directory: Arc<dyn Directory>,
        timers: Timers,
        now: Duration,
    ) -> Self {
        Self {
            phase: Phase::Start,
            datamover,
            parameters: Parameters::INITIAL,
            window: Window::new(limits.commands),
            stat_sn: 0,
            longest_data: TEXT_DATA,
            room: usize::MAX,
            pings: Pings::new(now),
            timers,
            started: now,
            now,
            closing: now,
            outbox: Outbox::default(),
            rejects: 0,
            text: TextExchange::default(),
            cid: 0,
            login: Login::new(datamover, limits),
            summary: None,
            directory,
        }
    }

    /// Time starts for the connection now, which may have been made before there was a clock.
    pub fn begin(&mut self, now: Duration) {
        self.started = now;
        self.now = now;
        self.pings = Pings::new(now);
    }

    /// Sends no longer data segments than this, whatever the initiator takes: texts go in parts. Login responses are what they are.
    pub fn set_room(&mut self, data: usize) {
        self.room = data;
    }

    /// What holds now.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whether the login is over.
    pub fn is_full_feature(&self) -> bool {
        matches!(self.phase, Phase::Normal | Phase::Discovery)
    }

    /// Longest data segment that the initiator may send now; more is to be refused before it is read.
    pub fn receive_limit(&self) -> usize {
        self.parameters.receive_data_segment as usize
    }

    /// Longest data segment of ours that the initiator takes now.
    pub fn send_limit(&self) -> usize {
        self.longest_data
    }

    /// What the login came to, once it is agreed to.
    pub fn summary(&self) -> Option<&LoginSummary> {
        self.summary.as_deref()
    }

    /// Commands, functions and answers that are not sent yet.
    pub fn in_service(&self) -> u32 {
        self.window.in_service()
    }

    /// How many commands may be in service, at most as many as [`Limits::commands`].
    pub fn set_depth(&mut self, commands: u32) {
        self.window.set_limit(commands);
    }

    /// Takes a PDU. `entropy` fills with bytes that nobody can foresee.
    #[inline]
    pub fn receive<'a>(
        &mut self,
        pdu: Pdu<'a>,
        now: Duration,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Event<'a> {
        self.now = now;
        self.pings.heard(now);
        if self.phase == Phase::Normal
            && pdu.opcode() == opcode::SCSI_COMMAND
            && pdu.data.len() <= self.receive_limit()
        {
            return self.command(&pdu);
        }
        self.receive_other(&pdu, entropy)
    }

    /// Everything but commands of normal sessions. Out of line, so that those have little to go through.
    #[inline(never)]
    fn receive_other<'a>(
        &mut self,
        pdu: &Pdu<'a>,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Event<'a> {
        if pdu.data.len() > self.receive_limit() {
            return self.too_long(pdu);
        }
        match self.phase {
            Phase::Normal | Phase::Discovery => self.full_feature(pdu),
            Phase::Start | Phase::Login => self.login_request(pdu, entropy),
            Phase::Deciding | Phase::Granted => {
                Event::Violation("PDU between the last login request and the response to it".into())
            }
            // After its logout request, an initiator has nothing to say that matters (section 11.14).
            Phase::Closing | Phase::Closed => Event::Consumed,
        }
    }

    /// The daemon has let the session in; it is `tsih`. To be called after [`Event::Admit`] only.
    pub fn admitted(&mut self, tsih: u16) {
        if self.phase == Phase::Deciding {
            let response = self.login.admitted(tsih);
            self.grant(response);
        }
    }

    /// The daemon has not let the session in. To be called after [`Event::Admit`] only.
    pub fn refused(&mut self, status: LoginStatus) {
        if self.phase == Phase::Deciding {
            let response = self.login.refused(status);
            self.summary = None;
            self.close_after(Control::Login(Box::new(response), Then::Close));
        }
    }

    /// Whether the initiator has a buffer for what it did not ask for. In a discovery session over iSER Linux posts one per request.
    fn listens(&self) -> bool {
        match self.phase {
            Phase::Normal => true,
            Phase::Discovery => self.datamover == Datamover::Tcp,
            _ => false,
        }
    }

    /// Asks the initiator to log out within so many seconds.
    pub fn request_logout(&mut self, within: u16) {
        if self.listens() {
            let event = AsyncEvent::LogoutRequested { within };
            self.outbox
                .push(Control::Async(AsyncMessage { event }, Then::GoOn));
        }
    }

    /// Tells the initiator that its LUN map has changed, whether or not it sends commands that could be told: open-iscsi looks for new disks
    /// then. Nothing acknowledges it, so this is for now and then.
    pub fn luns_changed(&mut self) {
        if self.phase == Phase::Normal && !self.outbox.has_luns() {
            let mut sense = [0; 18];
            Sense::from(codes::LUNS_CHANGED).encode(&mut sense);
            // Whatever is mapped, LUN 0 answers.
            let event = AsyncEvent::Scsi { lun: [0; 8], sense };
            let message = AsyncMessage { event };
            self.outbox.push(Control::Async(message, Then::GoOn));
        }
    }

    /// Tells the initiator that the connection, which is all of its session, is about to be dropped, and drops it. Before the login is over
    /// there is nothing to tell: just close.
    pub fn drop_session(&mut self) {
        if self.listens() {
            let event = AsyncEvent::SessionDrop {
                time2wait: self.parameters.time2wait,
                time2retain: self.parameters.time2retain,
            };
            self.close_after(Control::Async(AsyncMessage { event }, Then::Close));
        }
    }

    /// Rejects a PDU for a reason that is not this one's to see, such as a wrong data digest, or data of no R2T. A command or function
    /// is still in service. `false` if it is one too many: drop the connection.
    #[must_use]
    pub fn reject(&mut self, reason: RejectReason, header: &[u8; BHS_LENGTH]) -> bool {
        self.rejects += 1;
        if self.rejects > MAX_REJECTS {
            return false;
        }
        if self.is_full_feature() {
            self.outbox.push(Control::Reject {
                reason,
                header: *header,
            });
        }
        true
    }

    /// What took too long, to be asked about once in a second or so. Pings are put into the outbox.
    pub fn tick(&mut self, now: Duration) -> Option<Timeout> {
        self.now = now;
        match self.phase {
            Phase::Start | Phase::Login | Phase::Deciding | Phase::Granted => {
                (now.saturating_sub(self.started) >= self.timers.login).then_some(Timeout::Login)
            }
            // It asks, is told, and leaves; whoever stays takes room from others.
            Phase::Discovery if now.saturating_sub(self.started) >= self.timers.discovery => {
                Some(Timeout::Discovery)
            }
            Phase::Discovery if !self.listens() => self
                .pings
                .is_silent(now, &self.timers)
                .then_some(Timeout::Ping),
            Phase::Normal | Phase::Discovery => match self.pings.tick(now, &self.timers) {
                Due::Nothing => None,
                Due::Ping(ttt) => {
                    self.outbox.push(Control::Ping { ttt });
                    None
                }
                Due::Lost => Some(Timeout::Ping),
            },
            Phase::Closing => {
                let late = now.saturating_sub(self.closing) >= self.timers.nop_timeout;
                late.then_some(Timeout::Close)
            }
            Phase::Closed => None,
        }
    }

    /// Whether there is a PDU to send that belongs to no task.
    #[inline]
    pub fn has_control(&self) -> bool {
        !self.outbox.is_empty() || (self.window.is_starving() && self.is_full_feature())
    }

    /// Bytes that the next such PDU needs, digests not included.
    pub fn control_length(&self) -> Option<usize> {
        match self.outbox.next_length() {
            None => self.has_control().then_some(BHS_LENGTH),
            length => length,
        }
    }

    /// Writes the next such PDU, and says what happens once it is sent. `None` if there is none, or `out` is shorter than
    /// [`control_length`](Self::control_length).
    pub fn emit_control(&mut self, out: &mut [u8]) -> Option<(usize, Then)> {
        if out.len() < self.control_length()? {
            return None;
        }
        let Some(control) = self.outbox.front() else {
            return self.emit_window(out);
        };
        if control.ends_task() {
            self.window.ended();
        }
        let numbers = Numbers {
            stat_sn: self.stat_sn,
            exp_cmd_sn: self.window.exp_cmd_sn(),
            max_cmd_sn: self.window.announce(),
        };
        let length = control.emit(numbers, out)?;
        if control.has_status() {
            self.stat_sn = self.stat_sn.wrapping_add(1);
        }
        let then = control.then();
        self.outbox.pop();
        match then {
            Then::GoOn => {}
            Then::FullFeature => self.enter_full_feature(),
            Then::Close => {
                self.phase = Phase::Closed;
                self.outbox = Outbox::default();
            }
        }
        Some((length, then))
    }

    /// The window opened while there was nothing to tell the initiator with: an unsolicited NOP-In does (section 11.19).
    fn emit_window(&mut self, out: &mut [u8]) -> Option<(usize, Then)> {
        let nop = NopIn {
            itt: RESERVED_TAG,
            ttt: RESERVED_TAG,
            lun: [0; 8],
            data: &[],
        };
        let numbers = self.numbers();
        Some((nop.emit(numbers, out)?, Then::GoOn))
    }

    /// What goes into the next PDU.
    #[inline]
    fn numbers(&mut self) -> Numbers {
        Numbers {
            stat_sn: self.stat_sn,
            exp_cmd_sn: self.window.exp_cmd_sn(),
            max_cmd_sn: self.window.announce(),
        }
    }

    #[inline]
    fn command<'a>(&mut self, pdu: &Pdu<'a>) -> Event<'a> {
        if let Some(event) = self.arrive(pdu) {
            return event;
        }
        let command = match ScsiCommand::parse(pdu) {
            Ok(command) => command,
            Err(_) => return self.reject_task(RejectReason::InvalidField, pdu),
        };
        if command.writes
            && let Some(refusal) = self.refusal(&command)
        {
            return Event::Refused(command, refusal);
        }
        Event::Command(command)
    }

    /// What is wrong with a command that writes (sections 11.3.4 and 13.10 to 13.14).
    #[inline]
    fn refusal(&self, command: &ScsiCommand<'_>) -> Option<Refusal> {
        let immediate = command.immediate.len();
        let expected = command.expected_data_transfer_length as usize;
        if command.reads {
            return Some(Refusal::Bidirectional);
        }
        if (immediate != 0 && !self.parameters.immediate_data)
            || (command.unsolicited_follows && self.parameters.initial_r2t)
        {
            return Some(Refusal::UnexpectedUnsolicitedData);
        }
        if immediate > expected.min(self.parameters.first_burst as usize)
            || (command.unsolicited_follows && immediate == expected)
        {
            return Some(Refusal::IncorrectAmountOfData);
        }
        None
    }

    /// A PDU with a command number is in service, unless there is an event instead.
    #[inline]
    fn arrive<'a>(&mut self, pdu: &Pdu<'a>) -> Option<Event<'a>> {
        match self.window.arrive(pdu.cmd_sn(), pdu.immediate()) {
            Arrival::Accepted if pdu.itt() != RESERVED_TAG => None,
            Arrival::Accepted => Some(self.reject_task(RejectReason::InvalidField, pdu)),
            Arrival::Ignored => Some(Event::Consumed),
            other => Some(self.arrive_badly(pdu, other)),
        }
    }

    #[cold]
    fn arrive_badly<'a>(&mut self, pdu: &Pdu<'a>, arrival: Arrival) -> Event<'a> {
        match arrival {
            Arrival::TooManyImmediate => self.reject_pdu(RejectReason::TooManyImmediate, pdu),
            // There is no other connection that the commands between could come through, and nobody to send them again.
            _ => Event::Violation(format!(
                "command {} arrived where {} was expected",
                pdu.cmd_sn(),
                self.window.exp_cmd_sn()
            )),
        }
    }

    fn too_long<'a>(&self, pdu: &Pdu<'a>) -> Event<'a> {
        Event::Violation(format!(
            "data segment of {} bytes, where {} were agreed to",
            pdu.data.len(),
            self.parameters.receive_data_segment
        ))
    }

    fn login_request<'a>(
        &mut self,
        pdu: &Pdu<'a>,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Event<'a> {
        if pdu.opcode() != opcode::LOGIN {
            return Event::Violation(format!("PDU {:#04x} before the login", pdu.opcode()));
        }
        if !self.outbox.is_empty() {
            return Event::Violation("login request before the response to the last one".into());
        }
        let request = request::login(pdu);
        if self.phase == Phase::Start {
            self.phase = Phase::Login;
            self.window.start(request.cmd_sn);
            // Ours to choose (section 11.13.4); this suits initiators that do not look.
            self.stat_sn = request.exp_stat_sn;
            self.cid = request.cid;
        }
        match self.login.request(&request, &*self.directory, entropy) {
            Step::Reply(response) => {
                self.outbox
                    .push(Control::Login(Box::new(response), Then::GoOn));
                Event::Consumed
            }
            Step::Admit(summary) => {
                self.phase = Phase::Deciding;
                let summary = Box::new(summary);
                self.summary = Some(summary.clone());
                Event::Admit(summary)
            }
            Step::Done(response, summary) => {
                self.summary = Some(Box::new(summary));
                self.grant(response);
                Event::Consumed
            }
            Step::Fail(response, why) => {
                self.close_after(Control::Login(Box::new(response), Then::Close));
                Event::LoginFailed(why)
            }
        }
    }

    fn grant(&mut self, response: super::login::LoginResponse) {
        self.phase = Phase::Granted;
        self.outbox
            .push(Control::Login(Box::new(response), Then::FullFeature));
    }

    fn enter_full_feature(&mut self) {
        // There is one, or nothing was granted.
        let Some(summary) = &self.summary else { return };
        self.parameters = summary.parameters;
        self.phase = match summary.session_type {
            SessionType::Normal => Phase::Normal,
            SessionType::Discovery => Phase::Discovery,
        };
        let takes = self.parameters.send_data_segment as usize;
        self.longest_data = match (self.datamover, summary.session_type) {
            (Datamover::Iser, SessionType::Normal) => takes.min(ISER_DATA),
            // Linux posts its login buffer.
            (Datamover::Iser, SessionType::Discovery) => takes.min(TEXT_DATA),
            (Datamover::Tcp, _) => takes,
        }
        .min(self.room);
    }

    /// The last PDU.
    fn close_after(&mut self, control: Control) {
        self.phase = Phase::Closing;
        self.closing = self.now;
        self.outbox.push(control);
    }

    /// Rejects a PDU that is in service.
    #[cold]
    fn reject_task<'a>(&mut self, reason: RejectReason, pdu: &Pdu<'a>) -> Event<'a> {
        self.window.ended();
        self.reject_pdu(reason, pdu)
    }

    #[cold]
    fn reject_pdu<'a>(&mut self, reason: RejectReason, pdu: &Pdu<'a>) -> Event<'a> {
        if self.reject(reason, pdu.bhs) {
            Event::Consumed
        } else {
            Event::Violation(format!("more than {MAX_REJECTS} PDUs had to be rejected"))
        }
    }
}
