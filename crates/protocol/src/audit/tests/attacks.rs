//! Nodes that lie. The attack stands above each test.

use std::{cell::RefCell, rc::Rc};

use holdfast_kzg::{Opening, Setup};
use holdfast_types::{BLOB_LEN, ByteRange, Incarnation, SecretKey, Sequence};

use super::world::{LEN, SEGMENTS, World};
use crate::{
    answer,
    message::{Answer, AnswerBody, Ask, NodeReply, SendFailure, ShardLeaves},
    model::{Cause, Lane, NodeLife, Outcome, Standing, Verdict},
};

fn said(answer: Answer) -> Option<Result<NodeReply, SendFailure>> {
    Some(Ok(NodeReply::Answer(Box::new(answer))))
}

fn resign(answer: &Answer, challenge: &crate::message::Challenge, body: AnswerBody) -> Answer {
    answer::sign(challenge, answer.incarnation, body, &SecretKey::from_seed(&[1; 32]))
}

fn convicted(world: &World) -> Vec<Verdict> {
    world.verdicts().into_iter().filter(|verdict| verdict.outcome == Outcome::Corrupt).cloned().collect()
}

fn blob(n: u64) -> ByteRange {
    ByteRange::new(n * BLOB_LEN, ((n + 1) * BLOB_LEN).min(LEN)).expect("a range")
}

/// Attack: one blob was dropped, zeros are folded in its place, and nothing is admitted.
#[test]
fn a_dropped_blob_is_localised_and_proven() {
    let mut world = World::new();
    let range = blob(1);
    world.held(2).bytes[range.start() as usize..range.end() as usize].fill(0);
    world.run(500);
    let verdicts = convicted(&world);
    let fold = verdicts.iter().find(|verdict| verdict.lane == Lane::Fold).expect("a conviction by fold");
    let [exception] = fold.exceptions[..] else { panic!("one exception, got {:?}", fold.exceptions) };
    assert_eq!(exception.shard, world.placement(2).shard);
    assert_eq!((exception.outcome, exception.cause), (Outcome::Corrupt, Some(Cause::Proven)));
    assert_eq!(exception.range, Some(range));
    assert_eq!(world.placement(2).standing, Standing::Damaged(vec![range]));
    assert!(world.placement(1).standing.is_good());
    world.assert_settled();
}

/// Attack: the same, and when asked for the blob itself, leaves are made up.
#[test]
fn made_up_leaves_convict() {
    let mut world = World::new();
    world.held(0).bytes[..BLOB_LEN as usize].fill(0);
    world.manner(|challenge, answer| {
        let Ask::Leaves { shard, .. } = challenge.ask else { return said(answer) };
        let shards = vec![ShardLeaves { shard, proof: vec![0; 130_000] }];
        said(resign(&answer, challenge, AnswerBody::Leaves { shards, damaged: vec![], missing: vec![] }))
    });
    world.run(500);
    let verdicts = convicted(&world);
    let fold = verdicts.iter().find(|verdict| verdict.lane == Lane::Fold).expect("a conviction by fold");
    assert_eq!(fold.exceptions[0].range, Some(blob(0)));
    assert_eq!(fold.exceptions[0].cause, Some(Cause::Proven));
    world.assert_settled();
}

/// Attack: an older version's bytes are kept under the new name.
#[test]
fn a_stale_shard_is_corrupt_in_all_its_blobs() {
    let mut world = World::new();
    let stale = world.held(1).bytes.clone();
    world.held(0).bytes = stale;
    world.run(500);
    let exceptions: Vec<_> = convicted(&world).into_iter().flat_map(|verdict| verdict.exceptions).collect();
    assert!(!exceptions.is_empty());
    let shard = world.placement(0).shard;
    assert!(exceptions.iter().all(|exception| exception.shard == shard), "{exceptions:?}");
    assert!(!world.placement(0).standing.is_good());
    world.assert_settled();
}

/// Attack: a sample is answered with leaves that are not the shard's.
#[test]
fn false_leaves_in_a_sample_convict() {
    let mut world = World::new();
    world.manner(|challenge, answer| {
        let (Ask::Sample { .. }, AnswerBody::Leaves { shards, .. }) = (&challenge.ask, &answer.body) else {
            return said(answer);
        };
        let mut shards = shards.clone();
        for leaves in &mut shards {
            leaves.proof[0] ^= 1;
        }
        said(resign(&answer, challenge, AnswerBody::Leaves { shards, damaged: vec![], missing: vec![] }))
    });
    world.run(500);
    let sample = convicted(&world);
    assert!(!sample.is_empty());
    assert!(sample.iter().all(|verdict| verdict.lane == Lane::Sample));
    assert!(sample[0].exceptions.iter().all(|exception| exception.cause == Some(Cause::Proven)));
}

