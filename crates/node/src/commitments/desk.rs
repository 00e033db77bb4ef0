//! Where the committer's work is laid down: shards that the auditor asks for go to the front, the rest is found in the
//! volume, oldest first. What could not be committed to is told from here.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use holdfast_types::{ByteRange, Millis, ShardId};
use holdfast_volume::Sequence;

/// Shards asked for that wait at most: an auditor asks for few at a time, and what finds no place here has its turn
/// by age.
const FRONT_MAX: usize = 4096;
/// Shards whose damage is remembered until the auditor asks: each is found again when it is read again.
const DAMAGED_MAX: usize = 1024;
/// What a blob takes before one was timed: about what it takes without AVX-512.
const BLOB_GUESS: Duration = Duration::from_millis(30);
/// Whoever waits for a list comes back within these.
const RETRY_MIN: Millis = Millis(100);
const RETRY_MAX: Millis = Millis(60_000);

/// How far a shard is from having a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Shards before it; 0 for the one in work.
    pub(crate) ahead: u64,
    /// When to ask again.
    pub(crate) retry_after: Millis,
}

/// The desk. Shared by the committer and the service.
#[derive(Debug)]
pub(crate) struct Desk {
    papers: Mutex<Papers>,
    wake: Condvar,
    /// Of one core; zero: nobody works here.
    share: f64,
}

#[derive(Debug)]
struct Papers {
    front: VecDeque<Asked>,
    current: Option<Current>,
    damaged: BTreeMap<ShardId, (Sequence, Vec<ByteRange>)>,
    /// Shards may have come since the volume was gone through.
    arrived: bool,
    stopped: bool,
    blob_time: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    shard: ShardId,
    blobs: u64,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    shard: ShardId,
    left: u64,
}

impl Desk {
    pub(crate) fn new(share: f64) -> Self {
        let papers = Papers {
            front: VecDeque::new(),
            current: None,
            damaged: BTreeMap::new(),
            arrived: false,
            stopped: false,
            blob_time: BLOB_GUESS,
        };
        Self { papers: Mutex::new(papers), wake: Condvar::new(), share }
    }

    /// Moves a shard to the front, behind those asked for before it.
    pub(crate) fn ask(&self, shard: ShardId, blobs: u64) -> Turn {
        let mut papers = self.lock();
        if self.share <= 0.0 {
            return Turn { ahead: 0, retry_after: RETRY_MAX };
        }
        let mut blobs_ahead = papers.current.map_or(0, |current| current.left);
        if papers.current.is_some_and(|current| current.shard == shard) {
            return Turn { ahead: 0, retry_after: self.wait_for(&papers, blobs_ahead) };
        }
        let place = papers.front.iter().position(|asked| asked.shard == shard).unwrap_or(papers.front.len());
        if place == papers.front.len() && place < FRONT_MAX {
            papers.front.push_back(Asked { shard, blobs });
            self.wake.notify_all();
        }
        blobs_ahead += papers.front.iter().take(place).map(|asked| asked.blobs).sum::<u64>() + blobs;
        let ahead = place as u64 + u64::from(papers.current.is_some());
        Turn { ahead, retry_after: self.wait_for(&papers, blobs_ahead) }
    }

    fn wait_for(&self, papers: &Papers, blobs: u64) -> Millis {
        let millis = papers.blob_time.as_secs_f64() * 1e3 * blobs as f64 / self.share;
        Millis((millis as u64).clamp(RETRY_MIN.0, RETRY_MAX.0))
    }

    /// A shard was stored.
    pub(crate) fn arrived(&self) {
        self.lock().arrived = true;
        self.wake.notify_all();
    }

