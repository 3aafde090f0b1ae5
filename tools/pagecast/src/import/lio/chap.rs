//! User names and secrets.

use std::collections::HashMap;

use super::{Object, facts};
use crate::import::draft::{Chap, Draft};
use crate::import::notes::{Place, show};

/// There is CHAP, and the daemon would not take it.
pub(super) struct Refused;

/// What versions of rtslib put before the names of the keys.
pub(super) const KEYS: [&str; 12] = [
    "chap_userid",
    "chap_password",
    "chap_mutual_userid",
    "chap_mutual_password",
    "discovery_userid",
    "discovery_password",
    "discovery_mutual_userid",
    "discovery_mutual_password",
    "userid",
    "password",
    "mutual_userid",
    "mutual_password",
];

pub(super) fn chap(
    draft: &mut Draft,
    object: &Object<'_>,
    whose: &str,
) -> Result<Option<Chap>, Refused> {
    let mut value = HashMap::new();
    for key in KEYS {
        let base = key
            .strip_prefix("chap_")
            .or_else(|| key.strip_prefix("discovery_"))
            .unwrap_or(key);
        if let Some(text) = object.text(&mut draft.notes, key) {
            value.entry(base).or_insert(text);
        }
    }
    let part = |key| value.get(key).copied();
    let given = |user: Option<&str>, secret: Option<&str>| user.is_some() || secret.is_some();
    let (user, secret) = (part("userid"), part("password"));
    let mutual = (part("mutual_userid"), part("mutual_password"));
    if !given(user, secret) {
        if given(mutual.0, mutual.1) {
            draft.notes.add(
                &object.place,
                format!("the mutual CHAP user {whose} is not imported: without userid and password the target proves nothing either"),
                "set \"chap\" as a whole if initiators are to prove themselves",
            );
        }
        return Ok(None);
    }
    let mut chap = match Chap::new(user.unwrap_or_default(), secret.unwrap_or_default()) {
        Ok(chap) => chap,
        Err(what) => {
            draft.notes.add(
                &object.place,
                format!("the CHAP user {whose} is not imported: {what}"),
                "choose another secret, here and at the initiators",
            );
            return Err(Refused);
        }
    };
    if given(mutual.0, mutual.1)
        && let Err(what) =
            chap.set_mutual(mutual.0.unwrap_or_default(), mutual.1.unwrap_or_default())
    {
        draft.notes.add(
            &object.place,
            format!("the mutual CHAP user {whose} is not imported: {what}"),
            "initiators that ask the target to prove itself do not log in; set \"mutual_user\" and \"mutual_secret\"",
        );
    }
    Ok(Some(chap))
}

/// Says that nobody is asked for the secrets that are there.
pub(super) fn unasked(draft: &mut Draft, place: &Place) {
    draft.notes.add(
        place,
        "the CHAP user and secret are not imported: LIO does not ask for them (authentication is 0)",
        "set \"chap\" if initiators are to prove themselves",
    );
}

/// CHAP of discovery.
pub(super) fn discovery(draft: &mut Draft, fabric: &Object<'_>) {
    let notes = &mut draft.notes;
    let name = fabric.text(notes, "name").unwrap_or_default();
    let mut handled = vec!["name", "discovery_enable_auth"];
    handled.extend(KEYS);
    fabric.rest(notes, &handled, &[facts::FABRIC]);
    let asked = fabric.flag(notes, "discovery_enable_auth").unwrap_or(true);
    match (asked, chap(draft, fabric, "of discovery")) {
        (_, Ok(None)) => {}
        (false, _) => unasked(draft, &fabric.place),
        (true, Ok(chap)) if name == "iscsi" => draft.discovery_chap = chap,
        (true, Ok(_)) => draft.notes.add(
            &fabric.place,
            format!("CHAP of discovery of the fabric {} is not imported", show(name)),
            "pagecast has it for iSCSI alone",
        ),
        (true, Err(Refused)) => draft.notes.add(
            &fabric.place,
            "discovery asks for no CHAP now: initiators are told of the targets that admit them without it",
            "set \"discovery_chap\" with a secret of 12 bytes or more",
        ),
    }
}
