//! The protocol code against an initiator that was written without it, over the simulated fabric.

mod mini;

use std::net::SocketAddr;
use std::sync::Arc;

use pagecast_initiator::{
    ChannelId, ChannelState, Command, Data, Event, Format, Initiator, InitiatorError, LoginOptions,
    LoginRejection, Reply, Task, scsi,
};
use pagecast_rdma::fabric::Fabric;
use pagecast_rdma::sim::{SimFabric, SimNet};

use self::mini::{DISK, HANG, Mini, SERVICE};
use super::login::{LoginSettings, RejectReason};
use super::names::PortId;

const INITIATOR: [u8; 16] = [0xa1; 16];
const TARGET: [u8; 16] = [0xb2; 16];

struct World {
    net: SimNet,
    target: Mini,
    initiator: Initiator,
    fabrics: [Arc<SimFabric>; 2],
}

impl World {
    fn new(seed: u64, credits: u32) -> Self {
        let net = SimNet::new(seed);
        let fabrics = [("target", "10.0.0.1"), ("initiator", "10.0.0.2")]
            .map(|(name, address)| net.fabric(name, &[address.parse().unwrap()]).unwrap());
        let settings = LoginSettings::new(PortId(TARGET));
        let [ref one, ref two] = fabrics;
        let mut initiator = Initiator::new(&**two as &dyn Fabric).unwrap();
        initiator.set_patience(10_000);
        Self {
            target: Mini::new(&**one, settings, credits),
            initiator,
            net,
            fabrics,
        }
    }

    fn logged_in(seed: u64, credits: u32) -> (Self, ChannelId) {
        let mut world = Self::new(seed, credits);
        let channel = world.log_in(LoginOptions::new(INITIATOR, TARGET)).unwrap();
        (world, channel)
    }

    fn address() -> SocketAddr {
        "10.0.0.1:5555".parse().unwrap()
    }

    fn log_in(&mut self, options: LoginOptions) -> Result<ChannelId, InitiatorError> {
        let Self {
            net,
            target,
            initiator,
            ..
        } = self;
        initiator.log_in(Self::address(), options, || pump(net, target))
    }

    fn execute(&mut self, channel: ChannelId, command: &Command) -> Reply {
        let Self {
            net,
            target,
            initiator,
            ..
        } = self;
        initiator
            .execute(channel, command, || pump(net, target))
            .unwrap()
    }

    fn task(&mut self, channel: ChannelId, task: Task) -> Option<u8> {
        let Self {
            net,
            target,
            initiator,
            ..
        } = self;
        initiator
            .execute_task(channel, task, || pump(net, target))
            .unwrap()
    }

    fn reply(&mut self, channel: ChannelId, tag: u64) -> Reply {
        let Self {
            net,
            target,
            initiator,
            ..
        } = self;
        initiator
            .wait_reply(channel, tag, || pump(net, target))
            .unwrap()
    }

    fn over(&mut self, channel: ChannelId) -> ChannelState {
        let Self {
            net,
            target,
            initiator,
            ..
        } = self;
        initiator.wait_over(channel, || pump(net, target)).unwrap()
    }

    /// Until nothing moves any more.
    fn settle(&mut self) {
        let mut idle = 0;
        while idle < 3 {
            pump(&self.net, &mut self.target);
            let steps = self.net.run_until_quiet();
            let moved = self.initiator.turn().unwrap() || steps > 0;
            idle = if moved { 0 } else { idle + 1 };
        }
    }
}

fn pump(net: &SimNet, target: &mut Mini) {
    net.step();
    target.turn();
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|i| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ seed)
        .collect()
}

