//! A challenge on its way to a node.

use holdfast_protocol::message::{
    Ask, Challenge, RUNS_MAX, SAMPLE_LEAVES_MAX, SET_BYTES_MAX, SET_SHARDS_MAX, SeqRun, SetRef,
};
use holdfast_types::{AuditId, BLOB_LEN, LEAF_LEN, Millis, NodeId, SHARD_LEN_MAX, Seed, Sequence, ShardId};

use crate::{
    decode::{DecodeError, Inside, fixed, list, number, present},
    pb::node::v1 as pb,
};

/// A node keeps what an answer needs for this long at most: a day, above any profile's interval.
pub const DEADLINE_MAX: Millis = Millis::from_secs(24 * 3600);

/// Blobs in a set at most: every shard may end in a blob that is not full.
const BLOBS_MAX: u64 = SET_BYTES_MAX / BLOB_LEN + SET_SHARDS_MAX as u64;

impl TryFrom<pb::ShardSet> for SetRef {
    type Error = DecodeError;
    fn try_from(set: pb::ShardSet) -> Result<Self, DecodeError> {
        let count = number("count", set.count, 1..=SET_SHARDS_MAX as u32)?;
        let digest = fixed("digest", &set.digest)?;
        let mut end = None;
        let runs = list("runs", set.runs, 1..=RUNS_MAX, |run| {
            if run.from >= run.to || end.is_some_and(|end| run.from <= end) {
                let got = format_args!("{}..{}", run.from, run.to).to_string();
                return Err(DecodeError::new("from", "sorted runs that neither touch nor are empty", got));
            }
            end = Some(run.to);
            Ok(SeqRun { from: Sequence(run.from), to: Sequence(run.to) })
        })?;
        Ok(SetRef { runs, count, digest })
    }
}

impl From<&SetRef> for pb::ShardSet {
    fn from(set: &SetRef) -> Self {
        let run = |run: &SeqRun| pb::SequenceRun { from: run.from.0, to: run.to.0 };
        Self { runs: set.runs.iter().map(run).collect(), count: set.count, digest: set.digest.to_vec() }
    }
}

impl TryFrom<pb::challenge_request::Ask> for Ask {
    type Error = DecodeError;
    fn try_from(ask: pb::challenge_request::Ask) -> Result<Self, DecodeError> {
        use pb::challenge_request::Ask as Asked;
        Ok(match ask {
            Asked::Fold(fold) => {
                let to = number("fold.to", fold.to, 1..=BLOBS_MAX)?;
                Ask::Fold { from: number("fold.from", fold.from, 0..=to - 1)?, to }
            }
            Asked::Sample(sample) => {
                Ask::Sample { count: number("sample.count", sample.count, 1..=SAMPLE_LEAVES_MAX as u32)? as u16 }
            }
            Asked::Leaves(leaves) => {
                let to = number("leaves.to", leaves.to, 1..=SHARD_LEN_MAX / LEAF_LEN)?;
                let least = to.saturating_sub(SAMPLE_LEAVES_MAX as u64);
                let from = number("leaves.from", leaves.from, least..=to - 1)?;
                Ask::Leaves { shard: ShardId::from_bytes(fixed("leaves.shard", &leaves.shard)?), from, to }
            }
        })
    }
}

impl From<&Ask> for pb::challenge_request::Ask {
    fn from(ask: &Ask) -> Self {
        match *ask {
            Ask::Fold { from, to } => Self::Fold(pb::FoldAsk { from, to }),
            Ask::Sample { count } => Self::Sample(pb::SampleAsk { count: count.into() }),
            Ask::Leaves { shard, from, to } => {
                Self::Leaves(pb::LeavesAsk { shard: shard.as_bytes().to_vec(), from, to })
            }
        }
    }
}

impl TryFrom<pb::ChallengeRequest> for Challenge {
    type Error = DecodeError;
    fn try_from(message: pb::ChallengeRequest) -> Result<Self, DecodeError> {
        Ok(Challenge {
            audit: AuditId(fixed("audit_id", &message.audit_id)?),
            node: NodeId(fixed("node_id", &message.node_id)?),
            set: SetRef::try_from(present("set", message.set)?).inside("set")?,
            commitments: fixed("commitments", &message.commitments)?,
            seed: Seed(fixed("seed", &message.seed)?),
            ask: Ask::try_from(present("ask", message.ask)?)?,
            deadline: Millis(number("deadline_ms", message.deadline_ms, 1..=DEADLINE_MAX.0)?),
        })
    }
}

impl From<&Challenge> for pb::ChallengeRequest {
    fn from(challenge: &Challenge) -> Self {
        Self {
            audit_id: challenge.audit.as_bytes().to_vec(),
            node_id: challenge.node.as_bytes().to_vec(),
            set: Some((&challenge.set).into()),
            commitments: challenge.commitments.to_vec(),
            seed: challenge.seed.0.to_vec(),
            deadline_ms: challenge.deadline.0,
            ask: Some((&challenge.ask).into()),
        }
    }
}
