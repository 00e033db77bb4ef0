//! Batches of point additions, sixteen side by side. The plain twin is [`crate::chord`].
//!
//! The fast way is the chord alone, with no branch in it: whatever it is wrong for (equal x, be it one point
//! twice or two opposite ones, and infinity) is noticed, by a product of denominators that is zero or by a y
//! that is, and then the batch is tried by halves, until what is left of it is short and goes the plain way. No honest
//! blob ever meets that over the ceremony's points, but lists of commitments with the same blob in two shards do;
//! somebody who can make points collide everywhere gets right sums, at no less than half of the plain speed.

use super::{
    field::{self, MultiplyTwo, Octet},
    lanes::{Kernel, LANES, Lanes, Row, transpose},
};
use crate::{
    blst::Affine,
    chord::Chords,
    sums::{Adder, SLACK, Summand},
};

/// A point: x and y in limbs, nearly reduced; infinity is all zeros, which no other point's y is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Packed {
    x: Row,
    y: Row,
}

impl Packed {
    const INFINITY: Self = Self { x: Row::ZERO, y: Row::ZERO };
    /// Two that fill up a batch: no points, but chords have no branch that could tell. (0, 1) and (1, 1).
    const FILLING: [Self; 2] = {
        let one = Row([1, 0, 0, 0, 0, 0, 0, 0]);
        [Self { x: Row::ZERO, y: one }, Self { x: one, y: one }]
    };

    fn from_affine(point: &Affine) -> Self {
        Self { x: Row(field::from_fp(&point.x)), y: Row(field::from_fp(&point.y)) }
    }

    fn to_affine(self) -> Affine {
        Affine { x: field::to_fp(&self.x.0), y: field::to_fp(&self.y.0) }
    }
}

/// Pairs among which no chord is looked for any more once one of them has none: below that an inversion for itself costs
/// as much as it saves.
const PLAIN_MAX: usize = 64;

/// Two groups of eight go side by side.
const _: () = assert!(SLACK == 2 * LANES);

/// Eight pairs on their way.
#[derive(Clone, Copy)]
struct Eight {
    x: Octet,
    /// Signed limbs, where the summand is negated.
    y: Octet,
    dx: Octet,
    dy: Octet,
    /// The product of the denominators before.
    prefix: Octet,
}

impl Eight {
    const ZERO: Self = Self { x: Octet::ZERO, y: Octet::ZERO, dx: Octet::ZERO, dy: Octet::ZERO, prefix: Octet::ZERO };
}

/// Adds in lanes.
pub(crate) struct LaneAdder<L> {
    lanes: L,
    eights: Vec<Eight>,
    /// Pairs that went the plain way.
    #[cfg(test)]
    pub(crate) plain: usize,
}

impl<L: Lanes> Adder for LaneAdder<L> {
    type Engine = L;
    type Point = Packed;
    /// 2.5 KiB a group of eight: 320 KiB a batch, which the second-level cache of every such processor holds.
    const BATCH: usize = 1024;
    /// Intermediates are written and read in order, so they need not stay near; short rounds cost more.
    const GROUPS_AT_ONCE: usize = 1024;
    /// Not a quarter of the plain path's, although additions cost a quarter: what follows them is plain code.
    const POINTS_MIN: usize = 192;
    const INFINITY: Packed = Packed::INFINITY;

    fn new(lanes: L) -> Self {
        Self {
            lanes,
            eights: Vec::new(),
            #[cfg(test)]
            plain: 0,
        }
    }

    fn from_affine(point: &Affine) -> Packed {
        Packed::from_affine(point)
    }

    fn to_affine(point: &Packed) -> Affine {
        point.to_affine()
    }

    fn is_infinity(point: &Packed) -> bool {
        *point == Packed::INFINITY
    }

    fn negated(point: &Packed) -> Packed {
        Packed { x: point.x, y: Row(field::negated(&point.y.0)) }
    }

