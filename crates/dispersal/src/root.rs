//! BLAKE3 roots of bytes that do not come all at once or in order. Same root as `blake3::hash`, by
//! the same tree (BLAKE3 paper, section 2.1; `blake3::hazmat`).
//!
//! - [`StreamRoot`] takes a stream in order and can be written down in the middle: an interrupted
//!   put goes on without the bytes that it has already sealed.
//! - [`PartedRoot`] takes pieces of known length in any order: a repair hashes the segment it
//!   decodes strip by strip, k parts side by side.

use std::collections::BTreeMap;

use blake3::{
    CHUNK_LEN, Hasher,
    hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root},
};
use holdfast_types::Root;

/// Hashed at once: enough chunks for every SIMD width.
const GROUP_LEN: usize = 64 << 10;

/// Levels of groups above one: 2^40 groups are 2^56 bytes, more than any object.
const STACK_MAX: usize = 40;

/// A root in the making, over a stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct StreamRoot {
    groups: u64,
    stack: Vec<ChainingValue>,
    tail: Vec<u8>,
}

impl StreamRoot {
    pub(crate) fn absorb(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A full group is closed only when more follows: the last one may be the root.
            if self.tail.len() == GROUP_LEN {
                let group = std::mem::take(&mut self.tail);
                self.close_group(&group);
                self.tail = group;
                self.tail.clear();
            }
            if self.tail.is_empty() && bytes.len() > GROUP_LEN {
                let (group, rest) = bytes.split_at(GROUP_LEN);
                self.close_group(group);
                bytes = rest;
                continue;
            }
            let (head, rest) = bytes.split_at(bytes.len().min(GROUP_LEN - self.tail.len()));
            self.tail.extend_from_slice(head);
            bytes = rest;
        }
    }

    fn close_group(&mut self, group: &[u8]) {
        let mut right = subtree(self.groups * GROUP_LEN as u64, group);
        self.groups += 1;
        for _ in 0..self.groups.trailing_zeros() {
            if let Some(left) = self.stack.pop() {
                right = merge_subtrees_non_root(&left, &right, Mode::Hash);
            }
        }
        self.stack.push(right);
    }

    pub(crate) fn root(&self) -> Root {
        let Some((bottom, upper)) = self.stack.split_first() else {
            return Root::of(&self.tail);
        };
        let last = subtree(self.groups * GROUP_LEN as u64, &self.tail);
        let fold = |right, left: &ChainingValue| merge_subtrees_non_root(left, &right, Mode::Hash);
        let right = upper.iter().rev().fold(last, fold);
        Root::from(merge_subtrees_root(bottom, &right, Mode::Hash))
    }

    /// Number of groups (8 bytes, big-endian), one 32-byte value for each bit set in it, and the tail.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.groups.to_be_bytes().to_vec();
        out.extend(self.stack.iter().flatten());
        out.extend_from_slice(&self.tail);
        out
    }

    /// The inverse of [`StreamRoot::to_bytes`], for a state after `len` bytes.
    pub(crate) fn from_bytes(bytes: &[u8], len: u64) -> Option<Self> {
        let (groups, rest) = bytes.split_first_chunk::<8>()?;
        let groups = u64::from_be_bytes(*groups);
        let values = groups.count_ones() as usize;
        if groups >> STACK_MAX != 0 || rest.len() < values * 32 {
            return None;
        }
        let (stack, tail) = rest.split_at(values * 32);
        let fits = tail.len() <= GROUP_LEN && groups * GROUP_LEN as u64 + tail.len() as u64 == len;
        // A tail is empty only at the very start: it is closed when more follows.
        (fits && (groups == 0 || !tail.is_empty())).then(|| Self {
            groups,
            stack: stack.chunks_exact(32).filter_map(|value| value.try_into().ok()).collect(),
            tail: tail.to_vec(),
        })
    }
}

fn subtree(offset: u64, bytes: &[u8]) -> ChainingValue {
    Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root()
}

/// A root in the making, over pieces that start at whole chunks and may come in any order.
#[derive(Debug)]
pub(crate) struct PartedRoot {
    len: u64,
    // Keyed by the first chunk and the number of chunks of a node of the tree.
    nodes: BTreeMap<(u64, u64), ChainingValue>,
    only_chunk: Option<Root>,
}

impl PartedRoot {
    pub(crate) fn new(len: u64) -> Self {
        Self { len, nodes: BTreeMap::new(), only_chunk: None }
    }

