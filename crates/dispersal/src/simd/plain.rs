//! The slow twin: one lookup for each byte of each product. Short enough to be seen to be right, and what processors
//! without vector units run.

use super::{lane::half_tables, sweep::STRIP_LEN};

/// Overwrites `targets` with their sums over `sources`. All strips have one length.
pub(super) fn apply(rows: &[Vec<u8>], sources: &[&[u8]], targets: &mut [&mut [u8]]) {
    let len = sources.first().map_or(0, |strip| strip.len());
    for start in (0..len).step_by(STRIP_LEN) {
        let end = len.min(start + STRIP_LEN);
        for (row, target) in rows.iter().zip(targets.iter_mut()) {
            let target = &mut target[start..end];
            target.fill(0);
            for (factor, source) in row.iter().zip(sources) {
                let products = products(*factor);
                for (sum, byte) in target.iter_mut().zip(&source[start..end]) {
                    *sum ^= products[usize::from(*byte)];
                }
            }
        }
    }
}

fn products(factor: u8) -> [u8; 256] {
    let tables = half_tables(factor);
    std::array::from_fn(|byte| tables[byte & 15] ^ tables[16 + (byte >> 4)])
}
