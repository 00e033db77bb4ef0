//! When a node is asked next, and what is remembered of it between two questions. All of it can be
//! lost with the process: what must not be is in the node's row.

use std::collections::BTreeSet;

use holdfast_types::{Incarnation, Millis, Mono, Now, Sequence, Wall};

use crate::{
    model::{Lane, NodeLife, NodeRow},
    profile::Profile,
    set::AuditSet,
};

use super::{containment, task::Purpose};

/// Set mismatches in a row before a node counts as silent. Honest drift ends with the
/// reconciliation after it; a node that never agrees on a set is one that never proves anything.
const DRIFTS_MAX: u32 = 6;

/// Verdicts without an exception that make a new node an active one.
const VETTED_AFTER: u32 = 3;

/// One lane's place in its round over a node's sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Round {
    /// When the next set is due.
    pub(super) at: Mono,
    /// Where it begins.
    pub(super) from: Sequence,
    /// Asked for in the middle of a round: once more through all sets, at once, after this round's last.
    again: bool,
}

impl Round {
    fn first(at: Mono) -> Self {
        Self { at, from: Sequence(0), again: false }
    }
}

/// What to do about a node now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Challenge it.
    Audit(Purpose, Lane, Sequence),
    /// Put the contained challenge again.
    Recall,
    /// Find out where the two lists differ.
    Reconcile(AuditSet),
    /// See whether a suspended node answers at all.
    Knock,
}

/// One node's schedule.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) fold: Round,
    pub(super) sample: Round,
    /// When a suspended node is knocked at next.
    knock: Mono,
    incarnation: Incarnation,
    /// After trouble of our own: not before.
    pause: Mono,
    /// A contained node answered its challenge: the fresh one is due.
    pub(super) fresh: bool,
    /// A suspended node answered a knock: this is where its proof goes on.
    pub(super) probe: Option<Sequence>,
    /// Sets to reconcile with the node's list.
    pub(super) reconcile: Option<AuditSet>,
    /// Shards that the node has signed not to have; they are not asked for again.
    pub(super) absent: BTreeSet<Sequence>,
    pub(super) drifts: u32,
    held: u32,
    false_answers: u32,
    /// The last verdict of this process, or when it met the node.
    judged: Wall,
    alarmed: bool,
    /// The last look found nothing of ours on it.
    pub(super) idle: bool,
}

impl Watch {
    /// A node met for the first time by this process. It was judged last at `judged`, if ever.
    pub(super) fn new(row: &NodeRow, now: Now, profile: &Profile) -> Self {
        let first = |every: Millis| {
            // After a restart a node has the rest of its interval; a node never judged is due.
            let waited = row.judged.map_or(every, |judged| now.wall.since(judged));
            Round::first(now.mono + Millis(every.0.saturating_sub(waited.0)))
        };
        Self {
            fold: first(profile.fold_every),
            sample: first(profile.sample_every),
            knock: now.mono,
            pause: Mono(0),
            incarnation: row.incarnation,
            fresh: false,
            probe: None,
            reconcile: None,
            absent: BTreeSet::new(),
            drifts: 0,
            held: 0,
            false_answers: 0,
            // Nobody was asked while we were not there: silence counts from now.
            judged: now.wall,
            alarmed: false,
            idle: row.used == 0,
        }
    }

    /// A verdict from before this process.
    pub(super) fn judged_before(&mut self, at: Wall, lane: Lane, now: Now, profile: &Profile) {
        let (round, every) = match lane {
            Lane::Fold => (&mut self.fold, profile.fold_every),
            Lane::Sample => (&mut self.sample, profile.sample_every),
            Lane::Retrieve => return,
        };
        round.at = now.mono + Millis(every.0.saturating_sub(now.wall.since(at).0));
    }

    /// The node registered or changed. Another incarnation has lost its volume, or came back: ask at once.
    pub(super) fn changed(&mut self, row: &NodeRow, now: Now) {
        if row.incarnation != self.incarnation {
            self.incarnation = row.incarnation;
            self.absent.clear();
            self.due_now(now);
        }
        self.knock = now.mono;
    }

