//! From a proof to verified bytes.
//!
//! Root, length and leaves are the caller's. The proof is measured against them first: it has one possible size, and
//! with any other no byte of it is hashed. After that there is nothing left to parse, so that nothing in a proof can
//! lead the walk, and `hazmat` only ever sees subtrees of the caller's own geometry. Memory: the proof itself, at most
//! [`PROOF_LEN_MAX`](crate::PROOF_LEN_MAX), and one small entry for each run of adjacent leaves.
//!
//! What a proof does *not* show is the length. Leaf 0 of 5 leaves has the same siblings as leaf 0 of 6, so both
//! lengths verify, each with the same, true bytes. Only the last leaf pins the length down: where it matters and the
//! caller is not sure, the set must hold it.

use thiserror::Error;

use crate::cid::Root;
use crate::leaves::{LeafIndex, LeafSet, split_at};
use crate::proof::{MultiProof, proof_len};
use crate::tree::{CHAINING_VALUE_LEN, GeometryError, LEAF_LEN, Subtree, Tree, leaf_count};

/// Verifies that `proof` shows the bytes of `leaves` in the content with this root, which is `len` bytes long.
///
/// `len` and `leaves` must be the caller's own: from its catalog and its challenge, never from the prover.
///
/// # Errors
/// [`VerifyError::Geometry`] says that the caller's question is wrong, every other that the proof is.
pub fn verify<'a>(root: &Root, len: u64, leaves: &LeafSet, proof: &'a MultiProof) -> Result<Verified<'a>, VerifyError> {
    let tree = Tree::of(len);
    let asked = leaves.within(tree)?;
    let expected = proof_len(len, leaves)?;
    let bytes = proof.as_bytes();
    if bytes.len() != expected {
        return Err(VerifyError::Length { expected, came: bytes.len() });
    }
    let mut walk = Walk { tree, proof: bytes, at: 0, runs: Vec::new() };
    let came = Root(walk.hash(tree.top(), asked)?);
    if came != *root {
        return Err(VerifyError::Root { expected: *root, came });
    }
    Ok(Verified { runs: walk.runs })
}

struct Walk<'a> {
    tree: Tree,
    proof: &'a [u8],
    at: usize,
    runs: Vec<Run<'a>>,
}

impl<'a> Walk<'a> {
    /// The hash that the proof claims for `subtree`.
    // Recursion: at most `DEPTH_MAX` deep.
    fn hash(&mut self, subtree: Subtree, leaves: &[LeafIndex]) -> Result<[u8; CHAINING_VALUE_LEN], VerifyError> {
        if leaves.is_empty() {
            let mut value = [0; CHAINING_VALUE_LEN];
            value.copy_from_slice(self.take(CHAINING_VALUE_LEN)?);
            return Ok(value);
        }
        if leaves.len() as u64 == subtree.leaves {
            let start = self.at;
            let bytes = self.take(self.tree.byte_len(subtree))?;
            self.extend_runs(subtree, start..self.at);
            return Ok(self.tree.hash_bytes(subtree, bytes));
        }
        let (left, right) = self.tree.split(subtree);
        let (left_leaves, right_leaves) = split_at(leaves, right.first);
        let pair = (self.hash(left, left_leaves)?, self.hash(right, right_leaves)?);
        Ok(self.tree.hash_pair(subtree, &pair))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], VerifyError> {
        let proof = self.proof;
        let taken = proof.get(self.at..).and_then(|rest| rest.get(..len));
        let taken = taken.ok_or(VerifyError::Length { expected: self.at + len, came: proof.len() })?;
        self.at += len;
        Ok(taken)
    }

    /// Adds the leaves of `subtree`, which stand at `place` in the proof, to the run they continue, or as a new one.
    fn extend_runs(&mut self, subtree: Subtree, place: core::ops::Range<usize>) {
        let proof = self.proof;
        match self.runs.last_mut() {
            // Items stand in content order: where the leaves are adjacent, so are their bytes.
            Some(run) if run.first.0 + leaf_count(run.bytes.len() as u64) == subtree.first => {
                let start = place.start - run.bytes.len();
                run.bytes = &proof[start..place.end];
            }
            _ => self.runs.push(Run { first: LeafIndex(subtree.first), bytes: &proof[place] }),
        }
    }
}

/// Adjacent leaves of a verified proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// The first of the leaves.
    pub first: LeafIndex,
    /// The bytes of all of them. Only the last leaf of the content is shorter than 1024 bytes.
    pub bytes: &'a [u8],
}

impl<'a> Run<'a> {
    /// The leaves of the run, each with its bytes.
    pub fn leaves(self) -> impl Iterator<Item = (LeafIndex, &'a [u8])> {
        // Not `chunks`: the one leaf of empty content is a leaf too.
        (0..leaf_count(self.bytes.len() as u64)).map(move |index| {
            let from = index as usize * LEAF_LEN;
            let to = self.bytes.len().min(from + LEAF_LEN);
            (LeafIndex(self.first.0 + index), &self.bytes[from..to])
        })
    }
}

/// The bytes that a proof showed, every one of them under the root.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a verified proof is worth the bytes it carries"]
pub struct Verified<'a> {
    runs: Vec<Run<'a>>,
}

impl<'a> Verified<'a> {
    /// The leaves of the set in ascending order, each with its bytes.
    pub fn leaves(&self) -> impl Iterator<Item = (LeafIndex, &'a [u8])> + '_ {
        self.runs.iter().flat_map(|run| run.leaves())
    }

    /// The same bytes in as few pieces as there are: one for each run of adjacent leaves, in ascending order.
    #[must_use]
    pub fn runs(&self) -> &[Run<'a>] {
        &self.runs
    }
}

/// Why a proof does not stand.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The caller asked for leaves that the content does not have. The proof was not looked at.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The proof has not the one size that it can have: it is truncated, extended, or about other leaves.
    #[error("expected a proof of exactly {expected} bytes, came {came}")]
    Length {
        /// The size that content length and leaf set fix.
        expected: usize,
        /// The size of what came.
        came: usize,
    },
    /// The proof leads to another root: a byte is wrong, an item is misplaced, or it is about other content.
    #[error("expected a proof under the root {expected}, came one under {came}")]
    Root {
        /// The caller's root.
        expected: Root,
        /// The root that the proof leads to.
        came: Root,
    },
}
