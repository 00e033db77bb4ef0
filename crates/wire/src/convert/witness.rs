//! Commitments on their way: a node's claim, a witness revealed, a list offered. Only form is checked here; whose word it is
//! and whether it holds is for whoever asked.

use std::fmt;

use holdfast_kzg::{LIST_LEN_MAX, Scalar};
use holdfast_protocol::witness::{
    ADOPTION_REASON_MAX, Adopted, Adoption, Claim, Commitments, OPENED_DAMAGED_MAX, Opened, OpenedBody, Witness,
    WitnessId, WitnessSeed,
};
use holdfast_types::{ByteRange, Incarnation, Millis, NodeId, ShardId, ShardIndex};

use super::{
    answer::RETRY_AFTER_MAX,
    primitive::{damaged_ranges, shard_index, shard_len, signature},
};
use crate::{
    decode::{DecodeError, Inside, blob, fixed, fixed_or_empty, number, present, text},
    pb::{auditor::v1 as auditor, node::v1 as pb},
};

fn shard(bytes: &[u8]) -> Result<ShardId, DecodeError> {
    fixed("shard", bytes).map(ShardId::from_bytes)
}

fn list(bytes: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    blob("list", bytes, 1..=LIST_LEN_MAX)
}

fn ranges(message: pb::UnreadableShard) -> Result<Vec<ByteRange>, DecodeError> {
    damaged_ranges("ranges", message.ranges, OPENED_DAMAGED_MAX)
}

/// What cannot be told apart any more is not known: an empty list says so.
fn unreadable(ranges: &[ByteRange]) -> pb::UnreadableShard {
    let ranges = if ranges.len() <= OPENED_DAMAGED_MAX { ranges } else { &[] };
    pb::UnreadableShard { ranges: ranges.iter().copied().map(Into::into).collect() }
}

fn later(ms: u64) -> Result<Millis, DecodeError> {
    number("retry_after_ms", ms, 0..=RETRY_AFTER_MAX).map(Millis)
}

/// Whose commitments, and for which witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetCommitments {
    /// The shard.
    pub shard: ShardId,
    /// The witness that the claim is for.
    pub witness: Option<WitnessId>,
}

impl TryFrom<pb::GetCommitmentsRequest> for GetCommitments {
    type Error = DecodeError;
    fn try_from(message: pb::GetCommitmentsRequest) -> Result<Self, DecodeError> {
        let witness = fixed_or_empty("witness_id", &message.witness_id)?.map(WitnessId);
        Ok(Self { shard: shard(&message.shard)?, witness })
    }
}

impl From<GetCommitments> for pb::GetCommitmentsRequest {
    fn from(get: GetCommitments) -> Self {
        let witness_id = get.witness.map(|id| id.0.to_vec()).unwrap_or_default();
        Self { shard: get.shard.as_bytes().to_vec(), witness_id }
    }
}

impl TryFrom<pb::GetCommitmentsResponse> for Commitments {
    type Error = DecodeError;
    fn try_from(message: pb::GetCommitmentsResponse) -> Result<Self, DecodeError> {
        use pb::get_commitments_response::Body;
        Ok(match present("body", message.body)? {
            Body::Claim(said) => {
                let claim = Claim {
                    node: NodeId(fixed("node_id", &said.node_id)?),
                    incarnation: Incarnation(fixed("incarnation", &said.incarnation)?),
                    shard: shard(&said.shard)?,
                    len: shard_len("len", said.len)?,
                    witness: fixed_or_empty("witness_id", &said.witness_id)?.map(WitnessId),
                    digest: fixed("digest", &said.digest)?,
                    signature: signature("signature", &said.signature)?,
                };
                Commitments::Claimed { claim, list: list(said.list)? }
            }
            Body::NotYet(wait) => Commitments::NotYet { retry_after: later(wait.retry_after_ms)?, ahead: wait.ahead },
            Body::Damaged(damaged) => Commitments::Damaged(ranges(damaged).inside("damaged")?),
            Body::Missing(_) => Commitments::Missing,
        })
    }
}

