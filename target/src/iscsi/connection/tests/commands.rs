use crate::iscsi::connection::testing::*;
use crate::iscsi::connection::*;
use crate::iscsi::pdu::{DataIn, ManagementFunction, ManagementResponse, R2T, Residual};

#[track_caller]
fn refused(rig: &mut Rig, frame: &Frame) -> Refusal {
    match rig.receive(frame) {
        Event::Refused(command, refusal) => {
            assert_eq!(command.itt, frame.pdu().itt());
            refusal
        }
        event => panic!("{event:?}"),
    }
}

#[track_caller]
fn accepted(rig: &mut Rig, frame: &Frame) {
    let event = rig.receive(frame);
    assert!(matches!(event, Event::Command(_)), "{event:?}");
}

#[test]
fn commands_arrive_as_they_were_sent() {
    let mut rig = Rig::normal("");
    let mut frame = rig.numbered(opcode::SCSI_COMMAND, 0xc2).word(20, 4096);
    frame.bhs[9] = 3;
    frame.bhs[32] = 0x28;
    let Event::Command(command) = rig.receive(&frame) else {
        panic!()
    };
    assert_eq!((command.itt, command.cmd_sn), (1, 100));
    assert_eq!(command.lun, [0, 3, 0, 0, 0, 0, 0, 0]);
    assert!(command.reads && !command.writes);
    assert_eq!(command.expected_data_transfer_length, 4096);
    assert_eq!(command.cdb[0], 0x28);
    assert_eq!(rig.connection.in_service(), 1);
}

#[test]
fn the_window_moves_as_commands_end() {
    let mut rig = Rig::normal("");
    for _ in 0..4 {
        let command = rig.command();
        accepted(&mut rig, &command);
    }
    // One more than may be outstanding.
    let early = rig.command();
    rig.consumed(&early);
    assert_eq!(rig.connection.in_service(), 4);
    assert_eq!(rig.respond(1).window(), (104, 104));
    assert_eq!(rig.respond(2).window(), (104, 105));
    accepted(&mut rig, &early);
    assert_eq!(rig.respond(3).window(), (105, 106));
}

#[test]
fn numbers_outside_of_the_window_are_ignored() {
    let mut rig = Rig::normal("");
    for number in [99, 104, 100_u32.wrapping_add(1 << 31)] {
        let frame = rig.command().word(24, number);
        rig.consumed(&frame);
        rig.nothing_to_send();
    }
    assert_eq!(rig.connection.in_service(), 0);
    let frame = rig.command().word(24, 100);
    accepted(&mut rig, &frame);
    rig.consumed(&frame);
    assert_eq!(rig.connection.in_service(), 1);
}

#[test]
fn a_gap_is_the_end() {
    let mut rig = Rig::normal("");
    let frame = rig.command().word(24, 101);
    assert_eq!(
        rig.violates(&frame),
        "command 101 arrived where 100 was expected"
    );
}

#[test]
fn immediate_commands_do_not_advance_and_are_bounded() {
    let mut rig = Rig::normal("");
    for _ in 0..window::SPARE {
        let frame = rig.numbered(NOW | opcode::TASK_MANAGEMENT, 0x82);
        assert!(matches!(rig.receive(&frame), Event::Management(_)));
    }
    let frame = rig.numbered(NOW | opcode::TASK_MANAGEMENT, 0x82);
    assert_eq!(rig.rejected(&frame), 6);
    let frame = rig
        .numbered(NOW | opcode::NOP_OUT, 0x80)
        .word(20, RESERVED_TAG);
    assert_eq!(rig.rejected(&frame), 6);
    let command = rig.command();
    accepted(&mut rig, &command);
    assert_eq!(rig.respond(command.pdu().itt()).window(), (101, 103));
}

#[test]
fn an_idle_initiator_hears_of_room() {
    let mut rig = Rig::normal("");
    for _ in 0..4 {
        let command = rig.command();
        accepted(&mut rig, &command);
    }
    rig.nothing_to_send();
    // Aborted: there is no response that says so.
    rig.connection.task_ended();
    let nop = rig.sent();
    assert_eq!(nop.opcode(), opcode::NOP_IN);
    assert_eq!((nop.itt(), nop.word(20)), (RESERVED_TAG, RESERVED_TAG));
    assert_eq!(nop.window(), (104, 104));
    rig.nothing_to_send();
    // It takes no StatSN.
    assert_eq!(nop.stat_sn(), 1001);
    assert_eq!(rig.respond(2).stat_sn(), 1001);
    // An initiator that can send is left alone.
    rig.connection.task_ended();
    rig.nothing_to_send();
}

