//! Who is let in, and what the daemon has to say about it.

use super::*;

#[test]
fn the_daemon_may_refuse() {
    let mut desk = Desk::tcp();
    admit(desk.send(1, 3, &names()));
    let response = desk.login.refused(LoginStatus::OUT_OF_RESOURCES);
    assert_eq!(
        response.status,
        LoginStatus {
            class: 3,
            detail: 2
        }
    );
    assert!(!response.transit && response.data.is_empty());
    // Once only.
    assert_eq!(desk.login.admitted(9).status, LoginStatus::TARGET_ERROR);
    assert_eq!(desk.fails(1, 3, "").0, 0x0200);
}

#[test]
fn a_session_to_join_is_the_daemons_business() {
    let mut desk = Desk::tcp();
    let text = wire(&names());
    let summary = admit(desk.step(&LoginRequest {
        tsih: 9,
        cid: 1,
        ..request(1, 3, &text)
    }));
    assert_eq!((summary.tsih, summary.cid), (9, 1));
    let refused = desk.login.refused(LoginStatus::SESSION_DOES_NOT_EXIST);
    assert_eq!((refused.status.detail, refused.tsih), (0x0a, 9));

    let text = wire(&format!("InitiatorName={INITIATOR} SessionType=Discovery"));
    let discovery = LoginRequest {
        tsih: 9,
        ..request(1, 3, &text)
    };
    assert_eq!(failure(Desk::tcp().step(&discovery)).0, 0x020a);
}

#[test]
fn who_may_not_come_in() {
    let stranger = format!("InitiatorName=iqn.2000-01.org.example:stranger TargetName={TARGET}");
    for (text, status, why) in [
        (
            format!("TargetName={TARGET}"),
            0x0207,
            "login of an initiator without a name failed: no InitiatorName",
        ),
        (
            format!("InitiatorName={INITIATOR}"),
            0x0207,
            "login of iqn.1993-08.org.debian:01:a1b2c3 failed: no TargetName",
        ),
        (
            format!("InitiatorName={INITIATOR} TargetName=iqn.2026-11.io.pagecast:other"),
            0x0203,
            "login of iqn.1993-08.org.debian:01:a1b2c3 failed: no target of the name \"iqn.2026-11.io.pagecast:other\" here",
        ),
        (
            format!("InitiatorName={INITIATOR} TargetName=store"),
            0x0203,
            "login of iqn.1993-08.org.debian:01:a1b2c3 failed: no target of the name \"store\" here",
        ),
        (
            stranger,
            0x0202,
            "login of iqn.2000-01.org.example:stranger failed: no access group of target iqn.2026-11.io.pagecast:store admits it; add its name to \"initiators\" of one (pagecast initiator add TARGET GROUP NAME)",
        ),
        (
            format!("InitiatorName={INITIATOR} SessionType=Copy"),
            0x0209,
            "login of iqn.1993-08.org.debian:01:a1b2c3 failed: a SessionType that does not exist",
        ),
        (
            format!("InitiatorName=joe TargetName={TARGET}"),
            0x0200,
            "login of an initiator without a name failed: InitiatorName that is none",
        ),
    ] {
        assert_eq!(Desk::tcp().fails(1, 3, &text), (status, why.to_owned()));
    }
}

#[test]
fn names_compare_in_lower_case() {
    let text = format!(
        "InitiatorName={INITIATOR} TargetName={}",
        TARGET.to_uppercase()
    );
    let summary = admit(Desk::tcp().send(1, 3, &text));
    assert_eq!(summary.target.as_deref(), Some(TARGET));
}
