//! `holdfast.node.v1.NodeService`: who may ask what, and where it goes. No work is done here.

use std::sync::Arc;

use holdfast_protocol::message::{Challenge, LIST_ENTRIES_MAX};
use holdfast_transport::{Role, peer, require_role};
use holdfast_types::{GrantError, Operation, SignedGrant};
use holdfast_volume::Key;
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{
        GetCommitments, GetRecord, GetShard, ListRecords, ListShards, OpenWitness, PutCommitments, PutRecord,
        ShardPage, Statement,
    },
    pb::node::v1::{self as pb, node_service_server::NodeService},
};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use crate::{
    commitments,
    content::{COMMON, RECORD_KINDS, SHARD_KIND, record_key, sequence, unfenced, volume_sequence},
    get, prove, put, reading, refusal,
    state::State,
};

/// The service over a running node.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<State>);

impl Service {
    /// Whoever has a member's certificate may read, but for nodes: one that reads others' shards could answer for what
    /// it does not hold. They need a grant, as everybody may bring one.
    fn may_read(&self, role: Role, get: &GetShard) -> Result<(), WireError> {
        match (&get.grant, role) {
            (None, Role::Client | Role::Auditor | Role::Gateway) => Ok(()),
            (None, Role::Node) => Err(WireError::new(ErrorCode::Denied, "expected a get grant from a node, got none")),
            (Some(signed), _) => {
                let grant = self.0.verify(signed, Operation::Get)?;
                if grant.kind != SHARD_KIND || grant.content != *get.shard.as_bytes() {
                    return Err(refusal::of_grant(&GrantError::Other { field: "content" }));
                }
                Ok(())
            }
        }
    }

    /// The bytes of a record, without the fence that it lies under.
    async fn record(&self, key: Key) -> Result<Vec<u8>, WireError> {
        let reader = self.0.reader.clone();
        let _turn = self.0.reads.clone().acquire_owned().await.map_err(|_| refusal::busy("reads"))?;
        let read = spawn_blocking(move || {
            let len = reader.stat(&key).map_or(0, |entry| entry.len);
            reader.read(&key, 0..len)
        });
        let read = read.await.map_err(|error| refusal::of_join(&error))?.map_err(|error| refusal::of_volume(&error))?;
        let damaged =
            || WireError::new(ErrorCode::Corrupt, format_args!("record {key} is damaged here; ask another node"));
        if !read.damaged.is_empty() {
            return Err(damaged());
        }
        unfenced(&read.bytes).map(|(_, bytes)| bytes.to_vec()).ok_or_else(damaged)
    }
}

#[tonic::async_trait]
impl NodeService for Service {
    async fn put_shard(
        &self,
        request: Request<Streaming<pb::PutShardRequest>>,
    ) -> Result<Response<pb::PutShardResponse>, Status> {
        let peer = peer(&request)?.clone();
        let receipt = put::put(&self.0, &peer, request.into_inner()).await?;
        Ok(Response::new(pb::PutShardResponse { receipt: Some((&receipt).into()) }))
    }

    type GetShardStream = ReceiverStream<Result<pb::GetShardResponse, Status>>;

    async fn get_shard(&self, request: Request<pb::GetShardRequest>) -> Result<Response<Self::GetShardStream>, Status> {
        let role = peer(&request)?.role();
        let wanted = GetShard::try_from(request.into_inner())?;
        self.may_read(role, &wanted)?;
        Ok(Response::new(ReceiverStream::new(get::get(&self.0, wanted.shard, wanted.range)?)))
    }

    async fn delete_shard(
        &self,
        request: Request<pb::DeleteShardRequest>,
    ) -> Result<Response<pb::DeleteShardResponse>, Status> {
        require_role(&request, &[Role::Auditor])?;
        let signed = SignedGrant::from_bytes(&request.into_inner().grant).map_err(|error| refusal::of_grant(&error))?;
        let grant = self.0.verify(&signed, Operation::Delete)?;
        if grant.kind != SHARD_KIND && !RECORD_KINDS.contains(&grant.kind) {
            return Err(refusal::of_grant(&GrantError::Other { field: "kind" }).into());
        }
        let key = Key { kind: grant.kind, id: grant.content };
        self.0.keep_proof(&signed).await;
        let existed = self.0.writer.delete(key, grant.fence).await?;
        if grant.kind == SHARD_KIND {
            self.0.damage.forget(&holdfast_types::ShardId::from_bytes(grant.content));
        }
        info!(%key, existed, owner = %grant.owner, fence = %grant.fence, "deleted");
        Ok(Response::new(pb::DeleteShardResponse { existed }))
    }

