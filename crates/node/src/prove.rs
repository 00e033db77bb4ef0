//! A challenge is answered from the volume ([`crate::reading`]) and the answer signed.
//!
//! Audits must not hurt real work: only so many at once, each on six threads (five wait for the disk, one proves), all
//! of them together at a bounded rate; one more is answered `Refused`, signed, with a time to come back.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use holdfast_protocol::{
    answer,
    message::{Answer, AnswerBody, Challenge},
};
use holdfast_types::{Millis, ShardId};
use holdfast_wire::{ErrorCode, WireError};
use tokio::task::spawn_blocking;
use tracing::{debug, info};

use crate::{
    counts::Answered,
    reading::{self, Watch},
    refusal,
    state::State,
};

/// A challenge takes seconds; whoever was refused need not come sooner.
const RETRY_AFTER: Millis = Millis(1_000);
/// Between two looks, while it waits for its turn, at whether somebody still waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
        let body = reading::answer(&state.reader, &challenge, &mut pace);
        let answered = body.as_ref().map_or(Answered::Failed, Answered::of);
        state.counts.challenge(challenge.ask.lane(), answered);
        let body = body?;
        let took_ms = began.elapsed().as_millis();
        debug!(audit = %challenge.audit, lane = ?challenge.ask.lane(), read = pace.read, took_ms, "challenge answered");
        Ok(answer::sign(&challenge, state.incarnation, body, &state.key))
    });
    answer.await.map_err(|error| refusal::of_join(&error))?
}

/// What bounds one challenge's reads.
struct Pace<'a> {
    state: &'a State,
    stop: Arc<AtomicBool>,
    began: Instant,
    deadline: Duration,
    /// Bytes read so far.
    read: u64,
}

impl Watch for Pace<'_> {
    /// Is anybody still waiting, and is it our turn?
    fn before(&mut self, len: u64) -> Result<(), WireError> {
        let mut turn = None;
        loop {
            let elapsed = self.began.elapsed();
            if self.stop.load(Ordering::Relaxed) || elapsed > self.deadline {
                let ms = elapsed.as_millis();
                let late = format_args!("the challenge was given up after {ms} ms: nobody waits for it").to_string();
                return Err(WireError::new(ErrorCode::Retry, late));
            }
            // Only now: a turn that nobody uses is lost to all others.
            let turn = turn.get_or_insert_with(|| self.state.rate.turn(len));
            if turn.is_zero() {
                self.read += len;
                return Ok(());
            }
            let rest = (*turn).min(LOOK_EVERY);
            std::thread::sleep(rest);
            *turn -= rest;
        }
    }

    fn damaged(&mut self, shard: ShardId, ranges: &[Range<u64>]) {
        self.state.damaged(shard, ranges);
    }
}
