//! How much is still to be committed to. Counted once, when the volume is opened; from then on kept by the volume's
//! writer, the only one that adds and removes shards and lists, in step with its commits.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use holdfast_kzg::blobs_of;
use holdfast_protocol::message::LIST_ENTRIES_MAX;
use holdfast_volume::{Key, Reader, Sequence};

use crate::content::{SHARD_KIND, commitments_key};

/// Shards by whether their commitment list is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Shards without a list.
    pub shards: u64,
    /// Their blobs: what is to be computed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Shards with a list.
    pub done: u64,
}

/// The tally as everybody may read it. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog(Arc<Mutex<Tally>>);

impl Backlog {
    pub(crate) fn tally(&self) -> Tally {
        *self.lock()
    }

    /// A panic elsewhere leaves numbers that are still numbers.
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one commit will change.
#[derive(Clone, Debug, Default)]
struct Change {
    /// Shards that the commit changes.
    touched: BTreeSet<Key>,
    shards: i64,
    blobs: i64,
    bytes: i64,
    done: i64,
    /// A shard is changed twice: what that makes of it is counted afterwards.
    unknown: bool,
}

/// The writer's side: changes gathered until they are durable.
#[derive(Debug)]
pub(crate) struct Ledger {
    backlog: Backlog,
    staged: Change,
}

impl Ledger {
    /// Counts what is there.
    pub(crate) fn open(reader: &Reader) -> Self {
        let backlog = Backlog::default();
        *backlog.lock() = count(reader);
        Self { backlog, staged: Change::default() }
    }

    pub(crate) fn backlog(&self) -> Backlog {
        self.backlog.clone()
    }

    /// Whether the coming commit changes the shard.
    pub(crate) fn is_touched(&self, shard: &Key) -> bool {
        self.staged.touched.contains(shard)
    }

    /// A shard is sealed; it may replace one that is `there`.
    pub(crate) fn stored(&mut self, shard: Key, len: u64, there: bool) {
        if self.is_first(shard) && !there {
            self.pending(len, 1);
        }
    }

    /// A shard's list is sealed; it may replace one that is `there`.
    pub(crate) fn listed(&mut self, shard: Key, len: u64, there: bool) {
        if self.is_first(shard) && !there {
            self.pending(len, -1);
            self.staged.done += 1;
        }
    }

    /// A shard is deleted, and its list with it if it had one. A length that is not known is one of a shard that was
    /// never committed.
    pub(crate) fn deleted(&mut self, shard: Key, len: Option<u64>, had_list: bool) {
        match (self.is_first(shard), len) {
            (false, _) => {}
            (true, None) => self.staged.unknown = true,
            (true, Some(_)) if had_list => self.staged.done -= 1,
            (true, Some(len)) => self.pending(len, -1),
        }
    }

    fn is_first(&mut self, shard: Key) -> bool {
        let first = self.staged.touched.insert(shard);
        self.staged.unknown |= !first;
        first
    }

    fn pending(&mut self, len: u64, sign: i64) {
        self.staged.shards += sign;
        self.staged.blobs += sign * blobs_of(len) as i64;
        self.staged.bytes += sign * len as i64;
    }

    /// The staged changes are durable.
    pub(crate) fn settle(&mut self, reader: &Reader) {
        let staged = std::mem::take(&mut self.staged);
        let mut tally = self.backlog.lock();
        if staged.unknown {
            *tally = count(reader);
            return;
        }
        let add = |number: &mut u64, change: i64| *number = number.saturating_add_signed(change);
        add(&mut tally.shards, staged.shards);
        add(&mut tally.blobs, staged.blobs);
        add(&mut tally.bytes, staged.bytes);
        add(&mut tally.done, staged.done);
    }
}

/// One pass over the index.
fn count(reader: &Reader) -> Tally {
    let (mut tally, mut from) = (Tally::default(), Sequence::START);
    loop {
        let found = reader.entries(&[SHARD_KIND], from..Sequence::END, LIST_ENTRIES_MAX);
        let Some(last) = found.last() else { return tally };
        from = last.sequence.next();
        for entry in found {
            if reader.contains(&commitments_key(entry.key.id)) {
                tally.done += 1;
            } else {
                tally.shards += 1;
                tally.blobs += blobs_of(entry.len);
                tally.bytes += entry.len;
            }
        }
    }
}
