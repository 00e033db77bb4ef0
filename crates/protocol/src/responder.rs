//! The node's side of an audit: from a challenge to the reads it takes, and from the bytes read to
//! the answer. Nothing is read here. The driver (a node, or the simulation)
//!
//! 1. looks up its own shards: those whose sequence is in the challenge's runs, in order of
//!    sequence; for [`Ask::Leaves`] the one shard with that name, wherever it is;
//! 2. makes a [`Responder`]; it either is the answer already (the sets differ) or has reads;
//! 3. for each [`ShardRead`], in any order of shards but ascending within one: reads its ranges and
//!    hands the bytes to [`Responder::absorb`], together with what its disk says is damaged; for
//!    leaves also the shard's outboard; a shard that is not there goes to [`Responder::missing`];
//! 4. takes the body from [`Responder::finish`] and signs it with [`crate::answer::sign`].
//!
//! Whatever it was not given counts as damaged. A node that tells the truth about a bad blob loses
//! that blob; one that folds garbage loses its name.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_kzg::{Fold, Setup};
use holdfast_types::{BLOB_LEN, ByteRange, LEAF_LEN, ShardId};
use merkle_cid::{LeafIndex, LeafSet, Outboard, tree::leaf_count};
use thiserror::Error;

use crate::{
    challenge::Gammas,
    message::{ANSWER_DAMAGED_MAX, AnswerBody, Ask, Challenge, DamagedRange, SetEntry, ShardLeaves},
    set,
};

/// The kind under which a node keeps a shard's outboard in its volume, keyed by the shard's root:
/// the chaining values of its 16 KiB groups, so that a leaf of an intact piece can be proven although
/// another piece is damaged. No [`crate::message::RecordKind`]: nobody else may write it.
pub const OUTBOARD_KIND: u8 = 64;

/// A mistake of the driver.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ResponderError {
    /// Not a planned read, or out of order.
    #[error(
        "expected whole planned pieces of a planned shard in ascending order, got {len} bytes at {offset} of {shard}; follow reads()"
    )]
    Unplanned {
        /// Which shard.
        shard: ShardId,
        /// Where in it.
        offset: u64,
        /// How many bytes.
        len: usize,
    },
}

/// What is to be read of one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardRead {
    /// Its place in the set.
    pub entry: SetEntry,
    /// Ascending and apart. For a fold one range of whole blobs, which may be read in pieces that
    /// begin and end at blobs; for leaves groups of at most 16 KiB, each to be read at once.
    pub ranges: Vec<ByteRange>,
    /// Whether the shard's outboard is needed.
    pub outboard: bool,
}

/// Answers one challenge.
pub struct Responder {
    challenge: Challenge,
    reads: Vec<ShardRead>,
    work: Work,
}

enum Work {
    Fold(FoldWork),
    Leaves(BTreeMap<ShardId, LeafWork>),
}

struct FoldWork {
    fold: Fold,
    gammas: Gammas,
    shards: BTreeMap<ShardId, FoldShard>,
    /// Damaged ranges of one shard at most: the answer's, shared out evenly.
    gaps_max: usize,
}

struct FoldShard {
    len: u64,
    /// Number of its blob 0 in the set.
    base: u64,
    /// Asked blobs of the shard.
    first: u64,
    end: u64,
    /// First of them not yet accounted for.
    next: u64,
    gaps: Vec<(u64, u64)>,
    missing: bool,
}

#[derive(Default)]
struct LeafWork {
    asked: Vec<u64>,
    groups: BTreeMap<u64, Vec<u8>>,
    outboard: Option<Vec<u8>>,
    /// Blobs that the disk found damage in.
    bad_blobs: BTreeSet<u64>,
    missing: bool,
}

