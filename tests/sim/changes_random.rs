//! Changes at random, good ones and others, while hosts of all transports do I/O at random: a model says which are good, and what
//! everybody sees afterwards.

use std::collections::BTreeMap;

use pagecast_tests::changes::{
    STORE, add_device, add_group, add_initiator, map, move_to, remove_device, remove_group,
    remove_initiator, unmap,
};
use pagecast_tests::luns::{NAMESPACE_PROTECTED, NO_SUCH_NAMESPACE, NO_SUCH_UNIT, PROTECTED, name};
use pagecast_tests::reservations::{Cluster, Flight, Outcome, Transport};
use pagecast_tests::{Host, Random, Setup, host_address, seeds};
use pagecastd::config::edit::Edit;

const HOSTS: usize = 6;
const TRANSPORTS: [Transport; HOSTS] = [
    Transport::Srp,
    Transport::Iser,
    Transport::Nvme,
    Transport::Srp,
    Transport::Iser,
    Transport::Nvme,
];

/// LUNs that there may be; one is beyond what can be addressed.
const LUNS: [u16; 6] = [0, 1, 2, 7, 300, 0x4000];

#[derive(Clone, Debug, Default)]
struct Model {
    devices: Vec<String>,
    groups: Vec<Group>,
    /// Groups that these changes have taken the last pattern from that says whom they admit.
    opened: Vec<String>,
}

#[derive(Clone, Debug)]
struct Group {
    name: String,
    default: bool,
    patterns: Vec<String>,
    luns: BTreeMap<u16, (String, bool)>,
}

impl Group {
    /// It admits whoever it does not exclude.
    fn only_excludes(&self) -> bool {
        let excludes = |pattern: &String| pattern.starts_with('!');
        !self.default && !self.patterns.is_empty() && self.patterns.iter().all(excludes)
    }

    /// Takes a pattern away. Returns whether that opens the group.
    fn take(&mut self, pattern: &str) -> bool {
        self.patterns.retain(|one| one != pattern);
        !pattern.starts_with('!') && self.only_excludes()
    }
}

impl Model {
    /// Makes changes, all or none; says whether they are good ones.
    fn apply_all(&mut self, changes: &[Change]) -> bool {
        self.opened.clear();
        let good = changes.iter().all(|change| self.apply(change).is_some());
        let opened = std::mem::take(&mut self.opened);
        let mut open = |name: &String| self.group(name).is_some_and(|group| group.only_excludes());
        good && !opened.iter().any(&mut open)
    }

