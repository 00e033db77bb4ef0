//! Who said it. Signatures carry their algorithm, so that a second one can stand beside Ed25519
//! without a new format.

use std::fmt;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{NodeId, OwnerId, Transcript};

/// Signatures in one list at most: one classical, one post-quantum, and room for a change of both.
pub const SIGNATURES_MAX: usize = 4;

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// An algorithm this build does not know.
    #[error("expected an Ed25519 signature (algorithm 1), got algorithm {0}; upgrade to read it")]
    Algorithm(u8),
    /// The key is not a point of the curve.
    #[error("the public key is no Ed25519 key")]
    Key,
    /// The signature does not fit key and message.
    #[error("the signature does not fit the key and the message")]
    Mismatch,
}

/// A public Ed25519 key (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The node whose receipts this key signs.
    pub fn node_id(&self) -> NodeId {
        NodeId(Transcript::new("holdfast 2026 node id v1").absorb("ed25519", &self.0).digest())
    }

    /// The owner whose envelopes this key signs.
    pub fn owner_id(&self) -> OwnerId {
        OwnerId(Transcript::new("holdfast 2026 owner id v1").absorb("ed25519", &self.0).digest())
    }

    /// Whether `signature` is this key's on `transcript`. Strict: no small-order keys, no
    /// malleable encodings.
    pub fn verify(&self, transcript: &Transcript, signature: &Signature) -> Result<(), SignatureError> {
        if signature.algorithm != Signature::ED25519 {
            return Err(SignatureError::Algorithm(signature.algorithm));
        }
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| SignatureError::Key)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        key.verify_strict(&transcript.digest(), &signature).map_err(|_| SignatureError::Mismatch)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A signature and its algorithm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// 1 is Ed25519 over the transcript's 32-byte digest.
    pub algorithm: u8,
    /// The signature's bytes.
    pub bytes: [u8; 64],
}

impl Signature {
    /// Ed25519 (RFC 8032) over the 32-byte digest of a transcript.
    pub const ED25519: u8 = 1;
    /// Bytes of the fixed encoding: algorithm, then signature.
    pub const LEN: usize = 65;

    /// Algorithm byte, then signature.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0] = self.algorithm;
        out[1..].copy_from_slice(&self.bytes);
        out
    }

    /// The inverse of [`Signature::to_bytes`]; `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (algorithm, rest) = bytes.split_first()?;
        Some(Self { algorithm: *algorithm, bytes: rest.try_into().ok()? })
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}:{}…)", self.algorithm, HEXLOWER.encode(&self.bytes[..4]))
    }
}

/// A secret Ed25519 key. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key with this 32-byte seed, drawn by the caller.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, to be written to a file that only its owner may read.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs the digest of `transcript`.
    pub fn sign(&self, transcript: &Transcript) -> Signature {
        Signature { algorithm: Signature::ED25519, bytes: self.0.sign(&transcript.digest()).to_bytes() }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_own_key_and_words_only() {
        let key = SecretKey::from_seed(&[3; 32]);
        let said = Transcript::new("test").absorb("a", b"b");
        let signature = key.sign(&said);
        assert_eq!(key.public().verify(&said, &signature), Ok(()));
        let other = Transcript::new("test").absorb("a", b"c");
        assert_eq!(key.public().verify(&other, &signature), Err(SignatureError::Mismatch));
        let stranger = SecretKey::from_seed(&[4; 32]).public();
        assert_eq!(stranger.verify(&said, &signature), Err(SignatureError::Mismatch));
        let unknown = Signature { algorithm: 9, ..signature };
        assert_eq!(key.public().verify(&said, &unknown), Err(SignatureError::Algorithm(9)));
    }

    #[test]
    fn a_secret_key_is_never_printed() {
        let key = SecretKey::from_seed(&[0xab; 32]);
        assert!(!format!("{key:?}").contains("abab"));
    }
}
