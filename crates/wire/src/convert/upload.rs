//! An upload: its terms, its segments, and where their shards shall go.

use holdfast_protocol::model::{Assignment, SegmentRow, StagedSegment, UploadRow};
use holdfast_types::{
    Code, NodeId, OwnerId, SEGMENT_LEN_MAX, SHARDS_MAX, SegmentId, SegmentRoot, Sequence, ShardId, ShardIndex,
    SignedGrant, UploadId, Wall,
};

use super::{
    node::{LABEL_LEN_MAX, NodeContact},
    primitive::{grant_or_empty, shard_index, shard_len},
    witness::{ShardCommitments, ShardWitness},
};
use crate::{
    decode::{DecodeError, Inside, blob, fixed, ids, list, number, present, text},
    pb::auditor::v1 as pb,
};

/// Bytes of a policy's name at most.
pub const POLICY_NAME_LEN_MAX: usize = 64;
/// Bytes of a wrapped secret or a public key to wrap to at most: a hybrid post-quantum encapsulation fits.
pub const SECRET_LEN_MAX: usize = 2048;

pub(super) const SHARDS: usize = SHARDS_MAX as usize;

/// Begin or find an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginUpload {
    /// Drawn by the client.
    pub upload: UploadId,
    /// Name of the policy.
    pub policy: String,
}

impl TryFrom<pb::BeginUploadRequest> for BeginUpload {
    type Error = DecodeError;
    fn try_from(message: pb::BeginUploadRequest) -> Result<Self, DecodeError> {
        let upload = UploadId(fixed("upload_id", &message.upload_id)?);
        Ok(Self { upload, policy: text("policy", message.policy, 1..=POLICY_NAME_LEN_MAX)? })
    }
}

impl From<&BeginUpload> for pb::BeginUploadRequest {
    fn from(begin: &BeginUpload) -> Self {
        Self { upload_id: begin.upload.as_bytes().to_vec(), policy: begin.policy.clone() }
    }
}

/// The terms of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadTerms {
    /// How each segment is coded.
    pub code: Code,
    /// Sealed bytes of a segment at most; 1 to [`SEGMENT_LEN_MAX`].
    pub segment_len: u64,
    /// Shards that must have a receipt before the commit.
    pub write_threshold: u16,
    /// What placement secrets are wrapped to besides the owner's key.
    pub recovery_key: Vec<u8>,
    /// Until when the upload stands without another call, by the auditor's clock.
    pub expires: Wall,
    /// Whether it was committed already.
    pub committed: bool,
    /// Segments staged so far.
    pub staged_segments: u64,
    /// Name of the cluster.
    pub cluster: String,
}

impl UploadTerms {
    /// The terms of the upload in this row.
    pub fn of(row: &UploadRow, staged: u64, segment_len: u64, recovery_key: &[u8], cluster: &str) -> Self {
        Self {
            code: row.code,
            segment_len,
            write_threshold: row.write_threshold,
            recovery_key: recovery_key.to_vec(),
            expires: row.expires,
            committed: row.committed,
            staged_segments: staged,
            cluster: cluster.to_owned(),
        }
    }
}

impl TryFrom<pb::BeginUploadResponse> for UploadTerms {
    type Error = DecodeError;
    fn try_from(message: pb::BeginUploadResponse) -> Result<Self, DecodeError> {
        let code = Code::try_from(present("code", message.code)?).inside("code")?;
        let thresholds = u32::from(code.data()) + 1..=u32::from(code.total());
        Ok(Self {
            code,
            segment_len: number("segment_len", message.segment_len, 1..=SEGMENT_LEN_MAX)?,
            write_threshold: number("write_threshold", message.write_threshold, thresholds)? as u16,
            recovery_key: blob("recovery_key", message.recovery_key, 1..=SECRET_LEN_MAX)?,
            expires: Wall(message.expires_unix_ms),
            committed: message.committed,
            staged_segments: message.staged_segments,
            cluster: text("cluster", message.cluster, 1..=LABEL_LEN_MAX)?,
        })
    }
}

impl From<&UploadTerms> for pb::BeginUploadResponse {
    fn from(terms: &UploadTerms) -> Self {
        Self {
            code: Some(terms.code.into()),
            segment_len: terms.segment_len,
            write_threshold: terms.write_threshold.into(),
            recovery_key: terms.recovery_key.clone(),
            expires_unix_ms: terms.expires.0,
            committed: terms.committed,
            staged_segments: terms.staged_segments,
            cluster: terms.cluster.clone(),
        }
    }
}

