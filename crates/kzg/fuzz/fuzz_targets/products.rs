//! `RUSTC_BOOTSTRAP=1 cargo fuzz run products`, in `crates/kzg`: see `holdfast_kzg::fuzzing::products`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_kzg::fuzzing::products(input));
