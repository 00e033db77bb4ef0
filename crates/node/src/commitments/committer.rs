//! The background committer: one thread that computes, one blob at a time, what a put did not wait for.
//!
//! ```text
//! asked for ─┐                 pieces that passed their checksum
//!            ├─► a shard ─────► commit ─► one point a blob ─┐
//! oldest   ──┘          └─────► BLAKE3 ─► the shard's CID? ─┴─► list ─► volume
//! ```
//!
//! A list is kept only of bytes with the shard's own root, so that what rotted before its checksum was taken is never
//! vouched for. Lists are durable one by one: after a restart the work goes on with the first shard that has none.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use holdfast_kzg::{BLOB_LEN, CommitmentList, Setup, blobs_of};
use holdfast_types::{ByteRange, ShardId};
use holdfast_volume::{Entry, PIECE_LEN, Sequence};
use holdfast_wire::ErrorCode;
use merkle_cid::Builder;
use tokio::runtime::Handle;
use tracing::{debug, error, info, warn};

use super::{desk::Desk, pace};
use crate::{
    NodeError,
    content::{SHARD_KIND, commitments_key, shard_key},
    state::State,
};

/// Shards looked up at once.
const PAGE: usize = 256;
/// Blobs for which the table of multiples is computed at once: it pays after a few, and the first ones without it take
/// several times as long.
const TABLE_FROM: u64 = 32;
/// Between two lines of progress in the log.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Until a list is tried again that a full or read-only volume did not take.
const KEEP_AGAIN: Duration = Duration::from_secs(10);

// A piece of the volume is a blob: what was verified together is committed to together.
const _: () = assert!(PIECE_LEN == BLOB_LEN as u64);

/// Starts the thread. It ends when the desk is stopped, or with the state.
pub(crate) fn start(state: &Arc<State>, desk: &Arc<Desk>, share: f64) -> Result<(), NodeError> {
    let runtime = Handle::current();
    let committer = Committer {
        state: Arc::downgrade(state),
        desk: Arc::clone(desk),
        runtime,
        share,
        cursor: Sequence::START,
        page: VecDeque::new(),
        run: None,
    };
    // With the node's name, to tell it apart in `top` where many run on one machine.
    let name = format!("commit {}", state.id.short());
    let thread = thread::Builder::new().name(name).spawn(move || committer.serve());
    thread.map(drop).map_err(|error| NodeError::Bug(format!("no thread for the commitments: {error}")))
}

struct Committer {
    state: Weak<State>,
    desk: Arc<Desk>,
    runtime: Handle,
    share: f64,
    /// Everything below it was looked at.
    cursor: Sequence,
    page: VecDeque<Entry>,
    run: Option<Run>,
}

/// From the first shard of a backlog to its end.
struct Run {
    began: Instant,
    told: Instant,
    shards: u64,
    blobs: u64,
    worked: Duration,
}

/// How one shard ended.
enum Outcome {
    List(CommitmentList),
    /// Not readable in these ranges, or, as a whole, not the shard's bytes.
    Damaged(Vec<ByteRange>),
    /// Deleted or replaced meanwhile.
    Gone,
    Stopped,
}

impl Committer {
    fn serve(mut self) {
        pace::step_back();
        while let Some(state) = self.state.upgrade() {
            match self.next(&state) {
                Some(entry) => {
                    if !self.one(&state, entry) {
                        return;
                    }
                }
                None => {
                    self.tell_end(&state);
                    // Not held while waiting: the writer ends with the last who could give it orders.
                    drop(state);
                    if !self.desk.wait_for_work() {
                        return;
                    }
                }
            }
        }
    }

    /// What was asked for first; then the oldest without a list.
    fn next(&mut self, state: &State) -> Option<Entry> {
        while let Some(shard) = self.desk.next_asked() {
            let entry = state.reader.stat(&shard_key(&shard));
            // A list that rotted counts as none, but only whoever asks for it finds out.
            if let Some(entry) = entry.filter(|_| super::kept(state, &shard).is_none()) {
                return Some(entry);
            }
        }
        loop {
            while let Some(entry) = self.page.pop_front() {
                self.cursor = entry.sequence.next();
                if !state.reader.contains(&commitments_key(entry.key.id)) {
                    return Some(entry);
                }
            }
            self.page = state.reader.entries(&[SHARD_KIND], self.cursor..Sequence::END, PAGE).into();
            if self.page.is_empty() {
                return None;
            }
        }
    }

