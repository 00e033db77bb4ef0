//! Makes each shard useless to whoever holds the others. Without masks, nodes in league could keep
//! k shards and compute the rest when asked; with them, a shard can only be stored or lost.
//! Unmasking never runs on a node.

use holdfast_types::{Code, SegmentRoot, ShardIndex};

use crate::{cipher::Keystream, key::PlacementSecret};

/// The masks of one segment's shards.
#[derive(Clone, Debug)]
pub struct Masks {
    secret: PlacementSecret,
    root: SegmentRoot,
    code: Code,
}

/// The mask of one shard.
pub struct Mask(Keystream);

impl Mask {
    /// Masks, or unmasks, the bytes of the shard that start at `offset` of it.
    pub fn apply(&self, offset: u64, bytes: &mut [u8]) {
        self.0.apply(offset, bytes);
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask(..)")
    }
}

impl Masks {
    /// The masks that `secret` gives the segment with this root under this code.
    pub fn new(secret: PlacementSecret, root: SegmentRoot, code: Code) -> Self {
        Self { secret, root, code }
    }

    /// Masks, or unmasks, the bytes of `shard` that start at `offset` of it: AES-256-CTR under
    /// KDF(placement secret, segment root ‖ k ‖ m ‖ shard index).
    pub fn apply(&self, shard: ShardIndex, offset: u64, bytes: &mut [u8]) {
        self.of(shard).apply(offset, bytes);
    }

    /// The mask of one shard, for whoever applies it piece by piece.
    pub fn of(&self, shard: ShardIndex) -> Mask {
        Mask(Keystream::new(&self.secret.mask_key(&self.root, self.code, shard)))
    }

    /// The segment that these masks belong to.
    pub const fn root(&self) -> SegmentRoot {
        self.root
    }

    /// The code that these masks belong to.
    pub const fn code(&self) -> Code {
        self.code
    }
}
