//! The view without a terminal: two made up samples, and what is shown of them.

mod picture;

use std::fs;
use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use serde_json::{Value, json};

use super::model::View;
use super::sample::Sample;
use super::screen::{Flow, Screen};
use super::tables;

/// Compares a text with what it was. With BLESS in the environment, makes it so.
fn same(file: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, text).expect("written");
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        text == expected,
        "{} has\n{expected}\nand not\n{text}",
        file.display()
    );
}

/// Commands so far: `per_second` of them, mostly of 2^(middle-1) to 2^middle microseconds.
fn times(per_second: u64, middle: usize, second: u64) -> Value {
    let mut buckets = vec![0; 32];
    for (bucket, thousandths) in [
        (middle - 1, 250),
        (middle, 700),
        (middle + 1, 47),
        (middle + 3, 3),
    ] {
        buckets[bucket] = per_second * second * thousandths / 1000;
    }
    json!(buckets)
}

/// Of a device or a session.
fn counters(second: u64, read: (u64, u64), write: (u64, u64)) -> Value {
    let longest = |per_second: u64, middle: usize| match per_second {
        0 => 0,
        _ => 3 * (1_u64 << (middle + 1)),
    };
    json!({
        "reads": read.0 * second, "read_bytes": read.0 * read.1 * second,
        "read_bytes_zero_copy": read.0 * read.1 * second * 995 / 1000,
        "writes": write.0 * second, "write_bytes": write.0 * write.1 * second,
        "write_bytes_zero_copy": 0,
        "other": 0,
        "latency": {
            "read": { "max_us": longest(read.0, 6) },
            "write": { "max_us": longest(write.0, 8) },
            "other": { "max_us": 0 },
        },
        "latency_buckets": {
            "read": times(read.0, 6, second),
            "write": times(write.0, 8, second),
            "other": times(0, 1, second),
        },
    })
}

fn merged(mut one: Value, other: Value) -> Value {
    let fields = other.as_object().expect("an object").clone();
    one.as_object_mut().expect("an object").extend(fields);
    one
}

fn device(name: &str, state: &str, in_flight: u64, counters: Value) -> Value {
    let device = json!({
        "name": name, "state": state, "queue_depth": 128, "queue_depth_max": 256, "in_flight": in_flight,
    });
    merged(device, counters)
}

fn session(
    id: u64,
    initiator: &str,
    transport: &str,
    group: &str,
    in_flight: u64,
    counters: Value,
) -> Value {
    let session = json!({
        "id": id, "initiator": initiator, "target": "store", "group": group, "transport": transport,
        "peer": format!("10.0.0.{}", 10 + id), "in_flight": in_flight,
    });
    merged(session, counters)
}

/// After so many seconds, from a daemon that has been up for a day.
fn sample(second: u64) -> Sample {
    let reads = |per_second| counters(second, (per_second, 4096), (0, 0));
    let sequential = counters(second, (2400, 1 << 20), (0, 0));
    let mixed = counters(second, (21_300, 4096), (9100, 8192));
    Sample {
        stats: json!({
            "uptime_seconds": 93_784 + second, "connections": 9, "registered_bytes": 3_543_348_019_u64,
            "pinned_bytes": 2_040_109_465_u64, "pinned_limit_bytes": 2_147_483_648_u64,
            "staged_bytes": 9_437_184, "staged_limit_bytes": 134_217_728,
        }),
        devices: vec![
            device("disk0", "online", 62, reads(184_200)),
            device("images", "online", 16, sequential.clone()),
            device("db", "online", 128, mixed.clone()),
            device("archive", "failed", 0, counters(0, (0, 0), (0, 0))),
        ],
        devices_at: Duration::from_secs(second),
        sessions: vec![
            session(
                1,
                "0x0000000000000000505400fffe000002",
                "srp",
                "hosts",
                32,
                reads(96_400),
            ),
            session(
                2,
                "nqn.2014-08.org.nvmexpress:uuid:f86491d4-f922-4592-a9c3-147d80a5c7f4",
                "nvme-rdma",
                "hosts",
                30,
                reads(87_800),
            ),
            session(
                3,
                "iqn.1993-08.org.debian:01:db7",
                "iser",
                "databases",
                128,
                mixed,
            ),
            session(
                4,
                "iqn.1993-08.org.debian:01:build3",
                "iser",
                "hosts",
                16,
                sequential,
            ),
            session(
                7,
                "iqn.1993-08.org.debian:01:desk",
                "iscsi-tcp",
                "guests",
                0,
                counters(0, (0, 0), (0, 0)),
            ),
        ],
        sessions_at: Duration::from_secs(second),
    }
}

