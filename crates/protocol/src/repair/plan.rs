//! Turns a segment's health into a plan. Reads nothing, writes nothing.
//! Input: the segment, the nodes, what failed before. Output: sources, targets, or why not.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{Fence, NodeId, Seed, ShardId, ShardIndex, ZoneName};
use thiserror::Error;

use crate::{
    effect::{RecoverJob, Source, Target},
    model::{NodeLife, NodeRow, Placement, SegmentView, Standing},
    placement::{self, PlacementError},
};

/// How a segment stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health {
    /// Shards believed to be there, whole.
    pub good: u16,
    /// Of them, the most in one zone.
    pub largest_zone: u16,
}

/// Counts a segment's good shards.
pub fn health(view: &SegmentView, nodes: &BTreeMap<NodeId, NodeRow>) -> Health {
    let mut zones: BTreeMap<Option<&ZoneName>, u16> = BTreeMap::new();
    let good = view.placements.iter().filter(|placement| placement.standing.is_good());
    for placement in good {
        *zones.entry(nodes.get(&placement.node).map(|row| &row.zone)).or_default() += 1;
    }
    Health { good: zones.values().sum(), largest_zone: zones.values().copied().max().unwrap_or(0) }
}

/// Whether a segment is to be repaired now: at its owner's threshold, and at the latest when the loss of one more zone
/// would be the end of it.
pub fn is_due(view: &SegmentView, health: Health) -> bool {
    let code = view.segment.code;
    let zone_is_fatal = health.good - health.largest_zone < code.data();
    health.good < code.total() && (health.good <= view.segment.repair_threshold || zone_is_fatal)
}

/// Why there is no plan.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PlanError {
    /// Every shard is good.
    #[error("every shard is good")]
    Whole,
    /// Too few good shards.
    #[error("{good} whole shards are left, {needed} are needed; it can be repaired when {} come back", needed - good)]
    Unrecoverable {
        /// Good shards.
        good: u16,
        /// k.
        needed: u16,
    },
    /// No node for any of the shards to recover.
    #[error(transparent)]
    NoPlace(#[from] PlacementError),
}

/// What limits a plan beside the segment itself.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// All nodes.
    pub nodes: &'a BTreeMap<NodeId, NodeRow>,
    /// Nodes that failed this segment as targets.
    pub avoid: &'a BTreeSet<NodeId>,
    /// Deletions that a node may be carrying out at this moment: what is put there now could be hit.
    pub deleting: &'a BTreeSet<(NodeId, ShardId)>,
    /// Shards that were read and are not what their nodes should have: no sources, whatever else is missing.
    pub gone: &'a BTreeSet<(NodeId, ShardId)>,
    /// Shards that did not come when they were read: read last.
    pub unserved: &'a BTreeSet<(NodeId, ShardId)>,
    /// Shards that count as lost because their nodes prove them and do not give them: not written there again.
    pub withheld: &'a BTreeSet<(NodeId, ShardId)>,
    /// Breaks ties between nodes.
    pub seed: Seed,
}

