//! What nodes say of commitments, signed: so that a list that turns out wrong is its node's word, and nobody else's.

use holdfast_types::{ByteRange, Incarnation, Millis, NodeId, PublicKey, SecretKey, ShardId, Signature, Transcript};
use thiserror::Error;

use super::WitnessId;

/// Damaged ranges in one answer at most: more is the whole shard.
pub const OPENED_DAMAGED_MAX: usize = 64;
/// Bytes of a node's reason for not taking a list at most.
pub const ADOPTION_REASON_MAX: usize = 256;

const MAGIC: [u8; 8] = *b"HFCLAIM\n";
const VERSION: u8 = 1;
const UNSIGNED: Signature = Signature { algorithm: 0, bytes: [0; 64] };

/// A node's signed word: these are the commitments of that shard, computed before I knew the witness's secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Who says it.
    pub node: NodeId,
    /// Which life of the node.
    pub incarnation: Incarnation,
    /// Of which shard.
    pub shard: ShardId,
    /// Its length.
    pub len: u64,
    /// For which witness; `None` where the auditor asked without one.
    pub witness: Option<WitnessId>,
    /// [`holdfast_kzg::CommitmentList::digest`] of the list.
    pub digest: [u8; 32],
    /// Over all of the above.
    pub signature: Signature,
}

/// What a claim must be of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Whose word.
    pub node: NodeId,
    /// Its receipt key.
    pub key: PublicKey,
    /// Its life, by the catalog.
    pub incarnation: Incarnation,
    /// Of which shard.
    pub shard: ShardId,
    /// Its length, by the catalog.
    pub len: u64,
}

/// Why a node's word does not count. All of it is the peer's or the road's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ClaimFault {
    /// Another node, shard, length, witness or list than asked for.
    #[error("expected the node's word on the shard, witness and list that were asked for, got it on others; ask again")]
    Other,
    /// From another life of the node.
    #[error(
        "expected the word of the node's present life, got that of another; it lost its volume: wait for its registration"
    )]
    Incarnation,
    /// The key did not sign it.
    #[error("the node's key did not sign it; ask again")]
    Signature,
}

impl Claim {
    /// A claim, signed.
    pub fn sign(
        incarnation: Incarnation,
        shard: ShardId,
        len: u64,
        witness: Option<WitnessId>,
        digest: [u8; 32],
        key: &SecretKey,
    ) -> Self {
        let node = key.public().node_id();
        let mut claim = Self { node, incarnation, shard, len, witness, digest, signature: UNSIGNED };
        claim.signature = key.sign(&claim.transcript());
        claim
    }

    /// What is signed.
    pub fn transcript(&self) -> Transcript {
        Transcript::new("holdfast 2026 commitment claim v1")
            .absorb("node", self.node.as_bytes())
            .absorb("incarnation", self.incarnation.as_bytes())
            .absorb("shard", self.shard.as_bytes())
            .absorb_u64("len", self.len)
            .absorb("witness", self.witness.as_ref().map_or(&[], |id| id.as_bytes()))
            .absorb("list", &self.digest)
    }

