//! `pagecast config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::params::{Params, absolute};
use super::{Action, Request, UsageError};

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// The configuration in force, a JSON document
    ///
    /// Secrets are not in it. With --json also the file that it is kept in.
    Show,
    /// Write the configuration to another file, secrets included
    ///
    /// The daemon writes it, and goes on with the file that it has.
    #[command(after_help = "\
Examples:
  pagecast config save /root/pagecast-before-upgrade.json")]
    Save {
        /// Where to
        file: PathBuf,
        /// Also if there is such a file
        #[arg(long)]
        force: bool,
    },
    /// Read the configuration file again, after an edit by hand
    ///
    /// What has changed in the file is made so, all of it or none; what has not is not touched. Settings that only count when the
    /// daemon starts are named.
    Reload {
        /// Also if devices that are mapped go, or are opened anew
        #[arg(long)]
        force: bool,
    },
    /// Turn SCST's scst.conf into a configuration for pagecastd
    ///
    /// Needs no daemon. Devices, targets, groups, LUNs and initiators come over. What has no counterpart is listed on standard
    /// error with what to do about it, and never left out in silence.
    #[command(after_help = "\
Examples:
  pagecast config import-scst /etc/scst.conf
  pagecast config import-scst /etc/scst.conf --output /etc/pagecast/config.json
  pagecastd --config /etc/pagecast/config.json --check")]
    ImportScst(Import),
    /// Turn LIO's saveconfig.json into a configuration for pagecastd
    ///
    /// Needs no daemon. Devices, targets, groups, LUNs and initiators come over. What has no counterpart is listed on standard
    /// error with what to do about it, and never left out in silence.
    #[command(after_help = "\
Examples:
  pagecast config import-lio /etc/target/saveconfig.json
  pagecast config import-lio /etc/target/saveconfig.json --output /etc/pagecast/config.json
  pagecastd --config /etc/pagecast/config.json --check")]
    ImportLio(Import),
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file to import; - is standard input
    pub(crate) file: PathBuf,

    /// Where to; standard output otherwise
    #[arg(long, short, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// Also if there is such a file
    #[arg(long, requires = "output")]
    pub(crate) force: bool,

    #[arg(skip)]
    pub(crate) source: Source,
}

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Source {
    #[default]
    Scst,
    Lio,
}

impl Config {
    pub(super) fn action(self) -> Result<Action, UsageError> {
        Ok(match self {
            Self::Show => Request::new("config.show", Params::new()).into(),
            Self::Save { file, force } => Request::new(
                "config.save",
                Params::new()
                    .with("file", absolute(&file)?)
                    .flag("force", force),
            )
            .into(),
            Self::Reload { force } => {
                Request::new("config.reload", Params::new().flag("force", force)).into()
            }
            Self::ImportScst(import) => Action::Import(Import {
                source: Source::Scst,
                ..import
            }),
            Self::ImportLio(import) => Action::Import(Import {
                source: Source::Lio,
                ..import
            }),
        })
    }
}
