//! The driver's jobs: repairs here, commitments in [`crate::lists`]. They branch on what IO gives and decide nothing. Reads and writes are calls over the network like any other; what was
//! sent before the auditor died still arrives.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use holdfast_dispersal::{Geometry, Masks, Rebuilder, RecoveryWrap, SegmentBinding, Target as Wanted};
use holdfast_protocol::{
    effect::{CommitJob, Event as CoreEvent, RecoverJob, RecoverOutcome, Source, Token},
    grants,
    message::{Receipt, SendFailure},
};
use holdfast_types::{ByteRange, Millis, NodeId, Root, ShardId, ShardIndex};

use crate::{
    message::{Got, Peer, Purpose, Request},
    world::World,
};

/// How long a job waits for a node.
const PATIENCE: Millis = Millis(2_500);

/// A job under way.
pub(crate) enum Job {
    Commit(CommitJob),
    Recover(Box<Recovery>),
}

/// A repair under way.
pub(crate) struct Recovery {
    job: RecoverJob,
    left: VecDeque<Source>,
    reading: BTreeMap<ShardIndex, Source>,
    verified: BTreeMap<ShardIndex, Bytes>,
    writing: usize,
    outcome: RecoverOutcome,
}

/// Calls
impl World {
    pub(crate) fn ask(&mut self, node: NodeId, request: Request, purpose: Purpose) {
        let to = Peer::Node(self.names[&node]);
        self.call(Peer::Auditor, to, request, PATIENCE, purpose);
    }
}

/// Repairs
impl World {
    pub(crate) fn begin_recover(&mut self, token: Token, job: RecoverJob) {
        let left: VecDeque<Source> = job.sources.iter().cloned().collect();
        let outcome = RecoverOutcome {
            placed: Vec::new(),
            bad_sources: Vec::new(),
            silent_sources: Vec::new(),
            failed_targets: Vec::new(),
            reason: String::new(),
        };
        let (reading, verified) = (BTreeMap::new(), BTreeMap::new());
        let recovery = Recovery { job, left, reading, verified, writing: 0, outcome };
        self.auditor.jobs.insert(token, Job::Recover(Box::new(recovery)));
        self.read_on(token);
    }

    fn recovery(&mut self, token: Token) -> Option<&mut Recovery> {
        match self.auditor.jobs.get_mut(&token) {
            Some(Job::Recover(recovery)) => Some(recovery),
            Some(Job::Commit(_)) | None => None,
        }
    }

    /// Reads as many sources as are still needed, or goes on to decode, or gives up.
    fn read_on(&mut self, token: Token) {
        let Some(recovery) = self.recovery(token) else { return };
        if !recovery.reading.is_empty() {
            return;
        }
        let needed = usize::from(recovery.job.code.data());
        let missing = needed - recovery.verified.len().min(needed);
        let batch: Vec<Source> = recovery.left.drain(..missing.min(recovery.left.len())).collect();
        if missing == 0 {
            return self.write_targets(token);
        }
        if batch.is_empty() {
            recovery.outcome.reason = format!("found {} verified sources, needed {needed}", recovery.verified.len());
            return self.recovered(token);
        }
        recovery.reading = batch.iter().map(|source| (source.index, source.clone())).collect();
        let range = ByteRange::first(recovery.job.shard_len);
        for Source { index, shard, node } in batch {
            self.ask(node, Request::Get { shard, range }, Purpose::Source(token, index));
        }
    }

    pub(crate) fn source_read(&mut self, token: Token, index: ShardIndex, got: Got) {
        let Some(recovery) = self.recovery(token) else { return };
        let Some(source) = recovery.reading.remove(&index) else { return };
        match got {
            Got::Bytes { bytes, damaged } if damaged.is_empty() && ShardId(Root::of(&bytes)) == source.shard => {
                recovery.verified.insert(index, bytes);
            }
            Got::Bytes { .. } | Got::NotFound | Got::Failed(SendFailure::Malformed(_)) => {
                recovery.outcome.bad_sources.push(index);
            }
            Got::Busy(_) | Got::Failed(_) => recovery.outcome.silent_sources.push(index),
        }
        self.read_on(token);
    }

