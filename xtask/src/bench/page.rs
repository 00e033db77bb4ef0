//! `docs/performance.md`: what was measured, beside whom, on what.

use std::fmt::Write;

use super::{Report, contests::Contests, reading};

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut out = String::new();
    let (changed, sizes) = (
        if report.changed { ", with changes that are not in it" } else { "" },
        if report.quick { "`--quick`: smaller sizes and fewer rounds than a full run" } else { "a full run" },
    );
    let _ = write!(
        out,
        "# Performance\n\n\
         Written by `cargo xtask bench-report`; do not edit. What each row is, and why the peers are built apart: [adr/0013](adr/0013-peers-in-builds-of-their-own.md).\n\n\
         | | |\n|---|---|\n\
         | commit | `{}`{changed} |\n\
         | machine | {} |\n\
         | paths chosen at run time | proofs `{}`, coding `{}`; the goals below are those for these |\n\
         | run | {sizes}; {:.0} s once built |\n\n",
        report.commit, report.machine, report.contests.proofs_path, report.contests.coding_path, report.seconds,
    );
    comparisons(&mut out, &report.contests);
    reading_of(&mut out, report);
    end_to_end(&mut out, report);
    round(&mut out, report);
    out
}

fn comparisons(out: &mut String, contests: &Contests) {
    out.push_str(
        "## Beside the peers\n\n\
         One thread pinned to one processor, processor time, ours and the peer's in turn, the least of all rounds. Before the first round both\n\
         sides were shown to come to the same bytes. A ratio is throughput, ours ÷ the peer's: more is better.\n\n\
         | work | ours | peer | | ratio | goal | rounds |\n|---|--:|--:|---|--:|--:|--:|\n",
    );
    for row in &contests.rows {
        let found = row.ratio().or_else(|| row.rate().ok());
        let goal = match contests.goal(row) {
            Some(goal) if found.is_some_and(|found| found >= goal) => format!("{goal:.2}"),
            Some(goal) => format!("{goal:.2}, missed"),
            None => "–".into(),
        };
        let (peer, name, ratio) = match (row.peer, &row.peer_name) {
            (Some(peer), Some(name)) => (time(peer), name.as_str(), format!("{:.2}", peer / row.ours)),
            _ => ("–".into(), "–", row.rate().map_or_else(|_| "–".into(), |rate| format!("{rate:.2} GB/s"))),
        };
        let rate = row.rate().map_or_else(|_| String::new(), |rate| format!(", {}", per_second(rate)));
        let _ = writeln!(
            out,
            "| {} | {}{rate} | {peer} | {name} | **{ratio}** | {goal} | {} |",
            row.work,
            time(row.ours),
            row.rounds
        );
    }
    out.push_str("\n![ratios](performance-ratios.svg)\n\n");
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.2} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

fn per_second(gb: f64) -> String {
    if gb < 0.1 { format!("{:.1} MB/s", gb * 1e3) } else { format!("{gb:.2} GB/s") }
}

fn reading_of(out: &mut String, report: &Report) {
    let found = &report.reading;
    let _ = write!(
        out,
        "## Reading\n\n\
         `benches/reading`: a full fold of a volume of {} MiB by the code that answers challenges, beside two ways to do\n\
         no more than read the same files, in turn, all with a cold cache. Five threads read and check, one folds; the rate is of the payload.\n\n\
         | what | found | goal |\n|---|--:|--:|\n\
         | plain sequential reads, the disk told of 24 MiB ahead | {:.0} MB/s | – |\n\
         | five direct reads at a time, into huge pages | {:.0} MB/s | – |\n\
         | full fold | {:.0} MB/s, {:.2} of the faster | {:.1} |\n\
         | memory of the pass | {:.0} MB | – |\n\n",
        found.bytes >> 20,
        found.plain_mb_per_s,
        found.direct_mb_per_s,
        found.fold_mb_per_s,
        found.ratio(),
        reading::GOAL,
        found.memory_mb,
    );
}

