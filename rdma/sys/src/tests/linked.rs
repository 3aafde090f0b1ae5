//! What the real libraries do without an RDMA device: they are linked, and unknown values are
//! harmless.

use std::ffi::CStr;
use std::ptr;

use crate::*;

#[test]
fn device_list_is_terminated_and_counted() {
    let mut count = -1;
    // SAFETY: `count` is writable. The list is NULL, or an array of `count` devices and a NULL,
    // freed once.
    unsafe {
        let list = pc_get_device_list(&mut count);
        // Without the RDMA modules libibverbs answers NULL and ENOSYS, or an empty list.
        if list.is_null() {
            return;
        }
        for i in 0..usize::try_from(count).expect("a count") {
            let name = pc_get_device_name(*list.add(i));
            assert!(!CStr::from_ptr(name).is_empty());
        }
        assert!((*list.add(usize::try_from(count).expect("a count"))).is_null());
        pc_free_device_list(list);
    }
}

#[test]
fn unknown_enum_values_have_a_text() {
    // SAFETY: the three take any integer and return static text.
    unsafe {
        for text in [
            pc_wc_status_str(ibv_wc_status(4711)),
            pc_event_type_str(ibv_event_type(4711)),
            pc_event_str(rdma_cm_event_type(4711)),
        ] {
            assert!(!CStr::from_ptr(text).is_empty());
        }
    }
}

#[test]
fn known_enum_values_reach_both_libraries() {
    // SAFETY: as above.
    let (event, cm_event) = unsafe {
        (
            CStr::from_ptr(pc_event_type_str(ibv_event_type::IBV_EVENT_COMM_EST)),
            CStr::from_ptr(pc_event_str(
                rdma_cm_event_type::RDMA_CM_EVENT_CONNECT_REQUEST,
            )),
        )
    };
    assert_eq!(event, c"communication established");
    assert_eq!(cm_event, c"RDMA_CM_EVENT_CONNECT_REQUEST");
}

#[test]
fn cm_calls_report_by_minus_one_and_errno() {
    // SAFETY: librdmacm answers EINVAL for a NULL event before it looks at anything else.
    let result = unsafe { pc_ack_cm_event(ptr::null_mut()) };
    assert_eq!(result, -1);
    assert_eq!(
        std::io::Error::last_os_error().raw_os_error(),
        Some(libc::EINVAL)
    );
}

#[test]
fn bit_sets_combine() {
    let access = ibv_access_flags::IBV_ACCESS_LOCAL_WRITE | ibv_access_flags::IBV_ACCESS_ON_DEMAND;
    assert_eq!(access.0, 0x41);
}

#[test]
fn ib_service_address_fits_a_socket_address() {
    let address = sockaddr_ib {
        sib_family: AF_IB,
        ..sockaddr_ib::default()
    };
    assert!(size_of_val(&address) <= size_of::<libc::sockaddr_storage>());
    // The port space is in the upper bits of the service id, as librdmacm's RDMA_PS_IB expects.
    assert_eq!(
        RDMA_IB_PS_IB & RDMA_IB_IP_PS_MASK,
        u64::from(rdma_port_space::RDMA_PS_IB.0) << 16
    );
}
