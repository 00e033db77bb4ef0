//! Repairs, and what becomes of them when somebody dies, lies, or is late.

use holdfast_types::{Fence, Millis, SegmentId, ShardIndex, Wall};

use super::{
    lists::Manners,
    world::{POLICY, World, profile},
};
use crate::{
    auditor::Auditor,
    effect::{Effect, Event, Notice},
    model::{Lane, Outcome, RepairRow, RepairState, Verdict},
    profile::Profile,
    store::{Store, StoreOp, StoreReply},
};

fn told(world: &World) -> Vec<&RepairRow> {
    let repair = |notice: &'_ Notice| matches!(notice, Notice::Repair(_));
    let told = world.notices.iter().filter(|notice| repair(notice));
    told.filter_map(|notice| if let Notice::Repair(row) = notice { Some(&**row) } else { None }).collect()
}

#[test]
fn shards_of_a_lost_node_stand_elsewhere_again_under_the_same_names() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let before = world.view(segment);
    world.lose(before.placements[2].node);
    world.run(5000);
    world.assert_whole(segment);
    let after = world.placement(segment, 2);
    assert_ne!(after.node, before.placements[2].node);
    assert_eq!(after.shard, before.placements[2].shard);
    assert!(after.fence > Fence::default());
    let rows = world.repairs();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].state, rows[0].from, rows[0].to),
        (RepairState::Done, Some(before.placements[2].node), after.node)
    );
    assert_eq!(rows[0].bytes, after.len);
    let states: Vec<RepairState> = told(&world).iter().map(|row| row.state).collect();
    assert_eq!(states, vec![RepairState::Running, RepairState::Done]);
    // The copy on the lost node is to be deleted when it comes back.
    let peer = before.placements[2].node;
    assert!(world.peers[&peer].held.contains_key(&after.shard));
    world.peer(peer).up = true;
    world.run(15_000);
    assert!(!world.peers[&peer].held.contains_key(&after.shard));
}

#[test]
fn a_shard_lost_by_a_node_that_stands_goes_back_in_place() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let lost = world.placement(segment, 1);
    world.lose_shard(&lost);
    world.run(3000);
    world.assert_whole(segment);
    let after = world.placement(segment, 1);
    assert_eq!(after.node, lost.node);
    assert_ne!(after.sequence, lost.sequence);
    assert!(world.recoveries[0].targets[0].in_place);
}

#[test]
fn a_put_below_all_shards_is_completed() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 4);
    assert_eq!(world.view(segment).placements.len(), 4);
    world.run(3000);
    world.assert_whole(segment);
    assert_eq!(world.repairs()[0].from, None);
}

#[test]
fn a_segment_beyond_recovery_is_told_once_and_repaired_when_shards_come_back() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let placements = world.view(segment).placements;
    let kept: Vec<_> = placements[..3].to_vec();
    let copies: Vec<_> = kept.iter().map(|p| world.peers[&p.node].held[&p.shard].clone()).collect();
    for placement in &kept {
        world.lose_shard(placement);
    }
    world.run(60_000);
    let stuck = |notice: &&Notice| matches!(notice, Notice::Stuck { unrecoverable: true, .. });
    let found: Vec<_> = world.notices.iter().filter(stuck).collect();
    assert_eq!(found.len(), 1);
    let Notice::Stuck { reason, .. } = found[0] else { panic!("stuck") };
    assert!(reason.contains("2 whole shards are left, 3 are needed"), "{reason}");
    assert_eq!(world.recoveries.len(), 3, "each of the lost is looked for once, and no more");
    // One of them turns up again: the audit finds it and says so.
    world.peer(kept[0].node).held.insert(kept[0].shard, copies[0].clone());
    let change = crate::store::StandingChange {
        segment,
        index: kept[0].index,
        node: kept[0].node,
        sequence: kept[0].sequence,
        standing: crate::model::Standing::Good,
    };
    let audit = crate::model::AuditRow {
        id: holdfast_types::AuditId([0x77; 32]),
        node: kept[0].node,
        lane: crate::model::Lane::Fold,
        seed: holdfast_types::Seed([0; 32]),
        runs: vec![],
        set_digest: [0; 32],
        opened: Wall(0),
    };
    world.store.apply(StoreOp::OpenAudit(Box::new(audit)));
    let StoreReply::Verdicts(mut verdicts) = world.store.apply(StoreOp::LatestVerdicts { node: None, limit: 1 }) else {
        panic!("verdicts")
    };
    let mut verdict = verdicts.remove(0);
    verdict.audit = holdfast_types::AuditId([0x77; 32]);
    world.store.apply(StoreOp::CloseAudit { verdict: Box::new(verdict), changes: vec![change] });
    world.run(10_000);
    world.assert_whole(segment);
}

