//! From a stream of bytes to root and outboard, in one pass.
//!
//! Groups of 16 KiB go to `blake3::Hasher` whole, which hashes their 16 chunks side by side; what is left for this
//! file is one merge a group. Chaining values of finished subtrees wait on a stack, as in BLAKE3 itself: after `n`
//! groups that are known not to be the last, one for each 1 in `n` written in binary.
//!
//! Nothing is merged before it is known that content follows, because the topmost merge is another function (the
//! root's) and nobody says in advance which one is topmost.

use core::fmt;

use blake3::Hasher;
use blake3::hazmat::ChainingValue;

use crate::cid::Root;
use crate::outboard::Outboard;
use crate::tree::{GROUP_LEN, branch_of, group_hasher, group_value, root_of};

/// Hashes content as it comes and keeps its inner nodes.
///
/// Memory: the outboard so far, 64 bytes for each 16 KiB, and about 4 KiB.
///
/// ```
/// use merkle_cid::{Builder, Root};
///
/// let mut builder = Builder::new();
/// for piece in [&b"tied "[..], b"to the ", b"rock"] {
///     builder.update(piece);
/// }
/// let (root, outboard) = builder.finish();
/// assert_eq!(root, Root::of(b"tied to the rock"));
/// assert_eq!(outboard.content_len(), 16);
/// ```
#[derive(Clone)]
pub struct Builder {
    /// The group that is being filled. It may turn out to be the last, or the only one.
    group: Hasher,
    group_filled: usize,
    /// Groups before it: full, and hashed.
    closed: u64,
    /// Chaining values of finished subtrees, the largest and leftmost first.
    waiting: Vec<ChainingValue>,
    entries: Vec<u8>,
}

impl Builder {
    /// A builder that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { group: Hasher::new(), group_filled: 0, closed: 0, waiting: Vec::new(), entries: Vec::new() }
    }

    /// Takes the next bytes of the content. Pieces of any size give the same result; multiples of
    /// [`GROUP_LEN`] are fastest.
    pub fn update(&mut self, mut content: &[u8]) -> &mut Self {
        while !content.is_empty() {
            if self.group_filled == GROUP_LEN {
                self.close_group();
            }
            let (now, later) = content.split_at(content.len().min(GROUP_LEN - self.group_filled));
            self.group.update(now);
            self.group_filled += now.len();
            content = later;
        }
        self
    }

    /// Bytes of content so far.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.closed * GROUP_LEN as u64 + self.group_filled as u64
    }

    /// The content is complete: its root, and its outboard.
    #[must_use]
    pub fn finish(mut self) -> (Root, Outboard) {
        let len = self.content_len();
        let root = self.root();
        (root, Outboard::from_builder(root, len, self.entries))
    }

    fn root(&mut self) -> Root {
        if self.closed == 0 {
            return self.group.finalize().into();
        }
        // A group is closed only when a byte follows it, so that this one is not empty.
        let mut right = group_value(&self.group);
        self.merge_finished();
        loop {
            let Some(left) = self.waiting.pop() else { return Root(right) };
            let pair = self.write_entry(left, right);
            right = if self.waiting.is_empty() { root_of(&pair) } else { branch_of(&pair) };
        }
    }

    fn close_group(&mut self) {
        let value = group_value(&self.group);
        self.merge_finished();
        self.waiting.push(value);
        self.closed += 1;
        self.group = group_hasher(self.content_len() - self.group_filled as u64);
        self.group_filled = 0;
    }

    /// Merges what is finished now that another group follows the closed ones.
    fn merge_finished(&mut self) {
        while self.waiting.len() > self.closed.count_ones() as usize {
            if let (Some(right), Some(left)) = (self.waiting.pop(), self.waiting.pop()) {
                let pair = self.write_entry(left, right);
                self.waiting.push(branch_of(&pair));
            }
        }
    }

    fn write_entry(&mut self, left: ChainingValue, right: ChainingValue) -> (ChainingValue, ChainingValue) {
        self.entries.extend_from_slice(&left);
        self.entries.extend_from_slice(&right);
        (left, right)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("content_len", &self.content_len()).finish_non_exhaustive()
    }
}
