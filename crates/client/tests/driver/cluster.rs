//! A cluster on the loopback: mutual TLS and gRPC are real; nodes and auditor are in this process.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use holdfast_client::{
    Client, ClientConfig, ClientError, GetReport, OwnerKeyFile, Progress, PutOptions, PutReport, Quiet, Source,
};
use holdfast_dispersal::FRAME_SEALED_LEN_MAX;
use holdfast_transport::{ClusterCa, Subject, TlsMaterial, Validity};
use holdfast_types::{ByteRange, Code, Millis, ObjectId, Policy, Wall};
use tempfile::TempDir;

use crate::{auditor::Auditor, node::Node};

/// Two frames a segment: large enough for objects of many segments, small enough to be quick.
const SEGMENT_LEN: u64 = 2 * FRAME_SEALED_LEN_MAX;

pub(crate) fn now() -> Wall {
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

fn validity() -> Validity {
    Validity::starting(now(), Millis::from_secs(86_400))
}

pub(crate) fn issue(ca: &ClusterCa, subject: &Subject) -> TlsMaterial {
    ca.issue(subject, &["127.0.0.1".into()], validity()).unwrap().material(now()).unwrap()
}

pub(crate) struct Cluster {
    pub(crate) auditor: Auditor,
    pub(crate) nodes: Vec<Node>,
    pub(crate) config: ClientConfig,
    pub(crate) client: Client,
    pub(crate) dir: TempDir,
}

impl Cluster {
    /// Code 4 + 2, all six shards wanted.
    pub(crate) async fn start(nodes: u8) -> Self {
        Self::with_threshold(nodes, 6).await
    }

    pub(crate) async fn with_threshold(count: u8, threshold: u16) -> Self {
        let policy = Policy::new("default", Code::new(4, 2).unwrap()).with_write_threshold(threshold).unwrap();
        Self::build(count, policy, SEGMENT_LEN).await
    }

    pub(crate) async fn build(count: u8, policy: Policy, segment_len: u64) -> Self {
        let ca = ClusterCa::generate("test".parse().unwrap(), now()).unwrap();
        let mut nodes = Vec::new();
        for number in 1..=count {
            nodes.push(Node::start(&ca, number, Auditor::key().public()).await);
        }
        let auditor = Auditor::start(&ca, &nodes, policy, segment_len).await;
        let dir = tempfile::tempdir().unwrap();
        let key = OwnerKeyFile::create(&dir.path().join("owner.key")).unwrap();
        let tls = dir.path().join("tls");
        ca.issue(&Subject::Client(key.owner_id()), &[], validity()).unwrap().save(&tls).unwrap();
        let text = format!(
            "auditors = [\"{}\"]\ntls_dir = \"tls\"\nowner_key = \"owner.key\"\nstate_dir = \"uploads\"\n",
            auditor.address
        );
        let config = ClientConfig::parse(&text, dir.path()).unwrap();
        let client = Client::connect(&config).await.unwrap();
        Self { auditor, nodes, config, client, dir }
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) async fn put(&self, name: &str, bytes: &[u8]) -> PutReport {
        self.try_put(vec![Source::bytes(name, bytes.to_vec())]).await.unwrap()
    }

    pub(crate) async fn try_put(&self, sources: Vec<Source>) -> Result<PutReport, ClientError> {
        self.client.put(sources, PutOptions::default(), Arc::new(Quiet)).await
    }

    pub(crate) async fn get(&self, object: ObjectId, range: Option<ByteRange>) -> (GetReport, Vec<u8>) {
        self.try_get(object, range).await.unwrap()
    }

    pub(crate) async fn try_get(
        &self,
        object: ObjectId,
        range: Option<ByteRange>,
    ) -> Result<(GetReport, Vec<u8>), ClientError> {
        self.client.get(object, range, Vec::new(), Arc::new(Quiet)).await
    }

    /// Nodes that hold a shard of the object's first segment, data shards first.
    pub(crate) async fn holders(&self, object: ObjectId) -> Vec<Node> {
        let stat = self.client.stat(object).await.unwrap();
        let shards = &stat.segments[0].shards;
        let holder = |id| self.nodes.iter().find(|node| node.id() == id).unwrap().clone();
        shards.iter().map(|shard| holder(shard.node)).collect()
    }

    pub(crate) fn heal(&self) {
        self.nodes.iter().for_each(|node| node.inner().fault = None);
    }
}

/// Bytes that do not shrink, another stream for each seed.
pub(crate) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
    out
}

/// Listens to everything.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) notices: Mutex<Vec<String>>,
    pub(crate) plain: Mutex<u64>,
    pub(crate) segments: Mutex<u64>,
}

impl Progress for Listener {
    fn plain(&self, bytes: u64) {
        *self.plain.lock().unwrap() += bytes;
    }
    fn segment(&self) {
        *self.segments.lock().unwrap() += 1;
    }
    fn notice(&self, text: &str) {
        self.notices.lock().unwrap().push(text.to_owned());
    }
}
