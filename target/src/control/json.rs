//! Reading JSON without losing any of it: a key that occurs twice is an error, where `serde_json` alone would keep the last.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Values in a line, those in lists and objects counted: in memory each is many times as long as the shortest text for it.
pub(super) const MOST_VALUES: usize = 100_000;

/// The one value in a line.
pub(super) fn parse(line: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(line);
    let left = Cell::new(MOST_VALUES);
    let value = Strict { left: &left }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    /// Values that there may still be.
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            let message = format!("there are more than {MOST_VALUES} values in it");
            return Err(D::Error::custom(message));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if map.contains_key(&key) {
                let key = super::params::shorten(&key);
                let message = format!("the key {key} is there more than once; keep one of them");
                return Err(A::Error::custom(message));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_serde_json_reads_it() {
        for text in [
            "null",
            "true",
            "-7",
            "18446744073709551615",
            "1.5e3",
            "\"a\\u00e4\\n\"",
            "[1, [], {\"a\": {\"b\": [null]}}]",
            " {\"\": 1, \"a\": 2} ",
        ] {
            let expected: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(parse(text.as_bytes()).expect(text), expected);
        }
        for text in ["", "1 2", "{\"a\":1}}", "[1,]", "nul", "1e999"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_counted() {
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(parse(list(MOST_VALUES - 1).as_bytes()).is_ok());
        let objects = format!("[{}0]", "{\"\":{}},".repeat(MOST_VALUES / 2));
        for text in [list(MOST_VALUES), objects] {
            let error = parse(text.as_bytes()).expect_err("too many").to_string();
            let expected = "there are more than 100000 values in it";
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_key_that_is_there_twice() {
        let error = parse(br#"{"luns": {"0": "a", "1": "b", "0": "c"}}"#).expect_err("twice");
        let expected = "the key \"0\" is there more than once; keep one of them at line 1";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(parse(br#"[{"a": 1}, {"a": 1}]"#).is_ok());
    }
}
