//! The ways in which a node lies. It tells the truth until it is told to lie, and again afterwards;
//! what it has thrown away meanwhile stays gone.

use std::collections::BTreeMap;

use holdfast_kzg::Setup;
use holdfast_protocol::{
    answer,
    message::{Answer, AnswerBody, Challenge, NodeReply, SendFailure, SetEntry},
};
use holdfast_types::{Millis, ShardId};

use crate::node::Node;

/// A way of lying.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Lie {
    /// A proof that does not hold, signed.
    WrongProof,
    /// An answer to an earlier audit.
    Replay,
    /// An answer computed over other bytes than the shard's.
    Stale,
    /// The answer of another node.
    Neighbour,
    /// Bytes that are no answer.
    Garbage,
    /// "Too busy", always.
    Refuse,
    /// "You may not", to every challenge, in a status that nobody signs.
    Deny,
    /// Keeps nothing of what it takes, and claims all of it.
    DropPuts,
    /// Has thrown shards away and claims them.
    DropKept,
    /// Serves made-up bytes to readers, and proves honestly.
    BadReads,
    /// Says that it has another set, always.
    Mismatch,
    /// Claims the commitments of other bytes, and opens these; its proofs are honest.
    FalseList,
    /// Does not answer to a secret that it was told.
    Mute,
    /// Proves honestly, and gives the auditor no shard to read.
    Withhold,
    /// Says that it saw a fence that nobody gave out; its proofs are honest.
    HighFence,
    /// Signs what it takes under numbers that no catalog keeps; its proofs are honest.
    HighNumber,
    /// Claims and opens a list made from a secret that it was told before.
    Told,
}

pub(crate) const LIES: [Lie; 17] = [
    Lie::WrongProof,
    Lie::Replay,
    Lie::Stale,
    Lie::Neighbour,
    Lie::Garbage,
    Lie::Refuse,
    Lie::DropPuts,
    Lie::DropKept,
    Lie::BadReads,
    Lie::Mismatch,
    Lie::FalseList,
    // Drawn more often: it has to meet a shard on its way to commitments.
    Lie::FalseList,
    Lie::Mute,
    Lie::Deny,
    Lie::Withhold,
    Lie::HighFence,
    Lie::HighNumber,
];

impl Lie {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Lie::WrongProof => "lie: wrong proof",
            Lie::Replay => "lie: replay",
            Lie::Stale => "lie: stale shard",
            Lie::Neighbour => "lie: neighbour's answer",
            Lie::Garbage => "lie: garbage",
            Lie::Refuse => "lie: endless refusal",
            Lie::DropPuts => "lie: keeps no put",
            Lie::DropKept => "lie: dropped shards",
            Lie::BadReads => "lie: bad reads",
            Lie::Mismatch => "lie: another set",
            Lie::FalseList => "lie: false list",
            Lie::Mute => "lie: silent to a secret",
            Lie::Deny => "lie: denies every challenge",
            Lie::Withhold => "lie: proves and does not serve",
            Lie::HighFence => "lie: made-up fence",
            Lie::HighNumber => "lie: number beyond the catalog's",
            Lie::Told => "lie: list from a secret",
        }
    }

    /// Whether bytes are gone after it.
    pub(crate) fn loses_bytes(self) -> bool {
        matches!(self, Lie::DropPuts | Lie::DropKept)
    }
}

/// A node's relation to the truth.
#[derive(Default)]
pub(crate) struct Liar {
    lie: Option<Lie>,
    earlier: Vec<Answer>,
    claims: BTreeMap<ShardId, SetEntry>,
}

impl Liar {
    pub(crate) fn begin(&mut self, lie: Lie) {
        self.lie = Some(lie);
    }

    /// From now on the truth: what it claimed and does not have is missing.
    pub(crate) fn repent(&mut self) {
        self.lie = None;
        self.claims.clear();
    }

    pub(crate) fn is_lying(&self) -> bool {
        self.lie.is_some()
    }

