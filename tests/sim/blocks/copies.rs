//! EXTENDED COPY, and what RECEIVE COPY STATUS says of it.

use pagecast_backends::BackendError;
use pagecast_backends::testing::{Fault, Kind};
use pagecast_initiator::{ChannelId, Command, Data, Format, Task, scsi};
use pagecast_tests::world::read;
use pagecast_tests::{Host, World, pattern, seeds};

use super::{BLOCK, ORDERED, fetch, naa, out, send_out, staged_disks, two_disks, with};

fn read_lun(world: &mut World, at: (Host, ChannelId), lun: u16, lba: u64, blocks: u32) -> Vec<u8> {
    fetch(
        world,
        at,
        lun,
        scsi::read16(lba, blocks),
        blocks as usize * BLOCK,
    )
}

#[test]
fn blocks_are_copied_between_devices() {
    for seed in seeds(0..6) {
        let mut world = two_disks(seed).build();
        let at = (0, world.log_in(0));
        let bytes = pattern(4 << 20, seed);
        for part in 0..4 {
            world.write(
                0,
                at.1,
                part * 2048,
                &bytes[part as usize * (1 << 20)..][..1 << 20],
            );
        }
        let names = [naa(&mut world, at, 0), naa(&mut world, at, 1)];
        // Several strides, one block, and something odd.
        let segments = [(0, 4096, 5000), (5000, 1, 1), (6001, 9999, 1027)];
        let (cdb, list) = scsi::extended_copy(&names[0], &names[1], 512, &segments);
        let reply = send_out(&mut world, at, cdb, &list);
        assert!(reply.is_good(), "seed {seed}: {:?}", reply.sense());
        for (from, to, blocks) in segments {
            let from = from as usize * BLOCK;
            let expected = &bytes[from..from + usize::from(blocks) * BLOCK];
            for part in (0..blocks).step_by(1000) {
                let now = 1000.min(blocks - part);
                let data = read_lun(&mut world, at, 1, to + u64::from(part), now.into());
                let part = usize::from(part) * BLOCK;
                assert!(data == expected[part..part + data.len()], "seed {seed}");
            }
        }
        // And back, into windows that are there.
        world.read(0, at.1, 0, 8);
        world.read(0, at.1, 0, 8);
        let (cdb, list) = scsi::extended_copy(&names[1], &names[0], 512, &[(4096 + 64, 0, 8)]);
        assert!(send_out(&mut world, at, cdb, &list).is_good());
        assert!(world.read(0, at.1, 0, 8) == bytes[64 * BLOCK..72 * BLOCK]);
        // Within one device.
        let (cdb, list) = scsi::extended_copy(&names[0], &names[0], 512, &[(100, 7000, 50)]);
        assert!(send_out(&mut world, at, cdb, &list).is_good());
        assert!(world.read(0, at.1, 7000, 50) == bytes[100 * BLOCK..150 * BLOCK]);
        let devices = &world.daemon.shared.inventory().devices;
        let copied: u64 = segments
            .iter()
            .map(|(_, _, blocks)| u64::from(*blocks))
            .sum();
        let written = devices[1].total(|counters| &counters.write_bytes);
        assert_eq!(written, copied * BLOCK as u64);
        world.finish();
    }
}

#[test]
fn an_aborted_copy_stops_at_its_stride() {
    for seed in seeds(0..6) {
        let mut world = two_disks(seed).build();
        let at = (0, world.log_in(0));
        world.write(0, at.1, 0, &pattern(1 << 20, 1));
        let names = [naa(&mut world, at, 0), naa(&mut world, at, 1)];
        world.io.take_executed();
        world.io.hold(Kind::Write);
        let segments = [(0, 0, 2048), (0, 2048, 2048), (0, 4096, 2048)];
        let (cdb, list) = scsi::extended_copy(&names[0], &names[1], 512, &segments);
        let command = out(&mut world, at, cdb, &list);
        let copy = world.send(at.0, at.1, &command);
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        world.settle();
        let abort = Task {
            lun: scsi::lun(0),
            function: 1,
            tag: copy,
        };
        let abort = world.initiators[0].task(at.1, abort).expect("a credit");
        world.settle();
        world.io.release();
        assert_eq!(world.reply(0, at.1, abort).response.code, Some(0));
        world.initiators[0].abandon(at.1, copy);
        assert_eq!(
            world.io.take_executed(),
            [Kind::Read, Kind::Write],
            "seed {seed}"
        );
        assert_eq!(copy_status(&mut world, at), 2, "seed {seed}");
        world.finish();
    }
}

/// COPY MANAGER STATUS (SPC-4, RECEIVE COPY STATUS) of list identifier 1: 0 is under way, 1 is good, 2 is not.
fn copy_status(world: &mut World, at: (Host, ChannelId)) -> u8 {
    fetch(world, at, 0, receive_copy_status(), 12)[4]
}

fn receive_copy_status() -> Vec<u8> {
    vec![0x84, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0]
}

#[test]
fn whoever_waits_for_a_copy_hears_that_it_is_done() {
    for seed in seeds(0..8) {
        let mut world = staged_disks(seed).build();
        let at = (0, world.log_in(0));
        let names = [naa(&mut world, at, 0), naa(&mut world, at, 1)];
        world.io.hold(Kind::Read);
        let buffer = world.buffer(0, at.1, BLOCK);
        let first = world.send(0, at.1, &read(&buffer, 0, 1));
        world.run_until(|world| (world.io.waiting() > 0).then_some(()));
        let (cdb, list) = scsi::extended_copy(&names[0], &names[1], 512, &[(0, 0, 8)]);
        let command = out(&mut world, at, cdb, &list);
        let copy = world.send(0, at.1, &with(ORDERED, command));
        let buffer = world.buffer(0, at.1, 12);
        let pieces = buffer.whole().expect("all of it");
        let data = Data::In(pieces, Format::Direct);
        let status = world.send(0, at.1, &Command::new(0, receive_copy_status(), data));
        world.settle();
        world.io.release();
        for tag in [first, copy] {
            assert!(world.reply(0, at.1, tag).is_good(), "seed {seed}");
        }
        let reply = world.reply(0, at.1, status);
        assert!(reply.is_good(), "seed {seed}: {:?}", reply.sense());
        assert_eq!(reply.data()[4], 1, "seed {seed}");
        world.finish();
    }
}

#[test]
fn a_copy_that_fails_says_so() {
    let mut world = two_disks(1).build();
    let at = (0, world.log_in(0));
    let names = [naa(&mut world, at, 0), naa(&mut world, at, 1)];
    let (cdb, list) = scsi::extended_copy(&names[0], &names[1], 512, &[(0, 0, 8), (8, 8, 8)]);
    for (disk, kind) in [("disk0", Kind::Read), ("disk1", Kind::Write)] {
        let fault = Fault::every(kind, BackendError::Medium(5)).within(4096..8192);
        world.stores[disk].inject(fault);
        let reply = send_out(&mut world, at, cdb.clone(), &list);
        assert_eq!(reply.status(), 2, "{disk}");
        world.stores[disk].clear();
    }
    assert!(send_out(&mut world, at, cdb, &list).is_good());
    world.finish();
}
