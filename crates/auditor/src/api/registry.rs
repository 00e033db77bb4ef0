//! Nodes: how they join, and how people see them.

use std::collections::BTreeMap;

use holdfast_protocol::{
    effect::Command,
    model::{CommitmentState, Debt, NodeLife, NodeRow, Standing},
    store::{ROWS_MAX, StoreOp, StoreReply},
};
use holdfast_transport::{Role, require_role};
use holdfast_types::{BLOB_LEN, NodeId, Sequence, Wall};
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{ListNodes, NodeBacklog, NodeHolding, Registered, Registration},
    pb::auditor::v1::{self as pb, registry_service_server::RegistryService},
};
use tonic::{Request, Response, Status};
use tracing::info;

use super::{Api, may_look, unexpected};
use crate::clock;

/// Attempts to write a row that others change at the same time.
const ATTEMPTS: usize = 8;
/// A node's clock may be off by this much before its registration is refused: grants would not hold there either.
const SKEW_MS_MAX: u64 = 5 * 60 * 1000;

#[tonic::async_trait]
impl RegistryService for Api {
    async fn register_node(
        &self,
        request: Request<pb::RegisterNodeRequest>,
    ) -> Result<Response<pb::RegisterNodeResponse>, Status> {
        let peer = require_role(&request, &[Role::Node])?.clone();
        let registration = Registration::try_from(request.into_inner())?;
        let id = registration.key.node_id();
        // The receipt key and the TLS key are one node's: nobody registers with a certificate that is another's.
        if peer.node() != Some(id) || peer.key_digest != registration.tls_key_digest {
            let message = format!(
                "expected the registration of {}, got one of node {id} or of another TLS key; issue this node a certificate of its own",
                peer.subject
            );
            return Err(WireError::new(ErrorCode::Denied, message).into());
        }
        let now = clock::wall();
        let skew = now.0.abs_diff(registration.wall.0);
        if skew > SKEW_MS_MAX {
            let message = format!(
                "expected a clock within {SKEW_MS_MAX} ms of the auditor's, got {skew} ms; set the node's clock"
            );
            return Err(WireError::new(ErrorCode::Invalid, message).into());
        }
        let life = self.register(id, &registration, now).await?;
        self.0.command(Command::NodeChanged(id));
        let cluster = self.0.cluster.as_str().to_owned();
        let registered = Registered { cluster, auditor: self.0.key.public(), life };
        Ok(Response::new((&registered).into()))
    }

    async fn list_nodes(
        &self,
        request: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesResponse>, Status> {
        may_look(&request)?;
        let ListNodes { after, limit } = ListNodes::try_from(request.into_inner())?;
        let nodes = self.nodes().await?;
        let past = nodes.values().filter(|row| after.is_none_or(|after| row.id > after));
        let backlogs = self.backlogs().await?;
        let nodes = past.take(limit as usize).map(|row| node(row, &backlogs)).collect();
        Ok(Response::new(pb::ListNodesResponse { nodes }))
    }

    async fn get_node(&self, request: Request<pb::GetNodeRequest>) -> Result<Response<pb::GetNodeResponse>, Status> {
        may_look(&request)?;
        let id = NodeId::try_from(request.into_inner())?;
        let nodes = self.nodes().await?;
        let Some(row) = nodes.get(&id) else {
            return Err(WireError::new(
                ErrorCode::NotFound,
                format!("no node {id} is registered; `node ls` lists them"),
            )
            .into());
        };
        let holding = self.holding(id).await?;
        let owes = NodeBacklog {
            shards: holding.pending_commitments,
            bytes: holding.pending_bytes,
            core_time: self.commit_time(at_least(holding.pending_commitments, holding.pending_bytes)),
        };
        let node = node(row, &BTreeMap::from([(id, owes)]));
        Ok(Response::new(pb::GetNodeResponse { node: Some(node), holding: Some(holding.into()) }))
    }
}

impl Api {
    async fn register(&self, id: NodeId, said: &Registration, now: Wall) -> Result<NodeLife, Status> {
        for _ in 0..ATTEMPTS {
            let known = self.nodes().await?.remove(&id);
            let row = registered(known, id, said, now);
            match self.0.ask(StoreOp::PutNode(Box::new(row))).await {
                StoreReply::Nodes(rows) => {
                    let life = rows.first().map_or(NodeLife::Joining, |row| row.life);
                    info!(node = %id, zone = %said.zone, ?life, volume = %said.volume, "node registered");
                    return Ok(life);
                }
                StoreReply::Conflict(_) => {}
                other => return Err(unexpected(&other)),
            }
        }
        Err(WireError::new(ErrorCode::Retry, "the node's row changes too fast; register again").into())
    }

    /// What each node owes; those that owe nothing are left out. An index holds the pending placements.
    async fn backlogs(&self) -> Result<BTreeMap<NodeId, NodeBacklog>, Status> {
        let debts = match self.ask(StoreOp::CommitmentDebts).await? {
            StoreReply::Debts(debts) => debts,
            other => return Err(unexpected(&other)),
        };
        let backlog = |Debt { node, shards, bytes }| {
            (node, NodeBacklog { shards, bytes, core_time: self.commit_time(at_least(shards, bytes)) })
        };
        Ok(debts.into_iter().map(backlog).collect())
    }

    async fn holding(&self, node: NodeId) -> Result<NodeHolding, Status> {
        let mut holding = NodeHolding::default();
        let mut from = Sequence(0);
        loop {
            let page = match self.ask(StoreOp::PlacementsOfNode { node, from, limit: ROWS_MAX }).await? {
                StoreReply::Placements(page) => page,
                other => return Err(unexpected(&other)),
            };
            for placement in &page {
                holding.shards += 1;
                match &placement.standing {
                    Standing::Good => holding.good += 1,
                    Standing::Damaged(_) => holding.damaged += 1,
                    Standing::Lost => holding.lost += 1,
                }
                let pending = placement.commitment == CommitmentState::Pending;
                let owed = u64::from(pending && placement.standing.is_good());
                holding.pending_commitments += owed;
                holding.pending_bytes += owed * placement.len;
            }
            match page.last() {
                Some(last) if page.len() == ROWS_MAX as usize => from = Sequence(last.sequence.0 + 1),
                _ => return Ok(holding),
            }
        }
    }
}

/// Blobs of so many shards with so many bytes: at least, since each shard may end in one that is not full.
fn at_least(shards: u64, bytes: u64) -> u64 {
    bytes.div_ceil(BLOB_LEN).max(shards)
}

fn node(row: &NodeRow, backlogs: &BTreeMap<NodeId, NodeBacklog>) -> pb::Node {
    let backlog = backlogs.get(&row.id).copied().unwrap_or_default();
    pb::Node { backlog: Some(backlog.into()), ..row.into() }
}

/// The row after a registration: what the node declares of itself is taken, where it stands is not its to say.
fn registered(known: Option<NodeRow>, id: NodeId, said: &Registration, now: Wall) -> NodeRow {
    let fresh = NodeRow {
        id,
        key: said.key,
        addresses: Vec::new(),
        zone: said.zone.clone(),
        operator: String::new(),
        life: NodeLife::Joining,
        containment: None,
        volume: said.volume,
        incarnation: said.incarnation,
        capacity: 0,
        used: 0,
        joined: now,
        seen: now,
        judged: None,
        version: 0,
    };
    NodeRow {
        addresses: said.addresses.clone(),
        zone: said.zone.clone(),
        operator: said.operator.clone(),
        volume: said.volume,
        incarnation: said.incarnation,
        capacity: said.capacity,
        seen: now,
        ..known.unwrap_or(fresh)
    }
}
