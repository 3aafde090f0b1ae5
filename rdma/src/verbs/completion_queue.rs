//! Completion queues with a channel each.

use std::any::Any;
use std::collections::VecDeque;
use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdma_sys::{
    ibv_comp_channel, ibv_cq, ibv_wc, ibv_wc_flags, ibv_wc_opcode, ibv_wc_status, pc_ack_cq_events,
    pc_cq_cqe, pc_create_comp_channel, pc_create_cq, pc_destroy_comp_channel, pc_destroy_cq,
    pc_get_cq_event, pc_poll_cq, pc_req_notify_cq,
};

use super::call;
use super::device::Device;
use crate::fabric::{Completion, CompletionQueue, CompletionStatus, FabricError, WorkId};

/// Completions taken from the provider at a time: they pass through the stack.
const BATCH: usize = 32;

/// The seam's handle. The queue itself is shared with the queue pairs that complete on it.
#[derive(Debug)]
pub(super) struct VerbsCompletionQueue(Arc<Queue>);

impl VerbsCompletionQueue {
    pub(super) fn new(
        device: &Arc<Device>,
        capacity: u32,
        vector: i32,
    ) -> Result<Self, FabricError> {
        Ok(Self(Arc::new(Queue::new(device, capacity, vector)?)))
    }

    /// The queue, for a queue pair to hold.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.0
    }
}

impl CompletionQueue for VerbsCompletionQueue {
    fn poll(&self, out: &mut [Completion]) -> Result<usize, FabricError> {
        let saved = self.0.take_saved(out);
        let polled = out
            .get_mut(saved..)
            .map_or(Ok(0), |rest| self.0.poll_provider(rest));
        match polled {
            Ok(count) => Ok(saved + count),
            // Those are handed out first; the error comes again.
            Err(_) if saved > 0 => Ok(saved),
            Err(error) => Err(error),
        }
    }

    fn arm(&self) -> Result<(), FabricError> {
        // SAFETY: the queue lives.
        let result = unsafe { pc_req_notify_cq(self.0.queue.as_ptr(), 0) };
        call::errno_value("ibv_req_notify_cq", result)
    }

    fn acknowledge(&self) -> Result<(), FabricError> {
        self.0.acknowledge()
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is the channel's, which lives as long as `self`.
        unsafe { BorrowedFd::borrow_raw((*self.0.channel.0.as_ptr()).fd) }
    }

    fn capacity(&self) -> u32 {
        // SAFETY: the queue lives.
        let entries = unsafe { pc_cq_cqe(self.0.queue.as_ptr()) };
        u32::try_from(entries).unwrap_or(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A completion queue. Queue pairs hold an `Arc` of it, so it is destroyed after the last of them.
#[derive(Debug)]
pub(super) struct Queue {
    queue: NonNull<ibv_cq>,
    // Completions that were in the queue when a queue pair went, without that pair's own.
    saved: Mutex<VecDeque<Completion>>,
    has_saved: AtomicBool,
    // In this order after `drop` destroyed the queue: channel, then device.
    channel: Channel,
    device: Arc<Device>,
}

#[derive(Debug)]
struct Channel(NonNull<ibv_comp_channel>);

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: made by `pc_create_comp_channel`, destroyed once, after the only queue that used it.
        let result = unsafe { pc_destroy_comp_channel(self.0.as_ptr()) };
        if let Err(error) = call::errno_value("ibv_destroy_comp_channel", result) {
            tracing::warn!(%error, "completion channel leaked");
        }
    }
}

impl Queue {
    fn new(device: &Arc<Device>, capacity: u32, vector: i32) -> Result<Self, FabricError> {
        let capacity = c_int::try_from(capacity)
            .map_err(|_| FabricError::Invalid("completion queue too large"))?;
        // SAFETY: the context is open, by `device`.
        let channel = unsafe { pc_create_comp_channel(device.context().as_ptr()) };
        let channel = Channel(call::pointer("ibv_create_comp_channel", channel)?);
        // SAFETY: the channel was just made; its structure is readable.
        call::set_nonblocking(unsafe { (*channel.0.as_ptr()).fd })?;
        // SAFETY: context and channel live, and outlive the queue by the order of the fields. There is no callback
        // context.
        let queue = unsafe {
            pc_create_cq(
                device.context().as_ptr(),
                capacity,
                ptr::null_mut(),
                channel.0.as_ptr(),
                vector,
            )
        };
        Ok(Self {
            queue: call::pointer("ibv_create_cq", queue)?,
            saved: Mutex::default(),
            has_saved: AtomicBool::new(false),
            channel,
            device: Arc::clone(device),
        })
    }

