//! Rules of the catalog that need no more than the rows at hand: every store asks them inside its
//! transaction, so that all stores refuse the same things with the same words.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{ObjectId, SegmentId, ShardId, ShardIndex};

use crate::{
    model::{
        CommitmentState, NO_LIST, Provenance, SEALED_WITNESS_MAX, SealedWitness, SegmentRow, StagedSegment, StagedSpan,
        UploadRow, WitnessRow, WitnessState,
    },
    store::NewObject,
    witness::WitnessId,
};

/// Segments of one upload at most, staged or committed: 8 TiB in segments of 64 MiB, and their spans are 5 MiB of memory.
pub const UPLOAD_SEGMENTS_MAX: usize = 128 << 10;

/// Staged segments, and uploads, that are dropped in one transaction: at 200 + 56 shards a segment that is 50,000
/// statements, about a second, for which nobody else writes.
pub const DROPPED_AT_ONCE: usize = 64;

/// Why no other segment can be staged beside so many. Attack: segments of a byte cost their client nothing, and the
/// catalog a day's work to drop.
pub fn room_fault(staged: u64) -> Option<String> {
    (staged >= UPLOAD_SEGMENTS_MAX as u64)
        .then(|| format!("expected at most {UPLOAD_SEGMENTS_MAX} segments in one upload, got more; put in several"))
}

/// Why a segment cannot be staged beside what is there; `known` is its staging so far.
pub fn stage_fault(upload: &UploadRow, known: Option<&StagedSegment>, staged: &StagedSegment) -> Option<String> {
    if upload.committed {
        return Some(format!("upload {} is committed; begin another for more", upload.id));
    }
    if staged.segment.code != upload.code {
        return Some(format!("expected a segment coded {}, as its upload, got {}", upload.code, staged.segment.code));
    }
    if known.is_some_and(|known| known.segment != staged.segment || known.offset != staged.offset) {
        return Some(format!("segment {} is staged with other bytes; draw a fresh id for these", staged.segment.id));
    }
    assignments_fault(staged)
}

fn assignments_fault(staged: &StagedSegment) -> Option<String> {
    let row = &staged.segment;
    let total = usize::from(row.code.total());
    if row.shards.len() != total || staged.assignments.len() != total {
        let (names, got) = (row.shards.len(), staged.assignments.len());
        return Some(format!("expected {total} names and assignments for {}, got {names} and {got}", row.code));
    }
    let in_order = |(at, expected): (usize, &ShardId)| {
        staged.assignments.get(at).is_some_and(|got| usize::from(got.index.0) == at && got.shard == *expected)
    };
    if !row.shards.iter().enumerate().all(in_order) {
        return Some("expected one assignment an index, in order, with the segment's names".into());
    }
    let nodes: BTreeSet<_> = staged.assignments.iter().map(|assignment| assignment.node).collect();
    (nodes.len() != total).then(|| format!("expected {total} distinct nodes, got {}", nodes.len()))
}

/// Why these objects cannot be committed from an upload with these segments.
pub fn commit_fault(upload: &UploadRow, staged: &[StagedSpan], objects: &[NewObject]) -> Option<String> {
    if staged.len() > UPLOAD_SEGMENTS_MAX {
        return Some(format!(
            "expected at most {UPLOAD_SEGMENTS_MAX} segments in one upload, got more; put in several"
        ));
    }
    for StagedSpan { segment: id, held, .. } in staged {
        let needed = upload.write_threshold;
        if *held < needed {
            return Some(format!("segment {id} has {held} receipts, needs {needed}; put the missing shards first"));
        }
    }
    let lens: BTreeMap<SegmentId, u64> = staged.iter().map(|span| (span.segment, span.len)).collect();
    objects.iter().find_map(|object| object_fault(upload, &lens, object))
}

fn object_fault(upload: &UploadRow, lens: &BTreeMap<SegmentId, u64>, object: &NewObject) -> Option<String> {
    let id = object.row.id;
    if object.row.owner != upload.owner {
        return Some(format!("object {id} is of {}, the upload of {}", object.row.owner, upload.owner));
    }
    let mut at = 0u64;
    for extent in &object.extents {
        if extent.at != at || extent.len == 0 {
            return Some(format!(
                "object {id}: expected an extent from byte {at} on, got {} at {}",
                extent.len, extent.at
            ));
        }
        let Some(len) = lens.get(&extent.segment) else {
            return Some(format!("object {id}: segment {} is not of this upload", extent.segment));
        };
        let ends = extent.offset.checked_add(extent.len).filter(|end| end <= len);
        let (Some(_), Some(next)) = (ends, at.checked_add(extent.len)) else {
            let (offset, segment) = (extent.offset, extent.segment);
            return Some(format!(
                "object {id}: {} bytes at {offset} of segment {segment} end past its {len}",
                extent.len
            ));
        };
        at = next;
    }
    let expected = object.row.sealed_len;
    (at != expected).then(|| format!("object {id}: expected extents over {expected} bytes, got {at}"))
}

