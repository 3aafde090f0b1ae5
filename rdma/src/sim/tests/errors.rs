//! What adapters refuse, and what becomes of the queue pairs.

use pagecast_memory::Memory;

use super::*;
use crate::fabric::AdapterEvent;

const OK: CompletionStatus = CompletionStatus::SUCCESS;
const FLUSHED: CompletionStatus = CompletionStatus::FLUSHED;
const REMOTE_ACCESS: CompletionStatus = CompletionStatus::REMOTE_ACCESS;
const LOCAL_PROTECTION: CompletionStatus = CompletionStatus::LOCAL_PROTECTION;

/// Changes the address of an RDMA operation.
fn moved(operation: Operation, by: i64) -> Operation {
    match operation {
        Operation::RdmaWrite { address, key } => Operation::RdmaWrite {
            address: address.wrapping_add_signed(by),
            key,
        },
        Operation::RdmaRead { address, key } => Operation::RdmaRead {
            address: address.wrapping_add_signed(by),
            key,
        },
        other => other,
    }
}

/// Runs `operation` of A over 8 bytes, and expects both sides to break with `status` told to A.
fn refused(pair: &mut Pair, operation: Operation, status: CompletionStatus) {
    let here = pair.a.register(64, Access::LOCAL_WRITE);
    let there = pair.b.register(64, Access::LOCAL_WRITE);
    let sge = [here.sge(0, 8).unwrap()];
    pair.a.receive(100, &here, 32, 8);
    pair.b.receive(200, &there, 0, 8);
    pair.a.try_post(1, operation, false, &sge).unwrap();
    pair.a.try_post(2, Operation::Send, false, &sge).unwrap();
    pair.net.run_until_idle();
    pair.both_broken();
    let mut mine = pair.a.results();
    assert_eq!(mine[0], (1, status));
    mine.sort_unstable_by_key(|result| result.0);
    // Unsignaled work flushes with a completion.
    assert_eq!(mine, [(1, status), (2, FLUSHED), (100, FLUSHED)]);
    assert_eq!(pair.b.results(), [(200, FLUSHED)]);
    let event = AdapterEvent::QueuePairError(pair.b.number());
    assert!(readable(pair.b.adapter.event_fd()));
    assert_eq!(pair.b.adapter.next_event(), Some(event));
    assert_eq!(pair.b.adapter.next_event(), None);
    assert!(!readable(pair.b.adapter.event_fd()));
}

#[test]
fn remote_keys_bounds_and_rights_are_checked() {
    type Make = fn(&Region) -> Operation;
    let (write, read): (Make, Make) = (|r| write_to(r, 4096 - 8, 8), |r| read_from(r, 4096 - 8, 8));
    for seed in 0..4 {
        for (make, other_right) in [(write, "read"), (read, "write")] {
            let region = |pair: &Pair, access| pair.b.register(4096, access);
            // Past the end by one, before the start by one, and around the end of the address space.
            for by in [1, -4089, i64::MIN, i64::MAX] {
                let mut pair = Pair::new(seed);
                let there = region(&pair, ALL);
                refused(&mut pair, moved(make(&there), by), REMOTE_ACCESS);
                assert!(bytes(&there, 0, 4096).iter().all(|&byte| byte == 0));
            }
            let mut pair = Pair::new(seed);
            let there = region(&pair, ALL);
            let top = match make(&there) {
                Operation::RdmaWrite { key, .. } => Operation::RdmaWrite {
                    address: u64::MAX - 3,
                    key,
                },
                Operation::RdmaRead { key, .. } => Operation::RdmaRead {
                    address: u64::MAX - 3,
                    key,
                },
                other => other,
            };
            refused(&mut pair, top, REMOTE_ACCESS);
            // The other right is not enough.
            let mut pair = Pair::new(seed);
            let there = region(
                &pair,
                Access {
                    remote_read: other_right == "read",
                    remote_write: other_right == "write",
                    local_write: true,
                    on_demand: false,
                },
            );
            refused(&mut pair, make(&there), REMOTE_ACCESS);
            // Deregistered.
            let mut pair = Pair::new(seed);
            let there = region(&pair, ALL);
            let operation = make(&there);
            drop(there);
            refused(&mut pair, operation, REMOTE_ACCESS);
            // The requester's own adapter, and another one, are not the peer's.
            let mut pair = Pair::new(seed);
            let mine = pair.a.register(4096, ALL);
            refused(&mut pair, make(&mine), REMOTE_ACCESS);
            let mut pair = Pair::new(seed);
            let third = Side::new(&pair.net, "c", [10, 0, 0, 3], &Setup::default());
            let elsewhere = third.register(4096, ALL);
            refused(&mut pair, make(&elsewhere), REMOTE_ACCESS);
            // The local key is not the remote key.
            let mut pair = Pair::new(seed);
            let there = region(&pair, ALL);
            let local = there.sge(0, 8).unwrap();
            let operation = match make(&there) {
                Operation::RdmaWrite { address, .. } => Operation::RdmaWrite {
                    address,
                    key: local.key,
                },
                Operation::RdmaRead { address, .. } => Operation::RdmaRead {
                    address,
                    key: local.key,
                },
                other => other,
            };
            refused(&mut pair, operation, REMOTE_ACCESS);
        }
        let mut pair = Pair::new(seed);
        let key = 0xdead_beef;
        let there = pair.b.register(64, Access::LOCAL_WRITE);
        pair.b.receive(0, &there, 0, 8);
        pair.a.post(1, Operation::SendWithInvalidate { key }, &[]);
        pair.net.run_until_idle();
        assert_eq!(pair.a.results(), [(1, REMOTE_ACCESS)]);
        assert_eq!(pair.b.results(), [(0, FLUSHED)]);
    }
}

