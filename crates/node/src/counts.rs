//! What a node did since its start, counted where it is done, and the page on which an operator's scraper reads it
//! beside what the node holds (docs/metrics.md).
//!
//! A scrape reads counters and what the volume's index and the committer keep in memory; it neither reads the disk nor
//! goes through the shards, so that its cost does not grow with what is stored.

use std::{
    fmt,
    sync::{
        Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use holdfast_protocol::{message::AnswerBody, model::Lane};
use holdfast_transport::scrape::{Counted, Page};

use crate::state::State;

/// How a challenge was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// With a proof of all that was asked.
    Proof,
    /// With a proof that leaves out what is damaged or missing, and names it.
    Damaged,
    /// The set is another here.
    SetMismatch,
    /// Too busy.
    Refused,
    /// Not at all: the caller went away, the time was over, or the volume failed.
    Failed,
}

impl Answered {
    const ALL: [Self; 5] = [Self::Proof, Self::Damaged, Self::SetMismatch, Self::Refused, Self::Failed];

    pub(crate) fn of(body: &AnswerBody) -> Self {
        match body {
            AnswerBody::Fold { damaged, missing, .. } | AnswerBody::Leaves { damaged, missing, .. } => {
                if damaged.is_empty() && missing.is_empty() { Self::Proof } else { Self::Damaged }
            }
            AnswerBody::SetMismatch { .. } => Self::SetMismatch,
            AnswerBody::Refused { .. } => Self::Refused,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Proof => "proof",
            Self::Damaged => "damaged",
            Self::SetMismatch => "set_mismatch",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Lanes that a node can tell apart: a retrieval looks like any other read.
const LANES: [(Lane, &str); 2] = [(Lane::Fold, "fold"), (Lane::Sample, "sample")];

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    puts: AtomicU64,
    put_bytes: AtomicU64,
    gets: AtomicU64,
    get_bytes: AtomicU64,
    committed_shards: AtomicU64,
    committed_blobs: AtomicU64,
    commit_micros: AtomicU64,
    challenges: [[AtomicU64; Answered::ALL.len()]; LANES.len()],
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counts {
    /// A shard is durable and receipted.
    pub(crate) fn put(&self, bytes: u64) {
        add(&self.puts, 1);
        add(&self.put_bytes, bytes);
    }

    /// A read began.
    pub(crate) fn get(&self) {
        add(&self.gets, 1);
    }

    /// So many good bytes of one were handed on.
    pub(crate) fn got(&self, bytes: u64) {
        add(&self.get_bytes, bytes);
    }

    /// A blob was committed to, in so much time of the processor.
    pub(crate) fn committed_blob(&self, worked: Duration) {
        add(&self.committed_blobs, 1);
        add(&self.commit_micros, u64::try_from(worked.as_micros()).unwrap_or(u64::MAX));
    }

    /// A shard's list is durable.
    pub(crate) fn committed_shard(&self) {
        add(&self.committed_shards, 1);
    }

    /// A challenge was answered.
    pub(crate) fn challenge(&self, lane: Lane, answered: Answered) {
        let lane = LANES.iter().position(|(known, _)| *known == lane);
        let answered = Answered::ALL.iter().position(|known| *known == answered);
        if let (Some(lane), Some(answered)) = (lane, answered) {
            add(&self.challenges[lane][answered], 1);
        }
    }

    fn tell(&self, page: &mut Page<'_>) -> fmt::Result {
        let counters = [
            ("holdfast_node_puts_total", "Shards received, made durable and receipted", &self.puts),
            ("holdfast_node_put_bytes_total", "Their bytes", &self.put_bytes),
            ("holdfast_node_gets_total", "Reads of shards begun", &self.gets),
            ("holdfast_node_get_bytes_total", "Good bytes that reads handed on", &self.get_bytes),
            ("holdfast_node_committed_shards_total", "Shards committed to in the background", &self.committed_shards),
            ("holdfast_node_committed_blobs_total", "Blobs committed to in the background", &self.committed_blobs),
        ];
        counters.iter().try_for_each(|(name, help, counter)| page.counter(name, help, read(counter)))?;
        let spent = Duration::from_micros(read(&self.commit_micros));
        page.counter("holdfast_node_commit_cpu_seconds_total", "Processor time of committing to blobs", spent)?;
        let challenges = LANES.iter().zip(&self.challenges).flat_map(|((_, lane), counts)| {
            let outcomes = Answered::ALL.iter().zip(counts);
            outcomes.map(move |(answered, count)| ([("lane", *lane), ("outcome", answered.name())], read(count)))
        });
        page.counters("holdfast_node_challenges_total", "Challenges by lane and by how they were answered", challenges)
    }
}

/// A node's page. It does not keep the node: the volume closes with the last who could give it orders.
pub(crate) struct NodePage(pub(crate) Weak<State>);

impl Counted for NodePage {
    fn tell(&self, page: &mut Page<'_>) -> fmt::Result {
        let Some(state) = self.0.upgrade() else { return Ok(()) };
        let info = ([("version", env!("CARGO_PKG_VERSION")), ("kzg", holdfast_kzg::CpuPath::detected().name())], 1);
        page.gauges("holdfast_build_info", "Version, and the code path that KZG runs on here; always 1", [info])?;
        let tally = state.backlog.tally();
        let core_time = state.desk.core_time(tally.blobs);
        let gauges = [
            ("holdfast_node_capacity_bytes", "Bytes offered", state.capacity),
            ("holdfast_node_used_bytes", "Bytes of shards and of what belongs to them", state.used()),
            ("holdfast_node_shards", "Shards held", tally.shards + tally.done),
            ("holdfast_node_backlog_shards", "Shards held without a commitment list", tally.shards),
            ("holdfast_node_backlog_bytes", "Their bytes", tally.bytes),
            ("holdfast_node_backlog_blobs", "Their blobs", tally.blobs),
            (
                "holdfast_node_damaged_shards",
                "Shards that a read found damaged and nobody replaced",
                state.damage.len(),
            ),
            (
                "holdfast_node_registered",
                "1 once an auditor is known, 0 before",
                u64::from(state.auditor.get().is_some()),
            ),
        ];
        gauges.iter().try_for_each(|(name, help, value)| page.gauge(name, help, *value))?;
        page.gauge("holdfast_node_backlog_cpu_seconds", "Processor time that the backlog is going to take", core_time)?;
        state.counts.tell(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_and_answer_has_a_counter_of_its_own() {
        let counts = Counts::default();
        for (lane, _) in LANES {
            for answered in Answered::ALL {
                counts.challenge(lane, answered);
            }
        }
        counts.challenge(Lane::Fold, Answered::Damaged);
        let all: Vec<u64> = counts.challenges.iter().flatten().map(read).collect();
        assert_eq!(all.iter().sum::<u64>(), all.len() as u64 + 1);
        assert_eq!(read(&counts.challenges[0][1]), 2);
    }
}
