//! Silence: the same challenge again, then loss; and the way back.

use holdfast_types::{Millis, Mono, Wall};

use super::world::{SEGMENTS, World, honest};
use crate::{
    effect::Notice,
    message::{AnswerBody, Ask, NodeReply, SendFailure},
    model::{Fault, NodeLife, Outcome, Standing},
    store::{Store, StoreOp, StoreReply},
};

#[test]
fn a_dead_node_is_contained_asked_again_and_lost_shard_by_shard() {
    let mut world = World::new();
    world.peers[0].up = false;
    world.run(300);
    assert_eq!(world.lives(), [NodeLife::Contained]);
    assert!(world.verdicts().is_empty(), "no verdict before it had its chances");
    world.run(10_000);
    assert_eq!(world.lives().last(), Some(&NodeLife::Suspended));
    let verdicts = world.verdicts();
    let [lost] = verdicts[..] else { panic!("one verdict, got {verdicts:?}") };
    assert_eq!(lost.outcome, Outcome::Unreachable);
    assert_eq!(lost.exceptions.len(), SEGMENTS);
    assert!(lost.exceptions.iter().all(|exception| exception.outcome == Outcome::Unreachable));
    // One, two and four seconds after the silence began, and not before.
    assert!(lost.took >= Millis(4000), "{}", lost.took);
    assert_eq!(world.placement(0).standing, Standing::Lost);
    world.assert_settled();
}

#[test]
fn a_node_that_comes_back_answers_the_same_challenge_and_a_fresh_one() {
    let mut world = World::new();
    world.manner(|_, _| Some(Err(SendFailure::Timeout)));
    world.run(300);
    assert_eq!(world.row().life, NodeLife::Contained);
    world.peers[0].manner = honest();
    world.run(5000);
    assert_eq!(world.lives(), [NodeLife::Contained, NodeLife::Active]);
    let asked = &world.peers[0].asked;
    assert_eq!(asked[0], asked[1], "the very same challenge");
    assert_ne!(asked[2].audit, asked[1].audit, "and a fresh one");
    assert_ne!(asked[2].seed, asked[1].seed);
    assert!(world.placement(0).standing.is_good());
    world.audit_now();
    world.run(500);
    world.assert_settled();
}

/// Attack: answer the repeated challenge, but not the fresh one.
#[test]
fn the_same_challenge_alone_does_not_free_a_node() {
    let mut world = World::new();
    let mut first = None;
    let mut seen = 0;
    world.manner(move |challenge, answer| {
        seen += 1;
        let same = *first.get_or_insert(challenge.digest()) == challenge.digest();
        if same && seen > 1 { Some(Ok(NodeReply::Answer(Box::new(answer)))) } else { Some(Err(SendFailure::Timeout)) }
    });
    world.run(20_000);
    assert!(!world.lives().contains(&NodeLife::Active));
    assert_eq!(world.lives().last(), Some(&NodeLife::Suspended));
    world.assert_settled();
}

/// Attack: "later", for ever.
#[test]
fn endless_refusal_is_contained_and_lost_as_refused() {
    let mut world = World::new();
    world.manner(|_, _| Some(Err(SendFailure::Refused { retry_after: Millis(200) })));
    world.run(20_000);
    let asked = &world.peers[0].asked;
    assert!(asked.len() > 4 && asked[..4].iter().all(|challenge| *challenge == asked[0]), "the same question waits");
    assert_eq!(world.lives().last(), Some(&NodeLife::Suspended));
    let verdicts = world.verdicts();
    assert_eq!(verdicts.last().expect("a verdict").outcome, Outcome::Refused);
    world.assert_settled();
}

/// Attack: "no", for ever, in a status that nobody signs; the bytes are gone.
#[test]
fn endless_denial_is_silence_and_never_our_own_fault() {
    let mut world = World::new();
    world.peers[0].held.clear();
    world.manner(|_, _| Some(Err(SendFailure::Denied("you are no auditor of mine".into()))));
    world.run(30_000);
    let asked = &world.peers[0].asked;
    assert!(asked.len() > 4 && asked[..4].iter().all(|challenge| *challenge == asked[0]), "the same question waits");
    assert_eq!(world.lives(), [NodeLife::Contained, NodeLife::Contained, NodeLife::Contained, NodeLife::Suspended]);
    assert_eq!(world.verdicts().last().expect("a verdict").outcome, Outcome::Refused);
    assert_eq!(world.placement(0).standing, Standing::Lost);
    world.assert_settled();
}

/// Attack: the sample is answered; where the fold's falseness is looked for, "no".
#[test]
fn a_denial_of_the_judges_question_is_silence() {
    let mut world = World::new();
    world.held(0).bytes.fill(1);
    world.manner(|challenge, answer| match challenge.ask {
        Ask::Leaves { .. } => Some(Err(SendFailure::Denied("no".into()))),
        Ask::Fold { .. } | Ask::Sample { .. } => Some(Ok(NodeReply::Answer(Box::new(answer)))),
    });
    world.run(30_000);
    assert!(world.lives().contains(&NodeLife::Contained));
    assert!(!world.placement(0).standing.is_good());
}

#[test]
fn a_few_refusals_are_taken() {
    let mut world = World::new();
    let mut left = 3;
    world.manner(move |challenge, answer| {
        if left == 0 {
            return Some(Ok(NodeReply::Answer(Box::new(answer))));
        }
        left -= 1;
        let body = AnswerBody::Refused { retry_after: Millis(300) };
        let key = holdfast_types::SecretKey::from_seed(&[1; 32]);
        Some(Ok(NodeReply::Answer(Box::new(crate::answer::sign(challenge, answer.incarnation, body, &key)))))
    });
    world.run(3000);
    assert!(world.lives().is_empty());
    assert!(world.verdicts().iter().all(|verdict| verdict.outcome == Outcome::Held));
    world.assert_settled();
}

