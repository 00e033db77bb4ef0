//! The owner's one secret, and what it wraps: object keys for the envelope, placement secrets for
//! the segment descriptor. With it and the nodes, everything of the owner's can be read again.

use std::fmt;

use holdfast_types::{ObjectId, OwnerId, PublicKey, SecretKey, Transcript};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    cipher::{TAG_LEN, open_once, seal_once},
    key::{KEY_LEN, KeyBytes, ObjectKey, PlacementSecret},
    recovery::SegmentBinding,
};

/// Bytes of a 32-byte key wrapped under AES-256-GCM-SIV.
pub const WRAPPED_LEN: usize = KEY_LEN + TAG_LEN;

/// A 32-byte key, sealed to the owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrappedKey(pub [u8; WRAPPED_LEN]);

/// Why a wrapped key does not open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnwrapError {
    /// Not wrapped by this owner for this object.
    #[error(
        "the wrapped key of object {object} does not open under owner {owner}'s key; use the owner key that stored it"
    )]
    Object {
        /// The object.
        object: ObjectId,
        /// Whose key was tried.
        owner: OwnerId,
    },
    /// Not wrapped for this segment, by whoever's key was tried.
    #[error(
        "the wrapped placement secret of segment {segment} does not open under {whose}; expected the key it was wrapped to, and the owner, root and code it was wrapped for"
    )]
    Segment {
        /// The root of the sealed segment.
        segment: holdfast_types::SegmentRoot,
        /// Whose key was tried.
        whose: String,
    },
    /// The recovery public key is no point that X25519 takes.
    #[error("the recovery public key is not a usable X25519 key; ask the auditor for its recovery key again")]
    PublicKey,
}

/// An owner's 32-byte secret. Signs envelopes and tombstones, wraps keys. Wiped when dropped.
#[derive(Clone)]
pub struct OwnerKey(KeyBytes);

impl OwnerKey {
    /// The key with these bytes, drawn by the caller or read from the owner's file.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for a file that only the owner can read.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Signs envelopes and tombstones.
    pub fn signing(&self) -> SecretKey {
        let seed = Transcript::new("holdfast 2026 owner signing key v1").absorb("secret", self.as_bytes());
        SecretKey::from_seed(&Zeroizing::new(seed.digest()))
    }

    /// The public half of [`OwnerKey::signing`].
    pub fn public(&self) -> PublicKey {
        self.signing().public()
    }

    /// Who this is.
    pub fn owner_id(&self) -> OwnerId {
        self.public().owner_id()
    }

    fn wrapping(&self) -> KeyBytes {
        let key = Transcript::new("holdfast 2026 owner wrap key v1").absorb("secret", self.as_bytes());
        Zeroizing::new(key.digest())
    }

    /// Wraps an object's key for its envelope. The same arguments give the same bytes.
    pub fn wrap_object_key(&self, object: &ObjectId, key: &ObjectKey) -> WrappedKey {
        self.wrap(&self.object_context(object), key.as_bytes())
    }

    /// Unwraps what [`OwnerKey::wrap_object_key`] wrapped for the same object.
    pub fn unwrap_object_key(&self, object: &ObjectId, wrapped: &WrappedKey) -> Result<ObjectKey, UnwrapError> {
        let refused = || UnwrapError::Object { object: *object, owner: self.owner_id() };
        self.unwrap(&self.object_context(object), wrapped).map(ObjectKey::from_bytes).ok_or_else(refused)
    }

    /// Wraps a segment's placement secret. The owner in `segment` must be this one.
    pub fn wrap_placement(&self, segment: &SegmentBinding, secret: &PlacementSecret) -> WrappedKey {
        self.wrap(&segment.context(), secret.as_bytes())
    }

    /// Unwraps what [`OwnerKey::wrap_placement`] wrapped for the same owner, root and code.
    pub fn unwrap_placement(
        &self,
        segment: &SegmentBinding,
        wrapped: &WrappedKey,
    ) -> Result<PlacementSecret, UnwrapError> {
        let refused =
            || UnwrapError::Segment { segment: segment.root, whose: format!("owner {}'s key", self.owner_id()) };
        self.unwrap(&segment.context(), wrapped).map(PlacementSecret::from_bytes).ok_or_else(refused)
    }

    fn object_context(&self, object: &ObjectId) -> [u8; 32] {
        Transcript::new("holdfast 2026 wrapped object key v1")
            .absorb("owner", self.owner_id().as_bytes())
            .absorb("object", object.as_bytes())
            .digest()
    }

    // The nonce comes from the context: never the same for two things wrapped, and where it is
    // (a key wrapped again for the same object), GCM-SIV only shows that it is the same key.
    fn wrap(&self, context: &[u8; 32], key: &[u8; KEY_LEN]) -> WrappedKey {
        let sealed = seal_once(&self.wrapping(), nonce_of(context), context, key);
        let mut out = [0; WRAPPED_LEN];
        out.copy_from_slice(&sealed);
        WrappedKey(out)
    }

    fn unwrap(&self, context: &[u8; 32], wrapped: &WrappedKey) -> Option<[u8; KEY_LEN]> {
        let opened = open_once(&self.wrapping(), nonce_of(context), context, &wrapped.0).ok()?;
        opened.as_slice().try_into().ok()
    }
}

fn nonce_of(context: &[u8; 32]) -> u64 {
    context[..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerKey(of {})", self.owner_id().short())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Code, SegmentRoot};

    use super::*;

    #[test]
    fn an_object_key_opens_for_its_owner_and_object_only() {
        let (owner, stranger) = (OwnerKey::from_bytes([1; 32]), OwnerKey::from_bytes([2; 32]));
        let (object, other) = (ObjectId::from_bytes([3; 32]), ObjectId::from_bytes([4; 32]));
        let wrapped = owner.wrap_object_key(&object, &ObjectKey::from_bytes([5; 32]));
        assert_eq!(owner.unwrap_object_key(&object, &wrapped).unwrap().as_bytes(), &[5; 32]);
        assert!(owner.unwrap_object_key(&other, &wrapped).is_err());
        let error = stranger.unwrap_object_key(&object, &wrapped).unwrap_err();
        assert!(error.to_string().contains(&object.to_string()), "{error}");
        for at in 0..WRAPPED_LEN {
            let mut bad = wrapped;
            bad.0[at] ^= 1;
            assert!(owner.unwrap_object_key(&object, &bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_placement_secret_is_bound_to_owner_root_and_code() {
        let owner = OwnerKey::from_bytes([1; 32]);
        let segment = SegmentBinding {
            owner: owner.owner_id(),
            root: SegmentRoot::from_bytes([2; 32]),
            code: Code::new(8, 4).unwrap(),
        };
        let wrapped = owner.wrap_placement(&segment, &PlacementSecret::from_bytes([5; 32]));
        assert_eq!(owner.unwrap_placement(&segment, &wrapped).unwrap().as_bytes(), &[5; 32]);
        let others = [
            SegmentBinding { owner: OwnerId([0; 32]), ..segment },
            SegmentBinding { root: SegmentRoot::from_bytes([3; 32]), ..segment },
            SegmentBinding { code: Code::new(8, 5).unwrap(), ..segment },
        ];
        for other in others {
            assert!(owner.unwrap_placement(&other, &wrapped).is_err());
        }
    }
}
