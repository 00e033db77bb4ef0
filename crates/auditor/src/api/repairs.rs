//! Repairs, as people see them.

use futures::StreamExt;
use holdfast_protocol::{
    effect::Notice,
    store::{StoreOp, StoreReply},
};
use holdfast_wire::pb::auditor::v1::{self as pb, repair_service_server::RepairService};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};
use tonic::{Request, Response, Status};

use super::{Api, Streamed, may_look, unexpected};

#[tonic::async_trait]
impl RepairService for Api {
    type WatchRepairsStream = Streamed<pb::WatchRepairsResponse>;

    async fn list_repairs(
        &self,
        request: Request<pb::ListRepairsRequest>,
    ) -> Result<Response<pb::ListRepairsResponse>, Status> {
        may_look(&request)?;
        let limit = u32::try_from(request.into_inner())?;
        match self.ask(StoreOp::Repairs { limit }).await? {
            StoreReply::Repairs(rows) => {
                Ok(Response::new(pb::ListRepairsResponse { repairs: rows.iter().map(Into::into).collect() }))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn watch_repairs(
        &self,
        request: Request<pb::WatchRepairsRequest>,
    ) -> Result<Response<Self::WatchRepairsStream>, Status> {
        may_look(&request)?;
        let notices = BroadcastStream::new(self.0.notices.subscribe());
        let repairs = notices.filter_map(|notice| async move {
            match notice {
                Ok(notice) => match &*notice {
                    Notice::Repair(row) => Some(Ok(pb::WatchRepairsResponse { repair: Some((&**row).into()) })),
                    _ => None,
                },
                Err(BroadcastStreamRecvError::Lagged(missed)) => {
                    let message = format!("{missed} notices were missed; list the repairs and watch again");
                    Some(Err(Status::data_loss(message)))
                }
            }
        });
        Ok(Response::new(repairs.boxed()))
    }
}
