//! The base field in 52-bit limbs, eight elements side by side.
//!
//! An element x is kept as x · 2^416 modulo p, in eight limbs of 52 bits, limb by limb in [`Octet`]s: the
//! form that the processor's 52-bit multiply-add takes. 416 bits leave 35 above p, so sums and differences
//! of a few elements are multiplied as they are. A product is below (1 + 2^-30) p, a [`reduced`] value
//! below (1 + 2^-13) p: *nearly* reduced, and only [`canonical`] is below p for sure.

use std::sync::atomic::{Ordering, compiler_fence};

use super::lanes::{Kernel, LANES, Lanes, Row};
use crate::blst::Fp;

/// Limbs of an element.
pub(crate) const LIMBS: usize = 8;
const LOW_52: u64 = (1 << 52) - 1;

/// Limb `j` of an element, 52 bits.
pub(crate) type Limbs = [u64; LIMBS];
/// Eight elements in registers, limb by limb.
pub(crate) type Values<L> = [<L as Lanes>::V; LIMBS];

/// Eight elements in memory, limb by limb.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Octet(pub(crate) [Row; LIMBS]);

impl Octet {
    pub(crate) const ZERO: Self = Self([Row::ZERO; LIMBS]);
    /// One, eight times.
    pub(crate) const ONE: Self = Self::all(&to_limbs(&power_of_two(416)));

    const fn all(limbs: &Limbs) -> Self {
        let mut out = Self::ZERO;
        let mut at = 0;
        while at < LIMBS {
            out.0[at] = Row([limbs[at]; LANES]);
            at += 1;
        }
        out
    }

    pub(crate) fn lane(&self, lane: usize) -> Limbs {
        self.0.map(|row| row.0[lane])
    }

    pub(crate) fn set_lane(&mut self, lane: usize, limbs: &Limbs) {
        for (row, limb) in self.0.iter_mut().zip(limbs) {
            row.0[lane] = *limb;
        }
    }

    #[inline(always)]
    pub(crate) fn load<L: Lanes>(&self, l: L) -> Values<L> {
        let mut out = [l.zero(); LIMBS];
        for at in 0..LIMBS {
            out[at] = l.load(&self.0[at]);
        }
        out
    }

    #[inline(always)]
    pub(crate) fn store<L: Lanes>(&mut self, l: L, values: &Values<L>) {
        for at in 0..LIMBS {
            l.store(&mut self.0[at], values[at]);
        }
    }
}

/// k · p for k < 8, each in limbs.
static MULTIPLES_OF_P: [Limbs; 8] = MULTIPLES;
const MULTIPLES: [Limbs; 8] = multiples();
/// Lane k of row j is limb j of k · p.
static TABLE: Octet = table();
/// p in limbs.
pub(super) const P: Limbs = MULTIPLES[1];
/// −1/p modulo 2^52.
pub(super) const MINUS_INVERSE: u64 = minus_inverse();
/// ⌊2^416 / p⌋.
const RECIPROCAL: u64 = 0x9_d835_d2f3;
const _: () = assert!(beyond(RECIPROCAL) == 0 && beyond(RECIPROCAL + 1) == 1, "it is the quotient, rounded down");

/// ⌊factor · p / 2^416⌋.
const fn beyond(factor: u64) -> u64 {
    let (mut at, mut carry) = (0, 0u128);
    while at < LIMBS {
        carry = (P[at] as u128 * factor as u128 + carry) >> 52;
        at += 1;
    }
    carry as u64
}

const fn multiples() -> [Limbs; 8] {
    let one = to_limbs(&Fp::MODULUS);
    let mut out = [[0; LIMBS]; 8];
    let mut k = 0;
    while k < 8 {
        let (mut at, mut carry) = (0, 0);
        while at < LIMBS {
            let limb = one[at] * k as u64 + carry;
            out[k][at] = limb & LOW_52;
            carry = limb >> 52;
            at += 1;
        }
        k += 1;
    }
    out
}

const fn table() -> Octet {
    let mut out = Octet::ZERO;
    let mut at = 0;
    while at < LIMBS * LANES {
        out.0[at / LANES].0[at % LANES] = MULTIPLES[at % LANES][at / LANES];
        at += 1;
    }
    out
}

const fn minus_inverse() -> u64 {
    let p = Fp::MODULUS[0];
    let (mut inverse, mut round) = (1u64, 0);
    while round < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(inverse)));
        round += 1;
    }
    inverse.wrapping_neg() & LOW_52
}

