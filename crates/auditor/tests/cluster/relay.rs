//! A relay under a node's own certificate and key: what peers take for the node. It passes everything on to the real
//! one behind it, until it is told to lie.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use holdfast_protocol::{
    answer,
    message::{AnswerBody, Ask, Challenge, ShardLeaves},
};
use holdfast_transport::{Listener, ListenerLimits, Role, TlsMaterial, builder, peer};
use holdfast_types::{Incarnation, SecretKey, ShardId, SignedGrant};
use holdfast_wire::{
    MESSAGE_LEN_MAX,
    pb::node::v1::{
        self as pb,
        node_service_client::NodeServiceClient,
        node_service_server::{NodeService, NodeServiceServer},
    },
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming, transport::Channel};

/// What is said in the node's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// The first answer that was ever given, for every challenge.
    Replay,
    /// Numbers of the right form that prove nothing, under the node's own signature.
    SignedGarbage,
    /// Bytes that are no answer.
    Noise,
    /// "You may not", in a status that nobody signs.
    Denies,
    /// Other bytes than the shard's, to whoever reads; challenges are answered honestly.
    FalseReads,
    /// The first reading of a shard is given, every later one is refused; challenges are answered honestly.
    GivesOnce,
    /// It takes the beginning of a put, and is never heard of again.
    DiesAtPut,
    /// Nothing.
    Dead,
    /// It takes deletions and carries them out when it is told something else.
    HoldsDeletions,
}

type Stub = NodeServiceClient<Channel>;

/// The node behind, as each kind of caller reaches it.
#[derive(Clone)]
pub(crate) struct Behind {
    pub(crate) auditor: Stub,
    pub(crate) client: Stub,
    pub(crate) key: SecretKey,
    pub(crate) incarnation: Incarnation,
}

#[derive(Default)]
struct State {
    lie: Option<Lie>,
    first: Option<pb::ChallengeResponse>,
    challenges: u64,
    puts: u64,
    /// Shards that were given once.
    given: std::collections::BTreeSet<Vec<u8>>,
    /// Deletions that arrived, carried out or not.
    deletions: Vec<Vec<u8>>,
}

#[derive(Clone)]
pub(crate) struct Relay {
    behind: watch::Receiver<Option<Behind>>,
    state: Arc<Mutex<State>>,
}

impl Relay {
    /// Listens; what is behind comes later, for it has to announce this address.
    pub(crate) async fn start(material: &TlsMaterial) -> (Self, SocketAddr, watch::Sender<Option<Behind>>) {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), material, ListenerLimits::default());
        let listener = listener.await.unwrap();
        let address = listener.address();
        let (told, behind) = watch::channel(None);
        let relay = Self { behind, state: Arc::default() };
        let service = NodeServiceServer::new(relay.clone()).max_decoding_message_size(MESSAGE_LEN_MAX);
        tokio::spawn(builder().add_service(service).serve_with_incoming(listener.incoming()));
        (relay, address, told)
    }

    pub(crate) fn lie(&self, lie: Option<Lie>) {
        self.state.lock().unwrap().lie = lie;
    }

    /// Challenges that were answered, in whatever way.
    pub(crate) fn challenges(&self) -> u64 {
        self.state.lock().unwrap().challenges
    }

    /// What deletions named, in the order in which they came.
    pub(crate) fn deletions(&self) -> Vec<ShardId> {
        let grants = self.state.lock().unwrap().deletions.clone();
        let content = |grant: Vec<u8>| ShardId::from_bytes(SignedGrant::from_bytes(&grant).unwrap().grant.content);
        grants.into_iter().map(content).collect()
    }

    /// Puts that were begun.
    pub(crate) fn puts(&self) -> u64 {
        self.state.lock().unwrap().puts
    }

    async fn behind(&self) -> Result<Behind, Status> {
        if self.told_to() == Some(Lie::Dead) {
            // A node that is gone says nothing: the caller waits until its own patience ends.
            std::future::pending::<()>().await;
        }
        let mut behind = self.behind.clone();
        let found = behind.wait_for(Option::is_some).await.map_err(|_| Status::unavailable("nobody behind"))?;
        Ok(found.clone().unwrap())
    }

    fn told_to(&self) -> Option<Lie> {
        self.state.lock().unwrap().lie
    }

    fn lied(&self, challenge: &Challenge, behind: &Behind) -> Option<Result<pb::ChallengeResponse, Status>> {
        let mut state = self.state.lock().unwrap();
        state.challenges += 1;
        match state.lie {
            Some(Lie::Replay) => state.first.clone().map(Ok),
            Some(Lie::SignedGarbage) => {
                let answer = answer::sign(challenge, behind.incarnation, garbage(challenge), &behind.key);
                Some(Ok((&answer).into()))
            }
            Some(Lie::Noise) => Some(Ok(pb::ChallengeResponse { ..Default::default() })),
            Some(Lie::Denies) => Some(Err(Status::permission_denied("no challenge is answered here"))),
            Some(Lie::FalseReads | Lie::GivesOnce | Lie::DiesAtPut | Lie::Dead | Lie::HoldsDeletions) | None => None,
        }
    }
}

/// Of the right form: y is canonical, the opening a point of the group, the proof as long as one may be.
fn garbage(challenge: &Challenge) -> AnswerBody {
    match &challenge.ask {
        Ask::Leaves { shard, .. } => {
            let shards = vec![ShardLeaves { shard: *shard, proof: vec![7; 1 << 10] }];
            AnswerBody::Leaves { shards, damaged: Vec::new(), missing: Vec::new() }
        }
        _ => {
            let mut proof = [0; 48];
            // The point at infinity: in the group, and the opening of no polynomial that one would store.
            proof[0] = 0xc0;
            AnswerBody::Fold { y: [1; 32], proof, damaged: Vec::new(), missing: Vec::new() }
        }
    }
}

