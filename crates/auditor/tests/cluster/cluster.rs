//! A cluster on the loopback, and what the tests ask of it.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use holdfast_auditor::{Config, Running, config};
use holdfast_client::{
    Auditor, Client, ClientConfig, ObjectStat, OwnerKeyFile, PutOptions, Quiet, SegmentStat, Source,
};
use holdfast_node::{Checked, identity};
use holdfast_protocol::{
    model::{Outcome, RepairRow, Verdict},
    profile::Profile,
};
use holdfast_transport::{Address, ClusterCa, Dialer, PeerName, Subject, TlsMaterial, Validity};
use holdfast_types::{Millis, NodeId, ObjectId, OwnerId, SecretKey, ShardId, VerdictId, Wall};
use holdfast_volume::Key;
use holdfast_wire::{MESSAGE_LEN_MAX, convert::ListVerdicts, pb::node::v1::node_service_client::NodeServiceClient};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::relay::{Behind, Relay};

/// Whatever must come comes within this; a cluster that needs longer does not do it at all.
const PATIENCE: Duration = Duration::from_secs(180);
const KIND_SHARD: u8 = 0;

pub(crate) fn now() -> Wall {
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

fn validity() -> Validity {
    Validity::starting(now(), Millis::from_secs(86_400))
}

/// Bytes that do not shrink, another stream for each seed.
pub(crate) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    holdfast_types::Transcript::new("holdfast test bytes").absorb("seed", &[seed]).stream().fill(&mut out);
    out
}

/// Waits for what others bring about.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Folds only, twice a second; repairs at once; patience with whoever is silent.
pub(crate) fn profile() -> Profile {
    Profile {
        name: "test".into(),
        fold_every: Millis(500),
        sample_every: Millis::from_secs(3600),
        // A machine with other work must not make an honest node late.
        answer_within: Millis::from_secs(5),
        containment: vec![Millis::from_secs(600)],
        repair_every: Millis(200),
        repair_retry: Millis(500),
        ..Profile::demo()
    }
}

/// The same without patience: who stays silent is given up within half a minute, and looked for again soon.
pub(crate) fn impatient() -> Profile {
    Profile {
        sample_every: Millis::from_secs(3),
        containment: vec![Millis::from_secs(1), Millis::from_secs(2), Millis::from_secs(4)],
        ..profile()
    }
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) relay: Relay,
    dir: PathBuf,
    running: holdfast_node::Running,
}

impl Node {
    pub(crate) fn incarnation(&self) -> holdfast_types::Incarnation {
        self.running.volume().1
    }

    /// Its receipt key, as a thief would have it.
    pub(crate) fn key(&self) -> SecretKey {
        identity::load_or_create(&self.dir.join("node.key"), &self.dir.join("none")).unwrap()
    }

    /// Where a shard's bytes lie in the node's files.
    fn locate(&self, shard: ShardId) -> (PathBuf, u64) {
        let volume = holdfast_volume::inspect(&self.dir.join("data/volume")).unwrap();
        volume.locate(&Key { kind: KIND_SHARD, id: *shard.as_bytes() }).expect("stored")
    }

    /// Overwrites bytes of a shard and makes the volume's own checksum agree: what is gone, and the node does not know.
    pub(crate) fn lose(&self, shard: ShardId, shard_len: u64, at: u64, count: usize) {
        use std::os::unix::fs::FileExt;
        let (path, offset) = self.locate(shard);
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut bytes = vec![0; count];
        file.read_exact_at(&mut bytes, offset + at).unwrap();
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        file.write_all_at(&bytes, offset + at).unwrap();
        // docs/formats/volume.md: one checksum a piece, in a table before the trailer of 128 bytes.
        let (piece, pieces) = (at / PIECE, shard_len.div_ceil(PIECE));
        assert_eq!(piece, (at + count as u64 - 1) / PIECE, "within one piece");
        let (from, to) = (piece * PIECE, shard_len.min((piece + 1) * PIECE));
        let mut bytes = vec![0; (to - from) as usize];
        file.read_exact_at(&mut bytes, offset + from).unwrap();
        let mut sum = crc32c::crc32c(b"holdfast volume piece v1");
        sum = crc32c::crc32c_append(sum, &[KIND_SHARD]);
        sum = crc32c::crc32c_append(sum, shard.as_bytes());
        sum = crc32c::crc32c_append(sum, &shard_len.to_le_bytes());
        sum = crc32c::crc32c_append(sum, &(piece as u32).to_le_bytes());
        sum = crc32c::crc32c_append(sum, &bytes);
        let extent = (shard_len + 4 * pieces + 128).next_multiple_of(4096);
        let entry = offset + extent - 128 - 4 * pieces + 4 * piece;
        file.write_all_at(&sum.to_le_bytes(), entry).unwrap();
    }
}

