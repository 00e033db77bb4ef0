//! A fold's value at a point, in lanes: the sums reduced, then halved again and again.
//!
//! The plain twin is [`Domain::evaluate`]; see there for the identity. Here lane l has the elements 512 l to 512 l + 511, so
//! that neighbours are in neighbouring registers and nine of the twelve halvings never cross a lane. With E and O the even
//! and odd halves of P, u = P(ω) − P(−ω) and c = z/ω,
//!
//! ```text
//! E(ω²) + z O(ω²) = (P(ω) + P(−ω))/2 + c u/2 = P(ω) + u (c − 1)/2
//! ```
//!
//! and 1/ω is a factor of the lane, which goes into z, times one of the register, the same in all lanes.
//!
//! A number x of the scalar field is five limbs of 52 bits. Their 260 bits leave five above the order r: a product
//! a b / 2^260 of carried operands with a b < 2^260 · 0.3 r is below 1.3 r, and that is all that the bounds below rest on.

use std::sync::OnceLock;

use ark_bls12_381::Fr;
use ark_ff::{BigInt, Field, PrimeField, Zero};

use super::{
    fold::{Group, WEIGHTS},
    lanes::{Kernel, LANES, Lanes, Row, transpose},
};
use crate::{ELEMENTS_PER_BLOB, domain::Domain};

const LIMBS: usize = 5;
const LOW_52: u64 = (1 << 52) - 1;
/// Limbs of a sum once carried: the last weight keeps what is above its 52 bits.
const SUM_LIMBS: usize = WEIGHTS + 1;
/// A sum is reduced from below, limb by limb, until five are left.
const STEPS: usize = SUM_LIMBS - LIMBS;
/// Elements of a lane.
const PER_LANE: usize = ELEMENTS_PER_BLOB / LANES;

type Limbs = [u64; LIMBS];
/// Eight numbers in registers, limb by limb.
type Values<L> = [<L as Lanes>::V; LIMBS];

/// Eight numbers in memory, limb by limb.
#[derive(Clone, Copy)]
#[repr(C)]
struct Numbers([Row; LIMBS]);

impl Numbers {
    const ZERO: Self = Self([Row::ZERO; LIMBS]);

    fn of(numbers: &[Limbs; LANES]) -> Self {
        Self(std::array::from_fn(|limb| Row(std::array::from_fn(|lane| numbers[lane][limb]))))
    }

    fn lane(&self, lane: usize) -> Fr {
        let shift = Fr::from(1u64 << 52);
        self.0.iter().rev().fold(Fr::zero(), |value, row| value * shift + Fr::from(row.0[lane]))
    }

    #[inline(always)]
    fn load<L: Lanes>(&self, l: L) -> Values<L> {
        let mut out = [l.zero(); LIMBS];
        for at in 0..LIMBS {
            out[at] = l.load(&self.0[at]);
        }
        out
    }

    #[inline(always)]
    fn store<L: Lanes>(&mut self, l: L, values: &Values<L>) {
        for at in 0..LIMBS {
            l.store(&mut self.0[at], values[at]);
        }
    }
}

/// r in limbs.
static ORDER: Limbs = to_limbs(&Fr::MODULUS);
/// 2 r in limbs.
static TWICE_ORDER: Limbs = {
    let (mut out, mut carry, mut at) = ([0; LIMBS], 0, 0);
    while at < LIMBS {
        let limb = 2 * ORDER_LIMBS[at] + carry;
        out[at] = limb & LOW_52;
        carry = limb >> 52;
        at += 1;
    }
    out
};
const ORDER_LIMBS: Limbs = to_limbs(&Fr::MODULUS);

/// −1/r modulo 2^52.
const MINUS_INVERSE: u64 = {
    let r = Fr::MODULUS.0[0];
    let (mut inverse, mut round) = (1u64, 0);
    while round < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(r.wrapping_mul(inverse)));
        round += 1;
    }
    inverse.wrapping_neg() & LOW_52
};

