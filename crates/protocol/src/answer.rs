//! A node's signed answer, in bytes. What is signed holds the BLAKE3 hash of each Merkle proof, not
//! the proof, so that evidence can be kept small: a verdict keeps the whole answer where that is
//! short, and the same signed words without their proofs where it is long.
//!
//! ```text
//! "HFANSWR\n"  version u8  form u8  audit 32  node 32  challenge 32  incarnation 16  body  signature 65
//! body: 1 y 32 π 48 damaged missing | 2 n u32 (shard 32 proof)ⁿ damaged missing | 3 digest 32 count u32 | 4 ms u64
//! damaged: n u32 (shard 32 start u64 end u64)ⁿ    missing: n u32 (shard 32)ⁿ
//! proof: form 1: len u32 bytes, form 2: BLAKE3 hash 32        all numbers big-endian
//! ```

use holdfast_types::{
    AuditId, ByteRange, Incarnation, Millis, NodeId, PublicKey, SecretKey, ShardId, Signature, Transcript,
};
use merkle_cid::PROOF_LEN_MAX;
use thiserror::Error;

use crate::message::{
    ANSWER_DAMAGED_MAX, Answer, AnswerBody, Challenge, DamagedRange, SAMPLE_LEAVES_MAX, SET_SHARDS_MAX, ShardLeaves,
};

const MAGIC: [u8; 8] = *b"HFANSWR\n";
const VERSION: u8 = 1;
const WHOLE: u8 = 1;
const WITHOUT_PROOFS: u8 = 2;

/// Evidence with its proofs is kept up to here; longer answers are kept without. A sample of 512
/// leaves is most of a megabyte, and there is one an hour for every node.
pub const EVIDENCE_WHOLE_MAX: usize = 16 << 10;

/// Why bytes are no answer that was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum AnswerError {
    /// Not this format, or a version or form that this build does not know.
    #[error("expected an answer of version 1, got other bytes; read it with the version that wrote it")]
    Format,
    /// It ends too early, goes on after its end, or a count in it is above its bound.
    #[error("the answer is cut, extended, or counts more than its bounds allow; fetch the evidence again")]
    Malformed,
}

/// Signs what a node answers.
pub fn sign(challenge: &Challenge, incarnation: Incarnation, body: AnswerBody, key: &SecretKey) -> Answer {
    let mut answer = Answer {
        audit: challenge.audit,
        node: key.public().node_id(),
        challenge: challenge.digest(),
        incarnation,
        body,
        signature: Signature { algorithm: 0, bytes: [0; 64] },
    };
    answer.signature = key.sign(&answer.transcript());
    answer
}

impl Answer {
    /// What is signed.
    pub fn transcript(&self) -> Transcript {
        transcript(&self.audit, &self.node, &self.challenge, &self.incarnation, &body(&self.body, WITHOUT_PROOFS))
    }

    /// Whether `key`, which must be the node's, signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.node_id() == self.node && key.verify(&self.transcript(), &self.signature).is_ok()
    }

    /// All of it, as it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode(WHOLE)
    }

    /// What a verdict keeps: all of it where that is at most [`EVIDENCE_WHOLE_MAX`] bytes, else the
    /// same without proofs. The signature holds over both.
    pub fn to_evidence(&self) -> Vec<u8> {
        let whole = self.encode(WHOLE);
        if whole.len() <= EVIDENCE_WHOLE_MAX { whole } else { self.encode(WITHOUT_PROOFS) }
    }

    fn encode(&self, form: u8) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend([VERSION, form]);
        out.extend(self.audit.as_bytes());
        out.extend(self.node.as_bytes());
        out.extend(self.challenge);
        out.extend(self.incarnation.as_bytes());
        out.extend(body(&self.body, form));
        out.extend(self.signature.to_bytes());
        out
    }
}

fn transcript(
    audit: &AuditId,
    node: &NodeId,
    challenge: &[u8; 32],
    incarnation: &Incarnation,
    body: &[u8],
) -> Transcript {
    Transcript::new("holdfast 2026 audit answer v1")
        .absorb("audit", audit.as_bytes())
        .absorb("node", node.as_bytes())
        .absorb("challenge", challenge)
        .absorb("incarnation", incarnation.as_bytes())
        .absorb("body", body)
}

