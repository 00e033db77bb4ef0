//! Audits asked for, and verdicts.

use std::time::Duration;

use futures::StreamExt;
use holdfast_protocol::{
    effect::{Command, Notice},
    model::Verdict,
    store::{StoreOp, StoreReply},
};
use holdfast_transport::{Role, require_role};
use holdfast_types::{Millis, NodeId, Sequence, VerdictId};
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{ListVerdicts, RunAudit, WatchVerdicts, verdict_message},
    pb::auditor::v1::{self as pb, audit_service_server::AuditService},
};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Api, STREAM_DEPTH, Streamed, allowance::Asked, may_look, unexpected};

/// Exceptions of one verdict in a message: 64 verdicts of them stay below the frame.
const EXCEPTIONS_IN_PAGE: usize = 64;
/// Exceptions of a verdict sent alone.
const EXCEPTIONS_ALONE: usize = 4096;
/// A watcher looks into the catalog at least this often, whatever notices it missed.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Placements read at once to find a good one; mostly the first is.
const PLACEMENTS_AT_ONCE: u32 = 64;
/// Verdicts read at once for a watcher.
const WATCH_PAGE: u32 = 64;

#[tonic::async_trait]
impl AuditService for Api {
    type WatchVerdictsStream = Streamed<pb::WatchVerdictsResponse>;

    async fn run_audit(&self, request: Request<pb::RunAuditRequest>) -> Result<Response<pb::RunAuditResponse>, Status> {
        may_look(&request)?;
        // The auditor's own people are not kept from looking.
        let every = match require_role(&request, &[Role::Client, Role::Gateway]) {
            Ok(_) => self.0.profile.asked_every,
            Err(_) => Millis(0),
        };
        let wanted = Option::<NodeId>::try_from(request.into_inner())?;
        let nodes = self.nodes().await?;
        if let Some(id) = wanted
            && !nodes.contains_key(&id)
        {
            return Err(WireError::new(
                ErrorCode::NotFound,
                format!("no node {id} is registered; `node ls` lists them"),
            )
            .into());
        }
        let after = self.newest().await?;
        let audited = nodes.values().filter(|row| row.life.is_audited()).map(|row| row.id);
        let asked = audited.filter(|id| wanted.is_none_or(|wanted| *id == wanted));
        let mut nodes = Vec::new();
        for node in asked {
            if self.has_something_to_prove(node).await? {
                nodes.push(node);
            }
        }
        let Asked { now, too_soon, wait } = self.1.audits(nodes, self.0.clock.now().mono, every);
        if now.is_empty() && !too_soon.is_empty() {
            let message = format!(
                "expected to be asked for an audit of the same node once in {every}, was asked sooner; `audit ls` shows its last verdicts, ask again in {wait}"
            );
            return Err(WireError::new(ErrorCode::Exhausted, message).retry_after(wait).into());
        }
        for node in &now {
            self.0.command(Command::AuditNow(Some(*node)));
        }
        Ok(Response::new((&RunAudit { nodes: now, after, too_soon, wait }).into()))
    }

    async fn list_verdicts(
        &self,
        request: Request<pb::ListVerdictsRequest>,
    ) -> Result<Response<pb::ListVerdictsResponse>, Status> {
        may_look(&request)?;
        let ListVerdicts { after, node, limit, latest } = ListVerdicts::try_from(request.into_inner())?;
        let op = match latest {
            true => StoreOp::LatestVerdicts { node, limit },
            false => StoreOp::Verdicts { after, node, limit },
        };
        let verdicts = self.verdicts(op).await?;
        let verdicts = verdicts.iter().map(|verdict| verdict_message(verdict, EXCEPTIONS_IN_PAGE)).collect();
        Ok(Response::new(pb::ListVerdictsResponse { verdicts }))
    }

    async fn watch_verdicts(
        &self,
        request: Request<pb::WatchVerdictsRequest>,
    ) -> Result<Response<Self::WatchVerdictsStream>, Status> {
        may_look(&request)?;
        let WatchVerdicts { after, node } = WatchVerdicts::try_from(request.into_inner())?;
        let (out, messages) = mpsc::channel(STREAM_DEPTH);
        let api = self.clone();
        tokio::spawn(async move {
            if let Err(status) = api.watch(after, node, &out).await {
                let _ = out.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(messages).boxed()))
    }
}

impl Api {
    /// Whether the catalog believes in a shard there: a node without one gets no challenge, and there is no verdict to
    /// wait for.
    async fn has_something_to_prove(&self, node: NodeId) -> Result<bool, Status> {
        let mut from = Sequence(0);
        loop {
            let op = StoreOp::PlacementsOfNode { node, from, limit: PLACEMENTS_AT_ONCE };
            let StoreReply::Placements(page) = self.ask(op).await? else {
                return Err(WireError::new(ErrorCode::Bug, "the catalog answered something else").into());
            };
            if page.iter().any(|placement| placement.standing.is_good()) {
                return Ok(true);
            }
            match page.last() {
                Some(last) if page.len() as u32 == PLACEMENTS_AT_ONCE => from = Sequence(last.sequence.0 + 1),
                Some(_) | None => return Ok(false),
            }
        }
    }

    async fn verdicts(&self, op: StoreOp) -> Result<Vec<Verdict>, Status> {
        match self.ask(op).await? {
            StoreReply::Verdicts(verdicts) => Ok(verdicts),
            other => Err(unexpected(&other)),
        }
    }

    async fn newest(&self) -> Result<VerdictId, Status> {
        let newest = self.verdicts(StoreOp::LatestVerdicts { node: None, limit: 1 }).await?;
        Ok(newest.first().map_or(VerdictId(0), |verdict| verdict.id))
    }

    /// Sends every verdict after `after`, in order, until the caller goes. The catalog is the source; notices only say
    /// when to look, so that a watcher that is slow or that missed some loses nothing.
    async fn watch(
        &self,
        mut after: VerdictId,
        node: Option<NodeId>,
        out: &mpsc::Sender<Result<pb::WatchVerdictsResponse, Status>>,
    ) -> Result<(), Status> {
        let mut notices = self.0.notices.subscribe();
        loop {
            let page = self.verdicts(StoreOp::Verdicts { after, node, limit: WATCH_PAGE }).await?;
            for verdict in &page {
                after = verdict.id;
                let message = pb::WatchVerdictsResponse { verdict: Some(verdict_message(verdict, EXCEPTIONS_ALONE)) };
                if out.send(Ok(message)).await.is_err() {
                    return Ok(());
                }
            }
            if page.len() < WATCH_PAGE as usize {
                tokio::select! {
                    () = out.closed() => return Ok(()),
                    () = tokio::time::sleep(WATCH_EVERY) => {}
                    () = next_verdict(&mut notices) => {}
                }
            }
        }
    }
}

async fn next_verdict(notices: &mut broadcast::Receiver<std::sync::Arc<Notice>>) {
    loop {
        match notices.recv().await {
            Ok(notice) if matches!(*notice, Notice::Verdict(_)) => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            // The process ends; the watcher's other arms end it.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
