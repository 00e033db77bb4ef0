//! What every bucket method shares: points sorted by digit, and Σ (b + 1) · bucket(b).

use crate::{
    blst::{Affine, Point},
    sums::{Adder, Summand, Sums},
};

/// A counting sort of (group, summand): the summands of group 0, then of group 1, …, and where each group ends.
pub(crate) fn sort_into_groups(groups: usize, terms: &[(u32, Summand)]) -> (Vec<Summand>, Vec<u32>) {
    let mut ends = vec![0u32; groups];
    for (group, _) in terms {
        ends[*group as usize] += 1;
    }
    let mut total = 0;
    let mut next: Vec<u32> = Vec::with_capacity(groups);
    for end in &mut ends {
        next.push(total);
        total += *end;
        *end = total;
    }
    let mut summands = vec![Summand::entry(0, false); terms.len()];
    for (group, summand) in terms {
        let place = &mut next[*group as usize];
        summands[*place as usize] = *summand;
        *place += 1;
    }
    (summands, ends)
}

/// Σ (b + 1) · bucket(b) for each set of 2^bits buckets. With b = columns · row + column it is
/// columns · Σ row · (row's sum) + Σ (column + 1) · (column's sum), so two cheap additions a bucket do most of it.
pub(crate) fn weigh<A: Adder>(sums: &mut Sums<A>, buckets: &[A::Point], bits: u32) -> Vec<Point> {
    let (rows, columns) = (1usize << (bits / 2), 1usize << bits.div_ceil(2));
    let (mut summands, mut ends) = (Vec::with_capacity(2 * buckets.len()), vec![]);
    for first in (0..buckets.len()).step_by(1 << bits) {
        let mut line = |begin: usize, step: usize, count: usize| {
            for bucket in (begin..).step_by(step).take(count) {
                // Most are empty where few scalars were given.
                if !A::is_infinity(&buckets[bucket]) {
                    summands.push(Summand::entry(bucket as u32, false));
                }
            }
            ends.push(summands.len() as u32);
        };
        // Row 0 weighs nothing.
        (1..rows).for_each(|row| line(first + row * columns, 1, columns));
        (0..columns).for_each(|column| line(first + column, columns, rows));
    }
    let mut lines = Vec::with_capacity(ends.len());
    sums.sum_groups(buckets, &summands, &ends, &mut lines);
    let lines: Vec<Affine> = lines.iter().map(A::to_affine).collect();
    let weigh_one = |lines: &[Affine]| {
        let (rows, columns) = lines.split_at(rows - 1);
        let mut result = weighted(rows);
        for _ in 0..bits.div_ceil(2) {
            result = result.double();
        }
        result.add(&weighted(columns))
    };
    lines.chunks(rows - 1 + columns).map(weigh_one).collect()
}

/// Σ (i + 1) · points[i], as the sum of all suffixes.
fn weighted(points: &[Affine]) -> Point {
    let (mut suffix, mut sum) = (Point::infinity(), Point::infinity());
    for point in points.iter().rev() {
        suffix = suffix.add_affine(point);
        sum = sum.add(&suffix);
    }
    sum
}
