//! What the audit's tasks have in common. A task is one thing being done about one node; it has at
//! most one request under way, can wish that request again when it got lost on our side, and ends
//! in an [`Ending`] from which [`super::Audits`] goes on.

use std::collections::BTreeMap;

use holdfast_types::{AuditId, Mono, NodeId, Now, Sequence};

use crate::{
    effect::{Token, Verification},
    message::{NodeReply, SendFailure},
    model::{Lane, NodeRow, Outcome},
    outbox::Outbox,
    profile::Profile,
    set::AuditSet,
    store::StoreReply,
};

/// The surroundings of a step.
pub(super) struct Ctx<'a> {
    pub(super) now: Now,
    pub(super) profile: &'a Profile,
    pub(super) cluster: &'a [u8; 32],
    pub(super) nodes: &'a BTreeMap<NodeId, NodeRow>,
    pub(super) out: &'a mut Outbox,
}

/// What a task is told.
pub(super) enum Input {
    Stored(StoreReply),
    Answered(Result<NodeReply, SendFailure>),
    Verified(Verification),
}

/// Where a task stands after a step.
pub(super) enum Progress {
    /// Its request is under way.
    Wait(Token),
    /// Ask again from then on: the node said when.
    Sleep(Mono),
    /// Over.
    End(Ending),
}

/// Why a challenge is put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Its time has come.
    Routine,
    /// A contained node's challenge again.
    Contained,
    /// The one after it, that has to be answered too.
    Fresh,
    /// A suspended node spoke: does it still have what was given up?
    Probe,
}

/// How a task ended. What the catalog had to know of it, it knows already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The node spoke, and a verdict says so.
    Judged {
        /// Where its next set begins, if this was not the last.
        more: Option<Sequence>,
        /// The parts were valid and the whole was not: the same is asked once more, at once; too often, and it
        /// counts as this silence.
        false_answer: Option<Silence>,
    },
    /// Nobody spoke. The audit is still open, so that the same challenge can be put again.
    Silent(Silence),
    /// The node's set is another than the catalog's. Too often, and it counts as this silence.
    Drift(AuditSet, Silence),
    /// There was nothing to ask.
    Empty,
    /// Our own trouble; nothing is held against anybody.
    Inconclusive,
    /// A node's row was changed.
    Changed,
    /// A suspended or empty node answered a knock.
    Alive,
}

/// A silence, as containment needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Silence {
    /// The challenge that stayed unanswered; `None` for a knock, which has none.
    pub(super) audit: Option<AuditId>,
    /// Its lane.
    pub(super) lane: Lane,
    /// What to call it.
    pub(super) outcome: Outcome,
    /// Shards in its set.
    pub(super) shards: u32,
    /// Bytes in its set.
    pub(super) bytes: u64,
}
