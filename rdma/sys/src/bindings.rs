//! Generated from `shim/shim.h` and the rdma-core headers: see `regenerate/`.

#[allow(
    missing_docs,
    non_camel_case_types,
    clippy::all,
    // `Default` by zeroing, for plain C structures in which all zeros is a value.
    clippy::undocumented_unsafe_blocks,
    reason = "written by bindgen under the names of the C headers"
)]
mod types;

#[allow(
    non_camel_case_types,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "written by bindgen under the names of the C headers"
)]
mod functions;

pub use functions::*;
pub use types::*;
