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

use std::process::{Command as Process, ExitCode};

use pagecast_initiator::iser::{self, ConnectionHandle};
use pagecast_initiator::{Buffer, ChannelId, Command, Data, Format, scsi};
use pagecast_memory::CountingAllocator;
use pagecast_tests::{Setup, World};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Commands before the counted ones: windows are filled, vectors have grown.
const WARM_UP: u64 = 200;
/// Commands that are counted.
const ROUNDS: u64 = 200;

/// Instructions that a hot READ of 4 KiB may take, from receive completion to posted chain.
const READ_LIMITS: [(&str, u64); 2] = [("read-4k", 2000), ("iser-read-4k", 2000)];
/// What a hot READ of 1 MiB may take, in hundredths of one of 4 KiB with as many descriptors.
const LARGE_LIMIT: u64 = 120;
/// READs of 4 KiB, and of 1 MiB.
const PAIRS: [(&str, &str); 3] = [
    ("read-4k", "read-1m"),
    ("read-4k-8", "read-1m-8"),
    ("iser-read-4k", "iser-read-1m"),
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
    iser: bool,
    zero_copy: bool,
    kind: Kind,
    bytes: usize,
    descriptors: usize,
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
        iser: false,
        zero_copy: true,
        kind,
        bytes,
        descriptors,
    }
}

const fn over_iser(name: &'static str, kind: Kind, bytes: usize) -> Operation {
    Operation {
        iser: true,
        ..operation(name, kind, bytes, 1)
    }
}

