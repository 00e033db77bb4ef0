//! Two plots, as SVG: the ratios as bars with their goals, and the growth of a round on two logarithmic axes.

use std::fmt::Write;

use super::{
    contests::{Contests, Row},
    rounds::Rounds,
};

const WIDTH: f64 = 860.0;
const INK: &str = "#1b2733";
const FAINT: &str = "#c9d3dc";
/// One for each line, told apart by colour-blind readers too.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a6d3b"];

fn open(height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"{INK}\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    )
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, rest: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ =
        writeln!(out, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" {rest}/>");
}

/// As much of it as fits beside a bar.
fn label(work: &str) -> String {
    const MAX: usize = 58;
    if work.chars().count() <= MAX { work.into() } else { work.chars().take(MAX - 1).chain(['…']).collect() }
}

/// Ours ÷ the peer's: a bar a row, the peer as a line at 1, the goal with the instructions that are there as a mark.
pub(super) fn ratios(contests: &Contests) -> String {
    const LEFT: f64 = 400.0;
    const STEP: f64 = 30.0;
    let rows: Vec<(&Row, f64)> = contests.rows.iter().filter_map(|row| Some((row, row.ratio()?))).collect();
    let goal = |row: &Row| contests.goal(row).unwrap_or(1.0);
    let most = rows.iter().map(|(row, ratio)| ratio.max(goal(row))).fold(1.0, f64::max) * 1.1;
    let x = |ratio: f64| LEFT + ratio / most * (WIDTH - LEFT - 60.0);
    let bottom = 50.0 + STEP * rows.len() as f64;
    let mut out = open(bottom + 40.0);
    text(
        &mut out,
        20.0,
        25.0,
        "start",
        "Throughput ÷ the peer's, same run, one thread. Line: the peer; mark: the goal on this processor",
    );
    for (at, (row, ratio)) in rows.iter().enumerate() {
        let y = 45.0 + STEP * at as f64;
        text(&mut out, LEFT - 8.0, y + 14.0, "end", &label(&row.work));
        let width = x(*ratio) - LEFT;
        let colour = COLOURS[0];
        let _ =
            writeln!(out, "<rect x=\"{LEFT:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"20\" fill=\"{colour}\"/>");
        text(&mut out, x(*ratio) + 5.0, y + 14.0, "start", &format!("{ratio:.2}"));
        let mark = x(goal(row));
        line(&mut out, (mark, y - 3.0), (mark, y + 23.0), COLOURS[1], "stroke-width=\"2\"");
    }
    line(&mut out, (x(1.0), 40.0), (x(1.0), bottom), INK, "stroke-dasharray=\"4 3\"");
    text(&mut out, x(1.0), bottom + 15.0, "middle", "1");
    out.push_str("</svg>\n");
    out
}

/// Processor seconds of each step over shards, with n log n beside them.
pub(super) fn growth(found: &Rounds) -> String {
    const LEFT: f64 = 80.0;
    const TOP: f64 = 40.0;
    const BOTTOM: f64 = 420.0;
    const RIGHT: f64 = 520.0;
    let mut out = open(470.0);
    let points = |at: usize| -> Vec<(f64, f64)> {
        let seconds = |round: &super::rounds::Round| Some((round.shards as f64, round.steps.get(at)?.1));
        found.rounds.iter().filter_map(seconds).filter(|(_, seconds)| *seconds > 0.0).collect()
    };
    let steps: Vec<&str> =
        found.rounds.first().into_iter().flat_map(|round| &round.steps).map(|(step, _)| step.as_str()).collect();
    let all: Vec<(f64, f64)> = (0..steps.len()).flat_map(points).collect();
    let decade = |of: fn(&(f64, f64)) -> f64| {
        let logs: Vec<f64> = all.iter().map(|point| of(point).log10()).collect();
        (logs.iter().copied().fold(f64::MAX, f64::min).floor(), logs.iter().copied().fold(f64::MIN, f64::max).ceil())
    };
    if all.is_empty() {
        out.push_str("</svg>\n");
        return out;
    }
    let ((left, right), (low, high)) = (decade(|point| point.0), decade(|point| point.1));
    let x = |shards: f64| LEFT + (shards.log10() - left) / (right - left).max(1.0) * (RIGHT - LEFT);
    let y = |seconds: f64| BOTTOM - (seconds.log10() - low) / (high - low).max(1.0) * (BOTTOM - TOP);
    text(&mut out, 20.0, 25.0, "start", "A round of audits: processor seconds of the auditor over shards");
    for power in left as i32..=right as i32 {
        let at = x(10f64.powi(power));
        line(&mut out, (at, TOP), (at, BOTTOM), FAINT, "");
        text(&mut out, at, BOTTOM + 18.0, "middle", &format!("10^{power}"));
    }
    for power in low as i32..=high as i32 {
        let at = y(10f64.powi(power));
        line(&mut out, (LEFT, at), (RIGHT, at), FAINT, "");
        text(&mut out, LEFT - 6.0, at + 4.0, "end", &format!("10^{power} s"));
    }
    for (at, step) in steps.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let path: Vec<String> =
            points(at).iter().map(|(shards, seconds)| format!("{:.1},{:.1}", x(*shards), y(*seconds))).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        let row = TOP + 20.0 + 24.0 * at as f64;
        line(&mut out, (RIGHT + 15.0, row - 4.0), (RIGHT + 35.0, row - 4.0), colour, "stroke-width=\"3\"");
        // The rest is on the page.
        text(&mut out, RIGHT + 42.0, row, "start", step.split([':', ',']).next().unwrap_or(step));
    }
    let n_log_n = |shards: f64| shards * shards.log2();
    let (first, last) = (10f64.powf(left), 10f64.powf(right));
    // Through the middle of the picture's bottom: only its slope is meant.
    let scale = 10f64.powf(high) / n_log_n(last);
    let from = (x(first), y((n_log_n(first) * scale).max(10f64.powf(low))));
    line(&mut out, from, (x(last), y(n_log_n(last) * scale)), INK, "stroke-dasharray=\"5 4\"");
    let row = TOP + 20.0 + 24.0 * steps.len() as f64;
    line(&mut out, (RIGHT + 15.0, row - 4.0), (RIGHT + 35.0, row - 4.0), INK, "stroke-dasharray=\"5 4\"");
    text(&mut out, RIGHT + 42.0, row, "start", "the slope of n log n");
    text(&mut out, (LEFT + RIGHT) / 2.0, BOTTOM + 40.0, "middle", "shards");
    out.push_str("</svg>\n");
    out
}
