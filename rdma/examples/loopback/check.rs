//! What must hold, in order; of connections here, of work requests in `work`.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pagecast_rdma::fabric::{Chain, CmEvent, FabricError, ListenAddress, PeerAddress, ServiceId};

use crate::peer::{self, End, Peer};
use crate::{Outcome, Stage, work};

const PORT: u16 = 7777;
pub(crate) const A_WHILE: Duration = Duration::from_millis(300);

pub(crate) fn all(stage: &Stage) -> Outcome {
    let to = SocketAddr::new(stage.address, PORT);
    let mut active = Peer::new(&*stage.fabric)?;
    let mut passive = Peer::new(&*stage.fabric)?;

    adapters(stage, &active)?;
    let listener = passive.manager.listen(ListenAddress::Ip(to), 16)?;
    listeners(stage, &mut passive)?;
    handshake(stage, &mut active, &mut passive, to)?;
    reject(&mut active, &mut passive, to)?;
    work::transfers(stage, &mut active, &mut passive, to)?;
    work::wrong_key(stage, &mut active, &mut passive, to)?;
    work::invalidate(stage, &mut active, &mut passive, to)?;
    work::full_queues(&mut active, &mut passive, to)?;
    drops(stage, &mut active, &mut passive, to)?;
    work::registrations(&active)?;

    passive.manager.unlisten(listener);
    nobody_listens(&mut active, to)?;
    if let Some(command) = &stage.remove {
        removal(stage, command, active, passive, to)?;
    }
    Ok(())
}

pub(crate) fn ok(what: &str) {
    println!("ok - {what}");
}

pub(crate) fn ensure(holds: bool, what: impl Into<String>) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(what.into().into())
    }
}

fn starts_with(data: &[u8], expected: &[u8]) -> Outcome {
    let zeros = data.get(expected.len()..).unwrap_or(&[]);
    ensure(
        data.starts_with(expected) && zeros.iter().all(|&byte| byte == 0),
        format!("private data {data:?} instead of {expected:?}"),
    )
}

fn adapters(stage: &Stage, active: &Peer) -> Outcome {
    let again = stage.fabric.adapters()?;
    ensure(
        again
            .iter()
            .any(|adapter| Arc::ptr_eq(adapter, &active.adapter)),
        "the same adapter is another Arc",
    )?;
    println!(
        "# {}: {:?}",
        active.adapter.name(),
        active.adapter.capabilities()
    );
    while let Some(event) = active.adapter.next_event() {
        println!("# {event:?}");
    }
    ok("adapters keep their identity");
    Ok(())
}

/// Listeners of all kinds at once, with one port.
fn listeners(stage: &Stage, passive: &mut Peer) -> Outcome {
    let manager = &mut passive.manager;
    let any = |ip: &str| -> Outcome<ListenAddress> {
        Ok(ListenAddress::Ip(SocketAddr::new(ip.parse()?, PORT + 1)))
    };
    let four = manager.listen(any("0.0.0.0")?, 16)?;
    if stage.verbs {
        let six = manager.listen(any("::")?, 16)?;
        ok("wildcard listeners on IPv4 and IPv6 share a port");
        let of = |space: u64| ListenAddress::Service(ServiceId(space | u64::from(PORT + 1)));
        let native = manager.listen(of(0x0106_0000), 16)?;
        let native_only = manager.listen(of(0x013f_0000), 16)?;
        ok("and so do native InfiniBand listeners");
        match manager.listen(ListenAddress::Service(ServiceId(0x1000_0000_0000_0001)), 16) {
            Err(FabricError::Call { call, source }) => {
                println!("# any other service: {call}: {source}");
            }
            other => return Err(format!("any service: {other:?}").into()),
        }
        for listener in [six, native, native_only] {
            manager.unlisten(listener);
        }
    }
    ensure(
        manager.listen(any("0.0.0.0")?, 16).is_err(),
        "two listeners on one address",
    )?;
    manager.unlisten(four);
    let four = manager.listen(any("0.0.0.0")?, 16)?;
    manager.unlisten(four);
    ok("an address has one listener, and another when that is gone");
    Ok(())
}

