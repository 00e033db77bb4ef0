//! How what a node keeps is named in its volume.

use holdfast_protocol::{message::RecordKind, responder::OUTBOARD_KIND};
use holdfast_types::{Fence, OwnerId, Sequence, ShardId};
use holdfast_volume::{Key, Namespace};

/// Shards: the 32 bytes of their root.
pub(crate) const SHARD_KIND: u8 = 0;
/// The fence under which a repair put a shard, 16 bytes, under the shard's name: a deletion from before the repair
/// must not hit what the repair made.
pub(crate) const FENCE_KIND: u8 = 65;
/// The shard's commitment list, encoded, under the shard's name: computed here, or taken after it passed here.
pub(crate) const LIST_KIND: u8 = 66;
/// Kinds that a grant may name beside shards: those of [`RecordKind`].
pub(crate) const RECORD_KINDS: std::ops::RangeInclusive<u8> = 1..=5;
/// Every kind there is, for whoever looks for the newest record.
pub(crate) const ALL_KINDS: [u8; 9] = [SHARD_KIND, 1, 2, 3, 4, 5, OUTBOARD_KIND, FENCE_KIND, LIST_KIND];

/// Meta: the highest fence seen, 16 bytes.
pub(crate) const META_FENCE: u8 = 1;
/// Meta: the auditor's public key, 32 bytes.
pub(crate) const META_AUDITOR: u8 = 2;
/// Meta: whose volume it is, 32 bytes of node id.
pub(crate) const META_NODE: u8 = 3;

/// Meta: the signed grant of the highest fence that came with one.
pub(crate) const META_GRANT: u8 = 4;

/// What is the node's own, or the cluster's, and counts against no owner.
pub(crate) const COMMON: Namespace = Namespace([0; 32]);

pub(crate) fn shard_key(shard: &ShardId) -> Key {
    Key { kind: SHARD_KIND, id: *shard.as_bytes() }
}

pub(crate) fn outboard_key(id: [u8; 32]) -> Key {
    Key { kind: OUTBOARD_KIND, id }
}

pub(crate) fn commitments_key(id: [u8; 32]) -> Key {
    Key { kind: LIST_KIND, id }
}

pub(crate) fn fence_key(id: [u8; 32]) -> Key {
    Key { kind: FENCE_KIND, id }
}

pub(crate) fn record_key(kind: RecordKind, id: [u8; 32]) -> Key {
    Key { kind: kind as u8, id }
}

pub(crate) fn namespace(owner: &OwnerId) -> Namespace {
    Namespace(*owner.as_bytes())
}

pub(crate) fn sequence(sequence: holdfast_volume::Sequence) -> Sequence {
    Sequence(sequence.0)
}

pub(crate) fn volume_sequence(sequence: Sequence) -> holdfast_volume::Sequence {
    holdfast_volume::Sequence(sequence.0)
}

/// A record as it lies in the volume: its writer's fence, then its bytes.
pub(crate) fn fenced(fence: Fence, bytes: &[u8]) -> Vec<u8> {
    [fence.to_bytes().as_slice(), bytes].concat()
}

/// The inverse of [`fenced`]; `None` for what is too short to have been one.
pub(crate) fn unfenced(stored: &[u8]) -> Option<(Fence, &[u8])> {
    let (fence, bytes) = stored.split_first_chunk::<{ Fence::LEN }>()?;
    Some((Fence::from_bytes(*fence), bytes))
}
