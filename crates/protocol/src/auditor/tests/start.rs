//! Starts, epochs, and what the core makes of what it is told.

use holdfast_types::{Fence, Grant, Millis, NodeId, Operation, SecretKey, Wall};

use super::{
    lists::{Manners, witness_of},
    world::{World, profile},
};
use crate::{
    effect::{Command, Event, Notice},
    model::{NodeRow, PendingShard, WitnessState},
    profile::Profile,
    store::{Store, StoreOp, StoreReply, Summary},
};

fn summary(world: &mut World) -> Summary {
    match world.store.apply(StoreOp::Summary) {
        StoreReply::Summary(summary) => summary,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_catalog_gets_an_epoch_once() {
    let mut world = World::new();
    assert!(!world.core.is_running());
    world.run(500);
    assert!(world.core.is_running());
    assert_eq!(summary(&mut world).epoch, 1);
    world.crash();
    world.run(500);
    assert!(world.core.is_running());
    assert_eq!(summary(&mut world).epoch, 1, "a restart is no new life of the catalog");
}

#[test]
fn a_catalog_restored_from_an_old_copy_rises_above_what_a_node_saw() {
    let mut world = World::with(Profile { list_every: Millis::from_secs(10), ..profile() });
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let copy = world.store.clone();
    let lost = world.placement(segment, 2);
    world.lose_shard(&lost);
    world.run(3000);
    world.assert_whole(segment);
    let seen = world.peers.values().map(|peer| peer.fence).max().unwrap();
    assert!(seen > Fence { epoch: 1, counter: 0 });
    // The disk of the auditor dies, and yesterday's copy takes its place.
    world.store = copy;
    world.crash();
    world.run(20_000);
    assert!(summary(&mut world).epoch > seen.epoch);
    assert!(world.notices.iter().any(|notice| matches!(notice, Notice::Trouble { what } if what.contains("old copy"))));
}

/// Attack: one node says once that it saw a higher fence, and every client's fresh witness is burnt.
#[test]
fn a_node_that_makes_up_a_fence_raises_no_epoch_and_burns_no_witness() {
    let (list_every, commit_deadline) = (Millis::from_secs(10), Millis::from_secs(86_400));
    let mut world = World::with(Profile { list_every, commit_deadline, ..profile() });
    let (segment, _) = world.put_with(1, 5, |index, shard| Some(witness_of(index, shard)));
    let nodes: Vec<_> = world.peers.keys().copied().collect();
    // Shards that stay pending, so that their witnesses stay fresh.
    nodes.iter().for_each(|node| world.peer(*node).manners = Manners::Slow(u32::MAX));
    let (near, far) = (Fence { epoch: 2, counter: 0 }, Fence { epoch: u64::MAX, counter: 0 });
    (world.peer(nodes[0]).fence, world.peer(nodes[1]).fence) = (near, far);
    // Under a key of its own, for whatever fence it likes; and a true one, of a fence that is none of a later self's.
    let grant = |fence, key: &SecretKey| {
        let (operation, content, owner) = (Operation::Put, [1; 32], world.owner.owner_id());
        Grant { operation, node: nodes[0], owner, kind: 0, content, len: 1, fence, expires: Wall(1) }.sign(key)
    };
    let (forged, old) = (grant(near, &SecretKey::from_seed(&[1; 32])), grant(Fence::default(), &world.config.key));
    (world.peer(nodes[0]).proof, world.peer(nodes[1]).proof) = (Some(forged), Some(old));
    world.run(60_000);
    assert_eq!(summary(&mut world).epoch, 1);
    let StoreReply::Pending(rows) = world.store.apply(StoreOp::PendingCommitments { after: None, limit: 99 }) else {
        panic!("pending shards of {segment}")
    };
    let fresh = |row: &PendingShard| row.witness.as_ref().is_some_and(|row| row.state == WitnessState::Fresh);
    assert!(rows.len() == 5 && rows.iter().all(fresh), "{rows:?}");
    let doubts = |notice: &&Notice| matches!(notice, Notice::Trouble { what } if what.contains("not believed"));
    assert_eq!(world.notices.iter().filter(doubts).count(), 2, "told once for each node");
}

#[test]
fn a_node_that_registers_is_known_at_the_next_step() {
    let mut world = World::new();
    world.run(1000);
    assert_eq!(world.core.nodes().len(), 8);
    world.register(0x40);
    world.run(500);
    assert_eq!(world.core.nodes().len(), 9);
    let id = *world.core.nodes().keys().next().unwrap();
    let row = world.core.nodes()[&id].clone();
    world.store.apply(StoreOp::PutNode(Box::new(NodeRow { addresses: vec!["new:1".into()], ..row })));
    world.tell(Event::Command(Command::NodeChanged(id)));
    world.run(500);
    assert_eq!(world.core.nodes()[&id].addresses, vec!["new:1".to_owned()]);
}

#[test]
fn what_is_reserved_is_known_within_seconds() {
    let mut world = World::new();
    world.run(1000);
    let (segment, _) = world.put(1, 5);
    let node: NodeId = world.placement(segment, 0).node;
    world.run(6000);
    let expected = world.view(segment).segment.shard_len;
    assert_eq!(world.core.nodes()[&node].used, expected);
}

#[test]
fn the_same_events_give_the_same_effects() {
    let trace = || {
        let mut world = World::new();
        let (segment, _) = world.put(1, 5);
        world.run(2000);
        let lost = world.placement(segment, 2);
        world.lose(lost.node);
        let mut trace = Vec::new();
        for _ in 0..20 {
            world.tick();
            while let Some(effect) = world.wishes.front() {
                trace.push(format!("{effect:?}"));
                world.carry_one();
            }
        }
        trace
    };
    let first = trace();
    assert!(first.len() > 20);
    assert_eq!(first, trace());
}
