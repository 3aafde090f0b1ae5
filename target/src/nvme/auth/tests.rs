//! The controller against the host of the initiator crate, which is written apart from it; against bytes that another
//! implementation of the arithmetic gave.

use std::sync::Arc;

use pagecast_core::nvme::Status;
use pagecast_initiator::nvme::auth::{AuthError, HostExchange, Offer};
use sha2::{Digest, Sha256};

use super::*;

mod hostile;

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
fn nothing_secret_is_printed() {
    let mut pair = Pair::new(Hash::Sha256, DhGroup::Null, (KEY, Some(KEY_SHA384)));
    assert_eq!(pair.run(), Ok(()));
    let printed = format!("{:?}", pair.controller);
    assert_eq!(
        printed,
        format!("Exchange {{ host: {HOST:?}, progress: Authenticated, .. }}")
    );
}
