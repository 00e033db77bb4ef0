//! From a challenge to its answer's body, over a volume: the node's own shards are looked up, read in the order they lie
//! on the disk, and handed to the responder. A fold of everything is one pass over the disk in seven buffers of 2 MiB.
//!
//! A few threads read, each a run at a time, past the kernel's cache where they may, and compare checksums; whoever asked
//! folds what they read, in the disk's order. So the disk is never without work, and the pass takes the longest of the
//! three and not their sum. Every run is in one of a fixed number of buffers.

use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
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
use holdfast_volume::{DirectBuffer, Entry, PIECE_LEN, RUN_LEN, Reader, VolumeError};
use holdfast_wire::{ErrorCode, WireError};
use merkle_cid::Builder;
use tracing::warn;

use crate::{
    content::{SHARD_KIND, outboard_key, sequence, shard_key, volume_sequence},
    refusal,
};

/// Threads that read, and so what the disk has to do at any time: one run alone leaves it waiting for us between two.
const READERS: usize = 5;
/// Runs that were read and wait to be folded: one, and one more for when either side is late.
const BETWEEN: usize = 2;
/// Runs that the disk is told of beforehand where they go through the kernel's memory, and be it their checksums alone.
const AHEAD: usize = 24;

/// Who looks over the reader's shoulder, on the reading threads, one at a time.
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
        let mut free = lock(&self.free);
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
    let (free, buffers) = channel();
    let jobs = reads.iter().flat_map(jobs).collect();
    let pass = Pass { reader, watch: Mutex::new(watch), jobs, next: Mutex::new((0, buffers)) };
    thread::scope(|scope| {
        // Never more in it than there are buffers and threads.
        let (found, finds) = channel();
        for _ in 0..READERS.min(pass.jobs.len()) {
            let (pass, found) = (&pass, found.clone());
            scope.spawn(move || pass.read(&found));
        }
        drop(found);
        // Whatever ends this early drops both ends, at which the reading ends too.
        take_in_order(&mut responder, free, finds)
    })?;
    Ok(responder.finish(Setup::ethereum()))
}

/// Hands what was read to the responder, in the order of the jobs, and the buffers back.
fn take_in_order(
    responder: &mut Responder,
    free: Sender<DirectBuffer>,
    finds: Receiver<Found>,
) -> Result<(), WireError> {
    for _ in 0..READERS + BETWEEN {
        // The pass has the other end.
        let _ = free.send(DirectBuffer::default());
    }
    let (mut waiting, mut next, mut gone) = (BTreeMap::new(), 0, None);
    for found in finds {
        let (number, buffer, find) = found?;
        waiting.insert(number, (buffer, find));
        while let Some((buffer, (shard, find))) = waiting.remove(&next) {
            match find {
                // What comes of a shard after its end may be of another life of it.
                _ if gone == Some(shard) => {}
                Find::Bytes { at, damaged } => {
                    let absorbed = responder.absorb(&shard, at, buffer.bytes(), &damaged);
                    absorbed.map_err(|error| WireError::new(ErrorCode::Bug, error))?;
                }
                Find::Outboard(entries) => responder.outboard(&shard, entries),
                Find::NoOutboard => warn!(%shard, "no outboard, and none to be computed: the shard is damaged"),
                Find::Gone => {
                    gone = Some(shard);
                    responder.missing(&shard);
                }
            }
            next += 1;
            // At the end nobody takes it any more.
            let _ = free.send(buffer);
        }
    }
    Ok(())
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

/// What is read at once of a shard.
struct Job {
    shard: ShardId,
    len: u64,
    what: What,
}

enum What {
    Outboard,
    /// Bytes of the shard: groups for leaves are planned so, and far below a run.
    Run(Range<u64>),
}

/// A shard's outboard is needed before its bytes.
fn jobs(read: &ShardRead) -> impl Iterator<Item = Job> + '_ {
    let cut = |range: &ByteRange| {
        let (start, end) = (range.start(), range.end());
        // Runs of one length: after two long ones, a short one would leave the disk idle.
        let runs = (end - start).div_ceil(RUN_LEN).max(1);
        let run = (end - start).div_ceil(runs).next_multiple_of(PIECE_LEN).max(PIECE_LEN);
        (start..end).step_by(run as usize).map(move |at| What::Run(at..end.min(at.saturating_add(run))))
    };
    let outboard = read.outboard.then_some(What::Outboard);
    let SetEntry { shard, len, .. } = read.entry;
    outboard.into_iter().chain(read.ranges.iter().flat_map(cut)).map(move |what| Job { shard, len, what })
}

