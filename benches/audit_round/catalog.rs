//! A catalog in SQLite with nodes and placements, all good and committed to, as puts would have left it.

use std::{collections::BTreeMap, error::Error};

use holdfast_auditor::store::SqliteStore;
use holdfast_protocol::{
    model::{Assignment, ExtentRow, NodeLife, NodeRow, ObjectRow, SegmentRow, StagedSegment, UploadRow},
    store::{NewObject, StoreOp, StoreReply},
};
use holdfast_types::{
    Code, Incarnation, NodeId, ObjectId, OwnerId, Root, SecretKey, SegmentId, SegmentRoot, Sequence, ShardIndex,
    UploadId, VolumeId, Wall, ZoneName,
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::contents::{Contents, LEN};

const OWNER: OwnerId = OwnerId([7; 32]);
/// Later than any round.
const NEVER: Wall = Wall(u64::MAX >> 1);
/// Segments of one upload: an upload's commit is one transaction.
const UPLOAD_SEGMENTS: usize = 1000;

/// A node as the bench plays it: its key, and which content lies under which sequence number.
pub(crate) struct Peer {
    pub(crate) key: SecretKey,
    pub(crate) held: Vec<(Sequence, usize)>,
}

/// The catalog and its nodes.
pub(crate) struct Catalog {
    pub(crate) store: SqliteStore,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    pub(crate) rows: BTreeMap<NodeId, NodeRow>,
    pub(crate) shards_per_node: usize,
    _home: TempDir,
}

impl Catalog {
    /// `nodes` × `shards` placements of segments of `width` shards; `width` divides `nodes`.
    pub(crate) async fn fill(
        nodes: usize,
        shards: usize,
        width: u16,
        contents: &Contents,
    ) -> Result<Self, Box<dyn Error>> {
        let home = TempDir::new()?;
        let path = home.path().join("catalog.sqlite");
        let store = SqliteStore::open(&path).await?;
        let mut filled =
            Self { store, peers: BTreeMap::new(), rows: BTreeMap::new(), shards_per_node: shards, _home: home };
        let mut ids = Vec::with_capacity(nodes);
        for number in 0..nodes as u64 {
            ids.push(filled.join(number).await?);
        }
        let groups: Vec<&[NodeId]> = ids.chunks_exact(usize::from(width)).collect();
        let all: Vec<(usize, usize)> =
            (0..shards).flat_map(|row| (0..groups.len()).map(move |group| (row, group))).collect();
        for (number, part) in all.chunks(UPLOAD_SEGMENTS).enumerate() {
            filled.put(number as u64, part, &groups, contents).await?;
        }
        // As the acceptance of each list would leave it, in one transaction instead of one a shard.
        let mut direct = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await?;
        sqlx::query("CREATE TEMP TABLE list (shard BLOB PRIMARY KEY, digest BLOB)").execute(&mut direct).await?;
        for content in &contents.all {
            let row = sqlx::query("INSERT INTO list VALUES (?1, ?2)");
            let row = row.bind(content.shard.0.as_bytes().as_slice()).bind(content.list.as_slice());
            row.execute(&mut direct).await?;
        }
        let accept = "UPDATE placement SET provenance = 'auditor-read', \
            digest = (SELECT digest FROM list WHERE list.shard = placement.shard)";
        sqlx::query(accept).execute(&mut direct).await?;
        direct.close().await?;
        Ok(filled)
    }

    async fn join(&mut self, number: u64) -> Result<NodeId, Box<dyn Error>> {
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let key = SecretKey::from_seed(&seed);
        let id = key.public().node_id();
        let row = NodeRow {
            id,
            key: key.public(),
            addresses: vec!["[::1]:1".into()],
            zone: ZoneName("a".into()),
            operator: String::new(),
            life: NodeLife::Active,
            containment: None,
            volume: VolumeId([1; 16]),
            incarnation: Incarnation([1; 16]),
            capacity: 1 << 40,
            used: 0,
            joined: Wall(0),
            seen: Wall(0),
            judged: None,
            version: 0,
        };
        match self.store.apply(StoreOp::PutNode(Box::new(row))).await {
            StoreReply::Nodes(rows) => self.rows.extend(rows.into_iter().map(|row| (row.id, row))),
            other => return Err(format!("expected the node's row, got {other:?}").into()),
        }
        self.peers.insert(id, Peer { key, held: Vec::new() });
        Ok(id)
    }

    /// One upload of these (row, group) segments, committed as one object.
    async fn put(
        &mut self,
        number: u64,
        part: &[(usize, usize)],
        groups: &[&[NodeId]],
        contents: &Contents,
    ) -> Result<(), Box<dyn Error>> {
        let width = groups.first().map_or(0, |group| group.len()) as u16;
        let code = Code::new(width - width / 5, width / 5)?;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let upload = UploadId(id);
        let row = UploadRow {
            id: upload,
            owner: OWNER,
            policy: "bench".into(),
            code,
            write_threshold: width,
            repair_threshold: code.data() + 1,
            expires: NEVER,
            committed: false,
        };
        self.done(StoreOp::BeginUpload(row)).await?;
        let mut extents = Vec::with_capacity(part.len());
        for (at, (row, group)) in part.iter().enumerate() {
            let offset = at as u64 * LEN;
            let segment = self.stage(upload, offset, (*row, *group), groups[*group], code, contents).await?;
            extents.push(ExtentRow { at: offset, segment, offset: 0, len: LEN });
        }
        let sealed_len = part.len() as u64 * LEN;
        let row = ObjectRow {
            id: ObjectId(Root::of(&id)),
            owner: OWNER,
            name: String::new(),
            sealed_len,
            plain_len: sealed_len,
            created: Wall(0),
            manifest: vec![],
            envelope: vec![],
        };
        let objects = vec![NewObject { row, extents, pages: vec![] }];
        self.done(StoreOp::CommitUpload { id: upload, owner: OWNER, objects, at: Wall(0) }).await
    }

    async fn stage(
        &mut self,
        upload: UploadId,
        offset: u64,
        (row, group): (usize, usize),
        nodes: &[NodeId],
        code: Code,
        contents: &Contents,
    ) -> Result<SegmentId, Box<dyn Error>> {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(row as u64).to_le_bytes());
        id[8..].copy_from_slice(&(group as u64).to_le_bytes());
        let segment = SegmentId(id);
        let shards = (0..nodes.len()).map(|at| contents.all[row + at].shard).collect();
        let assignment = |(at, node): (usize, &NodeId)| Assignment {
            index: ShardIndex(at as u16),
            shard: contents.all[row + at].shard,
            node: *node,
            sequence: None,
        };
        let assignments = nodes.iter().enumerate().map(assignment).collect();
        let row_of_segment = SegmentRow {
            id: segment,
            owner: OWNER,
            root: SegmentRoot(Root::of(&id)),
            len: LEN,
            code,
            shard_len: LEN,
            shards,
            repair_threshold: code.data() + 1,
            secret_for_owner: vec![],
            secret_for_recovery: vec![],
        };
        let staged = Box::new(StagedSegment { upload, offset, segment: row_of_segment, assignments });
        self.done(StoreOp::StageSegment { staged, expires: NEVER, witnesses: vec![] }).await?;
        let sequence = Sequence(row as u64);
        let receipts = nodes.iter().enumerate().map(|(at, node)| (ShardIndex(at as u16), *node, sequence)).collect();
        self.done(StoreOp::NoteReceipts { upload, segment, receipts }).await?;
        for (at, node) in nodes.iter().enumerate() {
            let peer = self.peers.get_mut(node).ok_or("a node of the catalog")?;
            peer.held.push((sequence, row + at));
        }
        Ok(segment)
    }

    async fn done(&self, op: StoreOp) -> Result<(), Box<dyn Error>> {
        match self.store.apply(op).await {
            StoreReply::Conflict(why) | StoreReply::Failed(why) => Err(why.into()),
            StoreReply::NotFound => Err("expected what was just put in the catalog, it is not there".into()),
            _ => Ok(()),
        }
    }
}
