//! Verdicts on their way to people.

use holdfast_protocol::model::{Cause, Exception, Fault, Lane, Outcome, Verdict};
use holdfast_types::{AuditId, ByteRange, Millis, NodeId, Root, SegmentId, ShardId, VerdictId, Wall};

use super::primitive::shard_index;
use crate::{
    decode::{DecodeError, Inside, fixed, fixed_or_empty, ids, list, number, present},
    pb::auditor::v1 as pb,
};

/// Exceptions in one message at most: the rest stays in the catalog, and is counted.
pub const EXCEPTIONS_IN_MESSAGE_MAX: usize = 4096;
/// Verdicts in one page at most.
pub const VERDICTS_PAGE_MAX: u32 = 256;
/// Nodes that one call may set audits going for; as many as a cluster has.
const AUDITED_MAX: usize = 32_768;

/// A verdict as people see it: without the evidence itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictView {
    /// The verdict; `evidence` is empty.
    pub verdict: Verdict,
    /// Exceptions in the catalog; more than in `verdict` when those were cut to fit.
    pub exceptions_total: u64,
    /// BLAKE3 of the node's signed answer.
    pub evidence: Option<Root>,
}

/// The message of a verdict, with the first `exceptions_max` of its exceptions. A page of verdicts must fit
/// [`crate::MESSAGE_LEN_MAX`]; an exception takes below 128 bytes.
pub fn verdict_message(verdict: &Verdict, exceptions_max: usize) -> pb::Verdict {
    let (outcome, fault) = outcome_message(verdict.outcome);
    let shown = exceptions_max.min(EXCEPTIONS_IN_MESSAGE_MAX);
    let evidence = (!verdict.evidence.is_empty()).then(|| Root::of(&verdict.evidence).as_bytes().to_vec());
    pb::Verdict {
        id: verdict.id.0,
        audit_id: verdict.audit.as_bytes().to_vec(),
        node_id: verdict.node.as_bytes().to_vec(),
        lane: pb::Lane::from(verdict.lane).into(),
        outcome: outcome.into(),
        fault: fault.into(),
        at_unix_ms: verdict.at.0,
        took_ms: verdict.took.0,
        shards: verdict.shards,
        bytes: verdict.bytes,
        exceptions: verdict.exceptions.iter().take(shown).map(Into::into).collect(),
        exceptions_total: verdict.exceptions.len() as u64,
        evidence_digest: evidence.unwrap_or_default(),
    }
}

impl TryFrom<pb::Verdict> for VerdictView {
    type Error = DecodeError;
    fn try_from(message: pb::Verdict) -> Result<Self, DecodeError> {
        let exceptions = list("exceptions", message.exceptions, 0..=EXCEPTIONS_IN_MESSAGE_MAX, Exception::try_from)?;
        let verdict = Verdict {
            id: VerdictId(message.id),
            audit: AuditId(fixed("audit_id", &message.audit_id)?),
            node: NodeId(fixed("node_id", &message.node_id)?),
            lane: lane(message.lane)?,
            outcome: outcome(message.outcome, message.fault)?,
            at: Wall(message.at_unix_ms),
            took: Millis(message.took_ms),
            shards: message.shards,
            bytes: message.bytes,
            exceptions,
            evidence: Vec::new(),
        };
        let least = verdict.exceptions.len() as u64;
        let exceptions_total = number("exceptions_total", message.exceptions_total, least..=u64::MAX)?;
        let evidence = fixed_or_empty("evidence_digest", &message.evidence_digest)?.map(Root);
        Ok(Self { verdict, exceptions_total, evidence })
    }
}

impl TryFrom<pb::VerdictException> for Exception {
    type Error = DecodeError;
    fn try_from(message: pb::VerdictException) -> Result<Self, DecodeError> {
        Ok(Self {
            shard: ShardId::from_bytes(fixed("shard", &message.shard)?),
            segment: SegmentId(fixed("segment_id", &message.segment_id)?),
            index: shard_index("index", message.index)?,
            outcome: outcome(message.outcome, pb::Fault::Unspecified.into())?,
            cause: match pb::Cause::try_from(message.cause) {
                Ok(pb::Cause::Unspecified) => None,
                Ok(pb::Cause::Reported) => Some(Cause::Reported),
                Ok(pb::Cause::Proven) => Some(Cause::Proven),
                Err(_) => return Err(DecodeError::new("cause", "a cause from 0 to 2", message.cause)),
            },
            range: message.range.map(ByteRange::try_from).transpose().inside("range")?,
        })
    }
}