    fn group(&mut self, name: &str) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.name == name)
    }

    /// Makes a change; none if it is not a good one.
    fn apply(&mut self, change: &Change) -> Option<()> {
        match change {
            Change::AddDevice(device) => {
                let is_new = !self.devices.contains(device);
                is_new.then(|| self.devices.push(device.clone()))
            }
            Change::RemoveDevice(device, force) => {
                let at = self.devices.iter().position(|one| one == device)?;
                for group in &mut self.groups {
                    let before = group.luns.len();
                    group.luns.retain(|_, (one, _)| one != device);
                    if group.luns.len() < before && !force {
                        return None;
                    }
                }
                self.devices.remove(at);
                Some(())
            }
            Change::AddGroup(group) => {
                let taken = self
                    .groups
                    .iter()
                    .any(|one| one.name == group.name || one.default && group.default);
                let there = |(device, _): &(String, bool)| self.devices.contains(device);
                let good = !taken && group.luns.values().all(there);
                good.then(|| self.groups.push(group.clone()))
            }
            Change::RemoveGroup(name) => {
                let at = self.groups.iter().position(|group| group.name == *name)?;
                self.groups.remove(at);
                Some(())
            }
            Change::Map(name, lun, device, read_only) => {
                let there = self.devices.contains(device) && *lun < 0x4000;
                let group = self.group(name)?;
                let good = there && !group.luns.contains_key(lun);
                good.then(|| drop(group.luns.insert(*lun, (device.clone(), *read_only))))
            }
            Change::Unmap(name, lun) => self.group(name)?.luns.remove(lun).map(drop),
            Change::Add(name, pattern) => {
                let group = self.group(name)?;
                let is_new = !group.patterns.contains(pattern);
                is_new.then(|| group.patterns.push(pattern.clone()))
            }
            Change::Remove(name, pattern) => {
                let group = self.group(name)?;
                group.patterns.iter().position(|one| one == pattern)?;
                if group.take(pattern) {
                    self.opened.push(name.clone());
                }
                Some(())
            }
            Change::Move(pattern, to) => {
                let having = |group: &&mut Group| group.patterns.contains(pattern);
                let from: Vec<&mut Group> = self.groups.iter_mut().filter(having).collect();
                let [from] = &from[..] else {
                    return None;
                };
                let from = from.name.clone();
                self.group(to)?;
                if from == *to {
                    return None;
                }
                if self.group(&from)?.take(pattern) {
                    self.opened.push(from.clone());
                }
                self.group(to)?.patterns.push(pattern.clone());
                Some(())
            }
        }
    }

    /// Who belongs where: patterns here are names, `*`, and names with `!`.
    fn group_of(&self, host: Host) -> Option<&Group> {
        let names = [name(TRANSPORTS[host], host), host_address(host).to_string()];
        let listed = |group: &Group, sign: &str| {
            let listed = |name: &String| group.patterns.contains(&format!("{sign}{name}"));
            names.iter().any(listed)
        };
        let admits = |group: &&Group| {
            let named = listed(group, "") || group.patterns.iter().any(|one| one == "*");
            let only_excludes = !group.default
                && !group.patterns.is_empty()
                && group.patterns.iter().all(|one| one.starts_with('!'));
            !listed(group, "!") && (named || only_excludes)
        };
        let last = |group: &&Group| group.default && !listed(group, "!");
        let mut groups = self.groups.iter();
        (groups.find(admits)).or_else(|| self.groups.iter().find(last))
    }
}

#[derive(Clone, Debug)]
enum Change {
    AddDevice(String),
    RemoveDevice(String, bool),
    AddGroup(Group),
    RemoveGroup(String),
    Map(String, u16, String, bool),
    Unmap(String, u16),
    Add(String, String),
    Remove(String, String),
    Move(String, String),
}

impl Change {
    fn random(random: &mut Random) -> Self {
        let group = |random: &mut Random| format!("g{}", random.below(4));
        let device = |random: &mut Random| format!("d{}", random.below(5));
        let pattern = |random: &mut Random| {
            let host = random.index(HOSTS);
            match random.below(12) {
                0 => "*".to_owned(),
                1 => format!("!{}", name(TRANSPORTS[host], host)),
                2 => host_address(host).to_string(),
                _ => name(TRANSPORTS[host], host),
            }
        };
        let lun = |random: &mut Random| match random.once_in(20) {
            true => LUNS[5],
            false => LUNS[random.index(5)],
        };
        match random.below(20) {
            0 | 1 => Self::AddDevice(device(random)),
            2 => Self::RemoveDevice(device(random), random.once_in(2)),
            3 | 4 => Self::AddGroup(Group {
                name: group(random),
                default: random.once_in(4),
                patterns: vec![pattern(random)],
                luns: [(lun(random) % 0x4000, (device(random), random.once_in(3)))].into(),
            }),
            5 => Self::RemoveGroup(group(random)),
            6..=9 => Self::Map(
                group(random),
                lun(random),
                device(random),
                random.once_in(3),
            ),
            10 | 11 => Self::Unmap(group(random), lun(random)),
            12 | 13 => Self::Add(group(random), pattern(random)),
            14 => Self::Remove(group(random), pattern(random)),
            _ => Self::Move(pattern(random), group(random)),
        }
    }

    fn edit(&self) -> Edit {
        match self {
            Self::AddDevice(device) => add_device(&memory(device)),
            Self::RemoveDevice(device, force) => remove_device(device, *force),
            Self::AddGroup(group) => add_group(&json(group)),
            Self::RemoveGroup(group) => remove_group(group),
            Self::Map(group, lun, device, read_only) => map(group, *lun, device, *read_only),
            Self::Unmap(group, lun) => unmap(group, *lun),
            Self::Add(group, pattern) => add_initiator(group, pattern),
            Self::Remove(group, pattern) => remove_initiator(group, pattern),
            Self::Move(pattern, to) => move_to(pattern, to),
        }
    }
}

