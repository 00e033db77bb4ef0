//! Calls with one answer: challenges, lists, deletions, records, stats.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use holdfast_protocol::message::{Answer, NodeReply, NodeRequest, Receipt};
use holdfast_types::SignedGrant;
use holdfast_wire::{
    convert::{CHUNK_LEN_MAX, ListShards, PutPart, PutRecord, ShardPage, Statement, list_reply},
    pb::node::v1 as pb,
};
use tonic::{Request, Response, Status};

use super::{LinkError, NodeLink};

impl NodeLink {
    /// Sends a request of the core and waits no longer than `timeout`.
    pub async fn call(&self, request: NodeRequest, timeout: Duration) -> Result<NodeReply, LinkError> {
        let answer = tokio::time::timeout(timeout, self.dispatch(request));
        answer.await.unwrap_or(Err(LinkError::Timeout { node: self.node }))
    }

    async fn dispatch(&self, request: NodeRequest) -> Result<NodeReply, LinkError> {
        let mut stub = self.stub.clone();
        match request {
            NodeRequest::Challenge(challenge) => {
                let reply = self.said(stub.challenge(pb::ChallengeRequest::from(&*challenge)).await)?;
                let answer = Answer::try_from(reply).map_err(|error| self.malformed(&error))?;
                Ok(NodeReply::Answer(Box::new(answer)))
            }
            NodeRequest::List { from, limit } => {
                let request = pb::ListShardsRequest::from(ListShards { from, limit });
                let reply = self.said(stub.list_shards(request).await)?;
                Ok(list_reply(ShardPage::try_from(reply).map_err(|error| self.malformed(&error))?))
            }
            NodeRequest::Delete(grant) => {
                self.said(stub.delete_shard(pb::DeleteShardRequest { grant: grant.to_bytes() }).await)?;
                Ok(NodeReply::Deleted)
            }
            NodeRequest::PutRecord { kind, key, bytes, fence } => {
                let record = PutRecord { kind, key, bytes, fence };
                self.said(stub.put_record(pb::PutRecordRequest::from(&record)).await)?;
                Ok(NodeReply::Recorded)
            }
            NodeRequest::Stat => {
                let reply = self.said(stub.stat(pb::StatRequest {}).await)?;
                let statement = Statement::try_from(reply).map_err(|error| self.malformed(&error))?;
                Ok(NodeReply::Stat(statement.stat))
            }
        }
    }

    /// Puts the shard that the grant names. `replace` asks for a repair in place. The receipt is the
    /// node's word; its signature is for the caller to verify.
    pub async fn put<S>(&self, grant: &SignedGrant, replace: bool, bytes: S) -> Result<Receipt, LinkError>
    where
        S: Stream<Item = Bytes> + Send + 'static,
    {
        let header = PutPart::Header { grant: Box::new(*grant), replace };
        let chunks = bytes.flat_map(|bytes| futures::stream::iter(chunks(bytes))).map(PutPart::Chunk);
        let parts = futures::stream::once(async { header }).chain(chunks).map(pb::PutShardRequest::from);
        let reply = self.said(self.stub.clone().put_shard(Request::new(parts)).await)?;
        let receipt = Receipt::try_from(reply).map_err(|error| self.malformed(&error))?;
        let of = &grant.grant;
        if receipt.node != self.node || receipt.shard.as_bytes() != &of.content || receipt.len != of.len {
            let why =
                format!("expected a receipt for {} bytes of the granted shard, got one for {}", of.len, receipt.shard);
            return Err(LinkError::Malformed { node: self.node, why });
        }
        Ok(receipt)
    }

    fn said<T>(&self, reply: Result<Response<T>, Status>) -> Result<T, LinkError> {
        reply.map(Response::into_inner).map_err(|status| self.failed(status))
    }
}

/// Bytes of a chunk that is sent: each stream's encoder holds about two of them, and a put has dozens of
/// streams. Below what the wire takes.
const CHUNK_LEN: usize = 256 << 10;
const _: () = assert!(CHUNK_LEN <= CHUNK_LEN_MAX);

/// Cuts a buffer to chunks the wire takes, without a copy.
fn chunks(mut bytes: Bytes) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(CHUNK_LEN));
    while !bytes.is_empty() {
        out.push(bytes.split_to(bytes.len().min(CHUNK_LEN)));
    }
    out
}
