//! Watches the auditor find out and heal: verdicts as they come, repairs as they end, until every shard that was hit has
//! a verdict and stands again. A verdict against a shard that was not hit fails the demo: nobody innocent is accused.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use holdfast_client::{Auditor, Client, SegmentStat};
use holdfast_protocol::model::{Exception, Outcome, RepairState};
use holdfast_types::{BLOB_LEN, ByteRange, NodeId, ObjectId, RepairId, ShardId, VerdictId, Wall};
use holdfast_wire::convert::{REPAIRS_PAGE_MAX, VerdictView, WatchVerdicts};
use tokio::time::{Instant, interval};

use super::{
    report::{Kind, Repair, Report, Verdict},
    stage::Stage,
};
use crate::{failure::Failure, show, words};

/// Between two looks at repairs and status.
const LOOK: Duration = Duration::from_millis(400);
/// A verdict names damage to within this: two blobs, for a range may straddle their border.
pub(crate) const RANGE_LEN_MAX: u64 = 2 * BLOB_LEN;

/// What was done, to whom, when.
#[derive(Debug)]
pub(crate) struct Damage {
    /// Every stored shard that was hit, and by which fault.
    pub(crate) hit: BTreeMap<(NodeId, ShardId), Kind>,
    /// When each fault was done.
    pub(crate) at: BTreeMap<Kind, Wall>,
    /// Which bytes were flipped.
    pub(crate) flipped: ByteRange,
    /// The newest verdict before.
    pub(crate) after: VerdictId,
}

struct Watch<'a> {
    stage: &'a Stage,
    damage: &'a Damage,
    /// The verdicts that say what was done.
    judged: BTreeSet<(NodeId, ShardId)>,
    told: BTreeSet<RepairId>,
    /// Told as they come: what was found before a demo failed is half of why.
    report: &'a mut Report,
}

/// Until all is judged and whole again, or `patience` has passed.
pub(crate) async fn until_healed(
    stage: &Stage,
    client: &Client,
    objects: &[ObjectId],
    damage: &Damage,
    patience: Duration,
    report: &mut Report,
) -> Result<(), Failure> {
    let auditor = client.auditor();
    let mut watch = Watch { stage, damage, judged: BTreeSet::new(), told: BTreeSet::new(), report };
    let mut verdicts = auditor.watch_verdicts(WatchVerdicts { after: damage.after, node: None });
    let (mut looks, began) = (interval(LOOK), Instant::now());
    loop {
        tokio::select! {
            view = verdicts.next() => watch.verdict(&view?)?,
            _ = looks.tick() => {
                watch.repairs(auditor).await?;
                if watch.is_over() && is_whole(stage, client, objects).await? {
                    return Ok(());
                }
                if began.elapsed() > patience {
                    return Err(watch.overdue(auditor).await?);
                }
            }
        }
    }
}

