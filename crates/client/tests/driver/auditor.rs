//! An auditor's object service over the map store: the rules are the core's own, only the disk is not
//! there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{Stream, stream};
use holdfast_dispersal::RecoveryKey;
use holdfast_protocol::{
    model::{NodeLife, NodeRow, Standing},
    store::{MapStore, ROWS_MAX, Store, StoreOp, StoreReply},
    upload::{self, ObjectSpec, UploadError},
};
use holdfast_transport::{ClusterCa, Listener, ListenerLimits, Subject, builder, require_owner};
use holdfast_types::{
    Incarnation, Millis, NodeId, ObjectId, OwnerId, Policy, Root, SecretKey, SegmentId, UploadId, VolumeId, Wall,
    ZoneName,
};
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{
        BeginUpload, CommitPart, DeleteObject, ListObjects, LocateExtents, LocatedExtent, NodeContact, NoteReceipts,
        ObjectRecords, ObjectSummary, SegmentLocation, SegmentSpec, ShardAssignment, ShardCommitments, ShardLocation,
        ShardWitness, StageSegment, Staged, StagedSegmentView, UploadTerms,
    },
    pb::auditor::v1 as pb,
};
use pb::object_service_server::{ObjectService, ObjectServiceServer};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    cluster::{issue, now},
    node::Node,
};

const TTL: Millis = Millis::from_secs(600);

pub(crate) struct Catalog {
    pub(crate) store: MapStore,
    nodes: BTreeMap<NodeId, NodeRow>,
    policy: Policy,
    segment_len: u64,
    /// Calls that fail before the next one works, as if the auditor restarted.
    pub(crate) away: u32,
    /// Shards that are said to stand otherwise.
    pub(crate) standings: BTreeMap<NodeId, Standing>,
    /// Extents are told in so many bytes at a time.
    pub(crate) crumbs: u64,
    pub(crate) stages: u32,
    /// What came with each staging, in order.
    pub(crate) witnesses: BTreeMap<SegmentId, Vec<Vec<ShardWitness>>>,
    pub(crate) lists: BTreeMap<SegmentId, Vec<ShardCommitments>>,
    pub(crate) commits: u32,
    /// Commits take place, and are never answered.
    pub(crate) mute: bool,
}

#[derive(Clone)]
pub(crate) struct Auditor {
    key: SecretKey,
    pub(crate) address: SocketAddr,
    inner: Arc<Mutex<Catalog>>,
}

impl Auditor {
    pub(crate) fn key() -> SecretKey {
        SecretKey::from_seed(&[200; 32])
    }

    pub(crate) async fn start(ca: &ClusterCa, nodes: &[Node], policy: Policy, segment_len: u64) -> Self {
        let material = issue(ca, &Subject::Auditor("auditor-1".parse().unwrap()));
        let listener =
            Listener::bind("127.0.0.1:0".parse().unwrap(), &material, ListenerLimits::default()).await.unwrap();
        let mut store = MapStore::new();
        let mut rows = BTreeMap::new();
        for (number, node) in nodes.iter().enumerate() {
            let row = row(node, number);
            rows.insert(row.id, row.clone());
            store.apply(StoreOp::PutNode(Box::new(row)));
        }
        let (away, stages, commits) = (0, 0, 0);
        let catalog = Catalog {
            store,
            nodes: rows,
            policy,
            segment_len,
            away,
            standings: BTreeMap::new(),
            crumbs: u64::MAX,
            stages,
            witnesses: BTreeMap::new(),
            lists: BTreeMap::new(),
            commits,
            mute: false,
        };
        let auditor = Self { key: Self::key(), address: listener.address(), inner: Arc::new(Mutex::new(catalog)) };
        let service =
            ObjectServiceServer::new(auditor.clone()).max_decoding_message_size(holdfast_wire::MESSAGE_LEN_MAX);
        tokio::spawn(builder().add_service(service).serve_with_incoming(listener.incoming()));
        auditor
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Catalog> {
        self.inner.lock().unwrap()
    }

    /// A node whose address leads nowhere from now on.
    pub(crate) fn lose(&self, node: NodeId) {
        let mut inner = self.inner();
        if let Some(row) = inner.nodes.get_mut(&node) {
            // A port of the loopback that nobody listens on: discard.
            row.addresses = vec!["127.0.0.1:9".into()];
        }
    }

    fn commit(&self, id: UploadId, owner: OwnerId, specs: Vec<ObjectSpec>) -> Result<(), Status> {
        let mut inner = self.open()?;
        inner.commits += 1;
        let (row, staged) = match inner.store.apply(StoreOp::StagedSpans { id, owner }) {
            StoreReply::Spans(row, staged) => (row, staged),
            other => return Err(odd(other)),
        };
        if row.committed {
            return Ok(());
        }
        let objects = upload::commit(&row, &staged, specs, now()).map_err(refused)?;
        match inner.store.apply(StoreOp::CommitUpload { id, owner, objects, at: now() }) {
            StoreReply::Committed { .. } => Ok(()),
            other => Err(odd(other)),
        }
    }

    fn open(&self) -> Result<MutexGuard<'_, Catalog>, Status> {
        let mut inner = self.inner();
        if inner.away > 0 {
            inner.away -= 1;
            return Err(WireError::new(ErrorCode::Retry, "restarting").retry_after(Millis(20)).into());
        }
        Ok(inner)
    }
}

