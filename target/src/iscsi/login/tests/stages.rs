//! The course of a login: stages, texts in pieces, keys that come again.

use super::*;

/// A discovery session that has nothing to negotiate goes straight on from the security stage.
#[test]
fn straight_to_the_full_feature_phase() {
    let names = format!("InitiatorName={INITIATOR} SessionType=Discovery AuthMethod=None");
    let Step::Done(response, summary) = Desk::tcp().send(0, 3, &names) else {
        panic!()
    };
    assert_eq!(shown(&response), (true, 0, 3, "AuthMethod=None".into()));
    assert_eq!(summary.parameters, Parameters::INITIAL);
}

#[test]
fn a_text_may_continue() {
    let mut desk = Desk::tcp();
    let text = wire(&format!("{} MaxBurstLength=65536", names()));
    let (first, second) = text.split_at(23);
    let step = desk.step(&LoginRequest {
        continue_: true,
        transit: false,
        ..request(1, 3, first)
    });
    let Step::Reply(response) = step else {
        panic!()
    };
    assert_eq!(shown(&response), (false, 1, 0, String::new()));
    let summary = admit(desk.step(&request(1, 3, second)));
    assert_eq!(summary.parameters.max_burst, 65_536);
    assert!(
        shown(&desk.login.admitted(1))
            .3
            .starts_with("TargetPortalGroupTag=1 ")
    );
}

#[test]
fn versions_above_ours_are_none_of_ours() {
    let text = wire(&names());
    let newer = LoginRequest {
        version_min: 1,
        version_max: 3,
        ..request(1, 3, &text)
    };
    assert_eq!(failure(Desk::tcp().step(&newer)).0, 0x0205);
    let both = LoginRequest {
        version_max: 3,
        ..request(1, 3, &text)
    };
    admit(Desk::tcp().step(&both));
}

#[test]
fn stages_have_an_order() {
    for (csg, nsg) in [(2, 3), (3, 3), (0, 2), (1, 0), (1, 2)] {
        let (status, _) = Desk::tcp().fails(csg, nsg, &names());
        assert_eq!(status, 0x0200, "{csg} to {nsg}");
    }
    // Not back, and not on without having been let on.
    let mut desk = Desk::tcp();
    desk.reply(1, 1, &names());
    assert_eq!(desk.fails(0, 1, "").0, 0x0200);
    let mut desk = Desk::new(Datamover::Tcp, locked());
    desk.reply(0, 1, &format!("{} AuthMethod=CHAP", names()));
    assert_eq!(desk.fails(1, 3, "").0, 0x0200);
    // T and C exclude each other; T to the same stage is no transition.
    let text = wire(&names());
    for bad in [
        LoginRequest {
            continue_: true,
            ..request(1, 3, &text)
        },
        LoginRequest {
            transit: true,
            ..request(1, 1, &text)
        },
    ] {
        assert_eq!(failure(Desk::tcp().step(&bad)).0, 0x0200);
    }
}

#[test]
fn a_login_stays_itself() {
    for other in [
        LoginRequest {
            isid: [9; 6],
            ..request(1, 3, &[])
        },
        LoginRequest {
            tsih: 1,
            ..request(1, 3, &[])
        },
        LoginRequest {
            cid: 1,
            ..request(1, 3, &[])
        },
    ] {
        let mut desk = Desk::tcp();
        desk.reply(1, 1, &names());
        assert_eq!(failure(desk.step(&other)).0, 0x0200);
    }
    for again in [
        "InitiatorName=iqn.2000-01.org.example:other",
        "TargetName=iqn.2026-11.io.pagecast:other",
        "SessionType=Discovery",
    ] {
        let mut desk = Desk::tcp();
        desk.reply(1, 1, &names());
        assert_eq!(desk.fails(1, 3, again).0, 0x0200, "{again}");
    }
}

#[test]
fn keys_do_not_come_twice() {
    for (first, second) in [
        ("MaxBurstLength=65536", "MaxBurstLength=65536"),
        ("X-com.example=1", "X-com.example=2"),
    ] {
        let mut desk = Desk::tcp();
        desk.reply(1, 1, &format!("{} {first}", names()));
        let (status, why) = desk.fails(1, 1, second);
        assert_eq!(status, 0x0200);
        assert!(why.ends_with(" again"), "{why}");
    }
    let text = format!("{} MaxBurstLength=1024 MaxBurstLength=1024", names());
    assert_eq!(Desk::tcp().fails(1, 1, &text).0, 0x0200);
}

#[test]
fn answers_to_what_we_said_are_not_answered() {
    let mut desk = Desk::tcp();
    desk.reply(1, 1, &names());
    assert_eq!(
        desk.reply(
            1,
            1,
            "TargetPortalGroupTag=NotUnderstood MaxRecvDataSegmentLength=Reject"
        ),
        (false, 1, 0, String::new())
    );
    assert_eq!(desk.fails(1, 1, "MaxConnections=Irrelevant").0, 0x0200);
}
