//! CHAP: who has to prove what, in which order.

use super::*;
use crate::iscsi::chap::Algorithm;

/// open-iscsi with `username_in`; in hexadecimal, and in base64 as Windows may send it.
#[test]
fn mutual_chap() {
    let challenge = [0xabu8; 16];
    let response = Algorithm::Md5.response(0x2a, &Secret::new("target's secret"), &challenge);
    let answer = format!("CHAP_N=target CHAP_R={}", text::hex(&response));
    for (id, given) in [
        ("42", text::hex(&challenge)),
        ("0x2A", "0bq6urq6urq6urq6urq6urqw==".into()),
    ] {
        let mut desk = challenged(locked());
        assert_eq!(
            desk.reply(0, 1, &mutual_proof(id, &given)),
            (true, 0, 1, answer.clone())
        );
        assert_eq!(admit(desk.send(1, 3, "")).user(), Some("joe"));
    }
}

#[test]
fn authenticated_initiators_may_stay_a_while() {
    let mut desk = challenged(locked());
    let proof = "CHAP_N=joe CHAP_R=0xf5ead72a86619b4c60be51bd56d36bb2";
    assert_eq!(desk.reply(0, 0, proof), (false, 0, 0, String::new()));
    assert_eq!(desk.reply(0, 1, ""), (true, 0, 1, String::new()));
    admit(desk.send(1, 3, ""));
}

#[test]
fn those_who_have_to_authenticate_do() {
    let no_method = "login of iqn.1993-08.org.debian:01:a1b2c3 failed: it has to authenticate, and offers no AuthMethod but";
    for (csg, nsg, text, why) in [
        (1, 3, String::new(), "it has to authenticate"),
        (0, 1, "AuthMethod=None".into(), no_method),
        (0, 1, "AuthMethod=KRB5,SRP".into(), no_method),
        (0, 1, "AuthMethod=Reject".into(), no_method),
    ] {
        let mut desk = Desk::new(Datamover::Tcp, locked());
        let (status, line) = desk.fails(csg, nsg, &format!("{} {text}", names()));
        assert_eq!(status, 0x0201);
        assert!(line.contains(why), "{line}");
    }
    // Nothing offered: it is not let on, however often it asks.
    let mut desk = Desk::new(Datamover::Tcp, locked());
    assert_eq!(
        desk.reply(0, 1, &names()),
        (false, 0, 0, "TargetPortalGroupTag=1".into())
    );
    assert_eq!(desk.reply(0, 3, ""), (false, 0, 0, String::new()));
    // Discovery has credentials of its own.
    let mut house = locked();
    let text = format!("InitiatorName={INITIATOR} SessionType=Discovery AuthMethod=None");
    house.discovery = house.credentials.take();
    assert_eq!(
        Desk::new(Datamover::Tcp, house).fails(0, 3, &text).0,
        0x0201
    );
}

#[test]
fn chap_without_credentials_is_refused() {
    let text = format!("{} AuthMethod=CHAP", names());
    assert_eq!(Desk::tcp().fails(0, 0, &text).0, 0x0201);
    let text = format!("{} CHAP_A=5", names());
    assert_eq!(Desk::tcp().fails(0, 0, &text).0, 0x0200);
}

#[test]
fn wrong_secrets_fail_with_a_line_that_names_the_initiator() {
    let wrong = Algorithm::Md5.response(1, &Secret::new("guessed secret"), &[2; 16]);
    let right = "0xf5ead72a86619b4c60be51bd56d36bb2";
    for proof in [
        format!("CHAP_N=joe CHAP_R={}", text::hex(&wrong)),
        format!("CHAP_N=jane CHAP_R={right}"),
        "CHAP_N=joe CHAP_R=0x00".to_owned(),
    ] {
        let (status, why) = challenged(locked()).fails(0, 1, &proof);
        assert_eq!(status, 0x0201);
        assert_eq!(
            why,
            format!("login of {INITIATOR} failed: wrong CHAP name or secret")
        );
    }
    let mut desk = Desk::new(Datamover::Tcp, locked());
    desk.reply(0, 0, &format!("{} AuthMethod=CHAP", names()));
    assert_eq!(desk.fails(0, 0, "CHAP_A=6").0, 0x0201);
}

#[test]
fn chap_has_an_order() {
    let proof = "CHAP_N=joe CHAP_R=0xf5ead72a86619b4c60be51bd56d36bb2";
    let mut desk = Desk::new(Datamover::Tcp, locked());
    desk.reply(0, 0, &format!("{} AuthMethod=CHAP", names()));
    assert_eq!(desk.fails(0, 1, proof).0, 0x0200);
    for half in [
        "CHAP_N=joe",
        "CHAP_R=0x00",
        "CHAP_N=joe CHAP_R=0x00 CHAP_I=1",
    ] {
        assert_eq!(challenged(locked()).fails(0, 1, half).0, 0x0200, "{half}");
    }
    assert_eq!(challenged(locked()).fails(0, 0, "CHAP_A=5").0, 0x0200);
    // Too late: in the operational stage.
    let mut desk = Desk::tcp();
    assert_eq!(
        desk.fails(1, 3, &format!("{} AuthMethod=None", names())).0,
        0x0200
    );
}

#[test]
fn reflected_challenges_are_refused() {
    let ours = text::hex(&[2; 16]);
    assert_eq!(
        challenged(locked())
            .fails(0, 1, &mutual_proof("1", &ours))
            .0,
        0x0201
    );
    let mut house = locked();
    house.credentials = house.credentials.map(|credentials| {
        Arc::new(Credentials {
            mutual: None,
            ..(*credentials).clone()
        })
    });
    assert_eq!(
        challenged(house).fails(0, 1, &mutual_proof("1", "0xab")).0,
        0x0201
    );
}
