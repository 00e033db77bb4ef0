//! Waits for proofs: until every stored shard is committed to, and until every node has folded all that it holds.

use std::{collections::BTreeMap, time::Duration};

use holdfast_client::{Auditor, SegmentStat};
use holdfast_protocol::model::{Lane, Outcome};
use holdfast_types::{NodeId, VerdictId};
use holdfast_wire::convert::WatchVerdicts;
use tokio::time::{Instant, sleep, timeout};

use super::stage::Stage;
use crate::{failure::Failure, show, words};

/// Between two looks at the backlog.
const LOOK: Duration = Duration::from_millis(250);
/// Between two words about it.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// Without any progress for this long, there will be none: a shard takes seconds.
const STALLED: Duration = Duration::from_secs(120);

/// Until the commitments of every shard are accepted.
pub(crate) async fn committed(stage: &Stage, auditor: &Auditor) -> Result<(), Failure> {
    let (mut moved, mut told) = (Instant::now(), Instant::now());
    let mut before = u64::MAX;
    loop {
        let catalog = auditor.status().await?.catalog;
        let left = catalog.pending_commitments;
        if left == 0 && catalog.placements > 0 {
            return Ok(());
        }
        if left < before {
            (before, moved) = (left, Instant::now());
        }
        if moved.elapsed() > STALLED {
            return Err(Failure::Failed(format!(
                "{left} of {} shards have no commitments, and none was made for {} s; see log/auditor.log with --keep",
                catalog.placements,
                STALLED.as_secs()
            )));
        }
        if told.elapsed() > TOLD_EVERY {
            told = Instant::now();
            let done = catalog.placements - left;
            let bytes = show::bytes(catalog.pending_bytes);
            stage.story.say("commit", &format!("{done} of {} shards, {bytes} to go", catalog.placements));
        }
        sleep(LOOK).await;
    }
}

/// How many shards each living node holds.
pub(crate) fn holdings(stage: &Stage, segments: &[SegmentStat]) -> BTreeMap<NodeId, u32> {
    let mut held = BTreeMap::new();
    for shard in segments.iter().flat_map(|segment| &segment.shards).filter(|shard| !stage.is_dead(shard.node)) {
        *held.entry(shard.node).or_default() += 1;
    }
    held
}

/// Until each of these nodes has proven, by a fold after verdict `after`, every byte of as many shards as it holds.
/// Slowness is waited for; a verdict against bytes is not.
pub(crate) async fn folded(
    stage: &Stage,
    auditor: &Auditor,
    held: &BTreeMap<NodeId, u32>,
    after: VerdictId,
    patience: Duration,
) -> Result<(), Failure> {
    let mut open = held.clone();
    let mut watch = auditor.watch_verdicts(WatchVerdicts { after, node: None });
    let all = async {
        while !open.is_empty() {
            let verdict = watch.next().await?.verdict;
            if stage.is_dead(verdict.node) {
                continue;
            }
            let against = verdict.exceptions.first().map(|exception| exception.outcome);
            match against.unwrap_or(verdict.outcome) {
                Outcome::Held => {
                    let expected = open.get(&verdict.node).copied();
                    if verdict.lane == Lane::Fold && expected.is_some_and(|shards| shards == verdict.shards) {
                        open.remove(&verdict.node);
                    }
                }
                bad @ (Outcome::Corrupt | Outcome::Missing) => {
                    let (name, word) = (stage.name(verdict.node), words::outcome(bad));
                    return Err(Failure::Failed(format!("{name}, which should hold everything, was found {word}")));
                }
                Outcome::Late | Outcome::Unreachable | Outcome::Refused | Outcome::Inconclusive(_) => {}
            }
        }
        Ok(())
    };
    match timeout(patience, all).await {
        Ok(ended) => ended,
        Err(_) => {
            let open: Vec<String> = open.keys().map(|node| stage.name(*node)).collect();
            Err(Failure::Failed(format!("no proof within {} s from {}", patience.as_secs(), open.join(", "))))
        }
    }
}
