//! A put, decided: what to stage next, which shard goes where when a node fails, when the auditor is
//! told, when to commit. The driver seals, codes, sends and waits; bytes and grants stay with it.
//!
//! ```text
//! Segment ─► Stage ─► Store × n ─► Note ─► Release ┐
//!              ▲         │ failed                  ├─ all, and Ended ─► Commit ─► Done
//!              └─ avoid ─┘                         ┘
//! ```
//!
//! Every request can be repeated: an upload, a segment and a shard have ids of their own, a second put
//! of a shard answers the same receipt, and what a stage call answers is the truth that a machine which
//! lost an answer goes on from. So a failure is followed by asking again, never by guessing: grants
//! that expired come back fresh, a receipt that got lost on the way comes back as a shard that needs
//! none. All n shards are wanted; at the end of the rounds the policy's threshold will do, and the
//! rest is owed to repair.

mod message;
mod segment;
mod strikes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use holdfast_types::{Millis, Mono, NodeId, SegmentId};

use crate::effect::Token;
pub use message::{CallFailure, Effect, Event, Patience, PutError, Slot, Terms};
use segment::{Course, SegmentPut};

/// A call to the auditor, repeated until it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Call {
    /// `None` while it waits to be made again.
    token: Option<Token>,
    since: Mono,
    again: Mono,
    tries: u32,
}

impl Call {
    fn new(now: Mono, token: Token) -> Self {
        Self { token: Some(token), since: now, again: now, tries: 1 }
    }

    /// Waits before the next try, or gives up.
    fn rest(
        &mut self,
        now: Mono,
        patience: &Patience,
        call: &'static str,
        after: Option<Millis>,
        why: String,
    ) -> Result<(), PutError> {
        let waited = now.since(self.since);
        if waited >= patience.auditor {
            return Err(PutError::AuditorSilent { call, waited, why });
        }
        let doubled = patience.backoff.0 << self.tries.min(5).saturating_sub(1);
        let own = doubled.min(patience.backoff.0 * 30);
        let wait = after.map_or(own, |asked| asked.0.clamp(own, patience.backoff.0 * 150));
        self.token = None;
        self.again = now + Millis(wait);
        Ok(())
    }

    fn is_due(&self, now: Mono) -> bool {
        self.token.is_none() && self.again <= now
    }

    fn retry(&mut self, token: Token) {
        self.token = Some(token);
        self.tries += 1;
    }

    fn deadline(&self) -> Option<Mono> {
        self.token.is_none().then_some(self.again)
    }
}

/// Tokens, and effects in the order they were wished for.
#[derive(Debug, Default)]
struct Wishes {
    last: u64,
    effects: Vec<Effect>,
}

impl Wishes {
    fn token(&mut self) -> Token {
        self.last += 1;
        Token(self.last)
    }
}

/// Nodes that failed of late.
#[derive(Debug, Default)]
struct Avoided(BTreeMap<NodeId, Mono>);

impl Avoided {
    fn list(&mut self, now: Mono) -> Vec<NodeId> {
        self.0.retain(|_, until| *until > now);
        self.0.keys().copied().collect()
    }
}

#[derive(Debug)]
enum Stage {
    Storing,
    Committing(Call),
    Over,
}

/// One put.
#[derive(Debug)]
pub struct Put {
    terms: Terms,
    patience: Patience,
    segments: BTreeMap<SegmentId, SegmentPut>,
    avoided: Avoided,
    ended: bool,
    stage: Stage,
    wishes: Wishes,
}

impl Put {
    /// A put under these terms.
    pub fn new(terms: Terms, patience: Patience) -> Self {
        Self {
            terms,
            patience,
            segments: BTreeMap::new(),
            avoided: Avoided::default(),
            ended: false,
            stage: Stage::Storing,
            wishes: Wishes::default(),
        }
    }

    /// Segments that are not released yet.
    pub fn in_flight(&self) -> usize {
        self.segments.len()
    }

    /// When to come back with [`Event::Tick`], if nothing else comes before.
    pub fn deadline(&self) -> Option<Mono> {
        let commit = match &self.stage {
            Stage::Committing(call) => call.deadline(),
            Stage::Storing | Stage::Over => None,
        };
        self.segments.values().filter_map(SegmentPut::deadline).chain(commit).min()
    }

