//! Commands that read or write files here, without the daemon.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use clap_mangen::Man;
use serde_json::{Value, json};

use crate::cli::{Import, Request, SecretFile, Source};
use crate::failure::{Failure, complain};
use crate::human::clean;
use crate::{import, indented, print, render};

/// Bytes of a file, at most.
const LONGEST_FILE: u64 = 64 << 20;

/// The list of changes in a file, or on standard input.
pub(crate) fn changes(file: Option<&Path>) -> Result<Value, Failure> {
    let file = file.unwrap_or(Path::new("-"));
    let text = read(file)?;
    let bad = |what: String| {
        Failure::File(format!(
            "{}: {what}; a transaction is a list such as \
             [{{\"method\": \"device.remove\", \"params\": {{\"name\": \"disk0\"}}}}]",
            shown(file)
        ))
    };
    match serde_json::from_str(&text) {
        Ok(Value::Array(changes)) => Ok(Value::Array(changes)),
        Ok(_) => Err(bad("not a list".to_owned())),
        Err(error) => Err(bad(format!("not JSON ({error})"))),
    }
}

/// A call with what is in these files, each without the end of its line.
pub(crate) fn with_secrets(mut request: Request, files: &[SecretFile]) -> Result<Request, Failure> {
    for (key, file) in files {
        let mut secret = read(file)?;
        if secret.ends_with('\n') {
            secret.pop();
            if secret.ends_with('\r') {
                secret.pop();
            }
        }
        request = request.with(key, secret);
    }
    Ok(request)
}

/// A configuration from that of another target.
pub(crate) fn import(import: &Import, json: bool) -> Result<(), Failure> {
    let text = read(&import.file)?;
    let imported = match import.source {
        Source::Scst => import::scst(&text),
        Source::Lio => import::lio(&text),
    };
    let imported =
        imported.map_err(|error| Failure::File(format!("{}: {error}", shown(&import.file))))?;
    if let Some(output) = &import.output {
        write_new(output, &render::document(&imported.config), import.force)?;
    }
    let notes: Vec<Value> = imported
        .unmapped
        .iter()
        .map(|note| json!({ "at": note.at, "what": note.what, "remedy": note.remedy }))
        .collect();
    if json {
        let both = json!({ "config": imported.config, "unmapped": notes });
        return print(indented(&both).as_bytes());
    }
    if import.output.is_none() {
        print(render::document(&imported.config).as_bytes())?;
    }
    for note in &imported.unmapped {
        complain(&clean(&format!("note: {note}")), false);
    }
    Ok(())
}

/// The manual: every page into a directory, or the first one on standard output.
pub(crate) fn manual(command: clap::Command, dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let text = page(&Man::new(command)).map_err(Failure::Output)?;
        return print(text.as_bytes());
    };
    let mut command = command.disable_help_subcommand(true);
    // Gives commands within others their full names.
    command.build();
    fs::create_dir_all(dir)
        .and_then(|()| pages(&command, dir))
        .map_err(|error| {
            Failure::File(format!(
                "cannot write manual pages to {}: {error}",
                dir.display()
            ))
        })
}

fn pages(command: &clap::Command, dir: &Path) -> io::Result<()> {
    for inner in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        pages(inner, dir)?;
    }
    let man = Man::new(command.clone());
    fs::write(dir.join(man.get_filename()), page(&man)?)
}

/// One page. What help texts end with has the section EXTRA for a name; it gets those that manual pages have (man-pages(7)).
fn page(man: &Man) -> io::Result<String> {
    let mut text = Vec::new();
    man.render(&mut text)?;
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    let Some((before, after)) = text.split_once(".SH EXTRA\n") else {
        return Ok(text);
    };
    let mut page = before.to_owned();
    let (mut within, mut begins) = (true, true);
    for line in after.lines() {
        within &= !line.starts_with(".SH ");
        let heading = match line {
            _ if !within => None,
            "Exit codes:" => Some("\"EXIT STATUS\""),
            "Examples:" => Some("EXAMPLES"),
            "Keys:" => Some("KEYS"),
            text if begins && !text.starts_with([' ', '.']) && !text.is_empty() => {
                page.push_str(".SH NOTES\n");
                None
            }
            _ => None,
        };
        // A paragraph of its own may be another section.
        begins = line.is_empty();
        match heading {
            Some(heading) => page.push_str(&format!(".SH {heading}\n")),
            None => page.push_str(&format!("{line}\n")),
        }
    }
    Ok(page)
}

fn read(file: &Path) -> Result<String, Failure> {
    let cannot = |cause: &dyn std::fmt::Display| {
        Failure::File(format!("cannot read {}: {cause}", shown(file)))
    };
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(|cause| cannot(&cause))?)
    };
    let mut text = String::new();
    let count = source
        .take(LONGEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|cause| cannot(&cause))?;
    if u64::try_from(count).is_ok_and(|count| count <= LONGEST_FILE) {
        Ok(text)
    } else {
        Err(cannot(&format!("it has more than {LONGEST_FILE} bytes")))
    }
}

fn shown(file: &Path) -> String {
    if file == Path::new("-") {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// Writes a file of which there is none yet, unless told otherwise. A configuration may have secrets in it.
fn write_new(file: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let cannot = |cause: io::Error| {
        let file = file.display();
        Failure::File(match cause.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("there is {file} already; name another file, or overwrite it with --force")
            }
            _ => format!("cannot write {file}: {cause}"),
        })
    };
    if !force {
        return create(file, text).map_err(cannot);
    }
    // What is there stays until all of the new one is.
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = file.with_file_name(name);
    create(&new, text)
        .and_then(|()| fs::rename(&new, file).inspect_err(|_| remove(&new)))
        .map_err(cannot)
}

fn create(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut made = options.open(file)?;
    made.write_all(text.as_bytes())
        .and_then(|()| made.sync_all())
        .inspect_err(|_| remove(file))
}

/// Of a file that is only half there.
fn remove(file: &Path) {
    // What went wrong before is what people want to hear of.
    let _ = fs::remove_file(file);
}