/// 2^exponent modulo p.
const fn power_of_two(exponent: usize) -> [u64; 6] {
    let mut out = [1, 0, 0, 0, 0, 0];
    let mut round = 0;
    while round < exponent {
        // Below 2p < 2^382, so nothing is shifted out.
        let mut at = 5;
        while at > 0 {
            out[at] = out[at] << 1 | out[at - 1] >> 63;
            at -= 1;
        }
        out[0] <<= 1;
        out = less_modulus(out);
        round += 1;
    }
    out
}

/// Takes p off once, if it is in there.
const fn less_modulus(words: [u64; 6]) -> [u64; 6] {
    let (mut out, mut borrow, mut at) = ([0; 6], false, 0);
    while at < 6 {
        let (less, first) = words[at].overflowing_sub(Fp::MODULUS[at]);
        let second;
        (out[at], second) = less.overflowing_sub(borrow as u64);
        borrow = first | second;
        at += 1;
    }
    if borrow { words } else { out }
}

/// 384 bits in limbs.
const fn to_limbs(words: &[u64; 6]) -> Limbs {
    let (mut out, mut at) = ([0; LIMBS], 0);
    while at < LIMBS {
        let (word, shift) = (at * 52 / 64, at * 52 % 64);
        let mut limb = words[word] >> shift;
        if shift > 12 && word + 1 < 6 {
            limb |= words[word + 1] << (64 - shift);
        }
        out[at] = limb & LOW_52;
        at += 1;
    }
    out
}

/// The element below p that limbs of a nearly reduced one stand for.
fn canonical(limbs: &Limbs) -> [u64; 6] {
    debug_assert!(limbs[7] >> 20 == 0 && limbs.iter().all(|limb| limb >> 52 == 0), "a value below 2p");
    let mut words = [0; 6];
    for (at, limb) in limbs.iter().enumerate() {
        let (word, shift) = (at * 52 / 64, at * 52 % 64);
        words[word] |= limb << shift;
        if shift > 12 && word + 1 < 6 {
            words[word + 1] |= limb >> (64 - shift);
        }
    }
    less_modulus(words)
}

/// blst keeps x · 2^384 where the lanes keep x · 2^416: read as each other, they are 2^32 apart.
pub(crate) fn from_fp(value: &Fp) -> Limbs {
    const TWO_TO_32: Fp = Fp::from_words(power_of_two(384 + 32));
    let mut out = *value;
    out.multiply_by(&TWO_TO_32);
    to_limbs(out.words())
}

/// The inverse of [`from_fp`], for any nearly reduced value.
pub(crate) fn to_fp(limbs: &Limbs) -> Fp {
    const TWO_TO_MINUS_32: Fp = Fp::from_words(power_of_two(384 - 32));
    let mut out = Fp::from_words(canonical(limbs));
    out.multiply_by(&TWO_TO_MINUS_32);
    out
}

/// −x.
pub(crate) fn negated(limbs: &Limbs) -> Limbs {
    to_limbs(Fp::from_words(canonical(limbs)).negated_if(true).words())
}

/// One over each of eight elements, or `None` if one of them is zero. One inversion in all.
pub(crate) fn inverses(values: &Octet) -> Option<Octet> {
    // Limbs of x · 2^416 read as blst's are x · 2^32, and its inverse written as ours lacks 2^64.
    const TWO_TO_64: Fp = Fp::from_words(power_of_two(384 + 64));
    let mut shifted = [Fp::ZERO; LANES];
    let mut prefixes = [Fp::ZERO; LANES];
    let mut product = Fp::ONE;
    for lane in 0..LANES {
        shifted[lane] = Fp::from_words(canonical(&values.lane(lane)));
        prefixes[lane] = product;
        product.multiply_by(&shifted[lane]);
    }
    if product.is_zero() {
        return None;
    }
    let mut inverse = product.inverse();
    let mut out = Octet::ZERO;
    for lane in (0..LANES).rev() {
        prefixes[lane].multiply_by(&inverse);
        prefixes[lane].multiply_by(&TWO_TO_64);
        inverse.multiply_by(&shifted[lane]);
        out.set_lane(lane, &to_limbs(prefixes[lane].words()));
    }
    Some(out)
}

/// k · p, to be added before something is taken off.
#[inline(always)]
pub(crate) fn multiple_of_p<L: Lanes>(l: L, k: usize) -> Values<L> {
    let mut out = [l.zero(); LIMBS];
    for at in 0..LIMBS {
        out[at] = l.splat(MULTIPLES_OF_P[k][at]);
    }
    out
}

