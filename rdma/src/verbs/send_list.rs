//! A chain in the words of verbs.

use std::ffi::c_int;

use rdma_sys::{
    ibv_send_flags, ibv_send_wr, ibv_send_wr__bindgen_ty_1, ibv_send_wr__bindgen_ty_2,
    ibv_send_wr__bindgen_ty_2__bindgen_ty_1, ibv_sge, ibv_wr_opcode,
};

use crate::fabric::{Chain, Operation, PostError, Sge};

/// Room for the longest chain that a queue pair takes. Made once, so that posting allocates nothing.
pub(super) struct SendList {
    requests: Box<[ibv_send_wr]>,
    entries: Box<[ibv_sge]>,
    max_sge: u32,
}

impl SendList {
    /// For chains of up to `requests` requests with up to `max_sge` entries each.
    pub(super) fn new(requests: u32, max_sge: u32) -> Self {
        let requests = requests as usize;
        Self {
            requests: vec![ibv_send_wr::default(); requests].into_boxed_slice(),
            entries: vec![ibv_sge::default(); requests * max_sge as usize].into_boxed_slice(),
            max_sge,
        }
    }

    /// Translates `chain` to a linked list, valid until `self` is next touched.
    pub(super) fn fill(&mut self, chain: &Chain) -> Result<*mut ibv_send_wr, PostError> {
        chain.check(self.max_sge)?;
        if chain.len() > self.requests.len() {
            return Err(PostError::Invalid("chain longer than the send queue"));
        }
        // Pointers to both arrays are made once and the arrays not touched but through them: each use of the slices
        // themselves would invalidate them.
        let first = self.requests.as_mut_ptr();
        let mut entry = self.entries.as_mut_ptr();
        for (i, request) in chain.requests().iter().enumerate() {
            let sges = chain.sges(request);
            let (opcode, invalidate, remote) = words(request.operation);
            // SAFETY: `i` is below `chain.len()`, which is at most `self.requests.len()`; the one behind it is only
            // pointed to where there is one. Each request has at most `max_sge` entries (`check`), so `entry` stays
            // within `requests * max_sge`.
            unsafe {
                let list = entry;
                for sge in sges {
                    *entry = translate(sge);
                    entry = entry.add(1);
                }
                let slot = &mut *first.add(i);
                slot.wr_id = request.id.0;
                slot.next = if i + 1 < chain.len() {
                    first.add(i + 1)
                } else {
                    std::ptr::null_mut()
                };
                slot.sg_list = list;
                slot.num_sge = sges.len() as c_int;
                slot.opcode = opcode;
                slot.send_flags = if request.signaled {
                    ibv_send_flags::IBV_SEND_SIGNALED.0
                } else {
                    0
                };
                slot.__bindgen_anon_1 = invalidate;
                slot.wr = remote;
            }
        }
        Ok(first)
    }
}

fn words(
    operation: Operation,
) -> (
    ibv_wr_opcode,
    ibv_send_wr__bindgen_ty_1,
    ibv_send_wr__bindgen_ty_2,
) {
    let key = |invalidate_rkey| ibv_send_wr__bindgen_ty_1 { invalidate_rkey };
    let remote = |remote_addr, rkey| ibv_send_wr__bindgen_ty_2 {
        rdma: ibv_send_wr__bindgen_ty_2__bindgen_ty_1 { remote_addr, rkey },
    };
    match operation {
        Operation::Send => (ibv_wr_opcode::IBV_WR_SEND, key(0), remote(0, 0)),
        Operation::SendWithInvalidate { key: invalid } => (
            ibv_wr_opcode::IBV_WR_SEND_WITH_INV,
            key(invalid),
            remote(0, 0),
        ),
        Operation::RdmaWrite { address, key: rkey } => (
            ibv_wr_opcode::IBV_WR_RDMA_WRITE,
            key(0),
            remote(address, rkey),
        ),
        Operation::RdmaRead { address, key: rkey } => (
            ibv_wr_opcode::IBV_WR_RDMA_READ,
            key(0),
            remote(address, rkey),
        ),
    }
}