impl From<&Commitments> for pb::GetCommitmentsResponse {
    fn from(commitments: &Commitments) -> Self {
        use pb::get_commitments_response::Body;
        let body = match commitments {
            Commitments::Claimed { claim, list } => Body::Claim(pb::CommitmentClaim {
                node_id: claim.node.as_bytes().to_vec(),
                incarnation: claim.incarnation.as_bytes().to_vec(),
                shard: claim.shard.as_bytes().to_vec(),
                len: claim.len,
                witness_id: claim.witness.map(|id| id.0.to_vec()).unwrap_or_default(),
                digest: claim.digest.to_vec(),
                signature: claim.signature.to_bytes().to_vec(),
                list: list.clone(),
            }),
            Commitments::NotYet { retry_after, ahead } => {
                Body::NotYet(pb::CommitmentsNotYet { retry_after_ms: retry_after.0, ahead: *ahead })
            }
            Commitments::Damaged(ranges) => Body::Damaged(unreadable(ranges)),
            Commitments::Missing => Body::Missing(pb::MissingShard {}),
        };
        Self { body: Some(body) }
    }
}

/// A witness's secret, revealed. Prints no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenWitness {
    /// The shard.
    pub shard: ShardId,
    /// The witness.
    pub witness: WitnessId,
    /// Digest of the list that the node claimed for it.
    pub digest: [u8; 32],
    /// The secret.
    pub seed: WitnessSeed,
}

impl TryFrom<pb::OpenWitnessRequest> for OpenWitness {
    type Error = DecodeError;
    fn try_from(message: pb::OpenWitnessRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            shard: shard(&message.shard)?,
            witness: WitnessId(fixed("witness_id", &message.witness_id)?),
            digest: fixed("digest", &message.digest)?,
            seed: WitnessSeed::new(fixed("seed", &message.seed)?),
        })
    }
}

impl From<&OpenWitness> for pb::OpenWitnessRequest {
    fn from(open: &OpenWitness) -> Self {
        Self {
            shard: open.shard.as_bytes().to_vec(),
            witness_id: open.witness.0.to_vec(),
            digest: open.digest.to_vec(),
            seed: open.seed.expose().to_vec(),
        }
    }
}

impl TryFrom<pb::OpenWitnessResponse> for Opened {
    type Error = DecodeError;
    fn try_from(message: pb::OpenWitnessResponse) -> Result<Self, DecodeError> {
        use pb::open_witness_response::Body;
        let body = match present("body", message.body)? {
            Body::Opening(opening) => {
                OpenedBody::Opening { y: fixed("y", &opening.y)?, proof: fixed("proof", &opening.proof)? }
            }
            Body::Damaged(damaged) => OpenedBody::Damaged(ranges(damaged).inside("damaged")?),
            Body::Missing(_) => OpenedBody::Missing,
            Body::OtherList(other) => OpenedBody::OtherList { digest: fixed("digest", &other.digest)? },
            Body::Refused(refused) => OpenedBody::Refused { retry_after: later(refused.retry_after_ms)? },
        };
        Ok(Self {
            node: NodeId(fixed("node_id", &message.node_id)?),
            incarnation: Incarnation(fixed("incarnation", &message.incarnation)?),
            shard: shard(&message.shard)?,
            witness: WitnessId(fixed("witness_id", &message.witness_id)?),
            digest: fixed("digest", &message.digest)?,
            body,
            signature: signature("signature", &message.signature)?,
        })
    }
}

impl From<&Opened> for pb::OpenWitnessResponse {
    fn from(opened: &Opened) -> Self {
        use pb::open_witness_response::Body;
        let body = match &opened.body {
            OpenedBody::Opening { y, proof } => {
                Body::Opening(pb::WitnessOpening { y: y.to_vec(), proof: proof.to_vec() })
            }
            OpenedBody::Damaged(ranges) => Body::Damaged(unreadable(ranges)),
            OpenedBody::Missing => Body::Missing(pb::MissingShard {}),
            OpenedBody::OtherList { digest } => Body::OtherList(pb::OtherList { digest: digest.to_vec() }),
            OpenedBody::Refused { retry_after } => Body::Refused(pb::Refused { retry_after_ms: retry_after.0 }),
        };
        Self {
            node_id: opened.node.as_bytes().to_vec(),
            incarnation: opened.incarnation.as_bytes().to_vec(),
            shard: opened.shard.as_bytes().to_vec(),
            witness_id: opened.witness.0.to_vec(),
            digest: opened.digest.to_vec(),
            signature: opened.signature.to_bytes().to_vec(),
            body: Some(body),
        }
    }
}

/// A list that somebody else computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutCommitments {
    /// The shard.
    pub shard: ShardId,
    /// [`holdfast_kzg::CommitmentList::encode`], not parsed yet.
    pub list: Vec<u8>,
}

