//! What is written about metrics is about metrics that there are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::families::{Family, Kind, all};

fn read(file: &str) -> String {
    let docs = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
    std::fs::read_to_string(docs.join(file)).expect("a file")
}

/// The tables of `docs/metrics.md`.
fn tables() -> String {
    let sections = [
        ("pagecast_device_", "Devices"),
        ("pagecast_session_", "Sessions"),
        ("", "The daemon"),
    ];
    let section = |family: &Family| {
        let one = sections
            .iter()
            .find(|(start, _)| family.name.starts_with(start));
        one.expect("the last takes all").1
    };
    let mut out = String::new();
    for title in ["The daemon", "Devices", "Sessions"] {
        out += &format!("### {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
        for family in all().iter().filter(|family| section(family) == title) {
            let labels: Vec<String> = family
                .labels
                .iter()
                .map(|label| format!("`{label}`"))
                .collect();
            out += &format!(
                "| `{}` | {} | {} | {} |\n",
                family.name,
                family.kind.as_str(),
                labels.join(", "),
                family.help
            );
        }
        out.push('\n');
    }
    out
}

#[test]
fn every_metric_is_in_the_docs() {
    let tables = tables();
    assert!(
        read("metrics.md").contains(&tables),
        "docs/metrics.md should have:\n{tables}"
    );
}

/// Metrics that are named in PromQL, with the labels that are asked for.
fn uses(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("pagecast_") {
        rest = &rest[at..];
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            let end = inner.find('}').expect("a closing brace");
            labels = inner[..end]
                .split(',')
                .map(|one| one.split(['=', '!']).next().unwrap_or_default().to_owned())
                .collect();
        }
        found.push((name, labels));
    }
    found
}

fn check_uses(text: &str) -> usize {
    let families: BTreeMap<&str, Family> = all().into_iter().map(|f| (f.name, f)).collect();
    let uses = uses(text);
    for (name, labels) in &uses {
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| families.get(name.strip_suffix(suffix)?))
            .find(|family| family.kind == Kind::Histogram);
        let plain = families.get(name.as_str());
        let family = of_histogram.or(plain.filter(|family| family.kind != Kind::Histogram));
        let family = family.unwrap_or_else(|| panic!("there is no {name}"));
        for label in labels {
            let known = ["instance", "job"].contains(&label.as_str());
            assert!(
                known || family.labels.contains(&label.as_str()),
                "{name} has no {label}"
            );
        }
    }
    uses.len()
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("grafana/pagecast.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut asked = 0;
    let mut ids = Vec::new();
    for panel in panels {
        ids.push(panel["id"].as_u64().expect("an id"));
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let expr = target["expr"].as_str().expect("an expression");
            let uses = check_uses(expr);
            assert!(uses > 0, "{expr}");
            let balance = |open, close| {
                expr.chars().filter(|&c| c == open).count()
                    == expr.chars().filter(|&c| c == close).count()
            };
            assert!(
                balance('(', ')') && balance('{', '}') && balance('[', ']'),
                "{expr}"
            );
            asked += uses;
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "panels with the same id");
    for variable in dashboard["templating"]["list"]
        .as_array()
        .expect("variables")
    {
        if variable["type"] == "query" {
            check_uses(variable["definition"].as_str().expect("a definition"));
        }
    }
    for note in dashboard["annotations"]["list"].as_array().expect("notes") {
        check_uses(note["expr"].as_str().unwrap_or_default());
    }
    assert!(asked > 40, "{asked}");
    // Of what panels there have to be.
    let text = dashboard.to_string();
    for must in [
        "histogram_quantile",
        "read_zero_copy_bytes",
        "in_flight",
        "queue_depth",
        "pinned_bytes",
        "errors_total",
        "$instance",
        "$device",
    ] {
        assert!(text.contains(must), "no panel for {must}");
    }
}

#[test]
fn examples_in_the_docs_ask_for_what_there_is() {
    let docs = read("metrics.md");
    let mut checked = 0;
    // Blocks of code are every second piece.
    for block in docs.split("```").skip(1).step_by(2) {
        checked += check_uses(block);
    }
    assert!(checked > 8, "{checked}");
}

#[test]
#[should_panic(expected = "there is no pagecast_device_iops")]
fn unknown_metrics_are_found() {
    check_uses("rate(pagecast_device_iops[5m])");
}

#[test]
#[should_panic(expected = "pagecast_device_reads_total has no initiator")]
fn unknown_labels_are_found() {
    check_uses("rate(pagecast_device_reads_total{initiator=\"x\"}[5m])");
}