fn body(body: &AnswerBody, form: u8) -> Vec<u8> {
    let mut out = Vec::new();
    match body {
        AnswerBody::Fold { y, proof, damaged, missing } => {
            out.push(1);
            out.extend(y);
            out.extend(proof);
            put_gaps(&mut out, damaged, missing);
        }
        AnswerBody::Leaves { shards, damaged, missing } => {
            out.push(2);
            out.extend((shards.len() as u32).to_be_bytes());
            for leaves in shards {
                out.extend(leaves.shard.as_bytes());
                if form == WHOLE {
                    out.extend((leaves.proof.len() as u32).to_be_bytes());
                    out.extend(&leaves.proof);
                } else {
                    out.extend(blake3::hash(&leaves.proof).as_bytes());
                }
            }
            put_gaps(&mut out, damaged, missing);
        }
        AnswerBody::SetMismatch { digest, count } => {
            out.push(3);
            out.extend(digest);
            out.extend(count.to_be_bytes());
        }
        AnswerBody::Refused { retry_after } => {
            out.push(4);
            out.extend(retry_after.0.to_be_bytes());
        }
    }
    out
}

fn put_gaps(out: &mut Vec<u8>, damaged: &[DamagedRange], missing: &[ShardId]) {
    out.extend((damaged.len() as u32).to_be_bytes());
    for gap in damaged {
        out.extend(gap.shard.as_bytes());
        out.extend(gap.range.start().to_be_bytes());
        out.extend(gap.range.end().to_be_bytes());
    }
    out.extend((missing.len() as u32).to_be_bytes());
    for shard in missing {
        out.extend(shard.as_bytes());
    }
}

/// An answer that was kept as evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The audit it answers.
    pub audit: AuditId,
    /// Who answered.
    pub node: NodeId,
    /// Digest of the challenge as the node understood it.
    pub challenge: [u8; 32],
    /// Which life of the node answered.
    pub incarnation: Incarnation,
    /// The whole answer, if its proofs were kept.
    pub whole: Option<Answer>,
    signed: Vec<u8>,
    signature: Signature,
}

