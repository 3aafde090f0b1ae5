//! Whether the initiator is still there: our pings (RFC 7143 section 11.19), and how long things may take.

use std::time::Duration;

use crate::iscsi::pdu::RESERVED_TAG;

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// From the connection to the end of its login.
    pub login: Duration,
    /// How long a discovery session may last.
    pub discovery: Duration,
    /// Silence after which the initiator is pinged; zero for never.
    pub nop_interval: Duration,
    /// Silence after a ping, after which the connection is lost; and how long a logout may take.
    pub nop_timeout: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(15),
            discovery: Duration::from_secs(60),
            nop_interval: Duration::from_secs(30),
            nop_timeout: Duration::from_secs(30),
        }
    }
}

/// Something took too long. Close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Timeout {
    /// The login.
    #[error("login did not finish in time")]
    Login,
    /// The discovery.
    #[error("discovery session did not end in time")]
    Discovery,
    /// The initiator said nothing after a ping.
    #[error("initiator does not answer a ping")]
    Ping,
    /// Our last PDU cannot be sent.
    #[error("connection did not close in time")]
    Close,
}

/// Our pings. One is unanswered at a time.
#[derive(Debug)]
pub struct Pings {
    heard: Duration,
    asked: Option<Asked>,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    ttt: u32,
    at: Duration,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A ping with this target transfer tag.
    Ping(u32),
    /// The initiator is gone.
    Lost,
}

impl Pings {
    /// At the start of the connection.
    pub fn new(now: Duration) -> Self {
        Self {
            heard: now,
            asked: None,
            next: 1,
        }
    }

    /// A PDU arrived.
    #[inline]
    pub fn heard(&mut self, now: Duration) {
        self.heard = now;
    }

    /// The answer to a ping. Whether there was one.
    pub fn answered(&mut self, ttt: u32) -> bool {
        match self.asked {
            Some(asked) if asked.ttt == ttt => {
                self.asked = None;
                true
            }
            _ => false,
        }
    }

    /// Whether an initiator that cannot be pinged has said nothing for as long as another would have been given.
    pub fn is_silent(&self, now: Duration, timers: &Timers) -> bool {
        let patience = timers.nop_interval + timers.nop_timeout;
        !timers.nop_interval.is_zero() && now.saturating_sub(self.heard) >= patience
    }

    /// To be asked now and then. An initiator that sends anything at all is there.
    pub fn tick(&mut self, now: Duration, timers: &Timers) -> Due {
        if timers.nop_interval.is_zero() {
            return Due::Nothing;
        }
        match self.asked {
            Some(Asked { at, .. }) => {
                if now.saturating_sub(at.max(self.heard)) >= timers.nop_timeout {
                    Due::Lost
                } else {
                    Due::Nothing
                }
            }
            None if now.saturating_sub(self.heard) >= timers.nop_interval => {
                let ttt = self.next;
                self.next = match self.next.wrapping_add(1) {
                    RESERVED_TAG => 0,
                    next => next,
                };
                self.asked = Some(Asked { ttt, at: now });
                Due::Ping(ttt)
            }
            None => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMERS: Timers = Timers {
        login: Duration::from_secs(15),
        discovery: Duration::from_secs(60),
        nop_interval: Duration::from_secs(10),
        nop_timeout: Duration::from_secs(5),
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_is_asked_about_once() {
        let mut pings = Pings::new(at(0));
        assert_eq!(pings.tick(at(9), &TIMERS), Due::Nothing);
        assert_eq!(pings.tick(at(10), &TIMERS), Due::Ping(1));
        assert_eq!(pings.tick(at(14), &TIMERS), Due::Nothing);
        assert!(!pings.answered(2));
        assert!(pings.answered(1));
        assert!(!pings.answered(1));
        pings.heard(at(14));
        assert_eq!(pings.tick(at(23), &TIMERS), Due::Nothing);
        assert_eq!(pings.tick(at(24), &TIMERS), Due::Ping(2));
        assert_eq!(pings.tick(at(29), &TIMERS), Due::Lost);
    }

    #[test]
    fn an_initiator_that_sends_is_there() {
        let mut pings = Pings::new(at(0));
        assert_eq!(pings.tick(at(10), &TIMERS), Due::Ping(1));
        pings.heard(at(14));
        assert_eq!(pings.tick(at(18), &TIMERS), Due::Nothing);
        assert_eq!(pings.tick(at(19), &TIMERS), Due::Lost);
    }

    #[test]
    fn no_interval_no_pings() {
        let timers = Timers {
            nop_interval: Duration::ZERO,
            ..TIMERS
        };
        let mut pings = Pings::new(at(0));
        assert_eq!(pings.tick(at(1_000_000), &timers), Due::Nothing);
    }
}
