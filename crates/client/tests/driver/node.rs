//! A node that keeps shards in files and does what it is told: lies, stalls, refuses.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    os::unix::fs::FileExt,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use holdfast_protocol::message::Receipt;
use holdfast_transport::{ClusterCa, Listener, ListenerLimits, Subject, builder};
use holdfast_types::{
    ByteRange, Incarnation, Millis, NodeId, PublicKey, Root, SecretKey, Sequence, ShardId, Signature, SignedGrant,
};
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{GetPart, GetShard, PIECE_SENT_MAX, PutPart},
    pb::node::v1 as pb,
};
use pb::node_service_server::{NodeService, NodeServiceServer};
use tempfile::TempDir;
use tonic::{Request, Response, Status, Streaming};

use crate::cluster::{issue, now};

/// What a node does wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// One bit of whatever it sends is another.
    Flips,
    /// It admits that these bytes of every shard are damaged.
    Damaged(ByteRange),
    /// It says it has nothing.
    Wiped,
    /// It takes its time for everything.
    Slow(Duration),
    /// It sends a shard byte by byte, so far apart.
    Drips(Duration),
    /// It is busy, for ever.
    Busy,
    /// It stores, and signs its receipts with another key.
    Forges,
    /// It denies so many puts, as if their grants had expired.
    Denies(u32),
    /// Its answers are cut short, run over, or come twice.
    Garbles(Garble),
}

/// How an answer to a read is garbled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Garble {
    Short,
    Long,
    Gap,
    Repeats,
    NoHeader,
    OtherLength,
}

pub(crate) struct Inner {
    /// With their lengths.
    pub(crate) shards: BTreeMap<ShardId, u64>,
    pub(crate) fault: Option<Fault>,
    pub(crate) served: u64,
    /// Calls that are slow at once: now, and at most.
    slow: u32,
    pub(crate) most_slow: u32,
}

#[derive(Clone)]
pub(crate) struct Node {
    key: SecretKey,
    auditor: PublicKey,
    pub(crate) address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    dir: Arc<TempDir>,
}

impl Node {
    pub(crate) async fn start(ca: &ClusterCa, number: u8, auditor: PublicKey) -> Self {
        let key = SecretKey::from_seed(&[number; 32]);
        let material = issue(ca, &Subject::Node(key.public().node_id()));
        let listener =
            Listener::bind("127.0.0.1:0".parse().unwrap(), &material, ListenerLimits::default()).await.unwrap();
        let inner = Inner { shards: BTreeMap::new(), fault: None, served: 0, slow: 0, most_slow: 0 };
        let (inner, dir) = (Arc::new(Mutex::new(inner)), Arc::new(tempfile::tempdir().unwrap()));
        let node = Self { key, auditor, address: listener.address(), inner, dir };
        let service = NodeServiceServer::new(node.clone()).max_decoding_message_size(holdfast_wire::MESSAGE_LEN_MAX);
        let serving = builder().add_service(service).serve_with_incoming(listener.incoming());
        tokio::spawn(serving);
        node
    }

    pub(crate) fn id(&self) -> NodeId {
        self.key.public().node_id()
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.key.public()
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.inner().fault = Some(fault);
    }

    async fn slow(&self, span: Duration) {
        {
            let mut inner = self.inner();
            inner.slow += 1;
            inner.most_slow = inner.most_slow.max(inner.slow);
        }
        tokio::time::sleep(span).await;
        self.inner().slow -= 1;
    }

    fn fault(&self) -> Option<Fault> {
        self.inner().fault.clone()
    }

    fn receipt(&self, grant: &SignedGrant) -> Receipt {
        let shard = ShardId::from_bytes(grant.grant.content);
        let unsigned = Receipt {
            node: self.id(),
            incarnation: Incarnation([1; 16]),
            owner: grant.grant.owner,
            shard,
            len: grant.grant.len,
            // Any number that no other shard has, and that does not change.
            sequence: Sequence(u64::from_be_bytes(shard.as_bytes()[..8].try_into().unwrap()) >> 2),
            signature: Signature { algorithm: 1, bytes: [0; 64] },
        };
        let forged = SecretKey::from_seed(&[99; 32]);
        let key = if self.fault() == Some(Fault::Forges) { &forged } else { &self.key };
        Receipt { signature: key.sign(&unsigned.transcript()), ..unsigned }
    }

