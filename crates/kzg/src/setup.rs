//! The structured reference string: the Ethereum ceremony's, inside the binary and pinned by its digest.
//!
//! Provenance and how to make the file again: `setup/README.md`. What is slow is done once, at first use:
//! decompressing 4096 points (some 50 ms) by the first commitment or opening, computing the fixed-base
//! table (some 400 ms, 8 or 10 MB) by the first that will have paid for it. Verifying needs neither.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use crate::{
    BLOB_LEN, Commitment, CpuPath, CpuPathUnavailable, ELEMENTS_PER_BLOB, POINT_LEN, PackError, accumulate,
    blst::{self, Affine, PreparedG2},
    engine::Engine,
    fixed_base::{FixedBase, Limbs},
};

/// 4096 compressed points [L_i(τ)]₁ in the blob's own, bit-reversed order, then [1]₂ and [τ]₂.
static ETHEREUM: &[u8; ETHEREUM_LEN] = include_bytes!("../setup/ethereum.bin");
const ETHEREUM_LEN: usize = ELEMENTS_PER_BLOB * POINT_LEN + 2 * G2_LEN;
const G2_LEN: usize = 96;

/// BLAKE3 of the file: a setup that somebody else swapped in would let them forge every proof.
const ETHEREUM_DIGEST: &str = "1aae6b20697416a8ea5aab14a1e93a0407d14a699ef7916ddf6de8e6eacf41bd";

/// Sums that are worth doing without the table: about as long as computing it takes.
const SUMS_BEFORE_TABLE: u32 = 16;

/// A structured reference string of 4096 points: what commits, opens and verifies.
pub struct Setup {
    pub(crate) engine: Engine,
    basis: Basis,
    pub(crate) one_g2: PreparedG2,
    pub(crate) tau_g2: PreparedG2,
}

/// How [P(τ)]₁ is found from P's values.
enum Basis {
    /// From the points of a ceremony.
    Ceremony { points: OnceLock<Vec<Affine>>, table: OnceLock<FixedBase>, sums: AtomicU32 },
    /// From τ itself: the Lagrange polynomials' values there.
    #[cfg(any(test, feature = "test-setup"))]
    KnownSecret { lagrange_at_tau: Vec<ark_bls12_381::Fr> },
}

impl Setup {
    /// The Ethereum KZG ceremony's (2023, 141,416 contributions; one honest one is enough).
    ///
    /// # Panics
    /// Where the file in the binary is not the one this crate was written for.
    pub fn ethereum() -> &'static Self {
        static SETUP: OnceLock<Setup> = OnceLock::new();
        SETUP.get_or_init(|| Self::with(Engine::detected()))
    }

    /// The same on a path of the caller's choice, with a table of its own: for tests and benchmarks that hold
    /// paths to one another. Everyone else shares [`Setup::ethereum`].
    pub fn ethereum_on(path: CpuPath) -> Result<Self, CpuPathUnavailable> {
        path.engine().map(Self::with)
    }

    /// The path that this setup commits, opens and verifies on.
    pub fn cpu_path(&self) -> CpuPath {
        self.engine.path()
    }

    fn with(engine: Engine) -> Self {
        assert_eq!(
            blake3::hash(ETHEREUM).to_hex().as_str(),
            ETHEREUM_DIGEST,
            "the ceremony's file in this binary is not the one of setup/README.md; rebuild from clean sources"
        );
        let (one, tau) = ETHEREUM[ELEMENTS_PER_BLOB * POINT_LEN..].split_at(G2_LEN);
        Self {
            engine,
            basis: Basis::Ceremony { points: OnceLock::new(), table: OnceLock::new(), sums: AtomicU32::new(0) },
            one_g2: pinned_g2(one),
            tau_g2: pinned_g2(tau),
        }
    }

    /// **For tests and simulation only: whoever knows τ forges any proof.** Commits and opens in well below
    /// a millisecond by computing with τ itself; verifying is the real thing.
    ///
    /// # Panics
    /// For τ = 0, which no verifier can pair with.
    #[cfg(any(test, feature = "test-setup"))]
    pub fn insecure_from_tau(tau: crate::Scalar) -> Self {
        Self {
            engine: Engine::detected(),
            basis: Basis::KnownSecret { lagrange_at_tau: crate::domain::Domain::get().lagrange_at(tau.0) },
            one_g2: PreparedG2::generator(),
            tau_g2: PreparedG2::generator_times(&tau.to_le_bytes()).expect("τ is not zero"),
        }
    }

    /// The commitment of one blob: at most [`BLOB_LEN`] bytes, padded with zeros. 15 to 35 ms with the
    /// table, 4 to 7 with AVX-512 IFMA.
    ///
    /// ```no_run
    /// use holdfast_kzg::Setup;
    /// let commitment = Setup::ethereum().commit(b"a short blob")?;
    /// # Ok::<(), holdfast_kzg::PackError>(())
    /// ```
    pub fn commit(&self, blob: &[u8]) -> Result<Commitment, PackError> {
        if blob.len() > BLOB_LEN {
            return Err(PackError::TooLong { got: blob.len() });
        }
        let scalars: Vec<Limbs> = accumulate::elements(blob).collect();
        Ok(Commitment(self.sum_of_products(&scalars).compress()))
    }

    /// Computes now what the first commitments would otherwise wait for.
    pub fn prepare(&self) {
        match &self.basis {
            Basis::Ceremony { points, table, .. } => {
                table.get_or_init(|| FixedBase::new(self.engine, points.get_or_init(decompress)));
            }
            #[cfg(any(test, feature = "test-setup"))]
            Basis::KnownSecret { .. } => {}
        }
    }

    /// [Σ scalar_i · L_i(τ)]₁; missing scalars count as zero, the others are below the field's order.
    pub(crate) fn sum_of_products(&self, scalars: &[Limbs]) -> Affine {
        match &self.basis {
            Basis::Ceremony { points, table, sums } => {
                let points = points.get_or_init(decompress);
                // Rent until buying would have been cheaper: a process that proves twice needs no table.
                if table.get().is_none() && sums.fetch_add(1, Ordering::Relaxed) < SUMS_BEFORE_TABLE {
                    let bytes: Vec<u8> = scalars.iter().flatten().flat_map(|limb| limb.to_le_bytes()).collect();
                    return blst::sum_of_products(&points[..scalars.len()], &bytes, 255).to_affine();
                }
                table.get_or_init(|| FixedBase::new(self.engine, points)).sum_of_products(scalars)
            }
            #[cfg(any(test, feature = "test-setup"))]
            Basis::KnownSecret { lagrange_at_tau } => {
                let values: Vec<_> =
                    scalars.iter().map(|limbs| ark_bls12_381::Fr::from(ark_ff::BigInt::new(*limbs))).collect();
                let value = crate::domain::inner_product(&values, lagrange_at_tau);
                blst::Point::from(&Affine::generator()).times(&crate::Scalar(value).to_le_bytes()).to_affine()
            }
        }
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.basis {
            Basis::Ceremony { .. } => "Setup(ethereum)",
            #[cfg(any(test, feature = "test-setup"))]
            Basis::KnownSecret { .. } => "Setup(INSECURE: known secret)",
        })
    }
}

