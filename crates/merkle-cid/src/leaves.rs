//! Which leaves a proof is about: at least one, sorted, none twice, and never more than a named bound.

use core::fmt;
use core::ops::Range;
use std::collections::BTreeSet;

use thiserror::Error;

use crate::tree::{DEPTH_MAX, GeometryError, LEAF_LEN, Tree};

/// Most leaves of one proof. With the longest paths that content of 2^64 − 1 bytes can have, the leaves and their
/// siblings stay below [`PROOF_LEN_MAX`](crate::PROOF_LEN_MAX) and so below the 4 MiB that a gRPC message has by
/// default, with room for what travels beside them. A Holdfast blob of 124 leaves fits four times.
pub const LEAVES_PER_PROOF_MAX: usize = 512;

/// Which leaf of the content: leaf `i` begins at byte `1024 × i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafIndex(pub u64);

impl LeafIndex {
    /// The offset in the content of the first byte of the leaf; `None` beyond 2^64 − 1.
    #[must_use]
    pub const fn offset(self) -> Option<u64> {
        self.0.checked_mul(LEAF_LEN as u64)
    }
}

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<u64> for LeafIndex {
    fn from(index: u64) -> Self {
        Self(index)
    }
}

/// The leaves that a proof is about, in ascending order: 1 to [`LEAVES_PER_PROOF_MAX`] of them.
///
/// A set is not tied to a length; whether the content has these leaves is asked when the set meets one.
///
/// ```
/// use merkle_cid::{LeafIndex, LeafSet};
///
/// let drawn = LeafSet::new([9, 3, 9, 4].map(LeafIndex))?; // sorted, the second 9 dropped
/// assert_eq!(drawn.iter().map(|leaf| leaf.0).collect::<Vec<_>>(), [3, 4, 9]);
///
/// let blob = LeafSet::covering(126_976..253_952)?; // the bytes 126976 to 253951
/// assert_eq!(blob, LeafSet::range(124..248)?);
/// # Ok::<(), merkle_cid::LeafSetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeafSet {
    ascending: Vec<LeafIndex>,
}

impl LeafSet {
    /// The set of these leaves, in any order and with repetitions: what a random draw gives.
    ///
    /// # Errors
    /// [`LeafSetError`] if there is no leaf, or more than [`LEAVES_PER_PROOF_MAX`] distinct ones.
    pub fn new(leaves: impl IntoIterator<Item = LeafIndex>) -> Result<Self, LeafSetError> {
        let mut distinct = BTreeSet::new();
        for leaf in leaves {
            distinct.insert(leaf);
            if distinct.len() > LEAVES_PER_PROOF_MAX {
                return Err(LeafSetError::TooMany { came: distinct.len() as u64 });
            }
        }
        Self::from_ascending(distinct.into_iter().collect())
    }

    /// The set of these leaves, which must ascend: what a message carries, where two spellings of a set are one too
    /// many.
    ///
    /// # Errors
    /// [`LeafSetError`] if there is no leaf, more than [`LEAVES_PER_PROOF_MAX`], or one that does not ascend.
    pub fn from_ascending(leaves: Vec<LeafIndex>) -> Result<Self, LeafSetError> {
        if leaves.is_empty() {
            return Err(LeafSetError::Empty);
        }
        if leaves.len() > LEAVES_PER_PROOF_MAX {
            return Err(LeafSetError::TooMany { came: leaves.len() as u64 });
        }
        match leaves.windows(2).position(|pair| pair[0] >= pair[1]) {
            Some(at) => Err(LeafSetError::NotAscending { before: leaves[at], came: leaves[at + 1] }),
            None => Ok(Self { ascending: leaves }),
        }
    }

    /// The leaves from `leaves.start` to the one before `leaves.end`.
    ///
    /// # Errors
    /// [`LeafSetError`] if the range is empty, or longer than [`LEAVES_PER_PROOF_MAX`].
    pub fn range(leaves: Range<u64>) -> Result<Self, LeafSetError> {
        let came = leaves.end.saturating_sub(leaves.start);
        if came > LEAVES_PER_PROOF_MAX as u64 {
            return Err(LeafSetError::TooMany { came });
        }
        Self::from_ascending(leaves.map(LeafIndex).collect())
    }

    /// The leaves that hold the bytes from `bytes.start` to the one before `bytes.end`.
    ///
    /// # Errors
    /// [`LeafSetError`] if the range is empty, or spans more than [`LEAVES_PER_PROOF_MAX`] leaves.
    pub fn covering(bytes: Range<u64>) -> Result<Self, LeafSetError> {
        if bytes.is_empty() {
            return Err(LeafSetError::Empty);
        }
        Self::range(bytes.start / LEAF_LEN as u64..bytes.end.div_ceil(LEAF_LEN as u64))
    }

    /// The leaves in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = LeafIndex> + '_ {
        self.ascending.iter().copied()
    }

    /// The leaves in ascending order.
    #[must_use]
    pub fn as_slice(&self) -> &[LeafIndex] {
        &self.ascending
    }

    /// How many leaves: 1 to [`LEAVES_PER_PROOF_MAX`].
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.ascending.len()
    }

    /// The leaves, if content of this tree has them all.
    pub(crate) fn within(&self, tree: Tree) -> Result<&[LeafIndex], GeometryError> {
        if let Some(&last) = self.ascending.last() {
            tree.holds(last)?;
        }
        Ok(&self.ascending)
    }
}

/// The leaves before `boundary`, and the others. Both sides ascend.
pub(crate) fn split_at(leaves: &[LeafIndex], boundary: u64) -> (&[LeafIndex], &[LeafIndex]) {
    leaves.split_at(leaves.partition_point(|leaf| leaf.0 < boundary))
}

/// Why some leaves are not a [`LeafSet`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LeafSetError {
    /// No leaf at all.
    #[error("expected at least one leaf, came none")]
    Empty,
    /// More leaves than one proof may have.
    #[error("expected at most {LEAVES_PER_PROOF_MAX} leaves a proof, came {came} or more: ask for several proofs")]
    TooMany {
        /// Leaves counted until then.
        came: u64,
    },
    /// A leaf that is repeated or out of order where the order is part of the format.
    #[error("expected leaves in ascending order, came {came} after {before}")]
    NotAscending {
        /// The leaf before.
        before: LeafIndex,
        /// The leaf that does not ascend.
        came: LeafIndex,
    },
}

// A path has at most one sibling a level.
const _: () = assert!(crate::proof::PROOF_LEN_MAX == LEAVES_PER_PROOF_MAX * (LEAF_LEN + 32 * DEPTH_MAX));
