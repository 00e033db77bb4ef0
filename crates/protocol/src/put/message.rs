//! What a put is told, what it wishes, and how it ends.

use holdfast_types::{Millis, NodeId, OwnerId, PublicKey, SegmentId, ShardId, ShardIndex};
use thiserror::Error;

use crate::{
    effect::Token,
    message::{Receipt, SendFailure},
};

/// How long and how often a put tries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For one shard to be durable on a node, beside a second for each MiB of it.
    pub store: Millis,
    /// Between tries of the same shard at the same node.
    pub rest: Millis,
    /// Tries of a shard at one node that cannot be reached.
    pub tries: u32,
    /// Times a shard waits for a node that is busy.
    pub refusals: u32,
    /// Times a segment is staged: the first, and after nodes failed.
    pub rounds: u32,
    /// For how long a node that failed gets nothing more.
    pub avoid: Millis,
    /// First wait for an auditor that does not answer; doubles up to thirty times itself.
    pub backoff: Millis,
    /// For how long an auditor may be away.
    pub auditor: Millis,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            store: Millis::from_secs(30),
            rest: Millis(250),
            tries: 2,
            refusals: 6,
            rounds: 6,
            avoid: Millis::from_secs(60),
            backoff: Millis(200),
            auditor: Millis::from_secs(120),
        }
    }
}

/// The upload's terms that matter here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// n.
    pub total: u16,
    /// Receipts a segment needs before the commit.
    pub threshold: u16,
    /// Whose shards they are: in every receipt.
    pub owner: OwnerId,
}

/// Where one shard shall go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// Which shard.
    pub index: ShardIndex,
    /// Its name.
    pub shard: ShardId,
    /// Where it shall lie.
    pub node: NodeId,
    /// What that node's receipts are signed with.
    pub key: PublicKey,
    /// Whether the auditor has its receipt; otherwise the driver has a grant for it.
    pub held: bool,
}

/// Why a call to the auditor came to nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallFailure {
    /// It may be answered later, unchanged.
    Later {
        /// When, if the auditor said.
        after: Option<Millis>,
        /// In words.
        why: String,
    },
    /// It will not be answered otherwise.
    No(String),
}

/// What the driver tells.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A segment is sealed, coded and on the client's disk.
    Segment {
        /// Which.
        id: SegmentId,
        /// Its shards, by index.
        shards: Vec<ShardId>,
        /// Bytes of each.
        shard_len: u64,
    },
    /// The auditor answered [`Effect::Stage`].
    Staged(Token, Result<Vec<Slot>, CallFailure>),
    /// A node answered [`Effect::Store`].
    Stored(Token, Result<Box<Receipt>, SendFailure>),
    /// The auditor answered [`Effect::Note`]: so many receipts were noted.
    Noted(Token, Result<u32, CallFailure>),
    /// No more segments.
    Ended,
    /// The auditor answered [`Effect::Commit`].
    Committed(Token, Result<(), CallFailure>),
    /// [`super::Put::deadline`] is over.
    Tick,
}

/// What the driver shall do.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Stage the segment, for the first time or again; keep the grants.
    Stage {
        /// Ties the reply.
        token: Token,
        /// Which.
        segment: SegmentId,
        /// Nodes that failed.
        avoid: Vec<NodeId>,
    },
    /// Send a shard to its node, under the grant of the last staging.
    Store {
        /// Ties the reply.
        token: Token,
        /// Of which segment.
        segment: SegmentId,
        /// Which shard.
        index: ShardIndex,
        /// To whom.
        node: NodeId,
    },
    /// Hand receipts to the auditor; their signatures hold.
    Note {
        /// Ties the reply.
        token: Token,
        /// Of which segment.
        segment: SegmentId,
        /// The receipts.
        receipts: Vec<(ShardIndex, Receipt)>,
    },
    /// Stop waiting for a reply; one that still comes is dropped.
    Cancel(Token),
    /// The segment is durable and the auditor knows: its bytes are not needed any more.
    Release {
        /// Which.
        segment: SegmentId,
        /// Shards that no node holds yet: owed to repair.
        owed: u16,
    },
    /// A node gets nothing more for a while.
    Avoid {
        /// Which.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// Commit the upload.
    Commit(Token),
    /// The objects are acknowledged.
    Done,
    /// It is over.
    Fail(PutError),
}

/// Why a put is over.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PutError {
    /// Not enough nodes took shards.
    #[error(
        "{held} of {total} shards of segment {segment} are on nodes, the policy needs {needed}: {why}; bring nodes back or add some, then put again: what is stored is kept"
    )]
    TooFew {
        /// Of which segment.
        segment: SegmentId,
        /// Shards with a receipt.
        held: u16,
        /// Shards that must have one.
        needed: u16,
        /// n.
        total: u16,
        /// The last thing that went wrong.
        why: String,
    },
    /// The auditor was away for too long.
    #[error(
        "the auditor did not take {call} for {waited}: {why}; see that it runs, then put again: what is stored is kept"
    )]
    AuditorSilent {
        /// What was asked.
        call: &'static str,
        /// For how long.
        waited: Millis,
        /// The last thing that went wrong.
        why: String,
    },
    /// The auditor refuses for good.
    #[error("the auditor refused {call}: {why}")]
    Refused {
        /// What was asked.
        call: &'static str,
        /// Its words.
        why: String,
    },
    /// The auditor's answer makes no sense.
    #[error("the auditor's answer to {call} cannot be used: {why}; compare the versions of client and auditor")]
    Malformed {
        /// What was asked.
        call: &'static str,
        /// What was expected, what came.
        why: String,
    },
}
