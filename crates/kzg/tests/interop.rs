//! What c-kzg computes, we compute, byte for byte; what we prove, c-kzg verifies.

#![allow(clippy::unwrap_used, reason = "a test's own helpers may fail like the test")]

use c_kzg::{Blob, Bytes32, Bytes48, KzgSettings, ethereum_kzg_settings};
use holdfast_kzg::{BLOB_LEN, CheckedCommitment, Fold, FoldClaim, Gamma, Scalar, Setup, Verdict, pack, verify};

fn theirs() -> &'static KzgSettings {
    ethereum_kzg_settings(0)
}

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn scalar(seed: u64) -> Scalar {
    Scalar::from_wide(random(seed, 64).as_slice().try_into().unwrap())
}

fn their_blob(bytes: &[u8]) -> Blob {
    Blob::from_bytes(&pack(bytes).unwrap()[..]).unwrap()
}

/// Blobs of every shape: empty, within an element, at its edge, short, full, extreme.
fn blobs() -> Vec<Vec<u8>> {
    let mut blobs: Vec<Vec<u8>> =
        [0, 1, 30, 31, 32, 4096, BLOB_LEN - 1, BLOB_LEN].iter().map(|len| random(*len as u64, *len)).collect();
    blobs.extend([vec![0; BLOB_LEN], vec![0xff; BLOB_LEN], vec![7; 1000]]);
    blobs
}

#[test]
fn commitments_equal_c_kzgs() {
    // Twice: the first sums go without the fixed-base table, the later ones with it.
    for round in 0..2 {
        for (at, blob) in blobs().iter().enumerate() {
            let expected = theirs().blob_to_kzg_commitment(&their_blob(blob)).unwrap().to_bytes();
            assert_eq!(Setup::ethereum().commit(blob).unwrap().0, *expected, "blob {at}, round {round}");
        }
        Setup::ethereum().prepare();
    }
}

#[test]
fn openings_equal_c_kzgs_at_chosen_points_and_at_roots_of_unity() {
    // -1 and 1 are roots of unity of any even order; so is the 4096th root that EIP-4844 uses.
    let mut minus_one = *b"\x73\xed\xa7\x53\x29\x9d\x7d\x48\x33\x39\xd8\x08\x09\xa1\xd8\x05\x53\xbd\xa4\x02\xff\xfe\x5b\xfe\xff\xff\xff\xff\x00\x00\x00\x01";
    minus_one[31] = 0;
    let points = [scalar(1), scalar(2), Scalar::from(0), Scalar::from(1), Scalar::from_bytes(&minus_one).unwrap()];
    for (blob, z) in blobs().iter().zip(points.iter().cycle()) {
        let mut fold = Fold::new();
        fold.absorb(Gamma(1), 0, blob).unwrap();
        assert_eq!(fold.evaluate(*z).to_bytes(), fold.clone().open(Setup::ethereum(), *z).y);
        let opening = fold.open(Setup::ethereum(), *z);
        let (proof, y) = theirs().compute_kzg_proof(&their_blob(blob), &Bytes32::from(z.to_bytes())).unwrap();
        assert_eq!(opening.proof.0, *proof.to_bytes());
        assert_eq!(opening.y, *y);
    }
}

#[test]
fn what_c_kzg_commits_to_and_opens_we_verify_and_it_verifies_ours() {
    for (blob, seed) in blobs().iter().zip(10..) {
        let (bytes, z) = (their_blob(blob), scalar(seed));
        let commitment = theirs().blob_to_kzg_commitment(&bytes).unwrap();
        let (proof, y) = theirs().compute_kzg_proof(&bytes, &Bytes32::from(z.to_bytes())).unwrap();
        let ours = CheckedCommitment::parse(&holdfast_kzg::Commitment(*commitment.to_bytes())).unwrap();
        let opening = holdfast_kzg::Opening { y: *y, proof: holdfast_kzg::Proof(*proof.to_bytes()) };
        let claim = FoldClaim { terms: &[(Gamma(1), &ours)], z, opening };
        assert_eq!(verify(Setup::ethereum(), &claim), Verdict::Holds);

        let mut fold = Fold::new();
        fold.absorb(Gamma(1), 0, blob).unwrap();
        let opening = fold.open(Setup::ethereum(), z);
        let holds = theirs()
            .verify_kzg_proof(
                &commitment.to_bytes(),
                &Bytes32::from(z.to_bytes()),
                &Bytes32::from(opening.y),
                &Bytes48::from(opening.proof.0),
            )
            .unwrap();
        assert!(holds);
    }
}

#[test]
fn a_fold_of_many_blobs_verifies_against_c_kzgs_commitments() {
    let z = scalar(99);
    let mut fold = Fold::new();
    let mut terms = vec![];
    for (blob, seed) in blobs().iter().zip(200..) {
        let gamma = Gamma(u128::from_le_bytes(random(seed, 16).as_slice().try_into().unwrap()));
        let commitment = theirs().blob_to_kzg_commitment(&their_blob(blob)).unwrap();
        terms.push((gamma, CheckedCommitment::parse(&holdfast_kzg::Commitment(*commitment.to_bytes())).unwrap()));
        for (offset, piece) in blob.chunks(31 * 1000).enumerate().collect::<Vec<_>>().into_iter().rev() {
            fold.absorb(gamma, offset * 31_000, piece).unwrap();
        }
    }
    let opening = fold.open(Setup::ethereum(), z);
    let terms: Vec<_> = terms.iter().map(|(gamma, commitment)| (*gamma, commitment)).collect();
    assert_eq!(verify(Setup::ethereum(), &FoldClaim { terms: &terms, z, opening }), Verdict::Holds);
}
