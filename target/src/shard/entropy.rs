//! Random bytes, for challenges and the like.

use std::hash::{BuildHasher, RandomState};

/// Fills with bytes that nobody can foresee.
pub(crate) fn entropy(into: &mut [u8]) {
    use rustix::rand::{GetRandomFlags, getrandom};
    let mut filled = 0;
    while filled < into.len() {
        match getrandom(&mut into[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // A kernel without the call: the standard library has another source.
            Err(_) => {
                for chunk in into[filled..].chunks_mut(8) {
                    let word = RandomState::new().hash_one(filled).to_ne_bytes();
                    chunk.copy_from_slice(&word[..chunk.len()]);
                }
                return;
            }
        }
    }
}
