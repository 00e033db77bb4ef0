//! What the tests share: a cluster's authority, an auditor that registers nodes and signs grants, and callers of every
//! role.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use holdfast_node::{
    Checked, Running,
    config::{Raw, RawAuditor, RawCommitments, RawLimits, RawTls, Size},
    identity,
};
use holdfast_protocol::{
    message::{Receipt, SetEntry},
    model::NodeLife,
};
use holdfast_transport::{
    Address, ClusterCa, Dialer, Listener, ListenerLimits, Subject, TlsMaterial, Validity, builder, require_node,
};
use holdfast_types::{
    ByteRange, Fence, Grant, Millis, NodeId, Operation, OwnerId, Root, SecretKey, Sequence, ShardId, SignedGrant, Wall,
};
use holdfast_wire::{
    ErrorCode, MESSAGE_LEN_MAX, WireError,
    convert::{GetPart, GetShard, ListShards, PutPart, Registered, Registration, ShardPage},
    pb::{
        auditor::v1 as auditor,
        node::v1::{self as pb, node_service_client::NodeServiceClient},
    },
};
use tempfile::TempDir;
use tonic::{Request, Response, Status, transport::Channel};

pub(crate) type Client = NodeServiceClient<Channel>;

pub(crate) fn now() -> Wall {
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

/// Bytes that do not compress and differ by `salt`.
pub(crate) fn bytes(len: usize, salt: u8) -> Vec<u8> {
    let mut out = vec![0; len];
    holdfast_types::Transcript::new("holdfast test bytes").absorb("salt", &[salt]).stream().fill(&mut out);
    out
}

pub(crate) fn shard_of(bytes: &[u8]) -> ShardId {
    ShardId(Root::of(bytes))
}

pub(crate) struct Cluster {
    dir: TempDir,
    ca: ClusterCa,
    pub(crate) auditor_key: SecretKey,
    pub(crate) owner_key: SecretKey,
    registry_address: String,
    /// What nodes registered, in order.
    pub(crate) registered: Arc<Mutex<Vec<Registration>>>,
}

#[derive(Clone)]
struct Registry {
    key: SecretKey,
    registered: Arc<Mutex<Vec<Registration>>>,
}

#[tonic::async_trait]
impl auditor::registry_service_server::RegistryService for Registry {
    async fn register_node(
        &self,
        request: Request<auditor::RegisterNodeRequest>,
    ) -> Result<Response<auditor::RegisterNodeResponse>, Status> {
        let caller = require_node(&request)?;
        let digest = holdfast_transport::peer(&request)?.key_digest;
        let registration = Registration::try_from(request.into_inner())?;
        assert_eq!(registration.key.node_id(), caller, "the certificate and the receipt key name one node");
        assert_eq!(registration.tls_key_digest, digest, "the registration is bound to the certificate's key");
        self.registered.lock().unwrap().push(registration);
        let answer = Registered { cluster: "test".into(), auditor: self.key.public(), life: NodeLife::Joining };
        Ok(Response::new((&answer).into()))
    }

    async fn list_nodes(
        &self,
        _: Request<auditor::ListNodesRequest>,
    ) -> Result<Response<auditor::ListNodesResponse>, Status> {
        Err(Status::unimplemented("nodes do not ask"))
    }

    async fn get_node(
        &self,
        _: Request<auditor::GetNodeRequest>,
    ) -> Result<Response<auditor::GetNodeResponse>, Status> {
        Err(Status::unimplemented("nodes do not ask"))
    }
}

impl Cluster {
    pub(crate) async fn new() -> Self {
        let ca = ClusterCa::generate("test".parse().unwrap(), now()).unwrap();
        let auditor_key = SecretKey::from_seed(&[1; 32]);
        let registered: Arc<Mutex<Vec<Registration>>> = Arc::default();
        let material = issue(&ca, &Subject::Auditor("auditor".parse().unwrap()));
        let listener =
            Listener::bind("127.0.0.1:0".parse().unwrap(), &material, ListenerLimits::default()).await.unwrap();
        let registry_address = listener.address().to_string();
        let registry = Registry { key: auditor_key.clone(), registered: registered.clone() };
        let service = auditor::registry_service_server::RegistryServiceServer::new(registry);
        let serving = builder()
            .add_service(service)
            .serve_with_incoming_shutdown(listener.incoming(), std::future::pending::<()>());
        tokio::spawn(serving);
        let dir = tempfile::tempdir().unwrap();
        let owner_key = SecretKey::from_seed(&[2; 32]);
        Self { dir, ca, auditor_key, owner_key, registry_address, registered }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn volume_dir(&self) -> PathBuf {
        self.path().join("data/volume")
    }

    pub(crate) fn owner(&self) -> OwnerId {
        self.owner_key.public().owner_id()
    }

    /// The node's configuration, with identity and certificate made if they are not there yet.
    pub(crate) fn raw(&self) -> Raw {
        let (key, tls) = (self.path().join("node.key"), self.path().join("tls"));
        // Made beside an empty directory, as an operator would before asking for the certificate.
        let id = identity::load_or_create(&key, &self.path().join("none")).unwrap().public().node_id();
        if !tls.exists() {
            let validity = Validity::starting(now(), Millis::from_secs(3600));
            self.ca.issue(&Subject::Node(id), &[], validity).unwrap().save(&tls).unwrap();
        }
        Raw {
            listen: vec!["127.0.0.1:0".into()],
            advertise: Vec::new(),
            data_dir: self.path().join("data"),
            identity_key: key,
            capacity: Size::Text("1GiB".into()),
            owner_quota: None,
            zone: "north".into(),
            operator: "tests".into(),
            auditor: RawAuditor {
                name: "auditor".into(),
                addresses: vec![self.registry_address.clone()],
                public_key: Some(self.auditor_key.public().to_string()),
            },
            tls: RawTls { ca: tls.join("ca.pem"), cert: tls.join("cert.pem"), key: tls.join("key.pem") },
            limits: RawLimits::default(),
            // Tests that are not about commitments see only the records that they cause.
            commitments: RawCommitments { cpu_share: 0.0 },
            metrics: None,
        }
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_with(|_| {}).await
    }

    pub(crate) async fn start_with(&self, change: impl FnOnce(&mut Raw)) -> Running {
        let mut raw = self.raw();
        change(&mut raw);
        Running::start(Checked::of(raw, Path::new("/")).unwrap()).await.unwrap()
    }

    /// The configuration as a file, for a process of its own.
    pub(crate) fn config_file(&self) -> PathBuf {
        let path = self.path().join("node.toml");
        fs::write(&path, toml::to_string(&self.raw()).unwrap()).unwrap();
        path
    }

    pub(crate) async fn dial(&self, as_whom: &Subject, node: NodeId, address: &str) -> Channel {
        let address: Address = address.parse().unwrap();
        Dialer::new(issue(&self.ca, as_whom)).connect(Subject::Node(node), &[address]).await.unwrap()
    }

    pub(crate) async fn caller(&self, as_whom: &Subject, running: &Running) -> Client {
        let channel = self.dial(as_whom, running.id(), &running.addresses()[0].to_string()).await;
        stub(channel)
    }

    pub(crate) async fn client(&self, running: &Running) -> Client {
        self.caller(&Subject::Client(self.owner()), running).await
    }

    pub(crate) async fn auditor(&self, running: &Running) -> Client {
        self.caller(&auditor_subject(), running).await
    }

    pub(crate) fn grant(&self, node: NodeId, operation: Operation, content: &[u8]) -> Grant {
        Grant {
            operation,
            node,
            owner: self.owner(),
            kind: 0,
            content: *shard_of(content).as_bytes(),
            len: content.len() as u64,
            fence: Fence::default(),
            expires: now() + Millis::from_secs(60),
        }
    }

    pub(crate) async fn put(&self, client: &mut Client, node: NodeId, content: &[u8]) -> Result<Receipt, WireError> {
        let grant = self.grant(node, Operation::Put, content).sign(&self.auditor_key);
        put(client, &grant, false, content).await
    }
}

pub(crate) fn auditor_subject() -> Subject {
    Subject::Auditor("auditor".parse().unwrap())
}

fn issue(ca: &ClusterCa, subject: &Subject) -> TlsMaterial {
    ca.issue(subject, &[], Validity::starting(now(), Millis::from_secs(3600))).unwrap().material(now()).unwrap()
}

pub(crate) fn stub(channel: Channel) -> Client {
    NodeServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_LEN_MAX)
        .max_encoding_message_size(MESSAGE_LEN_MAX)
}

pub(crate) async fn put(
    client: &mut Client,
    grant: &SignedGrant,
    replace: bool,
    content: &[u8],
) -> Result<Receipt, WireError> {
    let mut messages = vec![PutPart::Header { grant: Box::new(*grant), replace }.into()];
    let chunks = content.chunks(256 << 10).map(|chunk| PutPart::Chunk(chunk.to_vec().into()).into());
    messages.extend(chunks);
    put_messages(client, messages).await
}

pub(crate) async fn put_messages(
    client: &mut Client,
    messages: Vec<pb::PutShardRequest>,
) -> Result<Receipt, WireError> {
    let reply = client.put_shard(tokio_stream::iter(messages)).await?;
    Ok(Receipt::try_from(reply.into_inner())?)
}

/// What a read brought: pieces in order, and what was said to be damaged.
#[derive(Debug, Default)]
pub(crate) struct Got {
    pub(crate) len: u64,
    pub(crate) pieces: Vec<(u64, Vec<u8>)>,
    pub(crate) damaged: Vec<ByteRange>,
}

impl Got {
    pub(crate) fn whole(&self) -> Vec<u8> {
        assert_eq!(self.damaged, [], "expected an intact shard");
        self.pieces.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }
}

pub(crate) async fn get(client: &mut Client, shard: ShardId, range: Option<ByteRange>) -> Result<Got, WireError> {
    get_with(client, GetShard { shard, range, grant: None }).await
}

pub(crate) async fn get_with(client: &mut Client, wanted: GetShard) -> Result<Got, WireError> {
    let mut stream = client.get_shard(pb::GetShardRequest::from(&wanted)).await?.into_inner();
    let mut got = Got::default();
    while let Some(message) = stream.message().await? {
        match GetPart::try_from(message)? {
            GetPart::Header { len, .. } => got.len = len,
            GetPart::Piece { offset, bytes } => got.pieces.push((offset, bytes.to_vec())),
            GetPart::Damaged(range) => got.damaged.push(range),
        }
    }
    Ok(got)
}

pub(crate) async fn list(auditor: &mut Client) -> Vec<SetEntry> {
    let (mut all, mut from) = (Vec::new(), Sequence(0));
    loop {
        // Two at a time, so that the pages are exercised.
        let reply = auditor.list_shards(pb::ListShardsRequest::from(ListShards { from, limit: 2 })).await.unwrap();
        let page = ShardPage::try_from(reply.into_inner()).unwrap();
        all.extend(page.entries);
        match page.next {
            Some(next) => from = next,
            None => return all,
        }
    }
}

pub(crate) async fn delete(auditor: &mut Client, grant: &SignedGrant) -> Result<bool, WireError> {
    let reply = auditor.delete_shard(pb::DeleteShardRequest { grant: grant.to_bytes() }).await?;
    Ok(reply.into_inner().existed)
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, WireError>, code: ErrorCode, word: &str) {
    let error = result.expect_err("expected a refusal");
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(word), "{word:?} is not in {:?}", error.message);
}

/// Waits for what another task brings about. Long: the committer gives way to whatever else the machine does, other
/// tests included, and nothing here is about how fast it is.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(180);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "not within three minutes: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Changes one byte of a stored shard behind the node's back.
pub(crate) fn flip(volume_dir: &Path, kind: u8, id: [u8; 32], at: u64) {
    use std::os::unix::fs::FileExt;
    let volume = holdfast_volume::inspect(volume_dir).unwrap();
    let (path, offset) = volume.locate(&holdfast_volume::Key { kind, id }).expect("stored");
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset + at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset + at).unwrap();
}

/// The numbers of a node's page, by name with labels as they are written.
pub(crate) async fn scrape(node: &Running) -> BTreeMap<String, f64> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(node.metrics().expect("metrics are served")).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\n# EOF\n"), "{answer}");
    let page = answer.split_once("\r\n\r\n").unwrap().1;
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.into(), value.parse().unwrap())).unwrap())
        .collect()
}
