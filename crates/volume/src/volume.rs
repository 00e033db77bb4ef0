//! The writer's side of a volume: reserve, seal, commit.
//!
//! One thread owns it. It decides where extents lie, keeps the accounts, and is
//! the only one that changes the index, always after the journal is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::compact::Victim;
use crate::disk::Disk;
use crate::error::VolumeError;
use crate::extent::{Abandoned, ExtentWriter, Reservation, Ticket};
use crate::format::{HEADER_LEN, Identity, RECORD_LEN_MAX, extent_len};
use crate::index::{Record, Shared};
use crate::journal::Journal;
use crate::key::{Key, Namespace};
use crate::reader::{Read, Reader};
use crate::slot::{Change, META_LEN_MAX};
use crate::space::FileState;

/// The longest record of [`Volume::put_small`]: one write, one buffer.
pub const SMALL_LEN_MAX: usize = 64 << 10;

/// How a volume is laid out and how much it may take.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest a data file grows, in bytes; also bounds a record. 1 GiB.
    pub file_len_max: u64,
    /// Bytes all data files may take together; no bound of its own by default.
    pub capacity: u64,
    /// Free bytes of the disk that reservations leave alone, so that deletes can
    /// still be journalled and compaction can still copy. 64 MiB.
    pub free_floor: u64,
    /// A data file of which at least this percentage is dead is compacted. 50.
    pub compact_dead_percent: u8,
    /// Bytes kept aside in a file of their own and given up when the journal finds the disk full, so that deletes can
    /// still be journalled when somebody else took the floor: a delete is one slot of 128 bytes a record. 1 MiB.
    pub reserve: u64,
    /// Journal slots beyond twice the live ones before it is rewritten. 65,536 (8 MiB).
    pub journal_slack: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_len_max: 1 << 30,
            capacity: u64::MAX,
            free_floor: 64 << 20,
            compact_dead_percent: 50,
            reserve: 1 << 20,
            journal_slack: 1 << 16,
        }
    }
}

/// What the changes not yet committed will make of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Present,
    Absent,
}

/// A volume, open for writing. See the [crate] for the whole picture.
#[derive(Debug)]
pub struct Volume {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) identity: Identity,
    pub(crate) shared: Shared,
    pub(crate) journal: Journal,
    pub(crate) files: BTreeMap<u32, FileState>,
    /// The file that takes new extents.
    pub(crate) active: Option<u32>,
    pub(crate) next_file: u32,
    pub(crate) pending: Vec<Change>,
    pub(crate) fates: BTreeMap<Key, Fate>,
    /// Payload reserved or sealed by namespace, less what it will replace.
    pub(crate) reserved: BTreeMap<Namespace, u64>,
    pub(crate) abandoned: Abandoned,
    /// Tickets of sealed records, by extent, until their commit.
    pub(crate) sealed: BTreeMap<(u32, u64), Ticket>,
    pub(crate) victim: Option<Victim>,
    /// Files that compaction gave up on, for what is damaged in them.
    pub(crate) stuck: BTreeSet<u32>,
    /// Files kept whole for what a damaged journal may no longer name.
    pub(crate) evidence: BTreeSet<u32>,
    pub(crate) read_only: Option<String>,
    /// It is read-only because the disk was full when it was opened.
    pub(crate) waits_for_room: bool,
}

impl Volume {
    pub(crate) fn assemble(
        disk: Arc<dyn Disk>,
        options: Options,
        identity: Identity,
        shared: Shared,
        journal: Journal,
        files: BTreeMap<u32, FileState>,
        next_file: u32,
    ) -> Self {
        // The newest file goes on being filled where it has room.
        let active = files.iter().next_back().filter(|(_, f)| f.tail < options.file_len_max).map(|(n, _)| *n);
        Self {
            disk,
            options,
            identity,
            shared,
            journal,
            files,
            active,
            next_file,
            pending: Vec::new(),
            fates: BTreeMap::new(),
            reserved: BTreeMap::new(),
            abandoned: Abandoned::default(),
            sealed: BTreeMap::new(),
            victim: None,
            stuck: BTreeSet::new(),
            evidence: BTreeSet::new(),
            read_only: None,
            waits_for_room: false,
        }
    }

