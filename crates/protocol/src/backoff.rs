//! When a node that failed us is asked again: after a second, then twice as long each time.

use std::collections::BTreeMap;

use holdfast_types::{Millis, Mono, NodeId};

/// The first wait.
const FIRST: Millis = Millis::from_secs(1);
/// The longest wait where no profile says another.
const LONGEST: Millis = Millis::from_secs(600);

/// Nodes that failed of late.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    failures: BTreeMap<NodeId, (u32, Mono)>,
    longest: Millis,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Backoff {
    /// A node that comes back is noticed within `longest`.
    pub(crate) fn up_to(longest: Millis) -> Self {
        Self { failures: BTreeMap::new(), longest }
    }

    /// Whether the node may be asked.
    pub(crate) fn is_free(&self, node: &NodeId, now: Mono) -> bool {
        self.failures.get(node).is_none_or(|(_, until)| *until <= now)
    }

    /// It failed; asked again not before `least` from now, or the longest wait.
    // Attack: a node that says "in a thousand years" would never be asked for anything again.
    pub(crate) fn failed(&mut self, node: NodeId, least: Millis, now: Mono) {
        let (count, until) = self.failures.entry(node).or_insert((0, now));
        if *until > now {
            // Several requests failed together: one failure.
            return;
        }
        let doubled = FIRST.0 << (*count).min(16);
        *until = now + Millis(doubled.max(least.0).min(self.longest.0));
        *count += 1;
    }

    /// It answered.
    pub(crate) fn succeeded(&mut self, node: &NodeId) {
        self.failures.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_asked_again_after_the_longest_wait_at_the_latest() {
        let node = NodeId([1; 32]);
        let mut backoff = Backoff::up_to(Millis(5000));
        let (mut now, mut waits) = (Mono(0), Vec::new());
        for _ in 0..6 {
            backoff.failed(node, Millis(0), now);
            let free = (0..).map(|span| now + Millis(span)).find(|at| backoff.is_free(&node, *at));
            let free = free.unwrap_or(now);
            waits.push(free.since(now).0);
            now = free;
        }
        assert_eq!(waits, [1000, 2000, 4000, 5000, 5000, 5000]);
        // Who says when to come back is believed, within reason.
        backoff.failed(node, Millis(u64::MAX), now);
        assert!(!backoff.is_free(&node, now + Millis(4999)));
        assert!(backoff.is_free(&node, now + Millis(5000)));
    }
}
