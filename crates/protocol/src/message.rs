//! What auditor and node say to each other, before it is protobuf and after it was validated.

use holdfast_types::{
    AuditId, ByteRange, Fence, Incarnation, Millis, NodeId, OwnerId, PublicKey, Seed, SegmentId, Sequence, ShardId,
    Signature, SignedGrant, Transcript, VolumeId, Wall,
};

use crate::model::Lane;

/// Sequence runs in one challenge at most: with 16 bytes each they stay far below a gRPC frame.
pub const RUNS_MAX: usize = 4096;
/// Shards in one challenge at most: 4096 shards of 4 MiB are the 16 GiB below.
pub const SET_SHARDS_MAX: usize = 4096;
/// Bytes in one challenge at most, so that a fold on a slow disk ends within its deadline.
pub const SET_BYTES_MAX: u64 = 16 << 30;
/// Leaves in one sample at most: 512 leaves of 1 KiB and their paths stay below the 4 MiB gRPC frame.
pub const SAMPLE_LEAVES_MAX: usize = 512;
/// Damaged ranges in one answer at most; a node with more lists whole shards.
pub const ANSWER_DAMAGED_MAX: usize = 4096;
/// Entries in one page of a node's list.
pub const LIST_ENTRIES_MAX: usize = 4096;

/// Sequences `from..to` of one node, all of them shards in the catalog.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeqRun {
    /// First sequence.
    pub from: Sequence,
    /// First sequence after.
    pub to: Sequence,
}

/// One shard of a set, as both sides know it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SetEntry {
    /// The node's number for it.
    pub sequence: Sequence,
    /// Its name.
    pub shard: ShardId,
    /// Its length in bytes.
    pub len: u64,
}

/// Which shards a challenge is about: the node's own sequence numbers, and a digest over
/// (sequence, CID, length) in order, so that both sides mean the same bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetRef {
    /// Sorted, disjoint, not touching, at most [`RUNS_MAX`].
    pub runs: Vec<SeqRun>,
    /// Shards in the runs.
    pub count: u32,
    /// `set::digest` of the entries.
    pub digest: [u8; 32],
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Fold blobs `from..to` of the set's blobs, counted through its shards in order. γ of blob i
    /// and z are those of the whole set, whatever part is asked: valid parts add up.
    Fold {
        /// First blob.
        from: u64,
        /// First blob after.
        to: u64,
    },
    /// Prove `count` leaves that the seed draws across the set.
    Sample {
        /// At most [`SAMPLE_LEAVES_MAX`].
        count: u16,
    },
    /// Prove these leaves of one shard of the set: the judge's question.
    Leaves {
        /// The shard.
        shard: ShardId,
        /// First leaf.
        from: u64,
        /// First leaf after; at most [`SAMPLE_LEAVES_MAX`] of them.
        to: u64,
    },
}

/// A challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// Binds the answer to this audit.
    pub audit: AuditId,
    /// Whom it is for.
    pub node: NodeId,
    /// Which shards.
    pub set: SetRef,
    /// Digest of the set's commitment lists' digests, in order: binds the seed's γ to what will verify them.
    /// Zero for sample and leaves.
    pub commitments: [u8; 32],
    /// What γ, z or the leaves are derived from.
    pub seed: Seed,
    /// The question.
    pub ask: Ask,
    /// How long the auditor waits.
    pub deadline: Millis,
}

/// Bytes of a shard that the node knows it cannot give.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DamagedRange {
    /// The shard.
    pub shard: ShardId,
    /// Which of its bytes. In a fold whole blobs, but for the last one's end; in leaves the bad blobs and the groups that
    /// touch them.
    pub range: ByteRange,
}

/// The leaves of one shard with their paths.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardLeaves {
    /// The shard.
    pub shard: ShardId,
    /// Encoded [`merkle_cid`] multi-proof; which leaves it is for follows from the challenge.
    pub proof: Vec<u8>,
}

/// What the node answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnswerBody {
    /// The fold of all asked blobs but those in `damaged` and `missing`.
    Fold {
        /// P(z), 32 bytes big-endian, canonical.
        y: [u8; 32],
        /// The opening, a compressed G1 point.
        proof: [u8; 48],
        /// Blobs left out because they cannot be read: sorted.
        damaged: Vec<DamagedRange>,
        /// Shards left out because they are not there: sorted.
        missing: Vec<ShardId>,
    },
    /// The asked leaves but for those in `damaged` and `missing`.
    Leaves {
        /// One entry a shard that has asked leaves, in set order.
        shards: Vec<ShardLeaves>,
        /// Ranges that cannot be read; asked leaves in them are left out.
        damaged: Vec<DamagedRange>,
        /// Shards that are not there.
        missing: Vec<ShardId>,
    },
    /// The runs name another set here.
    SetMismatch {
        /// Digest of what the node has in these runs.
        digest: [u8; 32],
        /// Shards it has in these runs.
        count: u32,
    },
    /// Too busy.
    Refused {
        /// When to ask again.
        retry_after: Millis,
    },
}

/// A node's signed answer: a receipt for the challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The audit it answers.
    pub audit: AuditId,
    /// Who answers.
    pub node: NodeId,
    /// Digest of the challenge as the node understood it.
    pub challenge: [u8; 32],
    /// Which life of the node answers.
    pub incarnation: Incarnation,
    /// The answer.
    pub body: AnswerBody,
    /// Over all of the above.
    pub signature: Signature,
}