    pub(crate) fn lies(&self, lie: Lie) -> bool {
        self.lie == Some(lie)
    }

    pub(crate) fn drops_puts(&self) -> bool {
        self.lie == Some(Lie::DropPuts)
    }

    pub(crate) fn serves_garbage(&self) -> bool {
        self.lie == Some(Lie::BadReads)
    }

    pub(crate) fn remember(&mut self, answer: &Answer) {
        if self.earlier.len() < 4 {
            self.earlier.push(answer.clone());
        }
    }

    pub(crate) fn claim(&mut self, entry: SetEntry) {
        self.claims.insert(entry.shard, entry);
    }

    pub(crate) fn forget(&mut self, shard: &ShardId) {
        self.claims.remove(shard);
    }

    pub(crate) fn claims(&self) -> impl Iterator<Item = SetEntry> + '_ {
        self.claims.values().copied()
    }
}

/// What a lying node answers. `heard` are answers that travelled lately, anybody's.
pub(crate) fn answer(
    node: &mut Node,
    challenge: &Challenge,
    setup: &Setup,
    heard: &[Answer],
) -> Result<NodeReply, SendFailure> {
    let (key, incarnation) = (node.key.clone(), node.identity().1);
    let sign = |body| answer::sign(challenge, incarnation, body, &key);
    let said = match node.liar.lie {
        Some(Lie::WrongProof) => sign(spoil(node.answer(challenge, setup, &[]).body)),
        Some(Lie::Replay) => match node.liar.earlier.first() {
            Some(earlier) => earlier.clone(),
            None => return Err(SendFailure::Timeout),
        },
        Some(Lie::Stale) => {
            let first: Vec<ShardId> = stale(node);
            node.answer(challenge, setup, &first)
        }
        Some(Lie::Neighbour) => match heard.iter().rev().find(|other| other.node != node.id) {
            Some(other) => Answer { audit: challenge.audit, challenge: challenge.digest(), ..other.clone() },
            None => return Err(SendFailure::Timeout),
        },
        Some(Lie::Garbage) => return Err(SendFailure::Malformed("no answer at all".into())),
        Some(Lie::Deny) => return Err(SendFailure::Denied("no challenge is answered here".into())),
        Some(Lie::Refuse) => sign(AnswerBody::Refused { retry_after: Millis(200) }),
        Some(Lie::Mismatch) => sign(AnswerBody::SetMismatch { digest: [7; 32], count: 1 }),
        Some(
            Lie::DropPuts
            | Lie::DropKept
            | Lie::BadReads
            | Lie::FalseList
            | Lie::Mute
            | Lie::Withhold
            | Lie::HighFence
            | Lie::HighNumber
            | Lie::Told,
        )
        | None => node.answer(challenge, setup, &[]),
    };
    Ok(NodeReply::Answer(Box::new(said)))
}

/// The first shard of the node: always the same, so that a localisation has something to find.
fn stale(node: &Node) -> Vec<ShardId> {
    let Some(reader) = node.reader() else { return Vec::new() };
    let found = reader.entries(&[0], holdfast_volume::Sequence::START..holdfast_volume::Sequence::END, 1);
    found.into_iter().map(|entry| ShardId::from_bytes(entry.key.id)).collect()
}

fn spoil(body: AnswerBody) -> AnswerBody {
    match body {
        AnswerBody::Fold { mut y, proof, damaged, missing } => {
            y[31] ^= 1;
            AnswerBody::Fold { y, proof, damaged, missing }
        }
        AnswerBody::Leaves { mut shards, damaged, missing } => {
            if let Some(byte) = shards.first_mut().and_then(|shard| shard.proof.last_mut()) {
                *byte ^= 1;
            }
            AnswerBody::Leaves { shards, damaged, missing }
        }
        other @ (AnswerBody::SetMismatch { .. } | AnswerBody::Refused { .. }) => other,
    }
}
