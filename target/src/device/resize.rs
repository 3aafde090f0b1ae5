//! Another size for a device that is being served.
//!
//! What counts is the size that the device is known to have ([`Device::size`]): its capacity follows from it, windows reach
//! that far, and a store that has less is a failure. A store may have more: nobody sees that before somebody asks for it.
//!
//! Growing is the store first, then the windows, then the capacity. Shrinking is the other way round:
//!
//! 1. The capacity, so that no new command reaches beyond the new end. Commands that were planned before still do.
//! 2. The windows beyond: READs that are being sent from them finish, and none is made again.
//! 3. Writers beyond: an exclusive lock of the range waits for those that are at the store, which would make it longer again,
//!    and holds the others back. These, and staged READs, are told by the store that there is nothing.
//! 4. The store.

use std::sync::TryLockError;
use std::time::Duration;

use crossbeam_channel::Sender;
use pagecast_backends::BackendError;
use thiserror::Error;

use super::Device;
use super::range_locks::{Hold, Mode, Ticket, Wake};
use crate::config::ByteSize;
use crate::shard::locks::Waiter;

/// How long commands beyond a new end may take, for windows and writers each, when a client of the control socket waits. Both
/// together are less than it waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How a device's size changed, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resized {
    /// What it had.
    pub before: u64,
    /// What it has.
    pub now: u64,
}

/// Why a device did not get another size; it has the one that it had, but for [`NotKept`](Self::NotKept). Each message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResizeError {
    /// There is no such device.
    #[error("there is no device of that name")]
    NoDevice,
    /// Its store is not there, for this reason.
    #[error("it is offline, and takes the size that its store has when that comes: {0}")]
    Offline(String),
    /// The daemon ends.
    #[error("the daemon is stopping; change the store, and start it again")]
    Stopping,
    /// It has the new size, but the configuration does not say so.
    #[error("it has the new size now, but not when the daemon is started again: {0}")]
    NotKept(String),
    /// The configuration could not be written, as was seen before anything was changed.
    #[error("its new size could not be kept: {0}")]
    Unkeepable(String),
    /// Another one is at work.
    #[error("it is being resized already; wait until that is done, and try again")]
    Busy,
    /// The size that was asked for is none of whole blocks.
    #[error(
        "{size} bytes are not a multiple of the block size {block_size}; give {} instead",
        ByteSize((size - size % u64::from(*block_size)).max(u64::from(*block_size)))
    )]
    Unaligned {
        /// Bytes.
        size: u64,
        /// Bytes in a block.
        block_size: u32,
    },
    /// The size that the store has is none of whole blocks.
    #[error(
        "its store has {size} bytes, which are not a multiple of the block size {block_size}; \
         change that, or name the size that it is to have"
    )]
    StoreUnaligned {
        /// Bytes.
        size: u64,
        /// Bytes in a block.
        block_size: u32,
    },
    /// There would be no block left.
    #[error("a disk without blocks cannot be served; give a larger size")]
    Empty,
    /// Data would be lost, and nobody said that they may.
    #[error(
        "{size} bytes are less than the {present} that are there, and what is beyond would be lost for good; \
         shrink the file systems on it first, and then force it (--force, or \"force\": true)"
    )]
    Destructive {
        /// Bytes that it would have.
        size: u64,
        /// Bytes that there are.
        present: u64,
    },
    /// Data are lost already, and nobody said that this is as it should be.
    #[error(
        "its store was cut down to {left} of {served} bytes by somebody else; bring the rest back from a backup, or force it \
         (--force, or \"force\": true) to go on without"
    )]
    Truncated {
        /// Bytes that are left.
        left: u64,
        /// Bytes that were served.
        served: u64,
    },
    /// Its store decides itself how large it is.
    #[error(
        "a block device has the size that it has ({size} bytes); change that by its own tools, such as lvextend, and resize \
         without a size"
    )]
    Fixed {
        /// Bytes.
        size: u64,
    },
    /// The store was opened without the right to write.
    #[error(
        "its store is open for reading only; change its size otherwise, and resize without a size"
    )]
    ReadOnly,
    /// Its file system is full.
    #[error(
        "no space is left for {size} bytes where its store is; make room, or give a smaller size"
    )]
    NoSpace {
        /// Bytes that were asked for.
        size: u64,
    },
    /// Its file system, or a limit of the process, does not allow that much.
    #[error(
        "its store cannot have {size} bytes, because of its file system or the daemon's limit on file sizes \
         (RLIMIT_FSIZE, LimitFSIZE in a unit of systemd); give a smaller size"
    )]
    TooLarge {
        /// Bytes that were asked for.
        size: u64,
    },
    /// The store does not work.
    #[error("{0}; see what is wrong with it, and try again")]
    Store(BackendError),
    /// Commands beyond the new end do not finish.
    #[error(
        "commands beyond the new end were not done within {0:?}; stop whoever uses that part, and try again"
    )]
    InUse(Duration),
}

