//! Every operation of the lanes against its description, and the arithmetic over them against ark and the plain path.

use ark_bls12_381::Fq;
use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};
use proptest::prelude::*;

use super::{
    emulated::Emulated,
    field::{self, LIMBS, MultiplyTwo, Octet},
    lanes::{GROUP_LEN, Kernel, LANES, Lanes, Row, transpose},
};
use crate::blst::Fp;

/// Runs the kernel that `$kernel` makes on each kind of lanes that this machine has.
macro_rules! everywhere {
    ($kernel:expr) => {{
        #[allow(unused_mut)]
        let mut out = vec![Emulated.run($kernel)];
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = super::ifma::Ifma::detected() {
            out.push(lanes.run($kernel));
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = super::fma::Fma::detected() {
            out.push(lanes.run($kernel));
        }
        out
    }};
}

/// Every operation on two rows, as rows.
struct EveryOperation<'a> {
    a: &'a Row,
    b: &'a Row,
    c: &'a Row,
    bytes: &'a [u8; GROUP_LEN],
    mask: u8,
}

impl Kernel for EveryOperation<'_> {
    type Output = (Vec<Row>, u8);

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Self::Output {
        let (a, b, c) = (l.load(self.a), l.load(self.b), l.load(self.c));
        let results = [
            l.zero(),
            l.splat(self.a.0[3]),
            l.add(a, b),
            l.sub(a, b),
            l.and(a, b),
            l.or(a, b),
            l.carry_of(a),
            l.multiply_add_low(c, a, b),
            l.multiply_add_high(c, a, b),
            l.select(self.mask, a, b),
            l.look_up(a, b),
            l.even_lanes(a, b),
            l.odd_lanes(a, b),
            l.even_pairs(a, b),
            l.odd_pairs(a, b),
        ];
        l.prefetch(self.a);
        l.prefetch_behind(self.bytes, usize::MAX);
        let mut rows = vec![Row::ZERO; results.len()];
        for at in 0..results.len() {
            l.store(&mut rows[at], results[at]);
        }
        let elements = l.elements(self.bytes);
        for at in 0..elements.len() {
            rows.push(Row::ZERO);
            l.store(&mut rows[results.len() + at], elements[at]);
        }
        (rows, l.zeros(a))
    }
}

struct Transpose<'a>(&'a [Row; LANES]);

impl Kernel for Transpose<'_> {
    type Output = [Row; LANES];

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Self::Output {
        let columns = transpose(l, Octet(*self.0).load(l));
        let mut out = Octet::ZERO;
        out.store(l, &columns);
        out.0
    }
}

/// (a − b + 2p, carried; a + b − c + k p, reduced)
struct Sums<'a> {
    a: &'a Octet,
    b: &'a Octet,
    c: &'a Octet,
    multiple: usize,
}

impl Kernel for Sums<'_> {
    type Output = [Octet; 2];

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Self::Output {
        let (a, b, c) = (self.a.load(l), self.b.load(l), self.c.load(l));
        let difference = field::carried(l, &field::sub(l, &field::add(l, &a, &field::multiple_of_p(l, 2)), &b));
        let three = field::sub(l, &field::add(l, &a, &b), &c);
        let three = field::reduced(l, &field::add(l, &three, &field::multiple_of_p(l, self.multiple)));
        let mut out = [Octet::ZERO; 2];
        out[0].store(l, &difference);
        out[1].store(l, &three);
        out
    }
}

struct Product<'a>([&'a Octet; 2], [&'a Octet; 2]);

impl Kernel for Product<'_> {
    type Output = [Octet; 2];

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> Self::Output {
        let mut out = [*self.0[0], *self.0[1]];
        let [first, second] = &mut out;
        l.run(MultiplyTwo { a: [first, second], b: self.1 });
        out
    }
}

/// The number that limbs are, divided by 2^416, as ark's element.
fn to_ark(limbs: &[u64; LIMBS]) -> Fq {
    let shift = Fq::from(1u64 << 52);
    let value = limbs.iter().rev().fold(Fq::ZERO, |value, limb| value * shift + Fq::from(*limb));
    value / Fq::from(2u64).pow([416])
}

fn from_ark(value: Fq) -> [u64; LIMBS] {
    field::from_fp(&Fp::from_words(value.0.0))
}

fn octet(values: &[Fq; LANES]) -> Octet {
    let mut out = Octet::ZERO;
    for (lane, value) in values.iter().enumerate() {
        out.set_lane(lane, &from_ark(*value));
    }
    out
}

/// limbs ≤ (1 + 2^-12) · p: the top limb of p has 17 bits.
fn nearly_reduced(limbs: &[u64; LIMBS]) -> bool {
    let top = Fp::MODULUS[5] >> (364 - 320);
    limbs[LIMBS - 1] <= top + (top >> 12) && limbs.iter().all(|limb| limb >> 52 == 0)
}