#[test]
fn a_lower_depth_withholds_numbers() {
    let mut rig = Rig::normal("");
    rig.connection.set_depth(1);
    for _ in 0..4 {
        let command = rig.command();
        accepted(&mut rig, &command);
    }
    for itt in 1..4 {
        assert_eq!(rig.respond(itt).window(), (104, 103));
    }
    assert_eq!(rig.respond(4).window(), (104, 104));
    let command = rig.command();
    accepted(&mut rig, &command);
    assert_eq!(rig.respond(5).window(), (105, 105));
    rig.connection.set_depth(4);
    let command = rig.command();
    accepted(&mut rig, &command);
    assert_eq!(rig.respond(6).window(), (106, 109));
}

#[test]
fn immediate_data() {
    let mut rig = Rig::normal("ImmediateData=Yes\0FirstBurstLength=1024\0");
    let frame = rig.write(4096, true, &[1; 1024]);
    let Event::Command(command) = rig.receive(&frame) else {
        panic!()
    };
    assert_eq!(command.immediate, [1; 1024]);
    assert!(!command.unsolicited_follows);
    // More than FirstBurstLength; more than there is to write.
    let frame = rig.write(4096, true, &[1; 1025]);
    assert_eq!(refused(&mut rig, &frame), Refusal::IncorrectAmountOfData);
    let frame = rig.write(512, true, &[1; 513]);
    assert_eq!(refused(&mut rig, &frame), Refusal::IncorrectAmountOfData);
    assert_eq!(Refusal::IncorrectAmountOfData.sense(), (0x0b, 0x0c, 0x0d));
    assert_eq!(rig.connection.in_service(), 3);

    let mut rig = Rig::normal("ImmediateData=No\0");
    let frame = rig.write(512, true, &[1; 512]);
    let refusal = refused(&mut rig, &frame);
    assert_eq!(refusal, Refusal::UnexpectedUnsolicitedData);
    assert_eq!(refusal.sense(), (0x0b, 0x0c, 0x0c));
    let frame = rig.write(512, true, &[]);
    accepted(&mut rig, &frame);
}

#[test]
fn unsolicited_data() {
    let mut rig = Rig::normal("InitialR2T=No\0");
    let frame = rig.write(4096, false, &[1; 512]);
    let Event::Command(command) = rig.receive(&frame) else {
        panic!()
    };
    assert!(command.unsolicited_follows);
    let data = Frame::new(opcode::DATA_OUT, 0x80, 1)
        .word(20, RESERVED_TAG)
        .word(40, 512)
        .data(&[2; 3584]);
    let Event::DataOut(data) = rig.receive(&data) else {
        panic!()
    };
    assert_eq!((data.itt, data.ttt, data.offset), (1, RESERVED_TAG, 512));
    assert!(data.is_final);
    assert_eq!(data.data, [2; 3584]);
    // Nothing is left to follow.
    let frame = rig.write(512, false, &[1; 512]);
    assert_eq!(refused(&mut rig, &frame), Refusal::IncorrectAmountOfData);

    let mut rig = Rig::normal("InitialR2T=Yes\0");
    let frame = rig.write(4096, false, &[]);
    let refusal = refused(&mut rig, &frame);
    assert_eq!(refusal, Refusal::UnexpectedUnsolicitedData);
}

#[test]
fn both_directions_are_refused() {
    let mut rig = Rig::normal("");
    let frame = rig.numbered(opcode::SCSI_COMMAND, 0xe1).word(20, 512);
    assert_eq!(refused(&mut rig, &frame), Refusal::Bidirectional);
}

