//! All of it at once.

use pagecast_backends::BackendError;
use pagecast_backends::testing::{Fault, Kind};
use pagecast_initiator::{ChannelId, Command, Data, Format, Task, scsi};
use pagecast_tests::{Host, World, pattern, seeds};

use super::{
    BLOCK, HEAD_OF_QUEUE, ORDERED, compare_and_write, naa, out, send_out, staged_disks, two_disks,
};

/// Every command there is, in any order and with any attribute, on a few blocks, while commands are aborted, connections
/// break and the store fails: everything ends, nothing stays behind, and a block is always what one command made of it.
#[test]
fn a_storm() {
    for seed in seeds(0..8) {
        let mut world = if seed % 2 == 0 {
            two_disks(seed)
        } else {
            staged_disks(seed).setting("\"staging_memory\": \"4MiB\"")
        }
        .build();
        let first = [(0, world.log_in(0)), (1, world.log_in(1))];
        let names = [naa(&mut world, first[0], 0), naa(&mut world, first[0], 1)];
        let mut channels: Vec<_> = first.into();
        for host in [0, 1, 0] {
            let options = world.options(host).multichannel();
            channels.push((host, world.log_in_with(host, options)));
        }
        let mut flights: Vec<((Host, ChannelId), u64)> = Vec::new();
        for _ in 0..300 {
            let at = channels[world.random.index(channels.len())];
            if !world.initiators[at.0].is_up(at.1) {
                let options = world.options(at.0).multichannel();
                channels.retain(|channel| *channel != at);
                flights.retain(|(flight, _)| *flight != at);
                channels.push((at.0, world.log_in_with(at.0, options)));
                continue;
            }
            match world.random.below(100) {
                0 => world.initiators[at.0].disconnect(at.1).expect("a channel"),
                1..4 => {
                    let kind = [Kind::Read, Kind::Write, Kind::Discard][world.random.index(3)];
                    let disk = ["disk0", "disk1"][world.random.index(2)];
                    let fault = Fault::every(kind, BackendError::Medium(5)).times(1);
                    world.stores[disk].inject(fault);
                }
                4..10 => {
                    let mine = |flight: &&((Host, ChannelId), u64)| flight.0 == at;
                    let tag = flights.iter().find(mine).map_or(77, |flight| flight.1);
                    let task = Task {
                        lun: scsi::lun(world.random.below(2) as u16),
                        function: [1, 1, 1, 2, 8][world.random.index(5)],
                        tag,
                    };
                    // There may be no credit for it.
                    let _ = world.initiators[at.0].task(at.1, task);
                }
                _ if world.initiators[at.0].can_send(at.1) => {
                    let command = any_command(&mut world, at, &names);
                    let tag = world.send(at.0, at.1, &command);
                    flights.push((at, tag));
                }
                _ => {}
            }
            for _ in 0..world.random.below(6) {
                world.pump();
            }
            flights.retain(|(at, tag)| world.initiators[at.0].take_reply(at.1, *tag).is_none());
        }
        for store in world.stores.values() {
            store.clear();
        }
        world.settle();
        // Windows get out of the way on threads of their own, which may take their time.
        let in_flight = |world: &World| {
            let inventory = world.daemon.shared.inventory();
            let devices = inventory.devices.iter();
            devices
                .map(|device| device.total(|counters| &counters.in_flight))
                .sum::<u64>()
        };
        for _ in 0..1000 {
            if in_flight(&world) == 0 {
                break;
            }
            world.settle();
        }
        assert_eq!(in_flight(&world), 0, "seed {seed}: it never ends");
        // Who never got an answer was aborted. Somebody else has all blocks to himself now.
        let host = 0;
        let options = world.options(host).multichannel();
        let at = (host, world.log_in_with(host, options));
        // What resets and such have left to tell.
        for lun in [0, 1, 0, 1] {
            let command = Command::new(lun, scsi::test_unit_ready(), Data::None);
            world.execute(at.0, at.1, &command);
        }
        let old = world.read(at.0, at.1, 0, 8);
        let (cdb, bytes) = compare_and_write(&old, &pattern(8 * BLOCK, 9), 0);
        let reply = send_out(&mut world, at, cdb, &bytes);
        assert!(reply.is_good(), "seed {seed}: {:?}", reply.sense());
        world.finish();
    }
}

fn any_command(world: &mut World, at: (Host, ChannelId), names: &[Vec<u8>; 2]) -> Command {
    let lba = world.random.below(8);
    let blocks = 1 + world.random.below(4) as usize;
    let salt = world.random.below(3);
    let bytes = pattern(blocks * BLOCK, salt);
    let count = blocks as u32;
    let (cdb, data) = match world.random.below(10) {
        0 => (scsi::write16(lba, count, salt == 0), bytes),
        1 => compare_and_write(&bytes, &pattern(blocks * BLOCK, salt + 1), lba),
        2 => compare_and_write(&vec![0; blocks * BLOCK], &bytes, lba),
        3 => (scsi::orwrite16(lba, count), bytes),
        4 => (scsi::write_and_verify16(lba, count, salt as u8 % 2), bytes),
        5 => (scsi::verify16(lba, count, 3), bytes[..BLOCK].to_vec()),
        6 => (
            scsi::write_same16(lba, 3000, false, false),
            bytes[..BLOCK].to_vec(),
        ),
        7 => scsi::unmap(&[(lba, count), (lba + 3, 8)]),
        8 => {
            let (from, to) = (world.random.index(2), world.random.index(2));
            let segments = [(lba, lba + 4, 4), (0, 100, 4000)];
            scsi::extended_copy(&names[from], &names[to], 512, &segments)
        }
        _ => (scsi::get_lba_status(lba, 64), Vec::new()),
    };
    let mut command = if data.is_empty() {
        let buffer = world.buffer(at.0, at.1, 64);
        let pieces = buffer.whole().expect("all of it");
        Command::new(0, cdb, Data::In(pieces, Format::Direct))
    } else if data.len() <= BLOCK && world.random.once_in(2) {
        Command::new(0, cdb, Data::Immediate(data))
    } else {
        out(world, at, cdb, &data)
    };
    command.lun = scsi::lun(world.random.below(2) as u16);
    command.attribute = [0, 0, 0, HEAD_OF_QUEUE, ORDERED][world.random.index(5)];
    command
}
