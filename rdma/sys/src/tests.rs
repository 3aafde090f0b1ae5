//! Tests without an RDMA device: the real libraries as far as they go alone, and a fake provider
//! under the shim.

mod fake;
mod linked;