impl TryFrom<pb::PutCommitmentsRequest> for PutCommitments {
    type Error = DecodeError;
    fn try_from(message: pb::PutCommitmentsRequest) -> Result<Self, DecodeError> {
        Ok(Self { shard: shard(&message.shard)?, list: list(message.list)? })
    }
}

impl From<PutCommitments> for pb::PutCommitmentsRequest {
    fn from(put: PutCommitments) -> Self {
        Self { shard: put.shard.as_bytes().to_vec(), list: put.list }
    }
}

impl TryFrom<pb::PutCommitmentsResponse> for Adopted {
    type Error = DecodeError;
    fn try_from(message: pb::PutCommitmentsResponse) -> Result<Self, DecodeError> {
        use pb::put_commitments_response::Adoption as Said;
        let adoption = match present("adoption", message.adoption)? {
            Said::Taken(_) => Adoption::Taken,
            Said::Wrong(wrong) => Adoption::Wrong { reason: text("reason", wrong.reason, 0..=ADOPTION_REASON_MAX)? },
            Said::Unreadable(_) => Adoption::Unreadable,
            Said::Refused(refused) => Adoption::Refused { retry_after: later(refused.retry_after_ms)? },
        };
        Ok(Self {
            node: NodeId(fixed("node_id", &message.node_id)?),
            incarnation: Incarnation(fixed("incarnation", &message.incarnation)?),
            shard: shard(&message.shard)?,
            digest: fixed("digest", &message.digest)?,
            adoption,
            signature: signature("signature", &message.signature)?,
        })
    }
}

impl From<&Adopted> for pb::PutCommitmentsResponse {
    fn from(adopted: &Adopted) -> Self {
        use pb::put_commitments_response::Adoption as Said;
        let adoption = match &adopted.adoption {
            Adoption::Taken => Said::Taken(pb::ListTaken {}),
            Adoption::Wrong { reason } => Said::Wrong(pb::WrongList { reason: reason.clone() }),
            Adoption::Unreadable => Said::Unreadable(pb::UnreadableShard::default()),
            Adoption::Refused { retry_after } => Said::Refused(pb::Refused { retry_after_ms: retry_after.0 }),
        };
        Self {
            node_id: adopted.node.as_bytes().to_vec(),
            incarnation: adopted.incarnation.as_bytes().to_vec(),
            shard: adopted.shard.as_bytes().to_vec(),
            digest: adopted.digest.to_vec(),
            signature: adopted.signature.to_bytes().to_vec(),
            adoption: Some(adoption),
        }
    }
}

/// A client's witness, and of which shard of the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardWitness {
    /// Which shard.
    pub index: ShardIndex,
    /// Its witness.
    pub witness: Witness,
}

impl TryFrom<auditor::ShardWitness> for ShardWitness {
    type Error = DecodeError;
    fn try_from(message: auditor::ShardWitness) -> Result<Self, DecodeError> {
        let y = fixed("y", &message.y)?;
        // Another encoding of the same number would never be found equal to what the node opens.
        Scalar::from_bytes(&y).map_err(|error| DecodeError::new("y", "a canonical scalar", error))?;
        let id = WitnessId(fixed("witness_id", &message.witness_id)?);
        let seed = WitnessSeed::new(fixed("seed", &message.seed)?);
        Ok(Self { index: shard_index("index", message.index)?, witness: Witness { id, seed, y } })
    }
}

impl From<&ShardWitness> for auditor::ShardWitness {
    fn from(of: &ShardWitness) -> Self {
        Self {
            index: of.index.0.into(),
            witness_id: of.witness.id.0.to_vec(),
            seed: of.witness.seed.expose().to_vec(),
            y: of.witness.y.to_vec(),
        }
    }
}

/// Commitments that a client computed itself, and of which shard of the segment.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardCommitments {
    /// Which shard.
    pub index: ShardIndex,
    /// [`holdfast_kzg::CommitmentList::encode`], not parsed yet.
    pub list: Vec<u8>,
}

impl fmt::Debug for ShardCommitments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardCommitments({}, {} bytes)", self.index, self.list.len())
    }
}

impl TryFrom<auditor::ShardCommitments> for ShardCommitments {
    type Error = DecodeError;
    fn try_from(message: auditor::ShardCommitments) -> Result<Self, DecodeError> {
        Ok(Self { index: shard_index("index", message.index)?, list: list(message.list)? })
    }
}

impl From<&ShardCommitments> for auditor::ShardCommitments {
    fn from(of: &ShardCommitments) -> Self {
        Self { index: of.index.0.into(), list: of.list.clone() }
    }
}
