//! Positions: each kind of counting has its own type, so that none passes for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index!(
    /// Which of the n shards of a segment: 0..k are its parts, k..n parity.
    ShardIndex(u16)
);
index!(
    /// Which blob of a shard, from 0.
    BlobIndex(u32)
);
index!(
    /// Which leaf of a shard, from 0.
    LeafIndex(u64)
);
index!(
    /// Which frame of an object, from 0.
    FrameIndex(u64)
);
index!(
    /// A node's own running number of what it stored; never reused, never reordered.
    Sequence(u64)
);

impl Sequence {
    /// The greatest number a node may give: catalogs count in signed 64-bit numbers, and ask for what comes after it.
    pub const MAX: Self = Self(i64::MAX as u64 - 1);
}

index!(
    /// The auditor's running number of a verdict; a watcher resumes after it.
    VerdictId(i64)
);
