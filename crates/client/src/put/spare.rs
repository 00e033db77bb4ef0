//! Buffers of segments that are through, for those that come: 50 MiB of fresh pages for every 32 MiB of a
//! file cost the kernel as much as sending them.

use std::sync::{Mutex, PoisonError};

use holdfast_dispersal::Buffers;

/// Buffers kept at most: as many as there are segments at once.
const KEPT_MAX: usize = super::SEGMENTS_AT_ONCE as usize;

/// Buffers at hand, of data and of parity shards.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    data: Mutex<Vec<Vec<u8>>>,
    parity: Mutex<Vec<Vec<u8>>>,
}

fn take(shelf: &Mutex<Vec<Vec<u8>>>) -> Option<Vec<u8>> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn put(shelf: &Mutex<Vec<Vec<u8>>>, buffer: Option<Vec<u8>>) {
    let Some(buffer) = buffer else { return };
    let mut kept = shelf.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < KEPT_MAX {
        kept.push(buffer);
    }
}

impl Spare {
    pub(super) fn data(&self) -> Option<Vec<u8>> {
        take(&self.data)
    }

    pub(super) fn parity(&self) -> Option<Vec<u8>> {
        take(&self.parity)
    }

    /// Takes the buffers of a segment back, but one that somebody holds a slice of yet, a call that was cancelled
    /// perhaps: that goes with the slice.
    pub(super) fn take_back(&self, buffers: Buffers) {
        let (data, parity) = buffers.take_back();
        put(&self.data, data);
        put(&self.parity, parity);
    }
}

#[cfg(test)]
mod tests {
    use holdfast_dispersal::{EncodedSegment, Encoder, PlacementSecret};
    use holdfast_types::Code;

    use super::*;

    fn segment(spare: &Spare) -> EncodedSegment {
        let code = Code::new(4, 2).unwrap();
        let data = spare.data().unwrap_or_else(|| vec![1; 64 << 10]);
        let parity = spare.parity().unwrap_or_default();
        Encoder::new(code).encode_into(data, parity, &PlacementSecret::from_bytes([2; 32])).unwrap()
    }

    #[test]
    fn a_buffer_comes_back_as_long_as_it_was_and_only_when_nobody_holds_a_slice_of_it() {
        let spare = Spare::default();
        let EncodedSegment { shards, buffers, .. } = segment(&spare);
        let (places, held) = ([shards[0].bytes.as_ptr(), shards[4].bytes.as_ptr()], shards[3].clone());
        drop(shards);
        spare.take_back(buffers);
        assert_eq!(spare.data(), None);
        let parity = spare.parity().unwrap();
        assert_eq!((parity.as_ptr(), parity.len()), (places[1], 32 << 10));
        drop(held);

        let EncodedSegment { shards, buffers, .. } = segment(&spare);
        let place = shards[0].bytes.as_ptr();
        drop(shards);
        spare.take_back(buffers);
        let data = spare.data().unwrap();
        assert_eq!((data.as_ptr(), data.len()), (place, 64 << 10));
    }
}
