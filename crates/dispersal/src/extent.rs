//! From an object's sealed stream to the segments it lies in. The extents of one object come from
//! the descriptors of its segments, in any order; together they must be the stream, without gap or
//! overlap, before a byte is read.

use holdfast_types::{ByteRange, ObjectId, SegmentId};
use thiserror::Error;

use crate::{geometry::span, record::Extent};

/// Why extents are not an object's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExtentError {
    /// Bytes of the sealed stream that no segment holds, or two do.
    #[error(
        "expected one segment for each byte of the sealed stream of {object}, but {found} at byte {at} of {len}; ask the auditor for this object's segments again, or recover the catalog"
    )]
    NotAStream {
        /// The object.
        object: ObjectId,
        /// "none" or "two".
        found: &'static str,
        /// Where.
        at: u64,
        /// Bytes of the sealed stream, by the manifest.
        len: u64,
    },
    /// A range past the end.
    #[error("expected a range inside the sealed stream's {len} bytes, got {range}")]
    Range {
        /// Bytes of the sealed stream.
        len: u64,
        /// What was asked for.
        range: ByteRange,
    },
}

/// A stretch of an object's sealed stream and where it lies: in one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamPart {
    /// Which segment.
    pub segment: SegmentId,
    /// Bytes of that segment.
    pub in_segment: ByteRange,
    /// The same bytes, counted in the object's sealed stream.
    pub in_stream: ByteRange,
}

/// Where an object's sealed stream lies, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtentMap {
    parts: Vec<StreamPart>,
    len: u64,
}

impl ExtentMap {
    /// The map of `object`, whose sealed stream has `sealed_len` bytes. `extents` may be in any order
    /// and hold other objects' extents, which are passed over.
    pub fn new(
        object: &ObjectId,
        sealed_len: u64,
        extents: impl IntoIterator<Item = (SegmentId, Extent)>,
    ) -> Result<Self, ExtentError> {
        let mut parts: Vec<StreamPart> = Vec::new();
        for (segment, extent) in extents.into_iter().filter(|(_, extent)| extent.object == *object) {
            let in_stream = ByteRange::at(extent.stream_offset, extent.len);
            let in_segment = ByteRange::at(extent.segment_offset, extent.len);
            let past_the_end = ExtentError::Range { len: sealed_len, range: ByteRange::first(extent.len) };
            let (Some(in_stream), Some(in_segment)) = (in_stream, in_segment) else { return Err(past_the_end) };
            parts.push(StreamPart { segment, in_segment, in_stream });
        }
        parts.sort_by_key(|part| part.in_stream.start());
        let mut at = 0;
        let broken = |found, at| ExtentError::NotAStream { object: *object, found, at, len: sealed_len };
        for part in &parts {
            match part.in_stream.start() {
                start if start > at => return Err(broken("none", at)),
                start if start < at => return Err(broken("two", start)),
                _ => at = part.in_stream.end(),
            }
        }
        if at != sealed_len {
            return Err(broken(if at < sealed_len { "none" } else { "two" }, at.min(sealed_len)));
        }
        Ok(Self { parts, len: sealed_len })
    }

    /// Every stretch, in the order of the stream.
    pub fn parts(&self) -> &[StreamPart] {
        &self.parts
    }

    /// The stretches that hold `range` of the sealed stream, in order.
    pub fn locate(&self, range: ByteRange) -> Result<Vec<StreamPart>, ExtentError> {
        if range.end() > self.len {
            return Err(ExtentError::Range { len: self.len, range });
        }
        let first = self.parts.partition_point(|part| part.in_stream.end() <= range.start());
        let touched = self.parts[first..].iter().take_while(|part| part.in_stream.start() < range.end());
        let cut = |part: &StreamPart| {
            let in_stream = part.in_stream.intersect(range);
            let skipped = in_stream.start() - part.in_stream.start();
            let in_segment = span(part.in_segment.start() + skipped, in_stream.len());
            StreamPart { segment: part.segment, in_segment, in_stream }
        };
        Ok(touched.map(cut).filter(|part| !part.in_stream.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: ObjectId = ObjectId::from_bytes([1; 32]);

    fn extent(segment: u8, segment_offset: u64, len: u64, stream_offset: u64) -> (SegmentId, Extent) {
        (SegmentId([segment; 16]), Extent { object: OBJECT, segment_offset, len, stream_offset })
    }

    #[test]
    fn a_range_finds_its_segments() {
        let other = Extent { object: ObjectId::from_bytes([2; 32]), segment_offset: 0, len: 9, stream_offset: 0 };
        let extents = [extent(2, 0, 50, 100), extent(1, 30, 100, 0), (SegmentId([2; 16]), other)];
        let map = ExtentMap::new(&OBJECT, 150, extents).unwrap();
        let found = map.locate(ByteRange::new(90, 120).unwrap()).unwrap();
        let range = |start, end| ByteRange::new(start, end).unwrap();
        let want = [
            StreamPart { segment: SegmentId([1; 16]), in_segment: range(120, 130), in_stream: range(90, 100) },
            StreamPart { segment: SegmentId([2; 16]), in_segment: range(0, 20), in_stream: range(100, 120) },
        ];
        assert_eq!(found, want);
        assert!(map.locate(range(100, 100)).unwrap().is_empty());
        assert!(map.locate(range(0, 151)).is_err());
    }

    #[test]
    fn a_gap_an_overlap_and_a_short_stream_are_named() {
        let broken = |extents: &[(SegmentId, Extent)]| match ExtentMap::new(&OBJECT, 150, extents.iter().copied())
            .unwrap_err()
        {
            ExtentError::NotAStream { found, at, .. } => (found, at),
            error => panic!("{error}"),
        };
        assert_eq!(broken(&[extent(1, 0, 100, 0), extent(2, 0, 49, 101)]), ("none", 100));
        assert_eq!(broken(&[extent(1, 0, 100, 0), extent(2, 0, 60, 90)]), ("two", 90));
        assert_eq!(broken(&[extent(1, 0, 100, 0)]), ("none", 100));
        assert_eq!(broken(&[]), ("none", 0));
        assert_eq!(broken(&[extent(1, 0, 151, 0)]), ("two", 150));
        assert!(ExtentMap::new(&OBJECT, 150, [extent(1, 0, u64::MAX, 9)]).is_err());
    }
}
