//! The slow twin: the same answers by the textbook, with ark alone and none of our own shortcuts.

use ark_bls12_381::{Fr, G1Affine, G1Projective};
use ark_ec::{CurveGroup, VariableBaseMSM};
use ark_ff::{PrimeField, Zero};
use ark_poly::{EvaluationDomain, Polynomial, Radix2EvaluationDomain, univariate::DensePolynomial};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};

use crate::{BLOB_LEN, ELEMENT_LEN, ELEMENTS_PER_BLOB, Gamma, Scalar, domain::reversed};

/// A blob's elements, padded with zeros.
pub(crate) fn elements(blob: &[u8]) -> Vec<Fr> {
    let mut padded = blob.to_vec();
    padded.resize(BLOB_LEN, 0);
    padded.chunks(ELEMENT_LEN).map(Fr::from_be_bytes_mod_order).collect()
}

/// The coefficients of the polynomial with these values.
pub(crate) fn interpolate(values: &[Fr]) -> DensePolynomial<Fr> {
    let domain = Radix2EvaluationDomain::<Fr>::new(ELEMENTS_PER_BLOB).unwrap();
    let natural: Vec<Fr> = (0..values.len()).map(|i| values[reversed(i)]).collect();
    let mut coefficients = domain.ifft(&natural);
    while coefficients.last().is_some_and(Zero::is_zero) {
        coefficients.pop();
    }
    DensePolynomial { coeffs: coefficients }
}

/// Σ γ_i p_i, one full field multiplication an element.
pub(crate) fn fold(terms: &[(Gamma, Vec<u8>)]) -> Vec<Fr> {
    let mut sum = vec![Fr::zero(); ELEMENTS_PER_BLOB];
    for (gamma, blob) in terms {
        for (sum, element) in sum.iter_mut().zip(elements(blob)) {
            *sum += element * gamma.to_fr();
        }
    }
    sum
}

/// The value at z through the coefficients.
pub(crate) fn evaluate(values: &[Fr], z: Scalar) -> Scalar {
    Scalar(interpolate(values).evaluate(&z.0))
}

/// Σ scalar · point.
pub(crate) fn sum_of_products(points: &[[u8; 48]], scalars: &[Fr]) -> [u8; 48] {
    let points: Vec<G1Affine> = points.iter().map(point).collect();
    compress(<G1Projective as VariableBaseMSM>::msm_unchecked(&points, scalars))
}

/// A compressed point, all of ark's checks made.
pub(crate) fn point(bytes: &[u8; 48]) -> G1Affine {
    G1Affine::deserialize_compressed(&bytes[..]).unwrap()
}

/// ark's compressed form.
pub(crate) fn compress(point: G1Projective) -> [u8; 48] {
    let mut bytes = Vec::new();
    point.into_affine().serialize_compressed(&mut bytes).unwrap();
    bytes.try_into().unwrap()
}