fn view() -> View {
    View::new(Some(&sample(5)), &sample(6))
}

#[test]
fn rates_and_times_are_those_between_two_samples() {
    let view = view();
    assert_eq!(view.interval_seconds, Some(1.0));
    assert!(!view.restarted);
    let disk0 = &view.devices[0];
    assert_eq!(disk0.rates.read_iops, Some(184_200.0));
    assert_eq!(disk0.rates.read_bytes_per_second, Some(184_200.0 * 4096.0));
    assert_eq!(disk0.rates.write_iops, Some(0.0));
    assert_eq!(disk0.zero_copy_share, Some(0.995));
    let latency = disk0.latencies.latency.expect("commands");
    assert_eq!(latency.count, 184_199);
    // The buckets are whole numbers. A quarter is below 32 us, and half of all are 25/70 into 32..64.
    assert_eq!(latency.p50_us, 43.4);
    assert_eq!(disk0.latencies.write_latency, None);
    assert_eq!(view.total.read_iops, Some(184_200.0 + 2400.0 + 21_300.0));
    assert_eq!(view.sessions[2].rates.write_iops, Some(9100.0));

    // Half as much in twice the time.
    let mut later = sample(6);
    later.devices_at = Duration::from_secs(7);
    let view = View::new(Some(&sample(5)), &later);
    assert_eq!(view.devices[0].rates.read_iops, Some(92_100.0));
}

#[test]
fn one_sample_has_no_rates() {
    let view = View::new(None, &sample(6));
    assert_eq!(view.interval_seconds, None);
    assert_eq!(view.total.iops(), None);
    assert_eq!(view.devices[0].rates.read_iops, None);
    assert_eq!(view.devices[0].latencies.latency, None);
    assert_eq!(view.devices[0].zero_copy_share, None);
    assert_eq!(view.devices[0].in_flight, 62);
}

#[test]
fn a_daemon_that_was_started_again_has_no_rates() {
    let mut now = sample(6);
    for uptime in [0, 93_784 + 2] {
        now.stats["uptime_seconds"] = json!(uptime);
        let mut before = sample(5);
        // It would have been up for longer by now.
        before.devices_at = Duration::ZERO;
        let view = View::new(Some(&before), &now);
        assert!(view.restarted, "{uptime}");
        assert_eq!(view.total.iops(), None);
        assert_eq!(view.devices[0].latencies.latency, None);
        assert!(tables::text(&view).contains("pagecastd was started again"));
    }
}

#[test]
fn devices_and_sessions_come_and_go() {
    let (mut before, mut now) = (sample(5), sample(6));
    // New since: all that it has done was in between.
    before.devices.remove(1);
    before.sessions.remove(0);
    // Gone since.
    now.sessions.pop();
    // Another one of the same name: nobody knows.
    now.devices[2] = device("db", "online", 1, counters(1, (5, 4096), (0, 0)));
    let view = View::new(Some(&before), &now);
    assert_eq!(view.devices[1].rates.read_iops, Some(2400.0 * 6.0));
    assert_eq!(view.sessions[0].rates.read_iops, Some(96_400.0 * 6.0));
    assert_eq!(view.devices[2].rates.read_iops, None);
    assert_eq!(view.devices[2].latencies.latency, None);
    assert_eq!(view.total.read_iops, Some(184_200.0 + 2400.0 * 6.0));
    assert_eq!(view.sessions.len(), 4);
}

#[test]
fn an_older_daemon_has_less_to_show() {
    let strip = |mut sample: Sample| {
        for item in sample.devices.iter_mut().chain(&mut sample.sessions) {
            let item = item.as_object_mut().expect("an object");
            item.remove("latency_buckets");
            item.remove("queue_depth");
        }
        for session in &mut sample.sessions {
            session.as_object_mut().expect("an object").remove("reads");
        }
        sample
    };
    let view = View::new(Some(&strip(sample(5))), &strip(sample(6)));
    assert_eq!(view.devices[0].rates.read_iops, Some(184_200.0));
    assert_eq!(view.devices[0].latencies.latency, None);
    assert_eq!(view.sessions[0].rates.iops(), None);
    assert!(tables::text(&view).contains("  -/256  "));
}

#[test]
fn text_for_once() {
    same("tests/snapshots/top-once.txt", &tables::text(&view()));
}

#[test]
fn json_for_once() {
    same(
        "tests/snapshots/top-once.json",
        &format!("{:#}\n", view().to_json()),
    );
}

fn drawn(screen: &mut Screen, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| screen.draw(frame)).expect("drawn");
    terminal.backend().buffer().clone()
}

