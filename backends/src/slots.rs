//! What a ring has under way: each slot owns one operation, and with it all memory that the kernel was told of.

use std::os::fd::RawFd;
use std::sync::Arc;

use io_uring::{opcode, squeue, types};
use rustix::io::Errno;

use crate::errno::from_errno;
use crate::vectors::Vectors;
use crate::{Backend, BackendError, Done, Operation, Token};

/// How often the ring may send an operation back before the pool gets it.
const RETRIES_MAX: u8 = 8;

/// An operation on its way.
#[derive(Debug)]
pub(crate) struct Work {
    /// Keeps `descriptor` open.
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) descriptor: RawFd,
    pub(crate) operation: Operation,
    pub(crate) token: Token,
    /// From [`Backend::mark`].
    pub(crate) mark: u64,
    pub(crate) retries: u8,
}

impl Work {
    /// Done, with what the backend makes of what the ring reported.
    pub(crate) fn settle(self, result: Result<(), BackendError>) -> Done {
        let result = self.backend.settle(&self.operation, self.mark, result);
        self.done(result)
    }

    pub(crate) fn done(self, result: Result<(), BackendError>) -> Done {
        Done {
            token: self.token,
            result,
            operation: self.operation,
        }
    }
}

/// What to do about a completion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The rest goes to the ring again.
    Again,
    /// The ring will not do it; the pool may, from the start.
    HandOver,
    /// That was it.
    Done(Result<(), BackendError>),
}

/// The slots, whose numbers name them to the kernel. They are reused, and so is what they allocated.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    work: Option<Work>,
    vectors: Vectors,
}

impl Slots {
    /// Puts `work` in a slot; gives it back if there is nothing to do for a ring.
    pub(crate) fn occupy(&mut self, work: Work) -> Result<u32, Work> {
        let buffers = match &work.operation {
            Operation::Read { buffers, .. } | Operation::Write { buffers, .. } => {
                if buffers.iter().all(|buffer| buffer.is_empty()) {
                    return Err(work);
                }
                buffers.as_slice()
            }
            _ => &[],
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // There is no memory for 2^32 slots.
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.vectors.set(buffers);
        slot.work = Some(work);
        Ok(index)
    }

    /// The request for what is left of a slot's operation.
    ///
    /// It refers to the slot's vectors, whose heap block neither moves nor changes until `step` or `occupy` is called for
    /// the slot, to the memory that the operation's buffers keep mapped, and to the descriptor that the backend keeps
    /// open: all of it is valid until the slot is released.
    pub(crate) fn entry(&self, index: u32) -> Option<squeue::Entry> {
        let slot = self.slots.get(index as usize)?;
        let work = slot.work.as_ref()?;
        let fd = types::Fd(work.descriptor);
        let next = slot.vectors.next();
        let (vectors, count) = (next.as_ptr(), next.len() as u32);
        let at = |offset: &u64| offset + slot.vectors.transferred();
        let entry = match &work.operation {
            Operation::Read { offset, .. } => opcode::Readv::new(fd, vectors, count)
                .offset(at(offset))
                .build(),
            Operation::Write {
                offset, durable, ..
            } => opcode::Writev::new(fd, vectors, count)
                .offset(at(offset))
                .rw_flags(if *durable { libc::RWF_DSYNC } else { 0 })
                .build(),
            Operation::Flush => opcode::Fsync::new(fd)
                .flags(types::FsyncFlags::DATASYNC)
                .build(),
            Operation::Discard { .. }
            | Operation::WriteZeroes { .. }
            | Operation::Splice { .. }
            | Operation::Prefetch { .. }
            | Operation::Extents { .. } => return None,
        };
        Some(entry.user_data(u64::from(index)))
    }

    /// Takes note of a completion with `result`, as the kernel reports it: bytes, or a negative errno.
    pub(crate) fn step(&mut self, index: u32, result: i32) -> Step {
        let slot = self.slots.get_mut(index as usize);
        let Some((work, vectors)) =
            slot.and_then(|slot| Some((slot.work.as_mut()?, &mut slot.vectors)))
        else {
            return Step::Done(Ok(()));
        };
        let Ok(bytes) = usize::try_from(result) else {
            return failed(work, Errno::from_raw_os_error(result.wrapping_neg()));
        };
        match &work.operation {
            Operation::Read { .. } if bytes == 0 => Step::Done(Err(BackendError::PastEnd)),
            Operation::Write { .. } if bytes == 0 => {
                Step::Done(Err(BackendError::Medium(libc::EIO)))
            }
            Operation::Read { .. } | Operation::Write { .. } => {
                vectors.advance(bytes);
                if vectors.is_done() {
                    Step::Done(Ok(()))
                } else {
                    Step::Again
                }
            }
            _ => Step::Done(Ok(())),
        }
    }

    /// Empties a slot.
    pub(crate) fn release(&mut self, index: u32) -> Option<Work> {
        let work = self.slots.get_mut(index as usize)?.work.take()?;
        self.free.push(index);
        Some(work)
    }
}

fn failed(work: &mut Work, errno: Errno) -> Step {
    match errno {
        Errno::INTR | Errno::AGAIN if work.retries < RETRIES_MAX => {
            work.retries += 1;
            Step::Again
        }
        // The ring could not (now), or the thread that had submitted it is gone: none of that says anything about the
        // store. Writing the same bytes once more does no harm.
        Errno::INTR | Errno::AGAIN | Errno::CANCELED | Errno::INVAL | Errno::OPNOTSUPP => {
            Step::HandOver
        }
        errno => Step::Done(Err(from_errno(&work.operation, errno))),
    }
}

#[cfg(test)]
mod tests {
    use pagecast_memory::{Anonymous, Slice};