#[test]
fn operations_over_no_bytes_need_no_key() {
    let mut pair = Pair::new(1);
    let (address, key) = (1, 2);
    pair.a.post(1, Operation::RdmaWrite { address, key }, &[]);
    pair.a.post(2, Operation::RdmaRead { address, key }, &[]);
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), [(1, OK), (2, OK)]);
}

#[test]
fn local_keys_are_checked_when_the_work_is_carried_out() {
    for seed in 0..4 {
        let fresh = || {
            let pair = Pair::new(seed);
            let there = pair.b.register(64, ALL);
            (pair, there)
        };
        let failed = |pair: &mut Pair, operation, sge: Sge| {
            let good = pair.a.register(64, Access::LOCAL_WRITE);
            pair.a.post(1, operation, &[good.sge(0, 8).unwrap(), sge]);
            pair.net.run_until_idle();
            assert_eq!(pair.a.results(), [(1, LOCAL_PROTECTION)]);
            assert_eq!(pair.state(pair.a.number()), QueuePairState::Error);
            // The peer did not hear of it.
            assert_eq!(pair.state(pair.b.number()), QueuePairState::Ready);
        };
        let (mut pair, there) = fresh();
        let gone = pair.a.register(64, Access::LOCAL_WRITE);
        let sge = gone.sge(0, 8).unwrap();
        drop(gone);
        failed(&mut pair, write_to(&there, 0, 16), sge);
        // Somebody else's memory.
        let (mut pair, there) = fresh();
        let sge = there.sge(0, 8).unwrap();
        failed(&mut pair, write_to(&there, 0, 16), sge);
        // Past the end of what is registered.
        let (mut pair, there) = fresh();
        let here = pair.a.register(64, Access::LOCAL_WRITE);
        let mut sge = here.sge(60, 4).unwrap();
        sge.length = 5;
        failed(&mut pair, write_to(&there, 0, 16), sge);
        // READs write.
        let (mut pair, there) = fresh();
        let here = pair.a.register(64, Access::LOCAL_READ);
        let sge = here.sge(0, 8).unwrap();
        failed(&mut pair, read_from(&there, 0, 16), sge);
        // A remote key.
        let (mut pair, there) = fresh();
        let here = pair.a.register(64, ALL);
        let mut sge = here.sge(0, 8).unwrap();
        sge.key = here.remote(0, 8).unwrap().key;
        failed(&mut pair, write_to(&there, 0, 16), sge);
        // Deregistered between post and execution.
        let (mut pair, there) = fresh();
        let here = pair.a.register(64, Access::LOCAL_WRITE);
        let sge = [here.sge(0, 8).unwrap()];
        pair.a.post(1, write_to(&there, 0, 8), &sge);
        drop(here);
        pair.net.run_until_idle();
        assert_eq!(pair.a.results(), [(1, LOCAL_PROTECTION)]);
    }
}

