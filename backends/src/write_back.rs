//! Failed write-back.
//!
//! Linux reports a failed write-back once: the first `fdatasync` (or RWF_DSYNC write) on a descriptor after it gets the
//! error, and the pages count as clean from then on, their bytes being lost. Every later `fdatasync` succeeds. So two
//! hosts that flush at the same time, or a durable write of one beside the cached writes of another, would leave all but
//! one of them believing in data that is gone. Hence:
//!
//! - a flush fails if any flush or durable write failed between its start and its end, and
//! - when a durable write fails, which may have consumed an error that belongs to earlier cached writes, the next flush
//!   fails as well.
//!
//! What is flushed after that is reported as the kernel reports it; the store is not condemned for one bad range.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{BackendError, Operation};

/// The failures of one store so far.
#[derive(Debug, Default)]
pub(crate) struct WriteBack {
    /// Counted under the lock of `state`; read without it before every operation.
    failures: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    latest: Option<BackendError>,
    owed: bool,
}

impl WriteBack {
    /// Failures until now: what [`WriteBack::settle`] wants to know of the moment before the operation.
    pub(crate) fn mark(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// The result to report for an operation that started at `mark`.
    pub(crate) fn settle(
        &self,
        operation: &Operation,
        mark: u64,
        result: Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        match operation {
            Operation::Flush => self.settle_flush(mark, result),
            Operation::Write { durable: true, .. }
            | Operation::WriteZeroes { durable: true, .. } => {
                if let Err(error @ (BackendError::Medium(_) | BackendError::NoSpace)) = &result {
                    let mut state = self.state();
                    self.fail(&mut state, error);
                    state.owed = true;
                }
                result
            }
            _ => result,
        }
    }

    fn settle_flush(
        &self,
        mark: u64,
        result: Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        let mut state = self.state();
        if let Err(error) = result {
            state.owed = false;
            self.fail(&mut state, &error);
            return Err(error);
        }
        let owed = std::mem::take(&mut state.owed);
        if (owed || self.failures.load(Ordering::Acquire) != mark)
            && let Some(error) = &state.latest
        {
            return Err(error.clone());
        }
        Ok(())
    }

    fn fail(&self, state: &mut State, error: &BackendError) {
        state.latest = Some(error.clone());
        self.failures.fetch_add(1, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIO: BackendError = BackendError::Medium(libc::EIO);

    #[test]
    fn every_flush_in_flight_hears_of_a_failure() {
        let store = WriteBack::default();
        let (first, second) = (store.mark(), store.mark());
        assert_eq!(store.settle(&Operation::Flush, first, Err(EIO)), Err(EIO));
        assert_eq!(store.settle(&Operation::Flush, second, Ok(())), Err(EIO));
        let third = store.mark();
        assert_eq!(store.settle(&Operation::Flush, third, Ok(())), Ok(()));
    }

    #[test]
    fn a_failed_durable_write_fails_the_next_flush_once() {
        let store = WriteBack::default();
        let durable = Operation::Write {
            offset: 0,
            buffers: Vec::new(),
            durable: true,
        };
        assert_eq!(store.settle(&durable, store.mark(), Err(EIO)), Err(EIO));
        let mark = store.mark();
        assert_eq!(store.settle(&Operation::Flush, mark, Ok(())), Err(EIO));
        assert_eq!(store.settle(&Operation::Flush, mark, Ok(())), Ok(()));
        let wrong = Err(BackendError::PastEnd);
        assert_eq!(store.settle(&durable, mark, wrong.clone()), wrong);
        assert_eq!(store.settle(&Operation::Flush, mark, Ok(())), Ok(()));
    }
}
