//! The number that orders lease holders. Whoever receives a lower one than it has seen refuses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// (epoch, counter), ordered as a pair. The epoch rises when a catalog is restored or recovered,
/// so that no lease from before the loss is ever above one from after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Fence {
    /// Which life of the catalog.
    pub epoch: u64,
    /// Which lease of that life.
    pub counter: u64,
}

impl Fence {
    /// Bytes of the fixed encoding.
    pub const LEN: usize = 16;

    /// Big-endian epoch, then counter: sorts as bytes as it does as a value.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..8].copy_from_slice(&self.epoch.to_be_bytes());
        out[8..].copy_from_slice(&self.counter.to_be_bytes());
        out
    }

    /// The inverse of [`Fence::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let (epoch, counter) = bytes.split_at(8);
        let word = |part: &[u8]| part.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        Self { epoch: word(epoch), counter: word(counter) }
    }

    /// The next lease of the same catalog.
    pub const fn next(self) -> Self {
        Self { epoch: self.epoch, counter: self.counter + 1 }
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::Fence;

    #[test]
    fn a_later_epoch_beats_any_counter_before_it() {
        let old = Fence { epoch: 1, counter: u64::MAX };
        let new = Fence { epoch: 2, counter: 0 };
        assert!(new > old);
        assert!(new.to_bytes() > old.to_bytes());
        assert_eq!(Fence::from_bytes(old.to_bytes()), old);
    }
}
