//! What an audit found wrong, shard by shard, on its way to the verdict's exceptions and the
//! placements' standings. One exception a shard, with the range that spans what is wrong; the
//! standings keep the exact ranges.

use std::collections::BTreeMap;

use holdfast_types::{ByteRange, Sequence, ShardId};

use crate::{
    model::{Cause, Exception, Outcome, Placement, Standing},
    store::StandingChange,
};

use super::classify::Gap;

struct Finding {
    placement: Placement,
    outcome: Outcome,
    cause: Option<Cause>,
    /// Empty: all of it.
    ranges: Vec<ByteRange>,
}

/// By sequence, in the order of the set.
#[derive(Default)]
pub(super) struct Findings(BTreeMap<Sequence, Finding>);

impl Findings {
    /// The node says so itself.
    pub(super) fn reported(&mut self, placement: &Placement, gap: &Gap) {
        match gap.range {
            Some(range) => self.corrupt(placement, Cause::Reported, Some(range)),
            None => self.missing(placement),
        }
    }

    /// These bytes are wrong; `None`: all of them.
    pub(super) fn corrupt(&mut self, placement: &Placement, cause: Cause, range: Option<ByteRange>) {
        let whole = range.is_none_or(|range| range.contains(ByteRange::first(placement.len)));
        match self.0.get_mut(&placement.sequence) {
            // What is not there at all cannot be more wrong than that.
            Some(found) if found.outcome == Outcome::Missing => {}
            Some(found) => {
                if cause == Cause::Proven {
                    found.cause = Some(cause);
                }
                if whole || found.ranges.is_empty() {
                    found.ranges.clear();
                } else {
                    found.ranges.extend(range);
                }
            }
            None => {
                let ranges = range.filter(|_| !whole).into_iter().collect();
                self.put(placement, Outcome::Corrupt, Some(cause), ranges);
            }
        }
    }

    /// The node signed that it does not have it.
    pub(super) fn missing(&mut self, placement: &Placement) {
        self.put(placement, Outcome::Missing, None, Vec::new());
    }

    fn put(&mut self, placement: &Placement, outcome: Outcome, cause: Option<Cause>, ranges: Vec<ByteRange>) {
        let finding = Finding { placement: placement.clone(), outcome, cause, ranges };
        self.0.insert(placement.sequence, finding);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// First and last sequence in it.
    pub(super) fn span(&self) -> Option<(Sequence, Sequence)> {
        Some((*self.0.first_key_value()?.0, *self.0.last_key_value()?.0))
    }

    /// Drops what the catalog no longer has like this: deleted, moved or written anew while the
    /// audit was under way. Its absence is nobody's fault.
    pub(super) fn keep(&mut self, still: &BTreeMap<Sequence, Placement>) {
        self.0.retain(|sequence, found| {
            still.get(sequence).is_some_and(|now| {
                let same = |p: &Placement| (p.segment, p.index, p.shard, p.node);
                same(now) == same(&found.placement)
            })
        });
    }

    /// Whether the node claimed what it could not prove.
    pub(super) fn any_proven(&self) -> bool {
        self.0.values().any(|found| found.cause == Some(Cause::Proven))
    }

    /// Whether a shard is in it.
    pub(super) fn has(&self, shard: &ShardId) -> bool {
        self.0.values().any(|found| found.placement.shard == *shard)
    }

    /// Sequences that are missing.
    pub(super) fn absent(&self) -> impl Iterator<Item = Sequence> + '_ {
        self.0.iter().filter(|(_, found)| found.outcome == Outcome::Missing).map(|(sequence, _)| *sequence)
    }

    pub(super) fn exceptions(&self) -> Vec<Exception> {
        self.0.values().map(Finding::exception).collect()
    }

    pub(super) fn changes(&self) -> Vec<StandingChange> {
        self.0.values().map(Finding::change).collect()
    }
}

impl Finding {
    fn exception(&self) -> Exception {
        let start = self.ranges.iter().map(|range| range.start()).min();
        let end = self.ranges.iter().map(|range| range.end()).max();
        let hull = start.zip(end).and_then(|(start, end)| ByteRange::new(start, end));
        let whole = (self.outcome == Outcome::Corrupt).then_some(ByteRange::first(self.placement.len));
        Exception {
            shard: self.placement.shard,
            segment: self.placement.segment,
            index: self.placement.index,
            outcome: self.outcome,
            cause: self.cause,
            range: hull.or(whole),
        }
    }

    fn change(&self) -> StandingChange {
        let standing = match (self.outcome, self.ranges.is_empty()) {
            (Outcome::Corrupt, false) => Standing::Damaged(self.ranges.clone()),
            // A bad copy is there under this name; a repair replaces it where it is.
            (Outcome::Corrupt, true) => Standing::Damaged(vec![ByteRange::first(self.placement.len)]),
            _ => Standing::Lost,
        };
        let Placement { segment, index, node, sequence, .. } = self.placement;
        StandingChange { segment, index, node, sequence, standing }
    }
}

/// The standings of shards that were given up and are there after all.
pub(super) fn regained(placement: &Placement) -> StandingChange {
    let Placement { segment, index, node, sequence, .. } = *placement;
    StandingChange { segment, index, node, sequence, standing: Standing::Good }
}
