//! The way the auditor heals what it cannot read: each segment's placement secret, wrapped to a
//! recovery key that is kept outside the catalog. HPKE (RFC 9180), base mode, DHKEM(X25519,
//! HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
//!
//! What it opens is only ever a mask: a quantum adversary who keeps the wrap can unmask shards, not
//! open frames.

use std::fmt;

use data_encoding::HEXLOWER;
use holdfast_types::{Code, OwnerId, Seed, SegmentRoot, Transcript};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256, kem::X25519HkdfSha256,
    single_shot_open, single_shot_seal_with_rng,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use zeroize::Zeroizing;

use crate::{
    key::{KEY_LEN, KeyBytes, PlacementSecret},
    owner::{UnwrapError, WRAPPED_LEN},
};

const INFO: &[u8] = b"holdfast 2026 placement recovery v1";

/// What a wrapped placement secret is good for, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentBinding {
    /// Whose segment.
    pub owner: OwnerId,
    /// The root of the sealed segment.
    pub root: SegmentRoot,
    /// Its code.
    pub code: Code,
}

impl SegmentBinding {
    pub(crate) fn context(&self) -> [u8; 32] {
        Transcript::new("holdfast 2026 wrapped placement secret v1")
            .absorb("owner", self.owner.as_bytes())
            .absorb("segment", self.root.as_bytes())
            .absorb_u64("k", u64::from(self.code.data()))
            .absorb_u64("m", u64::from(self.code.parity()))
            .digest()
    }
}

/// A placement secret, sealed to a recovery key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryWrap {
    /// HPKE's encapsulated key: an X25519 public key.
    pub encapsulated: [u8; KEY_LEN],
    /// The sealed secret and its tag.
    pub sealed: [u8; WRAPPED_LEN],
}

impl RecoveryWrap {
    /// Bytes of the fixed encoding.
    pub const LEN: usize = KEY_LEN + WRAPPED_LEN;

    /// Encapsulated key, then sealed secret: what a client sends with its segment.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let (encapsulated, sealed) = out.split_at_mut(KEY_LEN);
        encapsulated.copy_from_slice(&self.encapsulated);
        sealed.copy_from_slice(&self.sealed);
        out
    }

    /// The inverse of [`RecoveryWrap::to_bytes`]; `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (encapsulated, sealed) = bytes.split_first_chunk()?;
        Some(Self { encapsulated: *encapsulated, sealed: sealed.try_into().ok()? })
    }
}

/// The public half of the auditor's recovery key (X25519): what clients wrap to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecoveryPublicKey(pub [u8; KEY_LEN]);

impl RecoveryPublicKey {
    /// Wraps a segment's placement secret; `entropy` is fresh for every call, and nobody else's.
    pub fn wrap(
        &self,
        segment: &SegmentBinding,
        secret: &PlacementSecret,
        entropy: Seed,
    ) -> Result<RecoveryWrap, UnwrapError> {
        let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&self.0).map_err(|_| UnwrapError::PublicKey)?;
        let mut chance = ChaCha20Rng::from_seed(entropy.0);
        let (encapsulated, sealed) = single_shot_seal_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            INFO,
            secret.as_bytes(),
            &segment.context(),
            &mut chance,
        )
        .map_err(|_| UnwrapError::PublicKey)?;
        let mut out = RecoveryWrap { encapsulated: [0; KEY_LEN], sealed: [0; WRAPPED_LEN] };
        out.encapsulated.copy_from_slice(&encapsulated.to_bytes());
        out.sealed.copy_from_slice(&sealed);
        Ok(out)
    }
}

impl fmt::Display for RecoveryPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for RecoveryPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryPublicKey({self})")
    }
}

/// The auditor's recovery secret. It can unmask and heal, never read. Wiped when dropped.
#[derive(Clone)]
pub struct RecoveryKey(KeyBytes);

impl RecoveryKey {
    /// The key made from these 32 bytes (RFC 9180 `DeriveKeyPair`), drawn by the caller.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes it was made from, for a file outside the catalog.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// What clients wrap to.
    pub fn public(&self) -> RecoveryPublicKey {
        let (_, public) = X25519HkdfSha256::derive_keypair(self.0.as_slice());
        let mut out = [0; KEY_LEN];
        out.copy_from_slice(&public.to_bytes());
        RecoveryPublicKey(out)
    }

    /// Unwraps what [`RecoveryPublicKey::wrap`] wrapped for the same owner, root and code.
    pub fn unwrap(&self, segment: &SegmentBinding, wrap: &RecoveryWrap) -> Result<PlacementSecret, UnwrapError> {
        let refused =
            || UnwrapError::Segment { segment: segment.root, whose: format!("recovery key {}", self.public()) };
        let (secret, _) = X25519HkdfSha256::derive_keypair(self.0.as_slice());
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&wrap.encapsulated);
        let opened = single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret,
            &encapsulated.map_err(|_| refused())?,
            INFO,
            &wrap.sealed,
            &segment.context(),
        );
        let opened = Zeroizing::new(opened.map_err(|_| refused())?);
        opened.as_slice().try_into().map(PlacementSecret::from_bytes).map_err(|_| refused())
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> SegmentBinding {
        SegmentBinding {
            owner: OwnerId([1; 32]),
            root: SegmentRoot::from_bytes([2; 32]),
            code: Code::new(8, 4).unwrap(),
        }
    }

    #[test]
    fn the_recovery_key_opens_what_was_wrapped_to_it_and_nobody_else_does() {
        let key = RecoveryKey::from_bytes([3; 32]);
        let secret = PlacementSecret::from_bytes([4; 32]);
        let wrap = key.public().wrap(&binding(), &secret, Seed([5; 32])).unwrap();
        assert_eq!(key.unwrap(&binding(), &wrap).unwrap().as_bytes(), secret.as_bytes());
        assert!(RecoveryKey::from_bytes([6; 32]).unwrap(&binding(), &wrap).is_err());
        let moved = SegmentBinding { code: Code::new(9, 4).unwrap(), ..binding() };
        assert!(key.unwrap(&moved, &wrap).is_err());
        assert_eq!(RecoveryWrap::from_bytes(&wrap.to_bytes()), Some(wrap));
        assert_eq!(RecoveryWrap::from_bytes(&wrap.to_bytes()[1..]), None);
        for at in 0..RecoveryWrap::LEN {
            let mut bytes = wrap.to_bytes();
            bytes[at] ^= 1;
            let bad = RecoveryWrap::from_bytes(&bytes).unwrap();
            assert!(key.unwrap(&binding(), &bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_public_key_of_small_order_is_refused() {
        // The shared secret would be zero: everybody could unwrap.
        let error = RecoveryPublicKey([0; 32]).wrap(&binding(), &PlacementSecret::from_bytes([4; 32]), Seed([5; 32]));
        assert_eq!(error, Err(UnwrapError::PublicKey));
    }
}
