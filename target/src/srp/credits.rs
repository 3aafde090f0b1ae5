//! The request limit: how many requests an initiator may send before it hears from us.
//!
//! SRP_CMD and SRP_TSK_MGMT cost the initiator a credit, and so does SRP_I_LOGOUT; its answers to our own requests
//! (SRP_CRED_RSP, SRP_AER_RSP) do not. SRP_RSP, SRP_CRED_REQ and SRP_AER_REQ carry a delta that gives credits back.
//!
//! This is how flow control reaches SRP: [`set_limit`](Credits::set_limit) lowers the limit, and responses withhold
//! credits until no more than that are out; it rises again with the next response, or by SRP_CRED_REQ where no response is due.
//!
//! Two facts about the Linux initiator shape the limit: it keeps one credit back for task management, so that with a limit
//! of one no command ever comes; and it sizes its queue by the limit at login, so that a limit can be lowered and restored
//! later, but one that starts low stays low. Log in with the most that there ever will be, then lower.

use thiserror::Error;

use super::wire::Tag;

/// Lowest limit under which a Linux initiator still makes progress: one command, and one task management request.
pub const MIN_LIMIT: u32 = 2;

/// The request limit of one channel.
#[derive(Clone, Debug)]
pub struct Credits {
    /// The most there will ever be: what login gave, and what receives are posted for.
    max: u32,
    /// How many credits should be with the initiator or in requests that we work on.
    limit: u32,
    /// Credits that the initiator holds. Negative after a violation that was let pass.
    held: i64,
    /// Requests that arrived and are not answered.
    in_service: u32,
    /// Requests beyond the limit that are let pass: as many as there are spare receives.
    slack: u32,
    /// Our own request that the initiator has not answered.
    asked: Option<Asked>,
    /// Tag of our next request.
    next_tag: u64,
}

/// SRP lets a target have one request unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Credits(Tag),
    Event(Tag),
}

/// An SRP_CRED_REQ that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditRequest {
    /// Its tag.
    pub tag: Tag,
    /// Credits that it gives.
    pub delta: i32,
}

/// The initiator broke the rules. End the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CreditError {
    /// More requests than credits.
    #[error("request limit of {limit} exceeded")]
    LimitExceeded {
        /// The limit.
        limit: u32,
    },
    /// An answer to nothing that we asked ([`LogoutReason::SpuriousResponse`](super::response::LogoutReason)).
    #[error("response {tag} without a request")]
    SpuriousResponse {
        /// Its tag.
        tag: Tag,
    },
}

impl Credits {
    /// A channel that logs in with `max` credits ([`MIN_LIMIT`] if that is more). Up to `slack` requests beyond its credits
    /// are forgiven.
    pub fn new(max: u32, slack: u32) -> Self {
        let max = max.clamp(MIN_LIMIT, i32::MAX as u32);
        Self {
            max,
            limit: max,
            held: i64::from(max),
            in_service: 0,
            slack,
            asked: None,
            next_tag: 1,
        }
    }

    /// What to announce at login.
    pub fn initial(&self) -> u32 {
        self.max
    }

    /// Receives that must be posted at all times: every credit, the answer to our one request, and the slack.
    pub fn receives(&self) -> u32 {
        self.max.saturating_add(1).saturating_add(self.slack)
    }

    /// The limit now.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Requests that arrived and are not answered.
    pub fn in_service(&self) -> u32 {
        self.in_service
    }

    /// Sets how many credits should be out, between [`MIN_LIMIT`] and the initial number. For a depth of `n` commands that
    /// is `n + 1`. Returns the limit that it became.
    pub fn set_limit(&mut self, limit: u32) -> u32 {
        self.limit = limit.clamp(MIN_LIMIT, self.max);
        self.limit
    }

    /// A request arrived, readable or not.
    pub fn request_arrived(&mut self) -> Result<(), CreditError> {
        if self.held <= -i64::from(self.slack) {
            return Err(CreditError::LimitExceeded { limit: self.limit });
        }
        self.held -= 1;
        self.in_service += 1;
        Ok(())
    }

