//! Calls with one answer: challenges, lists, deletions, records, stats.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use futures::Stream;
use holdfast_protocol::message::{Answer, NodeReply, NodeRequest, Receipt};
use holdfast_types::SignedGrant;
use holdfast_wire::{
    MESSAGE_LEN_MAX,
    convert::{ListRecords, ListShards, PutPart, PutRecord, RecordKeys, ShardPage, Statement, list_reply},
    pb::node::v1 as pb,
};
use tonic::{Code, Response, Status, Streaming, body::Body, client::GrpcService, codec::Codec};
use tonic_prost::ProstCodec;

use super::{LinkError, NodeLink, body::ShardBody};

/// The method's path, which the test of a real put holds to the schema.
const PUT_SHARD: &str = "/holdfast.node.v1.NodeService/PutShard";

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
            NodeRequest::ListRecords { kind, after, limit } => {
                let request = pb::ListRecordsRequest::from(ListRecords { kind, after, limit });
                let reply = self.said(stub.list_records(request).await)?;
                let page = RecordKeys::try_from(reply).map_err(|error| self.malformed(&error))?;
                Ok(NodeReply::Keys(page.0))
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
        S: Stream<Item = Bytes> + Send + Unpin + 'static,
    {
        let header = PutPart::Header { grant: Box::new(*grant), replace };
        let reply = self.send(ShardBody::new(&header.into(), bytes)).await.map_err(|status| self.failed(status))?;
        let receipt = Receipt::try_from(reply).map_err(|error| self.malformed(&error))?;
        let of = &grant.grant;
        if receipt.node != self.node || receipt.shard.as_bytes() != &of.content || receipt.len != of.len {
            let why =
                format!("expected a receipt for {} bytes of the granted shard, got one for {}", of.len, receipt.shard);
            return Err(LinkError::Malformed { node: self.node, why });
        }
        Ok(receipt)
    }

    /// What the generated client does, with a body of our own.
    async fn send<S>(&self, body: ShardBody<S>) -> Result<pb::PutShardResponse, Status>
    where
        S: Stream<Item = Bytes> + Send + Unpin + 'static,
    {
        let mut channel = self.channel.clone();
        poll_fn(|cx| channel.poll_ready(cx)).await.map_err(|error| Status::from_error(error.into()))?;
        let request = http::Request::post(PUT_SHARD)
            .version(http::Version::HTTP_2)
            .header(http::header::TE, "trailers")
            .header(http::header::CONTENT_TYPE, "application/grpc")
            .body(Body::new(body))
            .map_err(|error| Status::internal(error.to_string()))?;
        let response = channel.call(request).await.map_err(|error| Status::from_error(error.into()))?;
        if let Some(status) = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok) {
            return Err(status);
        }
        let decoder = ProstCodec::<pb::PutShardRequest, pb::PutShardResponse>::default().decoder();
        let (code, body) = (response.status(), response.into_body());
        let mut replies = Streaming::new_response(decoder, body, code, None, Some(MESSAGE_LEN_MAX));
        let reply = replies.message().await?.ok_or_else(|| Status::internal("expected an answer, got none"))?;
        // An error behind the answer is an error.
        replies.trailers().await?;
        Ok(reply)
    }

    fn said<T>(&self, reply: Result<Response<T>, Status>) -> Result<T, LinkError> {
        reply.map(Response::into_inner).map_err(|status| self.failed(status))
    }
}
