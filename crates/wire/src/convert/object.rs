//! Objects: committed by their client, listed, read back.

use holdfast_protocol::model::ObjectRow;
use holdfast_types::{ObjectId, RECORD_LEN_MAX, Root, UploadId, Wall};

use crate::{
    decode::{DecodeError, Inside, blob, fixed, fixed_or_empty, ids, list, number, present, text},
    pb::auditor::v1 as pb,
};

/// Bytes of an object's name at most: a long path fits.
pub const NAME_LEN_MAX: usize = 1024;
/// Objects in one commit at most: their ids fill one answer of 2 MiB.
pub const OBJECTS_PER_COMMIT_MAX: usize = 32_768;
/// Pages of one manifest at most: 4096 pages of 64 KiB are the frame table of many TiB.
pub const PAGES_PER_OBJECT_MAX: usize = 4096;
/// Objects in one page of a list at most: with the longest names they stay below 2 MiB.
pub const OBJECTS_PAGE_MAX: u32 = 1024;

/// An object of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewObject {
    /// The manifest; its root names the object.
    pub manifest: Vec<u8>,
    /// The envelope.
    pub envelope: Vec<u8>,
    /// Where its sealed stream starts in the upload's.
    pub offset: u64,
    /// Bytes of its sealed stream.
    pub sealed_len: u64,
    /// Plain bytes, as its owner declares.
    pub plain_len: u64,
    /// What its owner calls it; may be empty.
    pub name: String,
}

impl NewObject {
    /// The object's id: what its manifest hashes to.
    pub fn id(&self) -> ObjectId {
        ObjectId(Root::of(&self.manifest))
    }
}

impl TryFrom<pb::NewObject> for NewObject {
    type Error = DecodeError;
    fn try_from(message: pb::NewObject) -> Result<Self, DecodeError> {
        // The catalog counts in signed 64-bit numbers.
        let most = i64::MAX as u64;
        let sealed_len = number("sealed_len", message.sealed_len, 0..=most)?;
        Ok(Self {
            manifest: blob("manifest", message.manifest, 1..=RECORD_LEN_MAX)?,
            envelope: blob("envelope", message.envelope, 1..=RECORD_LEN_MAX)?,
            offset: number("offset", message.offset, 0..=most - sealed_len)?,
            sealed_len,
            plain_len: number("plain_len", message.plain_len, 0..=most)?,
            name: text("name", message.name, 0..=NAME_LEN_MAX)?,
        })
    }
}

impl From<NewObject> for pb::NewObject {
    fn from(object: NewObject) -> Self {
        let NewObject { manifest, envelope, offset, sealed_len, plain_len, name } = object;
        Self { manifest, envelope, offset, sealed_len, plain_len, name }
    }
}

/// One message of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitPart {
    /// First: what is committed.
    Header(UploadId),
    /// The next object.
    Object(Box<NewObject>),
    /// The next page of the last object's manifest.
    Page(Vec<u8>),
}

impl TryFrom<pb::CommitUploadRequest> for CommitPart {
    type Error = DecodeError;
    fn try_from(message: pb::CommitUploadRequest) -> Result<Self, DecodeError> {
        use pb::commit_upload_request::Part;
        Ok(match present("part", message.part)? {
            Part::Header(header) => CommitPart::Header(UploadId(fixed("header.upload_id", &header.upload_id)?)),
            Part::Object(object) => CommitPart::Object(Box::new(NewObject::try_from(object).inside("object")?)),
            Part::Page(page) => CommitPart::Page(blob("page", page, 1..=RECORD_LEN_MAX)?),
        })
    }
}

impl From<CommitPart> for pb::CommitUploadRequest {
    fn from(part: CommitPart) -> Self {
        use pb::commit_upload_request::Part;
        let part = match part {
            CommitPart::Header(upload) => {
                Part::Header(pb::CommitUploadHeader { upload_id: upload.as_bytes().to_vec() })
            }
            CommitPart::Object(object) => Part::Object((*object).into()),
            CommitPart::Page(page) => Part::Page(page),
        };
        Self { part: Some(part) }
    }
}

impl TryFrom<pb::CommitUploadResponse> for Vec<ObjectId> {
    type Error = DecodeError;
    fn try_from(message: pb::CommitUploadResponse) -> Result<Self, DecodeError> {
        ids("object_ids", message.object_ids, 0..=OBJECTS_PER_COMMIT_MAX, ObjectId::from_bytes)
    }
}