#[test]
fn a_lying_source_is_audited_and_does_not_stop_the_repair() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let placements = world.view(segment).placements;
    // Node of shard 0 has other bytes than it should, and nobody knows.
    world.peer(placements[0].node).held.get_mut(&placements[0].shard).unwrap().1[77] ^= 1;
    world.lose(placements[4].node);
    world.run(10_000);
    let after = world.placement(segment, 4);
    assert!(after.standing.is_good());
    // The suspicion made the audits look, and they found it; the repair of that shard followed.
    let judged = |notice: &&Notice| matches!(notice, Notice::Verdict(verdict) if verdict.node == placements[0].node);
    assert!(world.notices.iter().filter(judged).count() > 0);
}

#[test]
fn a_target_that_signs_and_drops_is_not_placed_and_not_chosen_again() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let placements = world.view(segment).placements;
    let holders: Vec<_> = placements.iter().map(|placement| placement.node).collect();
    let others: Vec<_> = world.peers.keys().filter(|node| !holders.contains(node)).copied().collect();
    // Of the three nodes left, all lie but one.
    for liar in &others[..2] {
        world.peer(*liar).liar = true;
    }
    world.lose(placements[3].node);
    world.run(30_000);
    world.assert_whole(segment);
    assert_eq!(world.placement(segment, 3).node, others[2]);
    for row in world.repairs().iter().filter(|row| others[..2].contains(&row.to)) {
        assert_eq!(row.state, RepairState::Failed);
        assert!(!row.reason.is_empty());
    }
    assert_eq!(world.repairs().iter().filter(|row| row.state == RepairState::Done).count(), 1);
}

/// Attack: a node that reports its shard damaged gets it back in place, proves it, and signs it under a number that the
/// catalog fails at, each time it is asked. Nobody else is repaired meanwhile.
#[test]
fn a_target_that_signs_a_number_that_no_catalog_keeps_is_not_placed_and_holds_up_nobody() {
    let mut world = World::with(Profile { repairs: 1, ..profile() });
    let (segment, _) = world.put(1, 5);
    let (other, _) = world.put(2, 5);
    world.run(1000);
    let (lost, behind) = (world.placement(segment, 1), world.placement(other, 2));
    world.peer(lost.node).boasts = true;
    world.lose_shard(&lost);
    world.run(1000);
    world.lose_shard(&behind);
    world.run(4000);
    assert_ne!(world.placement(segment, 1).node, lost.node);
    world.assert_whole(segment);
    world.assert_whole(other);
    let failed: Vec<RepairRow> = world.repairs().into_iter().filter(|row| row.state == RepairState::Failed).collect();
    let [row] = &failed[..] else { panic!("one failure, got {failed:?}") };
    assert_eq!((row.to, row.index), (lost.node, ShardIndex(1)));
    assert!(row.reason.contains("above the greatest"), "{}", row.reason);
}

/// A catalog that fails at one placement for ever, for whatever reason: it is the repair of one segment that suffers.
#[test]
fn a_placement_that_the_catalog_always_fails_at_is_given_up() {
    let mut world = World::with(Profile { repairs: 1, ..profile() });
    let (segment, _) = world.put(1, 5);
    let (other, _) = world.put(2, 5);
    world.run(1000);
    let (lost, behind) = (world.placement(segment, 1), world.placement(other, 2));
    world.fails_at = |op| matches!(op, StoreOp::Place { placement, .. } if placement.segment == SegmentId([1; 16]));
    world.lose_shard(&lost);
    world.run(1000);
    world.lose_shard(&behind);
    world.run(40_000);
    world.assert_sound(segment);
    let placed = world.placement(other, 2);
    assert!(placed.standing.is_good(), "its turn came");
    let rows = world.repairs();
    let failed = rows.iter().find(|row| row.state == RepairState::Failed).expect("given up");
    assert_eq!((failed.segment, failed.to), (segment, lost.node));
    assert!(rows.iter().any(|row| row.segment == segment && row.to != lost.node), "tried elsewhere: {rows:?}");
    world.fails_at = |_| false;
    world.run(10_000);
    world.assert_whole(segment);
}

