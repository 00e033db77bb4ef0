//! Folds, commitments, openings and their verification, beside blst and c-kzg.

use std::{hint::black_box, sync::OnceLock, thread};

use blst::blst_p1_affine;
use holdfast_kzg::{
    BLOB_LEN, CheckedCommitment, Commitment, Fold, FoldClaim, Gamma, Opening, Proof, Scalar, Setup, Verdict, pack,
    verify, verify_batch,
};

use crate::{
    Contest,
    noise::{gamma, noise},
    rented::{self, Ceremony, Fr, Terms},
    timed,
};

/// Blobs of the fold from memory: 65 MB, more than a level-3 cache holds.
const FOLD_BLOBS: usize = 512;
/// Blobs behind an answer that is verified.
const VERIFY_BLOBS: usize = 64;
/// Answers of a batch.
const ANSWERS: usize = 256;
/// Where openings are made.
const POINT: u64 = 0x0123_4567_89ab_cdef;

fn ours(bytes: &[u8], gammas: &[u128]) -> Fold {
    let mut fold = Fold::new();
    for (blob, gamma) in bytes.chunks(BLOB_LEN).zip(gammas) {
        fold.absorb(Gamma(*gamma), 0, blob).expect("whole blobs");
    }
    fold
}

fn prepared() -> &'static Setup {
    let setup = Setup::ethereum();
    setup.prepare();
    setup
}

/// Σ γ_i p_i over blobs in memory.
pub struct FoldContest {
    bytes: Vec<u8>,
    gammas: Vec<u128>,
}

impl FoldContest {
    /// Asserts that the sums open to the same value.
    #[expect(clippy::new_without_default, reason = "it does work and asserts")]
    pub fn new() -> Self {
        let bytes = noise(FOLD_BLOBS * BLOB_LEN, 9);
        let gammas: Vec<u128> = (0..FOLD_BLOBS as u64).map(gamma).collect();
        let sums = rented::fold(&bytes, &gammas);
        let (y, _) = Ceremony::load().open(&sums, Fr::from_u128(POINT.into()));
        assert_eq!(ours(&bytes, &gammas).evaluate(Scalar::from(POINT)).to_bytes(), y, "both folds are one polynomial");
        Self { bytes, gammas }
    }
}

impl Contest for FoldContest {
    fn work(&self) -> String {
        format!("fold of {FOLD_BLOBS} blobs ({} MB) from memory, from packed bytes", self.bytes.len() / 1_000_000)
    }

    fn peer_name(&self) -> Option<String> {
        Some("blst_fr: one blst_fr_mul and one blst_fr_add an element".into())
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }

    fn ours(&mut self) -> f64 {
        timed(|| ours(black_box(&self.bytes), &self.gammas))
    }

    fn peer(&mut self) -> f64 {
        timed(|| rented::fold(black_box(&self.bytes), &self.gammas))
    }
}

/// The commitment of one blob.
pub struct CommitContest {
    blob: Vec<u8>,
    expanded: c_kzg::Blob,
    setup: &'static Setup,
    peer: &'static c_kzg::KzgSettings,
}

impl CommitContest {
    /// Asserts that the commitments are the same 48 bytes.
    #[expect(clippy::new_without_default, reason = "it does work and asserts")]
    pub fn new() -> Self {
        let blob = noise(BLOB_LEN, 7);
        let expanded = c_kzg::Blob::from_bytes(&pack(&blob).expect("a blob")[..]).expect("a blob");
        let (setup, peer) = (prepared(), c_kzg::ethereum_kzg_settings(0));
        let theirs = peer.blob_to_kzg_commitment(&expanded).expect("a commitment").to_bytes().into_inner();
        assert_eq!(setup.commit(&blob).expect("a blob").0, theirs, "both commit to the same");
        Self { blob, expanded, setup, peer }
    }
}

impl Contest for CommitContest {
    fn work(&self) -> String {
        format!("KZG commitment of a blob of {BLOB_LEN} bytes")
    }

    fn peer_name(&self) -> Option<String> {
        Some("c-kzg blob_to_kzg_commitment".into())
    }

    fn bytes(&self) -> Option<u64> {
        Some(BLOB_LEN as u64)
    }

    fn ours(&mut self) -> f64 {
        timed(|| self.setup.commit(black_box(&self.blob)))
    }

    fn peer(&mut self) -> f64 {
        timed(|| self.peer.blob_to_kzg_commitment(black_box(&self.expanded)))
    }
}

/// A node's whole answer: fold, value, quotient, proof.
pub struct ProveContest {
    bytes: Vec<u8>,
    gammas: Vec<u128>,
    setup: &'static Setup,
    peer: Ceremony,
}

