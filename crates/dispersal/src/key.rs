//! The secrets that make an object unreadable and a segment uncopyable, and what is derived from
//! them. Every derivation is BLAKE3 in `derive_key` mode under a domain of its own; every secret is
//! drawn by the caller and wiped when dropped.
//!
//! ```text
//! object key ──┬─ commitment   in the manifest, in the clear
//!              ├─ run key      one for each attempt to seal: seals frames
//!              ├─ index key    seals names, lengths and the frame table
//!              └─ page key     seals pages of the frame table
//! placement secret ── mask key one for each shard: (segment root, k, m, shard index)
//! ```

use std::fmt;

use holdfast_types::{Code, SegmentRoot, ShardIndex, Transcript};
use zeroize::Zeroizing;

/// Bytes of every symmetric key: 256 bits, the quantum-safe part of confidentiality.
pub const KEY_LEN: usize = 32;

pub(crate) type KeyBytes = Zeroizing<[u8; KEY_LEN]>;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(KeyBytes);

        impl $name {
            /// The secret with these bytes, drawn by the caller from a source that nobody else sees.
            pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
                Self(Zeroizing::new(bytes))
            }

            /// The bytes, to be wrapped and never to be written down otherwise.
            pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}

secret!(
    /// The key of one object: random, wrapped by the owner, never leaves the client in the clear.
    ObjectKey
);
secret!(
    /// The secret behind the masks of one segment's shards: random for each segment, wrapped to the
    /// owner and to the auditor's recovery key. It reveals nothing of the content.
    PlacementSecret
);

/// Says which object key a manifest was made under. AES-GCM alone does not: one ciphertext can be
/// made to open under two keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyCommitment(pub [u8; KEY_LEN]);

/// Drawn afresh for each attempt to seal an object, the first and every resumed one, so that no
/// (key, nonce) ever meets two different frames. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RunSalt(pub [u8; 32]);

impl ObjectKey {
    /// What the manifest says about this key.
    pub fn commitment(&self) -> KeyCommitment {
        KeyCommitment(Transcript::new("holdfast 2026 object key commitment v1").absorb("key", self.as_bytes()).digest())
    }

    pub(crate) fn run_key(&self, salt: &RunSalt) -> KeyBytes {
        let transcript = Transcript::new("holdfast 2026 frame run key v1").absorb("key", self.as_bytes());
        Zeroizing::new(transcript.absorb("salt", &salt.0).digest())
    }

    pub(crate) fn index_key(&self) -> KeyBytes {
        Zeroizing::new(Transcript::new("holdfast 2026 manifest index key v1").absorb("key", self.as_bytes()).digest())
    }

    pub(crate) fn page_key(&self) -> KeyBytes {
        Zeroizing::new(Transcript::new("holdfast 2026 frame page key v1").absorb("key", self.as_bytes()).digest())
    }
}

impl PlacementSecret {
    /// The mask key of one shard. Root, code and index go in, so that no keystream covers two
    /// different shards, whatever is ever stored under this secret.
    pub(crate) fn mask_key(&self, root: &SegmentRoot, code: Code, shard: ShardIndex) -> KeyBytes {
        let transcript = Transcript::new("holdfast 2026 shard mask key v1")
            .absorb("secret", self.as_bytes())
            .absorb("segment", root.as_bytes())
            .absorb_u64("k", u64::from(code.data()))
            .absorb_u64("m", u64::from(code.parity()))
            .absorb_u64("shard", u64::from(shard.0));
        Zeroizing::new(transcript.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_purposes_share_a_key() {
        let key = ObjectKey::from_bytes([7; 32]);
        let salts = [RunSalt([1; 32]), RunSalt([2; 32])];
        let all = [
            key.commitment().0,
            *key.run_key(&salts[0]),
            *key.run_key(&salts[1]),
            *key.index_key(),
            *key.page_key(),
            *key.as_bytes(),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn a_mask_key_depends_on_everything_that_makes_the_shard() {
        let secret = PlacementSecret::from_bytes([7; 32]);
        let other_secret = PlacementSecret::from_bytes([8; 32]);
        let (root, other_root) = (SegmentRoot::from_bytes([1; 32]), SegmentRoot::from_bytes([2; 32]));
        let code = |k, m| Code::new(k, m).unwrap();
        let all = [
            secret.mask_key(&root, code(8, 4), ShardIndex(0)),
            secret.mask_key(&root, code(8, 4), ShardIndex(1)),
            secret.mask_key(&root, code(8, 5), ShardIndex(0)),
            secret.mask_key(&root, code(9, 4), ShardIndex(0)),
            secret.mask_key(&other_root, code(8, 4), ShardIndex(0)),
            other_secret.mask_key(&root, code(8, 4), ShardIndex(0)),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", ObjectKey::from_bytes([0xab; 32])), "ObjectKey(secret)");
    }
}
