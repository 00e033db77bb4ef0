//! A challenge: the node's own shards are looked up, read in the order they lie on the disk, and handed to the
//! responder; its answer is signed.
//!
//! Audits must not hurt real work: only so many at once, each on one thread, at a bounded rate; one more is answered
//! `Refused`, signed, with a time to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use holdfast_kzg::Setup;
use holdfast_protocol::{
    answer,
    message::{Answer, AnswerBody, Ask, Challenge, SET_SHARDS_MAX, SetEntry},
    responder::{Responder, ResponderError, ShardRead},
};
use holdfast_types::{ByteRange, Millis, ShardId};
use holdfast_volume::{Entry, PIECE_LEN, VolumeError};
use holdfast_wire::{ErrorCode, WireError};
use merkle_cid::Builder;
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use crate::{
    content::{SHARD_KIND, outboard_key, sequence, shard_key, volume_sequence},
    counts::Answered,
    refusal,
    state::State,
};

/// A challenge takes seconds; whoever was refused need not come sooner.
const RETRY_AFTER: Millis = Millis(1_000);
/// Bytes of one read for a fold: whole blobs, near 1 MiB.
const RUN_LEN: u64 = 8 * PIECE_LEN;

/// Set when the caller is gone, so that the worker stops reading for nobody.
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Answers a challenge, or refuses with a time.
pub(crate) async fn prove(state: &Arc<State>, challenge: Challenge) -> Result<Answer, WireError> {
    if challenge.node != state.id {
        let wrong =
            format!("expected a challenge for {}, got one for {}; look up the address again", state.id, challenge.node);
        return Err(WireError::new(ErrorCode::Invalid, wrong));
    }
    let Ok(place) = state.challenges.clone().try_acquire_owned() else {
        info!(audit = %challenge.audit, "challenge refused: too many at once");
        state.counts.challenge(challenge.ask.lane(), Answered::Refused);
        let refused = AnswerBody::Refused { retry_after: RETRY_AFTER };
        return Ok(answer::sign(&challenge, state.incarnation, refused, &state.key));
    };
    let gone = Abandoned(Arc::default());
    let (state, stop) = (Arc::clone(state), Arc::clone(&gone.0));
    let answer = spawn_blocking(move || {
        let _place = place;
        let began = Instant::now();
        let mut pace =
            Pace { state: &state, stop, began, deadline: Duration::from_millis(challenge.deadline.0), read: 0 };
        let body = pace.body(&challenge);
        let answered = body.as_ref().map_or(Answered::Failed, Answered::of);
        state.counts.challenge(challenge.ask.lane(), answered);
        let body = body?;
        let took_ms = began.elapsed().as_millis();
        debug!(audit = %challenge.audit, lane = ?challenge.ask.lane(), read = pace.read, took_ms, "challenge answered");
        Ok(answer::sign(&challenge, state.incarnation, body, &state.key))
    });
    answer.await.map_err(|error| refusal::of_join(&error))?
}

/// One challenge's reads, and what bounds them.
struct Pace<'a> {
    state: &'a State,
    stop: Arc<AtomicBool>,
    began: Instant,
    deadline: Duration,
    /// Bytes read so far.
    read: u64,
}

