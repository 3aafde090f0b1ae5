//! Byte vectors, laid out by hand after the figures of RFC 7143 section 11.

use super::*;
use crate::iscsi::login::{LoginResponse, LoginStatus, Stage};

const NUMBERS: Numbers = Numbers {
    stat_sn: 0x0102_0304,
    exp_cmd_sn: 0x1112_1314,
    max_cmd_sn: 0x2122_2324,
};

/// A basic header segment from rows of eight bytes in hexadecimal, as in the figures.
fn bytes(rows: &str) -> Vec<u8> {
    let digits: Vec<u8> = rows.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn pdu(bytes: &[u8]) -> Pdu<'_> {
    Pdu::of_message(bytes).unwrap()
}

#[track_caller]
fn emitted(emit: impl Fn(&mut [u8]) -> Option<usize>, rows: &str) {
    let expected = bytes(rows);
    let mut out = [0xee; 512];
    let length = emit(&mut out).unwrap();
    assert_eq!(out[..length], expected);
    assert!(out[length..].iter().all(|byte| *byte == 0xee));
    // Exactly enough room will do, and a byte less will not.
    assert_eq!(emit(&mut out[..expected.len()]), Some(expected.len()));
    assert_eq!(emit(&mut out[..expected.len() - 1]), None);
}

