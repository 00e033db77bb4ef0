//! From a challenge to its answer's body, over a volume: the node's own shards are looked up, read in the order they lie
//! on the disk, and handed to the responder. A fold of everything is one pass over the disk in a few MiB of memory.
//!
//! One thread reads and compares checksums, and has told the disk what comes next ([`Reader::will_need`]); another folds
//! what was read. So the pass takes the longest of the three, and not their sum.

use std::{
    num::NonZeroU64,
    ops::Range,
    sync::{
        Mutex,
        mpsc::{Receiver, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use holdfast_kzg::Setup;
use holdfast_protocol::{
    message::{AnswerBody, Ask, Challenge, SET_SHARDS_MAX, SetEntry},
    responder::{Responder, ShardRead},
};
use holdfast_types::{ByteRange, ShardId};
use holdfast_volume::{Entry, Key, PIECE_LEN, Reader, VolumeError};
use holdfast_wire::{ErrorCode, WireError};
use merkle_cid::Builder;
use tracing::warn;

use crate::{
    content::{SHARD_KIND, outboard_key, sequence, shard_key, volume_sequence},
    refusal,
};

/// Bytes of one read for a fold: whole blobs, near 1 MiB.
const RUN_LEN: u64 = 8 * PIECE_LEN;
/// Runs that the disk is told of beforehand, in the kernel's memory and not in ours: as many as keep a fast disk's queue
/// full, or it waits for us between two of them.
const AHEAD: usize = 24;
/// Runs that were read and wait to be folded: one, and one more for when either thread is late.
const BETWEEN: usize = 2;

/// Who looks over the reader's shoulder, on the reading thread.
pub trait Watch: Send {
    /// Before `len` bytes are read. An error ends the answer.
    ///
    /// # Errors
    /// Whatever is to be told instead of an answer.
    fn before(&mut self, len: u64) -> Result<(), WireError>;

    /// Ranges of a shard that did not pass their checksums.
    fn damaged(&mut self, shard: ShardId, ranges: &[Range<u64>]);
}

/// Bytes a second that all who read for audits may have together.
pub(crate) struct Rate {
    per_second: Option<NonZeroU64>,
    /// When what was promised so far will have been read.
    free: Mutex<Instant>,
}

impl Rate {
    /// No limit with `None`.
    pub(crate) fn new(per_second: Option<NonZeroU64>) -> Self {
        Self { per_second, free: Mutex::new(Instant::now()) }
    }

    /// How long to wait before reading `len` bytes, which are promised herewith.
    pub(crate) fn turn(&self, len: u64) -> Duration {
        let Some(rate) = self.per_second else { return Duration::ZERO };
        let now = Instant::now();
        // Nothing is done under the lock that could panic halfway.
        let mut free = self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let begin = (*free).max(now);
        *free = begin + Duration::from_secs_f64(len as f64 / rate.get() as f64);
        begin - now
    }
}

/// The body of the answer to `challenge` by whoever has this volume.
///
/// # Errors
/// What `watch` says, and the volume's own trouble. Damage is no error: it stands in the answer.
pub fn answer(reader: &Reader, challenge: &Challenge, watch: &mut dyn Watch) -> Result<AnswerBody, WireError> {
    let mut responder = match Responder::new(challenge, &entries(reader, challenge)) {
        Ok(responder) => responder,
        Err(body) => return Ok(body),
    };
    let mut reads = responder.reads().to_vec();
    reads.sort_by_cached_key(|read| {
        let location = reader.locate(&shard_key(&read.entry.shard));
        location.map(|location| (location.file, location.offset))
    });
    let pass = Pass { reader, watch, ahead: reads.iter().flat_map(runs).collect(), at: 0 };
    thread::scope(|scope| {
        let (found, finds) = sync_channel(BETWEEN);
        let (give_back, returned) = channel();
        scope.spawn(move || pass.all(&reads, &Hand { found, returned }));
        // Whatever ends this loop early drops both ends, at which the reading ends too.
        for find in finds {
            match find {
                Find::Bytes { shard, at, bytes, damaged } => {
                    let absorbed = responder.absorb(&shard, at, &bytes, &damaged);
                    absorbed.map_err(|error| WireError::new(ErrorCode::Bug, error))?;
                    // At the end nobody takes it any more.
                    let _ = give_back.send(bytes);
                }
                Find::Outboard { shard, entries } => responder.outboard(&shard, entries),
                Find::Gone { shard } => responder.missing(&shard),
                Find::Refused(error) => return Err(error),
            }
        }
        Ok::<_, WireError>(())
    })?;
    Ok(responder.finish(Setup::ethereum()))
}

/// Our shards in the challenge's runs; for the judge's question the one that it names.
fn entries(reader: &Reader, challenge: &Challenge) -> Vec<SetEntry> {
    if let Ask::Leaves { shard, .. } = challenge.ask {
        return reader.stat(&shard_key(&shard)).map(set_entry).into_iter().collect();
    }
    let mut entries = Vec::new();
    for run in &challenge.set.runs {
        // One more than a set may have is enough to see that it is another.
        let room = SET_SHARDS_MAX + 1 - entries.len();
        let found = reader.entries(&[SHARD_KIND], volume_sequence(run.from)..volume_sequence(run.to), room);
        entries.extend(found.into_iter().map(set_entry));
        if entries.len() > SET_SHARDS_MAX {
            break;
        }
    }
    entries
}

/// What is read with one call: groups for leaves are planned so, and far below a run.
fn runs(read: &ShardRead) -> impl Iterator<Item = (Key, Range<u64>)> + '_ {
    let key = shard_key(&read.entry.shard);
    let cut = |range: &ByteRange| {
        let (start, end) = (range.start(), range.end());
        (start..end).step_by(RUN_LEN as usize).map(move |at| at..end.min(at.saturating_add(RUN_LEN)))
    };
    read.ranges.iter().flat_map(cut).map(move |range| (key, range))
}

/// Which of `all` runs come into sight when number `at` is read: at first all that are near, then one more each.
fn in_sight(at: usize, all: usize) -> Range<usize> {
    let first = if at == 0 { 1 } else { at + AHEAD - 1 };
    first.min(all)..(at + AHEAD).min(all)
}

/// What the reading thread has for the proving one, in the order of the disk.
enum Find {
    /// Bytes of a shard from `at` on, and what is damaged of them.
    Bytes { shard: ShardId, at: u64, bytes: Vec<u8>, damaged: Vec<ByteRange> },
    /// A shard's outboard, before its bytes.
    Outboard { shard: ShardId, entries: Vec<u8> },
    /// The shard is not there any more.
    Gone { shard: ShardId },
    /// There will be no answer.
    Refused(WireError),
}

/// Why a shard's reads end early.
enum Stop {
    Gone,
    Refused(WireError),
    /// The proving thread has stopped.
    Alone,
}

/// The reading thread's end of both ways.
struct Hand {
    found: SyncSender<Find>,
    returned: Receiver<Vec<u8>>,
}

impl Hand {
    fn give(&self, find: Find) -> Result<(), Stop> {
        self.found.send(find).map_err(|_| Stop::Alone)
    }

    /// A buffer that was looked at, or a new one: as many as are on their way, and no more.
    fn buffer(&self) -> Vec<u8> {
        self.returned.try_recv().unwrap_or_default()
    }
}

/// The reads of one answer.
struct Pass<'a> {
    reader: &'a Reader,
    watch: &'a mut dyn Watch,
    /// All runs of all reads, and how many of them were begun.
    ahead: Vec<(Key, Range<u64>)>,
    at: usize,
}

impl Pass<'_> {
    fn all(mut self, reads: &[ShardRead], hand: &Hand) {
        for read in reads {
            let end = self.at + runs(read).count();
            let told = match self.one(read, hand) {
                Ok(()) => Ok(()),
                Err(Stop::Gone) => hand.give(Find::Gone { shard: read.entry.shard }),
                Err(Stop::Refused(error)) => hand.give(Find::Refused(error)).and(Err(Stop::Alone)),
                Err(Stop::Alone) => Err(Stop::Alone),
            };
            if told.is_err() {
                return;
            }
            self.at = end;
        }
    }

    fn one(&mut self, plan: &ShardRead, hand: &Hand) -> Result<(), Stop> {
        let shard = plan.entry.shard;
        if plan.outboard {
            match self.outboard(plan)? {
                Some(entries) => hand.give(Find::Outboard { shard, entries })?,
                None => warn!(%shard, "no outboard, and none to be computed: the shard is damaged"),
            }
        }
        for (_, run) in runs(plan) {
            for (key, range) in self.ahead.get(in_sight(self.at, self.ahead.len())).unwrap_or_default() {
                self.reader.will_need(key, range.clone());
            }
            self.at += 1;
            let (at, mut bytes) = (run.start, hand.buffer());
            let damaged = self.bytes(shard, run, &mut bytes)?;
            hand.give(Find::Bytes { shard, at, bytes, damaged })?;
        }
        Ok(())
    }

    /// Into `bytes`; says what is damaged of it.
    fn bytes(&mut self, shard: ShardId, range: Range<u64>, bytes: &mut Vec<u8>) -> Result<Vec<ByteRange>, Stop> {
        self.watch.before(range.end - range.start).map_err(Stop::Refused)?;
        let damaged = match self.reader.read_into(&shard_key(&shard), range, bytes) {
            Ok(damaged) => damaged,
            // Deleted, or replaced by nothing of this length, while we read.
            Err(VolumeError::NotFound { .. } | VolumeError::OutOfRange { .. }) => return Err(Stop::Gone),
            Err(error) => return Err(Stop::Refused(refusal::of_volume(&error))),
        };
        self.watch.damaged(shard, &damaged);
        Ok(damaged.iter().filter_map(|range| ByteRange::new(range.start, range.end)).collect())
    }

    /// The outboard as it was kept, or, when that is lost, computed anew from an intact shard.
    fn outboard(&mut self, plan: &ShardRead) -> Result<Option<Vec<u8>>, Stop> {
        let (shard, len) = (plan.entry.shard, plan.entry.len);
        let expected = merkle_cid::outboard_len(len);
        let kept = self.reader.read(&outboard_key(*shard.as_bytes()), 0..expected).ok();
        if let Some(kept) = kept.filter(|kept| kept.damaged.is_empty()) {
            return Ok(Some(kept.bytes));
        }
        let (mut builder, mut bytes) = (Builder::new(), Vec::new());
        for at in (0..len).step_by(RUN_LEN as usize) {
            if !self.bytes(shard, at..len.min(at + RUN_LEN), &mut bytes)?.is_empty() {
                return Ok(None);
            }
            builder.update(&bytes);
        }
        Ok(Some(builder.finish().1.into_bytes()))
    }
}

pub(crate) fn set_entry(entry: Entry) -> SetEntry {
    SetEntry { sequence: sequence(entry.sequence), shard: ShardId::from_bytes(entry.key.id), len: entry.len }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_told_of_every_run_but_the_first_once_and_in_their_order() {
        for all in [0, 1, 2, AHEAD - 1, AHEAD, AHEAD + 1, 5 * AHEAD] {
            let told: Vec<usize> = (0..all).flat_map(|at| in_sight(at, all)).collect();
            assert_eq!(told, (1..all).collect::<Vec<_>>(), "of {all} runs");
        }
    }

    #[test]
    fn all_readers_share_one_rate() {
        let rate = Rate::new(NonZeroU64::new(1000));
        assert_eq!(rate.turn(500), Duration::ZERO);
        // Somebody else, meanwhile: after the first one's half a second, and so on.
        let (second, third) = (rate.turn(500), rate.turn(1));
        assert!(second <= Duration::from_millis(500) && second > Duration::from_millis(300), "{second:?}");
        assert!(third > second + Duration::from_millis(300), "{third:?}");
        assert_eq!(Rate::new(None).turn(u64::MAX), Duration::ZERO);
    }
}
