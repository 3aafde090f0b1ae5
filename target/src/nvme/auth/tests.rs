//! The controller against the host of the initiator crate, which is written apart from it; against bytes that another
//! implementation of the arithmetic gave; and against hosts that break the rules.

use std::sync::Arc;

use pagecast_core::nvme::Status;
use pagecast_initiator::nvme::auth::{AuthError, HostExchange, Offer};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

const SUBSYSTEM: &str = "nqn.2026-01.org.example:store";
const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:0b5b2c9e-7f0d-4a3e-9a66-0d9d3c4b5a69";

const KEY: &str = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:";
const KEY_SHA256: &str = "DHHC-1:01:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:";
const KEY_SHA384: &str =
    "DHHC-1:02:ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoOEhYaHiImKi4yNjo+QkZKTvGwQfg==:";
const KEY_SHA512: &str = "DHHC-1:03:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P4zODhA=:";

/// A host and the controller that it talks to.
struct Pair {
    host: HostExchange,
    controller: Exchange,
    random: Random,
}

impl Pair {
    fn new(hash: Hash, group: DhGroup, keys: (&str, Option<&str>)) -> Self {
        let credentials = credentials(keys, &[hash], &[group]);
        Self::with(credentials, keys, Offer::default())
    }

    fn with(credentials: Arc<Credentials>, keys: (&str, Option<&str>), offer: Offer) -> Self {
        let host = HostExchange::new(keys.0, keys.1, HOST, SUBSYSTEM, offer, 0x1234);
        Self {
            host: host.expect("good keys"),
            controller: Exchange::new(credentials, SUBSYSTEM, HOST),
            random: Random(7),
        }
    }

    /// Authentication Send.
    fn send(&mut self, message: &[u8]) {
        let random = &mut self.random;
        let taken = self
            .controller
            .receive(message, &mut |bytes| random.fill(bytes));
        assert_eq!(taken, Ok(()));
    }

    /// Authentication Receive, with as much room as Linux gives.
    fn fetch(&mut self) -> Vec<u8> {
        self.controller.send(4096).expect("a message is due")
    }

    fn negotiate(&mut self) -> Vec<u8> {
        self.send(&self.host.negotiate());
        self.fetch()
    }

    fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, AuthError> {
        let random = &mut self.random;
        self.host.answer(challenge, &mut |bytes| random.fill(bytes))
    }

    /// All of it, as far as both go along.
    fn run(&mut self) -> Result<(), AuthError> {
        let challenge = self.negotiate();
        let reply = self.answer(&challenge)?;
        self.send(&reply);
        assert_eq!(self.controller.progress(), Progress::Going);
        let success = self.fetch();
        if let Some(last) = self.host.finish(&success)? {
            assert_eq!(self.controller.progress(), Progress::Going);
            self.send(&last);
        }
        Ok(())
    }

    /// That the host is refused with `explanation`, and that nothing goes on after that.
    fn refused(&mut self, explanation: u8) {
        assert_eq!(self.controller.progress(), Progress::Going);
        let failure = self.fetch();
        assert_eq!((failure[..2].to_vec(), failure.len()), (vec![0, 0xf1], 8));
        assert_eq!(failure[6..], [1, explanation]);
        assert!(matches!(self.controller.progress(), Progress::Failed(_)));
        let after = self.controller.receive(&self.host.negotiate(), &mut |_| {});
        assert_eq!(after, Err(Status::COMMAND_SEQUENCE_ERROR));
        assert_eq!(
            self.controller.send(4096),
            Err(Status::COMMAND_SEQUENCE_ERROR)
        );
    }
}

/// Bytes that are different every time, and the same in every run.
struct Random(u64);

impl Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // xorshift64.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = self.0.to_le_bytes()[3];
        }
    }
}

fn credentials(
    keys: (&str, Option<&str>),
    hashes: &[Hash],
    groups: &[DhGroup],
) -> Arc<Credentials> {
    let key = |text: &str| Key::parse(text).expect("a good key");
    let (hashes, groups) = (hashes.to_vec(), groups.to_vec());
    Arc::new(Credentials::new(
        key(keys.0),
        keys.1.map(key),
        hashes,
        groups,
    ))
}