    /// Takes the bytes from `offset` on. Both ends lie between chunks, or at the end of all.
    pub(crate) fn absorb(&mut self, offset: u64, mut bytes: &[u8]) {
        let chunk = CHUNK_LEN as u64;
        assert!(offset.is_multiple_of(chunk) && offset + bytes.len() as u64 <= self.len);
        if self.len <= chunk {
            self.only_chunk = Some(Root::of(bytes));
            return;
        }
        let (mut at, chunks) = (offset / chunk, self.len.div_ceil(chunk));
        while !bytes.is_empty() {
            let whole = bytes.len() as u64 / chunk;
            // The largest node that starts here, ends in these bytes, and is not the root. One that
            // ends in a partial chunk is taken chunk by chunk.
            let aligned = if at == 0 { u64::MAX } else { 1 << at.trailing_zeros() };
            let count = if whole == 0 { 1 } else { aligned.min(floor_power(whole)).min(floor_power(chunks - 1)) };
            let (node, rest) = bytes.split_at(bytes.len().min((count * chunk) as usize));
            self.nodes.insert((at, count), subtree(at * chunk, node));
            (at, bytes) = (at + count, rest);
        }
    }

    /// The root, once every byte has come.
    pub(crate) fn root(&self) -> Option<Root> {
        if self.len <= CHUNK_LEN as u64 {
            return self.only_chunk;
        }
        let left = left_subtree_len(self.len);
        let (left, right) = (self.node(0, left)?, self.node(left, self.len)?);
        Some(Root::from(merge_subtrees_root(&left, &right, Mode::Hash)))
    }

    fn node(&self, start: u64, end: u64) -> Option<ChainingValue> {
        let chunk = CHUNK_LEN as u64;
        let count = (end - start).div_ceil(chunk);
        if let Some(value) = self.nodes.get(&(start / chunk, count)) {
            return Some(*value);
        }
        if count == 1 {
            return None;
        }
        let middle = start + left_subtree_len(end - start);
        let (left, right) = (self.node(start, middle)?, self.node(middle, end)?);
        Some(merge_subtrees_non_root(&left, &right, Mode::Hash))
    }
}

/// The largest power of two that is at most `n`; `n` is not zero.
const fn floor_power(n: u64) -> u64 {
    1 << n.ilog2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        Hasher::new().finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn a_stream_root_is_blake3_s_at_every_edge() {
        for groups in 0..9 {
            for extra in [0, 1, 1023, 1024, 1025, GROUP_LEN - 1] {
                let all = bytes(groups * GROUP_LEN + extra);
                let mut root = StreamRoot::default();
                all.chunks(50_001).for_each(|part| root.absorb(part));
                assert_eq!(root.root(), Root::of(&all), "{groups} groups and {extra} bytes");
            }
        }
    }

    #[test]
    fn a_stream_root_goes_on_where_it_was_written_down() {
        let all = bytes(5 * GROUP_LEN + 77);
        for cut in [0, 1, GROUP_LEN, GROUP_LEN + 1, 4 * GROUP_LEN, all.len()] {
            let mut first = StreamRoot::default();
            first.absorb(&all[..cut]);
            let written = first.to_bytes();
            let mut second = StreamRoot::from_bytes(&written, cut as u64).unwrap();
            assert_eq!(second, first);
            second.absorb(&all[cut..]);
            assert_eq!(second.root(), Root::of(&all), "cut at {cut}");
            assert_eq!(StreamRoot::from_bytes(&written, cut as u64 + 1), None);
            assert_eq!(StreamRoot::from_bytes(&written[..written.len() - 1], cut as u64), None);
        }
    }

    proptest! {
        #[test]
        fn a_parted_root_is_blake3_s_whatever_the_order(
            chunks in 0u64..300, extra in 0u64..1024, k in 1u64..9, strip in 1u64..40, backwards: bool,
        ) {
            let len = (chunks * 1024 + extra).max(1);
            let all = bytes(len as usize);
            let part = len.div_ceil(k).next_multiple_of(1024);
            let mut cuts: Vec<(u64, u64)> = (0..k)
                .flat_map(|p| (0..part).step_by((strip * 1024) as usize).map(move |at| (p * part + at, ((p + 1) * part).min(p * part + at + strip * 1024))))
                .map(|(from, to)| (from.min(len), to.min(len)))
                .filter(|(from, to)| from < to)
                .collect();
            if backwards { cuts.reverse(); }
            let mut root = PartedRoot::new(len);
            for (place, (from, to)) in cuts.iter().enumerate() {
                prop_assert!(place == 0 || root.root().is_none(), "a root before all bytes came");
                root.absorb(*from, &all[*from as usize..*to as usize]);
            }
            prop_assert_eq!(root.root(), Some(Root::of(&all)));
        }
    }
}