fn memory(device: &str) -> String {
    let zero_copy = if device.ends_with(['0', '2']) {
        "auto"
    } else {
        "off"
    };
    format!(
        r#"{{ "name": "{device}", "backend": "memory", "size": "1MiB", "zero_copy": "{zero_copy}" }}"#
    )
}

fn json(group: &Group) -> String {
    let patterns: Vec<String> = group
        .patterns
        .iter()
        .map(|one| format!("{one:?}"))
        .collect();
    let luns = group.luns.iter().map(|(lun, (device, read_only))| {
        format!(r#""{lun}": {{ "device": "{device}", "read_only": {read_only} }}"#)
    });
    format!(
        r#"{{ "name": "{}", "default": {}, "initiators": [{}], "luns": {{ {} }} }}"#,
        group.name,
        group.default,
        patterns.join(","),
        luns.collect::<Vec<_>>().join(",")
    )
}

fn start(seed: u64) -> (Cluster, Model) {
    let device = |number: usize| format!("d{number}");
    let groups: Vec<Group> = (0..2)
        .map(|number| Group {
            name: format!("g{number}"),
            default: false,
            patterns: (0..HOSTS)
                .filter(|host| host % 2 == number)
                .map(|host| name(TRANSPORTS[host], host))
                .collect(),
            luns: [
                (0, (device(0), false)),
                (1, (device(1 + number), number == 1)),
            ]
            .into(),
        })
        .collect();
    let model = Model {
        devices: (0..3).map(device).collect(),
        groups,
        opened: Vec::new(),
    };
    let mut setup = Setup::new(seed);
    setup.devices = model.devices.iter().map(|device| memory(device)).collect();
    let groups: Vec<String> = model.groups.iter().map(json).collect();
    setup.groups = format!("[{}]", groups.join(","));
    setup.shards = 1 + (seed % 3) as u32;
    (Cluster::new(setup, &TRANSPORTS), model)
}

/// Whether a command may end so while things change.
fn is_known(outcome: Outcome) -> bool {
    let known = [
        Outcome::Good,
        NO_SUCH_UNIT,
        NO_SUCH_NAMESPACE,
        PROTECTED,
        NAMESPACE_PROTECTED,
    ];
    known.contains(&outcome) || matches!(outcome, Outcome::Sense(6, ..))
}

/// Hosts that nothing admits are out; some of those that are out and may come do.
fn follow(cluster: &mut Cluster, model: &Model, flights: &mut Vec<Flight>, everybody: bool) {
    for host in 0..HOSTS {
        let admitted = model.group_of(host).is_some();
        if cluster.is_here(host) && !admitted {
            cluster.is_thrown_out(host);
            cluster.is_gone(host);
            flights.retain(|flight| flight.host != host);
        } else if !cluster.is_here(host)
            && admitted
            && (everybody || cluster.world.random.once_in(2))
        {
            cluster.log_in(host);
        }
    }
}

/// Everybody sees what the model says.
fn check(cluster: &mut Cluster, model: &Model) {
    let seed = cluster.world.seed;
    for host in 0..HOSTS {
        let Some(group) = model.group_of(host) else {
            assert!(
                cluster.is_refused(host),
                "seed {seed}: host {host}: {model:#?}"
            );
            continue;
        };
        let what = format!("seed {seed}: host {host} in {group:?}");
        let luns: Vec<u16> = group.luns.keys().copied().collect();
        assert!(cluster.is_up(host), "{what}");
        assert_eq!(cluster.luns(host), luns, "{what}");
        for (&lun, (device, read_only)) in &group.luns {
            assert!(cluster.finds(host, lun, device), "{what}: LUN {lun}");
            if cluster.is_scsi(host) {
                assert_eq!(
                    cluster.hears(host, lun).last(),
                    Some(&Outcome::Good),
                    "{what}"
                );
            }
            let expected = match (read_only, cluster.is_scsi(host)) {
                (false, _) => Outcome::Good,
                (true, true) => PROTECTED,
                (true, false) => NAMESPACE_PROTECTED,
            };
            let outcome = cluster.write_at(host, lun, 40, &[1; 512]);
            assert_eq!(outcome, expected, "{what}: LUN {lun}");
        }
        for lun in [0, 1, 2, 7].into_iter().filter(|lun| !luns.contains(lun)) {
            let gone = match cluster.is_scsi(host) {
                true => NO_SUCH_UNIT,
                false => NO_SUCH_NAMESPACE,
            };
            assert_eq!(cluster.read_at(host, lun, 0).0, gone, "{what}: LUN {lun}");
        }
    }
    // The groups that sessions say they are in, and nobody else.
    let sessions = cluster.world.daemon.shared.sessions();
    let groups = sessions.values().map(|one| one.group().to_string());
    let mut groups: Vec<String> = groups.collect();
    drop(sessions);
    let mut expected: Vec<String> = (0..HOSTS)
        .filter_map(|host| Some(model.group_of(host)?.name.clone()))
        .collect();
    groups.sort();
    expected.sort();
    assert_eq!(groups, expected, "seed {seed}");
}

fn random_changes(seed: u64) {
    let (mut cluster, mut model) = start(seed);
    let mut random = Random::new(seed ^ 0xc4a);
    let mut flights: Vec<Flight> = Vec::new();
    let (mut good, mut bad) = (0, 0);
    for round in 0..30 {
        for host in 0..HOSTS {
            if cluster.is_here(host) && random.once_in(2) {
                let lun = LUNS[random.index(4)];
                flights.extend(cluster.launch_at(host, lun, 1 + random.below(3)));
            }
        }
        for _ in 0..random.below(80) {
            cluster.world.pump();
        }
        // Some tries to find a good one, most of the time: at random few are.
        let mut tries = random.below(12);
        let (changes, next, is_good) = loop {
            let count = 1 + random.below(3) * random.below(2);
            let changes: Vec<Change> = (0..count).map(|_| Change::random(&mut random)).collect();
            let mut next = model.clone();
            let is_good = next.apply_all(&changes);
            if is_good || tries == 0 {
                break (changes, next, is_good);
            }
            tries -= 1;
        };
        let before = cluster.world.configuration();
        let edits = changes.iter().map(Change::edit).collect();
        let what = format!("seed {seed}, round {round}: {changes:?} with {model:?}");
        match cluster.world.change(edits) {
            Ok(report) => {
                assert!(is_good, "{what} was made");
                assert!(
                    report.warnings.iter().all(|one| !one.contains("not ended")),
                    "{what}: {report:?}"
                );
                model = next;
                good += 1;
            }
            Err(error) => {
                assert!(!is_good, "{what}: {error}");
                assert!(cluster.world.configuration() == before, "{what}");
                bad += 1;
            }
        }
        flights.retain(|flight| match cluster.landed(flight) {
            None => true,
            Some(outcome) => {
                assert!(is_known(outcome), "{what}: {outcome:?}");
                false
            }
        });
        follow(&mut cluster, &model, &mut flights, false);
        if round % 10 == 9 {
            for flight in flights.drain(..) {
                let outcome = cluster.land(&flight);
                assert!(is_known(outcome), "{what}: {outcome:?}");
            }
            follow(&mut cluster, &model, &mut flights, true);
            check(&mut cluster, &model);
        }
    }
    assert!(
        good > 5 && bad > 1,
        "seed {seed}: {good} good ones, {bad} others"
    );
    // Devices that are gone are gone for good.
    let inventory = cluster.world.daemon.shared.inventory();
    let there = (0..200).filter(|number| cluster.world.daemon.shared.table.get(*number).is_some());
    assert_eq!(
        there.count(),
        inventory.devices.len(),
        "seed {seed}: devices leak"
    );
    assert_eq!(inventory.devices.len(), model.devices.len());
    assert_eq!(
        inventory.target(STORE).map(|one| one.groups.len()),
        Some(model.groups.len())
    );
    drop(inventory);
    cluster.finish();
}

#[test]
fn everybody_sees_what_the_configuration_says() {
    for seed in seeds(0..30) {
        random_changes(seed);
    }
}
