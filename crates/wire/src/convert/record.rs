//! Records beside the shards.

use holdfast_protocol::message::{LIST_ENTRIES_MAX, RecordKind};
use holdfast_types::{Fence, RECORD_LEN_MAX};

use crate::{
    decode::{DecodeError, blob, fixed, fixed_or_empty, ids, number},
    pb::node::v1 as pb,
};

/// A record to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRecord {
    /// What it is.
    pub kind: RecordKind,
    /// Its key.
    pub key: [u8; 32],
    /// Its bytes, at most [`RECORD_LEN_MAX`].
    pub bytes: Vec<u8>,
    /// The writer's lease.
    pub fence: Fence,
}

/// A record to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetRecord {
    /// What it is.
    pub kind: RecordKind,
    /// Its key.
    pub key: [u8; 32],
}

/// Records to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListRecords {
    /// Of this kind.
    pub kind: RecordKind,
    /// After this key.
    pub after: Option<[u8; 32]>,
    /// At most this many.
    pub limit: u32,
}

fn kind(number: i32) -> Result<RecordKind, DecodeError> {
    match pb::RecordKind::try_from(number) {
        Ok(pb::RecordKind::Descriptor) => Ok(RecordKind::Descriptor),
        Ok(pb::RecordKind::Manifest) => Ok(RecordKind::Manifest),
        Ok(pb::RecordKind::Page) => Ok(RecordKind::Page),
        Ok(pb::RecordKind::Envelope) => Ok(RecordKind::Envelope),
        Ok(pb::RecordKind::Tombstone) => Ok(RecordKind::Tombstone),
        Ok(pb::RecordKind::Unspecified) | Err(_) => Err(DecodeError::new("kind", "a kind from 1 to 5", number)),
    }
}

impl From<RecordKind> for pb::RecordKind {
    fn from(kind: RecordKind) -> Self {
        match kind {
            RecordKind::Descriptor => Self::Descriptor,
            RecordKind::Manifest => Self::Manifest,
            RecordKind::Page => Self::Page,
            RecordKind::Envelope => Self::Envelope,
            RecordKind::Tombstone => Self::Tombstone,
        }
    }
}

impl TryFrom<pb::PutRecordRequest> for PutRecord {
    type Error = DecodeError;
    fn try_from(message: pb::PutRecordRequest) -> Result<Self, DecodeError> {
        Ok(PutRecord {
            kind: kind(message.kind)?,
            key: fixed("key", &message.key)?,
            bytes: blob("bytes", message.bytes, 1..=RECORD_LEN_MAX)?,
            fence: message.fence.map(Fence::from).unwrap_or_default(),
        })
    }
}

impl From<&PutRecord> for pb::PutRecordRequest {
    fn from(put: &PutRecord) -> Self {
        Self {
            kind: pb::RecordKind::from(put.kind).into(),
            key: put.key.to_vec(),
            bytes: put.bytes.clone(),
            fence: Some(put.fence.into()),
        }
    }
}

impl TryFrom<pb::GetRecordRequest> for GetRecord {
    type Error = DecodeError;
    fn try_from(message: pb::GetRecordRequest) -> Result<Self, DecodeError> {
        Ok(GetRecord { kind: kind(message.kind)?, key: fixed("key", &message.key)? })
    }
}

impl From<GetRecord> for pb::GetRecordRequest {
    fn from(get: GetRecord) -> Self {
        Self { kind: pb::RecordKind::from(get.kind).into(), key: get.key.to_vec() }
    }
}

impl TryFrom<pb::ListRecordsRequest> for ListRecords {
    type Error = DecodeError;
    fn try_from(message: pb::ListRecordsRequest) -> Result<Self, DecodeError> {
        Ok(ListRecords {
            kind: kind(message.kind)?,
            after: fixed_or_empty("after", &message.after)?,
            limit: number("limit", message.limit, 1..=LIST_ENTRIES_MAX as u32)?,
        })
    }
}

impl From<ListRecords> for pb::ListRecordsRequest {
    fn from(list: ListRecords) -> Self {
        Self {
            kind: pb::RecordKind::from(list.kind).into(),
            after: list.after.map(Vec::from).unwrap_or_default(),
            limit: list.limit,
        }
    }
}

/// Keys of records, as a node lists them; whether they are in order, the caller sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordKeys(pub Vec<[u8; 32]>);

impl TryFrom<pb::ListRecordsResponse> for RecordKeys {
    type Error = DecodeError;
    fn try_from(message: pb::ListRecordsResponse) -> Result<Self, DecodeError> {
        ids("keys", message.keys, 0..=LIST_ENTRIES_MAX, |key| key).map(RecordKeys)
    }
}
