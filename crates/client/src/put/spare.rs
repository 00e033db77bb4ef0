//! Buffers of segments that are through, for those that come: 50 MiB of fresh pages for every 32 MiB of a
//! file cost the kernel as much as sending them.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

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

fn put(shelf: &Mutex<Vec<Vec<u8>>>, mut slices: impl Iterator<Item = Bytes>) {
    let Some(first) = slices.next() else { return };
    drop(slices);
    // A slice somewhere else holds the buffer yet, a call that was cancelled perhaps: it goes with that.
    if first.is_unique() {
        let mut kept = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(Vec::from(first));
        }
    }
}

impl Spare {
    pub(super) fn data(&self) -> Option<Vec<u8>> {
        take(&self.data)
    }

    pub(super) fn parity(&self) -> Option<Vec<u8>> {
        take(&self.parity)
    }

    /// Takes the buffers of a segment back: `shards` are slices of two, the first `k` of one.
    pub(super) fn take_back(&self, mut shards: Vec<Bytes>, k: usize) {
        let parity = shards.split_off(k.min(shards.len()));
        put(&self.data, shards.into_iter());
        put(&self.parity, parity.into_iter());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(buffer: Vec<u8>) -> Vec<Bytes> {
        let (whole, len) = (Bytes::from(buffer), 10);
        (0..whole.len() / len).map(|at| whole.slice(at * len..(at + 1) * len)).collect()
    }

    #[test]
    fn a_buffer_comes_back_whole_and_only_when_nobody_holds_a_slice_of_it() {
        let spare = Spare::default();
        let (data, parity) = (vec![1; 40], vec![2; 20]);
        let places = (data.as_ptr(), parity.as_ptr());
        let shards = [slices(data), slices(parity)].concat();
        let held = shards[3].clone();
        spare.take_back(shards, 4);
        assert_eq!(spare.data(), None);
        let parity = spare.parity().unwrap();
        assert_eq!((parity.as_ptr(), parity.capacity()), (places.1, 20));
        drop(held);
        let data = vec![1; 40];
        let place = data.as_ptr();
        let shards = [slices(data), slices(parity)].concat();
        spare.take_back(shards, 4);
        let data = spare.data().unwrap();
        assert_eq!((data.as_ptr(), data.capacity()), (place, 40));
    }
}