    fn write_targets(&mut self, token: Token) {
        let (wall, key, secret) =
            (self.wall_of(Peer::Auditor), self.auditor.key.clone(), self.auditor.recovery.clone());
        let Some(recovery) = self.recovery(token) else { return };
        let rebuilt = rebuild(&recovery.job, &recovery.verified, |binding, wrap| {
            secret.unwrap(binding, wrap).map_err(|error| error.to_string())
        });
        let shards = match rebuilt {
            Ok(shards) => shards,
            Err(reason) => {
                recovery.outcome.reason = reason;
                return self.recovered(token);
            }
        };
        recovery.writing = shards.len();
        let job = recovery.job.clone();
        for target in &job.targets {
            let grant = grants::recover_put(&job, target, wall, &key);
            let Some(bytes) = shards.get(&target.index).cloned() else { continue };
            let request = Request::Put { grant, replace: target.in_place, bytes };
            self.ask(target.node, request, Purpose::Target(token, target.index));
        }
    }

    pub(crate) fn target_written(&mut self, token: Token, index: ShardIndex, reply: Result<Box<Receipt>, SendFailure>) {
        let Some(recovery) = self.recovery(token) else { return };
        recovery.writing -= 1;
        match reply {
            Ok(receipt) => recovery.outcome.placed.push((index, *receipt)),
            Err(failure) => recovery.outcome.failed_targets.push((index, format!("{failure:?}"))),
        }
        if recovery.writing == 0 {
            self.recovered(token);
        }
    }

    fn recovered(&mut self, token: Token) {
        let Some(recovery) = self.recovery(token) else { return };
        let outcome = Box::new(recovery.outcome.clone());
        self.job_over(token, CoreEvent::Recovered(token, outcome));
    }
}

/// The lost shards, proven against the segment's root and their own names.
fn rebuild(
    job: &RecoverJob,
    verified: &BTreeMap<ShardIndex, Bytes>,
    unwrap: impl Fn(&SegmentBinding, &RecoveryWrap) -> Result<holdfast_dispersal::PlacementSecret, String>,
) -> Result<BTreeMap<ShardIndex, Bytes>, String> {
    let geometry = Geometry::new(job.code, job.len).map_err(|error| error.to_string())?;
    let binding = SegmentBinding { owner: job.owner, root: job.root, code: job.code };
    let wrap = RecoveryWrap::from_bytes(&job.secret).ok_or("the wrapped placement secret has no valid form")?;
    let masks = Masks::new(unwrap(&binding, &wrap)?, job.root, job.code);
    let sources: Vec<ShardIndex> = verified.keys().copied().collect();
    let wanted: Vec<Wanted> =
        job.targets.iter().map(|target| Wanted { index: target.index, id: target.shard }).collect();
    let mut rebuilder = Rebuilder::new(geometry, masks, &sources, &wanted, None).map_err(|error| error.to_string())?;
    let order = rebuilder.sources().to_vec();
    let mut shards: BTreeMap<ShardIndex, Vec<u8>> = BTreeMap::new();
    while let Some(range) = rebuilder.next_strip() {
        let strip = |index: &ShardIndex| {
            let bytes = verified.get(index).map(|bytes| &bytes[range.start() as usize..range.end() as usize]);
            bytes.unwrap_or_default().to_vec()
        };
        let mut strips: Vec<Vec<u8>> = order.iter().map(strip).collect();
        for rebuilt in rebuilder.absorb(&mut strips).map_err(|error| error.to_string())? {
            shards.entry(rebuilt.index).or_default().extend(rebuilt.bytes);
        }
    }
    rebuilder.finish().map_err(|error| error.to_string())?;
    Ok(shards.into_iter().map(|(index, bytes)| (index, Bytes::from(bytes))).collect())
}
