//! Objects: the calls of a put, a get and a delete.

use std::time::Duration;

use futures::Stream;
use holdfast_types::{ObjectId, Root, UploadId};
use holdfast_wire::{
    convert::{
        BeginUpload, DeleteObject, ListObjects, LocateExtents, LocatedExtent, NoteReceipts, OBJECTS_PAGE_MAX,
        ObjectRecords, ObjectSummary, StageSegment, Staged, StagedSegmentView, UploadTerms,
    },
    pb::auditor::v1 as pb,
};
use tonic::Streaming;

use super::{Auditor, CALL_TIMEOUT, COMMIT_TIMEOUT, ask, failed, patiently};
use crate::ClientError;

impl Auditor {
    /// Begins an upload, or finds it: the same id answers the same terms.
    pub async fn begin_upload(&self, begin: &BeginUpload) -> Result<UploadTerms, ClientError> {
        let mut stub = self.objects.clone();
        let reply = ask("BeginUpload", CALL_TIMEOUT, stub.begin_upload(pb::BeginUploadRequest::from(begin))).await?;
        UploadTerms::try_from(reply).map_err(ClientError::decode("BeginUpload"))
    }

    /// What an upload has staged so far, each handed to `take`.
    pub async fn staged_segments(
        &self,
        upload: UploadId,
        mut take: impl FnMut(StagedSegmentView),
    ) -> Result<(), ClientError> {
        let call = "ListStagedSegments";
        let mut stub = self.objects.clone();
        let request = pb::ListStagedSegmentsRequest { upload_id: upload.as_bytes().to_vec() };
        let mut stream = ask(call, CALL_TIMEOUT, stub.list_staged_segments(request)).await?;
        while let Some(message) = next(call, &mut stream, CALL_TIMEOUT).await? {
            take(StagedSegmentView::try_from(message).map_err(ClientError::decode(call))?);
        }
        Ok(())
    }

    /// Announces a segment; answers where its shards go, with grants.
    pub async fn stage_segment(&self, stage: &StageSegment) -> Result<Staged, ClientError> {
        let mut stub = self.objects.clone();
        let reply = ask("StageSegment", CALL_TIMEOUT, stub.stage_segment(pb::StageSegmentRequest::from(stage))).await?;
        Staged::try_from(reply).map_err(ClientError::decode("StageSegment"))
    }

    /// Hands receipts over; answers how many were noted.
    pub async fn note_receipts(&self, note: &NoteReceipts) -> Result<u32, ClientError> {
        let mut stub = self.objects.clone();
        let reply = ask("NoteReceipts", CALL_TIMEOUT, stub.note_receipts(pb::NoteReceiptsRequest::from(note))).await?;
        Ok(reply.noted)
    }

    /// Commits an upload; answers the objects' ids in order.
    pub async fn commit_upload<S>(&self, parts: S) -> Result<Vec<ObjectId>, ClientError>
    where
        S: Stream<Item = pb::CommitUploadRequest> + Send + 'static,
    {
        let mut stub = self.objects.clone();
        let reply = ask("CommitUpload", COMMIT_TIMEOUT, stub.commit_upload(parts)).await?;
        Vec::<ObjectId>::try_from(reply).map_err(ClientError::decode("CommitUpload"))
    }

    /// Gives an upload up; also when there is none.
    pub async fn abort_upload(&self, upload: UploadId) -> Result<(), ClientError> {
        let mut stub = self.objects.clone();
        let request = pb::AbortUploadRequest { upload_id: upload.as_bytes().to_vec() };
        ask("AbortUpload", CALL_TIMEOUT, stub.abort_upload(request)).await.map(|_| ())
    }

    /// An object's records. The manifest is the one that the id names.
    pub async fn object(&self, object: ObjectId) -> Result<ObjectRecords, ClientError> {
        let call = "GetObject";
        let reply = patiently(|| async {
            let mut stub = self.objects.clone();
            let request = pb::GetObjectRequest { object_id: object.as_bytes().to_vec() };
            ask(call, CALL_TIMEOUT, stub.get_object(request)).await
        });
        let records = ObjectRecords::try_from(reply.await?).map_err(ClientError::decode(call))?;
        if records.summary.id != object {
            return Err(ClientError::malformed(call, format!("expected {object}, got {}", records.summary.id)));
        }
        Ok(records)
    }

