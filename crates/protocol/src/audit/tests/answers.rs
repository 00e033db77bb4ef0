//! Whatever the damage, an honest node's answer is valid about what it claims, and names the rest.

use std::collections::BTreeMap;

use holdfast_kzg::Setup;
use holdfast_types::{AuditId, BLOB_LEN, ByteRange, Incarnation, Millis, SecretKey, Seed, Sequence, ShardId};
use merkle_cid::{Outboard, Root};
use proptest::prelude::*;

use crate::{
    answer,
    audit::{
        classify::{Heard, asked_leaves, hear},
        containment::tests::row,
    },
    effect::{FoldJob, LeavesJob, Verification, VerifyJob},
    message::{AnswerBody, Ask, Challenge, NodeReply, SetEntry},
    model::{CommitmentState, Placement, Provenance, Standing},
    responder::Responder,
    set::{self, AuditSet},
    verify::verify,
};

/// One of a node's shards and what became of it.
#[derive(Clone, Debug)]
struct Shard {
    bytes: Vec<u8>,
    /// What its disk says.
    damaged: Vec<ByteRange>,
    /// A byte that rotted without the disk's notice.
    rot: Option<usize>,
    outboard: bool,
    there: bool,
}

fn shard(lens: std::ops::Range<usize>) -> impl Strategy<Value = Shard> {
    (lens, any::<u8>(), proptest::collection::vec((0usize..400_000, 1usize..3000), 0..3), any::<[u8; 3]>()).prop_map(
        |(len, fill, gaps, [rot, outboard, there])| {
            let bytes: Vec<u8> = (0..len).map(|at| (at / 31) as u8 ^ fill).collect();
            let cut = |(at, size): (usize, usize)| {
                ByteRange::new((at % len) as u64, (at % len + size).min(len) as u64).expect("a range")
            };
            let damaged = gaps.into_iter().map(cut).collect();
            let rot = (rot < 60).then_some(usize::from(rot) * 997 % len);
            Shard { bytes, damaged, rot, outboard: outboard > 30, there: there > 30 }
        },
    )
}

fn set_of(shards: &[Shard], list: impl Fn(&Shard) -> CommitmentState) -> AuditSet {
    let placement = |(at, shard): (usize, &Shard)| Placement {
        segment: holdfast_types::SegmentId([at as u8; 16]),
        index: holdfast_types::ShardIndex(0),
        shard: ShardId(Root::of(&shard.bytes)),
        len: shard.bytes.len() as u64,
        node: SecretKey::from_seed(&[1; 32]).public().node_id(),
        sequence: Sequence(at as u64 * 3),
        commitment: list(shard),
        standing: Standing::Good,
        version: 1,
        fence: holdfast_types::Fence::default(),
    };
    AuditSet::first_of(shards.iter().enumerate().map(placement).collect()).0
}

fn challenge(set: &AuditSet, ask: Ask, seed: [u8; 32]) -> Challenge {
    Challenge {
        audit: AuditId([1; 32]),
        node: SecretKey::from_seed(&[1; 32]).public().node_id(),
        set: set::reference(&set.entries()),
        commitments: [0; 32],
        seed: Seed(seed),
        ask,
        deadline: Millis(1),
    }
}

/// The honest node's answer, and what the auditor hears in it.
fn answered(challenge: &Challenge, set: &AuditSet, shards: &[Shard]) -> Heard {
    let entries: Vec<SetEntry> = set.entries();
    let body = match Responder::new(challenge, &entries) {
        Err(body) => body,
        Ok(mut responder) => {
            for read in responder.reads().to_vec() {
                let at = entries.iter().position(|entry| *entry == read.entry).expect("an entry");
                give(&mut responder, &read, &shards[at]);
            }
            responder.finish(Setup::ethereum())
        }
    };
    let key = SecretKey::from_seed(&[1; 32]);
    let answer = answer::sign(challenge, Incarnation([1; 16]), body, &key);
    hear(challenge, set, &row(&key), Ok(NodeReply::Answer(Box::new(answer)))).0
}