/// Why an object cannot be committed that nodes may keep a tombstone of. Attack on its owner: the tombstone outranks the new envelope, and a
/// recovery would drop what is stored.
pub fn tombstone_fault(object: ObjectId) -> String {
    format!("object {object} was deleted, and nodes still keep its tombstone; seal it under a fresh key, or wait")
}

/// Why records cannot be owed that were made from this revision of a segment.
pub fn revision_fault(segment: SegmentId, made: u64, is: u64) -> String {
    format!("segment {segment} is at revision {is}, and the records are of {made}; describe it again")
}

/// Why this shard is not that of the segment.
pub fn shard_fault(segment: &SegmentRow, index: ShardIndex, shard: &ShardId, len: u64) -> Option<String> {
    match segment.shards.get(usize::from(index.0)) {
        Some(expected) if expected == shard && segment.shard_len == len => None,
        Some(expected) => {
            let want = segment.shard_len;
            Some(format!("expected shard {expected} of {want} bytes at index {index}, got {shard} of {len}"))
        }
        None => Some(format!("expected an index below {}, got {index}", segment.code.total())),
    }
}

/// Why these are no witnesses of the segment's shards.
pub fn witness_fault(segment: &SegmentRow, witnesses: &[SealedWitness]) -> Option<String> {
    let mut seen = BTreeSet::new();
    witnesses.iter().find_map(|witness| {
        let (index, len) = (witness.index, witness.sealed.len());
        if index.0 >= segment.code.total() || !seen.insert(index) {
            let total = segment.code.total();
            return Some(format!("expected one witness a shard at most, indices below {total}, got {index} as well"));
        }
        let fits = if witness.list.is_some() { len == 0 } else { (1..=SEALED_WITNESS_MAX).contains(&len) };
        (!fits).then(|| {
            format!("expected a sealed witness of 1 to {SEALED_WITNESS_MAX} bytes, or a list and none, got {len}")
        })
    })
}

/// Why these lists, each of one shard, cannot be staged beside those that are. Attack: lists are files before they are
/// rows, and a client that comes with others each time fills the disk with those that it left.
pub fn list_fault(
    staged: &[(ShardIndex, [u8; 32])],
    mut given: impl Iterator<Item = (ShardIndex, [u8; 32])>,
) -> Option<String> {
    let other = |given: &(ShardIndex, [u8; 32])| staged.iter().any(|(at, list)| *at == given.0 && *list != given.1);
    let (index, _) = given.find(other)?;
    Some(format!("shard {index} is staged with another commitment list; a shard has one: draw a fresh segment id"))
}

/// Those of a segment's witnesses that name a list.
pub fn given_lists(witnesses: &[SealedWitness]) -> impl Iterator<Item = (ShardIndex, [u8; 32])> {
    witnesses.iter().filter_map(|witness| Some((witness.index, witness.list?)))
}

/// How a shard begins whose client gave this with it: on the client's word for the list that it computed itself, or
/// without commitments.
pub fn first_commitment(witness: Option<&WitnessRow>) -> CommitmentState {
    match witness.map(|row| row.state) {
        Some(WitnessState::Burnt(digest)) if digest != NO_LIST => {
            CommitmentState::Accepted { digest, provenance: Provenance::ClientWitness }
        }
        Some(WitnessState::Burnt(_) | WitnessState::Fresh) | None => CommitmentState::Pending,
    }
}

/// Why what is known of shard `asked` says nothing of shard `held`, which is in its place.
pub fn name_fault(index: ShardIndex, held: ShardId, asked: ShardId) -> Option<String> {
    (held != asked).then(|| format!("expected shard {held} at index {index}, got {asked}; read the segment again"))
}

/// Why a witness cannot be burnt. Attack: whoever comes second, with whatever list, may know the secret already.
pub fn burn_fault(commitment: CommitmentState, row: &WitnessRow, id: WitnessId) -> Option<String> {
    if commitment != CommitmentState::Pending {
        return Some("the shard's commitments are accepted; nothing is left to judge".into());
    }
    match row.state {
        _ if row.id != id => Some(format!("expected witness {}, got {id}; read the shard again", row.id)),
        WitnessState::Burnt(_) => Some(format!("witness {id} is burnt; read the shard's bytes instead")),
        WitnessState::Fresh => None,
    }
}

/// Why a shard cannot come to this commitment, with the witness that it has.
pub fn acceptance_fault(to: CommitmentState, witness: Option<&WitnessRow>) -> Option<String> {
    match to {
        CommitmentState::Accepted { digest, provenance: Provenance::ClientWitness } => {
            let vouched = witness.is_some_and(|row| row.state == WitnessState::Burnt(digest));
            (!vouched).then(|| "no witness was burnt with this list; read the shard's bytes instead".into())
        }
        CommitmentState::Accepted { provenance: Provenance::AuditorRead | Provenance::LinkSampled, .. }
        | CommitmentState::Pending => None,
    }
}
