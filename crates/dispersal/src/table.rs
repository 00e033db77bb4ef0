//! The frame table: how long each sealed frame is, and how its body is to be read. Sealed in the
//! manifest, or, of large objects, in pages of 16,384 frames (16 GiB of plain bytes) beside it.
//!
//! ```text
//! entry   bit 23 … 21   20 … 0            3 bytes, big-endian
//!         codec         sealed length
//! ```

use std::collections::BTreeMap;

use holdfast_types::{ByteRange, FRAME_LEN, FrameIndex, Root};
use thiserror::Error;

use crate::{cipher::TAG_LEN, frame::Codec, geometry::span, key::RunSalt};

/// Bytes of one entry.
pub(crate) const ENTRY_LEN: usize = 3;

/// Frames of a page: 48 KiB of entries, below the 64 KiB of a record.
pub const FRAMES_PER_PAGE: u64 = 16 << 10;

/// Frames whose table lies in the manifest itself: 12 KiB of its 64.
pub const FRAMES_INLINE_MAX: u64 = 4 << 10;

/// Pages at most: their names take 52 KiB of the manifest.
pub const FRAME_PAGES_MAX: u64 = 1 << 10;

/// Plain bytes of an object at most: 16 TiB.
pub const OBJECT_LEN_MAX: u64 = FRAME_PAGES_MAX * FRAMES_PER_PAGE * FRAME_LEN;

/// Attempts to seal one object at most: 12 KiB of the manifest.
pub const RUNS_MAX: usize = 256;

/// One attempt to seal an object: its frames, from `first_frame` to the next run's, are sealed under
/// a key made from `salt`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The first frame of this attempt.
    pub first_frame: FrameIndex,
    /// Its salt.
    pub salt: RunSalt,
}

/// A page of the table, in the manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRef {
    /// The root of the page's record.
    pub root: Root,
    /// Where in the object's sealed stream the page's first frame starts, so that a ranged read
    /// needs no page before its own.
    pub sealed_start: u64,
}

/// A frame's place, in the sealed stream and in the object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameSpan {
    /// Which frame.
    pub index: FrameIndex,
    /// Whether it is the object's last.
    pub last: bool,
    /// How its body is to be read.
    pub codec: Codec,
    /// Bytes of the object's sealed stream.
    pub sealed: ByteRange,
    /// Bytes of the object.
    pub plain: ByteRange,
}

/// Why a frame table cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// A table or page of another length than the object has frames.
    #[error("expected {expected} bytes of frame table for page {page}, got {got}; the manifest is damaged or lies")]
    Length {
        /// Which page, from 0.
        page: u64,
        /// Bytes expected.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
    /// An entry that no sealer writes.
    #[error(
        "expected a known codec and a length that fits it for frame {frame}, got entry {entry:#08x}; a newer version may have written it"
    )]
    Entry {
        /// Which frame.
        frame: FrameIndex,
        /// The 24 bits.
        entry: u32,
    },
    /// Lengths that do not add up to where the next page, or the end, is said to be.
    #[error("expected the frames of page {page} to end at byte {expected} of the sealed stream, they end at {got}")]
    Sum {
        /// Which page.
        page: u64,
        /// Where they should end.
        expected: u64,
        /// Where they do.
        got: u64,
    },
    /// A page that the object does not have.
    #[error("expected a page below {pages}, got page {page}")]
    Page {
        /// How many there are.
        pages: u64,
        /// Which came.
        page: u64,
    },
}

/// Frames of an object of this many plain bytes: at least one, the empty one of an empty object.
pub const fn frame_count(plain_len: u64) -> u64 {
    let count = plain_len.div_ceil(FRAME_LEN);
    if count == 0 { 1 } else { count }
}

pub(crate) fn entry(codec: Codec, sealed_len: usize) -> [u8; ENTRY_LEN] {
    let word = (codec as u32) << 21 | sealed_len as u32;
    let [_, entry @ ..] = word.to_be_bytes();
    entry
}

