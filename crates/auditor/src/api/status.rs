//! The status page.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use holdfast_protocol::model::CommitmentCounts;
use holdfast_types::Millis;
use holdfast_wire::pb::auditor::v1::{self as pb, status_service_server::StatusService};
use tonic::{Request, Response, Status};

use super::{Api, answered, may_look, unexpected};
use crate::{clock, counted::Counted};

/// Until the first measurement is in.
const COMMIT_MICROS_DEFAULT: u64 = 10_000;
/// Nodes over their debt in one answer at most.
const DEBTORS_MAX: usize = 256;

#[tonic::async_trait]
impl StatusService for Api {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        may_look(&request)?;
        let walked = self.0.walks.count(&self.0.store).await;
        let Counted { summary, commitments, .. } = match walked {
            Ok(counted) => counted,
            Err(reply) => return Err(unexpected(&answered(reply)?)),
        };
        let commitments = self.commitments(&commitments);
        let mut lives: BTreeMap<i32, u32> = BTreeMap::new();
        for row in self.nodes().await?.values() {
            *lives.entry(pb::NodeLife::from(row.life).into()).or_default() += 1;
        }
        let shared = &self.0;
        let alerts = shared.alerts.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let cut = |text: String| text.chars().take(1000).collect();
        Ok(Response::new(pb::GetStatusResponse {
            cluster: shared.cluster.as_str().to_owned(),
            auditor_key: shared.key.public().0.to_vec(),
            wall_unix_ms: clock::wall().0,
            uptime_ms: shared.clock.uptime().0,
            profile: Some((&shared.profile).into()),
            catalog: Some((&summary).into()),
            lives: lives.into_iter().map(|(life, nodes)| pb::NodeLifeCount { life, nodes }).collect(),
            audits_in_flight: shared.audits_in_flight.load(Ordering::Relaxed),
            repairs_running: shared.repairs_running.load(Ordering::Relaxed),
            alerts: alerts.lines().into_iter().map(cut).collect(),
            policies: shared.policies.values().map(Into::into).collect(),
            commitments: Some(commitments),
        }))
    }
}

impl Api {
    /// What committing to so many blobs takes one core of this machine.
    pub(super) fn commit_time(&self, blobs: u64) -> Millis {
        let measured = u64::from(self.0.commit_micros.load(Ordering::Relaxed));
        let micros = if measured == 0 { COMMIT_MICROS_DEFAULT } else { measured };
        Millis(blobs.saturating_mul(micros) / 1000)
    }

    /// Where the commitments stand.
    fn commitments(&self, counts: &CommitmentCounts) -> pb::CommitmentSummary {
        let shared = &self.0;
        let poisoned = std::sync::PoisonError::into_inner;
        let progress = *shared.commit_progress.read().unwrap_or_else(poisoned);
        let over = shared.over_debt.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let now = clock::wall();
        pb::CommitmentSummary {
            pending_shards: counts.pending,
            pending_bytes: counts.bytes,
            backlog_blobs: counts.blobs,
            backlog_core_ms: self.commit_time(counts.blobs).0,
            oldest_pending_ms: counts.oldest.map(|oldest| Millis(now.0.saturating_sub(oldest.0)).0),
            fresh_witnesses: counts.fresh,
            burnt_witnesses: counts.burnt,
            auditor_read: counts.auditor_read,
            client_witness: counts.client_witness,
            link_sampled: counts.link_sampled,
            nodes_over_debt: over.iter().take(DEBTORS_MAX).map(|node| node.as_bytes().to_vec()).collect(),
            debt_max: shared.profile.commit_debt_max,
            deadline_ms: shared.profile.commit_deadline.0,
            false_witnesses: progress.false_witnesses,
            false_lists: progress.false_lists,
            shards_read: progress.shards_read,
        }
    }
}
