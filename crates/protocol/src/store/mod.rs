//! The catalog, as the machines see it: a closed list of operations and answers, applied by SQLite,
//! by PostgreSQL and by the simulation's [`MapStore`] under one contract suite. Every operation is
//! one transaction: durable before its reply, or not at all. Compare-and-swap happens inside it.

mod argument;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod map;
mod op;
mod reply;
pub mod rules;

use holdfast_types::Fence;

pub use argument::{NewObject, OwedRecord, ROWS_MAX, SegmentRecords, StandingChange};
pub use map::MapStore;
pub use op::StoreOp;
pub use reply::{StoreReply, Summary, Undescribed};

/// The fence of a placement that no lease made.
pub const FENCE_NONE: Fence = Fence { epoch: 0, counter: 0 };

/// A catalog, as the contract suite and the simulation drive it. A store that waits blocks here.
pub trait Store {
    /// Applies one operation; durable when this returns.
    fn apply(&mut self, op: StoreOp) -> StoreReply;

    /// Closes and opens it again, where it has a disk: whatever was answered must still be there.
    fn reopen(&mut self) {}
}
