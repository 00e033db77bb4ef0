//! Every interval and limit of audits and repairs, by name. `production` has hours where `demo`
//! has seconds; nothing else differs between them.

use holdfast_types::Millis;

/// A refusal is not asked again sooner: a node that says "now" is still busy.
const REFUSAL_WAIT_MIN: Millis = Millis(100);

/// Intervals and limits, checked where the configuration is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// `production`, `demo`, or what the operator calls it.
    pub name: String,
    /// Between two folds of a node.
    pub fold_every: Millis,
    /// Between two samples of a node.
    pub sample_every: Millis,
    /// Between two audits of a node that clients ask for: each reads all that the node holds, and any member of the
    /// cluster may ask.
    pub asked_every: Millis,
    /// Leaves in a sample.
    pub sample_leaves: u16,
    /// How long a node has for an answer to a sample or a judge's question.
    pub answer_within: Millis,
    /// A fold may take this long for each GiB of its set, on top of `answer_within`.
    pub fold_per_gib: Millis,
    /// When the same challenge is put again to a silent node, counted from the silence's beginning.
    pub containment: Vec<Millis>,
    /// Refusals in a row that are taken without containment.
    pub refusals_max: u32,
    /// Challenges in flight at one node.
    pub in_flight_per_node: u32,
    /// Challenges in flight in all.
    pub in_flight: u32,
    /// Sub-challenges of one localisation; then the whole shards count as lost.
    pub localise_max: u32,
    /// How often the queue of repairs is looked at.
    pub repair_every: Millis,
    /// Repairs running at once.
    pub repairs: u32,
    /// A lease's length; renewed at half.
    pub lease: Millis,
    /// Before a repair that failed is tried again.
    pub repair_retry: Millis,
    /// An upload's reservations stand this long without a call.
    pub upload_expiry: Millis,
    /// Before a shard that no catalog row knows is deleted from a node.
    pub orphan_grace: Millis,
    /// Between two full lists of a node.
    pub list_every: Millis,
    /// Shards that the auditor reads at once, to judge or compute their commitments.
    pub commits: u32,
    /// How long a shard's commitments may be pending before the auditor reads it itself.
    pub commit_deadline: Millis,
    /// Bytes of shards whose commitments a node may owe; above, it takes no new ones.
    pub commit_debt_max: u64,
    /// A node that failed is asked again, for chores, after a second and then twice as long each time, up to this.
    pub backoff_max: Millis,
    /// No verdict on a node for this long is an alert.
    pub silence_alarm: Millis,
}

impl Profile {
    /// For clusters that people trust.
    pub fn production() -> Self {
        let minutes = |n: u64| Millis::from_secs(60 * n);
        let hours = |n: u64| Millis::from_secs(3600 * n);
        Self {
            name: "production".into(),
            fold_every: hours(24),
            sample_every: hours(1),
            // Six an hour: soon enough to see what a mended disk is worth, and below what keeps a disk from its work.
            asked_every: minutes(10),
            sample_leaves: 64,
            answer_within: Millis::from_secs(60),
            fold_per_gib: Millis::from_secs(30),
            containment: vec![minutes(10), hours(1), hours(6)],
            refusals_max: 3,
            in_flight_per_node: 1,
            in_flight: 64,
            localise_max: 64,
            repair_every: Millis::from_secs(30),
            repairs: 4,
            lease: minutes(10),
            repair_retry: minutes(5),
            upload_expiry: hours(24),
            orphan_grace: hours(48),
            list_every: hours(24),
            commits: 2,
            commit_deadline: hours(24),
            // A node that commits at 20 MB/s works this off within the deadline.
            commit_debt_max: 1 << 40,
            backoff_max: minutes(10),
            silence_alarm: hours(72),
        }
    }

    /// Seconds instead of hours: for a first look and for tests of whole clusters.
    pub fn demo() -> Self {
        Self {
            name: "demo".into(),
            fold_every: Millis::from_secs(3),
            sample_every: Millis::from_secs(2),
            asked_every: Millis::from_secs(1),
            sample_leaves: 16,
            answer_within: Millis::from_secs(4),
            fold_per_gib: Millis::from_secs(30),
            containment: vec![Millis::from_secs(1), Millis::from_secs(2), Millis::from_secs(4)],
            refusals_max: 3,
            in_flight_per_node: 1,
            in_flight: 16,
            localise_max: 64,
            repair_every: Millis(500),
            repairs: 2,
            lease: Millis::from_secs(30),
            repair_retry: Millis::from_secs(2),
            upload_expiry: Millis::from_secs(600),
            orphan_grace: Millis::from_secs(60),
            list_every: Millis::from_secs(10),
            commits: 2,
            commit_deadline: Millis::from_secs(60),
            commit_debt_max: 4 << 30,
            backoff_max: Millis::from_secs(10),
            silence_alarm: Millis::from_secs(30),
        }
    }

    /// How long to leave a node alone that refused: what it says, within reason.
    pub(crate) fn refusal_wait(&self, after: Millis) -> Millis {
        let most = self.containment.first().copied().unwrap_or(self.answer_within).max(REFUSAL_WAIT_MIN);
        after.clamp(REFUSAL_WAIT_MIN, most)
    }
}