/// The subgroup needs no check here: the digest names the very bytes, and a test checks them.
fn decompress() -> Vec<Affine> {
    let (points, _) = ETHEREUM[..ELEMENTS_PER_BLOB * POINT_LEN].as_chunks::<POINT_LEN>();
    let point = |bytes| Affine::uncompress(bytes).expect("the pinned file holds points of the curve");
    points.iter().map(point).collect()
}

fn pinned_g2(bytes: &[u8]) -> PreparedG2 {
    bytes.try_into().ok().and_then(PreparedG2::uncompress).expect("the pinned file holds two points of G2")
}

#[cfg(test)]
mod tests {
    use ark_bls12_381::{Bls12_381, Fr, G1Affine, G1Projective, G2Affine};
    use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM, pairing::Pairing};
    use ark_ff::Zero;
    use ark_serialize::CanonicalDeserialize;

    use super::*;
    use crate::{Scalar, domain::Domain, slow};

    #[test]
    fn the_ceremonys_points_are_lagrange_polynomials_at_the_tau_of_its_g2() {
        let points: Vec<G1Affine> =
            ETHEREUM[..ELEMENTS_PER_BLOB * POINT_LEN].as_chunks().0.iter().map(slow::point).collect();
        let g2 = |at: usize| {
            let from = ELEMENTS_PER_BLOB * POINT_LEN + at * G2_LEN;
            G2Affine::deserialize_compressed(&ETHEREUM[from..from + G2_LEN]).unwrap()
        };
        assert_eq!(g2(0), G2Affine::generator());
        // Σ L_i = 1 and Σ ω_i L_i = X.
        let ones = vec![Fr::from(1u64); ELEMENTS_PER_BLOB];
        let one = <G1Projective as VariableBaseMSM>::msm_unchecked(&points, &ones);
        assert_eq!(one.into_affine(), G1Affine::generator());
        let roots: Vec<Fr> = (0..ELEMENTS_PER_BLOB).map(|i| Domain::get().root(i)).collect();
        let tau = <G1Projective as VariableBaseMSM>::msm_unchecked(&points, &roots);
        assert_eq!(Bls12_381::pairing(tau, g2(0)), Bls12_381::pairing(G1Affine::generator(), g2(1)));
    }

    #[test]
    fn with_and_without_the_table_sums_are_the_same() {
        let points = decompress();
        let bytes: Vec<[u8; 48]> = points.iter().map(Affine::compress).collect();
        let scalars: Vec<Fr> = (0..ELEMENTS_PER_BLOB as u64).map(|i| -Fr::from(i * i * 1000 + i % 3)).collect();
        let limbs: Vec<Limbs> = scalars.iter().map(accumulate::limbs).collect();
        for engine in Engine::all() {
            let fresh = Setup::with(engine);
            let rented = fresh.sum_of_products(&limbs);
            assert!(matches!(&fresh.basis, Basis::Ceremony { table, .. } if table.get().is_none()));
            fresh.prepare();
            assert_eq!(fresh.sum_of_products(&limbs), rented);
            let some = fresh.sum_of_products(&limbs[..100]).compress();
            assert_eq!(some, slow::sum_of_products(&bytes[..100], &scalars[..100]));
            assert_eq!(rented.compress(), slow::sum_of_products(&bytes, &scalars));
        }
    }

    #[test]
    fn a_known_secret_gives_the_commitment_of_its_value() {
        let tau = Scalar::from(1_234_567);
        let setup = Setup::insecure_from_tau(tau);
        let blob = b"twenty-nine bytes of a blob..".repeat(40);
        let value = slow::evaluate(&slow::elements(&blob), tau);
        assert_eq!(setup.commit(&blob).unwrap().0, slow::compress(G1Affine::generator() * value.0));
        assert_eq!(setup.commit(&[]).unwrap().0, slow::compress(G1Projective::zero()));
    }

    #[test]
    fn more_bytes_than_a_blob_are_refused() {
        let setup = Setup::insecure_from_tau(Scalar::from(5));
        assert_eq!(setup.commit(&vec![0; BLOB_LEN + 1]), Err(PackError::TooLong { got: BLOB_LEN + 1 }));
    }
}
