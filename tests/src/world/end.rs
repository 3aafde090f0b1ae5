//! Witnesses of what the target did, and how a world ends.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pagecastd::control::Management;

use super::{TARGET, World};

impl World {
    /// Bytes of windows, and of staging memory, that were the source of RDMA WRITEs of the target.
    pub fn written_from(&self) -> (u64, u64) {
        let mut sums = (0, 0);
        for region in self.net.regions() {
            if region.node == TARGET {
                match region.memory.contains("Anonymous") {
                    false => sums.0 += region.rdma_written_from,
                    true => sums.1 += region.rdma_written_from,
                }
            }
        }
        sums
    }

    /// Queue pairs of the target that exist, by number.
    pub fn target_queue_pairs(&self) -> Vec<u32> {
        let on_target = self.net.queue_pairs().into_iter();
        on_target
            .filter(|pair| pair.node.starts_with(TARGET))
            .map(|pair| pair.number)
            .collect()
    }

    /// Ends every channel and checks that the daemon holds nothing any more.
    pub fn finish(mut self) {
        for store in self.stores.values() {
            store.clear();
        }
        self.io.release();
        for &(host, channel) in &self.channels {
            self.initiators[host]
                .disconnect(channel)
                .expect("a disconnect");
        }
        for &(host, connection) in &self.iser_connections {
            self.iser[host]
                .disconnect(connection)
                .expect("a disconnect");
        }
        for &(host, queue) in &self.nvme_queues {
            self.nvme[host].disconnect(queue).expect("a disconnect");
        }
        self.settle();
        self.assert_nothing_held();
    }

    /// Sessions, tasks, queue pairs, staging memory, leases: nothing is left.
    pub fn assert_nothing_held(&mut self) {
        let seed = self.seed;
        self.pass(Duration::from_millis(300));
        // A command may wait for window threads, and those for a processor.
        for _ in 0..2000 {
            if self.daemon.shared.stats().sessions == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            self.pump();
        }
        self.pass(Duration::from_millis(300));
        let stats = self.daemon.shared.stats();
        assert_eq!(stats.sessions, 0, "seed {seed}: sessions");
        assert_eq!(stats.connections, 0, "seed {seed}: connections");
        assert_eq!(stats.staged_bytes, 0, "seed {seed}: staging memory");
        let tasks: u64 = self
            .daemon
            .shared
            .gauges
            .iter()
            .map(|g| g.tasks.load(Relaxed))
            .sum();
        assert_eq!(tasks, 0, "seed {seed}: tasks");
        let pairs = self.target_queue_pairs();
        assert!(pairs.is_empty(), "seed {seed}: queue pairs {pairs:?}");
        for device in &self.daemon.shared.inventory().devices {
            let busy = device.total(|counters| &counters.in_flight);
            assert_eq!(busy, 0, "seed {seed}: commands on {}", device.name);
            assert!(
                device.locks.is_idle(),
                "seed {seed}: locks of {}",
                device.name
            );
            if let Some(windows) = &device.windows {
                let revoked = windows.revoke_and_wait(0..u64::MAX, Duration::from_secs(10));
                assert!(revoked.is_ok(), "seed {seed}: leases on {}", device.name);
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for store in self.stores.values() {
            store.clear();
        }
        if std::thread::panicking() {
            let trace = self.net.trace();
            eprintln!("the end of what happened:");
            for entry in trace.iter().skip(trace.len().saturating_sub(40)) {
                eprintln!("{entry}");
            }
            eprintln!("SEED={} runs this again", self.seed);
        }
    }
}
