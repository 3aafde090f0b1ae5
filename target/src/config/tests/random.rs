//! Documents of any kind.

use proptest::prelude::*;

use super::*;

/// JSON whose keys and words are often the right ones, so that it gets far.
fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let words = prop::sample::select(vec![
        "name",
        "devices",
        "targets",
        "backend",
        "file",
        "memory",
        "path",
        "size",
        "1GiB",
        "30s",
        "portals",
        "groups",
        "luns",
        "initiators",
        "transport",
        "srp",
        "address",
        "::",
        "port",
        "service_id",
        "0000000001060001",
        "0",
        "16383",
        "d",
        "*",
        "iqn",
        "naa",
        "uuid",
        "poll_time",
        "window_size",
        "block_size",
        "512",
        "",
        "\u{0}",
        "ä",
    ]);
    let text = prop_oneof![4 => words.prop_map(str::to_owned), 1 => any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_panics(value in json()) {
        if let Ok(config) = Config::parse(&value.to_string(), "p.json") {
            prop_assert_eq!(Config::parse(&config.to_json(), "p.json").ok(), Some(config));
        }
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]{}\",:a-z0-9 ]{0,64}") {
        let _ = Config::parse(&text, "p.json");
    }

    #[test]
    fn no_device_or_target_panics(value in json()) {
        let _ = Config::parse(&format!(r#"{{"devices":[{value}],"targets":[{value}]}}"#), "p.json");
        let _ = Config::parse(&with_target(&format!(r#""groups":[{value}],"portals":[{value}]"#)), "p.json");
    }
}
