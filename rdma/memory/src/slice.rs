//! A counted part of some [`Memory`].

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::Memory;

/// A part of a [`Memory`] that keeps the whole alive.
///
/// Copies through a slice are raw copies: if the other side of a race is an adapter or a kernel, the bytes may be old or
/// new, and nothing else can happen.
#[derive(Clone, Debug)]
pub struct Slice {
    memory: Arc<dyn Memory>,
    offset: usize,
    len: usize,
}

/// A range that does not lie inside the slice, or a write to memory that is not writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds;

impl std::fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("range outside the memory, or memory not writable")
    }
}

impl std::error::Error for OutOfBounds {}

impl Slice {
    /// The whole of `memory`.
    pub fn whole(memory: Arc<dyn Memory>) -> Self {
        let len = memory.len();
        Self {
            memory,
            offset: 0,
            len,
        }
    }

    /// The part `range` of `memory`.
    pub fn new(memory: Arc<dyn Memory>, range: Range<usize>) -> Result<Self, OutOfBounds> {
        Self::whole(memory).part(range)
    }

    /// The part `range` of this slice, counted from its own start.
    pub fn part(&self, range: Range<usize>) -> Result<Self, OutOfBounds> {
        if range.start > range.end || range.end > self.len {
            return Err(OutOfBounds);
        }
        Ok(Self {
            memory: Arc::clone(&self.memory),
            offset: self.offset + range.start,
            len: range.end - range.start,
        })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory that this is a part of.
    pub fn memory(&self) -> &Arc<dyn Memory> {
        &self.memory
    }

    /// Where in its memory the slice starts.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Address of the first byte, for system calls and work requests.
    pub fn as_ptr(&self) -> NonNull<u8> {
        // SAFETY: `offset <= memory.len()` since construction, so the result is within, or one past, one mapping.
        unsafe { self.memory.base().add(self.offset) }
    }

    /// Whether the bytes may be written.
    pub fn writable(&self) -> bool {
        self.memory.writable()
    }

    /// Copies out `into.len()` bytes from `at`.
    pub fn read(&self, at: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        let from = self.checked(at, into.len())?;
        // SAFETY: `checked` proved that the source lies in memory that `self.memory` keeps mapped and readable; the
        // destination is an exclusive borrow, which cannot overlap memory that no Rust reference points into.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Copies `from` in at `at`.
    pub fn write(&self, at: usize, from: &[u8]) -> Result<(), OutOfBounds> {
        if !self.writable() {
            return Err(OutOfBounds);
        }
        let to = self.checked(at, from.len())?;
        // SAFETY: as in `read`, with the roles exchanged; the memory is writable.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), from.len()) };
        Ok(())
    }

    /// Copies the whole slice out into a new vector.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes)
            .expect("a slice holds its own length");
        bytes
    }

    /// Sets every byte to `value`.
    pub fn fill(&self, value: u8) -> Result<(), OutOfBounds> {
        if !self.writable() {
            return Err(OutOfBounds);
        }
        // SAFETY: the slice lies in memory that `self.memory` keeps mapped, and it is writable.
        unsafe { std::ptr::write_bytes(self.as_ptr().as_ptr(), value, self.len) };
        Ok(())
    }

    fn checked(&self, at: usize, len: usize) -> Result<NonNull<u8>, OutOfBounds> {
        match at.checked_add(len) {
            // SAFETY: `at + len <= self.len`, and the slice lies inside one mapping.
            Some(end) if end <= self.len => Ok(unsafe { self.as_ptr().add(at) }),
            _ => Err(OutOfBounds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Anonymous;

    #[test]
    fn copies_stay_inside() {
        let slice = Slice::whole(Arc::new(Anonymous::new(4096).unwrap()));
        let part = slice.part(100..200).unwrap();
        part.write(90, b"0123456789").unwrap();
        assert_eq!(part.write(91, b"0123456789"), Err(OutOfBounds));
        let mut out = [0; 10];
        slice.read(190, &mut out).unwrap();
        assert_eq!(&out, b"0123456789");
        assert_eq!(part.read(usize::MAX, &mut out), Err(OutOfBounds));
        assert!(slice.part(0..4097).is_err());
    }
}
