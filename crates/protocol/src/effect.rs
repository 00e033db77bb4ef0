//! What the auditor's core is told and what it wants done. Tokens tie an answer to its question;
//! an answer with an unknown token is dropped. No event or effect carries more than 64 KiB of
//! payload: shard bytes stay with the driver.

mod commitment;

use holdfast_kzg::Commitment;
use holdfast_types::{Code, Fence, Millis, NodeId, Seed, SegmentId, SegmentRoot, Sequence, ShardId, ShardIndex};

use crate::{
    message::{Challenge, NodeReply, NodeRequest, Receipt, SendFailure},
    model::{RepairRow, Verdict},
    store::{StoreOp, StoreReply},
};

pub use commitment::{ClaimJob, CommitJob, CommitOutcome, HandJob, Opening, ReadJob, RevealJob};

/// Ties a reply to its request. Never reused within a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// What the core wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Apply to the catalog; answer [`Event::Stored`].
    Store(Token, Box<StoreOp>),
    /// Send to a node; answer [`Event::Answered`] within `timeout`.
    Send {
        /// Ties the reply.
        token: Token,
        /// To whom.
        node: NodeId,
        /// What.
        request: NodeRequest,
        /// How long to wait.
        timeout: Millis,
    },
    /// Work for the CPU pool; answer [`Event::Verified`].
    Verify(Token, Box<VerifyJob>),
    /// A piece of work on a shard's commitments; answer [`Event::CommitDone`].
    Commit(Token, Box<CommitJob>),
    /// Recover and write shards; answer [`Event::Recovered`].
    Recover(Token, Box<RecoverJob>),
    /// Stop working on it; a reply that still comes is dropped.
    Cancel(Token),
    /// Tell whoever watches. The thing told is already durable.
    Publish(Notice),
}

/// What the core is told.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Time went by. Comes at least every quarter second, with fresh chance each time.
    Tick {
        /// Fresh 32 bytes.
        entropy: Seed,
    },
    /// The catalog answered.
    Stored(Token, Box<StoreReply>),
    /// A node answered, or did not.
    Answered(Token, Result<NodeReply, SendFailure>),
    /// The pool verified.
    Verified(Token, Verification),
    /// A commitment job ended.
    CommitDone(Token, CommitOutcome),
    /// A repair job ended.
    Recovered(Token, Box<RecoverOutcome>),
    /// The pool or channel is full: nothing was done, ask again later.
    Busy(Token),
    /// Something from outside the core.
    Command(Command),
}

/// What people and the API ask of the core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Audit this node now (all nodes when `None`).
    AuditNow(Option<NodeId>),
    /// A node registered or changed; its row is in the catalog.
    NodeChanged(NodeId),
    /// The catalog's placements changed (a put was committed, an object deleted).
    CatalogChanged,
}

/// What verifiers work on. Commitment lists stay with the driver: it looks them up by digest.
#[derive(Clone, PartialEq, Debug)]
pub enum VerifyJob {
    /// One fold.
    Fold(FoldJob),
    /// Merkle proofs of the leaves that the challenge draws.
    Leaves(LeavesJob),
    /// The judge's question: are these bytes of the blob the shard's, and do they give its commitment?
    Judge(JudgeJob),
}

/// A part of a shard's blobs that a fold covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoldTerm {
    /// The shard.
    pub shard: ShardId,
    /// Digest of the commitment list it is verified against.
    pub list: [u8; 32],
    /// Index of the shard's blob 0 in the set's count of blobs: γ of blob b is that of `base + b`.
    pub base: u64,
    /// Blobs of the shard in the fold, sorted, disjoint, half-open.
    pub blobs: Vec<(u32, u32)>,
}

/// A fold to verify.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoldJob {
    /// γ and z come from it.
    pub challenge: Box<Challenge>,
    /// What was folded.
    pub terms: Vec<FoldTerm>,
    /// The node's y.
    pub y: [u8; 32],
    /// The node's opening.
    pub proof: [u8; 48],
}

impl FoldJob {
    /// How many blobs were folded.
    pub fn blobs(&self) -> u64 {
        let ranges = self.terms.iter().flat_map(|term| &term.blobs);
        ranges.map(|(from, to)| u64::from(to.saturating_sub(*from))).sum()
    }
}

/// Leaves of one shard to verify.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeafClaim {
    /// The shard.
    pub shard: ShardId,
    /// Its length, from the catalog.
    pub len: u64,
    /// Asked leaves that the node did not list as damaged; sorted.
    pub leaves: Vec<u64>,
    /// Encoded multi-proof.
    pub proof: Vec<u8>,
}

/// Leaves to verify.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeavesJob {
    /// One a shard.
    pub claims: Vec<LeafClaim>,
}

/// A blob to judge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JudgeJob {
    /// The leaves of the blob, with their proof.
    pub claim: LeafClaim,
    /// The list that its commitment stands in.
    pub list: [u8; 32],
    /// Which blob.
    pub blob: u32,
}

