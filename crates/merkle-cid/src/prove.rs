//! From the outboard and a few groups of the content to a proof.
//!
//! The walk goes down from the root and compares every node with the one above before it uses it: entries of the
//! outboard with the root, groups with the entries. So a proof that comes out verifies; and a prover whose disk rotted
//! learns which of the two is damaged, and where, instead of sending a proof that convicts it.
//!
//! There is no way to make a proof without the bytes of its leaves. A prover that kept every chaining value, and even
//! every leaf's, has nothing to put where the leaf's 1024 bytes belong: whatever it invents must hash to that chaining
//! value at that position, which is a second preimage of BLAKE3. What it *can* do is fetch the bytes from somebody
//! else in time; a proof shows that the prover had access to the bytes after it was asked, not where they lay.

use core::ops::Range;

use thiserror::Error;

use crate::leaves::{LeafIndex, LeafSet, split_at};
use crate::outboard::{Outboard, OutboardError, right_base};
use crate::proof::{MultiProof, proof_len};
use crate::tree::{GeometryError, Subtree, Tree};

/// Proves that `leaves` lie in the content of `outboard`, reading the content through `read`.
///
/// `read` is called with the ranges of [`plan_reads`](crate::plan_reads), each once and in that order, and gives
/// exactly the bytes of the range.
///
/// ```
/// use merkle_cid::{LeafIndex, LeafSet, Outboard, prove, verify};
///
/// let content: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
/// let outboard = Outboard::of(&content);
///
/// let leaves = LeafSet::new([3, 4, 97].map(LeafIndex))?;
/// let proof = prove(&outboard, &leaves, |range| {
///     content.get(range.start as usize..range.end as usize).ok_or("beyond the end of the content")
/// })
/// .map_err(|error| error.to_string())?;
///
/// let verified = verify(&outboard.root(), 100_000, &leaves, &proof)?;
/// assert_eq!(verified.leaves().count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ProveError`]: a question that does not fit the content, a read that failed, or damage, with its range.
pub fn prove<B: AsRef<[u8]>, E>(
    outboard: &Outboard,
    leaves: &LeafSet,
    read: impl FnMut(Range<u64>) -> Result<B, E>,
) -> Result<MultiProof, ProveError<E>> {
    let len = outboard.content_len();
    let tree = Tree::of(len);
    let asked = leaves.within(tree)?;
    let proof = Vec::with_capacity(proof_len(len, leaves)?);
    let mut prover = Prover { tree, outboard, read, proof };
    prover.walk_branches(tree.top(), 0, outboard.root().as_bytes(), asked)?;
    Ok(MultiProof::from_prover(prover.proof))
}

/// Proves like [`prove`], from groups that were read before: those of [`plan_reads`](crate::plan_reads), in its order.
///
/// # Errors
/// As [`prove`]; [`MissingRead`] where the groups end too early.
pub fn prove_from_reads<B: AsRef<[u8]>>(
    outboard: &Outboard,
    leaves: &LeafSet,
    reads: impl IntoIterator<Item = B>,
) -> Result<MultiProof, ProveError<MissingRead>> {
    let mut reads = reads.into_iter();
    prove(outboard, leaves, |_| reads.next().ok_or(MissingRead))
}

/// Proves like [`prove`], with the whole content and nothing else at hand: hashes all of it on the fly.
///
/// # Errors
/// [`GeometryError`] if the content has no such leaves.
pub fn prove_content(content: &[u8], leaves: &LeafSet) -> Result<MultiProof, GeometryError> {
    // Asked first: a wrong question must not cost a pass over the content.
    leaves.within(Tree::of(content.len() as u64))?;
    let slice = |range: Range<u64>| content.get(range.start as usize..range.end as usize).ok_or(MissingRead);
    match prove(&Outboard::of(content), leaves, slice) {
        Ok(proof) => Ok(proof),
        Err(ProveError::Geometry(error)) => Err(error),
        Err(error) => unreachable!("an outboard made from these very bytes disagrees with them: {error}"),
    }
}

