//! The command line of the pagecast storage target: asks a running daemon over its control socket.
#![forbid(unsafe_code)]

mod cli;
mod client;
mod failure;
mod files;
mod human;
mod import;
mod render;
mod table;
mod top;
mod watch;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use serde_json::Value;

use cli::{Action, Cli, Request};
use client::{Client, PATIENCE};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let Cli {
        socket,
        json,
        command,
    } = cli;
    match command.action()? {
        Action::Call(request) => call(&socket, json, &request),
        Action::WithSecrets(request, files) => {
            call(&socket, json, &files::with_secrets(request, &files)?)
        }
        Action::Transaction(file) => {
            let changes = files::changes(file.as_deref())?;
            call(&socket, json, &cli::transaction(changes))
        }
        Action::Events => watch::events(&socket, json),
        Action::Top(top) => top::run(&socket, json, top),
        Action::Import(import) => files::import(&import, json),
        Action::Completions(shell) => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pagecast", &mut text);
            print(&text)
        }
        Action::Man(dir) => files::manual(Cli::command(), dir.as_deref()),
    }
}

fn call(socket: &Path, json: bool, request: &Request) -> Result<(), Failure> {
    let result = Client::connect(socket, PATIENCE)?.call(request.method, &request.params)?;
    let text = if json {
        indented(&result)
    } else {
        render::render(request.method, &result)
    };
    print(text.as_bytes())
}

/// JSON for programs that people may look at.
fn indented(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Writes to standard output. That a reader has seen enough is no failure.
fn print(text: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}
