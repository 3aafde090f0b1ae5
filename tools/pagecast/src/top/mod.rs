//! `pagecast top`: what goes on, by differences between two looks at the daemon.

mod grid;
mod latency;
mod live;
mod model;
mod sample;
mod screen;
mod tables;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::cli::{self, UsageError};
use crate::failure::Failure;
use crate::{indented, print};
use model::View;
use sample::Poller;

/// How long the daemon may take for one look.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(socket: &Path, json: bool, options: cli::Top) -> Result<(), Failure> {
    if options.once {
        let view = next(&mut Poller::connect(socket, PATIENCE)?, options.interval)?;
        let text = if json {
            indented(&view.to_json())
        } else {
            tables::text(&view)
        };
        print(text.as_bytes())
    } else if json {
        stream(&mut Poller::connect(socket, PATIENCE)?, options.interval)
    } else if io::stdout().is_terminal() {
        live::run(socket, options.interval)
    } else {
        Err(Failure::Usage(UsageError(
            "standard output is not a terminal; use --once to print what there is, or --json for an object a line"
                .to_owned(),
        )))
    }
}

/// The first interval from now on.
fn next(poller: &mut Poller, interval: Duration) -> Result<View, Failure> {
    let before = poller.sample()?;
    thread::sleep(interval);
    Ok(View::new(Some(&before), &poller.sample()?))
}

/// An object a line for every interval, until nobody reads them any more.
fn stream(poller: &mut Poller, interval: Duration) -> Result<(), Failure> {
    let mut before = poller.sample()?;
    let mut output = io::stdout().lock();
    loop {
        thread::sleep(interval);
        let now = poller.sample()?;
        let line = format!("{}\n", View::new(Some(&before), &now).to_json());
        match output
            .write_all(line.as_bytes())
            .and_then(|()| output.flush())
        {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Failure::Output(error)),
        }
        before = now;
    }
}