/// A sealed and coded segment, as its client describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSpec {
    /// Drawn by the client.
    pub id: SegmentId,
    /// BLAKE3 root of its sealed bytes.
    pub root: SegmentRoot,
    /// Sealed bytes, 1 to [`SEGMENT_LEN_MAX`].
    pub len: u64,
    /// Bytes of each stored shard.
    pub shard_len: u64,
    /// In order of index, 2 to [`SHARDS_MAX`]; whether they are the policy's n, the auditor says.
    pub shards: Vec<ShardId>,
    /// The placement secret, wrapped to the owner.
    pub secret_for_owner: Vec<u8>,
    /// The placement secret, wrapped to the recovery key.
    pub secret_for_recovery: Vec<u8>,
}

impl SegmentSpec {
    /// The segment a row describes.
    pub fn of(staged: &StagedSegment) -> Self {
        let row = &staged.segment;
        Self {
            id: row.id,
            root: row.root,
            len: row.len,
            shard_len: row.shard_len,
            shards: row.shards.clone(),
            secret_for_owner: row.secret_for_owner.clone(),
            secret_for_recovery: row.secret_for_recovery.clone(),
        }
    }

    /// The row it becomes under an upload's code and thresholds.
    pub fn into_row(self, owner: OwnerId, code: Code, repair_threshold: u16) -> SegmentRow {
        SegmentRow {
            id: self.id,
            owner,
            root: self.root,
            len: self.len,
            code,
            shard_len: self.shard_len,
            shards: self.shards,
            repair_threshold,
            secret_for_owner: self.secret_for_owner,
            secret_for_recovery: self.secret_for_recovery,
        }
    }
}

impl TryFrom<pb::SegmentSpec> for SegmentSpec {
    type Error = DecodeError;
    fn try_from(message: pb::SegmentSpec) -> Result<Self, DecodeError> {
        Ok(Self {
            id: SegmentId(fixed("segment_id", &message.segment_id)?),
            root: SegmentRoot::from_bytes(fixed("root", &message.root)?),
            len: number("len", message.len, 1..=SEGMENT_LEN_MAX)?,
            shard_len: shard_len("shard_len", message.shard_len)?,
            shards: ids("shards", message.shards, 2..=SHARDS, ShardId::from_bytes)?,
            secret_for_owner: blob("secret_for_owner", message.secret_for_owner, 1..=SECRET_LEN_MAX)?,
            secret_for_recovery: blob("secret_for_recovery", message.secret_for_recovery, 1..=SECRET_LEN_MAX)?,
        })
    }
}

impl From<&SegmentSpec> for pb::SegmentSpec {
    fn from(spec: &SegmentSpec) -> Self {
        Self {
            segment_id: spec.id.as_bytes().to_vec(),
            root: spec.root.as_bytes().to_vec(),
            len: spec.len,
            shard_len: spec.shard_len,
            shards: spec.shards.iter().map(|shard| shard.as_bytes().to_vec()).collect(),
            secret_for_owner: spec.secret_for_owner.clone(),
            secret_for_recovery: spec.secret_for_recovery.clone(),
        }
    }
}

/// Where shall this segment's shards go?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageSegment {
    /// The upload.
    pub upload: UploadId,
    /// Where its bytes start in the upload's sealed stream.
    pub offset: u64,
    /// The segment.
    pub segment: SegmentSpec,
    /// Nodes that failed the client.
    pub avoid: Vec<NodeId>,
    /// What lets the nodes' commitments be checked later; at most one a shard, in order of index.
    pub witnesses: Vec<ShardWitness>,
    /// Commitments that the client computed itself; at most one list a shard, in order of index.
    pub commitments: Vec<ShardCommitments>,
}

/// Entries of distinct shards: two for one would leave it to chance which counts.
fn by_index<A, B>(
    field: &str,
    items: Vec<A>,
    convert: impl Fn(A) -> Result<B, DecodeError>,
    index: impl Fn(&B) -> ShardIndex,
) -> Result<Vec<B>, DecodeError> {
    let mut found = list(field, items, 0..=SHARDS, convert)?;
    found.sort_by_key(&index);
    match found.windows(2).find(|pair| index(&pair[0]) == index(&pair[1])) {
        Some(pair) => Err(DecodeError::new(field, "one entry a shard", format_args!("two of {}", index(&pair[0])))),
        None => Ok(found),
    }
}

impl TryFrom<pb::StageSegmentRequest> for StageSegment {
    type Error = DecodeError;
    fn try_from(message: pb::StageSegmentRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            upload: UploadId(fixed("upload_id", &message.upload_id)?),
            // The catalog counts in signed 64-bit numbers.
            offset: number("offset", message.offset, 0..=i64::MAX as u64 - SEGMENT_LEN_MAX)?,
            segment: SegmentSpec::try_from(present("segment", message.segment)?).inside("segment")?,
            avoid: ids("avoid_nodes", message.avoid_nodes, 0..=SHARDS, NodeId)?,
            witnesses: by_index("witnesses", message.witnesses, ShardWitness::try_from, |of| of.index)?,
            commitments: by_index("commitments", message.commitments, ShardCommitments::try_from, |of| of.index)?,
        })
    }
}

