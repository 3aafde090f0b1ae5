//! How much memory may be pinned: the account, and what a machine can spare.

use std::fs;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a refusal of the kernel is remembered. Afterwards the whole budget is tried again.
const REFUSAL_HOLDS: Duration = Duration::from_secs(60);

/// Pinned bytes and their limit, for all caches of a service.
#[derive(Debug)]
pub(super) struct Budget {
    configured: u64,
    /// What the kernel was seen to allow, at most `configured`.
    limit: AtomicU64,
    pinned: AtomicU64,
    refusal: Mutex<Refusal>,
}

#[derive(Debug, Default)]
struct Refusal {
    forget_at: Option<Instant>,
    told: bool,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            configured: bytes,
            limit: AtomicU64::new(bytes),
            pinned: AtomicU64::new(0),
            refusal: Mutex::default(),
        }
    }

    /// Bytes that are pinned, or about to be.
    pub(super) fn pinned(&self) -> u64 {
        self.pinned.load(Relaxed)
    }

    /// Bytes that may be pinned now.
    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Takes `bytes` out of what is left.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        self.forget_old_refusal();
        let limit = self.limit();
        self.pinned
            .fetch_update(AcqRel, Acquire, |pinned| {
                pinned.checked_add(bytes).filter(|&sum| sum <= limit)
            })
            .ok()?;
        Some(Reservation {
            budget: Arc::clone(self),
            bytes,
        })
    }

    /// The kernel would not pin more: what is pinned now is the limit for a while. True if that is news to tell.
    pub(super) fn refused(&self) -> bool {
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        self.limit.fetch_min(self.pinned(), AcqRel);
        refusal.forget_at = Some(Instant::now() + REFUSAL_HOLDS);
        !std::mem::replace(&mut refusal.told, true)
    }

    fn forget_old_refusal(&self) {
        if self.limit() == self.configured {
            return;
        }
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if refusal.forget_at.is_some_and(|at| at <= Instant::now()) {
            refusal.forget_at = None;
            self.limit.store(self.configured, Relaxed);
        }
    }
}

/// Bytes taken out of a [`Budget`], until dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.pinned.fetch_sub(self.bytes, AcqRel);
    }
}

/// What a process may lock in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of the machine, in bytes.
    pub total_memory: u64,
    /// RLIMIT_MEMLOCK (soft), in bytes; `None` when it is unlimited.
    pub memlock: Option<u64>,
    /// Whether the process has CAP_IPC_LOCK, to which RLIMIT_MEMLOCK does not apply.
    pub ipc_lock: bool,
}

/// How much to pin for windows unless the operator says, and what the operator should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultBudget {
    /// Bytes for windows.
    pub bytes: u64,
    /// What holds the figure down, and the remedy.
    pub advice: Option<String>,
}

/// What to set so that more memory may be locked.
pub(super) const REMEDY: &str =
    "set LimitMEMLOCK=infinity in the systemd unit (or ulimit -l unlimited), or grant CAP_IPC_LOCK";

/// Half of the machine's memory, for it may do other things too, and no more than RLIMIT_MEMLOCK leaves when
/// `buffers` bytes of it go to message and staging buffers.
pub fn default_budget(limits: &Limits, buffers: u64) -> DefaultBudget {
    let wanted = limits.total_memory / 2;
    let lockable = match limits.memlock {
        Some(bytes) if !limits.ipc_lock => bytes.saturating_sub(buffers),
        _ => u64::MAX,
    };
    if lockable >= wanted {
        return DefaultBudget {
            bytes: wanted,
            advice: None,
        };
    }
    let memlock = limits.memlock.unwrap_or(0) >> 10;
    DefaultBudget {
        bytes: lockable,
        advice: Some(format!(
            "RLIMIT_MEMLOCK is {memlock} KiB, of which {} KiB go to buffers: READs can be served without copying from {} MiB \
             of page cache instead of {} MiB; {REMEDY}",
            buffers >> 10,
            lockable >> 20,
            wanted >> 20,
        )),
    }
}

/// Reads the [`Limits`] of this process.
pub fn read_limits() -> io::Result<Limits> {
    let mut memlock = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `memlock` is a valid `rlimit` for the call to fill, and outlives it.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut memlock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let missing = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let total = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal:")
        .and_then(|value| value.strip_suffix(" kB")?.parse::<u64>().ok())
        .ok_or_else(|| missing("no MemTotal in /proc/meminfo"))?;
    let capabilities = field(&fs::read_to_string("/proc/self/status")?, "CapEff:")
        .and_then(|value| u64::from_str_radix(value, 16).ok())
        .ok_or_else(|| missing("no CapEff in /proc/self/status"))?;
    Ok(Limits {
        total_memory: total << 10,
        memlock: (memlock.rlim_cur != libc::RLIM_INFINITY).then_some(memlock.rlim_cur),
        ipc_lock: capabilities & 1 << CAP_IPC_LOCK != 0,
    })
}

/// `linux/capability.h`
const CAP_IPC_LOCK: u32 = 14;

/// The value of a `Name:  value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_default_is_half_the_machine() {
        let limits = Limits {
            total_memory: 16 * GIB,
            memlock: None,
            ipc_lock: false,
        };
        let budget = default_budget(&limits, GIB);
        assert_eq!((budget.bytes, budget.advice), (8 * GIB, None));
        let privileged = Limits {
            memlock: Some(64 << 10),
            ipc_lock: true,
            ..limits
        };
        assert_eq!(default_budget(&privileged, GIB).bytes, 8 * GIB);
    }

    #[test]
    fn a_low_memlock_limit_leaves_room_for_buffers_and_is_told() {
        let limits = Limits {
            total_memory: 16 * GIB,
            memlock: Some(8 << 20),
            ipc_lock: false,
        };
        let budget = default_budget(&limits, 6 << 20);
        assert_eq!(budget.bytes, 2 << 20);
        let advice = budget.advice.unwrap();
        assert!(advice.contains("8192 KiB") && advice.contains("LimitMEMLOCK=infinity"));
        assert_eq!(default_budget(&limits, GIB).bytes, 0);
    }

    #[test]
    fn this_process_has_limits() {
        let limits = read_limits().unwrap();
        assert!(limits.total_memory > 64 << 20);
    }

    #[test]
    fn a_reservation_comes_back_and_a_refusal_holds() {
        let budget = Arc::new(Budget::new(100));
        let some = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        let rest = budget.reserve(40).unwrap();
        drop(rest);
        assert!(budget.refused(), "told once");
        assert!(!budget.refused());
        assert_eq!(budget.limit(), 60);
        assert!(budget.reserve(1).is_none());
        drop(some);
        assert_eq!(budget.pinned(), 0);
        assert!(budget.reserve(60).is_some());
    }
}
