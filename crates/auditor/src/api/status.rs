//! The status page.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use holdfast_protocol::store::{StoreOp, StoreReply};
use holdfast_wire::pb::auditor::v1::{self as pb, status_service_server::StatusService};
use tonic::{Request, Response, Status};

use super::{Api, may_look, unexpected};
use crate::clock;

#[tonic::async_trait]
impl StatusService for Api {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        may_look(&request)?;
        let summary = match self.ask(StoreOp::Summary).await? {
            StoreReply::Summary(summary) => summary,
            other => return Err(unexpected(&other)),
        };
        let mut lives: BTreeMap<i32, u32> = BTreeMap::new();
        for row in self.nodes().await?.values() {
            *lives.entry(pb::NodeLife::from(row.life).into()).or_default() += 1;
        }
        let shared = &self.0;
        let alerts = shared.alerts.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let cut = |text: &String| text.chars().take(1000).collect();
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
            alerts: alerts.values().map(cut).collect(),
            policies: shared.policies.values().map(Into::into).collect(),
            commitments: None,
        }))
    }
}