#[test]
fn a_message_longer_than_the_receive_breaks_both() {
    for seed in 0..4 {
        let mut pair = Pair::new(seed);
        let from = pair.a.register(64, Access::LOCAL_READ);
        let into = pair.b.register(64, Access::LOCAL_WRITE);
        pair.b.receive(7, &into, 0, 15);
        pair.b.receive(8, &into, 0, 64);
        pair.a.post(1, Operation::Send, &[from.sge(0, 16).unwrap()]);
        pair.net.run_until_idle();
        pair.both_broken();
        let invalid = CompletionStatus::REMOTE_INVALID_REQUEST;
        assert_eq!(pair.a.results(), [(1, invalid)]);
        let length = CompletionStatus::LOCAL_LENGTH;
        assert_eq!(pair.b.results(), [(7, length), (8, FLUSHED)]);
    }
}

#[test]
fn a_bad_receive_breaks_both() {
    for seed in 0..4 {
        let mut pair = Pair::new(seed);
        let from = pair.a.register(64, Access::LOCAL_READ);
        let into = pair.b.register(64, Access::LOCAL_READ);
        pair.b.receive(7, &into, 0, 64);
        pair.a.post(1, Operation::Send, &[from.sge(0, 16).unwrap()]);
        pair.net.run_until_idle();
        pair.both_broken();
        let operation = CompletionStatus::REMOTE_OPERATION;
        assert_eq!(pair.a.results(), [(1, operation)]);
        assert_eq!(pair.b.results(), [(7, LOCAL_PROTECTION)]);
    }
}

#[test]
fn receiver_not_ready_retries_run_out_with_time() {
    let setup = Setup {
        params: ConnectParams {
            rnr_retry_count: 3,
            ..ConnectParams::default()
        },
        ..Setup::default()
    };
    for seed in 0..4 {
        let mut pair = Pair::with(seed, &setup);
        pair.a.post(1, Operation::Send, &[]);
        assert_eq!(pair.net.run_until_quiet(), 0);
        // The try, and three more.
        for _ in 0..3 {
            assert!(pair.net.step());
            assert_eq!(pair.a.results(), []);
        }
        assert!(pair.net.step());
        let exceeded = CompletionStatus::RNR_RETRY_EXCEEDED;
        assert_eq!(pair.a.results(), [(1, exceeded)]);
        assert_eq!(pair.state(pair.a.number()), QueuePairState::Error);
        assert_eq!(pair.state(pair.b.number()), QueuePairState::Ready);

        // A receive in time gives the retries back.
        let mut pair = Pair::with(seed, &setup);
        let into = pair.b.register(64, Access::LOCAL_WRITE);
        for id in 0..3 {
            pair.a.post(id, Operation::Send, &[]);
            for _ in 0..3 {
                assert!(pair.net.step());
            }
            pair.b.receive(id, &into, 0, 64);
            pair.net.run_until_quiet();
            assert_eq!(pair.a.results(), [(id, OK)]);
        }
        let sent = pair.net.queue_pairs()[0].traffic;
        assert_eq!((sent.sends, sent.not_ready), (3, 9));
    }
}

#[test]
fn the_retries_that_count_are_those_the_peer_asked_for() {
    let mut pair = Pair::requested(1, &Setup::default());
    let params = ConnectParams {
        rnr_retry_count: 0,
        ..ConnectParams::default()
    };
    pair.b.cm.accept(pair.b.connection, &params).unwrap();
    pair.net.run_until_idle();
    pair.a.post(1, Operation::Send, &[]);
    pair.b.post(2, Operation::Send, &[]);
    pair.net.run_until_idle();
    let exceeded = CompletionStatus::RNR_RETRY_EXCEEDED;
    assert_eq!(pair.a.results(), [(1, exceeded)]);
    // Its peer is broken now.
    let unanswered = CompletionStatus::RETRY_EXCEEDED;
    assert_eq!(pair.b.results(), [(2, unanswered)]);
}

