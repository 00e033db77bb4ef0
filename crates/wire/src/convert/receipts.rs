//! The nodes' receipts for an upload's shards, as its client hands them on.

use holdfast_protocol::message::Receipt;
use holdfast_types::{SegmentId, ShardIndex, UploadId};

use super::{primitive::shard_index, upload::SHARDS};
use crate::{
    decode::{DecodeError, Inside, fixed, list, present},
    pb::auditor::v1 as pb,
};

/// A receipt, and for which shard of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedReceipt {
    /// Which shard.
    pub index: ShardIndex,
    /// Not verified yet.
    pub receipt: Receipt,
}

/// The nodes hold these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteReceipts {
    /// The upload.
    pub upload: UploadId,
    /// The segment.
    pub segment: SegmentId,
    /// At most [`holdfast_types::SHARDS_MAX`].
    pub receipts: Vec<IndexedReceipt>,
}

impl TryFrom<pb::NoteReceiptsRequest> for NoteReceipts {
    type Error = DecodeError;
    fn try_from(message: pb::NoteReceiptsRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            upload: UploadId(fixed("upload_id", &message.upload_id)?),
            segment: SegmentId(fixed("segment_id", &message.segment_id)?),
            receipts: list("receipts", message.receipts, 1..=SHARDS, |entry| {
                let receipt = Receipt::try_from(present("receipt", entry.receipt)?).inside("receipt")?;
                Ok(IndexedReceipt { index: shard_index("index", entry.index)?, receipt })
            })?,
        })
    }
}

impl From<&NoteReceipts> for pb::NoteReceiptsRequest {
    fn from(note: &NoteReceipts) -> Self {
        let entry = |entry: &IndexedReceipt| pb::IndexedReceipt {
            index: entry.index.0.into(),
            receipt: Some((&entry.receipt).into()),
        };
        Self {
            upload_id: note.upload.as_bytes().to_vec(),
            segment_id: note.segment.as_bytes().to_vec(),
            receipts: note.receipts.iter().map(entry).collect(),
        }
    }
}
