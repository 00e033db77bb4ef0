//! Shards that a read found damaged since the start. A put of such a shard replaces it instead of answering that it
//! is there.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use holdfast_types::ShardId;

/// Names kept at most: a disk with more damaged shards is to be replaced, and each of them is found again when read.
const KNOWN_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct Damage(Mutex<BTreeSet<ShardId>>);

impl Damage {
    /// Notes a damaged shard. Says whether that is news, for the log.
    pub(crate) fn note(&self, shard: ShardId) -> bool {
        let mut known = self.lock();
        known.len() < KNOWN_MAX && known.insert(shard)
    }

    pub(crate) fn is_known(&self, shard: &ShardId) -> bool {
        self.lock().contains(shard)
    }

    /// Damaged shards known.
    pub(crate) fn len(&self) -> u64 {
        self.lock().len() as u64
    }

    /// It was replaced or deleted.
    pub(crate) fn forget(&self, shard: &ShardId) {
        self.lock().remove(shard);
    }

    /// A panic elsewhere leaves a set that is still a set.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<ShardId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
