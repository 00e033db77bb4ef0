//! An auditor and its nodes, by hand.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{Incarnation, OwnerId, SecretKey, Sequence, ShardId, ShardIndex, Signature};

use super::super::*;
use crate::message::{Receipt, SendFailure};

pub(super) const N: u16 = 6;
pub(super) const LEN: u64 = 4096;
pub(super) const SEGMENT: SegmentId = SegmentId([7; 16]);

pub(super) fn owner() -> OwnerId {
    OwnerId([1; 32])
}

pub(super) fn key(node: u8) -> SecretKey {
    SecretKey::from_seed(&[node; 32])
}

pub(super) fn shard(index: u16) -> ShardId {
    ShardId::from_bytes([index as u8 + 100; 32])
}

pub(super) fn receipt(node: u8, index: u16) -> Box<Receipt> {
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
pub(super) struct World {
    pub(super) put: Put,
    pub(super) now: Mono,
    pub(super) nodes: BTreeMap<NodeId, u8>,
    /// By index: where the auditor placed it, and whether it has a receipt.
    pub(super) places: Vec<(u8, bool)>,
    pub(super) avoided: BTreeSet<u8>,
    pub(super) asked: Vec<Effect>,
}

impl World {
    pub(super) fn new(threshold: u16) -> Self {
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

    pub(super) fn tell(&mut self, event: Event) {
        let effects = self.put.step(self.now, event);
        self.asked.extend(effects);
    }

    pub(super) fn wait(&mut self, span: u64) {
        self.now = self.now + Millis(span);
        self.tell(Event::Tick);
    }

    /// Waits for whatever the machine itself waits for.
    pub(super) fn doze(&mut self) {
        self.now = self.put.deadline().expect("something is due");
        self.tell(Event::Tick);
    }

    pub(super) fn take<T>(&mut self, pick: impl Fn(&Effect) -> Option<T>) -> Vec<T> {
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

    pub(super) fn stages(&mut self) -> Vec<(Token, Vec<NodeId>)> {
        self.take(|effect| match effect {
            Effect::Stage { token, avoid, .. } => Some((*token, avoid.clone())),
            _ => None,
        })
    }

    /// Answers a staging as an auditor does: what has a receipt keeps its place, the rest avoids.
    pub(super) fn stage(&mut self) -> Vec<u8> {
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

    pub(super) fn stores(&mut self) -> Vec<(Token, u16, u8)> {
        let nodes = self.nodes.clone();
        self.take(|effect| match effect {
            Effect::Store { token, index, node, .. } => Some((*token, index.0, nodes[node])),
            _ => None,
        })
    }

    /// Answers every store, but as `fault` says for some nodes.
    pub(super) fn store(&mut self, fault: impl Fn(u8) -> Option<SendFailure>) {
        for (token, index, node) in self.stores() {
            let reply = match fault(node) {
                Some(failure) => Err(failure),
                None => Ok(receipt(node, index)),
            };
            self.tell(Event::Stored(token, reply));
        }
    }

    pub(super) fn notes(&mut self) -> Vec<(Token, Vec<(ShardIndex, Receipt)>)> {
        self.take(|effect| match effect {
            Effect::Note { token, receipts, .. } => Some((*token, receipts.clone())),
            _ => None,
        })
    }

    pub(super) fn note(&mut self) {
        for (token, receipts) in self.notes() {
            for (index, receipt) in &receipts {
                let place = &mut self.places[usize::from(index.0)];
                assert_eq!(key(place.0).public().node_id(), receipt.node);
                place.1 = true;
            }
            self.tell(Event::Noted(token, Ok(receipts.len() as u32)));
        }
    }

    pub(super) fn released(&mut self) -> Option<u16> {
        let owed = self.take(|effect| match effect {
            Effect::Release { owed, .. } => Some(*owed),
            _ => None,
        });
        owed.first().copied()
    }

    pub(super) fn failed(&mut self) -> Option<PutError> {
        let errors = self.take(|effect| match effect {
            Effect::Fail(error) => Some(error.clone()),
            _ => None,
        });
        errors.first().cloned()
    }

    pub(super) fn commits(&mut self) -> Vec<Token> {
        self.take(|effect| match effect {
            Effect::Commit(token) => Some(*token),
            _ => None,
        })
    }
}

pub(super) const fn well(_: u8) -> Option<SendFailure> {
    None
}

pub(super) fn down(dead: &'static [u8]) -> impl Fn(u8) -> Option<SendFailure> {
    move |node| dead.contains(&node).then_some(SendFailure::Unreachable)
}
