//! Sealed bytes in, the object's bytes out: all of them or a range, frame by frame, each verified
//! before a byte of it is given.
//!
//! Nothing is trusted but the object id and the key: the manifest is what the id names, the index
//! and the pages open under the key that the manifest commits to, each frame opens in its own place
//! only, and an object read whole has the root that its manifest states.

use holdfast_types::{ByteRange, FrameIndex, Root};
use thiserror::Error;

use crate::{
    frame::FrameOpener,
    key::ObjectKey,
    record::{Frames, Index, Manifest, RecordError, frame_page},
    root::StreamRoot,
    table::{FrameSpan, FrameTable, TableError},
};

/// Why an object does not open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The key is not the one that the manifest commits to.
    #[error(
        "the object key is not the one its manifest was made under; take the key from this object's newest envelope"
    )]
    Key,
    /// The sealed index does not open, though the key is right.
    #[error(
        "the index of the manifest does not open under the object's key: the manifest was changed; fetch it again by the object's id"
    )]
    Index,
    /// Index, page or manifest is no such record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The frame table cannot be.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A page that is not the one the manifest names, or does not open.
    #[error(
        "page {number} of the frame table is not the one that the manifest names: expected root {expected}, got {got}; fetch it again"
    )]
    Page {
        /// Which page.
        number: u64,
        /// What the manifest says.
        expected: Root,
        /// What came.
        got: Root,
    },
    /// Pages must come before frames.
    #[error("expected page {0} of the frame table first; absorb it, then go on")]
    PageFirst(u64),
    /// A range that leaves the object.
    #[error("expected a range inside the object's {len} bytes, got {range}")]
    Range {
        /// Bytes of the object.
        len: u64,
        /// What was asked for.
        range: ByteRange,
    },
    /// A frame that was not sealed like this, here: changed, moved, or not the last.
    #[error(
        "frame {frame} (bytes {sealed} of the sealed stream) does not open: it was changed, moved or cut; read it from other shards"
    )]
    Frame {
        /// Which frame.
        frame: FrameIndex,
        /// Where it lies in the object's sealed stream.
        sealed: ByteRange,
    },
    /// A body that does not unpack to what it says: a compression bomb, or a broken sealer.
    #[error(
        "frame {frame} should unpack to {expected} bytes, got {got}: whoever sealed it lied; nothing was kept of it"
    )]
    Unpacked {
        /// Which frame.
        frame: FrameIndex,
        /// Bytes it should have.
        expected: u64,
        /// What happened.
        got: String,
    },
    /// zstd failed before it saw a byte: no memory.
    #[error("zstd could not start: {0}; free some memory and try again")]
    Decompress(String),
    /// More bytes than the range has.
    #[error("expected {0} more bytes of the sealed stream at most, got more; feed exactly the sealed range")]
    TooMuch(u64),
    /// The stream ended early.
    #[error(
        "the sealed stream ended {missing} bytes early, in frame {frame}; read the rest, or the object is truncated"
    )]
    Truncated {
        /// The frame that is not whole.
        frame: FrameIndex,
        /// Bytes that did not come.
        missing: u64,
    },
    /// Every frame opened, but the stream is not the one that the manifest names.
    #[error("the sealed stream has root {got}, its manifest says {expected}: whoever sealed it lied")]
    Root {
        /// What the manifest says.
        expected: Root,
        /// What came.
        got: Root,
    },
}

/// Opens one object, or a range of it. First its pages, if [`Opener::pages_wanted`] names any; then
/// the bytes of [`Opener::sealed_range`], in order and in pieces of any size; then [`Opener::finish`].
pub struct Opener {
    manifest: Manifest,
    key: ObjectKey,
    index: Index,
    table: FrameTable,
    frames: FrameOpener,
    range: ByteRange,
    next: FrameIndex,
    end: FrameIndex,
    at: u64,
    /// A frame that came in part.
    buffer: Vec<u8>,
    /// The last frame, opened.
    plain: Vec<u8>,
    root: Option<StreamRoot>,
}

