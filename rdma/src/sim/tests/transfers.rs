//! Work that goes well, and queues that fill.

use super::*;

const OK: CompletionStatus = CompletionStatus::SUCCESS;

#[test]
fn sends_fill_receives_in_order() {
    for seed in 0..8 {
        let mut pair = Pair::new(seed);
        let from = pair.a.register(4096, Access::LOCAL_READ);
        let into = pair.b.register(4096, Access::LOCAL_WRITE);
        fill(&from, 1);
        for slot in 0..4 {
            pair.b.receive(slot as u64, &into, slot * 100, 100);
        }
        // Gathered from two places, and shorter than the receive.
        let sges = [from.sge(0, 10).unwrap(), from.sge(50, 20).unwrap()];
        pair.a.post(10, Operation::Send, &sges);
        pair.a
            .post(11, Operation::Send, &[from.sge(200, 100).unwrap()]);
        pair.a.post(12, Operation::Send, &[]);
        pair.net.run_until_idle();
        assert_eq!(pair.a.results(), [(10, OK), (11, OK), (12, OK)]);
        let received = pair.b.poll();
        let seen: Vec<_> = received.iter().map(|c| (c.id.0, c.byte_len)).collect();
        assert_eq!(seen, [(0, 30), (1, 100), (2, 0)]);
        assert!(received.iter().all(|c| c.queue_pair == pair.b.number()));
        assert_eq!(bytes(&into, 0, 10), bytes(&from, 0, 10));
        assert_eq!(bytes(&into, 10, 20), bytes(&from, 50, 20));
        assert_eq!(bytes(&into, 100, 100), bytes(&from, 200, 100));
    }
}

#[test]
fn rdma_moves_bytes_and_is_counted_where_they_came_from() {
    for seed in 0..8 {
        let mut pair = Pair::new(seed);
        let here = pair.b.register(8192, Access::LOCAL_WRITE);
        let there = pair.a.register(8192, ALL);
        fill(&here, 7);
        let write = write_to(&there, 4096, 300);
        let sges = [here.sge(100, 200).unwrap(), here.sge(1000, 100).unwrap()];
        pair.b.post(1, write, &sges);
        pair.net.run_until_idle();
        assert_eq!(bytes(&there, 4096, 200), bytes(&here, 100, 200));
        assert_eq!(bytes(&there, 4296, 100), bytes(&here, 1000, 100));

        let read = read_from(&there, 4100, 50);
        let sges = [here.sge(0, 20).unwrap(), here.sge(8000, 30).unwrap()];
        pair.b.post(2, read, &sges);
        pair.net.run_until_idle();
        assert_eq!(pair.b.results(), [(1, OK), (2, OK)]);
        assert_eq!(bytes(&here, 0, 20), bytes(&there, 4100, 20));
        assert_eq!(bytes(&here, 8000, 30), bytes(&there, 4120, 30));

        let (mine, theirs) = (
            pair.net.traffic_of(&here).unwrap(),
            pair.net.traffic_of(&there).unwrap(),
        );
        assert_eq!((mine.rdma_written_from, mine.rdma_read_into), (300, 50));
        assert_eq!((theirs.written_by_peer, theirs.read_by_peer), (300, 50));
        assert_eq!((mine.node.as_str(), theirs.node.as_str()), ("b", "a"));
        assert!(mine.memory.contains("Anonymous"));
        let report = pair.net.queue_pairs();
        let report = report.iter().find(|one| one.node == "b").unwrap();
        let traffic = report.traffic;
        assert_eq!((traffic.rdma_writes, traffic.rdma_write_bytes), (1, 300));
        assert_eq!((traffic.rdma_reads, traffic.rdma_read_bytes), (1, 50));
        assert_eq!(report.chains_posted, 2);
    }
}

#[test]
fn figures_of_a_region_outlive_it() {
    let pair = Pair::new(1);
    let region = pair.a.register(4096, ALL);
    let serial = pair.net.traffic_of(&region).unwrap().serial;
    drop(region);
    let all = pair.net.regions();
    let gone = all.iter().find(|one| one.serial == serial).unwrap();
    assert!(!gone.registered);
    assert_eq!(gone.length, 4096);
}

#[test]
fn bytes_are_gathered_when_the_send_is_carried_out() {
    let mut pair = Pair::new(3);
    let from = pair.a.register(64, Access::LOCAL_READ);
    let into = pair.b.register(64, Access::LOCAL_WRITE);
    from.slice().fill(1).unwrap();
    pair.b.receive(0, &into, 0, 64);
    pair.a.post(1, Operation::Send, &[from.sge(0, 64).unwrap()]);
    from.slice().fill(2).unwrap();
    pair.net.run_until_idle();
    assert_eq!(bytes(&into, 0, 64), [2; 64]);
}

