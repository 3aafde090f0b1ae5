use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::iscsi::chap::Algorithm;
use crate::iscsi::directory::{Credentials, Secret, TargetRecord};

const INITIATOR: &str = "iqn.1993-08.org.debian:01:a1b2c3";
const TARGET: &str = "iqn.2026-11.io.pagecast:store";
const LIMITS: Limits = Limits {
    commands: 64,
    receive_data_segment: 262_144,
    max_burst: 1 << 20,
    first_burst: 262_144,
};

#[derive(Debug, Default)]
struct House {
    credentials: Option<Arc<Credentials>>,
    discovery: Option<Arc<Credentials>>,
}

impl Directory for House {
    fn target(&self, target: &str, initiator: &str) -> Lookup {
        match (target, initiator) {
            (TARGET, "iqn.2000-01.org.example:stranger") => Lookup::Forbidden,
            (TARGET, _) => Lookup::Admitted(self.credentials.clone()),
            _ => Lookup::NotFound,
        }
    }

    fn discovery_credentials(&self) -> Option<Arc<Credentials>> {
        self.discovery.clone()
    }

    fn targets(&self, _: &str) -> Vec<TargetRecord> {
        Vec::new()
    }
}

fn locked() -> House {
    House {
        credentials: Some(Arc::new(Credentials {
            user: "joe".into(),
            secret: Secret::new("initiator secret"),
            mutual: Some(("target".into(), Secret::new("target's secret"))),
        })),
        discovery: None,
    }
}

/// A login and the directory that it asks. Its entropy is what is scripted, or else 1, then 2, and so on.
struct Desk {
    login: Login,
    directory: House,
    scripted: VecDeque<Vec<u8>>,
    entropy: u8,
}

impl Desk {
    fn new(datamover: Datamover, directory: House) -> Self {
        Self {
            login: Login::new(datamover, LIMITS),
            directory,
            scripted: VecDeque::new(),
            entropy: 0,
        }
    }

    fn tcp() -> Self {
        Self::new(Datamover::Tcp, House::default())
    }

    fn step(&mut self, request: &LoginRequest<'_>) -> Step {
        let Self {
            login,
            directory,
            scripted,
            entropy,
        } = self;
        login.request(
            request,
            directory,
            &mut |bytes| match scripted.pop_front() {
                Some(script) => bytes.copy_from_slice(&script),
                None => {
                    *entropy += 1;
                    bytes.fill(*entropy);
                }
            },
        )
    }

    /// A request that wants to go from `csg` to `nsg`, or to stay where these are the same.
    fn send(&mut self, csg: u8, nsg: u8, text: &str) -> Step {
        self.step(&request(csg, nsg, &wire(text)))
    }

    /// The answer's `T`, stages and lines.
    fn reply(&mut self, csg: u8, nsg: u8, text: &str) -> (bool, u8, u8, String) {
        match self.send(csg, nsg, text) {
            Step::Reply(response) => shown(&response),
            other => panic!("{other:?}"),
        }
    }

    fn fails(&mut self, csg: u8, nsg: u8, text: &str) -> (u16, String) {
        failure(self.send(csg, nsg, text))
    }
}

fn request(csg: u8, nsg: u8, data: &[u8]) -> LoginRequest<'_> {
    LoginRequest {
        transit: nsg != csg,
        continue_: false,
        csg,
        nsg,
        version_max: 0,
        version_min: 0,
        isid: [0x00, 0x02, 0x3d, 0, 0, 1],
        tsih: 0,
        itt: 7,
        cid: 0,
        cmd_sn: 1,
        exp_stat_sn: 0,
        data,
    }
}

/// Words to pairs. `+` stands for a space within a value.
fn wire(text: &str) -> Vec<u8> {
    let words = text.split_whitespace();
    words
        .flat_map(|word| format!("{}\0", word.replace('+', " ")).into_bytes())
        .collect()
}

