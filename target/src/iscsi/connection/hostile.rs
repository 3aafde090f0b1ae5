//! Whatever an initiator sends, in whatever order: nothing panics, and what it can make us keep is bounded.

use proptest::prelude::*;

use super::testing::*;
use super::window::SPARE;
use super::*;
use crate::iscsi::pdu::ManagementResponse;

/// What happens next.
#[derive(Clone, Debug)]
enum Action {
    /// A PDU arrives.
    Send(Frame),
    /// The same, but with the number that comes next.
    SendInOrder(Frame),
    /// The same again and again.
    Flood(Frame),
    /// A task ends with a response.
    Respond,
    /// A task ends without.
    Abort,
    /// A PDU goes out, if there is one.
    Emit,
    /// Seconds pass.
    Tick(u64),
    /// The LUN map changes.
    LunsChanged,
    /// The target is about to stop.
    Stop,
}

fn frame() -> impl Strategy<Value = Frame> {
    let opcode = prop_oneof![
        8 => prop::sample::select(vec![0x00_u8, 0x01, 0x02, 0x04, 0x05, 0x06, 0x10]),
        1 => any::<u8>(),
    ];
    let flags = prop_oneof![
        prop::sample::select(vec![0x80_u8, 0x81, 0xc0, 0xa0, 0x20, 0x40, 0x00]),
        any::<u8>()
    ];
    let tag = || prop_oneof![0..4_u32, Just(RESERVED_TAG)];
    let data = prop_oneof![
        6 => Just(Vec::new()),
        3 => prop::collection::vec(any::<u8>(), 0..32),
        1 => (0..70_000_usize).prop_map(|length| vec![b'a'; length]),
        3 => Just(b"SendTargets=All\0".to_vec()),
    ];
    let ahs = prop_oneof![
        6 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|mut ahs| {
            ahs.truncate(ahs.len() / 4 * 4);
            ahs
        }),
    ];
    let fields = prop::array::uniform3(any::<u32>());
    (
        (opcode, any::<bool>(), flags),
        (tag(), tag(), 96..110_u32),
        (data, ahs, fields),
    )
        .prop_map(|((opcode, now, flags), (itt, second, number), rest)| {
            let (data, ahs, [third, fourth, fifth]) = rest;
            let opcode = if now { opcode | NOW } else { opcode };
            Frame {
                ahs,
                ..Frame::new(opcode, flags, itt)
                    .word(20, second)
                    .word(24, number)
                    .word(36, third)
                    .word(40, fourth)
                    .word(44, fifth)
                    .data(&data)
            }
        })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => frame().prop_map(Action::Send),
        8 => frame().prop_map(Action::SendInOrder),
        1 => frame().prop_map(Action::Flood),
        2 => Just(Action::Respond),
        1 => Just(Action::Abort),
        3 => Just(Action::Emit),
        1 => (0..20_u64).prop_map(Action::Tick),
        1 => Just(Action::LunsChanged),
    ]
}

/// Plays until the connection would be dropped, and checks after each step what is kept.
fn play(rig: &mut Rig, actions: Vec<Action>) -> Result<(), TestCaseError> {
    // Tasks that the shard works on, with how they are answered.
    let mut tasks: Vec<(u32, bool)> = Vec::new();
    let mut stat_sn = None;
    let repeated = |action| match action {
        Action::Flood(frame) => vec![Action::SendInOrder(frame); 100],
        other => vec![other],
    };
    for action in actions.into_iter().flat_map(repeated) {
        match action {
            Action::Send(_) | Action::SendInOrder(_) => {
                let frame = match action {
                    Action::SendInOrder(frame) => {
                        let next = rig.connection.window.exp_cmd_sn();
                        frame.word(24, next)
                    }
                    Action::Send(frame) => frame,
                    _ => continue,
                };
                let itt = frame.pdu().itt();
                match rig.receive(&frame) {
                    Event::Command(command) | Event::Refused(command, _) => {
                        prop_assert_eq!(command.itt, itt);
                        prop_assert!(command.whole_cdb(&mut [0; 260]).len() <= 260);
                        tasks.push((itt, false));
                    }
                    Event::Management(_) => tasks.push((itt, true)),
                    Event::Violation(_) => return Ok(()),
                    Event::Admit(_) => rig.connection.admitted(1),
                    Event::Consumed | Event::DataOut(_) | Event::LoginFailed(_) | Event::Logout => {
                    }
                }
            }
            Action::Respond => {
                if let Some((itt, management)) = tasks.pop() {
                    let mut out = [0; tasks::MAX_RESPONSE];
                    let length = if management {
                        let response = ManagementResponse::Complete;
                        rig.connection.management_response(&mut out, itt, response)
                    } else {
                        rig.connection.scsi_response(&mut out, itt, &Outcome::GOOD)
                    };
                    prop_assert_eq!(length, 48);
                    in_order(&mut stat_sn, &Sent::of(&out[..length], Then::GoOn))?;
                }
            }
            Action::Abort => {
                if tasks.pop().is_some() {
                    rig.connection.task_ended();
                }
            }
            Action::Emit => {
                if rig.connection.has_control() {
                    let sent = rig.sent();
                    prop_assert!(sent.data.len() <= rig.connection.send_limit().max(8192));
                    in_order(&mut stat_sn, &sent)?;
                    if sent.then == Then::Close {
                        prop_assert!(!rig.connection.has_control());
                        return Ok(());
                    }
                }
            }
            Action::Tick(seconds) => {
                rig.now += Duration::from_secs(seconds);
                if rig.connection.tick(rig.now).is_some() {
                    return Ok(());
                }
            }
            Action::LunsChanged => rig.connection.luns_changed(),
            // Taken apart above.
            Action::Flood(_) => {}
            Action::Stop => rig.connection.drop_session(),
        }
        bounded(rig, tasks.len())?;
    }
    Ok(())
}