    /// A request is answered now: returns the delta of its SRP_RSP. Call it when the response is built and surely goes out.
    pub fn respond(&mut self) -> i32 {
        self.drop_request();
        self.give()
    }

    /// A request will never be answered (it was aborted, or was a logout): its credit goes out with the next answer.
    pub fn drop_request(&mut self) {
        self.in_service = self.in_service.saturating_sub(1);
    }

    /// Whether [`credit_request`](Self::credit_request) has something to send.
    pub fn credit_request_due(&self) -> bool {
        let stuck = self.in_service == 0 || self.held < i64::from(MIN_LIMIT);
        self.asked.is_none() && self.due() > 0 && stuck
    }

    /// The SRP_CRED_REQ to send now, if credits are due that no response would carry soon: nothing is in service, or the
    /// initiator is down to the credit that it keeps for task management.
    pub fn credit_request(&mut self) -> Option<CreditRequest> {
        if !self.credit_request_due() {
            return None;
        }
        let tag = self.tag();
        self.asked = Some(Asked::Credits(tag));
        Some(CreditRequest {
            tag,
            delta: self.give(),
        })
    }

    /// Tag and delta of an SRP_AER_REQ, if one may be sent now.
    pub fn event_request(&mut self) -> Option<CreditRequest> {
        if self.asked.is_some() {
            return None;
        }
        let tag = self.tag();
        self.asked = Some(Asked::Event(tag));
        Some(CreditRequest {
            tag,
            delta: self.give(),
        })
    }

    /// SRP_CRED_RSP arrived.
    pub fn credit_response(&mut self, tag: Tag) -> Result<(), CreditError> {
        self.answered(Asked::Credits(tag), tag)
    }

    /// SRP_AER_RSP arrived.
    pub fn event_response(&mut self, tag: Tag) -> Result<(), CreditError> {
        self.answered(Asked::Event(tag), tag)
    }

    fn answered(&mut self, answer: Asked, tag: Tag) -> Result<(), CreditError> {
        if self.asked != Some(answer) {
            return Err(CreditError::SpuriousResponse { tag });
        }
        self.asked = None;
        Ok(())
    }

    /// Credits that the initiator should have and has not.
    fn due(&self) -> u32 {
        let out = self.held + i64::from(self.in_service);
        let due = (i64::from(self.limit) - out).max(0);
        // At most `max + slack`, and clamped to what a delta can say.
        i32::try_from(due).unwrap_or(i32::MAX) as u32
    }

    fn give(&mut self) -> i32 {
        let due = self.due();
        self.held += i64::from(due);
        due as i32
    }

