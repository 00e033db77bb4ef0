//! Commitments that the node computes by itself, and what it says about them.
//!
//! A put is acknowledged before anybody has committed to the shard's polynomials: that costs milliseconds a blob. The
//! *committer* does it afterwards, in the background; the auditor *claims* the list, and the node signs which one it
//! has; only then the auditor reveals what the client knew of the bytes, and the node *opens* it. A list of somebody
//! else is *taken* only after it passed against our own bytes (docs/architecture.md, "Deferred commitment").

mod backlog;
mod claim;
mod committer;
mod desk;
mod fold;
mod open;
mod pace;
mod take;

use holdfast_kzg::CommitmentList;
use holdfast_types::ShardId;

pub use backlog::Tally;
pub(crate) use backlog::{Backlog, Ledger};
pub(crate) use claim::claim;
pub(crate) use committer::start;
pub(crate) use desk::Desk;
pub(crate) use open::open;
pub(crate) use take::take;

use crate::{content::commitments_key, state::State};

/// Stops the committer when the node goes, whichever way it goes.
pub(crate) struct Presence(pub(crate) std::sync::Arc<Desk>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The kept list of a shard; `None` too when the disk damaged it: then it is computed anew.
pub(crate) fn kept(state: &State, shard: &ShardId) -> Option<CommitmentList> {
    let key = commitments_key(*shard.as_bytes());
    let len = state.reader.stat(&key)?.len;
    let read = state.reader.read(&key, 0..len).ok().filter(|read| read.damaged.is_empty())?;
    CommitmentList::decode(&read.bytes).ok()
}