struct Prover<'a, R> {
    tree: Tree,
    outboard: &'a Outboard,
    read: R,
    proof: Vec<u8>,
}

impl<B: AsRef<[u8]>, E, R: FnMut(Range<u64>) -> Result<B, E>> Prover<'_, R> {
    /// Walks a subtree that holds at least one asked leaf and whose hash is `expected`; its entries begin at `base`.
    // Recursion: at most `DEPTH_MAX` deep, the part within a group included.
    fn walk_branches(
        &mut self,
        subtree: Subtree,
        base: u64,
        expected: &[u8; 32],
        leaves: &[LeafIndex],
    ) -> Result<(), ProveError<E>> {
        if subtree.is_within_group() {
            return self.read_group(subtree, expected, leaves);
        }
        let pair = self.outboard.entry(subtree, base, expected)?;
        let (left, right) = self.tree.split(subtree);
        let (left_leaves, right_leaves) = split_at(leaves, right.first);
        let right_base = right_base(subtree, base);
        for (child, base, value, leaves) in
            [(left, base, pair.0, left_leaves), (right, right_base, pair.1, right_leaves)]
        {
            if leaves.is_empty() {
                self.proof.extend_from_slice(&value);
            } else {
                self.walk_branches(child, base, &value, leaves)?;
            }
        }
        Ok(())
    }

    fn read_group(&mut self, group: Subtree, expected: &[u8; 32], leaves: &[LeafIndex]) -> Result<(), ProveError<E>> {
        let range = self.tree.bytes(group);
        let read = match range.is_empty() {
            true => None,
            false => {
                Some((self.read)(range.clone()).map_err(|source| ProveError::Read { range: range.clone(), source })?)
            }
        };
        let bytes = read.as_ref().map_or(&[][..], AsRef::as_ref);
        if bytes.len() != self.tree.byte_len(group) {
            return Err(ProveError::ReadLength { range, came: bytes.len() });
        }
        if self.tree.hash_bytes(group, bytes) != *expected {
            return Err(ProveError::Content { range });
        }
        self.walk_group(group, bytes, leaves);
        Ok(())
    }

    /// Walks a subtree of at most a group, whose bytes are at hand and compared.
    fn walk_group(&mut self, subtree: Subtree, bytes: &[u8], leaves: &[LeafIndex]) {
        if leaves.is_empty() {
            self.proof.extend_from_slice(&self.tree.hash_bytes(subtree, bytes));
        } else if leaves.len() as u64 == subtree.leaves {
            self.proof.extend_from_slice(bytes);
        } else {
            let (left, right) = self.tree.split(subtree);
            let (left_bytes, right_bytes) = bytes.split_at(self.tree.byte_len(left));
            let (left_leaves, right_leaves) = split_at(leaves, right.first);
            self.walk_group(left, left_bytes, left_leaves);
            self.walk_group(right, right_bytes, right_leaves);
        }
    }
}

/// Fewer groups were given to [`prove_from_reads`] than [`plan_reads`](crate::plan_reads) asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected one read for each planned range, came fewer: pass the reads of `plan_reads`, in its order")]
pub struct MissingRead;

/// Why there is no proof. `E` is what a read fails with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProveError<E> {
    /// The content has no such leaves.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// A read failed.
    #[error("reading the bytes {range:?} of the content failed: {source}")]
    Read {
        /// The bytes that were asked for.
        range: Range<u64>,
        /// What the read failed with.
        source: E,
    },
    /// A read gave another number of bytes than it was asked for.
    #[error(
        "expected exactly the bytes {range:?} of the content, came {came} bytes: the content is truncated, or the read is short"
    )]
    ReadLength {
        /// The bytes that were asked for.
        range: Range<u64>,
        /// How many came.
        came: usize,
    },
    /// The outboard is right about this group, and the bytes are not those that were hashed.
    #[error("expected the bytes {range:?} of the content as they were hashed, came others: they are damaged")]
    Content {
        /// The bytes of the group.
        range: Range<u64>,
    },
    /// The outboard does not lead to the root. The content may be whole.
    #[error(transparent)]
    Outboard(#[from] OutboardError),
}
