//! What commands cost a shard, in instructions: counted by callgrind, so that the numbers repeat.
//!
//! usage: cargo bench -p pagecastd [-- OPERATION...]
//!
//! The whole daemon runs over the simulated fabric, and one command at a time goes through it. Counted are the turns of
//! its shard from the one that polls the command's receive completion to the one after which the chain with its response
//! is posted. The columns:
//!
//! - `command`: from the completion as it was polled to the posted chain: decoding, planning, the window lookup, building
//!   the response and the chain. The limits are for this.
//! - `loop`: what else a turn does, once for all commands that it finds: the mailbox, ports, the backend, timers.
//! - `stand-ins`: what the simulated adapter does in poll, `post_receive` and `post_send`, where libibverbs and the
//!   provider's driver would stand, and what stands for the I/O engine.
//!
//! A command that waits for its backend goes on in a later turn, and counts as `loop` from there. "end" is the turn that takes
//! the response's send completion.
//!
//! Allocations are counted in all of it, by the global allocator. Instructions of the kernel are not: a hot READ makes
//! no system call but for one `fstat` of the backing file in a millisecond, and time stands still here.
#![allow(clippy::print_stdout, reason = "its table is what it is for")]

mod counting;
mod hosts;

use std::process::ExitCode;

use counting::{Row, measure};
use hosts::Host;
use pagecast_memory::CountingAllocator;
use pagecast_tests::{Setup, World};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Commands before the counted ones: windows are filled, vectors have grown.
const WARM_UP: u64 = 200;
/// Commands that are counted.
const ROUNDS: u64 = 200;

/// Instructions that a hot READ of 4 KiB may take, from receive completion to posted chain.
const READ_LIMITS: [(&str, u64); 3] = [
    ("read-4k", 2000),
    ("iser-read-4k", 2000),
    ("nvme-read-4k", 2000),
];
/// What a hot READ of 1 MiB may take, in hundredths of one of 4 KiB with as many descriptors.
const LARGE_LIMIT: u64 = 120;
/// READs of 4 KiB, and of 1 MiB.
const PAIRS: [(&str, &str); 4] = [
    ("read-4k", "read-1m"),
    ("read-4k-8", "read-1m-8"),
    ("iser-read-4k", "iser-read-1m"),
    ("nvme-read-4k", "nvme-read-1m"),
];

/// Parts of the names of the sim adapter's functions, and of the I/O engine's stand-in.
const STAND_INS: [&[&str]; 5] = [
    &["SimCompletionQueue", "poll"],
    &["SimQueuePair", "post_send"],
    &["SimQueuePair", "post_receive"],
    &["io::Inline", "submit"],
    &["io::Inline", "poll"],
];

/// Those of them that a completion leads to.
const STAND_INS_WITHIN: [&[&str]; 3] = [
    &["SimQueuePair", "post_send"],
    &["SimQueuePair", "post_receive"],
    &["io::Inline", "submit"],
];

