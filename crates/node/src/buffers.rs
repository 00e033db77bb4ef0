//! Buffers that shards are read to: a fresh one each time would be zeroed, which costs as much as reading it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers kept at most: a read in the making and one being sent, for two callers.
const KEPT_MAX: usize = 4;

/// Buffers at hand. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// Bytes whose buffer goes back when nobody looks at them any more.
struct Lent {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    /// One of any length, whatever is in it.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// The bytes, to be sliced and handed on; their buffer comes back by itself.
    pub(crate) fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { bytes, home: self.clone() })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_slice_and_no_more_than_a_few_are_kept() {
        let buffers = Buffers::default();
        let lent = buffers.lend(vec![7; 100]);
        let (place, slice) = (lent.as_ptr(), lent.slice(10..20));
        drop(lent);
        assert!(buffers.take().is_empty(), "somebody looks at it");
        assert_eq!(slice, [7; 10].as_slice());
        drop(slice);
        let back = buffers.take();
        assert_eq!((back.as_ptr(), back.len()), (place, 100));
        let many: Vec<Bytes> = (0..9).map(|_| buffers.lend(vec![1; 10])).collect();
        drop(many);
        let kept = std::iter::repeat_with(|| buffers.take()).take_while(|buffer| !buffer.is_empty()).count();
        assert_eq!(kept, KEPT_MAX);
    }
}
