//! A node's whole answer to a challenge: Σ γ_i p_i over any number of blobs, opened once.
//!
//! A fold is an accumulator: pieces of blobs go in as the disk gives them, in any order, each under its
//! blob's γ; out comes P(z) with one proof. [`Fold::absorb`] runs at memory speed (see [`crate::Fold`]'s
//! inner loops in `accumulate` and `simd::fold`), [`Fold::open`] costs one reduction an element and one multi-scalar multiplication.

use ark_bls12_381::Fr;
use thiserror::Error;

use crate::{
    BLOB_LEN, CpuPath, CpuPathUnavailable, ELEMENT_LEN, ELEMENTS_PER_BLOB, Gamma, Opening, Proof, Scalar, Setup,
    accumulate::{self, Accumulator},
    domain::Domain,
    engine::Engine,
    simd::fold::LaneSums,
};

/// Why a piece cannot be folded in: a mistake of the caller. Nothing was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FoldError {
    /// The piece does not begin at an element.
    #[error(
        "expected a piece to begin at a multiple of {ELEMENT_LEN} bytes in its blob, got offset {offset}; align the read"
    )]
    Misaligned {
        /// Where the piece begins in its blob.
        offset: usize,
    },
    /// The piece reaches past its blob.
    #[error(
        "expected a piece within a blob's {BLOB_LEN} bytes, got {len} bytes at offset {offset}; cut the read at blobs"
    )]
    PastBlob {
        /// Where the piece begins in its blob.
        offset: usize,
        /// Its bytes.
        len: usize,
    },
}

/// Σ γ_i p_i in the making: 224 or 256 KiB, however many blobs go in.
///
/// ```
/// use holdfast_kzg::{Fold, Gamma};
/// let mut fold = Fold::new();
/// fold.absorb(Gamma(7), 31, b"the second and third element of a blob")?;
/// fold.absorb(Gamma(7), 0, &[1; 31])?;
/// assert!(fold.absorb(Gamma(7), 30, b"not at an element").is_err());
/// # Ok::<(), holdfast_kzg::FoldError>(())
/// ```
#[derive(Clone)]
pub struct Fold(Sums);

/// The sums in the form that an engine adds to fastest.
#[derive(Clone)]
enum Sums {
    Plain(Vec<Accumulator>),
    #[cfg(target_arch = "x86_64")]
    Fma(LaneSums<crate::simd::fma::Fma>),
    #[cfg(target_arch = "x86_64")]
    Ifma(LaneSums<crate::simd::ifma::Ifma>),
    #[cfg(any(test, feature = "test-setup"))]
    Emulated(LaneSums<crate::simd::emulated::Emulated>),
}

impl Fold {
    /// The empty sum, on the fastest path that this processor has.
    pub fn new() -> Self {
        Self::with(Engine::detected())
    }

    /// The empty sum, on a path of the caller's choice.
    pub fn on(path: CpuPath) -> Result<Self, CpuPathUnavailable> {
        path.engine().map(Self::with)
    }

    fn with(engine: Engine) -> Self {
        Self(match engine {
            Engine::Plain => Sums::Plain(vec![[0; 7]; ELEMENTS_PER_BLOB]),
            #[cfg(target_arch = "x86_64")]
            Engine::Fma(lanes) => Sums::Fma(LaneSums::new(lanes)),
            #[cfg(target_arch = "x86_64")]
            Engine::Ifma(lanes) => Sums::Ifma(LaneSums::new(lanes)),
            #[cfg(any(test, feature = "test-setup"))]
            Engine::Emulated(lanes) => Sums::Emulated(LaneSums::new(lanes)),
        })
    }

