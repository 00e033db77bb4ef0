//! Fences on a simulated node: what it saw, who proved it, and what it refuses.

use holdfast_protocol::message::SendFailure;
use holdfast_types::{Fence, SignedGrant};
use holdfast_volume::Key;

use super::Node;

const META_FENCE: u8 = 1;
const META_GRANT: u8 = 4;

impl Node {
    pub(super) fn fence(&self) -> Fence {
        let meta = self.volume.as_ref().and_then(|volume| volume.meta(META_FENCE));
        meta.and_then(|bytes| bytes.try_into().ok()).map(Fence::from_bytes).unwrap_or_default()
    }

    pub(super) fn raise(&mut self, fence: Fence) -> Result<(), SendFailure> {
        if fence > self.fence() {
            self.change(|volume| volume.set_meta(META_FENCE, &fence.to_bytes()))?;
        }
        Ok(())
    }

    pub(crate) fn proof(&self) -> Option<SignedGrant> {
        let meta = self.volume.as_ref().and_then(|volume| volume.meta(META_GRANT));
        meta.and_then(|bytes| SignedGrant::from_bytes(&bytes).ok())
    }

    pub(super) fn keep_proof(&mut self, signed: &SignedGrant) -> Result<(), SendFailure> {
        let kept = self.proof().map_or_else(Fence::default, |proof| proof.grant.fence);
        if signed.grant.fence > kept {
            self.change(|volume| volume.set_meta(META_GRANT, &signed.to_bytes()))?;
        }
        Ok(())
    }

    /// The fence that something was last written under.
    pub(super) fn guard(&self, key: Key) -> Option<Fence> {
        let reader = self.reader()?;
        let len = reader.stat(&key)?.len.min(Fence::LEN as u64);
        let read = reader.read(&key, 0..len).ok().filter(|read| read.damaged.is_empty())?;
        Some(Fence::from_bytes(read.bytes.as_slice().try_into().ok()?))
    }

    pub(super) fn admit(&self, fence: Fence, guard: Key) -> Result<(), SendFailure> {
        let denied =
            |seen: Fence| Err(SendFailure::Denied(format!("expected a fence of {seen} or above, got {fence}")));
        if fence.epoch < self.fence().epoch {
            return denied(self.fence());
        }
        match self.guard(guard) {
            Some(last) if fence < last => denied(last),
            Some(_) | None => Ok(()),
        }
    }
}
