//! What is kept beside the content so that a proof reads only the groups it needs: the chaining values of every
//! group and of every branch above, 64 bytes for each group but one, about 0.4 % of the content.
//!
//! One entry a branch: the chaining values of its left and of its right child. Entries stand in *post-order* (left
//! subtree, right subtree, branch), so that a builder only appends, and the entries of a full subtree never move:
//!
//! ```text
//!          E3            content of 5 groups, 4 entries, 256 bytes:
//!        /    \
//!      E2      g4        E0 = g0 g1   E1 = g2 g3   E2 = E0' E1'   E3 = E2' g4      (x' = chaining value of x)
//!     /  \
//!   E0    E1             The entry of a subtree of g groups whose first entry is number b is number b + g − 2;
//!  /  \  /  \            its left child, of l groups, begins at b, its right child at b + l − 1.
//! g0  g1 g2  g3
//! ```
//!
//! Content of at most one group has no entry. These are byte for byte the post-order outboards of the `bao-tree`
//! crate at 16 KiB chunk groups. There is no header: the length and the root come from whoever stores it.

use thiserror::Error;

use crate::builder::Builder;
use crate::cid::Root;
use crate::tree::{CHAINING_VALUE_LEN, Pair, Subtree, Tree, group_count, left_leaves};

/// Bytes of an entry: the chaining values of the two children of a branch.
pub const OUTBOARD_ENTRY_LEN: usize = 2 * CHAINING_VALUE_LEN;

/// Bytes of the outboard of content of `len` bytes.
///
/// ```
/// use merkle_cid::outboard_len;
/// assert_eq!([0, 16_384, 16_385, 1 << 20].map(outboard_len), [0, 0, 64, 63 * 64]);
/// ```
#[must_use]
pub const fn outboard_len(len: u64) -> u64 {
    (group_count(len) - 1) * OUTBOARD_ENTRY_LEN as u64
}

/// The inner nodes of one content's tree, down to groups of 16 KiB, with the root and length they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outboard {
    root: Root,
    len: u64,
    entries: Vec<u8>,
}

impl Outboard {
    /// The outboard of `content`, which is all in memory. [`Builder`] makes the same from a stream.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let mut builder = Builder::new();
        builder.update(content);
        builder.finish().1
    }

    pub(crate) fn from_builder(root: Root, len: u64, entries: Vec<u8>) -> Self {
        assert_eq!(entries.len() as u64, outboard_len(len), "a builder writes one entry for each group but one");
        Self { root, len, entries }
    }

    /// The outboard that was stored as `entries`, for content with this root and length.
    ///
    /// Only the size is looked at here. [`prove`](crate::prove()) compares what it uses with the root, and
    /// [`verify`](Self::verify) does so for every entry.
    ///
    /// # Errors
    /// [`OutboardError::Length`] if content of this length has another number of entries.
    pub fn from_bytes(root: Root, len: u64, entries: Vec<u8>) -> Result<Self, OutboardError> {
        let expected = outboard_len(len);
        if entries.len() as u64 != expected {
            return Err(OutboardError::Length { len, expected, came: entries.len() });
        }
        Ok(Self { root, len, entries })
    }

    /// The entries in post-order, [`outboard_len`] bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.entries
    }

    /// The entries in post-order, [`outboard_len`] bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.entries
    }

    /// The root of the content.
    #[must_use]
    pub fn root(&self) -> Root {
        self.root
    }

    /// Bytes of the content.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.len
    }

    /// Recomputes every branch from the entries, up to the root: one compression for each group.
    ///
    /// # Errors
    /// [`OutboardError::Entry`] names the first branch, from the top, that is not what the root commits to.
    pub fn verify(&self) -> Result<(), OutboardError> {
        let top = Tree::of(self.len).top();
        if top.is_within_group() { Ok(()) } else { self.verify_below(top, 0, self.root.as_bytes()) }
    }

    // Recursion: at most `DEPTH_MAX` deep.
    fn verify_below(&self, subtree: Subtree, base: u64, expected: &[u8; 32]) -> Result<(), OutboardError> {
        if subtree.is_within_group() {
            return Ok(());
        }
        let pair = self.entry(subtree, base, expected)?;
        let (left, right) = Tree::of(self.len).split(subtree);
        self.verify_below(left, base, &pair.0)?;
        self.verify_below(right, right_base(subtree, base), &pair.1)
    }

    /// The entry of `subtree`, whose entries begin at number `base`, if it hashes to `expected`.
    pub(crate) fn entry(&self, subtree: Subtree, base: u64, expected: &[u8; 32]) -> Result<Pair, OutboardError> {
        let tree = Tree::of(self.len);
        let number = base + subtree.groups() - 2;
        let pair = self.pair(number).filter(|pair| tree.hash_pair(subtree, pair) == *expected);
        pair.ok_or_else(|| OutboardError::Entry { number, range: tree.bytes(subtree), root: self.root })
    }

    fn pair(&self, number: u64) -> Option<Pair> {
        let at = usize::try_from(number).ok()?.checked_mul(OUTBOARD_ENTRY_LEN)?;
        let entry = self.entries.get(at..)?.first_chunk::<OUTBOARD_ENTRY_LEN>()?;
        let (left, right) = entry.split_at(CHAINING_VALUE_LEN);
        Some((left.try_into().ok()?, right.try_into().ok()?))
    }
}

/// The number of the first entry under the right child of `subtree`, whose own entries begin at `base`.
pub(crate) const fn right_base(subtree: Subtree, base: u64) -> u64 {
    base + left_leaves(subtree.groups()) - 1
}

/// Why some bytes are not the outboard of a content.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OutboardError {
    /// Not the number of entries that the length asks for.
    #[error(
        "expected {expected} bytes of outboard for {len} bytes of content, came {came}: build it again from the content"
    )]
    Length {
        /// Bytes of the content.
        len: u64,
        /// Bytes of its outboard.
        expected: u64,
        /// Bytes that came.
        came: usize,
    },
    /// An entry that does not lead to the root.
    #[error(
        "expected entry {number}, over the bytes {range:?}, to lead to the root {root}, came one that does not: build the outboard again from the content"
    )]
    Entry {
        /// Which entry, in post-order.
        number: u64,
        /// The bytes of the content under its branch.
        range: core::ops::Range<u64>,
        /// The root of the content.
        root: Root,
    },
}