fn give(responder: &mut Responder, read: &crate::responder::ShardRead, shard: &Shard) {
    if !shard.there {
        return responder.missing(&read.entry.shard);
    }
    if read.outboard && shard.outboard {
        responder.outboard(&read.entry.shard, Outboard::of(&shard.bytes).into_bytes());
    }
    let mut bytes = shard.bytes.clone();
    if let Some(at) = shard.rot.filter(|_| read.outboard) {
        bytes[at] ^= 1;
    }
    for range in &read.ranges {
        let cut = &bytes[range.start() as usize..range.end() as usize];
        responder.absorb(&read.entry.shard, range.start(), cut, &shard.damaged).expect("planned");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_honest_sample_is_valid_whatever_is_damaged(
        mut shards in proptest::collection::vec(shard(1..400_000), 1..5), seed: [u8; 32], count in 1u16..200,
    ) {
        shards.dedup_by(|a, b| a.bytes == b.bytes);
        let set = set_of(&shards, |_| CommitmentState::Pending);
        let challenge = challenge(&set, Ask::Sample { count }, seed);
        let Heard::Leaves(said) = answered(&challenge, &set, &shards) else { panic!("leaves") };
        for (id, _, leaves) in asked_leaves(&challenge, &set) {
            let claimed = said.claims.iter().find(|claim| claim.shard == id).map_or(&[][..], |claim| &claim.leaves);
            let shard = &shards[set.members().iter().position(|m| m.placement.shard == id).expect("a member")];
            for leaf in leaves {
                let gap = said.gaps.iter().any(|gap| gap.shard == id && gap.range.is_none_or(|range| {
                    range.start() <= leaf * 1024 && leaf * 1024 < range.end()
                }));
                prop_assert!(gap != claimed.contains(&leaf), "each leaf is proven or given up");
                let whole = shard.there && shard.outboard && shard.damaged.is_empty() && shard.rot.is_none();
                prop_assert!(!(whole && gap), "nothing is given up without need");
            }
        }
        let found = match said.claims.is_empty() {
            true => Verification::Valid,
            false => verify(&VerifyJob::Leaves(LeavesJob { claims: said.claims }), &BTreeMap::new(), Setup::ethereum()),
        };
        prop_assert_eq!(found, Verification::Valid);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn an_honest_fold_is_valid_whatever_is_damaged(
        mut shards in proptest::collection::vec(shard(1..300_000), 1..3), seed: [u8; 32], part in (0u64..6, 1u64..6),
    ) {
        shards.dedup_by(|a, b| a.bytes == b.bytes);
        let mut lists = BTreeMap::new();
        for shard in &shards {
            let list = super::world::list_of(&shard.bytes);
            lists.insert(list.list().digest(), list);
        }
        let accepted = |shard: &Shard| {
            let digest = super::world::list_of(&shard.bytes).list().digest();
            CommitmentState::Accepted { digest, provenance: Provenance::AuditorRead }
        };
        let set = set_of(&shards, accepted);
        let from = part.0 % set.blobs();
        let to = (from + part.1).min(set.blobs());
        let challenge = challenge(&set, Ask::Fold { from, to }, seed);
        let Heard::Fold(said) = answered(&challenge, &set, &shards) else { panic!("a fold") };
        let claimed: u64 = said.terms.iter().flat_map(|term| &term.blobs).map(|(from, to)| u64::from(to - from)).sum();
        let given_up: u64 = said.excluded.iter().map(|(from, to)| to - from).sum();
        prop_assert_eq!(claimed + given_up, to - from, "each blob is claimed or given up");
        let job = FoldJob { challenge: Box::new(challenge), terms: said.terms, y: said.y, proof: said.proof };
        if claimed > 0 {
            prop_assert_eq!(verify(&VerifyJob::Fold(job), &lists, Setup::ethereum()), Verification::Valid);
        }
    }
}

#[test]
fn damage_beyond_the_answers_room_gives_up_the_rest_of_the_shard_not_the_proof() {
    // 700 shards leave five ranges each; every second of 13 blobs is damaged.
    let blobs = 13;
    let len = blobs * BLOB_LEN;
    let entries: Vec<SetEntry> = (0..700u64)
        .map(|n| SetEntry {
            sequence: Sequence(n),
            shard: ShardId(Root::of(&n.to_be_bytes())),
            len: if n == 0 { len } else { 1 },
        })
        .collect();
    let challenge = Challenge {
        audit: AuditId([1; 32]),
        node: SecretKey::from_seed(&[1; 32]).public().node_id(),
        set: set::reference(&entries),
        commitments: [0; 32],
        seed: Seed([1; 32]),
        ask: Ask::Fold { from: 0, to: blobs + 699 },
        deadline: Millis(1),
    };
    let Ok(mut responder) = Responder::new(&challenge, &entries) else { panic!("a plan") };
    let bytes = vec![0; len as usize];
    let damaged: Vec<ByteRange> =
        (0..blobs).step_by(2).map(|blob| ByteRange::at(blob * BLOB_LEN + 9, 1).expect("a range")).collect();
    responder.absorb(&entries[0].shard, 0, &bytes, &damaged).expect("planned");
    for entry in &entries[1..] {
        responder.absorb(&entry.shard, 0, &[0], &[]).expect("planned");
    }
    let AnswerBody::Fold { damaged, missing, .. } = responder.finish(Setup::ethereum()) else { panic!("a fold") };
    assert!(missing.is_empty());
    let blob = |from, to| set::blob_bytes(len, from, to);
    let ranges: Vec<ByteRange> = damaged.iter().map(|gap| gap.range).collect();
    assert_eq!(ranges, [blob(0, 1), blob(2, 3), blob(4, 5), blob(6, 7), blob(8, 13)]);
}

#[test]
fn half_a_blob_is_refused_before_it_is_folded() {
    let bytes = vec![1; 2 * BLOB_LEN as usize];
    let entry = SetEntry { sequence: Sequence(1), shard: ShardId(Root::of(&bytes)), len: bytes.len() as u64 };
    let set =
        set_of(&[Shard { bytes: bytes.clone(), damaged: vec![], rot: None, outboard: true, there: true }], |_| {
            CommitmentState::Pending
        });
    let challenge =
        Challenge { set: set::reference(&[entry]), ..challenge(&set, Ask::Fold { from: 0, to: 2 }, [1; 32]) };
    let Ok(mut responder) = Responder::new(&challenge, &[entry]) else { panic!("a plan") };
    assert!(responder.absorb(&entry.shard, 0, &bytes[..1000], &[]).is_err());
    assert!(responder.absorb(&entry.shard, BLOB_LEN, &bytes[BLOB_LEN as usize..], &[]).is_ok());
    // Descending: the first blob was given up when the second came.
    assert!(responder.absorb(&entry.shard, 0, &bytes[..BLOB_LEN as usize], &[]).is_err());
    let AnswerBody::Fold { damaged, .. } = responder.finish(Setup::ethereum()) else { panic!("a fold") };
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].range, ByteRange::first(BLOB_LEN));
}
