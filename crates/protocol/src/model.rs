//! What the catalog knows: nodes, segments, placements, verdicts, uploads. Plain values, as the
//! store keeps them and the machines decide on them.

use holdfast_types::{
    AuditId, BlobIndex, ByteRange, Code, Fence, Incarnation, Millis, NodeId, ObjectId, OwnerId, PublicKey, RepairId,
    Seed, SegmentId, SegmentRoot, Sequence, ShardId, ShardIndex, UploadId, VerdictId, VolumeId, Wall, ZoneName,
};

use crate::message::SeqRun;

/// Where a node stands in its life with this cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NodeLife {
    /// Registered, not yet trusted with much.
    Joining,
    /// Takes new shards and is audited.
    Active,
    /// Silent of late: the same challenge is put again, no new shards.
    Contained,
    /// Its shards count as lost; still audited, may come back.
    Suspended,
    /// Gone for good: what it held is repaired elsewhere.
    Evicted,
    /// Leaving on its own wish; its shards are being moved.
    Draining,
    /// Left with nothing on it.
    Left,
}

impl NodeLife {
    /// Whether new shards may be placed there.
    pub fn takes_shards(self) -> bool {
        match self {
            NodeLife::Joining | NodeLife::Active => true,
            NodeLife::Contained | NodeLife::Suspended | NodeLife::Evicted | NodeLife::Draining | NodeLife::Left => {
                false
            }
        }
    }

    /// Whether it is challenged.
    pub fn is_audited(self) -> bool {
        match self {
            NodeLife::Joining | NodeLife::Active | NodeLife::Contained | NodeLife::Suspended | NodeLife::Draining => {
                true
            }
            NodeLife::Evicted | NodeLife::Left => false,
        }
    }
}

/// A silence being followed up with the same challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Containment {
    /// The challenge that stayed unanswered; it alone, and then a fresh one, ends the containment.
    pub audit: AuditId,
    /// When the silence began.
    pub since: Wall,
    /// Repetitions made so far.
    pub attempts: u32,
    /// When the next one is due.
    pub next: Wall,
    /// What the first silence was: the word used if it ends in loss.
    pub outcome: Outcome,
}

/// A node as the catalog knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRow {
    /// Hash of its receipt key.
    pub id: NodeId,
    /// Its receipt key.
    pub key: PublicKey,
    /// `host:port`, in the order to try; may change at each registration.
    pub addresses: Vec<String>,
    /// Declared failure domain.
    pub zone: ZoneName,
    /// Who runs it, as declared.
    pub operator: String,
    /// Where it stands.
    pub life: NodeLife,
    /// Set while `life` is `Contained`.
    pub containment: Option<Containment>,
    /// Its volume; another one means that the node was wiped.
    pub volume: VolumeId,
    /// Its life between two losses of its volume.
    pub incarnation: Incarnation,
    /// Bytes it offers.
    pub capacity: u64,
    /// Bytes of committed placements and live reservations there.
    pub used: u64,
    /// When it registered first.
    pub joined: Wall,
    /// Last signed word from it.
    pub seen: Wall,
    /// Last verdict of any kind, for the silence alarm and the schedule after a restart.
    pub judged: Option<Wall>,
    /// Rises with every change; compare-and-swap on it.
    pub version: u64,
}

/// Who computed a commitment list from bytes it knew to be right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Provenance {
    /// The auditor read the whole shard, found its CID, and committed.
    AuditorRead,
    /// A client's witness: convinces that client's owner.
    ClientWitness,
    /// Sampled links between CID and commitments.
    LinkSampled,
}

/// What a shard's fold is verified against.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CommitmentState {
    /// None yet: the sample lane audits the shard.
    Pending,
    /// A list with this digest.
    Accepted {
        /// [`holdfast_kzg::CommitmentList::digest`].
        digest: [u8; 32],
        /// Who vouches for it.
        provenance: Provenance,
    },
}

/// Whether what a placement names is believed to be there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// No verdict against it.
    Good,
    /// These bytes are gone or wrong; the rest may serve. Sorted, disjoint, at most
    /// [`DAMAGED_RANGES_MAX`]; more become one range over the whole shard.
    Damaged(Vec<ByteRange>),
    /// All of it is gone.
    Lost,
}

/// Damaged ranges kept for one shard at most: more is a disk that dies, and is rebuilt whole.
pub const DAMAGED_RANGES_MAX: usize = 64;

impl Standing {
    /// Whether every byte is believed to be there.
    pub fn is_good(&self) -> bool {
        matches!(self, Standing::Good)
    }
}

