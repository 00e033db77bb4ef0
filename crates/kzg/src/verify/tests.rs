//! What a verifier must let pass, and each way to lie to it.

use ark_ff::{BigInteger, PrimeField};

use super::*;
use crate::{Commitment, Fold, Proof, slow};

const ENTROPY: [u8; 32] = [0x5a; 32];

/// One node's share of a round: its blobs, the commitments to them, its answer.
struct Answer {
    terms: Vec<(Gamma, CheckedCommitment)>,
    z: Scalar,
    opening: Opening,
}

impl Answer {
    fn terms(&self) -> Vec<(Gamma, &CheckedCommitment)> {
        self.terms.iter().map(|(gamma, commitment)| (*gamma, commitment)).collect()
    }

    /// Moves y by this much.
    fn shift(&mut self, by: i64) {
        let y = self.opening.value().unwrap().0;
        let by = if by < 0 { -Fr::from(by.unsigned_abs()) } else { Fr::from(by as u64) };
        self.opening.y = Scalar(y + by).to_bytes();
    }
}

fn setup() -> Setup {
    Setup::insecure_from_tau(Scalar::from_wide(&[0x33; 64]))
}

fn answer(setup: &Setup, seed: u8, blobs: usize) -> Answer {
    let (mut fold, mut terms) = (Fold::new(), vec![]);
    let mut stream = blake3::Hasher::new().update(&[seed]).finalize_xof();
    for at in 0..blobs {
        let mut bytes = [0; 16];
        stream.fill(&mut bytes);
        let gamma = Gamma(u128::from_le_bytes(bytes));
        let mut blob = vec![0; if at % 3 == 0 { 300 } else { 5000 }];
        stream.fill(&mut blob);
        fold.absorb(gamma, 0, &blob).unwrap();
        terms.push((gamma, CheckedCommitment::parse(&setup.commit(&blob).unwrap()).unwrap()));
    }
    let mut wide = [0; 64];
    stream.fill(&mut wide);
    let z = Scalar::from_wide(&wide);
    Answer { terms, z, opening: fold.open(setup, z) }
}

fn judge(setup: &Setup, answers: &[Answer]) -> Vec<Verdict> {
    let terms: Vec<_> = answers.iter().map(Answer::terms).collect();
    let claims: Vec<_> = answers
        .iter()
        .zip(&terms)
        .map(|(answer, terms)| FoldClaim { terms, z: answer.z, opening: answer.opening })
        .collect();
    let batch = verify_batch(setup, &claims, ENTROPY);
    let single: Vec<Verdict> = claims.iter().map(|claim| verify(setup, claim)).collect();
    assert_eq!(batch.0, single, "a batch finds what single verification finds");
    assert_eq!(batch.all_hold(), single.iter().all(|verdict| *verdict == Verdict::Holds));
    batch.0
}

#[test]
fn true_answers_hold_whatever_their_size() {
    let setup = setup();
    let answers: Vec<Answer> = [0, 1, 2, 3, 31, 32, 33, 64].iter().map(|n| answer(&setup, *n as u8, *n)).collect();
    assert_eq!(judge(&setup, &answers), [Verdict::Holds; 8]);
    assert!(judge(&setup, &[]).is_empty());
}

#[test]
fn a_claim_above_the_merge_bound_is_judged_alike() {
    let setup = setup();
    let one = answer(&setup, 1, 1);
    // The same blob under many γ: P is (Σ γ) p, so is the opening.
    let count = MERGED_TERMS_MAX as u64 + 1;
    let terms: Vec<_> = (1..=count).map(|gamma| (Gamma(u128::from(gamma)), one.terms[0].1)).collect();
    let mut stream = blake3::Hasher::new().update(&[1]).finalize_xof();
    let (mut skipped, mut blob) = ([0; 16], vec![0; 300]);
    stream.fill(&mut skipped);
    stream.fill(&mut blob);
    let mut fold = Fold::new();
    fold.absorb(Gamma(u128::from(count * (count + 1) / 2)), 0, &blob).unwrap();
    let mut long = Answer { terms, z: one.z, opening: fold.open(&setup, one.z) };
    assert_eq!(judge(&setup, &[one, answer(&setup, 2, 5)]), [Verdict::Holds; 2]);
    let others = || answer(&setup, 2, 5);
    long.shift(0);
    let answers = [others(), long];
    assert_eq!(judge(&setup, &answers), [Verdict::Holds; 2]);
    let [first, mut long] = answers;
    long.shift(1);
    assert_eq!(judge(&setup, &[first, long]), [Verdict::Holds, Verdict::Wrong]);
}