/// What a Python program computed with its own integers, hashes and HMAC.
struct Vector {
    hash: Hash,
    group: DhGroup,
    keys: (&'static str, Option<&'static str>),
    transaction: u16,
    /// SHA-256 of the whole message.
    challenge: &'static str,
    response: &'static str,
    /// The host's: 2^3000 mod p.
    public: &'static str,
    success: &'static str,
}

const VECTORS: [Vector; 3] = [
    Vector {
        hash: Hash::Sha512,
        group: DhGroup::Ffdhe2048,
        keys: (KEY_SHA256, Some(KEY_SHA384)),
        transaction: 0x1234,
        challenge: "a0d156845fb0480bd5b727acd777f0f4d7dd1d5a830f660d6512b1e650a0d209",
        response: "\
            3452926d240d5ca71b334754891292405d4df0bf8082ddd3546c1c166aa1bdb85eb2ec76ac97c35a5d87197b\
            ce826f8911616be65c74f2da0443131ee9ae25fe",
        public: "\
            449cbd41d6aabe3591f7c5bfea71baf327a3a1a014f679dad655e405f6be551ab935686cd28698fc73c4426a\
            22ae615397159d1fded86942e2176a45dab2ec96e32ac19adfb2c4a438408c271302fad35a002208dec6ed73\
            9635bdc16c5bb28dacec19de233092ae356fc81fb26b71db46c3bbfd7313b7a581c87c306d2fcbb724b174f3\
            922e72d8f8d4d934340c27a4ae342cccaae8944d9dc57b47a2fc746b3cfda9b27c393d1434d470e6382a704f\
            9aa3e580957366d110c2562dedd1094d446d168342f7fe50b181bad955dd4d7152451c0c5ef7cebb3e79f52a\
            4bea51ed224d6d2f60af709d19782ef7e7569d84721680dfbb351efecf5366088fea0fdb",
        success: "\
            01030000341240000100000000000000f972445f238d3d008b8757f18418b349087585640daae667e1967a41\
            747f7dbb9877d7ef14009e29555ea6375ec85735e3e56b06e81d193180eac50d40237d42",
    },
    Vector {
        hash: Hash::Sha256,
        group: DhGroup::Null,
        keys: (KEY, None),
        transaction: 7,
        challenge: "17f3897476f7be7559a4fd3eaf9c8bc4459d6ea5efc2f7945b9659b3aea925bb",
        response: "d0a94c1596cfd1cf89ea88ac0b959327b933ff8cec2ca9d54c754b10080b66be",
        public: "",
        success: "01030000070020000000000000000000",
    },
    Vector {
        hash: Hash::Sha384,
        group: DhGroup::Null,
        keys: (KEY_SHA512, Some(KEY)),
        transaction: 0xfffe,
        challenge: "6e1b740c307a2b2a46cf5ac4add62ca261bac68ff33f56b0d4c1a7e9c616f64a",
        response: "\
            5d4b6a189007ddf8f34dd2895b27d1734d3817b04f3aca95c9af650a2400f6155d06ed9074de6e1cac0da81c\
            11cd043b",
        public: "",
        success: "\
            01030000feff3000010000000000000001b2295455b3161f05b54f15081c4d91ba8815086171de5eb2c87d44\
            14d4026b077c40a0828d296d96397dd549b8c593",
    },
];

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[test]
fn messages_are_those_that_another_program_computes() {
    for vector in VECTORS {
        let credentials = credentials(vector.keys, &[vector.hash], &[vector.group]);
        let mut controller = Exchange::new(credentials, SUBSYSTEM, HOST);
        // Random bytes are 0, 1, 2 and so on.
        let mut drawn = 0;
        let mut entropy = |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = drawn;
                drawn = drawn.wrapping_add(1);
            }
        };
        let [low, high] = vector.transaction.to_le_bytes();
        let mut negotiate = vec![0, 0, 0, 0, low, high, 0, 1, 1, 0, 3, 6, 1, 2, 3];
        negotiate.resize(42, 0);
        negotiate.extend([0, 1, 2, 3, 4, 5]);
        negotiate.resize(72, 0);
        controller.receive(&negotiate, &mut entropy).expect("taken");
        let challenge = controller.send(4096).expect("due");
        assert_eq!(Sha256::digest(&challenge)[..], bytes(vector.challenge));

        let length = vector.hash.length();
        let public = bytes(vector.public);
        let mutual = vector.keys.1.is_some();
        let [dh0, dh1] = u16::try_from(public.len()).expect("short").to_le_bytes();
        let mut reply = vec![
            1,
            2,
            0,
            0,
            low,
            high,
            length as u8,
            0,
            mutual.into(),
            0,
            dh0,
            dh1,
        ];
        reply.extend(if mutual { [4, 3, 2, 1] } else { [0; 4] });
        reply.extend(bytes(vector.response));
        // C2.
        reply.extend((0..length).map(|i| if mutual { (200 + i) as u8 } else { 0 }));
        reply.extend(public);
        controller.receive(&reply, &mut entropy).expect("taken");
        let success = controller.send(4096).expect("due");
        assert_eq!(success, bytes(vector.success));
    }
}

