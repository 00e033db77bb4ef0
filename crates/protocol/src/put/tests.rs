//! A put against an auditor and nodes that are played by hand.

mod world;

use holdfast_types::{OwnerId, ShardIndex};

use super::*;
use crate::message::{Receipt, SendFailure};
use world::*;

#[test]
fn a_segment_goes_to_all_its_nodes_and_is_noted_before_it_is_let_go() {
    let mut world = World::new(N);
    assert!(world.stage().is_empty());
    world.store(well);
    assert_eq!(world.released(), None, "the auditor does not know yet");
    world.note();
    assert_eq!(world.released(), Some(0));
    assert!(world.commits().is_empty(), "more may come");
    world.tell(Event::Ended);
    let commits = world.commits();
    assert_eq!(commits.len(), 1);
    world.tell(Event::Committed(commits[0], Ok(())));
    assert_eq!(world.asked, [Effect::Done]);
}

#[test]
fn a_node_that_dies_is_tried_again_and_then_replaced() {
    let mut world = World::new(N);
    world.stage();
    world.store(down(&[3]));
    assert!(world.notes().is_empty(), "the dead node has another try");
    world.doze();
    world.store(down(&[3]));
    // What the others hold is noted first, or a staging that avoids could move it.
    world.note();
    assert_eq!(world.stage(), [3]);
    let sent = world.stores();
    assert_eq!(sent.iter().map(|(_, index, node)| (*index, *node)).collect::<Vec<_>>(), [(2, 7)]);
    world.tell(Event::Stored(sent[0].0, Ok(receipt(7, 2))));
    world.note();
    assert_eq!(world.released(), Some(0));
    // The next segment avoids it from the start.
    world.tell(Event::Segment { id: SegmentId([8; 16]), shards: (0..N).map(shard).collect(), shard_len: LEN });
    assert_eq!(world.stages()[0].1, [key(3).public().node_id()]);
}

#[test]
fn expired_grants_are_renewed_and_no_node_pays_for_them() {
    let mut world = World::new(N);
    world.stage();
    world.store(|_| Some(SendFailure::Denied("the grant expired".into())));
    assert!(world.stage().is_empty(), "nobody is avoided");
    world.store(well);
    world.note();
    assert_eq!(world.released(), Some(0));
}

#[test]
fn a_node_that_denies_every_fresh_grant_is_replaced() {
    let mut world = World::new(N);
    world.stage();
    for _ in 0..3 {
        world.store(|node| (node == 2).then_some(SendFailure::Denied("no".into())));
        world.note();
        if world.stage() == [2] {
            world.store(well);
            world.note();
            assert_eq!(world.released(), Some(0));
            return;
        }
    }
    panic!("the node was never avoided");
}

#[test]
fn a_receipt_lost_on_its_way_to_the_auditor_is_sent_again() {
    let mut world = World::new(N);
    world.stage();
    world.store(well);
    let (token, receipts) = world.notes().remove(0);
    world.tell(Event::Noted(token, Err(CallFailure::Later { after: None, why: "restarting".into() })));
    assert!(world.notes().is_empty(), "not at once");
    world.doze();
    let (token, again) = world.notes().remove(0);
    assert_eq!(again, receipts);
    world.tell(Event::Noted(token, Ok(u32::from(N))));
    assert_eq!(world.released(), Some(0));
}

#[test]
fn a_receipt_that_was_not_noted_is_asked_for_again() {
    let mut world = World::new(N);
    world.stage();
    world.store(well);
    let (token, _) = world.notes().remove(0);
    // The auditor noted all but the last, and says only how many.
    world.places.iter_mut().take(usize::from(N) - 1).for_each(|place| place.1 = true);
    world.tell(Event::Noted(token, Ok(u32::from(N) - 1)));
    world.stage();
    let sent = world.stores();
    assert_eq!(sent.iter().map(|(_, index, _)| *index).collect::<Vec<_>>(), [N - 1]);
    world.tell(Event::Stored(sent[0].0, Ok(receipt(N as u8, N - 1))));
    world.note();
    assert_eq!(world.released(), Some(0));
}

#[test]
fn a_put_outlives_a_restart_of_the_auditor_and_not_its_death() {
    let mut world = World::new(N);
    let later = || CallFailure::Later { after: None, why: "no connection".into() };
    let token = world.stages()[0].0;
    world.tell(Event::Staged(token, Err(later())));
    world.doze();
    world.stage();
    world.store(well);
    world.note();
    world.tell(Event::Ended);
    let mut asked = 0;
    loop {
        match world.commits().first() {
            Some(token) => world.tell(Event::Committed(*token, Err(later()))),
            None if world.put.deadline().is_some() => world.doze(),
            None => break,
        }
        asked += 1;
        assert!(asked < 1000, "gives up");
    }
    let error = world.failed().expect("over");
    assert!(matches!(error, PutError::AuditorSilent { call: "CommitUpload", .. }), "{error}");
    assert!(world.now >= Mono(1000) + Patience::default().auditor);
}