fn handshake(stage: &Stage, active: &mut Peer, passive: &mut Peer, to: SocketAddr) -> Outcome {
    let connection = active.resolve(to)?;
    let early = active.manager.connect(connection, &peer::params(b"", 1, 1));
    ensure(early.is_err(), "connected without a queue pair")?;
    let near = active.end(connection)?;
    let asked = peer::params(b"let me in", 3, 5);
    active.manager.connect(connection, &asked)?;

    let request = passive.request()?;
    starts_with(&request.private_data, b"let me in")?;
    println!(
        "# request of {} at {}, {} bytes of private data",
        request.peer,
        request.local,
        request.private_data.len()
    );
    ensure(
        (
            request.peer_responder_resources,
            request.peer_initiator_depth,
        ) == (3, 5),
        format!("read depths mixed up: {request:?}"),
    )?;
    ensure(
        request.peer.ip() == Some(stage.address) && request.local == PeerAddress::Ip(to),
        format!("addresses: {request:?}"),
    )?;
    let far = passive.end(request.connection)?;
    let answer = peer::params(b"welcome", 16, 16);
    passive.manager.accept(request.connection, &answer)?;
    let answer = active.established(connection)?;
    starts_with(&answer, b"welcome")?;
    ensure(
        passive.established(far.connection)?.is_empty(),
        "private data on the passive side",
    )?;
    ok("private data and read depths arrive, both ways");

    // Late: it is established already.
    let late = passive.manager.notify_established(far.connection);
    println!("# notified when established: {late:?}");

    active.manager.disconnect(near.connection)?;
    passive.disconnected(far.connection)?;
    passive.manager.disconnect(far.connection)?;
    active.disconnected(near.connection)?;
    for (peer, end) in [(&mut *active, near), (&mut *passive, far)] {
        drop(end.pair);
        peer.manager.forget(end.connection);
        ensure(
            peer.manager.disconnect(end.connection).is_err(),
            "a forgotten connection is known",
        )?;
    }
    ok("disconnect reaches both sides");
    Ok(())
}

fn reject(active: &mut Peer, passive: &mut Peer, to: SocketAddr) -> Outcome {
    let connection = active.resolve(to)?;
    let near = active.end(connection)?;
    active
        .manager
        .connect(connection, &peer::params(b"open up", 1, 1))?;
    let request = passive.request()?;
    let long = passive.manager.reject(request.connection, &[1; 149]);
    ensure(long.is_err(), "a reject of 149 bytes")?;
    let data = [0xe5; 148];
    passive.manager.reject(request.connection, &data)?;
    match active.event()? {
        CmEvent::Rejected {
            connection: of,
            reason: 28,
            private_data,
        } if of == connection => starts_with(&private_data, &data)?,
        other => return Err(format!("not rejected: {other:?}").into()),
    }
    active.manager.forget(connection);
    drop(near);
    ok("a reject brings its data");
    Ok(())
}

/// Two ends, 8 receives posted at each, and a chain to post with.
pub(crate) fn pair(
    active: &mut Peer,
    passive: &mut Peer,
    to: SocketAddr,
) -> Outcome<(End, End, Chain)> {
    let (near, far) = peer::connect(active, passive, to, 8)?;
    Ok((near, far, Chain::with_capacity(16)))
}

/// Disconnects without ceremony, and takes the events that this brings.
pub(crate) fn part(active: &mut Peer, passive: &mut Peer, near: End, far: End) -> Outcome {
    active.manager.disconnect(near.connection)?;
    passive.disconnected(far.connection)?;
    passive.manager.disconnect(far.connection)?;
    active.disconnected(near.connection)?;
    active.manager.forget(near.connection);
    passive.manager.forget(far.connection);
    drop((near, far));
    active.no_completion(Duration::ZERO)?;
    passive.no_completion(Duration::ZERO)
}