#[test]
fn only_signaled_requests_complete() {
    let mut pair = Pair::new(4);
    let from = pair.a.register(64, Access::LOCAL_READ);
    let there = pair.b.register(64, ALL);
    let write = write_to(&there, 0, 8);
    let sge = [from.sge(0, 8).unwrap()];
    pair.a.try_post(1, write, false, &sge).unwrap();
    pair.a.try_post(2, write, true, &sge).unwrap();
    pair.a.try_post(3, write, false, &sge).unwrap();
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), [(2, OK)]);
}

#[test]
fn send_slots_are_free_once_a_signaled_completion_was_polled() {
    let mut pair = Pair::new(5);
    let from = pair.a.register(64, Access::LOCAL_READ);
    let there = pair.b.register(64, ALL);
    let write = write_to(&there, 0, 8);
    let sge = [from.sge(0, 8).unwrap()];
    for id in 0..15 {
        pair.a.try_post(id, write, false, &sge).unwrap();
    }
    pair.net.run_until_idle();
    // All done, but nothing told us so: one slot is left.
    let mut chain = Chain::default();
    chain.push(WorkId(15), write, false, sge);
    chain.push(WorkId(16), write, true, sge);
    assert_eq!(pair.a.queue().post_send(&chain), Err(PostError::Full));
    pair.a.try_post(15, write, true, &sge).unwrap();
    assert_eq!(pair.a.try_post(16, write, true, &sge), Err(PostError::Full));
    pair.net.run_until_idle();
    // Completed, and not polled yet.
    assert_eq!(pair.a.try_post(16, write, true, &sge), Err(PostError::Full));
    assert_eq!(pair.a.results(), [(15, OK)]);
    for id in 16..32 {
        pair.a.try_post(id, write, false, &sge).unwrap();
    }
    // Only unsignaled ones: full for ever.
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), []);
    assert_eq!(pair.a.try_post(32, write, true, &sge), Err(PostError::Full));
}

#[test]
fn receive_slots_are_free_once_polled() {
    let mut pair = Pair::new(6);
    let from = pair.a.register(64, Access::LOCAL_READ);
    let into = pair.b.register(64, Access::LOCAL_WRITE);
    let sge = into.sge(0, 64).unwrap();
    for id in 0..16 {
        pair.b.queue().post_receive(WorkId(id), sge).unwrap();
    }
    let full = pair.b.queue().post_receive(WorkId(16), sge);
    assert_eq!(full, Err(PostError::Full));
    pair.a.post(1, Operation::Send, &[from.sge(0, 1).unwrap()]);
    pair.net.run_until_idle();
    let full = pair.b.queue().post_receive(WorkId(16), sge);
    assert_eq!(full, Err(PostError::Full));
    assert_eq!(pair.b.results(), [(0, OK)]);
    pair.b.queue().post_receive(WorkId(16), sge).unwrap();
}

#[test]
fn chains_are_taken_whole_or_refused() {
    let mut pair = Pair::new(7);
    let region = pair.a.register(64, Access::LOCAL_READ);
    let sge = region.sge(0, 1).unwrap();
    assert!(matches!(
        pair.a.queue().post_send(&Chain::default()),
        Err(PostError::Invalid(_))
    ));
    assert!(matches!(
        pair.a.try_post(0, Operation::Send, true, &[sge; 5]),
        Err(PostError::Invalid(_))
    ));
    let mut long = Chain::default();
    for id in 0..17 {
        long.push(WorkId(id), Operation::Send, true, [sge]);
    }
    assert!(matches!(
        pair.a.queue().post_send(&long),
        Err(PostError::Invalid(_))
    ));
    assert_eq!(pair.net.run_until_idle(), 0);
}