#[test]
fn more_reads_than_the_peer_answers_are_refused() {
    let mut seen = 0;
    for seed in 0..16 {
        let mut pair = Pair::requested(seed, &Setup::default());
        // A said that it answers four; B does not care.
        let params = ConnectParams {
            initiator_depth: 8,
            ..ConnectParams::default()
        };
        pair.b.cm.accept(pair.b.connection, &params).unwrap();
        pair.net.run_until_idle();
        let here = pair.b.register(64, Access::LOCAL_WRITE);
        let there = pair.a.register(64, ALL);
        for link in pair.net.0.lock().links.values_mut() {
            // What A's REP handling made of it: what B will have in flight.
            assert_eq!(link.responder_resources, if link.node == 0 { 8 } else { 4 });
            if link.node == 0 {
                link.responder_resources = 2;
            }
        }
        for id in 0..8 {
            let sge = [here.sge(0, 8).unwrap()];
            pair.b.post(id, read_from(&there, 0, 8), &sge);
        }
        pair.net.run_until_idle();
        let results = pair.b.results();
        let first = results.iter().position(|result| result.1 != OK);
        let Some(first) = first else { continue };
        seen += 1;
        assert!(first >= 2);
        assert_eq!(results[first].1, CompletionStatus::REMOTE_INVALID_REQUEST);
        assert!(results[first + 1..].iter().all(|r| r.1 == FLUSHED));
        pair.both_broken();
    }
    assert!(seen > 0);

    let setup = Setup {
        params: ConnectParams {
            initiator_depth: 0,
            ..ConnectParams::default()
        },
        ..Setup::default()
    };
    let mut pair = Pair::with(1, &setup);
    pair.b
        .post(1, Operation::RdmaRead { address: 0, key: 0 }, &[]);
    pair.net.run_until_idle();
    assert_eq!(pair.b.results(), [(1, CompletionStatus(2))]);
}

#[test]
fn a_read_whose_memory_goes_meanwhile_fails() {
    let mut in_between = 0;
    for seed in 0..16 {
        let mut pair = Pair::new(seed);
        let here = pair.a.register(64, Access::LOCAL_WRITE);
        let there = pair.b.register(64, ALL);
        let sge = [here.sge(0, 8).unwrap()];
        for id in 0..3 {
            pair.a.post(id, read_from(&there, 0, 8), &sge);
        }
        for _ in 0..3 {
            pair.net.step();
        }
        drop(there);
        pair.net.run_until_idle();
        let results = pair.a.results();
        assert_eq!(results.len(), 3);
        let first = results.iter().position(|result| result.1 != OK).unwrap();
        assert_eq!(results[first], (first as u64, REMOTE_ACCESS));
        assert!(results[first + 1..].iter().all(|r| r.1 == FLUSHED));
        in_between += u32::from(first == 0);
    }
    assert!(in_between > 0);
}

#[test]
fn earlier_reads_complete_before_a_refusal_is_told() {
    for seed in 0..16 {
        let mut pair = Pair::new(seed);
        let here = pair.a.register(64, Access::LOCAL_WRITE);
        let there = pair.b.register(64, ALL);
        let sge = [here.sge(0, 8).unwrap()];
        pair.a.post(1, read_from(&there, 0, 8), &sge);
        pair.a.post(2, read_from(&there, 8, 8), &sge);
        pair.a.post(3, moved(write_to(&there, 0, 8), 64), &sge);
        pair.a.post(4, Operation::Send, &[]);
        pair.net.run_until_idle();
        let expected = [(1, OK), (2, OK), (3, REMOTE_ACCESS), (4, FLUSHED)];
        assert_eq!(pair.a.results(), expected, "seed {seed}");
    }
}

#[test]
fn posts_to_a_broken_queue_pair_flush() {
    let mut pair = Pair::new(1);
    let here = pair.a.register(64, Access::LOCAL_WRITE);
    pair.a.receive(1, &here, 0, 64);
    pair.a.try_post(2, Operation::Send, false, &[]).unwrap();
    pair.a.queue().fail().unwrap();
    pair.net.run_until_idle();
    let mut results = pair.a.results();
    results.sort_unstable_by_key(|result| result.0);
    assert_eq!(results, [(1, FLUSHED), (2, FLUSHED)]);
    pair.a.receive(3, &here, 0, 64);
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), [(3, FLUSHED)]);
    pair.a.try_post(4, Operation::Send, false, &[]).unwrap();
    pair.net.run_until_idle();
    assert_eq!(pair.a.results(), [(4, FLUSHED)]);
    // The peer notices when it sends something.
    assert_eq!(pair.state(pair.b.number()), QueuePairState::Ready);
    pair.b.post(5, Operation::Send, &[]);
    assert_eq!(pair.net.run_until_quiet(), 0);
    pair.net.run_until_idle();
    assert_eq!(pair.b.results(), [(5, CompletionStatus::RETRY_EXCEEDED)]);
}

