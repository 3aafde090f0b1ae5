use serde_json::Value;

use super::*;

fn remove(name: &str, force: bool) -> Edit {
    Edit::RemoveDevice {
        name: name.to_owned(),
        force,
    }
}

fn resize(name: &str, size: u64) -> Edit {
    Edit::ResizeDevice {
        name: name.to_owned(),
        size,
    }
}

#[test]
fn a_device_is_added_at_the_end_with_its_keys_in_order() {
    changes(
        Edit::AddDevice(json!({
            "serial": "S1", "path": "/srv/new.img", "read_only": true, "backend": "file", "name": "new"
        })),
        &[(
            r#""size": 8192 }"#,
            r#""size": 8192 },
               { "name": "new", "backend": "file", "path": "/srv/new.img", "read_only": true, "serial": "S1" }"#,
        )],
    );
}

#[test]
fn the_first_device() {
    let (empty, _) = document(r#"{ "shards": 1 }"#);
    let ram = Edit::AddDevice(json!({ "name": "ram0", "backend": "memory", "size": "1MiB" }));
    let (document, config) = empty.edited(&[ram]).unwrap();
    assert_eq!(
        document.to_text(),
        "{\n  \"devices\": [{ \"name\": \"ram0\", \"backend\": \"memory\", \"size\": \"1MiB\" }],\n  \"shards\": 1\n}\n"
    );
    assert_eq!(config.devices.len(), 1);
}

#[test]
fn devices_that_are_not_added() {
    for (device, expected) in [
        (
            json!({ "name": "disk0", "backend": "memory", "size": "1MiB" }),
            "refused: there is a device disk0 already; choose another name, or remove that one first",
        ),
        (
            json!({ "name": "new", "backend": "file", "path": "new.img" }),
            "invalid: path: \"new.img\" is relative, and to what nobody knows; give the whole path, such as \"/srv/disk0.img\"",
        ),
        (
            json!({ "name": "new", "backend": "file", "path": "/d", "block_size": 513 }),
            "invalid: block_size: 513 is not a block size; give 512 or 4096",
        ),
        (
            json!({ "backend": "file", "blok_size": 512 }),
            "invalid: blok_size: unknown key \"blok_size\"; did you mean `block_size`?; the key \"name\" is missing; \
             add \"name\": \"disk0\"; the key \"path\" is missing; add \"path\": \"/srv/disk0.img\"",
        ),
        (
            json!({ "name": "../x", "backend": "memory", "size": "1MiB" }),
            "invalid: name: \"../x\" is not a name; use letters, digits, '-', '_' and '.', at most 64, beginning with a letter or digit",
        ),
        (
            json!(["disk9"]),
            "invalid: a list is not what belongs here; give an object: { ... }",
        ),
        (
            json!({ "name": "new", "backend": "memory", "size": 1.5 }),
            "invalid: size: 1.5 is not what belongs here; give bytes as a number, or a size such as \"1GiB\", from \"4KiB\" to \"64TiB\"",
        ),
        (
            Value::Null,
            "invalid: null is not what belongs here; give an object: { ... }",
        ),
    ] {
        assert_eq!(refused(Edit::AddDevice(device)), expected);
    }
    // Relative in the document, and the same file.
    let path = std::env::temp_dir().join("images/disk0.img");
    let device = json!({ "name": "new", "backend": "file", "path": path });
    assert_eq!(
        refused(Edit::AddDevice(device)),
        format!(
            "config: the configuration after the change: devices[3].path: the path {path:?} is already that of devices[0].path; \
             two devices cannot have the same store"
        )
    );
}

#[test]
fn a_device_is_removed() {
    changes(
        remove("ram0", false),
        &[(
            r#""size": "1GiB" },
    { "name": "ram0", "backend": "memory", "block_size": 4096, "size": 8192 }"#,
            r#""size": "1GiB" }"#,
        )],
    );
}

#[test]
fn a_device_that_is_mapped_goes_with_force() {
    assert_eq!(
        refused(remove("disk1", false)),
        "refused: device disk1 is mapped: LUN 5 of group web of target store; LUN 0 of group db of target store; \
         unmap it there first, or have it done (\"force\", --force)"
    );
    changes(
        remove("disk1", true),
        &[
            (r#", "5": { "read_only": true, "device": "disk1" } }"#, " }"),
            (r#"{ "0": "disk1" }"#, "{}"),
            (
                r#"{ "name": "disk1", "backend": "memory", "size": "1GiB" },"#,
                "",
            ),
        ],
    );
}

#[test]
fn a_message_of_many_maps_has_an_end() {
    let luns: Vec<String> = (0..500).map(|lun| format!("\"{lun}\": \"d\"")).collect();
    let groups: Vec<String> = (0..50)
        .map(|group| {
            let luns = luns.join(",");
            format!(r#"{{ "name": "g{group}", "initiators": [], "luns": {{ {luns} }} }}"#)
        })
        .collect();
    let text = format!(
        r#"{{ "devices": [ {{ "name": "d", "backend": "memory", "size": "1MiB" }} ],
              "targets": [ {{ "name": "t", "groups": [ {} ] }} ] }}"#,
        groups.join(",")
    );
    let error = document(&text).0.edited(&[remove("d", false)]);
    let error = error.expect_err("mapped").to_string();
    assert!(error.starts_with(
        "device d is mapped: LUN 0, 1, 2, 3, 4, 5, 6, 7 and 492 more of group g0 of target t; LUN 0,"
    ));
    assert!(
        error.contains("of group g7 of target t and 42 more; unmap it there first"),
        "{error}"
    );
}

#[test]
fn devices_that_are_not_there() {
    assert_eq!(
        refused(remove("disk7", true)),
        "not found: there is no device \"disk7\"; did you mean `disk0`?"
    );
    assert_eq!(
        refused(resize("frobnicate", 4096)),
        "not found: there is no device \"frobnicate\"; known are `disk0`, `disk1`, `ram0`"
    );
}

#[test]
fn a_memory_device_gets_another_size_as_it_was_written() {
    changes(resize("disk1", 3 << 30), &[(r#""1GiB""#, r#""3GiB""#)]);
    changes(resize("ram0", 12288), &[("8192", "12288")]);
}

#[test]
fn sizes_that_will_not_do() {
    for (name, size, expected) in [
        (
            "disk0",
            4096,
            "refused: device disk0 is as large as what is at its path, and has no size in the configuration; resize that",
        ),
        (
            "ram0",
            5000,
            "invalid: size: 5000 is not a multiple of the block size (4096); round it up",
        ),
        (
            "ram0",
            0,
            "invalid: size: 0 is too small; give bytes as a number, or a size such as \"1GiB\", from \"4KiB\" to \"64TiB\"",
        ),
        (
            "disk1",
            u64::MAX,
            "invalid: size: 18446744073709551615 is too large; give bytes as a number, or a size such as \"1GiB\", from \"4KiB\" to \"64TiB\"",
        ),
    ] {
        assert_eq!(refused(resize(name, size)), expected);
    }
}
