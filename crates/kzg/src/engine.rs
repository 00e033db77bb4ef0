//! Which of the processor's instructions to work with.

use thiserror::Error;

#[cfg(any(test, feature = "test-setup"))]
use crate::simd::emulated::Emulated;
#[cfg(target_arch = "x86_64")]
use crate::simd::ifma::Ifma;
use crate::{chord::Chords, simd::adder::LaneAdder, sums::Adder};

/// A way through the kernels. All give the same bytes; they differ in speed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum CpuPath {
    /// 64-bit code that every processor runs.
    Plain,
    /// AVX-512 with F, BW, DQ, VL, IFMA and VBMI: Intel from Ice Lake on, AMD from Zen 4 on.
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
        if Self::Avx512Ifma.is_available() { Self::Avx512Ifma } else { Self::Plain }
    }

    /// Whether it can be taken here.
    pub fn is_available(self) -> bool {
        self.engine().is_ok()
    }

    /// As it is printed: `plain`, `avx512-ifma`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Avx512Ifma => "avx512-ifma",
            #[cfg(any(test, feature = "test-setup"))]
            Self::Emulated => "emulated",
        }
    }

    pub(crate) fn engine(self) -> Result<Engine, CpuPathUnavailable> {
        match self {
            Self::Plain => Ok(Engine::Plain),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Ifma => Ifma::detected().map(Engine::Ifma).ok_or(CpuPathUnavailable(self)),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Ifma => Err(CpuPathUnavailable(self)),
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
            Self::Ifma(_) => CpuPath::Avx512Ifma,
            #[cfg(any(test, feature = "test-setup"))]
            Self::Emulated(_) => CpuPath::Emulated,
        }
    }

    pub(crate) fn with_adder<W: WithAdder>(self, work: W) -> W::Output {
        match self {
            Self::Plain => work.with::<Chords>(()),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(lanes) => work.with::<LaneAdder<Ifma>>(lanes),
            #[cfg(any(test, feature = "test-setup"))]
            Self::Emulated(lanes) => work.with::<LaneAdder<Emulated>>(lanes),
        }
    }

    /// Every engine of this machine, for tests that hold them to one another.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        [CpuPath::Plain, CpuPath::Emulated, CpuPath::Avx512Ifma].iter().filter_map(|path| path.engine().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_assumes_no_more_than_the_baseline() {
        // A binary compiled for its build machine dies on another one, without a word. See docs/adr/0011.
        let more = [
            ("avx", cfg!(target_feature = "avx")),
            ("bmi2", cfg!(target_feature = "bmi2")),
            ("avx512f", cfg!(target_feature = "avx512f")),
            ("sve", cfg!(target_feature = "sve")),
        ];
        assert!(more.iter().all(|(_, enabled)| !enabled), "compiled with {more:?}");
    }

    #[test]
    fn a_path_that_the_processor_has_not_is_refused() {
        assert!(CpuPath::Plain.is_available() && CpuPath::detected().is_available());
        match CpuPath::Avx512Ifma.engine() {
            Ok(engine) => assert_eq!(engine.path(), CpuPath::Avx512Ifma),
            Err(error) => {
                assert_eq!(error, CpuPathUnavailable(CpuPath::Avx512Ifma));
                assert!(error.to_string().contains("avx512-ifma"), "{error}");
                assert_eq!(CpuPath::detected(), CpuPath::Plain);
                assert!(crate::Fold::on(CpuPath::Avx512Ifma).is_err());
                assert!(crate::Setup::ethereum_on(CpuPath::Avx512Ifma).is_err());
            }
        }
    }
}
