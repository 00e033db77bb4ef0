//! The auditor's side of a fold: one pairing equation a claim, or one for a whole round.
//!
//! A claim (γ_i, C_i, z, y, π) holds iff e(Σ γ_i C_i − y·[1]₁ + z·π, [1]₂) = e(π, [τ]₂): the equation of
//! EIP-4844's `verify_kzg_proof` with z moved to the left, so that both points of G2 are the setup's and prepared.
//!
//! A batch sums the equations of many claims under random 128-bit coefficients: two pairings in all. A false
//! claim passes with probability 2^-127, *if* nobody who answers could know the coefficients.

use ark_bls12_381::Fr;
use ark_ff::Zero;
use holdfast_types::Transcript;

use crate::{
    CheckedCommitment, Gamma, Opening, PointError, Scalar, ScalarError, Setup, accumulate,
    blst::{self, Affine},
    engine::Engine,
    msm::Terms,
    point,
};

/// Claims of more terms are summed on their own first, under their 128-bit γ. Shorter ones go into one sum
/// with the batch's coefficient multiplied in: 255 bits, but one long sum is cheaper a term than many short ones.
const MERGED_TERMS_MAX: usize = 512;

/// Among so few claims a false one is looked for one by one: where all lie, halves cost a check for every two claims.
const ONE_BY_ONE_MAX: usize = 8;

/// One answer to a fold.
#[derive(Clone, Copy, Debug)]
pub struct FoldClaim<'a> {
    /// γ and commitment of every blob folded; any order.
    pub terms: &'a [(Gamma, &'a CheckedCommitment)],
    /// Where the sum was opened.
    pub z: Scalar,
    /// What the peer answered.
    pub opening: Opening,
}

/// Which of the peer's bytes are not even of the right form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// y.
    Value(ScalarError),
    /// π.
    Proof(PointError),
}

/// What a claim is found to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// The claim holds.
    Holds,
    /// Well-formed, and false.
    Wrong,
    /// Bytes that are no answer.
    Malformed(Malformed),
}

/// One verdict a claim, in the claims' order.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct BatchVerdict(pub Vec<Verdict>);

impl BatchVerdict {
    /// Whether every claim holds.
    pub fn all_hold(&self) -> bool {
        self.0.iter().all(|verdict| *verdict == Verdict::Holds)
    }
}

/// Verifies one claim: a sum of 128-bit products and two pairings.
pub fn verify(setup: &Setup, claim: &FoldClaim<'_>) -> Verdict {
    match Parsed::new(claim) {
        Err(malformed) => Verdict::Malformed(malformed),
        Ok(parsed) if parsed.sides(setup.engine).cancel(setup) => Verdict::Holds,
        Ok(_) => Verdict::Wrong,
    }
}

/// Verifies all claims by two pairings, and where that fails finds out which are false.
///
/// `entropy` must come from the operating system, drawn **after** the last answer is in: whoever knows the
/// coefficients beforehand can make two wrong answers whose errors cancel. Never derive it from the seed.
pub fn verify_batch(setup: &Setup, claims: &[FoldClaim<'_>], entropy: [u8; 32]) -> BatchVerdict {
    let mut verdicts = Vec::with_capacity(claims.len());
    let (mut parsed, mut places) = (Vec::new(), Vec::new());
    for (place, claim) in claims.iter().enumerate() {
        verdicts.push(match Parsed::new(claim) {
            Err(malformed) => Verdict::Malformed(malformed),
            Ok(claim) => {
                parsed.push(claim);
                places.push(place);
                // Until shown otherwise, below.
                Verdict::Holds
            }
        });
    }
    let coefficients = coefficients(claims, entropy, parsed.len());
    if !combined(setup.engine, &parsed, &coefficients).cancel(setup) {
        // Each claim's own sums once, as verifying them one by one takes, then only cheap sums of pairs of points.
        let sides: Vec<Sides> = parsed.iter().map(|claim| claim.sides(setup.engine)).collect();
        let mut wrong = Vec::new();
        bisect(setup, &sides, &coefficients, 0, &mut wrong);
        for index in wrong {
            verdicts[places[index]] = Verdict::Wrong;
        }
    }
    BatchVerdict(verdicts)
}

/// A claim whose peer's bytes are well-formed.
struct Parsed<'a> {
    terms: &'a [(Gamma, &'a CheckedCommitment)],
    z: Fr,
    y: Fr,
    proof: Affine,
}

impl<'a> Parsed<'a> {
    fn new(claim: &FoldClaim<'a>) -> Result<Self, Malformed> {
        let y = claim.opening.value().map_err(Malformed::Value)?;
        // Every π on its own: errors outside the subgroup could cancel in a sum.
        let proof = point::parse(&claim.opening.proof.0).map_err(Malformed::Proof)?;
        Ok(Self { terms: claim.terms, z: claim.z.0, y: y.0, proof })
    }