/// Which of `all` jobs come into sight when number `at` is begun: at first all that are near, then one more each.
fn in_sight(at: usize, all: usize) -> Range<usize> {
    let first = if at == 0 { 0 } else { at + AHEAD - 1 };
    first.min(all)..(at + AHEAD).min(all)
}

/// A job's number, the buffer it was done in, and what came of it for which shard; or why there will be no answer.
type Found = Result<(usize, DirectBuffer, (ShardId, Find)), WireError>;

/// What a reading thread has for the proving one.
enum Find {
    /// In the buffer, the shard's bytes from `at` on, and what is damaged of them.
    Bytes {
        at: u64,
        damaged: Vec<ByteRange>,
    },
    Outboard(Vec<u8>),
    /// It was lost, and the shard is damaged.
    NoOutboard,
    /// The shard is not there any more.
    Gone,
}

/// Why a job ends early.
enum Stop {
    Gone,
    Refused(WireError),
}

/// The reads of one answer.
struct Pass<'a> {
    reader: &'a Reader,
    watch: Mutex<&'a mut dyn Watch>,
    jobs: Vec<Job>,
    /// The job to be begun next, and buffers for it. Whoever takes a job has a buffer, so the first that is not done can
    /// always go on.
    next: Mutex<(usize, Receiver<DirectBuffer>)>,
}

/// Nothing is done under our locks that could panic halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pass<'_> {
    /// One thread's part: job after job, until there is none or nobody waits for it.
    fn read(&self, found: &Sender<Found>) {
        while let Some((number, buffer)) = self.take() {
            // A panic is a bug of ours; silence about it would leave the proving thread waiting for this job.
            let done = catch_unwind(AssertUnwindSafe(|| self.job(number, buffer)))
                .unwrap_or_else(|_| Err(WireError::new(ErrorCode::Bug, "reading for the challenge panicked")));
            let over = done.is_err();
            if found.send(done).is_err() || over {
                return;
            }
        }
    }

    fn take(&self) -> Option<(usize, DirectBuffer)> {
        let mut next = lock(&self.next);
        let number = next.0;
        if number == self.jobs.len() {
            return None;
        }
        let buffer = next.1.recv().ok()?;
        next.0 += 1;
        Some((number, buffer))
    }

    fn job(&self, number: usize, mut buffer: DirectBuffer) -> Found {
        for job in &self.jobs[in_sight(number, self.jobs.len())] {
            match &job.what {
                What::Run(range) => self.reader.will_read(&shard_key(&job.shard), range.clone()),
                What::Outboard => {
                    let key = outboard_key(*job.shard.as_bytes());
                    self.reader.will_read(&key, 0..merkle_cid::outboard_len(job.len));
                }
            }
        }
        let Job { shard, len, ref what, .. } = self.jobs[number];
        let find = match what {
            What::Run(range) => {
                let damaged = self.bytes(shard, range.clone(), &mut buffer);
                damaged.map(|damaged| Find::Bytes { at: range.start, damaged })
            }
            What::Outboard => self.outboard(shard, len, &mut buffer),
        };
        match find {
            Ok(find) => Ok((number, buffer, (shard, find))),
            Err(Stop::Gone) => Ok((number, buffer, (shard, Find::Gone))),
            Err(Stop::Refused(error)) => Err(error),
        }
    }

    /// Into the buffer; says what is damaged of it.
    fn bytes(&self, shard: ShardId, range: Range<u64>, buffer: &mut DirectBuffer) -> Result<Vec<ByteRange>, Stop> {
        lock(&self.watch).before(range.end - range.start).map_err(Stop::Refused)?;
        let damaged = match self.reader.read_direct(&shard_key(&shard), range, buffer) {
            Ok(damaged) => damaged,
            // Deleted, or replaced by nothing of this length, while we read.
            Err(VolumeError::NotFound { .. } | VolumeError::OutOfRange { .. }) => return Err(Stop::Gone),
            Err(error) => return Err(Stop::Refused(refusal::of_volume(&error))),
        };
        lock(&self.watch).damaged(shard, &damaged);
        Ok(damaged.iter().filter_map(|range| ByteRange::new(range.start, range.end)).collect())
    }

    /// The outboard as it was kept, or, when that is lost, computed anew from an intact shard.
    fn outboard(&self, shard: ShardId, len: u64, buffer: &mut DirectBuffer) -> Result<Find, Stop> {
        let expected = merkle_cid::outboard_len(len);
        let kept = self.reader.read(&outboard_key(*shard.as_bytes()), 0..expected).ok();
        if let Some(kept) = kept.filter(|kept| kept.damaged.is_empty()) {
            return Ok(Find::Outboard(kept.bytes));
        }
        let mut builder = Builder::new();
        for at in (0..len).step_by(RUN_LEN as usize) {
            if !self.bytes(shard, at..len.min(at + RUN_LEN), buffer)?.is_empty() {
                return Ok(Find::NoOutboard);
            }
            builder.update(buffer.bytes());
        }
        Ok(Find::Outboard(builder.finish().1.into_bytes()))
    }
}

