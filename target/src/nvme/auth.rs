//! DH-HMAC-CHAP in-band authentication (NVMe base 2.0 section 8.13.5), the controller's side.
//!
//! One [`Exchange`] is one authentication transaction on one queue, without I/O: messages in, messages out, random bytes passed in.
//! AUTH_Negotiate comes in, a challenge goes out; a reply comes in, and out goes what it was worth, with our own response if the
//! host had a challenge for us; then it says whether it believes us.
//!
//! No secure channel comes of it: RDMA has none.

mod exchange;
mod groups;
mod hash;
mod key;
mod messages;
mod primes;

#[cfg(test)]
mod tests;

pub use exchange::{Credentials, Exchange, Progress};
pub use groups::DhGroup;
pub use hash::Hash;
pub use key::{Key, KeyError};
