//! The shape of BLAKE3's tree over `len` bytes: pure arithmetic, and the four hashes that fill it.
//!
//! ```text
//! leaf    1 KiB of content, a BLAKE3 chunk; only the last one may be shorter, the one of empty content is empty
//! group   16 leaves, 16 KiB; only the last one may be shorter
//! split   a subtree of n > 1 leaves has the largest power of two below n on its left, the rest on its right
//! ```
//!
//! So every left subtree is full, every group is a subtree, and no path is longer than [`DEPTH_MAX`]: functions that
//! walk the tree recurse, and the bound on their stack is this constant, whatever the length.
//!
//! Every call into `blake3::hazmat` is made in this file, from a `Subtree` that came from `Tree::top` and
//! `Tree::split`, because `hazmat` panics or returns garbage for any other.
//!
//! Source: section 2.1 of the BLAKE3 paper, <https://github.com/BLAKE3-team/BLAKE3-specs/blob/master/blake3.pdf>.

use core::ops::Range;

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use thiserror::Error;

use crate::leaves::LeafIndex;

/// Bytes of a leaf: one BLAKE3 chunk.
pub const LEAF_LEN: usize = blake3::CHUNK_LEN;

/// Leaves of a group.
pub const LEAVES_PER_GROUP: u64 = 16;

/// Bytes of a group: the smallest subtree whose chaining value is stored. 16 chunks fill the widest vector unit that
/// BLAKE3 uses, so that recomputing what lies below costs little more than reading it.
pub const GROUP_LEN: usize = LEAVES_PER_GROUP as usize * LEAF_LEN;

/// Bytes of a chaining value, the hash of a subtree that is not the whole tree.
pub const CHAINING_VALUE_LEN: usize = blake3::OUT_LEN;

/// Branches on the longest path: the tree of 2^64 − 1 bytes has 2^54 leaves.
pub const DEPTH_MAX: usize = 54;

const LEAF_LEN_U64: u64 = LEAF_LEN as u64;
const GROUP_LEN_U64: u64 = GROUP_LEN as u64;

/// Leaves of content of `len` bytes. Empty content has one empty leaf.
///
/// ```
/// use merkle_cid::tree::leaf_count;
/// assert_eq!([0, 1, 1024, 1025].map(leaf_count), [1, 1, 1, 2]);
/// ```
#[must_use]
pub const fn leaf_count(len: u64) -> u64 {
    if len == 0 { 1 } else { len.div_ceil(LEAF_LEN_U64) }
}

/// Groups of content of `len` bytes. Empty content has one empty group.
#[must_use]
pub const fn group_count(len: u64) -> u64 {
    if len == 0 { 1 } else { len.div_ceil(GROUP_LEN_U64) }
}

/// The bytes of `leaf` in content of `len` bytes.
///
/// # Errors
/// [`GeometryError`] if the content has no such leaf.
pub fn leaf_range(len: u64, leaf: LeafIndex) -> Result<Range<u64>, GeometryError> {
    let tree = Tree::of(len);
    tree.holds(leaf)?;
    Ok(tree.bytes(Subtree { first: leaf.0, leaves: 1 }))
}

/// Leaves on the left of a subtree of `leaves` leaves: the largest power of two below `leaves`.
///
/// Defined for 2 leaves to 2^54; a single leaf has no left side.
///
/// ```
/// use merkle_cid::tree::left_leaves;
/// assert_eq!([2, 3, 4, 5, 1 << 54].map(left_leaves), [1, 2, 2, 4, 1 << 53]);
/// ```
#[must_use]
pub const fn left_leaves(leaves: u64) -> u64 {
    leaves.div_ceil(2).next_power_of_two()
}

/// A question that does not fit the content it is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// A leaf that content of this length does not have.
    #[error(
        "expected a leaf below {leaves}, the leaves of {len} bytes, came leaf {leaf}: take the length from the caller's own record of the content"
    )]
    LeafBeyondContent {
        /// The leaf that came.
        leaf: LeafIndex,
        /// Leaves of the content.
        leaves: u64,
        /// Bytes of the content.
        len: u64,
    },
}

