//! Where the sealed bytes lie: the auditor's extents, checked, cut to what is wanted, in order.

use std::sync::Arc;

use holdfast_dispersal::{Geometry, Masks, OwnerKey, SegmentBinding, WrappedKey};
use holdfast_types::{ByteRange, ObjectId, SegmentId};
use holdfast_wire::convert::{LocateExtents, LocatedExtent, SegmentLocation, ShardLocation};

use crate::{Auditor, ClientError, ExtentStream};

const CALL: &str = "LocateExtents";

/// A segment whose shards can be read and unmasked.
pub(super) struct Place {
    pub(super) id: SegmentId,
    pub(super) geometry: Geometry,
    pub(super) masks: Masks,
    /// In order of index.
    pub(super) shards: Vec<ShardLocation>,
}

/// A stretch of the sealed stream in one segment.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) place: Arc<Place>,
    pub(super) in_segment: ByteRange,
    pub(super) in_stream: ByteRange,
}

/// The parts of a range of one object's sealed stream.
pub(super) struct Places {
    owner: OwnerKey,
    extents: Option<ExtentStream>,
    place: Option<Arc<Place>>,
    next: u64,
    end: u64,
}

impl Places {
    pub(super) async fn locate(
        auditor: &Auditor,
        owner: OwnerKey,
        object: ObjectId,
        sealed: ByteRange,
    ) -> Result<Self, ClientError> {
        let extents = match sealed.is_empty() {
            true => None,
            false => Some(auditor.locate(LocateExtents { object, sealed: Some(sealed) }).await?),
        };
        Ok(Self { owner, extents, place: None, next: sealed.start(), end: sealed.end() })
    }

    /// The next part; `None` once the whole range was told.
    pub(super) async fn next(&mut self) -> Result<Option<Part>, ClientError> {
        while self.next < self.end {
            let Some(extents) = &mut self.extents else { break };
            let Some(extent) = extents.next().await? else {
                let (next, end) = (self.next, self.end);
                let why = format!("expected extents up to byte {end} of the sealed stream, got up to {next}");
                return Err(ClientError::malformed(CALL, why));
            };
            if let Some(part) = self.part(extent)? {
                self.next = part.in_stream.end();
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// What of an extent is wanted.
    fn part(&mut self, extent: LocatedExtent) -> Result<Option<Part>, ClientError> {
        let LocatedExtent { at, offset, len, segment } = extent;
        if let Some(location) = segment {
            self.place = Some(Arc::new(Place::open(&self.owner, location)?));
        }
        let place = self.place.as_ref();
        let place = place.ok_or_else(|| ClientError::malformed(CALL, "expected a segment with the first extent"))?;
        let wanted = ByteRange::new(self.next, self.end).unwrap_or(ByteRange::first(0));
        let whole = ByteRange::at(at, len).unwrap_or(ByteRange::first(0));
        let in_stream = wanted.intersect(whole);
        if in_stream.is_empty() {
            return Ok(None);
        }
        if in_stream.start() != self.next {
            let (expected, got) = (self.next, in_stream.start());
            return Err(ClientError::malformed(
                CALL,
                format!("expected an extent with byte {expected}, got one from {got}"),
            ));
        }
        let in_segment = ByteRange::at(offset + (in_stream.start() - at), in_stream.len());
        let in_segment = in_segment.filter(|range| range.end() <= place.geometry.segment_len());
        let in_segment = in_segment.ok_or_else(|| {
            let segment = place.geometry.segment_len();
            ClientError::malformed(
                CALL,
                format!("expected {len} bytes at {offset} inside the {segment} of segment {}", place.id),
            )
        })?;
        Ok(Some(Part { place: place.clone(), in_segment, in_stream }))
    }
}

impl Place {
    /// Unwraps the secret of a segment: bound to root and code, so that an auditor cannot lie about them.
    fn open(owner: &OwnerKey, location: SegmentLocation) -> Result<Self, ClientError> {
        let SegmentLocation { id, root, len, code, shard_len, secret_for_owner, shards } = location;
        let geometry = Geometry::new(code, len)?;
        if shard_len != geometry.shard_len() {
            let expected = geometry.shard_len();
            return Err(ClientError::malformed(CALL, format!("expected shards of {expected} bytes, got {shard_len}")));
        }
        let wrapped = secret_for_owner.as_slice().try_into().map(WrappedKey);
        let wrapped = wrapped.map_err(|_| ClientError::malformed(CALL, "expected a wrapped secret of 48 bytes"))?;
        let binding = SegmentBinding { owner: owner.owner_id(), root, code };
        let secret = owner.unwrap_placement(&binding, &wrapped)?;
        Ok(Self { id, geometry, masks: Masks::new(secret, root, code), shards })
    }
}
