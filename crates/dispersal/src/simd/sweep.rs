//! The loops, over any [`Lane`]: which bytes are added up when, so that they are in the right cache.

// Arrays of registers and of pointers run in step, unrolled: indices say it plainly.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::lane::Lane;

/// Strips of eight targets, and of 20 sources where there are more groups than one, stay in a level-2 cache.
pub(super) const STRIP_LEN: usize = 16 << 10;

/// How far ahead sources are asked for. Eight streams at once are more than most processors foresee by themselves, and
/// not one of them sees past the end of a page.
const PREFETCH: usize = 1 << 10;

/// Sources that are read side by side. Shards often lie a power of two apart, so that the same offset of each falls into
/// the same set of every cache; sets have 8 to 16 ways.
const BATCH: usize = 8;

/// Registers of one source that are worked on at once: each coefficient is loaded once for both.
const UNROLL: usize = 2;

/// The widest register of any lane, in bytes.
const LANE_LEN_MAX: usize = 64;

/// Coefficients of the targets that are computed together.
#[derive(Clone, Debug)]
pub(super) struct Group<F> {
    /// How many targets.
    width: usize,
    /// `factors[source * width + target]`.
    factors: Vec<F>,
}

#[cfg(test)]
impl<F> Group<F> {
    pub(super) fn width(&self) -> usize {
        self.width
    }
}

/// Cuts `rows[target][source]` into groups of at most `width_max` targets, as even as can be.
pub(super) fn groups<F>(rows: &[Vec<u8>], width_max: usize, factor: impl Fn(u8) -> F) -> Vec<Group<F>> {
    let count = rows.len().div_ceil(width_max);
    let mut rest = rows;
    let mut out = Vec::with_capacity(count);
    for left in (1..=count).rev() {
        let (rows, later) = rest.split_at(rest.len().div_ceil(left));
        let sources = rows.first().map_or(0, Vec::len);
        let factors = (0..sources).flat_map(|source| rows.iter().map(move |row| row[source])).map(&factor).collect();
        out.push(Group { width: rows.len(), factors });
        rest = later;
    }
    out
}

/// One batch of sources into one group of targets, over one strip.
pub(super) struct Job<'a, F> {
    /// `sources.len()` times the group's width.
    factors: &'a [F],
    sources: &'a [*const u8],
    /// As many as the group is wide.
    targets: &'a [*mut u8],
    /// Bytes of every source and target: each is valid up to `strip.end`.
    strip: Range<usize>,
    /// Whether the targets begin at zero, or at what they hold.
    first: bool,
}