    /// No more work is begun, and what is under way is dropped.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_all();
    }

    /// What the committer found damaged of the shard committed as `sequence`. Told once: whoever asks again has it
    /// read again, since a disk's bad hour may be over.
    pub(crate) fn take_damage(&self, shard: &ShardId, sequence: Sequence) -> Option<Vec<ByteRange>> {
        let (seen, ranges) = self.lock().damaged.remove(shard)?;
        (seen == sequence).then_some(ranges)
    }

    /// Seconds of work that so many blobs are.
    pub(crate) fn core_time(&self, blobs: u64) -> Duration {
        self.lock().blob_time.mul_f64(blobs as f64)
    }

    /// The next shard asked for.
    pub(super) fn next_asked(&self) -> Option<ShardId> {
        self.lock().front.pop_front().map(|asked| asked.shard)
    }

    /// Waits until something was laid down or arrived. `false` once stopped.
    pub(super) fn wait_for_work(&self) -> bool {
        let idle = |papers: &mut Papers| !papers.stopped && !papers.arrived && papers.front.is_empty();
        let mut papers = self.wake.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        papers.arrived = false;
        !papers.stopped
    }

    /// Waits for `time`. `false` once stopped, at once.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let papers = self.lock();
        if time.is_zero() {
            return !papers.stopped;
        }
        let waited = self.wake.wait_timeout_while(papers, time, |papers| !papers.stopped);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    pub(super) fn begin(&self, shard: ShardId, blobs: u64) {
        self.lock().current = Some(Current { shard, left: blobs });
    }

    /// One blob is done, in so much time.
    pub(super) fn advance(&self, took: Duration) {
        let mut papers = self.lock();
        // An eighth of each new one: steady, and soon right after the table was built.
        papers.blob_time = papers.blob_time.mul_f64(0.875) + took.mul_f64(0.125);
        if let Some(current) = &mut papers.current {
            current.left = current.left.saturating_sub(1);
        }
    }

    pub(super) fn end(&self) {
        self.lock().current = None;
    }

    pub(super) fn note_damage(&self, shard: ShardId, sequence: Sequence, ranges: Vec<ByteRange>) {
        let mut papers = self.lock();
        if papers.damaged.len() < DAMAGED_MAX || papers.damaged.contains_key(&shard) {
            papers.damaged.insert(shard, (sequence, ranges));
        }
    }

    /// A panic elsewhere leaves papers that are still in order.
    fn lock(&self) -> MutexGuard<'_, Papers> {
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u8) -> ShardId {
        ShardId::from_bytes([number; 32])
    }

    #[test]
    fn who_asks_again_keeps_the_place_and_hears_how_long() {
        let desk = Desk::new(0.5);
        let first = desk.ask(shard(1), 10);
        let second = desk.ask(shard(2), 1);
        assert_eq!((first.ahead, second.ahead), (0, 1));
        // 10 blobs of 30 ms at half a core; one more behind them.
        assert_eq!((first.retry_after, second.retry_after), (Millis(600), Millis(660)));
        assert_eq!(desk.ask(shard(1), 10), first);
        assert_eq!(desk.next_asked(), Some(shard(1)));
        desk.begin(shard(1), 10);
        assert_eq!(desk.ask(shard(1), 10).ahead, 0);
        assert_eq!(desk.ask(shard(2), 1).ahead, 1);
        assert_eq!(desk.next_asked(), Some(shard(2)));
        assert_eq!(desk.next_asked(), None);
    }

    #[test]
    fn the_front_is_bounded_and_nobody_is_sent_away_without_a_time() {
        let desk = Desk::new(1.0);
        for number in 0..FRONT_MAX as u32 + 10 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            let turn = desk.ask(ShardId::from_bytes(id), 529);
            assert!(turn.retry_after <= RETRY_MAX && turn.retry_after >= RETRY_MIN);
        }
        assert_eq!(desk.lock().front.len(), FRONT_MAX);
        // Nobody works at a desk without a share.
        let idle = Desk::new(0.0);
        assert_eq!(idle.ask(shard(1), 1).retry_after, RETRY_MAX);
        assert_eq!(idle.next_asked(), None);
    }

    #[test]
    fn damage_is_told_once_and_only_of_the_copy_it_was_found_in() {
        let desk = Desk::new(1.0);
        let ranges = vec![ByteRange::first(9)];
        desk.note_damage(shard(1), Sequence(4), ranges.clone());
        assert_eq!(desk.take_damage(&shard(2), Sequence(4)), None);
        assert_eq!(desk.take_damage(&shard(1), Sequence(4)), Some(ranges.clone()));
        assert_eq!(desk.take_damage(&shard(1), Sequence(4)), None);
        desk.note_damage(shard(1), Sequence(4), ranges);
        assert_eq!(desk.take_damage(&shard(1), Sequence(5)), None, "it was replaced meanwhile");
    }

    #[test]
    fn a_stop_ends_every_wait() {
        let desk = std::sync::Arc::new(Desk::new(1.0));
        let waiting = std::thread::spawn({
            let desk = std::sync::Arc::clone(&desk);
            move || (desk.wait_for_work(), desk.pause(Duration::from_secs(600)))
        });
        desk.stop();
        assert_eq!(waiting.join().unwrap(), (false, false));
    }
}
