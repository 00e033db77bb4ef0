//! The same lanes in plain integers: slow, the same on every machine, and safe. For tests and fuzzing: the
//! kernels' logic against the plain path where no such processor is at hand, and the instructions against
//! their description where one is.

use super::lanes::{ELEMENT_LIMBS, GROUP_LEN, Kernel, LANES, Lanes, Row};
use crate::ELEMENT_LEN;

/// Lanes without a vector unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emulated;

type V = [u64; LANES];

const LOW_52: u64 = (1 << 52) - 1;

fn lanewise(a: V, b: V, of: fn(u64, u64) -> u64) -> V {
    std::array::from_fn(|at| of(a[at], b[at]))
}

fn product(a: u64, b: u64) -> u128 {
    u128::from(a & LOW_52) * u128::from(b & LOW_52)
}

impl Lanes for Emulated {
    type V = V;

    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    fn zero(self) -> V {
        [0; LANES]
    }

    fn splat(self, value: u64) -> V {
        [value; LANES]
    }

    fn load(self, from: &Row) -> V {
        from.0
    }

    fn store(self, to: &mut Row, value: V) {
        to.0 = value;
    }

    fn elements(self, from: &[u8; GROUP_LEN]) -> [V; ELEMENT_LIMBS] {
        let mut out = [[0; LANES]; ELEMENT_LIMBS];
        for (lane, element) in from.as_chunks::<ELEMENT_LEN>().0.iter().enumerate() {
            for bit in 0..8 * ELEMENT_LEN {
                let value = element[ELEMENT_LEN - 1 - bit / 8] >> (bit % 8) & 1;
                out[bit / 52][lane] |= u64::from(value) << (bit % 52);
            }
        }
        out
    }

    fn add(self, a: V, b: V) -> V {
        lanewise(a, b, u64::wrapping_add)
    }

    fn sub(self, a: V, b: V) -> V {
        lanewise(a, b, u64::wrapping_sub)
    }

    fn and(self, a: V, b: V) -> V {
        lanewise(a, b, |a, b| a & b)
    }

    fn or(self, a: V, b: V) -> V {
        lanewise(a, b, |a, b| a | b)
    }

    fn carry_of(self, a: V) -> V {
        a.map(|lane| (lane.cast_signed() >> 52).cast_unsigned())
    }

    fn multiply_add_low(self, sum: V, a: V, b: V) -> V {
        let low = lanewise(a, b, |a, b| product(a, b) as u64 & LOW_52);
        lanewise(sum, low, u64::wrapping_add)
    }

    fn multiply_add_high(self, sum: V, a: V, b: V) -> V {
        let high = lanewise(a, b, |a, b| (product(a, b) >> 52) as u64);
        lanewise(sum, high, u64::wrapping_add)
    }

    fn select(self, mask: u8, yes: V, no: V) -> V {
        std::array::from_fn(|at| if mask >> at & 1 == 1 { yes[at] } else { no[at] })
    }

    fn zeros(self, a: V) -> u8 {
        a.iter().enumerate().fold(0, |mask, (at, lane)| mask | u8::from(*lane == 0) << at)
    }

    fn look_up(self, table: V, index: V) -> V {
        index.map(|at| table[at as usize % LANES])
    }

    fn even_lanes(self, a: V, b: V) -> V {
        [a[0], b[0], a[2], b[2], a[4], b[4], a[6], b[6]]
    }

    fn odd_lanes(self, a: V, b: V) -> V {
        [a[1], b[1], a[3], b[3], a[5], b[5], a[7], b[7]]
    }

    fn even_pairs(self, a: V, b: V) -> V {
        [a[0], a[1], a[4], a[5], b[0], b[1], b[4], b[5]]
    }

    fn odd_pairs(self, a: V, b: V) -> V {
        [a[2], a[3], a[6], a[7], b[2], b[3], b[6], b[7]]
    }

    fn prefetch(self, _: &Row) {}
    fn prefetch_behind(self, _: &[u8; GROUP_LEN], _: usize) {}
}
