//! What the auditor did since its start, counted where it is told, and the page on which an operator's scraper reads it
//! beside the catalog's last [`Sample`](crate::sample::Sample) (docs/metrics.md). A scrape reads memory only.

use std::{
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use holdfast_protocol::{
    effect::Notice,
    model::{Lane, NodeLife, Outcome, RepairState},
};
use holdfast_transport::scrape::{Counted, Page};
use holdfast_types::Millis;

use crate::{clock, sample::Sample, shared::Shared};

/// Spares told one by one, from the worst on; better ones together. A policy has at most m + k + 1 of them.
const SPARES_MAX: usize = 16;

const LANES: [&str; 3] = ["fold", "sample", "retrieve"];
const OUTCOMES: [&str; 7] = ["held", "corrupt", "missing", "late", "unreachable", "refused", "inconclusive"];
const LIVES: [(NodeLife, &str); 7] = [
    (NodeLife::Joining, "joining"),
    (NodeLife::Active, "active"),
    (NodeLife::Contained, "contained"),
    (NodeLife::Suspended, "suspended"),
    (NodeLife::Evicted, "evicted"),
    (NodeLife::Draining, "draining"),
    (NodeLife::Left, "left"),
];

fn lane(lane: Lane) -> usize {
    match lane {
        Lane::Fold => 0,
        Lane::Sample => 1,
        Lane::Retrieve => 2,
    }
}

fn outcome(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Held => 0,
        Outcome::Corrupt => 1,
        Outcome::Missing => 2,
        Outcome::Late => 3,
        Outcome::Unreachable => 4,
        Outcome::Refused => 5,
        Outcome::Inconclusive(_) => 6,
    }
}

/// Counters since the start, of what was published.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    verdicts: [[AtomicU64; OUTCOMES.len()]; LANES.len()],
    not_held: [AtomicU64; OUTCOMES.len()],
    repairs_done: AtomicU64,
    repairs_failed: AtomicU64,
    repaired_bytes: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counts {
    /// Something is durable and told.
    pub(crate) fn note(&self, notice: &Notice) {
        match notice {
            Notice::Verdict(verdict) => {
                add(&self.verdicts[lane(verdict.lane)][outcome(verdict.outcome)], 1);
                verdict.exceptions.iter().for_each(|of| add(&self.not_held[outcome(of.outcome)], 1));
            }
            Notice::Repair(repair) => match repair.state {
                RepairState::Done => {
                    add(&self.repairs_done, 1);
                    add(&self.repaired_bytes, repair.bytes);
                }
                RepairState::Failed => add(&self.repairs_failed, 1),
                RepairState::Running => {}
            },
            // Counted by the core, or states of the catalog.
            Notice::NodeLife { .. }
            | Notice::Stuck { .. }
            | Notice::Trouble { .. }
            | Notice::Silence { .. }
            | Notice::Commitment { .. }
            | Notice::FalseList { .. }
            | Notice::FalseWitness { .. } => {}
        }
    }

    fn tell(&self, page: &mut Page<'_>) -> fmt::Result {
        let verdicts = LANES.iter().zip(&self.verdicts).flat_map(|(lane, counts)| {
            OUTCOMES
                .iter()
                .zip(counts)
                .map(move |(outcome, count)| ([("lane", *lane), ("outcome", *outcome)], read(count)))
        });
        page.counters("holdfast_auditor_verdicts_total", "Verdicts by lane and outcome", verdicts)?;
        let not_held =
            OUTCOMES.iter().zip(&self.not_held).map(|(outcome, count)| ([("outcome", *outcome)], read(count)));
        page.counters("holdfast_auditor_shards_not_held_total", "Shards that verdicts name as not held", not_held)?;
        let repairs =
            [([("state", "done")], read(&self.repairs_done)), ([("state", "failed")], read(&self.repairs_failed))];
        page.counters("holdfast_auditor_repairs_total", "Repairs of shards by how they ended", repairs)?;
        page.counter(
            "holdfast_auditor_repaired_bytes_total",
            "Bytes of shards written by repairs",
            read(&self.repaired_bytes),
        )
    }
}

/// The auditor's page.
pub(crate) struct AuditorPage(pub(crate) Arc<Shared>);

impl Counted for AuditorPage {
    fn tell(&self, page: &mut Page<'_>) -> fmt::Result {
        let shared = &self.0;
        let info = ([("version", env!("CARGO_PKG_VERSION")), ("kzg", holdfast_kzg::CpuPath::detected().name())], 1);
        page.gauges("holdfast_build_info", "Version, and the code path that KZG runs on here; always 1", [info])?;
        shared.counts.tell(page)?;
        let progress = *shared.commit_progress.read().unwrap_or_else(PoisonError::into_inner);
        let counters = [
            (
                "holdfast_auditor_lists_witnessed_total",
                "Commitment lists accepted on a client's witness",
                progress.witnessed,
            ),
            (
                "holdfast_auditor_shards_read_total",
                "Shards read whole to judge or compute commitments",
                progress.shards_read,
            ),
            ("holdfast_auditor_false_lists_total", "Lists that were not those of their shards", progress.false_lists),
            (
                "holdfast_auditor_false_witnesses_total",
                "Witnesses of clients that were false",
                progress.false_witnesses,
            ),
        ];
        counters.iter().try_for_each(|(name, help, value)| page.counter(name, help, *value))?;
        let alerts = shared.alerts.read().unwrap_or_else(PoisonError::into_inner).count();
        let debtors = shared.over_debt.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        let gauges = [
            ("holdfast_auditor_alerts", "Alerts that `holdfast status` shows", alerts),
            (
                "holdfast_auditor_audits_in_flight",
                "Audits under way",
                shared.audits_in_flight.load(Ordering::Relaxed).into(),
            ),
            (
                "holdfast_auditor_repairs_running",
                "Repairs under way",
                shared.repairs_running.load(Ordering::Relaxed).into(),
            ),
            ("holdfast_auditor_nodes_over_debt", "Nodes that owe too many commitments for new shards", debtors),
        ];
        gauges.iter().try_for_each(|(name, help, value)| page.gauge(name, help, *value))?;
        match &*shared.sample.read().unwrap_or_else(PoisonError::into_inner) {
            Some(sample) => tell_catalog(sample, page),
            // The first walk is not over.
            None => Ok(()),
        }
    }
}

