//! Initiators of the field: open-iscsi, libiscsi and Windows.

use super::*;

const OPEN_ISCSI: &str = "HeaderDigest=None DataDigest=None DefaultTime2Wait=2 DefaultTime2Retain=0 IFMarker=No OFMarker=No \
     ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes MaxBurstLength=16776192 FirstBurstLength=262144 MaxOutstandingR2T=1 \
     MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes MaxRecvDataSegmentLength=262144";
const OPEN_ISCSI_ANSWER: &str = "HeaderDigest=None DataDigest=None DefaultTime2Wait=2 DefaultTime2Retain=0 IFMarker=No \
     OFMarker=No ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes MaxBurstLength=1048576 MaxOutstandingR2T=1 \
     MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes FirstBurstLength=262144 MaxRecvDataSegmentLength=262144";

/// open-iscsi, `usr/login.c`: who has nothing to prove starts in the operational stage, with everything at once.
#[test]
fn open_iscsi_without_authentication() {
    let mut desk = Desk::tcp();
    let first = format!(
        "InitiatorName={INITIATOR} InitiatorAlias=web1 TargetName={TARGET} SessionType=Normal"
    );
    let summary = admit(desk.send(1, 3, &format!("{first} {OPEN_ISCSI}")));
    assert_eq!(
        summary,
        LoginSummary {
            initiator: INITIATOR.into(),
            alias: Some("web1".into()),
            target: Some(TARGET.into()),
            session_type: SessionType::Normal,
            isid: [0, 2, 0x3d, 0, 0, 1],
            tsih: 0,
            cid: 0,
            parameters: Parameters {
                send_data_segment: 262_144,
                receive_data_segment: 262_144,
                max_burst: 1 << 20,
                first_burst: 262_144,
                initial_r2t: false,
                ..Parameters::INITIAL
            },
            proved: None,
        }
    );
    let last = desk.login.admitted(5);
    assert_eq!((last.tsih, last.itt), (5, 7));
    let answer = format!("TargetPortalGroupTag=1 {OPEN_ISCSI_ANSWER}");
    assert_eq!(shown(&last), (true, 1, 3, answer));
}

/// open-iscsi with `node.session.auth.chap_algs = SHA3-256,SHA256,SHA1,MD5`, one way.
#[test]
fn open_iscsi_with_chap() {
    let mut desk = Desk::new(Datamover::Tcp, locked());
    assert_eq!(
        desk.reply(0, 0, &format!("{} AuthMethod=CHAP,None", names())),
        (false, 0, 0, "TargetPortalGroupTag=1 AuthMethod=CHAP".into())
    );
    let challenge = "02".repeat(32);
    assert_eq!(
        desk.reply(0, 0, "CHAP_A=8,7,6,5"),
        (
            false,
            0,
            0,
            format!("CHAP_A=8 CHAP_I=1 CHAP_C=0x{challenge}")
        )
    );
    // The known answer of `chap`'s tests.
    let proof =
        "CHAP_N=joe CHAP_R=0xb55f720e337f055b0b48e7c816445a41f5abebd97d17291ad091df483ae78b33";
    assert_eq!(desk.reply(0, 1, proof), (true, 0, 1, String::new()));
    let summary = admit(desk.send(1, 3, OPEN_ISCSI));
    assert_eq!(summary.user(), Some("joe"));
}

/// Captured from iscsiadm 2.1.8.
#[test]
fn open_iscsi_discovery() {
    for datamover in [Datamover::Tcp, Datamover::Iser] {
        let mut desk = Desk::new(datamover, House::default());
        let Step::Done(response, summary) = desk.send(
            1,
            3,
            "InitiatorName=iqn.1993-08.org.debian:01:a1b2c3 SessionType=Discovery HeaderDigest=None DataDigest=None \
             DefaultTime2Wait=2 DefaultTime2Retain=0 IFMarker=No OFMarker=No ErrorRecoveryLevel=0 \
             MaxRecvDataSegmentLength=32768",
        ) else {
            panic!()
        };
        assert_eq!(
            shown(&response),
            (
                true,
                1,
                3,
                "HeaderDigest=None DataDigest=None DefaultTime2Wait=2 DefaultTime2Retain=0 IFMarker=No OFMarker=No \
                 ErrorRecoveryLevel=0 MaxRecvDataSegmentLength=262144"
                    .into()
            )
        );
        assert_ne!(response.tsih, 0);
        assert_eq!(summary.session_type, SessionType::Discovery);
        assert_eq!((summary.target.as_deref(), summary.user()), (None, None));
        let most = if datamover == Datamover::Tcp {
            32_768
        } else {
            8192
        };
        assert_eq!(summary.parameters.send_data_segment, most);
    }
}