impl Opener {
    /// Opens the manifest's index. `range` counts bytes of the object; `None` is all of it, and only
    /// then is the sealed stream's root verified.
    pub fn new(key: &ObjectKey, manifest: &Manifest, range: Option<ByteRange>) -> Result<Self, OpenError> {
        let index = manifest.open(key)?;
        let table = match &index.frames {
            Frames::Inline(entries) => FrameTable::inline(index.plain_len, manifest.sealed_len(), entries)?,
            Frames::Paged(pages) => FrameTable::paged(index.plain_len, manifest.sealed_len(), pages)?,
        };
        let frames = FrameOpener::new(key, &index.runs)?;
        let whole = ByteRange::first(index.plain_len);
        let range = range.unwrap_or(whole);
        if range.end() > index.plain_len {
            return Err(OpenError::Range { len: index.plain_len, range });
        }
        // All of an empty object is one frame, and its emptiness is to be verified too.
        let (next, end) = if range == whole {
            (0, table.frames())
        } else if range.is_empty() {
            (0, 0)
        } else {
            (range.start() / holdfast_types::FRAME_LEN, range.end().div_ceil(holdfast_types::FRAME_LEN))
        };
        Ok(Self {
            manifest: manifest.clone(),
            key: key.clone(),
            table,
            frames,
            range,
            next: FrameIndex(next),
            end: FrameIndex(end),
            at: 0,
            buffer: Vec::new(),
            plain: Vec::new(),
            root: (range == whole).then(StreamRoot::default),
            index,
        })
    }

    /// Names, lengths and runs.
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// The bytes of the object that will come out.
    pub const fn range(&self) -> ByteRange {
        self.range
    }

    /// The frames of the range, first and end.
    pub fn frames(&self) -> std::ops::Range<u64> {
        self.next.0..self.end.0
    }

    /// The pages of the frame table that are still needed: number and root, none for an object below
    /// 4 GiB.
    pub fn pages_wanted(&self) -> Vec<(u64, Root)> {
        let Frames::Paged(pages) = &self.index.frames else { return Vec::new() };
        if self.next == self.end {
            return Vec::new();
        }
        let (first, last) = (self.table.page_of(self.next), self.table.page_of(FrameIndex(self.end.0 - 1)));
        let missing = (first..=last).filter(|number| !self.table.has(*number));
        missing.filter_map(|number| Some((number, pages.get(number as usize)?.root))).collect()
    }

    /// Takes a page's record.
    pub fn absorb_page(&mut self, number: u64, bytes: &[u8]) -> Result<(), OpenError> {
        let Frames::Paged(pages) = &self.index.frames else {
            return Err(TableError::Page { pages: 0, page: number }.into());
        };
        let refused = TableError::Page { pages: pages.len() as u64, page: number };
        let expected = pages.get(number as usize).ok_or(refused)?.root;
        let got = Root::of(bytes);
        if got != expected {
            return Err(OpenError::Page { number, expected, got });
        }
        let entries = frame_page::open(&self.key, number, bytes)?;
        Ok(self.table.absorb(number, &entries)?)
    }

    /// The bytes of the object's sealed stream that hold the range, whole frames.
    pub fn sealed_range(&self) -> Result<ByteRange, OpenError> {
        if self.next == self.end {
            return Ok(ByteRange::first(0));
        }
        let first = self.span(self.next, None)?;
        let last = self.span(FrameIndex(self.end.0 - 1), None)?;
        ByteRange::new(first.sealed.start(), last.sealed.end()).ok_or(OpenError::PageFirst(0))
    }

    /// Where a frame of the object lies. Walks its page: for reading on, [`Opener::push`] is cheaper.
    pub fn frame_span(&self, frame: FrameIndex) -> Result<FrameSpan, OpenError> {
        self.span(frame, None)
    }

    fn span(&self, frame: FrameIndex, start: Option<u64>) -> Result<FrameSpan, OpenError> {
        let missing = || OpenError::PageFirst(self.table.page_of(frame));
        let start = start.or_else(|| self.table.sealed_start(frame)).ok_or_else(missing)?;
        self.table.span_at(frame, start).ok_or_else(missing)
    }

    /// [`Opener::push_with`], the frames copied.
    ///
    /// # Errors
    /// As there; what earlier frames of the same call gave is lost with the error, so a reader that wants to go on feeds
    /// at most the rest of one frame at a time.
    pub fn push(&mut self, sealed: &[u8]) -> Result<Vec<Vec<u8>>, OpenError> {
        let mut out = Vec::new();
        self.push_with(sealed, |plain| {
            out.push(plain.to_vec());
            Ok::<_, OpenError>(())
        })?;
        Ok(out)
    }

