//! Vectors, and a target that answers by hand.

use super::pdu::{NO_TAG, opcode};
use super::request::{self, Direction};
use super::stream::Digests;
use super::*;

fn response(stage_and_transit: u8, stat_sn: u32, keys: &[(&str, &str)]) -> Pdu {
    let mut pdu = Pdu::new(opcode::LOGIN_RESPONSE);
    pdu.bhs[1] = stage_and_transit;
    pdu.bhs[8..14].copy_from_slice(&[0x80, 0, 0, 0, 0, 1]);
    pdu.bhs[15] = 7;
    pdu.set_word(24, stat_sn);
    pdu.set_word(28, 1);
    pdu.set_word(32, 32);
    pdu.set_data(text::encode(keys));
    pdu
}

fn sent(step: Step) -> Pdu {
    match step {
        Step::Send { pdu, .. } => pdu,
        other => panic!("{other:?}"),
    }
}

fn logged_in() -> Client {
    Client::new(&Negotiated {
        tsih: 1,
        cmd_sn: 1,
        exp_stat_sn: 10,
        exp_cmd_sn: 1,
        max_cmd_sn: 2,
        keys: Vec::new(),
    })
}

fn answer(operation: u8, itt: u32, stat_sn: u32, expected: u32, highest: u32) -> Pdu {
    let mut pdu = Pdu::new(operation);
    pdu.bhs[1] = 0x80;
    pdu.set_word(16, itt);
    pdu.set_word(24, stat_sn);
    pdu.set_word(28, expected);
    pdu.set_word(32, highest);
    pdu
}

#[test]
fn a_read_command_is_these_bytes() {
    let cdb = [0x28, 0, 0, 0, 8, 0, 0, 0, 8, 0];
    let pdu = request::command(0x1_0000, [0; 8], 1, &cdb, Direction::In, 4096, Vec::new());
    let mut expected = [0; 48];
    expected[..2].copy_from_slice(&[0x01, 0xc1]);
    expected[17] = 1;
    expected[22] = 0x10;
    expected[32..42].copy_from_slice(&cdb);
    assert_eq!(pdu.encode(), expected);
}

#[test]
fn a_long_cdb_goes_into_an_additional_header() {
    let cdb: Vec<u8> = (0..32).collect();
    let pdu = request::command(1, [0; 8], 1, &cdb, Direction::None, 0, Vec::new());
    assert_eq!(pdu.bhs[4], 5);
    assert_eq!(pdu.ahs[..4], [0, 17, 1, 0]);
    assert_eq!(pdu.ahs[4..], cdb[16..]);
    assert_eq!(Pdu::decode(&pdu.encode()), Ok(pdu));
}