impl From<&Exception> for pb::VerdictException {
    fn from(exception: &Exception) -> Self {
        let cause = match exception.cause {
            None => pb::Cause::Unspecified,
            Some(Cause::Reported) => pb::Cause::Reported,
            Some(Cause::Proven) => pb::Cause::Proven,
        };
        Self {
            shard: exception.shard.as_bytes().to_vec(),
            segment_id: exception.segment.as_bytes().to_vec(),
            index: exception.index.0.into(),
            outcome: outcome_message(exception.outcome).0.into(),
            cause: cause.into(),
            range: exception.range.map(Into::into),
        }
    }
}

fn lane(number: i32) -> Result<Lane, DecodeError> {
    match pb::Lane::try_from(number) {
        Ok(pb::Lane::Fold) => Ok(Lane::Fold),
        Ok(pb::Lane::Sample) => Ok(Lane::Sample),
        Ok(pb::Lane::Retrieve) => Ok(Lane::Retrieve),
        Ok(pb::Lane::Unspecified) | Err(_) => Err(DecodeError::new("lane", "a lane from 1 to 3", number)),
    }
}

impl From<Lane> for pb::Lane {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane::Fold => Self::Fold,
            Lane::Sample => Self::Sample,
            Lane::Retrieve => Self::Retrieve,
        }
    }
}

fn outcome(number: i32, fault: i32) -> Result<Outcome, DecodeError> {
    let refused = || DecodeError::new("outcome", "an outcome from 1 to 7", number);
    Ok(match pb::Outcome::try_from(number).map_err(|_| refused())? {
        pb::Outcome::Unspecified => return Err(refused()),
        pb::Outcome::Held => Outcome::Held,
        pb::Outcome::Corrupt => Outcome::Corrupt,
        pb::Outcome::Missing => Outcome::Missing,
        pb::Outcome::Late => Outcome::Late,
        pb::Outcome::Unreachable => Outcome::Unreachable,
        pb::Outcome::Refused => Outcome::Refused,
        pb::Outcome::Inconclusive => Outcome::Inconclusive(match pb::Fault::try_from(fault) {
            Ok(pb::Fault::Restarted) => Fault::Restarted,
            Ok(pb::Fault::SetDrift) => Fault::SetDrift,
            Ok(pb::Fault::Cancelled) => Fault::Cancelled,
            Ok(pb::Fault::Internal) => Fault::Internal,
            Ok(pb::Fault::Commitments) => Fault::Commitments,
            Ok(pb::Fault::Unspecified) | Err(_) => {
                return Err(DecodeError::new("fault", "a fault from 1 to 5", fault));
            }
        }),
    })
}

fn outcome_message(outcome: Outcome) -> (pb::Outcome, pb::Fault) {
    let none = pb::Fault::Unspecified;
    match outcome {
        Outcome::Held => (pb::Outcome::Held, none),
        Outcome::Corrupt => (pb::Outcome::Corrupt, none),
        Outcome::Missing => (pb::Outcome::Missing, none),
        Outcome::Late => (pb::Outcome::Late, none),
        Outcome::Unreachable => (pb::Outcome::Unreachable, none),
        Outcome::Refused => (pb::Outcome::Refused, none),
        Outcome::Inconclusive(Fault::Restarted) => (pb::Outcome::Inconclusive, pb::Fault::Restarted),
        Outcome::Inconclusive(Fault::SetDrift) => (pb::Outcome::Inconclusive, pb::Fault::SetDrift),
        Outcome::Inconclusive(Fault::Cancelled) => (pb::Outcome::Inconclusive, pb::Fault::Cancelled),
        Outcome::Inconclusive(Fault::Internal) => (pb::Outcome::Inconclusive, pb::Fault::Internal),
        Outcome::Inconclusive(Fault::Commitments) => (pb::Outcome::Inconclusive, pb::Fault::Commitments),
    }
}

