//! What must hold of work requests and registrations.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pagecast_memory::{Anonymous, Memory};
use pagecast_rdma::fabric::{
    Access, AdapterEvent, Chain, CompletionStatus, Operation, PostError, WorkId,
};

use crate::check::{A_WHILE, ensure, ok, pair, part};
use crate::mapping::Mapping;
use crate::peer::{self, CONFIG, End, Peer};
use crate::{Outcome, Stage};

/// `far` serves a file from the page cache, as a target does; `near` is the initiator.
pub(crate) fn transfers(
    stage: &Stage,
    active: &mut Peer,
    passive: &mut Peer,
    to: SocketAddr,
) -> Outcome {
    const LEN: usize = 1 << 20;
    let (mut near, mut far, mut chain) = pair(active, passive, to)?;

    near.buffer.slice().write(4096, b"command")?;
    chain.push(WorkId(100), Operation::Send, true, [near.sge(4096, 7)?]);
    near.pair.post_send(&chain)?;
    ensure(
        active.ended(1, CompletionStatus::SUCCESS)? == [100],
        "the send completed as another",
    )?;
    let received = passive.completions(1)?;
    ensure(
        received[0].byte_len == 7
            && received[0].id == WorkId(0)
            && received[0].queue_pair == far.pair.number(),
        format!("{received:?}"),
    )?;
    ensure(
        far.buffer.slice().part(0..7)?.to_vec() == b"command",
        "command",
    )?;
    ok("a send arrives, with its length");

    let bytes: Vec<u8> = (0..LEN).map(|i| (i * 31 / 7 + i / 4096) as u8).collect();
    File::create(&stage.file)?.write_all(&bytes)?;
    let file = File::open(&stage.file)?;
    let mapping: Arc<dyn Memory> = Arc::new(Mapping::new(&file, LEN)?);
    fs::remove_file(&stage.file)?;
    let cache = passive
        .adapter
        .register(Arc::clone(&mapping), 0..LEN, Access::LOCAL_READ)?;
    let refused = passive
        .adapter
        .register(mapping, 0..LEN, Access::LOCAL_WRITE);
    ensure(refused.is_err(), "read-only memory registered for writing")?;

    // An odd offset at both ends, four gather entries, then the response in the same chain.
    let data = active.shared(LEN)?;
    let there = data.remote(0, LEN).ok_or("outside")?;
    let write = |offset: usize| Operation::RdmaWrite {
        address: there.address + offset as u64,
        key: there.key,
    };
    let cut = [0, 5, 4096, 70_000, 300_001];
    let pieces: Vec<_> = cut
        .windows(2)
        .map(|at| cache.sge(at[0], at[1] - at[0]).ok_or("outside"))
        .collect::<Result<_, _>>()?;
    chain.clear();
    chain.push(WorkId(1), write(0), false, pieces);
    let rest = cache.sge(300_001, LEN - 300_001).ok_or("outside")?;
    chain.push(WorkId(2), write(300_001), false, [rest]);
    far.buffer.slice().write(4096, b"response")?;
    chain.push(WorkId(3), Operation::Send, true, [far.sge(4096, 8)?]);
    far.pair.post_send(&chain)?;
    ensure(
        passive.ended(1, CompletionStatus::SUCCESS)? == [3],
        "only the last of a chain is signaled",
    )?;
    ensure(active.completions(1)?[0].byte_len == 8, "response")?;
    ensure(data.slice().to_vec() == bytes, "the file arrived changed")?;
    ok("a file's page cache is written to the peer, its response behind it");

    let sink = passive.shared(LEN)?;
    data.slice().fill(0xa7)?;
    data.slice().write(777, b"from the initiator")?;
    chain.clear();
    let read = Operation::RdmaRead {
        address: there.address,
        key: there.key,
    };
    let into = [
        sink.sge(3, 100_000).ok_or("outside")?,
        sink.sge(200_000, LEN - 200_000).ok_or("outside")?,
    ];
    chain.push(WorkId(4), read, true, into);
    far.pair.post_send(&chain)?;
    let done = passive.completions(1)?;
    ensure(
        done[0].status.is_success() && done[0].id == WorkId(4),
        format!("{done:?}"),
    )?;
    let found = sink.slice().part(780..798)?.to_vec();
    ensure(
        found == b"from the initiator",
        "READ brought something else",
    )?;
    ensure(
        sink.slice().part(0..3)?.to_vec() == [0; 3],
        "before the sink",
    )?;
    let gap = sink.slice().part(100_003..200_000)?.to_vec();
    ensure(gap.iter().all(|&byte| byte == 0), "between the sinks")?;
    let tail = sink.slice().part(200_000..LEN)?.to_vec();
    ensure(tail.iter().all(|&byte| byte == 0xa7), "second sink")?;
    ok("the peer's memory is read, scattered");

    // Asleep in poll(2) while nothing comes; the descriptor is quiet once it was acknowledged.
    passive.no_completion(A_WHILE)?;
    let number = near.pair.number();
    let sender = thread::spawn(move || -> Result<End, PostError> {
        thread::sleep(A_WHILE);
        let mut chain = Chain::with_capacity(1);
        chain.push(WorkId(5), Operation::Send, true, []);
        near.pair.post_send(&chain)?;
        Ok(near)
    });
    let started = Instant::now();
    let woken = passive.completions(1)?;
    ensure(
        started.elapsed() >= A_WHILE / 2 && woken[0].byte_len == 0,
        format!("woken by {woken:?}"),
    )?;
    let near = sender.join().map_err(|_| "the sender panicked")??;
    ensure(near.pair.number() == number, "the queue pair changed")?;
    active.completions(1)?;
    ok("an armed queue wakes its sleeper, and an empty message is one");
    part(active, passive, near, far)
}

