//! LIO's `saveconfig.json`, as rtslib and targetcli write and read it (saveconfig.json(5)).

mod acls;
mod chap;
mod facts;
mod identity;
mod object;
mod storage;
mod targets;

use serde_json::Value;

use super::draft::Draft;
use super::notes::{Notes, Place, show};
use super::{ImportError, Imported, check_length};

use object::Object;

/// The configuration that does what this one of LIO does, as far as pagecast can.
pub(crate) fn lio(text: &str) -> Result<Imported, ImportError> {
    check_length(text)?;
    let value: Value = serde_json::from_str(text).map_err(|error| {
        // serde_json appends " at line L column C".
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        ImportError::new(
            error.line(),
            format!("not valid JSON: {message}"),
            "a saveconfig.json was expected",
        )
    })?;
    let not_one = |what: &str| {
        ImportError::new(
            0,
            format!("this is not a saveconfig.json: {what}"),
            "an object with \"storage_objects\" and \"targets\" was expected",
        )
    };
    let Value::Object(fields) = &value else {
        return Err(not_one("it is no object"));
    };
    let known = ["storage_objects", "targets", "fabric_modules"];
    for key in known {
        if fields.get(key).is_some_and(|list| !list.is_array()) {
            return Err(not_one(&format!("\"{key}\" is no list")));
        }
    }
    if !known.iter().any(|key| fields.contains_key(*key)) {
        return Err(not_one("it has none of them"));
    }
    let mut draft = Draft::default();
    let top = Object::top(fields);
    for storage in top.list(&mut draft.notes, "storage_objects") {
        storage::import(&mut draft, &storage);
    }
    let targets = top.list(&mut draft.notes, "targets");
    for target in &targets {
        if let Some(Value::String(wwn)) = target.value("wwn") {
            draft.reserve_iqn(&wwn.to_ascii_lowercase());
        }
    }
    let mut taken = targets::Taken::default();
    for target in &targets {
        targets::import(&mut draft, target, &mut taken);
    }
    for fabric in top.list(&mut draft.notes, "fabric_modules") {
        chap::discovery(&mut draft, &fabric);
    }
    top.rest(&mut draft.notes, &known, &[]);
    Ok(draft.finish())
}
