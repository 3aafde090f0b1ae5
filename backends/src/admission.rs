//! What can be refused before a store is asked.

use crate::{Backend, BackendError, Operation};

/// Refuses what the store must not be asked for: a range that wraps or lies past its end, a change of a read-only store,
/// a read into memory that must not be written.
///
/// A write past the end of a file would not fail but extend it. After a shrink that would bring the lost range back as
/// zeros, silently, so everything that changes the store is checked against the size of this moment. Reads need no
/// check, since they stop at the end by themselves.
pub(crate) fn admit(backend: &dyn Backend, operation: &Operation) -> Result<(), BackendError> {
    let end = end_of(operation)?;
    let properties = backend.properties();
    match operation {
        // What is not there is not read: both stop at the end by themselves.
        Operation::Flush | Operation::Splice { .. } | Operation::Prefetch { .. } => return Ok(()),
        Operation::Extents { .. } if end > backend.current_size()? => {
            return Err(BackendError::PastEnd);
        }
        Operation::Extents { .. } => return Ok(()),
        Operation::Read { buffers, .. } => {
            if buffers.iter().all(|buffer| buffer.writable()) {
                return Ok(());
            }
            return Err(BackendError::Failed(libc::EFAULT));
        }
        Operation::Write { .. } | Operation::Discard { .. } | Operation::WriteZeroes { .. } => {}
    }
    if properties.read_only {
        return Err(BackendError::ReadOnly);
    }
    if matches!(operation, Operation::Discard { .. }) && !properties.can_discard {
        return Err(BackendError::Unsupported);
    }
    if end > backend.current_size()? {
        return Err(BackendError::PastEnd);
    }
    Ok(())
}

/// The offset behind the last byte that `operation` touches (0 for a flush).
pub(crate) fn end_of(operation: &Operation) -> Result<u64, BackendError> {
    let (offset, length) = match operation {
        Operation::Read { offset, buffers }
        | Operation::Write {
            offset, buffers, ..
        } => {
            let mut lengths = buffers.iter().map(|buffer| buffer.len() as u64);
            (*offset, lengths.try_fold(0, u64::checked_add))
        }
        Operation::Flush => (0, Some(0)),
        Operation::Discard { offset, length }
        | Operation::WriteZeroes { offset, length, .. }
        | Operation::Splice { offset, length, .. }
        | Operation::Prefetch { offset, length }
        | Operation::Extents { offset, length, .. } => (*offset, Some(*length)),
    };
    length
        .and_then(|length| offset.checked_add(length))
        .filter(|end| i64::try_from(*end).is_ok())
        .ok_or(BackendError::PastEnd)
}