/// A key that does not work breaks its own connection, in which everything else is flushed, and no other.
pub(crate) fn wrong_key(
    stage: &Stage,
    active: &mut Peer,
    passive: &mut Peer,
    to: SocketAddr,
) -> Outcome {
    let (mut near, mut far, mut chain) = pair(active, passive, to)?;
    let (mut near2, far2, _) = pair(active, passive, to)?;
    let there = near.buffer.remote(0, 64).ok_or("outside")?;
    for (id, key) in [(1, there.key), (2, there.key ^ 0x0055_5500), (3, there.key)] {
        let write = Operation::RdmaWrite {
            address: there.address,
            key,
        };
        chain.push(WorkId(id), write, false, [far.sge(4096, 16)?]);
    }
    chain.push(WorkId(4), Operation::Send, true, [far.sge(4096, 16)?]);
    far.pair.post_send(&chain)?;
    let all = passive.completions(3 + 8)?;
    let sends: Vec<_> = all
        .iter()
        .filter(|done| done.id.0 >= 2 || done.id.0 == 4)
        .collect();
    println!(
        "# {:?}",
        all.iter()
            .map(|done| (done.id.0, done.status))
            .collect::<Vec<_>>()
    );
    ensure(
        sends[0].id == WorkId(2) && sends[0].status == CompletionStatus::REMOTE_ACCESS,
        format!("first failure: {:?}", sends[0]),
    )?;
    let flushed = all
        .iter()
        .filter(|done| done.status == CompletionStatus::FLUSHED);
    ensure(
        flushed.count() == 2 + 8,
        "flushed: two sends and eight receives",
    )?;
    ok("a wrong key is a remote access error; the rest is flushed and counts down");

    // The other side's own queue pair is in error too, on most devices; `fail` makes sure.
    near.pair.fail()?;
    active.ended(8, CompletionStatus::FLUSHED)?;
    near.pair.fail()?;
    far.pair.fail()?;
    ok("a failed queue pair flushes its receives");
    while let Some(event) = active.adapter.next_event() {
        println!("# adapter: {event:?}");
        if let AdapterEvent::Fatal = event {
            return Err("the adapter is broken".into());
        }
    }

    chain.clear();
    chain.push(WorkId(9), Operation::Send, true, [near2.sge(0, 4)?]);
    near2.pair.post_send(&chain)?;
    ensure(active.ended(1, CompletionStatus::SUCCESS)? == [9], "other")?;
    ensure(
        passive.completions(1)?[0].queue_pair == far2.pair.number(),
        "received by another queue pair",
    )?;
    ok("another connection goes on");
    let failed = near.pair.post_send(&chain);
    println!("# post to a failed queue pair: {failed:?}");
    if failed.is_ok() {
        active.ended(1, CompletionStatus::FLUSHED)?;
    }
    if stage.verbs {
        part(active, passive, near2, far2)?;
    } else {
        drop((near2, far2));
    }
    part(active, passive, near, far)
}

/// Takes a key of the peer's away. Of user-space keys, most devices do so only with memory windows, which we have not: the
/// peer's queue pair then fails, and says that it was for an invalid request.
pub(crate) fn invalidate(
    stage: &Stage,
    active: &mut Peer,
    passive: &mut Peer,
    to: SocketAddr,
) -> Outcome {
    let (near, mut far, mut chain) = pair(active, passive, to)?;
    let data = active.shared(4096)?;
    let there = data.remote(0, 4096).ok_or("outside")?;
    let send = Operation::SendWithInvalidate { key: there.key };
    chain.push(WorkId(1), send, true, [far.sge(0, 36)?]);
    far.pair.post_send(&chain)?;
    let received = active.at_least(1)?;
    let status = received[0].status;
    println!("# send with invalidate: {status}");
    ensure(
        if stage.verbs {
            status == CompletionStatus::SUCCESS
                || status == CompletionStatus::REMOTE_INVALID_REQUEST
        } else {
            status == CompletionStatus::SUCCESS && received[0].byte_len == 36
        },
        format!("{received:?}"),
    )?;
    ok("a send with invalidate arrives as one");

    active.manager.forget(near.connection);
    passive.manager.forget(far.connection);
    drop((near, far));
    active.no_completion(Duration::ZERO)?;
    passive.no_completion(Duration::ZERO)?;
    active.no_event(A_WHILE)?;
    ok("what is left of a queue pair goes with it");
    Ok(())
}

