//! `pagecastd`: reads its command line and its configuration, and serves until it is told to stop.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use pagecast_rdma::fabric::{Fabric, FabricError};
use pagecast_rdma::late::LateFabric;
use pagecast_rdma::verbs::VerbsFabric;
use pagecastd::config::args::Args;
use pagecastd::config::{Config, Document};
use pagecastd::control::notify::Notifier;
use pagecastd::control::{ControlServer, Management};
use pagecastd::daemon::{Daemon, Observer};
use pagecastd::ending::Ending;
use pagecastd::identity::MachineId;
use tracing::level_filters::LevelFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(args.log))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    // Whatever `serve` made is gone, or was left behind because it hangs: nothing is waited for from here on. The process ends with the
    // threads that it has.
    match serve(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pagecastd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let (document, config) = args.load()?;
    let exposed = args.config.as_deref().and_then(|file| config.exposed(file));
    for warning in config.warnings().into_iter().chain(exposed) {
        tracing::warn!("{warning}");
    }
    if args.check {
        args.check_stores(&config)?;
        writeln!(std::io::stdout(), "the configuration is good")?;
        return Ok(());
    }
    let machine = MachineId::load(&args.state_dir)?;
    let (config, fabric) = open_fabric(config, args.file.is_some())?;
    let document = document.unwrap_or_else(|| Document::from_config(&config));
    let made = (document, config);
    let daemon = Daemon::build(made, &machine, &args.state_dir, fabric, Instant::now())?;
    // Whoever names one file means that one: without it there is nothing to serve.
    if args.file.is_some()
        && let Some(missing) = daemon.shared.inventory().offline.first()
    {
        return Err(missing.why.clone().into());
    }
    let management: Arc<dyn Management> = daemon.shared.clone();
    let metrics = daemon.shared.inventory().config.metrics;
    (daemon.shared.metrics).begin(metrics.as_ref(), Arc::downgrade(&management))?;
    // The last to go is dropped below, where nobody waits for ever: its windows wait for stores.
    let shared = Arc::clone(&daemon.shared);
    let server = ControlServer::start(&args.socket, management)?;
    let mut ending = Ending::default();
    let served = daemon.run(Arc::new(Starter(Notifier::from_environment())), &mut ending);
    if !server.end(ending.times.clients) {
        ending.leave_behind();
    }
    let deadline = ending.by(ending.times.all);
    ending.let_go("windows, or clients of the metrics", shared, deadline);
    served?;
    Ok(ending.result()?)
}

/// Whoever started us. It may not listen.
struct Starter(Notifier);

impl Observer for Starter {
    fn ready(&self) {
        let mut out = std::io::stdout();
        let _ = writeln!(out, "ready").and_then(|()| out.flush());
        let _ = self.0.ready("serving");
    }

    fn reloading(&self) {
        let _ = self.0.reloading();
    }

    fn reloaded(&self) {
        let _ = self.0.ready("serving");
    }

    fn stopping(&self) {
        let _ = self.0.stopping();
    }
}

/// The provider of RDMA. Where it is not there, it may be later: the portals that need it are tried again, and the others serve. But
/// without any others there is nothing to serve. Where `every` transport is asked for, those that need no RDMA are what is left.
fn open_fabric(config: Config, every: bool) -> Result<(Config, Arc<dyn Fabric>), FabricError> {
    let open = || VerbsFabric::open().map(|fabric| fabric as Arc<dyn Fabric>);
    let error = match open() {
        Ok(fabric) => return Ok((config, fabric)),
        Err(error) => error,
    };
    let config = if !config.needs_rdma() {
        tracing::debug!(%error, "no portal needs RDMA, and there is none");
        config
    } else if every {
        tracing::warn!(%error, "serving iscsi-tcp alone");
        config.without_rdma()
    } else if config.needs_only_rdma() {
        return Err(error);
    } else {
        tracing::warn!(%error, "serving iscsi-tcp alone until there is RDMA");
        config
    };
    Ok((config, Arc::new(LateFabric::new(open))))
}