    async fn list_shards(
        &self,
        request: Request<pb::ListShardsRequest>,
    ) -> Result<Response<pb::ListShardsResponse>, Status> {
        require_role(&request, &[Role::Auditor])?;
        let list = ListShards::try_from(request.into_inner())?;
        let found = self.0.reader.entries(
            &[SHARD_KIND],
            volume_sequence(list.from)..holdfast_volume::Sequence::END,
            list.limit as usize,
        );
        let next =
            found.last().filter(|_| found.len() == list.limit as usize).map(|last| sequence(last.sequence.next()));
        let entries = found.into_iter().map(reading::set_entry).collect();
        Ok(Response::new((&ShardPage { entries, next }).into()))
    }

    async fn put_record(
        &self,
        request: Request<pb::PutRecordRequest>,
    ) -> Result<Response<pb::PutRecordResponse>, Status> {
        require_role(&request, &[Role::Auditor])?;
        let PutRecord { kind, key, bytes, fence } = PutRecord::try_from(request.into_inner())?;
        self.0.writer.record(COMMON, record_key(kind, key), bytes, fence).await?;
        Ok(Response::new(pb::PutRecordResponse {}))
    }

    async fn get_record(
        &self,
        request: Request<pb::GetRecordRequest>,
    ) -> Result<Response<pb::GetRecordResponse>, Status> {
        require_role(&request, &[Role::Auditor])?;
        let GetRecord { kind, key } = GetRecord::try_from(request.into_inner())?;
        let bytes = self.record(record_key(kind, key)).await?;
        Ok(Response::new(pb::GetRecordResponse { bytes }))
    }

    async fn list_records(
        &self,
        request: Request<pb::ListRecordsRequest>,
    ) -> Result<Response<pb::ListRecordsResponse>, Status> {
        require_role(&request, &[Role::Auditor])?;
        let list = ListRecords::try_from(request.into_inner())?;
        let state = Arc::clone(&self.0);
        // All of the kind are gone through: not on a thread that serves sockets.
        let keys = spawn_blocking(move || keys_of(&state, &list)).await.map_err(|error| refusal::of_join(&error))?;
        Ok(Response::new(pb::ListRecordsResponse { keys: keys.into_iter().map(Vec::from).collect() }))
    }

    async fn challenge(
        &self,
        request: Request<pb::ChallengeRequest>,
    ) -> Result<Response<pb::ChallengeResponse>, Status> {
        require_role(&request, &[Role::Auditor])?;
        let challenge = Challenge::try_from(request.into_inner())?;
        let answer = prove::prove(&self.0, challenge).await?;
        Ok(Response::new((&answer).into()))
    }

    async fn get_commitments(
        &self,
        request: Request<pb::GetCommitmentsRequest>,
    ) -> Result<Response<pb::GetCommitmentsResponse>, Status> {
        require_role(&request, &[Role::Auditor])?;
        let GetCommitments { shard, witness } = GetCommitments::try_from(request.into_inner())?;
        Ok(Response::new((&commitments::claim(&self.0, shard, witness).await?).into()))
    }

    async fn open_witness(
        &self,
        request: Request<pb::OpenWitnessRequest>,
    ) -> Result<Response<pb::OpenWitnessResponse>, Status> {
        require_role(&request, &[Role::Auditor])?;
        let asked = OpenWitness::try_from(request.into_inner())?;
        Ok(Response::new((&commitments::open(&self.0, asked).await?).into()))
    }

    async fn put_commitments(
        &self,
        request: Request<pb::PutCommitmentsRequest>,
    ) -> Result<Response<pb::PutCommitmentsResponse>, Status> {
        require_role(&request, &[Role::Auditor])?;
        let offered = PutCommitments::try_from(request.into_inner())?;
        Ok(Response::new((&commitments::take(&self.0, offered).await?).into()))
    }

    async fn stat(&self, request: Request<pb::StatRequest>) -> Result<Response<pb::StatResponse>, Status> {
        peer(&request)?;
        let (key, stat, backlog) = (self.0.key.public(), self.0.stat(), self.0.commit_backlog());
        Ok(Response::new((&Statement { key, stat, backlog }).into()))
    }
}

/// Keys of one kind in order. The index is ordered by sequence, so that all of the kind are gone through; it is in memory, and they are
/// listed once in many hours.
fn keys_of(state: &State, list: &ListRecords) -> Vec<[u8; 32]> {
    let mut keys = std::collections::BTreeSet::new();
    let mut from = holdfast_volume::Sequence::START;
    loop {
        let found = state.reader.entries(&[list.kind as u8], from..holdfast_volume::Sequence::END, LIST_ENTRIES_MAX);
        let Some(last) = found.last() else { return keys.into_iter().collect() };
        from = last.sequence.next();
        keys.extend(found.iter().map(|entry| entry.key.id).filter(|id| list.after.is_none_or(|after| *id > after)));
        // Only the lowest can be in the answer; the rest need not be held.
        while keys.len() > list.limit as usize {
            keys.pop_last();
        }
    }
}
