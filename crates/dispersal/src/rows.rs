//! The linear map behind Reed–Solomon, as a table of coefficients: each wanted shard is a sum of
//! the k given ones, byte by byte over GF(2^8). The coefficients are those of
//! `reed-solomon-erasure`, read out of it by coding the k unit vectors, so that what is computed
//! here is byte for byte what that crate computes; [`crate::simd`] does the sums.

use holdfast_types::{Code, ShardIndex};
use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::simd::{CpuPath, Kernel, PathUnavailable};

/// The map, prepared for the processor's best instructions.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    /// How many there are, wanted shards or not.
    sources: usize,
    /// `coefficients[target][source]`.
    coefficients: Vec<Vec<u8>>,
    kernel: Kernel,
}

fn reed_solomon(code: Code) -> ReedSolomon {
    ReedSolomon::new(usize::from(code.data()), usize::from(code.parity()))
        .expect("a Code has 1..=255 of both, 256 in all")
}

/// `k` strips of `k` bytes: strip `i` is 1 at byte `i`.
fn unit_strips(k: usize) -> Vec<Vec<u8>> {
    (0..k).map(|i| (0..k).map(|at| u8::from(at == i)).collect()).collect()
}

impl Rows {
    /// From the k data shards to the m parity shards.
    pub(crate) fn encode(code: Code) -> Self {
        let (k, m) = (usize::from(code.data()), usize::from(code.parity()));
        let mut parity = vec![vec![0; k]; m];
        reed_solomon(code).encode_sep(&unit_strips(k), &mut parity).expect("k and m strips of k bytes each");
        Self::detected(k, parity)
    }

    /// From any k different shards to any others. The caller vouches for the indices.
    pub(crate) fn rebuild(code: Code, sources: &[ShardIndex], targets: &[ShardIndex]) -> Self {
        let (k, n) = (usize::from(code.data()), usize::from(code.total()));
        assert_eq!(sources.len(), k, "a segment is decoded from exactly k shards");
        let mut shards: Vec<(Vec<u8>, bool)> = vec![(vec![0; k], false); n];
        for (source, unit) in sources.iter().zip(unit_strips(k)) {
            shards[usize::from(source.0)] = (unit, true);
        }
        reed_solomon(code).reconstruct(&mut shards).expect("k different shards of k bytes each");
        Self::detected(k, targets.iter().map(|target| shards[usize::from(target.0)].0.clone()).collect())
    }

    fn detected(sources: usize, coefficients: Vec<Vec<u8>>) -> Self {
        let kernel = Kernel::new(CpuPath::detected(), sources, &coefficients).expect("what is detected is there");
        Self { sources, coefficients, kernel }
    }

    /// The same map on other instructions.
    pub(crate) fn on(self, path: CpuPath) -> Result<Self, PathUnavailable> {
        Ok(Self { kernel: Kernel::new(path, self.sources, &self.coefficients)?, ..self })
    }

    /// The instructions it runs on.
    pub(crate) const fn path(&self) -> CpuPath {
        self.kernel.path()
    }

    /// Overwrites `targets` with their sums over `sources`. All strips have one length.
    pub(crate) fn apply(&self, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        self.kernel.apply(sources, targets);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::subsequence};

    use super::*;

    fn shards(code: Code, len: usize, seed: u8) -> Vec<Vec<u8>> {
        let k = usize::from(code.data());
        let byte =
            |i: usize, at: usize| blake3::hash(&[seed, i as u8, (at / 32) as u8, (at >> 13) as u8]).as_bytes()[at % 32];
        let mut all: Vec<Vec<u8>> = (0..k).map(|i| (0..len).map(|at| byte(i, at)).collect()).collect();
        all.resize(usize::from(code.total()), vec![0; len]);
        reed_solomon(code).encode(&mut all).unwrap();
        all
    }

    fn apply(rows: &Rows, sources: &[&[u8]], targets: usize) -> Vec<Vec<u8>> {
        let mut out = vec![vec![0xee; sources[0].len()]; targets];
        rows.apply(sources, &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
        out
    }

    #[test]
    fn encoding_equals_the_crate_s_across_strip_ends() {
        for (k, m, len) in [(1, 1, 1), (2, 1, 5), (8, 4, (16 << 10) + 1), (16, 4, 32 << 10), (29, 51, 100), (255, 1, 3)]
        {
            let code = Code::new(k, m).unwrap();
            let all = shards(code, len, 1);
            let sources: Vec<&[u8]> = all[..usize::from(k)].iter().map(Vec::as_slice).collect();
            assert_eq!(apply(&Rows::encode(code), &sources, usize::from(m)), all[usize::from(k)..]);
        }
    }

    proptest! {
        #[test]
        fn any_k_shards_give_every_other(
            (code, kept) in (1u16..12, 1u16..8).prop_flat_map(|(k, m)| {
                let all: Vec<u16> = (0..k + m).collect();
                (Just(Code::new(k, m).unwrap()), subsequence(all, usize::from(k)))
            }),
            seed: u8,
        ) {
            let all = shards(code, 33, seed);
            let kept: Vec<ShardIndex> = kept.into_iter().map(ShardIndex).collect();
            let every: Vec<ShardIndex> = (0..code.total()).map(ShardIndex).collect();
            let sources: Vec<&[u8]> = kept.iter().map(|i| all[usize::from(i.0)].as_slice()).collect();
            prop_assert_eq!(apply(&Rows::rebuild(code, &kept, &every), &sources, every.len()), all);
        }
    }
}