    /// Adds `gamma` times a piece of a blob. The piece begins `offset_in_blob` bytes into its blob, at an
    /// element; where it ends within one (the shard's end) the rest of that element counts as zeros, so
    /// only the last piece of a shard may. Pieces of one blob must not overlap.
    pub fn absorb(&mut self, gamma: Gamma, offset_in_blob: usize, bytes: &[u8]) -> Result<(), FoldError> {
        if !offset_in_blob.is_multiple_of(ELEMENT_LEN) {
            return Err(FoldError::Misaligned { offset: offset_in_blob });
        }
        if bytes.len() > BLOB_LEN.saturating_sub(offset_in_blob) {
            return Err(FoldError::PastBlob { offset: offset_in_blob, len: bytes.len() });
        }
        if !bytes.is_empty() {
            let first = offset_in_blob / ELEMENT_LEN;
            match &mut self.0 {
                Sums::Plain(sums) => accumulate::add_products(&mut sums[first..], bytes, gamma.0),
                #[cfg(target_arch = "x86_64")]
                Sums::Fma(sums) => sums.add_products(first, bytes, gamma.0),
                #[cfg(target_arch = "x86_64")]
                Sums::Ifma(sums) => sums.add_products(first, bytes, gamma.0),
                #[cfg(any(test, feature = "test-setup"))]
                Sums::Emulated(sums) => sums.add_products(first, bytes, gamma.0),
            }
        }
        Ok(())
    }

    /// Adds another sum: the same as absorbing here what that one absorbed.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            #[cfg(target_arch = "x86_64")]
            (Sums::Fma(sums), Sums::Fma(others)) => sums.merge(others),
            #[cfg(target_arch = "x86_64")]
            (Sums::Ifma(sums), Sums::Ifma(others)) => sums.merge(others),
            #[cfg(any(test, feature = "test-setup"))]
            (Sums::Emulated(sums), Sums::Emulated(others)) => sums.merge(others),
            // Of two paths: on the plain one from here on.
            _ => {
                let mut sums = self.accumulators();
                for (sum, other) in sums.iter_mut().zip(&other.accumulators()) {
                    accumulate::add(sum, other);
                }
                self.0 = Sums::Plain(sums);
            }
        }
    }

    /// The sum's value at `z` with its proof.
    pub fn open(self, setup: &Setup, z: Scalar) -> Opening {
        let (y, quotient) = Domain::get().divide(&self.values(), z.0);
        let scalars: Vec<_> = quotient.iter().map(accumulate::limbs).collect();
        Opening { y: Scalar(y).to_bytes(), proof: Proof(setup.sum_of_products(&scalars).compress()) }
    }

    /// The sum's value at `z` alone: what a witness remembers.
    pub fn evaluate(&self, z: Scalar) -> Scalar {
        Scalar(match &self.0 {
            Sums::Plain(sums) => {
                let divided = sums.iter().map(accumulate::reduce_divided).collect();
                accumulate::undivided(Domain::get().evaluate(divided, z.0))
            }
            #[cfg(target_arch = "x86_64")]
            Sums::Fma(sums) => sums.evaluate(z.0),
            #[cfg(target_arch = "x86_64")]
            Sums::Ifma(sums) => sums.evaluate(z.0),
            #[cfg(any(test, feature = "test-setup"))]
            Sums::Emulated(sums) => sums.evaluate(z.0),
        })
    }

    pub(crate) fn values(&self) -> Vec<Fr> {
        self.accumulators().iter().map(accumulate::reduce).collect()
    }

    pub(crate) fn accumulators(&self) -> Vec<Accumulator> {
        match &self.0 {
            Sums::Plain(sums) => sums.clone(),
            #[cfg(target_arch = "x86_64")]
            Sums::Fma(sums) => sums.accumulators(),
            #[cfg(target_arch = "x86_64")]
            Sums::Ifma(sums) => sums.accumulators(),
            #[cfg(any(test, feature = "test-setup"))]
            Sums::Emulated(sums) => sums.accumulators(),
        }
    }
}

