//! How the cluster is, on one page.

use holdfast_protocol::{model::NodeLife, store::Summary};
use holdfast_types::{Code, Millis, NodeId, Policy, PublicKey, Wall};
use holdfast_wire::{DecodeError, convert::LABEL_LEN_MAX, pb::auditor::v1 as pb};

use super::{Auditor, CALL_TIMEOUT, ask, patiently};
use crate::ClientError;

/// Alerts in one answer at most, and bytes of each.
const ALERTS_MAX: usize = 256;
const ALERT_LEN_MAX: usize = 1024;
/// Steps of containment in one answer at most.
const CONTAINMENT_MAX: usize = 16;
/// Policies in one answer at most: a page of configuration.
const POLICIES_MAX: usize = 256;
/// Nodes over their debt in one answer at most.
const DEBTORS_MAX: usize = 256;
/// Lives of a node that there are.
const LIVES_MAX: usize = 7;

/// The intervals an auditor runs by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileView {
    /// Its name.
    pub name: String,
    /// Between two folds of a node.
    pub fold_every: Millis,
    /// Between two samples of a node.
    pub sample_every: Millis,
    /// How often the queue of repairs is looked at.
    pub repair_every: Millis,
    /// No verdict on a node for this long is an alert.
    pub silence_alarm: Millis,
    /// When a silent node is asked again.
    pub containment: Vec<Millis>,
}

/// Where the commitments stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitmentsView {
    /// Good placements whose commitments are not accepted yet.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their blobs: one commitment each to compute.
    pub blobs: u64,
    /// What computing them takes on one core.
    pub core_time: Millis,
    /// How long the oldest of them has been waiting.
    pub oldest: Option<Millis>,
    /// Of them: with a witness that is not used up.
    pub fresh_witnesses: u64,
    /// Of them: with a witness that is used up, which the auditor reads itself.
    pub burnt_witnesses: u64,
    /// Accepted because the auditor read the bytes.
    pub auditor_read: u64,
    /// Accepted by a client's witness.
    pub client_witness: u64,
    /// Accepted by sampled links.
    pub link_sampled: u64,
    /// Nodes that get no new shards because of what they owe.
    pub nodes_over_debt: Vec<NodeId>,
    /// Bytes that a node may owe.
    pub debt_max: u64,
    /// How long a shard may wait before the auditor reads it itself.
    pub deadline: Millis,
    /// Since the auditor started: witnesses that were wrong although the list was right.
    pub false_witnesses: u64,
    /// Since the auditor started: lists that were not those of their shards.
    pub false_lists: u64,
    /// Since the auditor started: whole shards that it read.
    pub shards_read: u64,
}

/// How the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Name of the cluster.
    pub cluster: String,
    /// The auditor's key.
    pub auditor: PublicKey,
    /// Its clock.
    pub wall: Wall,
    /// Since it started.
    pub uptime: Millis,
    /// What it runs by.
    pub profile: ProfileView,
    /// What the catalog counts.
    pub catalog: Summary,
    /// Where the commitments stand; `None` from an auditor that does not say.
    pub commitments: Option<CommitmentsView>,
    /// Nodes by where they stand.
    pub lives: Vec<(NodeLife, u32)>,
    /// Audits in flight.
    pub audits_in_flight: u32,
    /// Repairs running.
    pub repairs_running: u32,
    /// What needs a human, in plain words.
    pub alerts: Vec<String>,
    /// The policies that uploads may name.
    pub policies: Vec<Policy>,
}

impl Auditor {
    /// How the cluster is.
    pub async fn status(&self) -> Result<ClusterStatus, ClientError> {
        let reply = patiently(|| async {
            let mut stub = self.status.clone();
            ask("GetStatus", CALL_TIMEOUT, stub.get_status(pb::GetStatusRequest {})).await
        });
        checked(reply.await?).map_err(ClientError::decode("GetStatus"))
    }
}

fn checked(message: pb::GetStatusResponse) -> Result<ClusterStatus, DecodeError> {
    let present = |field| DecodeError::new(field, "a value", "none");
    let auditor = message.auditor_key.as_slice().try_into().map(PublicKey);
    let profile = message.profile.ok_or_else(|| present("profile"))?;
    count("profile.containment_ms", profile.containment_ms.len(), CONTAINMENT_MAX)?;
    count("lives", message.lives.len(), LIVES_MAX)?;
    count("alerts", message.alerts.len(), ALERTS_MAX)?;
    count("policies", message.policies.len(), POLICIES_MAX)?;
    let alerts = message.alerts.into_iter().map(|alert| text("alerts", alert, ALERT_LEN_MAX));
    Ok(ClusterStatus {
        cluster: text("cluster", message.cluster, LABEL_LEN_MAX)?,
        auditor: auditor.map_err(|_| DecodeError::new("auditor_key", "32 bytes", message.auditor_key.len()))?,
        wall: Wall(message.wall_unix_ms),
        uptime: Millis(message.uptime_ms),
        profile: ProfileView {
            name: text("profile.name", profile.name, LABEL_LEN_MAX)?,
            fold_every: Millis(profile.fold_every_ms),
            sample_every: Millis(profile.sample_every_ms),
            repair_every: Millis(profile.repair_every_ms),
            silence_alarm: Millis(profile.silence_alarm_ms),
            containment: profile.containment_ms.into_iter().map(Millis).collect(),
        },
        catalog: Summary::try_from(message.catalog.ok_or_else(|| present("catalog"))?)?,
        commitments: message.commitments.map(commitments).transpose()?,
        lives: message.lives.into_iter().map(|life| Ok((node_life(&life)?, life.nodes))).collect::<Result<_, _>>()?,
        audits_in_flight: message.audits_in_flight,
        repairs_running: message.repairs_running,
        alerts: alerts.collect::<Result<_, _>>()?,
        policies: message.policies.into_iter().map(policy).collect::<Result<_, _>>()?,
    })
}

