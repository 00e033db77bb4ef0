//! The auditor's side of a put: what a client's words must be before they become rows. Reads no
//! store and writes none: the caller brings the rows and applies the result, and what two clients
//! may do to each other in between is refused inside the store's operations.

mod commit;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_dispersal::{Geometry, RecoveryWrap, SegmentError, WRAPPED_LEN};
use holdfast_types::{
    NodeId, OwnerId, Policy, SecretKey, Seed, SegmentId, SegmentRoot, Sequence, ShardId, ShardIndex, SignedGrant,
    Transcript, UploadId, Wall,
};
use thiserror::Error;

pub use commit::{ObjectSpec, commit};

use crate::{
    grants,
    message::Receipt,
    model::{Assignment, NodeRow, SegmentRow, StagedSegment, UploadRow},
    placement::{self, PlacementError},
};

/// Why a client's put is not what it must be. All of it is the client's to mend, but for `Placement`, which is the
/// cluster's.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum UploadError {
    /// The cluster cannot hold it.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// A segment of an impossible length or code.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A field that is not what it must be.
    #[error("{what}: expected {expected}, got {got}; {next}")]
    Invalid {
        /// Of what.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What came.
        got: String,
        /// What to do.
        next: &'static str,
    },
    /// Something of this name is there already, with other content.
    #[error("{0}")]
    Conflict(String),
}

fn invalid(what: &'static str, expected: impl ToString, got: impl ToString, next: &'static str) -> UploadError {
    UploadError::Invalid { what, expected: expected.to_string(), got: got.to_string(), next }
}

/// The row of a new upload, if the cluster can hold its policy at all.
pub fn begin(
    id: UploadId,
    owner: OwnerId,
    policy: &Policy,
    nodes: &BTreeMap<NodeId, NodeRow>,
    expires: Wall,
) -> Result<UploadRow, UploadError> {
    placement::possible(policy.code, nodes)?;
    Ok(UploadRow {
        id,
        owner,
        policy: policy.name.clone(),
        code: policy.code,
        write_threshold: policy.write_threshold,
        repair_threshold: policy.repair_threshold,
        expires,
        committed: false,
    })
}

/// A segment as its client describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentSpec {
    /// Drawn by the client.
    pub id: SegmentId,
    /// Where its bytes start in the upload's sealed stream.
    pub offset: u64,
    /// BLAKE3 root of the sealed bytes.
    pub root: SegmentRoot,
    /// Sealed bytes.
    pub len: u64,
    /// Bytes of each stored shard.
    pub shard_len: u64,
    /// Names of all n shards, by index.
    pub shards: Vec<ShardId>,
    /// The placement secret, wrapped to the owner: [`WRAPPED_LEN`] bytes.
    pub secret_for_owner: Vec<u8>,
    /// The placement secret, wrapped to the recovery key: [`RecoveryWrap::LEN`] bytes.
    pub secret_for_recovery: Vec<u8>,
}

/// Where the shards of a segment shall go. Asked again (`known`) it answers the same places, but for shards without a
/// receipt whose node is to be avoided or takes no shards any more: those go elsewhere.
pub fn stage(
    upload: &UploadRow,
    known: Option<&StagedSegment>,
    spec: SegmentSpec,
    nodes: &BTreeMap<NodeId, NodeRow>,
    avoid: &BTreeSet<NodeId>,
) -> Result<StagedSegment, UploadError> {
    if upload.committed {
        return Err(UploadError::Conflict(format!("upload {} is committed; begin another", upload.id)));
    }
    let offset = spec.offset;
    let segment = segment_row(upload, spec)?;
    if known.is_some_and(|known| known.segment != segment || known.offset != offset) {
        let why = format!("segment {} is staged with other bytes or offset; draw a fresh id for these", segment.id);
        return Err(UploadError::Conflict(why));
    }
    let stands = |assignment: &&Assignment| {
        let takes = nodes.get(&assignment.node).is_some_and(|row| row.life.takes_shards());
        assignment.sequence.is_some() || (takes && !avoid.contains(&assignment.node))
    };
    let kept: BTreeMap<ShardIndex, Assignment> = known
        .into_iter()
        .flat_map(|known| &known.assignments)
        .filter(stands)
        .map(|assignment| (assignment.index, *assignment))
        .collect();
    let all = (0..segment.code.total()).map(ShardIndex);
    let wanted: Vec<ShardIndex> = all.filter(|index| !kept.contains_key(index)).collect();
    let standing: Vec<(ShardIndex, NodeId)> = kept.values().map(|found| (found.index, found.node)).collect();
    let request = placement::Request {
        code: segment.code,
        shard_len: segment.shard_len,
        nodes,
        kept: &standing,
        avoid,
        seed: seed(&segment, kept.len()),
    };
    let chosen = placement::choose(&request, &wanted)?;
    let fresh = chosen.into_iter().map(|(index, node)| {
        let shard = segment.shards[usize::from(index.0)];
        (index, Assignment { index, shard, node, sequence: None })
    });
    let mut assignments = kept.clone();
    assignments.extend(fresh);
    Ok(StagedSegment { upload: upload.id, offset, segment, assignments: assignments.into_values().collect() })
}

/// The same segment draws the same nodes, so that a repeated call whose answer got lost costs nothing.
fn seed(segment: &SegmentRow, kept: usize) -> Seed {
    let transcript = Transcript::new("holdfast 2026 upload placement v1")
        .absorb("segment", segment.id.as_bytes())
        .absorb("root", segment.root.as_bytes())
        .absorb_u64("kept", kept as u64);
    Seed(transcript.digest())
}