fn row(node: &Node, number: usize) -> NodeRow {
    NodeRow {
        id: node.id(),
        key: node.public(),
        addresses: vec![node.address.to_string()],
        zone: ZoneName(format!("zone-{number}")),
        operator: "op".into(),
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
    }
}

fn refused(error: UploadError) -> Status {
    let code = match &error {
        UploadError::Placement(_) => ErrorCode::Exhausted,
        UploadError::Segment(_) | UploadError::Invalid { .. } => ErrorCode::Invalid,
        UploadError::Conflict(_) => ErrorCode::Conflict,
    };
    WireError::new(code, error).into()
}

fn odd(reply: StoreReply) -> Status {
    match reply {
        StoreReply::NotFound => WireError::new(ErrorCode::NotFound, "no such thing").into(),
        StoreReply::Conflict(why) => WireError::new(ErrorCode::Conflict, why).into(),
        other => Status::internal(format!("{other:?}")),
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ObjectService for Auditor {
    async fn begin_upload(
        &self,
        request: Request<pb::BeginUploadRequest>,
    ) -> Result<Response<pb::BeginUploadResponse>, Status> {
        let owner = require_owner(&request)?;
        let begin = BeginUpload::try_from(request.into_inner())?;
        let mut inner = self.open()?;
        let row = upload::begin(begin.upload, owner, &inner.policy, &inner.nodes, now() + TTL).map_err(refused)?;
        let StoreReply::Begun { upload: row, segments } = inner.store.apply(StoreOp::BeginUpload(row)) else {
            return Err(Status::aborted("taken"));
        };
        let recovery = RecoveryKey::from_bytes([3; 32]).public();
        let terms = UploadTerms::of(&row, segments, inner.segment_len, &recovery.0, "test");
        Ok(Response::new((&terms).into()))
    }

    type ListStagedSegmentsStream = Answers<pb::ListStagedSegmentsResponse>;

    async fn list_staged_segments(
        &self,
        request: Request<pb::ListStagedSegmentsRequest>,
    ) -> Result<Response<Self::ListStagedSegmentsStream>, Status> {
        let owner = require_owner(&request)?;
        let id = UploadId::try_from(request.into_inner())?;
        let mut inner = self.open()?;
        let op = StoreOp::StagedSegments { id, owner, after: None, limit: ROWS_MAX };
        let staged = match inner.store.apply(op) {
            StoreReply::Upload(_, staged) => staged,
            other => return Err(odd(other)),
        };
        let views: Vec<_> = staged
            .iter()
            .map(|staged| {
                let place = |a: &_| ShardAssignment::of(a, NodeContact::from(&inner.nodes[&a.node]), None);
                let assignments = staged.assignments.iter().map(place).collect();
                let view = StagedSegmentView { offset: staged.offset, segment: SegmentSpec::of(staged), assignments };
                Ok((&view).into())
            })
            .collect();
        Ok(Response::new(Box::pin(stream::iter(views))))
    }

    async fn stage_segment(
        &self,
        request: Request<pb::StageSegmentRequest>,
    ) -> Result<Response<pb::StageSegmentResponse>, Status> {
        let owner = require_owner(&request)?;
        let StageSegment { upload, offset, segment: spec, avoid, witnesses, commitments } =
            StageSegment::try_from(request.into_inner())?;
        let mut inner = self.open()?;
        inner.stages += 1;
        inner.witnesses.entry(spec.id).or_default().push(witnesses);
        inner.lists.insert(spec.id, commitments);
        let (row, known) = match inner.store.apply(StoreOp::StagedSegment { id: upload, owner, segment: spec.id }) {
            StoreReply::Upload(row, known) => (row, known.into_iter().next()),
            other => return Err(odd(other)),
        };
        let spec = upload::SegmentSpec {
            id: spec.id,
            offset,
            root: spec.root,
            len: spec.len,
            shard_len: spec.shard_len,
            shards: spec.shards,
            secret_for_owner: spec.secret_for_owner,
            secret_for_recovery: spec.secret_for_recovery,
        };
        let avoid: BTreeSet<NodeId> = avoid.into_iter().collect();
        let staged = upload::stage(&row, known.as_ref(), spec, &inner.nodes, &avoid).map_err(refused)?;
        let id = staged.segment.id;
        let expires = now() + TTL;
        match inner.store.apply(StoreOp::StageSegment { staged: Box::new(staged), expires, witnesses: vec![] }) {
            StoreReply::Done => {}
            other => return Err(odd(other)),
        }
        let op = StoreOp::StagedSegment { id: upload, owner, segment: id };
        let StoreReply::Upload(_, one) = inner.store.apply(op) else {
            return Err(Status::internal("gone"));
        };
        let staged = one.into_iter().next().unwrap();
        let grants: BTreeMap<_, _> = upload::put_grants(&staged, expires, &self.key).into_iter().collect();
        let place = |a: &holdfast_protocol::model::Assignment| {
            ShardAssignment::of(a, NodeContact::from(&inner.nodes[&a.node]), grants.get(&a.index).copied())
        };
        let assignments = staged.assignments.iter().map(place).collect();
        Ok(Response::new((&Staged { assignments, expires }).into()))
    }

    async fn note_receipts(
        &self,
        request: Request<pb::NoteReceiptsRequest>,
    ) -> Result<Response<pb::NoteReceiptsResponse>, Status> {
        let owner = require_owner(&request)?;
        let note = NoteReceipts::try_from(request.into_inner())?;
        let mut inner = self.open()?;
        let op = StoreOp::StagedSegment { id: note.upload, owner, segment: note.segment };
        let staged = match inner.store.apply(op) {
            StoreReply::Upload(_, one) => one.into_iter().next(),
            other => return Err(odd(other)),
        };
        let staged = staged.ok_or_else(|| Status::not_found("no such segment"))?;
        let received: Vec<_> = note.receipts.iter().map(|entry| (entry.index, entry.receipt)).collect();
        let sorted = upload::receipts(&staged, &received, &inner.nodes);
        let noted = sorted.valid.len() as u32;
        let (upload, segment) = (note.upload, note.segment);
        inner.store.apply(StoreOp::NoteReceipts { upload, segment, receipts: sorted.valid });
        Ok(Response::new(pb::NoteReceiptsResponse { noted }))
    }

    async fn commit_upload(
        &self,
        request: Request<Streaming<pb::CommitUploadRequest>>,
    ) -> Result<Response<pb::CommitUploadResponse>, Status> {
        let owner = require_owner(&request)?;
        let mut stream = request.into_inner();
        let (mut id, mut specs) = (None, Vec::<ObjectSpec>::new());
        while let Some(message) = stream.message().await? {
            match CommitPart::try_from(message)? {
                CommitPart::Header(upload) => id = Some(upload),
                CommitPart::Object(object) => specs.push(ObjectSpec {
                    manifest: object.manifest,
                    envelope: object.envelope,
                    offset: object.offset,
                    sealed_len: object.sealed_len,
                    plain_len: object.plain_len,
                    pages: Vec::new(),
                }),
                CommitPart::Page(page) => specs.last_mut().unwrap().pages.push(page),
            }
        }
        let id = id.ok_or_else(|| Status::invalid_argument("no header"))?;
        let ids: Vec<ObjectId> = specs.iter().map(|spec| ObjectId(Root::of(&spec.manifest))).collect();
        self.commit(id, owner, specs)?;
        if self.inner().mute {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(ids.as_slice().into()))
    }

    async fn abort_upload(
        &self,
        request: Request<pb::AbortUploadRequest>,
    ) -> Result<Response<pb::AbortUploadResponse>, Status> {
        let owner = require_owner(&request)?;
        let id = UploadId::try_from(request.into_inner())?;
        self.open()?.store.apply(StoreOp::AbortUpload { id, owner, at: now() });
        Ok(Response::new(pb::AbortUploadResponse {}))
    }

    async fn get_object(
        &self,
        request: Request<pb::GetObjectRequest>,
    ) -> Result<Response<pb::GetObjectResponse>, Status> {
        let owner = require_owner(&request)?;
        let id = ObjectId::try_from(request.into_inner())?;
        match self.open()?.store.apply(StoreOp::Object { owner, id }) {
            StoreReply::Object(row) => {
                let summary = ObjectSummary::from(&*row);
                let records = ObjectRecords { summary, manifest: row.manifest, envelope: row.envelope };
                Ok(Response::new(records.into()))
            }
            other => Err(odd(other)),
        }
    }

    async fn get_page(&self, request: Request<pb::GetPageRequest>) -> Result<Response<pb::GetPageResponse>, Status> {
        let owner = require_owner(&request)?;
        let root = Root::try_from(request.into_inner())?;
        match self.open()?.store.apply(StoreOp::Page { owner, root: root.0 }) {
            StoreReply::Page(page) => Ok(Response::new(pb::GetPageResponse { page })),
            other => Err(odd(other)),
        }
    }

    type LocateExtentsStream = Answers<pb::LocateExtentsResponse>;

    async fn locate_extents(
        &self,
        request: Request<pb::LocateExtentsRequest>,
    ) -> Result<Response<Self::LocateExtentsStream>, Status> {
        let owner = require_owner(&request)?;
        let LocateExtents { object: id, sealed } = LocateExtents::try_from(request.into_inner())?;
        let mut inner = self.open()?;
        let (from, to) = sealed.map_or((0, u64::MAX >> 1), |range| (range.start(), range.end()));
        let extents = match inner.store.apply(StoreOp::Extents { owner, id, from, to, limit: 4096 }) {
            StoreReply::Extents(extents) => extents,
            other => return Err(odd(other)),
        };
        let mut answers = Vec::new();
        for extent in extents {
            let StoreReply::Segment(view) = inner.store.apply(StoreOp::Segment(extent.segment)) else {
                return Err(Status::internal("a segment is gone"));
            };
            let shards = view.placements.iter().map(|placement| {
                let contact = NodeContact::from(&inner.nodes[&placement.node]);
                let mut placement = placement.clone();
                if let Some(standing) = inner.standings.get(&placement.node) {
                    placement.standing = standing.clone();
                }
                ShardLocation::of(&placement, contact, false, None)
            });
            let mut segment = Some(SegmentLocation::of(&view.segment, shards.collect()));
            let mut within = 0;
            while within < extent.len {
                let (at, offset, len) =
                    (extent.at + within, extent.offset + within, inner.crumbs.min(extent.len - within));
                let located = LocatedExtent { at, offset, len, segment: segment.take() };
                answers.push(Ok((&located).into()));
                within += len;
            }
        }
        Ok(Response::new(Box::pin(stream::iter(answers))))
    }

    async fn list_objects(
        &self,
        request: Request<pb::ListObjectsRequest>,
    ) -> Result<Response<pb::ListObjectsResponse>, Status> {
        let owner: OwnerId = require_owner(&request)?;
        let ListObjects { after, limit } = ListObjects::try_from(request.into_inner())?;
        match self.open()?.store.apply(StoreOp::Objects { owner, after, limit }) {
            StoreReply::Objects(rows) => {
                let objects = rows.iter().map(|row| ObjectSummary::from(row).into()).collect();
                Ok(Response::new(pb::ListObjectsResponse { objects }))
            }
            other => Err(odd(other)),
        }
    }

    async fn delete_object(
        &self,
        request: Request<pb::DeleteObjectRequest>,
    ) -> Result<Response<pb::DeleteObjectResponse>, Status> {
        let owner = require_owner(&request)?;
        let DeleteObject { id, tombstone } = DeleteObject::try_from(request.into_inner())?;
        self.open()?.store.apply(StoreOp::DeleteObject { owner, id, tombstone, at: now() });
        Ok(Response::new(pb::DeleteObjectResponse {}))
    }
}
