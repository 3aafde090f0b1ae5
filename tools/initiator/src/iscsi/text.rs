//! Text: `key=value` pairs, each ended by a zero byte (RFC 7143 6.1).

use super::response::ProtocolError;

/// Pairs, in order.
pub type Pairs = Vec<(String, String)>;

/// Writes pairs.
pub fn encode<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in pairs {
        bytes.extend(key.as_ref().as_bytes());
        bytes.push(b'=');
        bytes.extend(value.as_ref().as_bytes());
        bytes.push(0);
    }
    bytes
}

/// Reads pairs; the last one must be ended as well.
pub fn decode(bytes: &[u8]) -> Result<Pairs, ProtocolError> {
    let Some((last, texts)) = bytes.split_last() else {
        return Ok(Vec::new());
    };
    if *last != 0 {
        return Err(ProtocolError::Text("does not end"));
    }
    texts
        .split(|byte| *byte == 0)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|_| ProtocolError::Text("not UTF-8"))?;
            let (key, value) = pair
                .split_once('=')
                .ok_or(ProtocolError::Text("a key without a value"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The value of `key`, if it is there.
pub fn value<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}