fn segment_row(upload: &UploadRow, spec: SegmentSpec) -> Result<SegmentRow, UploadError> {
    const SEAL_AGAIN: &str = "encode the segment again with this version's geometry";
    let geometry = Geometry::new(upload.code, spec.len)?;
    if spec.shard_len != geometry.shard_len() {
        return Err(invalid("bytes of a shard", geometry.shard_len(), spec.shard_len, SEAL_AGAIN));
    }
    let total = usize::from(upload.code.total());
    let distinct: BTreeSet<&ShardId> = spec.shards.iter().collect();
    if spec.shards.len() != total || distinct.len() != total {
        // Two equal shards would be one: their masks differ, so a client that sends them did not mask.
        let got = format!("{}, {} of them distinct", spec.shards.len(), distinct.len());
        return Err(invalid("names of shards", format!("{total} distinct ones"), got, SEAL_AGAIN));
    }
    if spec.secret_for_owner.len() != WRAPPED_LEN {
        let (expected, got) = (format!("{WRAPPED_LEN} bytes"), spec.secret_for_owner.len());
        return Err(invalid("placement secret wrapped to the owner", expected, got, "wrap it again"));
    }
    if RecoveryWrap::from_bytes(&spec.secret_for_recovery).is_none() {
        // Without it the segment could never be repaired.
        let (expected, got) = (format!("{} bytes", RecoveryWrap::LEN), spec.secret_for_recovery.len());
        return Err(invalid("placement secret wrapped to the recovery key", expected, got, "wrap it again"));
    }
    Ok(SegmentRow {
        id: spec.id,
        owner: upload.owner,
        root: spec.root,
        len: spec.len,
        code: upload.code,
        shard_len: spec.shard_len,
        shards: spec.shards,
        repair_threshold: upload.repair_threshold,
        secret_for_owner: spec.secret_for_owner,
        secret_for_recovery: spec.secret_for_recovery,
    })
}

/// Put grants for the shards that have no receipt yet.
pub fn put_grants(staged: &StagedSegment, expires: Wall, key: &SecretKey) -> Vec<(ShardIndex, SignedGrant)> {
    let missing = staged.assignments.iter().filter(|assignment| assignment.sequence.is_none());
    missing.map(|a| (a.index, grants::put(&staged.segment, a, expires, key))).collect()
}

/// Why a receipt does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ReceiptFault {
    /// No such shard in the segment.
    #[error("there is no shard with this index in the segment")]
    Index,
    /// The shard is assigned to another node by now.
    #[error("the shard is assigned to another node; stage the segment again and put it there")]
    Node,
    /// Another shard, length or owner.
    #[error("the receipt is for another shard, length or owner")]
    Content,
    /// A number above [`Sequence::MAX`].
    #[error("the receipt's number is above the greatest that a catalog keeps")]
    Sequence,
    /// From before the node lost its volume.
    #[error("the receipt is from an earlier life of the node, which has lost its volume since; put the shard again")]
    Incarnation,
    /// Not signed by the node.
    #[error("the node's key did not sign the receipt")]
    Signature,
}

/// The receipts that hold, as the store notes them, and why the others do not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Receipts {
    /// Shard, node, number.
    pub valid: Vec<(ShardIndex, NodeId, Sequence)>,
    /// Shard and fault.
    pub faults: Vec<(ShardIndex, ReceiptFault)>,
}

/// Sorts receipts for a staged segment into those that hold and those that do not.
pub fn receipts(
    staged: &StagedSegment,
    received: &[(ShardIndex, Receipt)],
    nodes: &BTreeMap<NodeId, NodeRow>,
) -> Receipts {
    let mut sorted = Receipts::default();
    for (index, receipt) in received {
        let assignment = staged.assignments.iter().find(|assignment| assignment.index == *index);
        let Some(assignment) = assignment else {
            sorted.faults.push((*index, ReceiptFault::Index));
            continue;
        };
        match receipt_fault(&staged.segment, assignment.shard, assignment.node, receipt, nodes) {
            None => sorted.valid.push((*index, receipt.node, receipt.sequence)),
            Some(fault) => sorted.faults.push((*index, fault)),
        }
    }
    sorted
}

/// Why a receipt does not show that `node` holds this shard of the segment, durably, in its present life.
pub fn receipt_fault(
    segment: &SegmentRow,
    shard: ShardId,
    node: NodeId,
    receipt: &Receipt,
    nodes: &BTreeMap<NodeId, NodeRow>,
) -> Option<ReceiptFault> {
    let Some(row) = nodes.get(&node).filter(|_| receipt.node == node) else { return Some(ReceiptFault::Node) };
    if receipt.shard != shard || receipt.len != segment.shard_len || receipt.owner != segment.owner {
        return Some(ReceiptFault::Content);
    }
    // Attack: the catalog would fail at it every time it is asked, and take that for its own trouble.
    if receipt.sequence > Sequence::MAX {
        return Some(ReceiptFault::Sequence);
    }
    // Attack: a receipt kept from before a wipe would make the catalog believe in bytes that are gone.
    if receipt.incarnation != row.incarnation {
        return Some(ReceiptFault::Incarnation);
    }
    (!receipt.is_signed_by(&row.key)).then_some(ReceiptFault::Signature)
}
