//! A put against an auditor and nodes that are played by hand.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{Incarnation, OwnerId, SecretKey, Sequence, ShardId, ShardIndex, Signature};

use super::*;
use crate::message::{Receipt, SendFailure};

const N: u16 = 6;
const LEN: u64 = 4096;
const SEGMENT: SegmentId = SegmentId([7; 16]);

fn owner() -> OwnerId {
    OwnerId([1; 32])
}

fn key(node: u8) -> SecretKey {
    SecretKey::from_seed(&[node; 32])
}

fn shard(index: u16) -> ShardId {
    ShardId::from_bytes([index as u8 + 100; 32])
}

fn receipt(node: u8, index: u16) -> Box<Receipt> {
    let unsigned = Receipt {
        node: key(node).public().node_id(),
        incarnation: Incarnation([node; 16]),
        owner: owner(),
        shard: shard(index),
        len: LEN,
        sequence: Sequence(u64::from(index)),
        signature: Signature { algorithm: 1, bytes: [0; 64] },
    };
    Box::new(Receipt { signature: key(node).sign(&unsigned.transcript()), ..unsigned })
}

/// An auditor with ten nodes, numbered from 1, and the machine it talks to.
struct World {
    put: Put,
    now: Mono,
    nodes: BTreeMap<NodeId, u8>,
    /// By index: where the auditor placed it, and whether it has a receipt.
    places: Vec<(u8, bool)>,
    avoided: BTreeSet<u8>,
    asked: Vec<Effect>,
}

impl World {
    fn new(threshold: u16) -> Self {
        let nodes = (1..=10).map(|node| (key(node).public().node_id(), node)).collect();
        let terms = Terms { total: N, threshold, owner: owner() };
        let places = (1..=N as u8).map(|node| (node, false)).collect();
        let mut world = Self {
            put: Put::new(terms, Patience::default()),
            now: Mono(1000),
            nodes,
            places,
            avoided: BTreeSet::new(),
            asked: Vec::new(),
        };
        world.tell(Event::Segment { id: SEGMENT, shards: (0..N).map(shard).collect(), shard_len: LEN });
        world
    }

    fn tell(&mut self, event: Event) {
        let effects = self.put.step(self.now, event);
        self.asked.extend(effects);
    }

    fn wait(&mut self, span: u64) {
        self.now = self.now + Millis(span);
        self.tell(Event::Tick);
    }

    /// Waits for whatever the machine itself waits for.
    fn doze(&mut self) {
        self.now = self.put.deadline().expect("something is due");
        self.tell(Event::Tick);
    }

    fn take<T>(&mut self, pick: impl Fn(&Effect) -> Option<T>) -> Vec<T> {
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for effect in self.asked.drain(..) {
            match pick(&effect) {
                Some(value) => taken.push(value),
                None => left.push(effect),
            }
        }
        self.asked = left;
        taken
    }

    fn stages(&mut self) -> Vec<(Token, Vec<NodeId>)> {
        self.take(|effect| match effect {
            Effect::Stage { token, avoid, .. } => Some((*token, avoid.clone())),
            _ => None,
        })
    }

    /// Answers a staging as an auditor does: what has a receipt keeps its place, the rest avoids.
    fn stage(&mut self) -> Vec<u8> {
        let stages = self.stages();
        assert_eq!(stages.len(), 1, "one staging at a time");
        let (token, avoid) = stages.into_iter().next().expect("counted");
        let avoid: Vec<u8> = avoid.iter().map(|node| self.nodes[node]).collect();
        self.avoided.extend(&avoid);
        for at in 0..self.places.len() {
            let (node, held) = self.places[at];
            if !held && avoid.contains(&node) {
                let taken: Vec<u8> = self.places.iter().map(|(node, _)| *node).collect();
                let spare = (1..=10).find(|node| !taken.contains(node) && !avoid.contains(node));
                let Some(spare) = spare else {
                    self.tell(Event::Staged(token, Err(CallFailure::No("6 nodes wanted, fewer left".into()))));
                    return avoid;
                };
                self.places[at].0 = spare;
            }
        }
        let slot = |(index, (node, held)): (u16, &(u8, bool))| Slot {
            index: ShardIndex(index),
            shard: shard(index),
            node: key(*node).public().node_id(),
            key: key(*node).public(),
            held: *held,
        };
        let slots = (0..).zip(&self.places).map(slot).collect();
        self.tell(Event::Staged(token, Ok(slots)));
        avoid
    }

    fn stores(&mut self) -> Vec<(Token, u16, u8)> {
        let nodes = self.nodes.clone();
        self.take(|effect| match effect {
            Effect::Store { token, index, node, .. } => Some((*token, index.0, nodes[node])),
            _ => None,
        })
    }

    /// Answers every store, but as `fault` says for some nodes.
    fn store(&mut self, fault: impl Fn(u8) -> Option<SendFailure>) {
        for (token, index, node) in self.stores() {
            let reply = match fault(node) {
                Some(failure) => Err(failure),
                None => Ok(receipt(node, index)),
            };
            self.tell(Event::Stored(token, reply));
        }
    }

    fn notes(&mut self) -> Vec<(Token, Vec<(ShardIndex, Receipt)>)> {
        self.take(|effect| match effect {
            Effect::Note { token, receipts, .. } => Some((*token, receipts.clone())),
            _ => None,
        })
    }

    fn note(&mut self) {
        for (token, receipts) in self.notes() {
            for (index, receipt) in &receipts {
                let place = &mut self.places[usize::from(index.0)];
                assert_eq!(key(place.0).public().node_id(), receipt.node);
                place.1 = true;
            }
            self.tell(Event::Noted(token, Ok(receipts.len() as u32)));
        }
    }

    fn released(&mut self) -> Option<u16> {
        let owed = self.take(|effect| match effect {
            Effect::Release { owed, .. } => Some(*owed),
            _ => None,
        });
        owed.first().copied()
    }

    fn failed(&mut self) -> Option<PutError> {
        let errors = self.take(|effect| match effect {
            Effect::Fail(error) => Some(error.clone()),
            _ => None,
        });
        errors.first().cloned()
    }

    fn commits(&mut self) -> Vec<Token> {
        self.take(|effect| match effect {
            Effect::Commit(token) => Some(*token),
            _ => None,
        })
    }
}

const fn well(_: u8) -> Option<SendFailure> {
    None
}

fn down(dead: &'static [u8]) -> impl Fn(u8) -> Option<SendFailure> {
    move |node| dead.contains(&node).then_some(SendFailure::Unreachable)
}

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
fn a_receipt_that_somebody_else_signed_is_no_receipt() {
    let forgeries: [fn(&mut Receipt); 5] = [
        |receipt| receipt.signature.bytes[0] ^= 1,
        |receipt| receipt.shard = shard(5),
        |receipt| receipt.len += 1,
        |receipt| receipt.owner = OwnerId([9; 32]),
        |receipt| *receipt = *self::receipt(9, 0),
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