#[test]
fn login_without_authentication() {
    let (mut login, step) = Login::start(LoginOptions::iser("iqn.a", "iqn.b"));
    let first = sent(step);
    assert_eq!(first.bhs[..2], [0x43, 0x81]);
    assert!(
        first
            .data
            .starts_with(b"InitiatorName=iqn.a\0TargetName=iqn.b\0")
    );
    let next = login
        .receive(&response(0x81, 5, &[("AuthMethod", "None")]))
        .unwrap();
    let second = sent(next);
    assert_eq!(second.bhs[1], 0x87);
    assert_eq!(second.word(28), 6);
    let keys = [("RDMAExtensions", "Yes"), ("InitialR2T", "Yes")];
    match login.receive(&response(0x87, 6, &keys)).unwrap() {
        Step::Done(negotiated) => {
            assert_eq!((negotiated.tsih, negotiated.exp_stat_sn), (7, 7));
            assert_eq!(negotiated.value("InitialR2T"), Some("Yes"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn login_with_chap() {
    let options = LoginOptions::tcp("iqn.a", "iqn.b")
        .with_chap("joe", "secret of joe", "7,5")
        .with_mutual("target", "secret of target");
    let (mut login, step) = Login::start(options);
    assert_eq!(sent(step).bhs[1], 0x00);
    let step = login.receive(&response(0, 0, &[("AuthMethod", "CHAP")]));
    assert_eq!(sent(step.unwrap()).data, b"CHAP_A=7,5\0");
    let keys = [("CHAP_A", "5"), ("CHAP_I", "3"), ("CHAP_C", "0x0102")];
    let proof = sent(login.receive(&response(0, 1, &keys)).unwrap());
    assert_eq!(proof.bhs[1], 0x81);
    let pairs = text::decode(&proof.data).unwrap();
    // md5(03 "secret of joe" 01 02)
    let expected = chap::respond("5", 3, b"secret of joe", &[1, 2]).unwrap();
    assert_eq!(
        text::value(&pairs, "CHAP_R"),
        Some(&*chap::to_hex(&expected))
    );
    let challenge = chap::from_hex(text::value(&pairs, "CHAP_C").unwrap()).unwrap();
    let ours = chap::respond("5", 0x2a, b"secret of target", &challenge).unwrap();
    let wrong = chap::respond("5", 0x2a, b"another", &challenge).unwrap();
    for (proven, good) in [(wrong, false), (ours, true)] {
        let mut login = login.clone();
        let keys = [("CHAP_N", "target"), ("CHAP_R", &*chap::to_hex(&proven))];
        assert_eq!(login.receive(&response(0x81, 2, &keys)).is_ok(), good);
    }
}

/// RFC 1321 has MD5("abc"); here id 'a', secret "b", challenge "c".
#[test]
fn chap_hashes() {
    let md5 = chap::respond("5", b'a', b"b", b"c").unwrap();
    assert_eq!(chap::to_hex(&md5), "0x900150983cd24fb0d6963f7d28e17f72");
    let sha = chap::respond("7", b'a', b"b", b"c").unwrap();
    assert!(chap::to_hex(&sha).starts_with("0xba7816bf8f01cfea"));
    let sha3 = chap::respond("8", b'a', b"b", b"c").unwrap();
    assert!(chap::to_hex(&sha3).starts_with("0x3a985da74fe225b2"));
    assert_eq!(chap::respond("6", 1, b"", b""), None);
}

#[test]
fn refusals_and_wrong_logins() {
    let (login, _) = Login::start(LoginOptions::discovery("iqn.a"));
    let mut refused = response(0x81, 0, &[]);
    refused.bhs[36..38].copy_from_slice(&[2, 1]);
    let step = login.clone().receive(&refused);
    assert_eq!(
        step,
        Ok(Step::Refused {
            class: 2,
            detail: 1
        })
    );
    let mut other = response(0x81, 0, &[("AuthMethod", "None")]);
    other.bhs[9] = 1;
    let error = login.clone().receive(&other);
    assert_eq!(error, Err(ProtocolError::Field("ISID")));
    let stage = login
        .clone()
        .receive(&response(0x87, 0, &[("AuthMethod", "None")]));
    assert_eq!(stage, Err(ProtocolError::Field("current stage")));
}

#[test]
fn windows_and_numbers() {
    let mut client = logged_in();
    let read = |client: &mut Client| {
        assert!(client.can_send());
        client.command([0; 8], 1, &[0; 6], Direction::None, 0, Vec::new())
    };
    let first = read(&mut client);
    let second = read(&mut client);
    assert_eq!((first.word(24), second.word(24)), (1, 2));
    assert!(!client.can_send());
    assert_eq!(client.number_of(second.itt()), Some(2));
    // A NOP-Out for immediate delivery takes no number.
    assert_eq!(client.nop(true, Vec::new()).word(24), 3);

    let good = answer(opcode::SCSI_RESPONSE, second.itt(), 10, 3, 4);
    let mut late = good.clone();
    late.set_word(24, 12);
    assert!(matches!(
        client.clone().receive(&late),
        Err(ProtocolError::Number { what: "StatSN", .. })
    ));
    let mut back = good.clone();
    back.set_word(32, 1);
    assert!(client.clone().receive(&back).is_err());
    assert!(matches!(
        client.receive(&good),
        Ok(Incoming::Response(ScsiResponse { status: 0, .. }))
    ));
    assert!(client.can_send());
    let again = answer(opcode::SCSI_RESPONSE, second.itt(), 11, 3, 4);
    assert_eq!(
        client.receive(&again),
        Err(ProtocolError::Tag(second.itt()))
    );
}

#[test]
fn responses_with_sense_and_residual() {
    let mut client = logged_in();
    let command = client.command([0; 8], 1, &[0; 6], Direction::In, 36, Vec::new());
    let mut pdu = answer(opcode::SCSI_RESPONSE, command.itt(), 10, 2, 4);
    pdu.bhs[1] = 0x82;
    pdu.bhs[3] = 2;
    pdu.set_word(44, 36);
    pdu.set_data(vec![0, 3, 0x70, 0, 5]);
    match client.clone().receive(&pdu) {
        Ok(Incoming::Response(response)) => {
            assert_eq!((response.status, response.residual), (2, 36));
            assert_eq!(response.sense, [0x70, 0, 5]);
        }
        other => panic!("{other:?}"),
    }
    pdu.set_data(vec![0, 4, 0x70, 0, 5]);
    let error = client.receive(&pdu);
    assert_eq!(error, Err(ProtocolError::Field("sense length")));
}

#[test]
fn pings_are_answered_and_numbers_noted() {
    let mut client = logged_in();
    let mut ping = answer(opcode::NOP_IN, NO_TAG, 10, 1, 5);
    ping.set_word(20, 0x77);
    match client.receive(&ping).unwrap() {
        Incoming::Ping(pong) => {
            assert_eq!((pong.itt(), pong.word(20)), (NO_TAG, 0x77));
            assert_eq!((pong.bhs[0], pong.word(28)), (0x40, 10));
        }
        other => panic!("{other:?}"),
    }
    ping.set_word(20, NO_TAG);
    ping.set_word(32, 9);
    assert_eq!(client.receive(&ping), Ok(Incoming::Numbers));
    assert_eq!((client.exp_stat_sn, client.max_cmd_sn), (10, 9));
}

#[test]
fn streams() {
    let mut pdu = request::nop_out(1, true, b"seven b".to_vec());
    pdu.set_ahs(vec![1, 2, 3]);
    for (header, data) in [(false, false), (true, false), (false, true), (true, true)] {
        let digests = Digests { header, data };
        let bytes = digests.encode(&pdu);
        assert_eq!(bytes.len() % 4, 0);
        let mut arrived = Vec::new();
        for byte in &bytes {
            assert_eq!(digests.take(&mut arrived), Ok(None));
            arrived.push(*byte);
        }
        arrived.push(0xee);
        assert_eq!(digests.take(&mut arrived), Ok(Some(pdu.clone())));
        assert_eq!(arrived, [0xee]);
        let mut bent = bytes.clone();
        *bent.last_mut().unwrap() ^= 1;
        assert_eq!(digests.take(&mut bent).is_err(), data);
    }
    // RFC 7143 appendix A.4: 32 bytes of zeros have the digest aa 36 91 8a.
    assert_eq!(
        crc32c::crc32c(&[0; 32]).to_le_bytes(),
        [0xaa, 0x36, 0x91, 0x8a]
    );
}