    /// Commits to one shard. `false` once stopped.
    fn one(&mut self, state: &Arc<State>, entry: Entry) -> bool {
        let shard = ShardId::from_bytes(entry.key.id);
        if self.run.is_none() && !pace::hold_off(state, &self.desk) {
            return false;
        }
        self.tell_progress(state);
        self.desk.begin(shard, blobs_of(entry.len));
        let outcome = self.compute(state, &entry);
        let goes_on = match outcome {
            Outcome::List(list) => self.keep(state, shard, &list),
            Outcome::Damaged(ranges) => {
                let told: Vec<_> = ranges.iter().map(|range| range.start()..range.end()).collect();
                state.damaged(shard, &told);
                self.desk.note_damage(shard, entry.sequence, ranges);
                true
            }
            Outcome::Gone => true,
            Outcome::Stopped => false,
        };
        self.desk.end();
        goes_on
    }

    fn compute(&mut self, state: &State, entry: &Entry) -> Outcome {
        let (mut hash, mut commitments, mut damaged) = (Builder::new(), Vec::new(), Vec::new());
        let mut pieces = state.reader.read_pieces(&[entry.key]);
        loop {
            if !pace::step_aside(state, &self.desk) {
                return Outcome::Stopped;
            }
            let began = pace::worked();
            let Some(piece) = pieces.next() else { break };
            match piece.bytes {
                Some(bytes) if damaged.is_empty() => {
                    hash.update(bytes);
                    match Setup::ethereum().commit(bytes) {
                        Ok(commitment) => commitments.push(commitment),
                        Err(error) => {
                            error!(%error, "a piece of the volume is no blob; this is a bug, report it");
                            return Outcome::Gone;
                        }
                    }
                }
                // The rest is read only to say what else is damaged.
                Some(_) => continue,
                None => {
                    damaged.extend(ByteRange::at(piece.offset, piece.len));
                    continue;
                }
            }
            let worked = pace::worked().saturating_sub(began);
            self.account(state, worked);
            if !self.desk.pause(pace::rest_after(worked, self.share)) {
                return Outcome::Stopped;
            }
        }
        if state.reader.stat(&entry.key).is_none_or(|now| now.sequence != entry.sequence) {
            return Outcome::Gone;
        }
        if !damaged.is_empty() {
            return Outcome::Damaged(damaged);
        }
        if hash.finish().0.as_bytes() != &entry.key.id {
            warn!(shard = %ShardId::from_bytes(entry.key.id), "bytes that pass their checksums are not the shard's");
            return Outcome::Damaged(vec![ByteRange::first(entry.len)]);
        }
        match CommitmentList::new(commitments) {
            Ok(list) => Outcome::List(list),
            Err(error) => {
                error!(%error, "a shard has too many blobs; this is a bug, report it");
                Outcome::Gone
            }
        }
    }

    fn account(&mut self, state: &State, worked: Duration) {
        self.desk.advance(worked);
        state.counts.committed_blob(worked);
        if let Some(run) = &mut self.run {
            run.blobs += 1;
            run.worked += worked;
        }
    }

    /// Makes the list durable. What was computed is not thrown away for a disk that is full now. `false` once stopped.
    fn keep(&mut self, state: &Arc<State>, shard: ShardId, list: &CommitmentList) -> bool {
        loop {
            let (writer, bytes) = (state.writer.clone(), list.encode());
            match self.runtime.block_on(async move { writer.list(shard, bytes).await }) {
                Ok(()) => {
                    debug!(%shard, blobs = list.commitments().len(), "committed to");
                    state.counts.committed_shard();
                    if let Some(run) = &mut self.run {
                        run.shards += 1;
                    }
                    return true;
                }
                // Deleted while we computed.
                Err(error) if error.code == ErrorCode::NotFound => return true,
                Err(error) => {
                    warn!(%shard, %error, "commitment list not kept; trying again");
                    if !self.desk.pause(KEEP_AGAIN) {
                        return false;
                    }
                    if !state.reader.contains(&shard_key(&shard)) {
                        return true;
                    }
                }
            }
        }
    }

    fn tell_progress(&mut self, state: &State) {
        let now = Instant::now();
        let Some(run) = &mut self.run else {
            let left = state.backlog.tally();
            debug!(shards = left.shards, blobs = left.blobs, bytes = left.bytes, "committing");
            if left.blobs >= TABLE_FROM {
                Setup::ethereum().prepare();
            }
            self.run = Some(Run { began: now, told: now, shards: 0, blobs: 0, worked: Duration::ZERO });
            return;
        };
        if now.duration_since(run.told) < TELL_EVERY {
            return;
        }
        run.told = now;
        let left = state.backlog.tally();
        let core_s = self.desk.core_time(left.blobs).as_secs();
        info!(shards = left.shards, blobs = left.blobs, bytes = left.bytes, core_s, "still to be committed to");
    }

    fn tell_end(&mut self, state: &State) {
        let Some(run) = self.run.take() else { return };
        let left = state.backlog.tally();
        let (took_ms, worked_ms) = (run.began.elapsed().as_millis(), run.worked.as_millis());
        info!(shards = run.shards, blobs = run.blobs, worked_ms, took_ms, unreadable = left.shards, "committed");
    }
}
