//! A disk in memory that can be crashed, filled, rotted and made to fail.
//!
//! It models what the [`Disk`] contract leaves open, at its worst. Unsynced
//! writes survive a crash or do not, sector by sector of 512 bytes; names the
//! same. A failed sync drops what it should have made durable while reads go on
//! showing it, as Linux does. Every choice comes from a seed, so a trace repeats.
//!
//! Calls that change something are numbered from 0, so a test can crash, fill or
//! fail the disk at each of them in turn. Shipped in the crate because the
//! simulation of a whole cluster stands on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile};
use crate::fake_file::FakeFile;
use crate::fake_inode::{Chance, Inode, SECTOR};

/// A simulated disk; clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct FakeDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
pub(crate) struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_inode: u64,
    pub(crate) operations: u64,
    syncs: u64,
    capacity: u64,
    crash_at: Option<u64>,
    pub(crate) full_from: Option<u64>,
    sync_fails_at: Option<u64>,
    pub(crate) copies_on_write: bool,
    pub(crate) power_lost: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            next_inode: 0,
            operations: 0,
            syncs: 0,
            capacity: u64::MAX,
            crash_at: None,
            full_from: None,
            sync_fails_at: None,
            copies_on_write: false,
            power_lost: false,
        }
    }
}

pub(crate) fn power_lost() -> Error {
    Error::other("power lost")
}

impl State {
    /// Counts a changing call. `Ok(true)`: the power goes with this one.
    pub(crate) fn step(&mut self) -> Result<bool> {
        if self.power_lost {
            return Err(power_lost());
        }
        let now = self.operations;
        self.operations += 1;
        self.power_lost = self.crash_at == Some(now);
        Ok(self.power_lost)
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|n| self.inodes.get(n)).map(|i| i.bytes.len() as u64).sum()
    }

    pub(crate) fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used())
    }

    /// The file behind an open handle.
    pub(crate) fn held(&mut self, number: u64) -> Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn inode(&mut self, name: &str) -> Result<&mut Inode> {
        let number = self.names.get(name).copied().ok_or(ErrorKind::NotFound)?;
        self.inodes.get_mut(&number).ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(crate) fn sync_should_fail(&mut self) -> bool {
        let fails = self.sync_fails_at == Some(self.syncs);
        self.syncs += 1;
        fails
    }
}

impl FakeDisk {
    /// An empty disk without bounds or faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What [`Volume::open`](crate::Volume::open) takes.
    #[must_use]
    pub fn handle(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An independent copy, page cache, faults and all.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        // The handles are to this disk, not to the copy.
        state.inodes.values_mut().for_each(|inode| inode.held = Arc::default());
        Self(Arc::new(Mutex::new(state)))
    }

