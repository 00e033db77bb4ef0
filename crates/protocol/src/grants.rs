//! Permissions that the auditor writes: one operation on one shard of one node, for a while.
//! Signing is deterministic, so the core may do it.

use holdfast_types::{Fence, Grant, Millis, NodeId, Operation, OwnerId, SecretKey, ShardId, SignedGrant, Wall};

use crate::{
    effect::{RecoverJob, Source, Target},
    message::RecordKind,
    model::{Assignment, DeletionRow, Placement, SegmentRow},
    store::FENCE_NONE,
};

/// A deletion or a read by the auditor is asked for at once: a grant that outlives the attempt by much could delete what
/// came to the same place later.
pub const AUDITOR_GRANT_TTL: Millis = Millis::from_secs(60);

/// A node honours an expired grant for as long as clocks may disagree; so long a deletion that was sent may still be
/// carried out, whatever became of whoever sent it.
pub const DELETION_OUTSTANDING: Millis = Millis(AUDITOR_GRANT_TTL.0 + 60_000);

/// The owner in a grant for an orphan: no row says whose it is, and no owner has this id.
pub const OWNER_UNKNOWN: OwnerId = OwnerId([0; 32]);

/// Kind of a shard in a grant.
const KIND_SHARD: u8 = 0;

fn grant(operation: Operation, node: NodeId, owner: OwnerId, shard: ShardId, len: u64, expires: Wall) -> Grant {
    Grant { operation, node, owner, kind: KIND_SHARD, content: *shard.as_bytes(), len, fence: FENCE_NONE, expires }
}

/// A client may store this shard of its segment there.
pub fn put(segment: &SegmentRow, assignment: &Assignment, expires: Wall, key: &SecretKey) -> SignedGrant {
    let Assignment { node, shard, .. } = *assignment;
    grant(Operation::Put, node, segment.owner, shard, segment.shard_len, expires).sign(key)
}

/// Its owner may read this shard.
pub fn get(owner: OwnerId, placement: &Placement, expires: Wall, key: &SecretKey) -> SignedGrant {
    let Placement { node, shard, len, .. } = *placement;
    grant(Operation::Get, node, owner, shard, len, expires).sign(key)
}

/// A repair may read this source.
pub fn recover_get(job: &RecoverJob, source: &Source, now: Wall, key: &SecretKey) -> SignedGrant {
    let expires = now + AUDITOR_GRANT_TTL;
    grant(Operation::Get, source.node, job.owner, source.shard, job.shard_len, expires).sign(key)
}

/// A repair may write this target, under its lease: a node that saw a later one refuses.
pub fn recover_put(job: &RecoverJob, target: &Target, now: Wall, key: &SecretKey) -> SignedGrant {
    let expires = now + AUDITOR_GRANT_TTL;
    let grant = grant(Operation::Put, target.node, job.owner, target.shard, job.shard_len, expires);
    Grant { fence: job.fence, ..grant }.sign(key)
}

/// This record may be deleted, for whoever it was. `fence` as in [`delete`].
pub fn delete_record(
    node: NodeId,
    kind: RecordKind,
    key: [u8; 32],
    fence: Fence,
    now: Wall,
    auditor: &SecretKey,
) -> SignedGrant {
    let (operation, owner, expires) = (Operation::Delete, OWNER_UNKNOWN, now + AUDITOR_GRANT_TTL);
    Grant { operation, node, owner, kind: kind as u8, content: key, len: 0, fence, expires }.sign(auditor)
}

/// This shard may be deleted. `fence` is the highest given out: a catalog restored from an old copy must not delete what
/// its successor placed.
pub fn delete(row: &DeletionRow, fence: Fence, now: Wall, key: &SecretKey) -> SignedGrant {
    let grant = grant(Operation::Delete, row.node, row.owner, row.shard, 0, now + AUDITOR_GRANT_TTL);
    Grant { fence, ..grant }.sign(key)
}
