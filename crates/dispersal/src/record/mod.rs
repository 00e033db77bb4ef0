//! The records: what outlives a process, beside the shards. Deterministic DAG-CBOR
//! (<https://ipld.io/specs/codecs/dag-cbor/spec/>), each at most 64 KiB; drawn field by field in
//! `docs/formats/records.md`.
//!
//! Every record is a map that names its kind, its version and its compatible and incompatible bits.
//! One that is not canonical is refused, so that a record has one name; an unknown incompatible bit,
//! version or suite is refused with a message. Fields that come with an unknown *compatible* bit
//! are kept in the bytes and passed over.

mod checkpoint;
mod descriptor;
mod envelope;
mod fields;
pub(crate) mod frame_page;
mod manifest;
mod signed;
mod tombstone;

pub use descriptor::{
    EXTENTS_INLINE_MAX, EXTENTS_PER_PAGE, Extent, ExtentPage, ExtentPageRef, Extents, SegmentDescriptor,
    WrappedSecrets, extent_pages,
};
pub use envelope::{Envelope, NAME_LEN_MAX, NAMES_MAX};
pub use fields::{RecordError, RecordKind};
pub use manifest::{Frames, Index, Manifest};
pub use signed::{Body, Signed};
pub use tombstone::Tombstone;
