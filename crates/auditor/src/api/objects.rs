//! Objects of the caller: put, found, read, deleted.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, TryStreamExt};
use holdfast_dispersal::{Envelope, Tombstone};
use holdfast_protocol::{
    effect::Command,
    grants,
    model::{ExtentRow, NodeLife, NodeRow, SegmentView},
    store::{ROWS_MAX, StoreOp, StoreReply},
};
use holdfast_transport::require_owner;
use holdfast_types::{ByteRange, NodeId, ObjectId, OwnerId, Root, UploadId};
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{
        BeginUpload, DeleteObject, ListObjects, LocateExtents, LocatedExtent, NodeContact, NoteReceipts, ObjectRecords,
        ObjectSummary, SegmentLocation, ShardLocation, StageSegment,
    },
    pb::auditor::v1::{self as pb, object_service_server::ObjectService},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use super::{Api, STREAM_DEPTH, Streamed, unexpected};
use crate::clock;

#[tonic::async_trait]
impl ObjectService for Api {
    type ListStagedSegmentsStream = Streamed<pb::ListStagedSegmentsResponse>;
    type LocateExtentsStream = Streamed<pb::LocateExtentsResponse>;

    async fn begin_upload(
        &self,
        request: Request<pb::BeginUploadRequest>,
    ) -> Result<Response<pb::BeginUploadResponse>, Status> {
        let owner = require_owner(&request)?;
        let terms = self.begin(owner, BeginUpload::try_from(request.into_inner())?).await?;
        Ok(Response::new((&terms).into()))
    }

    async fn list_staged_segments(
        &self,
        request: Request<pb::ListStagedSegmentsRequest>,
    ) -> Result<Response<Self::ListStagedSegmentsStream>, Status> {
        let owner = require_owner(&request)?;
        let id = UploadId::try_from(request.into_inner())?;
        // The first page says whether there is such an upload at all; the others follow as they are read.
        let first = self.staged_views(id, owner, None).await?;
        let api = self.clone();
        let pages = futures::stream::try_unfold(first, move |page| {
            let api = api.clone();
            async move {
                let Some(last) = page.last() else { return Ok(None) };
                let next = api.staged_views(id, owner, Some((last.offset, last.segment.id))).await?;
                Ok::<_, Status>(Some((futures::stream::iter(page.into_iter().map(Ok)), next)))
            }
        });
        let messages = pages.try_flatten().map_ok(|view| (&view).into());
        Ok(Response::new(messages.boxed()))
    }

    async fn stage_segment(
        &self,
        request: Request<pb::StageSegmentRequest>,
    ) -> Result<Response<pb::StageSegmentResponse>, Status> {
        let owner = require_owner(&request)?;
        let staged = self.stage(owner, StageSegment::try_from(request.into_inner())?).await?;
        Ok(Response::new((&staged).into()))
    }

    async fn note_receipts(
        &self,
        request: Request<pb::NoteReceiptsRequest>,
    ) -> Result<Response<pb::NoteReceiptsResponse>, Status> {
        let owner = require_owner(&request)?;
        let noted = self.note(owner, NoteReceipts::try_from(request.into_inner())?).await?;
        Ok(Response::new(pb::NoteReceiptsResponse { noted }))
    }

    async fn commit_upload(
        &self,
        request: Request<Streaming<pb::CommitUploadRequest>>,
    ) -> Result<Response<pb::CommitUploadResponse>, Status> {
        let owner = require_owner(&request)?;
        let ids = self.commit(owner, request.into_inner()).await?;
        Ok(Response::new(ids.as_slice().into()))
    }

    async fn abort_upload(
        &self,
        request: Request<pb::AbortUploadRequest>,
    ) -> Result<Response<pb::AbortUploadResponse>, Status> {
        let owner = require_owner(&request)?;
        self.abort(owner, UploadId::try_from(request.into_inner())?).await?;
        Ok(Response::new(pb::AbortUploadResponse {}))
    }