/// Cuts the work into jobs for `run(job, width)`. All strips have one length, and there is one for each row and column.
pub(super) fn apply<F>(
    groups: &[Group<F>],
    sources: &[&[u8]],
    targets: &mut [&mut [u8]],
    run: impl Fn(&Job<'_, F>, usize),
) {
    let len = sources.first().map_or(0, |strip| strip.len());
    let sources: Vec<*const u8> = sources.iter().map(|strip| strip.as_ptr()).collect();
    let targets: Vec<*mut u8> = targets.iter_mut().map(|strip| strip.as_mut_ptr()).collect();
    for start in (0..len).step_by(STRIP_LEN) {
        let strip = start..len.min(start + STRIP_LEN);
        let mut before = 0;
        for group in groups {
            let targets = &targets[before..before + group.width];
            before += group.width;
            for (batch, sources) in sources.chunks(BATCH).enumerate() {
                let at = batch * BATCH * group.width;
                let factors = &group.factors[at..at + sources.len() * group.width];
                run(&Job { factors, sources, targets, strip: strip.clone(), first: batch == 0 }, group.width);
            }
        }
    }
}

/// Does one job of a group that is `W` wide.
///
/// # Safety
/// The processor has the lane's instructions. Each source can be read and each target written up to the strip's end, and
/// no target overlaps anything else.
#[inline(always)]
pub(super) unsafe fn sweep<L: Lane, const W: usize>(job: &Job<'_, L::Factor>) {
    assert!(job.targets.len() == W && job.factors.len() == W * job.sources.len() && L::LEN <= LANE_LEN_MAX);
    let mut targets = [std::ptr::null_mut(); W];
    targets.copy_from_slice(job.targets);
    let (mut at, end) = (job.strip.start, job.strip.end);
    while end - at >= UNROLL * L::LEN {
        // SAFETY: the block ends within the strip; the rest is the caller's promise.
        unsafe { block::<L, W, UNROLL>(job, &targets, at) };
        at += UNROLL * L::LEN;
    }
    while end - at >= L::LEN {
        // SAFETY: as above.
        unsafe { block::<L, W, 1>(job, &targets, at) };
        at += L::LEN;
    }
    if at < end {
        // SAFETY: `end - at` bytes are left, fewer than a register.
        unsafe { tail::<L, W>(job, &targets, at, end - at) };
    }
}

/// `U` registers of every target.
///
/// # Safety
/// As for [`sweep`]; the `U` registers from `at` on lie within the strip.
#[inline(always)]
unsafe fn block<L: Lane, const W: usize, const U: usize>(job: &Job<'_, L::Factor>, targets: &[*mut u8; W], at: usize) {
    // SAFETY: every load and store is of `L::LEN` bytes at `at + u * L::LEN` of a source or target, which the caller
    // vouches for; `factor` runs over the `W * sources` factors that `sweep` counted.
    unsafe {
        let mut sums = [[L::zero(); U]; W];
        if !job.first {
            for w in 0..W {
                for u in 0..U {
                    sums[w][u] = L::load(targets[w].add(at + u * L::LEN));
                }
            }
        }
        let mut factor = job.factors.as_ptr();
        let (pairs, single) = job.sources.as_chunks::<2>();
        for [one, other] in pairs {
            for u in 0..U {
                L::prefetch(one.wrapping_add(at + u * L::LEN + PREFETCH));
                L::prefetch(other.wrapping_add(at + u * L::LEN + PREFETCH));
                let one = L::load(one.add(at + u * L::LEN)).prepare();
                let other = L::load(other.add(at + u * L::LEN)).prepare();
                for w in 0..W {
                    sums[w][u] = sums[w][u].add_two([one, other], [factor.add(w), factor.add(W + w)]);
                }
            }
            factor = factor.add(2 * W);
        }
        if let [source] = single {
            for u in 0..U {
                L::prefetch(source.wrapping_add(at + u * L::LEN + PREFETCH));
                let source = L::load(source.add(at + u * L::LEN)).prepare();
                for w in 0..W {
                    sums[w][u] = sums[w][u].add_product(source, factor.add(w));
                }
            }
        }
        for w in 0..W {
            for u in 0..U {
                sums[w][u].store(targets[w].add(at + u * L::LEN));
            }
        }
    }
}

/// The last `len` bytes, fewer than a register: through a buffer, so that nothing beyond a strip's end is touched.
///
/// # Safety
/// As for [`sweep`]; the `len` bytes from `at` on lie within the strip, and `len < L::LEN`.
#[inline(always)]
unsafe fn tail<L: Lane, const W: usize>(job: &Job<'_, L::Factor>, targets: &[*mut u8; W], at: usize, len: usize) {
    let mut buffer = [0; LANE_LEN_MAX];
    // SAFETY: copies are of `len` bytes that the caller vouches for, into and out of a buffer that is longer; loads and
    // stores are of that buffer, which a register fits; factors as in `block`.
    unsafe {
        let mut sums = [L::zero(); W];
        if !job.first {
            for w in 0..W {
                buffer.as_mut_ptr().copy_from_nonoverlapping(targets[w].add(at), len);
                sums[w] = L::load(buffer.as_ptr());
            }
        }
        for (place, source) in job.sources.iter().enumerate() {
            buffer.as_mut_ptr().copy_from_nonoverlapping(source.add(at), len);
            let source = L::load(buffer.as_ptr()).prepare();
            for w in 0..W {
                sums[w] = sums[w].add_product(source, job.factors.as_ptr().add(place * W + w));
            }
        }
        for w in 0..W {
            sums[w].store(buffer.as_mut_ptr());
            targets[w].add(at).copy_from_nonoverlapping(buffer.as_ptr(), len);
        }
    }
}