const OPERATIONS: [Operation; 14] = [
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

/// The only one, and its command.
enum Host {
    Srp(ChannelId, Command),
    Iser(ConnectionHandle, iser::Command),
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
    setup.iser = u16::from(operation.iser);
    let mut world = setup.build();
    world.io.be_eager();
    let host = if operation.iser {
        Host::iser(&mut world, operation)
    } else {
        Host::srp(&mut world, operation)
    };
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

/// Where the commands go.
const LBA: u64 = 2048;

impl Host {
    fn srp(world: &mut World, operation: &Operation) -> Self {
        let channel = world.log_in(0);
        for lba in (0..32_768).step_by(2048) {
            world.read(0, channel, lba, 2048);
        }
        let buffer = world.buffer(0, channel, operation.bytes);
        let data = match operation.kind {
            Kind::Read | Kind::End => Data::In(pieces(&buffer, operation), format(operation)),
            Kind::Write => Data::Out(pieces(&buffer, operation), format(operation)),
            Kind::Immediate => Data::Immediate(vec![0x5a; operation.bytes]),
        };
        Self::Srp(channel, Command::new(0, cdb(operation), data))
    }

    fn iser(world: &mut World, operation: &Operation) -> Self {
        let connection = world.iser_session(0);
        for lba in (0..32_768).step_by(2048) {
            world.iser_read(0, connection, lba, 2048);
        }
        let buffer = world.iser_buffer(0, connection, operation.bytes);
        let piece = buffer.piece(0, operation.bytes).expect("all of it");
        let immediate = match operation.kind {
            Kind::Immediate => operation.bytes,
            _ => 0,
        };
        let data = match operation.kind {
            Kind::Read | Kind::End => iser::Data::In(piece),
            Kind::Write | Kind::Immediate => iser::Data::Out { piece, immediate },
        };
        Self::Iser(connection, iser::Command::new(0, cdb(operation), data))
    }

    fn send(&self, world: &mut World) -> u64 {
        match self {
            Self::Srp(channel, command) => {
                let sent = world.initiators[0].send(*channel, command);
                sent.expect("a credit")
            }
            Self::Iser(connection, command) => {
                let sent = world.iser[0].send(*connection, command);
                u64::from(sent.expect("an open window"))
            }
        }
    }

    fn is_answered(&self, world: &mut World) -> bool {
        match self {
            Self::Srp(channel, _) => {
                world.initiators[0].turn().expect("good manners");
                world.initiators[0].outstanding(*channel) == 0
            }
            Self::Iser(connection, _) => {
                world.iser[0].turn().expect("good manners");
                let client = world.iser[0].client(*connection);
                client.expect("a session").outstanding() == 0
            }
        }
    }

    fn is_good(&self, world: &mut World, tag: u64) -> bool {
        match self {
            Self::Srp(channel, _) => {
                let reply = world.initiators[0].take_reply(*channel, tag);
                reply.expect("a reply").is_good()
            }
            Self::Iser(connection, _) => {
                let reply = world.iser[0].take_reply(*connection, tag as u32);
                reply.expect("a reply").is_good()
            }
        }
    }
}

fn cdb(operation: &Operation) -> Vec<u8> {
    let blocks = (operation.bytes / 512) as u32;
    match operation.kind {
        Kind::Read | Kind::End => scsi::read16(LBA, blocks),
        Kind::Write | Kind::Immediate => scsi::write16(LBA, blocks, false),
    }
}

fn pieces(buffer: &Buffer, operation: &Operation) -> Vec<pagecast_initiator::Piece> {
    let size = operation.bytes / operation.descriptors;
    buffer.pieces(size).expect("all of it")
}

fn format(operation: &Operation) -> Format {
    match operation.descriptors {
        1 => Format::Direct,
        _ => Format::Indirect,
    }
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

// --- counting it -------------------------------------------------------------------------------------------------

struct Row {
    name: &'static str,
    command: u64,
    around: u64,
    stand_ins: u64,
    allocations: u64,
}

fn measure(operation: &Operation) -> Row {
    let (profile, allocations) = callgrind(operation.name);
    let calls = Calls::read(&profile);
    let stand_ins = calls.cost_of(&STAND_INS);
    let completed = calls.cost_of(&[&["shard::Shard", "::completed"]]);
    assert!(
        completed > 0,
        "the function that handles completions has another name now"
    );
    let within = calls.cost_of(&STAND_INS_WITHIN);
    let command = completed - within;
    Row {
        name: operation.name,
        command: command / ROUNDS,
        around: (calls.total - stand_ins - command) / ROUNDS,
        stand_ins: stand_ins / ROUNDS,
        allocations,
    }
}

/// Runs this program under callgrind: the profile of `counted_turn`, and allocations.
fn callgrind(name: &str) -> (String, u64) {
    let out = std::env::temp_dir().join(format!("pagecast-callgrind-{name}"));
    let mut process = Process::new("valgrind");
    process
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg("--compress-strings=no")
        .arg("--compress-pos=no")
        .arg("--toggle-collect=*counted_turn*");
    let program = std::env::current_exe().expect("a program");
    process.arg(program).arg("--under-callgrind").arg(name);
    let ran = match process.output() {
        Ok(ran) => ran,
        Err(error) => {
            eprintln!("cannot run valgrind: {error}; install it (apt-get install valgrind)");
            std::process::exit(1);
        }
    };
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let profile = std::fs::read_to_string(&out).expect("callgrind's result");
    // Kept for callgrind_annotate, if anybody wants to know where it all goes.
    if std::env::var_os("KEEP_PROFILES").is_none() {
        let _ = std::fs::remove_file(&out);
    }
    let allocations = said
        .lines()
        .find_map(|line| line.strip_prefix("allocations "))
        .and_then(|count| count.parse().ok());
    (profile, allocations.expect("a count of allocations"))
}

/// Who called whom in a profile, at what cost.
struct Calls<'a> {
    total: u64,
    /// Caller, called, instructions with all that was called from there.
    calls: Vec<(&'a str, &'a str, u64)>,
}

impl<'a> Calls<'a> {
    fn read(profile: &'a str) -> Self {
        let (mut caller, mut called, mut next_is_cost) = ("", "", false);
        let mut calls = Vec::new();
        let mut total = 0;
        for line in profile.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                caller = name;
            } else if let Some(name) = line.strip_prefix("cfn=") {
                called = name;
            } else if line.starts_with("calls=") {
                next_is_cost = true;
            } else if let Some(sum) = line
                .strip_prefix("totals:")
                .or(line.strip_prefix("summary:"))
            {
                total = sum.trim().parse().unwrap_or(total);
            } else if std::mem::take(&mut next_is_cost) {
                let cost = line.split_whitespace().last();
                let cost = cost.and_then(|cost| cost.parse().ok()).unwrap_or(0);
                calls.push((caller, called, cost));
            }
        }
        assert!(total > 0, "an empty profile");
        Self { total, calls }
    }

    /// Instructions in calls of functions whose name has all the parts of one of `names`, from functions that have not.
    fn cost_of(&self, names: &[&[&str]]) -> u64 {
        let is_one = |name: &str| {
            names
                .iter()
                .any(|parts| parts.iter().all(|part| name.contains(part)))
        };
        self.calls
            .iter()
            .filter(|(caller, called, _)| is_one(called) && !is_one(caller))
            .map(|(_, _, cost)| cost)
            .sum()
    }
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
