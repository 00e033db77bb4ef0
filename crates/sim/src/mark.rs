//! What the world knows of a node that the node and the auditor do not: what was done to it.

use std::collections::BTreeSet;

use holdfast_types::ShardId;

/// What is known of a node from outside.
#[derive(Default)]
pub(crate) struct Mark {
    /// Shards that damage or lies have hit here.
    pub(crate) harmed: BTreeSet<ShardId>,
    /// Nobody can say what it holds: its journal was hit, its disk replaced.
    pub(crate) wild: bool,
    /// Its disk was replaced at some time: that all is missing then is the truth.
    pub(crate) wiped: bool,
    /// It lied at some time.
    pub(crate) lied: bool,
    /// It denies every challenge since then, and has something to prove.
    pub(crate) denies: Option<u64>,
    /// It was away at some time: silence is no wonder.
    pub(crate) away: bool,
    /// Cut off until then.
    pub(crate) cut_until: u64,
    /// The next sync of its disk, or one soon after, fails.
    pub(crate) fails_sync: bool,
    /// Its wall clock's error.
    pub(crate) skew: i64,
    /// What it holds may have changed since somebody looked.
    pub(crate) changed: bool,
    /// Shards that it has ever given a receipt for.
    pub(crate) took: BTreeSet<ShardId>,
    /// Its journal rotted, and it was not started since.
    pub(crate) rotten: bool,
    /// Its journal rotted at some time.
    pub(crate) rotted: bool,
    /// Its disk was damaged at some time: any record may be gone.
    pub(crate) hit: bool,
    /// Its process is down until something starts it.
    pub(crate) down: bool,
    pub(crate) registered: bool,
}
