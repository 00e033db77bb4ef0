//! How each step grows: the slope of log time over log (n log n), n being shards. 1 is n log n; what is above
//! [`EXPONENT_MAX`] fails the run.

use std::error::Error;

use crate::round::{Round, STEPS, by_step};

/// n log n, and room for what caches do to a table that outgrows them.
pub(crate) const EXPONENT_MAX: f64 = 1.15;
/// Steps that take less than this at some size are not looked at there: it would be the clock's growth.
const SECONDS_MIN: f64 = 0.002;
/// The largest sizes tell: at small ones what a node costs hides what a shard costs.
const SIZES_FITTED: usize = 3;

/// A step's growth.
pub(crate) struct Growth {
    pub(crate) step: &'static str,
    /// `None`: too quick to be measured at two sizes.
    pub(crate) exponent: Option<f64>,
}

/// The growth of every step.
pub(crate) fn of(rounds: &[Round]) -> Vec<Growth> {
    let exponent = |points: Vec<(usize, f64)>| {
        let slow: Vec<(f64, f64)> = points
            .into_iter()
            .filter(|(_, seconds)| *seconds >= SECONDS_MIN)
            .map(|(shards, seconds)| ((shards as f64 * (shards as f64).log2()).ln(), seconds.ln()))
            .collect();
        slope(&slow[slow.len().saturating_sub(SIZES_FITTED)..])
    };
    by_step(rounds).into_iter().map(|(step, points)| Growth { step, exponent: exponent(points) }).collect()
}

/// Least squares; `None` below two points.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 2 {
        return None;
    }
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / count, sum.1 + point.1 / count));
    let (above, below) = points
        .iter()
        .fold((0.0, 0.0), |sum, point| (sum.0 + (point.0 - x) * (point.1 - y), sum.1 + (point.0 - x) * (point.0 - x)));
    Some(above / below)
}

/// For people.
pub(crate) fn print(rounds: &[Round], growths: &[Growth]) {
    for (at, step) in STEPS.iter().enumerate() {
        let times: Vec<String> =
            rounds.iter().map(|round| format!("{}: {:.4} s", round.shards, round.seconds[at])).collect();
        println!("{step}\n    {}", times.join(", "));
    }
    for growth in growths {
        let exponent =
            growth.exponent.map_or("too quick to tell".to_owned(), |exponent| format!("(n log n)^{exponent:.2}"));
        println!("{}: {exponent}", growth.step);
    }
}

/// No step worse than n log n.
pub(crate) fn judge(growths: &[Growth]) -> Result<(), Box<dyn Error>> {
    let steep: Vec<String> = growths
        .iter()
        .filter_map(|growth| Some((growth.step, growth.exponent.filter(|exponent| *exponent > EXPONENT_MAX)?)))
        .map(|(step, exponent)| format!("{step} grows as (n log n)^{exponent:.2}"))
        .collect();
    if steep.is_empty() { Ok(()) } else { Err(format!("expected n log n at most: {}", steep.join("; ")).into()) }
}