/// `leaves` leaves from leaf `first` on that form a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subtree {
    pub(crate) first: u64,
    pub(crate) leaves: u64,
}

impl Subtree {
    /// A subtree of at most one group. Larger ones begin at a group and, but for the last, end at one.
    pub(crate) const fn is_within_group(self) -> bool {
        self.leaves <= LEAVES_PER_GROUP
    }

    pub(crate) const fn groups(self) -> u64 {
        self.leaves.div_ceil(LEAVES_PER_GROUP)
    }
}

/// The tree over content of `len` bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    len: u64,
}

impl Tree {
    pub(crate) const fn of(len: u64) -> Self {
        Self { len }
    }

    pub(crate) const fn top(self) -> Subtree {
        Subtree { first: 0, leaves: leaf_count(self.len) }
    }

    pub(crate) fn split(self, subtree: Subtree) -> (Subtree, Subtree) {
        let left = left_leaves(subtree.leaves);
        (
            Subtree { first: subtree.first, leaves: left },
            Subtree { first: subtree.first + left, leaves: subtree.leaves - left },
        )
    }

    /// The bytes of the content under `subtree`.
    pub(crate) fn bytes(self, subtree: Subtree) -> Range<u64> {
        // The end of the last leaf of the longest content is 2^64, one more than a u64 holds.
        let end = (subtree.first + subtree.leaves).saturating_mul(LEAF_LEN_U64);
        subtree.first * LEAF_LEN_U64..end.min(self.len)
    }

    /// How many bytes lie under `subtree`, where they are few enough to be in memory.
    pub(crate) fn byte_len(self, subtree: Subtree) -> usize {
        let bytes = self.bytes(subtree);
        usize::try_from(bytes.end - bytes.start).unwrap_or(usize::MAX)
    }

    pub(crate) fn holds(self, leaf: LeafIndex) -> Result<(), GeometryError> {
        let leaves = leaf_count(self.len);
        if leaf.0 < leaves { Ok(()) } else { Err(GeometryError::LeafBeyondContent { leaf, leaves, len: self.len }) }
    }

    /// The hash of the bytes under `subtree`: the root if that is the whole tree, else its chaining value.
    pub(crate) fn hash_bytes(self, subtree: Subtree, bytes: &[u8]) -> [u8; CHAINING_VALUE_LEN] {
        debug_assert_eq!(bytes.len(), self.byte_len(subtree));
        if subtree == self.top() {
            return *blake3::hash(bytes).as_bytes();
        }
        let mut hasher = Hasher::new();
        hasher.set_input_offset(subtree.first * LEAF_LEN_U64);
        hasher.update(bytes);
        hasher.finalize_non_root()
    }

    /// The hash of a branch: the root if `subtree` is the whole tree, else its chaining value.
    pub(crate) fn hash_pair(self, subtree: Subtree, pair: &Pair) -> [u8; CHAINING_VALUE_LEN] {
        if subtree == self.top() { root_of(pair) } else { branch_of(pair) }
    }
}

/// The chaining values of the two children of a branch, left and right.
pub(crate) type Pair = (ChainingValue, ChainingValue);

/// The root over the two halves of the whole content.
pub(crate) fn root_of((left, right): &Pair) -> [u8; CHAINING_VALUE_LEN] {
    *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
}

/// The chaining value of a branch below the root.
pub(crate) fn branch_of((left, right): &Pair) -> ChainingValue {
    merge_subtrees_non_root(left, right, Mode::Hash)
}

/// A hasher for the group that begins at `offset`, a multiple of [`GROUP_LEN`].
pub(crate) fn group_hasher(offset: u64) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(offset);
    hasher
}

/// The chaining value of a group that is not the whole content, and not empty.
pub(crate) fn group_value(group: &Hasher) -> ChainingValue {
    group.finalize_non_root()
}