/// Captured from iscsiadm 2.1.8 with `discovery.sendtargets.auth.username_in`: challenges and answers that it computed and checked.
#[test]
fn open_iscsi_discovery_with_mutual_chap() {
    let mut desk = Desk::new(Datamover::Tcp, guarded_discovery());
    let challenge = "0xb1a1b5ccf817bf5380cf4f183ed21644";
    desk.scripted = [vec![163], text::binary(challenge, 16).unwrap()].into();
    assert_eq!(
        desk.reply(
            0,
            0,
            "InitiatorName=iqn.1993-08.org.debian:01:a1b2c3 SessionType=Discovery AuthMethod=CHAP"
        ),
        (false, 0, 0, "AuthMethod=CHAP".into())
    );
    assert_eq!(
        desk.reply(0, 0, "CHAP_A=5"),
        (
            false,
            0,
            0,
            format!("CHAP_A=5 CHAP_I=163 CHAP_C={challenge}")
        )
    );
    assert_eq!(
        desk.reply(
            0,
            1,
            "CHAP_N=joe CHAP_R=0x0e40ed544df2d64abb2848c124461686 CHAP_I=10 CHAP_C=0x25547e47e49d225bc5daf1c39b258d68"
        ),
        (
            true,
            0,
            1,
            "CHAP_N=tgt CHAP_R=0x195bbb4b61550357d81da60812e2b538".into()
        )
    );
    let Step::Done(_, summary) = desk.send(1, 3, "HeaderDigest=None DataDigest=None") else {
        panic!()
    };
    assert_eq!(summary.user(), Some("joe"));
}

/// Captured from libiscsi 1.19, `iscsi-inq` with `target_user`: it asks for the transition before CHAP has begun, and its own
/// challenge is twice as long as the digest.
#[test]
fn libiscsi_with_mutual_chap() {
    let house = guarded_discovery();
    let mut desk = Desk::new(
        Datamover::Tcp,
        House {
            credentials: house.discovery,
            discovery: None,
        },
    );
    let challenge = "0x9466b25cf94dae7b485c934e71758d32";
    desk.scripted = [vec![47], text::binary(challenge, 16).unwrap()].into();
    assert_eq!(
        desk.reply(
            0,
            1,
            "InitiatorName=iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-inq TargetName=iqn.2026-11.io.pagecast:store \
             SessionType=Normal AuthMethod=CHAP,None"
        ),
        (false, 0, 0, "TargetPortalGroupTag=1 AuthMethod=CHAP".into())
    );
    assert_eq!(
        desk.step(&LoginRequest {
            nsg: 1,
            ..request(0, 0, b"CHAP_A=5\0")
        }),
        Step::Reply(LoginResponse {
            data: wire(&format!("CHAP_A=5 CHAP_I=47 CHAP_C={challenge}")),
            ..LoginResponse::to(&request(0, 0, b""), Stage::Security)
        })
    );
    assert_eq!(
        desk.reply(
            0,
            1,
            "CHAP_N=joe CHAP_R=0x0F70B966B04D56030043570409FDBE5E CHAP_I=1 \
             CHAP_C=0x193B999E339ECABFA3B79EFFE9B19B8516913D19A3C83EFDF6651FB5912380AA"
        ),
        (
            true,
            0,
            1,
            "CHAP_N=tgt CHAP_R=0x3f64d443229adf1619f00a58f957208c".into()
        )
    );
    assert_eq!(
        admit(desk.send(1, 3, "MaxConnections=1")).user(),
        Some("joe")
    );
}

fn guarded_discovery() -> House {
    House {
        credentials: None,
        discovery: Some(Arc::new(Credentials {
            user: "joe".into(),
            secret: Secret::new("initiatorsecret"),
            mutual: Some(("tgt".into(), Secret::new("targetsecret1"))),
        })),
    }
}

/// open-iscsi over iSER: no digests, its own segment lengths, RDMAExtensions.
#[test]
fn open_iscsi_over_iser() {
    let mut desk = Desk::new(Datamover::Iser, House::default());
    let keys = "DefaultTime2Wait=2 DefaultTime2Retain=0 IFMarker=No OFMarker=No ErrorRecoveryLevel=0 InitialR2T=No \
         ImmediateData=Yes MaxBurstLength=16776192 FirstBurstLength=262144 MaxOutstandingR2T=1 MaxConnections=1 \
         DataPDUInOrder=Yes DataSequenceInOrder=Yes InitiatorRecvDataSegmentLength=262144 TargetRecvDataSegmentLength=8192 \
         RDMAExtensions=Yes";
    let summary = admit(desk.send(1, 3, &format!("{} {keys}", names())));
    assert_eq!(
        (
            summary.parameters.send_data_segment,
            summary.parameters.receive_data_segment
        ),
        (262_144, 8192)
    );
    assert_eq!(
        shown(&desk.login.admitted(1)).3,
        "TargetPortalGroupTag=1 DefaultTime2Wait=2 DefaultTime2Retain=0 IFMarker=No OFMarker=No ErrorRecoveryLevel=0 InitialR2T=Yes \
         ImmediateData=Yes MaxBurstLength=1048576 MaxOutstandingR2T=1 MaxConnections=1 DataPDUInOrder=Yes \
         DataSequenceInOrder=Yes InitiatorRecvDataSegmentLength=262144 TargetRecvDataSegmentLength=8192 RDMAExtensions=Yes \
         FirstBurstLength=262144"
    );
}