/// The reply to a placement gets lost with the catalog's disk, and the placement stands.
#[test]
fn a_placement_that_was_made_stands_whatever_the_catalog_said() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let lost = world.placement(segment, 1);
    world.fails_at = |op| matches!(op, StoreOp::Place { .. });
    world.lose_shard(&lost);
    world.run(20_000);
    // Done behind the machine's back, as its own request would have done it.
    let Some(Effect::Store(_, place)) = pending_place(&mut world) else { panic!("a placement is wished for") };
    assert_eq!(world.store.apply(*place), StoreReply::Done);
    world.run(20_000);
    let rows = world.repairs();
    assert_eq!(rows.iter().map(|row| (row.state, row.to)).collect::<Vec<_>>(), [(RepairState::Done, lost.node)]);
    world.fails_at = |_| false;
    world.assert_whole(segment);
}

/// The next wish for a placement; what comes before it is carried out.
fn pending_place(world: &mut World) -> Option<Effect> {
    for _ in 0..8 {
        world.tick();
        while let Some(next) = world.wishes.front() {
            if matches!(next, Effect::Store(_, op) if matches!(**op, StoreOp::Place { .. })) {
                return Some(next.clone());
            }
            world.carry_one();
        }
    }
    None
}

#[test]
fn a_repair_that_is_given_up_between_two_writes_says_so() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let lost = world.placement(segment, 1);
    world.lose_shard(&lost);
    world.hold_recoveries = true;
    world.run(1000);
    let (token, job) = world.held_back.remove(0);
    // From here on the catalog neither places nor reads the segment.
    world.fails_at = |op| matches!(op, StoreOp::Place { .. } | StoreOp::Segment(_));
    let outcome = world.recover(job);
    world.tell(Event::Recovered(token, Box::new(outcome)));
    world.run(12 * 30_000 + 2000);
    let row = world.repairs().pop().expect("a repair");
    assert_eq!((row.state, row.to), (RepairState::Failed, lost.node));
    world.fails_at = |_| false;
    world.hold_recoveries = false;
    for _ in 0..3 {
        while let Some((token, job)) = world.held_back.pop() {
            let outcome = world.recover(job);
            world.tell(Event::Recovered(token, Box::new(outcome)));
        }
        world.run(10_000);
    }
    world.assert_whole(segment);
}

/// A fold and an opening are under way there: the shard that was just written is no worse for it.
#[test]
fn a_target_that_is_busy_is_asked_to_prove_its_shard_later() {
    let refusals = profile().refusals_max;
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let lost = world.placement(segment, 1);
    world.peer(lost.node).busy = refusals;
    world.lose_shard(&lost);
    world.run(10_000);
    assert_eq!(world.peers[&lost.node].busy, 0);
    assert_eq!(world.placement(segment, 1).node, lost.node);
    assert_eq!(world.recoveries.len(), 1, "recovered once");
    assert_eq!(world.repairs().iter().map(|row| row.state).collect::<Vec<_>>(), [RepairState::Done]);
    world.assert_whole(segment);
}

/// Attack: "busy", for ever, to whoever asks for a proof of what was just written.
#[test]
fn a_target_that_is_always_busy_is_given_up() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let lost = world.placement(segment, 1);
    world.peer(lost.node).busy = 1000;
    world.lose_shard(&lost);
    world.run(15_000);
    assert_eq!(1000 - world.peers[&lost.node].busy, profile().refusals_max + 1);
    assert_ne!(world.placement(segment, 1).node, lost.node);
    world.peer(lost.node).busy = 0;
    world.assert_whole(segment);
}

#[test]
fn a_full_target_is_left_alone_for_the_next_try() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let lost = world.placement(segment, 0);
    world.peer(lost.node).full = true;
    world.lose_shard(&lost);
    world.run(10_000);
    world.assert_whole(segment);
    assert_ne!(world.placement(segment, 0).node, lost.node);
}

