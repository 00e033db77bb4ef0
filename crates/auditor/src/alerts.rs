//! What a human should look at, worst first, until it is over. The status page has room for a few lines; what nodes and
//! clients can raise by the dozen must not take the room of what is worse.

use std::collections::BTreeMap;

use holdfast_protocol::{
    effect::Notice,
    model::{NodeLife, Outcome, RepairState, Verdict},
};

/// Lines of the status page, the last of which says how many more there are.
pub(crate) const LINES_MAX: usize = 64;
/// Alerts remembered: some hundred bytes each. Segments that cannot be repaired may be as many as there are segments.
const KEPT_MAX: usize = 4096;
/// The one alert about clients' witnesses: one for each segment would be as many as a client likes.
const FALSE_WITNESSES: &str = "false witnesses";

/// How bad it is, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Severity {
    /// A client's lie, which costs nobody but the client.
    Client,
    /// A node's lie that was found out.
    Lie,
    /// A repair that waits.
    Waits,
    /// A node that is silent.
    Contained,
    /// Trouble of our own.
    Trouble,
    /// Shards that count as lost.
    Suspended,
    /// A node that is not audited.
    Silence,
    /// Bytes that are gone.
    Unrecoverable,
}

#[derive(Debug)]
struct Alert {
    severity: Severity,
    /// The older of two that are as bad comes first.
    raised: u64,
    text: String,
}

/// The alerts of a process, by what they are about.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    kept: BTreeMap<String, Alert>,
    raised: u64,
    false_witnesses: u64,
}

impl Alerts {
    /// What a notice raises and what it clears.
    pub(crate) fn hear(&mut self, notice: &Notice) {
        match notice {
            Notice::Silence { node } => self.raise(
                silence(node),
                Severity::Silence,
                format!("no verdict on node {node} for too long; see docs/runbooks/silence.md"),
            ),
            Notice::Verdict(verdict) if speaks(verdict) => self.clear(&silence(&verdict.node)),
            Notice::NodeLife { node, life, reason } => {
                let about = format!("node {node}");
                match life {
                    NodeLife::Contained => {
                        self.raise(about, Severity::Contained, format!("node {node} is contained: {reason}"));
                    }
                    NodeLife::Suspended => {
                        // No verdict is waited for any more.
                        self.clear(&silence(node));
                        let text = format!("node {node} is suspended, its shards count as lost: {reason}");
                        self.raise(about, Severity::Suspended, text);
                    }
                    NodeLife::Evicted => {
                        self.forget(node);
                        self.raise(about, Severity::Suspended, format!("node {node} is evicted: {reason}"));
                    }
                    NodeLife::Left => self.forget(node),
                    NodeLife::Joining | NodeLife::Active | NodeLife::Draining => self.clear(&about),
                }
            }
            Notice::Trouble { what } => self.raise(what.clone(), Severity::Trouble, what.clone()),
            Notice::Stuck { segment, unrecoverable, reason } => {
                let (severity, what) = match unrecoverable {
                    true => (Severity::Unrecoverable, "cannot be recovered"),
                    false => (Severity::Waits, "cannot be repaired now"),
                };
                self.raise(format!("segment {segment}"), severity, format!("segment {segment} {what}: {reason}"));
            }
            Notice::Repair(repair) if repair.state == RepairState::Done => {
                self.clear(&format!("segment {}", repair.segment));
            }
            Notice::FalseList { node, shard, why, .. } => self.raise(
                format!("list {node}"),
                Severity::Lie,
                format!("node {node} claimed commitments that are not those of shard {shard}: {why}"),
            ),
            Notice::FalseWitness { segment, index, .. } => {
                self.false_witnesses += 1;
                let text = format!(
                    "{} witnesses of clients were not those of their bytes; the last of shard {index} of segment {segment}",
                    self.false_witnesses
                );
                self.raise(FALSE_WITNESSES.to_owned(), Severity::Client, text);
            }
            Notice::Verdict(_) | Notice::Repair(_) | Notice::Commitment { .. } => {}
        }
    }

    fn raise(&mut self, about: String, severity: Severity, text: String) {
        self.raised += 1;
        let raised = self.kept.get(&about).map_or(self.raised, |known| known.raised);
        self.kept.insert(about, Alert { severity, raised, text });
        if self.kept.len() > KEPT_MAX {
            let least = self.kept.iter().min_by_key(|(_, alert)| (alert.severity, alert.raised));
            if let Some(about) = least.map(|(about, _)| about.clone()) {
                self.kept.remove(&about);
            }
        }
    }

    fn clear(&mut self, about: &str) {
        self.kept.remove(about);
    }

    /// How many there are, those that [`Alerts::lines`] only counts among them.
    pub(crate) fn count(&self) -> u64 {
        self.kept.len() as u64
    }

