//! The challenge that a new shard answers before the catalog believes in it: random leaves of it
//! alone, under a fresh seed. A receipt is a promise; this is a proof that the bytes can be read.

use holdfast_types::{Millis, NodeId, Seed, Transcript};

use crate::{
    challenge,
    effect::LeafClaim,
    message::{AnswerBody, Ask, Challenge, NodeReply, Receipt, SendFailure, SetEntry},
    model::NodeRow,
    set,
};

fn entry(receipt: &Receipt) -> SetEntry {
    SetEntry { sequence: receipt.sequence, shard: receipt.shard, len: receipt.len }
}

/// The question to the node that gave this receipt.
pub(super) fn question(cluster: &[u8; 32], receipt: &Receipt, seed: Seed, leaves: u16, deadline: Millis) -> Challenge {
    let set = set::reference(&[entry(receipt)]);
    Challenge {
        audit: challenge::audit_id(cluster, &seed, &receipt.node, &set.digest),
        node: receipt.node,
        set,
        commitments: [0; 32],
        seed,
        ask: Ask::Sample { count: leaves },
        deadline,
    }
}

/// Why an answer has no leaves to verify.
pub(super) enum Unproven {
    /// Its node has no place for one more challenge now.
    Busy(Millis),
    /// Any other reason.
    Failed(String),
}

/// The leaves to verify, or why the answer is none.
pub(super) fn claim(
    asked: &Challenge,
    receipt: &Receipt,
    leaves: u16,
    row: Option<&NodeRow>,
    reply: Result<NodeReply, SendFailure>,
) -> Result<LeafClaim, Unproven> {
    let failed = |why: &str| Err(Unproven::Failed(why.into()));
    let answer = match reply {
        Ok(NodeReply::Answer(answer)) => answer,
        Ok(_) => return failed("the node answered the challenge of its new shard with another reply"),
        Err(SendFailure::Refused { retry_after }) => return Err(Unproven::Busy(retry_after)),
        Err(failure) => {
            return failed(&format!("the node did not answer the challenge of its new shard: {failure:?}"));
        }
    };
    let speaks = answer.audit == asked.audit && answer.node == asked.node && answer.challenge == asked.digest();
    if !speaks || !row.is_some_and(|row: &NodeRow| answer.is_signed_by(&row.key)) {
        return failed("the answer to the challenge of the new shard is not the node's, or for another question");
    }
    let drawn = asked.draw(&[entry(receipt)], leaves).into_iter().next().map(|(_, leaves)| leaves);
    match answer.body {
        AnswerBody::Leaves { mut shards, damaged, missing }
            if damaged.is_empty() && missing.is_empty() && shards.len() == 1 && shards[0].shard == receipt.shard =>
        {
            let proof = shards.remove(0).proof;
            Ok(LeafClaim { shard: receipt.shard, len: receipt.len, leaves: drawn.unwrap_or_default(), proof })
        }
        AnswerBody::Refused { retry_after } => Err(Unproven::Busy(retry_after)),
        AnswerBody::SetMismatch { .. } => failed("the node has its new shard under another number than it signed"),
        AnswerBody::Leaves { .. } | AnswerBody::Fold { .. } => {
            failed("the node cannot prove the shard that it has just signed for")
        }
    }
}

/// The seed of a probe, out of the chance of a tick: another for each, and none that an audit has.
pub(super) fn seed(chance: &Seed, node: &NodeId, number: u64) -> Seed {
    let transcript = Transcript::new("holdfast 2026 repair probe seed v1")
        .absorb("chance", &chance.0)
        .absorb("node", node.as_bytes())
        .absorb_u64("number", number);
    Seed(transcript.digest())
}
