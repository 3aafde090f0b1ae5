mod mistakes;
mod random;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// The example of the documentation.
const EXAMPLE: &str = r#"{
  "devices": [
    { "name": "disk0", "backend": "file",   "path": "/srv/disk0.img" },
    { "name": "ram0",  "backend": "memory", "size": "1GiB", "block_size": 4096 }
  ],
  "targets": [
    { "name": "store",
      "portals": [
        { "transport": "srp",       "address": "0.0.0.0", "port": 5555 },
        { "transport": "iser",      "address": "0.0.0.0", "port": 3260 },
        { "transport": "nvme-rdma", "address": "0.0.0.0", "port": 4420 }
      ],
      "groups": [
        { "name": "everyone", "initiators": ["*"], "luns": { "0": "disk0", "1": "ram0" } }
      ] }
  ]
}"#;

/// Every key that there is, with values that are not the defaults.
const FULL: &str = r#"{
  "devices": [
    { "name": "a", "backend": "block", "path": "/dev/nvme0n1", "block_size": 4096, "read_only": true,
      "write_cache": false, "zero_copy": "odp", "command_timeout": "1min", "queue_depth_max": 7,
      "reservations": false, "max_registrants": 100,
      "serial": "S 1", "naa": "0x600508b1001c4d5e6f708192a3b4c5d6",
      "uuid": "F81D4FAE-7DEC-81D0-A765-00A0C91E6BF6" },
    { "name": "b", "backend": "memory", "size": 8192, "command_timeout": 5 }
  ],
  "targets": [
    { "name": "t", "iqn": "iqn.2020-01.org.example:t", "nqn": "nqn.2020-01.org.example:t",
      "srp_id_ext": "0200000000000001", "srp_ioc_guid": "0x0200000000000002",
      "portals": [ { "transport": "srp", "address": "::" },
                   { "transport": "srp", "service_id": "00000000010615b3" },
                   { "transport": "iscsi-tcp", "address": "[2001:db8::1]", "port": 3261 } ],
      "groups": [ { "name": "g", "initiators": ["!10.0.0.?", "*"], "luns": { "16383": "a", "7": { "device": "b" }, "8": { "device": "a", "read_only": true } } },
                  { "name": "h", "initiators": [] },
                  { "name": "i", "default": true, "luns": { "0": "b" } } ] },
    { "name": "u", "portals": [ { "transport": "srp", "address": "::", "port": 5555 } ] }
  ],
  "io_engine": "threads", "shards": 3, "poll_time": 0, "window_size": "4MiB", "pinned_memory": "8GiB",
  "staging_memory": "16MiB", "queue_depth": 512, "max_sessions": 9, "max_it_iu_len": 4148,
  "nop_interval": 0, "nop_timeout": "5s", "metrics": { "address": "::1", "port": 9000 }
}"#;

fn good(text: &str) -> Config {
    Config::parse(text, "c.json").unwrap_or_else(|error| panic!("{error}"))
}