    fn add(&mut self, list: &[Packed], intermediates: &[Packed], pairs: &[[Summand; 2]], sums: &mut [Packed]) {
        self.eights.resize(sums.len() / LANES, Eight::ZERO);
        let gather = Gather { list, intermediates, pairs, eights: &mut self.eights };
        let (products, infinities) = self.lanes.run(gather);
        let inverses = if infinities { None } else { self.inverses(&products) };
        match inverses {
            Some(inverses) => self.lanes.run(Finish { eights: &mut self.eights, inverses, sums }),
            None if sums.len() > PLAIN_MAX => {
                let half = (sums.len() / 2).next_multiple_of(SLACK);
                let ((pairs, others), (sums, more)) = (pairs.split_at(half), sums.split_at_mut(half));
                self.add(list, intermediates, pairs, sums);
                self.add(list, intermediates, others, more);
            }
            None => {
                #[cfg(test)]
                {
                    self.plain += pairs.len();
                }
                add_plainly(list, intermediates, pairs, sums);
            }
        }
    }
}

impl<L: Lanes> LaneAdder<L> {
    /// One over each lane of both; `None` if one of them is zero.
    fn inverses(&self, products: &[Octet; 2]) -> Option<[Octet; 2]> {
        let (mut both, mut unused) = (products[0], Octet::ONE);
        self.lanes.run(MultiplyTwo { a: [&mut both, &mut unused], b: [&products[1], &Octet::ONE] });
        let inverse = field::inverses(&both)?;
        let (mut first, mut second) = (products[1], products[0]);
        self.lanes.run(MultiplyTwo { a: [&mut first, &mut second], b: [&inverse, &inverse] });
        Some([first, second])
    }
}

/// The plain way, for batches in which some pair has no chord.
#[cold]
fn add_plainly(list: &[Packed], intermediates: &[Packed], pairs: &[[Summand; 2]], sums: &mut [Packed]) {
    let to_affine = |summand: &Summand| {
        let point = summand.stored(list, intermediates).to_affine();
        Affine { x: point.x, y: point.y.negated_if(summand.is_negated()) }
    };
    let points: Vec<Affine> = pairs.as_flattened().iter().map(to_affine).collect();
    let entries: Vec<[Summand; 2]> =
        (0..pairs.len() as u32).map(|at| [2 * at, 2 * at + 1].map(|at| Summand::entry(at, false))).collect();
    let mut out = vec![Affine::INFINITY; pairs.len()];
    Chords::new(()).add(&points, &[], &entries, &mut out);
    for (sum, point) in sums.iter_mut().zip(&out) {
        *sum = Packed::from_affine(point);
    }
}

/// Collects the operands lane by lane and multiplies the denominators up. Gives the products of the even
/// and of the odd groups, and whether some operand is infinity.
struct Gather<'a> {
    list: &'a [Packed],
    intermediates: &'a [Packed],
    pairs: &'a [[Summand; 2]],
    eights: &'a mut [Eight],
}

impl Gather<'_> {
    /// Groups ahead of which the processor is told what will be read: about as long as memory takes.
    const AHEAD: usize = 8;

    #[inline(always)]
    fn point(&self, pair: usize, side: usize) -> (&Packed, u8) {
        match self.pairs.get(pair) {
            Some(pair) => (pair[side].stored(self.list, self.intermediates), u8::from(pair[side].is_negated())),
            None => (&Packed::FILLING[side], 0),
        }
    }

    #[inline(always)]
    fn prefetch<L: Lanes>(&self, l: L, group: usize) {
        // In later rounds nearly all are intermediates, which are read in order: the processor sees that itself.
        if !self.intermediates.is_empty() {
            return;
        }
        for lane in 0..LANES {
            for side in 0..2 {
                let (point, _) = self.point(group * LANES + lane, side);
                l.prefetch(&point.x);
                l.prefetch(&point.y);
            }
        }
    }

    /// x and y of one side of eight pairs, y negated where the summand is, and whether one is infinity.
    #[inline(always)]
    fn side<L: Lanes>(&self, l: L, group: usize, side: usize) -> (field::Values<L>, field::Values<L>, bool) {
        let mut x = [l.zero(); LANES];
        let mut y = x;
        let mut signs = 0;
        for lane in 0..LANES {
            let (point, sign) = self.point(group * LANES + lane, side);
            x[lane] = l.load(&point.x);
            y[lane] = l.load(&point.y);
            signs |= sign << lane;
        }
        let (x, mut y) = (transpose(l, x), transpose(l, y));
        let mut any = y[0];
        for limb in 1..field::LIMBS {
            any = l.or(any, y[limb]);
        }
        let opposite = field::sub(l, &field::multiple_of_p(l, 2), &y);
        for limb in 0..field::LIMBS {
            y[limb] = l.select(signs, opposite[limb], y[limb]);
        }
        (x, y, l.zeros(any) != 0)
    }
}

