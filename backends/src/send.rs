//! Messages gathered from memory that no Rust reference may point into.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use pagecast_memory::Slice;

/// Pieces that one call takes: enough for 2 MiB of 64 KiB pieces with their headers.
const PIECES_MAX: usize = 64;

/// A part of what is sent.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Bytes of the caller.
    Bytes(&'a [u8]),
    /// Shared memory.
    Memory(&'a Slice),
}

/// Sends what `pieces` add up to on a connected stream socket, as far as it takes that without waiting: at most the first 64
/// pieces. Returns how many bytes went. `more` says that more follows soon, which TCP waits for before it sends a short
/// segment.
pub fn send<'a>(
    socket: BorrowedFd<'_>,
    pieces: impl IntoIterator<Item = Piece<'a>>,
    more: bool,
) -> io::Result<usize> {
    let mut vectors = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; PIECES_MAX];
    let mut count = 0;
    for (vector, piece) in vectors.iter_mut().zip(pieces) {
        let (base, length) = match piece {
            Piece::Bytes(bytes) => (bytes.as_ptr().cast_mut(), bytes.len()),
            Piece::Memory(slice) => (slice.as_ptr().as_ptr(), slice.len()),
        };
        vector.iov_base = base.cast();
        vector.iov_len = length;
        count += 1;
    }
    // SAFETY: `msghdr` is plain old data, for which all zeros is valid: no address, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = count;
    let more = if more { libc::MSG_MORE } else { 0 };
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | more;
    // SAFETY: the first `count` vectors are filled in; what they point to is borrowed for 'a, or kept mapped and readable by a
    // slice that is. The kernel only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use pagecast_memory::Anonymous;

    use super::*;

    #[test]
    fn pieces_arrive_in_order() {
        let memory = Slice::whole(Arc::new(Anonymous::new(4096).unwrap()));
        memory.write(100, b"shared").unwrap();
        let part = memory.part(100..106).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let pieces = [
            Piece::Bytes(b"<"),
            Piece::Memory(&part),
            Piece::Bytes(b""),
            Piece::Bytes(b">"),
        ];
        assert_eq!(send(ours.as_fd(), pieces, true).unwrap(), 8);
        drop(ours);
        let mut all = String::new();
        theirs.read_to_string(&mut all).unwrap();
        assert_eq!(all, "<shared>");
    }

    #[test]
    fn no_more_than_the_socket_and_the_call_take() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let pieces = std::iter::repeat_n(Piece::Bytes(b"12"), 1000);
        assert_eq!(send(ours.as_fd(), pieces, false).unwrap(), 128);
        let large = vec![0; 1 << 16];
        let full = loop {
            match send(ours.as_fd(), [Piece::Bytes(&large)], false) {
                Ok(sent) => assert!(sent > 0),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(theirs);
        let gone = send(ours.as_fd(), [Piece::Bytes(b"1")], false).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }
}