#[test]
fn every_hash_goes_with_every_group() {
    let keys = [
        (KEY, Some(KEY_SHA384)),
        (KEY_SHA256, None),
        (KEY_SHA512, Some(KEY_SHA256)),
    ];
    for (hash, keys) in Hash::ALL.into_iter().zip(keys) {
        for group in DhGroup::ALL {
            let mut pair = Pair::new(hash, group, keys);
            assert_eq!(pair.run(), Ok(()), "{hash} {group}");
            assert_eq!(pair.controller.progress(), Progress::Authenticated);
        }
    }
}

#[test]
fn the_strongest_that_both_want_is_chosen() {
    use DhGroup::*;
    use Hash::*;
    let chosen = |hashes: &[Hash], groups: &[DhGroup], offer: (&[u8], &[u8])| {
        let credentials = credentials((KEY, None), hashes, groups);
        let offer = Offer {
            hashes: offer.0.to_vec(),
            groups: offer.1.to_vec(),
        };
        let challenge = Pair::with(credentials, (KEY, None), offer).negotiate();
        // HashID and DHgID, or the explanation of a failure.
        if challenge[1] == 1 {
            Ok((challenge[8], challenge[9]))
        } else {
            Err(challenge[7])
        }
    };
    assert_eq!(
        chosen(&Hash::ALL, &DhGroup::ALL, (&[1, 2, 3], &[0, 1])),
        Ok((3, 1))
    );
    assert_eq!(
        chosen(&Hash::ALL, &DhGroup::ALL, (&[2, 1], &[0, 9])),
        Ok((2, 0))
    );
    assert_eq!(
        chosen(&[Sha512, Sha256], &[Null, Ffdhe2048], (&[1, 2], &[5, 1, 0])),
        Ok((1, 1))
    );
    assert_eq!(
        chosen(&[Sha384], &DhGroup::ALL, (&[1, 3, 4, 0], &[0])),
        Err(4)
    );
    assert_eq!(chosen(&Hash::ALL, &DhGroup::ALL, (&[], &[0])), Err(4));
    assert_eq!(
        chosen(&Hash::ALL, &[Ffdhe8192], (&[1], &[0, 1, 2, 3, 4, 6])),
        Err(5)
    );
    assert_eq!(chosen(&Hash::ALL, &DhGroup::ALL, (&[1], &[])), Err(5));
}

#[test]
fn who_does_not_know_the_key_is_refused() {
    for group in [DhGroup::Null, DhGroup::Ffdhe2048] {
        for wrong in [KEY_SHA256, KEY_SHA384] {
            let credentials = credentials((KEY, None), &[Hash::Sha256], &[group]);
            let mut pair = Pair::with(credentials, (wrong, None), Offer::default());
            let challenge = pair.negotiate();
            let reply = pair.answer(&challenge).expect("a reply");
            pair.send(&reply);
            pair.refused(1);
            let told = Progress::Failed("the host does not know the key");
            assert_eq!(pair.controller.progress(), told);
        }
    }
}

#[test]
fn names_are_part_of_the_proof() {
    for (subsystem, host) in [(SUBSYSTEM, "nqn.other"), ("nqn.other", HOST)] {
        let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
        let theirs = HostExchange::new(KEY, None, host, subsystem, Offer::default(), 0x1234);
        pair.host = theirs.expect("good keys");
        let refused = AuthError::Refused {
            reason: 1,
            explanation: 1,
        };
        assert_eq!(pair.run(), Err(refused));
    }
}