#[test]
fn reads_in_flight_keep_to_the_depth_and_complete_in_order() {
    let setup = Setup {
        params: ConnectParams {
            initiator_depth: 2,
            responder_resources: 2,
            ..ConnectParams::default()
        },
        ..Setup::default()
    };
    let (mut overtaken, mut deepest) = (0, 0);
    for seed in 0..32 {
        let mut pair = Pair::with(seed, &setup);
        let here = pair.b.register(4096, Access::LOCAL_WRITE);
        let there = pair.a.register(4096, ALL);
        fill(&there, 3);
        for id in 0..5 {
            let at = id as usize * 100;
            let sge = [here.sge(at, 100).unwrap()];
            pair.b.post(id, read_from(&there, at, 100), &sge);
        }
        // Reads from where a READ still writes to: without a fence it may overtake the data.
        let again = [here.sge(400, 100).unwrap()];
        pair.b.post(
            5,
            write_to(&there, 4000, 96),
            &[again[0].split_at(96).unwrap().0],
        );
        let mut in_flight = 0;
        let mut most = 0;
        while pair.net.step() {
            for entry in pair.net.trace().iter().rev().take(1) {
                match entry.event {
                    TraceEvent::Executed {
                        kind: OperationKind::RdmaRead,
                        ..
                    } => in_flight += 1,
                    TraceEvent::ReadDone { .. } => in_flight -= 1,
                    _ => {}
                }
            }
            most = most.max(in_flight);
        }
        assert!(most <= 2, "seed {seed}: {most}");
        deepest = deepest.max(most);
        let done: Vec<_> = (0..6).map(|id| (id, OK)).collect();
        assert_eq!(pair.b.results(), done);
        assert_eq!(bytes(&here, 0, 500), bytes(&there, 0, 500));
        overtaken += u32::from(bytes(&there, 4000, 96) == [0; 96]);
        let report = pair.net.queue_pairs();
        let report = report.iter().find(|one| one.node == "b").unwrap();
        assert_eq!(report.most_reads_posted, 5);
    }
    assert_eq!(deepest, 2);
    assert!((1..32).contains(&overtaken), "{overtaken} of 32");
}

#[test]
fn completions_are_announced_to_who_asked() {
    let mut pair = Pair::new(8);
    let from = pair.a.register(64, Access::LOCAL_READ);
    let into = pair.b.register(64, Access::LOCAL_WRITE);
    let send = |pair: &mut Pair| {
        pair.b.receive(0, &into, 0, 64);
        pair.a.post(1, Operation::Send, &[from.sge(0, 4).unwrap()]);
        pair.net.run_until_idle();
    };
    send(&mut pair);
    assert!(!readable(pair.b.completions.event_fd()));
    // What came before is not announced.
    pair.b.completions.arm().unwrap();
    assert!(!readable(pair.b.completions.event_fd()));
    send(&mut pair);
    assert!(readable(pair.b.completions.event_fd()));
    pair.b.completions.acknowledge().unwrap();
    assert!(!readable(pair.b.completions.event_fd()));
    // Once.
    send(&mut pair);
    assert!(!readable(pair.b.completions.event_fd()));
    assert_eq!(pair.b.results(), [(0, OK); 3]);
}

#[test]
fn sends_wait_for_receives_with_seven_retries() {
    let mut pair = Pair::new(9);
    let from = pair.a.register(64, Access::LOCAL_READ);
    let into = pair.b.register(64, Access::LOCAL_WRITE);
    pair.a.post(1, Operation::Send, &[from.sge(0, 4).unwrap()]);
    // What comes after it waits as well.
    let there = pair.b.register(64, ALL);
    pair.a
        .post(2, write_to(&there, 0, 4), &[from.sge(0, 4).unwrap()]);
    assert_eq!(pair.net.run_until_idle(), 0);
    assert_eq!(pair.a.results(), []);
    pair.b.receive(0, &into, 0, 64);
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), [(1, OK), (2, OK)]);
}

#[test]
fn send_with_invalidate_takes_the_key_away() {
    let mut pair = Pair::new(10);
    let from = pair.b.register(64, Access::LOCAL_READ);
    let into = pair.a.register(64, Access::LOCAL_WRITE);
    let there = pair.a.register(64, ALL);
    let other = pair.a.register(64, ALL);
    let key = there.remote(0, 64).unwrap().key;
    let sge = [from.sge(0, 4).unwrap()];
    pair.a.receive(0, &into, 0, 64);
    pair.b.post(1, write_to(&there, 0, 4), &sge);
    pair.b.post(2, Operation::SendWithInvalidate { key }, &sge);
    pair.b.post(3, write_to(&other, 0, 4), &sge);
    pair.b.post(4, write_to(&there, 0, 4), &sge);
    pair.net.run_until_idle();
    let refused = CompletionStatus::REMOTE_ACCESS;
    assert_eq!(pair.b.results(), [(1, OK), (2, OK), (3, OK), (4, refused)]);
    let received = pair.a.poll()[0];
    assert_eq!((received.id.0, received.status), (0, OK));
    assert_eq!(received.invalidated, Some(key));
}