pub(crate) fn set_entry(entry: Entry) -> SetEntry {
    SetEntry { sequence: sequence(entry.sequence), shard: ShardId::from_bytes(entry.key.id), len: entry.len }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::set;
    use holdfast_types::{AuditId, Millis, NodeId, Seed};
    use holdfast_volume::{FakeDisk, Identity, Namespace, Options, Sequence, Volume};

    use super::*;

    const SHARDS: usize = 12;

    /// Shards of five blobs and a bit, each a run, and a challenge for a fold of all.
    fn volume(file_len_max: u64) -> Result<(Reader, Challenge), Box<dyn std::error::Error>> {
        let fresh = Identity { volume: [1; 16], incarnation: [2; 16] };
        let options = Options { file_len_max, ..Options::default() };
        let (mut volume, _) = Volume::open(FakeDisk::new().handle(), options, fresh)?;
        for number in 0..SHARDS {
            let bytes: Vec<u8> = (0..640_000).map(|i| ((i * 31 + number * 977) >> 3) as u8).collect();
            let shard = ShardId::from_bytes(*merkle_cid::Outboard::of(&bytes).root().as_bytes());
            let mut reservation = volume.reserve(Namespace([3; 32]), shard_key(&shard), bytes.len() as u64)?;
            reservation.write(&bytes)?;
            volume.seal(reservation)?;
            volume.commit()?;
        }
        let reader = volume.reader();
        let entries = reader.entries(&[SHARD_KIND], Sequence::START..Sequence::END, usize::MAX);
        let entries: Vec<SetEntry> = entries.into_iter().map(set_entry).collect();
        let challenge = Challenge {
            audit: AuditId([7; 32]),
            node: NodeId([9; 32]),
            set: set::reference(&entries),
            commitments: [0; 32],
            seed: Seed([8; 32]),
            ask: Ask::Fold { from: 0, to: entries.iter().map(|entry| set::blobs_of(entry.len)).sum() },
            deadline: Millis::from_secs(600),
        };
        Ok((reader, challenge))
    }

    /// Lets `reads` pass, and then does what it was told.
    struct Until(usize, fn() -> Result<(), WireError>);

    impl Watch for Until {
        fn before(&mut self, _len: u64) -> Result<(), WireError> {
            match self.0.checked_sub(1) {
                Some(rest) => self.0 = rest,
                None => (self.1)()?,
            }
            Ok(())
        }

        fn damaged(&mut self, _shard: ShardId, _ranges: &[Range<u64>]) {}
    }

    #[test]
    fn an_answer_is_the_same_past_the_cache_and_ends_at_any_read_that_does_not_come()
    -> Result<(), Box<dyn std::error::Error>> {
        let (reader, challenge) = volume(1 << 30)?;
        let cached = answer(&reader, &challenge, &mut Until(usize::MAX, || Ok(())))?;
        assert!(
            matches!(&cached, AnswerBody::Fold { damaged, missing, .. } if damaged.is_empty() && missing.is_empty())
        );
        let (reader, challenge) = volume(3 << 20)?;
        assert_eq!(answer(&reader, &challenge, &mut Until(usize::MAX, || Ok(())))?, cached);
        // More reads than there are buffers: nobody may be left waiting for one.
        for reads in 0..SHARDS {
            let refused =
                answer(&reader, &challenge, &mut Until(reads, || Err(WireError::new(ErrorCode::Retry, "no"))));
            assert_eq!(refused.map_err(|error| error.code), Err(ErrorCode::Retry), "after {reads}");
            let panicked =
                answer(&reader, &challenge, &mut Until(reads, || panic!("a bug of ours, as the test has it")));
            assert_eq!(panicked.map_err(|error| error.code), Err(ErrorCode::Bug), "after {reads}");
        }
        Ok(())
    }

    #[test]
    fn the_disk_is_told_of_every_job_once_and_in_their_order() {
        for all in [0, 1, 2, AHEAD - 1, AHEAD, AHEAD + 1, 5 * AHEAD] {
            let told: Vec<usize> = (0..all).flat_map(|at| in_sight(at, all)).collect();
            assert_eq!(told, (0..all).collect::<Vec<_>>(), "of {all} jobs");
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