impl Watch<'_> {
    fn verdict(&mut self, view: &VerdictView) -> Result<(), Failure> {
        let verdict = &view.verdict;
        for exception in &verdict.exceptions {
            let key = (verdict.node, exception.shard);
            let Some(kind) = self.damage.hit.get(&key) else {
                self.innocent(verdict.node, exception)?;
                continue;
            };
            if self.judged.contains(&key) {
                continue;
            }
            let at = self.damage.at.get(kind).copied().unwrap_or_default();
            let line = Verdict {
                node: verdict.node,
                shard: exception.shard,
                outcome: words::outcome(exception.outcome),
                cause: exception.cause.map(words::cause),
                range: exception.range.map(show::pair),
                lane: words::lane(verdict.lane),
                after_seconds: show::rounded(verdict.at.since(at).as_secs_f64()),
            };
            self.tell_verdict(*kind, &line);
            // One verdict a shard: the one that says what was done replaces what came before.
            self.report.verdicts.retain(|known| (known.node, known.shard) != key);
            self.report.verdicts.push(line);
            if *kind == Kind::Flip {
                if is_about_time(exception.outcome) {
                    // A slow machine: the node has not been asked about its bytes yet, or had no time to answer.
                    self.stage
                        .story
                        .say("note", "too slow to be asked about its bytes; the fold that names them is to come");
                    continue;
                }
                self.accept_range(exception.range)?;
            }
            self.judged.insert(key);
        }
        Ok(())
    }

    /// A slow machine makes honest nodes late; only bytes that are not there convict.
    fn innocent(&self, node: NodeId, exception: &Exception) -> Result<(), Failure> {
        let (name, word) = (self.stage.name(node), words::outcome(exception.outcome));
        if is_about_time(exception.outcome) {
            self.stage.story.say("note", &format!("{name} was {word}: too much for this machine; its shards move"));
            return Ok(());
        }
        let shard = exception.shard;
        Err(Failure::Failed(format!("{name} was called {word} for shard {shard}, which nobody damaged")))
    }

    fn accept_range(&self, range: Option<ByteRange>) -> Result<(), Failure> {
        let flipped = self.damage.flipped;
        match range {
            Some(range) if range.len() <= RANGE_LEN_MAX && range.overlaps(flipped) => Ok(()),
            Some(range) => Err(Failure::Failed(format!(
                "bytes {flipped} were flipped; expected a verdict on at most {RANGE_LEN_MAX} bytes around them, got {range}"
            ))),
            None => {
                Err(Failure::Failed(format!("bytes {flipped} were flipped; expected a verdict with a range, got none")))
            }
        }
    }

    fn tell_verdict(&self, kind: Kind, verdict: &Verdict) {
        let cause = verdict.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        let range = verdict.range.map(|[from, to]| format!(", bytes {from}..{to}")).unwrap_or_default();
        self.stage.story.say(
            "CAUGHT",
            &format!(
                "{:<4} by {}, {:.1} s after the fault: {} is {}{cause}: shard {}{range}",
                kind.as_str(),
                verdict.lane,
                verdict.after_seconds,
                self.stage.name(verdict.node),
                verdict.outcome,
                show::short(&verdict.shard)
            ),
        );
    }

    async fn repairs(&mut self, auditor: &Auditor) -> Result<(), Failure> {
        let since = self.damage.at.values().min().copied().unwrap_or_default();
        let mut rows = auditor.repairs(REPAIRS_PAGE_MAX).await?;
        rows.retain(|row| row.state == RepairState::Done && row.started >= since && !self.told.contains(&row.id));
        rows.sort_by_key(|row| row.ended);
        for row in rows {
            self.told.insert(row.id);
            let seconds = row.ended.map(|ended| ended.since(row.started).as_secs_f64()).unwrap_or_default();
            let way = match row.from {
                Some(from) if from == row.to => format!("in place on {}", self.stage.name(from)),
                Some(from) => format!("{} → {}", self.stage.name(from), self.stage.name(row.to)),
                None => format!("→ {}", self.stage.name(row.to)),
            };
            let (shard, bytes) = (show::short(&row.shard), show::bytes(row.bytes));
            self.stage.story.say("REPAIRED", &format!("shard {shard} {way}, {bytes} in {seconds:.1} s"));
            let seconds = show::rounded(seconds);
            self.report.repairs.push(Repair { shard: row.shard, from: row.from, to: row.to, seconds });
        }
        Ok(())
    }

    /// Everything that was hit has a verdict, and a repair.
    fn is_over(&self) -> bool {
        let repaired: BTreeSet<ShardId> = self.report.repairs.iter().map(|repair| repair.shard).collect();
        self.judged.len() == self.damage.hit.len() && self.damage.hit.keys().all(|(_, shard)| repaired.contains(shard))
    }

    async fn overdue(&self, auditor: &Auditor) -> Result<Failure, Failure> {
        let catalog = auditor.status().await?.catalog;
        let open: Vec<String> = self
            .damage
            .hit
            .iter()
            .filter(|(key, _)| !self.judged.contains(key))
            .map(|((node, shard), kind)| {
                format!("{} of {} ({})", show::short(shard), self.stage.name(*node), kind.as_str())
            })
            .collect();
        Ok(Failure::Failed(format!(
            "not healed in time: {} of {} hit shards have no verdict ({}), {} repairs done, {} of {} segments still miss shards",
            open.len(),
            self.damage.hit.len(),
            open.join(", "),
            self.report.repairs.len(),
            catalog.at_risk,
            catalog.segments
        )))
    }
}