    /// Both lanes, from where they are.
    // Attack: a client that asks for audits all the time, or a node that admits one damaged byte in each answer, so that no
    // round ever comes to the later sets, or one lane always comes before the other. So neither place nor turn is moved.
    pub(super) fn due_now(&mut self, now: Now) {
        for round in [&mut self.fold, &mut self.sample] {
            round.at = round.at.min(now.mono);
            round.again = round.from > Sequence(0);
        }
        self.knock = now.mono;
        self.pause = now.mono;
    }

    pub(super) fn round(&mut self, lane: Lane) -> &mut Round {
        match lane {
            Lane::Fold => &mut self.fold,
            Lane::Sample | Lane::Retrieve => &mut self.sample,
        }
    }

    /// What is due, and since when, while `busy` lanes are under way already.
    pub(super) fn next(&self, row: &NodeRow, busy: &[Lane], now: Now, profile: &Profile) -> Option<(Mono, Next)> {
        let asap = Mono(0);
        if now.mono < self.pause {
            return None;
        }
        if row.life.is_audited()
            && let Some(set) = &self.reconcile
        {
            return Some((asap, Next::Reconcile(set.clone())));
        }
        match row.life {
            NodeLife::Evicted | NodeLife::Left => None,
            NodeLife::Contained if self.fresh => Some((asap, Next::Audit(Purpose::Fresh, Lane::Sample, Sequence(0)))),
            NodeLife::Contained => {
                let due = row.containment.as_ref().is_none_or(|it| containment::is_due(it, now.wall, profile));
                due.then_some((asap, Next::Recall))
            }
            NodeLife::Suspended => match self.probe {
                Some(from) => Some((asap, Next::Audit(Purpose::Probe, Lane::Fold, from))),
                None => (self.knock <= now.mono).then_some((self.knock, Next::Knock)),
            },
            NodeLife::Joining | NodeLife::Active | NodeLife::Draining => {
                let lanes = [(self.fold, Lane::Fold), (self.sample, Lane::Sample)];
                let free = lanes.into_iter().filter(|(_, lane)| !busy.contains(lane));
                let (round, lane) = free.min_by_key(|(round, _)| round.at)?;
                let next = Next::Audit(Purpose::Routine, lane, round.from);
                (round.at <= now.mono).then_some((round.at, next))
            }
        }
    }

    /// A set was dealt with: on to the next one, or to the next round.
    pub(super) fn advance(&mut self, lane: Lane, more: Option<Sequence>, now: Now, profile: &Profile) {
        let every = match lane {
            Lane::Fold => profile.fold_every,
            Lane::Sample | Lane::Retrieve => profile.sample_every,
        };
        let round = self.round(lane);
        *round = match more {
            Some(from) => Round { at: now.mono, from, ..*round },
            None if round.again => Round::first(now.mono),
            None => Round::first(now.mono + every),
        };
    }

    /// Nothing came of it: the same set once more, but not in a tight loop.
    pub(super) fn retry(&mut self, now: Now, profile: &Profile) {
        self.pause = now.mono + profile.answer_within.min(profile.sample_every);
    }

    /// The node spoke.
    pub(super) fn spoke(&mut self, false_answer: bool, now: Now) {
        self.drifts = 0;
        self.false_answers = if false_answer { self.false_answers + 1 } else { 0 };
        self.judged = now.wall;
        self.alarmed = false;
    }

    /// Counts a verdict without exceptions; `true` once, when there were enough of them for a new node.
    pub(super) fn is_vetted_now(&mut self) -> bool {
        self.held = self.held.saturating_add(1);
        self.held == VETTED_AFTER
    }

    /// Whether an answer that is false only as a whole has come too often to be an accident.
    pub(super) fn is_false_too_often(&self, profile: &Profile) -> bool {
        self.false_answers > profile.refusals_max
    }

    /// The node's set differs. `false` when that has happened too often in a row to be honest.
    pub(super) fn drifted(&mut self, set: AuditSet) -> bool {
        self.drifts += 1;
        self.reconcile = Some(set);
        self.drifts <= DRIFTS_MAX
    }

