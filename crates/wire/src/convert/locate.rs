//! Where an object's bytes lie.

use holdfast_protocol::model::{CommitmentState, DAMAGED_RANGES_MAX, Placement, Provenance, SegmentRow, Standing};
use holdfast_types::{
    ByteRange, Code, ObjectId, SEGMENT_LEN_MAX, SHARDS_MAX, SegmentId, SegmentRoot, ShardId, ShardIndex, SignedGrant,
};

use super::{
    node::NodeContact,
    primitive::{damaged_ranges, grant_or_empty, shard_index, shard_len},
    upload::SECRET_LEN_MAX,
};
use crate::{
    decode::{DecodeError, Inside, blob, fixed, list, number, present},
    pb::auditor::v1 as pb,
};

/// Which bytes of which object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocateExtents {
    /// The object.
    pub object: ObjectId,
    /// Bytes of its sealed stream; all of them for `None`.
    pub sealed: Option<ByteRange>,
}

impl TryFrom<pb::LocateExtentsRequest> for LocateExtents {
    type Error = DecodeError;
    fn try_from(message: pb::LocateExtentsRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            object: ObjectId::from_bytes(fixed("object_id", &message.object_id)?),
            sealed: message.sealed.map(ByteRange::try_from).transpose().inside("sealed")?,
        })
    }
}

impl From<LocateExtents> for pb::LocateExtentsRequest {
    fn from(locate: LocateExtents) -> Self {
        Self { object_id: locate.object.as_bytes().to_vec(), sealed: locate.sealed.map(Into::into) }
    }
}

/// One extent of an object's sealed stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedExtent {
    /// Where it starts in the object's sealed stream.
    pub at: u64,
    /// Where it starts in the segment.
    pub offset: u64,
    /// Bytes of it, at least one.
    pub len: u64,
    /// The segment; `None` when it is that of the extent before.
    pub segment: Option<SegmentLocation>,
}

impl TryFrom<pb::LocateExtentsResponse> for LocatedExtent {
    type Error = DecodeError;
    fn try_from(message: pb::LocateExtentsResponse) -> Result<Self, DecodeError> {
        let len = number("len", message.len, 1..=SEGMENT_LEN_MAX)?;
        let offset = number("offset", message.offset, 0..=SEGMENT_LEN_MAX - len)?;
        let segment = message.segment.map(SegmentLocation::try_from).transpose().inside("segment")?;
        if let Some(segment) = &segment {
            number("offset + len", offset + len, 1..=segment.len)?;
        }
        Ok(Self { at: number("at", message.at, 0..=u64::MAX - len)?, offset, len, segment })
    }
}

impl From<&LocatedExtent> for pb::LocateExtentsResponse {
    fn from(extent: &LocatedExtent) -> Self {
        let segment = extent.segment.as_ref().map(Into::into);
        Self { at: extent.at, offset: extent.offset, len: extent.len, segment }
    }
}

/// A committed segment and where its shards lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLocation {
    /// The segment.
    pub id: SegmentId,
    /// BLAKE3 root of its sealed bytes.
    pub root: SegmentRoot,
    /// Sealed bytes.
    pub len: u64,
    /// Its code.
    pub code: Code,
    /// Bytes of each stored shard.
    pub shard_len: u64,
    /// The placement secret, wrapped to the owner.
    pub secret_for_owner: Vec<u8>,
    /// In order of index, at most one an index, each below n.
    pub shards: Vec<ShardLocation>,
}

impl SegmentLocation {
    /// A segment of the catalog, with its shards as they shall be told.
    pub fn of(row: &SegmentRow, shards: Vec<ShardLocation>) -> Self {
        let SegmentRow { id, root, len, code, shard_len, .. } = *row;
        Self { id, root, len, code, shard_len, secret_for_owner: row.secret_for_owner.clone(), shards }
    }
}

impl TryFrom<pb::SegmentLocation> for SegmentLocation {
    type Error = DecodeError;
    fn try_from(message: pb::SegmentLocation) -> Result<Self, DecodeError> {
        let code = Code::try_from(present("code", message.code)?).inside("code")?;
        let mut next = 0;
        let shards = list("shards", message.shards, 0..=SHARDS_MAX as usize, |shard| {
            let shard = ShardLocation::try_from(shard)?;
            if shard.index.0 < next || shard.index.0 >= code.total() {
                return Err(DecodeError::new(
                    "index",
                    format_args!("{next} or more, below {}", code.total()),
                    shard.index,
                ));
            }
            next = shard.index.0 + 1;
            Ok(shard)
        })?;
        Ok(Self {
            id: SegmentId(fixed("segment_id", &message.segment_id)?),
            root: SegmentRoot::from_bytes(fixed("root", &message.root)?),
            len: number("len", message.len, 1..=SEGMENT_LEN_MAX)?,
            code,
            shard_len: shard_len("shard_len", message.shard_len)?,
            secret_for_owner: blob("secret_for_owner", message.secret_for_owner, 1..=SECRET_LEN_MAX)?,
            shards,
        })
    }
}

