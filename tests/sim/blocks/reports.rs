//! What a device tells of itself: which blocks are stored, and log pages.

use pagecast_backends::BackendError;
use pagecast_backends::testing::{Fault, Kind};
use pagecast_initiator::{ChannelId, scsi};
use pagecast_tests::{Host, Setup, World, pattern};

use super::{BLOCK, fetch, send_out};

/// First block, blocks, and whether they are stored.
fn extents(
    world: &mut World,
    at: (Host, ChannelId),
    lba: u64,
    room: usize,
) -> Vec<(u64, u32, bool)> {
    let length = 8 + 16 * room;
    let data = fetch(
        world,
        at,
        0,
        scsi::get_lba_status(lba, length as u32),
        length,
    );
    data[8..]
        .chunks_exact(16)
        .map(|descriptor| {
            let lba = u64::from_be_bytes(descriptor[..8].try_into().expect("eight bytes"));
            let blocks = u32::from_be_bytes(descriptor[8..12].try_into().expect("four bytes"));
            (lba, blocks, descriptor[12] & 0x0f == 0)
        })
        .collect()
}

#[test]
fn holes_show_after_unmap() {
    let mut world = Setup::new(1).build();
    let at = (0, world.log_in(0));
    for part in 0..4 {
        world.write(0, at.1, part * 2048, &pattern(1 << 20, part));
    }
    assert_eq!(extents(&mut world, at, 0, 8), [(0, 8192, true)]);
    let (cdb, list) = scsi::unmap(&[(1024, 512), (4096, 8)]);
    assert!(send_out(&mut world, at, cdb, &list).is_good());
    let all = [
        (0, 1024, true),
        (1024, 512, false),
        (1536, 2560, true),
        (4096, 8, false),
        (4104, 4088, true),
    ];
    assert_eq!(extents(&mut world, at, 0, 8), all);
    assert_eq!(extents(&mut world, at, 0, 2), all[..2]);
    assert_eq!(
        extents(&mut world, at, 1100, 2),
        [(1100, 436, false), (1536, 2560, true)]
    );
    // Part of a page that stays stored because of the rest.
    let (cdb, list) = scsi::unmap(&[(6001, 1)]);
    assert!(send_out(&mut world, at, cdb, &list).is_good());
    assert_eq!(extents(&mut world, at, 5000, 8), [(5000, 3192, true)]);
    // A store that cannot tell: blocks count as stored.
    let fault = Fault::every(Kind::Extents, BackendError::Unsupported).times(1);
    world.store().inject(fault);
    let told = extents(&mut world, at, 1024, 8);
    assert!(matches!(told[..], [(1024, 1.., true)]), "{told:?}");
    world.finish();
}

#[test]
fn log_pages_count_what_was_done() {
    // A window would occupy more than was written.
    let mut world = Setup::new(1).staged().build();
    let at = (0, world.log_in(0));
    world.write(0, at.1, 0, &pattern(8 * BLOCK, 1));
    world.write(0, at.1, 8, &pattern(8 * BLOCK, 1));
    world.read(0, at.1, 0, 5);
    let fault = Fault::every(Kind::Write, BackendError::Medium(5)).times(1);
    world.store().inject(fault);
    let reply = send_out(&mut world, at, scsi::write16(0, 1, false), &[0; BLOCK]);
    assert_eq!(reply.status(), 2);
    // General statistics (SPC-4): READ and WRITE commands, blocks received, blocks transmitted.
    let page = fetch(&mut world, at, 0, scsi::log_sense(0x19, 128), 128);
    let number = |at: usize| u64::from_be_bytes(page[at..at + 8].try_into().expect("eight bytes"));
    assert_eq!([8, 16, 24, 32].map(number), [1, 3, 17, 5]);
    // Write error counters: the last of seven counts what could not be corrected.
    let page = fetch(&mut world, at, 0, scsi::log_sense(0x02, 128), 128);
    let last = 4 + 6 * 12 + 4;
    assert_eq!(page[last..last + 8], 1u64.to_be_bytes());
    // Used resources: a parameter with code 2, in blocks.
    let page = fetch(&mut world, at, 0, scsi::log_sense(0x0c, 128), 128);
    assert_eq!(page[4..12], [0, 2, 3, 8, 0, 0, 0, 16]);
    world.finish();
}