impl ProveContest {
    /// Asserts that value and proof are the same 80 bytes.
    #[expect(clippy::new_without_default, reason = "it does work and asserts")]
    pub fn new() -> Self {
        let bytes = noise(FOLD_BLOBS * BLOB_LEN, 13);
        let gammas: Vec<u128> = (1000..1000 + FOLD_BLOBS as u64).map(gamma).collect();
        let (setup, mut peer) = (prepared(), Ceremony::load());
        let opening = ours(&bytes, &gammas).open(setup, Scalar::from(POINT));
        let (y, proof) = peer.open(&rented::fold(&bytes, &gammas), Fr::from_u128(POINT.into()));
        assert_eq!((opening.y, opening.proof.0), (y, proof), "both answers are the same");
        Self { bytes, gammas, setup, peer }
    }
}

impl Contest for ProveContest {
    fn work(&self) -> String {
        format!("fold + open, M = {FOLD_BLOBS}: fold, value, quotient, proof")
    }

    fn peer_name(&self) -> Option<String> {
        Some("blst: blst_fr, then blst_p1s_mult_pippenger on one thread".into())
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }

    fn ours(&mut self) -> f64 {
        timed(|| ours(black_box(&self.bytes), &self.gammas).open(self.setup, Scalar::from(POINT)))
    }

    fn peer(&mut self) -> f64 {
        timed(|| self.peer.open(&rented::fold(black_box(&self.bytes), &self.gammas), Fr::from_u128(POINT.into())))
    }
}

/// An answer: its coefficients, where it was opened, and what came of it.
type Answer = (Vec<u128>, Scalar, Opening);

/// Answers, and the commitments that they are verified with, 64 each.
struct Answers {
    commitments: Vec<CheckedCommitment>,
    answers: Vec<Answer>,
}

impl Answers {
    /// Made once. Each is over 64 blobs of its own, as those of different nodes are: a commitment that came twice would meet
    /// itself in a bucket. The blobs are polynomials of degree two, of which commitments and proofs are cheap to make and as
    /// dear to verify as any.
    fn made() -> &'static Self {
        static MADE: OnceLock<Answers> = OnceLock::new();
        MADE.get_or_init(|| {
            let quadratics = Ceremony::load().quadratics();
            let parse = |bytes: &[u8; 48]| CheckedCommitment::parse(&Commitment(*bytes)).expect("a commitment");
            let blobs = 0..(ANSWERS * VERIFY_BLOBS) as u64;
            let commitments = blobs.map(|blob| parse(&quadratics.commitment(quadratic(blob)))).collect();
            let answer = |number: u64| {
                let (gammas, z) = (coefficients(number), POINT + number);
                let blobs = (number * VERIFY_BLOBS as u64..).take(VERIFY_BLOBS).map(quadratic);
                let (y, proof) = quadratics.open(gammas.iter().copied().zip(blobs), Fr::from_u128(z.into()));
                (gammas, Scalar::from(z), Opening { y, proof: Proof(proof) })
            };
            Self { commitments, answers: (0..ANSWERS as u64).map(answer).collect() }
        })
    }
}

/// What takes seconds to make: the peer's tables, ours, and the answers to verify; on two processors, before this thread is
/// pinned to one. Whoever leaves it out has it made by the contests.
pub fn prepare() {
    let ckzg = thread::spawn(|| {
        c_kzg::ethereum_kzg_settings(0);
    });
    prepared();
    Answers::made();
    ckzg.join().expect("c-kzg loads its setup");
}

/// Which of the quadratic polynomials a blob is: in no row, or sums of some would be sums of others.
fn quadratic(blob: u64) -> u64 {
    gamma(!blob) as u64
}

fn coefficients(answer: u64) -> Vec<u128> {
    (0..VERIFY_BLOBS as u64).map(|blob| gamma(answer << 32 | blob)).collect()
}

fn terms<'a>(answer: &Answer, commitments: &'a [CheckedCommitment]) -> Vec<(Gamma, &'a CheckedCommitment)> {
    answer.0.iter().map(|gamma| Gamma(*gamma)).zip(commitments).collect()
}

