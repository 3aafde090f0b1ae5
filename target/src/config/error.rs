//! What is wrong with a configuration, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot read the configuration: {cause}; {}", file.display(), read_remedy(cause))]
    Read {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is too long to be a configuration.
    #[error("{}: longer than {limit} bytes; this is not a configuration file", file.display())]
    TooLong {
        /// Which file.
        file: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// The text is not JSON.
    #[error("{origin}:{line}:{column}: not valid JSON: {message}")]
    Syntax {
        /// File name, or what the text came from.
        origin: String,
        /// From 1.
        line: usize,
        /// From 1; 0 at the end of the text.
        column: usize,
        /// What the parser missed.
        message: String,
    },
    /// The text is JSON that does not say what we need. At least one problem.
    #[error("{}", Listing { origin, problems })]
    Invalid {
        /// File name, or what the text came from.
        origin: String,
        /// Everything that is wrong, in the order of the text.
        problems: Vec<Problem>,
    },
    /// The command line does not describe a configuration.
    #[error("{0}")]
    Options(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, from the top: `targets[0].portals[1].port`. Empty for the document itself.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// One line for each problem, each with the name of the file.
struct Listing<'a> {
    origin: &'a str,
    problems: &'a [Problem],
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{}: {problem}", self.origin)?;
        }
        Ok(())
    }
}

fn read_remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "create it, or name another with --config",
        io::ErrorKind::PermissionDenied => "run as a user that may read it, or change its mode",
        io::ErrorKind::IsADirectory => "name the file, not its directory",
        io::ErrorKind::InvalidData => "save it as UTF-8",
        _ => "name a file that can be read with --config",
    }
}
