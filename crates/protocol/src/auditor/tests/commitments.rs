//! Every shard comes to have commitments, and nobody is accused for what a road did.

use holdfast_types::ShardIndex;

use super::world::{World, list_of, profile};
use crate::{
    effect::{CommitJob, Notice},
    model::{CommitmentState, Provenance},
    profile::Profile,
    store::{Store, StoreOp, StoreReply},
};

fn pending(world: &mut World) -> usize {
    match world.store.apply(StoreOp::PendingCommitments { after: None, limit: 1000 }) {
        StoreReply::Pending(rows) => rows.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_shard_is_committed_to_once_and_told() {
    let mut world = World::new();
    let segments: Vec<_> = (1..=3).map(|n| world.put(n, 5).0).collect();
    world.run(4000);
    assert_eq!(pending(&mut world), 0);
    assert_eq!(world.reads(), 15);
    let told = |notice: &&Notice| matches!(notice, Notice::Commitment { accepted: true, .. });
    assert_eq!(world.notices.iter().filter(told).count(), 15);
    for segment in segments {
        for placement in world.view(segment).placements {
            let bytes = world.peers[&placement.node].held[&placement.shard].1.clone();
            let digest = list_of(&bytes).list().digest();
            let provenance = Provenance::AuditorRead;
            assert_eq!(placement.commitment, CommitmentState::Accepted { digest, provenance });
        }
    }
    world.run(10_000);
    assert_eq!(world.reads(), 15, "nothing is committed to twice");
}

#[test]
fn a_silent_node_does_not_hold_up_the_others() {
    let containment = vec![holdfast_types::Millis::from_secs(1000)];
    let mut world = World::with(Profile { containment, ..profile() });
    let (segment, _) = world.put(1, 5);
    let silent = world.placement(segment, 0).node;
    world.peer(silent).up = false;
    world.run(10_000);
    assert_eq!(pending(&mut world), 1);
    let tries = world.jobs(|job| job.of().node == silent);
    assert!((2..8).contains(&tries), "{tries} tries in ten seconds");
    world.peer(silent).up = true;
    world.run(40_000);
    assert_eq!(pending(&mut world), 0);
}

#[test]
fn bad_bytes_make_an_audit_not_a_verdict() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    let bad = world.placement(segment, 3);
    let good = world.peer(bad.node).held.get(&bad.shard).unwrap().1.clone();
    world.peer(bad.node).held.get_mut(&bad.shard).unwrap().1[5] ^= 1;
    world.run(1000);
    // Asked at once for its own words about it, though its next audit is a day away.
    let StoreReply::Verdicts(verdicts) = world.store.apply(StoreOp::LatestVerdicts { node: Some(bad.node), limit: 9 })
    else {
        panic!("verdicts")
    };
    assert!(!verdicts.is_empty() || world.core.audits_in_flight() > 0);
    world.run(20_000);
    // The repair brought the shard back, and it was committed to.
    world.assert_whole(segment);
    let after = world.placement(segment, 3);
    assert!(matches!(after.commitment, CommitmentState::Accepted { .. }));
    assert_eq!(world.peers[&after.node].held[&after.shard].1, good);
    assert_eq!(after.index, ShardIndex(3));
}

/// Attack: a node whose readings never end takes every place that there is, and everybody else's shards stay uncommitted.
#[test]
fn a_node_whose_readings_never_end_holds_up_its_own_shards_only() {
    let mut world = World::new();
    let segments: Vec<_> = (1..=6).map(|n| world.put(n, 5).0).collect();
    let slow = world.placement(segments[0], 0).node;
    world.peer(slow).drips = true;
    world.run(20_000);
    let pending = |world: &mut World| {
        let views = segments.iter().map(|segment| world.view(*segment)).collect::<Vec<_>>();
        let all = views.into_iter().flat_map(|view| view.placements);
        all.filter(|p| p.commitment == CommitmentState::Pending).map(|p| p.node).collect::<Vec<_>>()
    };
    let left = pending(&mut world);
    assert!(left.len() >= 2 && left.iter().all(|node| *node == slow), "{left:?}");
    let begun = |world: &World| world.jobs(|job| matches!(job, CommitJob::Read(_)) && job.of().node == slow);
    assert_eq!(begun(&world), 1, "one at a time");
    // A driver that forgets a reading holds it up no longer than a reading may take.
    world.run(130_000);
    assert!(begun(&world) >= 2, "the next one's turn came");
}
