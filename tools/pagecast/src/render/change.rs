//! What came of a change.

use super::fields::Fields;
use super::session::who;

pub(super) fn change(report: Fields<'_>) -> String {
    let kept = if report.has("file") {
        format!("saved in {}\n", report.text("file"))
    } else {
        "not saved: the daemon has no configuration file (--file), and forgets this when it ends\n"
            .to_owned()
    };
    kept + &consequences(report)
}

/// Of the configuration file, read again.
pub(super) fn reload(report: Fields<'_>) -> String {
    format!("read {}\n{}", report.text("file"), consequences(report))
}

fn consequences(report: Fields<'_>) -> String {
    let mut text = String::new();
    for session in report.items("sessions") {
        let before = session.text("group_before");
        text.push_str(&format!(
            "{}: {}\n",
            who(session),
            reassignment(session, &before)
        ));
    }
    for setting in report.items("restart_needed") {
        text.push_str(&format!(
            "{} takes effect when pagecastd is started again\n",
            setting.own_text()
        ));
    }
    for warning in report.items("warnings") {
        text.push_str(&format!("warning: {}\n", warning.own_text()));
    }
    text
}

/// `group lab -> backup, LUN 1 gone, LUN 2 new`, of a report or an event.
pub(super) fn reassignment(session: Fields<'_>, before: &str) -> String {
    if !session.has("group") {
        return match session.text("closed").as_str() {
            "not-authenticated" => "closed: it has not proved what its group asks for now",
            _ => "closed: nothing admits it any more",
        }
        .to_owned();
    }
    let group = session.text("group");
    let mut text = if group == before {
        format!("group {group}")
    } else {
        format!("group {before} -> {group}")
    };
    let luns = |key| -> Vec<u64> {
        let numbers = session.items(key).map(|lun| lun.0.as_u64());
        numbers.flatten().collect()
    };
    let (added, removed) = (luns("luns_added"), luns("luns_removed"));
    let other = |lun: &u64| added.contains(lun) && removed.contains(lun);
    let changed: Vec<u64> = added.iter().copied().filter(|lun| other(lun)).collect();
    let alone = |list: &[u64]| -> Vec<u64> {
        let rest = list.iter().copied().filter(|lun| !other(lun));
        rest.collect()
    };
    for (luns, what, what_all) in [
        (changed, "is another device", "are other devices"),
        (alone(&removed), "gone", "gone"),
        (alone(&added), "new", "new"),
    ] {
        match luns.as_slice() {
            [] => {}
            [one] => text.push_str(&format!(", LUN {one} {what}")),
            several => {
                let numbers: Vec<String> = several.iter().map(u64::to_string).collect();
                text.push_str(&format!(", LUNs {} {what_all}", numbers.join(" ")));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn why_sessions_are_closed() {
        for (closed, expected) in [
            (json!("not-admitted"), "closed: nothing admits it any more"),
            (
                json!("not-authenticated"),
                "closed: it has not proved what its group asks for now",
            ),
            // Of a daemon that is older than we are.
            (json!(null), "closed: nothing admits it any more"),
        ] {
            let session = json!({ "group": null, "closed": closed });
            assert_eq!(reassignment(Fields(&session), "web"), expected);
        }
    }
}
