//! What an honest node may count on, and what its honest word does.

use holdfast_types::{BLOB_LEN, ByteRange, Sequence};

use super::world::{LEN, SEGMENTS, World, honest, list_of};
use crate::{
    answer::Kept,
    effect::Notice,
    model::{Cause, CommitmentState, Fault, Lane, NodeLife, Outcome, Standing},
    set,
    store::{Store, StoreOp, StoreReply},
};

#[test]
fn a_healthy_node_is_held_in_both_lanes_with_its_signed_word() {
    let mut world = World::new();
    world.run(500);
    let verdicts = world.verdicts();
    assert_eq!(verdicts.len(), 2);
    for lane in [Lane::Fold, Lane::Sample] {
        let verdict = verdicts.iter().find(|verdict| verdict.lane == lane).expect("both lanes");
        assert_eq!(verdict.outcome, Outcome::Held);
        assert_eq!((verdict.shards, verdict.bytes), (SEGMENTS as u32, SEGMENTS as u64 * LEN));
        assert!(verdict.exceptions.is_empty());
        let kept = Kept::from_bytes(&verdict.evidence).expect("evidence");
        assert_eq!(kept.audit, verdict.audit);
        assert!(kept.is_signed_by(&world.peers[0].key.public()));
    }
    world.assert_settled();
}

#[test]
fn the_audit_is_in_the_catalog_before_its_challenge_goes_out() {
    let mut world = World::new();
    world.manner(|_, _| None);
    world.run(200);
    let asked = world.peers[0].asked[0].audit;
    let StoreReply::Audits(open) = world.store.apply(StoreOp::OpenAudits) else { panic!("audits") };
    assert!(open.iter().any(|row| row.id == asked));
}

#[test]
fn damage_that_a_node_reports_is_named_to_its_blob() {
    let mut world = World::new();
    // Sixteen bytes flipped on the disk; the volume's checksum sees it.
    world.held(1).damaged = vec![ByteRange::at(BLOB_LEN + 77, 16).expect("a range")];
    world.run(500);
    let verdicts = world.verdicts();
    let fold = verdicts.iter().find(|verdict| verdict.lane == Lane::Fold).expect("a fold");
    assert_eq!(fold.outcome, Outcome::Held);
    let [exception] = fold.exceptions[..] else { panic!("one exception, got {:?}", fold.exceptions) };
    let blob = ByteRange::at(BLOB_LEN, BLOB_LEN).expect("a range");
    assert_eq!((exception.outcome, exception.cause), (Outcome::Corrupt, Some(Cause::Reported)));
    assert_eq!(exception.range, Some(blob));
    let placement = world.placement(1);
    assert_eq!(exception.shard, placement.shard);
    assert_eq!(placement.standing, Standing::Damaged(vec![blob]));
    assert!(world.placement(0).standing.is_good());
    // Until it is repaired, it is not asked for again; the others are.
    world.audit_now();
    world.run(500);
    let last = world.verdicts().last().copied().cloned().expect("a verdict");
    assert_eq!((last.outcome, last.shards), (Outcome::Held, SEGMENTS as u32 - 1));
    assert!(last.exceptions.is_empty());
    world.assert_settled();
}

#[test]
fn a_leaf_of_an_intact_blob_is_proven_beside_a_damaged_one() {
    let mut world = World::new();
    for n in 0..SEGMENTS {
        world.held(n).damaged = vec![ByteRange::first(1)];
    }
    world.run(500);
    // Damage excludes a shard from later sets; whichever lane came first saw all three.
    let first = world.verdicts()[0].clone();
    assert_eq!(first.exceptions.len(), SEGMENTS);
    assert!(first.exceptions.iter().all(|exception| exception.cause == Some(Cause::Reported)));
    world.assert_settled();
}

#[test]
fn a_shard_moved_to_another_number_is_found_and_convicts_nobody() {
    let mut world = World::new();
    let held = world.peers[0].held.remove(&Sequence(12)).expect("held");
    world.peers[0].held.insert(Sequence(99), held);
    world.run(5000);
    assert_eq!(world.placement(1).sequence, Sequence(99));
    assert!(world.verdicts().iter().any(|verdict| verdict.outcome == Outcome::Inconclusive(Fault::SetDrift)));
    world.audit_now();
    world.run(3000);
    let last = world.verdicts().last().copied().cloned().expect("a verdict");
    assert_eq!((last.outcome, last.shards), (Outcome::Held, SEGMENTS as u32));
    assert!(world.lives().is_empty());
    world.assert_settled();
}

#[test]
fn a_wiped_node_is_found_missing_everything_by_its_own_word() {
    let mut world = World::new();
    world.peers[0].held.clear();
    world.run(5000);
    let verdicts = world.verdicts();
    let missing = verdicts.iter().find(|verdict| verdict.outcome == Outcome::Missing).expect("a verdict");
    assert_eq!(missing.exceptions.len(), SEGMENTS);
    assert!(missing.exceptions.iter().all(|exception| exception.outcome == Outcome::Missing));
    assert_eq!(world.placement(2).standing, Standing::Lost);
    assert_eq!(world.row().life, NodeLife::Active);
    world.assert_settled();
}