pub(crate) fn full_queues(active: &mut Peer, passive: &mut Peer, to: SocketAddr) -> Outcome {
    let (mut near, mut far, mut chain) = {
        let (near, far) = peer::connect(active, passive, to, 0)?;
        (near, far, Chain::with_capacity(32))
    };
    // Nobody receives, so the sends stay.
    let one = |chain: &mut Chain, id: u64, sge| {
        chain.clear();
        chain.push(WorkId(id), Operation::Send, true, [sge]);
    };
    let mut depth = 0;
    loop {
        one(&mut chain, depth, near.sge(0, 8)?);
        match near.pair.post_send(&chain) {
            Ok(()) => depth += 1,
            Err(PostError::Full) => break,
            Err(other) => return Err(other.into()),
        }
        ensure(depth < 4096, "the queue never fills")?;
    }
    println!(
        "# {} requests asked for, room for {depth}",
        CONFIG.send_requests
    );
    ensure(
        depth >= u64::from(CONFIG.send_requests),
        "less room than asked for",
    )?;
    active.no_completion(A_WHILE)?;
    let room = near.pair.post_send(&chain);
    ensure(room == Err(PostError::Full), "room out of nothing")?;
    ok("a full queue says so, and keeps what it has");
    for id in 0..depth.min(16) {
        far.receive(id)?;
    }
    let sent = active.ended(depth.min(16) as usize, CompletionStatus::SUCCESS)?;
    ensure(
        sent.iter().copied().eq(0..depth.min(16)),
        format!("{sent:?}"),
    )?;
    passive.ended(depth.min(16) as usize, CompletionStatus::SUCCESS)?;
    ok("sends wait for receives");
    near.pair.fail()?;
    if depth > 16 {
        active.ended(depth as usize - 16, CompletionStatus::FLUSHED)?;
    }
    part(active, passive, near, far)?;

    let (mut near, far) = peer::connect(active, passive, to, 0)?;
    for id in 0..depth - 1 {
        one(&mut chain, id, near.sge(0, 8)?);
        near.pair.post_send(&chain)?;
    }
    chain.clear();
    for id in 100..103 {
        chain.push(WorkId(id), Operation::Send, true, [near.sge(0, 8)?]);
    }
    match near.pair.post_send(&chain) {
        // All or nothing, as the seam would have it.
        Err(PostError::Full) => println!("# a chain that does not fit is refused whole"),
        // Or the queue pair is lost, and says so.
        Err(PostError::Failed(errno)) => {
            println!("# a chain that does not fit fails, errno {errno}");
            let flushed = active.ended(depth as usize, CompletionStatus::FLUSHED)?;
            ensure(flushed.last() == Some(&100), format!("{flushed:?}"))?;
            one(&mut chain, 1, near.sge(0, 8)?);
            let after = near.pair.post_send(&chain);
            ensure(
                matches!(after, Err(PostError::Failed(_))),
                format!("{after:?}"),
            )?;
        }
        other => return Err(format!("{other:?}").into()),
    }
    part(active, passive, near, far)?;
    ok("a chain is posted whole, or not, or the queue pair fails");
    Ok(())
}

pub(crate) fn registrations(peer: &Peer) -> Outcome {
    let memory: Arc<dyn Memory> = Arc::new(Anonymous::new(8192)?);
    let register = |range, access| peer.adapter.register(Arc::clone(&memory), range, access);
    let empty = 5..5;
    ensure(register(empty, Access::LOCAL_READ).is_err(), "no bytes")?;
    ensure(register(0..8193, Access::LOCAL_READ).is_err(), "too many")?;
    let remote_only = Access {
        remote_write: true,
        ..Access::LOCAL_READ
    };
    ensure(
        register(0..10, remote_only).is_err(),
        "rights that verbs has not",
    )?;
    let odd = register(101..1234, Access::LOCAL_WRITE)?;
    ensure(odd.len() == 1133 && odd.sge(1133, 1).is_none(), "bounds")?;
    ok("registrations stay within their memory");
    Ok(())
}