    /// Who this volume is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Why the volume takes no writes, if it does not.
    #[must_use]
    pub fn read_only(&self) -> Option<&str> {
        self.read_only.as_deref()
    }

    /// A reader for another thread. Sees every commit from its return on.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { shared: self.shared.clone() }
    }

    /// See [`Reader::contains`].
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.reader().contains(key)
    }

    /// See [`Reader::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, key: &Key, range: Range<u64>) -> Result<Read, VolumeError> {
        self.reader().read(key, range)
    }

    /// Sets space aside for a new record of `len` bytes.
    ///
    /// # Errors
    /// [`VolumeError::Exists`], [`VolumeError::Pending`],
    /// [`VolumeError::QuotaExceeded`], [`VolumeError::Full`],
    /// [`VolumeError::TooLarge`], [`VolumeError::ReadOnly`], [`VolumeError::Io`].
    pub fn reserve(&mut self, namespace: Namespace, key: Key, len: u64) -> Result<Reservation, VolumeError> {
        self.begin(namespace, key, len, false)
    }

    /// As [`Self::reserve`], for a record that takes the place of the one there,
    /// if there is one, in a single step and under a new sequence. Until the
    /// commit the old one is read.
    ///
    /// # Errors
    /// As [`Self::reserve`], but for [`VolumeError::Exists`] and [`VolumeError::Pending`].
    pub fn reserve_replacement(
        &mut self,
        namespace: Namespace,
        key: Key,
        len: u64,
    ) -> Result<Reservation, VolumeError> {
        self.begin(namespace, key, len, true)
    }

    fn begin(&mut self, namespace: Namespace, key: Key, len: u64, replaces: bool) -> Result<Reservation, VolumeError> {
        self.writable()?;
        if !replaces {
            self.must_be_absent(&key)?;
        }
        let max = self.options.file_len_max.saturating_sub(HEADER_LEN);
        if len > RECORD_LEN_MAX || extent_len(len) > max {
            // The largest payload whose table and trailer still fit beside it.
            let max = max.saturating_sub(extent_len(max.min(RECORD_LEN_MAX)) - max.min(RECORD_LEN_MAX));
            return Err(VolumeError::TooLarge { len, max });
        }
        self.must_fit_quota(&namespace, &key, len, replaces)?;
        let needed = extent_len(len);
        let available = self.available()?;
        if needed > available {
            return Err(VolumeError::Full { needed, available });
        }
        let record = self.place(namespace, key, len)?;
        let ticket = Ticket { record, replaces };
        *self.reserved.entry(namespace).or_default() += len;
        let handle = Arc::clone(&self.state(record.file)?.handle);
        Ok(Reservation::new(ExtentWriter::new(handle, record), ticket, Arc::clone(&self.abandoned)))
    }

    fn must_be_absent(&self, key: &Key) -> Result<(), VolumeError> {
        match self.fates.get(key) {
            Some(Fate::Present) => Err(VolumeError::Pending { key: *key }),
            Some(Fate::Absent) => Ok(()),
            None if self.contains(key) => Err(VolumeError::Exists { key: *key }),
            None => Ok(()),
        }
    }

    /// Ends a record; it becomes durable and visible at the next commit.
    ///
    /// # Errors
    /// [`VolumeError::Incomplete`], [`VolumeError::Broken`],
    /// [`VolumeError::Exists`] or [`VolumeError::Pending`] when another writer of
    /// the same key came first, [`VolumeError::Full`], [`VolumeError::ReadOnly`],
    /// [`VolumeError::Io`]. The reservation is gone in every case.
    pub fn seal(&mut self, mut reservation: Reservation) -> Result<(), VolumeError> {
        self.writable()?;
        self.may_seal(&reservation)?;
        let record = reservation.finish()?;
        self.sealed(record, reservation.take_ticket())
    }

    /// Gives up a reservation. Dropping it does the same.
    pub fn abort(&mut self, reservation: Reservation) {
        drop(reservation);
        self.take_back();
    }

    /// Reserves, writes and seals a record of at most [`SMALL_LEN_MAX`] bytes.
    ///
    /// # Errors
    /// As [`Self::reserve`] and [`Self::seal`].
    pub fn put_small(&mut self, namespace: Namespace, key: Key, bytes: &[u8]) -> Result<(), VolumeError> {
        if bytes.len() > SMALL_LEN_MAX {
            return Err(VolumeError::TooLarge { len: bytes.len() as u64, max: SMALL_LEN_MAX as u64 });
        }
        let mut reservation = self.reserve(namespace, key, bytes.len() as u64)?;
        let record = reservation.write_whole(bytes)?;
        self.sealed(record, reservation.take_ticket())
    }

    fn may_seal(&self, reservation: &Reservation) -> Result<(), VolumeError> {
        match reservation.ticket() {
            Some(ticket) if !ticket.replaces => self.must_be_absent(&ticket.record.key),
            Some(_) | None => Ok(()),
        }
    }

    fn sealed(&mut self, record: Record, ticket: Option<Ticket>) -> Result<(), VolumeError> {
        self.state(record.file)?.dirty = true;
        if let Some(ticket) = ticket {
            self.sealed.insert((record.file, record.offset), ticket);
        }
        self.fates.insert(record.key, Fate::Present);
        self.pending.push(Change::Put(record));
        Ok(())
    }

    /// Deletes a record, durably and visibly at the next commit.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::ReadOnly`].
    pub fn delete(&mut self, key: &Key) -> Result<(), VolumeError> {
        self.writable()?;
        let there = match self.fates.get(key) {
            Some(Fate::Present) => true,
            Some(Fate::Absent) => false,
            None => self.contains(key),
        };
        if !there {
            return Err(VolumeError::NotFound { key: *key });
        }
        self.fates.insert(*key, Fate::Absent);
        self.pending.push(Change::Delete(*key));
        Ok(())
    }

    /// Bounds the payload a namespace may hold from the next commit on; `None`
    /// lifts the bound. What it already holds stays.
    ///
    /// # Errors
    /// [`VolumeError::ReadOnly`].
    pub fn set_quota(&mut self, namespace: Namespace, quota: Option<u64>) -> Result<(), VolumeError> {
        self.writable()?;
        self.pending.push(Change::Quota(namespace, quota.unwrap_or(u64::MAX)));
        Ok(())
    }

    /// Keeps a small value beside the records, durably at the next commit.
    ///
    /// # Errors
    /// [`VolumeError::MetaTooLong`], [`VolumeError::ReadOnly`].
    pub fn set_meta(&mut self, key: u8, value: &[u8]) -> Result<(), VolumeError> {
        self.writable()?;
        if value.len() > META_LEN_MAX {
            return Err(VolumeError::MetaTooLong { len: value.len(), max: META_LEN_MAX });
        }
        self.pending.push(Change::Meta(key, value.to_vec()));
        Ok(())
    }

    /// The committed value of a meta key.
    #[must_use]
    pub fn meta(&self, key: u8) -> Option<Vec<u8>> {
        self.reader().meta(key)
    }

    pub(crate) fn writable(&mut self) -> Result<(), VolumeError> {
        self.take_back();
        match &self.read_only {
            Some(reason) => Err(VolumeError::ReadOnly { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// After this, nothing is acknowledged until a restart has looked at the disk.
    pub(crate) fn stop(&mut self, doing: &str, error: &io::Error) -> VolumeError {
        self.stop_for(format!("{doing} failed: {error}"))
    }

    pub(crate) fn stop_for(&mut self, what: String) -> VolumeError {
        let reason = format!(
            "{what}; what was not yet acknowledged may or may not be there: see to the disk, then restart the node"
        );
        self.read_only = Some(reason.clone());
        VolumeError::ReadOnly { reason }
    }
}
