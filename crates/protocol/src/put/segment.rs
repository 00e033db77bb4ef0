//! One segment on its way: staged, its shards sent, their receipts noted, staged again for those that
//! failed, until all n are noted or the rounds are over.

use holdfast_types::{Millis, Mono, NodeId, PublicKey, SegmentId, Sequence, ShardId, ShardIndex};

use super::{
    Avoided, Call, CallFailure, Effect, Patience, PutError, Slot, Terms, Wishes,
    strikes::{Next, Strikes, words},
};
use crate::{
    effect::Token,
    message::{Receipt, SendFailure},
};

/// What a segment has come to.
pub(super) enum Course {
    /// It goes on.
    Busy,
    /// Enough of it is durable and noted.
    Durable {
        /// Shards that are not.
        owed: u16,
    },
}

#[derive(Debug)]
enum Phase {
    /// The auditor is asked for places.
    Staging(Call),
    /// Shards are on their way.
    Storing,
    /// The auditor is told.
    Noting(Call),
}

/// A shard and where it stands.
#[derive(Debug)]
struct Shard {
    id: ShardId,
    place: Option<(NodeId, PublicKey)>,
    state: State,
    strikes: Strikes,
}

#[derive(Debug)]
enum State {
    /// No place, or a place that failed: the next staging gives one.
    Homeless,
    Sending {
        token: Token,
        deadline: Mono,
    },
    /// To be sent again.
    Resting {
        until: Mono,
    },
    /// The node's word, which the auditor does not have.
    Held(Box<Receipt>),
    /// The auditor has it.
    Noted,
}

#[derive(Debug)]
pub(super) struct SegmentPut {
    id: SegmentId,
    terms: Terms,
    shard_len: u64,
    shards: Vec<Shard>,
    phase: Phase,
    rounds: u32,
    last: String,
}

impl SegmentPut {
    pub(super) fn begin(
        now: Mono,
        id: SegmentId,
        terms: Terms,
        shards: Vec<ShardId>,
        shard_len: u64,
        avoid: Vec<NodeId>,
        wishes: &mut Wishes,
    ) -> Self {
        let homeless = |id| Shard { id, place: None, state: State::Homeless, strikes: Strikes::default() };
        let token = wishes.token();
        wishes.effects.push(Effect::Stage { token, segment: id, avoid });
        Self {
            id,
            terms,
            shard_len,
            shards: shards.into_iter().map(homeless).collect(),
            phase: Phase::Staging(Call::new(now, token)),
            rounds: 1,
            last: String::new(),
        }
    }

    pub(super) const fn id(&self) -> SegmentId {
        self.id
    }

