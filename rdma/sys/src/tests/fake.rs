//! The shim over the provider in `shim/fake.c`: the calls that rdma-core's headers make inline.

use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::*;

#[link(name = "pagecast_rdma_fake", kind = "static")]
unsafe extern "C" {
    fn pc_fake_context() -> *mut ibv_context;
    fn pc_fake_pd() -> *mut ibv_pd;
    fn pc_fake_cq() -> *mut ibv_cq;
    fn pc_fake_qp() -> *mut ibv_qp;
}

/// The fake remembers one request, for one test at a time.
fn exclusive() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn extended_query_reports_on_demand_paging() {
    let mut attr = pc_device_attr::default();
    // SAFETY: the fake context is static and has the one entry that the call uses; `attr` is
    // writable.
    let result = unsafe { pc_query_device(pc_fake_context(), &mut attr) };

    assert_eq!(result, 0);
    let implicit =
        ibv_odp_general_caps::IBV_ODP_SUPPORT | ibv_odp_general_caps::IBV_ODP_SUPPORT_IMPLICIT;
    assert_eq!(attr.odp_general_caps, u64::from(implicit.0));
    assert_eq!(
        attr.odp_rc_caps,
        ibv_odp_transport_cap_bits::IBV_ODP_SUPPORT_WRITE.0
    );
    // Flags beyond 32 bits come from the extended word, the others from both.
    let extensions = ibv_device_cap_flags::IBV_DEVICE_MEM_MGT_EXTENSIONS.0;
    assert_eq!(attr.device_cap_flags, 1 << 36 | u64::from(extensions));
    assert_eq!(attr.node_guid, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(
        (attr.max_sge, attr.max_qp_rd_atom, attr.phys_port_cnt),
        (30, 16, 2)
    );
    assert_eq!(attr.fw_ver[63], 0, "the version must be terminated");
    assert_ne!(attr.fw_ver[62], 0);
}

#[test]
fn port_query_takes_the_extended_path_and_returns_errno_values() {
    let mut attr = pc_port_attr::default();
    // SAFETY: the fake context is static and has the one entry that the call uses; `attr` is
    // writable.
    let (good, bad) = unsafe {
        let good = pc_query_port(pc_fake_context(), 1, &mut attr);
        (
            good,
            pc_query_port(pc_fake_context(), 9, &mut pc_port_attr::default()),
        )
    };

    assert_eq!((good, bad), (0, libc::EINVAL));
    assert_eq!(attr.state, ibv_port_state::IBV_PORT_ACTIVE);
    assert_eq!(attr.active_mtu, ibv_mtu::IBV_MTU_4096);
    assert_eq!((attr.gid_tbl_len, attr.lid), (256, 0x1234));
    assert_eq!(attr.link_layer, IBV_LINK_LAYER_INFINIBAND);
}

#[test]
fn fields_of_opaque_objects_are_read_by_the_shim() {
    // SAFETY: the fake objects are static.
    unsafe {
        assert_eq!(pc_context_cmd_fd(pc_fake_context()), 40);
        assert_eq!(pc_context_async_fd(pc_fake_context()), 41);
        assert_eq!(pc_context_num_comp_vectors(pc_fake_context()), 8);
        assert_eq!(pc_cq_cqe(pc_fake_cq()), 127);
        assert_eq!(pc_qp_num(pc_fake_qp()), 0xab_cdef);
    }
}

#[test]
fn advice_reaches_the_provider() {
    let mut range = ibv_sge {
        addr: 0,
        length: 4096,
        lkey: 1,
    };
    // SAFETY: the fake domain is static; one range is announced and one is passed.
    let result = unsafe {
        pc_advise_mr(
            pc_fake_pd(),
            ib_uverbs_advise_mr_advice::IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE,
            ib_uverbs_advise_mr_flag::IB_UVERBS_ADVISE_MR_FLAG_FLUSH.0,
            &mut range,
            1,
        )
    };
    assert_eq!(result, 0);
}

#[test]
fn rdma_write_and_completion_have_the_c_layout() {
    let _guard = exclusive();
    let mut sges = [
        ibv_sge {
            addr: 0x1000,
            length: 4096,
            lkey: 7,
        },
        ibv_sge {
            addr: 0x9000,
            length: 512,
            lkey: 7,
        },
    ];
    let mut wr = ibv_send_wr {
        wr_id: u64::MAX - 1,
        sg_list: sges.as_mut_ptr(),
        num_sge: 2,
        opcode: ibv_wr_opcode::IBV_WR_RDMA_WRITE,
        send_flags: (ibv_send_flags::IBV_SEND_SIGNALED | ibv_send_flags::IBV_SEND_FENCE).0,
        ..ibv_send_wr::default()
    };
    wr.wr.rdma.rkey = 0xdead_beef;

    let wc = post_and_poll(&mut wr).expect("the fake takes RDMA WRITE");
    assert_eq!(wc.wr_id, u64::MAX - 1);
    assert_eq!(wc.status, ibv_wc_status::IBV_WC_SUCCESS);
    assert_eq!(wc.opcode, ibv_wc_opcode::IBV_WC_RDMA_WRITE);
    assert_eq!(
        (wc.byte_len, wc.qp_num, wc.src_qp),
        (4608, 0xab_cdef, 0xdead_beef)
    );
}

#[test]
fn send_with_invalidate_carries_the_key_both_ways() {
    let _guard = exclusive();
    let mut wr = ibv_send_wr {
        opcode: ibv_wr_opcode::IBV_WR_SEND_WITH_INV,
        __bindgen_anon_1: ibv_send_wr__bindgen_ty_1 {
            invalidate_rkey: 0x0102_0304,
        },
        ..ibv_send_wr::default()
    };

    let wc = post_and_poll(&mut wr).expect("the fake takes SEND with invalidate");
    assert_eq!(wc.wc_flags, ibv_wc_flags::IBV_WC_WITH_INV.0);
    // SAFETY: IBV_WC_WITH_INV says that this is the member that was written.
    assert_eq!(unsafe { wc.__bindgen_anon_1.invalidated_rkey }, 0x0102_0304);
}

#[test]
fn refused_request_is_pointed_out() {
    let _guard = exclusive();
    let mut refused = ibv_send_wr {
        opcode: ibv_wr_opcode::IBV_WR_RDMA_READ,
        ..ibv_send_wr::default()
    };
    let mut first = ibv_send_wr {
        opcode: ibv_wr_opcode::IBV_WR_SEND_WITH_INV,
        next: &mut refused,
        ..ibv_send_wr::default()
    };
    let error = post_and_poll(&mut first).map(|wc| wc.wr_id);
    assert_eq!(error, Err((libc::ENOMEM, first.next)));
}

/// Posts the list that starts at `wr` and takes the completion of its last request.
fn post_and_poll(wr: &mut ibv_send_wr) -> Result<ibv_wc, (i32, *mut ibv_send_wr)> {
    let mut bad = ptr::null_mut();
    let mut wc = ibv_wc::default();
    // SAFETY: the fake objects are static; the list, its ranges and both results live through the
    // calls.
    unsafe {
        let result = pc_post_send(pc_fake_qp(), wr, &mut bad);
        if result != 0 {
            return Err((result, bad));
        }
        assert_eq!(pc_poll_cq(pc_fake_cq(), 1, &mut wc), 1);
    }
    Ok(wc)
}