const fn to_limbs(number: &BigInt<4>) -> Limbs {
    let (mut out, mut at) = ([0; LIMBS], 0);
    while at < LIMBS {
        let (word, shift) = (at * 52 / 64, at * 52 % 64);
        let mut limb = number.0[word] >> shift;
        if shift > 12 && word + 1 < 4 {
            limb |= number.0[word + 1] << (64 - shift);
        }
        out[at] = limb & LOW_52;
        at += 1;
    }
    out
}

/// What an evaluation needs of the roots; all in the form that a product with it undoes: times 2^260.
struct Tables {
    /// 1/ω of the lane: of root 512 l, in the blob's order.
    lanes: [Fr; LANES],
    /// Half of 1/ω of root 2 v, for every other register of a lane.
    registers: Vec<Limbs>,
    /// r less one half.
    minus_half: Limbs,
    /// What makes an evaluation's eight values those that they stand for: 2^(52 · STEPS).
    undivided: Fr,
}

impl Tables {
    fn get() -> &'static Self {
        static TABLES: OnceLock<Tables> = OnceLock::new();
        TABLES.get_or_init(|| {
            let two = Fr::from(2u64);
            let (shifted, domain) = (two.pow([260]), Domain::get());
            let Some(half) = two.inverse() else { unreachable!("the order is odd") };
            let inverse = |index| domain.inverse_of_root(index);
            Self {
                lanes: std::array::from_fn(|lane| inverse(lane * PER_LANE) * shifted),
                registers: (0..PER_LANE / 2)
                    .map(|v| to_limbs(&(inverse(2 * v) * half * shifted).into_bigint()))
                    .collect(),
                minus_half: to_limbs(&(-half * shifted).into_bigint()),
                undivided: two.pow([(52 * STEPS) as u64]),
            }
        })
    }
}

/// Σ over the sums, at `z`. As many groups as a blob has.
pub(super) fn evaluate<L: Lanes>(lanes: L, groups: &[Group], z: Fr) -> Fr {
    let tables = Tables::get();
    let mut numbers = vec![Numbers::ZERO; PER_LANE];
    let points = Numbers::of(&tables.lanes.map(|inverse| to_limbs(&(inverse * z).into_bigint())));
    lanes.run(Evaluate { groups, numbers: &mut numbers, points, tables });
    let values = (0..LANES).map(|lane| numbers[0].lane(lane)).collect();
    // What is left are the values of a polynomial of degree < 8 at the roots of its own, to be had at z^512.
    Domain::get().evaluate(values, z.pow([PER_LANE as u64])) * tables.undivided
}

struct Evaluate<'a> {
    groups: &'a [Group],
    /// One register of each lane's numbers. The result is in the first.
    numbers: &'a mut [Numbers],
    /// z/ω of each lane.
    points: Numbers,
    tables: &'a Tables,
}

impl Kernel for Evaluate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { groups, numbers, points, tables } = self;
        reduce_all(l, groups, numbers);
        let mut point = points.load(l);
        let mut len = PER_LANE;
        while len > 1 {
            len /= 2;
            for at in 0..len {
                let (value, opposite) = (numbers[2 * at].load(l), numbers[2 * at + 1].load(l));
                let halved = halve(l, &value, &opposite, &tables.registers[at], &point, &tables.minus_half);
                numbers[at].store(l, &halved);
            }
            point = carried(l, &product(l, &point, &point));
        }
    }
}

/// Every sum as a number below 2 r, 2^(52 · STEPS) times too small, and each lane's own.
#[inline(always)]
fn reduce_all<L: Lanes>(l: L, groups: &[Group], numbers: &mut [Numbers]) {
    assert!(groups.len() == numbers.len() && groups.len() == PER_LANE);
    for block in 0..PER_LANE / LANES {
        // Eight groups, one of each lane's: their columns are what is wanted as rows.
        let mut square = [Numbers::ZERO; LANES];
        for lane in 0..LANES {
            square[lane].store(l, &reduced(l, &groups[lane * (PER_LANE / LANES) + block]));
        }
        for limb in 0..LIMBS {
            let mut rows = [l.zero(); LANES];
            for lane in 0..LANES {
                rows[lane] = l.load(&square[lane].0[limb]);
            }
            let columns = transpose(l, rows);
            for at in 0..LANES {
                l.store(&mut numbers[block * LANES + at].0[limb], columns[at]);
            }
        }
    }
}

