//! System calls on a store's descriptor that the standard library and `rustix` do not offer in the form needed here.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::vectors::Vectors;

/// What one vectored transfer did.
pub(crate) type Transfer = Result<usize, Errno>;

/// Fills what is left of `vectors` from `offset` on, as far as one system call comes.
///
/// # Safety
///
/// The memory that `vectors` point to must be mapped and writable, and no Rust reference may point into it.
pub(crate) unsafe fn read(fd: BorrowedFd<'_>, vectors: &Vectors, offset: u64) -> Transfer {
    let next = vectors.next();
    // SAFETY: `next` is a valid array of `next.len()` iovecs (at most 1024, so the cast is exact); the caller vouches for
    // the memory that they point to.
    transferred(unsafe {
        libc::preadv2(
            fd.as_raw_fd(),
            next.as_ptr(),
            next.len() as libc::c_int,
            file_offset(offset)?,
            0,
        )
    })
}

/// Writes what is left of `vectors` at `offset`, as far as one system call comes; on stable storage if `durable`.
///
/// # Safety
///
/// The memory that `vectors` point to must be mapped and readable.
pub(crate) unsafe fn write(
    fd: BorrowedFd<'_>,
    vectors: &Vectors,
    offset: u64,
    durable: bool,
) -> Transfer {
    let next = vectors.next();
    let flags = if durable { libc::RWF_DSYNC } else { 0 };
    // SAFETY: as in `read`.
    transferred(unsafe {
        libc::pwritev2(
            fd.as_raw_fd(),
            next.as_ptr(),
            next.len() as libc::c_int,
            file_offset(offset)?,
            flags,
        )
    })
}

/// Bytes of a block device (BLKGETSIZE64).
pub(crate) fn block_device_size(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // The kernel's header declares the argument as a size_t and then writes 64 bits.
    const BLKGETSIZE64: libc::Ioctl = libc::_IOR::<usize>(0x12, 114);
    let mut size = 0u64;
    // SAFETY: BLKGETSIZE64 writes one u64 through the pointer, which is to a live local.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), BLKGETSIZE64, &raw mut size) })?;
    Ok(size)
}

/// Discards `length` bytes of a block device (BLKDISCARD); both must be multiples of its logical block size.
pub(crate) fn block_device_discard(
    fd: BorrowedFd<'_>,
    offset: u64,
    length: u64,
) -> Result<(), Errno> {
    const BLKDISCARD: libc::Ioctl = libc::_IO(0x12, 119);
    let range = [offset, length];
    // SAFETY: BLKDISCARD reads two u64 through the pointer, which is to a live local.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), BLKDISCARD, range.as_ptr()) })
}

/// Tries to lock the whole file for this open file description (F_OFD_SETLK): shared or exclusive, never waiting.
///
/// Unlike classic record locks it is not lost when some other descriptor of the same file is closed.
pub(crate) fn lock(fd: BorrowedFd<'_>, exclusive: bool) -> Result<(), Errno> {
    let kind = if exclusive {
        libc::F_WRLCK
    } else {
        libc::F_RDLCK
    };
    // SAFETY: `flock` is plain old data, for which all zeros is valid: from offset 0, length 0 (to the end), pid 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: F_OFD_SETLK reads one `flock` through the pointer, which is to a live local.
    checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) })
}

fn transferred(returned: libc::ssize_t) -> Transfer {
    usize::try_from(returned).map_err(|_| last_errno())
}

fn checked(returned: libc::c_int) -> Result<(), Errno> {
    if returned < 0 {
        return Err(last_errno());
    }
    Ok(())
}

fn last_errno() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn file_offset(offset: u64) -> Result<libc::off_t, Errno> {
    libc::off_t::try_from(offset).map_err(|_| Errno::OVERFLOW)
}
