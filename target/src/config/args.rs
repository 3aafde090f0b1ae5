//! The command line of the daemon.

use std::path::PathBuf;

use clap::{ArgGroup, Parser, ValueEnum};
use tracing::level_filters::LevelFilter;

use super::{Config, ConfigError, Document, OwnFiles};

/// Where reservations and the machine's identity are kept, unless told otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/pagecast";
/// Where the control socket is, unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/pagecast/control.sock";

/// Serves files, block devices and memory as disks over RDMA (SRP, iSER, NVMe) and TCP (iSCSI), READs straight from the page cache.
///
/// What to serve is in a configuration file (--config), or is one image with every default (--file).
/// Prints "ready" on its own line once every portal listens. SIGTERM and SIGINT end it in order: logins
/// stop, commands in flight finish, written data is flushed.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "pagecastd", version, max_term_width = 100)]
#[command(group = ArgGroup::new("what").required(true).args(["config", "file"]))]
#[command(after_help = "\
Exit codes: 0 stopped by a signal or nothing to complain about with --check; 1 could not start or go on; \
2 wrong command line.

Examples:
  pagecastd --config /etc/pagecast/config.json
  pagecastd --config /etc/pagecast/config.json --check
  pagecastd --file /srv/disk0.img --allow 10.0.0.7 --allow 10.0.0.8")]
pub struct Args {
    /// The configuration, a JSON file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Serve this one image, as LUN 0 of the target "store", over every transport on its usual port; on a machine without
    /// RDMA, over iSCSI on TCP alone
    #[arg(long, value_name = "IMG")]
    pub file: Option<PathBuf>,

    /// With --file: let initiators in whose name or IP address matches; may be given several times
    ///
    /// '*' and '?' stand for what may vary, a leading '!' turns a pattern round. '*' is everybody. iSCSI and iSER initiators
    /// are known by their iSCSI name, SRP initiators by their port id (0x and 32 hex digits) and its GUID half (16 hex digits), NVMe
    /// hosts by their NQN, and all by their IP address.
    #[arg(long, value_name = "PATTERN", conflicts_with = "config")]
    pub allow: Vec<String>,

    /// Where reservations and the machine's identity are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,

    /// The control socket, for the pagecast command
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,

    /// What to log on standard error
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info, ignore_case = true)]
    pub log: LogLevel,

    /// Check the configuration and exit
    #[arg(long)]
    pub check: bool,
}

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing
    Off,
    /// What failed
    Error,
    /// And what is wrong but goes on
    Warn,
    /// And sessions that come and go
    Info,
    /// And what connections do
    Debug,
    /// And everything that this build can log
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

impl Args {
    /// The configuration that the command line names, with the document that changes are kept in, if there is one.
    pub fn load(&self) -> Result<(Option<Document>, Config), ConfigError> {
        match (&self.config, &self.file) {
            (Some(file), _) => {
                let (document, config) = Document::from_file(file)?;
                Ok((Some(document), config))
            }
            (None, Some(image)) => Ok((None, Config::from_file_options(image, &self.allow)?)),
            // clap has seen to it that one is there.
            (None, None) => Err(ConfigError::Options(
                "give --config FILE or --file IMG".to_owned(),
            )),
        }
    }

    /// Looks at where the devices are to have their data, without opening anything.
    pub fn check_stores(&self, config: &Config) -> Result<(), ConfigError> {
        let own = OwnFiles::new(self.config.as_deref(), &self.state_dir);
        let origin = self.config.as_ref();
        let origin = origin.map_or("--file".to_owned(), |file| file.display().to_string());
        config.check_stores(&own, &origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let args = parse("pagecastd --config a.json").expect("good");
        assert_eq!(args.state_dir, PathBuf::from("/var/lib/pagecast"));
        assert_eq!(args.socket, PathBuf::from("/run/pagecast/control.sock"));
        assert_eq!(args.log, LogLevel::Info);
        assert!(!args.check);
    }

    #[test]
    fn everything() {
        let args = parse(
            "pagecastd --file d.img --allow * --allow 10.0.0.? --state-dir s --socket c --log DEBUG --check",
        )
        .expect("good");
        assert_eq!(args.allow, ["*", "10.0.0.?"]);
        assert_eq!(LevelFilter::from(args.log), LevelFilter::DEBUG);
        assert!(args.check);
        let (_, config) = args.load().expect("good");
        assert_eq!(config.targets[0].groups[0].initiators, ["*", "10.0.0.?"]);
    }

    #[test]
    fn what_does_not_go_together() {
        for line in [
            "pagecastd",
            "pagecastd --config a --file b",
            "pagecastd --config a --allow *",
            "pagecastd --allow *",
            "pagecastd --config a --log loud",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn nobody_is_let_in_by_default() {
        let error = parse("pagecastd --file d.img")
            .expect("good")
            .load()
            .expect_err("no --allow");
        assert!(error.to_string().contains("add --allow PATTERN"), "{error}");
        let error = parse("pagecastd --file d.img --allow !")
            .expect("good")
            .load();
        assert!(
            error
                .expect_err("bad pattern")
                .to_string()
                .starts_with("--allow: \"!\" is not")
        );
    }
}