#[test]
fn the_false_ones_are_named_wherever_they_stand() {
    let setup = setup();
    for wrong in [vec![0], vec![6], vec![3], vec![0, 1], vec![2, 5, 6], (0..7).collect()] {
        let mut answers: Vec<Answer> = (0..7).map(|seed| answer(&setup, seed, 2)).collect();
        for at in &wrong {
            answers[*at].shift(1);
        }
        let verdicts = judge(&setup, &answers);
        for (at, verdict) in verdicts.iter().enumerate() {
            assert_eq!(*verdict == Verdict::Wrong, wrong.contains(&at), "{at} of {wrong:?}");
        }
    }
}

/// A sum that came out wrong on our side, by a flipped bit say, while every answer was true.
#[test]
fn nobody_is_blamed_for_a_sum_of_ours_that_fails() {
    let setup = setup();
    for count in [1, 2, ONE_BY_ONE_MAX, 3 * ONE_BY_ONE_MAX] {
        let answers: Vec<Answer> = (0..count).map(|seed| answer(&setup, seed as u8, 1)).collect();
        let sides = |answer: &Answer| {
            let terms = answer.terms();
            let claim = FoldClaim { terms: &terms, z: answer.z, opening: answer.opening };
            Parsed::new(&claim).map(|parsed| parsed.sides(setup.engine)).unwrap()
        };
        let sides: Vec<Sides> = answers.iter().map(sides).collect();
        let mut wrong = Vec::new();
        bisect(&setup, &sides, &vec![3; count], 0, &mut wrong);
        assert_eq!(wrong, [0; 0], "of {count} claims");
    }
}

#[test]
fn a_changed_byte_a_stale_answer_and_anothers_answer_are_false() {
    let setup = setup();
    let true_answers = || [answer(&setup, 1, 3), answer(&setup, 2, 3)];
    // Each with the other's proof, or the other's whole answer, or at the other's point.
    let [mut a, mut b] = true_answers();
    std::mem::swap(&mut a.opening.proof, &mut b.opening.proof);
    assert_eq!(judge(&setup, &[a, b]), [Verdict::Wrong; 2]);
    let [mut a, mut b] = true_answers();
    std::mem::swap(&mut a.opening, &mut b.opening);
    assert_eq!(judge(&setup, &[a, b]), [Verdict::Wrong; 2]);
    let [mut a, b] = true_answers();
    a.z = b.z;
    assert_eq!(judge(&setup, &[a, b]), [Verdict::Wrong, Verdict::Holds]);
    // A blob left out, a γ exchanged, a commitment exchanged.
    let [mut a, mut b] = true_answers();
    a.terms.pop();
    (b.terms[0].0, b.terms[1].0) = (b.terms[1].0, b.terms[0].0);
    assert_eq!(judge(&setup, &[a, b]), [Verdict::Wrong; 2]);
    let [mut a, b] = true_answers();
    a.terms[2].1 = b.terms[2].1;
    assert_eq!(judge(&setup, &[a, b]), [Verdict::Wrong, Verdict::Holds]);
}

#[test]
fn the_order_of_terms_does_not_matter() {
    let setup = setup();
    let mut one = answer(&setup, 4, 5);
    one.terms.reverse();
    assert_eq!(judge(&setup, &[one]), [Verdict::Holds]);
}