/// A node's signed word that it holds a shard, durably.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Who holds it.
    pub node: NodeId,
    /// Which life of the node.
    pub incarnation: Incarnation,
    /// For whom.
    pub owner: OwnerId,
    /// What.
    pub shard: ShardId,
    /// Its length.
    pub len: u64,
    /// Under which number.
    pub sequence: Sequence,
    /// Over all of the above.
    pub signature: Signature,
}

impl Receipt {
    /// What is signed.
    pub fn transcript(&self) -> Transcript {
        Transcript::new("holdfast 2026 storage receipt v1")
            .absorb("node", self.node.as_bytes())
            .absorb("incarnation", self.incarnation.as_bytes())
            .absorb("owner", self.owner.as_bytes())
            .absorb("shard", self.shard.as_bytes())
            .absorb_u64("len", self.len)
            .absorb_u64("sequence", self.sequence.0)
    }

    /// Whether `key`, which must be the node's, signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.node_id() == self.node && key.verify(&self.transcript(), &self.signature).is_ok()
    }
}

/// What a node says of itself. Signed on the wire by its TLS identity and its receipt key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStat {
    /// Who.
    pub node: NodeId,
    /// Its volume.
    pub volume: VolumeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Bytes it offers.
    pub capacity: u64,
    /// Bytes in use.
    pub used: u64,
    /// The next sequence it will give.
    pub next: Sequence,
    /// The highest fence it saw, by its own word.
    pub fence: Fence,
    /// Its clock.
    pub wall: Wall,
    /// The grant of the highest fence that came with one: that fence at least was given out.
    pub proof: Option<Box<SignedGrant>>,
}

/// Small records that lie beside the shards, so that the nodes alone can rebuild a catalog.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum RecordKind {
    /// Signed by the auditor; keyed by segment id, zero-padded.
    Descriptor = 1,
    /// Keyed by object id.
    Manifest = 2,
    /// A page of a manifest's frame table; keyed by its CID.
    Page = 3,
    /// Signed by the owner; keyed by object id; a higher version replaces a lower one.
    Envelope = 4,
    /// Signed by the owner; keyed by object id. A node that keeps one keeps no manifest and no envelope of the object.
    Tombstone = 5,
}

impl RecordKind {
    /// The kind with this number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Descriptor),
            2 => Some(Self::Manifest),
            3 => Some(Self::Page),
            4 => Some(Self::Envelope),
            5 => Some(Self::Tombstone),
            _ => None,
        }
    }
}

/// The key of a segment's descriptor: its id, padded with zeros.
pub fn descriptor_key(segment: SegmentId) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(segment.as_bytes());
    key
}

/// A request to a node that has one answer. Streams of shard bytes are the drivers' own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeRequest {
    /// Prove.
    Challenge(Box<Challenge>),
    /// What do you hold from this sequence on?
    List {
        /// First sequence.
        from: Sequence,
        /// At most [`LIST_ENTRIES_MAX`].
        limit: u32,
    },
    /// Delete what the grant names: a shard, or a record.
    Delete(Box<SignedGrant>),
    /// Keep this record beside the shards.
    PutRecord {
        /// What it is.
        kind: RecordKind,
        /// Its key.
        key: [u8; 32],
        /// Its bytes, at most [`holdfast_types::RECORD_LEN_MAX`].
        bytes: Vec<u8>,
        /// The writer's lease; older ones are refused.
        fence: Fence,
    },
    /// Which records of this kind do you keep?
    ListRecords {
        /// The kind.
        kind: RecordKind,
        /// After this key.
        after: Option<[u8; 32]>,
        /// At most [`LIST_ENTRIES_MAX`].
        limit: u32,
    },
    /// How are you?
    Stat,
}

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeReply {
    /// To a challenge, validated in form, not yet verified.
    Answer(Box<Answer>),
    /// To a list, in order of sequence. Not signed: what it leaves out is asked for in a challenge, whose answer is.
    Entries {
        /// The shards.
        entries: Vec<SetEntry>,
        /// Where the next page starts; `None` at the end.
        next: Option<Sequence>,
    },
    /// The shard is gone from the node, durably; also when it was not there.
    Deleted,
    /// The record is kept, durably.
    Recorded,
    /// To a list of records: their keys in order; fewer than asked for at the end.
    Keys(Vec<[u8; 32]>),
    /// To a stat.
    Stat(NodeStat),
}

/// Why no valid reply came. All of it is the peer's or the network's, none of it an `Err`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendFailure {
    /// No connection.
    Unreachable,
    /// Nothing within the deadline.
    Timeout,
    /// Bytes that are no reply, with what was wrong. Counts as late: unsigned garbage proves nothing.
    Malformed(String),
    /// The node declined, with a time.
    Refused {
        /// When to ask again.
        retry_after: Millis,
    },
    /// Refused because of the grant, the fence or the role: our own fault.
    Denied(String),
}

/// The lane a challenge belongs to.
impl Ask {
    /// Fold for folds, sample for leaves of either kind.
    pub fn lane(&self) -> Lane {
        match self {
            Ask::Fold { .. } => Lane::Fold,
            Ask::Sample { .. } | Ask::Leaves { .. } => Lane::Sample,
        }
    }
}