/// P(ω) + u (c − 1)/2 of values below 2 r, below 2 r again.
#[inline(always)]
fn halve<L: Lanes>(
    l: L,
    value: &Values<L>,
    opposite: &Values<L>,
    half_inverse: &Limbs,
    point: &Values<L>,
    minus_half: &Limbs,
) -> Values<L> {
    let factor = product(l, &splat(l, half_inverse), point);
    // Below 1.3 r + r, and u below 4 r: their product below 9.2 r² is within what the module says.
    let factor = carried(l, &add(l, &factor, &splat(l, minus_half)));
    let difference = carried(l, &sub(l, &add(l, value, &splat(l, &TWICE_ORDER)), opposite));
    let sum = add(l, value, &product(l, &difference, &factor));
    // Below 3.3 r.
    less_twice_order(l, &sum)
}

/// A sum of 9 limbs, reduced from below to 5.
#[inline(always)]
fn reduced<L: Lanes>(l: L, sums: &Group) -> Values<L> {
    let mut t = [l.zero(); SUM_LIMBS];
    for weight in 0..WEIGHTS {
        t[weight] = l.load(&sums.0[weight]);
    }
    let order = splat(l, &ORDER);
    for at in 0..STEPS {
        let q = l.multiply_add_low(l.zero(), t[at], l.splat(MINUS_INVERSE));
        for limb in 0..LIMBS {
            t[at + limb] = l.multiply_add_low(t[at + limb], q, order[limb]);
            t[at + limb + 1] = l.multiply_add_high(t[at + limb + 1], q, order[limb]);
        }
        t[at + 1] = l.add(t[at + 1], l.carry_of(t[at]));
    }
    // Below 2^(448 − 208) + r.
    carried(l, &[t[STEPS], t[STEPS + 1], t[STEPS + 2], t[STEPS + 3], t[STEPS + 4]])
}

/// a b / 2^260 modulo r, not carried. Operands are carried.
#[inline(always)]
fn product<L: Lanes>(l: L, a: &Values<L>, b: &Values<L>) -> Values<L> {
    let order = splat(l, &ORDER);
    let mut t = [l.zero(); LIMBS];
    // Written out: a loop would move all of t down a place, every time.
    macro_rules! steps {
        ($($at:literal)*) => {$( step(l, &mut t, a, b[$at], &order); )*};
    }
    steps!(0 1 2 3 4);
    t
}

/// One limb of b: t = (t + a · b + q · r) / 2^52, with q such that the division leaves nothing.
#[inline(always)]
fn step<L: Lanes>(l: L, t: &mut Values<L>, a: &Values<L>, b: L::V, order: &Values<L>) {
    for at in 0..LIMBS {
        t[at] = l.multiply_add_low(t[at], a[at], b);
    }
    let q = l.multiply_add_low(l.zero(), t[0], l.splat(MINUS_INVERSE));
    for at in 0..LIMBS {
        t[at] = l.multiply_add_low(t[at], q, order[at]);
    }
    let carry = l.carry_of(t[0]);
    for at in 0..LIMBS - 1 {
        t[at] = l.multiply_add_high(t[at + 1], a[at], b);
    }
    t[LIMBS - 1] = l.multiply_add_high(l.zero(), a[LIMBS - 1], b);
    t[0] = l.add(t[0], carry);
    for at in 0..LIMBS {
        t[at] = l.multiply_add_high(t[at], q, order[at]);
    }
}

#[inline(always)]
fn splat<L: Lanes>(l: L, limbs: &Limbs) -> Values<L> {
    let mut out = [l.zero(); LIMBS];
    for at in 0..LIMBS {
        out[at] = l.splat(limbs[at]);
    }
    out
}

#[inline(always)]
fn add<L: Lanes>(l: L, a: &Values<L>, b: &Values<L>) -> Values<L> {
    let mut out = *a;
    for at in 0..LIMBS {
        out[at] = l.add(a[at], b[at]);
    }
    out
}

#[inline(always)]
fn sub<L: Lanes>(l: L, a: &Values<L>, b: &Values<L>) -> Values<L> {
    let mut out = *a;
    for at in 0..LIMBS {
        out[at] = l.sub(a[at], b[at]);
    }
    out
}