    /// A page of a manifest, with the root that was asked for.
    pub async fn page(&self, root: Root) -> Result<Vec<u8>, ClientError> {
        let call = "GetPage";
        let reply = patiently(|| async {
            let mut stub = self.objects.clone();
            ask(call, CALL_TIMEOUT, stub.get_page(pb::GetPageRequest { root: root.as_bytes().to_vec() })).await
        });
        let page = Vec::<u8>::try_from(reply.await?).map_err(ClientError::decode(call))?;
        if Root::of(&page) != root {
            return Err(ClientError::malformed(call, format!("expected the page {root}, got {}", Root::of(&page))));
        }
        Ok(page)
    }

    /// Where the bytes of an object's sealed stream lie, in order.
    pub async fn locate(&self, locate: LocateExtents) -> Result<ExtentStream, ClientError> {
        let stream = patiently(|| async {
            let mut stub = self.objects.clone();
            ask("LocateExtents", CALL_TIMEOUT, stub.locate_extents(pb::LocateExtentsRequest::from(locate))).await
        });
        Ok(ExtentStream(stream.await?))
    }

    /// A page of the caller's objects, in order of id.
    pub async fn objects_page(&self, list: ListObjects) -> Result<Vec<ObjectSummary>, ClientError> {
        let call = "ListObjects";
        let reply = patiently(|| async {
            let mut stub = self.objects.clone();
            ask(call, CALL_TIMEOUT, stub.list_objects(pb::ListObjectsRequest::from(list))).await
        });
        Vec::<ObjectSummary>::try_from(reply.await?).map_err(ClientError::decode(call))
    }

    /// All of the caller's objects, in order of id.
    pub async fn objects(&self) -> Result<Vec<ObjectSummary>, ClientError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.objects_page(ListObjects { after, limit: OBJECTS_PAGE_MAX }).await?;
            let (count, last) = (page.len(), page.last().map(|object| object.id));
            // An auditor whose pages do not rise would keep us listing for ever.
            if last.is_some_and(|last| after.is_some_and(|after| last <= after)) {
                return Err(ClientError::malformed("ListObjects", "expected pages in rising order of id"));
            }
            all.extend(page);
            after = last;
            if count < OBJECTS_PAGE_MAX as usize {
                return Ok(all);
            }
        }
    }

    /// Deletes an object: a durable intent. Deleting what is not there succeeds. `tombstone` is the owner's signed word; empty without.
    pub async fn delete_object(&self, object: ObjectId, tombstone: &[u8]) -> Result<(), ClientError> {
        patiently(|| async {
            let mut stub = self.objects.clone();
            let request = pb::DeleteObjectRequest::from(DeleteObject { id: object, tombstone: tombstone.to_vec() });
            ask("DeleteObject", CALL_TIMEOUT, stub.delete_object(request)).await.map(|_| ())
        })
        .await
    }
}

/// Extents as they come.
#[derive(Debug)]
pub struct ExtentStream(Streaming<pb::LocateExtentsResponse>);

impl ExtentStream {
    /// The next extent; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<LocatedExtent>, ClientError> {
        let call = "LocateExtents";
        let message = next(call, &mut self.0, CALL_TIMEOUT).await?;
        message.map(LocatedExtent::try_from).transpose().map_err(ClientError::decode(call))
    }
}

/// The next message of a stream, within `patience`.
async fn next<T>(call: &'static str, stream: &mut Streaming<T>, patience: Duration) -> Result<Option<T>, ClientError> {
    match tokio::time::timeout(patience, stream.message()).await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) => Err(failed(call, &status)),
        Err(_) => Err(ClientError::Timeout { call, seconds: patience.as_secs() }),
    }
}
