//! Objects that the libraries own and Rust only points to.
//!
//! No layout is promised, so a library may change it freely. The shim reads the few fields that are
//! needed.

use std::marker::{PhantomData, PhantomPinned};

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[allow(non_camel_case_types, reason = "the name in the C headers")]
        #[repr(C)]
        #[derive(Debug)]
        pub struct $name {
            _data: [u8; 0],
            // Neither Send, Sync nor Unpin: that is for whoever wraps the pointer to decide.
            _marker: PhantomData<(*mut u8, PhantomPinned)>,
        }
    )*};
}

opaque! {
    /// An RDMA device of the system, opened or not.
    ibv_device;
    /// A device opened for use.
    ibv_context;
    /// A protection domain.
    ibv_pd;
    /// A completion queue.
    ibv_cq;
    /// A queue pair.
    ibv_qp;
    /// A shared receive queue.
    ibv_srq;
    /// A bare work queue; only named in an event.
    ibv_wq;
    /// An address handle; only named in datagram work requests.
    ibv_ah;
    /// A memory window; only named in bind work requests.
    ibv_mw;
    /// A connection manager id: what a socket is to TCP.
    rdma_cm_id;
}