#[test]
fn scsi_command_with_data_and_extension() {
    let bytes = bytes(
        "01 21 0000 03 000004
         4001 0000 0000 0000
         aabbccdd 00000200
         00000009 00000008
         7f 00000000000018 0001020304050607
         0007 01 00 a0a1a2a3a4a5 0000
         64617461",
    );
    let Ok(Request::ScsiCommand(command)) = Request::parse(&pdu(&bytes)) else {
        panic!()
    };
    assert_eq!(command.itt, 0xaabb_ccdd);
    assert_eq!(command.lun, [0x40, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(command.cmd_sn, 9);
    assert_eq!(command.attribute, TaskAttribute::Simple);
    assert!(command.writes && !command.reads && command.unsolicited_follows);
    assert_eq!(command.expected_data_transfer_length, 512);
    assert_eq!(command.immediate, b"data");
    assert_eq!(command.cdb[0], 0x7f);
    let mut scratch = [0; 260];
    let cdb = command.whole_cdb(&mut scratch);
    assert_eq!(cdb.len(), 22);
    assert_eq!(cdb[..16], *command.cdb);
    assert_eq!(cdb[16..], [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5]);
}

#[test]
fn scsi_command_that_reads() {
    let bytes = bytes(
        "41 c3 0000 00 000000
         0000 0000 0000 0000
         00000001 00001000
         00000005 00000004
         28 00 00000000 00 0008 00 000000000000",
    );
    let pdu = pdu(&bytes);
    assert!(pdu.immediate());
    let command = ScsiCommand::parse(&pdu).unwrap();
    assert!(command.reads && !command.writes && !command.unsolicited_follows);
    assert_eq!(command.attribute, TaskAttribute::HeadOfQueue);
    assert_eq!(command.whole_cdb(&mut [0; 260]), command.cdb);
}

#[test]
fn scsi_commands_that_make_no_sense() {
    let mut command = [0; 52];
    let error = |command: &[u8]| ScsiCommand::parse(&pdu(command)).unwrap_err();
    // Neither W nor F.
    command[0] = 0x01;
    assert_eq!(error(&command), FieldError::DataWithoutWrite);
    // Data with R.
    (command[1], command[7]) = (0xc0, 4);
    assert_eq!(error(&command), FieldError::DataWithoutWrite);
    for attribute in 5..8 {
        (command[1], command[7]) = (0x80 | attribute, 0);
        assert_eq!(error(&command), FieldError::Attribute(attribute));
    }
    (command[1], command[4]) = (0x80, 1);
    assert_eq!(error(&command), FieldError::Ahs);
}

#[test]
fn attributes() {
    let attributes = [
        TaskAttribute::Untagged,
        TaskAttribute::Simple,
        TaskAttribute::Ordered,
        TaskAttribute::HeadOfQueue,
        TaskAttribute::Aca,
    ];
    for (code, attribute) in (0..).zip(attributes) {
        let mut command = [0; 48];
        (command[0], command[1]) = (1, 0x80 | code);
        assert_eq!(
            ScsiCommand::parse(&pdu(&command)).unwrap().attribute,
            attribute
        );
    }
}

#[test]
fn task_management_request() {
    let bytes = bytes(
        "42 81 0000 00 000000
         0003 0000 0000 0000
         00000011 00000010
         00000005 00000004
         00000003 00000000
         00000000 00000000",
    );
    let Ok(Request::TaskManagement(request)) = Request::parse(&pdu(&bytes)) else {
        panic!()
    };
    let expected = TaskManagement {
        itt: 0x11,
        lun: [0, 3, 0, 0, 0, 0, 0, 0],
        function: ManagementFunction::AbortTask,
        referenced_task_tag: 0x10,
        cmd_sn: 5,
        ref_cmd_sn: 3,
    };
    assert_eq!(request, expected);
    let functions = [
        ManagementFunction::AbortTask,
        ManagementFunction::AbortTaskSet,
        ManagementFunction::ClearAca,
        ManagementFunction::ClearTaskSet,
        ManagementFunction::LogicalUnitReset,
        ManagementFunction::TargetWarmReset,
        ManagementFunction::TargetColdReset,
        ManagementFunction::TaskReassign,
        ManagementFunction::Unknown(9),
    ];
    for (code, function) in (1..).zip(functions) {
        assert_eq!(ManagementFunction::from(code), function);
    }
}

#[test]
fn login_request() {
    let bytes = bytes(
        "43 87 0201 00 000004
         00023d000001 0007
         00000011 00050000
         00000009 00000008
         00000000 00000000
         00000000 00000000
         613d6200",
    );
    let Ok(Request::Login(request)) = Request::parse(&pdu(&bytes)) else {
        panic!()
    };
    assert!(request.transit && !request.continue_);
    assert_eq!((request.csg, request.nsg), (1, 3));
    assert_eq!((request.version_max, request.version_min), (2, 1));
    assert_eq!(request.isid, [0, 2, 0x3d, 0, 0, 1]);
    assert_eq!((request.tsih, request.itt, request.cid), (7, 0x11, 5));
    assert_eq!((request.cmd_sn, request.exp_stat_sn), (9, 8));
    assert_eq!(request.data, b"a=b\0");
}

#[test]
fn text_logout_nop_and_data_out() {
    let mut bytes = bytes(
        "44 80 0000 00 000004
         0102030405060708
         00000011 00000022
         00000009 00000008
         00000000 00000033
         00000044 00000000
         613d6200",
    );
    let Ok(Request::Text(text)) = Request::parse(&pdu(&bytes)) else {
        panic!()
    };
    assert_eq!((text.itt, text.ttt, text.data), (0x11, 0x22, &b"a=b\0"[..]));
    assert_eq!((text.is_final, text.continues), (true, false));
    assert_eq!(text.lun, [1, 2, 3, 4, 5, 6, 7, 8]);
    bytes[1] = 0xc0;
    let error = Request::parse(&pdu(&bytes)).unwrap_err();
    assert_eq!(error, FieldError::FinalAndContinue);

    bytes[0] = 0x05;
    let Ok(Request::DataOut(data)) = Request::parse(&pdu(&bytes)) else {
        panic!()
    };
    assert_eq!((data.itt, data.ttt, data.is_final), (0x11, 0x22, true));
    assert_eq!((data.data_sn, data.offset), (0x33, 0x44));
    assert_eq!(data.data, b"a=b\0");

    bytes[0] = 0x40;
    let Ok(Request::NopOut(nop)) = Request::parse(&pdu(&bytes)) else {
        panic!()
    };
    assert_eq!((nop.itt, nop.ttt, nop.data), (0x11, 0x22, &b"a=b\0"[..]));

    (bytes[0], bytes[1], bytes[20], bytes[21]) = (0x46, 0x81, 0x12, 0x34);
    let Ok(Request::Logout(logout)) = Request::parse(&pdu(&bytes)) else {
        panic!()
    };
    let expected = Logout {
        itt: 0x11,
        reason: 1,
        cid: 0x1234,
    };
    assert_eq!(logout, expected);

    bytes[0] = 0x10;
    assert!(matches!(Request::parse(&pdu(&bytes)), Ok(Request::Snack)));
    bytes[0] = 0x5f;
    assert!(matches!(
        Request::parse(&pdu(&bytes)),
        Ok(Request::Unknown(0x1f))
    ));
}

#[test]
fn scsi_responses() {
    let response = ScsiResponse {
        itt: 0xaabb_ccdd,
        response: 0,
        status: 2,
        residual: Residual::Underflow(0x200),
        sense: &[0x70, 0, 5],
        exp_data_sn: 7,
    };
    emitted(
        |out| response.emit(NUMBERS, 8192, out),
        "21 82 00 02 00 000005
         0000000000000000
         aabbccdd 00000000
         01020304 11121314
         21222324 00000007
         00000000 00000200
         0003 700005 000000",
    );
    let response = ScsiResponse {
        response: 1,
        status: 0,
        residual: Residual::Overflow(1),
        sense: &[],
        ..response
    };
    emitted(
        |out| response.emit(NUMBERS, 8192, out),
        "21 84 01 00 00 000000
         0000000000000000
         aabbccdd 00000000
         01020304 11121314
         21222324 00000007
         00000000 00000001",
    );
}

#[test]
fn sense_data_is_cut_off_at_the_limit() {
    let response = ScsiResponse {
        itt: 1,
        response: 0,
        status: 2,
        residual: Residual::None,
        sense: &[0x5a; 300],
        exp_data_sn: 0,
    };
    for (limit, sense) in [(128, 126), (512, 252), (10, 8), (2, 0), (0, 0)] {
        let mut out = [0; 512];
        let length = response.emit(NUMBERS, limit, &mut out).unwrap();
        assert_eq!(length, 48 + padded(2 + sense));
        assert_eq!(usize::from(out[7]), 2 + sense);
        assert_eq!(out[48..50], (sense as u16).to_be_bytes());
        assert!(out[50 + sense..length].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn task_management_response() {
    emitted(
        |out| ManagementResponse::Rejected.emit(0x11, NUMBERS, out),
        "22 80 ff 00 00 000000
         0000000000000000
         00000011 00000000
         01020304 11121314
         21222324 00000000
         00000000 00000000",
    );
}

#[test]
fn data_in() {
    let data = DataIn {
        itt: 0x11,
        data_sn: 2,
        offset: 0x2000,
        length: 0x01_0203,
        is_final: false,
        end: None,
    };
    emitted(
        |out| data.emit(NUMBERS, out),
        "25 00 00 00 00 010203
         0000000000000000
         00000011 ffffffff
         00000000 11121314
         21222324 00000002
         00002000 00000000",
    );
    let data = DataIn {
        end: Some((0, Residual::Underflow(0x10))),
        ..data
    };
    emitted(
        |out| data.emit(NUMBERS, out),
        "25 83 00 00 00 010203
         0000000000000000
         00000011 ffffffff
         01020304 11121314
         21222324 00000002
         00002000 00000010",
    );
}

#[test]
fn ready_to_transfer() {
    let r2t = R2T {
        itt: 0x11,
        lun: [0, 3, 0, 0, 0, 0, 0, 0],
        ttt: 0x22,
        r2t_sn: 1,
        offset: 0x1000,
        length: 0x2000,
    };
    emitted(
        |out| r2t.emit(NUMBERS, out),
        "31 80 00 00 00 000000
         0003000000000000
         00000011 00000022
         01020304 11121314
         21222324 00000001
         00001000 00002000",
    );
}

#[test]
fn asynchronous_messages() {
    let cases = [
        (
            AsyncEvent::LogoutRequested { within: 10 },
            "01 00 0000 0000 000a",
        ),
        (
            AsyncEvent::ConnectionDrop {
                cid: 5,
                time2wait: 2,
                time2retain: 20,
            },
            "02 00 0005 0002 0014",
        ),
        (
            AsyncEvent::SessionDrop {
                time2wait: 2,
                time2retain: 20,
            },
            "03 00 0000 0002 0014",
        ),
    ];
    for (event, parameters) in cases {
        let rows = format!(
            "32 80 00 00 00 000000
             0000000000000000
             ffffffff 00000000
             01020304 11121314
             21222324
             {parameters} 00000000"
        );
        emitted(|out| AsyncMessage { event }.emit(NUMBERS, out), &rows);
    }
    let event = AsyncEvent::Scsi {
        lun: [0, 5, 0, 0, 0, 0, 0, 0],
        sense: [
            0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x3f, 0x0e, 0, 0, 0, 0,
        ],
    };
    emitted(
        |out| AsyncMessage { event }.emit(NUMBERS, out),
        "32 80 00 00 00 000014
         0005000000000000
         ffffffff 00000000
         01020304 11121314
         21222324
         00 00 0000 0000 0000 00000000
         0012 70 00 06 00000000 0a 00000000 3f0e 00000000",
    );
}

#[test]
fn text_response() {
    let text = TextResponse {
        itt: 0x11,
        lun: [1, 2, 3, 4, 5, 6, 7, 8],
        ttt: 0x22,
        is_final: false,
        continues: true,
        data: b"a=bcd\0",
    };
    emitted(
        |out| text.emit(NUMBERS, out),
        "24 40 00 00 00 000006
         0102030405060708
         00000011 00000022
         01020304 11121314
         21222324 00000000
         00000000 00000000
         613d626364 000000",
    );
}

#[test]
fn login_response() {
    let response = LoginResponse {
        transit: true,
        continue_: false,
        csg: Stage::Operational,
        nsg: Stage::FullFeature,
        isid: [0, 2, 0x3d, 0, 0, 1],
        tsih: 7,
        itt: 0x11,
        version_max: 0,
        version_active: 0,
        status: LoginStatus::AUTHENTICATION_FAILURE,
        data: b"a=b\0".to_vec(),
    };
    emitted(
        |out| response::emit_login(&response, NUMBERS, out),
        "23 87 00 00 00 000004
         00023d000001 0007
         00000011 00000000
         01020304 11121314
         21222324 0201 0000
         00000000 00000000
         613d6200",
    );
}

#[test]
fn logout_response_reject_and_nop() {
    let logout = LogoutResponse {
        itt: 0x11,
        response: 1,
        time2wait: 2,
        time2retain: 3,
    };
    emitted(
        |out| logout.emit(NUMBERS, out),
        "26 80 01 00 00 000000
         0000000000000000
         00000011 00000000
         01020304 11121314
         21222324 00000000
         0002 0003 00000000",
    );
    let reject = Reject {
        reason: RejectReason::ProtocolError,
        header: &[0x5a; 48],
    };
    let rows = format!(
        "3f 80 04 00 00 000030
         0000000000000000
         ffffffff 00000000
         01020304 11121314
         21222324 00000000
         00000000 00000000
         {}",
        "5a".repeat(48)
    );
    emitted(|out| reject.emit(NUMBERS, out), &rows);
    let nop = NopIn {
        itt: 0x11,
        ttt: RESERVED_TAG,
        lun: [0; 8],
        data: b"ping!",
    };
    emitted(
        |out| nop.emit(NUMBERS, out),
        "20 80 00 00 00 000005
         0000000000000000
         00000011 ffffffff
         01020304 11121314
         21222324 00000000
         00000000 00000000
         70696e6721 000000",
    );
}

#[test]
fn lengths_of_a_pdu() {
    let lengths = Lengths::of(&[0x01, 0x80, 0, 0, 2, 0x01, 0x02, 0x03]);
    assert_eq!(
        lengths,
        Lengths {
            ahs: 8,
            data: 0x01_0203
        }
    );
    assert_eq!(lengths.padded_data(), 0x01_0204);
    assert_eq!(lengths.pdu(), 48 + 8 + 0x01_0204);
    let longest = Lengths::of(&[0xff; 8]);
    assert_eq!((longest.ahs, longest.data), (1020, 0xff_ffff));
    assert_eq!(longest.padded_data(), 0x100_0000);
}

#[test]
fn a_message_holds_what_its_pdu_says() {
    let mut message = [0; 48 + 4 + 5];
    message[4] = 1;
    message[7] = 5;
    message[48..].copy_from_slice(b"ahs.datum");
    let pdu = Pdu::of_message(&message).unwrap();
    assert_eq!((pdu.ahs, pdu.data), (&b"ahs."[..], &b"datum"[..]));
    // Padding, or whatever else comes after.
    let mut longer = message.to_vec();
    longer.extend([0; 3]);
    assert_eq!(Pdu::of_message(&longer).unwrap().data, b"datum");
    for length in 0..message.len() {
        let error = Pdu::of_message(&message[..length]).unwrap_err();
        assert_eq!(error, PduError { arrived: length });
    }
}
