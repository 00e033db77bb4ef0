//! The end of the demo for people: sizes, times, throughput, memory.

use super::{report::Report, story::Story};
use crate::{output, show};

/// Times that the JSON object has no place for, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// Until every node had registered.
    pub(crate) up: f64,
    /// From the acknowledged put to the last accepted commitment.
    pub(crate) commit: f64,
    /// From the faults to everything whole.
    pub(crate) heal: f64,
    /// Everything.
    pub(crate) total: f64,
    /// Bytes of shards that the nodes took.
    pub(crate) stored_bytes: u64,
}

/// Prints it.
pub(crate) fn print(story: &Story, report: &Report, times: &Times) {
    let share = if report.bytes > 0 { times.stored_bytes as f64 / report.bytes as f64 } else { 0.0 };
    let rate = |rate: super::report::Rate| format!("{:.1} s, {:.1} MB/s", rate.seconds, rate.mb_per_s);
    let slowest = |kind: &[f64]| kind.iter().copied().fold(0.0, f64::max);
    let caught = slowest(&report.verdicts.iter().map(|it| it.after_seconds).collect::<Vec<_>>());
    let repaired = slowest(&report.repairs.iter().map(|it| it.seconds).collect::<Vec<_>>());
    let worst = report.after.worst;
    let rows = [
        (
            "stored",
            format!("{} as {} of shards ({share:.2} ×)", show::bytes(report.bytes), show::bytes(times.stored_bytes)),
        ),
        ("cluster up", format!("{:.1} s, {} nodes", times.up, report.nodes)),
        ("put", rate(report.put)),
        ("committed", format!("{:.1} s after the put", times.commit)),
        ("faults", report.faults.len().to_string()),
        ("verdicts", format!("{}, the last {caught:.1} s after its fault", report.verdicts.len())),
        ("repairs", format!("{}, the longest {repaired:.1} s", report.repairs.len())),
        ("whole again", format!("{:.1} s after the faults", times.heal)),
        ("get", rate(report.get)),
        ("client memory", format!("{:.1} MB at most", report.peak_rss_mb)),
        ("all processes", format!("{:.1} MB at most, summed", report.cluster_rss_mb)),
        (
            "now",
            format!(
                "{}, the worst with {} shards, {} to spare",
                show::count(report.after.segments, "segment"),
                worst.shards_held,
                worst.spare
            ),
        ),
        ("identical", if report.identical { "yes, byte for byte".into() } else { "NO".to_owned() }),
        ("all in all", format!("{:.1} s", times.total)),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(key, text)| vec![key.to_owned(), text]).collect();
    story.plain("");
    output::lay_out(&["", ""], &rows).iter().for_each(|line| story.plain(line));
}