fn problems(text: &str) -> Vec<String> {
    match Config::parse(text, "c.json") {
        Err(ConfigError::Invalid { problems, .. }) => {
            problems.iter().map(ToString::to_string).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// A document with one device that is `device`.
fn with_device(device: &str) -> String {
    format!(r#"{{ "devices": [ {device} ] }}"#)
}

/// A document with a device `d` and a target that has `rest`.
fn with_target(rest: &str) -> String {
    format!(
        r#"{{ "devices": [ {{ "name": "d", "backend": "file", "path": "/d" }} ],
             "targets": [ {{ "name": "t", {rest} }} ] }}"#
    )
}

#[test]
fn the_example() {
    let config = good(EXAMPLE);
    let [disk, ram] = &config.devices[..] else {
        panic!("two devices")
    };
    assert_eq!(
        *disk,
        DeviceConfig::new(
            Name::new("disk0").unwrap(),
            Store::File {
                path: "/srv/disk0.img".into()
            }
        )
    );
    assert_eq!(disk.block_size, 512);
    assert!(disk.write_cache && !disk.read_only);
    assert_eq!(
        ram.store,
        Store::Memory {
            size: ByteSize(1 << 30)
        }
    );
    assert_eq!(ram.block_size, 4096);
    let target = &config.targets[0];
    assert_eq!(target.portals[2].to_string(), "nvme-rdma 0.0.0.0:4420");
    assert_eq!(target.groups[0].luns[&1].device, "ram0");
    assert_eq!(config.settings, Settings::default());
    assert!(config.warnings().is_empty());
}

#[test]
fn every_key() {
    let config = good(FULL);
    let [a, b] = &config.devices[..] else {
        panic!("two devices")
    };
    assert_eq!(a.command_timeout, Span::seconds(60));
    assert_eq!(b.command_timeout, Span::seconds(5));
    assert_eq!(a.zero_copy, ZeroCopy::Odp);
    assert_eq!((a.reservations, a.max_registrants), (false, 100));
    assert_eq!((b.reservations, b.max_registrants), (true, 4096));
    assert_eq!(
        a.uuid.unwrap().to_string(),
        "f81d4fae-7dec-81d0-a765-00a0c91e6bf6"
    );
    assert_eq!(config.settings.poll_time, Span::micros(0));
    assert_eq!(config.settings.shard_count(), 3);
    assert_eq!(config.settings.iscsi_queue_depth(), 128);
    assert_eq!(config.settings.nop_interval, Span::seconds(0));
    assert_eq!(config.settings.nop_timeout, Span::seconds(5));
    assert_eq!(config.settings.pinned_memory, Some(ByteSize(8 << 30)));
    assert_eq!(config.metrics.unwrap().socket().to_string(), "[::1]:9000");
    let groups = &config.targets[0].groups;
    let luns: Vec<_> = (groups[0].luns.iter())
        .map(|(lun, mapped)| (*lun, mapped.device.to_string(), mapped.read_only))
        .collect();
    assert_eq!(
        luns,
        [
            (7, "b".to_owned(), false),
            (8, "a".to_owned(), true),
            (16383, "a".to_owned(), false)
        ]
    );
    let defaults: Vec<bool> = groups.iter().map(|group| group.default).collect();
    assert_eq!(defaults, [false, false, true]);
    assert!(groups[2].initiators.is_empty());
    let portals: Vec<String> = config.targets[0]
        .portals
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        portals,
        [
            "srp [::]:5555",
            "srp service id 00000000010615b3",
            "iscsi-tcp [2001:db8::1]:3261"
        ]
    );
    let shared: Vec<_> = config.listeners().into_iter().map(|l| l.targets).collect();
    assert_eq!(shared, [vec![0, 1], vec![0], vec![0]]);
}

#[test]
fn what_is_written_reads_back() {
    for text in [EXAMPLE, FULL, "{}"] {
        let config = good(text);
        assert_eq!(good(&config.to_json()), config, "{}", config.to_json());
    }
}

#[test]
fn nothing_is_a_configuration() {
    assert_eq!(good("{}"), Config::default());
    let settings = Settings::default();
    assert!((1..=8).contains(&settings.shard_count()));
}

#[test]
fn portals_that_go_together() {
    for portals in [
        r#"{ "transport": "srp", "address": "10.0.0.1" }, { "transport": "srp", "address": "10.0.0.2" }"#,
        r#"{ "transport": "srp", "address": "0.0.0.0" }, { "transport": "srp", "address": "2001:db8::1" }"#,
        r#"{ "transport": "srp", "address": "::" }, { "transport": "srp", "address": "::", "port": 5556 }"#,
        r#"{ "transport": "srp", "address": "::" }, { "transport": "srp", "address": "0.0.0.0" }"#,
        r#"{ "transport": "srp", "address": "10.0.0.1" }, { "transport": "srp", "address": "::" }"#,
        r#"{ "transport": "iser", "address": "::" }, { "transport": "iscsi-tcp", "address": "::" }"#,
        r#"{ "transport": "iser", "address": "10.0.0.1" }, { "transport": "iscsi-tcp", "address": "0.0.0.0" }"#,
    ] {
        good(&with_target(&format!(r#""portals": [ {portals} ]"#)));
    }
}

#[test]
fn metrics_have_a_place_of_their_own() {
    let with = |metrics: &str, portal: &str| {
        format!(
            r#"{{ "metrics": {{ {metrics} }}, "targets": [ {{ "name": "t", "portals": [ {portal} ] }} ] }}"#
        )
    };
    let tcp = |address: &str| {
        format!(r#"{{ "transport": "iscsi-tcp", "address": "{address}", "port": 9464 }}"#)
    };
    for (metrics, portal) in [
        ("", tcp("127.0.0.1")),
        ("", tcp("0.0.0.0")),
        ("", tcp("::")),
        (r#""address": "0.0.0.0""#, tcp("10.0.0.1")),
        (r#""address": "::""#, tcp("10.0.0.1")),
    ] {
        let [problem] = &problems(&with(metrics, &portal))[..] else {
            panic!("one problem");
        };
        let text = "9464 is taken by targets[0].portals[0]; give it another address or port";
        assert!(
            problem.starts_with("metrics: ") && problem.ends_with(text),
            "{problem}"
        );
    }
    for (metrics, portal) in [
        ("", tcp("10.0.0.1")),
        ("", tcp("::1")),
        (r#""port": 9465"#, tcp("127.0.0.1")),
        (r#""address": "0.0.0.0""#, tcp("2001:db8::1")),
        ("", tcp("127.0.0.1").replace("iscsi-tcp", "iser")),
    ] {
        good(&with(metrics, &portal));
    }

    let config = good(r#"{ "metrics": {} }"#);
    assert_eq!(
        config.metrics.unwrap().socket().to_string(),
        "127.0.0.1:9464"
    );
    for inside in ["127.0.0.2", "::1"] {
        let text = format!(r#"{{ "metrics": {{ "address": "{inside}" }} }}"#);
        assert!(good(&text).warnings().is_empty(), "{inside}");
    }
    let text = r#"{ "metrics": { "address": "::", "port": 99 } }"#;
    assert_eq!(
        good(text).warnings(),
        [
            "metrics are on [::]:99: everybody who can reach that address can read them, and with them the names of devices, \
          targets and initiators; leave \"address\" out to have them on this machine alone"
        ]
    );
}

#[test]
fn a_path_is_looked_at_as_it_is_meant() {
    let text = r#"{ "devices": [ { "name": "a", "backend": "file", "path": "/srv/d.img" },
                                 { "name": "b", "backend": "file", "path": "d.img" } ] }"#;
    good(text);
    let directory = Some(Path::new("/srv"));
    let node = super::node(text, "c.json").unwrap();
    let error = Config::from_node(&node, "c.json", directory).expect_err("one store twice");
    assert_eq!(
        error.to_string(),
        "c.json: devices[1].path: the path \"/srv/d.img\" is already that of devices[0].path; two devices cannot have the same store"
    );
}

#[test]
fn files() {
    let dir = std::env::temp_dir().join(format!("pagecast-config-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join("c.json");
    let missing = Config::from_file(&file).expect_err("missing").to_string();
    assert!(
        missing.starts_with(&format!("{}: cannot read", file.display())),
        "{missing}"
    );
    assert!(
        missing.ends_with("create it, or name another with --config"),
        "{missing}"
    );

    fs::write(&file, b"\xff\xfe").unwrap();
    let binary = Config::from_file(&file).expect_err("binary").to_string();
    assert!(binary.ends_with("save it as UTF-8"), "{binary}");

    fs::write(
        &file,
        with_device(r#"{ "name": "d", "backend": "file", "path": "x/d.img" }"#),
    )
    .unwrap();
    let config = Config::from_file(&file).expect("good");
    assert_eq!(config.devices[0].store.path(), Some(&dir.join("x/d.img")));
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn one_image() {
    let config =
        Config::from_file_options(Path::new("/srv/d.img"), &["10.0.0.7".to_owned()]).unwrap();
    assert_eq!(
        config.devices[0].store,
        Store::File {
            path: PathBuf::from("/srv/d.img")
        }
    );
    let target = &config.targets[0];
    assert_eq!(target.name, "store");
    let portals: Vec<String> = target.portals.iter().map(ToString::to_string).collect();
    assert_eq!(
        portals,
        [
            "srp [::]:5555",
            "iser [::]:3260",
            "nvme-rdma [::]:4420",
            "iscsi-tcp [::]:3260"
        ]
    );
    assert_eq!(target.groups[0].initiators, ["10.0.0.7"]);
    assert_eq!(target.groups[0].luns[&0].device, "disk0");
    assert!(config.warnings().is_empty());
    // It is a configuration like any other.
    assert_eq!(good(&config.to_json()), config);

    use std::os::unix::ffi::OsStrExt;
    let image = Path::new(std::ffi::OsStr::from_bytes(b"/srv/\xff.img"));
    let error = Config::from_file_options(image, &["*".to_owned()]).expect_err("no text");
    assert!(error.to_string().contains("is not UTF-8"), "{error}");

    assert!(config.needs_rdma() && !config.needs_only_rdma());
    let mut rdma = config.clone();
    let portals = &mut rdma.targets[0].portals;
    portals.retain(|portal| portal.transport.is_rdma());
    assert!(rdma.needs_only_rdma());
    let config = config.without_rdma();
    let portals: Vec<String> = (config.targets[0].portals.iter())
        .map(ToString::to_string)
        .collect();
    assert_eq!(portals, ["iscsi-tcp [::]:3260"]);
    assert!(!config.needs_rdma() && !config.needs_only_rdma());
}

#[test]
fn a_device_that_nvme_hosts_would_see_twice() {
    let twice = MINIMAL_TWICE.replace("TRANSPORT", "nvme-rdma");
    assert_eq!(
        good(&twice).warnings(),
        ["target store, group all: LUNs 0 and 3 are both disk0, of which NVMe hosts use one alone"]
    );
    // SCSI initiators take it for one disk with two addresses.
    let scsi = MINIMAL_TWICE.replace("TRANSPORT", "srp");
    assert!(good(&scsi).warnings().is_empty());
}

const MINIMAL_TWICE: &str = r#"{
  "devices": [ { "name": "disk0", "backend": "memory", "size": "1MiB" } ],
  "targets": [ { "name": "store",
    "portals": [ { "transport": "TRANSPORT", "address": "0.0.0.0" } ],
    "groups": [ { "name": "all", "initiators": ["*"], "luns": { "0": "disk0", "3": "disk0" } } ] } ]
}"#;
