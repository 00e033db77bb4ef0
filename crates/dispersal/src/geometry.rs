//! Where the bytes of a segment lie in its shards. Pure arithmetic: a code and a length in, ranges out.
//!
//! A segment of `len` bytes is k contiguous parts of `shard_len` bytes, the last ones filled up with
//! zeros; `shard_len` is `len / k`, rounded up to whole leaves of 1 KiB. So a range of the segment
//! lies in one shard or a few neighbours, and a part begins where a BLAKE3 chunk of the segment
//! does, which lets k streams hash the segment side by side.
//!
//! ```text
//! segment   ├──────────── len ────────────┤ zeros
//! parts     ├─ shard 0 ─┼─ shard 1 ─┼─ shard 2 ─┤   k = 3
//! parity    ├─ shard 3 ─┼─ shard 4 ─┤               m = 2
//! ```

use holdfast_types::{ByteRange, Code, LEAF_LEN, SEGMENT_LEN_MAX, ShardIndex};
use thiserror::Error;

/// Why bytes are no segment, or shards not enough of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SegmentError {
    /// No bytes, or too many.
    #[error("expected a segment of 1 to {SEGMENT_LEN_MAX} bytes, got {0}; cut the sealed stream into smaller segments")]
    Length(u64),
    /// A range that leaves the segment or shard.
    #[error("expected a range inside the {len} bytes of the {what}, got {range}")]
    Range {
        /// "segment" or "shard".
        what: &'static str,
        /// Its length.
        len: u64,
        /// What was asked for.
        range: ByteRange,
    },
    /// An index that the code does not have.
    #[error("expected a shard index below k + m = {total} of the code {code}, got {index}")]
    Index {
        /// The code.
        code: Code,
        /// n.
        total: u16,
        /// What came.
        index: ShardIndex,
    },
    /// Fewer than k shards to decode from.
    #[error(
        "found {found} good shards of the segment, needed {needed}: {} too few; bring back {} of its nodes, or accept the loss",
        needed - found,
        needed - found
    )]
    TooFewShards {
        /// Different good shards at hand.
        found: u16,
        /// k.
        needed: u16,
    },
    /// Bytes that were not asked for.
    #[error("expected {expected}, got bytes {range} of shard {shard}; feed what the plan asks for, in order")]
    Unasked {
        /// What the plan asks for.
        expected: String,
        /// Which shard's bytes came.
        shard: ShardIndex,
        /// Which bytes of it.
        range: ByteRange,
    },
    /// A plan that still waits for bytes.
    #[error("expected bytes {range} of shard {shard} before the segment can be read; they did not come")]
    Unfed {
        /// Which shard.
        shard: ShardIndex,
        /// Which bytes.
        range: ByteRange,
    },
    /// All k shards hold what their names say, and still are not shards of this segment.
    #[error(
        "the segment decoded from verified shards has root {got}, expected {expected}; its shards never were one code word: whoever stored it lied"
    )]
    Root {
        /// What the descriptor says.
        expected: holdfast_types::SegmentRoot,
        /// What the decoded bytes hash to.
        got: holdfast_types::SegmentRoot,
    },
    /// A rebuilt shard that is not the one that was lost.
    #[error(
        "rebuilt shard {index} is {got}, expected {expected}; the descriptor names shards that never were one code word"
    )]
    Shard {
        /// Which shard.
        index: ShardIndex,
        /// What the descriptor says.
        expected: holdfast_types::ShardId,
        /// What was rebuilt.
        got: holdfast_types::ShardId,
    },
}

/// A code over a segment of a length, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    code: Code,
    segment_len: u64,
}

/// A stretch of a segment and where it lies: in one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartRange {
    /// Which data shard.
    pub shard: ShardIndex,
    /// Bytes of that shard.
    pub in_shard: ByteRange,
    /// The same bytes, counted in the segment.
    pub in_segment: ByteRange,
}

impl Geometry {
    /// `code` over a segment of `segment_len` bytes, at least 1 and at most [`SEGMENT_LEN_MAX`].
    pub const fn new(code: Code, segment_len: u64) -> Result<Self, SegmentError> {
        if segment_len == 0 || segment_len > SEGMENT_LEN_MAX {
            return Err(SegmentError::Length(segment_len));
        }
        Ok(Self { code, segment_len })
    }

    /// The code.
    pub const fn code(self) -> Code {
        self.code
    }

