//! Polynomials by their values: the 4096 roots of unity in EIP-4844's order, a value anywhere, a quotient.
//!
//! A polynomial of degree < 4096 is the list of its values at the roots, root `i` being ω to the power of
//! `i` with its 12 bits reversed. Formulas: EIP-4844 consensus specs, `evaluate_polynomial_in_evaluation_form`,
//! `compute_kzg_proof_impl` and `compute_quotient_eval_within_domain`.

use std::sync::OnceLock;

use ark_bls12_381::Fr;
use ark_ff::{Field, Zero, batch_inversion};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};

use crate::ELEMENTS_PER_BLOB;

/// The roots and what every evaluation needs of them.
pub(crate) struct Domain {
    domain: Radix2EvaluationDomain<Fr>,
    roots: Vec<Fr>,
    /// 1/ω of every other root: of each pair ω, −ω of neighbours.
    inverses: Vec<Fr>,
}

/// Position `index` with its 12 bits in the opposite order.
pub(crate) const fn reversed(index: usize) -> usize {
    index.reverse_bits() >> (usize::BITS - ELEMENTS_PER_BLOB.trailing_zeros())
}

impl Domain {
    /// The one domain of this crate, computed at first use.
    pub(crate) fn get() -> &'static Self {
        static DOMAIN: OnceLock<Domain> = OnceLock::new();
        DOMAIN.get_or_init(|| {
            let Some(domain) = Radix2EvaluationDomain::new(ELEMENTS_PER_BLOB) else {
                unreachable!("the field's order minus one is a multiple of 2^32")
            };
            let roots: Vec<Fr> = (0..ELEMENTS_PER_BLOB).map(|index| domain.element(reversed(index))).collect();
            let mut inverses: Vec<Fr> = roots.iter().step_by(2).copied().collect();
            batch_inversion(&mut inverses);
            Self { domain, roots, inverses }
        })
    }

    /// The Lagrange polynomials' values at `z`: P(z) = Σ values[i] · result[i].
    #[cfg(any(test, feature = "test-setup"))]
    pub(crate) fn lagrange_at(&self, z: Fr) -> Vec<Fr> {
        let natural = self.domain.evaluate_all_lagrange_coefficients(z);
        (0..ELEMENTS_PER_BLOB).map(|index| natural[reversed(index)]).collect()
    }

    /// Root `index`, in the blob's order.
    #[cfg(test)]
    pub(crate) fn root(&self, index: usize) -> Fr {
        self.roots[index]
    }

    /// 1/ω of root `index`, in the blob's order.
    pub(crate) fn inverse_of_root(&self, index: usize) -> Fr {
        // The inverse of ω to a power is ω to what is missing of the circle.
        self.domain.element((ELEMENTS_PER_BLOB - reversed(index)) % ELEMENTS_PER_BLOB)
    }

    /// P(z) by the values of P at the roots; or at as many as are a power of two, of which P has the degree: the first
    /// roots of the list are those of a smaller circle.
    ///
    /// By halves, as a Fourier transform goes: P(z) = E(z²) + z·O(z²), and the values of E and O at ω² are
    /// (P(ω) + P(−ω))/2 and (P(ω) − P(−ω))/2ω. In this order ω and −ω are neighbours, and the squares of the roots are
    /// the first half of the list. Two products a pair, no inversion, and a root is a point like any other.
    pub(crate) fn evaluate(&self, values: Vec<Fr>, mut z: Fr) -> Fr {
        let mut folded = values;
        let count = folded.len();
        let mut len = count;
        while len > 1 {
            len /= 2;
            for at in 0..len {
                let (value, opposite) = (folded[2 * at], folded[2 * at + 1]);
                folded[at] = value + opposite + (value - opposite) * self.inverses[at] * z;
            }
            z.square_in_place();
        }
        // The halves that were left out, all at once.
        folded[0] * self.domain.size_inv * Fr::from((ELEMENTS_PER_BLOB / count) as u64)
    }

    /// y = P(z), and (P − y) / (X − z) by its values.
    pub(crate) fn divide(&self, values: &[Fr], z: Fr) -> (Fr, Vec<Fr>) {
        let mut inverses: Vec<Fr> = self.roots.iter().map(|root| *root - z).collect();
        let at_root = inverses.iter().position(Zero::is_zero);
        // Leaves a zero as it is.
        batch_inversion(&mut inverses);
        if let Some(at) = at_root {
            return (values[at], self.quotient_at_root(values, &inverses, at));
        }
        // P(z) = (z^n − 1)/n · Σ p_i ω_i / (z − ω_i); the inverses here are of ω_i − z.
        let sum: Fr =
            values.iter().zip(&inverses).zip(&self.roots).map(|((p, inverse), root)| *p * inverse * root).sum();
        let y = -sum * self.domain.evaluate_vanishing_polynomial(z) * self.domain.size_inv;
        let quotient = values.iter().zip(&inverses).map(|(p, inverse)| (*p - y) * inverse).collect();
        (y, quotient)
    }

    /// The quotient where z is root `at` itself, so that its value there would be 0/0:
    /// q_at = Σ_{i ≠ at} (p_i − y) ω_i / (z (z − ω_i)).
    fn quotient_at_root(&self, values: &[Fr], inverses: &[Fr], at: usize) -> Vec<Fr> {
        let y = values[at];
        let mut quotient: Vec<Fr> = values.iter().zip(inverses).map(|(p, inverse)| (*p - y) * inverse).collect();
        let sum: Fr = quotient.iter().zip(&self.roots).map(|(q, root)| *q * root).sum();
        // 1/z is the root itself, reversed on the circle; z is never zero.
        let Some(inverse) = self.roots[at].inverse() else { unreachable!("a root of unity is not zero") };
        quotient[at] = -sum * inverse;
        quotient
    }
}

#[cfg(any(test, feature = "test-setup"))]
pub(crate) fn inner_product(a: &[Fr], b: &[Fr]) -> Fr {
    a.iter().zip(b).map(|(a, b)| *a * b).sum()
}

#[cfg(test)]
mod tests {
    use ark_ff::One;
    use ark_poly::{
        DenseUVPolynomial, Polynomial,
        univariate::{DenseOrSparsePolynomial, DensePolynomial},
    };

    use super::*;
    use crate::slow;

    #[test]
    fn value_and_quotient_are_those_of_long_division_also_at_a_root() {
        let domain = Domain::get();
        let values: Vec<Fr> = (0..ELEMENTS_PER_BLOB as u64).map(|i| Fr::from(i * i * i + 7)).collect();
        let polynomial = slow::interpolate(&values);
        for z in [Fr::from(123_456_789u64), domain.roots[0], domain.roots[77], domain.roots[4095], Fr::zero()] {
            let (y, quotient) = domain.divide(&values, z);
            assert_eq!(y, polynomial.evaluate(&z));
            assert_eq!(y, domain.evaluate(values.clone(), z));
            let divisor = DensePolynomial::from_coefficients_vec(vec![-z, Fr::one()]);
            let numerator = &polynomial - &DensePolynomial::from_coefficients_vec(vec![y]);
            let (expected, rest) = DenseOrSparsePolynomial::from(numerator)
                .divide_with_q_and_r(&DenseOrSparsePolynomial::from(divisor))
                .unwrap();
            assert!(rest.is_zero());
            assert_eq!(slow::interpolate(&quotient), expected);
        }
    }
}
