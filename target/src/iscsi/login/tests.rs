//! Logins as initiators do them, and as nobody should.

mod admission;
mod chap;
mod hostile;
mod initiators;
mod stages;

use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
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
