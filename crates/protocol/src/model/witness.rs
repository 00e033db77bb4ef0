//! What the catalog keeps of witnesses, and what is pending until they have spoken.

use holdfast_types::{NodeId, ShardIndex, Wall};

use super::placement::Placement;
use crate::witness::WitnessId;

/// Bytes of a sealed witness at most: seed and y are 64, and whatever seals them adds less than this.
pub const SEALED_WITNESS_MAX: usize = 256;

/// A client's witness on its way into the catalog, sealed by the driver under a key that the catalog does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedWitness {
    /// Which shard of the segment.
    pub index: ShardIndex,
    /// Its name.
    pub id: WitnessId,
    /// Seed and y; at most [`SEALED_WITNESS_MAX`] bytes. Empty with a list.
    pub sealed: Vec<u8>,
    /// The client computed the shard's commitments itself, instead: the digest of its list, which the driver keeps. It
    /// stands on the client's word from the commit on, as if its witness had judged it.
    pub list: Option<[u8; 32]>,
}

/// What a witness is burnt with whose secret may be out for a list that nobody knows: no list has this digest.
pub const NO_LIST: [u8; 32] = [0; 32];

/// Whether a witness can still judge a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WitnessState {
    /// Its secret was told to nobody.
    Fresh,
    /// Its secret may be known; it judges the list with this digest and no other, ever.
    Burnt([u8; 32]),
}

/// A witness of a committed segment's shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessRow {
    /// Its name.
    pub id: WitnessId,
    /// Seed and y, sealed.
    pub sealed: Vec<u8>,
    /// Whether it can still judge.
    pub state: WitnessState,
    /// When its segment was committed: deadlines count from there.
    pub since: Wall,
}

/// A shard without accepted commitments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingShard {
    /// Where it lies.
    pub placement: Placement,
    /// Its witness, if its client gave one.
    pub witness: Option<WitnessRow>,
    /// Since when: its deadline counts from there, whatever was restarted.
    pub since: Wall,
}

/// What a node owes: its good placements without commitments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Debt {
    /// Who.
    pub node: NodeId,
    /// How many.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where the commitments of good placements stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CommitmentCounts {
    /// Pending ones.
    pub pending: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their blobs.
    pub blobs: u64,
    /// Pending with a fresh witness.
    pub fresh: u64,
    /// Pending with a burnt one.
    pub burnt: u64,
    /// Since when the oldest of them is pending: it was placed then, or voided. Of those placed before that was noted, only
    /// when they were committed, if they have a witness.
    pub oldest: Option<Wall>,
    /// Accepted by the auditor's own reading, whatever their standing.
    pub auditor_read: u64,
    /// Accepted by a client's witness.
    pub client_witness: u64,
    /// Accepted by sampled links.
    pub link_sampled: u64,
}
