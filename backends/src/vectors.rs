//! The buffers of an operation in the form that system calls take, and how far a transfer has come.

use pagecast_memory::Slice;

/// As many as one vectored system call takes (`UIO_MAXIOV`).
const VECTORS_MAX: usize = 1024;

/// Buffers still to be filled or written. Reused from operation to operation, so that it stops allocating.
#[derive(Debug, Default)]
pub(crate) struct Vectors {
    vectors: Vec<libc::iovec>,
    first: usize,
    transferred: u64,
    total: u64,
}

// SAFETY: the pointers are addresses for the kernel and are never followed here. What keeps them valid is the
// `Operation` that whoever uses the vectors holds beside them; its `Memory` is `Send + Sync` and never moves.
unsafe impl Send for Vectors {}

impl Vectors {
    /// Starts over with `buffers`.
    pub(crate) fn set(&mut self, buffers: &[Slice]) {
        self.first = 0;
        self.transferred = 0;
        self.vectors.clear();
        let filled = buffers.iter().filter(|buffer| !buffer.is_empty());
        self.vectors.extend(filled.map(|buffer| libc::iovec {
            iov_base: buffer.as_ptr().as_ptr().cast(),
            iov_len: buffer.len(),
        }));
        self.total = buffers.iter().map(|buffer| buffer.len() as u64).sum();
    }

    /// What the next system call gets: never more than it accepts, empty when all is done.
    pub(crate) fn next(&self) -> &[libc::iovec] {
        let rest = self.vectors.get(self.first..).unwrap_or_default();
        &rest[..rest.len().min(VECTORS_MAX)]
    }

    /// Bytes transferred so far.
    pub(crate) fn transferred(&self) -> u64 {
        self.transferred
    }

    /// Whether everything was transferred.
    pub(crate) fn is_done(&self) -> bool {
        self.transferred >= self.total
    }

    /// Counts `bytes` more as transferred.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        self.transferred += bytes as u64;
        while let Some(vector) = self.vectors.get_mut(self.first) {
            if bytes < vector.iov_len {
                vector.iov_base = vector.iov_base.wrapping_byte_add(bytes);
                vector.iov_len -= bytes;
                return;
            }
            bytes -= vector.iov_len;
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pagecast_memory::Anonymous;

    use super::*;

    #[test]
    fn advances_across_and_inside_buffers() {
        let memory = Slice::whole(Arc::new(Anonymous::new(4096).unwrap()));
        let base = memory.as_ptr().as_ptr() as usize;
        let mut vectors = Vectors::default();
        let part = |range| memory.part(range).unwrap();
        vectors.set(&[part(0..10), part(20..20), part(100..130), part(7..8)]);
        let shape = |vectors: &Vectors| -> Vec<(usize, usize)> {
            vectors
                .next()
                .iter()
                .map(|v| (v.iov_base as usize - base, v.iov_len))
                .collect()
        };
        assert_eq!(shape(&vectors), [(0, 10), (100, 30), (7, 1)]);
        vectors.advance(4);
        assert_eq!(shape(&vectors), [(4, 6), (100, 30), (7, 1)]);
        vectors.advance(6 + 29);
        assert_eq!(shape(&vectors), [(129, 1), (7, 1)]);
        assert!(!vectors.is_done());
        vectors.advance(2);
        assert_eq!(shape(&vectors), []);
        assert!(vectors.is_done());
        assert_eq!(vectors.transferred(), 41);
        vectors.set(&[part(5..6)]);
        assert_eq!(shape(&vectors), [(5, 1)]);
        assert_eq!(vectors.transferred(), 0);
    }

    #[test]
    fn one_call_gets_no_more_than_the_kernel_takes() {
        let memory = Slice::whole(Arc::new(Anonymous::new(4096).unwrap()));
        let mut vectors = Vectors::default();
        vectors.set(&vec![memory.part(0..1).unwrap(); 1500]);
        assert_eq!(vectors.next().len(), 1024);
        vectors.advance(1024);
        assert_eq!(vectors.next().len(), 476);
    }
}
