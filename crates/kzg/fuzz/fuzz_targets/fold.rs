//! `RUSTC_BOOTSTRAP=1 cargo fuzz run fold -- -len_control=0 -max_len=12000`, in `crates/kzg`: see `holdfast_kzg::fuzzing::fold`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_kzg::fuzzing::fold(input));