    fn tag(&mut self) -> Tag {
        let tag = Tag(self.next_tag);
        self.next_tag = self.next_tag.wrapping_add(1);
        tag
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steady_state_gives_one_for_one() {
        let mut credits = Credits::new(4, 0);
        assert_eq!(credits.initial(), 4);
        assert_eq!(credits.receives(), 5);
        for _ in 0..10 {
            credits.request_arrived().unwrap();
            assert_eq!(credits.respond(), 1);
            assert_eq!(credits.credit_request(), None);
        }
        for _ in 0..4 {
            credits.request_arrived().unwrap();
        }
        assert_eq!(
            credits.request_arrived(),
            Err(CreditError::LimitExceeded { limit: 4 })
        );
        assert_eq!(credits.in_service(), 4);
    }

    #[test]
    fn the_limit_shrinks_by_withholding_and_grows_again() {
        let mut credits = Credits::new(4, 0);
        for _ in 0..4 {
            credits.request_arrived().unwrap();
        }
        assert_eq!(credits.set_limit(0), MIN_LIMIT);
        assert_eq!(
            [0; 4].map(|_| credits.respond()),
            [0, 0, 1, 1],
            "two stay, two are withheld"
        );
        assert_eq!(credits.credit_request(), None);
        assert_eq!(credits.set_limit(100), 4);
        let request = credits.credit_request().unwrap();
        assert_eq!(request.delta, 2);
        // One at a time.
        credits.set_limit(2);
        credits.request_arrived().unwrap();
        credits.request_arrived().unwrap();
        assert_eq!(credits.respond() + credits.respond(), 0);
        credits.set_limit(4);
        assert_eq!(credits.credit_request(), None);
        assert_eq!(
            credits.credit_response(Tag(77)),
            Err(CreditError::SpuriousResponse { tag: Tag(77) })
        );
        credits.credit_response(request.tag).unwrap();
        assert_eq!(credits.credit_request().map(|r| r.delta), Some(2));
        assert!(credits.credit_response(request.tag).is_err());
    }

    #[test]
    fn an_aborted_command_gives_its_credit_to_the_next_answer() {
        let mut credits = Credits::new(4, 0);
        credits.request_arrived().unwrap();
        credits.request_arrived().unwrap();
        credits.drop_request();
        assert_eq!(credits.credit_request(), None, "an answer is due");
        assert_eq!(credits.respond(), 2);
    }

    #[test]
    fn a_starved_initiator_is_fed_though_a_command_is_in_service() {
        let mut credits = Credits::new(8, 0);
        credits.set_limit(2);
        for _ in 0..8 {
            credits.request_arrived().unwrap();
        }
        for _ in 0..7 {
            credits.respond();
        }
        assert_eq!(credits.in_service(), 1);
        credits.set_limit(8);
        assert_eq!(credits.credit_request().map(|r| r.delta), Some(6));
    }

    #[test]
    fn slack_is_forgiven() {
        let mut credits = Credits::new(2, 1);
        assert_eq!(credits.receives(), 4);
        for _ in 0..3 {
            credits.request_arrived().unwrap();
        }
        assert!(credits.request_arrived().is_err());
        assert_eq!([0; 3].map(|_| credits.respond()), [1, 1, 1]);
        // By its own count it stands at two again, not at three.
        assert_eq!(credits.held, 2);
    }

    #[test]
    fn events_share_the_one_request() {
        let mut credits = Credits::new(4, 0);
        let event = credits.event_request().unwrap();
        assert_eq!(event.delta, 0);
        assert_eq!(credits.event_request(), None);
        assert!(credits.credit_response(event.tag).is_err());
        credits.event_response(event.tag).unwrap();
        assert!(credits.event_response(event.tag).is_err());
    }

    proptest! {
        /// An initiator that obeys never trips the limit, is never left without a way forward, and never holds too much.
        #[test]
        fn an_obedient_initiator_is_served(max in 2u32..40, steps in prop::collection::vec((0u8..5, 0u32..50), 0..300)) {
            let mut credits = Credits::new(max, 0);
            let mut initiator = i64::from(credits.initial());
            let mut asked = None;
            for (step, limit) in steps {
                match step {
                    0 | 1 if initiator > 0 => {
                        initiator -= 1;
                        prop_assert!(credits.request_arrived().is_ok());
                    }
                    2 if credits.in_service() > 0 => initiator += i64::from(credits.respond()),
                    3 => { credits.set_limit(limit); }
                    4 => match asked.take() {
                        Some(tag) => prop_assert!(credits.credit_response(tag).is_ok()),
                        None => if credits.in_service() > 0 { credits.drop_request() },
                    },
                    _ => {}
                }
                if let Some(request) = credits.credit_request() {
                    prop_assert!(request.delta > 0);
                    initiator += i64::from(request.delta);
                    prop_assert!(asked.replace(request.tag).is_none());
                }
                prop_assert!(initiator >= 0);
                prop_assert!(initiator + i64::from(credits.in_service()) <= i64::from(max));
                if credits.in_service() == 0 && asked.is_none() {
                    prop_assert!(initiator >= i64::from(credits.limit()));
                }
            }
        }
    }
}
