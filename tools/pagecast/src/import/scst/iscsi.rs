//! The driver iscsi: iSCSI over TCP, and over RDMA where the module isert-scst is loaded.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::targets::{READ, disabled, enabled, groups};
use super::{Section, facts};
use crate::import::draft::{Chap, Draft, Group, Portal, Target, Transport};
use crate::import::names::{iscsi_name, short_iscsi};
use crate::import::notes::{Place, show};
use crate::import::portals;

/// The port that iscsi-scstd listens on unless its command line says otherwise.
const PORT: u16 = 3260;

const EVERY_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

pub(super) fn driver(draft: &mut Draft, driver: &Section<'_>) {
    let on = enabled(draft, driver);
    let mut iqns = BTreeSet::new();
    for target in driver.named(&mut draft.notes, "TARGET") {
        import(draft, &target, on, &mut iqns);
    }
    match chap(draft, driver, "of discovery") {
        Ok(chap) => draft.discovery_chap = chap,
        Err(Refused) => draft.notes.add(
            &driver.place,
            "discovery asks for no CHAP now: initiators are told of the targets that admit them without it",
            "set \"discovery_chap\" with a secret of 12 bytes or more",
        ),
    }
    driver.attributes(
        &mut draft.notes,
        &["TARGET", "enabled", "IncomingUser", "OutgoingUser"],
        &[facts::ISCSI_DRIVER, facts::DRIVER],
    );
}

fn import(draft: &mut Draft, section: &Section<'_>, on: bool, iqns: &mut BTreeSet<String>) {
    let given = section.name();
    let iqn = iscsi_name(given).filter(|iqn| iqns.insert(iqn.clone()));
    let name = match &iqn {
        Some(iqn) => draft.target_names.give(short_iscsi(iqn), "target"),
        None => draft.target_names.give(given, "target"),
    };
    match &iqn {
        None => draft.notes.add(
            &section.place,
            format!("{} is no iSCSI name, or there twice: target {name} has one that follows from its own", show(given)),
            "initiators log in with the new name; `pagecast target show` prints it",
        ),
        Some(iqn) if iqn != given => draft.notes.add(
            &section.place,
            format!("the iSCSI name of target {name} is {} here, in small letters", show(iqn)),
            "names compare in small letters (RFC 3722); open-iscsi's records of it may have to be discovered again",
        ),
        Some(_) => {}
    }
    let acl = section
        .flag(&mut draft.notes, "per_portal_acl")
        .unwrap_or(false);
    let mut scope = Scope::default();
    let groups = groups(draft, section, |_, _, text| match acl {
        true => scope.split(text),
        false if text.contains('#') => Err("without per_portal_acl no name has a '#' in it"),
        false => Ok(vec![text.to_owned()]),
    });
    let enabled = enabled(draft, section) && on;
    let mut addresses = addresses(draft, section, &name);
    if acl {
        let scoped = scope.addresses(draft, section, &name, &groups);
        if addresses == [EVERY_ADDRESS] {
            addresses = scoped;
        }
    }
    let chap = chap(draft, section, &format!("of target {name}"));
    if !enabled {
        addresses.clear();
        disabled(draft, &section.place, &name, "iscsi-tcp:0.0.0.0");
    }
    if chap.is_err() {
        addresses.clear();
        draft.notes.add(
            &section.place,
            format!(
                "target {name} is imported without portals, so that nobody gets in without CHAP"
            ),
            "give it \"chap\" with a secret of 12 bytes or more, then portals",
        );
    }
    if !addresses.is_empty() {
        draft.notes.group(
            &section.place,
            "iSER portals",
            "this file does not say whether SCST serves iSER: each portal is there twice, as iser and as iscsi-tcp, with port 3260",
            "remove the iser portals on a machine without RDMA; give the two different ports with iWARP",
        );
    }
    section.attributes(
        &mut draft.notes,
        &[
            &READ[..],
            &[
                "IncomingUser",
                "OutgoingUser",
                "allowed_portal",
                "per_portal_acl",
            ],
        ]
        .concat(),
        &[facts::ISCSI_TARGET, facts::TARGET],
    );
    let portals = addresses.iter().flat_map(|&address| {
        [Transport::Iser, Transport::IscsiTcp].map(|transport| Portal {
            transport,
            address,
            port: PORT,
        })
    });
    draft.targets.push(Target {
        place: section.place.clone(),
        name,
        iqn,
        srp_guid: None,
        chap: chap.unwrap_or_default(),
        portals: portals.collect(),
        groups,
    });
}

/// The addresses of allowed_portal; every one if there are none.
fn addresses(draft: &mut Draft, section: &Section<'_>, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut any = false;
    for entry in section
        .entries
        .iter()
        .filter(|e| e.is_attribute("allowed_portal"))
    {
        any = true;
        let text = entry.word(1);
        if text == "*" {
            return vec![EVERY_ADDRESS];
        }
        match portals::address(text) {
            Ok(address) if !found.contains(&address) => found.push(address),
            Ok(_) => {}
            Err(what) => draft.notes.add(
                &section.place_of(entry),
                format!("target {name} gets no portals for {}: {what}", show(text)),
                "add portals with those of this machine's addresses that it matches",
            ),
        }
    }
    if any { found } else { vec![EVERY_ADDRESS] }
}

