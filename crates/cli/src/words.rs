//! What the auditor judges, in the words that people and programs read.

use holdfast_protocol::model::{Cause, Fault, Lane, Outcome, Provenance};
use holdfast_wire::convert::ShardCommitment;

/// An outcome's word.
pub(crate) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Held => "held",
        Outcome::Corrupt => "corrupt",
        Outcome::Missing => "missing",
        Outcome::Late => "late",
        Outcome::Unreachable => "unreachable",
        Outcome::Refused => "refused",
        Outcome::Inconclusive(_) => "inconclusive",
    }
}

/// A lane's word.
pub(crate) fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Fold => "fold",
        Lane::Sample => "sample",
        Lane::Retrieve => "retrieve",
    }
}

/// Whether folds cover a shard, and by whose word.
pub(crate) fn commitment(commitment: Option<ShardCommitment>) -> &'static str {
    match commitment {
        Some(ShardCommitment::Pending) => "pending",
        Some(ShardCommitment::Accepted(Provenance::AuditorRead)) => "auditor-read",
        Some(ShardCommitment::Accepted(Provenance::ClientWitness)) => "client-witness",
        Some(ShardCommitment::Accepted(Provenance::LinkSampled)) => "link-sampled",
        None => "unknown",
    }
}

/// A cause's word.
pub(crate) fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Reported => "reported",
        Cause::Proven => "proven",
    }
}

/// What the auditor's own trouble was.
pub(crate) fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Restarted => "the auditor restarted, or its clock jumped",
        Fault::SetDrift => "node and catalog list different shards",
        Fault::Cancelled => "the placement changed meanwhile",
        Fault::Internal => "trouble of the auditor's own",
        Fault::Commitments => "the commitments were wrong, not the bytes",
    }
}
