//! A catalog restored from a backup: what it must not do before it can know that it is one.

use holdfast_types::{Fence, NodeId, SegmentId};

use super::{
    lists::{Manners, witness_of},
    witnesses::{constants, pending},
    world::{World, list_of},
};
use crate::{
    effect::{Effect, Event},
    message::NodeRequest,
    model::{CommitmentState, Placement, Provenance},
    store::{Store, StoreOp, StoreReply},
};

/// What the world is like when the copy takes the catalog's place.
struct Restored {
    world: World,
    segment: SegmentId,
    /// On a node that was told its secret, and claims a list made from it.
    attacked: Placement,
    /// The only node that was written to under a lease since.
    knows: NodeId,
}

/// Attack: a backup is made; a witness is burnt and told; a shard is repaired; the catalog is lost and the backup takes its
/// place, where the witness is fresh and the shard is not repaired. The node that was told claims a list of a constant.
fn restore() -> Restored {
    let mut world = World::new();
    world.run(500);
    let (segment, _) = world.put_with(1, 5, |index, shard| Some(witness_of(index, shard)));
    let lost = world.placement(segment, 2);
    world.lose_shard(&lost);
    let copy = world.store.clone();
    world.run(8000);
    world.assert_whole(segment);
    assert_eq!(pending(&mut world), vec![]);
    let attacked = world.placement(segment, 1);
    assert_eq!(world.peers[&attacked.node].told.len(), 1);
    let above: Vec<NodeId> = world
        .peers
        .values()
        .filter(|peer| peer.proof.is_some_and(|proof| proof.grant.fence > Fence { epoch: 1, counter: 0 }))
        .map(|peer| peer.key.public().node_id())
        .collect();
    let [knows] = above[..] else { panic!("one repair is known to one node, not to {above:?}") };
    assert_ne!(knows, attacked.node);
    let bytes = world.peers[&attacked.node].held[&attacked.shard].1.clone();
    let witness = witness_of(attacked.index, &bytes);
    let (list, proof) = constants(&witness.seed, witness.y, 1);
    world.peer(attacked.node).manners = Manners::Claims(std::sync::Arc::new(list), witness.y, proof);
    world.store = copy;
    world.crash();
    Restored { world, segment, attacked, knows }
}

fn epoch(world: &mut World) -> u64 {
    match world.store.apply(StoreOp::Summary) {
        StoreReply::Summary(summary) => summary.epoch,
        other => panic!("{other:?}"),
    }
}

/// The secret was told in the earlier life only, and the list that stands is that of the bytes.
#[track_caller]
fn assert_told_once(restored: &mut Restored) {
    let Restored { world, segment, attacked, .. } = restored;
    assert_eq!(world.peers[&attacked.node].told.len(), 1, "the secret is told a second time");
    let digest = list_of(&world.peers[&attacked.node].held[&attacked.shard].1).list().digest();
    let expected = CommitmentState::Accepted { digest, provenance: Provenance::AuditorRead };
    assert_eq!(world.placement(*segment, attacked.index.0).commitment, expected);
    assert!(epoch(world) > 1);
    world.assert_whole(*segment);
}

#[test]
fn a_catalog_restored_from_before_a_burning_tells_no_secret_twice() {
    let mut restored = restore();
    restored.world.run(8000);
    assert_told_once(&mut restored);
}

/// The one node that knows starts no sooner than the auditor does; and a repair that the copy finds due would take a lease
/// of the same number that this node was shown.
#[test]
fn a_node_that_is_late_is_heard_before_a_witness_is_burnt_or_a_lease_taken() {
    let mut restored = restore();
    let knows = restored.knows;
    restored.world.peer(knows).up = false;
    restored.world.run(2000);
    let told = restored.world.peers.values().map(|peer| peer.told.len()).max();
    assert_eq!(told, Some(1), "before all were heard");
    restored.world.peer(knows).up = true;
    restored.world.run(20_000);
    assert_told_once(&mut restored);
}

/// The catalog fails just then.
#[test]
fn an_epoch_that_was_not_raised_is_raised_before_anything_is_burnt() {
    let mut restored = restore();
    let mut failures = 0;
    while failures < 3 {
        restored.world.tick();
        while let Some(effect) = restored.world.wishes.front() {
            match effect {
                Effect::Store(token, op) if matches!(**op, StoreOp::RaiseEpoch { .. }) => {
                    let event = Event::Stored(*token, Box::new(StoreReply::Failed("disk".into())));
                    restored.world.wishes.pop_front();
                    restored.world.tell(event);
                    failures += 1;
                }
                _ => drop(restored.world.carry_one()),
            }
        }
    }
    assert_eq!(restored.world.peers[&restored.attacked.node].told.len(), 1);
    restored.world.run(8000);
    assert_told_once(&mut restored);
}

/// Attack: a node is silent, so that nobody's commitments are judged any more.
#[test]
fn a_node_that_is_away_holds_commitments_up_for_as_long_as_it_has_to_answer() {
    let mut world = World::new();
    let (segment, _) = world.put_with(1, 5, |index, shard| Some(witness_of(index, shard)));
    let away = world.placement(segment, 0).node;
    world.peer(away).up = false;
    let within = world.config.profile.answer_within.0;
    world.run(within - 500);
    assert_eq!((pending(&mut world).len(), world.reveals()), (5, 0));
    world.run(1500);
    assert_eq!(world.reveals(), 4);
}

#[test]
fn where_all_answer_nobody_waits() {
    let mut world = World::new();
    world.put_with(1, 5, |index, shard| Some(witness_of(index, shard)));
    world.run(1000);
    assert_eq!((pending(&mut world), world.reveals()), (vec![], 5));
}

/// A restart in a large cluster asks everybody, and not at once.
#[test]
fn a_start_asks_every_node_and_few_at_a_time() {
    let mut world = World::new();
    (0x10..0xb0).for_each(|n| world.register(n));
    let mut asked = Vec::new();
    for _ in 0..8 {
        world.tick();
        let mut now = 0;
        while let Some(effect) = world.wishes.front() {
            now += usize::from(matches!(effect, Effect::Send { request: NodeRequest::Stat, .. }));
            world.carry_one();
        }
        asked.push(now);
    }
    assert_eq!(asked.iter().sum::<usize>(), 8 + 0xa0, "{asked:?}");
    assert!(asked.iter().all(|count| *count <= 64), "{asked:?}");
}