impl Pace<'_> {
    fn body(&mut self, challenge: &Challenge) -> Result<AnswerBody, WireError> {
        let entries = self.entries(challenge);
        let mut responder = match Responder::new(challenge, &entries) {
            Ok(responder) => responder,
            Err(body) => return Ok(body),
        };
        let mut reads = responder.reads().to_vec();
        // In the order they lie on the disk: a fold of everything is one pass.
        reads.sort_by_cached_key(|read| {
            let location = self.state.reader.locate(&shard_key(&read.entry.shard));
            location.map(|location| (location.file, location.offset))
        });
        for read in &reads {
            match self.one(&mut responder, read) {
                Ok(()) => {}
                Err(Stop::Gone) => responder.missing(&read.entry.shard),
                Err(Stop::Refused(error)) => return Err(error),
            }
        }
        Ok(responder.finish(Setup::ethereum()))
    }

    /// Our shards in the challenge's runs; for the judge's question the one that it names.
    fn entries(&self, challenge: &Challenge) -> Vec<SetEntry> {
        let reader = &self.state.reader;
        if let Ask::Leaves { shard, .. } = challenge.ask {
            return reader.stat(&shard_key(&shard)).map(set_entry).into_iter().collect();
        }
        let mut entries = Vec::new();
        for run in &challenge.set.runs {
            // One more than a set may have is enough to see that it is another.
            let room = SET_SHARDS_MAX + 1 - entries.len();
            let found = reader.entries(&[SHARD_KIND], volume_sequence(run.from), room);
            entries.extend(found.into_iter().map(set_entry).take_while(|entry| entry.sequence < run.to));
            if entries.len() > SET_SHARDS_MAX {
                break;
            }
        }
        entries
    }

    fn one(&mut self, responder: &mut Responder, plan: &ShardRead) -> Result<(), Stop> {
        let shard = plan.entry.shard;
        if plan.outboard {
            match self.outboard(plan)? {
                Some(outboard) => responder.outboard(&shard, outboard),
                None => warn!(%shard, "no outboard, and none to be computed: the shard is damaged"),
            }
        }
        for range in &plan.ranges {
            let mut at = range.start();
            while at < range.end() {
                // Groups are planned to be read at once, and are far below a run.
                let end = range.end().min(at.saturating_add(RUN_LEN));
                let (bytes, damaged) = self.bytes(shard, at, end)?;
                responder.absorb(&shard, at, &bytes, &damaged)?;
                at = end;
            }
        }
        Ok(())
    }

    fn bytes(&mut self, shard: ShardId, from: u64, to: u64) -> Result<(Vec<u8>, Vec<ByteRange>), Stop> {
        self.wait()?;
        let read = match self.state.reader.read(&shard_key(&shard), from..to) {
            Ok(read) => read,
            // Deleted, or replaced by nothing of this length, while we read.
            Err(VolumeError::NotFound { .. } | VolumeError::OutOfRange { .. }) => return Err(Stop::Gone),
            Err(error) => return Err(Stop::Refused(refusal::of_volume(&error))),
        };
        self.read += to - from;
        self.state.damaged(shard, &read.damaged);
        let damaged = read.damaged.iter().filter_map(|range| ByteRange::new(range.start, range.end)).collect();
        Ok((read.bytes, damaged))
    }

    /// The outboard as it was kept, or, when that is lost, computed anew from an intact shard.
    fn outboard(&mut self, plan: &ShardRead) -> Result<Option<Vec<u8>>, Stop> {
        let (shard, len) = (plan.entry.shard, plan.entry.len);
        let expected = merkle_cid::outboard_len(len);
        let kept = self.state.reader.read(&outboard_key(*shard.as_bytes()), 0..expected).ok();
        if let Some(kept) = kept.filter(|kept| kept.damaged.is_empty()) {
            return Ok(Some(kept.bytes));
        }
        let mut builder = Builder::new();
        let mut at = 0;
        while at < len {
            let end = len.min(at + RUN_LEN);
            let (bytes, damaged) = self.bytes(shard, at, end)?;
            if !damaged.is_empty() {
                return Ok(None);
            }
            builder.update(&bytes);
            at = end;
        }
        Ok(Some(builder.finish().1.into_bytes()))
    }

    /// Before each read: is anybody still waiting, and are we within our rate?
    fn wait(&self) -> Result<(), Stop> {
        let elapsed = self.began.elapsed();
        if self.stop.load(Ordering::Relaxed) || elapsed > self.deadline {
            let late = format_args!("the challenge was given up after {} ms: nobody waits for it", elapsed.as_millis())
                .to_string();
            return Err(Stop::Refused(WireError::new(ErrorCode::Retry, late)));
        }
        if let Some(rate) = self.state.limits.challenge_rate {
            let due = Duration::from_secs_f64(self.read as f64 / rate.get() as f64);
            std::thread::sleep(due.saturating_sub(elapsed).min(self.deadline));
        }
        Ok(())
    }
}

/// Why a shard's reads end early.
enum Stop {
    /// The shard is not there any more.
    Gone,
    /// There will be no answer.
    Refused(WireError),
}

impl From<ResponderError> for Stop {
    fn from(error: ResponderError) -> Self {
        Stop::Refused(WireError::new(ErrorCode::Bug, error))
    }
}

pub(crate) fn set_entry(entry: Entry) -> SetEntry {
    SetEntry { sequence: sequence(entry.sequence), shard: ShardId::from_bytes(entry.key.id), len: entry.len }
}