#[test]
fn no_word_at_all_is_late_and_a_word_after_that_is_dropped() {
    let mut world = World::new();
    world.manner(|_, _| None);
    world.run(6000);
    assert_eq!(world.row().containment.as_ref().expect("contained").outcome, Outcome::Late);
    let token = world.unanswered[0];
    let word = Err(SendFailure::Unreachable);
    assert!(!world.audits.on_answered(world.now, token, word, &world.nodes, &mut world.out));
}

#[test]
fn a_lost_node_that_still_has_everything_gets_it_back() {
    let mut world = World::new();
    world.peers[0].up = false;
    world.run(10_000);
    assert_eq!(world.row().life, NodeLife::Suspended);
    world.peers[0].up = true;
    let id = world.peers[0].id();
    world.audits.command(world.now, &crate::effect::Command::NodeChanged(id), &world.nodes);
    world.run(2000);
    assert_eq!(world.lives().last(), Some(&NodeLife::Active));
    for n in 0..SEGMENTS {
        assert!(world.placement(n).standing.is_good());
    }
    world.assert_settled();
}

#[test]
fn a_lost_node_that_comes_back_empty_gets_nothing_back() {
    let mut world = World::new();
    world.peers[0].up = false;
    world.run(10_000);
    world.peers[0].up = true;
    world.peers[0].held.clear();
    let id = world.peers[0].id();
    world.audits.command(world.now, &crate::effect::Command::NodeChanged(id), &world.nodes);
    world.run(10_000);
    for n in 0..SEGMENTS {
        assert_eq!(world.placement(n).standing, Standing::Lost);
    }
    assert_eq!(world.lives().last(), Some(&NodeLife::Active), "it may take new shards");
    world.assert_settled();
}

#[test]
fn an_audit_under_way_at_a_restart_is_inconclusive() {
    let mut world = World::new();
    world.manner(|_, _| None);
    world.run(200);
    world.restart();
    world.peers[0].manner = honest();
    world.run(500);
    let outcomes: Vec<_> = world.verdicts().iter().map(|verdict| verdict.outcome).collect();
    assert!(outcomes.contains(&Outcome::Inconclusive(Fault::Restarted)));
    assert!(outcomes.contains(&Outcome::Held));
    assert!(world.lives().is_empty());
    world.assert_settled();
}

#[test]
fn a_containment_goes_on_across_a_restart() {
    let mut world = World::new();
    world.manner(|_, _| Some(Err(SendFailure::Timeout)));
    world.run(300);
    let kept = world.row().containment.clone().expect("contained").audit;
    world.restart();
    world.run(300);
    let StoreReply::Audits(open) = world.store.apply(StoreOp::OpenAudits) else { panic!("audits") };
    assert!(open.iter().any(|row| row.id == kept), "its own challenge stays open");
    world.peers[0].manner = honest();
    world.run(5000);
    assert!(world.peers[0].asked.iter().filter(|challenge| challenge.audit == kept).count() >= 2);
    assert_eq!(world.lives().last(), Some(&NodeLife::Active));
    world.assert_settled();
}

#[test]
fn a_jump_of_our_clock_costs_no_node_anything() {
    let mut world = World::new();
    world.manner(|_, _| None);
    world.run(200);
    world.peers[0].manner = honest();
    world.now.wall = Wall(world.now.wall.0 + 7_200_000);
    world.run(10_000);
    let verdicts = world.verdicts();
    assert!(verdicts.iter().any(|verdict| verdict.outcome == Outcome::Inconclusive(Fault::Restarted)));
    assert!(world.lives().is_empty());
    world.assert_settled();
}

#[test]
fn a_sleep_of_ours_costs_no_node_anything() {
    let mut world = World::new();
    world.manner(|_, _| None);
    world.run(200);
    world.peers[0].manner = honest();
    world.now.mono = Mono(world.now.mono.0 + 60_000);
    world.now.wall = Wall(world.now.wall.0 + 60_000);
    let token = world.unanswered[0];
    // The driver's timer fires before the socket is read.
    let late = Err(SendFailure::Timeout);
    world.audits.on_answered(world.now, token, late, &world.nodes, &mut world.out);
    world.run(10_000);
    assert!(world.lives().is_empty());
    world.assert_settled();
}

#[test]
fn audits_that_stop_silently_raise_an_alarm_once() {
    let mut world = World::new();
    world.run(500);
    world.short_alarm(Millis(5000));
    world.run(20_000);
    let id = world.peers[0].id();
    let alarms = world.notices.iter().filter(|notice| **notice == Notice::Silence { node: id }).count();
    assert_eq!(alarms, 1);
}

#[test]
fn two_lanes_that_fall_silent_together_are_one_silence() {
    let mut world = World::new();
    world.two_at_once();
    world.peers[0].up = false;
    world.run(300);
    assert_eq!(world.row().containment.as_ref().expect("contained").attempts, 0);
    world.run(10_000);
    assert_eq!(world.lives().last(), Some(&NodeLife::Suspended));
    let lost = world.verdicts().into_iter().filter(|verdict| !verdict.exceptions.is_empty()).count();
    assert_eq!(lost, 1, "one verdict a shard");
    world.assert_settled();
}