impl Responder {
    /// Plans the answer over `entries`, the node's own (see above). When they are not the set that the challenge
    /// is about, the answer is there at once.
    #[allow(clippy::result_large_err, reason = "it is the answer, made once a challenge")]
    pub fn new(challenge: &Challenge, entries: &[SetEntry]) -> Result<Self, AnswerBody> {
        let mismatch = || AnswerBody::SetMismatch { digest: set::digest(entries), count: entries.len() as u32 };
        // The judge's question is about one shard by name: a set that changed elsewhere must not silence it.
        let by_name = matches!(challenge.ask, Ask::Leaves { .. });
        if !by_name && (!set::are_runs(&challenge.set.runs) || set::digest(entries) != challenge.set.digest) {
            return Err(mismatch());
        }
        let (reads, work) = match &challenge.ask {
            Ask::Fold { from, to } => plan_fold(challenge, entries, *from, *to),
            Ask::Sample { count } => plan_leaves(entries, challenge.draw(entries, *count)),
            Ask::Leaves { shard, from, to } => {
                let Some(entry) = entries.iter().find(|entry| entry.shard == *shard) else {
                    return Err(AnswerBody::Leaves { shards: vec![], damaged: vec![], missing: vec![*shard] });
                };
                if from >= to || *to > leaf_count(entry.len) || LeafSet::range(*from..*to).is_err() {
                    return Err(mismatch());
                }
                plan_leaves(std::slice::from_ref(entry), vec![(0, (*from..*to).collect())])
            }
        };
        Ok(Self { challenge: challenge.clone(), reads, work })
    }

    /// What to read, in order of sequence.
    pub fn reads(&self) -> &[ShardRead] {
        &self.reads
    }

    /// The shard is not there.
    pub fn missing(&mut self, shard: &ShardId) {
        match &mut self.work {
            Work::Fold(work) => {
                if let Some(found) = work.shards.get_mut(shard) {
                    // What was folded cannot be taken out again: a shard that vanishes halfway is damaged from there on.
                    found.missing = found.next == found.first;
                }
            }
            Work::Leaves(shards) => {
                if let Some(found) = shards.get_mut(shard) {
                    found.missing = true;
                }
            }
        }
    }

    /// The shard's outboard: the bytes that [`merkle_cid::Outboard::as_bytes`] gave when it was stored.
    pub fn outboard(&mut self, shard: &ShardId, entries: Vec<u8>) {
        if let Work::Leaves(shards) = &mut self.work
            && let Some(found) = shards.get_mut(shard)
        {
            found.outboard = Some(entries);
        }
    }

    /// Bytes read at `offset` of the shard. Ranges of it that the disk says are `damaged` are not looked at.
    pub fn absorb(
        &mut self,
        shard: &ShardId,
        offset: u64,
        bytes: &[u8],
        damaged: &[ByteRange],
    ) -> Result<(), ResponderError> {
        let unplanned = ResponderError::Unplanned { shard: *shard, offset, len: bytes.len() };
        let read = ByteRange::at(offset, bytes.len() as u64).ok_or_else(|| unplanned.clone())?;
        match &mut self.work {
            Work::Fold(work) => work.absorb(shard, read, bytes, damaged).ok_or(unplanned),
            Work::Leaves(shards) => {
                let planned = self.reads.iter().find(|planned| planned.entry.shard == *shard);
                if !planned.is_some_and(|planned| planned.ranges.contains(&read)) {
                    return Err(unplanned);
                }
                let Some(found) = shards.get_mut(shard) else { return Ok(()) };
                let gaps: Vec<ByteRange> =
                    damaged.iter().map(|gap| read.intersect(*gap)).filter(|gap| !gap.is_empty()).collect();
                if gaps.is_empty() {
                    found.groups.insert(offset, bytes.to_vec());
                }
                found
                    .bad_blobs
                    .extend(gaps.iter().flat_map(|gap| [gap.start() / BLOB_LEN, (gap.end() - 1) / BLOB_LEN]));
                Ok(())
            }
        }
    }

    /// The answer. A fold costs one opening here: tens of milliseconds of one core.
    pub fn finish(self, setup: &Setup) -> AnswerBody {
        match self.work {
            Work::Fold(work) => work.finish(&self.challenge, &self.reads, setup),
            Work::Leaves(shards) => finish_leaves(&self.reads, shards),
        }
    }
}