/// Which verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListVerdicts {
    /// After this one.
    pub after: VerdictId,
    /// Of this node only.
    pub node: Option<NodeId>,
    /// At most [`VERDICTS_PAGE_MAX`].
    pub limit: u32,
    /// The newest ones, newest first, whatever `after` says.
    pub latest: bool,
}

impl TryFrom<pb::ListVerdictsRequest> for ListVerdicts {
    type Error = DecodeError;
    fn try_from(message: pb::ListVerdictsRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            after: VerdictId(number("after", message.after, 0..=i64::MAX)?),
            node: fixed_or_empty("node_id", &message.node_id)?.map(NodeId),
            limit: number("limit", message.limit, 1..=VERDICTS_PAGE_MAX)?,
            latest: message.latest,
        })
    }
}

impl From<ListVerdicts> for pb::ListVerdictsRequest {
    fn from(list: ListVerdicts) -> Self {
        let node_id = list.node.map(|node| node.0.to_vec()).unwrap_or_default();
        Self { after: list.after.0, node_id, limit: list.limit, latest: list.latest }
    }
}

impl TryFrom<pb::ListVerdictsResponse> for Vec<VerdictView> {
    type Error = DecodeError;
    fn try_from(message: pb::ListVerdictsResponse) -> Result<Self, DecodeError> {
        list("verdicts", message.verdicts, 0..=VERDICTS_PAGE_MAX as usize, VerdictView::try_from)
    }
}

/// From where on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchVerdicts {
    /// After this one.
    pub after: VerdictId,
    /// Of this node only.
    pub node: Option<NodeId>,
}

impl TryFrom<pb::WatchVerdictsRequest> for WatchVerdicts {
    type Error = DecodeError;
    fn try_from(message: pb::WatchVerdictsRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            after: VerdictId(number("after", message.after, 0..=i64::MAX)?),
            node: fixed_or_empty("node_id", &message.node_id)?.map(NodeId),
        })
    }
}

impl From<WatchVerdicts> for pb::WatchVerdictsRequest {
    fn from(watch: WatchVerdicts) -> Self {
        Self { after: watch.after.0, node_id: watch.node.map(|node| node.0.to_vec()).unwrap_or_default() }
    }
}

impl TryFrom<pb::WatchVerdictsResponse> for VerdictView {
    type Error = DecodeError;
    fn try_from(message: pb::WatchVerdictsResponse) -> Result<Self, DecodeError> {
        VerdictView::try_from(present("verdict", message.verdict)?).inside("verdict")
    }
}

/// Audits that are on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAudit {
    /// Nodes that will be challenged.
    pub nodes: Vec<NodeId>,
    /// The newest verdict before them.
    pub after: VerdictId,
    /// Nodes that were audited too short a time ago because a client asked; not challenged now.
    pub too_soon: Vec<NodeId>,
    /// Until all of those may be asked for again.
    pub wait: Millis,
}

impl TryFrom<pb::RunAuditResponse> for RunAudit {
    type Error = DecodeError;
    fn try_from(message: pb::RunAuditResponse) -> Result<Self, DecodeError> {
        Ok(Self {
            nodes: ids("node_ids", message.node_ids, 0..=AUDITED_MAX, NodeId)?,
            after: VerdictId(number("after", message.after, 0..=i64::MAX)?),
            too_soon: ids("too_soon_node_ids", message.too_soon_node_ids, 0..=AUDITED_MAX, NodeId)?,
            wait: Millis(message.wait_ms),
        })
    }
}

impl From<&RunAudit> for pb::RunAuditResponse {
    fn from(run: &RunAudit) -> Self {
        let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.as_bytes().to_vec()).collect();
        let (node_ids, too_soon_node_ids) = (ids(&run.nodes), ids(&run.too_soon));
        Self { node_ids, after: run.after.0, too_soon_node_ids, wait_ms: run.wait.0 }
    }
}

/// The node to audit; `None` for all.
impl TryFrom<pb::RunAuditRequest> for Option<NodeId> {
    type Error = DecodeError;
    fn try_from(message: pb::RunAuditRequest) -> Result<Self, DecodeError> {
        Ok(fixed_or_empty("node_id", &message.node_id)?.map(NodeId))
    }
}