const PIECE: u64 = holdfast_volume::PIECE_LEN;

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) client: Client,
    pub(crate) auditor: Auditor,
    running: Option<Running>,
    config: Config,
    pub(crate) ca: ClusterCa,
    pub(crate) dir: TempDir,
}

fn issue(ca: &ClusterCa, subject: &Subject) -> TlsMaterial {
    ca.issue(subject, &["127.0.0.1".into()], validity()).unwrap().material(now()).unwrap()
}

fn auditor_subject() -> Subject {
    Subject::Auditor("auditor".parse::<PeerName>().unwrap())
}

impl Cluster {
    /// A policy of 2 + 2, with so many nodes, each in a zone of its own.
    pub(crate) async fn start(count: u8, profile: Profile) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = ClusterCa::generate("test".parse().unwrap(), now()).unwrap();
        ca.issue(&auditor_subject(), &["127.0.0.1".into()], validity()).unwrap().save(&dir.path().join("tls")).unwrap();
        let text = r#"
            cluster = "test"
            listen = ["127.0.0.1:0"]
            data_dir = "auditor"
            [tls]
            ca = "tls/ca.pem"
            cert = "tls/cert.pem"
            key = "tls/key.pem"
            [metrics]
            listen = "127.0.0.1:0"
            [policy.default]
            data = 2
            parity = 2
        "#;
        let raw: config::Raw = toml::from_str(text).unwrap();
        let config = Config { profile, ..raw.into_checked(dir.path()).unwrap() };
        let running = Running::start(config.clone()).await.unwrap();
        // The same port after a restart, as with any configured address.
        let config = Config { listen: running.addresses().to_vec(), ..config };
        let address = running.addresses()[0];
        let key = OwnerKeyFile::create(&dir.path().join("owner.key")).unwrap();
        let owner = key.owner_id();
        ca.issue(&Subject::Client(owner), &[], validity()).unwrap().save(&dir.path().join("client")).unwrap();
        let text = format!(
            "auditors = [\"{address}\"]\ntls_dir = \"client\"\nowner_key = \"owner.key\"\nstate_dir = \"uploads\"\n"
        );
        let client = Client::connect(&ClientConfig::parse(&text, dir.path()).unwrap()).await.unwrap();
        let addresses: Vec<Address> = vec![address.to_string().parse().unwrap()];
        let auditor = Auditor::connect(&Dialer::new(issue(&ca, &Subject::Client(owner))), &addresses).await.unwrap();
        let mut cluster = Self { nodes: Vec::new(), client, auditor, running: Some(running), config, ca, dir };
        for number in 0..count {
            let node = cluster.node(number, address, owner).await;
            cluster.nodes.push(node);
        }
        eventually("all nodes registered", async || {
            let nodes = cluster.auditor.nodes().await.unwrap();
            (nodes.len() == usize::from(count)).then_some(())
        })
        .await;
        cluster
    }

    /// To the auditor, as any client's.
    pub(crate) async fn channel(&self) -> tonic::transport::Channel {
        let address: Address = self.config.listen[0].to_string().parse().unwrap();
        let dialer = Dialer::new(issue(&self.ca, &Subject::Client(self.client.owner())));
        dialer.connect(holdfast_transport::Role::Auditor, &[address]).await.unwrap()
    }

    async fn node(&self, number: u8, auditor: SocketAddr, owner: OwnerId) -> Node {
        let dir = self.dir.path().join(format!("node-{number}"));
        fs::create_dir(&dir).unwrap();
        let key = identity::load_or_create(&dir.join("node.key"), &dir.join("none")).unwrap();
        let id = key.public().node_id();
        self.ca.issue(&Subject::Node(id), &["127.0.0.1".into()], validity()).unwrap().save(&dir.join("tls")).unwrap();
        let material = TlsMaterial::load(&dir.join("tls"), now()).unwrap();
        let (relay, address, told) = Relay::start(&material).await;
        let text = format!(
            r#"
            listen = ["127.0.0.1:0"]
            advertise = ["{address}"]
            data_dir = "data"
            identity_key = "node.key"
            capacity = "1GiB"
            zone = "zone-{number}"
            [auditor]
            name = "auditor"
            addresses = ["{auditor}"]
            [tls]
            ca = "tls/ca.pem"
            cert = "tls/cert.pem"
            key = "tls/key.pem"
            [commitments]
            cpu_share = 1.0
            "#
        );
        let running = holdfast_node::Running::start(checked(&text, &dir)).await.unwrap();
        let behind = self.behind(&running, owner, key).await;
        told.send_replace(Some(behind));
        Node { id, relay, dir, running }
    }

    async fn behind(&self, node: &holdfast_node::Running, owner: OwnerId, key: SecretKey) -> Behind {
        let address: Address = node.addresses()[0].to_string().parse().unwrap();
        let stub = async |subject: Subject| {
            let dialer = Dialer::new(issue(&self.ca, &subject));
            let channel = dialer.connect(Subject::Node(node.id()), std::slice::from_ref(&address)).await.unwrap();
            NodeServiceClient::new(channel)
                .max_decoding_message_size(MESSAGE_LEN_MAX)
                .max_encoding_message_size(MESSAGE_LEN_MAX)
        };
        let (auditor, client) = (stub(auditor_subject()).await, stub(Subject::Client(owner)).await);
        Behind { auditor, client, key, incarnation: node.volume().1 }
    }

    /// Ends the auditor as a crash does, and starts it again on what it left.
    pub(crate) async fn restart_auditor(&mut self) {
        drop(self.running.take());
        let config = self.config.clone();
        self.running =
            Some(eventually("the auditor starts again", async || Running::start(config.clone()).await.ok()).await);
    }

    pub(crate) fn by_id(&self, id: NodeId) -> &Node {
        self.nodes.iter().find(|node| node.id == id).unwrap()
    }

    /// The numbers of the auditor's page, by name with labels as they are written.
    pub(crate) async fn scrape(&self) -> BTreeMap<String, f64> {
        let address = self.running.as_ref().and_then(Running::metrics).expect("metrics are served");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: auditor\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\n# EOF\n"), "{answer}");
        let lines = answer.split_once("\r\n\r\n").unwrap().1.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.into(), value.parse().unwrap())).unwrap())
            .collect()
    }

    pub(crate) async fn put(&self, bytes: &[u8]) -> ObjectId {
        let report =
            self.client.put(vec![Source::bytes("object", bytes.to_vec())], PutOptions::default(), Arc::new(Quiet));
        report.await.unwrap().objects[0].id
    }

    pub(crate) async fn get(&self, object: ObjectId) -> Vec<u8> {
        self.client.get(object, None, Vec::new(), Arc::new(Quiet)).await.unwrap().1
    }

    pub(crate) async fn stat(&self, object: ObjectId) -> ObjectStat {
        self.client.stat(object).await.unwrap()
    }

    pub(crate) async fn segment(&self, object: ObjectId) -> SegmentStat {
        self.stat(object).await.segments[0].clone()
    }

    /// Until every shard is committed to, so that a fold covers it.
    pub(crate) async fn committed(&self) {
        eventually("every shard is committed to", async || {
            let status = self.auditor.status().await.unwrap();
            (status.catalog.pending_commitments == 0).then_some(())
        })
        .await;
    }

    /// Until every node that holds something was found to hold it, after this verdict.
    pub(crate) async fn all_held(&self, object: ObjectId, after: VerdictId) {
        let holders: Vec<NodeId> = self.segment(object).await.shards.iter().map(|shard| shard.node).collect();
        eventually("every holder is found to hold", async || {
            let verdicts = self.verdicts(after).await;
            let held = |node: &NodeId| {
                verdicts.iter().any(|v| v.node == *node && v.outcome == Outcome::Held && v.exceptions.is_empty())
            };
            holders.iter().all(held).then_some(())
        })
        .await;
    }

    /// All verdicts after this one.
    pub(crate) async fn verdicts(&self, mut after: VerdictId) -> Vec<Verdict> {
        let mut all = Vec::new();
        loop {
            let page = ListVerdicts { after, node: None, limit: 64, latest: false };
            let page = self.auditor.verdicts(page).await.unwrap();
            let Some(last) = page.last() else { return all };
            after = last.verdict.id;
            all.extend(page.into_iter().map(|view| view.verdict));
        }
    }

    pub(crate) async fn newest(&self) -> VerdictId {
        self.verdicts(VerdictId(0)).await.last().map_or(VerdictId(0), |verdict| verdict.id)
    }

    pub(crate) async fn repairs(&self) -> Vec<RepairRow> {
        self.auditor.repairs(100).await.unwrap()
    }

    /// Until all shards of the object are good and on nodes that are not among these.
    pub(crate) async fn whole_without(&self, object: ObjectId, nodes: &[NodeId]) {
        eventually("the object is whole again", async || {
            let segment = self.segment(object).await;
            let elsewhere = segment.shards.iter().all(|shard| !nodes.contains(&shard.node));
            (segment.spare() == 2 && elsewhere).then_some(())
        })
        .await;
    }

    /// Nobody but these was ever found wanting: a node may be late on a machine that has other work, and nothing comes
    /// of it.
    pub(crate) async fn only_these_were_blamed(&self, nodes: &[NodeId]) {
        for verdict in self.verdicts(VerdictId(0)).await {
            let wanting = matches!(verdict.outcome, Outcome::Corrupt | Outcome::Missing);
            let blameless = verdict.exceptions.is_empty() && !wanting;
            assert!(blameless || nodes.contains(&verdict.node), "an honest node was blamed: {verdict:?}");
        }
    }

    pub(crate) async fn stop(mut self) {
        for node in self.nodes {
            node.running.stop().await.unwrap();
        }
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }
}

fn checked(text: &str, base: &Path) -> Checked {
    Checked::of(toml::from_str(text).unwrap(), base).unwrap()
}