/// What verifying found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verification {
    /// Everything holds.
    Valid,
    /// It does not. For leaves: the shards whose proof does not hold.
    Invalid {
        /// Shards whose leaves do not verify; empty for folds.
        shards: Vec<ShardId>,
    },
    /// Judge: the bytes are the shard's, but the list says another commitment.
    WrongCommitment {
        /// What the bytes give.
        expected: Commitment,
    },
    /// The commitment list is not at hand or has another digest: our own fault.
    NoList {
        /// Whose list.
        shard: ShardId,
    },
}

/// A source of a repair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Which shard.
    pub index: ShardIndex,
    /// Its name.
    pub shard: ShardId,
    /// Where it lies.
    pub node: NodeId,
}

/// A target of a repair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Which shard.
    pub index: ShardIndex,
    /// Its name: what the recovered bytes must hash to.
    pub shard: ShardId,
    /// Where it shall lie.
    pub node: NodeId,
    /// The node holds a damaged copy under the same name: it must replace it.
    pub in_place: bool,
}

/// Shards of one segment to recover. The driver branches on IO results only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoverJob {
    /// The segment.
    pub segment: SegmentId,
    /// Its root: the decoded bytes must have it.
    pub root: SegmentRoot,
    /// Its code.
    pub code: Code,
    /// Sealed bytes.
    pub len: u64,
    /// Bytes of each stored shard.
    pub shard_len: u64,
    /// The placement secret, wrapped to the recovery key.
    pub secret: Vec<u8>,
    /// All that are believed good, best first; at least k. A source whose bytes do not have its CID is dropped and reported.
    pub sources: Vec<Source>,
    /// What to write where.
    pub targets: Vec<Target>,
    /// For the grants: whose bytes they are.
    pub owner: holdfast_types::OwnerId,
    /// The lease.
    pub fence: Fence,
}

/// Bytes a second that a node gives at least to an auditor that reads a whole shard: half a megabit a second.
const READ_RATE_MIN: u64 = 64 << 10;
/// Beside twice what the node has: a pool of our own that is full is no fault of the node's.
const JOB_GRACE: Millis = Millis::from_secs(60);
/// Before the first byte of a whole shard.
const READ_BEGINS: Millis = Millis::from_secs(30);

/// How long a node has to give a whole shard of `len` bytes to the auditor. Slower is as good as silent: a repair waits for it.
pub const fn read_within(len: u64) -> Millis {
    Millis(READ_BEGINS.0 + len.saturating_mul(1000) / READ_RATE_MIN)
}

/// How long a driver has for a job whose node has `within`, before the core takes it for forgotten: computing, and its turn.
pub(crate) const fn job_within(within: Millis) -> Millis {
    Millis(within.0.saturating_mul(2).saturating_add(JOB_GRACE.0))
}

/// How a recovery ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoverOutcome {
    /// Targets that are durable on their node, with the node's receipt.
    pub placed: Vec<(ShardIndex, Receipt)>,
    /// Sources whose bytes were not what their CID says, or whose node admitted damage.
    pub bad_sources: Vec<ShardIndex>,
    /// Sources that did not answer, refused, or took longer than [`read_within`].
    pub silent_sources: Vec<ShardIndex>,
    /// Targets that could not be written, and why.
    pub failed_targets: Vec<(ShardIndex, String)>,
    /// Why nothing could be done; empty otherwise.
    pub reason: String,
}

/// What watchers are told; always durable already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A verdict.
    Verdict(Box<Verdict>),
    /// A repair began, ended or failed.
    Repair(Box<RepairRow>),
    /// A node changed its place in life, with the reason.
    NodeLife {
        /// Which.
        node: NodeId,
        /// What it is now.
        life: crate::model::NodeLife,
        /// Why.
        reason: String,
    },
    /// A segment is at risk and cannot be repaired now; told again only with another reason.
    Stuck {
        /// Which.
        segment: SegmentId,
        /// Fewer than k whole shards are left.
        unrecoverable: bool,
        /// Why, with the arithmetic.
        reason: String,
    },
    /// Our own trouble, that a human should look at.
    Trouble {
        /// What.
        what: String,
    },
    /// No verdict on a node for the profile's `silence_alarm`.
    Silence {
        /// Which.
        node: NodeId,
    },
    /// A shard's commitments were accepted or voided.
    Commitment {
        /// Which shard.
        shard: ShardId,
        /// Where.
        node: NodeId,
        /// Its number there.
        sequence: Sequence,
        /// Accepted, or voided.
        accepted: bool,
    },
    /// A node claimed commitments that are not those of its shard's bytes, which the auditor read itself.
    FalseList {
        /// Which node.
        node: NodeId,
        /// Of which shard.
        shard: ShardId,
        /// The list that it claimed.
        digest: [u8; 32],
        /// How it is known.
        why: String,
    },
    /// A client's witness gave another value than the bytes do: it costs the node nothing.
    FalseWitness {
        /// Which segment.
        segment: SegmentId,
        /// Which of its shards.
        index: ShardIndex,
        /// Its name.
        shard: ShardId,
    },
}