/// The attack: two nodes in league answer y + δ and y' − δ. Under equal coefficients, or any that they know,
/// the errors cancel and both pass.
#[test]
fn errors_that_cancel_under_equal_coefficients_are_still_found() {
    let setup = setup();
    let mut answers = [answer(&setup, 1, 2), answer(&setup, 2, 2), answer(&setup, 3, 2)];
    answers[0].shift(77);
    answers[2].shift(-77);
    let terms: Vec<_> = answers.iter().map(Answer::terms).collect();
    let parsed: Vec<Parsed<'_>> = answers
        .iter()
        .zip(&terms)
        .map(|(answer, terms)| Parsed::new(&FoldClaim { terms, z: answer.z, opening: answer.opening }).unwrap())
        .collect();
    assert!(combined(setup.engine, &parsed, &[1, 1, 1]).cancel(&setup), "the attack is real");
    assert!(!combined(setup.engine, &parsed, &[1, 1, 2]).cancel(&setup));
    assert_eq!(judge(&setup, &answers), [Verdict::Wrong, Verdict::Holds, Verdict::Wrong]);
}

#[test]
fn swapped_answers_of_one_challenge_are_both_false() {
    let setup = setup();
    let (mut a, mut b) = (answer(&setup, 1, 2), answer(&setup, 2, 2));
    b.z = a.z;
    // Both open at a's point; b must answer anew.
    let mut stream = blake3::Hasher::new().update(&[2]).finalize_xof();
    let mut fold = Fold::new();
    for (at, len) in [300, 5000].into_iter().enumerate() {
        let mut skipped = [0; 16];
        stream.fill(&mut skipped);
        let mut blob = vec![0; len];
        stream.fill(&mut blob);
        fold.absorb(b.terms[at].0, 0, &blob).unwrap();
    }
    b.opening = fold.open(&setup, b.z);
    std::mem::swap(&mut a.opening, &mut b.opening);
    let (a_terms, b_terms) = (a.terms(), b.terms());
    let parsed = [(&a, &a_terms), (&b, &b_terms)]
        .map(|(answer, terms)| Parsed::new(&FoldClaim { terms, z: answer.z, opening: answer.opening }).unwrap());
    assert!(combined(setup.engine, &parsed, &[1, 1]).cancel(&setup), "equal coefficients would not notice");
    assert_eq!(judge(&setup, &[a, b]), [Verdict::Wrong; 2]);
}

#[test]
fn other_entropy_or_other_answers_give_other_coefficients() {
    let setup = setup();
    let answers = [answer(&setup, 1, 1), answer(&setup, 2, 1)];
    let claim = |at: usize| FoldClaim { terms: &[], z: answers[at].z, opening: answers[at].opening };
    let drawn = coefficients(&[claim(0), claim(1)], ENTROPY, 2);
    assert_eq!(drawn, coefficients(&[claim(0), claim(1)], ENTROPY, 2));
    assert_ne!(drawn[0], drawn[1]);
    assert!(drawn.iter().all(|coefficient| *coefficient >> 100 != 0));
    assert_ne!(drawn, coefficients(&[claim(0), claim(1)], [0; 32], 2));
    assert_ne!(drawn, coefficients(&[claim(1), claim(0)], ENTROPY, 2));
}

#[test]
fn bytes_that_are_no_answer_are_told_apart_and_spoil_nobody_elses() {
    let setup = setup();
    let mut order = [0; 32];
    order.copy_from_slice(&Fr::MODULUS.to_bytes_be());
    let mut outside = [0; 48];
    outside[0] = 0x80;
    let proof_error = |bytes: [u8; 48]| {
        let mut one = answer(&setup, 1, 2);
        one.opening.proof = Proof(bytes);
        let verdicts = judge(&setup, &[answer(&setup, 2, 2), one, answer(&setup, 3, 2)]);
        assert_eq!([verdicts[0], verdicts[2]], [Verdict::Holds; 2]);
        verdicts[1]
    };
    let mut off_curve = outside;
    off_curve[47] = 1;
    let malformed = |error| Verdict::Malformed(Malformed::Proof(error));
    assert_eq!(proof_error([0; 48]), malformed(PointError::Encoding));
    assert_eq!(proof_error(off_curve), malformed(PointError::NotOnCurve));
    assert_eq!(proof_error(outside), malformed(PointError::NotInSubgroup));
    for y in [order, [0xff; 32]] {
        let mut one = answer(&setup, 1, 2);
        one.opening.y = y;
        let expected = Verdict::Malformed(Malformed::Value(ScalarError::NotCanonical));
        assert_eq!(judge(&setup, &[one, answer(&setup, 2, 1)]), [expected, Verdict::Holds]);
    }
}

