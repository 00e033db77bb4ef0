//! When a node that failed us is asked again: after a second, then twice as long each time.

use std::collections::BTreeMap;

use holdfast_types::{Millis, Mono, NodeId};

/// The first wait.
const FIRST: Millis = Millis::from_secs(1);
/// The longest wait: a node that comes back is noticed within this.
const LONGEST: Millis = Millis::from_secs(600);

/// Nodes that failed of late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: BTreeMap<NodeId, (u32, Mono)>,
}

impl Backoff {
    /// Whether the node may be asked.
    pub(crate) fn is_free(&self, node: &NodeId, now: Mono) -> bool {
        self.failures.get(node).is_none_or(|(_, until)| *until <= now)
    }

    /// It failed; asked again not before `least` from now.
    pub(crate) fn failed(&mut self, node: NodeId, least: Millis, now: Mono) {
        let (count, until) = self.failures.entry(node).or_insert((0, now));
        if *until > now {
            // Several requests failed together: one failure.
            return;
        }
        let doubled = FIRST.0 << (*count).min(16);
        *until = now + Millis(doubled.min(LONGEST.0).max(least.0));
        *count += 1;
    }

    /// It answered.
    pub(crate) fn succeeded(&mut self, node: &NodeId) {
        self.failures.remove(node);
    }
}