impl From<&SegmentLocation> for pb::SegmentLocation {
    fn from(segment: &SegmentLocation) -> Self {
        Self {
            segment_id: segment.id.as_bytes().to_vec(),
            root: segment.root.as_bytes().to_vec(),
            len: segment.len,
            code: Some(segment.code.into()),
            shard_len: segment.shard_len,
            secret_for_owner: segment.secret_for_owner.clone(),
            shards: segment.shards.iter().map(Into::into).collect(),
        }
    }
}

/// What folds of a shard are verified against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardCommitment {
    /// Nothing yet: only random leaves of it are audited.
    Pending,
    /// Commitments, by whose word.
    Accepted(Provenance),
}

impl ShardCommitment {
    fn read(number: i32) -> Result<Option<Self>, DecodeError> {
        match pb::ShardCommitment::try_from(number) {
            // An auditor from before.
            Ok(pb::ShardCommitment::Unspecified) => Ok(None),
            Ok(pb::ShardCommitment::Pending) => Ok(Some(Self::Pending)),
            Ok(pb::ShardCommitment::AuditorRead) => Ok(Some(Self::Accepted(Provenance::AuditorRead))),
            Ok(pb::ShardCommitment::ClientWitness) => Ok(Some(Self::Accepted(Provenance::ClientWitness))),
            Ok(pb::ShardCommitment::LinkSampled) => Ok(Some(Self::Accepted(Provenance::LinkSampled))),
            Err(_) => Err(DecodeError::new("commitment", "a commitment from 0 to 4", number)),
        }
    }
}

impl From<ShardCommitment> for pb::ShardCommitment {
    fn from(commitment: ShardCommitment) -> Self {
        match commitment {
            ShardCommitment::Pending => Self::Pending,
            ShardCommitment::Accepted(Provenance::AuditorRead) => Self::AuditorRead,
            ShardCommitment::Accepted(Provenance::ClientWitness) => Self::ClientWitness,
            ShardCommitment::Accepted(Provenance::LinkSampled) => Self::LinkSampled,
        }
    }
}

/// Where one shard lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardLocation {
    /// Which shard of the segment.
    pub index: ShardIndex,
    /// Its name.
    pub shard: ShardId,
    /// Where it lies.
    pub node: NodeContact,
    /// What is believed of it.
    pub standing: Standing,
    /// The get grant for it there; `None` when the caller's certificate suffices.
    pub grant: Option<SignedGrant>,
    /// Whether the node did not answer of late.
    pub silent: bool,
    /// Whether folds cover it, if the auditor says.
    pub commitment: Option<ShardCommitment>,
}

impl ShardLocation {
    /// A placement of the catalog, with the node's contact.
    pub fn of(placement: &Placement, node: NodeContact, silent: bool, grant: Option<SignedGrant>) -> Self {
        let Placement { index, shard, .. } = *placement;
        let commitment = Some(match placement.commitment {
            CommitmentState::Pending => ShardCommitment::Pending,
            CommitmentState::Accepted { provenance, .. } => ShardCommitment::Accepted(provenance),
        });
        Self { index, shard, node, standing: placement.standing.clone(), grant, silent, commitment }
    }
}

impl TryFrom<pb::ShardLocation> for ShardLocation {
    type Error = DecodeError;
    fn try_from(message: pb::ShardLocation) -> Result<Self, DecodeError> {
        let ranges = damaged_ranges("damaged", message.damaged, DAMAGED_RANGES_MAX)?;
        let standing = match pb::ShardStanding::try_from(message.standing) {
            Ok(pb::ShardStanding::Good) => Standing::Good,
            Ok(pb::ShardStanding::Damaged) => Standing::Damaged(ranges),
            Ok(pb::ShardStanding::Lost) => Standing::Lost,
            Ok(pb::ShardStanding::Unspecified) | Err(_) => {
                return Err(DecodeError::new("standing", "a standing from 1 to 3", message.standing));
            }
        };
        Ok(Self {
            index: shard_index("index", message.index)?,
            shard: ShardId::from_bytes(fixed("shard", &message.shard)?),
            node: NodeContact::try_from(present("node", message.node)?).inside("node")?,
            standing,
            grant: grant_or_empty("grant", &message.grant)?,
            silent: message.silent,
            commitment: ShardCommitment::read(message.commitment)?,
        })
    }
}

impl From<&ShardLocation> for pb::ShardLocation {
    fn from(shard: &ShardLocation) -> Self {
        let (standing, damaged) = match &shard.standing {
            Standing::Good => (pb::ShardStanding::Good, Vec::new()),
            Standing::Damaged(ranges) => {
                (pb::ShardStanding::Damaged, ranges.iter().map(|&range| range.into()).collect())
            }
            Standing::Lost => (pb::ShardStanding::Lost, Vec::new()),
        };
        Self {
            index: shard.index.0.into(),
            shard: shard.shard.as_bytes().to_vec(),
            node: Some((&shard.node).into()),
            standing: standing.into(),
            damaged,
            grant: shard.grant.map(|grant| grant.to_bytes()).unwrap_or_default(),
            silent: shard.silent,
            commitment: shard.commitment.map_or(pb::ShardCommitment::Unspecified, Into::into).into(),
        }
    }
}