impl Kernel for Gather<'_> {
    type Output = ([Octet; 2], bool);

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Self::Output {
        let mut products = [Octet::ONE; 2];
        let mut infinities = false;
        let two_p = field::multiple_of_p(l, 2);
        for two in 0..self.eights.len() / 2 {
            for half in 0..2 {
                let group = 2 * two + half;
                self.prefetch(l, group + Self::AHEAD);
                let (x1, y1, first) = self.side(l, group, 0);
                let (x2, y2, second) = self.side(l, group, 1);
                infinities |= first | second;
                let eight = &mut self.eights[group];
                eight.x.store(l, &x1);
                eight.y.store(l, &y1);
                eight.dx.store(l, &field::carried(l, &field::sub(l, &field::add(l, &x2, &two_p), &x1)));
                eight.dy.store(l, &field::carried(l, &field::sub(l, &field::add(l, &y2, &two_p), &y1)));
                eight.prefix.store(l, &products[half].load(l));
            }
            let [first, second] = &mut products;
            l.run(MultiplyTwo { a: [first, second], b: [&self.eights[2 * two].dx, &self.eights[2 * two + 1].dx] });
        }
        (products, infinities)
    }
}

/// Divides, and finds where each chord meets the curve again. `inverses` are one over the products that
/// [`Gather`] gave; it is used up.
struct Finish<'a> {
    eights: &'a mut [Eight],
    inverses: [Octet; 2],
    sums: &'a mut [Packed],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let [mut even, mut odd] = self.inverses;
        let two_p = field::multiple_of_p(l, 2);
        let twos = self.eights.as_chunks_mut().0.iter_mut().zip(self.sums.as_chunks_mut().0);
        for ([one, two], sums) in twos.rev() {
            let sums: &mut [Packed; 2 * LANES] = sums;
            // 1/dx = (one over the product up to here) · (the product before).
            l.run(MultiplyTwo { a: [&mut one.prefix, &mut two.prefix], b: [&even, &odd] });
            l.run(MultiplyTwo { a: [&mut even, &mut odd], b: [&one.dx, &two.dx] });
            // The slope.
            l.run(MultiplyTwo { a: [&mut one.dy, &mut two.dy], b: [&one.prefix, &two.prefix] });
            let mut squares = [one.dy, two.dy];
            let [first, second] = &mut squares;
            l.run(MultiplyTwo { a: [first, second], b: [&one.dy, &two.dy] });
            let mut x3 = [[l.zero(); LANES]; 2];
            for half in 0..2 {
                let eight = if half == 0 { &mut *one } else { &mut *two };
                let (x, dx) = (eight.x.load(l), eight.dx.load(l));
                // slope² − x1 − x2, with x2 = x1 + dx − 2p: between 2p and 5.1 p.
                let taken = field::add(l, &field::add(l, &x, &x), &dx);
                let square = field::add(l, &squares[half].load(l), &field::multiple_of_p(l, 6));
                x3[half] = field::reduced(l, &field::sub(l, &square, &taken));
                eight.x.store(l, &field::carried(l, &field::sub(l, &field::add(l, &x, &two_p), &x3[half])));
            }
            // slope · (x1 − x3) − y1.
            l.run(MultiplyTwo { a: [&mut one.x, &mut two.x], b: [&one.dy, &two.dy] });
            for half in 0..2 {
                let eight = if half == 0 { &*one } else { &*two };
                let product = field::add(l, &eight.x.load(l), &field::multiple_of_p(l, 3));
                let y3 = field::reduced(l, &field::sub(l, &product, &eight.y.load(l)));
                let (x, y) = (transpose(l, x3[half]), transpose(l, y3));
                for lane in 0..LANES {
                    let sum = &mut sums[half * LANES + lane];
                    l.store(&mut sum.x, x[lane]);
                    l.store(&mut sum.y, y[lane]);
                }
            }
        }
    }
}