#[test]
fn an_object_deleted_under_way_is_cancelled_not_missing() {
    let mut world = World::new();
    world.run(500);
    let seen = world.notices.len();
    // The challenge is out; meanwhile the object is deleted, and the node has obeyed.
    world.manner(|_, _| None);
    world.audit_now();
    world.run(200);
    world.delete(1);
    world.peers[0].held.remove(&Sequence(12));
    world.peers[0].manner = honest();
    world.run(30_000);
    world.audit_now();
    world.run(5000);
    for notice in &world.notices[seen..] {
        if let Notice::Verdict(verdict) = notice {
            assert!(verdict.exceptions.is_empty(), "{verdict:?}");
            assert!(!matches!(verdict.outcome, Outcome::Missing | Outcome::Corrupt), "{verdict:?}");
        }
    }
    assert_eq!(world.row().life, NodeLife::Active);
    world.assert_settled();
}

/// Attack: commitments of other bytes were accepted, from a lying client or a rotten cache. The node has the true bytes.
#[test]
fn lying_commitments_acquit_the_node_and_are_void() {
    let mut world = World::new();
    let accepted = world.placement(1).commitment;
    let wrong = list_of(&vec![3; LEN as usize]);
    world.accept(1, 0, accepted, wrong);
    world.run(10_000);
    let verdicts = world.verdicts();
    assert!(verdicts.iter().all(|verdict| verdict.exceptions.is_empty()), "{verdicts:?}");
    assert!(verdicts.iter().any(|verdict| verdict.outcome == Outcome::Inconclusive(Fault::Commitments)));
    assert!(verdicts.iter().any(|verdict| verdict.lane == Lane::Fold && verdict.outcome == Outcome::Held));
    assert_eq!(world.placement(1).commitment, CommitmentState::Pending);
    assert!(world.placement(1).standing.is_good());
    assert!(world.notices.iter().any(|notice| matches!(notice, Notice::Commitment { accepted: false, .. })));
    assert_eq!(world.row().life, NodeLife::Active);
    world.assert_settled();
}

/// Attack: none; our own memory rots. The list is right, the affine points kept beside it are not, and every true fold
/// fails.
#[test]
fn a_rotten_affine_cache_costs_the_node_nothing() {
    let mut world = World::new();
    let list = |world: &mut World, n| match world.placement(n).commitment {
        CommitmentState::Accepted { digest, .. } => (digest, world.lists[&digest].clone()),
        CommitmentState::Pending => panic!("accepted"),
    };
    let ((digest, right), (_, other)) = (list(&mut world, 0), list(&mut world, 1));
    world.lists.insert(digest, std::sync::Arc::new(right.rotten(&other)));
    world.run(10_000);
    let verdicts = world.verdicts();
    assert!(verdicts.iter().any(|verdict| verdict.outcome == Outcome::Inconclusive(Fault::Internal)), "{verdicts:?}");
    assert!(verdicts.iter().all(|verdict| verdict.exceptions.is_empty()));
    assert!(world.placement(0).standing.is_good());
    assert_eq!(world.placement(0).commitment, CommitmentState::Pending);
    assert_eq!(world.row().life, NodeLife::Active);
    world.assert_settled();
}

#[test]
fn a_list_that_we_lost_is_our_trouble_not_the_nodes() {
    let mut world = World::new();
    let CommitmentState::Accepted { digest, .. } = world.placement(0).commitment else { panic!("accepted") };
    world.lists.remove(&digest);
    world.run(10_000);
    let verdicts = world.verdicts();
    assert!(verdicts.iter().any(|verdict| verdict.outcome == Outcome::Inconclusive(Fault::Internal)));
    assert!(verdicts.iter().all(|verdict| verdict.exceptions.is_empty()));
    assert_eq!(world.placement(0).commitment, CommitmentState::Pending);
    world.assert_settled();
}

#[test]
fn a_shard_without_commitments_is_sampled() {
    let mut world = World::new();
    for n in 0..SEGMENTS {
        let placement = world.placement(n);
        let (segment, index, shard) = (placement.segment, placement.index, placement.shard);
        let (expected, to, at) = (placement.commitment, CommitmentState::Pending, world.now.wall);
        world.store.apply(StoreOp::SetCommitment { segment, index, shard, expected, to, at });
    }
    world.run(500);
    let verdicts = world.verdicts();
    assert_eq!(verdicts.len(), 1);
    assert_eq!((verdicts[0].lane, verdicts[0].shards), (Lane::Sample, SEGMENTS as u32));
    world.assert_settled();
}

#[test]
fn the_sets_of_both_sides_agree_across_gaps() {
    let mut world = World::new();
    // A shard on its way in, between two of the set.
    let bytes = vec![5; LEN as usize];
    let shard = holdfast_types::ShardId(merkle_cid::Root::of(&bytes));
    let held = super::world::Held { shard, bytes, outboard: vec![], damaged: vec![] };
    world.peers[0].held.insert(Sequence(13), held);
    world.run(500);
    assert!(world.verdicts().iter().all(|verdict| verdict.outcome == Outcome::Held));
    let runs = &world.peers[0].asked[0].set.runs;
    assert!(set::are_runs(runs) && !set::holds(runs, Sequence(13)));
}

#[test]
fn a_new_node_becomes_active_once_it_was_held_to_its_word() {
    let mut world = World::new();
    let id = world.peers[0].id();
    let joining = crate::model::NodeRow { life: NodeLife::Joining, ..world.row().clone() };
    let StoreReply::Nodes(rows) = world.store.apply(StoreOp::PutNode(Box::new(joining))) else { panic!("a node") };
    world.nodes.insert(id, rows[0].clone());
    world.run(500);
    assert!(world.lives().is_empty(), "two verdicts are not enough");
    world.audit_now();
    world.run(500);
    assert_eq!(world.lives(), [NodeLife::Active]);
    world.assert_settled();
}
