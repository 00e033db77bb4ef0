//! A node's answer on its way back. Only its form is checked here: what it is worth, the judge decides.

use holdfast_protocol::message::{
    ANSWER_DAMAGED_MAX, Answer, AnswerBody, DamagedRange, SAMPLE_LEAVES_MAX, SET_SHARDS_MAX, ShardLeaves,
};
use holdfast_types::{AuditId, Incarnation, Millis, NodeId, SHARD_LEN_MAX, ShardId};

use super::primitive::signature;
use crate::{
    decode::{DecodeError, Inside, blob, fixed, ids, list, number, present},
    pb::node::v1 as pb,
};

/// Bytes of one shard's multi-proof at most: 512 leaves of 1 KiB with 16 siblings of 32 bytes each, and its header.
const PROOF_LEN_MAX: usize = 3 << 19;
/// A node that cannot answer within a day is silent, whatever it says.
pub(super) const RETRY_AFTER_MAX: u64 = 24 * 3_600_000;

impl TryFrom<pb::DamagedRange> for DamagedRange {
    type Error = DecodeError;
    fn try_from(damaged: pb::DamagedRange) -> Result<Self, DecodeError> {
        let range = holdfast_types::ByteRange::try_from(present("range", damaged.range)?).inside("range")?;
        if range.is_empty() || range.end() > SHARD_LEN_MAX {
            return Err(DecodeError::new("range", format_args!("1 byte or more below {SHARD_LEN_MAX}"), range));
        }
        Ok(DamagedRange { shard: ShardId::from_bytes(fixed("shard", &damaged.shard)?), range })
    }
}

impl From<&DamagedRange> for pb::DamagedRange {
    fn from(damaged: &DamagedRange) -> Self {
        Self { shard: damaged.shard.as_bytes().to_vec(), range: Some(damaged.range.into()) }
    }
}

fn damaged_list(damaged: Vec<pb::DamagedRange>) -> Result<Vec<DamagedRange>, DecodeError> {
    list("damaged", damaged, 0..=ANSWER_DAMAGED_MAX, DamagedRange::try_from)
}

fn missing_list(missing: Vec<Vec<u8>>) -> Result<Vec<ShardId>, DecodeError> {
    ids("missing", missing, 0..=SET_SHARDS_MAX, ShardId::from_bytes)
}

impl TryFrom<pb::challenge_response::Body> for AnswerBody {
    type Error = DecodeError;
    fn try_from(body: pb::challenge_response::Body) -> Result<Self, DecodeError> {
        use pb::challenge_response::Body;
        Ok(match body {
            Body::Fold(fold) => AnswerBody::Fold {
                y: fixed("y", &fold.y)?,
                proof: fixed("proof", &fold.proof)?,
                damaged: damaged_list(fold.damaged)?,
                missing: missing_list(fold.missing)?,
            },
            Body::Leaves(leaves) => AnswerBody::Leaves {
                shards: list("shards", leaves.shards, 0..=SAMPLE_LEAVES_MAX, |leaves| {
                    Ok(ShardLeaves {
                        shard: ShardId::from_bytes(fixed("shard", &leaves.shard)?),
                        proof: blob("proof", leaves.proof, 0..=PROOF_LEN_MAX)?,
                    })
                })?,
                damaged: damaged_list(leaves.damaged)?,
                missing: missing_list(leaves.missing)?,
            },
            Body::SetMismatch(set) => {
                AnswerBody::SetMismatch { digest: fixed("digest", &set.digest)?, count: set.count }
            }
            Body::Refused(refused) => AnswerBody::Refused {
                retry_after: Millis(number("retry_after_ms", refused.retry_after_ms, 0..=RETRY_AFTER_MAX)?),
            },
        })
    }
}

impl From<&AnswerBody> for pb::challenge_response::Body {
    fn from(body: &AnswerBody) -> Self {
        let ranges = |damaged: &[DamagedRange]| damaged.iter().map(pb::DamagedRange::from).collect();
        let roots = |missing: &[ShardId]| missing.iter().map(|shard| shard.as_bytes().to_vec()).collect();
        match body {
            AnswerBody::Fold { y, proof, damaged, missing } => Self::Fold(pb::FoldAnswer {
                y: y.to_vec(),
                proof: proof.to_vec(),
                damaged: ranges(damaged),
                missing: roots(missing),
            }),
            AnswerBody::Leaves { shards, damaged, missing } => {
                let leaves = |leaves: &ShardLeaves| pb::ShardLeaves {
                    shard: leaves.shard.as_bytes().to_vec(),
                    proof: leaves.proof.clone(),
                };
                Self::Leaves(pb::LeavesAnswer {
                    shards: shards.iter().map(leaves).collect(),
                    damaged: ranges(damaged),
                    missing: roots(missing),
                })
            }
            AnswerBody::SetMismatch { digest, count } => {
                Self::SetMismatch(pb::SetMismatch { digest: digest.to_vec(), count: *count })
            }
            AnswerBody::Refused { retry_after } => Self::Refused(pb::Refused { retry_after_ms: retry_after.0 }),
        }
    }
}

impl TryFrom<pb::ChallengeResponse> for Answer {
    type Error = DecodeError;
    fn try_from(message: pb::ChallengeResponse) -> Result<Self, DecodeError> {
        Ok(Answer {
            audit: AuditId(fixed("audit_id", &message.audit_id)?),
            node: NodeId(fixed("node_id", &message.node_id)?),
            challenge: fixed("challenge", &message.challenge)?,
            incarnation: Incarnation(fixed("incarnation", &message.incarnation)?),
            signature: signature("signature", &message.signature)?,
            body: AnswerBody::try_from(present("body", message.body)?)?,
        })
    }
}

impl From<&Answer> for pb::ChallengeResponse {
    fn from(answer: &Answer) -> Self {
        Self {
            audit_id: answer.audit.as_bytes().to_vec(),
            node_id: answer.node.as_bytes().to_vec(),
            challenge: answer.challenge.to_vec(),
            incarnation: answer.incarnation.as_bytes().to_vec(),
            signature: answer.signature.to_bytes().to_vec(),
            body: Some((&answer.body).into()),
        }
    }
}