fn shown(response: &LoginResponse) -> (bool, u8, u8, String) {
    assert_eq!(response.status, LoginStatus::SUCCESS);
    assert!(!response.continue_ && response.data.len() <= MAX_RESPONSE);
    assert_eq!((response.version_max, response.version_active), (0, 0));
    let text = String::from_utf8(response.data.clone()).unwrap();
    let pairs: Vec<_> = text.split_terminator('\0').collect();
    (
        response.transit,
        response.csg.code(),
        response.nsg.code(),
        pairs.join(" "),
    )
}

fn failure(step: Step) -> (u16, String) {
    match step {
        Step::Fail(response, failure) => {
            assert!(!response.transit && response.data.is_empty());
            let LoginStatus { class, detail } = response.status;
            (u16::from_be_bytes([class, detail]), failure.to_string())
        }
        other => panic!("{other:?}"),
    }
}

fn names() -> String {
    format!("InitiatorName={INITIATOR} TargetName={TARGET} SessionType=Normal")
}

fn admit(step: Step) -> LoginSummary {
    match step {
        Step::Admit(summary) => summary,
        other => panic!("{other:?}"),
    }
}

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

fn mutual_proof(id: &str, challenge: &str) -> String {
    format!("CHAP_N=joe CHAP_R=0xf5ead72a86619b4c60be51bd56d36bb2 CHAP_I={id} CHAP_C={challenge}")
}

fn challenged(house: House) -> Desk {
    let mut desk = Desk::new(Datamover::Tcp, house);
    desk.reply(0, 0, &format!("{} AuthMethod=CHAP", names()));
    let challenge = "02".repeat(16);
    assert_eq!(
        desk.reply(0, 0, "CHAP_A=5"),
        (
            false,
            0,
            0,
            format!("CHAP_A=5 CHAP_I=1 CHAP_C=0x{challenge}")
        )
    );
    desk
}

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

#[test]
fn hostile_texts_end_the_login() {
    let keys: Vec<u8> = (0..10_000)
        .flat_map(|n| format!("K{n}=1\0").into_bytes())
        .collect();
    let names_and = |rest: &[u8]| [wire(&names()), rest.to_vec()].concat();
    for data in [
        keys,
        vec![b'a'; 1 << 20],
        names_and(b"HeaderDigest=None"),
        names_and(b"HeaderDigest\0"),
        names_and(b"X=\xff\0"),
        names_and(b"\0"),
        names_and(&[b"K".repeat(64), b"=1\0".to_vec()].concat()),
        names_and(
            &[
                b"InitiatorAlias=".to_vec(),
                b"a".repeat(256),
                b"\0".to_vec(),
            ]
            .concat(),
        ),
    ] {
        let mut desk = Desk::tcp();
        let (status, why) = failure(desk.step(&request(1, 3, &data)));
        assert_eq!(status, 0x0200, "{why}");
        assert!(why.len() < 600);
    }
}

#[test]
fn nobody_talks_for_ever() {
    let mut desk = Desk::tcp();
    desk.reply(1, 1, &names());
    for _ in 1..MAX_REQUESTS {
        desk.reply(1, 1, "");
    }
    assert!(desk.fails(1, 1, "").1.contains("more than 64 requests"));

    let mut desk = Desk::tcp();
    let mut steps = 0;
    let why = loop {
        steps += 1;
        let piece = LoginRequest {
            continue_: true,
            ..request(1, 1, b"")
        };
        match desk.step(&piece) {
            Step::Reply(_) => {}
            other => break failure(other).1,
        }
    };
    assert!(steps <= MAX_REQUESTS && why.contains("pieces"), "{why}");

    let mut desk = Desk::tcp();
    desk.reply(1, 1, &names());
    let mut steps = 0;
    let why = loop {
        steps += 1;
        let text: String = (0..60).map(|n| format!("K{steps}.{n}=1 ")).collect();
        match desk.send(1, 1, &text) {
            Step::Reply(response) => assert!(response.data.len() <= MAX_RESPONSE),
            other => break failure(other).1,
        }
    };
    assert!(steps <= 6 && why.contains("keys"), "{why}");
}