impl From<&StageSegment> for pb::StageSegmentRequest {
    fn from(stage: &StageSegment) -> Self {
        Self {
            upload_id: stage.upload.as_bytes().to_vec(),
            offset: stage.offset,
            segment: Some((&stage.segment).into()),
            avoid_nodes: stage.avoid.iter().map(|node| node.as_bytes().to_vec()).collect(),
            witnesses: stage.witnesses.iter().map(Into::into).collect(),
            commitments: stage.commitments.iter().map(Into::into).collect(),
        }
    }
}

/// Where one shard shall go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardAssignment {
    /// Which shard of the segment.
    pub index: ShardIndex,
    /// Its name.
    pub shard: ShardId,
    /// Where it shall lie.
    pub node: NodeContact,
    /// The put grant for it there; `None` when the shard has its receipt.
    pub grant: Option<SignedGrant>,
    /// The sequence in the node's receipt, once the auditor has it.
    pub sequence: Option<Sequence>,
}

impl ShardAssignment {
    /// An assignment of the catalog, with the node's contact and a grant.
    pub fn of(assignment: &Assignment, node: NodeContact, grant: Option<SignedGrant>) -> Self {
        let Assignment { index, shard, sequence, .. } = *assignment;
        Self { index, shard, node, grant, sequence }
    }
}

impl TryFrom<pb::ShardAssignment> for ShardAssignment {
    type Error = DecodeError;
    fn try_from(message: pb::ShardAssignment) -> Result<Self, DecodeError> {
        Ok(Self {
            index: shard_index("index", message.index)?,
            shard: ShardId::from_bytes(fixed("shard", &message.shard)?),
            node: NodeContact::try_from(present("node", message.node)?).inside("node")?,
            grant: grant_or_empty("grant", &message.grant)?,
            sequence: message.sequence.map(Sequence),
        })
    }
}

impl From<&ShardAssignment> for pb::ShardAssignment {
    fn from(assignment: &ShardAssignment) -> Self {
        Self {
            index: assignment.index.0.into(),
            shard: assignment.shard.as_bytes().to_vec(),
            node: Some((&assignment.node).into()),
            grant: assignment.grant.map(|grant| grant.to_bytes()).unwrap_or_default(),
            sequence: assignment.sequence.map(|sequence| sequence.0),
        }
    }
}

fn assignments(message: Vec<pb::ShardAssignment>) -> Result<Vec<ShardAssignment>, DecodeError> {
    list("assignments", message, 1..=SHARDS, ShardAssignment::try_from)
}

/// Where the shards of a staged segment go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// In order of index.
    pub assignments: Vec<ShardAssignment>,
    /// Until when the upload stands now, by the auditor's clock.
    pub expires: Wall,
}

impl TryFrom<pb::StageSegmentResponse> for Staged {
    type Error = DecodeError;
    fn try_from(message: pb::StageSegmentResponse) -> Result<Self, DecodeError> {
        Ok(Self { assignments: assignments(message.assignments)?, expires: Wall(message.expires_unix_ms) })
    }
}

impl From<&Staged> for pb::StageSegmentResponse {
    fn from(staged: &Staged) -> Self {
        let assignments = staged.assignments.iter().map(Into::into).collect();
        Self { assignments, expires_unix_ms: staged.expires.0 }
    }
}

/// A segment that an upload staged before, for a client that resumes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedSegmentView {
    /// Where its bytes start in the upload's sealed stream.
    pub offset: u64,
    /// The segment.
    pub segment: SegmentSpec,
    /// Where its shards go; without grants.
    pub assignments: Vec<ShardAssignment>,
}

impl TryFrom<pb::ListStagedSegmentsResponse> for StagedSegmentView {
    type Error = DecodeError;
    fn try_from(message: pb::ListStagedSegmentsResponse) -> Result<Self, DecodeError> {
        Ok(Self {
            offset: message.offset,
            segment: SegmentSpec::try_from(present("segment", message.segment)?).inside("segment")?,
            assignments: assignments(message.assignments)?,
        })
    }
}

impl From<&StagedSegmentView> for pb::ListStagedSegmentsResponse {
    fn from(view: &StagedSegmentView) -> Self {
        let assignments = view.assignments.iter().map(Into::into).collect();
        Self { offset: view.offset, segment: Some((&view.segment).into()), assignments }
    }
}

impl TryFrom<pb::ListStagedSegmentsRequest> for UploadId {
    type Error = DecodeError;
    fn try_from(message: pb::ListStagedSegmentsRequest) -> Result<Self, DecodeError> {
        fixed("upload_id", &message.upload_id).map(UploadId)
    }
}

impl TryFrom<pb::AbortUploadRequest> for UploadId {
    type Error = DecodeError;
    fn try_from(message: pb::AbortUploadRequest) -> Result<Self, DecodeError> {
        fixed("upload_id", &message.upload_id).map(UploadId)
    }
}
