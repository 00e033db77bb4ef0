//! From what came back to what it means. Pure: nothing is verified here but the signature.
//!
//! | what came | what it is |
//! |---|---|
//! | signed, for this very question, of the asked kind | [`Heard::Fold`], [`Heard::Leaves`]: to be verified |
//! | signed, for this very question, and no answer to it | [`Heard::Nonsense`]: as false as a wrong proof, and judged like one |
//! | unsigned, replayed, somebody else's, for another question | silence: whoever sent it, it proves nothing against the node |
//! | no reply | silence |
//! | "no", in a status that nobody signed | a refusal: asked again, and then silence |
//!
//! The incarnation is in the signed words, for the record. It decides nothing: bytes that verify are
//! there, whichever life of the node they are read in.

use holdfast_types::{BLOB_LEN, ByteRange, Millis, ShardId};
use merkle_cid::tree::leaf_count;

use crate::{
    effect::{FoldTerm, LeafClaim},
    message::{
        ANSWER_DAMAGED_MAX, Answer, AnswerBody, Ask, Challenge, DamagedRange, NodeReply, SET_SHARDS_MAX, SendFailure,
    },
    model::{NodeRow, Outcome},
    set::{self, AuditSet, Member},
};

/// A node that denies a challenge does not say when to come again.
const DENIED_WAIT: Millis = Millis::from_secs(1);

/// Blobs of a set, by number: sorted, disjoint, not touching.
pub(super) type Blobs = Vec<(u64, u64)>;

/// What a reply means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// A claim about every asked blob but those it lists.
    Fold(FoldSaid),
    /// A claim about every asked leaf but those it lists.
    Leaves(LeavesSaid),
    /// The node's set is another.
    Mismatch,
    /// Later, or no without a reason that counts.
    Refused(Millis),
    /// No answer, and what to call that.
    Silent(Outcome),
    /// Signed, for this question, and no answer to it.
    Nonsense,
}

