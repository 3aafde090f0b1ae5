//! Registered memory: keys, bounds and rights are checked at every access, as an adapter does.

use std::collections::{BTreeMap, VecDeque};

use pagecast_memory::Slice;

use super::random::Random;
use crate::fabric::{Access, Sge};

/// The most bytes of one message or RDMA operation (IBTA 9.4.3: 2^31).
const MAX_MESSAGE: u64 = 1 << 31;

/// Registrations whose figures are kept after they are gone.
const RETIRED: usize = 4096;

/// What went through one registration, and in which way.
#[derive(Clone, Debug)]
pub struct RegionTraffic {
    /// The node that it is registered with.
    pub node: String,
    /// Counts the net's registrations.
    pub serial: u32,
    /// Its first byte.
    pub address: u64,
    /// In bytes.
    pub length: u64,
    /// What it allows.
    pub access: Access,
    /// Whether the memory under it is writable at all (a mapped file that is only read is not).
    pub writable: bool,
    /// The memory under it, as its type prints itself for debugging: to tell kinds of memory apart.
    pub memory: String,
    /// Whether it is still registered.
    pub registered: bool,
    /// Bytes sent from it.
    pub sent: u64,
    /// Bytes received into it.
    pub received: u64,
    /// Bytes of it that were the source of RDMA WRITEs.
    pub rdma_written_from: u64,
    /// Bytes of it that RDMA READs of its owner filled.
    pub rdma_read_into: u64,
    /// Bytes of it that the peer wrote.
    pub written_by_peer: u64,
    /// Bytes of it that the peer read.
    pub read_by_peer: u64,
}

/// All registrations of a net. The serial number is the upper part of both keys, so keys are never used again.
#[derive(Debug)]
pub(super) struct MemoryTable {
    next_serial: u32,
    registered: BTreeMap<u32, Registered>,
    retired: VecDeque<RegionTraffic>,
}

#[derive(Debug)]
struct Registered {
    node: usize,
    slice: Slice,
    local_key: u32,
    remote_key: u32,
    /// False once the peer invalidated the remote key.
    remote_valid: bool,
    traffic: RegionTraffic,
}

/// A checked piece of registered memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    serial: u32,
    address: u64,
    length: u64,
}

/// The key is none, or no longer one, or somebody else's; or the range or the right is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation;

/// Which way an RDMA operation goes, seen from its requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Write,
    Read,
}

impl MemoryTable {
    pub(super) fn new() -> Self {
        Self {
            next_serial: 1,
            registered: BTreeMap::new(),
            retired: VecDeque::new(),
        }
    }

    /// Registers `slice` and returns its local and its remote key. They always differ, so that confusing them shows.
    pub(super) fn register(
        &mut self,
        node: (usize, &str),
        slice: Slice,
        access: Access,
        random: &mut Random,
    ) -> (u32, u32) {
        let serial = self.next_serial;
        self.next_serial += 1;
        let salt = (random.next() & 0xfe) as u32;
        let (local_key, remote_key) = ((serial << 8) | salt, (serial << 8) | salt | 1);
        let traffic = RegionTraffic {
            node: node.1.to_owned(),
            serial,
            address: slice.as_ptr().as_ptr() as u64,
            length: slice.len() as u64,
            access,
            writable: slice.writable(),
            memory: format!("{:?}", slice.memory()),
            registered: true,
            sent: 0,
            received: 0,
            rdma_written_from: 0,
            rdma_read_into: 0,
            written_by_peer: 0,
            read_by_peer: 0,
        };
        self.registered.insert(
            serial,
            Registered {
                node: node.0,
                slice,
                local_key,
                remote_key,
                remote_valid: true,
                traffic,
            },
        );
        (local_key, remote_key)
    }

    /// Forgets a registration; the memory comes back so that it can be released without a lock held.
    pub(super) fn deregister(&mut self, local_key: u32) -> Option<Slice> {
        let mut gone = self.registered.remove(&(local_key >> 8))?;
        gone.traffic.registered = false;
        if self.retired.len() == RETIRED {
            self.retired.pop_front();
        }
        self.retired.push_back(gone.traffic);
        Some(gone.slice)
    }

    /// The figures of everything that is, or not long ago was, registered, oldest first.
    pub(super) fn traffic(&self) -> Vec<RegionTraffic> {
        let live = self.registered.values().map(|region| &region.traffic);
        let mut all: Vec<_> = self.retired.iter().chain(live).cloned().collect();
        all.sort_by_key(|region| region.serial);
        all
    }

    /// The figures of one registration.
    pub(super) fn traffic_of(&self, local_key: u32) -> Option<RegionTraffic> {
        Some(self.registered.get(&(local_key >> 8))?.traffic.clone())
    }

    /// Checks a gather or scatter list of `node` and returns its length in bytes.
    pub(super) fn check_list(
        &self,
        node: usize,
        list: &[Sge],
        to_write: bool,
    ) -> Result<u64, Violation> {
        let mut total = 0_u64;
        for &sge in list {
            self.local(node, sge, to_write)?;
            total += u64::from(sge.length);
        }
        if total > MAX_MESSAGE {
            return Err(Violation);
        }
        Ok(total)
    }

