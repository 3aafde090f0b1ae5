//! The window of command numbers, which is iSCSI's flow control (RFC 7143 section 4.2.2.1).
//!
//! ExpCmdSN is the next command that we expect; MaxCmdSN the last that the initiator may send, and grows as tasks end. Commands for
//! immediate delivery take no number. They are in service like others, though, so that each holds back MaxCmdSN by one until it
//! ends; where MaxCmdSN cannot be held back since it has been announced, a few are let in nevertheless.
//!
//! Numbers wrap (RFC 1982). Windows are far shorter than 2^31, so that the difference of two numbers is enough to compare them.

/// Commands for immediate delivery that are let in while all numbers are in use.
pub const SPARE: u32 = 8;

/// Numbers and tasks of one connection.
#[derive(Clone, Debug)]
pub struct Window {
    exp_cmd_sn: u32,
    /// Numbers from ExpCmdSN on that the initiator may use: MaxCmdSN + 1 - ExpCmdSN. What was once announced cannot be taken back.
    open: u32,
    /// MaxCmdSN as the initiator last heard of it.
    announced: u32,
    /// Tasks that should be in service at most.
    limit: u32,
    /// Most that there ever will be, but for the spare ones.
    most: u32,
    /// Tasks in service.
    in_service: u32,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is in service now.
    Accepted,
    /// Its number is not in the window, or was used: to be ignored silently.
    Ignored,
    /// Commands before it are missing.
    Gap,
    /// It is one too many for immediate delivery.
    TooManyImmediate,
}

impl Window {
    /// A window of `limit` commands, at least one.
    pub fn new(limit: u32) -> Self {
        // Differences stay well below 2^31.
        let limit = limit.clamp(1, 1 << 20);
        Self {
            exp_cmd_sn: 0,
            open: limit,
            announced: limit.wrapping_sub(1),
            limit,
            most: limit,
            in_service: 0,
        }
    }

    /// The first number, which the login brings.
    pub fn start(&mut self, cmd_sn: u32) {
        self.exp_cmd_sn = cmd_sn;
        self.announced = self.max_cmd_sn();
    }

