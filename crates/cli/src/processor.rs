//! Whether this processor has what this binary was compiled for.
//!
//! As it is shipped that is the baseline of its architecture, which every processor has (docs/adr/0011). Compiled with
//! `-C target-cpu` it is a binary for some machines only; on the others it has to say so at its start, and not to die of an
//! unknown instruction in the middle of somebody's data.

/// A set of instructions, whether this binary was compiled to use it anywhere, and whether it is here.
struct Set {
    name: &'static str,
    assumed: bool,
    present: bool,
}

/// What to say instead of starting.
pub(crate) fn check() -> Result<(), String> {
    let lacking = lacking(&sets());
    if lacking.is_empty() {
        return Ok(());
    }
    Err(format!(
        "this binary was compiled for a processor with {}, which this one has not; \
         compile it on this machine, or without -C target-cpu and -C target-feature (RUSTFLAGS): it then finds out at \
         run time what a processor has",
        lacking.join(", ")
    ))
}

fn lacking(sets: &[Set]) -> Vec<&'static str> {
    sets.iter().filter(|set| set.assumed && !set.present).map(|set| set.name).collect()
}

/// Asked of the processor itself: the standard library's `is_x86_feature_detected` takes what was compiled in as given.
#[cfg(target_arch = "x86_64")]
fn sets() -> Vec<Set> {
    let cpu = raw_cpuid::CpuId::new();
    let (basic, more) = (cpu.get_feature_info(), cpu.get_extended_feature_info());
    let extended = cpu.get_extended_processor_and_feature_identifiers();
    macro_rules! sets {
        ($($from:ident: $($name:literal $has:ident),+;)+) => {
            vec![$($(Set {
                name: $name,
                assumed: cfg!(target_feature = $name),
                present: $from.as_ref().is_some_and(|found| found.$has()),
            }),+),+]
        };
    }
    sets! {
        basic: "sse3" has_sse3, "ssse3" has_ssse3, "sse4.1" has_sse41, "sse4.2" has_sse42, "popcnt" has_popcnt,
            "movbe" has_movbe, "aes" has_aesni, "pclmulqdq" has_pclmulqdq, "fma" has_fma, "avx" has_avx, "f16c" has_f16c;
        more: "avx2" has_avx2, "bmi1" has_bmi1, "bmi2" has_bmi2, "adx" has_adx, "sha" has_sha, "gfni" has_gfni,
            "vaes" has_vaes, "vpclmulqdq" has_vpclmulqdq, "avx512f" has_avx512f, "avx512bw" has_avx512bw,
            "avx512cd" has_avx512cd, "avx512dq" has_avx512dq, "avx512vl" has_avx512vl, "avx512ifma" has_avx512_ifma,
            "avx512vbmi" has_avx512vbmi, "avx512vbmi2" has_avx512vbmi2, "avx512vnni" has_avx512vnni,
            "avx512bitalg" has_avx512bitalg, "avx512vpopcntdq" has_avx512vpopcntdq;
        extended: "lzcnt" has_lzcnt;
    }
}

/// Other processors have no instruction that lists their instructions.
#[cfg(not(target_arch = "x86_64"))]
fn sets() -> Vec<Set> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_assumed_and_absent_is_named() {
        let set = |name, assumed, present| Set { name, assumed, present };
        let sets = [set("a", true, true), set("b", true, false), set("c", false, false), set("d", false, true)];
        assert_eq!(lacking(&sets), ["b"]);
        assert_eq!(check(), Ok(()), "these tests run");
    }

    /// A list that says no to everything, or yes, would check nothing: the standard library has to agree.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_processor_is_asked_what_the_standard_library_asks_it() {
        let present = |name: &str| sets().iter().any(|set| set.name == name && set.present);
        assert_eq!(present("sse4.2"), is_x86_feature_detected!("sse4.2"));
        assert_eq!(present("avx2"), is_x86_feature_detected!("avx2"));
        assert_eq!(present("avx512f"), is_x86_feature_detected!("avx512f"));
        assert_eq!(present("avx512ifma"), is_x86_feature_detected!("avx512ifma"));
        assert_eq!(present("gfni"), is_x86_feature_detected!("gfni"));
        assert_eq!(present("vaes"), is_x86_feature_detected!("vaes"));
        assert_eq!(present("lzcnt"), is_x86_feature_detected!("lzcnt"));
    }
}
