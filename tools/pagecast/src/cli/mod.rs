//! The command line itself.

mod config;
mod credentials;
mod device;
mod group;
mod initiator;
mod params;
mod reservation;
mod session;
mod target;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::{Value, json};

pub(crate) use config::{Import, Source};
pub(crate) use credentials::SecretFile;
use params::Params;

/// The daemon answered, and said no; or a file cannot be read, written or understood.
pub(crate) const EXIT_REFUSED: u8 = 1;
/// The command line makes no sense.
pub(crate) const EXIT_USAGE: u8 = 2;
/// There was no daemon, or no answer that made sense.
pub(crate) const EXIT_UNREACHABLE: u8 = 3;

/// Looks into a running pagecastd, and changes what it serves, where, and to whom
///
/// Asks the daemon over its control socket. What a command changes is in force when it returns, without anybody having to log in
/// again, and it is in the daemon's configuration file: a restart brings back the same. A command makes all of its change or, if
/// there is an error, none of it.
///
/// Nouns come first, then what to do with them. A target is what initiators log in to; its groups say who may, and which device each
/// of them sees under which number.
#[derive(Debug, Parser)]
#[command(name = "pagecast", version, max_term_width = 100)]
#[command(after_help = "\
Exit codes:
  0  done
  1  the daemon said no, for example because there is no device of that name; or a file is not as it should be
  2  wrong command line
  3  no daemon, or no answer from it

Examples:
  pagecast status
  pagecast device show disk0
  pagecast --json device show disk0 | jq .read_bytes_zero_copy
  pagecast device add disk1 --file /srv/disk1.img
  pagecast group map store web 1 disk1        LUN 1 of the group is disk1; its hosts see it at once
  pagecast initiator move store 10.0.0.7 lab  other LUNs for that host, without a new login
  pagecast target show store                  prints what to type on an initiator
  pagecast top                                what is going on
  pagecast events                             and what happens")]
pub(crate) struct Cli {
    /// The daemon's control socket
    #[arg(
        long,
        value_name = "PATH",
        global = true,
        default_value = "/run/pagecast/control.sock"
    )]
    pub(crate) socket: PathBuf,

    /// Print the result object of the call as JSON, for programs; the error object on standard error if it fails
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The daemon at a glance: what it serves, to how many, and what it warns about
    Status,
    /// What is served: files, block devices and memory
    #[command(subcommand)]
    Device(device::Device),
    /// What initiators log in to
    #[command(subcommand)]
    Target(target::Target),
    /// Where a target listens
    #[command(subcommand)]
    Portal(target::Portal),
    /// Who sees which devices of a target, and under which numbers
    #[command(subcommand)]
    Group(group::Group),
    /// Which initiators a group admits
    #[command(subcommand)]
    Initiator(initiator::Initiator),
    /// What iSCSI and iSER initiators prove who they are with
    #[command(subcommand)]
    Chap(credentials::Chap),
    /// What NVMe hosts prove who they are with: DH-HMAC-CHAP
    #[command(subcommand)]
    Dhchap(credentials::Dhchap),
    /// Who is logged in
    #[command(subcommand)]
    Session(session::Session),
    /// Which hosts keep which others from a device
    #[command(subcommand)]
    Reservation(reservation::Reservation),
    /// What is to be served, as a whole
    #[command(subcommand)]
    Config(config::Config),
    /// Several changes at once: all of them, or none
    ///
    /// Reads a list of changes in JSON, {"method": ..., "params": {...}} each, from FILE or from standard input, and hands them to the
    /// daemon as one. The methods are those of the commands that change something: device.add and device.remove, target.add and
    /// target.remove, portal.add and portal.remove, group.add, group.remove, group.map and group.unmap, initiator.add,
    /// initiator.move and initiator.remove, chap.set and chap.remove, dhchap.set and dhchap.remove. `pagecast rpc schema` lists their parameters.
    ///
    /// Each change may build upon those before it. Only the whole has to be a good configuration, and initiators see nothing of what is
    /// between: a LUN that is unmapped and mapped again to the same device is not touched.
    #[command(after_help = "\