#[test]
fn a_host_that_does_not_believe_us_gives_up() {
    let credentials = credentials((KEY, Some(KEY_SHA384)), &Hash::ALL, &[DhGroup::Null]);
    let mut pair = Pair::with(credentials, (KEY, Some(KEY_SHA512)), Offer::default());
    assert_eq!(pair.run(), Err(AuthError::NotAuthentic));
    assert_eq!(pair.controller.progress(), Progress::Going);
    let give_up = pair.host.give_up(1);
    pair.send(&give_up);
    let told = Progress::Failed("the host gave up: we did not prove who we are");
    assert_eq!(pair.controller.progress(), told);
    assert_eq!(
        pair.controller.send(4096),
        Err(Status::COMMAND_SEQUENCE_ERROR)
    );
}

#[test]
fn a_host_may_give_up_at_the_challenge() {
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
    pair.negotiate();
    let give_up = pair.host.give_up(4);
    pair.send(&give_up);
    let told = Progress::Failed("the host gave up: it cannot use what was chosen");
    assert_eq!(pair.controller.progress(), told);
}

#[test]
fn without_a_controller_key_nobody_may_ask_for_it() {
    let credentials = credentials((KEY, None), &Hash::ALL, &[DhGroup::Null]);
    let mut pair = Pair::with(credentials, (KEY, Some(KEY_SHA384)), Offer::default());
    let challenge = pair.negotiate();
    let reply = pair.answer(&challenge).expect("a reply");
    pair.send(&reply);
    pair.refused(1);
}

#[test]
fn negotiations_that_will_not_do() {
    let refused = |change: &dyn Fn(&mut Vec<u8>), explanation| {
        let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
        let mut message = pair.host.negotiate();
        change(&mut message);
        pair.send(&message);
        pair.refused(explanation);
    };
    // AUTHID: another protocol.
    refused(&|m| m[8] = 2, 2);
    refused(
        &|m| {
            m[7] = 0;
            m.truncate(8);
        },
        2,
    );
    // SC_C: a secure channel.
    refused(&|m| m[6] = 1, 3);
    refused(&|m| m[6] = 2, 3);
    // HALEN and DHLEN beyond their lists, and NAPD beyond the message.
    refused(&|m| m[10] = 31, 6);
    refused(&|m| m[11] = 255, 6);
    refused(&|m| m[7] = 2, 6);
    refused(&|m| m[7] = 0, 6);
    // No such message.
    refused(&|m| m[0] = 2, 7);
    refused(&|m| m[1] = 9, 7);

    // Our protocol need not be the first that is offered.
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
    let mut message = pair.host.negotiate();
    message.splice(8..8, [9; 64]);
    message[7] = 2;
    pair.send(&message);
    let challenge = pair.fetch();
    let reply = pair.answer(&challenge).expect("a reply");
    pair.send(&reply);
    let success = pair.fetch();
    assert_eq!(pair.host.finish(&success), Ok(None));
}

#[test]
fn messages_have_their_length_to_the_byte() {
    let keys = (KEY, Some(KEY_SHA384));
    let start = || Pair::new(Hash::Sha256, DhGroup::Null, keys);
    let lengths = |length: usize| (0..length).chain([length + 1, length + 64]);

    let message = start().host.negotiate();
    for length in lengths(message.len()) {
        let mut pair = start();
        let mut message = message.clone();
        message.resize(length, 0);
        pair.send(&message);
        pair.refused(6);
    }

    for length in lengths(16 + 2 * 32) {
        let mut pair = start();
        let challenge = pair.negotiate();
        let mut message = pair.answer(&challenge).expect("a reply");
        message.resize(length, 0);
        pair.send(&message);
        pair.refused(6);
    }

    for length in lengths(16) {
        let mut pair = start();
        let challenge = pair.negotiate();
        let reply = pair.answer(&challenge).expect("a reply");
        pair.send(&reply);
        let success = pair.fetch();
        let last = pair.host.finish(&success).expect("authentic");
        let mut message = last.expect("mutual");
        message.resize(length, 0);
        pair.send(&message);
        pair.refused(6);
    }
}

