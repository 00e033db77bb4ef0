//! Which of the processor's instructions to work with.

use thiserror::Error;

#[cfg(any(test, feature = "test-setup"))]
use crate::simd::emulated::Emulated;
#[cfg(target_arch = "x86_64")]
use crate::simd::{fma::Fma, ifma::Ifma};
use crate::{chord::Chords, simd::adder::LaneAdder, sums::Adder};

/// A way through the kernels. All give the same bytes; they differ in speed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum CpuPath {
    /// 64-bit code that every processor runs.
    Plain,
    /// AVX-512 with F, BW, DQ and VL, products by fused multiply-add of doubles: Intel's Skylake-X and Cascade Lake.
    Avx512Fma,
    /// The same sets and IFMA: Intel from Ice Lake on, AMD from Zen 4 on.
    Avx512Ifma,
    /// The vector kernels over plain integers: slow, on every machine, for tests and fuzzing only.
    #[cfg(any(test, feature = "test-setup"))]
    Emulated,
}

/// The processor cannot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("this processor (or its operating system) does not offer what the path {0} needs; use CpuPath::detected()")]
pub struct CpuPathUnavailable(pub CpuPath);

impl CpuPath {
    /// The fastest that this processor and its operating system offer.
    pub fn detected() -> Self {
        [Self::Avx512Ifma, Self::Avx512Fma].into_iter().find(|path| path.is_available()).unwrap_or(Self::Plain)
    }

    /// Whether it can be taken here.
    pub fn is_available(self) -> bool {
        self.engine().is_ok()
    }

    /// As it is printed: `plain`, `avx512-fma`, `avx512-ifma`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Avx512Fma => "avx512-fma",
            Self::Avx512Ifma => "avx512-ifma",
            #[cfg(any(test, feature = "test-setup"))]
            Self::Emulated => "emulated",
        }
    }

    pub(crate) fn engine(self) -> Result<Engine, CpuPathUnavailable> {
        match self {
            Self::Plain => Ok(Engine::Plain),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Fma => Fma::detected().map(Engine::Fma).ok_or(CpuPathUnavailable(self)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Ifma => Ifma::detected().map(Engine::Ifma).ok_or(CpuPathUnavailable(self)),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Fma | Self::Avx512Ifma => Err(CpuPathUnavailable(self)),
            #[cfg(any(test, feature = "test-setup"))]
            Self::Emulated => Ok(Engine::Emulated(Emulated)),
        }
    }
}

impl std::fmt::Display for CpuPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A path that was found available.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Fma(Fma),
    #[cfg(target_arch = "x86_64")]
    Ifma(Ifma),
    #[cfg(any(test, feature = "test-setup"))]
    Emulated(Emulated),
}

/// Something to be done with whichever adder the engine has.
pub(crate) trait WithAdder {
    type Output;
    fn with<A: Adder + 'static>(self, engine: A::Engine) -> Self::Output;
}

impl Engine {
    /// The engine of [`CpuPath::detected`].
    pub(crate) fn detected() -> Self {
        CpuPath::detected().engine().unwrap_or(Self::Plain)
    }

    pub(crate) const fn path(self) -> CpuPath {
        match self {
            Self::Plain => CpuPath::Plain,
            #[cfg(target_arch = "x86_64")]
            Self::Fma(_) => CpuPath::Avx512Fma,
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(_) => CpuPath::Avx512Ifma,
            #[cfg(any(test, feature = "test-setup"))]
            Self::Emulated(_) => CpuPath::Emulated,
        }
    }

    pub(crate) fn with_adder<W: WithAdder>(self, work: W) -> W::Output {
        match self {
            Self::Plain => work.with::<Chords>(()),
            #[cfg(target_arch = "x86_64")]
            Self::Fma(lanes) => work.with::<LaneAdder<Fma>>(lanes),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(lanes) => work.with::<LaneAdder<Ifma>>(lanes),
            #[cfg(any(test, feature = "test-setup"))]
            Self::Emulated(lanes) => work.with::<LaneAdder<Emulated>>(lanes),
        }
    }

    /// Every engine of this machine, for tests that hold them to one another.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let paths = [CpuPath::Plain, CpuPath::Emulated, CpuPath::Avx512Fma, CpuPath::Avx512Ifma];
        paths.iter().filter_map(|path| path.engine().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Elsewhere a target's own baseline has more.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_build_assumes_no_more_than_the_baseline() {
        // A binary compiled for its build machine dies on another one, without a word. See docs/adr/0011.
        macro_rules! compiled_in {
            ($($name:literal)+) => { [$(($name, cfg!(target_feature = $name))),+] };
        }
        // Whatever a processor of x86-64-v2 and above, or of armv8.1 and above, brings along.
        let more = compiled_in!("sse3" "ssse3" "popcnt" "avx" "bmi2" "avx512f" "lse" "dotprod" "aes" "sha2" "sve");
        let more: Vec<&str> = more.iter().filter(|(_, enabled)| *enabled).map(|(name, _)| *name).collect();
        assert_eq!(more, [""; 0], "compiled in");
    }

    #[test]
    fn a_path_that_the_processor_has_not_is_refused() {
        assert!(CpuPath::Plain.is_available() && CpuPath::detected().is_available());
        for path in [CpuPath::Avx512Fma, CpuPath::Avx512Ifma] {
            match path.engine() {
                Ok(engine) => assert_eq!(engine.path(), path),
                Err(error) => {
                    assert_eq!(error, CpuPathUnavailable(path));
                    assert!(error.to_string().contains(path.name()), "{error}");
                    assert_ne!(CpuPath::detected(), path);
                    assert!(crate::Fold::on(path).is_err());
                    assert!(crate::Setup::ethereum_on(path).is_err());
                }
            }
        }
        assert!(CpuPath::detected() != CpuPath::Plain || !CpuPath::Avx512Fma.is_available());
    }
}
