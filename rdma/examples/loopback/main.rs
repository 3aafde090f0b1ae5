//! Both sides of a fabric in one process: makes connections to itself and checks that everything the seam promises holds.
//!
//! ```text
//! loopback sim [SEED]                        the simulated network
//! loopback verbs ADDRESS [--file FILE] [--remove COMMAND]
//!                                            this machine's own devices; ADDRESS (IPv4 or IPv6) must be of a
//!                                            network interface that has one. FILE, to be made, may lie on any file
//!                                            system; COMMAND takes the device away, such as `rdma link del rxe0`
//! ```
//!
//! Prints a line for each thing that held and stops at the first that did not.
#![allow(unsafe_code, reason = "maps a file, and sleeps in poll(2)")]
#![allow(clippy::print_stdout, reason = "its output")]

mod check;
mod mapping;
mod peer;
mod work;

use std::env;
use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use pagecast_rdma::fabric::Fabric;
use pagecast_rdma::sim::SimNet;
use pagecast_rdma::verbs::VerbsFabric;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What to run over.
struct Stage {
    fabric: Arc<dyn Fabric>,
    address: IpAddr,
    file: PathBuf,
    /// Real hardware, real kernel.
    verbs: bool,
    /// Takes the device away.
    remove: Option<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("not ok - {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let mut args = env::args().skip(1);
    let file = env::temp_dir().join(format!("pagecast-loopback-{}", std::process::id()));
    match args.next().as_deref() {
        Some("sim") => {
            let seed = args.next().map_or(Ok(1), |seed| seed.parse())?;
            let net = SimNet::new(seed);
            let address = IpAddr::from([10, 99, 0, 1]);
            let fabric = net.fabric("sim0", &[address])?;
            let _runner = net.spawn()?;
            check::all(&Stage {
                fabric,
                address,
                file,
                verbs: false,
                remove: None,
            })
        }
        Some("verbs") => {
            let mut stage = Stage {
                fabric: VerbsFabric::open()?,
                address: args.next().ok_or("which address?")?.parse()?,
                file,
                verbs: true,
                remove: None,
            };
            while let Some(option) = args.next() {
                let value = args.next().ok_or("the option has no value")?;
                match option.as_str() {
                    "--file" => stage.file = value.into(),
                    "--remove" => stage.remove = Some(value),
                    _ => return Err(format!("unknown option {option}").into()),
                }
            }
            check::all(&stage)
        }
        _ => Err(
            "usage: loopback sim [SEED] | loopback verbs ADDRESS [--file FILE] [--remove COMMAND]"
                .into(),
        ),
    }
}
