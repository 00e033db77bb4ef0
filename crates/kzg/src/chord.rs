//! Batches of point additions in plain code: six field multiplications an addition.
//!
//! Equal points, opposite points and infinity divide by zero in the affine formula. None of them happens by
//! chance, all of them can be made on purpose, so each has its own branch. Slow twin: ark's projective
//! additions, in the tests of [`crate::sums`].

use std::hint::black_box;

use crate::{
    blst::{Affine, Fp},
    sums::{Adder, Summand},
};

/// What one pair comes to.
#[derive(Clone, Copy)]
enum Case {
    /// Different x: the chord.
    Chord,
    /// The same point twice: the tangent.
    Tangent,
    /// Opposite points.
    Infinity,
    /// The first is infinity.
    Second,
    /// The second is infinity.
    First,
}

/// Adds one pair after the other, divides for all at once.
pub(crate) struct Chords {
    operands: Vec<[Affine; 2]>,
    cases: Vec<Case>,
    denominators: Vec<Fp>,
    prefixes: Vec<Fp>,
}

impl Adder for Chords {
    type Engine = ();
    type Point = Affine;
    /// Enough to make the inversion's cost vanish, few enough that operands, denominators and prefix
    /// products (288 bytes a pair) stay in the second-level cache.
    const BATCH: usize = 512;
    /// Their intermediates (about 20 × 96 bytes a bucket) stay in the second-level cache.
    const GROUPS_AT_ONCE: usize = 256;
    /// An inversion for each of a few rounds, and rows and columns to be weighed: measured.
    const POINTS_MIN: usize = 512;
    const INFINITY: Affine = Affine::INFINITY;

    fn new((): ()) -> Self {
        Self { operands: Vec::new(), cases: Vec::new(), denominators: Vec::new(), prefixes: Vec::new() }
    }

    fn from_affine(point: &Affine) -> Affine {
        *point
    }

    fn to_affine(point: &Affine) -> Affine {
        *point
    }

    fn is_infinity(point: &Affine) -> bool {
        point.is_infinity()
    }

    fn negated(point: &Affine) -> Affine {
        Affine { x: point.x, y: point.y.negated_if(true) }
    }

    fn add(&mut self, list: &[Affine], intermediates: &[Affine], pairs: &[[Summand; 2]], sums: &mut [Affine]) {
        self.gather(list, intermediates, pairs);
        let mut inverse = self.denominate().inverse();
        let pairs = self.operands.iter().zip(&self.cases).zip(self.denominators.iter().zip(&mut self.prefixes));
        // `inverse` is one over the product of the denominators not yet taken off.
        for (sum, (([a, b], case), (denominator, reciprocal))) in sums[..self.cases.len()].iter_mut().zip(pairs).rev() {
            reciprocal.multiply_by(&inverse);
            inverse.multiply_by(denominator);
            match case {
                Case::Chord => {
                    let mut slope = b.y.minus(&a.y);
                    slope.multiply_by(reciprocal);
                    finish(sum, a, &b.x, &slope);
                }
                Case::Tangent => {
                    let mut square = Fp::ZERO;
                    square.set_square(&a.x);
                    let mut slope = square.plus(&square).plus(&square);
                    slope.multiply_by(reciprocal);
                    finish(sum, a, &a.x, &slope);
                }
                Case::Infinity => *sum = Affine::INFINITY,
                Case::First => *sum = *a,
                Case::Second => *sum = *b,
            }
        }
    }
}

impl Chords {
    /// Copies the points that a batch adds next to each other.
    fn gather(&mut self, list: &[Affine], intermediates: &[Affine], pairs: &[[Summand; 2]]) {
        // The list is larger than the near caches and read at random. This loop does nothing but touch both
        // cache lines of each point, so that a dozen misses overlap; between multiplications none would.
        let mut touched = 0;
        for summand in pairs.as_flattened() {
            let point = summand.stored(list, intermediates);
            touched ^= point.x.words()[0] ^ point.y.words()[5];
        }
        black_box(touched);
        let point = |summand: Summand| {
            let point = summand.stored(list, intermediates);
            Affine { x: point.x, y: point.y.negated_if(summand.is_negated()) }
        };
        self.operands.clear();
        for [a, b] in pairs {
            let pair = [point(*a), point(*b)];
            self.operands.push(pair);
        }
    }

    /// The product of all denominators, and of those before each.
    fn denominate(&mut self) -> Fp {
        self.cases.clear();
        self.denominators.clear();
        self.prefixes.clear();
        let mut product = Fp::ONE;
        for [a, b] in &self.operands {
            let (case, denominator) = classify(a, b);
            self.cases.push(case);
            self.denominators.push(denominator);
            self.prefixes.push(product);
            product.multiply_by(&denominator);
        }
        product
    }
}

/// How to add two points, and what to divide by; one where nothing is divided.
#[inline]
fn classify(a: &Affine, b: &Affine) -> (Case, Fp) {
    if a.is_infinity() {
        return (Case::Second, Fp::ONE);
    }
    if b.is_infinity() {
        return (Case::First, Fp::ONE);
    }
    let difference = b.x.minus(&a.x);
    if !difference.is_zero() {
        return (Case::Chord, difference);
    }
    // No point of odd order has y = 0, so equal y is the same point and the tangent is not vertical.
    if a.y == b.y && !a.y.is_zero() { (Case::Tangent, a.y.plus(&a.y)) } else { (Case::Infinity, Fp::ONE) }
}

/// `sum` becomes the point where the line through `a` and a point with `other_x` meets the curve again, reflected.
#[inline]
fn finish(sum: &mut Affine, a: &Affine, other_x: &Fp, slope: &Fp) {
    let mut square = Fp::ZERO;
    square.set_square(slope);
    sum.x = square.minus(&a.x).minus(other_x);
    let mut y = a.x.minus(&sum.x);
    y.multiply_by(slope);
    sum.y = y.minus(&a.y);
}
