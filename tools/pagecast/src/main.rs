//! The command line of the pagecast storage target: asks a running daemon over its control socket.
#![forbid(unsafe_code)]

mod cli;
mod client;
mod human;
mod render;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

use cli::{Cli, Request};
use client::ClientError;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let request = cli.command.request();
    match client::call(&cli.socket, request.method, &request.params) {
        Ok(result) => match print(&cli, &request, &result) {
            Ok(()) => ExitCode::SUCCESS,
            // Whoever reads our output has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("cannot write the answer: {error}"));
                ExitCode::from(cli::EXIT_UNREACHABLE)
            }
        },
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(match error {
                ClientError::Refused(_) => cli::EXIT_REFUSED,
                _ => cli::EXIT_UNREACHABLE,
            })
        }
    }
}

fn print(cli: &Cli, request: &Request, result: &Value) -> io::Result<()> {
    let text = if cli.json {
        format!("{result:#}\n")
    } else {
        render::render(request.method, result)
    };
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

fn complain(message: &str) {
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr(), "pagecast: {}", human::clean(message));
}
