//! What holds for the whole process. All of it is optional, at the top level of the configuration.

use std::thread;

use serde::Serialize;

use super::document::Fault;
use super::document::{Node, Object, Problems, integer32, word};
use super::units::{ByteSize, Span};

/// Settings of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// What executes staged I/O.
    pub io_engine: IoEngine,
    /// I/O threads; see [`shard_count`](Self::shard_count).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    /// How long an idle shard polls before it sleeps.
    pub poll_time: Span,
    /// Bytes of the device that one window covers; a power of two.
    pub window_size: ByteSize,
    /// Bytes of page cache that windows may pin; follows from the machine's memory and limits if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_memory: Option<ByteSize>,
    /// Bytes of registered buffers for staged I/O, in the whole process.
    pub staging_memory: ByteSize,
    /// Requests that an initiator may have in flight on one SRP channel (its REQUEST LIMIT), or iSCSI connection (its
    /// MaxCmdSN window, of [`iscsi_queue_depth`](Self::iscsi_queue_depth)).
    pub queue_depth: u32,
    /// Sessions at a time, of all targets.
    pub max_sessions: u32,
    /// I/O queues that an NVMe host may have on one controller.
    pub nvme_io_queues: u32,
    /// Longest information unit that an SRP initiator may send, in bytes (SRP r16a section 6.3).
    pub max_it_iu_len: u32,
    /// How long an iSCSI connection may be silent before we ask whether its initiator is there; 0 is never.
    pub nop_interval: Span,
    /// How long it may take to answer.
    pub nop_timeout: Span,
}

/// What executes staged I/O.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IoEngine {
    /// io_uring where it is allowed, threads otherwise.
    #[default]
    Auto,
    /// io_uring, or fail to start.
    IoUring,
    /// A pool of threads.
    Threads,
}

impl IoEngine {
    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::Threads => "threads",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            io_engine: IoEngine::Auto,
            shards: None,
            poll_time: Span::micros(50),
            window_size: ByteSize::mib(2),
            pinned_memory: None,
            staging_memory: ByteSize::mib(128),
            // What Linux's NVMe host asks for; it warns of less.
            queue_depth: 128,
            max_sessions: 256,
            nvme_io_queues: Self::NVME_IO_QUEUES,
            // Room for a command with 8 KiB of immediate data at offset 80, as Linux sends it, with 4 bytes to spare.
            max_it_iu_len: 8276,
            nop_interval: Span::seconds(30),
            nop_timeout: Span::seconds(30),
        }
    }
}

impl Settings {
    /// Hosts ask for one per CPU; each takes message buffers of its own.
    const NVME_IO_QUEUES: u32 = 64;

    /// The keys at the top level.
    pub(super) const KEYS: [&'static str; 12] = [
        "io_engine",
        "shards",
        "poll_time",
        "window_size",
        "pinned_memory",
        "staging_memory",
        "queue_depth",
        "max_sessions",
        "nvme_io_queues",
        "max_it_iu_len",
        "nop_interval",
        "nop_timeout",
    ];

    /// [`queue_depth`](Self::queue_depth) as far as an iSCSI connection gets it. libiscsi over iSER posts receives for this
    /// many responses and no more, whatever the window says.
    pub fn iscsi_queue_depth(&self) -> u32 {
        const MOST: u32 = 128;
        self.queue_depth.min(MOST)
    }

    /// I/O threads to start: as set, or one per CPU that we may use, up to 8.
    pub fn shard_count(&self) -> usize {
        const DEFAULT_MOST: usize = 8;
        match self.shards {
            Some(count) => usize::try_from(count).unwrap_or(DEFAULT_MOST),
            None => thread::available_parallelism()
                .map_or(1, usize::from)
                .min(DEFAULT_MOST),
        }
    }

    pub(super) fn read(problems: &mut Problems, object: &Object<'_>) -> Self {
        let default = Self::default();
        let size = |problems: &mut Problems, key: &str, low, high| {
            object.optional(problems, key, |node| ByteSize::read(node, low, high))
        };
        let count = |problems: &mut Problems, key: &str, low, high| {
            object.optional(problems, key, |node| integer32(node, low, high))
        };
        let seconds = |problems: &mut Problems, key: &str, low, high| {
            object.optional(problems, key, |node| {
                Span::read(
                    node,
                    Span::seconds(1),
                    Span::seconds(low),
                    Span::seconds(high),
                )
            })
        };
        let most = ByteSize(1 << 46);
        Self {
            io_engine: object
                .optional(problems, "io_engine", io_engine)
                .unwrap_or_default(),
            shards: count(problems, "shards", 1, 256),
            poll_time: object
                .optional(problems, "poll_time", |node| {
                    Span::read(
                        node,
                        Span::micros(1),
                        Span::micros(0),
                        Span::micros(100_000),
                    )
                })
                .unwrap_or(default.poll_time),
            window_size: object
                .optional(problems, "window_size", window_size)
                .unwrap_or(default.window_size),
            pinned_memory: size(problems, "pinned_memory", ByteSize(0), most),
            staging_memory: size(problems, "staging_memory", ByteSize::mib(4), most)
                .unwrap_or(default.staging_memory),
            queue_depth: count(problems, "queue_depth", 2, 4096).unwrap_or(default.queue_depth),
            max_sessions: count(problems, "max_sessions", 1, 65536).unwrap_or(default.max_sessions),
            nvme_io_queues: count(problems, "nvme_io_queues", 1, Self::NVME_IO_QUEUES)
                .unwrap_or(default.nvme_io_queues),
            max_it_iu_len: count(problems, "max_it_iu_len", 512, 65536)
                .unwrap_or(default.max_it_iu_len),
            nop_interval: seconds(problems, "nop_interval", 0, 3600)
                .unwrap_or(default.nop_interval),
            nop_timeout: seconds(problems, "nop_timeout", 1, 600).unwrap_or(default.nop_timeout),
        }
    }
}

fn io_engine(node: &Node) -> Result<IoEngine, Fault> {
    let all = [IoEngine::Auto, IoEngine::IoUring, IoEngine::Threads];
    word(node, &all.map(|engine| (engine.as_str(), engine)))
}

fn window_size(node: &Node) -> Result<ByteSize, Fault> {
    let size = ByteSize::read(node, ByteSize(64 << 10), ByteSize(1 << 30))?;
    if size.bytes().is_power_of_two() {
        return Ok(size);
    }
    let down = 1_u64 << size.bytes().ilog2();
    Err(Fault::new(
        format!("{} is not a power of two", node.show()),
        format!("give \"{}\" or \"{}\"", ByteSize(down), ByteSize(down * 2)),
    ))
}
