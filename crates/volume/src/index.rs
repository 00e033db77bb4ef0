//! Which records there are, and where: the journal's changes, applied.
//!
//! One function, [`Index::apply`], serves both the replay at start and the
//! publishing of a commit, so that a restart cannot see another history than
//! the running process did. Ordered maps throughout: nothing that is listed
//! depends on chance.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::disk::DiskFile;
use crate::format::{data_name, extent_len};
use crate::key::{Key, Namespace, Sequence};
use crate::slot::Change;

/// A committed record and where its extent starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) namespace: Namespace,
    pub(crate) len: u64,
    pub(crate) file: u32,
    pub(crate) offset: u64,
    pub(crate) sequence: Sequence,
}

impl Record {
    /// Bytes of disk it takes.
    pub(crate) fn extent(&self) -> u64 {
        extent_len(self.len)
    }

    pub(crate) fn entry(&self) -> Entry {
        Entry { key: self.key, namespace: self.namespace, len: self.len, sequence: self.sequence }
    }

    pub(crate) fn location(&self) -> Location {
        Location { file: data_name(self.file), offset: self.offset, len: self.len }
    }
}

/// A committed record, as listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// Whose it is.
    pub namespace: Namespace,
    /// Bytes of payload.
    pub len: u64,
    /// When it was committed.
    pub sequence: Sequence,
}

/// Where the payload of a record lies: contiguous, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The name of the data file in the volume's directory.
    pub file: String,
    /// Where the payload starts in it.
    pub offset: u64,
    /// Bytes of payload.
    pub len: u64,
}

/// What a namespace holds and may hold, in bytes of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Committed records.
    pub records: u64,
    /// Their payload.
    pub bytes: u64,
    /// The most it may hold; `None` is no limit.
    pub quota: Option<u64>,
}

/// Extents that a change brought to life or laid to rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) live: Option<Record>,
    pub(crate) dead: Option<Record>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    records: BTreeMap<Key, Record>,
    by_sequence: BTreeMap<Sequence, Key>,
    usage: BTreeMap<Namespace, Usage>,
    meta: BTreeMap<u8, Vec<u8>>,
    /// Open data files; one that is gone from the disk has no handle.
    pub(crate) files: BTreeMap<u32, Arc<dyn DiskFile>>,
}

impl Index {
    /// Takes one change in. Never fails: what cannot apply has no effect.
    pub(crate) fn apply(&mut self, change: &Change) -> Applied {
        match change {
            Change::Void => Applied::default(),
            Change::Put(record) | Change::Carried(record) => {
                let dead = self.remove(&record.key);
                self.insert(*record);
                Applied { live: Some(*record), dead }
            }
            Change::Move(record) => match self.records.get_mut(&record.key) {
                Some(current) if current.sequence == record.sequence => {
                    let dead = std::mem::replace(current, *record);
                    Applied { live: Some(*record), dead: Some(dead) }
                }
                // Deleted or replaced while it was being moved.
                Some(_) | None => Applied::default(),
            },
            Change::Delete(key) => Applied { live: None, dead: self.remove(key) },
            Change::Quota(namespace, limit) => {
                self.usage.entry(*namespace).or_default().quota = (*limit != u64::MAX).then_some(*limit);
                Applied::default()
            }
            Change::Meta(key, bytes) => {
                self.meta.insert(*key, bytes.clone());
                Applied::default()
            }
        }
    }

    fn insert(&mut self, record: Record) {
        let usage = self.usage.entry(record.namespace).or_default();
        usage.records += 1;
        usage.bytes += record.len;
        self.by_sequence.insert(record.sequence, record.key);
        self.records.insert(record.key, record);
    }

    fn remove(&mut self, key: &Key) -> Option<Record> {
        let record = self.records.remove(key)?;
        self.by_sequence.remove(&record.sequence);
        if let Some(usage) = self.usage.get_mut(&record.namespace) {
            usage.records -= 1;
            usage.bytes -= record.len;
            if usage.records == 0 && usage.quota.is_none() {
                self.usage.remove(&record.namespace);
            }
        }
        Some(record)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Record> {
        self.records.get(key)
    }

    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn usage(&self, namespace: &Namespace) -> Usage {
        self.usage.get(namespace).copied().unwrap_or_default()
    }

    pub(crate) fn usages(&self) -> impl Iterator<Item = (&Namespace, &Usage)> {
        self.usage.iter()
    }

    pub(crate) fn meta(&self, key: u8) -> Option<&[u8]> {
        self.meta.get(&key).map(Vec::as_slice)
    }

    pub(crate) fn metas(&self) -> impl Iterator<Item = (&u8, &Vec<u8>)> {
        self.meta.iter()
    }

    /// Records in the order they were committed.
    pub(crate) fn in_order(&self, range: Range<Sequence>) -> impl Iterator<Item = &Record> {
        self.by_sequence.range(range).filter_map(|(_, key)| self.records.get(key))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Record> {
        self.by_sequence.values().filter_map(|key| self.records.get(key))
    }
}

/// The index as the writer and its readers share it.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<RwLock<Index>>);

impl Shared {
    pub(crate) fn new(index: Index) -> Self {
        Self(Arc::new(RwLock::new(index)))
    }

    // A panic under the lock cannot leave the index half changed in a way that
    // the checksums would not show, so poisoning is not passed on.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