impl Kept {
    /// Reads evidence. Every count is bounded before memory is taken for it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AnswerError> {
        let mut rest = Rest(bytes);
        let (magic, version, form) = (rest.take::<8>()?, rest.take::<1>()?[0], rest.take::<1>()?[0]);
        if magic != MAGIC || version != VERSION || !(form == WHOLE || form == WITHOUT_PROOFS) {
            return Err(AnswerError::Format);
        }
        let (audit, node) = (AuditId(rest.take()?), NodeId(rest.take()?));
        let (challenge, incarnation) = (rest.take()?, Incarnation(rest.take()?));
        let before = rest.0;
        let content = rest.body(form)?;
        let raw = &before[..before.len() - rest.0.len()];
        let signature = Signature::from_bytes(rest.0).ok_or(AnswerError::Malformed)?;
        let signed = content.as_ref().map_or_else(|| raw.to_vec(), |content| body(content, WITHOUT_PROOFS));
        let whole = content.map(|body| Answer { audit, node, challenge, incarnation, body, signature });
        Ok(Self { audit, node, challenge, incarnation, whole, signed, signature })
    }

    /// Whether `key`, which must be the node's, signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let said = transcript(&self.audit, &self.node, &self.challenge, &self.incarnation, &self.signed);
        key.node_id() == self.node && key.verify(&said, &self.signature).is_ok()
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn slice(&mut self, len: usize) -> Result<&'a [u8], AnswerError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(AnswerError::Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], AnswerError> {
        self.slice(N)?.try_into().map_err(|_| AnswerError::Malformed)
    }

    fn count(&mut self, most: usize) -> Result<usize, AnswerError> {
        let count = u32::from_be_bytes(self.take()?) as usize;
        if count <= most { Ok(count) } else { Err(AnswerError::Malformed) }
    }

    /// `None` for leaves whose proofs were not kept: then the bytes themselves are what was signed.
    fn body(&mut self, form: u8) -> Result<Option<AnswerBody>, AnswerError> {
        Ok(Some(match self.take::<1>()?[0] {
            1 => {
                let (y, proof) = (self.take()?, self.take()?);
                let (damaged, missing) = self.gaps()?;
                AnswerBody::Fold { y, proof, damaged, missing }
            }
            2 => {
                let mut shards = Vec::new();
                for _ in 0..self.count(SAMPLE_LEAVES_MAX)? {
                    let shard = ShardId::from_bytes(self.take()?);
                    let len = if form == WHOLE { self.count(PROOF_LEN_MAX)? } else { 32 };
                    shards.push(ShardLeaves { shard, proof: self.slice(len)?.to_vec() });
                }
                let (damaged, missing) = self.gaps()?;
                if form != WHOLE {
                    return Ok(None);
                }
                AnswerBody::Leaves { shards, damaged, missing }
            }
            3 => AnswerBody::SetMismatch { digest: self.take()?, count: u32::from_be_bytes(self.take()?) },
            4 => AnswerBody::Refused { retry_after: Millis(u64::from_be_bytes(self.take()?)) },
            _ => return Err(AnswerError::Malformed),
        }))
    }

    fn gaps(&mut self) -> Result<(Vec<DamagedRange>, Vec<ShardId>), AnswerError> {
        let mut damaged = Vec::new();
        for _ in 0..self.count(ANSWER_DAMAGED_MAX)? {
            let shard = ShardId::from_bytes(self.take()?);
            let (start, end) = (u64::from_be_bytes(self.take()?), u64::from_be_bytes(self.take()?));
            damaged.push(DamagedRange { shard, range: ByteRange::new(start, end).ok_or(AnswerError::Malformed)? });
        }
        let mut missing = Vec::new();
        for _ in 0..self.count(SET_SHARDS_MAX)? {
            missing.push(ShardId::from_bytes(self.take()?));
        }
        Ok((damaged, missing))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Seed, Sequence};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        message::{Ask, SetEntry},
        set,
    };

    fn challenge(node: NodeId) -> Challenge {
        let entry = SetEntry { sequence: Sequence(1), shard: ShardId::from_bytes([1; 32]), len: 9 };
        Challenge {
            audit: AuditId([1; 32]),
            node,
            set: set::reference(&[entry]),
            commitments: [0; 32],
            seed: Seed([2; 32]),
            ask: Ask::Fold { from: 0, to: 1 },
            deadline: Millis(5),
        }
    }

    fn bodies() -> Vec<AnswerBody> {
        let gap = DamagedRange { shard: ShardId::from_bytes([4; 32]), range: ByteRange::first(77) };
        let leaves = |len| ShardLeaves { shard: ShardId::from_bytes([5; 32]), proof: vec![6; len] };
        let missing = vec![ShardId::from_bytes([7; 32])];
        vec![
            AnswerBody::Fold { y: [1; 32], proof: [2; 48], damaged: vec![gap], missing: missing.clone() },
            AnswerBody::Leaves { shards: vec![leaves(100)], damaged: vec![gap], missing: missing.clone() },
            AnswerBody::Leaves { shards: vec![leaves(EVIDENCE_WHOLE_MAX)], damaged: vec![], missing },
            AnswerBody::SetMismatch { digest: [3; 32], count: 4 },
            AnswerBody::Refused { retry_after: Millis(9) },
        ]
    }

    #[test]
    fn evidence_reads_back_and_still_holds_without_its_proofs() {
        let key = SecretKey::from_seed(&[1; 32]);
        let challenge = challenge(key.public().node_id());
        for body in bodies() {
            let answer = sign(&challenge, Incarnation([8; 16]), body, &key);
            assert!(answer.is_signed_by(&key.public()));
            let whole = Kept::from_bytes(&answer.to_bytes()).expect("own bytes");
            assert_eq!(whole.whole.as_ref(), Some(&answer));
            assert!(whole.is_signed_by(&key.public()));
            let kept = Kept::from_bytes(&answer.to_evidence()).expect("own bytes");
            assert!(kept.is_signed_by(&key.public()));
            assert!(!kept.is_signed_by(&SecretKey::from_seed(&[2; 32]).public()));
        }
    }

    #[test]
    fn any_changed_byte_voids_evidence() {
        let key = SecretKey::from_seed(&[1; 32]);
        let challenge = challenge(key.public().node_id());
        for body in bodies()
            .into_iter()
            .filter(|body| !matches!(body, AnswerBody::Leaves { shards, .. } if shards[0].proof.len() > 100))
        {
            let bytes = sign(&challenge, Incarnation([8; 16]), body, &key).to_evidence();
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 1;
                let held = Kept::from_bytes(&bad).is_ok_and(|kept| kept.is_signed_by(&key.public()));
                assert!(!held, "byte {at}");
            }
            assert!(Kept::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_not_obeyed(tail in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend([VERSION, WHOLE]);
            bytes.extend(tail);
            if let Ok(kept) = Kept::from_bytes(&bytes) {
                prop_assert!(!kept.is_signed_by(&SecretKey::from_seed(&[1; 32]).public()));
            }
        }
    }
}