/// Flips a bit of whatever bytes a part of a read carries.
fn falsified(mut part: pb::GetShardResponse) -> pb::GetShardResponse {
    if let Some(pb::get_shard_response::Part::Piece(piece)) = &mut part.part {
        let mut bytes = piece.bytes.to_vec();
        if let Some(byte) = bytes.first_mut() {
            *byte ^= 0x20;
        }
        piece.bytes = bytes.into();
    }
    part
}

type Parts = Pin<Box<dyn Stream<Item = Result<pb::GetShardResponse, Status>> + Send>>;

#[tonic::async_trait]
impl NodeService for Relay {
    async fn put_shard(
        &self,
        request: Request<Streaming<pb::PutShardRequest>>,
    ) -> Result<Response<pb::PutShardResponse>, Status> {
        let mut behind = self.behind().await?;
        let role = peer(&request)?.role();
        let mut messages = request.into_inner();
        self.state.lock().unwrap().puts += 1;
        if self.told_to() == Some(Lie::DiesAtPut) {
            messages.message().await?;
            messages.message().await?;
            self.lie(Some(Lie::Dead));
            self.behind().await?;
        }
        let stub = if role == Role::Auditor { &mut behind.auditor } else { &mut behind.client };
        stub.put_shard(messages.filter_map(|message| std::future::ready(message.ok()))).await
    }

    type GetShardStream = Parts;

    async fn get_shard(&self, request: Request<pb::GetShardRequest>) -> Result<Response<Parts>, Status> {
        let message = request.into_inner();
        let fresh =
            self.told_to() != Some(Lie::GivesOnce) || self.state.lock().unwrap().given.insert(message.shard.clone());
        if !fresh {
            return Err(Status::permission_denied("once is enough"));
        }
        let parts = self.behind().await?.auditor.get_shard(message).await?.into_inner();
        let lies = self.told_to() == Some(Lie::FalseReads);
        let parts = parts.map(move |part| part.map(|part| if lies { falsified(part) } else { part }));
        Ok(Response::new(parts.chain(stream::empty()).boxed()))
    }

    async fn challenge(
        &self,
        request: Request<pb::ChallengeRequest>,
    ) -> Result<Response<pb::ChallengeResponse>, Status> {
        let mut behind = self.behind().await?;
        let message = request.into_inner();
        let challenge = Challenge::try_from(message.clone())?;
        if let Some(said) = self.lied(&challenge, &behind) {
            return said.map(Response::new);
        }
        let answer = behind.auditor.challenge(message).await?.into_inner();
        self.state.lock().unwrap().first.get_or_insert(answer.clone());
        Ok(Response::new(answer))
    }

    async fn delete_shard(
        &self,
        request: Request<pb::DeleteShardRequest>,
    ) -> Result<Response<pb::DeleteShardResponse>, Status> {
        let message = request.into_inner();
        self.state.lock().unwrap().deletions.push(message.grant.clone());
        // Carried out though the caller went away meanwhile: what was sent was sent.
        let relay = self.clone();
        let carried_out = tokio::spawn(async move {
            while relay.told_to() == Some(Lie::HoldsDeletions) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            relay.behind().await?.auditor.delete_shard(message).await
        });
        carried_out.await.map_err(|error| Status::internal(error.to_string()))?
    }

    // The rest is passed on as it is.

    async fn list_shards(
        &self,
        request: Request<pb::ListShardsRequest>,
    ) -> Result<Response<pb::ListShardsResponse>, Status> {
        self.behind().await?.auditor.list_shards(request.into_inner()).await
    }

    async fn put_record(
        &self,
        request: Request<pb::PutRecordRequest>,
    ) -> Result<Response<pb::PutRecordResponse>, Status> {
        self.behind().await?.auditor.put_record(request.into_inner()).await
    }

    async fn get_record(
        &self,
        request: Request<pb::GetRecordRequest>,
    ) -> Result<Response<pb::GetRecordResponse>, Status> {
        self.behind().await?.auditor.get_record(request.into_inner()).await
    }

    async fn list_records(
        &self,
        request: Request<pb::ListRecordsRequest>,
    ) -> Result<Response<pb::ListRecordsResponse>, Status> {
        self.behind().await?.auditor.list_records(request.into_inner()).await
    }

    async fn get_commitments(
        &self,
        request: Request<pb::GetCommitmentsRequest>,
    ) -> Result<Response<pb::GetCommitmentsResponse>, Status> {
        self.behind().await?.auditor.get_commitments(request.into_inner()).await
    }

    async fn open_witness(
        &self,
        request: Request<pb::OpenWitnessRequest>,
    ) -> Result<Response<pb::OpenWitnessResponse>, Status> {
        self.behind().await?.auditor.open_witness(request.into_inner()).await
    }

    async fn put_commitments(
        &self,
        request: Request<pb::PutCommitmentsRequest>,
    ) -> Result<Response<pb::PutCommitmentsResponse>, Status> {
        self.behind().await?.auditor.put_commitments(request.into_inner()).await
    }

    async fn stat(&self, request: Request<pb::StatRequest>) -> Result<Response<pb::StatResponse>, Status> {
        self.behind().await?.auditor.stat(request.into_inner()).await
    }
}