#[test]
fn the_longest_answer_fits() {
    let keys: String = (10..71)
        .map(|n| format!("{}{n}=1 ", "K".repeat(61)))
        .collect();
    let (_, _, _, answer) = Desk::tcp().reply(1, 1, &format!("{} {keys}", names()));
    assert_eq!(answer.matches("NotUnderstood").count(), 61);
}

#[test]
fn an_answer_that_does_not_fit_is_not_sent() {
    let mut house = locked();
    house.credentials = house.credentials.map(|credentials| {
        let name = "n".repeat(MAX_RESPONSE);
        Arc::new(Credentials {
            mutual: Some((name, Secret::new("target's secret"))),
            ..(*credentials).clone()
        })
    });
    let (status, why) = challenged(house).fails(0, 1, &mutual_proof("1", "0xab"));
    assert_eq!(status, 0x0300);
    assert!(why.ends_with("the answer would be too long"));
}

fn pair() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "InitiatorName",
        "TargetName",
        "SessionType",
        "InitiatorAlias",
        "AuthMethod",
        "CHAP_A",
        "CHAP_N",
        "CHAP_R",
        "CHAP_I",
        "CHAP_C",
        "HeaderDigest",
        "MaxBurstLength",
        "FirstBurstLength",
        "MaxRecvDataSegmentLength",
        "RDMAExtensions",
        "InitialR2T",
        "TargetRecvDataSegmentLength",
        "TaskReporting",
        "SendTargets",
        "X-other",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            INITIATOR,
            TARGET,
            "Normal",
            "Discovery",
            "None",
            "CHAP,None",
            "5",
            "7,8",
            "joe",
            "0x00",
            "0bAAAA",
            "Yes",
            "No",
            "NotUnderstood",
            "Reject",
            "512",
            "0xffffffffffffffffff",
            "0xf5ead72a86619b4c60be51bd56d36bb2",
            "",
        ])
        .prop_map(str::to_owned),
        "[ -~é]{0,40}",
    ];
    (key, value).prop_map(|(key, value)| format!("{key}={value}\0"))
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(pair(), 0..6).prop_map(|pairs| pairs.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #[test]
    fn anything_goes_and_ends(
        steps in prop::collection::vec((any::<[bool; 2]>(), 0u8..4, 0u8..4, text()), 1..80),
        named: bool,
        guarded: bool,
        iser: bool,
    ) {
        let house = if guarded { locked() } else { House::default() };
        let datamover = if iser { Datamover::Iser } else { Datamover::Tcp };
        let mut desk = Desk::new(datamover, house);
        let over = Cell::new(false);
        if named {
            desk.send(0, 0, &names());
        }
        for (n, ([transit, continue_], csg, nsg, data)) in steps.iter().enumerate() {
            let request = LoginRequest {
                transit: *transit,
                continue_: *continue_,
                csg: *csg,
                nsg: *nsg,
                ..request(0, 0, data)
            };
            let step = desk.step(&request);
            let goes_on = matches!(step, Step::Reply(_));
            prop_assert!(!goes_on || n < MAX_REQUESTS as usize);
            // Once over, over.
            prop_assert!(!over.get() || matches!(step, Step::Fail(..)));
            match step {
                Step::Reply(response) | Step::Done(response, _) => {
                    prop_assert!(response.data.len() <= MAX_RESPONSE);
                    prop_assert!(text::parse(&response.data).is_ok());
                }
                Step::Admit(summary) => {
                    prop_assert!(!guarded || summary.proved.is_some());
                    prop_assert!(summary.parameters.first_burst <= summary.parameters.max_burst);
                }
                Step::Fail(response, failure) => {
                    let why = failure.to_string();
                    prop_assert!(!response.status.is_success());
                    prop_assert!(!why.contains("secret") || why.contains("wrong CHAP name or secret"));
                }
            }
            over.set(over.get() || !goes_on);
        }
    }
}