/// The same piece of memory in verbs' words.
pub(super) fn translate(sge: &Sge) -> ibv_sge {
    ibv_sge {
        addr: sge.address,
        length: sge.length,
        lkey: sge.key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::WorkId;

    fn sge(address: u64, length: u32) -> Sge {
        Sge {
            address,
            length,
            key: 0x51,
        }
    }

    #[test]
    fn a_chain_becomes_a_linked_list() {
        let mut chain = Chain::with_capacity(4);
        let write = Operation::RdmaWrite {
            address: 0x1_0000_0000,
            key: 0xaa,
        };
        let read = Operation::RdmaRead {
            address: 0x2000,
            key: 0xbb,
        };
        chain.push(WorkId(1), write, false, [sge(0x1000, 512), sge(0x3000, 8)]);
        chain.push(WorkId(2), read, false, [sge(0x5000, 4096)]);
        chain.push(WorkId(3), Operation::Send, false, []);
        chain.push(
            WorkId(4),
            Operation::SendWithInvalidate { key: 0xcc },
            true,
            [sge(0x7000, 36)],
        );

        let mut list = SendList::new(4, 2);
        let mut at = list.fill(&chain).unwrap();
        let mut seen = Vec::new();
        while !at.is_null() {
            // SAFETY: the list was just filled; every entry of it, and of its gather lists, is initialised.
            unsafe {
                let wr = *at;
                let gathered: Vec<_> = (0..wr.num_sge as usize)
                    .map(|i| *wr.sg_list.add(i))
                    .map(|sge| (sge.addr, sge.length, sge.lkey))
                    .collect();
                seen.push((
                    wr.wr_id,
                    wr.opcode,
                    wr.send_flags,
                    wr.__bindgen_anon_1.invalidate_rkey,
                    (wr.wr.rdma.remote_addr, wr.wr.rdma.rkey),
                    gathered,
                ));
                at = wr.next;
            }
        }
        assert_eq!(
            seen,
            [
                (
                    1,
                    ibv_wr_opcode::IBV_WR_RDMA_WRITE,
                    0,
                    0,
                    (0x1_0000_0000, 0xaa),
                    vec![(0x1000, 512, 0x51), (0x3000, 8, 0x51)]
                ),
                (
                    2,
                    ibv_wr_opcode::IBV_WR_RDMA_READ,
                    0,
                    0,
                    (0x2000, 0xbb),
                    vec![(0x5000, 4096, 0x51)]
                ),
                (3, ibv_wr_opcode::IBV_WR_SEND, 0, 0, (0, 0), vec![]),
                (
                    4,
                    ibv_wr_opcode::IBV_WR_SEND_WITH_INV,
                    2,
                    0xcc,
                    (0, 0),
                    vec![(0x7000, 36, 0x51)]
                ),
            ]
        );
    }

    #[test]
    fn a_shorter_chain_leaves_nothing_of_the_longer_one_before() {
        let mut chain = Chain::with_capacity(2);
        let read = Operation::RdmaRead { address: 8, key: 9 };
        chain.push(WorkId(1), read, true, [sge(1, 1), sge(2, 2)]);
        chain.push(WorkId(2), read, true, [sge(3, 3)]);
        let mut list = SendList::new(2, 2);
        list.fill(&chain).unwrap();

        chain.clear();
        chain.push(WorkId(3), Operation::Send, false, [sge(4, 4)]);
        let first = list.fill(&chain).unwrap();
        // SAFETY: the list was just filled.
        let wr = unsafe { *first };
        assert!(wr.next.is_null());
        assert_eq!((wr.wr_id, wr.num_sge, wr.send_flags), (3, 1, 0));
        // SAFETY: all members of the union are plain integers.
        assert_eq!(unsafe { wr.wr.rdma.rkey }, 0);
    }

    #[test]
    fn limits_hold() {
        let mut list = SendList::new(2, 1);
        let mut chain = Chain::with_capacity(3);
        assert_eq!(list.fill(&chain), Err(PostError::Invalid("empty chain")));
        chain.push(WorkId(1), Operation::Send, false, [sge(1, 1), sge(2, 2)]);
        assert_eq!(
            list.fill(&chain),
            Err(PostError::Invalid("too many gather entries"))
        );
        chain.clear();
        for id in 0..3 {
            chain.push(WorkId(id), Operation::Send, false, [sge(1, 1)]);
        }
        assert_eq!(
            list.fill(&chain),
            Err(PostError::Invalid("chain longer than the send queue"))
        );
    }
}