/// What patterns say of portals with per_portal_acl, where a session is called `NAME#ADDRESS`.
#[derive(Default)]
struct Scope {
    addresses: BTreeSet<IpAddr>,
    /// Somebody may come in anywhere.
    wide: bool,
    /// An address that is a pattern.
    odd: bool,
    /// What was seen, to find out whether each name may come through each portal.
    pairs: BTreeSet<(String, IpAddr)>,
}

impl Scope {
    fn split(&mut self, text: &str) -> Result<Vec<String>, &'static str> {
        let Some((name, address)) = text.rsplit_once('#') else {
            // The rest of the session's name has to be matched by something.
            return match text.ends_with('*') {
                true => {
                    self.wide = true;
                    Ok(vec![text.to_owned()])
                }
                false => Err(
                    "with per_portal_acl names end with '#' and a portal's address, and this one never matches",
                ),
            };
        };
        if name.is_empty() || name == "!" {
            return Err("there is no name before the '#'");
        }
        match portals::address(address) {
            Ok(address) => {
                self.addresses.insert(address);
                self.pairs.insert((name.to_owned(), address));
            }
            Err(_) if address == "*" => self.wide = true,
            Err(_) => self.odd = true,
        }
        Ok(vec![name.to_owned()])
    }

    /// Where the target listens, so that nobody comes in elsewhere than before.
    fn addresses(
        self,
        draft: &mut Draft,
        section: &Section<'_>,
        name: &str,
        groups: &[Group],
    ) -> Vec<IpAddr> {
        let names: BTreeSet<&str> = self.pairs.iter().map(|(name, _)| name.as_str()).collect();
        let product = names.len().saturating_mul(self.addresses.len()) == self.pairs.len();
        let mixed = self.wide && !self.addresses.is_empty();
        if self.odd || mixed || !product {
            draft.notes.add(
                &section.place,
                format!("per_portal_acl: which initiator of target {name} comes in through which portal is not imported"),
                "its groups admit an initiator through every portal of the target; make a target for each set of portals if that matters",
            );
        }
        let everybody = groups.iter().any(|group| group.default);
        let nobody = !self.odd && self.addresses.is_empty();
        if self.wide || everybody || nobody {
            return vec![EVERY_ADDRESS];
        }
        self.addresses.into_iter().collect()
    }
}

/// There is CHAP, and the daemon would not take it.
struct Refused;

/// What IncomingUser and OutgoingUser say.
fn chap(draft: &mut Draft, section: &Section<'_>, whose: &str) -> Result<Option<Chap>, Refused> {
    let incoming: Vec<_> = credentials(section, "IncomingUser").collect();
    let outgoing: Vec<_> = credentials(section, "OutgoingUser").collect();
    let mut chap = None;
    for (user, secret, place) in &incoming {
        match Chap::new(user, secret) {
            Ok(found) if chap.is_none() => chap = Some(found),
            Ok(found) if chap.as_ref() == Some(&found) => {}
            Ok(_) => draft.notes.add(
                place,
                format!("the user {} {whose} is not imported: there is one already, and pagecast has one for a target or group", show(user)),
                "give its initiators a group of their own with \"chap\"",
            ),
            Err(what) => draft.notes.add(
                place,
                format!("the IncomingUser {whose} is not imported: {what}"),
                "choose another secret, here and at the initiators",
            ),
        }
    }
    if chap.is_none() && !incoming.is_empty() {
        return Err(Refused);
    }
    for (i, (user, secret, place)) in outgoing.iter().enumerate() {
        let what = match &mut chap {
            None => Err("without IncomingUser the target proves nothing either"),
            Some(_) if i > 0 => Err("there is one already"),
            Some(chap) => chap.set_mutual(user, secret),
        };
        if let Err(what) = what {
            draft.notes.add(
                place,
                format!("the OutgoingUser {whose} is not imported: {what}"),
                "initiators that ask the target to prove itself do not log in; set \"mutual_user\" and \"mutual_secret\"",
            );
        }
    }
    Ok(chap)
}

/// Name and secret: in one pair of quotes, or two words.
fn credentials<'a>(
    section: &'a Section<'_>,
    name: &'a str,
) -> impl Iterator<Item = (&'a str, &'a str, Place)> {
    let entries = section.entries.iter().filter(move |e| e.is_attribute(name));
    let found = entries.map(|entry| {
        let (user, secret) = match entry.word(1).split_once(char::is_whitespace) {
            Some((user, secret)) => (user, secret.trim_start()),
            None => (entry.word(1), entry.word(2)),
        };
        (user, secret, section.place_of(entry))
    });
    // "" is how some tools write that there is none.
    found.filter(|(user, secret, _)| !user.is_empty() || !secret.is_empty())
}
