//! How a command ends when it does not do what it should.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use serde_json::json;

use crate::cli::{self, Cli, UsageError};
use crate::client::ClientError;
use crate::human::clean_lines;

/// Why a command has failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense.
    Usage(UsageError),
    /// The daemon says no, or nothing.
    Client(ClientError),
    /// A file is not there, or not good.
    File(String),
    /// Standard output takes no more.
    Output(io::Error),
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl Failure {
    /// Says why on standard error: to people, or as an object on a line. A command line that makes no sense is told to people.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let complain = |message: &str| complain(message, json);
        match self {
            Self::Usage(UsageError(message)) => {
                let error = Cli::command().error(ErrorKind::ValueValidation, clean_lines(message));
                // There is nobody left to tell if this fails.
                let _ = error.print();
                ExitCode::from(cli::EXIT_USAGE)
            }
            Self::Client(error) => {
                if json {
                    tell(&error.object().to_string());
                } else {
                    complain(&error.to_string());
                }
                ExitCode::from(match error {
                    ClientError::Refused(_) => cli::EXIT_REFUSED,
                    _ => cli::EXIT_UNREACHABLE,
                })
            }
            Self::File(message) => {
                complain(message);
                ExitCode::from(cli::EXIT_REFUSED)
            }
            Self::Output(error) => {
                complain(&format!("cannot write the answer: {error}"));
                ExitCode::from(cli::EXIT_UNREACHABLE)
            }
        }
    }
}

/// Says something on standard error, to people or to a program. It may have several lines, such as one for each mistake in a
/// configuration.
pub(crate) fn complain(message: &str, json: bool) {
    if json {
        tell(&json!({ "message": message }).to_string());
    } else {
        tell(&format!("pagecast: {}", clean_lines(message)));
    }
}

fn tell(line: &str) {
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr(), "{line}");
}