/// The frame table of one object, as far as its pages have come.
#[derive(Clone, Debug)]
pub(crate) struct FrameTable {
    plain_len: u64,
    sealed_len: u64,
    per_page: u64,
    starts: Vec<u64>,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl FrameTable {
    /// A table that lies in the manifest.
    pub(crate) fn inline(plain_len: u64, sealed_len: u64, entries: &[u8]) -> Result<Self, TableError> {
        let frames = frame_count(plain_len);
        let mut table = Self { plain_len, sealed_len, per_page: frames, starts: vec![0], pages: BTreeMap::new() };
        table.absorb(0, entries)?;
        Ok(table)
    }

    /// A table whose pages come later.
    pub(crate) fn paged(plain_len: u64, sealed_len: u64, pages: &[PageRef]) -> Result<Self, TableError> {
        let expected = frame_count(plain_len).div_ceil(FRAMES_PER_PAGE);
        if pages.len() as u64 != expected {
            return Err(TableError::Page { pages: expected, page: pages.len() as u64 });
        }
        let starts: Vec<u64> = pages.iter().map(|page| page.sealed_start).collect();
        // Each page holds bytes, and the last ends with the stream: so no sum of theirs overflows.
        let ends = starts.iter().skip(1).chain([&sealed_len]);
        let broken = (0..)
            .zip(starts.iter().zip(ends))
            .find(|(page, (start, end))| start >= end || (*page == 0 && **start != 0));
        if let Some((page, (start, end))) = broken {
            return Err(TableError::Sum { page, expected: *end, got: *start });
        }
        Ok(Self { plain_len, sealed_len, per_page: FRAMES_PER_PAGE, starts, pages: BTreeMap::new() })
    }

    pub(crate) fn frames(&self) -> u64 {
        frame_count(self.plain_len)
    }

    /// Takes the entries of a page, once they are known to add up.
    pub(crate) fn absorb(&mut self, page: u64, entries: &[u8]) -> Result<(), TableError> {
        let pages = self.starts.len() as u64;
        let start = *self.starts.get(page as usize).ok_or(TableError::Page { pages, page })?;
        let first = page * self.per_page;
        let count = (self.frames() - first).min(self.per_page);
        let (expected, got) = (count * ENTRY_LEN as u64, entries.len() as u64);
        if expected != got {
            return Err(TableError::Length { page, expected, got });
        }
        let mut end = start;
        for (number, bytes) in (first..).zip(entries.chunks_exact(ENTRY_LEN)) {
            end += self.parse(FrameIndex(number), bytes)?.1;
        }
        let expected = self.starts.get(page as usize + 1).copied().unwrap_or(self.sealed_len);
        if end != expected {
            return Err(TableError::Sum { page, expected, got: end });
        }
        self.pages.insert(page, entries.to_vec());
        Ok(())
    }

    /// Codec and sealed length of an entry, if a sealer can have written it.
    fn parse(&self, frame: FrameIndex, bytes: &[u8]) -> Result<(Codec, u64), TableError> {
        let word = bytes.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let refused = TableError::Entry { frame, entry: word };
        let (number, sealed_len) = ((word >> 21) as u8, u64::from(word & ((1 << 21) - 1)));
        let (plain, tag) = (self.plain(frame).len(), TAG_LEN as u64);
        match Codec::from_u8(number) {
            Some(Codec::Raw) if sealed_len == plain + tag => Ok((Codec::Raw, sealed_len)),
            Some(Codec::Zstd) if sealed_len > tag && sealed_len < plain + tag => Ok((Codec::Zstd, sealed_len)),
            _ => Err(refused),
        }
    }

    fn plain(&self, frame: FrameIndex) -> ByteRange {
        let start = frame.0 * FRAME_LEN;
        span(start, (self.plain_len - start.min(self.plain_len)).min(FRAME_LEN))
    }

    /// The page that holds a frame's entry.
    pub(crate) fn page_of(&self, frame: FrameIndex) -> u64 {
        frame.0 / self.per_page
    }

    pub(crate) fn has(&self, page: u64) -> bool {
        self.pages.contains_key(&page)
    }

    fn entry(&self, frame: FrameIndex) -> Option<(Codec, u64)> {
        let page = self.pages.get(&self.page_of(frame))?;
        let at = (frame.0 % self.per_page) as usize * ENTRY_LEN;
        self.parse(frame, page.get(at..at + ENTRY_LEN)?).ok()
    }

    /// Where a frame starts in the sealed stream; `None` while its page is missing.
    pub(crate) fn sealed_start(&self, frame: FrameIndex) -> Option<u64> {
        let page = self.page_of(frame);
        let mut at = *self.starts.get(page as usize)?;
        for number in page * self.per_page..frame.0 {
            at += self.entry(FrameIndex(number))?.1;
        }
        Some(at)
    }

    /// A frame's span, given where it starts in the sealed stream.
    pub(crate) fn span_at(&self, frame: FrameIndex, sealed_start: u64) -> Option<FrameSpan> {
        let (codec, sealed_len) = self.entry(frame)?;
        let (sealed, plain) = (span(sealed_start, sealed_len), self.plain(frame));
        Some(FrameSpan { index: frame, last: frame.0 + 1 == self.frames(), codec, sealed, plain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(len: usize) -> [u8; 3] {
        entry(Codec::Raw, len + TAG_LEN)
    }

    #[test]
    fn spans_follow_each_other() {
        let full = FRAME_LEN as usize;
        let entries = [raw(full), entry(Codec::Zstd, 100), raw(5)].concat();
        let plain_len = 2 * FRAME_LEN + 5;
        let sealed_len = FRAME_LEN + 16 + 100 + 21;
        let table = FrameTable::inline(plain_len, sealed_len, &entries).unwrap();
        assert_eq!(table.sealed_start(FrameIndex(2)), Some(FRAME_LEN + 116));
        let last = table.span_at(FrameIndex(2), FRAME_LEN + 116).unwrap();
        assert_eq!((last.last, last.codec), (true, Codec::Raw));
        assert_eq!(last.plain, ByteRange::new(2 * FRAME_LEN, plain_len).unwrap());
        assert_eq!(table.span_at(FrameIndex(1), FRAME_LEN + 16).unwrap().sealed.len(), 100);
    }

    #[test]
    fn a_table_that_does_not_add_up_is_refused() {
        let five = raw(5);
        assert!(FrameTable::inline(5, 21, &five).is_ok());
        assert!(matches!(FrameTable::inline(5, 22, &five), Err(TableError::Sum { .. })));
        assert!(matches!(FrameTable::inline(6, 21, &five), Err(TableError::Entry { .. })));
        assert!(matches!(FrameTable::inline(5, 21, &[five, five].concat()), Err(TableError::Length { .. })));
        assert!(matches!(FrameTable::inline(5, 21, &[0x40, 0, 21]), Err(TableError::Entry { .. })), "codec 2");
        let longer = entry(Codec::Zstd, 21);
        assert!(matches!(FrameTable::inline(5, 21, &longer), Err(TableError::Entry { .. })), "did not shrink");
    }

    #[test]
    fn a_page_is_read_without_the_pages_before_it() {
        let plain_len = FRAMES_PER_PAGE * FRAME_LEN + 1;
        let start = FRAMES_PER_PAGE * (FRAME_LEN + 16);
        let root = Root::of(b"");
        let pages = [PageRef { root, sealed_start: 0 }, PageRef { root, sealed_start: start }];
        let mut table = FrameTable::paged(plain_len, start + 17, &pages).unwrap();
        table.absorb(1, &raw(1)).unwrap();
        assert_eq!(table.sealed_start(FrameIndex(FRAMES_PER_PAGE)), Some(start));
        assert_eq!(table.sealed_start(FrameIndex(1)), None);
        assert!(matches!(table.absorb(2, &[]), Err(TableError::Page { .. })));
        let last_short =
            [raw(FRAME_LEN as usize).repeat(FRAMES_PER_PAGE as usize - 1), entry(Codec::Zstd, 99).to_vec()];
        assert!(matches!(table.absorb(0, &last_short.concat()), Err(TableError::Sum { .. })));
        assert!(FrameTable::paged(plain_len, start + 17, &pages[..1]).is_err());
        let starting = |first, second| {
            let pages = [PageRef { root, sealed_start: first }, PageRef { root, sealed_start: second }];
            FrameTable::paged(plain_len, start + 17, &pages).map(|_| ())
        };
        assert_eq!(starting(0, start), Ok(()));
        for (first, second) in [(1, start), (0, 0), (0, start + 17), (0, u64::MAX), (u64::MAX, start)] {
            assert!(matches!(starting(first, second), Err(TableError::Sum { .. })), "{first}, {second}");
        }
    }
}