/// The attack: y + order is the same number to a careless verifier, and a second signed answer.
#[test]
fn a_true_y_in_another_form_is_refused() {
    let setup = setup();
    let mut one = answer(&setup, 0, 0);
    assert_eq!(one.opening.y, [0; 32]);
    one.opening.y.copy_from_slice(&Fr::MODULUS.to_bytes_be());
    assert_eq!(judge(&setup, &[one]), [Verdict::Malformed(Malformed::Value(ScalarError::NotCanonical))]);
}

#[test]
fn zero_blobs_commit_to_infinity_and_open_to_zero() {
    let setup = setup();
    let zero = setup.commit(&[0; 31]).unwrap();
    assert_eq!(zero.0[0], 0xc0);
    let commitment = CheckedCommitment::parse(&zero).unwrap();
    let opening = Fold::new().open(&setup, Scalar::from(9));
    assert_eq!(opening, Opening { y: [0; 32], proof: Proof(zero.0) });
    let claim = FoldClaim { terms: &[(Gamma(5), &commitment); 2], z: Scalar::from(9), opening };
    assert_eq!(verify(&setup, &claim), Verdict::Holds);
    let true_one = answer(&setup, 7, 3);
    let mut terms = true_one.terms();
    terms.insert(1, (Gamma(u128::MAX), &commitment));
    let claims = [claim, FoldClaim { terms: &terms, z: true_one.z, opening: true_one.opening }];
    assert_eq!(verify_batch(&setup, &claims, ENTROPY).0, [Verdict::Holds; 2]);
}

#[test]
fn opening_where_the_secret_is_holds_too() {
    // z = τ makes τ − z zero: e(π, 0) must equal e(P − y, 1) = 1.
    let tau = Scalar::from(4242);
    let setup = Setup::insecure_from_tau(tau);
    let mut fold = Fold::new();
    fold.absorb(Gamma(3), 0, b"any bytes").unwrap();
    let commitment = CheckedCommitment::parse(&setup.commit(b"any bytes").unwrap()).unwrap();
    let opening = fold.open(&setup, tau);
    let claim = FoldClaim { terms: &[(Gamma(3), &commitment)], z: tau, opening };
    assert_eq!(verify(&setup, &claim), Verdict::Holds);
}

#[test]
fn the_equation_is_the_textbooks() {
    use ark_bls12_381::{Bls12_381, G1Affine, G2Affine};
    use ark_ec::{AffineRepr, CurveGroup, pairing::Pairing};
    let tau = Scalar::from(31_337);
    let setup = Setup::insecure_from_tau(tau);
    let one = answer(&setup, 9, 3);
    let mut left = -(G1Affine::generator() * one.opening.value().unwrap().0);
    for (gamma, commitment) in &one.terms {
        left += slow::point(&commitment.commitment().0) * gamma.to_fr();
    }
    let right = G2Affine::generator() * (tau.0 - one.z.0);
    let proof = slow::point(&one.opening.proof.0);
    assert_eq!(
        Bls12_381::pairing(left.into_affine(), G2Affine::generator()),
        Bls12_381::pairing(proof, right.into_affine())
    );
    assert_eq!(judge(&setup, &[one]), [Verdict::Holds]);
}

#[test]
fn commitments_of_another_setup_do_not_verify() {
    let (ours, other) = (setup(), Setup::insecure_from_tau(Scalar::from(8)));
    let mut one = answer(&ours, 1, 2);
    one.terms[0].1 = CheckedCommitment::parse(&other.commit(b"x").unwrap()).unwrap();
    assert_eq!(judge(&ours, &[one]), [Verdict::Wrong]);
    assert_eq!(judge(&other, &[answer(&ours, 1, 2)]), [Verdict::Wrong]);
    let _: Commitment = other.commit(b"x").unwrap();
}
