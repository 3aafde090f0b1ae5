//! What a disk tells about its commands and itself.

use super::super::opcodes::ROWS;
use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;

fn report(channel: &mut ScsiChannel, options: u8, opcode: u8, action: u16) -> Vec<u8> {
    let [high, low] = action.to_be_bytes();
    data(
        channel,
        &[
            0xa3, 0x0c, options, opcode, high, low, 0, 0, 0xff, 0xff, 0, 0,
        ],
    )
}

#[test]
fn all_commands() {
    let mut channel = channel_of(thin_model());
    let all = report(&mut channel, 0, 0, 0);
    let available = |model: &DiskModel| ROWS.iter().filter(|row| row.available(model)).count();
    let rows = available(&thin_model());
    assert_eq!(all.len(), 4 + 8 * rows);
    assert_eq!(
        u32::from_be_bytes([all[0], all[1], all[2], all[3]]) as usize,
        all.len() - 4
    );
    let descriptors: Vec<_> = all[4..].chunks(8).collect();
    assert_eq!(descriptors[0], [0x00, 0, 0, 0, 0, 0, 0, 6]);
    assert!(descriptors.contains(&&[0x9e, 0, 0, 0x10, 0, 1, 0, 16][..]));
    assert!(descriptors.contains(&&[0xa3, 0, 0, 0x0c, 0, 1, 0, 12][..]));
    assert!(descriptors.contains(&&[0x42, 0, 0, 0, 0, 0, 0, 10][..]));

    let with_timeouts = report(&mut channel, 0x80, 0, 0);
    assert_eq!(with_timeouts.len(), 4 + 20 * rows);
    let read16 = with_timeouts[4..].chunks(20).find(|row| row[0] == 0x88);
    assert_eq!(
        read16.expect("READ (16)"),
        [
            0x88, 0, 0, 0, 0, 2, 0, 16, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30
        ]
    );

    // UNMAP and both WRITE SAMEs are gone.
    let all = report(&mut channel_of(model()), 0, 0, 0);
    assert_eq!(all.len(), 4 + 8 * (rows - 3));
    assert_eq!(available(&model()), rows - 3);
}

#[test]
fn one_command() {
    let mut channel = channel_of(thin_model());
    let inquiry = [0, 3, 0, 6, 0x12, 1, 0xff, 0xff, 0xff, 0];
    assert_eq!(report(&mut channel, 1, 0x12, 0), inquiry);
    assert_eq!(report(&mut channel, 3, 0x12, 0), inquiry);
    let capacity16 = report(&mut channel, 2, 0x9e, 0x10);
    assert_eq!(capacity16[..6], [0, 3, 0, 16, 0x9e, 0x10]);
    assert_eq!(report(&mut channel, 3, 0x9e, 0x10), capacity16);
    let flush = report(&mut channel, 0x81, 0x35, 0);
    assert_eq!(flush[..4], [0, 0x83, 0, 10]);
    assert_eq!(flush[14..], [0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60]);
    let unsupported = [0, 1, 0, 0];
    for (options, opcode, action) in [(1, 0x5d, 0), (2, 0x5e, 4), (2, 0x9e, 0x13), (3, 0x12, 1)] {
        assert_eq!(report(&mut channel, options, opcode, action), unsupported);
    }
    assert_eq!(report(&mut channel_of(model()), 1, 0x42, 0), unsupported);
    for (options, opcode) in [(1, 0x9e), (1, 0x5f), (2, 0x12), (4, 0x12), (7, 0x12)] {
        let cdb = [0xa3, 0x0c, options, opcode, 0, 0, 0, 0, 0xff, 0xff, 0, 0];
        assert_eq!(refused(&mut channel, &cdb), Sense::cdb_bits(2, 2));
    }
}

#[test]
fn every_command_that_is_reported_is_planned() {
    let mut channel = channel_of(thin_model());
    for row in ROWS.iter().filter(|row| row.available(&thin_model())) {
        let mut cdb = vec![0; row.usage.len()];
        cdb[0] = row.opcode;
        cdb[1] = row.service_action.unwrap_or(0);
        let plan = channel.plan(&command(&cdb));
        if let Plan::Respond(Response {
            sense: Some(sense), ..
        }) = plan
        {
            assert_ne!(sense.code, codes::INVALID_OPCODE, "{}", row.name);
        }
        assert_eq!(command_name(&cdb), Some(row.name));
    }
}

