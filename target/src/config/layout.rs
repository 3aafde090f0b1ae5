//! Documents as text: indented, with what is short on one line.

use std::fmt::Write;

use super::document::Node;

/// Columns of a line that holds more than one value, at most.
const WIDTH: usize = 100;
const INDENT: usize = 2;

/// The text of a document, with a newline at its end.
pub(super) fn text(node: &Node) -> String {
    let mut out = String::new();
    match node {
        // At the top one line for each key, however short it all is.
        Node::Object(fields) if !fields.is_empty() => lines_of(node, 0, &mut out),
        _ => put(node, 0, 0, &mut out),
    }
    out.push('\n');
    out
}

/// Writes `node` where `used` columns of the line are in use. Lines that follow are indented by `indent` columns at least.
fn put(node: &Node, indent: usize, used: usize, out: &mut String) {
    if is_leaf(node) || fits(node, WIDTH.saturating_sub(used)) {
        on_one_line(node, out);
    } else {
        lines_of(node, indent, out);
    }
}

fn lines_of(node: &Node, indent: usize, out: &mut String) {
    let inner = indent + INDENT;
    let begin = |first: bool, out: &mut String| {
        out.push_str(if first { "\n" } else { ",\n" });
        out.extend(std::iter::repeat_n(' ', inner));
    };
    match node {
        Node::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                begin(i == 0, out);
                put(item, inner, inner, out);
            }
            end(indent, ']', out);
        }
        Node::Object(fields) => {
            out.push('{');
            for (i, (key, value)) in fields.iter().enumerate() {
                begin(i == 0, out);
                let start = out.len();
                string(key, out);
                out.push_str(": ");
                put(value, inner, inner + (out.len() - start), out);
            }
            end(indent, '}', out);
        }
        leaf => on_one_line(leaf, out),
    }
}

fn end(indent: usize, bracket: char, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    out.push(bracket);
}

fn is_leaf(node: &Node) -> bool {
    match node {
        Node::Array(items) => items.is_empty(),
        Node::Object(fields) => fields.is_empty(),
        _ => true,
    }
}

/// Whether `node` fits on the rest of a line, with a comma behind it.
fn fits(node: &Node, columns: usize) -> bool {
    /// What is left of so many columns.
    fn rest(node: &Node, columns: usize) -> Option<usize> {
        let quoted = |text: &str| text.len() + 2;
        // Brackets, the spaces inside them, and what is between the items.
        let around = |spaces: usize, items: usize| 2 + spaces + 2 * items.saturating_sub(1);
        match node {
            Node::Array(items) => (items.iter()).try_fold(
                columns.checked_sub(around(0, items.len()))?,
                |left, item| rest(item, left),
            ),
            Node::Object(fields) => fields.iter().try_fold(
                columns.checked_sub(around(2, fields.len()))?,
                |left, (key, value)| rest(value, left.checked_sub(quoted(key) + 2)?),
            ),
            Node::String(value) => columns.checked_sub(quoted(value)),
            Node::Null | Node::Bool(_) => columns.checked_sub(5),
            Node::Integer(value) => columns.checked_sub(value.to_string().len()),
            Node::Number(value) => columns.checked_sub(value.to_string().len()),
        }
    }
    rest(node, columns).is_some_and(|left| left > 0)
}

fn on_one_line(node: &Node, out: &mut String) {
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Node::Integer(value) => {
            let _ = write!(out, "{value}");
        }
        // As Rust writes it, with a point or an exponent: it is read as the same number.
        Node::Number(value) => {
            let _ = write!(out, "{value:?}");
        }
        Node::String(value) => string(value, out),
        Node::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                on_one_line(item, out);
            }
            out.push(']');
        }
        Node::Object(fields) if fields.is_empty() => out.push_str("{}"),
        Node::Object(fields) => {
            out.push('{');
            for (i, (key, value)) in fields.iter().enumerate() {
                out.push_str(if i == 0 { " " } else { ", " });
                string(key, out);
                out.push_str(": ");
                on_one_line(value, out);
            }
            out.push_str(" }");
        }
    }
}

fn string(text: &str, out: &mut String) {
    // Strings always can be written.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Node {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn short_things_are_on_one_line() {
        let compact = r#"{"a":[],"b":{},"c":[1,-2,1.5,true,null],"d":{"x":"y"},"e":[{"long":"LONG"},{"z":["LONG","LONG"]}]}"#;
        let compact = compact.replace("LONG", &"l".repeat(60));
        let expected = r#"{
  "a": [],
  "b": {},
  "c": [1, -2, 1.5, true, null],
  "d": { "x": "y" },
  "e": [
    { "long": "LONG" },
    {
      "z": [
        "LONG",
        "LONG"
      ]
    }
  ]
}
"#;
        assert_eq!(
            text(&read(&compact)),
            expected.replace("LONG", &"l".repeat(60))
        );
        assert_eq!(text(&read("{}")), "{}\n");
        assert_eq!(text(&read("{\"a\": {}}")), "{\n  \"a\": {}\n}\n");
    }

    #[test]
    fn lines_are_as_wide_as_they_may_be() {
        let with = |length: usize| {
            let node = read(&format!(
                r#"{{ "a": {{ "b": "{}" }} }}"#,
                "x".repeat(length)
            ));
            text(&node).lines().count()
        };
        // `  "a": { "b": "..." },`: the comma counts, though the last one has none.
        let around = "  \"a\": { \"b\": \"\" },".len();
        assert_eq!(with(WIDTH - around), 3);
        assert_eq!(with(WIDTH - around + 1), 5);
    }

    fn any_node() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            Just(Node::Null),
            any::<bool>().prop_map(Node::Bool),
            any::<i64>().prop_map(|value| Node::Integer(value.into())),
            any::<u64>().prop_map(|value| Node::Integer(value.into())),
            any::<i32>().prop_map(|value| Node::Number(f64::from(value) / 8.0)),
            any::<String>().prop_map(Node::String),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Node::Array),
                prop::collection::vec((any::<String>(), inner), 0..8).prop_map(Node::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(node in any_node()) {
            prop_assert_eq!(read(&text(&node)), node);
        }
    }
}
