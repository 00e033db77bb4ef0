//! The auditor's API with checked conversions: what comes back has passed the door of `holdfast-wire`,
//! every call has a timeout, and every failure says what to do.

mod audits;
mod objects;
mod registry;
mod repairs;
mod status;

use std::{fmt, future::Future, time::Duration};

use holdfast_transport::{Address, Dialer, Role, TransportError};
use holdfast_types::Millis;
use holdfast_wire::{
    ErrorCode, MESSAGE_LEN_MAX,
    pb::auditor::v1::{
        audit_service_client::AuditServiceClient, object_service_client::ObjectServiceClient,
        registry_service_client::RegistryServiceClient, repair_service_client::RepairServiceClient,
        status_service_client::StatusServiceClient,
    },
};
use tonic::{Response, Status, transport::Channel};

pub use audits::VerdictWatch;
pub use objects::ExtentStream;
pub use repairs::RepairWatch;
pub use status::{ClusterStatus, CommitmentsView, ProfileView};

use crate::{ClientError, link};

/// An ordinary call is one transaction of the catalog; an auditor that takes longer is overloaded.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// A commit of 32,768 objects is verified signature by signature before its one transaction.
pub(crate) const COMMIT_TIMEOUT: Duration = Duration::from_secs(120);

/// Waits between tries of a call that failed for a passing reason; 8 s in all, a restart of the auditor.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(800),
    Duration::from_millis(1500),
    Duration::from_millis(2500),
    Duration::from_millis(2800),
];

/// The auditor, ready to be called. Cheap to clone; dials anew when its connection is lost.
#[derive(Clone)]
pub struct Auditor {
    objects: ObjectServiceClient<Channel>,
    registry: RegistryServiceClient<Channel>,
    audits: AuditServiceClient<Channel>,
    repairs: RepairServiceClient<Channel>,
    status: StatusServiceClient<Channel>,
}

macro_rules! bounded {
    ($client:ident, $channel:expr) => {
        $client::new($channel).max_decoding_message_size(MESSAGE_LEN_MAX).max_encoding_message_size(MESSAGE_LEN_MAX)
    };
}

impl Auditor {
    /// Connects to the first of `addresses` where an auditor of our cluster answers.
    ///
    /// # Errors
    /// [`ClientError::Transport`], with the reason of each address.
    pub async fn connect(dialer: &Dialer, addresses: &[Address]) -> Result<Self, ClientError> {
        Ok(Self::over(dialer.connect(Role::Auditor, addresses).await?))
    }

    /// The same, dialled when first called: for a daemon that starts before its auditor.
    ///
    /// # Errors
    /// [`ClientError::Transport`] if `addresses` are none or too many.
    pub fn connect_lazy(dialer: &Dialer, addresses: &[Address]) -> Result<Self, ClientError> {
        Ok(Self::over(dialer.connect_lazy(Role::Auditor, addresses)?))
    }

    /// Calls over a channel that there is already.
    pub fn over(channel: Channel) -> Self {
        Self {
            objects: bounded!(ObjectServiceClient, channel.clone()),
            registry: bounded!(RegistryServiceClient, channel.clone()),
            audits: bounded!(AuditServiceClient, channel.clone()),
            repairs: bounded!(RepairServiceClient, channel.clone()),
            status: bounded!(StatusServiceClient, channel),
        }
    }
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auditor")
    }
}

/// One call, with its timeout.
async fn ask<T>(
    call: &'static str,
    timeout: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, ClientError> {
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(failed(call, &status)),
        Err(_) => Err(ClientError::Timeout { call, seconds: timeout.as_secs() }),
    }
}

/// A broken connection, or words of the auditor.
fn failed(call: &'static str, status: &Status) -> ClientError {
    if let Some(error) = TransportError::find_in(status) {
        return ClientError::Transport(error.clone());
    }
    let broken = std::error::Error::source(status).is_some();
    match status.code() {
        tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled if broken => {
            let why = format!("the connection broke ({})", status.message());
            ClientError::Transport(TransportError::Unreachable { address: "the auditor".into(), why })
        }
        _ => ClientError::Said { call, error: link::said(status) },
    }
}

/// Repeats a call that changes nothing, or nothing twice, while it fails for a passing reason.
pub(crate) async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut pauses = PAUSES.into_iter();
    loop {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(pause) = pauses.next().filter(|_| is_passing(&error)) else { return Err(error) };
        let asked = retry_after(&error).map_or(pause, |span| Duration::from_millis(span.0).clamp(pause, pause * 10));
        tracing::debug!(%error, wait_ms = asked.as_millis() as u64, "call failed, will repeat");
        tokio::time::sleep(asked).await;
    }
}

/// Whether the same call may succeed later, unchanged.
pub(crate) fn is_passing(error: &ClientError) -> bool {
    error.code() == ErrorCode::Retry
}

pub(crate) fn retry_after(error: &ClientError) -> Option<Millis> {
    match error {
        ClientError::Said { error, .. } => error.retry_after,
        _ => None,
    }
}
