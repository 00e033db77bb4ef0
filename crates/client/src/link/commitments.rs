//! Commitments over a link: what the auditor's jobs ask of nodes. Whose word an answer is and whether it holds is for the
//! caller.

use std::time::Duration;

use holdfast_protocol::witness::{Adopted, Commitments, Opened, WitnessId};
use holdfast_types::ShardId;
use holdfast_wire::{
    DecodeError,
    convert::{GetCommitments, OpenWitness, PutCommitments},
    pb::node::v1 as pb,
};
use tonic::{Response, Status};

use super::{LinkError, NodeLink};

impl NodeLink {
    /// What the shard's commitments are, with the node's word for this witness.
    pub async fn commitments(
        &self,
        shard: ShardId,
        witness: Option<WitnessId>,
        timeout: Duration,
    ) -> Result<Commitments, LinkError> {
        let request = pb::GetCommitmentsRequest::from(GetCommitments { shard, witness });
        let mut stub = self.stub.clone();
        self.within(timeout, async move { stub.get_commitments(request).await }).await
    }

    /// Reveals a witness. The message holds its secret: it goes nowhere else.
    pub async fn open_witness(&self, open: &OpenWitness, timeout: Duration) -> Result<Opened, LinkError> {
        let request = pb::OpenWitnessRequest::from(open);
        let mut stub = self.stub.clone();
        self.within(timeout, async move { stub.open_witness(request).await }).await
    }

    /// Offers a list that somebody else computed.
    pub async fn put_commitments(
        &self,
        shard: ShardId,
        list: Vec<u8>,
        timeout: Duration,
    ) -> Result<Adopted, LinkError> {
        let request = pb::PutCommitmentsRequest::from(PutCommitments { shard, list });
        let mut stub = self.stub.clone();
        self.within(timeout, async move { stub.put_commitments(request).await }).await
    }

    async fn within<P, T: TryFrom<P, Error = DecodeError>>(
        &self,
        timeout: Duration,
        call: impl Future<Output = Result<Response<P>, Status>>,
    ) -> Result<T, LinkError> {
        let Ok(reply) = tokio::time::timeout(timeout, call).await else {
            return Err(LinkError::Timeout { node: self.node });
        };
        let reply = reply.map_err(|status| self.failed(status))?;
        T::try_from(reply.into_inner()).map_err(|error| self.malformed(&error))
    }
}
