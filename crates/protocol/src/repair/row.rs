//! The rows that tell of a repair, one a shard.

use std::collections::BTreeMap;

use holdfast_types::{Fence, RepairId, SegmentId, ShardIndex, Transcript, Wall};

use crate::{
    effect::RecoverJob,
    model::{RepairRow, RepairState, SegmentView},
};

/// Segment, index and fence name a repair: the same one is never told twice under two names.
fn id(segment: SegmentId, index: ShardIndex, fence: Fence) -> RepairId {
    let digest = Transcript::new("holdfast 2026 repair id v1")
        .absorb("segment", segment.as_bytes())
        .absorb_u64("index", u64::from(index.0))
        .absorb("fence", &fence.to_bytes())
        .digest();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    RepairId(id)
}

/// One running row for each target of a plan.
pub(super) fn begun(view: &SegmentView, job: &RecoverJob, now: Wall) -> BTreeMap<ShardIndex, RepairRow> {
    let row = |target: &crate::effect::Target| {
        let from = view.placements.iter().find(|placement| placement.index == target.index);
        let row = RepairRow {
            id: id(job.segment, target.index, job.fence),
            segment: job.segment,
            index: target.index,
            shard: target.shard,
            from: from.map(|placement| placement.node),
            to: target.node,
            state: RepairState::Running,
            fence: job.fence,
            started: now,
            ended: None,
            bytes: 0,
            reason: String::new(),
        };
        (target.index, row)
    };
    job.targets.iter().map(row).collect()
}