/// StatSN goes up by one with each PDU that has one of its own.
fn in_order(last: &mut Option<u32>, sent: &Sent) -> Result<(), TestCaseError> {
    let own = !(sent.opcode() == opcode::NOP_IN && sent.itt() == RESERVED_TAG);
    if let Some(last) = *last {
        prop_assert_eq!(sent.stat_sn(), last + 1);
    }
    *last = Some(sent.stat_sn().wrapping_sub(u32::from(!own)));
    Ok(())
}

fn bounded(rig: &Rig, tasks: usize) -> Result<(), TestCaseError> {
    let connection = &rig.connection;
    let most = LIMITS.commands + SPARE;
    prop_assert!(connection.in_service() <= most);
    prop_assert!(connection.in_service() as usize >= tasks);
    let (messages, bytes) = connection.outbox.kept();
    prop_assert!(messages <= (most + MAX_REJECTS) as usize + 4);
    // Pings, one of which may be long, and one text; or one login response.
    prop_assert!(bytes <= (64 << 10) + 8192);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn normal_session(actions in prop::collection::vec(action(), 0..80)) {
        play(&mut Rig::normal("InitialR2T=No\0MaxRecvDataSegmentLength=65536\0"), actions)?;
    }

    #[test]
    fn normal_session_on_iser(actions in prop::collection::vec(action(), 0..80)) {
        play(&mut Rig::iser(), actions)?;
    }

    #[test]
    fn discovery_session(actions in prop::collection::vec(action(), 0..80)) {
        play(&mut Rig::discovery(Datamover::Tcp, 100), actions)?;
    }

    #[test]
    fn the_end(
        before in prop::collection::vec(action(), 0..20),
        after in prop::collection::vec(action(), 0..20),
    ) {
        let actions = before.into_iter().chain([Action::Stop]).chain(after).collect();
        play(&mut Rig::normal(""), actions)?;
    }

    /// Bytes at random, before the login and after it, as a datamover for messages would have them.
    #[test]
    fn arbitrary_messages(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        logged_in in any::<bool>(),
    ) {
        let mut rig = if logged_in { Rig::normal("") } else { Rig::new(Datamover::Tcp, 1) };
        for message in messages {
            let Ok(pdu) = Pdu::of_message(&message) else { continue };
            prop_assert!(pdu.ahs.len() + pdu.data.len() + 48 <= message.len());
            let now = rig.now;
            if let Event::Violation(_) = rig.connection.receive(pdu, now, &mut |bytes| bytes.fill(1)) {
                break;
            }
            bounded(&rig, 0)?;
        }
    }

    #[test]
    fn logins_at_random(
        texts in prop::collection::vec(("[A-Za-z=,0:.\0]{0,60}", any::<u8>()), 1..8),
    ) {
        let mut rig = Rig::new(Datamover::Tcp, 1);
        for (text, flags) in texts {
            let mut frame = rig.login(&format!("{text}\0"));
            frame.bhs[1] = flags;
            match rig.receive(&frame) {
                Event::Consumed => {}
                Event::Admit(_) => rig.connection.admitted(1),
                Event::LoginFailed(_) | Event::Violation(_) => break,
                event => prop_assert!(false, "{:?}", event),
            }
            while rig.connection.has_control() {
                rig.sent();
            }
            bounded(&rig, 0)?;
        }
    }
}