fn plan_fold(challenge: &Challenge, entries: &[SetEntry], from: u64, to: u64) -> (Vec<ShardRead>, Work) {
    let (mut reads, mut shards, mut base) = (Vec::new(), BTreeMap::new(), 0);
    for entry in entries {
        let blobs = set::blobs_of(entry.len);
        let clamp = |blob: u64| blob.saturating_sub(base).min(blobs);
        let (first, end) = (clamp(from), clamp(to));
        if first < end {
            let ranges = vec![set::blob_bytes(entry.len, first, end)];
            reads.push(ShardRead { entry: *entry, ranges, outboard: false });
            let shard = FoldShard { len: entry.len, base, first, end, next: first, gaps: Vec::new(), missing: false };
            shards.insert(entry.shard, shard);
        }
        base += blobs;
    }
    let gaps_max = (ANSWER_DAMAGED_MAX / shards.len().max(1)).max(1);
    (reads, Work::Fold(FoldWork { fold: Fold::new(), gammas: challenge.gammas(), shards, gaps_max }))
}

impl FoldShard {
    fn skip_to(&mut self, blob: u64) {
        match self.gaps.last_mut() {
            Some(last) if last.1 == self.next => last.1 = blob,
            _ => self.gaps.push((self.next, blob)),
        }
        self.next = blob;
    }

    /// The last range that may be listed is open: the rest of the shard is given up with it, before any of that is
    /// folded and could not be taken out again.
    fn is_given_up(&self, gaps_max: usize) -> bool {
        self.gaps.len() >= gaps_max && self.gaps.last().is_some_and(|last| last.1 == self.next)
    }
}

impl FoldWork {
    fn absorb(&mut self, shard: &ShardId, read: ByteRange, bytes: &[u8], damaged: &[ByteRange]) -> Option<()> {
        let Self { fold, gammas, shards, gaps_max } = self;
        let shard = shards.get_mut(shard)?;
        let (first, end) = (read.start() / BLOB_LEN, read.end().div_ceil(BLOB_LEN));
        // Half a blob would be folded as if the rest were zeros.
        if set::blob_bytes(shard.len, first, end) != read || first < shard.next || end > shard.end {
            return None;
        }
        if shard.next < first {
            shard.skip_to(first);
        }
        for blob in first..end {
            let range = set::blob_bytes(shard.len, blob, blob + 1);
            if shard.missing || shard.is_given_up(*gaps_max) || damaged.iter().any(|gap| gap.overlaps(range)) {
                shard.skip_to(blob + 1);
                continue;
            }
            let piece = bytes.get((range.start() - read.start()) as usize..(range.end() - read.start()) as usize)?;
            fold.absorb(gammas.at(shard.base + blob), 0, piece).ok()?;
            shard.next = blob + 1;
        }
        Some(())
    }

    fn finish(mut self, challenge: &Challenge, reads: &[ShardRead], setup: &Setup) -> AnswerBody {
        let (mut damaged, mut missing) = (Vec::new(), Vec::new());
        for read in reads {
            let Some(shard) = self.shards.get_mut(&read.entry.shard) else { continue };
            if shard.missing {
                missing.push(read.entry.shard);
                continue;
            }
            if shard.next < shard.end {
                shard.skip_to(shard.end);
            }
            damaged.extend(shard.gaps.iter().map(|(from, to)| DamagedRange {
                shard: read.entry.shard,
                range: set::blob_bytes(shard.len, *from, *to),
            }));
        }
        damaged.sort_unstable();
        missing.sort_unstable();
        let opening = self.fold.open(setup, challenge.point());
        AnswerBody::Fold { y: opening.y, proof: opening.proof.0, damaged, missing }
    }
}

fn plan_leaves(entries: &[SetEntry], drawn: Vec<(usize, Vec<u64>)>) -> (Vec<ShardRead>, Work) {
    let (mut reads, mut shards) = (Vec::new(), BTreeMap::new());
    for (at, asked) in drawn {
        let entry = entries[at];
        let leaves = LeafSet::new(asked.iter().copied().map(LeafIndex)).ok();
        let groups = leaves.and_then(|leaves| merkle_cid::plan_reads(entry.len, &leaves).ok()).unwrap_or_default();
        let ranges = groups.into_iter().filter_map(|range| ByteRange::new(range.start, range.end)).collect();
        reads.push(ShardRead { entry, ranges, outboard: true });
        shards.insert(entry.shard, LeafWork { asked, ..LeafWork::default() });
    }
    (reads, Work::Leaves(shards))
}