    /// Sealed bytes of the segment, without padding.
    pub const fn segment_len(self) -> u64 {
        self.segment_len
    }

    /// Bytes of each of the n shards: `ceil(segment_len / k)`, rounded up to whole leaves of 1 KiB.
    pub const fn shard_len(self) -> u64 {
        self.segment_len.div_ceil(self.code.data() as u64).next_multiple_of(LEAF_LEN)
    }

    /// Bytes of all n shards: what the segment takes up on the nodes.
    pub const fn stored_len(self) -> u64 {
        self.shard_len() * self.code.total() as u64
    }

    /// `index`, if the code has it.
    pub fn shard(self, index: ShardIndex) -> Result<ShardIndex, SegmentError> {
        let total = self.code.total();
        if index.0 < total { Ok(index) } else { Err(SegmentError::Index { code: self.code, total, index }) }
    }

    /// `range`, if it lies in a shard.
    pub fn in_shard(self, range: ByteRange) -> Result<ByteRange, SegmentError> {
        let len = self.shard_len();
        if range.end() <= len { Ok(range) } else { Err(SegmentError::Range { what: "shard", len, range }) }
    }

    /// The bytes of the segment that data shard `index` holds; the rest of the shard is zeros.
    pub fn part(self, index: ShardIndex) -> ByteRange {
        let start = (self.shard_len() * u64::from(index.0)).min(self.segment_len);
        let end = (start + self.shard_len()).min(self.segment_len);
        span(start, end - start)
    }

    /// The data shards that hold `range` of the segment, in order; none for an empty range.
    pub fn locate(self, range: ByteRange) -> Result<Vec<PartRange>, SegmentError> {
        if range.end() > self.segment_len {
            return Err(SegmentError::Range { what: "segment", len: self.segment_len, range });
        }
        let (len, mut at, mut out) = (self.shard_len(), range.start(), Vec::new());
        while at < range.end() {
            let (shard, inside) = (at / len, at % len);
            let take = (len - inside).min(range.end() - at);
            out.push(PartRange {
                shard: ShardIndex(shard as u16),
                in_shard: span(inside, take),
                in_segment: span(at, take),
            });
            at += take;
        }
        Ok(out)
    }
}

/// `len` bytes from `start`, where the sum is known to be in bounds.
pub(crate) fn span(start: u64, len: u64) -> ByteRange {
    ByteRange::at(start, len).expect("offsets in a segment or object are far below 2^64")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(k: u16, m: u16, len: u64) -> Geometry {
        Geometry::new(Code::new(k, m).unwrap(), len).unwrap()
    }

    #[test]
    fn shards_are_whole_leaves_and_hold_the_segment() {
        for k in [1, 2, 3, 8, 16, 255] {
            for len in [1, 1023, 1024, 1025, 8191, 8192, 8193, 1 << 20, SEGMENT_LEN_MAX] {
                let g = geometry(k, 1, len);
                assert_eq!(g.shard_len() % LEAF_LEN, 0);
                assert!(g.shard_len() * u64::from(k) >= len);
                assert!(g.shard_len() < len.div_ceil(u64::from(k)) + LEAF_LEN);
                let parts: u64 = (0..k).map(|i| g.part(ShardIndex(i)).len()).sum();
                assert_eq!(parts, len, "k {k}, len {len}");
            }
        }
    }

    #[test]
    fn a_range_is_located_once_and_in_order() {
        let g = geometry(3, 2, 10_000);
        assert_eq!(g.shard_len(), 4096);
        let parts = g.locate(ByteRange::new(4000, 9000).unwrap()).unwrap();
        let want = [(0, 4000, 96, 4000), (1, 0, 4096, 4096), (2, 0, 808, 8192)];
        assert_eq!(parts.len(), want.len());
        for (part, (shard, start, len, at)) in parts.iter().zip(want) {
            assert_eq!(part.shard, ShardIndex(shard));
            assert_eq!((part.in_shard, part.in_segment), (span(start, len), span(at, len)));
        }
        assert!(g.locate(ByteRange::new(5, 5).unwrap()).unwrap().is_empty());
        assert!(g.locate(ByteRange::first(10_001)).is_err());
    }

    #[test]
    fn no_bytes_and_too_many_are_no_segment() {
        let code = Code::new(8, 4).unwrap();
        assert_eq!(Geometry::new(code, 0), Err(SegmentError::Length(0)));
        assert!(Geometry::new(code, SEGMENT_LEN_MAX + 1).is_err());
    }
}
