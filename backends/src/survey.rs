//! What a store is and can do, found out without touching its bytes.

use std::fs;
use std::os::fd::AsFd;

use rustix::fs::{FallocateFlags, major, minor};
use rustix::io::Errno;

use crate::Properties;
use crate::open::{Kind, Store};

const SECTOR: u32 = 512;
const PAGE: u32 = 4096;
/// File systems on networks call their transfer size a block size; nothing there is written in units that large.
const FILE_BLOCK_MAX: u32 = 64 * 1024;

/// Finds out about `store`.
pub(crate) fn survey(store: &Store, read_only: bool) -> Result<Properties, Errno> {
    match store.kind() {
        Kind::File => file(store, read_only),
        Kind::BlockDevice => block_device(store, read_only),
        Kind::Memory => Ok(Properties {
            size: store.size()?,
            physical_block_size: PAGE,
            read_only,
            can_resize: !read_only,
            can_discard: true,
            discard_zeroes: true,
            discard_granularity: PAGE,
            rotational: false,
            description: "memory".to_owned(),
        }),
    }
}

/// Smallest unit in which zeroing and discarding work; ranges that do not consist of it need another way.
pub(crate) fn granule(store: &Store) -> u64 {
    match store.kind() {
        Kind::BlockDevice => {
            u64::from(rustix::fs::ioctl_blksszget(store.as_fd()).unwrap_or(SECTOR))
        }
        Kind::File | Kind::Memory => 1,
    }
}

fn file(store: &Store, read_only: bool) -> Result<Properties, Errno> {
    let stat = rustix::fs::fstat(store.as_fd())?;
    let file_system = rustix::fs::fstatfs(store.as_fd())?;
    let size = store.size()?;
    let block = u32::try_from(file_system.f_bsize)
        .ok()
        .filter(|size| size.is_power_of_two())
        .map_or(PAGE, |size| size.clamp(SECTOR, FILE_BLOCK_MAX));
    let can_discard = !read_only && punches_holes(store, size, block);
    Ok(Properties {
        size,
        physical_block_size: block,
        read_only,
        can_resize: !read_only,
        can_discard,
        discard_zeroes: can_discard,
        discard_granularity: if can_discard { block } else { 0 },
        rotational: queue_value(stat.st_dev, "rotational") == Some(1),
        // The cast is between two spellings of the same 32 significant bits; its type differs between C libraries.
        description: describe(file_system.f_type as u32),
    })
}

fn block_device(store: &Store, read_only: bool) -> Result<Properties, Errno> {
    let device = rustix::fs::fstat(store.as_fd())?.st_rdev;
    let physical = rustix::fs::ioctl_blkpbszget(store.as_fd()).unwrap_or(SECTOR);
    let can_discard =
        !read_only && queue_value(device, "discard_max_bytes").is_some_and(|bytes| bytes > 0);
    let granularity = queue_value(device, "discard_granularity").unwrap_or(0);
    Ok(Properties {
        size: store.size()?,
        physical_block_size: if physical.is_power_of_two() {
            physical.max(SECTOR)
        } else {
            SECTOR
        },
        read_only,
        can_resize: false,
        can_discard,
        // Linux stopped believing any device that its discarded blocks read as zeros (4.12), and so do we.
        discard_zeroes: false,
        discard_granularity: if can_discard {
            u32::try_from(granularity).unwrap_or(0)
        } else {
            0
        },
        rotational: queue_value(device, "rotational") == Some(1),
        description: "block device".to_owned(),
    })
}

/// Whether holes can be punched into the file: punches one behind its end, where there is nothing to lose.
fn punches_holes(store: &Store, size: u64, block: u32) -> bool {
    let block = u64::from(block);
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(store.as_fd(), flags, size.next_multiple_of(block), block).is_ok()
}

/// A number from the request queue of a block device, or of the whole device if it is a partition.
fn queue_value(device: u64, attribute: &str) -> Option<u64> {
    let device = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    ["queue", "../queue"].into_iter().find_map(|queue| {
        let text = fs::read_to_string(format!("{device}/{queue}/{attribute}")).ok()?;
        text.trim().parse().ok()
    })
}

/// Names a file system by its magic number (statfs(2)).
fn describe(magic: u32) -> String {
    let name = match magic {
        0x0000_ef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0xf2f5_2010 => "f2fs",
        0x2fc1_2fc1 => "zfs",
        0xca45_1a4e => "bcachefs",
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0x9584_58f6 => "hugetlbfs",
        0x794c_7630 => "overlayfs",
        0x0000_6969 => "nfs",
        0xff53_4d42 | 0xfe53_4d42 => "smb",
        0x6573_5546 => "fuse",
        0x00c3_6400 => "ceph",
        0x0102_1997 => "9p",
        0x7461_636f => "ocfs2",
        0x0116_1970 => "gfs2",
        0x0000_4d44 => "vfat",
        0x2011_bab0 => "exfat",
        other => return format!("file on a file system of type {other:#x}"),
    };
    format!("file on {name}")
}
