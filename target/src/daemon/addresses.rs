//! Where this machine's RDMA ports can be reached, for what `target show` prints.
//!
//! The GID tables of RoCE and iWARP ports hold the IP addresses of their network interfaces. InfiniBand ports have GIDs of
//! their own there, by which initiators on the native connection manager know them.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use pagecast_rdma::fabric::Gid;

/// An InfiniBand port, as a native login line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InfinibandPort {
    /// Its first GID.
    pub(super) gid: Gid,
    /// Its first partition key.
    pub(super) pkey: u16,
}

/// Every IP address that RDMA reaches, each once.
pub(super) fn rdma_addresses() -> Vec<IpAddr> {
    addresses_in(Path::new("/sys/class/infiniband"))
}

/// Every InfiniBand port.
pub(super) fn infiniband_ports() -> Vec<InfinibandPort> {
    infiniband_ports_in(Path::new("/sys/class/infiniband"))
}

fn addresses_in(root: &Path) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for port in ports(root).filter(|port| !is_infiniband(port)) {
        for gid in entries(&port.join("gids")) {
            if let Some(address) = gid_at(&gid).and_then(address)
                && !found.contains(&address)
            {
                found.push(address);
            }
        }
    }
    found
}

fn infiniband_ports_in(root: &Path) -> Vec<InfinibandPort> {
    ports(root)
        .filter(|port| is_infiniband(port))
        .filter_map(|port| {
            let pkey = text(&port.join("pkeys/0"));
            Some(InfinibandPort {
                gid: Gid(gid_at(&port.join("gids/0"))?.octets()),
                pkey: u16::from_str_radix(pkey.strip_prefix("0x")?, 16).ok()?,
            })
        })
        .collect()
}

/// The address in a GID. Link-local ones are none that a peer could dial without naming its own interface.
fn address(gid: Ipv6Addr) -> Option<IpAddr> {
    if gid.is_unspecified() || gid.is_unicast_link_local() || gid.is_loopback() {
        return None;
    }
    Some(IpAddr::V6(gid).to_canonical())
}

fn ports(root: &Path) -> impl Iterator<Item = PathBuf> {
    let devices = entries(root).into_iter();
    devices.flat_map(|device| entries(&device.join("ports")))
}

fn is_infiniband(port: &Path) -> bool {
    text(&port.join("link_layer")) == "InfiniBand"
}

fn gid_at(file: &Path) -> Option<Ipv6Addr> {
    text(file).parse().ok()
}

fn text(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.trim().to_owned()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
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
    fn tables_are_read_by_link_layer() {
        let root = std::env::temp_dir().join(format!("pagecast-gids-{}", std::process::id()));
        for (file, content) in [
            ("rxe0/ports/1/link_layer", "Ethernet\n"),
            (
                "rxe0/ports/1/gids/0",
                "fe80:0000:0000:0000:0000:0000:0000:0001\n",
            ),
            (
                "rxe0/ports/1/gids/1",
                "0000:0000:0000:0000:0000:ffff:0a63:0001\n",
            ),
            (
                "rxe0/ports/1/gids/2",
                "0000:0000:0000:0000:0000:ffff:0a63:0001\n",
            ),
            (
                "rxe0/ports/1/gids/3",
                "0000:0000:0000:0000:0000:0000:0000:0000\n",
            ),
            ("mlx5_0/ports/1/link_layer", "InfiniBand\n"),
            (
                "mlx5_0/ports/1/gids/0",
                "fec0:0000:0000:0001:0002:c903:0000:0001\n",
            ),
            ("mlx5_0/ports/1/pkeys/0", "0xffff\n"),
        ] {
            let file = root.join(file);
            fs::create_dir_all(file.parent().expect("a directory")).expect("made");
            fs::write(file, content).expect("written");
        }
        let (addresses, ports) = (addresses_in(&root), infiniband_ports_in(&root));
        fs::remove_dir_all(&root).expect("removed");
        assert_eq!(
            addresses,
            ["10.99.0.1".parse::<IpAddr>().expect("an address")]
        );
        let [port] = ports[..] else {
            panic!("{ports:?}");
        };
        assert_eq!(port.pkey, 0xffff);
        assert_eq!(
            port.gid.to_string(),
            "fec0:0000:0000:0001:0002:c903:0000:0001"
        );
    }
}
