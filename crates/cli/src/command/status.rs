//! `holdfast status`: the cluster on one page.

use clap::Args;
use holdfast_client::{ClusterStatus, CommitmentsView};
use serde_json::{Value, json};

use crate::{connect::ClientArgs, failure::Failure, output, show};

/// Is everything all right? Exits 1 when it is not: a segment misses shards, or there is an alert.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl Status {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let status = self.client.ask(|auditor| async move { Ok(auditor.status().await?) })?;
        match self.client.json {
            true => {
                let mut object = described(&status);
                if let Some(what) = wrong(&status) {
                    object["error"] = json!(what);
                }
                output::object(&object)?;
            }
            false => output::table(&["", ""], &rows(&status))?,
        }
        wrong(&status).map_or(Ok(()), |what| Err(Failure::Told(what)))
    }
}

/// What is not all right.
fn wrong(status: &ClusterStatus) -> Option<String> {
    let catalog = &status.catalog;
    match (catalog.unrecoverable, catalog.at_risk, status.alerts.len()) {
        (0, 0, 0) => None,
        (0, 0, alerts) => Some(format!("{}; docs/runbooks has a page for each", show::count(alerts as u64, "alert"))),
        (0, risk, _) => Some(format!(
            "{} without all shards; `holdfast repair ls` shows what is done",
            show::count(risk, "segment")
        )),
        (lost, ..) => {
            Some(format!("{} with too few good shards to be read; bring nodes back", show::count(lost, "segment")))
        }
    }
}

fn lives(status: &ClusterStatus) -> String {
    let told: Vec<String> =
        status.lives.iter().map(|(life, nodes)| format!("{nodes} {}", format!("{life:?}").to_lowercase())).collect();
    told.join(", ")
}

fn rows(status: &ClusterStatus) -> Vec<Vec<String>> {
    let catalog = &status.catalog;
    let profile = &status.profile;
    let policies: Vec<String> =
        status.policies.iter().map(|policy| format!("{} {}", policy.name, policy.code)).collect();
    let health = match (catalog.segments, catalog.at_risk, catalog.unrecoverable) {
        (0, ..) => "nothing stored yet".into(),
        (_, 0, 0) => {
            format!("{}, all whole, {} shards to spare", show::count(catalog.segments, "segment"), catalog.worst_spare)
        }
        (all, risk, lost) => format!(
            "{risk} of {all} segments miss shards ({lost} cannot be read), worst: {} good, {} to spare",
            catalog.worst_held, catalog.worst_spare
        ),
    };
    let mut rows = vec![
        ("cluster", format!("{}, auditor key {}", status.cluster, status.auditor)),
        ("health", health),
        ("nodes", lives(status)),
        ("objects", format!("{}, {}", catalog.objects, show::bytes(catalog.plain_bytes))),
        ("shards", format!("{} of {} good", catalog.good, catalog.placements)),
        ("commitments", pending(status)),
        ("audits", format!("{} in flight", status.audits_in_flight)),
        ("repairs", format!("{} running", status.repairs_running)),
        ("deletions", format!("{} queued", catalog.deletions)),
        ("policies", policies.join(", ")),
        (
            "profile",
            format!(
                "{}: fold every {}, sample every {}",
                profile.name,
                show::span(profile.fold_every),
                show::span(profile.sample_every)
            ),
        ),
        ("uptime", show::span(status.uptime)),
    ];
    if let Some(it) = &status.commitments {
        rows.insert(6, ("accepted by", provenance(it)));
        if !it.nodes_over_debt.is_empty() {
            let names: Vec<String> = it.nodes_over_debt.iter().map(ToString::to_string).collect();
            let owing = format!("{}: more than {} each, no new shards", names.join(" "), show::bytes(it.debt_max));
            rows.insert(7, ("over debt", owing));
        }
    }
    rows.extend(status.alerts.iter().map(|alert| ("ALERT", alert.clone())));
    rows.into_iter().map(|(key, text)| vec![key.to_owned(), text]).collect()
}