    /// Where queue pairs are to complete.
    pub(super) fn as_ptr(&self) -> *mut ibv_cq {
        self.queue.as_ptr()
    }

    /// The device it is on.
    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Forgets what is left of queue pair `number`, which was just destroyed. Some providers clean the queue themselves;
    /// on others (rxe) the completions would come out later, when the number may be another pair's.
    pub(super) fn retire(&self, number: u32) {
        let mut saved = self.saved();
        saved.retain(|completion| completion.queue_pair != number);
        let mut batch = [Completion::default(); BATCH];
        // The queue is finite, but other pairs complete meanwhile: stop after about a queueful.
        let mut left = usize::try_from(self.capacity_hint()).unwrap_or(0) + BATCH;
        while let Ok(count) = self.poll_provider(&mut batch) {
            saved.extend(
                batch
                    .iter()
                    .take(count)
                    .filter(|completion| completion.queue_pair != number),
            );
            left = left.saturating_sub(count);
            if count < BATCH || left == 0 {
                break;
            }
        }
        self.has_saved.store(!saved.is_empty(), Ordering::Release);
    }

    fn capacity_hint(&self) -> c_int {
        // SAFETY: the queue lives.
        unsafe { pc_cq_cqe(self.queue.as_ptr()) }
    }

    /// Moves saved completions to `out`; almost always there are none.
    fn take_saved(&self, out: &mut [Completion]) -> usize {
        if !self.has_saved.load(Ordering::Acquire) {
            return 0;
        }
        let mut saved = self.saved();
        let count = out.len().min(saved.len());
        for (slot, completion) in out.iter_mut().zip(saved.drain(..count)) {
            *slot = completion;
        }
        self.has_saved.store(!saved.is_empty(), Ordering::Release);
        count
    }

    fn saved(&self) -> MutexGuard<'_, VecDeque<Completion>> {
        // Nothing panics while it holds the lock in the middle of a change.
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_provider(&self, out: &mut [Completion]) -> Result<usize, FabricError> {
        let mut batch = [const { MaybeUninit::<ibv_wc>::uninit() }; BATCH];
        let mut filled = 0;
        for part in out.chunks_mut(BATCH) {
            // SAFETY: the queue lives, polling is thread-safe, and `batch` has room for `part.len() <= BATCH` entries.
            let count = unsafe {
                pc_poll_cq(
                    self.queue.as_ptr(),
                    part.len() as c_int,
                    batch.as_mut_ptr().cast(),
                )
            };
            let Ok(count) = usize::try_from(count) else {
                // The number has no meaning. What came before the error is handed out; the error comes again.
                return if filled > 0 {
                    Ok(filled)
                } else {
                    Err(FabricError::from_errno("ibv_poll_cq", libc::EIO))
                };
            };
            for (slot, entry) in part.iter_mut().zip(batch.iter().take(count)) {
                // SAFETY: the provider filled the first `count` entries.
                *slot = unsafe { completion(entry.as_ptr()) };
            }
            filled += count.min(part.len());
            if count < part.len() {
                break;
            }
        }
        Ok(filled)
    }