    /// All of it, as a verdict keeps it: magic, version, the fields in order, the signature.
    ///
    /// ```text
    /// "HFCLAIM\n"  version u8  node 32  incarnation 16  shard 32  len u64  w u8 (0, or 1 and witness 16)  digest 32  signature 65
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        out.extend(self.node.as_bytes());
        out.extend(self.incarnation.as_bytes());
        out.extend(self.shard.as_bytes());
        out.extend(self.len.to_be_bytes());
        out.push(u8::from(self.witness.is_some()));
        out.extend(self.witness.iter().flat_map(|id| id.0));
        out.extend(self.digest);
        out.extend(self.signature.to_bytes());
        out
    }

    /// The inverse of [`Claim::to_bytes`]; `None` for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
            let (head, tail) = rest.split_first_chunk()?;
            *rest = tail;
            Some(*head)
        }
        let mut rest = bytes.strip_prefix(&MAGIC)?.strip_prefix(&[VERSION])?;
        let (node, incarnation) = (NodeId(take(&mut rest)?), Incarnation(take(&mut rest)?));
        let (shard, len) = (ShardId::from_bytes(take(&mut rest)?), u64::from_be_bytes(take(&mut rest)?));
        let witness = match take::<1>(&mut rest)? {
            [0] => None,
            [1] => Some(WitnessId(take(&mut rest)?)),
            _ => return None,
        };
        let digest = take(&mut rest)?;
        let signature = Signature::from_bytes(rest)?;
        Some(Self { node, incarnation, shard, len, witness, digest, signature })
    }

    /// Why it does not count for this shard and witness, if it does not.
    pub fn fault(&self, expected: &Expected, witness: Option<WitnessId>) -> Option<ClaimFault> {
        let told = (self.node, self.shard, self.len, self.witness);
        if told != (expected.node, expected.shard, expected.len, witness) {
            return Some(ClaimFault::Other);
        }
        signed_by(expected, self.incarnation, &self.transcript(), &self.signature)
    }
}

fn signed_by(
    expected: &Expected,
    incarnation: Incarnation,
    transcript: &Transcript,
    signature: &Signature,
) -> Option<ClaimFault> {
    if incarnation != expected.incarnation {
        return Some(ClaimFault::Incarnation);
    }
    let holds = expected.key.node_id() == expected.node && expected.key.verify(transcript, signature).is_ok();
    (!holds).then_some(ClaimFault::Signature)
}

/// What a node answers to "what are this shard's commitments?".
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once a shard, and moved a few times")]
pub enum Commitments {
    /// These, and its word for it.
    Claimed {
        /// Signed.
        claim: Claim,
        /// [`holdfast_kzg::CommitmentList::encode`]; at most [`holdfast_kzg::LIST_LEN_MAX`] bytes, not parsed yet.
        list: Vec<u8>,
    },
    /// Not computed yet.
    NotYet {
        /// When to ask again.
        retry_after: Millis,
        /// Shards before it in the node's queue.
        ahead: u64,
    },
    /// The node cannot read these bytes of the shard. No verdict: a challenge gets its signed word for it.
    Damaged(Vec<ByteRange>),
    /// The shard is not there. No verdict either.
    Missing,
}

/// A node's signed answer to a revealed witness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Who answers.
    pub node: NodeId,
    /// Which life of the node.
    pub incarnation: Incarnation,
    /// Of which shard.
    pub shard: ShardId,
    /// Which witness.
    pub witness: WitnessId,
    /// Digest of the list that was claimed, as it was asked.
    pub digest: [u8; 32],
    /// The answer.
    pub body: OpenedBody,
    /// Over all of the above.
    pub signature: Signature,
}

/// What a node answers to a revealed witness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpenedBody {
    /// The sum of all its blobs, opened at the witness's point.
    Opening {
        /// Σ γ_i p_i(z), 32 bytes big-endian, canonical.
        y: [u8; 32],
        /// The opening, a compressed G1 point.
        proof: [u8; 48],
    },
    /// These bytes cannot be read.
    Damaged(Vec<ByteRange>),
    /// The shard is not there.
    Missing,
    /// The node's list has another digest: it claims nothing for the one it was asked about.
    OtherList {
        /// Digest of its own.
        digest: [u8; 32],
    },
    /// Too busy.
    Refused {
        /// When to ask again.
        retry_after: Millis,
    },
}

impl Opened {
    /// An answer, signed.
    pub fn sign(
        incarnation: Incarnation,
        shard: ShardId,
        witness: WitnessId,
        digest: [u8; 32],
        body: OpenedBody,
        key: &SecretKey,
    ) -> Self {
        let node = key.public().node_id();
        let mut opened = Self { node, incarnation, shard, witness, digest, body, signature: UNSIGNED };
        opened.signature = key.sign(&opened.transcript());
        opened
    }

