//! What the crate promises, held against BLAKE3's own vectors, other people's crates, and a plain recursive twin that
//! shares no code with it.

mod cids;
mod outboards;
mod proofs;
mod refusals;
#[cfg(feature = "serde")]
mod serde;
mod twin;
mod vectors;

/// The input of the official vectors: byte i is i mod 251.
fn painted(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// Lengths at, below and above every boundary the tree has: leaf, group, powers of two of both.
fn boundary_lengths() -> Vec<usize> {
    let edges = [0, 1024, 2048, 3072, 4096, 8192, 16_384, 17_408, 32_768, 49_152, 65_536, 81_920, 126_976, 131_072];
    let mut lengths: Vec<usize> =
        edges.into_iter().flat_map(|edge: usize| [edge.saturating_sub(1), edge, edge + 1]).collect();
    lengths.extend([2, 63, 64, 65, 16_384 * 7 + 5, 16_384 * 16 + 1]);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}