#[test]
fn a_segment_without_a_place_waits_for_a_node_and_says_why() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let placements = world.view(segment).placements;
    let holders: Vec<_> = placements.iter().map(|placement| placement.node).collect();
    for node in world.peers.keys().copied().collect::<Vec<_>>() {
        if !holders.contains(&node) {
            world.lose(node);
        }
    }
    world.lose(placements[0].node);
    world.run(20_000);
    let reasons: Vec<&String> = world
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Stuck { unrecoverable: false, reason, .. } => Some(reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("3+2 needs 5 nodes"), "{}", reasons[0]);
    world.register(0x40);
    world.run(10_000);
    world.assert_whole(segment);
}

#[test]
fn as_many_repairs_run_as_the_profile_allows_and_the_worst_first() {
    let mut world = World::with(Profile { repairs: 1, ..profile() });
    let segments: Vec<SegmentId> = (1..=3).map(|n| world.put(n, 5).0).collect();
    world.run(1000);
    world.hold_recoveries = true;
    for (segment, losses) in segments.iter().zip([1, 2, 1]) {
        for index in 0..losses {
            let lost = world.placement(*segment, index);
            world.lose_shard(&lost);
        }
    }
    world.run(2000);
    assert_eq!(world.core.repairs_running(), 1);
    assert_eq!(world.held_back.len(), 1);
    assert_eq!(world.held_back[0].1.segment, segments[1]);
    world.hold_recoveries = false;
    let (token, job) = world.held_back.remove(0);
    let outcome = world.recover(job);
    world.tell(Event::Recovered(token, Box::new(outcome)));
    world.run(10_000);
    segments.into_iter().for_each(|segment| world.assert_whole(segment));
}

#[test]
fn a_lazy_policy_waits_for_its_threshold_or_for_the_last_zone() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let nodes = world.nodes();
    let mut view = world.view(segment);
    view.segment.repair_threshold = POLICY.0 + 1;
    let health = |view: &_| crate::repair::plan::health(view, &nodes);
    assert!(!crate::repair::plan::is_due(&view, health(&view)), "whole");
    view.placements[0].standing = crate::model::Standing::Lost;
    let found = health(&view);
    assert_eq!(found.good, 4);
    // Four left, of them at most two in one zone: at the threshold anyway.
    assert!(crate::repair::plan::is_due(&view, found));
    // A policy that would wait: only the zone decides.
    view.segment.repair_threshold = POLICY.0;
    assert_eq!(crate::repair::plan::is_due(&view, found), found.good - found.largest_zone < POLICY.0);
}

/// Runs a repair and dies after `steps` effects; `told`: whether the last one's reply still arrives.
fn crash_after(steps: usize, told: bool) -> (World, SegmentId, bool) {
    // Without commitments there are no folds, whose proofs take most of the time.
    let mut world = World::with(Profile { commits: 0, ..profile() });
    let (segment, _) = world.put(1, 5);
    world.run(2000);
    let placements = world.view(segment).placements;
    world.lose(placements[4].node);
    world.lose_shard(&placements[1]);
    let (mut done, mut ticks) = (0, 0);
    let finished = loop {
        if done == steps {
            if !told {
                world.do_one();
            }
            break false;
        }
        if world.wishes.is_empty() {
            ticks += 1;
            if ticks > 16 {
                break true;
            }
            world.tick();
            continue;
        }
        world.carry_one();
        done += 1;
    };
    world.assert_sound(segment);
    world.crash();
    (world, segment, finished)
}

#[test]
fn dying_between_any_two_effects_of_a_repair_loses_nothing() {
    for told in [true, false] {
        let mut steps = 0;
        loop {
            let (mut world, segment, finished) = crash_after(steps, told);
            // The lease of the dead process has to run out, and a failed try is repeated.
            for _ in 0..40 {
                world.run(1000);
                world.assert_sound(segment);
            }
            world.assert_whole(segment);
            let rows = world.repairs();
            assert!(rows.iter().all(|row| row.state != RepairState::Running), "{rows:?}");
            for index in [1, 4] {
                let placed = world.placement(segment, index);
                let done = rows.iter().find(|row| row.index == ShardIndex(index) && row.fence == placed.fence);
                assert_eq!(done.map(|row| row.state), Some(RepairState::Done), "step {steps}, shard {index}");
            }
            if finished {
                break;
            }
            steps += 1;
        }
        assert!(steps > 20, "{steps}");
    }
}