fn element() -> impl Strategy<Value = Fq> {
    let edge = prop::sample::select(vec![Fq::ZERO, Fq::ONE, -Fq::ONE, Fq::from(2u64), -Fq::from(2u64)]);
    let any = any::<[u64; 6]>().prop_map(|mut limbs| {
        limbs[5] >>= 4;
        Fq::from(BigInt::new(limbs))
    });
    prop_oneof![1 => edge, 4 => any]
}

fn lane_values() -> impl Strategy<Value = [Fq; LANES]> {
    prop::array::uniform8(element())
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), Just((1 << 52) - 1), Just(1 << 52), any::<u64>()]
}

fn row() -> impl Strategy<Value = Row> {
    prop::array::uniform8(number()).prop_map(Row)
}

proptest! {
    #[test]
    fn instructions_do_what_the_emulation_says(a in row(), b in row(), c in row(), bytes in prop::collection::vec(any::<u8>(), GROUP_LEN + 1), mask: u8) {
        // At an odd address, and to the last byte of its allocation.
        let bytes: Box<[u8]> = bytes.into();
        let bytes: &[u8; GROUP_LEN] = bytes[1..].try_into().unwrap();
        let results = everywhere!(EveryOperation { a: &a, b: &b, c: &c, bytes, mask });
        for result in &results[1..] {
            prop_assert_eq!(result, &results[0]);
        }
    }

    #[test]
    fn transposing_swaps_rows_and_columns(rows in prop::array::uniform8(row())) {
        for columns in everywhere!(Transpose(&rows)) {
            for at in 0..LANES * LANES {
                prop_assert_eq!(columns[at / LANES].0[at % LANES], rows[at % LANES].0[at / LANES]);
            }
        }
    }

    #[test]
    fn sums_and_differences_are_arks(a in lane_values(), b in lane_values(), c in lane_values(), multiple in 2usize..=5) {
        let (x, y, z) = (octet(&a), octet(&b), octet(&c));
        for [difference, three] in everywhere!(Sums { a: &x, b: &y, c: &z, multiple }) {
            for lane in 0..LANES {
                prop_assert_eq!(to_ark(&difference.lane(lane)), a[lane] - b[lane]);
                prop_assert_eq!(to_ark(&three.lane(lane)), a[lane] + b[lane] - c[lane]);
                prop_assert!(nearly_reduced(&three.lane(lane)), "{:?}", three.lane(lane));
            }
        }
    }

    #[test]
    fn products_are_arks_also_of_operands_not_reduced(a in lane_values(), b in lane_values(), c in lane_values()) {
        let (x, y, z) = (octet(&a), octet(&b), octet(&c));
        for [difference, three] in everywhere!(Sums { a: &x, b: &y, c: &z, multiple: 2 }) {
            for [first, second] in everywhere!(Product([&difference, &three], [&difference, &x])) {
                for lane in 0..LANES {
                    prop_assert_eq!(to_ark(&first.lane(lane)), (a[lane] - b[lane]).square());
                    prop_assert_eq!(to_ark(&second.lane(lane)), (a[lane] + b[lane] - c[lane]) * a[lane]);
                    prop_assert!(nearly_reduced(&first.lane(lane)) && nearly_reduced(&second.lane(lane)));
                }
            }
        }
    }

    #[test]
    fn inverses_are_arks_and_a_zero_among_them_is_told(a in lane_values()) {
        match field::inverses(&octet(&a)) {
            None => prop_assert!(a.contains(&Fq::ZERO)),
            Some(inverses) => for (lane, value) in a.iter().enumerate() {
                prop_assert_eq!(to_ark(&inverses.lane(lane)) * value, Fq::ONE);
            }
        }
    }

    #[test]
    fn elements_come_back_and_are_negated(a in element()) {
        let ours = Fp::from_words(a.0.0);
        prop_assert_eq!(to_ark(&from_ark(a)), a);
        prop_assert_eq!(field::to_fp(&from_ark(a)), ours);
        prop_assert_eq!(to_ark(&field::negated(&from_ark(a))), -a);
    }
}

#[test]
fn zero_is_told_in_both_of_its_forms() {
    // p itself is nearly reduced too: a product of denominators can come out as it.
    let mut p = Octet::ONE;
    let modulus = std::array::from_fn(|at| {
        let (word, shift) = (at * 52 / 64, at * 52 % 64);
        let above = if shift > 12 && word < 5 { Fp::MODULUS[word + 1] << (64 - shift) } else { 0 };
        (Fp::MODULUS[word] >> shift | above) & ((1 << 52) - 1)
    });
    p.set_lane(5, &modulus);
    assert_eq!(to_ark(&modulus), Fq::ZERO);
    assert!(field::inverses(&p).is_none());
    assert!(field::inverses(&Octet::ZERO).is_none());
    assert_eq!(field::inverses(&Octet::ONE), Some(Octet::ONE));
    assert_eq!(to_ark(&Octet::ONE.lane(3)), Fq::ONE);
    assert_eq!(Fq::MODULUS.0, Fp::MODULUS);
}
