//! The live view: a thread looks at the daemon, another one at the keyboard, so that keys work however long the daemon takes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::PATIENCE;
use super::model::View;
use super::sample::{Poller, Sample};
use super::screen::{Flow, Screen};
use crate::client::ClientError;
use crate::failure::Failure;
use crate::human::clean;

/// How soon a new look is on the screen, and a signal is heard.
const GLANCE: Duration = Duration::from_millis(100);

pub(super) fn run(socket: &Path, interval: Duration) -> Result<(), Failure> {
    // Before the terminal is touched: that there is no daemon is said as by every other command.
    let start = Instant::now();
    let mut poller = Poller::since(start, socket, PATIENCE)?;
    let first = poller.sample()?;
    let looker = Looker {
        socket: socket.to_owned(),
        interval,
        start,
    };
    let (sender, receiver) = mpsc::channel();
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(Failure::Output)?;
    }
    thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || looker.run(poller, &sender))
        .map_err(Failure::Output)?;

    let shown = format!("{} s", interval.as_secs_f64());
    let mut terminal = ratatui::try_init().map_err(Failure::Output)?;
    let result = watch(&mut terminal, &receiver, &ended, first, shown);
    let restored = ratatui::try_restore();
    result.and(restored).map_err(Failure::Output)
}

fn watch(
    terminal: &mut DefaultTerminal,
    looks: &Receiver<Result<Sample, ClientError>>,
    ended: &AtomicBool,
    first: Sample,
    interval: String,
) -> io::Result<()> {
    let mut screen = Screen::new(View::new(None, &first), interval);
    let mut before = first;
    let mut changed = true;
    while !ended.load(Ordering::Relaxed) {
        if changed {
            terminal.draw(|frame| screen.draw(frame))?;
            changed = false;
        }
        if event::poll(GLANCE)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if screen.key(key.code, key.modifiers) == Flow::Quit {
                        return Ok(());
                    }
                    changed = true;
                }
                Event::Resize(..) => changed = true,
                _ => {}
            }
        }
        loop {
            match looks.try_recv() {
                Ok(Ok(now)) => {
                    screen.show(View::new(Some(&before), &now));
                    before = now;
                }
                Ok(Err(error)) => screen.complain(clean(&error.to_string())),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other(
                        "the thread that looks at the daemon is gone",
                    ));
                }
            }
            changed = true;
        }
    }
    Ok(())
}

/// Looks at the daemon every now and then.
struct Looker {
    socket: PathBuf,
    interval: Duration,
    start: Instant,
}

impl Looker {
    /// Until nobody wants to know any more.
    fn run(&self, poller: Poller, looks: &Sender<Result<Sample, ClientError>>) {
        let mut connected = Some(poller);
        loop {
            thread::sleep(self.interval);
            let look = self.look(&mut connected);
            if look.is_err() {
                // It may have been started again by then.
                connected = None;
            }
            if looks.send(look).is_err() {
                return;
            }
        }
    }

    fn look(&self, connected: &mut Option<Poller>) -> Result<Sample, ClientError> {
        match connected {
            Some(poller) => poller.sample(),
            None => connected
                .insert(Poller::since(self.start, &self.socket, PATIENCE)?)
                .sample(),
        }
    }
}