    /// Everything that a reply may still come for.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        let call = match &self.phase {
            Phase::Staging(call) | Phase::Noting(call) => call.token,
            Phase::Storing => None,
        };
        let sending = self.shards.iter().filter_map(|shard| match shard.state {
            State::Sending { token, .. } => Some(token),
            State::Homeless | State::Resting { .. } | State::Held(_) | State::Noted => None,
        });
        sending.chain(call)
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let call = match &self.phase {
            Phase::Staging(call) | Phase::Noting(call) => call.deadline(),
            Phase::Storing => None,
        };
        let shards = self.shards.iter().filter_map(|shard| match shard.state {
            State::Sending { deadline, .. } => Some(deadline),
            State::Resting { until } => Some(until),
            State::Homeless | State::Held(_) | State::Noted => None,
        });
        shards.chain(call).min()
    }

    fn count(&self, wanted: fn(&State) -> bool) -> u16 {
        self.shards.iter().filter(|shard| wanted(&shard.state)).count() as u16
    }

    fn noted_count(&self) -> u16 {
        self.count(|state| matches!(state, State::Noted))
    }

    /// The auditor's answer is the truth: it says which shards need no more, and where the others go.
    pub(super) fn staged(
        &mut self,
        now: Mono,
        reply: Result<Vec<Slot>, CallFailure>,
        patience: &Patience,
        avoided: &mut Avoided,
        wishes: &mut Wishes,
    ) -> Result<(), PutError> {
        let Phase::Staging(call) = &mut self.phase else { return Ok(()) };
        let slots = match reply {
            Ok(slots) => slots,
            Err(CallFailure::Later { after, why }) => {
                self.last.clone_from(&why);
                return call.rest(now, patience, "StageSegment", after, why);
            }
            Err(CallFailure::No(why)) => return self.no_places(now, why, patience, avoided, wishes),
        };
        self.accept(&slots)?;
        self.phase = Phase::Storing;
        for (shard, slot) in self.shards.iter_mut().zip(slots) {
            if shard.place.map(|(node, _)| node) != Some(slot.node) {
                shard.strikes = Strikes::default();
            }
            shard.place = Some((slot.node, slot.key));
            shard.state = if slot.held { State::Noted } else { State::Resting { until: now } };
        }
        Ok(())
    }

    fn accept(&self, slots: &[Slot]) -> Result<(), PutError> {
        let malformed = |why: String| Err(PutError::Malformed { call: "StageSegment", why });
        if slots.len() != self.shards.len() {
            return malformed(format!("expected {} places, got {}", self.shards.len(), slots.len()));
        }
        for (at, (shard, slot)) in self.shards.iter().zip(slots).enumerate() {
            if usize::from(slot.index.0) != at || slot.shard != shard.id {
                return malformed(format!(
                    "expected shard {} at index {at}, got {} at {}",
                    shard.id, slot.shard, slot.index
                ));
            }
            // Two shards on one node would fall together.
            if slots[..at].iter().any(|other| other.node == slot.node) {
                return malformed(format!("expected distinct nodes, got {} twice", slot.node));
            }
        }
        Ok(())
    }

    /// Places cannot be had. What is noted may be enough; if it is not, a node that failed a moment ago
    /// is better than none.
    fn no_places(
        &mut self,
        now: Mono,
        why: String,
        patience: &Patience,
        avoided: &mut Avoided,
        wishes: &mut Wishes,
    ) -> Result<(), PutError> {
        let first = self.rounds == 1 && avoided.list(now).is_empty();
        self.last = why;
        if self.noted_count() >= self.terms.threshold {
            self.rounds = patience.rounds;
            self.phase = Phase::Storing;
            return Ok(());
        }
        if first {
            return Err(PutError::Refused { call: "StageSegment", why: self.last.clone() });
        }
        avoided.0.clear();
        self.stage_again(now, patience, avoided, wishes)
    }

    fn stage_again(
        &mut self,
        now: Mono,
        patience: &Patience,
        avoided: &mut Avoided,
        wishes: &mut Wishes,
    ) -> Result<(), PutError> {
        if self.rounds >= patience.rounds {
            return Err(self.too_few());
        }
        self.rounds += 1;
        let token = wishes.token();
        wishes.effects.push(Effect::Stage { token, segment: self.id, avoid: avoided.list(now) });
        self.phase = Phase::Staging(Call::new(now, token));
        Ok(())
    }

    fn too_few(&self) -> PutError {
        PutError::TooFew {
            segment: self.id,
            held: self.noted_count(),
            needed: self.terms.threshold,
            total: self.terms.total,
            why: self.last.clone(),
        }
    }

    pub(super) fn stored(
        &mut self,
        now: Mono,
        token: Token,
        reply: Result<Box<Receipt>, SendFailure>,
        patience: &Patience,
        avoided: &mut Avoided,
        wishes: &mut Wishes,
    ) {
        let (owner, len) = (self.terms.owner, self.shard_len);
        let sent = |shard: &&mut Shard| matches!(shard.state, State::Sending { token: waits, .. } if waits == token);
        let Some(shard) = self.shards.iter_mut().find(sent) else { return };
        let Some((node, key)) = shard.place else { return };
        let failure = match reply {
            Ok(receipt) => {
                let fits = receipt.node == node
                    && receipt.shard == shard.id
                    && receipt.len == len
                    && receipt.owner == owner
                    && receipt.sequence <= Sequence::MAX
                    && receipt.is_signed_by(&key);
                if fits {
                    shard.state = State::Held(receipt);
                    return;
                }
                SendFailure::Malformed("expected a signed receipt for the shard that was sent, got another".into())
            }
            Err(failure) => failure,
        };
        self.last = format!("node {node}: {}", words(&failure));
        match shard.strikes.after(&failure, patience) {
            Next::Rest(span) => shard.state = State::Resting { until: now + span },
            Next::Restage => shard.state = State::Homeless,
            Next::Avoid => {
                shard.state = State::Homeless;
                avoid(now, node, words(&failure), patience, avoided, wishes);
            }
        }
    }

    pub(super) fn noted(
        &mut self,
        now: Mono,
        reply: Result<u32, CallFailure>,
        patience: &Patience,
    ) -> Result<(), PutError> {
        let Phase::Noting(call) = &mut self.phase else { return Ok(()) };
        match reply {
            Ok(noted) => {
                let sent = self.count(|state| matches!(state, State::Held(_)));
                let all = noted >= u32::from(sent);
                if !all {
                    self.last = format!("the auditor noted {noted} of {sent} receipts");
                }
                for shard in self.shards.iter_mut().filter(|shard| matches!(shard.state, State::Held(_))) {
                    // Which ones it did not note, the next staging says.
                    shard.state = if all { State::Noted } else { State::Homeless };
                }
                self.phase = Phase::Storing;
                Ok(())
            }
            Err(CallFailure::Later { after, why }) => {
                self.last.clone_from(&why);
                call.rest(now, patience, "NoteReceipts", after, why)
            }
            Err(CallFailure::No(why)) => Err(PutError::Refused { call: "NoteReceipts", why }),
        }
    }

    pub(super) fn advance(
        &mut self,
        now: Mono,
        patience: &Patience,
        avoided: &mut Avoided,
        wishes: &mut Wishes,
    ) -> Result<Course, PutError> {
        match &mut self.phase {
            Phase::Staging(call) => {
                if call.is_due(now) {
                    let token = wishes.token();
                    call.retry(token);
                    wishes.effects.push(Effect::Stage { token, segment: self.id, avoid: avoided.list(now) });
                }
                Ok(Course::Busy)
            }
            Phase::Noting(call) => {
                if call.is_due(now) {
                    let token = wishes.token();
                    call.retry(token);
                    self.push_note(token, wishes);
                }
                Ok(Course::Busy)
            }
            Phase::Storing => self.store(now, patience, avoided, wishes),
        }
    }

    /// Sends what is due; once all is settled, tells the auditor; once it knows, looks for new places.
    fn store(
        &mut self,
        now: Mono,
        patience: &Patience,
        avoided: &mut Avoided,
        wishes: &mut Wishes,
    ) -> Result<Course, PutError> {
        self.time_out(now, patience, avoided, wishes);
        let wait = Millis(patience.store.0 + (self.shard_len >> 20) * 1000);
        for (index, shard) in (0..).map(ShardIndex).zip(&mut self.shards) {
            let State::Resting { until } = shard.state else { continue };
            let Some((node, _)) = shard.place.filter(|_| until <= now) else { continue };
            let token = wishes.token();
            shard.state = State::Sending { token, deadline: now + wait };
            wishes.effects.push(Effect::Store { token, segment: self.id, index, node });
        }
        if self.count(|state| matches!(state, State::Sending { .. } | State::Resting { .. })) > 0 {
            return Ok(Course::Busy);
        }
        if self.count(|state| matches!(state, State::Held(_))) > 0 {
            // Before a staging that avoids nodes: what has its receipt noted keeps its place.
            let token = wishes.token();
            self.phase = Phase::Noting(Call::new(now, token));
            self.push_note(token, wishes);
            return Ok(Course::Busy);
        }
        let noted = self.noted_count();
        let owed = self.terms.total.saturating_sub(noted);
        if owed == 0 || (noted >= self.terms.threshold && self.rounds >= patience.rounds) {
            return Ok(Course::Durable { owed });
        }
        self.stage_again(now, patience, avoided, wishes)?;
        Ok(Course::Busy)
    }

    fn time_out(&mut self, now: Mono, patience: &Patience, avoided: &mut Avoided, wishes: &mut Wishes) {
        for shard in &mut self.shards {
            let State::Sending { token, deadline } = shard.state else { continue };
            let Some((node, _)) = shard.place.filter(|_| deadline <= now) else { continue };
            wishes.effects.push(Effect::Cancel(token));
            shard.state = State::Homeless;
            self.last = format!("node {node}: {}", words(&SendFailure::Timeout));
            avoid(now, node, words(&SendFailure::Timeout), patience, avoided, wishes);
        }
    }

    fn push_note(&self, token: Token, wishes: &mut Wishes) {
        let held = |(index, shard): (u16, &Shard)| match &shard.state {
            State::Held(receipt) => Some((ShardIndex(index), **receipt)),
            State::Homeless | State::Sending { .. } | State::Resting { .. } | State::Noted => None,
        };
        let receipts = (0..).zip(&self.shards).filter_map(held).collect();
        wishes.effects.push(Effect::Note { token, segment: self.id, receipts });
    }
}

fn avoid(now: Mono, node: NodeId, why: String, patience: &Patience, avoided: &mut Avoided, wishes: &mut Wishes) {
    avoided.0.insert(node, now + patience.avoid);
    wishes.effects.push(Effect::Avoid { node, why });
}
