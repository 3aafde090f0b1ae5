//! Where threads leave what they have done, and how the shard is told.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::Done;

/// A list of finished operations beside an eventfd that is readable exactly while there is something to take.
///
/// The eventfd changes under the lock of the list, so that it is neither left behind raised nor cleared too early. An
/// empty list costs the taker one load and no system call.
#[derive(Debug)]
pub(crate) struct Completions {
    state: Mutex<State>,
    any: AtomicBool,
    event: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    done: Vec<Done>,
    raised: bool,
}

impl Completions {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            any: AtomicBool::new(false),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Leaves one finished operation.
    pub(crate) fn push(&self, done: Done) {
        let mut state = self.state();
        state.done.push(done);
        self.raise(&mut state);
    }

    /// Makes the taker come by although nothing is done.
    pub(crate) fn nudge(&self) {
        self.raise(&mut self.state());
    }

    /// Moves what is done to `into`, and says how many that were.
    pub(crate) fn take(&self, into: &mut Vec<Done>) -> usize {
        if !self.any.load(Ordering::Acquire) {
            return 0;
        }
        let mut state = self.state();
        let taken = state.done.len();
        into.append(&mut state.done);
        if state.raised {
            state.raised = false;
            self.any.store(false, Ordering::Release);
            // It cannot fail: the descriptor is ours, and its counter is not zero.
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
        taken
    }

    fn raise(&self, state: &mut State) {
        if !state.raised {
            state.raised = true;
            self.any.store(true, Ordering::Release);
            // It cannot fail: the descriptor is ours, and its counter is zero.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Completions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Sleeps until `fd` is readable, or for no reason at all.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>) {
    let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], None);
}

#[cfg(test)]
mod tests {
    use rustix::event::Timespec;

    use super::*;
    use crate::{Operation, Token};

    fn readable(completions: &Completions) -> bool {
        let mut fds = [PollFd::new(completions, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn readable_exactly_while_there_is_something_to_take() {
        let completions = Completions::new().unwrap();
        let done = |token| Done {
            token: Token(token),
            result: Ok(()),
            operation: Operation::Flush,
        };
        let mut taken = Vec::new();
        assert!(!readable(&completions));
        completions.push(done(1));
        completions.push(done(2));
        assert!(readable(&completions));
        assert_eq!(completions.take(&mut taken), 2);
        assert!(!readable(&completions));
        completions.nudge();
        assert!(readable(&completions));
        assert_eq!(completions.take(&mut taken), 0);
        assert!(!readable(&completions));
        completions.push(done(3));
        assert!(readable(&completions));
        assert_eq!(completions.take(&mut taken), 1);
        let tokens: Vec<u64> = taken.iter().map(|done| done.token.0).collect();
        assert_eq!(tokens, [1, 2, 3]);
    }
}
