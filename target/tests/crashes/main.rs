//! A daemon that is killed while its configuration changes, again and again: what it is started with next is the last state that it had
//! acknowledged, or the one that was on its way.
#![forbid(unsafe_code)]

mod changes;
mod daemon;

use std::time::Duration;

use changes::Changes;
use daemon::{Daemon, Scratch};
use pagecastd::config::Document;

/// Changes that are asked for in all.
const CHANGES: usize = 1_000;
/// One of so many is not waited for.
const KILLED: u64 = 12;

#[test]
fn a_killed_daemon_has_what_it_acknowledged() {
    for seed in [1, 2] {
        run(seed, CHANGES / 2);
    }
}

fn run(seed: u64, count: usize) {
    let scratch = Scratch::new(&format!("crashes-{seed}"));
    let mut changes = Changes::new(seed);
    let mut daemon = Daemon::start(&scratch);
    let (mut made, mut refused, mut killed, mut in_flight_won) = (0, 0, 0, 0);
    // How long a change takes, in microseconds, so that the end comes at any point of one.
    let mut usual = 1000;
    for number in 0..count {
        let (before, config) = Document::from_file(&scratch.config()).expect("a good file");
        let edit = changes.next(&config);
        let expected = before.edited(std::slice::from_ref(&edit));
        let (method, params) = changes::request(&edit);
        if changes.one_in(KILLED) {
            let wait = Duration::from_micros(usual / 3 + changes.below(usual));
            let answered = daemon.ask_and_kill(method, &params, wait);
            let after = Document::from_file(&scratch.config());
            let after = after
                .unwrap_or_else(|error| panic!("seed {seed}, change {number}: {error}"))
                .0;
            let on_its_way = expected
                .as_ref()
                .ok()
                .map(|(document, _)| document.to_text());
            let is_new = on_its_way.as_ref() == Some(&after.to_text());
            let is_old = after.to_text() == before.to_text();
            match answered {
                Some(true) => assert!(
                    is_new,
                    "seed {seed}, change {number}: {edit:?} was acknowledged and is lost"
                ),
                Some(false) => assert!(
                    is_old,
                    "seed {seed}, change {number}: {edit:?} was refused and changed something"
                ),
                None => assert!(
                    is_old || is_new,
                    "seed {seed}, change {number}: neither before nor after {edit:?}"
                ),
            }
            killed += 1;
            in_flight_won += usize::from(answered.is_none() && is_new && !is_old);
            daemon = Daemon::start(&scratch);
            let shown = daemon.call("config.show", "{}");
            let wanted = Document::from_file(&scratch.config())
                .expect("a good file")
                .1;
            let wanted = serde_json::to_value(&wanted).expect("JSON");
            assert_eq!(
                shown["result"]["config"], wanted,
                "seed {seed}, change {number}"
            );
            continue;
        }
        let began = std::time::Instant::now();
        let answer = daemon.call(method, &params);
        let took = began.elapsed().as_micros() as u64;
        match expected {
            Ok((document, _)) if answer.get("result").is_some() => {
                let text = std::fs::read_to_string(scratch.config()).expect("readable");
                assert_eq!(
                    text,
                    document.to_text(),
                    "seed {seed}, change {number}: {edit:?}"
                );
                usual = (usual * 7 + took) / 8;
                made += 1;
            }
            Err(_) if answer.get("error").is_some() => refused += 1,
            other => {
                panic!("seed {seed}, change {number}: {edit:?}: {answer} where {other:?} was due")
            }
        }
    }
    eprintln!(
        "seed {seed}: {made} made, {refused} refused, {killed} times killed; {in_flight_won} unanswered ones were kept"
    );
    // What has to have happened, or nothing was tested.
    assert!(made > count / 4 && refused > count / 20 && killed > count / 40);
}