#[test]
fn a_holder_that_wakes_after_its_lease_changes_nothing() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let lost = world.placement(segment, 2);
    world.lose(lost.node);
    world.hold_recoveries = true;
    world.run(2000);
    let (token, job) = world.held_back.remove(0);
    // The first auditor falls asleep in the middle of its recovery; a second one takes over when the lease has run out.
    let sleeper = std::mem::replace(&mut world.core, Auditor::new(world.config.clone()));
    world.wishes.clear();
    world.hold_recoveries = false;
    world.run(45_000);
    world.assert_whole(segment);
    let after = world.placement(segment, 2);
    assert!(after.fence > job.fence);
    // It wakes, with shards that it wrote long ago.
    let second = std::mem::replace(&mut world.core, sleeper);
    world.wishes.clear();
    let target = job.targets[0].clone();
    let mut receipts = Vec::new();
    let bytes = world.peers[&after.node].held[&after.shard].1.clone();
    let owner = world.owner.owner_id();
    let peer = world.peer(target.node);
    if peer.held.contains_key(&target.shard) {
        let sequence = peer.held[&target.shard].0;
        receipts.push((target.index, peer.receipt(owner, target.shard, bytes.len() as u64, sequence)));
    } else {
        peer.next += 1;
        let sequence = holdfast_types::Sequence(peer.next);
        peer.held.insert(target.shard, (sequence, bytes.clone()));
        receipts.push((target.index, peer.receipt(owner, target.shard, bytes.len() as u64, sequence)));
    }
    let outcome = crate::effect::RecoverOutcome {
        placed: receipts,
        bad_sources: vec![],
        silent_sources: vec![],
        failed_targets: vec![],
        reason: String::new(),
    };
    world.tell(Event::Recovered(token, Box::new(outcome)));
    while world.carry_one() {}
    world.run(2000);
    assert_eq!(world.placement(segment, 2), after);
    world.core = second;
    world.wishes.clear();
    world.run(5000);
    world.assert_sound(segment);
}

#[test]
fn a_lease_is_renewed_while_a_recovery_lasts() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let lost = world.placement(segment, 2);
    world.lose(lost.node);
    world.hold_recoveries = true;
    world.run(100_000);
    let (token, job) = world.held_back.remove(0);
    assert!(world.held_back.is_empty(), "one recovery, however long it takes");
    let outcome = world.recover(job);
    world.tell(Event::Recovered(token, Box::new(outcome)));
    world.run(2000);
    world.assert_whole(segment);
}

#[test]
fn deleting_the_object_ends_its_repair_and_leaves_no_shard() {
    let mut world = World::new();
    let (segment, object) = world.put(1, 5);
    world.run(1000);
    let lost = world.placement(segment, 2);
    world.lose(lost.node);
    world.hold_recoveries = true;
    world.run(2000);
    let (token, job) = world.held_back.remove(0);
    let outcome = world.recover(job.clone());
    world.delete(object);
    world.tell(Event::Recovered(token, Box::new(outcome)));
    world.run(20_000);
    assert_eq!(world.store.apply(StoreOp::Segment(segment)), StoreReply::NotFound);
    assert_eq!(world.core.repairs_running(), 0);
    assert!(world.repairs().iter().all(|row| row.state == RepairState::Failed));
    // The shard that the repair wrote is an orphan; all others are gone, but on the node that is down.
    for (node, peer) in &world.peers {
        let left: Vec<_> = peer.held.keys().collect();
        let expected = *node == lost.node || *node == job.targets[0].node;
        assert_eq!(left.is_empty(), !expected, "{node}");
    }
}

#[test]
fn a_busy_pool_delays_a_repair_and_loses_nothing() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(1000);
    let lost = world.placement(segment, 2);
    world.lose_shard(&lost);
    // Every request is refused once before it is carried out.
    let mut refused = std::collections::BTreeSet::new();
    for _ in 0..400 {
        world.tick();
        let mut number = 0u64;
        while let Some(effect) = world.wishes.front().cloned() {
            let token = match &effect {
                Effect::Store(token, _) | Effect::Verify(token, _) | Effect::Commit(token, _) => Some(*token),
                Effect::Recover(token, _) | Effect::Send { token, .. } => Some(*token),
                Effect::Cancel(_) | Effect::Publish(_) => None,
            };
            number += 1;
            match token {
                Some(token) if token.0 % 2 == 0 && refused.insert(token) => {
                    world.wishes.pop_front();
                    world.tell(Event::Busy(token));
                }
                Some(_) | None => drop(world.carry_one()),
            }
            assert!(number < 10_000);
        }
    }
    world.assert_whole(segment);
}