#[test]
fn data_in_every_format() {
    for seed in 0..20 {
        let (mut world, channel) = World::logged_in(seed, 16);
        let login = world.initiator.login(channel).unwrap();
        assert!(login.immediate);
        assert_eq!((login.multichannel, login.request_limit), (0, 16));
        assert_eq!(login.max_ti_iu_length, 8260);

        let out = world.initiator.allocate(channel, 64 * 512).unwrap();
        let into = world.initiator.allocate(channel, 64 * 512).unwrap();
        let formats = [
            (out.whole().unwrap(), into.whole().unwrap(), Format::Direct),
            (
                out.pieces(1000).unwrap(),
                into.pieces(4096).unwrap(),
                Format::Indirect,
            ),
            (
                out.pieces(300).unwrap(),
                into.pieces(5000).unwrap(),
                Format::External(2),
            ),
            (
                out.pieces(4096).unwrap(),
                into.pieces(512).unwrap(),
                Format::External(0),
            ),
        ];
        for (turn, (from, to, format)) in formats.into_iter().enumerate() {
            let lba = 100 * turn as u64;
            let bytes = pattern(64 * 512, turn as u8);
            out.write(0, &bytes).unwrap();
            into.fill(0).unwrap();
            let write = Command::new(0, scsi::write16(lba, 64, false), Data::Out(from, format));
            assert!(world.execute(channel, &write).is_good());
            let at = lba as usize * 512;
            assert_eq!(world.target.disk()[at..at + bytes.len()], bytes);
            let read = Command::new(0, scsi::read16(lba, 64), Data::In(to, format));
            let reply = world.execute(channel, &read);
            assert!(reply.is_good());
            assert_eq!(reply.data(), bytes);
        }

        let bytes = pattern(8192, 77);
        let data = Data::Immediate(bytes.clone());
        let write = Command::new(0, scsi::write16(1000, 16, false), data);
        assert!(world.execute(channel, &write).is_good());
        assert_eq!(world.target.disk()[512_000..520_192], bytes);
        assert_eq!(world.initiator.request_limit(channel), 16);
        assert_eq!(world.initiator.take_events(channel), []);
    }
}

#[test]
fn many_at_a_time() {
    let (mut world, channel) = World::logged_in(3, 8);
    let buffer = world.initiator.allocate(channel, DISK).unwrap();
    let bytes = pattern(DISK, 5);
    buffer.write(0, &bytes).unwrap();
    let mut waiting = Vec::new();
    let mut next = 0;
    while next < DISK || !waiting.is_empty() {
        if next < DISK && world.initiator.can_send(channel) {
            let piece = buffer.piece(next, 4096).unwrap();
            let cdb = scsi::write16(next as u64 / 512, 8, false);
            let data = Data::Out(vec![piece], Format::Direct);
            let tag = world
                .initiator
                .send(channel, &Command::new(0, cdb, data))
                .unwrap();
            waiting.push(tag);
            next += 4096;
            continue;
        }
        assert!(waiting.len() <= 7, "one credit is for task management");
        pump(&world.net, &mut world.target);
        world.initiator.turn().unwrap();
        while let Some(reply) = world.initiator.next_reply(channel) {
            assert!(reply.is_good());
            waiting.retain(|&tag| tag != reply.response.tag);
        }
    }
    assert_eq!(world.target.disk(), bytes);
    assert_eq!(world.initiator.request_limit(channel), 8);
}

#[test]
fn residuals_and_sense() {
    let (mut world, channel) = World::logged_in(4, 8);
    let buffer = world.initiator.allocate(channel, 1024).unwrap();
    let whole = || Data::In(buffer.whole().unwrap(), Format::Direct);
    let less = world.execute(channel, &Command::new(0, scsi::read16(0, 1), whole()));
    assert_eq!((less.status(), less.response.residual_in), (0, 512));
    assert_eq!(less.data().len(), 512);
    let more = world.execute(channel, &Command::new(0, scsi::read16(0, 3), whole()));
    assert_eq!((more.status(), more.response.residual_in), (0, -512));
    let unknown = world.execute(channel, &Command::new(0, vec![0xee; 32], whole()));
    assert_eq!((unknown.status(), unknown.response.residual_in), (2, 1024));
    assert_eq!(unknown.sense(), Some((5, 0x20, 0)));
}

#[test]
fn refused_logins() {
    let mut world = World::new(5, 8);
    let good = LoginOptions::new(INITIATOR, TARGET);
    let refused = |world: &mut World, options: LoginOptions| match world.log_in(options) {
        Err(InitiatorError::NotUp(ChannelState::Refused { reason, rejection })) => {
            assert_eq!(reason, 28);
            rejection.map(|LoginRejection { tag, reason }| (tag, reason))
        }
        other => panic!("not refused: {other:?}"),
    };
    let mut elsewhere = LoginOptions::new(INITIATOR, INITIATOR);
    elsewhere.request.tag = 0x0102_0304_0506_0708;
    assert_eq!(
        refused(&mut world, elsewhere),
        Some((0x0102_0304_0506_0708, 0x0001_0003))
    );
    let mut long = good.clone();
    long.request.request_length = 8277;
    assert_eq!(refused(&mut world, long), Some((0, 0x0001_0002)));
    let mut formats = good.clone();
    formats.request.buffer_formats = 0;
    assert_eq!(refused(&mut world, formats), Some((0, 0x0001_0004)));
    let mut short = good.clone();
    short.private_data = Some(vec![0; 20]);
    // The connection manager pads it, with zeros that ask for no length at all.
    assert_eq!(refused(&mut world, short), Some((0, 0x0001_0002)));
    world.target.refuse = Some(RejectReason::ChannelLimitReached);
    assert_eq!(refused(&mut world, good.clone()), Some((0, 0x0001_0006)));
    world.target.refuse = None;
    assert!(world.log_in(good).is_ok());
    assert_eq!(world.target.nexuses.iter().count(), 1);
}

