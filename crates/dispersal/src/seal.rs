//! An object's bytes in, sealed frames, pages of the frame table and a manifest out, in one pass and
//! constant memory: one frame, one page, and the names of the pages.
//!
//! An interrupted put goes on from a [`Checkpoint`] taken at the end of a durable segment: frames
//! before it are kept as they are, frames after it are sealed under a fresh run key, so that the same
//! (key, nonce) never meets two different frames even if the source changed meanwhile.

use holdfast_types::{FRAME_LEN, FrameIndex, ObjectId, Root};
use thiserror::Error;

use crate::{
    cipher::TAG_LEN,
    frame::{Codec, FRAME_SEALED_LEN_MAX, FrameSealer, SealedFrame},
    key::{KeyCommitment, ObjectKey, RunSalt},
    noise::{TRIED_EVERY, looks_random},
    record::{Frames, Index, Manifest, RecordError, frame_page},
    root::StreamRoot,
    table::{ENTRY_LEN, FRAMES_INLINE_MAX, FRAMES_PER_PAGE, OBJECT_LEN_MAX, PageRef, RUNS_MAX, Run, entry},
};

/// Why an object is not sealed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// Longer than a manifest can describe.
    #[error("expected an object of at most {OBJECT_LEN_MAX} bytes, got {0} and more; store it as several")]
    TooLong(u64),
    /// A salt that this object has already been sealed under.
    #[error("expected a fresh salt for this attempt, got one of an earlier attempt; draw another")]
    SaltReused,
    /// Resumed too often.
    #[error("expected at most {RUNS_MAX} attempts to put one object, this is one more; put it afresh")]
    TooManyRuns,
    /// The checkpoint is of an object under another key.
    #[error("expected the object key that this put began with, got another; put the object afresh")]
    OtherKey,
    /// Not a whole frame, or not the next one.
    #[error(
        "expected a whole frame of {FRAME_LEN} bytes with none waiting before it, got {got} with {waiting} waiting; push them"
    )]
    NotAFrame {
        /// Its bytes.
        got: usize,
        /// Bytes that were pushed and are not sealed yet.
        waiting: usize,
    },
    /// A frame that did not shrink would not fit.
    #[error("expected room for {FRAME_SEALED_LEN_MAX} bytes of a sealed frame, got {0}; give it more")]
    NoRoom(usize),
    /// zstd failed, which it does only without memory.
    #[error("zstd could not compress a frame: {0}; free some memory and try again")]
    Compress(String),
    /// A name or media type that does not fit.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What the owner says about an object, sealed in its manifest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Description {
    /// What it was called when it was stored; a hint, the envelope has the names.
    pub name: Option<String>,
    /// Its media type (RFC 6838).
    pub media_type: Option<String>,
}

/// A record that goes with an object: a page of its frame table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FramePage {
    /// Which page.
    pub number: u64,
    /// Its name: the BLAKE3 root of its bytes.
    pub root: Root,
    /// Its bytes, at most 64 KiB.
    pub bytes: Vec<u8>,
}

/// The end of a [`Sealer`].
#[derive(Clone, Debug)]
pub struct SealedObject {
    /// The last frame.
    pub frame: SealedFrame,
    /// Pages of the frame table that were not taken before, the last one among them.
    pub pages: Vec<FramePage>,
    /// The manifest.
    pub manifest: Manifest,
}

impl SealedObject {
    /// The object's name.
    pub fn object_id(&self) -> ObjectId {
        self.manifest.object_id()
    }
}

/// Seals one object.
pub struct Sealer {
    key: ObjectKey,
    frames: FrameSealer,
    buffer: Vec<u8>,
    state: Checkpoint,
    ready: Vec<FramePage>,
}

/// Everything of a put in progress but the key: enough to go on after a crash. Belongs in the
/// client's own files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    pub(crate) commitment: KeyCommitment,
    pub(crate) runs: Vec<Run>,
    pub(crate) next: u64,
    pub(crate) sealed_len: u64,
    pub(crate) root: StreamRoot,
    /// Entries of the page in the making.
    pub(crate) entries: Vec<u8>,
    pub(crate) page_start: u64,
    pub(crate) pages: Vec<PageRef>,
}

impl Checkpoint {
    /// From which byte of the object to go on: a multiple of the frame length.
    pub const fn plain_offset(&self) -> u64 {
        self.next * FRAME_LEN
    }

    /// Bytes of the sealed stream so far.
    pub const fn sealed_len(&self) -> u64 {
        self.sealed_len
    }
}

impl Sealer {
    /// Starts the first attempt. `key` and `salt` are fresh draws.
    pub fn new(key: ObjectKey, salt: RunSalt) -> Result<Self, SealError> {
        let state = Checkpoint {
            commitment: key.commitment(),
            runs: Vec::new(),
            next: 0,
            sealed_len: 0,
            root: StreamRoot::default(),
            entries: Vec::new(),
            page_start: 0,
            pages: Vec::new(),
        };
        Self::resume(key, state, salt)
    }

