//! Shards whose node said "not yet": by when to ask again, and how many of each node. What is due is found without going
//! through the rest, however many nodes wait.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{Mono, NodeId};

use super::shard::{Key, Shard};

/// Waiting shards.
#[derive(Default)]
pub(super) struct Waiting {
    shards: BTreeMap<Key, (Mono, Shard)>,
    by_time: BTreeSet<(Mono, Key)>,
    by_node: BTreeMap<NodeId, usize>,
}

impl Waiting {
    pub(super) fn insert(&mut self, at: Mono, shard: Shard) {
        let (key, node) = (shard.key(), shard.placement.node);
        if let Some((before, other)) = self.shards.insert(key, (at, shard)) {
            self.forget(before, key, other.placement.node);
        }
        self.by_time.insert((at, key));
        *self.by_node.entry(node).or_default() += 1;
    }

    fn forget(&mut self, at: Mono, key: Key, node: NodeId) {
        self.by_time.remove(&(at, key));
        if let Some(count) = self.by_node.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                self.by_node.remove(&node);
            }
        }
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.shards.contains_key(key)
    }

    /// How many of this node wait.
    pub(super) fn of(&self, node: &NodeId) -> usize {
        self.by_node.get(node).copied().unwrap_or(0)
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Mono) -> Option<Shard> {
        let (at, key) = self.by_time.first().copied().filter(|(at, _)| *at <= now)?;
        let (_, shard) = self.shards.remove(&key)?;
        self.forget(at, key, shard.placement.node);
        Some(shard)
    }
}
