//! Pipes through which a READ's data goes from the page cache to a socket.
//!
//! A pipe holds references to cached pages, one to a slot, so data that is spliced in and out again is never copied. Pipes
//! are few and cost two descriptors each, so a shard keeps some, and who gets none stages.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// What a pipe is made to hold if it is allowed: the longest that processes without privileges get (pipe-max-size).
const SIZE: usize = 1024 * 1024;

/// Pipes that are kept although nobody needs them now.
const IDLE: usize = 16;

/// The least a pipe must hold to be of use.
const SIZE_MIN: usize = 64 * 1024;

/// A pipe, empty unless a task says otherwise.
#[derive(Debug)]
pub struct Pipe {
    /// Where pages come out.
    pub read: Arc<OwnedFd>,
    /// Where they go in.
    pub write: Arc<OwnedFd>,
    size: u64,
    /// What one slot holds at most, if it lies on that boundary in the store.
    page: u64,
}

impl Pipe {
    fn open() -> std::io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // There is no pipe of less than one page.
        let page = fcntl_setpipe_size(&write, 1)?;
        // More than that is refused to users who have much in pipes already.
        let size = [SIZE, SIZE_MIN]
            .iter()
            .find_map(|&size| fcntl_setpipe_size(&write, size).ok())
            .ok_or(std::io::ErrorKind::QuotaExceeded)?;
        Ok(Self {
            read: Arc::new(read),
            write: Arc::new(write),
            size: size as u64,
            page: page as u64,
        })
    }

    /// Bytes of a store from `offset` on that fit for sure, were the pipe empty: each page that is touched takes a slot.
    pub fn room(&self, offset: u64) -> u64 {
        self.size - offset % self.page
    }
}

/// A shard's pipes.
#[derive(Debug)]
pub struct PipePool {
    idle: Vec<Pipe>,
    open: usize,
    most: usize,
}

impl PipePool {
    /// A pool of at most `most` pipes, none of which is open yet.
    pub fn new(most: usize) -> Self {
        Self {
            idle: Vec::new(),
            open: 0,
            most,
        }
    }

    /// An empty pipe, if there is one to be had.
    pub fn take(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.pop() {
            return Some(pipe);
        }
        if self.open == self.most {
            return None;
        }
        match Pipe::open() {
            Ok(pipe) => {
                self.open += 1;
                Some(pipe)
            }
            Err(error) => {
                tracing::debug!(%error, "no pipe");
                None
            }
        }
    }

    /// Takes back a pipe that is empty.
    pub fn give_back(&mut self, pipe: Pipe) {
        if self.idle.len() < IDLE {
            self.idle.push(pipe);
        } else {
            self.open -= 1;
        }
    }

    /// Takes back a pipe that may not be empty: it is closed, and another one may be opened.
    pub fn discard(&mut self, pipe: Pipe) {
        drop(pipe);
        self.open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_so_many_pipes_and_no_more() {
        let mut pool = PipePool::new(2);
        let (one, two) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none());
        let number = Arc::as_ptr(&one.read);
        pool.give_back(one);
        assert_eq!(Arc::as_ptr(&pool.take().unwrap().read), number);
        pool.discard(two);
        assert!(pool.take().is_some());
        assert!(pool.take().is_none());
    }

    #[test]
    fn idle_pipes_beyond_some_are_closed() {
        let mut pool = PipePool::new(IDLE + 1);
        let pipes: Vec<Pipe> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(pipes.len(), IDLE + 1);
        for pipe in pipes {
            pool.give_back(pipe);
        }
        assert_eq!((pool.idle.len(), pool.open), (IDLE, IDLE));
    }

    #[test]
    fn room_is_counted_in_pages_touched() {
        let pipe = PipePool::new(1).take().unwrap();
        let page = pipe.page;
        assert!(page >= 4096 && page.is_power_of_two());
        assert_eq!(pipe.room(0), SIZE as u64);
        assert_eq!(pipe.room(page), SIZE as u64);
        assert_eq!(pipe.room(512), SIZE as u64 - 512);
    }
}
