//! What the core wants done about commitments, and how it ended. Shard bytes, commitment lists and secrets stay with the
//! driver; the core sees digests, sealed bytes and signed words.

use holdfast_types::{ByteRange, Millis, SegmentId, ShardIndex};

use crate::{
    message::SendFailure,
    model::Provenance,
    witness::{Claim, Expected, WitnessId},
};

/// A piece of work on one shard's commitments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommitJob {
    /// Ask the node for its list, and keep it, durably, if it has the form of one. It is not accepted by that.
    Claim(ClaimJob),
    /// Reveal a burnt witness, and compare what the node opens with the list it was burnt with.
    Reveal(Box<RevealJob>),
    /// Read the whole shard, find its CID in the bytes, and judge the claimed list by them; without one, compute it.
    Read(ReadJob),
    /// Offer an accepted list to a node that came to hold the shard.
    Hand(HandJob),
}

impl CommitJob {
    /// Which shard, on which node.
    pub fn of(&self) -> &Expected {
        match self {
            CommitJob::Claim(job) => &job.of,
            CommitJob::Reveal(job) => &job.of,
            CommitJob::Read(job) => &job.of,
            CommitJob::Hand(job) => &job.of,
        }
    }
}

/// Which claim is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimJob {
    /// Which shard, on which node.
    pub of: Expected,
    /// The witness that it is for.
    pub witness: Option<WitnessId>,
    /// How long to wait.
    pub timeout: Millis,
}

/// Which witness is revealed. Its burning is durable already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevealJob {
    /// Which shard, on which node.
    pub of: Expected,
    /// The shard's segment: the sealing is bound to it.
    pub segment: SegmentId,
    /// And to its place there.
    pub index: ShardIndex,
    /// The witness.
    pub witness: WitnessId,
    /// Seed and y, sealed.
    pub sealed: Vec<u8>,
    /// Digest of the list that it was burnt with, and that alone it judges.
    pub digest: [u8; 32],
    /// How long to wait.
    pub timeout: Millis,
}

/// Which shard is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadJob {
    /// Which shard, on which node.
    pub of: Expected,
    /// Digest of the list to judge; computed anew when `None`, or when the driver does not have it.
    pub claimed: Option<[u8; 32]>,
}

/// Which list is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandJob {
    /// Which shard, on which node.
    pub of: Expected,
    /// Digest of the accepted list.
    pub digest: [u8; 32],
    /// How long to wait.
    pub timeout: Millis,
}

/// What a node's answer to a revealed witness came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// It verifies against the burnt list, and gives the witness's value.
    Holds,
    /// It verifies, and gives another value: list or witness is false.
    OtherValue,
    /// It does not verify against the list that the node claimed itself.
    False,
    /// There is none: damage, another list, or no signed word.
    NotGiven,
}

/// How a job ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommitOutcome {
    /// To `Claim`: a list of the right form, signed, kept durably.
    Claimed(Box<Claim>),
    /// To `Claim`: signed, and yet no list of that shard's commitments, whatever its bytes are.
    FalseClaim {
        /// The node's word.
        claim: Box<Claim>,
        /// What was wrong with it.
        why: String,
    },
    /// To `Claim`: not computed yet.
    NotYet {
        /// When to ask again.
        retry_after: Millis,
    },
    /// To `Claim`: an answer that is none. The shard is read without.
    NoClaim {
        /// What came.
        why: String,
    },
    /// To `Reveal`.
    Opened(Opening),
    /// To `Reveal` and `Hand`: the node was too busy. What was revealed stays bound to its list, so it may be asked again.
    TooBusy {
        /// When to ask again.
        retry_after: Millis,
    },
    /// To `Read`: the bytes have the shard's CID, and these are their commitments, kept durably.
    Committed {
        /// Digest of the list.
        digest: [u8; 32],
        /// Always `AuditorRead` here.
        provenance: Provenance,
    },
    /// To `Read`: the bytes have the shard's CID, and the claimed list is not theirs.
    WrongList,
    /// To `Hand`: the node keeps it.
    Adopted,
    /// To `Hand`: the node says, signed, that the list is not that of its bytes.
    NotAdopted {
        /// Its words.
        reason: String,
    },
    /// The node sent other bytes, or said that some are damaged or gone: audit it now.
    BadBytes {
        /// What it said is damaged; empty when it said nothing.
        damaged: Vec<ByteRange>,
    },
    /// The node did not answer.
    Failed(SendFailure),
    /// Our own trouble.
    Internal(String),
}
