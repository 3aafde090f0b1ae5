//! Reliable connected queue pairs, made and brought up by librdmacm.

use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdma_sys::{
    ibv_qp, ibv_qp_attr, ibv_qp_attr_mask, ibv_qp_cap, ibv_qp_init_attr, ibv_qp_state, ibv_qp_type,
    ibv_recv_wr, pc_modify_qp, pc_post_recv, pc_post_send, pc_qp_num,
};

use super::call;
use super::cm_id::CmId;
use super::completion_queue::Queue;
use super::device::Device;
use super::send_list::{self, SendList};
use crate::fabric::{
    Capabilities, Chain, FabricError, PostError, QueuePair, QueuePairConfig, Sge, WorkId,
};

/// A queue pair of one connection.
pub(super) struct VerbsQueuePair {
    pair: NonNull<ibv_qp>,
    number: u32,
    sends: SendList,
    // A chain went out in part.
    torn: bool,
    // All of these are let go of after `drop` destroyed the pair, the id first: with the manager's own gone, that destroys it.
    id: Arc<CmId>,
    completions: Arc<Queue>,
    _device: Arc<Device>,
}

impl VerbsQueuePair {
    /// Makes the queue pair of `id`, which is bound to `device`.
    pub(super) fn new(
        id: &Arc<CmId>,
        device: &Arc<Device>,
        capabilities: &Capabilities,
        config: QueuePairConfig,
        completions: &Arc<Queue>,
    ) -> Result<Self, FabricError> {
        if !Arc::ptr_eq(completions.device(), device) {
            return Err(FabricError::Invalid(
                "completion queue of another adapter than the connection's",
            ));
        }
        if config.send_requests.max(config.receive_requests) > capabilities.max_work_requests {
            return Err(FabricError::Invalid(
                "queue pair deeper than the adapter allows",
            ));
        }
        if config.send_sge > capabilities.max_sge {
            return Err(FabricError::Invalid(
                "more gather entries than the adapter allows",
            ));
        }
        let mut attr = ibv_qp_init_attr {
            send_cq: completions.as_ptr(),
            recv_cq: completions.as_ptr(),
            cap: ibv_qp_cap {
                max_send_wr: config.send_requests,
                max_recv_wr: config.receive_requests,
                max_send_sge: config.send_sge,
                max_recv_sge: 1,
                max_inline_data: 0,
            },
            qp_type: ibv_qp_type::IBV_QPT_RC,
            sq_sig_all: 0,
            ..ibv_qp_init_attr::default()
        };
        // SAFETY: domain and completion queue live, and `self` keeps both until after `drop` destroyed the pair.
        let pair = unsafe { id.create_queue_pair(device.domain(), &mut attr)? };
        Ok(Self {
            pair,
            // SAFETY: the pair was just made.
            number: unsafe { pc_qp_num(pair.as_ptr()) },
            sends: SendList::new(config.send_requests, config.send_sge),
            torn: false,
            id: Arc::clone(id),
            completions: Arc::clone(completions),
            _device: Arc::clone(device),
        })
    }

    /// Verbs has posted the first requests of a chain and refused the rest. They cannot be taken back, so the pair must
    /// not go on: it fails now, and what was posted completes flushed.
    fn tear(&mut self) {
        self.torn = true;
        if let Err(error) = self.fail() {
            tracing::warn!(queue_pair = self.number, %error, "a queue pair in mid-chain cannot be failed");
        }
    }
}

impl QueuePair for VerbsQueuePair {
    fn number(&self) -> u32 {
        self.number
    }

    fn post_send(&mut self, chain: &Chain) -> Result<(), PostError> {
        if self.torn {
            return Err(PostError::Failed(libc::EPIPE));
        }
        let first = self.sends.fill(chain)?;
        let mut refused = ptr::null_mut();
        // SAFETY: the pair lives; `first` starts a linked list in `self.sends`, whole and unchanged since, and the
        // provider copies it before it returns. The memory that it names is registered, or else the adapter refuses it.
        let result = unsafe { pc_post_send(self.pair.as_ptr(), first, &mut refused) };
        if result == 0 {
            return Ok(());
        }
        let errno = call::errno_of(result);
        if refused != first {
            self.tear();
            return Err(PostError::Failed(errno));
        }
        Err(refusal(errno))
    }

    fn post_receive(&mut self, id: WorkId, into: Sge) -> Result<(), PostError> {
        if self.torn {
            return Err(PostError::Failed(libc::EPIPE));
        }
        let mut entry = send_list::translate(&into);
        let mut request = ibv_recv_wr {
            wr_id: id.0,
            next: ptr::null_mut(),
            sg_list: &raw mut entry,
            num_sge: 1,
        };
        let mut refused = ptr::null_mut();
        // SAFETY: the pair lives; the request and its entry are whole, and the provider copies them before it returns.
        let result = unsafe { pc_post_recv(self.pair.as_ptr(), &mut request, &mut refused) };
        match result {
            0 => Ok(()),
            _ => Err(refusal(call::errno_of(result))),
        }
    }

    fn fail(&mut self) -> Result<(), FabricError> {
        let mut attr = ibv_qp_attr {
            qp_state: ibv_qp_state::IBV_QPS_ERR,
            ..ibv_qp_attr::default()
        };
        // The control thread may be taking the pair through its states just now.
        let _gate = self.id.gate();
        // SAFETY: the pair lives; the state is the one attribute that the mask names.
        let result = unsafe {
            pc_modify_qp(
                self.pair.as_ptr(),
                &mut attr,
                ibv_qp_attr_mask::IBV_QP_STATE.0 as i32,
            )
        };
        call::errno_value("ibv_modify_qp", result)
    }
}

/// Why nothing was posted.
fn refusal(errno: i32) -> PostError {
    match errno {
        libc::ENOMEM => PostError::Full,
        _ => PostError::Failed(errno),
    }
}

impl Drop for VerbsQueuePair {
    fn drop(&mut self) {
        // SAFETY: the pair was ours alone, and nothing of `self` uses it after this. It does not block: its asynchronous
        // events are acknowledged as soon as they are taken.
        unsafe { self.id.destroy_queue_pair() };
        self.completions.retire(self.number);
    }
}

impl fmt::Debug for VerbsQueuePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerbsQueuePair")
            .field("number", &self.number)
            .field("torn", &self.torn)
            .finish_non_exhaustive()
    }
}

// SAFETY: a queue pair is bound to no thread. The pointers in `sends` are into its own boxes, and only written and used
// within one `post_send`.
unsafe impl Send for VerbsQueuePair {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_told_from_a_broken_one() {
        assert_eq!(refusal(libc::ENOMEM), PostError::Full);
        assert_eq!(refusal(libc::EINVAL), PostError::Failed(libc::EINVAL));
    }
}