    fn path(&self, shard: &ShardId) -> PathBuf {
        self.dir.path().join(shard.to_string())
    }

    /// The bytes of a shard as they were put.
    pub(crate) fn bytes(&self, shard: &ShardId) -> Vec<u8> {
        fs::read(self.path(shard)).unwrap()
    }

    /// Where the parts of an answer begin and end, and whether they can be given.
    fn plan(&self, asked: ByteRange) -> Vec<(ByteRange, bool)> {
        let (mut at, mut plan) = (asked.start(), Vec::new());
        while at < asked.end() {
            let next = ByteRange::new(at, asked.end().min(at + PIECE_SENT_MAX as u64)).unwrap();
            let (end, given) = match self.fault() {
                Some(Fault::Damaged(gone)) if gone.start() <= at && at < gone.end() => {
                    (next.end().min(gone.end()), false)
                }
                Some(Fault::Damaged(gone)) if gone.overlaps(next) => (gone.start(), true),
                _ => (next.end(), true),
            };
            plan.push((ByteRange::new(at, end).unwrap(), given));
            at = end;
        }
        plan
    }

    fn part(&self, shard: &ShardId, range: ByteRange, given: bool) -> GetPart {
        if !given {
            return GetPart::Damaged(range);
        }
        let mut bytes = vec![0; range.len() as usize];
        File::open(self.path(shard)).unwrap().read_exact_at(&mut bytes, range.start()).unwrap();
        self.inner().served += range.len();
        GetPart::Piece { offset: range.start(), bytes: bytes.into() }
    }

    /// The parts of an answer: all at once where they are to be spoilt, one by one where not.
    fn parts(&self, get: &GetShard, len: u64) -> Parts {
        let asked = get.range.unwrap_or(ByteRange::first(len)).intersect(ByteRange::first(len));
        let (node, shard) = (self.clone(), get.shard);
        let header = GetPart::Header { len, sequence: Sequence(0) };
        let plan = self.plan(asked).into_iter();
        let parts = [header].into_iter().chain(plan.map(move |(range, given)| node.part(&shard, range, given)));
        let parts: Box<dyn Iterator<Item = GetPart> + Send> = match self.fault() {
            Some(Fault::Flips) => {
                let mut all: Vec<GetPart> = parts.collect();
                flip(&mut all);
                Box::new(all.into_iter())
            }
            Some(Fault::Garbles(garble)) => {
                let mut all = parts.collect();
                garbled(garble, &mut all);
                Box::new(all.into_iter())
            }
            Some(Fault::Drips(span)) => {
                let drops = stream::iter(parts.flat_map(drops)).then(move |part| async move {
                    tokio::time::sleep(span).await;
                    Ok(part.into())
                });
                return drops.boxed();
            }
            _ => Box::new(parts),
        };
        stream::iter(parts.map(|part| Ok(part.into()))).boxed()
    }
}

fn drops(part: GetPart) -> Vec<GetPart> {
    let GetPart::Piece { offset, bytes } = part else { return vec![part] };
    (0..bytes.len()).map(|at| GetPart::Piece { offset: offset + at as u64, bytes: bytes.slice(at..at + 1) }).collect()
}

fn flip(parts: &mut [GetPart]) {
    if let Some(GetPart::Piece { bytes, .. }) = parts.last_mut() {
        let mut changed = bytes.to_vec();
        changed[0] ^= 0x10;
        *bytes = changed.into();
    }
}

fn garbled(garble: Garble, parts: &mut Vec<GetPart>) {
    match garble {
        Garble::Short => drop(parts.pop()),
        Garble::Long | Garble::Repeats => {
            let GetPart::Piece { offset, bytes } = parts.last().unwrap().clone() else { return };
            let offset = if garble == Garble::Long { offset + bytes.len() as u64 } else { offset };
            parts.push(GetPart::Piece { offset, bytes });
        }
        Garble::Gap => {
            if let Some(GetPart::Piece { offset, .. }) = parts.get_mut(1) {
                *offset += 1;
            }
        }
        Garble::NoHeader => drop(parts.remove(0)),
        Garble::OtherLength => parts[0] = GetPart::Header { len: 7, sequence: Sequence(0) },
    }
}