#[test]
fn login_over_the_native_connection_manager() {
    let mut world = World::new(14, 8);
    let [target, initiator] = &world.fabrics;
    let mut manager = initiator.sim_connection_manager().unwrap();
    let connection = manager.resolve_service(target.gid(), SERVICE).unwrap();
    world.initiator = Initiator::over(Box::new(manager));
    let mut options = LoginOptions::new(INITIATOR, TARGET);
    options.native = true;
    let channel = world.initiator.attach(connection, options);
    world.settle();
    assert!(world.initiator.login(channel).unwrap().immediate);
    let ready = Command::new(0, scsi::test_unit_ready(), Data::None);
    assert!(world.execute(channel, &ready).is_good());
}

#[test]
fn a_new_login_keeps_or_ends_the_other_channels() {
    let (mut world, first) = World::logged_in(6, 8);
    let options = LoginOptions::new(INITIATOR, TARGET).without_immediate_data();
    let second = world.log_in(options.clone().multichannel()).unwrap();
    let login = world.initiator.login(second).unwrap();
    assert_eq!((login.multichannel, login.immediate), (2, false));
    let ready = Command::new(0, scsi::test_unit_ready(), Data::None);
    assert!(world.execute(first, &ready).is_good());
    assert!(world.execute(second, &ready).is_good());

    let third = world.log_in(options).unwrap();
    assert_eq!(world.initiator.login(third).unwrap().multichannel, 1);
    assert!(matches!(world.over(first), ChannelState::Closed(_)));
    assert!(matches!(world.over(second), ChannelState::Closed(_)));
    assert!(world.execute(third, &ready).is_good());
    world.settle();
    assert_eq!(world.target.channels.len(), 1);
}

#[test]
fn flow_control_by_withheld_credits() {
    let (mut world, channel) = World::logged_in(7, 16);
    let ready = Command::new(0, scsi::test_unit_ready(), Data::None);
    world.target.only_channel().credits.set_limit(2);
    for _ in 0..14 {
        assert_eq!(world.execute(channel, &ready).response.delta, 0);
    }
    assert_eq!(world.initiator.request_limit(channel), 2);
    assert_eq!(world.execute(channel, &ready).response.delta, 1);

    // Nothing is outstanding, so that only a request of the target's can give them back.
    world.initiator.set_answer_requests(channel, false);
    world.target.only_channel().credits.set_limit(10);
    world.settle();
    assert_eq!(world.initiator.request_limit(channel), 10);
    // The next must wait for the answer to the first.
    world.target.only_channel().credits.set_limit(16);
    world.settle();
    assert_eq!(
        world.initiator.take_events(channel),
        [Event::CreditRequest(8)]
    );
    world.initiator.set_answer_requests(channel, true);
    world.settle();
    assert_eq!(
        world.initiator.take_events(channel),
        [Event::CreditRequest(6)]
    );
    assert_eq!(world.initiator.request_limit(channel), 16);
}

#[test]
fn an_aborted_command_gets_no_response_but_its_credit_returns() {
    let (mut world, channel) = World::logged_in(8, 8);
    let hang = Command::new(0, vec![HANG], Data::None);
    let tag = world.initiator.send(channel, &hang).unwrap();
    world.settle();
    assert_eq!(world.initiator.outstanding(channel), 1);
    let task = Task {
        lun: scsi::lun(0),
        function: 1,
        tag,
    };
    assert_eq!(world.task(channel, task), Some(0));
    world.initiator.abandon(channel, tag);
    assert_eq!(world.initiator.request_limit(channel), 8);
    let unknown = Task {
        function: 0x80,
        ..task
    };
    assert_eq!(world.task(channel, unknown), Some(4));
    world.settle();
    assert_eq!(world.initiator.take_events(channel), []);
}