    /// How many commands may be in service from now on, at most as many as there were at first. What was announced stays.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit.clamp(1, self.most);
        self.advance();
    }

    /// ExpCmdSN
    #[inline]
    pub fn exp_cmd_sn(&self) -> u32 {
        self.exp_cmd_sn
    }

    /// MaxCmdSN
    #[inline]
    pub fn max_cmd_sn(&self) -> u32 {
        self.exp_cmd_sn.wrapping_add(self.open).wrapping_sub(1)
    }

    /// MaxCmdSN goes out to the initiator.
    #[inline]
    pub fn announce(&mut self) -> u32 {
        self.announced = self.max_cmd_sn();
        self.announced
    }

    /// Whether the initiator thinks that it may send nothing, and is wrong. Nothing but a PDU tells it.
    #[inline]
    pub fn is_starving(&self) -> bool {
        self.announced.wrapping_add(1) == self.exp_cmd_sn && self.open != 0
    }

    /// Tasks in service.
    pub fn in_service(&self) -> u32 {
        self.in_service
    }

    /// A command arrived.
    #[inline]
    pub fn arrive(&mut self, cmd_sn: u32, immediate: bool) -> Arrival {
        if immediate {
            if self.in_service + self.open >= self.most + SPARE {
                return Arrival::TooManyImmediate;
            }
        } else {
            let ahead = cmd_sn.wrapping_sub(self.exp_cmd_sn);
            if ahead >= self.open {
                return Arrival::Ignored;
            }
            if ahead != 0 {
                return Arrival::Gap;
            }
            self.exp_cmd_sn = self.exp_cmd_sn.wrapping_add(1);
            self.open -= 1;
        }
        self.in_service += 1;
        Arrival::Accepted
    }

    /// A task ended, however that was.
    #[inline]
    pub fn ended(&mut self) {
        self.in_service = self.in_service.saturating_sub(1);
        self.advance();
    }

    #[inline]
    fn advance(&mut self) {
        self.open = self.open.max(self.limit.saturating_sub(self.in_service));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(first: u32, limit: u32) -> Window {
        let mut window = Window::new(limit);
        window.start(first);
        window
    }

    #[test]
    fn numbers_in_order_across_the_wrap() {
        let mut window = window(u32::MAX - 1, 4);
        assert_eq!(window.max_cmd_sn(), 1);
        for number in [u32::MAX - 1, u32::MAX, 0, 1] {
            assert_eq!(window.exp_cmd_sn(), number);
            assert_eq!(window.arrive(number, false), Arrival::Accepted);
            assert_eq!(window.max_cmd_sn(), 1);
        }
        assert_eq!(window.arrive(2, false), Arrival::Ignored);
        window.ended();
        assert_eq!(window.max_cmd_sn(), 2);
        assert_eq!(window.arrive(2, false), Arrival::Accepted);
        assert_eq!(window.in_service(), 4);
    }

    #[test]
    fn what_is_outside_is_ignored_and_gaps_are_seen() {
        let mut window = window(100, 8);
        assert_eq!(window.arrive(99, false), Arrival::Ignored);
        assert_eq!(window.arrive(108, false), Arrival::Ignored);
        assert_eq!(window.arrive(100 + (1 << 31), false), Arrival::Ignored);
        assert_eq!(window.arrive(101, false), Arrival::Gap);
        assert_eq!(window.arrive(107, false), Arrival::Gap);
        assert_eq!(window.in_service(), 0);
        assert_eq!(window.arrive(100, false), Arrival::Accepted);
        // A duplicate.
        assert_eq!(window.arrive(100, false), Arrival::Ignored);
    }

    #[test]
    fn immediate_commands_are_bounded_and_take_no_number() {
        let mut window = window(5, 2);
        for _ in 0..SPARE {
            assert_eq!(window.arrive(5, true), Arrival::Accepted);
        }
        assert_eq!(window.arrive(5, true), Arrival::TooManyImmediate);
        assert_eq!((window.exp_cmd_sn(), window.max_cmd_sn()), (5, 6));
        // What was announced still holds.
        assert_eq!(window.arrive(5, false), Arrival::Accepted);
        assert_eq!(window.arrive(6, false), Arrival::Accepted);
        assert_eq!(window.in_service(), 2 + SPARE);
        // It does not grow before there is room.
        for _ in 0..SPARE {
            window.ended();
            assert_eq!(window.max_cmd_sn(), 6);
        }
        window.ended();
        assert_eq!(window.max_cmd_sn(), 7);
    }

    #[test]
    fn starving_is_a_closed_window_that_is_not() {
        let mut window = window(0, 1);
        assert!(!window.is_starving());
        assert_eq!(window.arrive(0, false), Arrival::Accepted);
        assert!(!window.is_starving());
        window.ended();
        assert!(window.is_starving());
        window.announce();
        assert!(!window.is_starving());
    }

    #[test]
    fn a_lower_limit_closes_the_window_in_time() {
        let mut window = window(0, 4);
        window.set_limit(1);
        for number in 0..4 {
            assert_eq!(window.arrive(number, false), Arrival::Accepted);
        }
        for _ in 0..3 {
            window.ended();
            assert_eq!(window.max_cmd_sn(), 3);
        }
        window.ended();
        assert_eq!(window.max_cmd_sn(), 4);
        window.set_limit(1000);
        assert_eq!(window.max_cmd_sn(), 7);
    }

    proptest! {
        #[test]
        fn never_more_than_announced_and_spare(
            first in any::<u32>(),
            limit in 1u32..20,
            steps in prop::collection::vec((0u8..5, -3i32..25), 0..300),
        ) {
            let mut window = window(first, limit);
            let mut last = window.max_cmd_sn();
            for (step, distance) in steps {
                match step {
                    0 => _ = window.arrive(window.exp_cmd_sn(), false),
                    1 => _ = window.arrive(window.exp_cmd_sn().wrapping_add_signed(distance), false),
                    2 => _ = window.arrive(0, true),
                    3 => window.set_limit(distance.unsigned_abs()),
                    _ => window.ended(),
                }
                prop_assert!(window.in_service() <= limit + SPARE);
                // MaxCmdSN does not go back, and the window is never wider than it was.
                prop_assert!(window.max_cmd_sn().wrapping_sub(last) <= limit);
                last = window.max_cmd_sn();
                prop_assert!(window.max_cmd_sn().wrapping_sub(window.exp_cmd_sn()).wrapping_add(1) <= limit);
            }
        }
    }
}