    async fn get_object(
        &self,
        request: Request<pb::GetObjectRequest>,
    ) -> Result<Response<pb::GetObjectResponse>, Status> {
        let owner = require_owner(&request)?;
        let id = ObjectId::try_from(request.into_inner())?;
        match self.ask(StoreOp::Object { owner, id }).await? {
            StoreReply::Object(row) => {
                let summary = ObjectSummary::from(&*row);
                let records = ObjectRecords { summary, manifest: row.manifest, envelope: row.envelope };
                Ok(Response::new(records.into()))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn get_page(&self, request: Request<pb::GetPageRequest>) -> Result<Response<pb::GetPageResponse>, Status> {
        let owner = require_owner(&request)?;
        let root = Root::try_from(request.into_inner())?;
        match self.ask(StoreOp::Page { owner, root: root.0 }).await? {
            StoreReply::Page(page) => Ok(Response::new(pb::GetPageResponse { page })),
            other => Err(unexpected(&other)),
        }
    }

    async fn locate_extents(
        &self,
        request: Request<pb::LocateExtentsRequest>,
    ) -> Result<Response<Self::LocateExtentsStream>, Status> {
        let owner = require_owner(&request)?;
        let locate = LocateExtents::try_from(request.into_inner())?;
        let wanted = locate.sealed.unwrap_or(ByteRange::first(u64::MAX));
        // The first page here, so that an object that is not there is an error and no empty stream.
        let first = self.extents(owner, locate.object, wanted).await?;
        let (out, messages) = mpsc::channel(STREAM_DEPTH);
        let api = self.clone();
        tokio::spawn(async move {
            if let Err(status) = api.locate(owner, locate.object, wanted, first, &out).await {
                let _ = out.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(messages).boxed()))
    }

    async fn list_objects(
        &self,
        request: Request<pb::ListObjectsRequest>,
    ) -> Result<Response<pb::ListObjectsResponse>, Status> {
        let owner = require_owner(&request)?;
        let ListObjects { after, limit } = ListObjects::try_from(request.into_inner())?;
        match self.ask(StoreOp::Objects { owner, after, limit }).await? {
            StoreReply::Objects(rows) => {
                let objects = rows.iter().map(|row| ObjectSummary::from(row).into()).collect();
                Ok(Response::new(pb::ListObjectsResponse { objects }))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn delete_object(
        &self,
        request: Request<pb::DeleteObjectRequest>,
    ) -> Result<Response<pb::DeleteObjectResponse>, Status> {
        let owner = require_owner(&request)?;
        let DeleteObject { id, tombstone } = DeleteObject::try_from(request.into_inner())?;
        if !tombstone.is_empty() {
            self.verify_tombstone(owner, id, &tombstone).await?;
        }
        self.ask(StoreOp::DeleteObject { owner, id, tombstone, at: clock::wall() }).await?;
        info!(object = %id, %owner, "deleted");
        self.0.command(Command::CatalogChanged);
        Ok(Response::new(pb::DeleteObjectResponse {}))
    }
}

impl Api {
    /// A tombstone that does not outrank what it is to bury would let it come back, and look as if it did not.
    async fn verify_tombstone(&self, owner: OwnerId, id: ObjectId, bytes: &[u8]) -> Result<(), Status> {
        let invalid = |why: String| Status::from(WireError::new(ErrorCode::Invalid, why));
        let tombstone = Tombstone::decode(bytes).map_err(|error| invalid(error.to_string()))?;
        let body = tombstone.body();
        if body.owner != owner || body.object != id {
            let (of, whose) = (body.object, body.owner);
            return Err(invalid(format!("expected the tombstone of {id} by {owner}, got that of {of} by {whose}")));
        }
        let row = match self.0.ask(StoreOp::Object { owner, id }).await {
            StoreReply::Object(row) => row,
            // There is nothing to bury.
            StoreReply::NotFound => return Ok(()),
            other => return Err(unexpected(&other)),
        };
        // What this auditor took in was an envelope then; if it is none now, any tombstone outranks it.
        let version = Envelope::decode(&row.envelope).map_or(0, |envelope| envelope.body().version);
        if body.version < version {
            let got = body.version;
            return Err(invalid(format!(
                "expected a tombstone of version {version} or above, got {got}; sign another"
            )));
        }
        Ok(())
    }

    async fn extents(&self, owner: OwnerId, id: ObjectId, wanted: ByteRange) -> Result<Vec<ExtentRow>, Status> {
        let op = StoreOp::Extents { owner, id, from: wanted.start(), to: wanted.end(), limit: ROWS_MAX };
        match self.ask(op).await? {
            StoreReply::Extents(rows) => Ok(rows),
            other => Err(unexpected(&other)),
        }
    }

    async fn locate(
        &self,
        owner: OwnerId,
        id: ObjectId,
        wanted: ByteRange,
        first: Vec<ExtentRow>,
        out: &mpsc::Sender<Result<pb::LocateExtentsResponse, Status>>,
    ) -> Result<(), Status> {
        let nodes = self.nodes().await?;
        let mut page = first;
        let mut told = None;
        while let Some(last) = page.last().copied() {
            for extent in &page {
                let mut segment = None;
                if told != Some(extent.segment) {
                    let view = match self.ask(StoreOp::Segment(extent.segment)).await? {
                        StoreReply::Segment(view) => view,
                        other => return Err(unexpected(&other)),
                    };
                    segment = Some(self.location(owner, &view, &nodes));
                    told = Some(extent.segment);
                }
                let located = LocatedExtent { at: extent.at, offset: extent.offset, len: extent.len, segment };
                if out.send(Ok((&located).into())).await.is_err() {
                    return Ok(());
                }
            }
            let next = last.at + last.len;
            if page.len() < ROWS_MAX as usize || next >= wanted.end() {
                return Ok(());
            }
            let rest = ByteRange::new(next, wanted.end()).unwrap_or(ByteRange::first(0));
            page = self.extents(owner, id, rest).await?;
        }
        Ok(())
    }

    fn location(&self, owner: OwnerId, view: &SegmentView, nodes: &BTreeMap<NodeId, NodeRow>) -> SegmentLocation {
        let expires = clock::wall() + self.0.profile.upload_expiry;
        let known = view.placements.iter().filter_map(|placement| Some((placement, nodes.get(&placement.node)?)));
        let shards = known.map(|(placement, node)| {
            let silent = !matches!(node.life, NodeLife::Joining | NodeLife::Active | NodeLife::Draining);
            let grant = grants::get(owner, placement, expires, &self.0.key);
            ShardLocation::of(placement, NodeContact::from(node), silent, Some(grant))
        });
        SegmentLocation::of(&view.segment, shards.collect())
    }
}

/// Held by the listener as long as it serves.
impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Api({} references)", Arc::strong_count(&self.0))
    }
}