/// What to read and where to write. A damaged or missing shard goes back to its node where that stands; every other
/// one to a node that has no shard of the segment. Where there are nodes for some of them only, these are planned.
pub fn plan(view: &SegmentView, limits: Limits<'_>, fence: Fence) -> Result<RecoverJob, PlanError> {
    let segment = &view.segment;
    let by_index: BTreeMap<ShardIndex, &Placement> = view.placements.iter().map(|p| (p.index, p)).collect();
    let good: Vec<&Placement> = view.placements.iter().filter(|p| p.standing.is_good()).collect();
    let (held, needed) = (good.len() as u16, segment.code.data());
    let hoped = hoped_for(view, usize::from(needed.saturating_sub(held)), &limits);
    if held + (hoped.len() as u16) < needed {
        return Err(PlanError::Unrecoverable { good: held, needed });
    }
    let is_source = |index: &ShardIndex| hoped.iter().any(|placement| placement.index == *index);
    let is_bad = |index: &ShardIndex| {
        by_index.get(index).is_none_or(|placement| !placement.standing.is_good()) && !is_source(index)
    };
    let bad: Vec<ShardIndex> = (0..segment.code.total()).map(ShardIndex).filter(is_bad).collect();
    if bad.is_empty() {
        return Err(PlanError::Whole);
    }
    let in_place = |index: &ShardIndex| by_index.get(index).filter(|placement| stands(placement, &limits)).copied();
    let mut kept: Vec<(ShardIndex, NodeId)> = good.iter().map(|placement| (placement.index, placement.node)).collect();
    kept.extend(bad.iter().filter_map(in_place).map(|placement| (placement.index, placement.node)));
    let homeless: Vec<ShardIndex> = bad.iter().filter(|index| in_place(index).is_none()).copied().collect();
    let mut avoid = limits.avoid.clone();
    avoid.extend(view.placements.iter().map(|placement| placement.node));
    avoid.extend(limits.deleting.iter().filter(|(_, shard)| segment.shards.contains(shard)).map(|(node, _)| *node));
    let request = placement::Request {
        code: segment.code,
        shard_len: segment.shard_len,
        nodes: limits.nodes,
        kept: &kept,
        avoid: &avoid,
        seed: limits.seed,
    };
    let (chosen, error) = placement::fill(&request, &homeless);
    let mut places: BTreeMap<ShardIndex, (NodeId, bool)> =
        bad.iter().filter_map(in_place).map(|placement| (placement.index, (placement.node, true))).collect();
    places.extend(chosen.into_iter().map(|(index, node)| (index, (node, false))));
    if let Some(error) = error.filter(|_| places.is_empty()) {
        return Err(error.into());
    }
    let target = |(index, (node, in_place)): (ShardIndex, (NodeId, bool))| {
        let shard = *segment.shards.get(usize::from(index.0))?;
        Some(Target { index, shard, node, in_place })
    };
    Ok(RecoverJob {
        segment: segment.id,
        root: segment.root,
        code: segment.code,
        len: segment.len,
        shard_len: segment.shard_len,
        secret: segment.secret_for_recovery.clone(),
        sources: sources(&[good, hoped].concat(), &limits),
        targets: places.into_iter().filter_map(target).collect(),
        owner: segment.owner,
        fence,
    })
}

/// Where fewer than k shards are good, so many of the others whose nodes are there. First those that were given up: a site that was
/// dark for longer than the patience with it lost its placements, not its disks. Then those that were judged: a node convicted of a false
/// answer may hold the bytes all the same. Whatever is read is held against its CID before it is decoded, so that hoping costs a read.
fn hoped_for<'a>(view: &'a SegmentView, count: usize, limits: &Limits<'_>) -> Vec<&'a Placement> {
    let answers = |placement: &&Placement| {
        let life = limits.nodes.get(&placement.node).map(|row| row.life);
        matches!(life, Some(NodeLife::Joining | NodeLife::Active | NodeLife::Draining))
    };
    let bad = |lost: bool| {
        let of_kind = move |placement: &&Placement| match placement.standing {
            Standing::Good => false,
            Standing::Lost => lost,
            Standing::Damaged(_) => !lost,
        };
        view.placements.iter().filter(of_kind)
    };
    let any = bad(true).chain(bad(false)).filter(answers);
    any.filter(|placement| !limits.gone.contains(&(placement.node, placement.shard))).take(count).collect()
}

/// Whether a bad shard can be written again where it was.
fn stands(placement: &Placement, limits: &Limits<'_>) -> bool {
    let bad = match placement.standing {
        Standing::Good => false,
        Standing::Damaged(_) | Standing::Lost => true,
    };
    let takes = limits.nodes.get(&placement.node).is_some_and(|row| row.life.takes_shards());
    let deleting = limits.deleting.contains(&(placement.node, placement.shard));
    let withheld = limits.withheld.contains(&(placement.node, placement.shard));
    bad && takes && !deleting && !withheld && !limits.avoid.contains(&placement.node)
}

/// Good shards, those of nodes in good standing first, data before parity: what is read first need not be computed.
// Attack: a source that proves its shard and does not give it, or not twice, ends every repair that prefers it. Whatever
// failed a reading comes last.
fn sources(good: &[&Placement], limits: &Limits<'_>) -> Vec<Source> {
    let rank = |placement: &&Placement| {
        let trust = limits.nodes.get(&placement.node).map_or(4, |row| match row.life {
            NodeLife::Active => 0,
            NodeLife::Joining | NodeLife::Draining => 1,
            NodeLife::Contained => 2,
            NodeLife::Suspended | NodeLife::Evicted | NodeLife::Left => 3,
        });
        let key = (placement.node, placement.shard);
        let failed = limits.unserved.contains(&key) || limits.gone.contains(&key);
        (failed, trust, placement.index)
    };
    let mut ranked = good.to_vec();
    ranked.sort_by_key(rank);
    let source = |p: &Placement| Source { index: p.index, shard: p.shard, node: p.node };
    ranked.into_iter().map(source).collect()
}
