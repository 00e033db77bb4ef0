//! What a witness catches, and why its seed must stay secret.

use holdfast_kzg::{CommitmentList, FoldClaim, Gamma, Setup, Verdict};
use holdfast_types::{Incarnation, SecretKey, ShardId};

use super::*;

fn bytes(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(b"shard").finalize_xof().fill(&mut out);
    out
}

fn list(shard: &[u8]) -> CommitmentList {
    let commit = |blob: &[u8]| Setup::ethereum().commit(blob).expect("a blob");
    CommitmentList::new(shard.chunks(BLOB_LEN).map(commit).collect()).expect("few")
}

fn holds(seed: &WitnessSeed, list: &CommitmentList, opening: holdfast_kzg::Opening) -> bool {
    let points = list.check_points().expect("points");
    let mut gammas = seed.gammas();
    let terms: Vec<(Gamma, &_)> = points.iter().enumerate().map(|(n, point)| (gammas.at(n as u64), point)).collect();
    let claim = FoldClaim { terms: &terms, z: seed.z(), opening };
    holdfast_kzg::verify(Setup::ethereum(), &claim) == Verdict::Holds
}

#[test]
fn what_the_client_remembers_is_what_the_node_opens() {
    let shard = bytes(2 * BLOB_LEN + 5000);
    let seed = WitnessSeed::new([7; 32]);
    let witness = Witness::of(WitnessId([1; 16]), seed.clone(), &shard).unwrap();
    let mut summing = Summing::new(&seed);
    // In pieces, out of order, one of them across blobs.
    let cut = BLOB_LEN - 31;
    summing.absorb(cut as u64, &shard[cut..]).unwrap();
    summing.absorb(0, &shard[..cut]).unwrap();
    let opening = summing.open(Setup::ethereum());
    assert_eq!(opening.y, witness.y);
    assert!(holds(&seed, &list(&shard), opening));
    let mut other = shard.clone();
    other[BLOB_LEN + 3] ^= 1;
    assert!(!holds(&seed, &list(&other), opening));
    assert_ne!(Witness::of(witness.id, seed, &other).unwrap().y, witness.y);
}

#[test]
fn a_seed_is_its_shards_own_and_never_printed() {
    let (one, two) = (WitnessSeed::new([1; 32]), WitnessSeed::new([2; 32]));
    assert_ne!(one.gammas().at(0), two.gammas().at(0));
    assert_ne!(one.gammas().at(0), one.gammas().at(1));
    assert_ne!(one.z(), two.z());
    // γ and z must not follow from each other: the first block of the one stream is not that of the other.
    let mut wide = [0; 64];
    Transcript::new("holdfast 2026 witness v1 gamma").absorb("seed", one.expose()).stream().fill(&mut wide);
    assert_ne!(Scalar::from_wide(&wide), one.z());
    let witness = Witness { id: WitnessId([0xab; 16]), seed: WitnessSeed::new([0x11; 32]), y: [0x22; 32] };
    let said = format!("{witness:?} {:?}", witness.seed);
    assert!(!said.contains("17") && !said.contains("11") && !said.contains("22") && said.contains("abab"), "{said}");
}

fn expected(key: &SecretKey) -> Expected {
    let (node, key) = (key.public().node_id(), key.public());
    Expected { node, key, incarnation: Incarnation([3; 16]), shard: ShardId::from_bytes([4; 32]), len: 99 }
}

/// Attack: a claim for another shard, witness, length or life, or another's claim, passed off as this one.
#[test]
fn a_claim_speaks_for_one_shard_witness_list_and_life() {
    let key = SecretKey::from_seed(&[1; 32]);
    let expected = expected(&key);
    let witness = Some(WitnessId([5; 16]));
    let claim = Claim::sign(expected.incarnation, expected.shard, 99, witness, [6; 32], &key);
    assert_eq!(claim.fault(&expected, witness), None);
    assert_eq!(claim.fault(&expected, None), Some(ClaimFault::Other));
    assert_eq!(claim.fault(&expected, Some(WitnessId([0; 16]))), Some(ClaimFault::Other));
    assert_eq!(claim.fault(&Expected { len: 98, ..expected }, witness), Some(ClaimFault::Other));
    let later = Expected { incarnation: Incarnation([9; 16]), ..expected };
    assert_eq!(claim.fault(&later, witness), Some(ClaimFault::Incarnation));
    let forged = Claim { digest: [7; 32], ..claim };
    assert_eq!(forged.fault(&expected, witness), Some(ClaimFault::Signature));
    let other = SecretKey::from_seed(&[2; 32]);
    let theirs = Claim { signature: other.sign(&claim.transcript()), ..claim };
    assert_eq!(theirs.fault(&expected, witness), Some(ClaimFault::Signature));
}

#[test]
fn an_opening_and_an_adoption_speak_for_one_list() {
    let key = SecretKey::from_seed(&[1; 32]);
    let expected = expected(&key);
    let (id, digest) = (WitnessId([5; 16]), [6; 32]);
    let bodies = [
        OpenedBody::Opening { y: [1; 32], proof: [2; 48] },
        OpenedBody::Damaged(vec![holdfast_types::ByteRange::first(9)]),
        OpenedBody::Damaged(vec![]),
        OpenedBody::Missing,
        OpenedBody::OtherList { digest: [7; 32] },
        OpenedBody::Refused { retry_after: holdfast_types::Millis(3) },
    ];
    for body in &bodies {
        let opened = Opened::sign(expected.incarnation, expected.shard, id, digest, body.clone(), &key);
        assert_eq!(opened.fault(&expected, id, &digest), None);
        assert_eq!(opened.fault(&expected, id, &[0; 32]), Some(ClaimFault::Other));
        assert_eq!(opened.fault(&expected, WitnessId([0; 16]), &digest), Some(ClaimFault::Other));
        for other in bodies.iter().filter(|other| *other != body) {
            let forged = Opened { body: other.clone(), ..opened.clone() };
            assert_eq!(forged.fault(&expected, id, &digest), Some(ClaimFault::Signature));
        }
    }
    let wrong = Adoption::Wrong { reason: "blob 3".into() };
    let adopted = Adopted::sign(expected.incarnation, expected.shard, digest, wrong, &key);
    assert_eq!(adopted.fault(&expected, &digest), None);
    assert_eq!(adopted.fault(&expected, &[0; 32]), Some(ClaimFault::Other));
    let forged = Adopted { adoption: Adoption::Taken, ..adopted };
    assert_eq!(forged.fault(&expected, &digest), Some(ClaimFault::Signature));
}
