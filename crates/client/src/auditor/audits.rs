//! Audits and verdicts, and a watch that outlives the connection it began on.

use std::time::Duration;

use holdfast_types::{NodeId, VerdictId};
use holdfast_wire::{
    convert::{ListVerdicts, RunAudit, VerdictView, WatchVerdicts},
    pb::auditor::v1 as pb,
};
use tonic::Streaming;

use super::{Auditor, CALL_TIMEOUT, ask, failed, is_passing, patiently};
use crate::ClientError;

/// Between a watch that broke and the next try.
const WATCH_PAUSE: Duration = Duration::from_millis(500);
/// Tries in a row before a watch gives up: two minutes, longer than any restart of an auditor.
const WATCH_TRIES_MAX: u32 = 240;

impl Auditor {
    /// Audits one node, or all, now. The answer says after which verdict to watch.
    pub async fn run_audit(&self, node: Option<NodeId>) -> Result<RunAudit, ClientError> {
        let reply = patiently(|| async {
            let mut stub = self.audits.clone();
            let node_id = node.map(|node| node.0.to_vec()).unwrap_or_default();
            ask("RunAudit", CALL_TIMEOUT, stub.run_audit(pb::RunAuditRequest { node_id })).await
        });
        RunAudit::try_from(reply.await?).map_err(ClientError::decode("RunAudit"))
    }

    /// A page of verdicts.
    pub async fn verdicts(&self, list: ListVerdicts) -> Result<Vec<VerdictView>, ClientError> {
        let reply = patiently(|| async {
            let mut stub = self.audits.clone();
            ask("ListVerdicts", CALL_TIMEOUT, stub.list_verdicts(pb::ListVerdictsRequest::from(list))).await
        });
        Vec::<VerdictView>::try_from(reply.await?).map_err(ClientError::decode("ListVerdicts"))
    }

    /// Every verdict after a given one, each once and in order, whatever becomes of the connection.
    pub fn watch_verdicts(&self, from: WatchVerdicts) -> VerdictWatch {
        VerdictWatch { auditor: self.clone(), from, stream: None }
    }
}

/// Verdicts as they come.
#[derive(Debug)]
pub struct VerdictWatch {
    auditor: Auditor,
    from: WatchVerdicts,
    stream: Option<Streaming<pb::WatchVerdictsResponse>>,
}

impl VerdictWatch {
    /// The last verdict seen: a later watch resumes after it.
    pub const fn after(&self) -> VerdictId {
        self.from.after
    }

    /// The next verdict, as long as it takes.
    ///
    /// # Errors
    /// What the auditor refuses for good, or that it was away for two minutes.
    pub async fn next(&mut self) -> Result<VerdictView, ClientError> {
        let mut tries = 0;
        loop {
            let error = match self.advance().await {
                // One that came twice, around a lost connection, is told once.
                Ok(Some(view)) if view.verdict.id > self.from.after => {
                    self.from.after = view.verdict.id;
                    return Ok(view);
                }
                Ok(Some(_)) => continue,
                Ok(None) => None,
                Err(error) => Some(error),
            };
            self.stream = None;
            tries += 1;
            match error {
                Some(error) if !is_passing(&error) || tries >= WATCH_TRIES_MAX => return Err(error),
                None if tries >= WATCH_TRIES_MAX => {
                    return Err(ClientError::malformed("WatchVerdicts", "expected verdicts, got ended streams only"));
                }
                Some(_) | None => tokio::time::sleep(WATCH_PAUSE).await,
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<VerdictView>, ClientError> {
        let call = "WatchVerdicts";
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let mut stub = self.auditor.audits.clone();
                let request = pb::WatchVerdictsRequest::from(self.from);
                self.stream.insert(ask(call, CALL_TIMEOUT, stub.watch_verdicts(request)).await?)
            }
        };
        let message = stream.message().await.map_err(|status| failed(call, &status))?;
        message.map(VerdictView::try_from).transpose().map_err(ClientError::decode(call))
    }
}