#[test]
fn nothing_comes_after_the_drop() {
    for seed in 0..8 {
        let mut pair = Pair::new(seed);
        let from = pair.a.register(64, Access::LOCAL_READ);
        let into = pair.b.register(64, Access::LOCAL_WRITE);
        let number = pair.b.number();
        pair.b.receive(1, &into, 0, 64);
        pair.b.receive(2, &into, 0, 64);
        pair.a.post(1, Operation::Send, &[from.sge(0, 4).unwrap()]);
        pair.net.run_until_idle();
        // One completion is there, one receive is posted.
        pair.b.queue_pair = None;
        assert_eq!(pair.b.results(), []);
        pair.net.run_until_idle();
        assert_eq!(pair.b.results(), []);
        assert!(pair.net.queue_pairs().iter().all(|q| q.number != number));
        // For the peer it does not answer any more.
        pair.a.post(2, Operation::Send, &[]);
        pair.net.run_until_idle();
        let unanswered = CompletionStatus::RETRY_EXCEEDED;
        assert_eq!(pair.a.results(), [(1, OK), (2, unanswered)]);
    }
}

#[test]
fn an_overrun_completion_queue_takes_its_queue_pairs_with_it() {
    let setup = Setup {
        completions: 4,
        ..Setup::default()
    };
    for seed in 0..4 {
        let mut pair = Pair::with(seed, &setup);
        for id in 0..5 {
            let (address, key) = (0, 0);
            pair.a.post(id, Operation::RdmaWrite { address, key }, &[]);
        }
        pair.net.run_until_idle();
        let events: Vec<_> = std::iter::from_fn(|| pair.a.adapter.next_event()).collect();
        assert_eq!(events, [AdapterEvent::CompletionQueueError]);
        assert_eq!(pair.state(pair.a.number()), QueuePairState::Error);
        // What was in it can be had; what did not fit is lost.
        let expected: Vec<_> = (0..4).map(|id| (id, OK)).collect();
        assert_eq!(pair.a.results(), expected);
        pair.a.try_post(9, Operation::Send, true, &[]).unwrap();
        pair.net.run_until_idle();
        assert_eq!(pair.a.results(), []);
    }
}

/// As a mapped file that was opened to read.
#[derive(Debug)]
struct ReadOnly(Anonymous);

// SAFETY: forwards to memory that keeps the contract, and promises less.
unsafe impl Memory for ReadOnly {
    fn base(&self) -> std::ptr::NonNull<u8> {
        self.0.base()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn writable(&self) -> bool {
        false
    }
}

#[test]
fn registration_keeps_to_what_memory_and_adapter_allow() {
    let pair = Pair::new(1);
    let try_register = |range, access| {
        let memory = Arc::new(Anonymous::new(4096).unwrap());
        pair.a.adapter.register(memory, range, access)
    };
    assert!(try_register(0..4096, ALL).is_ok());
    assert!(try_register(0..4097, ALL).is_err());
    assert!(try_register(5..5, ALL).is_err());
    let memory = Arc::new(ReadOnly(Anonymous::new(4096).unwrap()));
    let register = |access| pair.a.adapter.register(memory.clone(), 0..4096, access);
    assert!(register(Access::LOCAL_READ).is_ok());
    assert!(register(Access::LOCAL_WRITE).is_err());
    let mut access = ALL;
    access.local_write = false;
    assert!(try_register(0..4096, access).is_err());
    access = Access::LOCAL_READ;
    access.on_demand = true;
    assert!(try_register(0..4096, access).is_err());
    let able = pair.net.fabric_with("odp", &[], |can| {
        can.on_demand_paging = true;
        can.max_region = 100;
    });
    let able = able.unwrap().adapters().unwrap().remove(0);
    let memory = Arc::new(Anonymous::new(4096).unwrap());
    assert!(able.register(memory.clone(), 0..100, access).is_ok());
    assert!(able.register(memory, 0..101, access).is_err());
    assert!(able.completion_queue(0).is_err());
    assert!(able.completion_queue(u32::MAX).is_err());
}
