//! What becomes of a node that does not answer. Pure: from its row to its next row.
//!
//! ```text
//!          silent                 silent, attempts left        silent, none left
//! Active ─────────► Contained ───────────────────► Contained ─────────────────► Suspended, all its shards lost
//!    ▲                  │ the same challenge answered, and then a fresh one          │
//!    └──────────────────┴◄───────────────────────────────────────────────────────────┘ answers again, and proves
//! ```
//!
//! The challenge is the *same* each time: a node that lost what it was asked about gains nothing by
//! being silent until it is asked something else. Delays count from the silence's beginning; an
//! auditor that slept, or whose clock was put forward, still leaves the node the time between two of
//! them.

use holdfast_types::{AuditId, Millis, NodeId, Wall};

use crate::{
    model::{Containment, NodeLife, NodeRow, Outcome},
    profile::Profile,
};

/// A change of a node's place in life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It was silent: contained, or contained further.
    Silent {
        /// The challenge that stays to be answered; `None` leaves the one there is.
        audit: Option<AuditId>,
        /// What this silence was.
        outcome: Outcome,
    },
    /// It answered the same challenge and a fresh one.
    Release,
    /// It ran out of attempts; its placements are lost already.
    Suspend,
    /// A suspended node proved what it has.
    Return,
    /// A new node was held to its word often enough.
    Vet,
}

/// The delay before attempt number `attempt` (from 0), counted from the silence's beginning.
fn delay(profile: &Profile, attempt: u32) -> Option<Millis> {
    profile.containment.get(attempt as usize).copied()
}

/// The time between the attempts before and after: what a node has at least, whatever our clock did.
fn spacing(profile: &Profile, attempt: u32) -> Millis {
    let before = attempt.checked_sub(1).and_then(|before| delay(profile, before)).unwrap_or_default();
    Millis(delay(profile, attempt).unwrap_or_default().0.saturating_sub(before.0))
}

/// Whether the same challenge is due again.
pub(super) fn is_due(containment: &Containment, now: Wall, profile: &Profile) -> bool {
    let longest = profile.containment.iter().copied().max().unwrap_or_default();
    // A clock that was put back would let the node off for as long.
    now >= containment.next || containment.next.0 > now.0.saturating_add(longest.0)
}

/// Whether one more silence is the last.
pub(super) fn is_last(row: &NodeRow, profile: &Profile) -> bool {
    match &row.containment {
        Some(containment) => containment.attempts as usize + 1 >= profile.containment.len(),
        None => profile.containment.is_empty(),
    }
}

/// The row after a change; `None` where it has no meaning any more, because the row changed first.
pub(super) fn apply(row: &NodeRow, change: Change, now: Wall, profile: &Profile) -> Option<(NodeRow, String)> {
    let row = row.clone();
    match (change, row.life) {
        (_, NodeLife::Evicted | NodeLife::Left) => None,
        (Change::Silent { audit, outcome }, NodeLife::Joining | NodeLife::Active | NodeLife::Draining) => {
            let reason = format!("{}: the same challenge will be put again", words(outcome));
            let next = now + delay(profile, 0).unwrap_or_default();
            let containment = Containment { audit: audit?, since: now, attempts: 0, next, outcome };
            Some((NodeRow { life: NodeLife::Contained, containment: Some(containment), ..row }, reason))
        }
        (Change::Silent { audit, .. }, NodeLife::Contained) => {
            let old = row.containment.clone()?;
            let attempts = old.attempts + 1;
            let reason =
                format!("{} still, {attempts} of {} attempts made", words(old.outcome), profile.containment.len());
            let planned = old.since + delay(profile, attempts).unwrap_or_default();
            let next = planned.max(now + spacing(profile, attempts));
            let containment = Containment { audit: audit.unwrap_or(old.audit), attempts, next, ..old };
            Some((NodeRow { containment: Some(containment), ..row }, reason))
        }
        (Change::Release, NodeLife::Contained) => {
            let reason = "answered the same challenge and a fresh one".to_owned();
            Some((NodeRow { life: NodeLife::Active, containment: None, ..row }, reason))
        }
        (Change::Suspend, NodeLife::Contained | NodeLife::Joining | NodeLife::Active | NodeLife::Draining) => {
            let outcome = row.containment.as_ref().map_or(Outcome::Unreachable, |containment| containment.outcome);
            let reason = format!("{} to the last attempt: its shards count as lost", words(outcome));
            Some((NodeRow { life: NodeLife::Suspended, containment: None, ..row }, reason))
        }
        (Change::Return, NodeLife::Suspended) => {
            let reason = "answers again and proved what it has".to_owned();
            Some((NodeRow { life: NodeLife::Active, containment: None, ..row }, reason))
        }
        (Change::Vet, NodeLife::Joining) => {
            Some((NodeRow { life: NodeLife::Active, ..row }, "held to its word often enough".to_owned()))
        }
        (Change::Silent { .. }, NodeLife::Suspended)
        | (Change::Release, NodeLife::Joining | NodeLife::Active | NodeLife::Draining | NodeLife::Suspended)
        | (Change::Suspend, NodeLife::Suspended)
        | (Change::Return, NodeLife::Joining | NodeLife::Active | NodeLife::Draining | NodeLife::Contained)
        | (Change::Vet, NodeLife::Active | NodeLife::Contained | NodeLife::Suspended | NodeLife::Draining) => None,
    }
}

fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unreachable => "unreachable",
        Outcome::Late => "no valid answer in time",
        Outcome::Refused => "refuses to answer",
        Outcome::Held | Outcome::Corrupt | Outcome::Missing | Outcome::Inconclusive(_) => "silent",
    }
}

/// The audit that a node's containment keeps open.
pub(super) fn keeps(nodes: &std::collections::BTreeMap<NodeId, NodeRow>, node: NodeId, audit: AuditId) -> bool {
    let containment = nodes.get(&node).and_then(|row| row.containment.as_ref());
    containment.is_some_and(|containment| containment.audit == audit)
}

#[cfg(test)]
pub(crate) mod tests {
    use holdfast_types::{Incarnation, SecretKey, VolumeId, ZoneName};

    use super::*;

    pub(crate) fn row(key: &SecretKey) -> NodeRow {
        NodeRow {
            id: key.public().node_id(),
            key: key.public(),
            addresses: vec!["[::1]:1".into()],
            zone: ZoneName("a".into()),
            operator: "us".into(),
            life: NodeLife::Active,
            containment: None,
            volume: VolumeId([1; 16]),
            incarnation: Incarnation([1; 16]),
            capacity: 1 << 40,
            used: 0,
            joined: Wall(0),
            seen: Wall(0),
            judged: None,
            version: 0,
        }
    }

    fn silent(row: &NodeRow, now: u64) -> NodeRow {
        let change = Change::Silent { audit: Some(AuditId([1; 32])), outcome: Outcome::Late };
        apply(row, change, Wall(now), &Profile::production()).expect("applies").0
    }

    fn next(row: &NodeRow) -> u64 {
        row.containment.as_ref().expect("contained").next.0
    }

    const MINUTE: u64 = 60_000;

    #[test]
    fn attempts_come_at_the_delays_counted_from_the_first_silence() {
        let first = silent(&row(&SecretKey::from_seed(&[1; 32])), 0);
        assert_eq!(next(&first), 10 * MINUTE);
        let second = silent(&first, 10 * MINUTE);
        assert_eq!(next(&second), 60 * MINUTE);
        assert!(!is_last(&second, &Profile::production()));
        let third = silent(&second, 60 * MINUTE);
        assert_eq!(next(&third), 360 * MINUTE);
        assert!(is_last(&third, &Profile::production()));
    }

    #[test]
    fn a_clock_put_forward_does_not_use_the_attempts_up_at_once() {
        let first = silent(&row(&SecretKey::from_seed(&[1; 32])), 0);
        let jumped = 1000 * MINUTE;
        assert!(is_due(first.containment.as_ref().expect("contained"), Wall(jumped), &Profile::production()));
        let second = silent(&first, jumped);
        assert_eq!(next(&second), jumped + 50 * MINUTE);
    }

    #[test]
    fn a_clock_put_back_does_not_let_a_node_off() {
        let first = silent(&row(&SecretKey::from_seed(&[1; 32])), 100_000 * MINUTE);
        assert!(is_due(first.containment.as_ref().expect("contained"), Wall(0), &Profile::production()));
    }

    #[test]
    fn the_word_of_the_first_silence_stays() {
        let mut contained = silent(&row(&SecretKey::from_seed(&[1; 32])), 0);
        let change = Change::Silent { audit: None, outcome: Outcome::Unreachable };
        contained = apply(&contained, change, Wall(10 * MINUTE), &Profile::production()).expect("applies").0;
        assert_eq!(contained.containment.expect("contained").outcome, Outcome::Late);
    }
}