#[test]
fn every_byte_of_a_reply_matters() {
    let keys = (KEY, Some(KEY_SHA384));
    for at in 0..16 + 2 * 32 {
        let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, keys);
        let challenge = pair.negotiate();
        let mut reply = pair.answer(&challenge).expect("a reply");
        reply[at] ^= 0x40;
        pair.send(&reply);
        let answer = pair.fetch();
        let expected = match at {
            // Reserved.
            2 | 3 | 7 | 9 => [3, 0],
            // S2 and C2: our response is to another challenge.
            12..16 | 48.. => [3, 0],
            0 | 1 => [0xf1, 7],
            16..48 => [0xf1, 1],
            _ => [0xf1, 6],
        };
        let explanation = if answer[1] == 0xf1 { answer[7] } else { 0 };
        assert_eq!([answer[1], explanation], expected, "byte {at}");
        let believed = pair.host.finish(&answer).is_ok();
        assert_eq!(believed, matches!(at, 2 | 3 | 7 | 9), "byte {at}");
    }
}

#[test]
fn challenges_that_are_none() {
    for (valid, sequence) in [(1, 0), (2, 5), (255, 5)] {
        let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, Some(KEY_SHA384)));
        let challenge = pair.negotiate();
        let mut reply = pair.answer(&challenge).expect("a reply");
        reply[8] = valid;
        reply[12..16].copy_from_slice(&[sequence, 0, 0, 0]);
        pair.send(&reply);
        pair.refused(6);
    }
}

#[test]
fn messages_have_an_order() {
    let keys = (KEY, Some(KEY_SHA384));
    let start = || Pair::new(Hash::Sha256, DhGroup::Null, keys);
    let success2 = {
        let mut message = vec![1, 4, 0, 0, 0x34, 0x12];
        message.resize(16, 0);
        message
    };
    let mut old = start();
    let challenge = old.negotiate();
    let reply = old.answer(&challenge).expect("a reply");

    // Nothing was negotiated yet.
    for message in [&reply, &success2, &old.host.give_up(1)] {
        let mut pair = start();
        assert_eq!(
            pair.controller.send(4096),
            Err(Status::COMMAND_SEQUENCE_ERROR)
        );
        pair.send(message);
        pair.refused(7);
    }
    // The challenge was not fetched.
    let mut pair = start();
    pair.send(&pair.host.negotiate());
    pair.send(&reply);
    pair.refused(7);
    // The challenge was not answered.
    for message in [&success2, &pair.host.negotiate()] {
        let mut pair = start();
        pair.negotiate();
        pair.send(message);
        pair.refused(7);
    }
    // Our response was not fetched, or not judged.
    for fetched in [false, true] {
        let mut pair = start();
        let challenge = pair.negotiate();
        let reply = pair.answer(&challenge).expect("a reply");
        pair.send(&reply);
        if fetched {
            pair.fetch();
            pair.send(&reply);
        } else {
            pair.send(&success2);
        }
        pair.refused(7);
    }
    // The host does not ask who we are, and was not told that it is in.
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
    let challenge = pair.negotiate();
    let reply = pair.answer(&challenge).expect("a reply");
    pair.send(&reply);
    pair.send(&success2);
    pair.refused(7);
}

#[test]
fn the_first_failure_is_the_one_that_is_told() {
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
    let mut message = pair.host.negotiate();
    message[6] = 1;
    pair.send(&message);
    pair.send(&pair.host.negotiate());
    pair.send(&[]);
    pair.refused(3);
}

#[test]
fn messages_are_of_one_transaction() {
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
    let challenge = pair.negotiate();
    let mut reply = pair.answer(&challenge).expect("a reply");
    reply[5] ^= 1;
    pair.send(&reply);
    pair.refused(6);
}

#[test]
fn replies_cannot_be_replayed() {
    for group in [DhGroup::Null, DhGroup::Ffdhe2048] {
        let credentials = credentials((KEY, None), &[Hash::Sha256], &[group]);
        let mut first = Pair::with(credentials.clone(), (KEY, None), Offer::default());
        let challenge = first.negotiate();
        let reply = first.answer(&challenge).expect("a reply");
        first.send(&reply);
        first.fetch();
        assert_eq!(first.controller.progress(), Progress::Authenticated);

        // Sequence numbers alone make a difference: the random bytes are the same again.
        let mut second = Pair::with(credentials, (KEY, None), Offer::default());
        let again = second.negotiate();
        assert_eq!(challenge[16..48], again[16..48]);
        let sequence = |message: &[u8]| {
            message[12..16]
                .first_chunk()
                .copied()
                .map(u32::from_le_bytes)
        };
        assert_eq!(sequence(&challenge).map(|s| s + 1), sequence(&again));
        second.send(&reply);
        second.refused(1);
    }
}

