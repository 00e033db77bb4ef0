//! BLAKE3 and its proofs written a second time: straight from the paper, recursive, slow, and without a line of the
//! crate or of `blake3`.

use std::collections::BTreeSet;

const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const ORDER: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const PARENT: u32 = 4;
const ROOT: u32 = 8;

fn mix(state: &mut [u32; 16], [a, b, c, d]: [usize; 4], x: u32, y: u32) {
    state[a] = state[a].wrapping_add(state[b]).wrapping_add(x);
    state[d] = (state[d] ^ state[a]).rotate_right(16);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_right(12);
    state[a] = state[a].wrapping_add(state[b]).wrapping_add(y);
    state[d] = (state[d] ^ state[a]).rotate_right(8);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_right(7);
}

fn compress(value: [u32; 8], block: &[u8], counter: u64, flags: u32) -> [u32; 8] {
    let mut padded = [0; 64];
    padded[..block.len()].copy_from_slice(block);
    let mut words: [u32; 16] = core::array::from_fn(|i| {
        u32::from_le_bytes([padded[4 * i], padded[4 * i + 1], padded[4 * i + 2], padded[4 * i + 3]])
    });
    let mut state = [0; 16];
    state[..8].copy_from_slice(&value);
    state[8..12].copy_from_slice(&IV[..4]);
    state[12..].copy_from_slice(&[counter as u32, (counter >> 32) as u32, block.len() as u32, flags]);
    for _ in 0..7 {
        for column in 0..4 {
            mix(&mut state, [0, 4, 8, 12].map(|row| row + column), words[2 * column], words[2 * column + 1]);
        }
        for diagonal in 0..4 {
            let lane = [diagonal, 4 + (diagonal + 1) % 4, 8 + (diagonal + 2) % 4, 12 + (diagonal + 3) % 4];
            mix(&mut state, lane, words[8 + 2 * diagonal], words[9 + 2 * diagonal]);
        }
        words = ORDER.map(|from| words[from]);
    }
    core::array::from_fn(|i| state[i] ^ state[i + 8])
}

fn to_bytes(value: [u32; 8]) -> [u8; 32] {
    core::array::from_fn(|i| value[i / 4].to_le_bytes()[i % 4])
}

fn chunk(bytes: &[u8], counter: u64, root: u32) -> [u8; 32] {
    let blocks: Vec<&[u8]> = if bytes.is_empty() { vec![&[]] } else { bytes.chunks(64).collect() };
    let last = blocks.len() - 1;
    let mut value = IV;
    for (i, block) in blocks.into_iter().enumerate() {
        let start = if i == 0 { CHUNK_START } else { 0 };
        let end = if i == last { CHUNK_END | root } else { 0 };
        value = compress(value, block, counter, start | end);
    }
    to_bytes(value)
}

fn parent(left: [u8; 32], right: [u8; 32], root: u32) -> [u8; 32] {
    to_bytes(compress(IV, &[left, right].concat(), 0, PARENT | root))
}

/// Bytes on the left of a subtree of `len` > 1024 bytes: doubled until twice that would leave nothing on the right.
fn left_len(len: usize) -> usize {
    let mut left = 1024;
    while 2 * left < len {
        left *= 2;
    }
    left
}

fn subtree(bytes: &[u8], first_leaf: u64, root: u32) -> [u8; 32] {
    if bytes.len() <= 1024 {
        return chunk(bytes, first_leaf, root);
    }
    let (left, right) = bytes.split_at(left_len(bytes.len()));
    let right_first = first_leaf + left.len() as u64 / 1024;
    parent(subtree(left, first_leaf, 0), subtree(right, right_first, 0), root)
}

/// The BLAKE3 hash of `content`.
pub(crate) fn root(content: &[u8]) -> [u8; 32] {
    subtree(content, 0, ROOT)
}

/// The chaining value of one leaf that is not the whole content.
pub(crate) fn leaf_value(bytes: &[u8], leaf: u64) -> [u8; 32] {
    chunk(bytes, leaf, 0)
}

/// The outboard of a subtree: left entries, right entries, own entry; nothing for 16 KiB or less.
pub(crate) fn outboard(bytes: &[u8], first_leaf: u64) -> Vec<u8> {
    if bytes.len() <= 16 * 1024 {
        return Vec::new();
    }
    let (left, right) = bytes.split_at(left_len(bytes.len()));
    let right_first = first_leaf + left.len() as u64 / 1024;
    let mut entries = outboard(left, first_leaf);
    entries.extend(outboard(right, right_first));
    entries.extend(subtree(left, first_leaf, 0));
    entries.extend(subtree(right, right_first, 0));
    entries
}

/// The proof about `leaves` of a subtree, as the format says it.
pub(crate) fn proof(bytes: &[u8], first_leaf: u64, leaves: &BTreeSet<u64>) -> Vec<u8> {
    let end = first_leaf + (bytes.len() as u64).div_ceil(1024).max(1);
    if leaves.range(first_leaf..end).next().is_none() {
        return subtree(bytes, first_leaf, 0).to_vec();
    }
    if bytes.len() <= 1024 {
        return bytes.to_vec();
    }
    let (left, right) = bytes.split_at(left_len(bytes.len()));
    let mut items = proof(left, first_leaf, leaves);
    items.extend(proof(right, first_leaf + left.len() as u64 / 1024, leaves));
    items
}