fn commitments(message: pb::CommitmentSummary) -> Result<CommitmentsView, DecodeError> {
    count("commitments.nodes_over_debt", message.nodes_over_debt.len(), DEBTORS_MAX)?;
    let node = |bytes: Vec<u8>| {
        let wrong = |_| DecodeError::new("commitments.nodes_over_debt", "32 bytes", bytes.len());
        bytes.as_slice().try_into().map(NodeId).map_err(wrong)
    };
    Ok(CommitmentsView {
        shards: message.pending_shards,
        bytes: message.pending_bytes,
        blobs: message.backlog_blobs,
        core_time: Millis(message.backlog_core_ms),
        oldest: message.oldest_pending_ms.map(Millis),
        fresh_witnesses: message.fresh_witnesses,
        burnt_witnesses: message.burnt_witnesses,
        auditor_read: message.auditor_read,
        client_witness: message.client_witness,
        link_sampled: message.link_sampled,
        nodes_over_debt: message.nodes_over_debt.into_iter().map(node).collect::<Result<_, _>>()?,
        debt_max: message.debt_max,
        deadline: Millis(message.deadline_ms),
        false_witnesses: message.false_witnesses,
        false_lists: message.false_lists,
        shards_read: message.shards_read,
    })
}

fn count(field: &str, got: usize, most: usize) -> Result<(), DecodeError> {
    if got <= most { Ok(()) } else { Err(DecodeError::new(field, format_args!("at most {most} entries"), got)) }
}

/// Text for a terminal, which must not obey it.
fn text(field: &str, text: String, most: usize) -> Result<String, DecodeError> {
    if text.len() > most || text.chars().any(char::is_control) {
        let expected = format_args!("at most {most} bytes without control characters");
        return Err(DecodeError::new(field, expected, format_args!("{} bytes", text.len())));
    }
    Ok(text)
}

fn node_life(count: &pb::NodeLifeCount) -> Result<NodeLife, DecodeError> {
    match count.life() {
        pb::NodeLife::Joining => Ok(NodeLife::Joining),
        pb::NodeLife::Active => Ok(NodeLife::Active),
        pb::NodeLife::Contained => Ok(NodeLife::Contained),
        pb::NodeLife::Suspended => Ok(NodeLife::Suspended),
        pb::NodeLife::Evicted => Ok(NodeLife::Evicted),
        pb::NodeLife::Draining => Ok(NodeLife::Draining),
        pb::NodeLife::Left => Ok(NodeLife::Left),
        pb::NodeLife::Unspecified => Err(DecodeError::new("lives.life", "a life from 1 to 7", count.life)),
    }
}

fn policy(message: pb::PolicySummary) -> Result<Policy, DecodeError> {
    let short = |number: u32| number.try_into().unwrap_or(u16::MAX);
    let name = text("policies.name", message.name, LABEL_LEN_MAX)?;
    Code::new(short(message.data), short(message.parity))
        .and_then(|code| Policy::new(&name, code).with_write_threshold(short(message.write_threshold)))
        .and_then(|policy| policy.with_repair_threshold(short(message.repair_threshold)))
        .map_err(|error| DecodeError::new("policies", "a policy that can be kept", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> pb::GetStatusResponse {
        pb::GetStatusResponse {
            cluster: "demo".into(),
            auditor_key: vec![1; 32],
            profile: Some(pb::ProfileSummary { name: "demo".into(), ..Default::default() }),
            catalog: Some(pb::CatalogSummary::default()),
            lives: vec![pb::NodeLifeCount { life: pb::NodeLife::Active.into(), nodes: 16 }],
            policies: vec![pb::PolicySummary {
                name: "default".into(),
                data: 8,
                parity: 4,
                write_threshold: 12,
                repair_threshold: 11,
            }],
            ..Default::default()
        }
    }

    #[test]
    fn a_status_comes_through_as_it_was_said() {
        let status = checked(good()).unwrap();
        assert_eq!(status.lives, [(NodeLife::Active, 16)]);
        assert_eq!(status.policies, [Policy::new("default", Code::new(8, 4).unwrap())]);
        assert_eq!(status.commitments, None, "an auditor of before");
        let summary = pb::CommitmentSummary {
            backlog_blobs: 7,
            oldest_pending_ms: Some(9),
            nodes_over_debt: vec![vec![3; 32]],
            ..Default::default()
        };
        let status = checked(pb::GetStatusResponse { commitments: Some(summary), ..good() }).unwrap();
        let told = status.commitments.unwrap();
        assert_eq!((told.blobs, told.oldest, told.nodes_over_debt), (7, Some(Millis(9)), vec![NodeId([3; 32])]));
    }

    #[test]
    fn a_status_that_cannot_be_is_refused() {
        let mut cases = vec![good(); 8];
        cases[0].auditor_key.pop();
        cases[1].profile = None;
        cases[2].lives[0].life = 99;
        cases[3].alerts = vec!["\u{1b}[2J".into()];
        cases[4].policies[0].parity = 0;
        cases[5].alerts = vec![String::new(); ALERTS_MAX + 1];
        let owing = |nodes| Some(pb::CommitmentSummary { nodes_over_debt: nodes, ..Default::default() });
        cases[6].commitments = owing(vec![vec![1; 31]]);
        cases[7].commitments = owing(vec![vec![1; 32]; DEBTORS_MAX + 1]);
        for (at, case) in cases.into_iter().enumerate() {
            assert!(checked(case).is_err(), "case {at}");
        }
    }
}
