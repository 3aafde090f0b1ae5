//! What an `errno` from a store means to a device.

use rustix::io::Errno;

use crate::{BackendError, Operation};

/// The kernel names a failure by what its own layers think of it; a device distinguishes bad medium, no room, no right,
/// and everything else.
pub(crate) fn from_errno(operation: &Operation, errno: Errno) -> BackendError {
    let writes = !matches!(
        operation,
        Operation::Read { .. } | Operation::Splice { .. } | Operation::Extents { .. }
    );
    match errno {
        Errno::NOSPC | Errno::DQUOT => BackendError::NoSpace,
        // The block layer's EILSEQ is a protection information error, its ENODATA an unreadable sector; file systems
        // report checksum mismatches as EBADMSG and damaged structures as EUCLEAN.
        Errno::IO
        | Errno::BADMSG
        | Errno::UCLEAN
        | Errno::ILSEQ
        | Errno::NODATA
        | Errno::HWPOISON => BackendError::Medium(errno.raw_os_error()),
        Errno::FBIG => BackendError::PastEnd,
        Errno::ROFS | Errno::PERM | Errno::ACCESS | Errno::BADF if writes => BackendError::ReadOnly,
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY => BackendError::Unsupported,
        // Out of a splice it is a pipe that was too small.
        Errno::AGAIN if !matches!(operation, Operation::Splice { .. }) => BackendError::Busy,
        // Out of a flush it may be writes that are lost.
        Errno::NOMEM if !matches!(operation, Operation::Flush) => BackendError::Busy,
        other => BackendError::Failed(other.raw_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_has_its_meaning() {
        let read = Operation::Read {
            offset: 0,
            buffers: Vec::new(),
        };
        let flush = Operation::Flush;
        let table: &[(&Operation, i32, BackendError)] = &[
            (&flush, libc::ENOSPC, BackendError::NoSpace),
            (&flush, libc::EDQUOT, BackendError::NoSpace),
            (&read, libc::EIO, BackendError::Medium(libc::EIO)),
            (&flush, libc::EIO, BackendError::Medium(libc::EIO)),
            (&read, libc::EBADMSG, BackendError::Medium(libc::EBADMSG)),
            (&read, libc::EUCLEAN, BackendError::Medium(libc::EUCLEAN)),
            (&read, libc::EILSEQ, BackendError::Medium(libc::EILSEQ)),
            (&read, libc::ENODATA, BackendError::Medium(libc::ENODATA)),
            (
                &read,
                libc::EHWPOISON,
                BackendError::Medium(libc::EHWPOISON),
            ),
            (&flush, libc::EFBIG, BackendError::PastEnd),
            (&flush, libc::EROFS, BackendError::ReadOnly),
            (&flush, libc::EPERM, BackendError::ReadOnly),
            (&flush, libc::EBADF, BackendError::ReadOnly),
            (&read, libc::EBADF, BackendError::Failed(libc::EBADF)),
            (&read, libc::EPERM, BackendError::Failed(libc::EPERM)),
            (&flush, libc::EOPNOTSUPP, BackendError::Unsupported),
            (&flush, libc::ENOTTY, BackendError::Unsupported),
            (&read, libc::EAGAIN, BackendError::Busy),
            (&flush, libc::EAGAIN, BackendError::Busy),
            (&read, libc::ENOMEM, BackendError::Busy),
            (&flush, libc::ENOMEM, BackendError::Failed(libc::ENOMEM)),
            (&read, libc::ENXIO, BackendError::Failed(libc::ENXIO)),
            (
                &read,
                libc::ETIMEDOUT,
                BackendError::Failed(libc::ETIMEDOUT),
            ),
            (&read, libc::EFAULT, BackendError::Failed(libc::EFAULT)),
        ];
        for (operation, errno, expected) in table {
            assert_eq!(
                from_errno(operation, Errno::from_raw_os_error(*errno)),
                *expected,
                "errno {errno}"
            );
        }
    }
}
