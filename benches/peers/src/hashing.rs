//! A shard's Merkle tree: root and outboard by `merkle-cid`, beside the plain BLAKE3 hash, which keeps no tree.

use std::hint::black_box;

use crate::{Contest, noise::noise, timed};

/// A shard of a full segment at 8+4.
const SHARD_LEN: usize = 8 << 20;

/// The contest.
pub struct OutboardContest {
    bytes: Vec<u8>,
}

impl OutboardContest {
    /// Asserts that the root is the hash.
    #[expect(clippy::new_without_default, reason = "it does work and asserts")]
    pub fn new() -> Self {
        let bytes = noise(SHARD_LEN, 11);
        let mut builder = merkle_cid::Builder::new();
        builder.update(&bytes);
        let (root, _) = builder.finish();
        assert_eq!(root.as_bytes(), blake3::hash(&bytes).as_bytes(), "the root is the BLAKE3 hash");
        Self { bytes }
    }
}

impl Contest for OutboardContest {
    fn work(&self) -> String {
        format!("Merkle root and outboard of a shard of {} MiB", SHARD_LEN >> 20)
    }

    fn peer_name(&self) -> Option<String> {
        Some("blake3::Hasher::update, root only".into())
    }

    fn bytes(&self) -> Option<u64> {
        Some(SHARD_LEN as u64)
    }

    fn ours(&mut self) -> f64 {
        timed(|| {
            let mut builder = merkle_cid::Builder::new();
            builder.update(black_box(&self.bytes));
            builder.finish()
        })
    }

    fn peer(&mut self) -> f64 {
        timed(|| blake3::Hasher::new().update(black_box(&self.bytes)).finalize())
    }
}