struct Operation {
    name: &'static str,
    over: Over,
    zero_copy: bool,
    kind: Kind,
    bytes: usize,
    descriptors: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Over {
    Srp,
    Iser,
    Nvme,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Read,
    /// The turn after it, too.
    End,
    Write,
    Immediate,
}

const fn operation(name: &'static str, kind: Kind, bytes: usize, descriptors: usize) -> Operation {
    Operation {
        name,
        over: Over::Srp,
        zero_copy: true,
        kind,
        bytes,
        descriptors,
    }
}

const fn over_iser(name: &'static str, kind: Kind, bytes: usize) -> Operation {
    Operation {
        over: Over::Iser,
        ..operation(name, kind, bytes, 1)
    }
}

const fn over_nvme(name: &'static str, kind: Kind, bytes: usize) -> Operation {
    Operation {
        over: Over::Nvme,
        ..operation(name, kind, bytes, 1)
    }
}

const OPERATIONS: [Operation; 19] = [
    operation("read-4k", Kind::Read, 4096, 1),
    operation("read-1m", Kind::Read, 1 << 20, 1),
    operation("read-4k-8", Kind::Read, 4096, 8),
    operation("read-1m-8", Kind::Read, 1 << 20, 8),
    operation("read-4k-end", Kind::End, 4096, 1),
    Operation {
        zero_copy: false,
        ..operation("read-4k-staged", Kind::Read, 4096, 1)
    },
    Operation {
        zero_copy: false,
        ..operation("read-1m-staged", Kind::Read, 1 << 20, 1)
    },
    operation("write-4k", Kind::Write, 4096, 1),
    operation("write-4k-immediate", Kind::Immediate, 4096, 1),
    over_iser("iser-read-4k", Kind::Read, 4096),
    over_iser("iser-read-1m", Kind::Read, 1 << 20),
    over_iser("iser-read-4k-end", Kind::End, 4096),
    over_iser("iser-write-4k", Kind::Write, 4096),
    over_iser("iser-write-4k-immediate", Kind::Immediate, 4096),
    over_nvme("nvme-read-4k", Kind::Read, 4096),
    over_nvme("nvme-read-1m", Kind::Read, 1 << 20),
    over_nvme("nvme-read-4k-end", Kind::End, 4096),
    over_nvme("nvme-write-4k", Kind::Write, 4096),
    over_nvme("nvme-write-4k-immediate", Kind::Immediate, 4096),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = &arguments[..]
        && flag == "--under-callgrind"
    {
        let operation = OPERATIONS.iter().find(|known| known.name == name);
        run(operation.expect("an operation"));
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let rows: Vec<Row> = OPERATIONS
        .iter()
        .filter(|known| wanted.is_empty() || wanted.iter().any(|name| *name == known.name))
        .map(measure)
        .collect();
    report(&rows)
}

// --- the counted program -----------------------------------------------------------------------------------------

struct Bench {
    world: World,
    host: Host,
    kind: Kind,
    allocations: u64,
}

fn run(operation: &Operation) {
    let zero_copy = if operation.zero_copy { "auto" } else { "off" };
    let mut setup = Setup::new(1)
        .device(&format!(
            r#"{{ "name": "disk0", "backend": "memory", "size": "16MiB", "zero_copy": "{zero_copy}" }}"#
        ))
        .setting(r#""window_size": "2MiB""#)
        .setting(r#""queue_depth": 64"#);
    setup.shards = 1;
    setup.hosts = 1;
    setup.iser = u16::from(operation.over == Over::Iser);
    setup.nvme = u16::from(operation.over == Over::Nvme);
    let mut world = setup.build();
    world.io.be_eager();
    let host = Host::new(&mut world, operation);
    world.settle();
    let mut bench = Bench {
        world,
        host,
        kind: operation.kind,
        allocations: 0,
    };
    for _ in 0..WARM_UP {
        bench.round(turn);
    }
    bench.allocations = 0;
    for _ in 0..ROUNDS {
        bench.round(counted_turn);
    }
    println!("allocations {}", bench.allocations);
}

impl Bench {
    /// One command, whose turns are made by `counted`.
    fn round(&mut self, counted: fn(&mut World)) {
        let end = self.kind == Kind::End;
        let tag = self.host.send(&mut self.world);
        self.world.net.run_until_quiet();
        // Until the target has nothing more to do: the response is on its way.
        for _ in 0..20 {
            self.turn(if end { turn } else { counted });
            if self.world.net.run_until_quiet() > 0 && self.host.is_answered(&mut self.world) {
                break;
            }
        }
        // Its send completion.
        self.turn(if end { counted } else { turn });
        self.world.net.run_until_quiet();
        assert!(self.host.is_good(&mut self.world, tag));
    }

    fn turn(&mut self, turn: fn(&mut World)) {
        let before = CountingAllocator::allocations();
        turn(&mut self.world);
        self.allocations += CountingAllocator::allocations() - before;
    }
}

/// Not counted.
#[inline(never)]
fn turn(world: &mut World) {
    let now = world.now;
    world.daemon.shards[0].turn(now);
}

/// What callgrind counts, by this name.
#[inline(never)]
fn counted_turn(world: &mut World) {
    let now = world.now;
    world.daemon.shards[0].turn(now);
    // Not the same code as `turn`, or the two might become one.
    std::hint::black_box(world);
}

fn report(rows: &[Row]) -> ExitCode {
    println!(
        "{:<24} {:>10} {:>10} {:>10} {:>12}",
        "operation", "command", "loop", "stand-ins", "allocations"
    );
    for row in rows {
        println!(
            "{:<24} {:>10} {:>10} {:>10} {:>12}",
            row.name, row.command, row.around, row.stand_ins, row.allocations
        );
    }
    let mut broken = Vec::new();
    let find = |name: &str| rows.iter().find(|row| row.name == name);
    for (name, limit) in READ_LIMITS {
        if let Some(read) = find(name)
            && read.command > limit
        {
            broken.push(format!(
                "{name} takes {} instructions, the limit is {limit}",
                read.command
            ));
        }
    }
    for (small, large) in PAIRS {
        if let (Some(small), Some(large)) = (find(small), find(large))
            && large.command * 100 > small.command * LARGE_LIMIT
        {
            broken.push(format!(
                "{} takes more than {LARGE_LIMIT} % of {}",
                large.name, small.name
            ));
        }
    }
    for row in rows {
        if row.name.contains("read") && !row.name.ends_with("staged") && row.allocations > 0 {
            broken.push(format!("{} allocates", row.name));
        }
    }
    for limit in &broken {
        println!("FAILED: {limit}");
    }
    if broken.is_empty() {
        println!("all within limits");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}
