//! Cuts the sealed streams of an upload into segments. A large object fills many; small objects of
//! one upload share one. A segment holds whole frames, so a frame's read touches one segment, and an
//! interrupted put goes on at the end of its last durable segment with nothing to patch.

use std::convert::Infallible;

use holdfast_types::SEGMENT_LEN_MAX;

use crate::frame::FRAME_SEALED_LEN_MAX;

/// Sealed bytes of a segment by default: 32 whole frames that did not shrink.
pub const SEGMENT_LEN_DEFAULT: u64 = 32 * FRAME_SEALED_LEN_MAX;

/// Pieces of objects in one segment at most: the descriptor's extents stay within 16 pages.
pub const SEGMENT_EXTENTS_MAX: usize = 16 << 10;

/// Spare room for an encoder's padding: 1 KiB for each data shard.
const PADDING_ROOM: usize = 256 << 10;

/// A stretch of one object's sealed stream in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The caller's own number of the object; its id is known only when it is sealed whole.
    pub object: u32,
    /// Where in the segment it starts.
    pub segment_offset: u64,
    /// How many bytes.
    pub len: u64,
    /// Where in the object's sealed stream it starts.
    pub stream_offset: u64,
}

/// A segment, ready to be encoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CutSegment {
    /// The sealed bytes, with spare room behind them for padding.
    pub bytes: Vec<u8>,
    /// What lies in it, in order and without gaps.
    pub pieces: Vec<Piece>,
}

/// A segment in the making.
#[derive(Debug)]
pub struct SegmentCutter {
    segment_len: u64,
    /// Longer than what is filled, so that nothing is written twice: what a buffer held before is overwritten in place.
    bytes: Vec<u8>,
    filled: usize,
    pieces: Vec<Piece>,
}

impl SegmentCutter {
    /// Cuts segments of at most `segment_len` bytes, itself kept between one frame and
    /// [`SEGMENT_LEN_MAX`].
    pub fn new(segment_len: u64) -> Self {
        let segment_len = segment_len.clamp(FRAME_SEALED_LEN_MAX, SEGMENT_LEN_MAX);
        Self { segment_len, bytes: Vec::new(), filled: 0, pieces: Vec::new() }
    }

    /// Adds the next sealed frame of `object`, of at most [`FRAME_SEALED_LEN_MAX`] bytes, which starts at `stream_offset`
    /// of the object's sealed stream. Gives the segment when another frame might not fit: it ends with this frame.
    ///
    /// # Panics
    /// For a longer frame, which there is none.
    pub fn push(&mut self, object: u32, stream_offset: u64, frame: &[u8]) -> Option<CutSegment> {
        let cut = self.push_with(object, stream_offset, |room| {
            room[..frame.len()].copy_from_slice(frame);
            Ok::<_, Infallible>(frame.len())
        });
        match cut {
            Ok(segment) => segment,
            Err(never) => match never {},
        }
    }

