//! What to say when there is no RDMA device: what is missing, and the command that brings it.

use std::fs;
use std::io;
use std::path::Path;

const CONNECTION_MANAGER: &str = "/dev/infiniband/rdma_cm";
const VERBS_DEVICES: &str = "/dev/infiniband";
const KERNEL_DEVICES: &str = "/sys/class/infiniband";

/// What the machine has.
#[derive(Debug)]
pub(super) struct Findings {
    /// Devices that the kernel has a driver for.
    kernel_devices: Vec<String>,
    /// `/dev/infiniband/uverbs*`
    verbs: Node,
    /// `/dev/infiniband/rdma_cm`
    connection_manager: Node,
}

/// A device file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Missing,
    Forbidden,
    Usable,
}

impl Findings {
    /// Looks at this machine.
    pub(super) fn gather() -> Self {
        let verbs = names(VERBS_DEVICES)
            .into_iter()
            .filter(|name| name.starts_with("uverbs"))
            .map(|name| Node::at(&Path::new(VERBS_DEVICES).join(name)));
        Self {
            kernel_devices: names(KERNEL_DEVICES),
            // One that can be used is enough.
            verbs: verbs.fold(Node::Missing, |best, node| match (best, node) {
                (Node::Usable, _) | (_, Node::Usable) => Node::Usable,
                (Node::Forbidden, _) | (_, Node::Forbidden) => Node::Forbidden,
                _ => Node::Missing,
            }),
            connection_manager: Node::at(Path::new(CONNECTION_MANAGER)),
        }
    }

    /// What to do about `error`, which librdmacm gave when asked for devices.
    pub(super) fn advice(&self, error: &str) -> String {
        let mut advice = Vec::new();
        if self.kernel_devices.is_empty() {
            advice.push(
                "the kernel has none: load the driver of the adapter, or for SoftRoCE over an Ethernet interface: \
                 modprobe rdma_rxe && rdma link add rxe0 type rxe netdev INTERFACE"
                    .to_owned(),
            );
        } else {
            match self.verbs {
                Node::Missing => advice.push(format!(
                    "{VERBS_DEVICES}/uverbs* is missing: modprobe ib_uverbs (in a container, pass the device in)"
                )),
                Node::Forbidden => advice.push(forbidden(&format!("{VERBS_DEVICES}/uverbs*"))),
                Node::Usable => {}
            }
        }
        match self.connection_manager {
            Node::Missing => advice.push(format!(
                "{CONNECTION_MANAGER} is missing: modprobe rdma_ucm (in a container, pass the device in)"
            )),
            Node::Forbidden => advice.push(forbidden(CONNECTION_MANAGER)),
            Node::Usable => {}
        }
        if advice.is_empty() {
            advice.push(format!(
                "the kernel has {}, but the user-space libraries do not take to it ({error}): install its provider \
                 (Debian, Ubuntu: apt-get install ibverbs-providers; others: rdma-core)",
                self.kernel_devices.join(", ")
            ));
        }
        advice.join("; ")
    }
}

impl Node {
    fn at(path: &Path) -> Self {
        match fs::OpenOptions::new().read(true).write(true).open(path) {
            Ok(_) => Self::Usable,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Forbidden,
            Err(_) => Self::Missing,
        }
    }
}

fn forbidden(what: &str) -> String {
    format!("no permission to open {what}: run as root, or as a user who may read and write it")
}

fn names(directory: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(devices: &[&str], verbs: Node, connection_manager: Node) -> String {
        let findings = Findings {
            kernel_devices: devices.iter().map(|&name| name.to_owned()).collect(),
            verbs,
            connection_manager,
        };
        findings.advice("No such device (os error 19)")
    }

    #[test]
    fn each_lack_has_its_cure() {
        let nothing = advice(&[], Node::Missing, Node::Missing);
        assert!(nothing.contains("rdma link add rxe0 type rxe"), "{nothing}");
        assert!(nothing.contains("modprobe rdma_ucm"), "{nothing}");
        assert!(
            !nothing.contains("ib_uverbs"),
            "comes with a device: {nothing}"
        );

        let modules = advice(&["mlx5_0"], Node::Missing, Node::Missing);
        assert!(modules.contains("modprobe ib_uverbs"), "{modules}");
        assert!(!modules.contains("rxe"), "{modules}");

        let user = advice(&["mlx5_0"], Node::Forbidden, Node::Forbidden);
        assert!(
            user.contains("permission to open /dev/infiniband/uverbs*"),
            "{user}"
        );
        assert!(
            user.contains("permission to open /dev/infiniband/rdma_cm"),
            "{user}"
        );

        let provider = advice(&["mlx5_0", "rxe0"], Node::Usable, Node::Usable);
        assert!(provider.contains("mlx5_0, rxe0"), "{provider}");
        assert!(provider.contains("ibverbs-providers"), "{provider}");
        assert!(provider.contains("os error 19"), "{provider}");
    }
}