    /// Goes on after an interruption, with the same key and a salt of its own. Feed it the object from
    /// [`Checkpoint::plain_offset`] on.
    ///
    /// The caller vouches that the source did not change before that offset; after it, it may have.
    pub fn resume(key: ObjectKey, mut at: Checkpoint, salt: RunSalt) -> Result<Self, SealError> {
        if key.commitment() != at.commitment {
            return Err(SealError::OtherKey);
        }
        if at.runs.iter().any(|run| run.salt == salt) {
            return Err(SealError::SaltReused);
        }
        // Nothing of a run was kept that began where this one does: its salt is not needed.
        at.runs.retain(|run| run.first_frame.0 < at.next);
        if at.runs.len() == RUNS_MAX {
            return Err(SealError::TooManyRuns);
        }
        at.runs.push(Run { first_frame: FrameIndex(at.next), salt });
        let frames = FrameSealer::new(&key, &salt)?;
        Ok(Self { key, frames, buffer: Vec::new(), state: at, ready: Vec::new() })
    }

    /// Takes the next bytes of the object. Gives a frame for each 1 MiB that is known not to be the
    /// last: at most `plain.len() / 1 MiB + 1` of them, so feed it about 1 MiB at a time.
    ///
    /// [`Sealer::seal_frame`] does it with a third of the copies, for those who know what follows.
    pub fn push(&mut self, mut plain: &[u8]) -> Result<Vec<SealedFrame>, SealError> {
        self.room_for(plain.len())?;
        let (frame_len, mut out) = (FRAME_LEN as usize, Vec::new());
        while self.buffer.len() + plain.len() > frame_len {
            let (head, rest) = plain.split_at(frame_len - self.buffer.len());
            self.buffer.extend_from_slice(head);
            plain = rest;
            let frame = std::mem::take(&mut self.buffer);
            out.push(self.seal_apart(false, &frame)?);
            self.buffer = frame;
            self.buffer.clear();
        }
        self.buffer.extend_from_slice(plain);
        Ok(out)
    }