/// Attack: a wrong proof, always; but the bytes are there. Merkle is the judge: no byte of it is corrupt.
#[test]
fn a_wrong_proof_over_whole_bytes_never_counts_as_corrupt_and_ends_contained() {
    let mut world = World::new();
    world.manner(|challenge, answer| match &answer.body {
        AnswerBody::Fold { proof, .. } => {
            let body = AnswerBody::Fold { y: [1; 32], proof: *proof, damaged: vec![], missing: vec![] };
            said(resign(&answer, challenge, body))
        }
        _ => said(answer),
    });
    world.run(800);
    assert!(convicted(&world).is_empty());
    let verdicts = world.verdicts();
    assert!(verdicts.iter().any(|verdict| verdict.lane == Lane::Fold && verdict.outcome == Outcome::Late));
    assert_eq!(world.lives().first(), Some(&NodeLife::Contained));
}

/// Attack: a proof that is no point and a value that is no scalar, over whole bytes.
#[test]
fn malformed_proofs_are_verdicts_not_errors() {
    for (y, proof) in [([0xff; 32], [0; 48]), ([0; 32], [0xff; 48])] {
        let mut world = World::new();
        let mut once = true;
        world.manner(move |challenge, answer| match &answer.body {
            AnswerBody::Fold { .. } if std::mem::take(&mut once) => {
                let body = AnswerBody::Fold { y, proof, damaged: vec![], missing: vec![] };
                said(resign(&answer, challenge, body))
            }
            _ => said(answer),
        });
        world.run(500);
        // Every part held, the whole did not: on record, and asked once more, which holds.
        let folds: Vec<_> = world.verdicts().into_iter().filter(|verdict| verdict.lane == Lane::Fold).collect();
        let outcomes: Vec<_> = folds.iter().map(|verdict| verdict.outcome).collect();
        assert_eq!(outcomes, [Outcome::Late, Outcome::Held]);
        assert_ne!(folds[0].audit, folds[1].audit, "a fresh fold");
        assert!(world.lives().is_empty());
        world.assert_settled();
    }
}

/// Attack: last audit's answer again.
#[test]
fn a_replayed_proof_is_late_and_contains() {
    let mut world = World::new();
    let first: Rc<RefCell<Option<Answer>>> = Rc::default();
    let kept = first.clone();
    world.manner(move |_, answer| {
        let mut kept = kept.borrow_mut();
        said(kept.get_or_insert(answer).clone())
    });
    world.run(300);
    assert_eq!(world.row().life, NodeLife::Contained);
    assert_eq!(world.row().containment.as_ref().expect("contained").outcome, Outcome::Late);
    assert!(convicted(&world).is_empty());
}

/// Attack: the neighbour answers, with its own key, over its own bytes.
#[test]
fn an_answer_of_another_node_is_late() {
    let mut world = World::new();
    world.manner(|challenge, answer| {
        let stranger = SecretKey::from_seed(&[2; 32]);
        said(answer::sign(challenge, Incarnation([1; 16]), answer.body, &stranger))
    });
    world.run(300);
    assert_eq!(world.row().life, NodeLife::Contained);
    assert!(world.verdicts().is_empty(), "nothing is on record against it but the silence");
}

/// Attack: somebody on the road changes the signed words, so that an honest node looks corrupt.
#[test]
fn words_changed_on_the_road_convict_nobody() {
    let mut world = World::new();
    world.manner(|_, mut answer| {
        if let AnswerBody::Fold { y, .. } = &mut answer.body {
            y[31] ^= 1;
        }
        if let AnswerBody::Leaves { shards, .. } = &mut answer.body {
            shards.clear();
        }
        said(answer)
    });
    world.run(300);
    assert!(convicted(&world).is_empty());
    assert_eq!(world.row().containment.as_ref().expect("contained").outcome, Outcome::Late);
}

/// Attack: bytes that are no answer.
#[test]
fn garbage_is_late() {
    let mut world = World::new();
    world.manner(|_, _| Some(Err(SendFailure::Malformed("not protobuf".into()))));
    world.run(300);
    assert_eq!(world.row().containment.as_ref().expect("contained").outcome, Outcome::Late);
}