#[test]
fn a_commit_that_was_not_answered_is_made_again() {
    let mut world = World::new(N);
    world.stage();
    world.store(well);
    world.note();
    world.tell(Event::Ended);
    let first = world.commits()[0];
    world.tell(Event::Committed(first, Err(CallFailure::Later { after: Some(Millis(700)), why: "busy".into() })));
    world.wait(699);
    assert!(world.commits().is_empty());
    world.wait(1);
    let second = world.commits()[0];
    // The first one's answer comes late: nobody waits for it.
    world.tell(Event::Committed(first, Ok(())));
    assert!(!world.asked.contains(&Effect::Done));
    world.tell(Event::Committed(second, Ok(())));
    assert!(world.asked.contains(&Effect::Done));
}

#[test]
fn when_places_run_out_the_threshold_is_enough_and_the_rest_is_owed() {
    let mut world = World::new(N - 1);
    world.stage();
    let dead: &[u8] = &[6, 7, 8, 9, 10];
    for _ in 0..40 {
        world.store(down(dead));
        world.note();
        if let Some(owed) = world.released() {
            assert_eq!(owed, 1);
            return;
        }
        match world.put.deadline() {
            Some(_) => world.doze(),
            None => drop(world.stage()),
        }
    }
    panic!("never released");
}

#[test]
fn below_the_threshold_a_put_ends_and_says_how_far_it_came() {
    let mut world = World::new(N);
    world.stage();
    for _ in 0..60 {
        world.store(down(&[5, 6, 7, 8, 9, 10]));
        world.note();
        if let Some(error) = world.failed() {
            let said = error.to_string();
            assert!(said.contains("4 of 6 shards") && said.contains("needs 6"), "{said}");
            assert_eq!(world.put.in_flight(), 0);
            return;
        }
        match world.put.deadline() {
            Some(_) => world.doze(),
            None => drop(world.stage()),
        }
    }
    panic!("never ended");
}

#[test]
fn a_silent_node_is_given_up_in_time_and_its_late_answer_is_dropped() {
    let mut world = World::new(N);
    world.stage();
    let sent = world.stores();
    for (token, index, node) in &sent[1..] {
        world.tell(Event::Stored(*token, Ok(receipt(*node, *index))));
    }
    world.doze();
    assert!(world.asked.contains(&Effect::Cancel(sent[0].0)));
    world.note();
    world.tell(Event::Stored(sent[0].0, Ok(receipt(1, 0))));
    assert_eq!(world.stage(), [1]);
    world.store(well);
    world.note();
    assert_eq!(world.released(), Some(0));
}

#[test]
fn a_receipt_that_somebody_else_signed_or_that_no_catalog_keeps_is_no_receipt() {
    let forgeries: [fn(&mut Receipt); 6] = [
        |receipt| receipt.signature.bytes[0] ^= 1,
        |receipt| receipt.shard = shard(5),
        |receipt| receipt.len += 1,
        |receipt| receipt.owner = OwnerId([9; 32]),
        |receipt| *receipt = *self::receipt(9, 0),
        // Its own word, for a number that no catalog keeps.
        |receipt| {
            receipt.sequence = holdfast_types::Sequence(holdfast_types::Sequence::MAX.0 + 1);
            receipt.signature = key(1).sign(&receipt.transcript());
        },
    ];
    for forge in forgeries {
        let mut world = World::new(N);
        world.stage();
        for (token, index, node) in world.stores() {
            let mut said = receipt(node, index);
            if node == 1 {
                forge(&mut said);
            }
            world.tell(Event::Stored(token, Ok(said)));
        }
        let (_, receipts) = &world.notes()[0];
        assert!(receipts.iter().all(|(index, _)| index.0 != 0));
        let avoided =
            |effect: &Effect| matches!(effect, Effect::Avoid { node, .. } if *node == key(1).public().node_id());
        assert!(world.asked.iter().any(avoided));
    }
}

#[test]
fn a_busy_node_is_waited_for_as_long_as_it_asks() {
    let mut world = World::new(N);
    world.stage();
    world.store(|node| (node == 4).then_some(SendFailure::Refused { retry_after: Millis(900) }));
    world.wait(899);
    assert!(world.stores().is_empty());
    world.wait(1);
    world.store(well);
    world.note();
    assert_eq!(world.released(), Some(0));
}

#[test]
fn places_that_make_no_sense_end_the_put() {
    let mangle: [fn(&mut Vec<Slot>); 3] =
        [|slots| slots.truncate(5), |slots| slots[1].shard = shard(4), |slots| slots[1].node = slots[0].node];
    for mangle in mangle {
        let mut world = World::new(N);
        let token = world.stages()[0].0;
        let slot = |index: u16| Slot {
            index: ShardIndex(index),
            shard: shard(index),
            node: key(index as u8 + 1).public().node_id(),
            key: key(index as u8 + 1).public(),
            held: false,
        };
        let mut slots: Vec<Slot> = (0..N).map(slot).collect();
        mangle(&mut slots);
        world.tell(Event::Staged(token, Ok(slots)));
        assert!(matches!(world.failed(), Some(PutError::Malformed { .. })));
    }
}

#[test]
fn an_impossible_policy_is_refused_at_once_with_the_auditors_words() {
    let mut world = World::new(N);
    let token = world.stages()[0].0;
    world.tell(Event::Staged(token, Err(CallFailure::No("6 shards need 6 nodes, 4 take shards".into()))));
    let error = world.failed().expect("over");
    assert!(error.to_string().contains("6 shards need 6 nodes"), "{error}");
}