    fn acknowledge(&self) -> Result<(), FabricError> {
        let mut events = 0;
        let result = loop {
            let mut queue = ptr::null_mut();
            let mut context = ptr::null_mut();
            // SAFETY: the channel lives and is non-blocking; both results are writable.
            let result =
                unsafe { pc_get_cq_event(self.channel.0.as_ptr(), &mut queue, &mut context) };
            if result == 0 {
                events += 1;
                continue;
            }
            let error = io::Error::last_os_error();
            break if call::is_empty(&error) {
                Ok(())
            } else {
                Err(FabricError::Call {
                    call: "ibv_get_cq_event",
                    source: error,
                })
            };
        };
        if events > 0 {
            // SAFETY: `events` events were taken, all of this queue: the channel has no other.
            unsafe { pc_ack_cq_events(self.queue.as_ptr(), events) };
        }
        result
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: made by `pc_create_cq`, destroyed once; queue pairs held an `Arc` of `self`. All events that were taken
        // are acknowledged, so it does not block.
        let result = unsafe { pc_destroy_cq(self.queue.as_ptr()) };
        if let Err(error) = call::errno_value("ibv_destroy_cq", result) {
            tracing::warn!(%error, "completion queue leaked");
        }
    }
}

// SAFETY: libibverbs calls on a completion queue and its channel are thread-safe, and bound to no thread.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

/// Reads the fields that the provider filled in, and no others: after an error only these are defined, and the length only
/// of a receive (ibv_poll_cq(3)). Unknown statuses and opcodes stay numbers.
///
/// # Safety
/// `entry` points to an entry that a provider filled in.
unsafe fn completion(entry: *const ibv_wc) -> Completion {
    // SAFETY: these fields are always filled in.
    let (id, status, queue_pair) = unsafe { ((*entry).wr_id, (*entry).status, (*entry).qp_num) };
    let (byte_len, invalidated) = if status == ibv_wc_status::IBV_WC_SUCCESS {
        // SAFETY: the opcode is filled in on success, length and flags where the opcode says that it is a receive, and the
        // key where the flags say that it is one.
        unsafe {
            if (*entry).opcode.0 & ibv_wc_opcode::IBV_WC_RECV.0 != 0 {
                let with_key = (*entry).wc_flags & ibv_wc_flags::IBV_WC_WITH_INV.0 != 0;
                let key = with_key.then(|| (*entry).__bindgen_anon_1.invalidated_rkey);
                ((*entry).byte_len, key)
            } else {
                (0, None)
            }
        }
    } else {
        (0, None)
    };
    Completion {
        id: WorkId(id),
        status: CompletionStatus(status.0),
        byte_len,
        queue_pair,
        invalidated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entry: ibv_wc) -> Completion {
        // SAFETY: all of the entry is initialised.
        unsafe { completion(&raw const entry) }
    }

    #[test]
    fn receives_have_a_length() {
        let entry = ibv_wc {
            wr_id: 7,
            opcode: ibv_wc_opcode::IBV_WC_RECV,
            byte_len: 64,
            qp_num: 17,
            ..ibv_wc::default()
        };
        let expected = Completion {
            id: WorkId(7),
            status: CompletionStatus::SUCCESS,
            byte_len: 64,
            queue_pair: 17,
            invalidated: None,
        };
        assert_eq!(of(entry), expected);
        let imm = ibv_wc {
            opcode: ibv_wc_opcode::IBV_WC_RECV_RDMA_WITH_IMM,
            ..entry
        };
        assert_eq!(of(imm), expected);
    }

    #[test]
    fn receives_tell_which_key_is_gone() {
        let mut entry = ibv_wc {
            opcode: ibv_wc_opcode::IBV_WC_RECV,
            wc_flags: ibv_wc_flags::IBV_WC_WITH_INV.0,
            ..ibv_wc::default()
        };
        entry.__bindgen_anon_1.invalidated_rkey = 0x0102;
        assert_eq!(of(entry).invalidated, Some(0x0102));
        // The same word is immediate data then.
        entry.wc_flags = ibv_wc_flags::IBV_WC_WITH_IMM.0;
        assert_eq!(of(entry).invalidated, None);
    }

    #[test]
    fn what_the_provider_left_alone_is_not_taken() {
        let entry = ibv_wc {
            opcode: ibv_wc_opcode::IBV_WC_RDMA_WRITE,
            byte_len: 0xdead_beef,
            ..ibv_wc::default()
        };
        assert_eq!(of(entry).byte_len, 0);
        let failed = ibv_wc {
            status: ibv_wc_status::IBV_WC_WR_FLUSH_ERR,
            opcode: ibv_wc_opcode::IBV_WC_RECV,
            ..entry
        };
        assert_eq!(of(failed).byte_len, 0);
        assert_eq!(of(failed).status, CompletionStatus::FLUSHED);
    }

    #[test]
    fn unknown_numbers_are_kept() {
        let entry = ibv_wc {
            status: ibv_wc_status(4711),
            ..ibv_wc::default()
        };
        assert_eq!(of(entry).status, CompletionStatus(4711));
        assert_eq!(of(entry).status.to_string(), "work completion status 4711");
    }
}
