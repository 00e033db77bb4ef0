//! What every part of a running node shares.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use holdfast_protocol::message::{NodeStat, Receipt};
use holdfast_types::{
    Fence, Grant, Incarnation, Millis, NodeId, Operation, OwnerId, PublicKey, SecretKey, Sequence, ShardId, Signature,
    SignedGrant, VolumeId, Wall,
};
use holdfast_volume::{Reader, Sequence as VolumeSequence};
use holdfast_wire::{ErrorCode, WireError, convert::CommitBacklog};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::{
    buffers::Buffers,
    commitments::{Backlog, Desk, Tally},
    config::Limits,
    content::{ALL_KINDS, META_FENCE, META_GRANT},
    counts::Counts,
    damage::Damage,
    reading::Rate,
    refusal,
    writer::Writer,
};

/// An expired grant is honoured for this long: clocks of a cluster may disagree by so much.
pub(crate) const GRANT_SKEW: Duration = Duration::from_secs(60);

/// A node that served nobody for so long is left alone. A large put comes back to each node of a small cluster more
/// often than that, also where the cluster is one slow machine; a node that is asked for something now and then still has
/// most of its time to commit.
const QUIET: Duration = Duration::from_secs(2);

pub(crate) struct State {
    pub(crate) key: SecretKey,
    pub(crate) id: NodeId,
    pub(crate) volume: VolumeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) capacity: u64,
    pub(crate) limits: Limits,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// Set once, at the first registration of the volume's life or from its meta: grants are judged by it.
    pub(crate) auditor: OnceLock<PublicKey>,
    pub(crate) damage: Damage,
    pub(crate) desk: Arc<Desk>,
    pub(crate) backlog: Backlog,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) reads: Arc<Semaphore>,
    pub(crate) buffers: Buffers,
    pub(crate) challenges: Arc<Semaphore>,
    pub(crate) served: Served,
    pub(crate) rate: Rate,
    pub(crate) counts: Counts,
}

/// When somebody was served last.
pub(crate) struct Served {
    began: Instant,
    /// Milliseconds after `began`.
    last: AtomicU64,
}

impl Served {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Now. To be said when a put begins and ends, and with every part of a read.
    pub(crate) fn now(&self) {
        self.last.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn since(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

pub(crate) fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl State {
    /// The grant, if it holds here, now, for this operation.
    pub(crate) fn verify(&self, signed: &SignedGrant, operation: Operation) -> Result<Grant, WireError> {
        let unknown = || {
            WireError::new(ErrorCode::Retry, "this node has not registered yet and knows no auditor; ask again soon")
                .retry_after(refusal::SOON)
        };
        let auditor = self.auditor.get().ok_or_else(unknown)?;
        let skew = GRANT_SKEW.as_millis() as u64;
        let grant = signed.verify(auditor, &self.id, wall(), skew).map_err(|error| refusal::of_grant(&error))?;
        if grant.operation != operation {
            return Err(refusal::of_grant(&holdfast_types::GrantError::Other { field: "operation" }));
        }
        Ok(*grant)
    }

    /// Our signed word that we hold it.
    pub(crate) fn receipt(&self, owner: OwnerId, shard: ShardId, len: u64, sequence: Sequence) -> Receipt {
        let unsigned = Signature { algorithm: 0, bytes: [0; 64] };
        let (node, incarnation) = (self.id, self.incarnation);
        let mut receipt = Receipt { node, incarnation, owner, shard, len, sequence, signature: unsigned };
        receipt.signature = self.key.sign(&receipt.transcript());
        receipt
    }

    /// Highest fence seen, as far as it is durable.
    pub(crate) fn fence(&self) -> Fence {
        self.reader.meta(META_FENCE).and_then(|bytes| bytes.try_into().ok()).map(Fence::from_bytes).unwrap_or_default()
    }

    /// Bytes of shards and of what belongs to them; one number an owner is added up.
    pub(crate) fn used(&self) -> u64 {
        self.reader.usages().iter().map(|(_, usage)| usage.bytes).sum()
    }

    pub(crate) fn stat(&self) -> NodeStat {
        NodeStat {
            node: self.id,
            volume: self.volume,
            incarnation: self.incarnation,
            capacity: self.capacity,
            used: self.used(),
            next: self.next_sequence(),
            fence: self.fence(),
            wall: wall(),
            proof: self.proof().map(Box::new),
        }
    }

    /// The grant of the highest fence that came with one.
    fn proof(&self) -> Option<SignedGrant> {
        self.reader.meta(META_GRANT).and_then(|bytes| SignedGrant::from_bytes(&bytes).ok())
    }

    /// Keeps a verified grant, if its fence is the highest so far, before anything is done under it: a restored catalog
    /// believes a fence only if it sees its own signature on it.
    pub(crate) async fn keep_proof(&self, signed: &SignedGrant) {
        let kept = self.proof().map_or_else(Fence::default, |proof| proof.grant.fence);
        if signed.grant.fence > kept
            && let Err(error) = self.writer.meta(META_GRANT, signed.to_bytes()).await
        {
            // On a full disk a deletion is worth more than the proof of its fence.
            warn!(%error, "the grant of the highest fence is not kept");
        }
    }

    /// How far the committer is.
    pub(crate) fn commit_backlog(&self) -> CommitBacklog {
        let Tally { shards, blobs, bytes, done } = self.backlog.tally();
        let core_time = Millis(u64::try_from(self.desk.core_time(blobs).as_millis()).unwrap_or(u64::MAX));
        CommitBacklog { shards, blobs, bytes, done, core_time }
    }

    /// One above the newest record there is, by bisection: an index has no "last" over all kinds.
    fn next_sequence(&self) -> Sequence {
        let any_from =
            |from: u64| !self.reader.entries(&ALL_KINDS, VolumeSequence(from)..VolumeSequence::END, 1).is_empty();
        let (mut low, mut high) = (0, u64::MAX);
        while low < high {
            let middle = low + (high - low) / 2;
            if any_from(middle) { low = middle + 1 } else { high = middle }
        }
        Sequence(low)
    }

    /// Whether somebody is served, or was a moment ago: between two shards of a put no node is idle, and what it
    /// computed then would be taken from the other nodes of its machine, and from the client.
    pub(crate) fn is_busy(&self) -> bool {
        self.served.since() < QUIET
            || self.uploads.available_permits() < self.limits.uploads
            || self.reads.available_permits() < self.limits.read_threads
            || self.challenges.available_permits() < self.limits.challenges
    }

    /// Notes what a read found damaged.
    pub(crate) fn damaged(&self, shard: ShardId, ranges: &[std::ops::Range<u64>]) {
        if !ranges.is_empty() && self.damage.note(shard) {
            let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            warn!(%shard, first = ranges[0].start, bytes, "shard is damaged on this disk");
        }
    }
}
