//! Who else uses a store: found only to make a refusal helpful, so everything here is best effort.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Stat, major, minor};

const UNKNOWN: &str = "another program";

/// Who holds a lock on the file that `stat` describes.
pub(crate) fn of_lock(stat: &Stat) -> String {
    process_with(|fd, fdinfo| {
        fs::metadata(fd).is_ok_and(|m| m.dev() == stat.st_dev && m.ino() == stat.st_ino)
            && fs::read_to_string(fdinfo).is_ok_and(|info| info.contains("\nlock:"))
    })
    .unwrap_or_else(|| UNKNOWN.to_owned())
}

/// Who has claimed the block device at `path`: a mount, a device on top of it, or a program.
pub(crate) fn of_block_device(path: &Path) -> String {
    let Ok(device) = fs::metadata(path).map(|m| m.rdev()) else {
        return UNKNOWN.to_owned();
    };
    mount_of(device)
        .or_else(|| device_on_top_of(device))
        .or_else(|| process_with(|fd, _| fs::metadata(fd).is_ok_and(|m| m.rdev() == device)))
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

fn mount_of(device: u64) -> Option<String> {
    // proc(5): "36 35 98:0 /root /mount/point ...".
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let id = format!("{}:{}", major(device), minor(device));
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let mounted = fields.next()? == id;
        let point = fields.nth(1)?;
        mounted.then(|| format!("the file system mounted at {point}"))
    })
}

fn device_on_top_of(device: u64) -> Option<String> {
    let holders = format!("/sys/dev/block/{}:{}/holders", major(device), minor(device));
    let holder = fs::read_dir(holders).ok()?.find_map(Result::ok)?;
    Some(format!("/dev/{}", holder.file_name().to_string_lossy()))
}

/// The first process but this descriptor's own that has a descriptor for which `matches` says yes of its `/proc` entries
/// (`fd/N` and `fdinfo/N`).
fn process_with(matches: impl Fn(&Path, &Path) -> bool) -> Option<String> {
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|pid| pid.parse::<u32>().is_ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for fd in descriptors.flatten() {
            let fdinfo = process.path().join("fdinfo").join(fd.file_name());
            if matches(&fd.path(), &fdinfo) {
                let comm = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some(match comm.trim_end() {
                    "" => format!("process {pid}"),
                    comm => format!("process {pid} ({comm})"),
                });
            }
        }
    }
    None
}
