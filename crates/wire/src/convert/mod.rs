//! Checked conversions, one file for each family of messages.
//!
//! Where `holdfast-protocol` has a type, that is the target. What only the wire knows (requests of the auditor's API)
//! is a plain checked struct beside its conversions.

mod answer;
mod challenge;
mod locate;
mod node;
mod object;
mod primitive;
mod receipts;
mod record;
mod repair;
mod shard;
mod status;
mod upload;
mod verdict;
mod witness;

pub use challenge::DEADLINE_MAX;
pub use locate::{LocateExtents, LocatedExtent, SegmentLocation, ShardCommitment, ShardLocation};
pub use node::{
    ADDRESS_LEN_MAX, ADDRESSES_MAX, ContainmentView, LABEL_LEN_MAX, ListNodes, NODES_PAGE_MAX, NodeContact,
    NodeHolding, NodeView, Registered, Registration,
};
pub use object::{
    CommitPart, DeleteObject, ListObjects, NAME_LEN_MAX, NewObject, OBJECTS_PAGE_MAX, OBJECTS_PER_COMMIT_MAX,
    ObjectRecords, ObjectSummary, PAGES_PER_OBJECT_MAX,
};
pub use receipts::{IndexedReceipt, NoteReceipts};
pub use record::{GetRecord, ListRecords, PutRecord, RecordKeys};
pub use repair::{REASON_LEN_MAX, REPAIRS_PAGE_MAX};
pub use shard::{
    CHUNK_LEN_MAX, CommitBacklog, GetPart, GetShard, ListShards, PIECE_SENT_MAX, PutPart, ShardPage, Statement,
    list_reply,
};
pub use status::NodeBacklog;
pub use upload::{
    BeginUpload, POLICY_NAME_LEN_MAX, SECRET_LEN_MAX, SegmentSpec, ShardAssignment, StageSegment, Staged,
    StagedSegmentView, UploadTerms,
};
pub use verdict::{
    EXCEPTIONS_IN_MESSAGE_MAX, ListVerdicts, RunAudit, VERDICTS_PAGE_MAX, VerdictView, WatchVerdicts, verdict_message,
};
pub use witness::{GetCommitments, OpenWitness, PutCommitments, ShardCommitments, ShardWitness};
