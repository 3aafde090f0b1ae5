use crate::iscsi::connection::testing::*;
use crate::iscsi::connection::*;

fn normal_login(rig: &Rig) -> Frame {
    rig.login(&format!("TargetName={TARGET}\0"))
}

#[test]
fn a_normal_session_waits_for_the_daemon() {
    let mut rig = Rig::new(Datamover::Tcp, 1);
    let frame = normal_login(&rig);
    let Event::Admit(summary) = rig.receive(&frame) else {
        panic!()
    };
    assert_eq!(summary.initiator, INITIATOR);
    assert_eq!(summary.target.as_deref(), Some(TARGET));
    rig.nothing_to_send();
    rig.connection.admitted(0x1234);
    let response = rig.sent();
    assert_eq!(response.opcode(), opcode::LOGIN_RESPONSE);
    assert_eq!(response.bhs[1], 0x87);
    assert_eq!(response.bhs[14..16], [0x12, 0x34]);
    assert_eq!(response.bhs[36..38], [0, 0]);
    assert_eq!(response.stat_sn(), 1000);
    assert_eq!(response.window(), (100, 103));
    assert_eq!(response.then, Then::FullFeature);
    assert!(rig.connection.is_full_feature());
    assert_eq!(rig.connection.summary().unwrap().initiator, INITIATOR);
    // Login Requests take no number, StatSN goes on.
    let command = rig.command();
    assert!(matches!(rig.receive(&command), Event::Command(_)));
    assert_eq!(rig.respond(1).stat_sn(), 1001);
}

#[test]
fn the_daemon_may_refuse() {
    let mut rig = Rig::new(Datamover::Tcp, 1);
    let frame = normal_login(&rig);
    assert!(matches!(rig.receive(&frame), Event::Admit(_)));
    rig.connection.refused(LoginStatus::OUT_OF_RESOURCES);
    let response = rig.sent();
    assert_eq!(response.bhs[36..38], [3, 2]);
    assert_eq!(response.then, Then::Close);
    assert!(!rig.connection.is_full_feature());
    assert_eq!(rig.connection.summary(), None);
    rig.consumed(&frame);
    rig.nothing_to_send();
}

#[test]
fn a_failed_login_is_answered_and_closed() {
    let mut rig = Rig::new(Datamover::Tcp, 1);
    let frame = rig.login("TargetName=iqn.2026-11.io.pagecast:nothing\0");
    let event = rig.receive(&frame);
    assert!(matches!(event, Event::LoginFailed(_)), "{event:?}");
    let response = rig.sent();
    assert_eq!(response.bhs[36..38], [2, 3]);
    assert_eq!(response.then, Then::Close);
    rig.nothing_to_send();
}

#[test]
fn nothing_but_logins_before_the_end_of_the_login() {
    for opcode in [0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x10, 0x1f, 0x21] {
        let mut rig = Rig::new(Datamover::Tcp, 1);
        rig.violates(&Frame::new(NOW | opcode, 0x80, 1));
        rig.nothing_to_send();
    }
}

#[test]
fn nothing_at_all_while_the_last_response_is_due() {
    let mut rig = Rig::new(Datamover::Tcp, 1);
    let login = normal_login(&rig);
    assert!(matches!(rig.receive(&login), Event::Admit(_)));
    rig.violates(&login);
    rig.connection.admitted(7);
    let command = rig.command();
    rig.violates(&command);
    assert_eq!(rig.sent().then, Then::FullFeature);
    assert!(matches!(rig.receive(&command), Event::Command(_)));
}

#[test]
fn login_requests_come_one_at_a_time() {
    let mut rig = Rig::new(Datamover::Tcp, 1);
    // Stays in the operational stage.
    let mut login = normal_login(&rig);
    login.bhs[1] = 0x04;
    rig.consumed(&login);
    rig.violates(&login);
    assert_eq!(rig.sent().then, Then::GoOn);
    let mut last = rig.login("");
    last.data.clear();
    assert!(matches!(rig.receive(&last), Event::Admit(_)));
    rig.connection.admitted(1);
    assert_eq!(rig.sent().stat_sn(), 1001);
}

#[test]
fn no_login_after_the_login() {
    let mut rig = Rig::normal("");
    let login = normal_login(&rig);
    rig.violates(&login);
}

#[test]
fn parameters_hold_from_the_last_response_on() {
    let mut rig = Rig::new(Datamover::Tcp, 1);
    assert_eq!(*rig.connection.parameters(), Parameters::INITIAL);
    assert_eq!(rig.connection.receive_limit(), 8192);
    let login = rig.login(&format!(
        "TargetName={TARGET}\0HeaderDigest=CRC32C\0MaxRecvDataSegmentLength=4096\0"
    ));
    assert!(matches!(rig.receive(&login), Event::Admit(_)));
    rig.connection.admitted(1);
    assert!(!rig.connection.parameters().header_digest);
    rig.sent();
    assert!(rig.connection.parameters().header_digest);
    assert_eq!(rig.connection.send_limit(), 4096);
    assert_eq!(rig.connection.receive_limit(), 65_536);
}

#[test]
fn linux_takes_128_bytes_on_iser_whatever_it_says() {
    let rig = Rig::iser();
    assert_eq!(rig.connection.parameters().send_data_segment, 262_144);
    assert_eq!(rig.connection.send_limit(), 128);
    let rig = Rig::discovery(Datamover::Iser, 1);
    assert_eq!(rig.connection.send_limit(), 8192);
}

#[test]
fn data_segments_are_bounded() {
    let mut rig = Rig::new(Datamover::Tcp, 1);
    let frame = rig.login("").data(&[0; 8193]);
    rig.violates(&frame);
    let mut rig = Rig::normal("");
    let frame = rig.write(1 << 20, true, &[0; 65_537]);
    rig.violates(&frame);
}

#[test]
fn a_login_has_its_time() {
    let mut rig = Rig::new(Datamover::Tcp, 1);
    let second = Duration::from_secs(1);
    assert_eq!(rig.connection.tick(14 * second), None);
    assert_eq!(rig.connection.tick(15 * second), Some(Timeout::Login));
    // Waiting for the daemon and for the response to go out counts.
    let login = normal_login(&rig);
    assert!(matches!(rig.receive(&login), Event::Admit(_)));
    assert_eq!(rig.connection.tick(15 * second), Some(Timeout::Login));
    rig.connection.admitted(1);
    assert_eq!(rig.connection.tick(15 * second), Some(Timeout::Login));
    rig.sent();
    assert_eq!(rig.connection.tick(9 * second), None);
}