impl From<&[ObjectId]> for pb::CommitUploadResponse {
    fn from(objects: &[ObjectId]) -> Self {
        Self { object_ids: objects.iter().map(|id| id.as_bytes().to_vec()).collect() }
    }
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSummary {
    /// Its id.
    pub id: ObjectId,
    /// What its owner calls it; may be empty.
    pub name: String,
    /// Bytes of its sealed stream.
    pub sealed_len: u64,
    /// Plain bytes, as its owner declared.
    pub plain_len: u64,
    /// When it was committed.
    pub created: Wall,
}

impl From<&ObjectRow> for ObjectSummary {
    fn from(row: &ObjectRow) -> Self {
        let ObjectRow { id, sealed_len, plain_len, created, .. } = *row;
        Self { id, name: row.name.clone(), sealed_len, plain_len, created }
    }
}

impl TryFrom<pb::ObjectSummary> for ObjectSummary {
    type Error = DecodeError;
    fn try_from(message: pb::ObjectSummary) -> Result<Self, DecodeError> {
        Ok(Self {
            id: ObjectId::from_bytes(fixed("object_id", &message.object_id)?),
            name: text("name", message.name, 0..=NAME_LEN_MAX)?,
            sealed_len: message.sealed_len,
            plain_len: message.plain_len,
            created: Wall(message.created_unix_ms),
        })
    }
}

impl From<ObjectSummary> for pb::ObjectSummary {
    fn from(summary: ObjectSummary) -> Self {
        Self {
            object_id: summary.id.as_bytes().to_vec(),
            name: summary.name,
            sealed_len: summary.sealed_len,
            plain_len: summary.plain_len,
            created_unix_ms: summary.created.0,
        }
    }
}

/// An object and its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecords {
    /// What the list says of it.
    pub summary: ObjectSummary,
    /// The manifest: its root is the summary's id.
    pub manifest: Vec<u8>,
    /// The envelope; whose signature it bears, the client decides.
    pub envelope: Vec<u8>,
}

impl TryFrom<pb::GetObjectResponse> for ObjectRecords {
    type Error = DecodeError;
    fn try_from(message: pb::GetObjectResponse) -> Result<Self, DecodeError> {
        let summary = ObjectSummary::try_from(present("summary", message.summary)?).inside("summary")?;
        let manifest = blob("manifest", message.manifest, 1..=RECORD_LEN_MAX)?;
        // An object's name is its manifest's hash: an auditor cannot pass one off as another.
        if Root::of(&manifest) != summary.id.0 {
            return Err(DecodeError::new("manifest", summary.id, ObjectId(Root::of(&manifest))));
        }
        Ok(Self { summary, manifest, envelope: blob("envelope", message.envelope, 1..=RECORD_LEN_MAX)? })
    }
}

impl From<ObjectRecords> for pb::GetObjectResponse {
    fn from(object: ObjectRecords) -> Self {
        Self { summary: Some(object.summary.into()), manifest: object.manifest, envelope: object.envelope }
    }
}

impl TryFrom<pb::GetObjectRequest> for ObjectId {
    type Error = DecodeError;
    fn try_from(message: pb::GetObjectRequest) -> Result<Self, DecodeError> {
        fixed("object_id", &message.object_id).map(ObjectId::from_bytes)
    }
}

/// Which object to delete, by whose word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteObject {
    /// Which.
    pub id: ObjectId,
    /// The owner's tombstone, at most [`RECORD_LEN_MAX`], not decoded yet; empty when there is none.
    pub tombstone: Vec<u8>,
}

impl TryFrom<pb::DeleteObjectRequest> for DeleteObject {
    type Error = DecodeError;
    fn try_from(message: pb::DeleteObjectRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            id: fixed("object_id", &message.object_id).map(ObjectId::from_bytes)?,
            tombstone: blob("tombstone", message.tombstone, 0..=RECORD_LEN_MAX)?,
        })
    }
}

impl From<DeleteObject> for pb::DeleteObjectRequest {
    fn from(DeleteObject { id, tombstone }: DeleteObject) -> Self {
        Self { object_id: id.as_bytes().to_vec(), tombstone }
    }
}

impl TryFrom<pb::GetPageRequest> for Root {
    type Error = DecodeError;
    fn try_from(message: pb::GetPageRequest) -> Result<Self, DecodeError> {
        fixed("root", &message.root).map(Root)
    }
}

/// A page's bytes; whether they have the root that was asked for, the client sees.
impl TryFrom<pb::GetPageResponse> for Vec<u8> {
    type Error = DecodeError;
    fn try_from(message: pb::GetPageResponse) -> Result<Self, DecodeError> {
        blob("page", message.page, 1..=RECORD_LEN_MAX)
    }
}

/// From where, how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListObjects {
    /// After this object.
    pub after: Option<ObjectId>,
    /// At most [`OBJECTS_PAGE_MAX`].
    pub limit: u32,
}

impl TryFrom<pb::ListObjectsRequest> for ListObjects {
    type Error = DecodeError;
    fn try_from(message: pb::ListObjectsRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            after: fixed_or_empty("after", &message.after)?.map(ObjectId::from_bytes),
            limit: number("limit", message.limit, 1..=OBJECTS_PAGE_MAX)?,
        })
    }
}

impl From<ListObjects> for pb::ListObjectsRequest {
    fn from(list: ListObjects) -> Self {
        Self { after: list.after.map(|id| id.as_bytes().to_vec()).unwrap_or_default(), limit: list.limit }
    }
}

impl TryFrom<pb::ListObjectsResponse> for Vec<ObjectSummary> {
    type Error = DecodeError;
    fn try_from(message: pb::ListObjectsResponse) -> Result<Self, DecodeError> {
        list("objects", message.objects, 0..=OBJECTS_PAGE_MAX as usize, ObjectSummary::try_from)
    }
}
