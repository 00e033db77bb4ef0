//! When a node has had its chances: how often a shard is tried where it failed, and when it goes elsewhere.

use holdfast_types::Millis;

use super::Patience;
use crate::message::SendFailure;

/// What follows a failure.
pub(super) enum Next {
    /// The same place again, after a while.
    Rest(Millis),
    /// Fresh grants, wherever they lead.
    Restage,
    /// Another node.
    Avoid,
}

/// What a shard's place has done so far. Another place begins anew.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    tries: u32,
    refusals: u32,
}

impl Strikes {
    /// Counts a failure, and says what follows.
    pub(super) fn after(&mut self, failure: &SendFailure, patience: &Patience) -> Next {
        match failure {
            SendFailure::Unreachable => {
                self.tries += 1;
                if self.tries < patience.tries { Next::Rest(patience.rest) } else { Next::Avoid }
            }
            SendFailure::Refused { retry_after } => {
                self.refusals += 1;
                let span = Millis(retry_after.0.clamp(patience.rest.0, patience.store.0));
                if self.refusals <= patience.refusals { Next::Rest(span) } else { Next::Avoid }
            }
            // Most often a grant that expired while the client slept: our own fault, not the node's.
            SendFailure::Denied(_) => {
                self.tries += 1;
                if self.tries <= patience.tries { Next::Restage } else { Next::Avoid }
            }
            SendFailure::Timeout | SendFailure::Malformed(_) => Next::Avoid,
        }
    }
}

/// A failure, for people: after "node n-…".
pub(super) fn words(failure: &SendFailure) -> String {
    match failure {
        SendFailure::Unreachable => "it cannot be reached".into(),
        SendFailure::Timeout => "it did not answer in time".into(),
        SendFailure::Malformed(why) => why.clone(),
        SendFailure::Refused { .. } => "it is busy or full".into(),
        SendFailure::Denied(why) => format!("it denies the put ({why})"),
    }
}
