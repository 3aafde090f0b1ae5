//! Serving one client: its requests in their order, and events if it asks for them.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use tracing::debug;

use super::Management;
use super::lines::{Line, Lines, MAX_REQUEST};
use super::peer::Peer;
use super::rpc::{self, Caller, Code, RpcError};
use crate::events::Subscription;

/// Clients that watch events at a time.
pub(super) const MAX_WATCHERS: usize = 32;
/// How long a client may take to read an answer, or an event.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often somebody who waits for events looks whether the client is gone.
const LOOK: Duration = Duration::from_millis(250);

/// Bytes of a request from which on few are carried out at a time: they take many times as much memory.
const LARGE: usize = 16 << 10;
/// How many of them.
const MOST_LARGE: usize = 4;

/// What a client is doing.
#[derive(Debug)]
pub(super) struct Activity(Mutex<Doing>);

#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Nothing. It asked for something, or came, then.
    Idle(Instant),
    /// It waits for an answer, or watches events.
    Busy,
    /// Another one has its place.
    Ended,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new(Doing::Idle(Instant::now())))
    }
}

impl Activity {
    fn change(&self, next: Doing) -> bool {
        let mut doing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Doing::Ended = *doing {
            return false;
        }
        *doing = next;
        true
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Doing::Idle(since) => Some(since),
            Doing::Busy | Doing::Ended => None,
        }
    }

    /// Ends it, unless it does something. Nothing is carried out for it from then on.
    pub(super) fn end(&self) -> bool {
        let mut doing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = matches!(*doing, Doing::Idle(_));
        if idle {
            *doing = Doing::Ended;
        }
        idle
    }
}

/// Answers one client until it goes away.
pub(super) fn serve(
    stream: &UnixStream,
    daemon: &dyn Management,
    peer: &Peer,
    activity: &Activity,
    watchers: &Arc<Watchers>,
) -> io::Result<()> {
    let writer = Writer::new(stream.try_clone()?);
    let mut watch = None;
    let mut lines = Lines::new(stream);
    while let Some(line) = lines.next()? {
        if !activity.change(Doing::Busy) {
            return Ok(());
        }
        let asked = Instant::now();
        let mut subscription = None;
        let answer = match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => None,
            Line::Whole(line) => {
                let mut subscribe = || {
                    // Who watches already is told so, and no more.
                    if watch.is_none() {
                        subscription = Some((watchers.seat()?, daemon.events()));
                    }
                    Ok(())
                };
                let mut caller = Caller {
                    daemon,
                    peer,
                    watch: &mut subscribe,
                };
                let _turn = (line.len() > LARGE).then(|| watchers.large.turn());
                rpc::answer(&mut caller, line)
            }
            Line::TooLong => {
                let message = format!("a request of more than {MAX_REQUEST} bytes");
                Some(RpcError::new(Code::InvalidRequest, message).line())
            }
        };
        if let Some(answer) = answer {
            writer.write(&answer)?;
        }
        // After the answer; events have been waiting since before it.
        if let Some((seat, subscription)) = subscription {
            watch = Some(Watch::start(seat, subscription, &writer)?);
        }
        if watch.is_none() {
            activity.change(Doing::Idle(asked));
        }
    }
    if watch.is_some() {
        // It asks for nothing more, and may still listen.
        wait_for_hangup(stream)?;
    }
    Ok(())
}