/// What is not proven in full yet, and what that will cost.
fn pending(status: &ClusterStatus) -> String {
    let catalog = &status.catalog;
    let Some(it) = &status.commitments else {
        return format!("{} pending, {}", catalog.pending_commitments, show::bytes(catalog.pending_bytes));
    };
    if it.shards == 0 {
        return "none pending".into();
    }
    let age = it.oldest.map_or_else(String::new, |oldest| format!(", oldest {}", show::span(oldest)));
    format!(
        "{} pending: {}, {}, about {} of one core{age}",
        show::count(it.shards, "shard"),
        show::bytes(it.bytes),
        show::count(it.blobs, "blob"),
        show::span(it.core_time)
    )
}

/// By whose word commitments are believed, and who was found wrong since the auditor started.
fn provenance(it: &CommitmentsView) -> String {
    let mut told = format!("{} client's witness, {} auditor's reading", it.client_witness, it.auditor_read);
    for (number, what) in [
        (it.link_sampled, "sampled links"),
        (it.false_witnesses, "client's witnesses were wrong"),
        (it.false_lists, "node's lists were wrong"),
    ] {
        if number > 0 {
            told.push_str(&format!(", {number} {what}"));
        }
    }
    told
}

fn accepted(it: &CommitmentsView) -> Value {
    json!({
        "pending_shards": it.shards,
        "pending_bytes": it.bytes,
        "backlog_blobs": it.blobs,
        "backlog_core_ms": it.core_time.0,
        "oldest_pending_ms": it.oldest.map(|it| it.0),
        "fresh_witnesses": it.fresh_witnesses,
        "burnt_witnesses": it.burnt_witnesses,
        "accepted": {
            "auditor_read": it.auditor_read,
            "client_witness": it.client_witness,
            "link_sampled": it.link_sampled,
        },
        "nodes_over_debt": it.nodes_over_debt,
        "debt_max": it.debt_max,
        "deadline_ms": it.deadline.0,
        "false_witnesses": it.false_witnesses,
        "false_lists": it.false_lists,
        "shards_read": it.shards_read,
    })
}

fn described(status: &ClusterStatus) -> Value {
    let catalog = &status.catalog;
    let lives: serde_json::Map<String, Value> =
        status.lives.iter().map(|(life, nodes)| (format!("{life:?}").to_lowercase(), json!(nodes))).collect();
    let policies: Vec<Value> = status
        .policies
        .iter()
        .map(|policy| {
            json!({
                "name": policy.name, "data": policy.code.data(), "parity": policy.code.parity(),
                "write_threshold": policy.write_threshold, "repair_threshold": policy.repair_threshold,
            })
        })
        .collect();
    json!({
        "ok": wrong(status).is_none(),
        "cluster": status.cluster,
        "auditor_key": status.auditor.to_string(),
        "uptime_ms": status.uptime.0,
        "profile": {
            "name": status.profile.name,
            "fold_every_ms": status.profile.fold_every.0,
            "sample_every_ms": status.profile.sample_every.0,
            "repair_every_ms": status.profile.repair_every.0,
            "silence_alarm_ms": status.profile.silence_alarm.0,
            "containment_ms": status.profile.containment.iter().map(|it| it.0).collect::<Vec<_>>(),
        },
        "nodes": lives,
        "objects": catalog.objects,
        "bytes": catalog.plain_bytes,
        "segments": catalog.segments,
        "placements": catalog.placements,
        "good": catalog.good,
        "pending_commitments": catalog.pending_commitments,
        "pending_bytes": catalog.pending_bytes,
        "commitments": status.commitments.as_ref().map(accepted),
        "at_risk": catalog.at_risk,
        "unrecoverable": catalog.unrecoverable,
        "worst": { "shards_held": catalog.worst_held, "spare": catalog.worst_spare },
        "deletions": catalog.deletions,
        "uploads": catalog.uploads,
        "epoch": catalog.epoch,
        "audits_in_flight": status.audits_in_flight,
        "repairs_running": status.repairs_running,
        "alerts": status.alerts,
        "policies": policies,
    })
}
