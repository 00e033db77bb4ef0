//! `RUSTC_BOOTSTRAP=1 cargo fuzz run sums`, in `crates/kzg`: see `holdfast_kzg::fuzzing::sums`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_kzg::fuzzing::sums(input));