fn finish_leaves(reads: &[ShardRead], mut work: BTreeMap<ShardId, LeafWork>) -> AnswerBody {
    let (mut shards, mut damaged, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for read in reads {
        let Some(work) = work.remove(&read.entry.shard) else { continue };
        if work.missing {
            missing.push(read.entry.shard);
            continue;
        }
        let (proof, lost) = prove(&read.entry, work);
        damaged.extend(lost);
        shards.extend(proof.map(|proof| ShardLeaves { shard: read.entry.shard, proof }));
    }
    damaged.sort_unstable();
    missing.sort_unstable();
    AnswerBody::Leaves { shards, damaged, missing }
}

/// Proves the leaves whose groups are at hand, and lists what it cannot read of the others: the blobs that the disk
/// says are damaged, and the groups that straddle them. The auditor expects no leaf that was listed, so leaves beside a
/// lost one go with it. `prove` compares every group with the outboard and the outboard with the root, so that rot that
/// the disk did not notice is found here too: then the group is dropped and the rest is tried again.
fn prove(entry: &SetEntry, mut work: LeafWork) -> (Option<Vec<u8>>, Vec<DamagedRange>) {
    let outboard = work.outboard.take().or_else(|| (merkle_cid::outboard_len(entry.len) == 0).then(Vec::new));
    let outboard = outboard.and_then(|bytes| Outboard::from_bytes(entry.shard.0, entry.len, bytes).ok());
    let blobs = work.bad_blobs.iter().map(|blob| set::blob_bytes(entry.len, *blob, blob + 1));
    let mut told: Vec<ByteRange> = blobs.collect();
    loop {
        let unread = |leaf: &&u64| !work.groups.contains_key(&group_of(**leaf)) && entry.len > 0;
        told.extend(work.asked.iter().filter(unread).map(|leaf| group_bytes(entry.len, *leaf)));
        let at = |leaf: u64| leaf * LEAF_LEN;
        work.asked.retain(|leaf| !told.iter().any(|gap| gap.start() <= at(*leaf) && at(*leaf) < gap.end()));
        let (Some(outboard), false) = (&outboard, work.asked.is_empty()) else { break };
        let Ok(leaves) = LeafSet::new(work.asked.iter().copied().map(LeafIndex)) else { break };
        let read = |range: std::ops::Range<u64>| work.groups.get(&range.start).ok_or(range.start);
        match merkle_cid::prove(outboard, &leaves, read) {
            Ok(proof) => return (Some(proof.into_bytes()), joined(entry, told)),
            Err(merkle_cid::ProveError::Content { range } | merkle_cid::ProveError::ReadLength { range, .. }) => {
                work.groups.remove(&range.start);
            }
            Err(_) => break,
        }
    }
    told.extend(work.asked.iter().map(|leaf| group_bytes(entry.len, *leaf)));
    (None, joined(entry, told))
}

fn group_of(leaf: u64) -> u64 {
    let group = merkle_cid::GROUP_LEN as u64;
    leaf * LEAF_LEN / group * group
}

/// The group of a leaf, as far as the shard goes.
fn group_bytes(len: u64, leaf: u64) -> ByteRange {
    let start = group_of(leaf);
    let group = ByteRange::at(start, merkle_cid::GROUP_LEN as u64).unwrap_or(ByteRange::first(0));
    group.intersect(ByteRange::first(len))
}

/// Sorted, and one where they overlap or touch.
fn joined(entry: &SetEntry, mut told: Vec<ByteRange>) -> Vec<DamagedRange> {
    told.sort_unstable();
    let mut out: Vec<DamagedRange> = Vec::new();
    for range in told {
        match out.last_mut() {
            Some(last) if range.start() <= last.range.end() => {
                let end = last.range.end().max(range.end());
                last.range = ByteRange::new(last.range.start(), end).unwrap_or(last.range);
            }
            _ => out.push(DamagedRange { shard: entry.shard, range }),
        }
    }
    out
}
