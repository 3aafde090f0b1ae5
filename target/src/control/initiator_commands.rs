//! What to type on an initiator: commands of open-iscsi, and one that tries it with libiscsi, for iSCSI and iSER; commands of
//! nvme-cli for NVMe.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::{ChapConfig, DhchapConfig, TargetConfig, Transport};

/// What decides how an initiator logs in to a target.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// [`Transport::Iser`] or [`Transport::IscsiTcp`].
    pub transport: Transport,
    /// Of the target.
    pub iqn: &'a str,
    /// What it has to prove to the target.
    pub chap: Option<&'a ChapConfig>,
    /// What it has to prove before it is told of targets.
    pub discovery_chap: Option<&'a ChapConfig>,
    /// One that it sees.
    pub lun: u16,
}

impl Login<'_> {
    /// The commands that reach it at `portal`, in the order in which they are to be typed. Secrets, and names that differ
    /// from initiator to initiator, are words in capital letters.
    pub fn commands(&self, portal: SocketAddr) -> Vec<String> {
        let portal = SocketAddr::new(portal.ip().to_canonical(), portal.port());
        let iqn = self.iqn;
        // The names of records that every open-iscsi has.
        let interface = match self.transport {
            Transport::Iser => "iser",
            _ => "default",
        };
        let at = format!("-p {portal} -I {interface}");
        let mut lines = match self.discovery_chap {
            None => vec![format!("iscsiadm -m discovery -t sendtargets {at}")],
            Some(chap) => {
                let record = format!("iscsiadm -m discoverydb -t sendtargets {at}");
                vec![
                    format!("{record} -o new"),
                    update(&record, "discovery.sendtargets.auth", chap),
                    format!("{record} --discover"),
                ]
            }
        };
        let record = format!("iscsiadm -m node -T {iqn} {at}");
        if let Some(chap) = self.chap {
            lines.push(update(&record, "node.session.auth", chap));
        }
        lines.push(format!("{record} --login"));
        lines.push(format!("iscsi-inq '{}'", self.url(portal)));
        lines
    }

    /// As libiscsi, and with it QEMU, names a LUN.
    fn url(&self, portal: SocketAddr) -> String {
        let scheme = match self.transport {
            Transport::Iser => "iser",
            _ => "iscsi",
        };
        let (user, query) = match self.chap {
            None => ("", ""),
            Some(ChapConfig { mutual: None, .. }) => ("USER%SECRET@", ""),
            Some(_) => (
                "USER%SECRET@",
                "?target_user=TARGET_USER&target_password=TARGET_SECRET",
            ),
        };
        format!("{scheme}://{user}{portal}/{}/{}{query}", self.iqn, self.lun)
    }
}

/// A LUN that some initiator of a target sees: the lowest one of all groups, which may differ. 0 if there is none yet.
pub fn lowest_lun(target: &TargetConfig) -> u16 {
    let luns = target.groups.iter().flat_map(|group| group.luns.keys());
    luns.min().copied().unwrap_or(0)
}

/// Puts CHAP into a record of open-iscsi.
fn update(record: &str, prefix: &str, chap: &ChapConfig) -> String {
    let mut keys = vec![
        ("authmethod", "CHAP"),
        ("username", "USER"),
        ("password", "SECRET"),
    ];
    if chap.mutual.is_some() {
        keys.extend([
            ("username_in", "TARGET_USER"),
            ("password_in", "TARGET_SECRET"),
        ]);
    }
    let keys: Vec<String> = keys
        .iter()
        .map(|(key, value)| format!("-n {prefix}.{key} -v {value}"))
        .collect();
    format!("{record} -o update {}", keys.join(" "))
}

/// The commands that reach the NVM subsystem `nqn` at `portal`. Keys are words in capital letters.
pub fn nvme_commands(nqn: &str, dhchap: Option<&DhchapConfig>, portal: SocketAddr) -> Vec<String> {
    let (address, port) = (portal.ip().to_canonical(), portal.port());
    let at = format!("-t rdma -a {address} -s {port}");
    let mut connect = format!("nvme connect {at} -n {nqn}");
    if let Some(dhchap) = dhchap {
        connect.push_str(" --dhchap-secret=KEY");
        if dhchap.controller_key.is_some() {
            connect.push_str(" --dhchap-ctrl-secret=CONTROLLER_KEY");
        }
    }
    vec![format!("nvme discover {at}"), connect]
}

/// Addresses of this machine that others may reach over TCP: for portals on a wildcard.
pub fn tcp_addresses() -> Vec<IpAddr> {
    let text = |file| std::fs::read_to_string(file).unwrap_or_default();
    let mut found = ipv4_addresses(&text("/proc/net/fib_trie"));
    found.extend(ipv6_addresses(&text("/proc/net/if_inet6")));
    found
}

/// From the routing table: addresses of the kind "host LOCAL" are the machine's own. Each is there twice, in the tables
/// `main` and `local`.
fn ipv4_addresses(trie: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last.filter(|address| !address.is_loopback())
            && !found.contains(&IpAddr::V4(address))
        {
            found.push(IpAddr::V4(address));
        }
    }
    found
}