    /// What is signed.
    pub fn transcript(&self) -> Transcript {
        let said = Transcript::new("holdfast 2026 witness opening v1")
            .absorb("node", self.node.as_bytes())
            .absorb("incarnation", self.incarnation.as_bytes())
            .absorb("shard", self.shard.as_bytes())
            .absorb("witness", self.witness.as_bytes())
            .absorb("list", &self.digest);
        match &self.body {
            OpenedBody::Opening { y, proof } => said.absorb("y", y).absorb("proof", proof),
            OpenedBody::Damaged(ranges) => ranges.iter().fold(said, |said, range| {
                said.absorb_u64("damaged from", range.start()).absorb_u64("damaged to", range.end())
            }),
            OpenedBody::Missing => said.absorb("missing", &[]),
            OpenedBody::OtherList { digest } => said.absorb("other list", digest),
            OpenedBody::Refused { retry_after } => said.absorb_u64("refused", retry_after.0),
        }
    }

    /// Why it is no answer to this question, if it is none.
    pub fn fault(&self, expected: &Expected, witness: WitnessId, digest: &[u8; 32]) -> Option<ClaimFault> {
        let told = (self.node, self.shard, self.witness, &self.digest);
        if told != (expected.node, expected.shard, witness, digest) {
            return Some(ClaimFault::Other);
        }
        signed_by(expected, self.incarnation, &self.transcript(), &self.signature)
    }
}

/// A node's signed answer to a list that somebody else computed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adopted {
    /// Who answers.
    pub node: NodeId,
    /// Which life of the node.
    pub incarnation: Incarnation,
    /// Of which shard.
    pub shard: ShardId,
    /// Digest of the list that was offered.
    pub digest: [u8; 32],
    /// Whether it took it.
    pub adoption: Adoption,
    /// Over all of the above.
    pub signature: Signature,
}

/// Whether a node took another's list over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Adoption {
    /// Kept, durably: Σ γ_i p_i under γ of its own chance has the commitment Σ γ_i C_i.
    Taken,
    /// The list is not that of the bytes it holds.
    Wrong {
        /// What was wrong, at most [`ADOPTION_REASON_MAX`] bytes.
        reason: String,
    },
    /// It cannot read its own bytes, so it cannot tell.
    Unreadable,
    /// Too busy.
    Refused {
        /// When to ask again.
        retry_after: Millis,
    },
}

impl Adopted {
    /// An answer, signed.
    pub fn sign(
        incarnation: Incarnation,
        shard: ShardId,
        digest: [u8; 32],
        adoption: Adoption,
        key: &SecretKey,
    ) -> Self {
        let node = key.public().node_id();
        let mut adopted = Self { node, incarnation, shard, digest, adoption, signature: UNSIGNED };
        adopted.signature = key.sign(&adopted.transcript());
        adopted
    }

    /// What is signed.
    pub fn transcript(&self) -> Transcript {
        let said = Transcript::new("holdfast 2026 list adoption v1")
            .absorb("node", self.node.as_bytes())
            .absorb("incarnation", self.incarnation.as_bytes())
            .absorb("shard", self.shard.as_bytes())
            .absorb("list", &self.digest);
        match &self.adoption {
            Adoption::Taken => said.absorb("taken", &[]),
            Adoption::Wrong { reason } => said.absorb("wrong", reason.as_bytes()),
            Adoption::Unreadable => said.absorb("unreadable", &[]),
            Adoption::Refused { retry_after } => said.absorb_u64("refused", retry_after.0),
        }
    }

    /// Why it is no answer to this offer, if it is none.
    pub fn fault(&self, expected: &Expected, digest: &[u8; 32]) -> Option<ClaimFault> {
        if (self.node, self.shard, &self.digest) != (expected.node, expected.shard, digest) {
            return Some(ClaimFault::Other);
        }
        signed_by(expected, self.incarnation, &self.transcript(), &self.signature)
    }
}
