//! Hosts that break the rules, by accident or on purpose.

use proptest::prelude::*;

use super::*;

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