    /// Takes the next bytes of the sealed range; gives `sink` the object's bytes of each frame they complete, in order.
    ///
    /// # Errors
    /// After [`OpenError::Frame`], nothing of that frame or behind it is kept: read it again from other shards, and go on
    /// from [`Opener::position`]. The sink's own error ends the call, too; the frame that it was given counts as given.
    pub fn push_with<E: From<OpenError>>(
        &mut self,
        mut sealed: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !sealed.is_empty() {
            if self.next == self.end {
                return Err(OpenError::TooMuch(0).into());
            }
            let span = self.next_span()?;
            let len = span.sealed.len() as usize;
            if self.buffer.is_empty() && sealed.len() >= len {
                let (frame, rest) = sealed.split_at(len);
                let wanted = self.open(&span, frame)?;
                sink(&self.plain[wanted])?;
                sealed = rest;
                continue;
            }
            let (head, rest) = sealed.split_at(sealed.len().min(len - self.buffer.len()));
            self.buffer.extend_from_slice(head);
            sealed = rest;
            if self.buffer.len() == len {
                // If it does not open, the buffer stays empty: that frame comes again.
                let frame = std::mem::take(&mut self.buffer);
                let wanted = self.open(&span, &frame)?;
                self.buffer = frame;
                self.buffer.clear();
                sink(&self.plain[wanted])?;
            }
        }
        Ok(())
    }

    /// The next byte of the object's sealed stream that [`Opener::push`] takes; the end of the sealed
    /// range when it wants no more.
    pub fn position(&self) -> Result<u64, OpenError> {
        if self.next == self.end {
            return Ok(self.at);
        }
        Ok(self.next_span()?.sealed.start() + self.buffer.len() as u64)
    }

    /// Where a frame starts is known from the one before; only the first is looked up.
    fn next_span(&self) -> Result<FrameSpan, OpenError> {
        self.span(self.next, (self.at > 0).then_some(self.at))
    }

    /// Opens a frame, to `self.plain`; gives where in it the bytes are that are wanted.
    fn open(&mut self, span: &FrameSpan, sealed: &[u8]) -> Result<std::ops::Range<usize>, OpenError> {
        self.frames.open(span, sealed, &mut self.plain)?;
        // Only now: a frame that did not open is read again, and must not be in the root.
        if let Some(root) = &mut self.root {
            root.absorb(sealed);
        }
        (self.next, self.at) = (FrameIndex(self.next.0 + 1), span.sealed.end());
        let (wanted, start) = (span.plain.intersect(self.range), span.plain.start());
        // Of an empty object the one frame is empty, and so is what is wanted of it, wherever that begins.
        if wanted.is_empty() {
            return Ok(0..0);
        }
        Ok((wanted.start() - start) as usize..(wanted.end() - start) as usize)
    }

    /// Ends the read: every frame came, and of a whole object, the root is the manifest's.
    pub fn finish(self) -> Result<(), OpenError> {
        if self.next != self.end {
            let missing = self.sealed_range()?.end() - self.position()?;
            return Err(OpenError::Truncated { frame: self.next, missing });
        }
        let Some(root) = self.root else { return Ok(()) };
        let (expected, got) = (self.manifest.sealed_root(), root.root());
        if expected == got { Ok(()) } else { Err(OpenError::Root { expected, got }) }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::FRAME_LEN;

    use super::*;
    use crate::{
        key::RunSalt,
        record::Frames,
        seal::{Description, Sealer},
    };

    #[test]
    fn a_stream_cut_after_a_whole_frame_does_not_pass_for_a_shorter_object() {
        // Whoever has the key and cuts stream, table and root alike still has no last frame.
        let key = ObjectKey::from_bytes([1; 32]);
        let mut sealer = Sealer::new(key.clone(), RunSalt([2; 32])).unwrap();
        let frame = sealer.push(&vec![0; FRAME_LEN as usize + 5]).unwrap().remove(0);
        let whole = sealer.finish(Description::default()).unwrap().manifest.open(&key).unwrap();
        let Frames::Inline(entries) = &whole.frames else { panic!("two frames are inline") };
        let cut = Index { plain_len: FRAME_LEN, frames: Frames::Inline(entries[..3].to_vec()), ..whole.clone() };
        let manifest = Manifest::seal(&key, frame.bytes.len() as u64, Root::of(&frame.bytes), &cut).unwrap();
        let mut opener = Opener::new(&key, &manifest, None).unwrap();
        let error = opener.push(&frame.bytes).unwrap_err();
        assert!(matches!(error, OpenError::Frame { frame: FrameIndex(0), .. }), "{error}");
    }

    #[test]
    fn a_stream_that_opens_and_is_not_the_manifest_s_convicts_its_sealer() {
        let key = ObjectKey::from_bytes([1; 32]);
        let sealed = Sealer::new(key.clone(), RunSalt([2; 32])).unwrap().finish(Description::default()).unwrap();
        let index = sealed.manifest.open(&key).unwrap();
        let manifest = Manifest::seal(&key, sealed.manifest.sealed_len(), Root::of(b"other"), &index).unwrap();
        let mut opener = Opener::new(&key, &manifest, None).unwrap();
        opener.push(&sealed.frame.bytes).unwrap();
        assert!(matches!(opener.finish(), Err(OpenError::Root { .. })));
    }
}