    /// Checks a piece of `node`'s own memory. `None` if it names no bytes, whatever its key.
    pub(super) fn local(
        &self,
        node: usize,
        sge: Sge,
        to_write: bool,
    ) -> Result<Option<Place>, Violation> {
        if sge.length == 0 {
            return Ok(None);
        }
        let region = self.registered.get(&(sge.key >> 8)).ok_or(Violation)?;
        if region.local_key != sge.key || (to_write && !region.traffic.access.local_write) {
            return Err(Violation);
        }
        region
            .place(node, sge.address, u64::from(sge.length))
            .map(Some)
    }

    /// Checks a piece of `node`'s memory that its peer asks for. `None` if it names no bytes: then, as IBTA 9.7.5.2 has
    /// it for the R_Key, nothing is checked.
    pub(super) fn remote(
        &self,
        node: usize,
        (address, key): (u64, u32),
        length: u64,
        direction: Direction,
    ) -> Result<Option<Place>, Violation> {
        if length == 0 {
            return Ok(None);
        }
        let region = self.remote_region(node, key)?;
        let allowed = match direction {
            Direction::Write => region.traffic.access.remote_write,
            Direction::Read => region.traffic.access.remote_read,
        };
        if !allowed {
            return Err(Violation);
        }
        region.place(node, address, length).map(Some)
    }

    /// Whether `key` could be invalidated by `node`'s peer.
    pub(super) fn check_remote_key(&self, node: usize, key: u32) -> Result<(), Violation> {
        self.remote_region(node, key).map(|_| ())
    }

    /// Makes `key` useless to `node`'s peer.
    pub(super) fn invalidate(&mut self, key: u32) {
        if let Some(region) = self.registered.get_mut(&(key >> 8)) {
            region.remote_valid = false;
        }
    }

    fn remote_region(&self, node: usize, key: u32) -> Result<&Registered, Violation> {
        self.registered
            .get(&(key >> 8))
            .filter(|region| region.node == node && region.remote_key == key && region.remote_valid)
            .ok_or(Violation)
    }

    /// Moves a message from a checked gather list into a checked receive, and counts it.
    pub(super) fn send(&mut self, node: usize, list: &[Sge], into: Option<Place>) {
        let Some(mut into) = into else { return };
        for &sge in list {
            let Ok(Some(from)) = self.local(node, sge, false) else {
                continue;
            };
            let to = into.take(from.length);
            self.copy(from, to);
            self.count(from.serial, |traffic| &mut traffic.sent, from.length);
            self.count(to.serial, |traffic| &mut traffic.received, to.length);
        }
    }

    /// Moves the bytes of an RDMA operation between a checked list and a checked remote place, and counts them.
    pub(super) fn rdma(
        &mut self,
        node: usize,
        list: &[Sge],
        remote: Option<Place>,
        direction: Direction,
    ) {
        let Some(mut remote) = remote else { return };
        for &sge in list {
            let Ok(Some(local)) = self.local(node, sge, direction == Direction::Read) else {
                continue;
            };
            let there = remote.take(local.length);
            match direction {
                Direction::Write => {
                    self.copy(local, there);
                    self.count(local.serial, |t| &mut t.rdma_written_from, local.length);
                    self.count(there.serial, |t| &mut t.written_by_peer, there.length);
                }
                Direction::Read => {
                    self.copy(there, local);
                    self.count(local.serial, |t| &mut t.rdma_read_into, local.length);
                    self.count(there.serial, |t| &mut t.read_by_peer, there.length);
                }
            }
        }
    }

    fn copy(&self, from: Place, to: Place) {
        debug_assert_eq!(from.length, to.length);
        // SAFETY: a `Place` is only made by `Registered::place`, which checks that the range lies inside a registered
        // slice, and used before anything can be deregistered: places do not outlive the step that made them, and both
        // steps and deregistration hold the net's lock. The table's slices keep the memory mapped. Destinations were
        // checked for `local_write`, which registration grants on writable memory alone. `copy` allows overlap, and
        // no Rust reference points into either side except to what its owner did not post (see `Memory`).
        unsafe {
            std::ptr::copy(
                from.address as *const u8,
                to.address as *mut u8,
                to.length as usize,
            );
        }
    }

    fn count(
        &mut self,
        serial: u32,
        counter: impl FnOnce(&mut RegionTraffic) -> &mut u64,
        bytes: u64,
    ) {
        if let Some(region) = self.registered.get_mut(&serial) {
            *counter(&mut region.traffic) += bytes;
        }
    }
}

impl Registered {
    fn place(&self, node: usize, address: u64, length: u64) -> Result<Place, Violation> {
        let offset = address.checked_sub(self.traffic.address).ok_or(Violation)?;
        let end = offset.checked_add(length).ok_or(Violation)?;
        if self.node != node || end > self.traffic.length {
            return Err(Violation);
        }
        Ok(Place {
            serial: self.traffic.serial,
            address,
            length,
        })
    }
}

impl Place {
    /// Splits off the first `length` bytes, or what there is.
    fn take(&mut self, length: u64) -> Self {
        let length = length.min(self.length);
        let first = Self { length, ..*self };
        self.address += length;
        self.length -= length;
        first
    }
}