/// Queue pairs, connections and managers go in any order, on any thread.
fn drops(stage: &Stage, active: &mut Peer, passive: &mut Peer, to: SocketAddr) -> Outcome {
    let (near, far, _) = pair(active, passive, to)?;
    active.manager.forget(near.connection);
    let dropping = thread::spawn(move || drop(near));
    passive.disconnected(far.connection)?;
    dropping.join().map_err(|_| "the drop panicked")?;
    passive.manager.forget(far.connection);
    drop(far);
    ok("a queue pair outlives its connection, and its end reaches the peer");

    let mut short = Peer::new(&*stage.fabric)?;
    let (near, far, _) = pair(&mut short, passive, to)?;
    drop(short.manager);
    drop(short.completions);
    drop(near);
    passive.disconnected(far.connection)?;
    drop(far.pair);
    passive.manager.forget(far.connection);
    ok("and its manager and its completion queue");

    // Handshakes that break off in the middle.
    let connection = active.manager.resolve(to)?;
    active.manager.forget(connection);
    let connection = active.resolve(to)?;
    let near = active.end(connection)?;
    active
        .manager
        .connect(connection, &peer::params(b"never mind", 1, 1))?;
    let request = passive.request()?;
    passive.manager.forget(request.connection);
    match active.event()? {
        CmEvent::Rejected { reason, .. } => println!("# forgotten: reason {reason}"),
        other => return Err(format!("not rejected: {other:?}").into()),
    }
    active.manager.forget(connection);
    drop(near);
    active.no_event(Duration::ZERO)?;
    ok("handshakes break off at any point");

    // Many at once, all taken apart by another thread while the managers go on.
    for round in 0..8 {
        let mut ends = Vec::new();
        for _ in 0..4 {
            let (near, far, _) = pair(active, passive, to)?;
            active.manager.forget(near.connection);
            passive.manager.forget(far.connection);
            ends.push((near, far));
        }
        let dropping = thread::spawn(move || drop(ends));
        if round % 2 == 0 {
            let (near, far, _) = pair(active, passive, to)?;
            dropping.join().map_err(|_| "the drop panicked")?;
            part(active, passive, near, far)?;
        } else {
            dropping.join().map_err(|_| "the drop panicked")?;
        }
    }
    active.no_event(Duration::ZERO)?;
    active.no_completion(Duration::ZERO)?;
    ok("queue pairs go while others come");
    Ok(())
}

fn nobody_listens(active: &mut Peer, to: SocketAddr) -> Outcome {
    let connection = active.resolve(to)?;
    let near = active.end(connection)?;
    active
        .manager
        .connect(connection, &peer::params(b"hello?", 1, 1))?;
    match active.event()? {
        CmEvent::Rejected { reason, .. } if reason != 28 => println!("# nobody there: {reason}"),
        CmEvent::Failed { why, .. } => println!("# nobody there: {why}"),
        other => return Err(format!("{other:?}").into()),
    }
    active.manager.forget(connection);
    drop(near);
    // An address that no interface leads to, or at which nobody is.
    let nowhere: IpAddr = match to.ip() {
        IpAddr::V4(_) => "192.0.2.1".parse()?,
        IpAddr::V6(_) => "2001:db8::1".parse()?,
    };
    match active.manager.resolve(SocketAddr::new(nowhere, PORT)) {
        Err(error) => println!("# no such address: {error}"),
        Ok(connection) => {
            match active.event()? {
                CmEvent::Failed { why, .. } => println!("# no such address: {why}"),
                other => return Err(format!("{other:?}").into()),
            }
            active.manager.forget(connection);
        }
    }
    ok("what cannot be reached fails");
    Ok(())
}

/// The device goes away under a connection and a listener, and everything on it can still be let go of.
fn removal(
    stage: &Stage,
    command: &str,
    mut active: Peer,
    mut passive: Peer,
    to: SocketAddr,
) -> Outcome {
    passive.manager.listen(ListenAddress::Ip(to), 16)?;
    let (near, far, _) = pair(&mut active, &mut passive, to)?;
    // It waits until we let go.
    let mut remover = Command::new("sh").arg("-c").arg(command).spawn()?;
    for (peer, end) in [(&mut active, &near), (&mut passive, &far)] {
        loop {
            match peer.event() {
                Ok(CmEvent::AdapterRemoved { connection }) => {
                    println!("# removed under {connection:?}");
                    if connection == end.connection {
                        break;
                    }
                }
                Ok(CmEvent::ListenerRemoved { listener }) => {
                    println!("# removed under {listener:?}");
                }
                Ok(CmEvent::Disconnected { .. }) => {}
                Ok(other) => return Err(format!("{other:?}").into()),
                // A driver that cannot take itself from a process (rxe) may wait before the connection manager has its
                // turn, and nothing tells the process.
                Err(error) => {
                    println!("# removal goes unannounced: {error}");
                    break;
                }
            }
        }
    }
    while let Some(event) = active.adapter.next_event() {
        println!("# adapter: {event:?}");
    }
    for (peer, end) in [(active, near), (passive, far)] {
        let Peer {
            mut manager,
            adapter,
            completions,
        } = peer;
        manager.forget(end.connection);
        drop(end);
        drop((completions, adapter, manager));
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while !stage.fabric.adapters()?.is_empty() {
        ensure(Instant::now() < deadline, "the adapter is still there")?;
        thread::sleep(A_WHILE);
    }
    ok("a device that goes away is let go of");
    thread::sleep(A_WHILE);
    println!("# `{command}`: {:?}", remover.try_wait()?);
    Ok(())
}
