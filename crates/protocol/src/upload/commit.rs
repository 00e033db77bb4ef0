//! The end of a put: which objects lie where in what was staged.

use std::collections::BTreeMap;

use holdfast_dispersal::{
    Envelope, FRAME_PAGES_MAX, Manifest, OBJECT_LEN_MAX, RecordError, RecordKind, SEGMENT_EXTENTS_MAX, Signed,
};
use holdfast_types::{ByteRange, ObjectId, RECORD_LEN_MAX, Root, SegmentId, Wall};

use super::{UploadError, invalid};
use crate::{
    model::{ExtentRow, ObjectRow, StagedSpan, UploadRow},
    store::NewObject,
};

/// An object of an upload, as its client describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectSpec {
    /// The manifest: its BLAKE3 root names the object.
    pub manifest: Vec<u8>,
    /// The envelope, signed by the owner.
    pub envelope: Vec<u8>,
    /// Where its sealed stream starts in the upload's.
    pub offset: u64,
    /// Bytes of its sealed stream.
    pub sealed_len: u64,
    /// Plain bytes, as its owner declares.
    pub plain_len: u64,
    /// Pages of its frame table; none where the table is in the manifest.
    pub pages: Vec<Vec<u8>>,
}

/// The objects as the store commits them: records verified, extents computed. Object i occupies bytes
/// `offset..offset + sealed_len` of the upload's sealed stream; objects do not overlap.
pub fn commit(
    upload: &UploadRow,
    staged: &[StagedSpan],
    objects: Vec<ObjectSpec>,
    now: Wall,
) -> Result<Vec<NewObject>, UploadError> {
    let layout = Layout::new(staged)?;
    let mut spans: Vec<ByteRange> = Vec::with_capacity(objects.len());
    let mut rows = Vec::with_capacity(objects.len());
    let mut extents: BTreeMap<SegmentId, usize> = BTreeMap::new();
    for object in objects {
        let span = layout.span(&object)?;
        spans.push(span);
        let found = layout.extents(span);
        for extent in &found {
            let count = extents.entry(extent.segment).or_default();
            *count += 1;
            if *count > SEGMENT_EXTENTS_MAX {
                let next = "cut the segment when it holds that many pieces";
                return Err(invalid("pieces of objects in a segment", SEGMENT_EXTENTS_MAX, *count, next));
            }
        }
        rows.push(new_object(upload, object, found, now)?);
    }
    spans.sort_unstable();
    // A descriptor lists who has which bytes of a segment; two owners of one byte would make it unreadable.
    if let Some(pair) = spans.windows(2).find(|pair| pair[0].overlaps(pair[1])) {
        let (first, second) = (pair[0], pair[1]);
        return Err(invalid(
            "objects",
            "disjoint ranges of the sealed stream",
            format!("{first} and {second}"),
            "put them again",
        ));
    }
    Ok(rows)
}

fn record(error: RecordError) -> UploadError {
    invalid("a record of the object", "one that this version reads", error, "make it again")
}

fn new_object(
    upload: &UploadRow,
    spec: ObjectSpec,
    extents: Vec<ExtentRow>,
    now: Wall,
) -> Result<NewObject, UploadError> {
    let manifest = Manifest::decode(&spec.manifest).map_err(record)?;
    if manifest.sealed_len() != spec.sealed_len {
        let next = "send the manifest that belongs to these bytes";
        return Err(invalid("sealed bytes", manifest.sealed_len(), spec.sealed_len, next));
    }
    let id = manifest.object_id();
    let envelope = Envelope::decode(&spec.envelope).map_err(record)?;
    envelope_fits(upload, &id, &envelope)?;
    if spec.plain_len > OBJECT_LEN_MAX {
        return Err(invalid("plain bytes", format!("at most {OBJECT_LEN_MAX}"), spec.plain_len, "split the object"));
    }
    let row = ObjectRow {
        id,
        owner: upload.owner,
        name: envelope.body().names.first().cloned().unwrap_or_default(),
        sealed_len: spec.sealed_len,
        plain_len: spec.plain_len,
        created: now,
        manifest: spec.manifest,
        envelope: spec.envelope,
    };
    check_count(&spec.pages)?;
    let pages = spec.pages.into_iter().map(named).collect::<Result<_, _>>()?;
    Ok(NewObject { row, extents, pages })
}

// Attack: an envelope of another owner, or for another object, would hand the object to whoever signed it when the
// catalog is rebuilt from the nodes.
fn envelope_fits(upload: &UploadRow, id: &ObjectId, envelope: &Signed<Envelope>) -> Result<(), UploadError> {
    let body = envelope.body();
    if body.object != *id {
        return Err(invalid("object in the envelope", id, body.object, "sign an envelope for this manifest"));
    }
    if body.owner != upload.owner || envelope.signer().owner_id() != upload.owner {
        return Err(invalid(
            "owner in the envelope",
            upload.owner,
            body.owner,
            "sign it with the upload's owner's key",
        ));
    }
    if body.code != upload.code {
        return Err(invalid("code in the envelope", upload.code, body.code, "sign an envelope with the upload's code"));
    }
    Ok(())
}

fn check_count(pages: &[Vec<u8>]) -> Result<(), UploadError> {
    if pages.len() as u64 > FRAME_PAGES_MAX {
        return Err(invalid("pages", format!("at most {FRAME_PAGES_MAX}"), pages.len(), "split the object"));
    }
    Ok(())
}

/// A page under its name.
fn named(page: Vec<u8>) -> Result<([u8; 32], Vec<u8>), UploadError> {
    let kind = RecordKind::of(&page).map_err(record)?;
    if kind != RecordKind::FramePage || page.len() > RECORD_LEN_MAX {
        return Err(invalid("a page", "a frame page of at most 64 KiB", kind, "send the sealed object's pages"));
    }
    Ok((Root::of(&page).0, page))
}

/// The upload's sealed stream: its segments end to end.
struct Layout {
    segments: Vec<StagedSpan>,
    len: u64,
}

impl Layout {
    fn new(staged: &[StagedSpan]) -> Result<Self, UploadError> {
        let mut segments = staged.to_vec();
        segments.sort_by_key(|segment| segment.offset);
        let mut len = 0u64;
        for segment in &segments {
            if segment.offset != len {
                let next = "stage the segments of the upload's sealed stream without gap or overlap";
                return Err(invalid("offset of the next segment", len, segment.offset, next));
            }
            len = len.saturating_add(segment.len);
        }
        Ok(Self { segments, len })
    }

    fn span(&self, object: &ObjectSpec) -> Result<ByteRange, UploadError> {
        let span = ByteRange::at(object.offset, object.sealed_len).filter(|span| span.end() <= self.len);
        span.ok_or_else(|| {
            let got = format!("{} bytes at {}", object.sealed_len, object.offset);
            invalid("object", format!("a range within the {} bytes staged", self.len), got, "stage all segments first")
        })
    }

    fn extents(&self, span: ByteRange) -> Vec<ExtentRow> {
        let first = self.segments.partition_point(|segment| segment.offset + segment.len <= span.start());
        let mut found = Vec::new();
        for segment in &self.segments[first..] {
            let whole = ByteRange::at(segment.offset, segment.len).unwrap_or(ByteRange::first(0));
            let part = span.intersect(whole);
            if part.is_empty() {
                break;
            }
            found.push(ExtentRow {
                at: part.start() - span.start(),
                segment: segment.segment,
                offset: part.start() - segment.offset,
                len: part.len(),
            });
        }
        found
    }
}
