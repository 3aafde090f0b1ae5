//! What the calls of both libraries have in common: error conventions and descriptors.

use std::ffi::c_int;
use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;

use crate::fabric::FabricError;

/// A pointer, or NULL and `errno`.
pub(super) fn pointer<T>(call: &'static str, pointer: *mut T) -> Result<NonNull<T>, FabricError> {
    NonNull::new(pointer).ok_or_else(|| FabricError::last_os_error(call))
}

/// 0, or -1 and `errno`.
pub(super) fn status(call: &'static str, result: c_int) -> Result<(), FabricError> {
    if result == 0 {
        Ok(())
    } else {
        Err(FabricError::last_os_error(call))
    }
}

/// 0, or an errno value.
pub(super) fn errno_value(call: &'static str, result: c_int) -> Result<(), FabricError> {
    match result {
        0 => Ok(()),
        _ => Err(FabricError::from_errno(call, errno_of(result))),
    }
}

/// The errno in the result of a failed call that returns errno values. Some providers return -1 and set `errno` instead.
pub(super) fn errno_of(result: c_int) -> i32 {
    if result > 0 {
        return result;
    }
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// Makes reads from a descriptor of the libraries return EAGAIN instead of blocking.
pub(super) fn set_nonblocking(fd: RawFd) -> Result<(), FabricError> {
    // SAFETY: fcntl takes no pointers here; on a descriptor that is not open it fails with EBADF.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        return Err(FabricError::last_os_error("fcntl(F_GETFL)"));
    }
    // SAFETY: as above.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) };
    if result < 0 {
        return Err(FabricError::last_os_error("fcntl(F_SETFL)"));
    }
    Ok(())
}

/// Whether a non-blocking read found nothing.
pub(super) fn is_empty(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_values_name_the_call() {
        assert!(errno_value("ibv_modify_qp", 0).is_ok());
        let error = errno_value("ibv_modify_qp", libc::EINVAL).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ibv_modify_qp: Invalid argument (os error 22)"
        );
    }

    #[test]
    fn a_provider_that_returns_minus_one_is_understood() {
        // SAFETY: a system call with no pointers that fails: there is no such descriptor.
        let result = unsafe { libc::close(-1) };
        assert_eq!(errno_of(result), libc::EBADF);
    }
}
