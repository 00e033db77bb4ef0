//! What a walk reads, to see whether the two stores are the same.

use holdfast_types::{Sequence, ShardIndex, VerdictId, Wall};

use super::{NODES, SEGMENTS, UPLOADS, Walk};
use crate::store::{StoreOp, contract::fixture::*};

impl Walk {
    /// Every reading operation, over the whole of the walk's small world.
    pub(super) fn readings(&self) -> Vec<StoreOp> {
        let most = Wall(u64::MAX >> 1);
        let mut ops = vec![
            StoreOp::Nodes,
            StoreOp::Summary,
            StoreOp::SegmentsBySpare,
            StoreOp::OpenAudits,
            StoreOp::SegmentsAtRisk { after: None, limit: 99 },
            StoreOp::SegmentsAtRisk { after: Some((0, segment_id(4))), limit: 2 },
            StoreOp::CommitmentDebts,
            StoreOp::CommitmentCounts,
            StoreOp::NamedLists((0..4).map(|n| [n; 32]).collect()),
            StoreOp::PendingCommitments { after: None, limit: 99 },
            StoreOp::PendingCommitments { after: Some((segment_id(3), ShardIndex(1))), limit: 9 },
            StoreOp::DueDeletions { now: most, after: None, limit: 999 },
            StoreOp::DueDeletions { now: Wall(self.now), after: Some((node_id(2), shard_id(5, 0))), limit: 5 },
            StoreOp::OwedDeletions { shards: (1..=SEGMENTS).map(|n| shard_id(n, 1)).collect() },
            StoreOp::OwedRecords { after: None, limit: 999 },
            StoreOp::Undescribed { limit: 99 },
            StoreOp::Verdicts { after: VerdictId(0), node: Some(node_id(2)), limit: 99 },
            StoreOp::LatestVerdicts { node: None, limit: 5 },
        ];
        for n in 1..=NODES {
            ops.push(StoreOp::PlacementsOfNode { node: node_id(n), from: Sequence(20), limit: 99 });
        }
        for n in 1..=SEGMENTS {
            ops.push(StoreOp::Segment(segment_id(n)));
            ops.push(StoreOp::WitnessedLists(segment_id(n)));
        }
        for of in 1..=2 {
            ops.push(StoreOp::Objects { owner: owner(of), after: None, limit: 99 });
            for n in 1..=UPLOADS {
                let (owner, id) = (owner(of), object_id(n));
                let (up, after) = (upload_id(n), Some((1500, segment_id(6))));
                ops.push(StoreOp::StagedSegments { id: up, owner, after: None, limit: 99 });
                ops.push(StoreOp::StagedSegments { id: up, owner, after, limit: 2 });
                ops.push(StoreOp::StagedSegment { id: up, owner, segment: segment_id(n) });
                ops.push(StoreOp::StagedSpans { id: up, owner });
                ops.push(StoreOp::Object { owner, id });
                ops.push(StoreOp::PageRoots { owner, id });
                ops.push(StoreOp::Extents { owner, id, from: 1500, to: 5000, limit: 9 });
            }
        }
        ops
    }
}
