//! Requests and answers that are too long or too many, and texts of any kind.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;

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