#[inline(always)]
pub(crate) fn add<L: Lanes>(l: L, a: &Values<L>, b: &Values<L>) -> Values<L> {
    let mut out = *a;
    for at in 0..LIMBS {
        out[at] = l.add(a[at], b[at]);
    }
    out
}

#[inline(always)]
pub(crate) fn sub<L: Lanes>(l: L, a: &Values<L>, b: &Values<L>) -> Values<L> {
    let mut out = *a;
    for at in 0..LIMBS {
        out[at] = l.sub(a[at], b[at]);
    }
    out
}

/// Carries signed limbs up, so that all but the last have 52 bits. The value must not be negative.
#[inline(always)]
pub(crate) fn carried<L: Lanes>(l: L, values: &Values<L>) -> Values<L> {
    let mask = l.splat(LOW_52);
    let mut out = *values;
    for at in 0..LIMBS - 1 {
        let carry = l.carry_of(out[at]);
        out[at] = l.and(out[at], mask);
        out[at + 1] = l.add(out[at + 1], carry);
    }
    out
}

/// Takes off as many p as there are: for values in [p/2, 7.9 p] whose limbs, not yet carried, are above
/// −3 · 2^52 and below 3 · 2^52. What comes out is carried, and below (1 + 2^-13) p.
#[inline(always)]
pub(crate) fn reduced<L: Lanes>(l: L, values: &Values<L>) -> Values<L> {
    // What the lower limbs may still take from the last: a quotient too small by one costs 2^-13 p, one too large is wrong.
    let top = l.sub(values[LIMBS - 1], l.splat(3));
    let quotient = l.multiply_add_high(l.zero(), top, l.splat(RECIPROCAL));
    let mut out = *values;
    for at in 0..LIMBS {
        out[at] = l.sub(out[at], l.look_up(l.load(&TABLE.0[at]), quotient));
    }
    carried(l, &out)
}

/// One limb of b: t = (t + a · b + q · p) / 2^52, with q such that the division leaves nothing.
#[inline(always)]
fn step<L: Lanes>(l: L, t: &mut Values<L>, a: &Octet, b: &Row, p: &Values<L>) {
    // Registers are for t and p. Without the fences, which cost nothing, the compiler would keep a in them too, that
    // is on the stack, where no row is aligned.
    compiler_fence(Ordering::SeqCst);
    let b = l.load(b);
    for at in 0..LIMBS {
        t[at] = l.multiply_add_low(t[at], l.load(&a.0[at]), b);
    }
    let q = l.multiply_add_low(l.zero(), t[0], l.splat(MINUS_INVERSE));
    for at in 0..LIMBS {
        t[at] = l.multiply_add_low(t[at], q, p[at]);
    }
    compiler_fence(Ordering::SeqCst);
    let carry = l.carry_of(t[0]);
    for at in 0..LIMBS - 1 {
        t[at] = l.multiply_add_high(t[at + 1], l.load(&a.0[at]), b);
    }
    t[LIMBS - 1] = l.multiply_add_high(l.zero(), l.load(&a.0[LIMBS - 1]), b);
    t[0] = l.add(t[0], carry);
    for at in 0..LIMBS {
        t[at] = l.multiply_add_high(t[at], q, p[at]);
    }
}

/// [`MultiplyTwo`] with the processor's 52-bit multiply-add.
#[inline(always)]
pub(super) fn multiply_two<L: Lanes>(l: L, a: [&mut Octet; 2], b: [&Octet; 2]) {
    let p = multiple_of_p(l, 1);
    let (first, second) = (&*a[0], &*a[1]);
    let mut t = [l.zero(); LIMBS];
    let mut u = t;
    // Written out: a loop would move all of t and u down a place, every time.
    macro_rules! steps {
            ($($at:literal)*) => {$(
                step(l, &mut t, first, &b[0].0[$at], &p);
                step(l, &mut u, second, &b[1].0[$at], &p);
            )*};
        }
    steps!(0 1 2 3 4 5 6 7);
    let [first, second] = a;
    first.store(l, &carried(l, &t));
    second.store(l, &carried(l, &u));
}

/// a = a · b, two times eight products at once: one alone would wait for its own carries half of the time.
/// Operands carried and below 8 p; products carried and below (1 + 2^-28) p.
///
/// A kernel of its own, so that its 500 instructions stand in the program once.
pub(crate) struct MultiplyTwo<'a> {
    pub(crate) a: [&'a mut Octet; 2],
    pub(crate) b: [&'a Octet; 2],
}

impl Kernel for MultiplyTwo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        l.multiply_two(self.a, self.b);
    }
}