fn retrievals(world: &World) -> Vec<&Verdict> {
    let verdict = |notice: &'_ Notice| matches!(notice, Notice::Verdict(verdict) if verdict.lane == Lane::Retrieve);
    let told = world.notices.iter().filter(|notice| verdict(notice));
    told.filter_map(|notice| if let Notice::Verdict(verdict) = notice { Some(&**verdict) } else { None }).collect()
}

/// Attack: a node proves its shards and gives none of them to whoever repairs.
#[test]
fn a_source_that_gives_nothing_holds_up_no_repair_and_its_shard_is_made_anew_elsewhere() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(2000);
    let (withheld, lost) = (world.placement(segment, 1), world.placement(segment, 3));
    world.peer(withheld.node).withholds = true;
    world.lose(lost.node);
    world.run(2000);
    assert_ne!(world.placement(segment, 3).node, lost.node, "the repair goes on without it");
    assert!(retrievals(&world).is_empty(), "one failed read is no verdict");
    world.run(20_000);
    let verdicts = retrievals(&world);
    let [verdict] = verdicts[..] else { panic!("one verdict, got {verdicts:?}") };
    assert_eq!((verdict.node, verdict.outcome), (withheld.node, Outcome::Refused));
    assert_eq!(verdict.exceptions.iter().map(|e| e.shard).collect::<Vec<_>>(), [withheld.shard]);
    assert!(verdict.took >= Millis(4000), "as long as a silent node has: {}", verdict.took);
    // Not in place: it would say again that it has it.
    assert_ne!(world.placement(segment, 1).node, withheld.node);
    world.assert_whole(segment);
}

#[test]
fn a_read_that_failed_once_costs_nothing() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(2000);
    let (busy, lost) = (world.placement(segment, 1), world.placement(segment, 3));
    world.peer(busy.node).withholds = true;
    world.lose(lost.node);
    world.run(2500);
    world.peer(busy.node).withholds = false;
    world.run(20_000);
    assert!(retrievals(&world).is_empty());
    assert_eq!(world.placement(segment, 1).node, busy.node);
    world.assert_whole(segment);
}

#[test]
fn a_shard_that_was_deleted_while_it_could_not_be_read_is_nobodys_fault() {
    let mut world = World::new();
    let (segment, object) = world.put(1, 5);
    world.run(2000);
    let (withheld, lost) = (world.placement(segment, 1), world.placement(segment, 3));
    world.peer(withheld.node).withholds = true;
    world.lose(lost.node);
    world.run(2500);
    world.delete(object);
    world.run(20_000);
    assert!(retrievals(&world).is_empty());
}

/// Attack: "not yet" to every question about commitments, and no byte to whoever computes them instead.
#[test]
fn a_shard_that_is_neither_committed_to_nor_given_does_not_stay_pending_for_ever() {
    let mut world = World::with(Profile { commit_deadline: Millis::from_secs(5), ..profile() });
    let (segment, _) = world.put(1, 5);
    let withheld = world.placement(segment, 2);
    world.peer(withheld.node).withholds = true;
    world.peer(withheld.node).manners = Manners::Slow(u32::MAX);
    world.run(40_000);
    assert_eq!(retrievals(&world).len(), 1);
    assert_ne!(world.placement(segment, 2).node, withheld.node);
    world.assert_whole(segment);
}

#[test]
fn a_withheld_shard_that_has_nowhere_else_to_go_goes_back() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    world.run(2000);
    let held: Vec<_> = world.view(segment).placements.iter().map(|placement| placement.node).collect();
    let spare: Vec<_> = world.peers.keys().copied().filter(|node| !held.contains(node)).collect();
    spare.into_iter().for_each(|node| world.lose(node));
    let (withheld, lost) = (world.placement(segment, 1), world.placement(segment, 3));
    world.peer(withheld.node).withholds = true;
    world.lose_shard(&lost);
    world.run(40_000);
    assert_eq!(retrievals(&world).len(), 1);
    assert_eq!(world.placement(segment, 1).node, withheld.node, "better than none");
    world.assert_whole(segment);
}
