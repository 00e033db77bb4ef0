//! Every path against `reed-solomon-erasure`, byte for byte; the loops over emulated registers where the real are absent.

use proptest::{prelude::*, sample::select};
use reed_solomon_erasure::galois_8::{ReedSolomon, mul};

use super::{
    emulated::{Affine, Shuffle, affine_byte},
    lane::{Lane, half_tables, matrix},
    sweep::{self, STRIP_LEN, sweep},
    *,
};

/// Strips in heap buffers of their exact length, each `shift` bytes off: whatever reads or writes past an end, valgrind
/// and AddressSanitizer see.
struct Strips {
    buffers: Vec<Box<[u8]>>,
    shift: usize,
}

impl Strips {
    fn new(count: usize, len: usize, shift: usize, seed: u64) -> Self {
        let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
        let buffers = (0..count).map(|_| {
            let mut buffer = vec![0; shift + len].into_boxed_slice();
            stream.fill(&mut buffer);
            buffer
        });
        Self { buffers: buffers.collect(), shift }
    }

    fn all(&self) -> Vec<&[u8]> {
        self.buffers.iter().map(|buffer| &buffer[self.shift..]).collect()
    }

    fn all_mut(&mut self) -> Vec<&mut [u8]> {
        self.buffers.iter_mut().map(|buffer| &mut buffer[self.shift..]).collect()
    }
}

/// Parity as the crate computes it.
fn expected(k: usize, m: usize, sources: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut parity = vec![vec![0; sources[0].len()]; m];
    if sources[0].is_empty() {
        return parity; // the crate refuses empty shards
    }
    ReedSolomon::new(k, m).unwrap().encode_sep(sources, &mut parity).unwrap();
    parity
}

fn rows(k: usize, m: usize) -> Vec<Vec<u8>> {
    let unit: Vec<Vec<u8>> = (0..k).map(|i| (0..k).map(|at| u8::from(at == i)).collect()).collect();
    expected(k, m, &unit.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Every path that this processor has, over the same strips.
fn assert_all_paths(k: usize, m: usize, len: usize, shift: usize) {
    let sources = Strips::new(k, len, shift, len as u64);
    let expected = expected(k, m, &sources.all());
    for path in CpuPath::available() {
        let mut targets = Strips::new(m, len, shift, 7);
        Kernel::new(path, k, &rows(k, m)).unwrap().apply(&sources.all(), &mut targets.all_mut());
        assert!(targets.all() == expected, "{path}, ({k},{m}), {len} bytes at {shift}");
    }
}

/// A job at a time over emulated registers, in groups of at most `width`.
fn apply_emulated<L: Lane>(
    rows: &[Vec<u8>],
    width: usize,
    factor: fn(u8) -> L::Factor,
    sources: &[&[u8]],
    targets: &mut [&mut [u8]],
) {
    let groups = sweep::groups(rows, width, factor);
    // SAFETY: emulated registers exist everywhere, and `apply` gives jobs within the strips.
    sweep::apply(&groups, sources, targets, |job, width| unsafe {
        match width {
            1 => sweep::<L, 1>(job),
            2 => sweep::<L, 2>(job),
            3 => sweep::<L, 3>(job),
            4 => sweep::<L, 4>(job),
            5 => sweep::<L, 5>(job),
            6 => sweep::<L, 6>(job),
            7 => sweep::<L, 7>(job),
            8 => sweep::<L, 8>(job),
            other => panic!("a group of {other}"),
        }
    });
}

#[test]
fn every_matrix_and_every_table_is_the_product() {
    for factor in 0..=255 {
        let (matrix, tables) = (matrix(factor), half_tables(factor));
        for byte in 0..=255 {
            assert_eq!(affine_byte(matrix, byte), mul(factor, byte));
            assert_eq!(tables[usize::from(byte & 15)] ^ tables[usize::from(16 + (byte >> 4))], mul(factor, byte));
        }
    }
}

#[test]
fn every_length_around_every_register_is_the_crate_s() {
    for len in 0..=200 {
        assert_all_paths(5, 3, len, len % 67);
    }
}

#[test]
fn strips_and_batches_meet_without_a_seam() {
    for len in [STRIP_LEN - 1, STRIP_LEN, STRIP_LEN + 1, 3 * STRIP_LEN + 77] {
        for k in [1, 2, 7, 8, 9, 16, 17] {
            assert_all_paths(k, 4, len, 1);
        }
    }
}

#[test]
fn the_largest_codes_are_the_crate_s() {
    for (k, m) in [(1, 1), (1, 255), (255, 1), (128, 128), (251, 5), (5, 251), (29, 51), (16, 4), (8, 4)] {
        assert_all_paths(k, m, 131, 3);
    }
}

#[test]
fn a_path_that_the_processor_lacks_is_refused() {
    for path in CpuPath::ALL {
        assert_eq!(Kernel::new(path, 1, &[vec![1]]).is_ok(), path.is_available());
    }
    assert!(CpuPath::detected().is_available() && CpuPath::Plain.is_available());
    let refusal = PathUnavailable(CpuPath::Gfni512).to_string();
    assert!(refusal.contains("got gfni512") && refusal.contains("plain"), "{refusal}");
}

#[test]
#[should_panic(expected = "strips of one length")]
fn strips_of_two_lengths_are_refused_before_they_are_touched() {
    Kernel::new(CpuPath::detected(), 2, &[vec![1, 2]]).unwrap().apply(&[&[1; 100], &[1; 99]], &mut [&mut [0; 100]]);
}

#[test]
fn groups_are_even_and_hold_every_row() {
    let rows: Vec<Vec<u8>> = (0..10).map(|row| vec![row; 3]).collect();
    let groups = sweep::groups(&rows, 8, |factor| factor);
    assert_eq!(groups.iter().map(sweep::Group::width).collect::<Vec<_>>(), [5, 5]);
    assert_eq!(sweep::groups(&[], 8, |factor| factor).len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_paths_are_the_crate_s(k in 1usize..40, m in 1usize..20, len in 0usize..700, shift in 0usize..64) {
        assert_all_paths(k, m, len, shift);
    }

    #[test]
    fn loops_over_emulated_registers_are_the_crate_s(
        k in 1usize..20, m in 1usize..12, len in 0usize..300, shift in 0usize..64, width in select(vec![1usize, 4, 8]),
    ) {
        let (sources, rows) = (Strips::new(k, len, shift, 1), rows(k, m));
        let expected = expected(k, m, &sources.all());
        let mut targets = Strips::new(m, len, shift, 2);
        apply_emulated::<Affine<64>>(&rows, width, matrix, &sources.all(), &mut targets.all_mut());
        prop_assert!(targets.all() == expected);
        let mut targets = Strips::new(m, len, shift, 3);
        apply_emulated::<Shuffle<32>>(&rows, width, half_tables, &sources.all(), &mut targets.all_mut());
        prop_assert!(targets.all() == expected);
    }
}