fn tell_catalog(sample: &Sample, page: &mut Page<'_>) -> fmt::Result {
    let (summary, commitments, now) = (&sample.summary, &sample.commitments, clock::wall());
    let age = |since| clock::duration(now.since(since));
    page.gauge(
        "holdfast_auditor_sample_age_seconds",
        "Since the catalog was counted for the numbers below",
        sample.at.elapsed(),
    )?;
    page.gauge("holdfast_auditor_sample_walk_seconds", "How long that took", sample.took)?;
    let gauges = [
        ("holdfast_auditor_objects", "Objects of all owners", summary.objects),
        ("holdfast_auditor_plain_bytes", "Their plain bytes", summary.plain_bytes),
        ("holdfast_auditor_shards", "Shards placed", summary.placements),
        ("holdfast_auditor_shards_good", "Of them in good standing", summary.good),
        (
            "holdfast_auditor_segments_at_risk",
            "Segments with a shard lost, damaged or absent: the queue of repairs",
            summary.at_risk,
        ),
        (
            "holdfast_auditor_segments_unrecoverable",
            "Segments with fewer good shards than data shards",
            summary.unrecoverable,
        ),
        ("holdfast_auditor_deletions", "Deletions that nodes have not confirmed", summary.deletions),
        ("holdfast_auditor_owed_records", "Records that nodes have not taken", summary.owed_records),
        ("holdfast_auditor_uploads", "Uploads begun and not committed", summary.uploads),
        (
            "holdfast_auditor_nodes_overdue",
            "Nodes without a verdict for longer than the profile's silence alarm",
            sample.overdue,
        ),
        ("holdfast_auditor_pending_shards", "Shards whose commitments are pending", commitments.pending),
        ("holdfast_auditor_pending_bytes", "Their bytes: what the nodes owe commitments of", commitments.bytes),
        ("holdfast_auditor_pending_blobs", "Their blobs", commitments.blobs),
    ];
    gauges.iter().try_for_each(|(name, help, value)| page.gauge(name, help, *value))?;
    let accepted = [
        ([("provenance", "auditor-read")], commitments.auditor_read),
        ([("provenance", "client-witness")], commitments.client_witness),
        ([("provenance", "link-sampled")], commitments.link_sampled),
    ];
    page.gauges(
        "holdfast_auditor_accepted_shards",
        "Shards with accepted commitments, by whose word they stand on",
        accepted,
    )?;
    page.gauges(
        "holdfast_auditor_segments",
        "Segments by good shards above k; negative is lost for now",
        spares(&sample.spares),
    )?;
    let lives = LIVES.iter().map(|(life, name)| ([("state", *name)], sample.lives.get(life).copied().unwrap_or(0)));
    page.gauges("holdfast_auditor_nodes", "Nodes by where they stand in their life", lives)?;
    let pending: Duration = commitments.oldest.map_or(Duration::ZERO, age);
    page.gauge(
        "holdfast_auditor_oldest_pending_seconds",
        "Since the oldest shard with pending commitments was placed, or they were voided",
        pending,
    )?;
    let verdict = sample.oldest_verdict.map_or(clock::duration(Millis(0)), age);
    page.gauge(
        "holdfast_auditor_oldest_verdict_seconds",
        "Since the last verdict on the node that waits longest",
        verdict,
    )
}

/// The worst one by one, the rest as `more`.
fn spares(all: &[(i32, u64)]) -> Vec<([(&'static str, String); 1], u64)> {
    let (worst, better) = all.split_at(all.len().min(SPARES_MAX));
    let mut told: Vec<_> = worst.iter().map(|(spare, count)| ([("spare", spare.to_string())], *count)).collect();
    if !better.is_empty() {
        told.push(([("spare", "more".to_owned())], better.iter().map(|(_, count)| count).sum()));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_spares_there_are_the_page_stays_short_and_loses_no_segment() {
        let all: Vec<(i32, u64)> = (-8..43).map(|spare| (spare, 2)).collect();
        let told = spares(&all);
        assert_eq!(told.len(), SPARES_MAX + 1);
        assert_eq!((told[0].0[0].1.as_str(), told[SPARES_MAX].0[0].1.as_str()), ("-8", "more"));
        assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>(), 2 * 51);
        assert_eq!(spares(&all[..3]).len(), 3);
    }
}