/// Bytes of a shard that the node says it cannot give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gap {
    /// Which shard.
    pub(super) shard: ShardId,
    /// Whole blobs of it; `None`: it is not there.
    pub(super) range: Option<ByteRange>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FoldSaid {
    pub(super) y: [u8; 32],
    pub(super) proof: [u8; 48],
    /// What it is verified against; empty when the node lists everything as gone.
    pub(super) terms: Vec<FoldTerm>,
    pub(super) gaps: Vec<Gap>,
    /// The same gaps as blobs of the set.
    pub(super) excluded: Blobs,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LeavesSaid {
    pub(super) claims: Vec<LeafClaim>,
    pub(super) gaps: Vec<Gap>,
}

/// Reads a reply, and keeps the signed words as evidence.
pub(super) fn hear(
    challenge: &Challenge,
    set: &AuditSet,
    row: &NodeRow,
    reply: Result<NodeReply, SendFailure>,
) -> (Heard, Vec<u8>) {
    let answer = match reply {
        Ok(NodeReply::Answer(answer)) => answer,
        // A reply of another kind is unsigned garbage.
        Ok(_) => return (Heard::Silent(Outcome::Late), Vec::new()),
        Err(failure) => return (failed(&failure), Vec::new()),
    };
    if !is_for(&answer, challenge, row) {
        return (Heard::Silent(Outcome::Late), Vec::new());
    }
    let heard = match (&answer.body, &challenge.ask) {
        (AnswerBody::SetMismatch { .. }, Ask::Fold { .. } | Ask::Sample { .. }) => Heard::Mismatch,
        (AnswerBody::Refused { retry_after }, _) => Heard::Refused(*retry_after),
        (AnswerBody::Fold { y, proof, damaged, missing }, Ask::Fold { from, to }) => {
            fold_said(set, (*from, *to), damaged, missing)
                .map_or(Heard::Nonsense, |said| Heard::Fold(FoldSaid { y: *y, proof: *proof, ..said }))
        }
        (AnswerBody::Leaves { .. }, Ask::Sample { .. } | Ask::Leaves { .. }) => leaves_said(challenge, set, &answer),
        (AnswerBody::SetMismatch { .. }, Ask::Leaves { .. })
        | (AnswerBody::Fold { .. }, Ask::Sample { .. } | Ask::Leaves { .. })
        | (AnswerBody::Leaves { .. }, Ask::Fold { .. }) => Heard::Nonsense,
    };
    (heard, answer.to_evidence())
}

fn failed(failure: &SendFailure) -> Heard {
    match failure {
        SendFailure::Unreachable => Heard::Silent(Outcome::Unreachable),
        SendFailure::Timeout | SendFailure::Malformed(_) => Heard::Silent(Outcome::Late),
        SendFailure::Refused { retry_after } => Heard::Refused(*retry_after),
        // Attack: a node that dropped what it is asked for denies every challenge. Nobody signed that word, and if it counted
        // as our own fault, one status code would free a node from audits for ever. Where the fault is ours (a certificate
        // that is no auditor's), every node says it, and the alerts of their containment come hours before any loss.
        SendFailure::Denied(_) => Heard::Refused(DENIED_WAIT),
    }
}

// Attack: last week's proof, a neighbour's proof, a proof for an easier question. Only the node's own signature over
// this challenge's digest makes it speak for itself, and only then can it be held to what it says.
fn is_for(answer: &Answer, challenge: &Challenge, row: &NodeRow) -> bool {
    answer.audit == challenge.audit
        && answer.node == challenge.node
        && answer.node == row.id
        && answer.challenge == challenge.digest()
        && answer.is_signed_by(&row.key)
}

fn fold_said(set: &AuditSet, asked: (u64, u64), damaged: &[DamagedRange], missing: &[ShardId]) -> Option<FoldSaid> {
    // A fold leaves out whole blobs: a damaged byte is a damaged blob, on the node as here.
    let blobs = |len, range| {
        let (from, to) = blobs_in(range);
        set::blob_bytes(len, from, to)
    };
    let gaps = gaps_of(set, damaged, missing, blobs)?;
    let numbered = |gap: &Gap| {
        let member = set.member(&gap.shard)?;
        let (from, to) = gap.range.map_or((0, member.blobs()), blobs_in);
        let clipped = ((member.base + from).max(asked.0), (member.base + to).min(asked.1));
        (clipped.0 < clipped.1).then_some((*gap, member, clipped))
    };
    // A gap outside the question is not what was asked about.
    let numbered: Vec<_> = gaps.iter().filter_map(numbered).collect();
    let excluded = join(numbered.iter().map(|(_, _, blobs)| *blobs).collect());
    let clip = |(gap, member, (from, to)): &(Gap, &Member, (u64, u64))| Gap {
        range: gap.range.map(|_| set::blob_bytes(member.placement.len, from - member.base, to - member.base)),
        ..*gap
    };
    let gaps = numbered.iter().map(clip).collect();
    Some(FoldSaid { y: [0; 32], proof: [0; 48], terms: terms(set, asked, &excluded), gaps, excluded })
}

/// The node's lists as gaps; `None` when they name what is not in the set, or too much.
fn gaps_of(
    set: &AuditSet,
    damaged: &[DamagedRange],
    missing: &[ShardId],
    widen: fn(u64, ByteRange) -> ByteRange,
) -> Option<Vec<Gap>> {
    if damaged.len() > ANSWER_DAMAGED_MAX || missing.len() > SET_SHARDS_MAX {
        return None;
    }
    let mut gaps = Vec::with_capacity(damaged.len() + missing.len());
    for shard in missing {
        set.member(shard)?;
        gaps.push(Gap { shard: *shard, range: None });
    }
    for gap in damaged {
        let len = set.member(&gap.shard)?.placement.len;
        if gap.range.is_empty() || gap.range.end() > len {
            return None;
        }
        gaps.push(Gap { shard: gap.shard, range: Some(widen(len, gap.range)) });
    }
    Some(gaps)
}

fn blobs_in(range: ByteRange) -> (u64, u64) {
    (range.start() / BLOB_LEN, range.end().div_ceil(BLOB_LEN))
}

/// Sorts ranges and joins those that overlap or touch.
pub(super) fn join(mut ranges: Blobs) -> Blobs {
    ranges.sort_unstable();
    let mut joined: Blobs = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// The parts of `ranges` within `from..to`.
pub(super) fn clip(ranges: &[(u64, u64)], from: u64, to: u64) -> Blobs {
    let cut = ranges.iter().map(|(start, end)| ((*start).max(from), (*end).min(to)));
    cut.filter(|(start, end)| start < end).collect()
}

/// What a fold of blobs `asked` without `excluded` is verified against.
pub(super) fn terms(set: &AuditSet, asked: (u64, u64), excluded: &[(u64, u64)]) -> Vec<FoldTerm> {
    let mut terms = Vec::new();
    for member in set.members() {
        let (base, end) = (member.base, member.base + member.blobs());
        let (from, to) = (asked.0.max(base), asked.1.min(end));
        let Some(list) = member.list().filter(|_| from < to) else { continue };
        let mut blobs = Vec::new();
        let mut at = from;
        for (gap_from, gap_to) in clip(excluded, from, to) {
            blobs.push((at, gap_from));
            at = gap_to;
        }
        blobs.push((at, to));
        let own = |(from, to): (u64, u64)| ((from - base) as u32, (to - base) as u32);
        let blobs: Vec<_> = blobs.into_iter().filter(|(from, to)| from < to).map(own).collect();
        if !blobs.is_empty() {
            terms.push(FoldTerm { shard: member.placement.shard, list, base, blobs });
        }
    }
    terms
}

fn leaves_said(challenge: &Challenge, set: &AuditSet, answer: &Answer) -> Heard {
    let AnswerBody::Leaves { shards, damaged, missing } = &answer.body else { return Heard::Nonsense };
    let Some(gaps) = gaps_of(set, damaged, missing, |_, range| range) else { return Heard::Nonsense };
    let (mut claims, mut admitted) = (Vec::new(), Vec::new());
    for (shard, len, mut leaves) in asked_leaves(challenge, set) {
        let of_shard: Vec<&Gap> = gaps.iter().filter(|gap| gap.shard == shard).collect();
        let before = leaves.len();
        leaves.retain(|leaf| !of_shard.iter().any(|gap| covers(gap, *leaf)));
        if leaves.len() < before {
            admitted.extend(of_shard.into_iter().copied());
        }
        if leaves.is_empty() {
            continue;
        }
        // Left out without a word: an empty proof, which no leaf has.
        let proof = shards.iter().find(|said| said.shard == shard).map(|said| said.proof.clone()).unwrap_or_default();
        claims.push(LeafClaim { shard, len, leaves, proof });
    }
    Heard::Leaves(LeavesSaid { claims, gaps: admitted })
}

fn covers(gap: &Gap, leaf: u64) -> bool {
    let at = leaf * holdfast_types::LEAF_LEN;
    gap.range.is_none_or(|range| range.start() <= at && at < range.end())
}

/// The leaves that a challenge asks for, by shard, with the catalog's length.
pub(super) fn asked_leaves(challenge: &Challenge, set: &AuditSet) -> Vec<(ShardId, u64, Vec<u64>)> {
    match &challenge.ask {
        Ask::Fold { .. } => Vec::new(),
        Ask::Sample { count } => {
            let entries = set.entries();
            let drawn = challenge.draw(&entries, *count);
            drawn.into_iter().map(|(at, leaves)| (entries[at].shard, entries[at].len, leaves)).collect()
        }
        Ask::Leaves { shard, from, to } => {
            let Some(member) = set.member(shard) else { return Vec::new() };
            let to = (*to).min(leaf_count(member.placement.len));
            vec![(*shard, member.placement.len, (*from..to).collect())]
        }
    }
}
