//! What initiators ask for once the login is over, commands of normal sessions apart.

use super::outbox::Control;
use super::{Connection, Event, Phase, TEXT_DATA, Then, send_targets};
use crate::iscsi::pdu::{
    Logout, LogoutResponse, NopOut, Pdu, RESERVED_TAG, RejectReason, Request, TextRequest,
};

impl Connection {
    /// A PDU that is not a command of a normal session.
    pub(super) fn full_feature<'a>(&mut self, pdu: &Pdu<'a>) -> Event<'a> {
        let request = match Request::parse(pdu) {
            Ok(request) => request,
            Err(_) => {
                // The PDUs that this can be all have a number.
                return match self.arrive(pdu) {
                    Some(event) => event,
                    None => self.reject_task(RejectReason::InvalidField, pdu),
                };
            }
        };
        let discovery = self.phase == Phase::Discovery;
        match request {
            Request::NopOut(nop) => self.nop_out(pdu, &nop),
            Request::Text(text) => self.text_request(pdu, &text),
            Request::Logout(logout) => self.logout(pdu, &logout),
            // A discovery session is for nothing else (section 4.3).
            Request::ScsiCommand(_) | Request::TaskManagement(_) if discovery => {
                match self.arrive(pdu) {
                    Some(event) => event,
                    None => self.reject_task(RejectReason::ProtocolError, pdu),
                }
            }
            Request::ScsiCommand(_) => self.command(pdu),
            Request::TaskManagement(function) => match self.arrive(pdu) {
                Some(event) => event,
                None => Event::Management(function),
            },
            Request::DataOut(data) if !discovery => Event::DataOut(data),
            // SNACKs belong to higher error recovery levels (section 11.16).
            Request::DataOut(_) | Request::Snack => {
                self.reject_pdu(RejectReason::ProtocolError, pdu)
            }
            Request::Login(_) => Event::Violation("login request after the login".into()),
            Request::Unknown(_) => self.reject_pdu(RejectReason::NotSupported, pdu),
        }
    }

    fn nop_out<'a>(&mut self, pdu: &Pdu<'a>, nop: &NopOut<'a>) -> Event<'a> {
        let is_ping = nop.itt != RESERVED_TAG;
        if is_ping {
            if let Some(event) = self.arrive(pdu) {
                return event;
            }
        } else if !pdu.immediate() {
            // It would take a number, and has no way to (section 11.18).
            return self.reject_pdu(RejectReason::InvalidField, pdu);
        }
        if nop.ttt != RESERVED_TAG && !self.pings.answered(nop.ttt) {
            return if is_ping {
                self.reject_task(RejectReason::ProtocolError, pdu)
            } else {
                self.reject_pdu(RejectReason::ProtocolError, pdu)
            };
        }
        if is_ping {
            // As much as the initiator takes comes back (section 11.19).
            let data = nop.data.get(..self.longest_data).unwrap_or(nop.data);
            if !self.outbox.takes_echo(data.len()) {
                return self.reject_task(RejectReason::OutOfResources, pdu);
            }
            self.outbox.push(Control::Echo {
                itt: nop.itt,
                lun: [0; 8],
                data: data.to_vec(),
            });
        }
        Event::Consumed
    }

    fn text_request<'a>(&mut self, pdu: &Pdu<'a>, text: &TextRequest<'a>) -> Event<'a> {
        if let Some(event) = self.arrive(pdu) {
            return event;
        }
        // One may be outstanding (section 11.10).
        if self.outbox.has_text() {
            return self.reject_task(RejectReason::ProtocolError, pdu);
        }
        let Some(summary) = &self.summary else {
            return self.reject_task(RejectReason::ProtocolError, pdu);
        };
        let longest = self.longest_data.min(TEXT_DATA);
        let directory = &*self.directory;
        let reply = self.text.request(text, longest, |whole| {
            send_targets::answer(whole, summary, directory)
        });
        match reply {
            Ok(reply) => {
                self.outbox.push(Control::Text(reply));
                Event::Consumed
            }
            Err(reason) => self.reject_task(reason, pdu),
        }
    }

    /// Section 11.14.
    fn logout<'a>(&mut self, pdu: &Pdu<'a>, logout: &Logout) -> Event<'a> {
        if let Some(event) = self.arrive(pdu) {
            return event;
        }
        let (response, then) = match logout.reason {
            0 => (0, Then::Close),
            1 if logout.cid == self.cid => (0, Then::Close),
            1 => (1, Then::GoOn),
            // Connections are recovered at error recovery level 2.
            2 => (2, Then::GoOn),
            _ => return self.reject_task(RejectReason::InvalidField, pdu),
        };
        let control = Control::Logout(
            LogoutResponse {
                itt: logout.itt,
                response,
                time2wait: self.parameters.time2wait,
                time2retain: self.parameters.time2retain,
            },
            then,
        );
        if then == Then::Close {
            self.close_after(control);
            Event::Logout
        } else {
            self.outbox.push(control);
            Event::Consumed
        }
    }
}