impl Default for Fold {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Fold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fold(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slow;

    fn blob(seed: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
        out
    }

    /// An empty sum on every path that this machine has.
    fn everywhere() -> Vec<Fold> {
        Engine::all().into_iter().map(Fold::with).collect()
    }

    #[test]
    fn pieces_that_do_not_fit_are_refused_and_add_nothing() {
        for mut fold in everywhere() {
            refuses_what_does_not_fit(&mut fold);
        }
    }

    fn refuses_what_does_not_fit(fold: &mut Fold) {
        assert_eq!(fold.absorb(Gamma(1), 30, &[1]), Err(FoldError::Misaligned { offset: 30 }));
        let late = FoldError::PastBlob { offset: BLOB_LEN - 31, len: 32 };
        assert_eq!(fold.absorb(Gamma(1), BLOB_LEN - 31, &[1; 32]), Err(late));
        let past = FoldError::PastBlob { offset: BLOB_LEN + 31, len: 1 };
        assert_eq!(fold.absorb(Gamma(1), BLOB_LEN + 31, &[1]), Err(past));
        assert_eq!(fold.absorb(Gamma(1), BLOB_LEN, &[]), Ok(()));
        assert_eq!(fold.absorb(Gamma(1), BLOB_LEN - 31, &[]), Ok(()));
        assert_eq!(fold.values(), Fold::new().values());
    }

    #[test]
    fn the_largest_elements_and_coefficients_carry_into_the_last_limb() {
        let ones = vec![0xff; 3 * ELEMENT_LEN].into_boxed_slice();
        let mut sums = vec![[0; 7]; 4];
        sums[0][..6].fill(u64::MAX);
        let before = accumulate::reduce(&sums[0]);
        for _ in 0..1000 {
            accumulate::add_products(&mut sums, &ones, u128::MAX);
        }
        assert!(sums[0][6] > 0);
        let product = slow::elements(&ones)[0] * Gamma(u128::MAX).to_fr() * Fr::from(1000u64);
        let after: Vec<Fr> = sums.iter().map(accumulate::reduce).collect();
        assert_eq!(after, [before + product, product, product, Fr::from(0u64)]);
    }

    #[test]
    fn thousands_of_the_largest_products_are_carried_in_time() {
        // Three times as many as the lanes take between two carries, at a place where groups are cut.
        let ones = vec![0xff; 20 * ELEMENT_LEN - 1].into_boxed_slice();
        let mut expected = slow::elements(&ones);
        for element in &mut expected {
            *element *= Gamma(u128::MAX).to_fr() * Fr::from(1700u64 + 901);
        }
        expected.rotate_right(5);
        for mut fold in everywhere() {
            for at in 0..1700 {
                fold.absorb(Gamma(u128::MAX), 5 * ELEMENT_LEN, &ones).unwrap();
                if at == 900 {
                    let whole = fold.clone();
                    fold.merge(&whole);
                }
            }
            assert_eq!(fold.values(), expected);
        }
    }

    #[test]
    fn a_witness_remembers_what_an_opening_would_say() {
        let setup = Setup::insecure_from_tau(Scalar::from(99));
        for mut fold in everywhere() {
            fold.absorb(Gamma(12), 62, &blob(1, 4000)).unwrap();
            fold.absorb(Gamma(u128::MAX), 0, &blob(2, BLOB_LEN)).unwrap();
            for z in [Scalar::from(0), Scalar::from(1), Scalar::from(77)] {
                assert_eq!(fold.evaluate(z).to_bytes(), fold.clone().open(&setup, z).y);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn pieces_in_any_order_are_the_slow_fold(
            blobs in prop::collection::vec((any::<u64>(), any::<u128>(), 0..=BLOB_LEN), 1..5),
            cuts in prop::collection::vec(1usize..2000, 4..5),
            split in any::<u64>(),
        ) {
            let terms: Vec<(Gamma, Vec<u8>)> =
                blobs.iter().map(|(seed, gamma, len)| (Gamma(*gamma), blob(*seed, *len))).collect();
            let mut pieces = vec![];
            for (at, (gamma, bytes)) in terms.iter().enumerate() {
                let piece_len = cuts[at % cuts.len()] * ELEMENT_LEN;
                pieces.extend(bytes.chunks(piece_len).enumerate().map(|(i, piece)| (*gamma, i * piece_len, piece)));
            }
            pieces.sort_by_key(|(gamma, offset, _)| blake3::hash(&(gamma.0 ^ (*offset as u128) ^ u128::from(split)).to_le_bytes()).as_bytes()[..8].to_vec());
            let expected = slow::fold(&terms);
            let empties = everywhere();
            for (which, fold) in empties.iter().enumerate() {
                // Halves of one path, and of two.
                let other = &empties[(which + (split >> 63) as usize) % empties.len()];
                let mut halves = [fold.clone(), other.clone()];
                for (at, (gamma, offset, piece)) in pieces.iter().enumerate() {
                    // To its exact length on the heap, so that a read past its end is one past an allocation.
                    let piece: Box<[u8]> = (*piece).into();
                    halves[(split >> (at % 64)) as usize & 1].absorb(*gamma, *offset, &piece).unwrap();
                }
                let [mut fold, other] = halves;
                fold.merge(&other);
                prop_assert_eq!(fold.values(), expected.clone());
            }
        }
    }
}