/// Both directions of a connection are shut, or it is broken.
fn wait_for_hangup(stream: &UnixStream) -> io::Result<()> {
    loop {
        let mut wait = [PollFd::new(stream, PollFlags::empty())];
        match poll(&mut wait, None) {
            Ok(_) if wait[0].revents().is_empty() => {}
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes whole lines to a client, from any thread.
#[derive(Clone)]
struct Writer(Arc<Mutex<UnixStream>>);

impl Writer {
    fn new(stream: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        // Nobody panics while it is held, and a line that was cut short ends the connection.
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = write_within(&stream, line, WRITE_TIMEOUT);
        if written.is_err() {
            // Whoever waits for more to read, or for room to write, is woken.
            let _ = stream.shutdown(Shutdown::Both);
        }
        written
    }
}

/// Writes all of it, or fails when that takes too long: a client that reads a byte now and then is slow too.
fn write_within(mut stream: &UnixStream, mut bytes: &[u8], timeout: Duration) -> io::Result<()> {
    let deadline = Instant::now() + timeout;
    while !bytes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What clients share.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// How many of them watch.
    count: AtomicUsize,
    large: Large,
}

/// How many large requests are being carried out.
#[derive(Debug, Default)]
struct Large {
    count: Mutex<usize>,
    one_less: Condvar,
}

/// One of them, until it is dropped.
struct Turn<'a>(&'a Large);

impl Large {
    /// Waits until it is not too many.
    fn turn(&self) -> Turn<'_> {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .one_less
            .wait_while(count, |count| *count >= MOST_LARGE);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.one_less.notify_one();
    }
}

/// One of them, until it is dropped.
struct Seat(Arc<Watchers>);

impl Watchers {
    fn seat(self: &Arc<Self>) -> Result<Seat, RpcError> {
        let more = |count| (count < MAX_WATCHERS).then_some(count + 1);
        match self.count.fetch_update(SeqCst, SeqCst, more) {
            Ok(_) => Ok(Seat(Arc::clone(self))),
            Err(_) => {
                let message = format!("{MAX_WATCHERS} clients watch events; try again later");
                Err(RpcError::new(Code::Busy, message))
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, SeqCst);
    }
}

/// The thread that sends events to a client; it ends when this is dropped.
struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn start(seat: Seat, subscription: Subscription, writer: &Writer) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let writer = writer.clone();
        let send = move || {
            let _seat = seat;
            while !ended.load(SeqCst) {
                let Some(event) = subscription.next(LOOK) else {
                    continue;
                };
                if let Err(error) = writer.write(&rpc::event(&event)) {
                    debug!(%error, "a client that watched events is lost");
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("control-events".to_owned());
        let thread = Some(thread.spawn(send)?);
        Ok(Self { over, thread })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, not even if it panicked.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// More than a socket buffers.
    const MUCH: usize = 8 << 20;

    #[test]
    fn large_requests_take_turns() {
        let large = Large::default();
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..3 * MOST_LARGE {
                scope.spawn(|| {
                    let _turn = large.turn();
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::sleep(Duration::from_millis(20));
                    now.fetch_sub(1, SeqCst);
                });
            }
        });
        assert!((1..=MOST_LARGE).contains(&most.load(SeqCst)), "{most:?}");
        assert_eq!(*large.count.lock().unwrap(), 0);
    }

    #[test]
    fn who_does_not_read_is_given_up() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let before = Instant::now();
        let writer = Writer::new(one.try_clone().expect("cloned"));
        let patience = Duration::from_millis(50);
        let error = write_within(&one, &vec![0; MUCH], patience).expect_err("too slow");
        assert!(
            matches!(
                error.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
            ),
            "{error}"
        );
        assert!(before.elapsed() < WRITE_TIMEOUT);
        // A line that was cut short is the last one.
        one.shutdown(Shutdown::Write).expect("shut");
        writer.write(b"x\n").expect_err("closed");
        assert_eq!((&one).read(&mut [0]).expect("the end"), 0);
    }

    #[test]
    fn who_reads_a_byte_now_and_then_is_given_up_too() {
        let (one, mut other) = UnixStream::pair().expect("a pair");
        let reader = thread::spawn(move || {
            let mut byte = [0; 1];
            while other.read(&mut byte).is_ok_and(|count| count > 0) {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let before = Instant::now();
        write_within(&one, &vec![0; MUCH], Duration::from_millis(100)).expect_err("too slow");
        assert!(before.elapsed() < Duration::from_secs(5));
        drop(one);
        drop(reader);
    }
}
