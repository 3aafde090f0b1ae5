//! Bindings to libibverbs and librdmacm.
//!
//! Every call goes through a C shim (`shim/`, prefix `pc_`) compiled against the installed
//! rdma-core headers, because rdma-core moves behaviour with macros and inline functions while the
//! old symbols keep their old meaning. Types and constants are committed, so a build needs no
//! libclang; [`layout::verify`] compares them with the installed headers.
//!
//! # What is here
//! - Functions `pc_*`, each with its meaning and error convention. What a call does in full is in
//!   the manual page of the C function that it is named for: `pc_reg_mr` is `ibv_reg_mr`,
//!   `pc_listen` is `rdma_listen`. Where the two libraries share a name, or nearly, librdmacm's is
//!   `pc_rdma_*`.
//! - Structures and enums under their C names. Enums are newtypes over the C integer: a value from
//!   a newer library is an ordinary value, never undefined behaviour. Sets of bits have `|` and
//!   `&`; `.0` is the integer that calls take.
//! - [`ibv_context`], [`ibv_qp`], [`rdma_cm_id`] and the other [`opaque`] types are only pointed
//!   to; the shim has functions for their fields (`pc_qp_num`, `pc_id_verbs`, ...).
//! - [`pc_device_attr`] and [`pc_port_attr`] are the shim's own, because rdma-core's grow.
//!
//! # Errors
//! Three conventions, named in each function's documentation:
//!
//! | name        | success         | failure                                         | families                           |
//! |-------------|-----------------|-------------------------------------------------|------------------------------------|
//! | NULL+errno  | a pointer       | NULL, and `errno` set                           | create, open, alloc, reg, list     |
//! | -1+errno    | 0               | -1, and `errno` set                             | librdmacm, get event, close device |
//! | errno value | 0               | a positive errno value; `errno` means nothing   | the rest of libibverbs             |
//!
//! Exceptions: `pc_poll_cq` returns a count, or any negative value; `pc_query_gid` and
//! `pc_query_pkey` return -1 and may leave `errno` alone. Providers are third-party code and may
//! break the third convention with -1 and `errno`; a careful caller treats any non-zero value as
//! failure, and takes `errno` when the value is negative.
//!
//! # Safety
//! All of it is unsafe in the usual way of C: pointers must be valid and of objects that live,
//! arrays as long as said. libibverbs calls are thread-safe per object. An event that was taken and
//! not acknowledged blocks the destruction of its object for ever.
#![allow(unsafe_code)]

mod bindings;
pub mod layout;
pub mod opaque;

pub use bindings::*;
pub use opaque::*;

#[cfg(test)]
mod tests;
