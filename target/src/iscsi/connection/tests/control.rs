use crate::iscsi::connection::testing::*;
use crate::iscsi::connection::*;

const SECOND: Duration = Duration::from_secs(1);

fn ping(rig: &mut Rig, data: &[u8]) -> Frame {
    rig.numbered(NOW | opcode::NOP_OUT, 0x80)
        .word(20, RESERVED_TAG)
        .data(data)
}

#[test]
fn pings_come_back() {
    let mut rig = Rig::normal("");
    let frame = ping(&mut rig, b"hello");
    rig.consumed(&frame);
    let nop = rig.sent();
    assert_eq!(nop.opcode(), opcode::NOP_IN);
    assert_eq!((nop.itt(), nop.word(20)), (1, RESERVED_TAG));
    assert_eq!(nop.data, b"hello");
    assert_eq!((nop.stat_sn(), nop.window()), (1001, (100, 103)));
    // With a number.
    let frame = rig.numbered(opcode::NOP_OUT, 0x80).word(20, RESERVED_TAG);
    rig.consumed(&frame);
    assert_eq!(rig.connection.in_service(), 1);
    let nop = rig.sent();
    assert_eq!((nop.stat_sn(), nop.window()), (1002, (101, 104)));
    assert_eq!(rig.connection.in_service(), 0);
}

#[test]
fn as_much_of_a_ping_as_the_initiator_takes() {
    let mut rig = Rig::iser();
    let frame = ping(&mut rig, &[7; 1000]);
    rig.consumed(&frame);
    assert_eq!(rig.sent().data, [7; 128]);
    let mut rig = Rig::normal("MaxRecvDataSegmentLength=512\0");
    let frame = ping(&mut rig, &[7; 1000]);
    rig.consumed(&frame);
    assert_eq!(rig.sent().data, [7; 512]);
}

#[test]
fn pings_that_pile_up_are_rejected() {
    let mut rig = Rig::normal("MaxRecvDataSegmentLength=65536\0");
    let mut frames = Vec::new();
    for _ in 0..4 {
        let frame = ping(&mut rig, &[7; 30_000]);
        rig.consumed(&frame);
        frames.push(frame);
    }
    assert_eq!(rig.sent().data.len(), 30_000);
    assert_eq!(rig.sent().data.len(), 30_000);
    assert_eq!(rig.sent().rejects(&frames[2]), 10);
    assert_eq!(rig.sent().rejects(&frames[3]), 10);
    assert_eq!(rig.connection.in_service(), 0);
}

#[test]
fn nops_without_a_task_have_no_number() {
    let mut rig = Rig::normal("");
    let mut frame = Frame::new(NOW | opcode::NOP_OUT, 0x80, RESERVED_TAG).word(20, RESERVED_TAG);
    rig.consumed(&frame);
    rig.nothing_to_send();
    frame.bhs[0] = opcode::NOP_OUT;
    assert_eq!(rig.rejected(&frame), 9);
}

#[test]
fn our_pings() {
    let mut rig = Rig::normal("");
    assert_eq!(rig.connection.tick(9 * SECOND), None);
    rig.nothing_to_send();
    assert_eq!(rig.connection.tick(10 * SECOND), None);
    let nop = rig.sent();
    assert_eq!(nop.opcode(), opcode::NOP_IN);
    assert_eq!((nop.itt(), nop.stat_sn()), (RESERVED_TAG, 1001));
    assert!(nop.data.is_empty());
    let ttt = nop.word(20);
    assert_ne!(ttt, RESERVED_TAG);
    rig.now = 11 * SECOND;
    // Not an answer to anything.
    let answer = Frame::new(NOW | opcode::NOP_OUT, 0x80, RESERVED_TAG);
    assert_eq!(rig.rejected(&answer.clone().word(20, ttt + 1)), 4);
    rig.consumed(&answer.clone().word(20, ttt));
    rig.nothing_to_send();
    assert_eq!(rig.rejected(&answer.word(20, ttt)), 4);
    assert_eq!(rig.connection.tick(20 * SECOND), None);
    rig.nothing_to_send();
    assert_eq!(rig.connection.tick(21 * SECOND), None);
    assert_eq!(rig.sent().opcode(), opcode::NOP_IN);
    assert_eq!(rig.connection.tick(25 * SECOND), None);
    assert_eq!(rig.connection.tick(26 * SECOND), Some(Timeout::Ping));
}

#[test]
fn an_answer_may_be_a_ping_too() {
    let mut rig = Rig::normal("");
    rig.connection.tick(10 * SECOND);
    let ttt = rig.sent().word(20);
    let frame = rig
        .numbered(NOW | opcode::NOP_OUT, 0x80)
        .word(20, ttt)
        .data(b"both");
    rig.consumed(&frame);
    assert_eq!(rig.sent().data, b"both");
    let frame = rig.numbered(NOW | opcode::NOP_OUT, 0x80).word(20, ttt);
    assert_eq!(rig.rejected(&frame), 4);
    assert_eq!(rig.connection.in_service(), 0);
}

#[test]
fn logouts() {
    // Both ways to close, the second with the right connection.
    for (flags, cid) in [(0x80, 0), (0x81, CID)] {
        let mut rig = Rig::normal("DefaultTime2Wait=3\0");
        let frame = rig
            .numbered(NOW | opcode::LOGOUT, flags)
            .word(20, u32::from(cid) << 16);
        assert!(matches!(rig.receive(&frame), Event::Logout));
        // Nobody minds what comes after.
        rig.consumed(&frame);
        let command = rig.command();
        rig.consumed(&command);
        let response = rig.sent();
        assert_eq!(response.opcode(), opcode::LOGOUT_RESPONSE);
        assert_eq!((response.bhs[2], response.itt()), (0, 1));
        assert_eq!(response.bhs[40..42], [0, 3]);
        assert_eq!(response.then, Then::Close);
        rig.nothing_to_send();
        rig.consumed(&command);
    }
}

