//! The multi-proof: what it carries, and how long it must be.
//!
//! A proof is one string of bytes. Walk the tree from the top, left before right: a subtree without a leaf of the set
//! contributes its chaining value (32 bytes) and is not entered; a leaf of the set contributes its bytes. That is all:
//! no counts, no lengths, no indices. Content length and leaf set fix every item's place, hence the exact size, before
//! the first byte is looked at; and siblings that two leaves share are there once.
//!
//! ```text
//!            root                leaves 2 and 5 of 7 (6 KiB + 100 B):
//!          /      \
//!        A          B            ┌────┬─────────┬────┬────┬─────────┬────┐
//!      /   \      /   \          │ C' │ leaf 2  │ 3' │ 4' │ leaf 5  │ 6' │
//!     C     D    E     6         │ 32 │  1024   │ 32 │ 32 │  1024   │ 32 │
//!    / \   / \  / \              └────┴─────────┴────┴────┴─────────┴────┘
//!   0   1 2   3 4  5             (x' = chaining value of x)                 2176 bytes
//! ```
//!
//! Items stand in the order of the content, so that the bytes of adjacent leaves are adjacent in the proof too.

use core::ops::Range;

use crate::leaves::{LEAVES_PER_PROOF_MAX, LeafIndex, LeafSet, split_at};
use crate::tree::{CHAINING_VALUE_LEN, DEPTH_MAX, GeometryError, LEAF_LEN, LEAVES_PER_GROUP, Subtree, Tree};
use crate::verify::VerifyError;

/// No proof is longer, whatever the content and the set: every leaf of a full set, each with a path of its own through
/// the deepest tree. 1.4 MB, a third of the 4 MiB that a gRPC message has by default.
pub const PROOF_LEN_MAX: usize = LEAVES_PER_PROOF_MAX * (LEAF_LEN + DEPTH_MAX * CHAINING_VALUE_LEN);

/// A proof that some leaves lie in some content. It says neither which leaves nor which content.
///
/// Nothing in it is trusted: [`verify`](crate::verify()) takes root, length and leaf set from the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiProof {
    bytes: Vec<u8>,
}

impl MultiProof {
    pub(crate) fn from_prover(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// The proof that came as `bytes`, about these leaves of content of `len` bytes.
    ///
    /// It is not verified yet, but has the only size that it can have.
    ///
    /// # Errors
    /// [`VerifyError::Geometry`] if the content has no such leaves, [`VerifyError::Length`] if the size is another.
    pub fn decode(len: u64, leaves: &LeafSet, bytes: impl AsRef<[u8]> + Into<Vec<u8>>) -> Result<Self, VerifyError> {
        let expected = proof_len(len, leaves)?;
        let came = bytes.as_ref().len();
        if came != expected {
            return Err(VerifyError::Length { expected, came });
        }
        Ok(Self { bytes: bytes.into() })
    }

    /// The bytes of the proof, as they are sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the proof, as they are sent.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Bytes of the proof about these leaves of content of `len` bytes; at most [`PROOF_LEN_MAX`].
///
/// ```
/// use merkle_cid::{LeafIndex, LeafSet, proof_len};
/// let leaves = LeafSet::new([2, 5].map(LeafIndex))?;
/// assert_eq!(proof_len(6 * 1024 + 100, &leaves)?, 2 * 1024 + 4 * 32);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`GeometryError`] if the content has no such leaves.
pub fn proof_len(len: u64, leaves: &LeafSet) -> Result<usize, GeometryError> {
    let tree = Tree::of(len);
    Ok(len_below(tree, tree.top(), leaves.within(tree)?))
}

// Recursion: at most `DEPTH_MAX` deep.
fn len_below(tree: Tree, subtree: Subtree, leaves: &[LeafIndex]) -> usize {
    if leaves.is_empty() {
        return CHAINING_VALUE_LEN;
    }
    if leaves.len() as u64 == subtree.leaves {
        return tree.byte_len(subtree);
    }
    let (left, right) = tree.split(subtree);
    let (left_leaves, right_leaves) = split_at(leaves, right.first);
    len_below(tree, left, left_leaves) + len_below(tree, right, right_leaves)
}

/// The bytes of the content that a proof about these leaves needs: the groups the leaves lie in, ascending, each once,
/// at most 16 KiB each. [`prove`](crate::prove()) reads exactly these, in this order.
///
/// ```
/// use merkle_cid::{LeafIndex, LeafSet, plan_reads};
/// let leaves = LeafSet::new([1, 2, 40].map(LeafIndex))?;
/// assert_eq!(plan_reads(40_961, &leaves)?, [0..16_384, 32_768..40_961]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`GeometryError`] if the content has no such leaves.
pub fn plan_reads(len: u64, leaves: &LeafSet) -> Result<Vec<Range<u64>>, GeometryError> {
    let tree = Tree::of(len);
    let mut groups: Vec<u64> = leaves.within(tree)?.iter().map(|leaf| leaf.0 / LEAVES_PER_GROUP).collect();
    groups.dedup();
    let group_bytes = |group| tree.bytes(Subtree { first: group * LEAVES_PER_GROUP, leaves: LEAVES_PER_GROUP });
    // Empty content has a leaf, but nothing to read.
    Ok(groups.into_iter().map(group_bytes).filter(|range| !range.is_empty()).collect())
}
