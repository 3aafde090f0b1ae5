//! Commands that need no daemon.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use common::{complaint, printed, run, scratch};

const NOBODY: &str = "/nowhere/socket";

#[test]
fn completions() {
    for (shell, expected) in [
        ("bash", "complete -F _pagecast"),
        ("zsh", "#compdef pagecast"),
        ("fish", "complete -c pagecast"),
    ] {
        let text = printed(Path::new(NOBODY), &format!("completions {shell}"));
        assert!(text.contains(expected), "{shell}: {text}");
        assert!(text.contains("import-scst"), "{shell}: {text}");
    }
}

#[test]
fn manual_pages() {
    let text = printed(Path::new(NOBODY), "man");
    for expected in [
        ".TH pagecast 1",
        ".SH \"EXIT STATUS\"\n  0  done\n",
        ".SH EXAMPLES\n  pagecast status\n",
        ".SH VERSION\n",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let dir = scratch("man").join("to/be/made");
    let line = format!("man {}", dir.display());
    assert_eq!(printed(Path::new(NOBODY), &line), "");
    for (page, expected) in [
        ("pagecast.1", "pagecast\\-initiator(1)"),
        ("pagecast-initiator-move.1", "without a new login"),
        ("pagecast-device-add.1", "disk1.img"),
        ("pagecast-config-import-scst.1", "scst.conf"),
        ("pagecast-device-add.1", ".SH EXAMPLES\n"),
        ("pagecast-top.1", ".SH KEYS\n"),
        ("pagecast-events.1", ".SH NOTES\nLines are coloured"),
    ] {
        let text = fs::read_to_string(dir.join(page)).expect(page);
        assert!(text.contains(expected), "{page}: {text}");
        assert!(!text.contains("EXTRA"), "{page}: {text}");
    }
    let (code, text) = complaint(Path::new(NOBODY), "man /dev/null/x");
    assert_eq!(code, Some(1));
    assert!(text.starts_with("pagecast: cannot write manual pages to /dev/null/x: "));
}

/// What the files mean is tested with the importers.
#[test]
fn imports() {
    let dir = scratch("import");
    let (from, to) = (dir.join("scst.conf"), dir.join("config.json"));
    let source = "HANDLER vdisk_fileio {\n\tDEVICE disk0 {\n\t\tfilename /srv/disk0.img\n\t\tnot_known 1\n\t}\n}\n";
    fs::write(&from, source).expect("written");
    let line = format!("config import-scst {}", from.display());

    let output = run(Path::new(NOBODY), &line);
    assert!(output.status.success(), "{output:?}");
    let config: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(config.get("devices").is_some(), "{config}");
    let notes = String::from_utf8(output.stderr).expect("text");
    assert!(notes.starts_with("pagecast: note: line "), "{notes}");

    let both: Value =
        serde_json::from_str(&printed(Path::new(NOBODY), &format!("--json {line}"))).expect("JSON");
    assert_eq!(both["config"], config);
    let listed = both["unmapped"].as_array().expect("a list");
    assert_eq!(listed.len(), notes.lines().count());
    assert!(
        listed.iter().all(|note| note["remedy"].is_string()),
        "{both}"
    );

    let line = format!("{line} --output {}", to.display());
    let output = run(Path::new(NOBODY), &line);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    let written: Value = serde_json::from_slice(&fs::read(&to).expect("there")).expect("JSON");
    assert_eq!(written, config);
    let mode = fs::metadata(&to).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // What is there stays, unless told otherwise.
    fs::write(&to, "mine").expect("written");
    let (code, text) = complaint(Path::new(NOBODY), &line);
    assert_eq!(code, Some(1));
    assert!(text.contains("overwrite it with --force"), "{text}");
    assert_eq!(fs::read_to_string(&to).expect("there"), "mine");
    assert!(
        run(Path::new(NOBODY), &format!("{line} --force"))
            .status
            .success()
    );
    let written: Value = serde_json::from_slice(&fs::read(&to).expect("there")).expect("JSON");
    assert_eq!(written, config);
    assert_eq!(fs::read_dir(&dir).expect("there").count(), 2);

    for verb in ["import-scst", "import-lio"] {
        let (code, text) = complaint(Path::new(NOBODY), &format!("config {verb} /nowhere/x"));
        assert_eq!(code, Some(1));
        assert!(
            text.starts_with("pagecast: cannot read /nowhere/x: "),
            "{text}"
        );
    }
    fs::write(&from, "{ bad").expect("written");
    let (code, text) = complaint(
        Path::new(NOBODY),
        &format!("config import-lio {}", from.display()),
    );
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with(&format!("pagecast: {}: line 1: ", from.display())),
        "{text}"
    );
}