#[test]
fn logouts_that_close_nothing() {
    // A connection that there is not; recovery.
    for (flags, response) in [(0x81, 1), (0x82, 2)] {
        let mut rig = Rig::normal("");
        let frame = rig
            .numbered(opcode::LOGOUT, flags)
            .word(20, u32::from(CID + 1) << 16);
        rig.consumed(&frame);
        let sent = rig.sent();
        assert_eq!((sent.bhs[2], sent.then), (response, Then::GoOn));
        let command = rig.command();
        assert!(matches!(rig.receive(&command), Event::Command(_)));
    }
}

#[test]
fn a_logout_has_its_time() {
    let mut rig = Rig::normal("");
    rig.now = 100 * SECOND;
    let frame = rig.numbered(NOW | opcode::LOGOUT, 0x80);
    assert!(matches!(rig.receive(&frame), Event::Logout));
    assert_eq!(rig.connection.tick(104 * SECOND), None);
    rig.now = 104 * SECOND;
    rig.consumed(&frame);
    assert_eq!(rig.connection.tick(105 * SECOND), Some(Timeout::Close));
    rig.sent();
    assert_eq!(rig.connection.tick(1000 * SECOND), None);
}

#[test]
fn rejects() {
    let mut rig = Rig::normal("");
    let snack = Frame::new(opcode::SNACK, 0x80, 1);
    assert_eq!(rig.rejected(&snack), 4);
    for unknown in [0x1f, 0x20, 0x21, 0x3f, 0x1c] {
        assert_eq!(rig.rejected(&Frame::new(unknown, 0x80, 1)), 5);
    }
    assert_eq!(rig.respond(1).stat_sn(), 1007);
}

#[test]
fn rejects_are_counted() {
    let mut rig = Rig::normal("");
    let snack = Frame::new(opcode::SNACK, 0x80, 1);
    for _ in 0..MAX_REJECTS {
        rig.consumed(&snack);
    }
    rig.violates(&snack);
    assert!(!rig.connection.reject(RejectReason::DataDigest, &snack.bhs));
}

#[test]
fn rejects_for_others() {
    let mut rig = Rig::normal("");
    let command = rig.command();
    assert!(matches!(rig.receive(&command), Event::Command(_)));
    assert!(
        rig.connection
            .reject(RejectReason::TaskInProgress, &command.bhs)
    );
    assert_eq!(rig.sent().rejects(&command), 7);
    assert_eq!(rig.connection.in_service(), 1);
}

#[test]
fn a_discovery_session_discovers() {
    let mut rig = Rig::discovery(Datamover::Tcp, 1);
    let frames = [
        rig.command(),
        rig.numbered(opcode::TASK_MANAGEMENT, 0x81),
        Frame::new(opcode::DATA_OUT, 0x80, 1),
        Frame::new(opcode::SNACK, 0x80, 1),
    ];
    for frame in &frames {
        assert_eq!(rig.rejected(frame), 4);
    }
    assert_eq!(rig.connection.in_service(), 0);
    let frame = ping(&mut rig, b"");
    rig.consumed(&frame);
    assert_eq!(rig.sent().opcode(), opcode::NOP_IN);
    let frame = rig.numbered(NOW | opcode::LOGOUT, 0x80);
    assert!(matches!(rig.receive(&frame), Event::Logout));
}

#[test]
fn shutdown() {
    let mut rig = Rig::new(Datamover::Tcp, 1);
    rig.connection.request_logout(10);
    rig.connection.drop_session();
    rig.nothing_to_send();

    let mut rig = Rig::normal("");
    rig.connection.request_logout(10);
    let message = rig.sent();
    assert_eq!(message.opcode(), opcode::ASYNC_MESSAGE);
    assert_eq!((message.bhs[36], message.stat_sn()), (1, 1001));
    assert_eq!(message.bhs[42..44], [0, 10]);
    assert_eq!(message.then, Then::GoOn);
    let command = rig.command();
    assert!(matches!(rig.receive(&command), Event::Command(_)));
    rig.connection.drop_session();
    let message = rig.sent();
    assert_eq!((message.bhs[36], message.stat_sn()), (3, 1002));
    assert_eq!(message.then, Then::Close);
    rig.nothing_to_send();
}

#[test]
fn luns_that_changed() {
    let mut rig = Rig::new(Datamover::Tcp, 1);
    rig.connection.luns_changed();
    rig.nothing_to_send();
    let mut rig = Rig::discovery(Datamover::Tcp, 1);
    rig.connection.luns_changed();
    rig.nothing_to_send();

    let mut rig = Rig::normal("");
    // Who has not been told yet is told once.
    rig.connection.luns_changed();
    rig.connection.luns_changed();
    let message = rig.sent();
    assert_eq!(message.opcode(), opcode::ASYNC_MESSAGE);
    assert_eq!((message.bhs[36], message.stat_sn()), (0, 1001));
    assert_eq!((message.itt(), message.then), (RESERVED_TAG, Then::GoOn));
    assert_eq!(message.data[..2], [0, 18]);
    assert_eq!(
        (message.data[4] & 15, &message.data[14..16]),
        (6, &[0x3f, 0x0e][..])
    );
    rig.nothing_to_send();
    rig.connection.luns_changed();
    assert_eq!(rig.sent().stat_sn(), 1002);
    rig.connection.drop_session();
    rig.connection.luns_changed();
    assert_eq!(rig.sent().bhs[36], 3);
    rig.nothing_to_send();
}