fn end_to_end(out: &mut String, report: &Report) {
    let found = &report.cluster;
    let mib = |bytes: u64| bytes >> 20;
    let _ = write!(
        out,
        "## End to end\n\n\
         The shipped binary, one auditor and 16 nodes as processes of this machine, 8+4, mutual TLS over loopback, an fsync behind every\n\
         acknowledgement, all processors shared by client, auditor and nodes. MB are 10⁶ bytes of the user's.\n\n\
         | what | found | goal |\n|---|--:|--:|\n\
         | put of {} MiB, incompressible | {:.0} MB/s | 300 |\n\
         | get of it, compared byte for byte | {:.0} MB/s | 500 |\n\
         | most memory of the client, put and get | {:.0} and {:.0} MB | 256 MiB |\n\
         | {} files of {} bytes, each acknowledged durable on its own | {:.0}/s | 1000 |\n\
         | from the end of a put of {} MiB until every shard is committed to | {:.1} s | – |\n\
         | processor time of all daemons for it | {:.1} core-seconds | – |\n\n",
        mib(found.large_bytes),
        found.put_mb_per_s,
        found.get_mb_per_s,
        found.put_rss_mb,
        found.get_rss_mb,
        found.small_files,
        found.small_len,
        found.small_puts_per_s,
        mib(found.backlog_bytes),
        found.committed_after,
        found.backlog_core_seconds,
    );
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let _ = write!(
        out,
        "Where that time goes, in processor seconds a GB of the user's, outside and inside of the kernel. The last column is what a put or get\n\
         would come to if all {processors} processors did nothing else and never waited.\n\n\
         | | client | kernel for it | nodes | kernel for them | auditor | together | busy | bound |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (what, cost) in [("put", &found.put_cost), ("get", &found.get_cost)] {
        let gb = found.large_bytes as f64 / 1e9;
        let (client, nodes) = (cost.client, cost.nodes);
        let _ = writeln!(
            out,
            "| {what} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | **{:.2}** | {:.0} % | {:.0} MB/s |",
            client.user / gb,
            client.kernel / gb,
            nodes.user / gb,
            nodes.kernel / gb,
            (cost.auditor.user + cost.auditor.kernel) / gb,
            cost.core_seconds() / gb,
            100.0 * cost.core_seconds() / cost.seconds / processors as f64,
            processors as f64 * found.large_bytes as f64 / 1e6 / cost.core_seconds(),
        );
    }
    out.push('\n');
}

fn round(out: &mut String, report: &Report) {
    let found = &report.rounds;
    out.push_str(
        "## A round of audits\n\n\
         `benches/audit_round`: every node of a cluster is asked for a fold over all its shards and for a sample of their leaves. The deciding\n\
         machines, SQLite on a file, verification, the nodes' answers and the protobuf are the real ones; a shard is one short blob. Processor\n\
         seconds, everything on one thread.\n\n| ",
    );
    let cells = |out: &mut String, first: &str, rest: Vec<String>| {
        let _ = writeln!(out, "{first} | {} |", rest.join(" | "));
    };
    cells(
        out,
        "",
        found.rounds.iter().map(|round| format!("{} × {}", round.nodes, round.shards / round.nodes.max(1))).collect(),
    );
    out.push_str("|---|");
    out.push_str(&"--:|".repeat(found.rounds.len()));
    out.push('\n');
    let steps = found.rounds.first().map_or(0, |round| round.steps.len());
    for step in 0..steps {
        let name = &found.rounds[0].steps[step].0;
        let grows = found.growth.iter().find(|(of, _)| of == name).and_then(|(_, exponent)| *exponent);
        let grows = grows.map_or_else(String::new, |exponent| format!(" · (n log n)^{exponent:.2}"));
        cells(
            out,
            &format!("| {name}{grows}"),
            found.rounds.iter().map(|round| format!("{:.4}", round.steps[step].1)).collect(),
        );
    }
    let mut figure = |name: &str, of: &dyn Fn(&super::rounds::Round) -> String| {
        cells(out, &format!("| {name}"), found.rounds.iter().map(of).collect());
    };
    figure("**auditor, all in all**", &|round| format!("**{:.3}**", round.auditor_seconds));
    figure("the same folds verified in batches of 256", &|round| format!("{:.4}", round.batched_seconds));
    figure("nodes, all of them (openings above all)", &|round| format!("{:.2}", round.nodes_seconds));
    figure("bytes on the wire, challenges and answers", &|round| round.wire_bytes.to_string());
    figure("verdicts", &|round| round.verdicts.to_string());
    let _ = write!(
        out,
        "\nA step that grows faster than (n log n)^{:.2} over the largest sizes fails the run.\n\n![growth](performance-growth.svg)\n",
        found.exponent_max
    );
}