#[test]
fn reflections_are_refused() {
    let keys = (KEY, Some(KEY_SHA384));
    // Our challenge.
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, keys);
    let challenge = pair.negotiate();
    let mut reply = pair.answer(&challenge).expect("a reply");
    reply[48..80].copy_from_slice(&challenge[16..48]);
    pair.send(&reply);
    pair.refused(1);
    // Our Diffie-Hellman value.
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Ffdhe2048, keys);
    let challenge = pair.negotiate();
    let mut reply = pair.answer(&challenge).expect("a reply");
    reply[80..].copy_from_slice(&challenge[48..]);
    pair.send(&reply);
    pair.refused(1);
}

#[test]
fn degenerate_public_values_are_refused() {
    let prime = bytes(primes::FFDHE2048);
    let mut before = prime.clone();
    before[255] -= 1;
    let with = |last: u8| [vec![0; 255], vec![last]].concat();
    let long = [vec![0], with(9)].concat();
    for public in [
        vec![],
        vec![1],
        with(0),
        with(1),
        before,
        prime,
        vec![255; 256],
        long,
    ] {
        let mut pair = Pair::new(Hash::Sha256, DhGroup::Ffdhe2048, (KEY, None));
        let challenge = pair.negotiate();
        let mut reply = pair.answer(&challenge).expect("a reply");
        reply.truncate(80);
        reply.extend(&public);
        reply[10..12].copy_from_slice(&(public.len() as u16).to_le_bytes());
        pair.send(&reply);
        pair.refused(6);
    }
    // No group, no value.
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
    let challenge = pair.negotiate();
    let mut reply = pair.answer(&challenge).expect("a reply");
    reply.push(9);
    reply[10] = 1;
    pair.send(&reply);
    pair.refused(6);
}

#[test]
fn a_message_waits_for_room() {
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
    pair.send(&pair.host.negotiate());
    for room in [0, 8, 47] {
        assert_eq!(pair.controller.send(room), Err(Status::INVALID_FIELD));
    }
    assert_eq!(
        pair.controller.send(48).map(|message| message.len()),
        Ok(48)
    );
}

#[test]
fn nothing_secret_is_printed() {
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, Some(KEY_SHA384)));
    assert_eq!(pair.run(), Ok(()));
    let printed = format!("{:?}", pair.controller);
    assert_eq!(
        printed,
        format!("Exchange {{ host: {HOST:?}, progress: Authenticated, .. }}")
    );
}

proptest! {
    /// Whatever comes in whatever order, with headers that are often right: no panic, and nobody gets in.
    #[test]
    fn no_messages_panic(
        messages in prop::collection::vec(
            (prop::sample::select(vec![[0, 0], [1, 2], [1, 4], [0, 0xf0], [0, 0xf1]]),
             prop::collection::vec(any::<u8>(), 0..200), any::<bool>(), any::<bool>()),
            0..6,
        ),
    ) {
        let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
        for ([kind, id], rest, negotiate, fetch) in messages {
            let mut message = vec![kind, id, 0, 0, 0x34, 0x12];
            message.extend(rest);
            if negotiate {
                message = pair.host.negotiate();
            }
            let random = &mut pair.random;
            let _ = pair.controller.receive(&message, &mut |bytes| random.fill(bytes));
            if fetch {
                let _ = pair.controller.send(4096);
            }
            prop_assert_ne!(pair.controller.progress(), Progress::Authenticated);
        }
    }

    /// A reply with anything in its fields.
    #[test]
    fn no_reply_panics(
        header in any::<[u8; 16]>(),
        rest in prop::collection::vec(any::<u8>(), 0..400),
        small in any::<bool>(),
    ) {
        let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, None));
        pair.negotiate();
        let mut message = [&header[..], &rest].concat();
        message[..6].copy_from_slice(&[1, 2, 0, 0, 0x34, 0x12]);
        if small {
            message[6] = 32;
            message[8] &= 1;
            message[10..12].copy_from_slice(&[0, 0]);
            message.resize(80, 0);
        }
        pair.send(&message);
        prop_assert_eq!(pair.fetch()[1], 0xf1);
    }
}