#[test]
fn task_management_functions() {
    let mut channel = channel_of(model());
    let mut cdb = [0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    assert_eq!(data(&mut channel, &cdb), [0xd8, 0, 0, 0]);
    cdb[2] = 0x80;
    let extended = data(&mut channel, &cdb);
    assert_eq!((extended.len(), extended[3]), (16, 12));
    cdb[9] = 3;
    assert_eq!(refused(&mut channel, &cdb), Sense::cdb_byte(6));
}

#[test]
fn request_sense() {
    let mut channel = channel_of(model());
    let nothing = [0x70, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(data(&mut channel, &[0x03, 0, 0, 0, 252, 0]), nothing);
    assert_eq!(data(&mut channel, &[0x03, 0, 0, 0, 4, 0]), nothing[..4]);
    let index = channel.unit_at([0; 8]).expect("mapped");
    let unit = channel.unit(index).clone();
    unit.reset();
    let reset = data(&mut channel, &[0x03, 1, 0, 0, 252, 0]);
    assert_eq!(reset, [0x72, 6, 0x29, 0x03, 0, 0, 0, 0]);
    assert_eq!(data(&mut channel, &[0; 6]), []);
}

const READY: [u8; 6] = [0; 6];
const STOP: [u8; 6] = [0x1b, 0, 0, 0, 0, 0];
const START: [u8; 6] = [0x1b, 0, 0, 0, 1, 0];

#[test]
fn a_stopped_disk_is_not_ready_until_it_is_started() {
    let mut channel = channel_of(thin_model());
    let flush = block(channel.plan(&command(&STOP)));
    assert_eq!(flush.op, crate::block::BlockOp::Flush);
    let read = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    for cdb in [&READY[..], &read] {
        assert_eq!(refused(&mut channel, cdb).code, codes::UNIT_STOPPED);
    }
    let sense = data(&mut channel, &[0x03, 0, 0, 0, 252, 0]);
    assert_eq!((sense[2], sense[12], sense[13]), (0x2, 0x04, 0x02));
    // What tells of the disk goes on.
    data(&mut channel, &[0x12, 0, 0, 0, 96, 0]);
    data(&mut channel, &[0x1a, 0, 0x3f, 0, 192, 0]);
    data(&mut channel, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    report(&mut channel, 0, 0, 0);
    assert_eq!(refused(&mut channel, &[0xff]).code, codes::INVALID_OPCODE);

    assert_eq!(data(&mut channel, &START), []);
    assert_eq!(data(&mut channel, &READY), []);
    // IMMED and NO_FLUSH, and a reset.
    assert_eq!(data(&mut channel, &[0x1b, 1, 0, 0, 0x04, 0]), []);
    assert_eq!(refused(&mut channel, &READY).code, codes::UNIT_STOPPED);
    let index = channel.unit_at([0; 8]).expect("mapped");
    channel.unit(index).reset();
    assert_eq!(
        refused(&mut channel, &READY).code,
        codes::UNIT_RESET_OCCURRED
    );
    block(channel.plan(&command(&read)));
}

#[test]
fn a_disk_is_stopped_for_one_host_alone() {
    let unit = std::sync::Arc::new(unit());
    let map = luns(&[(0, &unit)]);
    let mut first = ScsiSession::new(port(), None, &map).channel();
    let mut second = ScsiSession::new(port(), None, &map).channel();
    block(first.plan(&command(&STOP)));
    assert_eq!(refused(&mut first, &READY).code, codes::UNIT_STOPPED);
    assert_eq!(data(&mut second, &READY), []);
    // It comes back as a new nexus.
    let mut again = ScsiSession::new(port(), None, &map).channel();
    assert_eq!(data(&mut again, &READY), []);
}

#[test]
fn a_disk_has_no_power_conditions_and_cannot_be_taken_out() {
    let mut channel = channel_of(model());
    for byte4 in [0x02, 0x03] {
        let eject = refused(&mut channel, &[0x1b, 0, 0, 0, byte4, 0]);
        assert_eq!(eject, Sense::cdb_bits(4, 1));
    }
    for condition in 1..16 {
        let power = refused(&mut channel, &[0x1b, 0, 0, 0, condition << 4, 0]);
        assert_eq!(power, Sense::cdb_bits(4, 7));
    }
    // None of these stopped it.
    assert_eq!(data(&mut channel, &READY), []);
    for prevent in [1, 0] {
        assert_eq!(data(&mut channel, &[0x1e, 0, 0, 0, prevent, 0]), []);
    }
    let obsolete = refused(&mut channel, &[0x1e, 0, 0, 0, 2, 0]);
    assert_eq!(obsolete, Sense::cdb_bits(4, 1));
}

#[test]
fn self_tests() {
    let mut channel = channel_of(model());
    // PF, DEVOFFL and UNITOFFL do not matter.
    for byte1 in [0x04, 0x14, 0x07, 0x00] {
        assert_eq!(data(&mut channel, &[0x1d, byte1, 0, 0, 0, 0]), []);
    }
    let background = refused(&mut channel, &[0x1d, 0x20, 0, 0, 0, 0]);
    assert_eq!(background, Sense::cdb_bits(1, 7));
    let page = refused(&mut channel, &[0x1d, 0x10, 0, 0, 4, 0]);
    assert_eq!(page, Sense::cdb_byte(3));
}

#[test]
fn target_port_groups() {
    let mut channel = channel_of(model());
    let mut cdb = [0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    let group = [0x00, 0x01, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1];
    let plain = data(&mut channel, &cdb);
    assert_eq!(plain, [&[0, 0, 0, 12][..], &group].concat());
    cdb[1] = 0x2a;
    let extended = data(&mut channel, &cdb);
    let header = [0, 0, 0, 16, 0x10, 0, 0, 0];
    assert_eq!(extended, [&header[..], &group].concat());
    cdb[9] = 0;
    cdb[8] = 0;
    assert_eq!(data(&mut channel, &cdb), []);
    cdb[1] = 0x4a;
    assert_eq!(refused(&mut channel, &cdb), Sense::cdb_bits(1, 7));

    let ports = vec![3, 1, 2];
    let mut channel = channel_of(DiskModel { ports, ..model() });
    (cdb[1], cdb[9]) = (0x0a, 255);
    let several = data(&mut channel, &cdb);
    assert_eq!(several[3], 20);
    assert_eq!(several[11..], [3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
}
