//! Addresses of this machine that RDMA reaches, for what `target show` prints.
//!
//! The GID tables of RoCE and iWARP ports hold the IP addresses of their network interfaces.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

/// Every IP address in the GID tables under `/sys/class/infiniband`, each once.
pub(super) fn rdma_addresses() -> Vec<IpAddr> {
    from_tables(Path::new("/sys/class/infiniband"))
}

fn from_tables(root: &Path) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for device in entries(root) {
        for port in entries(&device.join("ports")) {
            for gid in entries(&port.join("gids")) {
                let text = fs::read_to_string(gid).unwrap_or_default();
                if let Ok(gid) = text.trim().parse::<Ipv6Addr>()
                    && let Some(address) = address(gid)
                    && !found.contains(&address)
                {
                    found.push(address);
                }
            }
        }
    }
    found
}

/// The address in a GID: link-local and InfiniBand's own GIDs are none that a peer could dial.
fn address(gid: Ipv6Addr) -> Option<IpAddr> {
    if gid.is_unspecified() || gid.is_unicast_link_local() || gid.is_loopback() {
        return None;
    }
    Some(IpAddr::V6(gid).to_canonical())
}

fn entries(directory: &Path) -> Vec<std::path::PathBuf> {
    let Ok(list) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = list.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gids_name_addresses() {
        let gid = |text: &str| text.parse().expect("a GID");
        assert_eq!(
            address(gid("0000:0000:0000:0000:0000:ffff:0a63:0001")),
            Some("10.99.0.1".parse().expect("an address"))
        );
        assert_eq!(
            address(gid("fd00:0099:0000:0000:0000:0000:0000:0001")),
            Some("fd00:99::1".parse().expect("an address"))
        );
        assert_eq!(address(gid("fe80::1")), None);
        assert_eq!(address(gid("::")), None);
    }

    #[test]
    fn tables_are_read_whole_and_once() {
        let root = std::env::temp_dir().join(format!("pagecast-gids-{}", std::process::id()));
        let gids = root.join("rxe0/ports/1/gids");
        fs::create_dir_all(&gids).expect("a directory");
        for (name, gid) in [
            ("0", "fe80:0000:0000:0000:0000:0000:0000:0001\n"),
            ("1", "0000:0000:0000:0000:0000:ffff:0a63:0001\n"),
            ("2", "0000:0000:0000:0000:0000:ffff:0a63:0001\n"),
            ("3", "0000:0000:0000:0000:0000:0000:0000:0000\n"),
        ] {
            fs::write(gids.join(name), gid).expect("a file");
        }
        let found = from_tables(&root);
        fs::remove_dir_all(&root).expect("removed");
        assert_eq!(found, ["10.99.0.1".parse::<IpAddr>().expect("an address")]);
    }
}