Examples:
  pagecast transaction changes.json
  pagecast transaction <<'END'
  [
    { \"method\": \"device.add\",
      \"params\": { \"name\": \"disk1\", \"backend\": \"file\", \"path\": \"/srv/disk1.img\" } },
    { \"method\": \"group.map\",
      \"params\": { \"target\": \"store\", \"group\": \"web\", \"lun\": 1, \"device\": \"disk1\" } }
  ]
  END")]
    Transaction {
        /// A JSON file; standard input if it is missing or -
        file: Option<PathBuf>,
    },
    /// What the daemon as a whole uses and has done
    Stats,
    /// What happens, line by line, from now on
    ///
    /// Logins, logouts and those who were not let in, and why; sessions that see other LUNs than before; changes to the configuration;
    /// reservations; queue depths; devices and RDMA adapters that go and come; errors. Runs until it is interrupted. Times are local.
    ///
    /// With --json each event is an object on a line of its own, written at once. A watcher that is too slow loses the oldest
    /// events, and is told how many.
    #[command(after_help = "\
Examples:
  pagecast events
  pagecast --json events | jq -c 'select(.event == \"refused\")'

Lines are coloured on a terminal, unless NO_COLOR is set.")]
    Events,
    /// A live view of devices and sessions: IOPS, bandwidth, latencies, queue depths
    ///
    /// Rates and latencies are those of the last interval. Latency is the time that the daemon takes for READs and WRITEs, from when a
    /// command has arrived until it is done, by percentile; network and initiator come on top. Percentiles are precise to about the
    /// width of a power of two of microseconds, interpolated. `-` is shown for what cannot be said, as where nothing was done.
    ///
    /// Without a terminal use --once, or --json, which prints an object a line for every interval.
    #[command(after_help = "\
Keys:
  q, Esc       quit
  s            sort by another column
  p, Space     pause: keep what is on the screen
  Tab          scroll the devices, or the sessions
  arrows, PgUp, PgDn, Home, End  scroll

Examples:
  pagecast top
  pagecast top --interval 5
  pagecast top --once
  pagecast --json top --once | jq '.devices[] | {name, p99: .latency.p99_us}'")]
    Top(Top),
    /// The control socket's protocol, JSON-RPC 2.0
    #[command(subcommand)]
    Rpc(Rpc),
    /// Completions for a shell, on standard output
    ///
    /// Where they go depends on the shell and the distribution.
    #[command(after_help = "\
Examples:
  pagecast completions bash > /usr/share/bash-completion/completions/pagecast
  pagecast completions zsh > /usr/share/zsh/site-functions/_pagecast
  pagecast completions fish > /usr/share/fish/vendor_completions.d/pagecast.fish")]
    Completions {
        /// Whose
        shell: Shell,
    },
    /// Manual pages
    ///
    /// Writes a page for every command to DIR, which is made if it is not there; without DIR prints the page of pagecast itself.
    #[command(after_help = "\
Examples:
  pagecast man | man -l -
  pagecast man /usr/local/share/man/man1")]
    Man {
        /// Where to
        dir: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Top {
    /// Seconds between two looks, from 0.1 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,

    /// Print what there is after one interval, and end
    #[arg(long)]
    pub(crate) once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.strip_suffix('s').unwrap_or(text).parse().ok();
    match seconds {
        Some(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds from 0.1 to 3600".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rpc {
    /// The methods that the daemon answers, with their parameters
    ///
    /// With --json this is the whole schema, with the types of parameters and results.
    Schema,
}

/// A command line that cannot be meant.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

/// A call to the daemon.
#[derive(Debug)]
pub(crate) struct Request {
    /// `noun.verb`.
    pub(crate) method: &'static str,
    pub(crate) params: Value,
}

impl Request {
    fn new(method: &'static str, params: Params) -> Self {
        Self {
            method,
            params: params.into(),
        }
    }
}

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Action {
    /// One call, and its result.
    Call(Request),
    /// A call, some of whose parameters are in files.
    WithSecrets(Request, Vec<SecretFile>),
    /// A call with what is in a file.
    Transaction(Option<PathBuf>),
    Events,
    Top(Top),
    Import(Import),
    Completions(Shell),
    Man(Option<PathBuf>),
}

impl Request {
    /// The same, with one more parameter.
    pub(crate) fn with(mut self, key: &str, value: String) -> Self {
        if let Value::Object(params) = &mut self.params {
            params.insert(key.to_owned(), value.into());
        }
        self
    }
}

impl From<Request> for Action {
    fn from(request: Request) -> Self {
        Self::Call(request)
    }
}

impl Command {
    pub(crate) fn action(self) -> Result<Action, UsageError> {
        let plain = |method| Action::from(Request::new(method, Params::new()));
        Ok(match self {
            Self::Status => plain("status"),
            Self::Device(device) => device.request()?.into(),
            Self::Target(target) => target.request().into(),
            Self::Portal(portal) => portal.request().into(),
            Self::Group(group) => group.request()?.into(),
            Self::Initiator(initiator) => initiator.request().into(),
            Self::Chap(chap) => chap.action()?,
            Self::Dhchap(dhchap) => dhchap.action()?,
            Self::Session(session) => session.request().into(),
            Self::Reservation(reservation) => reservation.request().into(),
            Self::Config(config) => config.action()?,
            Self::Transaction { file } => Action::Transaction(file),
            Self::Stats => plain("stats"),
            Self::Events => Action::Events,
            Self::Top(top) => Action::Top(top),
            Self::Rpc(Rpc::Schema) => plain("rpc.schema"),
            Self::Completions { shell } => Action::Completions(shell),
            Self::Man { dir } => Action::Man(dir),
        })
    }
}

/// The call that makes these changes as one.
pub(crate) fn transaction(changes: Value) -> Request {
    Request {
        method: "transaction",
        params: json!({ "changes": changes }),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        fn look(command: &clap::Command, path: &str) {
            for inner in command.get_subcommands() {
                let path = format!("{path} {}", inner.get_name());
                assert!(inner.get_about().is_some(), "{path}");
                for argument in inner.get_arguments() {
                    assert!(
                        argument.get_help().is_some(),
                        "{path}: {}",
                        argument.get_id()
                    );
                }
                look(inner, &path);
            }
        }
        look(&Cli::command(), "pagecast");
    }

    #[test]
    fn intervals() {
        for (text, millis) in [
            ("1", 1000),
            ("0.1", 100),
            ("2.5s", 2500),
            ("3600", 3_600_000),
        ] {
            assert_eq!(interval(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "0", "0.09", "-1", "3601", "NaN", "inf", "s", "1m"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
