//! Buffers of shards that were read, for those that come: fresh pages cost the kernel as much as filling them.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers at hand: no more than were ever in use at once. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// An empty one with room for `len` bytes.
    pub(super) fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(len);
        buffer
    }

    pub(super) fn take_back(&self, buffers: impl IntoIterator<Item = Vec<u8>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(buffers);
    }
}