    /// Takes what happened, and says what to do.
    pub fn step(&mut self, now: Mono, event: Event) -> Vec<Effect> {
        if !matches!(self.stage, Stage::Over)
            && let Err(error) = self.take(now, event).and_then(|()| self.advance(now))
        {
            self.over(Effect::Fail(error));
        }
        std::mem::take(&mut self.wishes.effects)
    }

    fn over(&mut self, last: Effect) {
        for token in self.segments.values().flat_map(SegmentPut::tokens) {
            self.wishes.effects.push(Effect::Cancel(token));
        }
        self.segments.clear();
        self.stage = Stage::Over;
        self.wishes.effects.push(last);
    }

    fn take(&mut self, now: Mono, event: Event) -> Result<(), PutError> {
        match event {
            Event::Segment { id, shards, shard_len } => {
                let avoid = self.avoided.list(now);
                let segment = SegmentPut::begin(now, id, self.terms, shards, shard_len, avoid, &mut self.wishes);
                self.segments.insert(id, segment);
            }
            Event::Staged(token, reply) => {
                if let Some(segment) = self.waiting(token) {
                    let (patience, avoided) = (&self.patience, &mut self.avoided);
                    self.segments
                        .get_mut(&segment)
                        .map_or(Ok(()), |put| put.staged(now, reply, patience, avoided, &mut self.wishes))?;
                }
            }
            Event::Stored(token, reply) => {
                if let Some(segment) = self.waiting(token) {
                    let (patience, avoided) = (&self.patience, &mut self.avoided);
                    if let Some(put) = self.segments.get_mut(&segment) {
                        put.stored(now, token, reply, patience, avoided, &mut self.wishes);
                    }
                }
            }
            Event::Noted(token, reply) => {
                if let Some(segment) = self.waiting(token) {
                    let patience = &self.patience;
                    self.segments.get_mut(&segment).map_or(Ok(()), |put| put.noted(now, reply, patience))?;
                }
            }
            Event::Ended => self.ended = true,
            Event::Committed(token, reply) => self.committed(now, token, reply)?,
            Event::Tick => {}
        }
        Ok(())
    }

    /// The segment that waits for this token; a stale reply has none.
    fn waiting(&self, token: Token) -> Option<SegmentId> {
        let waits = |put: &&SegmentPut| put.tokens().any(|waiting| waiting == token);
        self.segments.values().find(waits).map(SegmentPut::id)
    }

    fn committed(&mut self, now: Mono, token: Token, reply: Result<(), CallFailure>) -> Result<(), PutError> {
        let Stage::Committing(call) = &mut self.stage else { return Ok(()) };
        if call.token != Some(token) {
            return Ok(());
        }
        match reply {
            Ok(()) => {
                self.over(Effect::Done);
                Ok(())
            }
            // Whether a commit that was not answered took place does not matter: a second one answers the same.
            Err(CallFailure::Later { after, why }) => call.rest(now, &self.patience, "CommitUpload", after, why),
            Err(CallFailure::No(why)) => Err(PutError::Refused { call: "CommitUpload", why }),
        }
    }

    /// Whatever is due or possible now.
    fn advance(&mut self, now: Mono) -> Result<(), PutError> {
        let mut done = Vec::new();
        for (id, put) in &mut self.segments {
            match put.advance(now, &self.patience, &mut self.avoided, &mut self.wishes)? {
                Course::Busy => {}
                Course::Durable { owed } => done.push((*id, owed)),
            }
        }
        for (segment, owed) in done {
            self.segments.remove(&segment);
            self.wishes.effects.push(Effect::Release { segment, owed });
        }
        match &mut self.stage {
            Stage::Storing if self.ended && self.segments.is_empty() => {
                let token = self.wishes.token();
                self.stage = Stage::Committing(Call::new(now, token));
                self.wishes.effects.push(Effect::Commit(token));
            }
            Stage::Committing(call) if call.is_due(now) => {
                let token = self.wishes.token();
                call.retry(token);
                self.wishes.effects.push(Effect::Commit(token));
            }
            Stage::Storing | Stage::Committing(_) | Stage::Over => {}
        }
        Ok(())
    }
}