    /// As [`SegmentCutter::push`], of a frame that `write` puts to the front of the [`FRAME_SEALED_LEN_MAX`] bytes of room
    /// that it is given; it answers the frame's length. Where it fails the segment is as before.
    ///
    /// # Errors
    /// What `write` gives.
    pub fn push_with<E>(
        &mut self,
        object: u32,
        stream_offset: u64,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Option<CutSegment>, E> {
        if self.bytes.is_empty() {
            // Zeros of the operating system's, which cost nothing where nothing is written.
            self.bytes = vec![0; self.segment_len as usize + PADDING_ROOM];
        }
        let (begin, room) = (self.filled, self.filled + FRAME_SEALED_LEN_MAX as usize);
        if self.bytes.len() < room {
            self.bytes.resize(room, 0);
        }
        self.filled += write(&mut self.bytes[begin..room])?;
        let (segment_offset, len) = (begin as u64, (self.filled - begin) as u64);
        match self.pieces.last_mut() {
            Some(last) if last.object == object && last.stream_offset + last.len == stream_offset => last.len += len,
            _ => self.pieces.push(Piece { object, segment_offset, len, stream_offset }),
        }
        let full = self.filled as u64 + FRAME_SEALED_LEN_MAX > self.segment_len;
        Ok(if full || self.pieces.len() == SEGMENT_EXTENTS_MAX { self.flush() } else { None })
    }

    /// Lends the buffer of an earlier segment to the next one, if none is begun: the pages of a fresh one
    /// cost as much to get as to fill.
    pub fn reuse(&mut self, buffer: Vec<u8>) {
        if self.filled == 0 {
            self.bytes = buffer;
        }
    }

    /// Bytes that wait for a segment.
    pub const fn pending(&self) -> u64 {
        self.filled as u64
    }

    /// Ends the segment as it stands; `None` when there is nothing in it.
    pub fn flush(&mut self) -> Option<CutSegment> {
        if self.filled == 0 {
            return None;
        }
        let (mut bytes, pieces) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.pieces));
        bytes.truncate(std::mem::take(&mut self.filled));
        Some(CutSegment { bytes, pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = FRAME_SEALED_LEN_MAX as usize;

    #[test]
    fn a_default_segment_is_32_full_frames() {
        let mut cutter = SegmentCutter::new(SEGMENT_LEN_DEFAULT);
        let frame = vec![1; FRAME];
        for number in 0..31 {
            assert_eq!(cutter.push(0, number * FRAME_SEALED_LEN_MAX, &frame), None);
        }
        let segment = cutter.push(0, 31 * FRAME_SEALED_LEN_MAX, &frame).expect("full");
        assert_eq!(segment.bytes.len() as u64, SEGMENT_LEN_DEFAULT);
        assert_eq!(
            segment.pieces,
            [Piece { object: 0, segment_offset: 0, len: SEGMENT_LEN_DEFAULT, stream_offset: 0 }]
        );
        assert_eq!(cutter.flush(), None);
    }

    #[test]
    fn small_objects_share_a_segment_and_a_large_one_spans_several() {
        let mut cutter = SegmentCutter::new(2 * FRAME_SEALED_LEN_MAX);
        assert_eq!(cutter.push(0, 0, &[1; 100]), None);
        let first = cutter.push(1, 0, &vec![2; FRAME]).expect("no room for a whole frame");
        assert_eq!(first.pieces.len(), 2);
        assert_eq!(first.pieces[1], Piece { object: 1, segment_offset: 100, len: FRAME as u64, stream_offset: 0 });
        assert_eq!(cutter.push(1, FRAME as u64, &[2; 50]), None);
        let second = cutter.flush().expect("the rest");
        assert_eq!(second.pieces, [Piece { object: 1, segment_offset: 0, len: 50, stream_offset: FRAME as u64 }]);
    }

    #[test]
    fn a_lent_buffer_is_filled_from_its_start_and_never_while_another_is() {
        let mut cutter = SegmentCutter::new(2 * FRAME_SEALED_LEN_MAX);
        let lent = vec![7; 3 * FRAME];
        let place = lent.as_ptr();
        cutter.reuse(lent);
        let frame = vec![1; FRAME];
        assert_eq!(cutter.push(0, 0, &frame), None);
        let first = cutter.push(0, FRAME_SEALED_LEN_MAX, &frame).expect("full");
        assert_eq!((first.bytes.len(), first.bytes.as_ptr()), (2 * FRAME, place));
        assert!(first.bytes.iter().all(|byte| *byte == 1));
        assert_eq!(cutter.push(1, 0, &[2; 9]), None);
        cutter.reuse(vec![7; FRAME]);
        assert_eq!(cutter.flush().expect("the rest").bytes, [2; 9]);
    }

    #[test]
    fn a_frame_that_could_not_be_written_leaves_nothing() {
        let mut cutter = SegmentCutter::new(2 * FRAME_SEALED_LEN_MAX);
        assert_eq!(cutter.push(0, 0, &[1; 100]), None);
        let failed = cutter.push_with(0, 100, |room| {
            room[..50].fill(9);
            Err("no")
        });
        assert_eq!((failed, cutter.pending()), (Err("no"), 100));
        assert_eq!(cutter.flush().expect("the first").bytes, [1; 100]);
    }

    #[test]
    fn too_many_tiny_objects_end_a_segment() {
        let mut cutter = SegmentCutter::new(SEGMENT_LEN_DEFAULT);
        let cut = (0..).find_map(|object| cutter.push(object, 0, &[0; 16])).expect("bounded");
        assert_eq!(cut.pieces.len(), SEGMENT_EXTENTS_MAX);
    }
}