    /// Seals a whole frame that is not the object's last, to the front of `room`: where a segment is being filled, say, by
    /// [`SegmentCutter::push_with`](crate::SegmentCutter::push_with). Gives the sealed length. Whatever is last is pushed.
    ///
    /// # Errors
    /// [`SealError::NotAFrame`] for another length, or while pushed bytes wait; [`SealError::NoRoom`] for less than
    /// [`FRAME_SEALED_LEN_MAX`]. The frame was not sealed then.
    pub fn seal_frame(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, SealError> {
        if plain.len() as u64 != FRAME_LEN || !self.buffer.is_empty() {
            return Err(SealError::NotAFrame { got: plain.len(), waiting: self.buffer.len() });
        }
        if (room.len() as u64) < FRAME_SEALED_LEN_MAX {
            return Err(SealError::NoRoom(room.len()));
        }
        self.room_for(plain.len())?;
        self.seal(false, plain, room).map(|(_, len)| len)
    }

    fn room_for(&self, more: usize) -> Result<(), SealError> {
        if self.plain_len() + more as u64 > OBJECT_LEN_MAX { Err(SealError::TooLong(OBJECT_LEN_MAX)) } else { Ok(()) }
    }

    /// A frame in bytes of its own.
    fn seal_apart(&mut self, last: bool, plain: &[u8]) -> Result<SealedFrame, SealError> {
        let (index, stream_offset) = (FrameIndex(self.state.next), self.state.sealed_len);
        let mut bytes = vec![0; plain.len() + TAG_LEN];
        let (codec, len) = self.seal(last, plain, &mut bytes)?;
        bytes.truncate(len);
        Ok(SealedFrame { index, codec, stream_offset, bytes })
    }

    fn seal(&mut self, last: bool, plain: &[u8], room: &mut [u8]) -> Result<(Codec, usize), SealError> {
        let (index, compress) = (FrameIndex(self.state.next), self.worth_trying(plain));
        let (codec, len) = self.frames.seal(index, last, compress, plain, room)?;
        self.state.root.absorb(&room[..len]);
        self.state.entries.extend(entry(codec, len));
        self.state.sealed_len += len as u64;
        self.state.next += 1;
        if self.state.next.is_multiple_of(FRAMES_PER_PAGE) {
            self.close_page()?;
        }
        Ok((codec, len))
    }

    /// Whether zstd is to be tried on the next frame: see [`crate::noise`].
    fn worth_trying(&self, plain: &[u8]) -> bool {
        // The first of its run, among the entries of the page in the making.
        let first = (self.state.next - self.state.next % TRIED_EVERY) % FRAMES_PER_PAGE;
        let at = first as usize * ENTRY_LEN;
        let followed = self.state.entries.get(at..at + ENTRY_LEN);
        let in_vain = followed.is_some_and(|known| *known == entry(Codec::Raw, FRAME_LEN as usize + TAG_LEN));
        !(in_vain && looks_random(plain))
    }

    fn close_page(&mut self) -> Result<(), SealError> {
        let number = self.state.pages.len() as u64;
        let bytes = frame_page::seal(&self.key, number, &std::mem::take(&mut self.state.entries))?;
        let root = Root::of(&bytes);
        self.state.pages.push(PageRef { root, sealed_start: self.state.page_start });
        self.state.page_start = self.state.sealed_len;
        self.ready.push(FramePage { number, root, bytes });
        Ok(())
    }

    /// Pages of the frame table that are complete. To be stored before the checkpoint that follows.
    pub fn take_pages(&mut self) -> Vec<FramePage> {
        std::mem::take(&mut self.ready)
    }

    /// The state as of the last frame given out: what was pushed since is not in it. Take it when a
    /// segment is cut, keep it when the segment is durable.
    pub fn checkpoint(&self) -> Checkpoint {
        self.state.clone()
    }

    /// Plain bytes taken so far.
    pub fn plain_len(&self) -> u64 {
        self.state.plain_offset() + self.buffer.len() as u64
    }

    /// Bytes of the sealed stream so far: where the next frame will start.
    pub const fn sealed_len(&self) -> u64 {
        self.state.sealed_len
    }

    /// Seals the last frame and makes the manifest.
    pub fn finish(mut self, description: Description) -> Result<SealedObject, SealError> {
        let plain_len = self.plain_len();
        let last = std::mem::take(&mut self.buffer);
        let frame = self.seal_apart(true, &last)?;
        let inline = self.state.pages.is_empty() && self.state.next <= FRAMES_INLINE_MAX;
        if !inline && !self.state.entries.is_empty() {
            self.close_page()?;
        }
        let Checkpoint { runs, pages, entries, sealed_len, root, .. } = self.state;
        let frames = if inline { Frames::Inline(entries) } else { Frames::Paged(pages) };
        let Description { name, media_type } = description;
        let index = Index { name, media_type, plain_len, runs, frames };
        let manifest = Manifest::seal(&self.key, sealed_len, root.root(), &index)?;
        Ok(SealedObject { frame, pages: self.ready, manifest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CutSegment, SEGMENT_LEN_DEFAULT, SegmentCutter};

    fn sealer() -> Sealer {
        Sealer::new(ObjectKey::from_bytes([1; 32]), RunSalt([2; 32])).unwrap()
    }

    fn finished(mut cutter: SegmentCutter, sealer: Sealer) -> (CutSegment, ObjectId) {
        let object = sealer.finish(Description::default()).unwrap();
        assert_eq!(cutter.push(7, object.frame.stream_offset, &object.frame.bytes), None);
        (cutter.flush().unwrap(), object.object_id())
    }

    #[test]
    fn frames_sealed_in_their_place_are_the_ones_that_are_given_out() {
        let mut plain = vec![0; 3 * FRAME_LEN as usize + 5];
        blake3::Hasher::new().finalize_xof().fill(&mut plain[FRAME_LEN as usize..]);
        let (mut apart, mut cutter) = (sealer(), SegmentCutter::new(SEGMENT_LEN_DEFAULT));
        // At no boundary of a frame.
        for piece in plain.chunks(300_001) {
            for frame in apart.push(piece).unwrap() {
                assert_eq!(cutter.push(7, frame.stream_offset, &frame.bytes), None);
            }
        }
        let expected = finished(cutter, apart);

        let (mut there, mut cutter) = (sealer(), SegmentCutter::new(SEGMENT_LEN_DEFAULT));
        for frame in plain.as_chunks::<{ FRAME_LEN as usize }>().0 {
            let at = there.sealed_len();
            assert_eq!(cutter.push_with(7, at, |segment| there.seal_frame(frame, segment)), Ok(None));
        }
        there.push(&plain[3 * FRAME_LEN as usize..]).unwrap();
        assert!(finished(cutter, there) == expected);
    }

    #[test]
    fn what_is_no_whole_frame_or_out_of_turn_is_refused_and_adds_nothing() {
        let (frame, mut out) = (vec![1; FRAME_LEN as usize], vec![9; FRAME_SEALED_LEN_MAX as usize]);
        let mut sealer = sealer();
        let short = SealError::NotAFrame { got: frame.len() - 1, waiting: 0 };
        assert_eq!(sealer.seal_frame(&frame[1..], &mut out), Err(short));
        let narrow = SealError::NoRoom(out.len() - 1);
        assert_eq!(sealer.seal_frame(&frame, &mut out[1..]), Err(narrow));
        sealer.push(&[1; 10]).unwrap();
        let late = SealError::NotAFrame { got: frame.len(), waiting: 10 };
        assert_eq!(sealer.seal_frame(&frame, &mut out), Err(late));
        assert!(out.iter().all(|byte| *byte == 9));
        assert_eq!((sealer.sealed_len(), sealer.plain_len()), (0, 10));
    }
}
