//! The catalog's numbers for a scraper: walked now and then beside everything else, so that a scrape walks nothing.
//!
//! Counting placements costs a pass over an index, seconds for a catalog of millions. However often somebody scrapes,
//! the walk is made at most every [`EVERY`], and rests [`REST`] times as long as it took: below a tenth of one of the
//! catalog's two readers. How old the numbers are stands beside them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use holdfast_protocol::{
    model::{CommitmentCounts, NodeLife, NodeRow},
    store::{StoreOp, StoreReply, Summary},
};
use holdfast_types::{Millis, Wall};
use tracing::warn;

use crate::{clock, counted::Counted, shared::Shared};

/// Between two walks at least; scrapes are usually further apart.
const EVERY: Duration = Duration::from_secs(5);
/// After a walk, this many times its length.
const REST: u32 = 10;

/// What one walk found.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) summary: Summary,
    pub(crate) commitments: CommitmentCounts,
    /// Segments by spare shards, the fewest first.
    pub(crate) spares: Vec<(i32, u64)>,
    pub(crate) lives: BTreeMap<NodeLife, u64>,
    /// Of the nodes that a verdict is awaited on: the one whose last is the longest ago.
    pub(crate) oldest_verdict: Option<Wall>,
    /// Of the same: those without one for longer than the profile's alarm.
    pub(crate) overdue: u64,
    /// When the walk ended.
    pub(crate) at: Instant,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Walks until the future is dropped.
pub(crate) async fn keep(shared: Arc<Shared>) {
    loop {
        let began = Instant::now();
        match walk(&shared, began).await {
            Some(sample) => {
                let mut kept = shared.sample.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                *kept = Some(sample);
            }
            // The catalog's own error is logged where it happened.
            None => warn!("the catalog could not be counted for the metrics; they show the last walk"),
        }
        tokio::time::sleep((began.elapsed() * REST).max(EVERY)).await;
    }
}

async fn walk(shared: &Shared, began: Instant) -> Option<Sample> {
    let Counted { summary, commitments, .. } = shared.walks.count(&shared.store).await.ok()?;
    let StoreReply::Spares(spares) = shared.ask(StoreOp::SegmentsBySpare).await else { return None };
    let StoreReply::Nodes(nodes) = shared.ask(StoreOp::Nodes).await else { return None };
    let mut lives = BTreeMap::new();
    for row in &nodes {
        *lives.entry(row.life).or_default() += 1;
    }
    let (oldest_verdict, overdue) = verdicts(&nodes, clock::wall(), shared.profile.silence_alarm);
    let took = began.elapsed();
    Some(Sample { summary, commitments, spares, lives, oldest_verdict, overdue, at: Instant::now(), took })
}

/// The oldest of the nodes' last verdicts, and how many are older than `most`. A node that holds nothing is not
/// audited, and of a suspended one nothing is expected; one without a verdict has waited since it joined.
fn verdicts(nodes: &[NodeRow], now: Wall, most: Millis) -> (Option<Wall>, u64) {
    let awaited = nodes.iter().filter(|row| row.life.is_audited() && row.life != NodeLife::Suspended && row.used > 0);
    let last: Vec<Wall> = awaited.map(|row| row.judged.unwrap_or(row.joined)).collect();
    let overdue = last.iter().filter(|at| now.since(**at) > most).count();
    (last.into_iter().min(), overdue as u64)
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Incarnation, NodeId, PublicKey, VolumeId, ZoneName};

    use super::*;

    fn row(life: NodeLife, used: u64, judged: Option<u64>) -> NodeRow {
        NodeRow {
            id: NodeId([1; 32]),
            key: PublicKey([0; 32]),
            addresses: Vec::new(),
            zone: ZoneName("z".into()),
            operator: String::new(),
            life,
            containment: None,
            volume: VolumeId([0; 16]),
            incarnation: Incarnation([0; 16]),
            capacity: 9,
            used,
            joined: Wall(10),
            seen: Wall(0),
            judged: judged.map(Wall),
            version: 1,
        }
    }

    #[test]
    fn a_verdict_is_awaited_on_whoever_holds_something_and_is_not_given_up() {
        let of = |rows: &[NodeRow]| verdicts(rows, Wall(1000), Millis(100));
        assert_eq!(of(&[]), (None, 0));
        assert_eq!(
            of(&[row(NodeLife::Active, 5, Some(950)), row(NodeLife::Active, 5, Some(899))]),
            (Some(Wall(899)), 1)
        );
        assert_eq!(of(&[row(NodeLife::Contained, 5, None)]), (Some(Wall(10)), 1), "since it joined");
        let none = [row(NodeLife::Active, 0, None), row(NodeLife::Suspended, 5, None), row(NodeLife::Left, 5, None)];
        assert_eq!(of(&none), (None, 0));
    }
}