/// libiscsi, `lib/login.c`: without a user it starts in the operational stage; with one, some versions say who they are again there.
#[test]
fn libiscsi() {
    const KEYS: &str = "HeaderDigest=None,CRC32C DataDigest=None InitialR2T=No ImmediateData=Yes MaxBurstLength=262144 \
         FirstBurstLength=262144 DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=1 ErrorRecoveryLevel=0 IFMarker=No \
         OFMarker=No MaxConnections=1 MaxRecvDataSegmentLength=262144 DataPDUInOrder=Yes DataSequenceInOrder=Yes";
    let summary = admit(Desk::tcp().send(1, 3, &format!("{} {KEYS}", names())));
    assert_eq!(summary.parameters.max_burst, 262_144);

    let mut desk = Desk::new(Datamover::Tcp, locked());
    assert_eq!(
        desk.reply(0, 1, &format!("{} AuthMethod=CHAP,None", names())),
        (false, 0, 0, "TargetPortalGroupTag=1 AuthMethod=CHAP".into())
    );
    desk.reply(0, 0, "CHAP_A=5");
    let proof = "CHAP_N=joe CHAP_R=0xF5EAD72A86619B4C60BE51BD56D36BB2";
    assert_eq!(desk.reply(0, 1, proof), (true, 0, 1, String::new()));
    let summary = admit(desk.send(1, 3, &format!("{} {KEYS}", names())));
    assert_eq!(summary.user(), Some("joe"));

    let mut desk = Desk::tcp();
    let discovery = format!("InitiatorName={INITIATOR} SessionType=Discovery {KEYS}");
    assert!(matches!(desk.send(1, 3, &discovery), Step::Done(..)));
}

/// The first request is that of a public capture of Windows Server 2003, but for the target, and its answer was the one that is
/// expected here; the second one, which goes on in its stage, is in the manner of Windows.
#[test]
fn windows() {
    let mut desk = Desk::tcp();
    let first = wire(&format!(
        "InitiatorName=iqn.1991-05.com.microsoft:win2003s SessionType=Normal TargetName={TARGET} AuthMethod=None"
    ));
    let numbered = |request| LoginRequest {
        isid: [0x40, 0, 1, 0x37, 0, 0],
        cid: 1,
        ..request
    };
    let Step::Reply(response) = desk.step(&numbered(request(0, 1, &first))) else {
        panic!()
    };
    assert_eq!(response.isid, [0x40, 0, 1, 0x37, 0, 0]);
    assert_eq!(
        shown(&response),
        (true, 0, 1, "TargetPortalGroupTag=1 AuthMethod=None".into())
    );
    assert_eq!(response.data.len(), 39);
    let keys = "HeaderDigest=None,CRC32C DataDigest=None,CRC32C ErrorRecoveryLevel=2 InitialR2T=No ImmediateData=Yes \
         MaxRecvDataSegmentLength=65536 MaxBurstLength=262144 FirstBurstLength=65536 MaxConnections=1 DataPDUInOrder=Yes \
         DataSequenceInOrder=Yes DefaultTime2Wait=0 DefaultTime2Retain=60 MaxOutstandingR2T=16";
    let keys = wire(keys);
    let Step::Reply(response) = desk.step(&numbered(request(1, 1, &keys))) else {
        panic!()
    };
    assert_eq!(
        shown(&response),
        (
            false,
            1,
            0,
            "HeaderDigest=None DataDigest=None ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes MaxBurstLength=262144 \
             MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes DefaultTime2Wait=0 DefaultTime2Retain=0 \
             MaxOutstandingR2T=1 FirstBurstLength=65536 MaxRecvDataSegmentLength=262144"
                .into()
        )
    );
    let summary = admit(desk.step(&numbered(request(1, 3, b""))));
    assert_eq!(summary.initiator, "iqn.1991-05.com.microsoft:win2003s");
    assert_eq!(shown(&desk.login.admitted(1)), (true, 1, 3, String::new()));
}