/// Whether it says nothing of bytes.
fn is_about_time(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Corrupt | Outcome::Missing => false,
        Outcome::Held | Outcome::Late | Outcome::Unreachable | Outcome::Refused | Outcome::Inconclusive(_) => true,
    }
}

/// Whether the catalog says that nothing is at risk, and each segment has all its shards on as many living nodes.
async fn is_whole(stage: &Stage, client: &Client, objects: &[ObjectId]) -> Result<bool, Failure> {
    let catalog = client.auditor().status().await?.catalog;
    if catalog.at_risk > 0 || catalog.pending_commitments > 0 {
        return Ok(false);
    }
    let segments = super::segments(client, objects).await?;
    let whole = |segment: &SegmentStat| {
        let nodes: BTreeSet<NodeId> =
            segment.shards.iter().filter(|shard| shard.standing.is_good()).map(|shard| shard.node).collect();
        nodes.len() == usize::from(segment.code.total()) && !nodes.iter().any(|node| stage.is_dead(*node))
    };
    Ok(segments.iter().all(whole))
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::model::{self, Cause, Lane};
    use holdfast_types::{AuditId, Millis, SegmentId, ShardIndex};

    use super::*;
    use crate::demo::story::Story;

    const NODE: NodeId = NodeId([1; 32]);

    fn shard() -> ShardId {
        ShardId::from_bytes([2; 32])
    }

    fn view(outcome: Outcome, range: Option<ByteRange>) -> VerdictView {
        let cause = range.map(|_| Cause::Reported);
        let (shard, segment, index) = (shard(), SegmentId([3; 16]), ShardIndex(0));
        let verdict = model::Verdict {
            id: VerdictId(1),
            audit: AuditId([1; 32]),
            node: NODE,
            lane: Lane::Fold,
            outcome,
            at: Wall(2000),
            took: Millis(1),
            shards: 1,
            bytes: 1,
            exceptions: vec![Exception { shard, segment, index, outcome, cause, range }],
            evidence: vec![],
        };
        VerdictView { verdict, exceptions_total: 1, evidence: None }
    }

    /// An outcome and its range.
    type Told = (&'static str, Option<[u64; 2]>);

    /// What the report holds after these, and whether the shard counts as judged.
    fn after(views: &[VerdictView]) -> (Result<(), Failure>, Vec<Told>, bool) {
        let stage = Stage::of(Story::begin(true), &[]);
        let flipped = ByteRange::new(10, 26).unwrap();
        let hit = [((NODE, shard()), Kind::Flip)].into();
        let damage = Damage { hit, at: [(Kind::Flip, Wall(1000))].into(), flipped, after: VerdictId(0) };
        let mut report = Report::default();
        let mut watch = Watch {
            stage: &stage,
            damage: &damage,
            judged: BTreeSet::new(),
            told: BTreeSet::new(),
            report: &mut report,
        };
        let ended = views.iter().try_for_each(|view| watch.verdict(view));
        let judged = watch.judged.contains(&(NODE, shard()));
        (ended, report.verdicts.iter().map(|verdict| (verdict.outcome, verdict.range)).collect(), judged)
    }

    #[test]
    fn a_flip_is_caught_by_a_verdict_on_bytes_also_after_one_on_time() {
        let range = ByteRange::first(BLOB_LEN);
        let (late, caught) = (view(Outcome::Late, None), view(Outcome::Corrupt, Some(range)));
        let (ended, told, judged) = after(std::slice::from_ref(&late));
        assert!(ended.is_ok() && !judged, "{ended:?}");
        assert_eq!(told, [("late", None)]);
        let (ended, told, judged) = after(&[late.clone(), caught.clone(), late]);
        assert!(ended.is_ok() && judged, "{ended:?}");
        assert_eq!(told, [("corrupt", Some([0, BLOB_LEN]))], "one verdict a shard");

        // What fails the demo is in its report.
        let elsewhere = view(Outcome::Corrupt, Some(ByteRange::new(BLOB_LEN, 2 * BLOB_LEN).unwrap()));
        let (ended, told, judged) = after(&[elsewhere]);
        assert!(ended.is_err() && !judged);
        assert_eq!(told.len(), 1);
    }
}
