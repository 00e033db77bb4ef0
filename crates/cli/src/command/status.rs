//! `holdfast status`: the cluster on one page.

use clap::Args;
use holdfast_client::ClusterStatus;
use serde_json::{Value, json};

use crate::{connect::ClientArgs, failure::Failure, output, show};

/// Is everything all right? Exits 1 when a segment cannot be read any more.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl Status {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let status = self.client.ask(|auditor| async move { Ok(auditor.status().await?) })?;
        match self.client.json {
            true => output::object(&described(&status))?,
            false => output::table(&["", ""], &rows(&status))?,
        }
        match status.catalog.unrecoverable {
            0 => Ok(()),
            lost => {
                Err(Failure::Told(format!("{lost} segments have too few good shards to be read; bring nodes back")))
            }
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
        ("commitments", format!("{} pending, {}", catalog.pending_commitments, show::bytes(catalog.pending_bytes))),
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
    rows.extend(status.alerts.iter().map(|alert| ("ALERT", alert.clone())));
    rows.into_iter().map(|(key, text)| vec![key.to_owned(), text]).collect()
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
        "ok": catalog.at_risk == 0 && status.alerts.is_empty(),
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