fn rows(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    let row = |y| {
        (0..area.width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..area.height)
        .map(|y| row(y).trim_end().to_owned())
        .collect()
}

fn screen() -> Screen {
    Screen::new(view(), "1 s".to_owned())
}

fn press(screen: &mut Screen, keys: &[KeyCode]) -> Flow {
    let mut flow = Flow::Go;
    for &key in keys {
        flow = screen.key(key, KeyModifiers::NONE);
    }
    flow
}

#[test]
fn screens() {
    for (name, width, height) in [("wide", 130, 18), ("narrow", 80, 14), ("tiny", 30, 6)] {
        let text = rows(&drawn(&mut screen(), width, height)).join("\n");
        same(
            &format!("tests/snapshots/top-{name}.txt"),
            &format!("{text}\n"),
        );
    }
}

/// The picture in the documentation.
#[test]
fn the_picture_is_what_is_shown() {
    let mut screen = screen();
    press(&mut screen, &[KeyCode::Char('s')]);
    let buffer = drawn(&mut screen, 130, 19);
    same("../../docs/images/top.svg", &picture::svg(&buffer));
}

#[test]
fn no_size_is_too_small() {
    for width in [0, 1, 2, 3, 10, 300] {
        for height in [0, 1, 2, 3, 5, 6, 7, 8, 300] {
            let mut screen = screen();
            drawn(&mut screen, width, height);
            press(
                &mut screen,
                &[KeyCode::End, KeyCode::Tab, KeyCode::PageDown],
            );
            drawn(&mut screen, width, height);
        }
    }
}

#[test]
fn keys() {
    let mut screen = screen();
    let first = |screen: &mut Screen, header: &str| {
        let rows = rows(&drawn(screen, 130, 14));
        let at = rows
            .iter()
            .position(|row| row.contains(header))
            .expect(header);
        rows[at + 1].clone()
    };
    // In order, by IOPS, by bandwidth, by latency, by commands in flight, in order.
    for (devices, sessions) in [
        ("disk0", "  1 "),
        ("disk0", "  1 "),
        ("images", "  4 "),
        ("db", "  3 "),
        ("db", "  3 "),
        ("disk0", "  1 "),
    ] {
        let row = first(&mut screen, "DEVICE");
        assert!(row.trim_start().starts_with(devices), "{row}");
        let row = first(&mut screen, "INITIATOR");
        assert!(row.starts_with(sessions), "{row}");
        press(&mut screen, &[KeyCode::Char('s')]);
    }
    press(&mut screen, &[KeyCode::Char('s'); 4]);

    // Two rows of devices there is no room for, and two of sessions.
    press(&mut screen, &[KeyCode::Down]);
    assert!(first(&mut screen, "DEVICE").contains("images"));
    press(&mut screen, &[KeyCode::End]);
    assert!(!first(&mut screen, "DEVICE").contains("disk0"));
    // It stopped at the end.
    let last = first(&mut screen, "DEVICE");
    press(&mut screen, &[KeyCode::Down, KeyCode::PageDown]);
    assert_eq!(first(&mut screen, "DEVICE"), last);
    press(&mut screen, &[KeyCode::Home, KeyCode::Tab, KeyCode::Down]);
    assert!(first(&mut screen, "DEVICE").contains("disk0"));
    assert!(first(&mut screen, "INITIATOR").contains("nvme-rdma"));
    press(&mut screen, &[KeyCode::Up, KeyCode::Up]);
    assert!(first(&mut screen, "INITIATOR").contains("srp"));

    // Paused, what is there stays.
    press(&mut screen, &[KeyCode::Char('p')]);
    screen.show(View::new(None, &sample(9)));
    assert!(first(&mut screen, "DEVICE").contains("184.2k"));
    assert!(rows(&drawn(&mut screen, 130, 14))[0].contains("paused"));
    press(&mut screen, &[KeyCode::Char(' ')]);
    screen.show(View::new(None, &sample(9)));
    assert!(!first(&mut screen, "DEVICE").contains("184.2k"));

    // Trouble is in the last line until it is over.
    screen.complain("nobody is there".to_owned());
    assert!(rows(&drawn(&mut screen, 130, 14))[13].contains("nobody is there"));
    screen.show(view());
    assert!(rows(&drawn(&mut screen, 130, 14))[13].contains("quit"));

    for key in [KeyCode::Char('q'), KeyCode::Esc] {
        assert_eq!(press(&mut screen, &[key]), Flow::Quit);
    }
    let interrupt = screen.key(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(interrupt, Flow::Quit);
}
