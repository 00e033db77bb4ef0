//! What the catalog knows: nodes, segments, placements, verdicts, uploads. Plain values, as the
//! store keeps them and the machines decide on them.

mod node;
mod placement;
mod repair;
mod upload;
mod verdict;
mod witness;

pub use node::{Containment, NodeLife, NodeRow};
pub use placement::{CommitmentState, DAMAGED_RANGES_MAX, Placement, Provenance, SegmentRow, SegmentView, Standing};
pub use repair::{DeletionRow, Lease, RepairRow, RepairState};
pub use upload::{Assignment, ExtentRow, ObjectRow, StagedSegment, StagedSpan, UploadRow};
pub use verdict::{AuditRow, BlobRef, Cause, Exception, Fault, Lane, Outcome, Verdict};
pub use witness::{
    CommitmentCounts, Debt, NO_LIST, PendingShard, SEALED_WITNESS_MAX, SealedWitness, WitnessRow, WitnessState,
};