#[test]
fn fields_that_make_no_sense_are_rejected_and_take_their_number() {
    let mut rig = Rig::normal("");
    let frames = [
        // Data that follows, or came, with a command that writes nothing.
        rig.numbered(opcode::SCSI_COMMAND, 0x41),
        rig.numbered(opcode::SCSI_COMMAND, 0xc1).data(b"data"),
        rig.numbered(opcode::SCSI_COMMAND, 0x87),
        Frame {
            ahs: vec![0, 1, 9, 0],
            ..rig.command()
        },
        Frame {
            ahs: vec![0, 9, 1, 0],
            ..rig.command()
        },
        rig.command().word(16, RESERVED_TAG),
        rig.numbered(opcode::TEXT, 0xc0),
        rig.numbered(opcode::LOGOUT, 0x83),
    ];
    for frame in &frames {
        assert_eq!(rig.rejected(frame), 9, "{frame:?}");
        assert_eq!(rig.connection.in_service(), 0);
    }
    let command = rig.command();
    accepted(&mut rig, &command);
}

#[test]
fn an_extended_cdb() {
    let mut rig = Rig::normal("");
    let frame = Frame {
        ahs: vec![0, 5, 1, 0, 1, 2, 3, 4],
        ..rig.command()
    };
    let Event::Command(command) = rig.receive(&frame) else {
        panic!()
    };
    assert_eq!(command.cdb_extension, [1, 2, 3, 4]);
}

#[test]
fn task_management() {
    let mut rig = Rig::normal("");
    let frame = rig.numbered(opcode::TASK_MANAGEMENT, 0x81).word(20, 77);
    let Event::Management(request) = rig.receive(&frame) else {
        panic!()
    };
    assert_eq!(request.function, ManagementFunction::AbortTask);
    assert_eq!(request.referenced_task_tag, 77);
    let mut out = [0; 48];
    let length = rig.connection.management_response(
        &mut out,
        request.itt,
        ManagementResponse::TaskDoesNotExist,
    );
    let response = Sent::of(&out[..length], Then::GoOn);
    assert_eq!(response.opcode(), opcode::TASK_MANAGEMENT_RESPONSE);
    assert_eq!((response.bhs[2], response.itt()), (1, 1));
    assert_eq!(response.window(), (101, 104));
    assert_eq!(rig.connection.in_service(), 0);
}

#[test]
fn numbers_of_data_and_responses() {
    let mut rig = Rig::normal("");
    for _ in 0..2 {
        let command = rig.command();
        accepted(&mut rig, &command);
    }
    let mut out = [0; 48];
    let mut data = DataIn {
        itt: 1,
        data_sn: 0,
        offset: 0,
        length: 512,
        is_final: true,
        end: None,
    };
    // No status, no StatSN; the window is told of all the same.
    assert_eq!(rig.connection.data_in(&mut out, &data), 48);
    assert_eq!(out[24..28], [0; 4]);
    assert_eq!(out[32..36], 103_u32.to_be_bytes());
    let r2t = R2T {
        itt: 2,
        lun: [0; 8],
        ttt: 9,
        r2t_sn: 0,
        offset: 0,
        length: 512,
    };
    assert_eq!(rig.connection.r2t(&mut out, &r2t), 48);
    assert_eq!(out[24..28], 1001_u32.to_be_bytes());
    assert_eq!(rig.connection.in_service(), 2);
    data.end = Some((0, Residual::None));
    assert_eq!(rig.connection.data_in(&mut out, &data), 48);
    assert_eq!(out[24..28], 1001_u32.to_be_bytes());
    assert_eq!(rig.connection.in_service(), 1);
    let response = rig.respond(2);
    assert_eq!(response.stat_sn(), 1002);
    assert_eq!(response.window(), (102, 105));
}

#[test]
fn no_room_no_response_no_number() {
    let mut rig = Rig::normal("");
    let command = rig.command();
    accepted(&mut rig, &command);
    let written = rig
        .connection
        .scsi_response(&mut [0; 47], 1, &Outcome::GOOD);
    assert_eq!(written, 0);
    assert_eq!(rig.respond(1).stat_sn(), 1001);
}

#[test]
fn sense_data_fits_what_linux_posts() {
    let mut rig = Rig::iser();
    let command = rig.command();
    accepted(&mut rig, &command);
    let outcome = Outcome {
        status: 2,
        sense: &[0x70; 252],
        ..Outcome::GOOD
    };
    let mut out = [0; tasks::MAX_RESPONSE];
    let length = rig.connection.scsi_response(&mut out, 1, &outcome);
    assert_eq!(length, 48 + 128);
    assert_eq!(out[48..50], 126_u16.to_be_bytes());
}
