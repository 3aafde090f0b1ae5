//! `pagecastd`: reads its command line and its configuration, and serves until it is told to stop.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use pagecast_rdma::fabric::{Fabric, FabricError};
use pagecast_rdma::local::NoFabric;
use pagecast_rdma::verbs::VerbsFabric;
use pagecastd::config::args::Args;
use pagecastd::config::{Config, Document};
use pagecastd::control::notify::Notifier;
use pagecastd::control::{ControlServer, Management};
use pagecastd::daemon::{Daemon, Observer};
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
    let server = ControlServer::start(&args.socket, management)?;
    daemon.run(Arc::new(Starter(Notifier::from_environment())))?;
    drop(server);
    Ok(())
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

/// The provider of RDMA, also if the configuration does not need it yet: a change may. Where `every` transport is asked for and there
/// is no RDMA, those that need none are what is left of the configuration.
fn open_fabric(config: Config, every: bool) -> Result<(Config, Arc<dyn Fabric>), FabricError> {
    match VerbsFabric::open() {
        Ok(fabric) => Ok((config, fabric)),
        Err(error) if !config.needs_rdma() => {
            tracing::debug!(%error, "no portal needs RDMA, and there is none");
            Ok((config, Arc::new(NoFabric)))
        }
        Err(error) if every => {
            tracing::warn!(%error, "serving iscsi-tcp alone");
            Ok((config.without_rdma(), Arc::new(NoFabric)))
        }
        Err(error) => Err(error),
    }
}