/// From the interfaces' addresses: 32 hex digits, the interface's number, the length of the prefix, the scope (0 is global).
fn ipv6_addresses(table: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut fields = line.split_whitespace();
        let digits = fields.next()?;
        let scope = fields.nth(2)?;
        let bits = u128::from_str_radix(digits, 16).ok()?;
        (scope == "00").then(|| IpAddr::V6(bits.into()))
    };
    table.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn chap(keys: &str) -> ChapConfig {
        let text = format!(r#"{{ "discovery_chap": {{ {keys} }} }}"#);
        let config = Config::parse(&text, "c.json").expect("good");
        config.discovery_chap.expect("there")
    }

    const ONE_WAY: &str = r#""user": "web", "secret": "open sesame now""#;
    const MUTUAL: &str = r#""user": "web", "secret": "open sesame now",
                            "mutual_user": "store", "mutual_secret": "close it again""#;

    #[test]
    fn commands_without_chap() {
        let login = Login {
            transport: Transport::Iser,
            iqn: "iqn.x",
            chap: None,
            discovery_chap: None,
            lun: 0,
        };
        assert_eq!(
            login.commands("10.0.0.1:3260".parse().expect("an address")),
            [
                "iscsiadm -m discovery -t sendtargets -p 10.0.0.1:3260 -I iser",
                "iscsiadm -m node -T iqn.x -p 10.0.0.1:3260 -I iser --login",
                "iscsi-inq 'iser://10.0.0.1:3260/iqn.x/0'",
            ]
        );
    }

    #[test]
    fn commands_with_chap_name_no_secret() {
        let (one_way, mutual) = (chap(ONE_WAY), chap(MUTUAL));
        let mut login = Login {
            transport: Transport::IscsiTcp,
            iqn: "iqn.x",
            chap: Some(&one_way),
            discovery_chap: Some(&mutual),
            lun: 7,
        };
        let portal = "[2001:db8::1]:3261".parse().expect("an address");
        assert_eq!(
            login.commands(portal),
            [
                "iscsiadm -m discoverydb -t sendtargets -p [2001:db8::1]:3261 -I default -o new",
                "iscsiadm -m discoverydb -t sendtargets -p [2001:db8::1]:3261 -I default -o update \
                 -n discovery.sendtargets.auth.authmethod -v CHAP -n discovery.sendtargets.auth.username -v USER \
                 -n discovery.sendtargets.auth.password -v SECRET \
                 -n discovery.sendtargets.auth.username_in -v TARGET_USER \
                 -n discovery.sendtargets.auth.password_in -v TARGET_SECRET",
                "iscsiadm -m discoverydb -t sendtargets -p [2001:db8::1]:3261 -I default --discover",
                "iscsiadm -m node -T iqn.x -p [2001:db8::1]:3261 -I default -o update \
                 -n node.session.auth.authmethod -v CHAP -n node.session.auth.username -v USER \
                 -n node.session.auth.password -v SECRET",
                "iscsiadm -m node -T iqn.x -p [2001:db8::1]:3261 -I default --login",
                "iscsi-inq 'iscsi://USER%SECRET@[2001:db8::1]:3261/iqn.x/7'",
            ]
        );
        login.chap = Some(&mutual);
        let last = login.commands(portal).pop().expect("a line");
        assert!(last.ends_with("/7?target_user=TARGET_USER&target_password=TARGET_SECRET'"));
    }

    #[test]
    fn a_lun_that_somebody_sees() {
        let lowest = |groups: &str| {
            let text = format!(
                r#"{{ "devices": [ {{ "name": "d", "backend": "memory", "size": "1MiB" }} ],
                      "targets": [ {{ "name": "t", "groups": [ {groups} ] }} ] }}"#
            );
            lowest_lun(&Config::parse(&text, "c.json").expect("good").targets[0])
        };
        assert_eq!(lowest(""), 0);
        let nobody = r#"{ "name": "a", "initiators": [] }"#;
        assert_eq!(lowest(nobody), 0);
        let groups = r#"{ "name": "b", "initiators": [], "luns": { "10": "d", "9": "d" } },
                        { "name": "c", "initiators": [], "luns": { "7": "d", "300": "d" } }"#;
        assert_eq!(lowest(&format!("{nobody}, {groups}")), 7);
    }

    #[test]
    fn commands_of_nvme() {
        let portal = "[2001:db8::1]:4421".parse().expect("an address");
        assert_eq!(
            nvme_commands("nqn.x", None, portal),
            [
                "nvme discover -t rdma -a 2001:db8::1 -s 4421",
                "nvme connect -t rdma -a 2001:db8::1 -s 4421 -n nqn.x",
            ]
        );
        let key = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
        let document = |keys: &str| {
            let text = format!(r#"{{ "targets": [ {{ "name": "t", "dhchap": {{ {keys} }} }} ] }}"#);
            let mut config = Config::parse(&text, "c.json").expect("good");
            config.targets.remove(0).dhchap
        };
        let one_way = document(&format!(r#""key": "{key}""#));
        let lines = nvme_commands("nqn.x", one_way.as_ref(), portal);
        assert!(
            lines[1].ends_with(" -n nqn.x --dhchap-secret=KEY"),
            "{lines:?}"
        );
        let other = "DHHC-1:00:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQHMnzFi:";
        let mutual = document(&format!(r#""key": "{key}", "controller_key": "{other}""#));
        let lines = nvme_commands("nqn.x", mutual.as_ref(), portal);
        assert!(
            lines[1].ends_with(" --dhchap-secret=KEY --dhchap-ctrl-secret=CONTROLLER_KEY"),
            "{lines:?}"
        );
    }

    #[test]
    fn own_addresses() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
                    |-- 10.99.0.1\n           /32 host LOCAL\n     |-- 10.99.0.255\n           /32 link BROADCAST\n     \
                    |-- 127.0.0.1\n           /32 host LOCAL\nLocal:\n     |-- 10.99.0.1\n           /32 host LOCAL\n";
        assert_eq!(ipv4_addresses(trie), [IpAddr::from([10, 99, 0, 1])]);
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fd000099000000000000000000000001 02 40 00 80       d0\n\
                     fe800000000000000000000000000001 02 40 20 80       d0\n\
                     nonsense\n";
        assert_eq!(
            ipv6_addresses(table),
            ["fd00:99::1".parse::<IpAddr>().expect("an address")]
        );
    }
}