/// Carries signed limbs up, so that all but the last have 52 bits; of a number that is not negative the last has too.
#[inline(always)]
fn carried<L: Lanes>(l: L, values: &Values<L>) -> Values<L> {
    let mask = l.splat(LOW_52);
    let mut out = *values;
    for at in 0..LIMBS - 1 {
        let carry = l.carry_of(out[at]);
        out[at] = l.and(out[at], mask);
        out[at + 1] = l.add(out[at + 1], carry);
    }
    out
}

/// Carried, and less 2 r if that is in it.
#[inline(always)]
fn less_twice_order<L: Lanes>(l: L, values: &Values<L>) -> Values<L> {
    let whole = carried(l, values);
    let less = carried(l, &sub(l, &whole, &splat(l, &TWICE_ORDER)));
    // The last limb has the sign.
    let not_negative = l.zeros(l.carry_of(less[LIMBS - 1]));
    let mut out = whole;
    for at in 0..LIMBS {
        out[at] = l.select(not_negative, less[at], whole[at]);
    }
    out
}

#[cfg(test)]
mod tests {
    use ark_ff::One;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        accumulate,
        simd::{
            emulated::Emulated,
            fold::{LaneSums, WEIGHT_MAX},
        },
    };

    /// What the plain path makes of the same sums.
    fn expected(groups: &[Group], z: Fr) -> Fr {
        let sums = LaneSums::of(Emulated, groups.to_vec());
        let values = sums.accumulators().iter().map(accumulate::reduce).collect();
        Domain::get().evaluate(values, z)
    }

    fn agree(groups: &[Group], z: Fr) {
        let expected = expected(groups, z);
        assert_eq!(evaluate(Emulated, groups, z), expected, "emulated, at {z}");
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = crate::simd::fma::Fma::detected() {
            assert_eq!(evaluate(lanes, groups, z), expected, "by doubles, at {z}");
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = crate::simd::ifma::Ifma::detected() {
            assert_eq!(evaluate(lanes, groups, z), expected, "by 52-bit integers, at {z}");
        }
    }

    fn group(of: impl Fn(usize, usize, usize) -> u64) -> Vec<Group> {
        let row = |group, weight| Row(std::array::from_fn(|lane| of(group, weight, lane)));
        (0..ELEMENTS_PER_BLOB / LANES).map(|at| Group(std::array::from_fn(|weight| row(at, weight)))).collect()
    }

    #[test]
    fn the_largest_sums_and_zeros_are_evaluated_as_the_plain_path_does() {
        let largest = group(|_, _, _| WEIGHT_MAX);
        let mixed = group(|at, weight, lane| if (at + weight + lane) % 3 == 0 { 0 } else { WEIGHT_MAX });
        let orders = group(|_, weight, _| if weight < LIMBS { ORDER[weight] } else { 0 });
        for groups in [group(|_, _, _| 0), largest, mixed, orders] {
            for z in
                [Fr::zero(), Fr::one(), -Fr::one(), Fr::from(5u64), Domain::get().root(77), Domain::get().root(4095)]
            {
                agree(&groups, z);
            }
        }
    }

    #[test]
    fn every_element_counts_in_its_own_place() {
        let z = Fr::from(123_456_789u64);
        for index in [0, 1, 7, 8, 511, 512, 513, 1024, 2047, 3584, 4088, 4095] {
            agree(&group(|at, weight, lane| u64::from(at * LANES + lane == index && weight == 0)), z);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn any_sums_at_any_point(seed: [u8; 32], wide: [u8; 32]) {
            let mut bytes = vec![0; ELEMENTS_PER_BLOB * WEIGHTS * 8];
            blake3::Hasher::new_keyed(&seed).finalize_xof().fill(&mut bytes);
            let words = bytes.as_chunks::<8>().0;
            let groups = group(|at, weight, lane| u64::from_le_bytes(words[(at * WEIGHTS + weight) * LANES + lane]) % (WEIGHT_MAX + 1));
            agree(&groups, Fr::from_le_bytes_mod_order(&wide));
        }
    }
}