/// Which node holds which shard of a segment, and how it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The segment.
    pub segment: SegmentId,
    /// Which of its shards.
    pub index: ShardIndex,
    /// The shard's name.
    pub shard: ShardId,
    /// Bytes of the stored shard.
    pub len: u64,
    /// Where it lies.
    pub node: NodeId,
    /// Under which number there, by the node's signed receipt.
    pub sequence: Sequence,
    /// What its folds are verified against.
    pub commitment: CommitmentState,
    /// What is believed of it.
    pub standing: Standing,
    /// Rises with every change; compare-and-swap on it.
    pub version: u64,
    /// The lease under which it was placed; a write with an older one is refused.
    pub fence: Fence,
}

/// A committed segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentRow {
    /// Its id.
    pub id: SegmentId,
    /// Whose it is.
    pub owner: OwnerId,
    /// BLAKE3 root of its sealed bytes.
    pub root: SegmentRoot,
    /// Sealed bytes.
    pub len: u64,
    /// Its code.
    pub code: Code,
    /// Bytes of each stored shard.
    pub shard_len: u64,
    /// Repaired when good shards are at or below this.
    pub repair_threshold: u16,
    /// The placement secret, wrapped to the owner.
    pub secret_for_owner: Vec<u8>,
    /// The placement secret, wrapped to the recovery key.
    pub secret_for_recovery: Vec<u8>,
}

/// A segment with all its placements, ordered by index. Indices that nobody holds are absent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentView {
    /// The segment.
    pub segment: SegmentRow,
    /// At most one placement an index.
    pub placements: Vec<Placement>,
}

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

/// A lease on a segment: the right to repair it, for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// What it is on.
    pub segment: SegmentId,
    /// Orders its holders.
    pub fence: Fence,
    /// Until when.
    pub expires: Wall,
}

/// Where a repair stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RepairState {
    /// Leased and being done.
    Running,
    /// The new placement is in the catalog.
    Done,
    /// It did not come to an end; the segment is queued again.
    Failed,
}

/// One shard's way from where it was lost to where it stands again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepairRow {
    /// Its id.
    pub id: RepairId,
    /// The segment.
    pub segment: SegmentId,
    /// Which of its shards.
    pub index: ShardIndex,
    /// The shard's name; the same before and after.
    pub shard: ShardId,
    /// Who held it.
    pub from: Option<NodeId>,
    /// Who holds it now; `from` again for a repair in place.
    pub to: NodeId,
    /// Where it stands.
    pub state: RepairState,
    /// The lease.
    pub fence: Fence,
    /// When it began.
    pub started: Wall,
    /// When it ended.
    pub ended: Option<Wall>,
    /// Bytes of shard written.
    pub bytes: u64,
    /// Why it failed; empty otherwise.
    pub reason: String,
}

/// A put in progress.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadRow {
    /// Drawn by the client.
    pub id: UploadId,
    /// Whose.
    pub owner: OwnerId,
    /// The policy's name, for the record.
    pub policy: String,
    /// The code.
    pub code: Code,
    /// Shards that must be durable.
    pub write_threshold: u16,
    /// Passed on to the segments.
    pub repair_threshold: u16,
    /// Until when the reservations stand without another call.
    pub expires: Wall,
    /// Set when committed: a second commit answers the same.
    pub committed: bool,
}

/// A shard of a segment being put: where it shall go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// Which shard.
    pub index: ShardIndex,
    /// Its name.
    pub shard: ShardId,
    /// Where it shall lie.
    pub node: NodeId,
    /// The sequence in the node's receipt, once it holds it.
    pub sequence: Option<Sequence>,
}

/// A segment of an upload, before its commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedSegment {
    /// The upload.
    pub upload: UploadId,
    /// Where its bytes start in the upload's sealed stream.
    pub offset: u64,
    /// The segment it becomes.
    pub segment: SegmentRow,
    /// One an index, all n of them.
    pub assignments: Vec<Assignment>,
}

/// An object as committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectRow {
    /// CID of the manifest.
    pub id: ObjectId,
    /// Whose.
    pub owner: OwnerId,
    /// The name its owner gave it in the envelope; empty when none.
    pub name: String,
    /// Bytes of its sealed stream.
    pub sealed_len: u64,
    /// Plain bytes, as its owner declares in the envelope.
    pub plain_len: u64,
    /// When it was committed.
    pub created: Wall,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The envelope.
    pub envelope: Vec<u8>,
}

/// A piece of an object's sealed stream, and where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtentRow {
    /// Where it starts in the object's sealed stream.
    pub at: u64,
    /// The segment.
    pub segment: SegmentId,
    /// Where it starts there.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// A shard to be deleted from a node: a durable intent, retried until the node confirms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeletionRow {
    /// Where.
    pub node: NodeId,
    /// What.
    pub shard: ShardId,
    /// Whose, for the grant.
    pub owner: OwnerId,
    /// Not before: the grace of an orphan, zero for a wish of the owner.
    pub due: Wall,
}

/// A blob of a shard, by name: what a localisation ends at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlobRef {
    /// The shard.
    pub shard: ShardId,
    /// Which blob of it.
    pub blob: BlobIndex,
}