    use super::*;
    use crate::MemoryBackend;

    fn work(operation: Operation) -> Work {
        Work {
            backend: Arc::new(MemoryBackend::create(65_536).unwrap()),
            descriptor: -1,
            operation,
            token: Token(1),
            mark: 0,
            retries: 0,
        }
    }

    fn buffers() -> Vec<Slice> {
        let memory = Slice::whole(Arc::new(Anonymous::new(4096).unwrap()));
        vec![
            memory.part(0..512).unwrap(),
            memory.part(512..2048).unwrap(),
        ]
    }

    #[test]
    fn short_transfers_go_on_where_they_stopped() {
        let mut slots = Slots::default();
        let read = Operation::Read {
            offset: 512,
            buffers: buffers(),
        };
        let slot = slots.occupy(work(read)).unwrap();
        assert_eq!(slots.step(slot, 700), Step::Again);
        assert_eq!(slots.slots[0].vectors.transferred(), 700);
        assert_eq!(slots.slots[0].vectors.next().len(), 1);
        assert_eq!(slots.step(slot, 1348), Step::Done(Ok(())));
        assert_eq!(slots.release(slot).unwrap().token, Token(1));
        assert!(slots.release(slot).is_none());
        assert!(slots.entry(slot).is_none());
    }

    #[test]
    fn the_end_of_the_file_is_an_error() {
        let mut slots = Slots::default();
        let read = Operation::Read {
            offset: 0,
            buffers: buffers(),
        };
        let slot = slots.occupy(work(read)).unwrap();
        assert_eq!(slots.step(slot, 1024), Step::Again);
        assert_eq!(slots.step(slot, 0), Step::Done(Err(BackendError::PastEnd)));
    }

    #[test]
    fn refusals_of_the_ring_are_not_failures_of_the_store() {
        let mut slots = Slots::default();
        let slot = slots.occupy(work(Operation::Flush)).unwrap();
        for _ in 0..RETRIES_MAX {
            assert_eq!(slots.step(slot, -libc::EAGAIN), Step::Again);
        }
        assert_eq!(slots.step(slot, -libc::EAGAIN), Step::HandOver);
        assert_eq!(slots.step(slot, -libc::ECANCELED), Step::HandOver);
        assert_eq!(
            slots.step(slot, -libc::EIO),
            Step::Done(Err(BackendError::Medium(libc::EIO)))
        );
        assert_eq!(slots.step(slot, 0), Step::Done(Ok(())));
    }

    #[test]
    fn slots_are_reused() {
        let mut slots = Slots::default();
        for _ in 0..3 {
            let first = slots.occupy(work(Operation::Flush)).unwrap();
            let second = slots.occupy(work(Operation::Flush)).unwrap();
            assert_ne!(first, second);
            assert!(slots.release(first).is_some() && slots.release(second).is_some());
        }
        assert_eq!(slots.slots.len(), 2);
    }
}