    /// Σ γ_i C_i.
    fn commitment(&self) -> Terms {
        let mut terms = Terms::default();
        for (gamma, commitment) in self.terms {
            terms.push_short(commitment.0, gamma.0);
        }
        terms
    }

    fn sides(&self, engine: Engine) -> Sides {
        let mut terms = self.commitment();
        terms.push(self.proof, &accumulate::limbs(&self.z));
        terms.push(Affine::generator(), &accumulate::limbs(&-self.y));
        Sides { left: terms.sum(engine).to_affine(), right: self.proof }
    }
}

/// The two points that are paired: the claim holds iff e(left, [1]₂) = e(right, [τ]₂).
#[derive(Clone, Copy)]
struct Sides {
    left: Affine,
    right: Affine,
}

impl Sides {
    fn cancel(&self, setup: &Setup) -> bool {
        let negated = Affine { x: self.right.x, y: self.right.y.negated_if(true) };
        blst::pairings_cancel(&self.left, &setup.one_g2, &negated, &setup.tau_g2)
    }
}

/// One coefficient a claim: 128 bits, never zero, or that claim would count for nothing.
fn coefficients(claims: &[FoldClaim<'_>], entropy: [u8; 32], count: usize) -> Vec<u128> {
    let mut transcript = Transcript::new("holdfast 2026 batch verification v1").absorb("entropy", &entropy);
    // The answers too: should the entropy ever be drawn too early, they still had to be fixed first.
    for claim in claims {
        transcript.push("opening", &claim.opening.to_bytes());
    }
    let mut stream = transcript.stream();
    let draw = || {
        let mut bytes = [0; 16];
        stream.fill(&mut bytes);
        u128::from_le_bytes(bytes).max(1)
    };
    std::iter::repeat_with(draw).take(count).collect()
}

/// The random combination of all claims.
fn combined(engine: Engine, claims: &[Parsed<'_>], coefficients: &[u128]) -> Sides {
    let mut left = Terms::default();
    let mut value = Fr::zero();
    for (claim, coefficient) in claims.iter().zip(coefficients) {
        if claim.terms.len() > MERGED_TERMS_MAX {
            left.push_short(claim.commitment().sum(engine).to_affine(), *coefficient);
        } else {
            let coefficient = Fr::from(*coefficient);
            for (gamma, commitment) in claim.terms {
                left.push(commitment.0, &accumulate::limbs(&(gamma.to_fr() * coefficient)));
            }
        }
        let coefficient = Fr::from(*coefficient);
        left.push(claim.proof, &accumulate::limbs(&(claim.z * coefficient)));
        value += claim.y * coefficient;
    }
    left.push(Affine::generator(), &accumulate::limbs(&-value));
    let right = short_sum(engine, claims.iter().map(|claim| claim.proof), coefficients);
    Sides { left: left.sum(engine).to_affine(), right }
}

fn short_sum(engine: Engine, points: impl Iterator<Item = Affine>, coefficients: &[u128]) -> Affine {
    let mut terms = Terms::default();
    for (point, coefficient) in points.zip(coefficients) {
        terms.push_short(point, *coefficient);
    }
    terms.sum(engine).to_affine()
}

/// Finds the false ones among claims of which one is thought to be false; `first` is the index of the first. Nobody is
/// blamed because others are not: each of those named was found to be false by itself.
fn bisect(setup: &Setup, sides: &[Sides], coefficients: &[u128], first: usize, wrong: &mut Vec<usize>) {
    if sides.len() <= ONE_BY_ONE_MAX {
        wrong.extend((first..).zip(sides).filter(|(_, sides)| !sides.cancel(setup)).map(|(at, _)| at));
        return;
    }
    let (near, far) = sides.split_at(sides.len() / 2);
    let (near_coefficients, far_coefficients) = coefficients.split_at(near.len());
    if holds(setup, near, near_coefficients) {
        // The whole is the sum of its halves, so if it fails it does so in the other half.
        return bisect(setup, far, far_coefficients, first + near.len(), wrong);
    }
    bisect(setup, near, near_coefficients, first, wrong);
    if !holds(setup, far, far_coefficients) {
        bisect(setup, far, far_coefficients, first + near.len(), wrong);
    }
}

fn holds(setup: &Setup, sides: &[Sides], coefficients: &[u128]) -> bool {
    let left = short_sum(setup.engine, sides.iter().map(|sides| sides.left), coefficients);
    let right = short_sum(setup.engine, sides.iter().map(|sides| sides.right), coefficients);
    Sides { left, right }.cancel(setup)
}

#[cfg(test)]
mod tests;
