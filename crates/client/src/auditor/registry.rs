//! Nodes: how they join, and how people see them.

use holdfast_types::NodeId;
use holdfast_wire::{
    convert::{ListNodes, NODES_PAGE_MAX, NodeHolding, NodeView, Registered},
    pb::auditor::v1 as pb,
};

use super::{Auditor, CALL_TIMEOUT, ask, patiently};
use crate::ClientError;

impl Auditor {
    /// Registers a node; only with a node's certificate. [`holdfast_wire::convert::Registration::sign`]
    /// makes the message.
    pub async fn register(&self, message: pb::RegisterNodeRequest) -> Result<Registered, ClientError> {
        let mut stub = self.registry.clone();
        let reply = ask("RegisterNode", CALL_TIMEOUT, stub.register_node(message)).await?;
        Registered::try_from(reply).map_err(ClientError::decode("RegisterNode"))
    }

    /// A page of the nodes, in order of id.
    pub async fn nodes_page(&self, list: ListNodes) -> Result<Vec<NodeView>, ClientError> {
        let reply = patiently(|| async {
            let mut stub = self.registry.clone();
            ask("ListNodes", CALL_TIMEOUT, stub.list_nodes(pb::ListNodesRequest::from(list))).await
        });
        Vec::<NodeView>::try_from(reply.await?).map_err(ClientError::decode("ListNodes"))
    }

    /// All nodes, in order of id.
    pub async fn nodes(&self) -> Result<Vec<NodeView>, ClientError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.nodes_page(ListNodes { after, limit: NODES_PAGE_MAX }).await?;
            let (count, last) = (page.len(), page.last().map(|node| node.contact.id));
            if last.is_some_and(|last| after.is_some_and(|after| last <= after)) {
                return Err(ClientError::malformed("ListNodes", "expected pages in rising order of id"));
            }
            all.extend(page);
            after = last;
            if count < NODES_PAGE_MAX as usize {
                return Ok(all);
            }
        }
    }

    /// A node and what it holds.
    pub async fn node(&self, node: NodeId) -> Result<(NodeView, NodeHolding), ClientError> {
        let reply = patiently(|| async {
            let mut stub = self.registry.clone();
            ask("GetNode", CALL_TIMEOUT, stub.get_node(pb::GetNodeRequest { node_id: node.0.to_vec() })).await
        });
        <(NodeView, NodeHolding)>::try_from(reply.await?).map_err(ClientError::decode("GetNode"))
    }
}