/// Attack: signed, for this question, and no answer to it, in the hope that nonsense is nobody's fault.
#[test]
fn signed_nonsense_is_judged_like_a_wrong_proof() {
    let mut world = World::new();
    world.manner(|challenge, answer| {
        let opening = Opening::from_bytes(&[0; Opening::LEN]);
        let body = match challenge.ask {
            Ask::Fold { .. } => AnswerBody::Leaves { shards: vec![], damaged: vec![], missing: vec![] },
            Ask::Sample { .. } | Ask::Leaves { .. } => {
                AnswerBody::Fold { y: opening.y, proof: opening.proof.0, damaged: vec![], missing: vec![] }
            }
        };
        said(resign(&answer, challenge, body))
    });
    world.run(500);
    let verdicts = convicted(&world);
    assert!(verdicts.iter().any(|verdict| verdict.lane == Lane::Fold));
    assert!(verdicts.iter().all(|verdict| verdict.exceptions.iter().all(|e| e.cause == Some(Cause::Proven))));
}

/// Attack: a set that never agrees, so that nothing is ever proven.
#[test]
fn eternal_drift_ends_contained() {
    let mut world = World::new();
    world.manner(|challenge, answer| match challenge.ask {
        Ask::Leaves { .. } => said(answer),
        Ask::Fold { .. } | Ask::Sample { .. } => {
            said(resign(&answer, challenge, AnswerBody::SetMismatch { digest: [1; 32], count: 1 }))
        }
    });
    world.run(20_000);
    assert_eq!(world.lives().first(), Some(&NodeLife::Contained));
    assert_eq!(world.lives().last(), Some(&NodeLife::Suspended));
    assert!(convicted(&world).is_empty());
    world.assert_settled();
}

/// Attack: a shard is listed under a number after which the catalog could not ask for the next. It is asked for by name
/// then, and proven, every time; and no other shard is ever asked for, since the sets never agree.
#[test]
fn a_number_that_no_catalog_keeps_is_not_taken_from_a_list_and_frees_nobody_from_audits() {
    let mut world = World::new();
    let held = world.peers[0].held.remove(&Sequence(12)).expect("held");
    world.peers[0].held.insert(Sequence(Sequence::MAX.0 + 1), held);
    world.run(20_000);
    assert_eq!(world.placement(1).sequence, Sequence(12));
    assert_eq!(world.lives().first(), Some(&NodeLife::Contained), "its set never agrees");
    assert!(convicted(&world).is_empty());
    world.assert_settled();
}

/// Attack: a shard is left out of the list and of the set, so that it is never asked for.
#[test]
fn a_shard_left_out_of_the_list_is_asked_for_by_name() {
    let mut world = World::new();
    world.peers[0].held.remove(&Sequence(14));
    world.run(5000);
    let verdicts = world.verdicts();
    let missing: Vec<_> = verdicts.iter().flat_map(|verdict| &verdict.exceptions).collect();
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0].outcome, missing[0].shard), (Outcome::Missing, world.lists_shard(2)));
    assert_eq!(world.placement(2).standing, Standing::Lost);
    assert_eq!(world.placement(1).standing, Standing::Good);
    world.assert_settled();
}

/// Attack: almost everything is bad. The questions are used up; what they could not tell apart is lost whole.
#[test]
fn beyond_the_questions_whole_shards_are_lost() {
    let mut world = World::new();
    world.few_questions(8);
    for n in 0..SEGMENTS {
        world.held(n).bytes.fill(1);
    }
    world.run(500);
    let verdicts = convicted(&world);
    let fold = verdicts.iter().find(|verdict| verdict.lane == Lane::Fold).expect("a conviction by fold");
    assert!(fold.exceptions.iter().any(|exception| exception.range == Some(ByteRange::first(LEN))), "{fold:?}");
}

/// Two answers that are both false cannot be made to cancel out in one batch.
#[test]
fn a_batch_names_each_false_fold() {
    let mut world = World::new();
    world.run(500);
    world.audit_now();
    world.run(500);
    let jobs = world.fold_jobs();
    assert!(jobs.len() >= 2);
    let mut bad = jobs.clone();
    bad[0].y[31] ^= 1;
    bad[1].terms[0].list = [8; 32];
    let entropy = holdfast_types::Seed([3; 32]);
    let found = crate::verify::verify_folds(&bad, &world.lists, Setup::ethereum(), entropy);
    use crate::effect::Verification;
    assert_eq!(found[0], Verification::Invalid { shards: vec![] });
    assert_eq!(found[1], Verification::NoList { shard: bad[1].terms[0].shard });
    let found = crate::verify::verify_folds(&jobs, &world.lists, Setup::ethereum(), entropy);
    assert!(found.iter().all(|found| *found == Verification::Valid));
}