fn claim<'a>(terms: &'a [(Gamma, &'a CheckedCommitment)], answer: &Answer) -> FoldClaim<'a> {
    FoldClaim { terms, z: answer.1, opening: answer.2 }
}

/// One answer over 64 blobs, commitments cached as checked affine points. Ours parses the proof, subgroup check included;
/// the peer has it parsed.
pub struct VerifyContest {
    setup: &'static Setup,
    commitments: &'static [CheckedCommitment],
    answer: Answer,
    theirs: Terms,
    y: Fr,
    proof: blst_p1_affine,
    peer: Ceremony,
}

impl VerifyContest {
    /// Asserts that both accept the answer and refuse it for another value.
    #[expect(clippy::new_without_default, reason = "it does work and asserts")]
    pub fn new() -> Self {
        let (made, setup, peer) = (Answers::made(), prepared(), Ceremony::load());
        let (commitments, answer) = (&made.commitments[..VERIFY_BLOBS], made.answers[0].clone());
        let points = commitments.iter().map(|commitment| commitment.commitment().0);
        let theirs = Terms::new(&answer.0.iter().copied().zip(points).collect::<Vec<_>>());
        let y = Fr::from_bytes(answer.2.y);
        let proof = rented::point(&answer.2.proof.0).expect("a point");
        let mut contest = Self { setup, commitments, answer, theirs, y, proof, peer };
        let wrong = Fr::from_u128(1);
        let terms = terms(&contest.answer, commitments);
        let mut lie = contest.answer.clone();
        lie.2.y = wrong.to_bytes();
        let said = |answer| verify(setup, &claim(&terms, answer));
        assert_eq!((said(&contest.answer), said(&lie)), (Verdict::Holds, Verdict::Wrong));
        assert_eq!((contest.theirs(y), contest.theirs(wrong)), (true, false), "both judge alike");
        contest
    }

    fn theirs(&mut self, y: Fr) -> bool {
        self.peer.verify(&self.theirs, Fr::from_u128(POINT.into()), y, &self.proof)
    }
}

impl Contest for VerifyContest {
    fn work(&self) -> String {
        format!("verification of one answer, M = {VERIFY_BLOBS}, commitments cached as affine points")
    }

    fn peer_name(&self) -> Option<String> {
        Some("blst: blst_p1s_mult_pippenger of 128-bit scalars, two Miller loops over prepared lines, one final exponentiation; proof parsed beforehand".into())
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn ours(&mut self) -> f64 {
        let terms = terms(&self.answer, self.commitments);
        timed(|| verify(self.setup, black_box(&claim(&terms, &self.answer))))
    }

    fn peer(&mut self) -> f64 {
        let y = self.y;
        timed(|| self.theirs(black_box(y)))
    }
}

/// 256 answers in one batch, beside the same one by one.
pub struct BatchContest {
    setup: &'static Setup,
    made: &'static Answers,
}

impl BatchContest {
    /// Asserts that the batch holds, and that a lie in it is found and named.
    #[expect(clippy::new_without_default, reason = "it does work and asserts")]
    pub fn new() -> Self {
        let contest = Self { setup: prepared(), made: Answers::made() };
        let terms = contest.terms();
        let mut claims = contest.claims(&terms);
        assert!(verify_batch(contest.setup, &claims, [7; 32]).all_hold(), "every answer is true");
        claims[100].opening.y = [0; 32];
        let found = verify_batch(contest.setup, &claims, [7; 32]);
        let liars: Vec<usize> = (0..ANSWERS).filter(|at| found.0[*at] != Verdict::Holds).collect();
        assert_eq!(liars, [100], "the batch names who lied");
        contest
    }

    fn terms(&self) -> Vec<Vec<(Gamma, &CheckedCommitment)>> {
        let of = self.made.commitments.chunks(VERIFY_BLOBS);
        self.made.answers.iter().zip(of).map(|(answer, commitments)| terms(answer, commitments)).collect()
    }

    fn claims<'a>(&'a self, terms: &'a [Vec<(Gamma, &'a CheckedCommitment)>]) -> Vec<FoldClaim<'a>> {
        terms.iter().zip(&self.made.answers).map(|(terms, answer)| claim(terms, answer)).collect()
    }
}

impl Contest for BatchContest {
    fn work(&self) -> String {
        format!("verification of {ANSWERS} answers of M = {VERIFY_BLOBS} in one batch, all commitments different")
    }

    fn peer_name(&self) -> Option<String> {
        Some("holdfast, the same answers one by one".into())
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn ours(&mut self) -> f64 {
        let terms = self.terms();
        let claims = self.claims(&terms);
        timed(|| verify_batch(self.setup, black_box(&claims), [7; 32]))
    }

    fn peer(&mut self) -> f64 {
        let terms = self.terms();
        let claims = self.claims(&terms);
        timed(|| claims.iter().filter(|claim| verify(self.setup, black_box(claim)) == Verdict::Holds).count())
    }
}
