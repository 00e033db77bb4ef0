//! A put in progress, written down. Holds no key.

use holdfast_types::FRAME_LEN;

use super::{
    fields::{RecordError, RecordKind, bytes, decode, encode, number},
    manifest::{page_to_ipld, pages_from_fields, runs_from_fields, runs_to_ipld},
};
use crate::{
    key::KeyCommitment,
    root::StreamRoot,
    seal::Checkpoint,
    table::{ENTRY_LEN, FRAMES_PER_PAGE, OBJECT_LEN_MAX},
};
use ipld_core::ipld::Ipld;

/// One group of the stream's root (64 KiB), one page of frame table (48 KiB), the names of all pages
/// (52 KiB) and the runs (12 KiB), with room to spare. Never leaves the client, so no record bound.
const CHECKPOINT_LEN_MAX: usize = 256 << 10;

impl Checkpoint {
    /// The checkpoint as a record for the client's own files.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        let fields = [
            ("keyCommitment", bytes(&self.commitment.0)),
            ("runs", runs_to_ipld(&self.runs)),
            ("next", number(self.next)),
            ("sealedLen", number(self.sealed_len)),
            ("root", bytes(&self.root.to_bytes())),
            ("entries", bytes(&self.entries)),
            ("pageStart", number(self.page_start)),
            ("pages", Ipld::List(self.pages.iter().map(page_to_ipld).collect())),
        ];
        encode(RecordKind::Checkpoint, fields, CHECKPOINT_LEN_MAX)
    }

    /// The inverse of [`Checkpoint::to_bytes`].
    pub fn from_bytes(record: &[u8]) -> Result<Self, RecordError> {
        let mut fields = decode(RecordKind::Checkpoint, record, CHECKPOINT_LEN_MAX)?;
        let commitment = KeyCommitment(fields.array("keyCommitment")?);
        let next = fields.number("next")?;
        if next > OBJECT_LEN_MAX / FRAME_LEN {
            return Err(fields.wrong("next", "a frame of an object of at most 16 TiB"));
        }
        // A run may be waiting for its first frame.
        let runs = runs_from_fields(&mut fields, next + 1)?;
        let sealed_len = fields.number("sealedLen")?;
        let root = StreamRoot::from_bytes(&fields.bytes("root")?, sealed_len);
        let root = root.ok_or_else(|| fields.wrong("root", "a root in the making after sealedLen bytes"))?;
        let entries = fields.bytes("entries")?;
        let pages = pages_from_fields(&mut fields, "pages")?;
        let (in_pages, in_making) = (pages.len() as u64 * FRAMES_PER_PAGE, (entries.len() / ENTRY_LEN) as u64);
        if !entries.len().is_multiple_of(ENTRY_LEN) || in_pages + in_making != next {
            return Err(fields.wrong("entries", "the entries of every frame so far that is in no page"));
        }
        let page_start = fields.number("pageStart")?;
        fields.done()?;
        Ok(Self { commitment, runs, next, sealed_len, root, entries, page_start, pages })
    }
}
