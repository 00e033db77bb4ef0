//! Small records, under fences; and tombstones, which take the place of what they bury.

use holdfast_protocol::message::RecordKind;
use holdfast_types::Fence;
use holdfast_volume::{Key, Namespace, VolumeError};
use holdfast_wire::WireError;

use super::Owner;
use crate::{
    content::{fenced, record_key},
    refusal,
};

impl Owner {
    pub(super) fn record(
        &mut self,
        namespace: Namespace,
        key: Key,
        bytes: &[u8],
        fence: Fence,
    ) -> Result<(), WireError> {
        self.admit(fence, key)?;
        // Attack by delay: a copy that was sent before its object was deleted, and comes after.
        let tombstone = record_key(RecordKind::Tombstone, key.id);
        let outranked = [RecordKind::Manifest, RecordKind::Envelope].map(|kind| record_key(kind, key.id));
        if outranked.contains(&key) && (self.buried.contains(&key.id) || self.volume.contains(&tombstone)) {
            return Err(refusal::of_tombstone(key));
        }
        let kept = self.replace(namespace, key, &fenced(fence, bytes)).and_then(|()| self.raise(fence));
        kept.map_err(|error| refusal::of_volume(&error))?;
        if key == tombstone {
            self.buried.insert(key.id);
            for key in outranked {
                self.remove(&key).map_err(|error| refusal::of_volume(&error))?;
            }
        }
        Ok(())
    }

    /// Puts small bytes under a key, in the place of what is there.
    pub(super) fn replace(&mut self, namespace: Namespace, key: Key, bytes: &[u8]) -> Result<(), VolumeError> {
        let mut reservation = self.volume.reserve_replacement(namespace, key, bytes.len() as u64)?;
        reservation.write(bytes)?;
        self.volume.seal(reservation)
    }
}
