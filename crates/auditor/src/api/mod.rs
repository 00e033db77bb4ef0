//! The gRPC API. Each call checks who asks, decodes, asks the catalog, and tells the core what changed.
//! What must be decided is decided in `holdfast_protocol::upload` or in the store's operation.

mod allowance;
mod audits;
mod objects;
mod registry;
mod repairs;
mod status;
mod uploads;

use std::sync::Arc;

use futures::stream::BoxStream;
use holdfast_protocol::{
    model::NodeRow,
    store::{StoreOp, StoreReply},
    upload::UploadError,
};
use holdfast_transport::{Role, require_role};
use holdfast_types::{Millis, NodeId};
use holdfast_wire::{
    ErrorCode, MESSAGE_LEN_MAX, WireError,
    pb::auditor::v1::{
        audit_service_server::AuditServiceServer, object_service_server::ObjectServiceServer,
        registry_service_server::RegistryServiceServer, repair_service_server::RepairServiceServer,
        status_service_server::StatusServiceServer,
    },
};
use std::collections::BTreeMap;
use tonic::{Request, Status, server::NamedService, service::Routes};

use crate::shared::Shared;
use allowance::Allowance;

/// Messages between a stream's producer and a slow reader.
const STREAM_DEPTH: usize = 16;

type Streamed<T> = BoxStream<'static, Result<T, Status>>;

/// All services over one state, and what their callers may take of it.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>, Arc<Allowance>);

/// What the services are called, for those who ask after their health.
pub(crate) const SERVICES: [&str; 5] = [
    ObjectServiceServer::<Api>::NAME,
    RegistryServiceServer::<Api>::NAME,
    AuditServiceServer::<Api>::NAME,
    RepairServiceServer::<Api>::NAME,
    StatusServiceServer::<Api>::NAME,
];

/// The API's services, with their message bounds.
pub(crate) fn routes(api: &Api) -> Routes {
    macro_rules! bounded {
        ($server:ident) => {
            $server::new(api.clone())
                .max_decoding_message_size(MESSAGE_LEN_MAX)
                .max_encoding_message_size(MESSAGE_LEN_MAX)
        };
    }
    Routes::new(bounded!(ObjectServiceServer))
        .add_service(bounded!(RegistryServiceServer))
        .add_service(bounded!(AuditServiceServer))
        .add_service(bounded!(RepairServiceServer))
        .add_service(bounded!(StatusServiceServer))
}

impl Api {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared), Arc::new(Allowance::new()))
    }

    /// Asks the catalog; its refusals become errors for the caller.
    async fn ask(&self, op: StoreOp) -> Result<StoreReply, Status> {
        answered(self.0.ask(op).await)
    }

    async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeRow>, Status> {
        match self.ask(StoreOp::Nodes).await? {
            StoreReply::Nodes(rows) => Ok(rows.into_iter().map(|row| (row.id, row)).collect()),
            other => Err(unexpected(&other)),
        }
    }
}

/// The catalog's refusals as errors for the caller.
fn answered(reply: StoreReply) -> Result<StoreReply, Status> {
    match reply {
        StoreReply::Conflict(why) => Err(WireError::new(ErrorCode::Conflict, why).into()),
        StoreReply::NotFound => {
            Err(WireError::new(ErrorCode::NotFound, "there is no such thing of this caller").into())
        }
        StoreReply::Failed(_) => {
            // The reason is logged; it may name paths that are no caller's business.
            let error = WireError::new(ErrorCode::Retry, "the auditor's catalog failed; ask again, and see its log");
            Err(error.retry_after(Millis(1000)).into())
        }
        reply => Ok(reply),
    }
}

/// Whoever may look at the whole cluster: not its nodes, which could learn from it when they are audited.
fn may_look<T>(request: &Request<T>) -> Result<(), Status> {
    require_role(request, &[Role::Client, Role::Auditor, Role::Gateway]).map(|_| ())
}

/// A reply that does not belong to its operation: a bug of ours.
fn unexpected(reply: &StoreReply) -> Status {
    tracing::error!(?reply, "the catalog answered another question");
    WireError::new(ErrorCode::Bug, "the auditor's catalog answered another question; report it").into()
}

fn refused(error: &UploadError) -> Status {
    let code = match error {
        UploadError::Placement(_) => ErrorCode::Exhausted,
        UploadError::Segment(_) | UploadError::Invalid { .. } => ErrorCode::Invalid,
        UploadError::Conflict(_) => ErrorCode::Conflict,
    };
    WireError::new(code, error).into()
}