    /// A suspended node did not open.
    pub(super) fn knocked(&mut self, now: Now, profile: &Profile) {
        self.knock = now.mono + profile.sample_every;
    }

    /// Whether the silence alarm is due; once until the next verdict.
    pub(super) fn alarm(&mut self, row: &NodeRow, now: Now, profile: &Profile) -> bool {
        let awaited = row.life.is_audited() && row.life != NodeLife::Suspended && !self.idle;
        let due = awaited && !self.alarmed && now.wall.since(self.judged) > profile.silence_alarm;
        self.alarmed |= due;
        due
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Mono, PublicKey, VolumeId, ZoneName};

    use super::*;

    fn watched() -> NodeRow {
        NodeRow {
            id: holdfast_types::NodeId([1; 32]),
            key: PublicKey([1; 32]),
            addresses: Vec::new(),
            zone: ZoneName("z".into()),
            operator: String::new(),
            life: NodeLife::Active,
            containment: None,
            volume: VolumeId([1; 16]),
            incarnation: holdfast_types::Incarnation([1; 16]),
            capacity: 1,
            used: 1,
            joined: Wall(0),
            seen: Wall(0),
            judged: Some(Wall(1000)),
            version: 1,
        }
    }

    /// Attack: `RunAudit` after every set.
    #[test]
    fn asking_for_audits_all_the_time_keeps_neither_lane_from_any_set() {
        const SETS: u64 = 4;
        let profile = Profile::production();
        let row = watched();
        let at = |after: u64| Now { mono: Mono(after), wall: Wall(1000 + after) };
        let mut watch = Watch::new(&row, at(0), &profile);
        let mut asked = BTreeSet::new();
        // A round that was asked for again may have begun before the other lane's ended.
        for step in 1..=2 * SETS + 2 {
            let now = at(step);
            watch.due_now(now);
            let Some((_, Next::Audit(_, lane, from))) = watch.next(&row, &[], now, &profile) else { panic!("due") };
            asked.insert((lane, from));
            watch.advance(lane, (from.0 + 1 < SETS).then_some(Sequence(from.0 + 1)), now, &profile);
        }
        let sets = |lane| (0..SETS).map(move |from| (lane, Sequence(from)));
        let all: BTreeSet<_> = sets(Lane::Fold).chain(sets(Lane::Sample)).collect();
        assert_eq!(asked, all, "every set of both lanes");
    }

    #[test]
    fn an_audit_asked_for_in_the_middle_of_a_round_comes_to_the_first_sets_too() {
        let profile = Profile::production();
        let row = watched();
        let at = |after: u64| Now { mono: Mono(after), wall: Wall(1000 + after) };
        let mut watch = Watch::new(&row, at(0), &profile);
        watch.advance(Lane::Fold, Some(Sequence(5)), at(1), &profile);
        watch.due_now(at(2));
        assert_eq!(watch.fold.from, Sequence(5));
        watch.advance(Lane::Fold, None, at(3), &profile);
        assert_eq!((watch.fold.at, watch.fold.from), (Mono(3), Sequence(0)), "once more from the beginning, at once");
        watch.advance(Lane::Fold, None, at(4), &profile);
        assert_eq!(watch.fold.at, Mono(4) + profile.fold_every, "and no more than once");
    }

    #[test]
    fn a_cluster_that_was_down_for_long_is_silent_from_its_start_on() {
        let profile = Profile::demo();
        let row = watched();
        let week = 7 * 24 * 3_600_000;
        let at = |after: u64| Now { mono: Mono(after), wall: Wall(1000 + week + after) };
        let mut watch = Watch::new(&row, at(0), &profile);
        watch.judged_before(Wall(1000), Lane::Fold, at(0), &profile);
        assert_eq!(watch.fold.at, Mono(0), "what was due while nobody asked is due now");
        assert!(!watch.alarm(&row, at(0), &profile), "the auditor was not there to hear anything");
        assert!(!watch.alarm(&row, at(profile.silence_alarm.0), &profile));
        assert!(watch.alarm(&row, at(profile.silence_alarm.0 + 1), &profile), "now it was");
    }
}