#[test]
fn bad_commands_are_answered() {
    let (mut world, channel) = World::logged_in(9, 8);
    let mut unit = vec![0; 48];
    unit[0] = 2;
    let mut cases = Vec::new();
    // Direct, without its descriptor.
    unit[5] = 0x01;
    cases.push((unit.clone(), (5, 0x0e, 0x01)));
    // A command that ends in its CDB.
    cases.push((unit[..40].to_vec(), (5, 0x0e, 0x01)));
    // Unknown format; both directions; an unknown task attribute.
    unit.resize(80, 0);
    unit[5] = 0x70;
    cases.push((unit.clone(), (5, 0x0e, 0x03)));
    unit[5] = 0x11;
    cases.push((unit.clone(), (5, 0x0e, 0x03)));
    unit[5] = 0;
    unit[29] = 7;
    cases.push((unit.clone(), (5, 0x0e, 0x03)));
    // Immediate data that ends beyond what was sent, by a length that wraps 32 bits.
    unit[29] = 0;
    unit[5] = 0x30;
    unit[48..52].copy_from_slice(&(u32::MAX - 60).to_be_bytes());
    cases.push((unit.clone(), (5, 0x0e, 0x01)));
    for (tag, (mut unit, sense)) in (1..).zip(cases) {
        unit[8..16].copy_from_slice(&u64::to_be_bytes(tag));
        world.initiator.expect(channel, tag);
        world.initiator.send_raw(channel, &unit, 1).unwrap();
        let reply = world.reply(channel, tag);
        assert_eq!((reply.status(), reply.sense()), (2, Some(sense)), "{tag}");
    }
    assert_eq!(world.initiator.request_limit(channel), 8);
    // Task management that is cut short has its own kind of answer.
    let mut task = vec![0; 40];
    task[0] = 1;
    task[15] = 99;
    world.initiator.expect(channel, 99);
    world.initiator.send_raw(channel, &task, 1).unwrap();
    assert_eq!(world.reply(channel, 99).response.code, Some(2));
}

#[test]
fn what_cannot_be_answered_ends_in_a_logout() {
    let cases: [(&[u8], u32); 4] = [
        (&[0x99; 16], 2),
        (&[0x00; 16], 2),
        (&[0x02; 15], 8),
        (&[0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 3),
    ];
    for (unit, reason) in cases {
        let (mut world, channel) = World::logged_in(10, 8);
        world.initiator.send_raw(channel, unit, 0).unwrap();
        world.settle();
        let events = world.initiator.take_events(channel);
        assert_eq!(events, [Event::Logout(reason)]);
    }
}

#[test]
fn more_requests_than_credits_end_the_channel() {
    let mut world = World::new(11, 4);
    let mut options = LoginOptions::new(INITIATOR, TARGET);
    options.obey_credits = false;
    let channel = world.log_in(options).unwrap();
    let hang = Command::new(0, vec![HANG], Data::None);
    // Four credits, and one that is forgiven.
    for _ in 0..5 {
        world.initiator.send(channel, &hang).unwrap();
    }
    world.settle();
    assert!(world.initiator.is_up(channel));
    world.initiator.send(channel, &hang).unwrap();
    assert!(matches!(world.over(channel), ChannelState::Closed(_)));
}

#[test]
fn memory_that_is_not_the_initiators_to_offer_ends_the_channel() {
    let (mut world, channel) = World::logged_in(12, 8);
    let buffer = world.initiator.allocate(channel, 512).unwrap();
    let mut piece = buffer.piece(0, 512).unwrap();
    piece.remote.key ^= 0x5a5a;
    let data = Data::In(vec![piece], Format::Direct);
    let read = Command::new(0, scsi::read16(0, 1), data);
    let tag = world.initiator.send(channel, &read).unwrap();
    assert!(matches!(world.over(channel), ChannelState::Closed(_)));
    assert!(world.initiator.take_reply(channel, tag).is_none());
    assert_eq!(buffer.read(0, 512).unwrap(), [0; 512]);
}

#[test]
fn an_orderly_end() {
    let (mut world, channel) = World::logged_in(13, 8);
    world.initiator.logout(channel).unwrap();
    world.settle();
    world.initiator.disconnect(channel).unwrap();
    assert!(matches!(world.over(channel), ChannelState::Closed(_)));
    world.settle();
    assert!(world.target.channels.is_empty());
    assert!(world.net.queue_pairs().is_empty());
}
