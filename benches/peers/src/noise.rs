//! Bytes for the contests: from a seed, so that two runs measure the same work, and incompressible.

/// `len` bytes of a BLAKE3 stream.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(b"holdfast bench noise").update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// A 128-bit coefficient that depends on every bit of its number.
pub fn gamma(number: u64) -> u128 {
    let mut bytes = [0; 16];
    blake3::Hasher::new().update(b"holdfast bench gamma").update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    u128::from_le_bytes(bytes)
}