impl Device {
    /// Gives the device the size that its store has by now or, with `wanted`, its store that size first; bytes. Data are only
    /// destroyed with `force`.
    ///
    /// Waits for commands beyond a new end (`patience` for windows and writers each), so it is nothing for threads that serve
    /// them.
    pub fn resize(
        &self,
        wanted: Option<u64>,
        force: bool,
        patience: Duration,
    ) -> Result<Resized, ResizeError> {
        let _alone = match self.resizing.try_lock() {
            Ok(alone) => alone,
            // It protects nothing but the order of things.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(ResizeError::Busy),
        };
        let before = self.size();
        let there = self.backend.current_size().map_err(ResizeError::Store)?;
        let now = wanted.unwrap_or(there);
        self.check_size(wanted, there)?;
        if !force && there < before {
            return Err(ResizeError::Truncated {
                left: there,
                served: before,
            });
        }
        if !force && now < there.max(before) {
            return Err(ResizeError::Destructive {
                size: now,
                present: there.max(before),
            });
        }
        let properties = self.backend.properties();
        if now != there && !properties.can_resize {
            // Before initiators are told of anything.
            return Err(match properties.read_only {
                true => ResizeError::ReadOnly,
                false => ResizeError::Fixed { size: there },
            });
        }
        if now < before {
            self.take_over(now, there);
        }
        if let Err(error) = self.change_store(before, there, now, patience) {
            self.take_over(before, there);
            return Err(error);
        }
        self.take_over(now, now);
        tracing::info!(device = %self.name, before, now, "resized");
        Ok(Resized { before, now })
    }

    /// Whether a size makes a disk.
    fn check_size(&self, wanted: Option<u64>, there: u64) -> Result<(), ResizeError> {
        let block_size = self.unit.block_size();
        let is_whole = |size: u64| size.is_multiple_of(u64::from(block_size));
        match wanted {
            Some(0) => Err(ResizeError::Empty),
            Some(size) if !is_whole(size) => Err(ResizeError::Unaligned { size, block_size }),
            Some(_) => Ok(()),
            None if there == 0 => Err(ResizeError::Empty),
            None if !is_whole(there) => Err(ResizeError::StoreUnaligned {
                size: there,
                block_size,
            }),
            None => Ok(()),
        }
    }

    /// Makes the store `now` bytes long, once nobody is at what is beyond.
    fn change_store(
        &self,
        before: u64,
        there: u64,
        now: u64,
        patience: Duration,
    ) -> Result<(), ResizeError> {
        // Beyond this end everything goes away, or is gone.
        let end = now.min(there).min(before);
        let mut kept_out = None;
        if end < before {
            self.drop_windows(end, patience)?;
            kept_out = Some(self.keep_writers_out(end, patience)?);
        }
        if there == now {
            return Ok(());
        }
        let set = self.backend.set_size(now);
        drop(kept_out);
        set.map_err(|error| match error {
            BackendError::ReadOnly => ResizeError::ReadOnly,
            BackendError::NoSpace => ResizeError::NoSpace { size: now },
            BackendError::PastEnd => ResizeError::TooLarge { size: now },
            error => ResizeError::Store(error),
        })
    }

    /// From now on the device has `size` bytes, of which the store has `there`.
    fn take_over(&self, size: u64, there: u64) {
        let blocks = size / u64::from(self.unit.block_size());
        if blocks < self.unit.capacity() {
            // First of all: whoever finds less than he was promised learns why by it.
            self.unit.set_capacity(blocks);
        }
        self.size.take_over(size, there);
        if let Some(windows) = &self.windows {
            windows.grown_to(size);
        }
        self.unit.set_capacity(blocks);
    }

    fn drop_windows(&self, end: u64, patience: Duration) -> Result<(), ResizeError> {
        let Some(windows) = &self.windows else {
            return Ok(());
        };
        let (gone, wait) = crossbeam_channel::bounded(1);
        let tell = move || {
            // Nobody waits for ever.
            let _ = gone.send(());
        };
        windows.invalidate_beyond(end, Box::new(tell));
        wait.recv_timeout(patience)
            .map_err(|_| ResizeError::InUse(patience))
    }

    fn keep_writers_out(
        &self,
        end: u64,
        patience: Duration,
    ) -> Result<WritersKeptOut<'_>, ResizeError> {
        let (granted, wait) = crossbeam_channel::bounded(1);
        let waiter = LockWaiter::Resize(granted);
        let (ticket, at_once) = self.locks.claim(Mode::Exclusive, end..u64::MAX, waiter);
        let kept_out = WritersKeptOut {
            device: self,
            ticket,
        };
        if !at_once {
            wait.recv_timeout(patience)
                .map_err(|_| ResizeError::InUse(patience))?;
        }
        Ok(kept_out)
    }
}

/// An exclusive range lock, or a place among those who wait for it.
struct WritersKeptOut<'a> {
    device: &'a Device,
    ticket: Ticket,
}

impl Drop for WritersKeptOut<'_> {
    fn drop(&mut self) {
        // A registered claim belongs to no shard.
        let hold = Hold::Registered(self.ticket);
        self.device.locks.release(0, hold);
    }
}

/// Who waits for a range lock of a device.
#[derive(Debug)]
pub enum LockWaiter {
    /// A command.
    Task(Waiter),
    /// A change of the device's size.
    Resize(Sender<()>),
}

impl From<Waiter> for LockWaiter {
    fn from(waiter: Waiter) -> Self {
        Self::Task(waiter)
    }
}

impl Wake for LockWaiter {
    fn wake(self, ticket: Ticket) {
        match self {
            Self::Task(waiter) => waiter.wake(ticket),
            // There is room for one, and if nobody waits any more the claim is about to go.
            Self::Resize(granted) => drop(granted.try_send(())),
        }
    }
}