    /// The node is none of ours any more.
    fn forget(&mut self, node: &holdfast_types::NodeId) {
        for about in [silence(node), format!("node {node}"), format!("list {node}")] {
            self.clear(&about);
        }
    }

    /// The worst, and how many more there are: at most [`LINES_MAX`] lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut all: Vec<&Alert> = self.kept.values().collect();
        all.sort_by_key(|alert| (std::cmp::Reverse(alert.severity), alert.raised));
        let shown = if all.len() > LINES_MAX { LINES_MAX - 1 } else { all.len() };
        let more = (all.len() > shown)
            .then(|| format!("and {} more, no worse than these; the log has them", all.len() - shown));
        all[..shown].iter().map(|alert| alert.text.clone()).chain(more).collect()
    }
}

fn silence(node: &holdfast_types::NodeId) -> String {
    format!("silence {node}")
}

/// Whether the node is known by it. Attack: a node that brings about verdicts that say nothing of it, for ever.
fn speaks(verdict: &Verdict) -> bool {
    match verdict.outcome {
        Outcome::Held | Outcome::Corrupt | Outcome::Missing => true,
        Outcome::Late | Outcome::Unreachable | Outcome::Refused | Outcome::Inconclusive(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::model::{Fault, Lane};
    use holdfast_types::{AuditId, Millis, NodeId, SegmentId, ShardId, ShardIndex, VerdictId, Wall};

    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn verdict(n: u8, outcome: Outcome) -> Notice {
        Notice::Verdict(Box::new(Verdict {
            id: VerdictId(1),
            audit: AuditId([1; 32]),
            node: node(n),
            lane: Lane::Fold,
            outcome,
            at: Wall(1),
            took: Millis(1),
            shards: 1,
            bytes: 1,
            exceptions: Vec::new(),
            evidence: Vec::new(),
        }))
    }

    fn segment(n: u16) -> SegmentId {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        SegmentId(id)
    }

    fn false_witness(n: u16) -> Notice {
        Notice::FalseWitness { segment: segment(n), index: ShardIndex(0), shard: ShardId::from_bytes([1; 32]) }
    }

    /// Attack: a client with false witnesses for as many segments as the status page has lines.
    #[test]
    fn false_witnesses_hide_no_silence() {
        let mut alerts = Alerts::default();
        for n in 0..65 {
            alerts.hear(&false_witness(n));
        }
        alerts.hear(&Notice::Silence { node: node(1) });
        let lines = alerts.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("no verdict on node"), "the worst comes first: {lines:?}");
        assert!(lines[1].starts_with("65 witnesses"), "{lines:?}");
    }

    #[test]
    fn what_is_worse_is_shown_and_the_rest_is_counted() {
        let mut alerts = Alerts::default();
        for n in 0..100 {
            let reason = "no node".to_owned();
            alerts.hear(&Notice::Stuck { segment: segment(n), unrecoverable: false, reason });
        }
        alerts.hear(&Notice::Silence { node: node(1) });
        alerts.hear(&Notice::Stuck { segment: segment(500), unrecoverable: true, reason: "few".into() });
        let lines = alerts.lines();
        assert_eq!(lines.len(), LINES_MAX);
        assert!(lines[0].contains("cannot be recovered") && lines[1].contains("no verdict"), "{lines:?}");
        assert!(lines[LINES_MAX - 1].starts_with("and 39 more"), "{}", lines[LINES_MAX - 1]);
    }

    #[test]
    fn what_is_forgotten_is_what_is_least() {
        let mut alerts = Alerts::default();
        alerts.hear(&Notice::Silence { node: node(1) });
        for n in 0..KEPT_MAX as u16 + 10 {
            alerts.hear(&Notice::Stuck { segment: segment(n), unrecoverable: false, reason: "no node".into() });
        }
        assert_eq!(alerts.kept.len(), KEPT_MAX);
        assert!(alerts.lines()[0].contains("no verdict on node"));
    }

    /// Attack: a node that denies every challenge, so that every verdict on it is about our own trouble.
    #[test]
    fn only_a_verdict_that_speaks_of_the_node_ends_its_silence() {
        let mut alerts = Alerts::default();
        alerts.hear(&Notice::Silence { node: node(1) });
        for outcome in [Outcome::Inconclusive(Fault::Internal), Outcome::Refused, Outcome::Late, Outcome::Unreachable] {
            alerts.hear(&verdict(1, outcome));
            assert_eq!(alerts.lines().len(), 1, "{outcome:?}");
        }
        alerts.hear(&verdict(2, Outcome::Held));
        assert_eq!(alerts.lines().len(), 1);
        alerts.hear(&verdict(1, Outcome::Held));
        assert!(alerts.lines().is_empty());
    }
}
