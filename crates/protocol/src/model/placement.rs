//! Segments, which node holds which of their shards, and what is believed of each.

use holdfast_types::{ByteRange, Code, Fence, NodeId, OwnerId, SegmentId, SegmentRoot, Sequence, ShardId, ShardIndex};

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

    /// What becomes of a shard of `len` bytes that stood like this when a verdict says `change`.
    /// Damage adds to damage and never turns a lost shard into a half-good one.
    #[must_use]
    pub fn after(&self, change: &Standing, len: u64) -> Standing {
        match (self, change) {
            (_, Standing::Good) => Standing::Good,
            (_, Standing::Lost) | (Standing::Lost, Standing::Damaged(_)) => Standing::Lost,
            (Standing::Good, Standing::Damaged(new)) => damaged(new.iter(), len),
            (Standing::Damaged(old), Standing::Damaged(new)) => damaged(old.iter().chain(new), len),
        }
    }
}

/// Ranges cut to the shard, sorted, joined where they touch; one over everything when too many.
fn damaged<'a>(ranges: impl Iterator<Item = &'a ByteRange>, len: u64) -> Standing {
    let whole = ByteRange::first(len);
    let mut cut: Vec<ByteRange> = ranges.map(|range| whole.intersect(*range)).filter(|cut| !cut.is_empty()).collect();
    if cut.is_empty() {
        // A damaged shard without a range: which bytes is not known, so it is all of them.
        return Standing::Damaged(vec![whole]);
    }
    cut.sort_unstable();
    let mut joined: Vec<ByteRange> = Vec::with_capacity(cut.len());
    for range in cut {
        match joined.last_mut() {
            Some(last) if range.start() <= last.end() => {
                *last = ByteRange::new(last.start(), last.end().max(range.end())).unwrap_or(*last);
            }
            _ => joined.push(range),
        }
    }
    if joined.len() > DAMAGED_RANGES_MAX {
        joined = vec![whole];
    }
    Standing::Damaged(joined)
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
    /// Names of all n shards, by index: what a recovered shard must hash to, held by somebody or not.
    pub shards: Vec<ShardId>,
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
