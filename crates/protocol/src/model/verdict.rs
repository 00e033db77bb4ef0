//! Audits in flight and the judgements that end them.

use holdfast_types::{
    AuditId, BlobIndex, ByteRange, Millis, NodeId, Seed, SegmentId, ShardId, ShardIndex, VerdictId, Wall,
};

use crate::message::SeqRun;

/// Which of the three lanes a challenge belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// KZG fold over every byte.
    Fold,
    /// Merkle proofs of random leaves.
    Sample,
    /// An ordinary read.
    Retrieve,
}

/// How damage came to be known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// The node lists it itself, signed.
    Reported,
    /// The node claimed to hold it and could not prove it.
    Proven,
}

/// What our own trouble was. Never costs a node anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// The auditor restarted or its clock jumped while the audit was in flight.
    Restarted,
    /// The node's set was another than the catalog's: reconcile, then ask again.
    SetDrift,
    /// The placement changed or was deleted while the audit was in flight.
    Cancelled,
    /// The store, the pool or the commitment cache failed us.
    Internal,
    /// The commitments were wrong, not the bytes: they are void, the node is acquitted.
    Commitments,
}

/// The judgement on a node's answer, or on its silence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// It holds what it was asked about, but for the exceptions.
    Held,
    /// It does not hold what it said it does; deterministic, confirmed against Merkle.
    Corrupt,
    /// It says itself that it does not have it.
    Missing,
    /// It answered after the deadline, or with what is no answer.
    Late,
    /// It could not be reached.
    Unreachable,
    /// It declined, with a time to come back.
    Refused,
    /// Our own fault.
    Inconclusive(Fault),
}

/// One shard that the verdict on the whole set does not speak for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception {
    /// The shard.
    pub shard: ShardId,
    /// The segment it belongs to.
    pub segment: SegmentId,
    /// Which of its shards.
    pub index: ShardIndex,
    /// `Corrupt`, `Missing`, `Unreachable` or `Late`.
    pub outcome: Outcome,
    /// How it is known, where damage is meant.
    pub cause: Option<Cause>,
    /// Which bytes of the stored shard; `None` for all of them.
    pub range: Option<ByteRange>,
}

/// One row a challenge, plus its exceptions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Given by the store.
    pub id: VerdictId,
    /// The audit it ends.
    pub audit: AuditId,
    /// The node judged.
    pub node: NodeId,
    /// The lane.
    pub lane: Lane,
    /// What was judged.
    pub outcome: Outcome,
    /// When.
    pub at: Wall,
    /// From challenge to verdict.
    pub took: Millis,
    /// Shards in the set.
    pub shards: u32,
    /// Bytes in the set.
    pub bytes: u64,
    /// Shards that the outcome does not speak for.
    pub exceptions: Vec<Exception>,
    /// The node's signed answer as it came, kept as evidence; empty when there was none.
    pub evidence: Vec<u8>,
}

/// An audit in flight, persisted before its challenge is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRow {
    /// Its id.
    pub id: AuditId,
    /// The node asked.
    pub node: NodeId,
    /// The lane.
    pub lane: Lane,
    /// The seed the challenge is derived from.
    pub seed: Seed,
    /// The node's sequence runs it covers.
    pub runs: Vec<SeqRun>,
    /// Digest of the ordered set.
    pub set_digest: [u8; 32],
    /// When it was opened.
    pub opened: Wall,
}

/// A blob of a shard, by name: what a localisation ends at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlobRef {
    /// The shard.
    pub shard: ShardId,
    /// Which blob of it.
    pub blob: BlobIndex,
}