    /// The disk after a power cut now: what was synced, and of what was not, as
    /// the seed has it. Faults are gone; this disk is left as it is.
    #[must_use]
    pub fn after_crash(&self, seed: u64) -> Self {
        let state = self.state();
        let mut chance = Chance(seed);
        let mut names = state.durable_names.clone();
        let all: BTreeSet<&String> = state.names.keys().chain(state.durable_names.keys()).collect();
        for name in all {
            let (now, held) = (state.names.get(name), state.durable_names.get(name));
            if now != held && chance.below(2) == 1 {
                match now {
                    Some(inode) => names.insert(name.clone(), *inode),
                    None => names.remove(name),
                };
            }
        }
        let mut inodes = BTreeMap::new();
        for number in names.values() {
            if let Some(inode) = state.inodes.get(number) {
                inodes.insert(*number, inode.crash(&mut chance));
            }
        }
        let after = State {
            inodes,
            durable_names: names.clone(),
            names,
            next_inode: state.next_inode,
            capacity: state.capacity,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(after)))
    }

    /// How many changing calls there were: writes, truncations, creations,
    /// removals and syncs.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many of them were syncs, of files or of the directory.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Cuts the power at changing call `operation`: a write is still in flight,
    /// a sync does nothing, and every later call fails.
    pub fn crash_at(&self, operation: u64) {
        self.state().crash_at = Some(operation);
    }

    /// From changing call `operation` on, writes that lengthen a file find the
    /// disk full; `None` makes room again.
    pub fn full_from(&self, operation: Option<u64>) {
        self.state().full_from = operation;
    }

    /// Makes sync number `sync` fail, and drop what it should have made durable.
    pub fn fail_sync_at(&self, sync: u64) {
        self.state().sync_fails_at = Some(sync);
    }

    /// Bounds the sum of the files' lengths.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// From now on overwriting takes room too, as on a copy-on-write file system or a thin volume.
    pub fn copy_on_write(&self) {
        self.state().copies_on_write = true;
    }

    /// The names and lengths of all files.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u64)> {
        let state = self.state();
        let len = |n: &u64| state.inodes.get(n).map_or(0, |i| i.bytes.len() as u64);
        state.names.iter().map(|(name, n)| (name.clone(), len(n))).collect()
    }

    /// Flips one bit behind everybody's back.
    ///
    /// # Errors
    /// `NotFound` for a file or an offset that is not there.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) -> Result<()> {
        let mut state = self.state();
        let inode = state.inode(name)?;
        let byte = inode.bytes.get_mut(offset as usize).ok_or(ErrorKind::NotFound)?;
        *byte ^= 1 << (bit % 8);
        Ok(())
    }

    /// Cuts a file behind everybody's back.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn cut(&self, name: &str, len: u64) -> Result<()> {
        let mut state = self.state();
        let inode = state.inode(name)?;
        inode.bytes.truncate(len as usize);
        inode.durable_len = inode.durable_len.min(len as usize);
        inode.unsynced.retain(|index, _| index * SECTOR < len as usize);
        Ok(())
    }

    /// Removes a file behind everybody's back; open handles lose it too.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn wipe(&self, name: &str) -> Result<()> {
        self.cut(name, 0)?;
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
        Ok(())
    }

    /// Makes the sector of 512 bytes at `offset` unreadable until it is written.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn spoil(&self, name: &str, offset: u64) -> Result<()> {
        self.state().inode(name)?.unreadable.insert(offset as usize / SECTOR);
        Ok(())
    }

    /// How often a file was read past the cache.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn direct_reads(&self, name: &str) -> Result<u64> {
        Ok(self.state().inode(name)?.direct_reads)
    }

    /// A file's bytes as a reader sees them now.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn contents(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.state().inode(name)?.bytes.clone())
    }

    /// Puts a file there, durably, with the given bytes.
    pub fn plant(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let number = state.next_inode;
        state.next_inode += 1;
        let inode = Inode { bytes: bytes.to_vec(), durable_len: bytes.len(), ..Inode::default() };
        state.inodes.insert(number, inode);
        state.names.insert(name.to_owned(), number);
        state.durable_names.insert(name.to_owned(), number);
    }
}

impl Disk for FakeDisk {
    fn list(&self) -> Result<Vec<String>> {
        let state = self.state();
        if state.power_lost {
            return Err(power_lost());
        }
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let crashed = state.step()?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let number = state.next_inode;
        state.next_inode += 1;
        let inode = Inode::default();
        let held = Arc::clone(&inode.held);
        state.inodes.insert(number, inode);
        state.names.insert(name.to_owned(), number);
        if crashed { Err(power_lost()) } else { Ok(Arc::new(FakeFile { disk: self.clone(), number, _held: held })) }
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        let state = self.state();
        if state.power_lost {
            return Err(power_lost());
        }
        let number = *state.names.get(name).ok_or(ErrorKind::NotFound)?;
        let held = state.inodes.get(&number).map(|i| Arc::clone(&i.held)).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(FakeFile { disk: self.clone(), number, _held: held }))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut state = self.state();
        let crashed = state.step()?;
        state.names.remove(name).ok_or(ErrorKind::NotFound)?;
        if crashed { Err(power_lost()) } else { Ok(()) }
    }

    fn sync_dir(&self) -> Result<()> {
        let mut state = self.state();
        if state.step()? {
            return Err(power_lost());
        }
        if state.sync_should_fail() {
            return Err(Error::other("simulated failure of fsync on the directory"));
        }
        state.durable_names = state.names.clone();
        let named: BTreeSet<u64> = state.names.values().copied().collect();
        state.inodes.retain(|number, inode| named.contains(number) || Arc::strong_count(&inode.held) > 1);
        Ok(())
    }

    fn free_space(&self) -> Result<u64> {
        Ok(self.state().free())
    }
}
