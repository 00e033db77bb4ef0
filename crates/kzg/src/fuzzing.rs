//! What the fuzzer calls: every path of this machine against the textbook, on bytes of its choice.
//! Compiled with the feature `test-setup` only. See `fuzz/`.

use ark_bls12_381::Fr;
use ark_ff::{PrimeField, Zero};

use crate::{
    BLOB_LEN, CpuPath, ELEMENT_LEN, ELEMENTS_PER_BLOB, Fold, Gamma, Scalar, accumulate,
    blst::{Affine, Point},
    engine::WithAdder,
    fixed_base::FixedBase,
    sums::{Adder, Summand, Sums},
};

/// Bases of a sum of products at most: a table takes a tenth of a millisecond a base.
const BASES_MAX: usize = 8;
/// Bytes that describe a piece.
const PIECE_HEAD_LEN: usize = 20;

fn paths() -> impl Iterator<Item = CpuPath> {
    let all = [CpuPath::Plain, CpuPath::Emulated, CpuPath::Avx512Fma, CpuPath::Avx512Ifma];
    all.into_iter().filter(|path| path.is_available())
}

/// Folds pieces that `input` describes: γ (16 bytes), first element and length (2 bytes each), then the piece. What
/// is missing of the last of them is zeros. Then takes the sum's value at a point made of the first bytes. Of 6 KiB or
/// more there can be so many pieces that sums are carried on the way.
///
/// # Panics
/// Where a path disagrees with one field multiplication an element.
pub fn fold(input: &[u8]) {
    let mut folds: Vec<Fold> = paths().filter_map(|path| Fold::on(path).ok()).collect();
    let mut expected: Vec<Option<Fr>> = vec![None; ELEMENTS_PER_BLOB];
    let mut rest = input;
    while !rest.is_empty() {
        let (described, after) = rest.split_at(rest.len().min(PIECE_HEAD_LEN));
        let mut head = [0; PIECE_HEAD_LEN];
        head[..described.len()].copy_from_slice(described);
        let gamma = u128::from_le_bytes(std::array::from_fn(|at| head[at]));
        let field = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
        let first = field(16) % ELEMENTS_PER_BLOB;
        let len = field(18).min(after.len()).min(BLOB_LEN - first * ELEMENT_LEN);
        let (piece, after) = after.split_at(len);
        rest = after;
        // To its exact length on the heap, for the sanitizer.
        let piece: Box<[u8]> = piece.into();
        for fold in &mut folds {
            assert_eq!(fold.absorb(Gamma(gamma), first * ELEMENT_LEN, &piece), Ok(()));
        }
        for (sum, element) in expected[first..].iter_mut().zip(piece.chunks(ELEMENT_LEN)) {
            let mut padded = [0; ELEMENT_LEN];
            padded[..element.len()].copy_from_slice(element);
            *sum.get_or_insert_default() += Fr::from(gamma) * Fr::from_be_bytes_mod_order(&padded);
        }
    }
    for fold in &folds {
        for (index, (sum, expected)) in fold.accumulators().iter().zip(&expected).enumerate() {
            // Reducing thousands of zeros would be most of the work.
            let right = expected.map_or(*sum == [0; 7], |expected| accumulate::reduce(sum) == expected);
            assert!(right, "{fold:?} has a wrong sum at element {index}");
        }
    }
    let mut wide = [0; 64];
    wide.iter_mut().zip(input).for_each(|(to, from)| *to = *from);
    let z = Scalar::from_wide(&wide);
    let values: Vec<Scalar> = folds.iter().map(|fold| fold.evaluate(z)).collect();
    assert!(values.windows(2).all(|two| two[0] == two[1]), "{folds:?} come to {values:?} at {z:?}");
}

fn multiple(of: i64) -> Affine {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&of.unsigned_abs().to_le_bytes());
    let point = Point::from(&Affine::generator()).times(&bytes).to_affine();
    Affine { x: point.x, y: point.y.negated_if(of < 0) }
}

/// Adds small multiples of the generator, so that points collide all the time. A byte is a summand: four bits of
/// multiple, one of sign, one that ends the group.
///
/// # Panics
/// Where a path disagrees with the multiple that the numbers add up to.
pub fn sums(input: &[u8]) {
    let multiples: Vec<i64> = (-7..=8).collect();
    let (mut summands, mut ends, mut expected, mut sum) = (vec![], vec![], vec![], 0);
    for byte in input {
        let (index, negated) = (byte & 15, byte & 16 != 0);
        summands.push(Summand::entry(u32::from(index), negated));
        sum += if negated { -1 } else { 1 } * multiples[usize::from(index)];
        if byte & 32 != 0 {
            ends.push(summands.len() as u32);
            expected.push(multiple(std::mem::take(&mut sum)));
        }
    }
    ends.push(summands.len() as u32);
    expected.push(multiple(sum));
    let list: Vec<Affine> = multiples.iter().map(|of| multiple(*of)).collect();
    for path in paths() {
        let Ok(engine) = path.engine() else { continue };
        let got = engine.with_adder(Groups { list: &list, summands: &summands, ends: &ends });
        assert!(got == expected, "{path} does not sum {input:?}");
    }
}

struct Groups<'a> {
    list: &'a [Affine],
    summands: &'a [Summand],
    ends: &'a [u32],
}

impl WithAdder for Groups<'_> {
    type Output = Vec<Affine>;

    fn with<A: Adder + 'static>(self, engine: A::Engine) -> Self::Output {
        let list: Box<[A::Point]> = self.list.iter().map(A::from_affine).collect();
        let mut out = vec![];
        Sums::<A>::new(engine).sum_groups(&list, self.summands, self.ends, &mut out);
        out.iter().map(A::to_affine).collect()
    }
}

/// Σ scalar · base over a table: 33 bytes a base, a small multiple and a scalar.
///
/// # Panics
/// Where a path disagrees with the field's arithmetic.
pub fn products(input: &[u8]) {
    let (mut bases, mut scalars, mut sum) = (vec![], vec![], Fr::zero());
    for chunk in input.as_chunks::<33>().0.iter().take(BASES_MAX) {
        let (of, scalar) = (i64::from(chunk[0].cast_signed()), Fr::from_be_bytes_mod_order(&chunk[1..]));
        bases.push(multiple(of));
        scalars.push(scalar.into_bigint().0);
        let size = Fr::from(of.unsigned_abs());
        sum += scalar * if of < 0 { -size } else { size };
    }
    let expected = Point::from(&Affine::generator()).times(&Scalar(sum).to_le_bytes()).to_affine();
    for path in paths() {
        let Ok(engine) = path.engine() else { continue };
        let got = FixedBase::new(engine, &bases).sum_of_products(&scalars);
        assert!(got == expected, "{path} does not multiply {input:?}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_of_every_kind_are_summed_alike() {
        for seed in 0..6u8 {
            let mut bytes = vec![0; 3000];
            blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
            super::fold(&bytes);
            super::sums(&bytes[..500 * usize::from(seed)]);
            super::products(&bytes[..33 * usize::from(seed)]);
        }
    }
}