type Parts = Pin<Box<dyn Stream<Item = Result<pb::GetShardResponse, Status>> + Send>>;

#[tonic::async_trait]
impl NodeService for Node {
    async fn put_shard(
        &self,
        request: Request<Streaming<pb::PutShardRequest>>,
    ) -> Result<Response<pb::PutShardResponse>, Status> {
        let mut stream = request.into_inner();
        match self.fault() {
            Some(Fault::Slow(span)) => self.slow(span).await,
            Some(Fault::Busy) => {
                return Err(WireError::new(ErrorCode::Retry, "busy").retry_after(Millis(10)).into());
            }
            Some(Fault::Denies(left)) if left > 0 => {
                self.fail(Fault::Denies(left - 1));
                return Err(WireError::new(ErrorCode::Denied, "the grant expired").into());
            }
            _ => {}
        }
        let (mut grant, mut hasher, mut len) = (None, blake3::Hasher::new(), 0);
        let mut staged = tempfile::NamedTempFile::new_in(self.dir.path())?;
        while let Some(message) = stream.message().await? {
            match PutPart::try_from(message)? {
                PutPart::Header { grant: signed, .. } => grant = Some(signed),
                PutPart::Chunk(chunk) => {
                    staged.write_all(&chunk)?;
                    hasher.update(&chunk);
                    len += chunk.len() as u64;
                }
            }
        }
        let grant = grant.ok_or_else(|| Status::invalid_argument("no header"))?;
        let root = Root::from(hasher.finalize());
        let refused = |error| Status::from(WireError::new(ErrorCode::Denied, error));
        let granted = grant.verify(&self.auditor, &self.id(), now(), 0).map_err(refused)?;
        if granted.content != *root.as_bytes() || granted.len != len {
            return Err(WireError::new(ErrorCode::Corrupt, "other bytes than granted").into());
        }
        staged.persist(self.path(&ShardId(root))).map_err(|error| error.error)?;
        self.inner().shards.insert(ShardId(root), len);
        let receipt = self.receipt(&grant);
        Ok(Response::new(pb::PutShardResponse { receipt: Some((&receipt).into()) }))
    }

    type GetShardStream = Parts;

    async fn get_shard(&self, request: Request<pb::GetShardRequest>) -> Result<Response<Parts>, Status> {
        let get = GetShard::try_from(request.into_inner())?;
        match self.fault() {
            Some(Fault::Slow(span)) => self.slow(span).await,
            Some(Fault::Busy) => {
                return Err(WireError::new(ErrorCode::Retry, "busy").retry_after(Millis(10)).into());
            }
            _ => {}
        }
        let len = self.inner().shards.get(&get.shard).copied();
        let len = len.filter(|_| self.fault() != Some(Fault::Wiped));
        let len = len.ok_or_else(|| Status::from(WireError::new(ErrorCode::NotFound, "no such shard")))?;
        Ok(Response::new(self.parts(&get, len)))
    }

    async fn delete_shard(
        &self,
        _: Request<pb::DeleteShardRequest>,
    ) -> Result<Response<pb::DeleteShardResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn list_shards(&self, _: Request<pb::ListShardsRequest>) -> Result<Response<pb::ListShardsResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn put_record(&self, _: Request<pb::PutRecordRequest>) -> Result<Response<pb::PutRecordResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn get_record(&self, _: Request<pb::GetRecordRequest>) -> Result<Response<pb::GetRecordResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn list_records(
        &self,
        _: Request<pb::ListRecordsRequest>,
    ) -> Result<Response<pb::ListRecordsResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn challenge(&self, _: Request<pb::ChallengeRequest>) -> Result<Response<pb::ChallengeResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn get_commitments(
        &self,
        _: Request<pb::GetCommitmentsRequest>,
    ) -> Result<Response<pb::GetCommitmentsResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn open_witness(
        &self,
        _: Request<pb::OpenWitnessRequest>,
    ) -> Result<Response<pb::OpenWitnessResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn put_commitments(
        &self,
        _: Request<pb::PutCommitmentsRequest>,
    ) -> Result<Response<pb::PutCommitmentsResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn stat(&self, _: Request<pb::StatRequest>) -> Result<Response<pb::StatResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }
}
