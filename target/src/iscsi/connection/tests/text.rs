use crate::iscsi::connection::testing::*;
use crate::iscsi::connection::*;

const ADDRESSES: &str = "TargetAddress=192.0.2.1:3260,1\0TargetAddress=[2001:db8::1]:3260,1\0";

#[track_caller]
fn says(sent: &Sent, text: &str) {
    assert_eq!(sent.opcode(), opcode::TEXT_RESPONSE);
    assert_eq!(sent.bhs[1], 0x80);
    assert_eq!(sent.word(20), RESERVED_TAG);
    assert_eq!(String::from_utf8_lossy(&sent.data), text);
}

/// The whole answer, over as many responses as it takes, and how many those were.
fn whole(rig: &mut Rig, request: &str, longest: usize) -> (String, usize) {
    let mut sent = rig.text(request);
    let itt = sent.itt();
    let (mut answer, mut count) = (Vec::new(), 0);
    loop {
        assert!(sent.data.len() <= longest);
        answer.extend(&sent.data);
        count += 1;
        if sent.bhs[1] == 0x80 {
            assert_eq!(sent.word(20), RESERVED_TAG);
            return (String::from_utf8(answer).unwrap(), count);
        }
        assert_eq!((sent.bhs[1], sent.itt()), (0x40, itt));
        let frame = rig
            .numbered(opcode::TEXT, 0x80)
            .word(16, itt)
            .word(20, sent.word(20));
        rig.consumed(&frame);
        sent = rig.sent();
    }
}

#[test]
fn send_targets_in_a_discovery_session() {
    let mut rig = Rig::discovery(Datamover::Tcp, 2);
    let first = format!("TargetName={TARGET}\0{ADDRESSES}");
    let second = format!("TargetName={TARGET}.1\0{ADDRESSES}");
    let sent = rig.text("SendTargets=All\0");
    assert_eq!((sent.stat_sn(), sent.window()), (1001, (101, 104)));
    says(&sent, &format!("{first}{second}"));
    says(&rig.text(&format!("SendTargets={TARGET}.1\0")), &second);
    let shouted = TARGET.replace("store", "STORE");
    says(&rig.text(&format!("SendTargets={shouted}\0")), &first);
    says(&rig.text("SendTargets=iqn.2026-11.org.example\0"), "");
    says(&rig.text("SendTargets=\0"), "SendTargets=Reject\0");
}

#[test]
fn send_targets_in_a_normal_session() {
    let mut rig = Rig::iser();
    let own = format!("TargetName={TARGET}\0{ADDRESSES}");
    let (answer, count) = whole(&mut rig, "SendTargets=\0", 128);
    assert_eq!(answer, own);
    assert_eq!(count, own.len().div_ceil(128));
    assert_eq!(
        whole(&mut rig, &format!("SendTargets={TARGET}\0"), 128).0,
        own
    );
    // Not of others.
    says(&rig.text(&format!("SendTargets={TARGET}.1\0")), "");
    says(&rig.text("SendTargets=All\0"), "SendTargets=Reject\0");
}

#[test]
fn many_targets_take_many_responses() {
    for datamover in [Datamover::Tcp, Datamover::Iser] {
        let mut rig = Rig::discovery(datamover, 300);
        let (answer, count) = whole(&mut rig, "SendTargets=All\0", 8192);
        assert_eq!(answer.matches("TargetName=").count(), 300);
        assert_eq!(count, answer.len().div_ceil(8192));
        assert_eq!(rig.connection.in_service(), 0);
    }
}

#[test]
fn other_keys() {
    let mut rig = Rig::normal("");
    let sent = rig.text("MaxBurstLength=512\0X-org.example.key=1\0Unheard=Of\0");
    says(
        &sent,
        "MaxBurstLength=Reject\0X-org.example.key=NotUnderstood\0Unheard=NotUnderstood\0",
    );
    says(&rig.text(""), "");
}

#[test]
fn text_that_is_none() {
    let mut rig = Rig::normal("");
    for data in ["SendTargets=All", "SendTargets\0", "\0"] {
        let frame = rig
            .numbered(opcode::TEXT, 0x80)
            .word(20, RESERVED_TAG)
            .data(data.as_bytes());
        assert_eq!(rig.rejected(&frame), 4);
    }
    let frame = rig
        .numbered(opcode::TEXT, 0x80)
        .word(20, RESERVED_TAG)
        .data(b"a=\xff\0");
    assert_eq!(rig.rejected(&frame), 4);
    // A bookmark of no exchange.
    let frame = rig.numbered(opcode::TEXT, 0x80).word(20, 3);
    assert_eq!(rig.rejected(&frame), 4);
    assert_eq!(rig.connection.in_service(), 0);
}

#[test]
fn one_text_request_at_a_time() {
    let mut rig = Rig::discovery(Datamover::Tcp, 1);
    let request = |rig: &mut Rig| {
        rig.numbered(opcode::TEXT, 0x80)
            .word(20, RESERVED_TAG)
            .data(b"SendTargets=All\0")
    };
    let first = request(&mut rig);
    let second = request(&mut rig);
    rig.consumed(&first);
    rig.consumed(&second);
    assert_eq!(rig.sent().opcode(), opcode::TEXT_RESPONSE);
    assert_eq!(rig.sent().rejects(&second), 4);
    let third = request(&mut rig);
    rig.consumed(&third);
    assert_eq!(rig.sent().opcode(), opcode::TEXT_RESPONSE);
}
