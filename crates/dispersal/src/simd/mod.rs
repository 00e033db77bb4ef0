//! Sums over GF(2^8) at the speed of memory: the only `unsafe` code of this crate.
//!
//! A target is Σ factor · source, byte by byte. Each path keeps a *group* of targets in registers while it passes over
//! the sources once, so that a byte of a source is read once for up to eight targets:
//!
//! ```text
//! for strip of 16 KiB                   targets and sources stay in the level-2 cache
//!   for group of targets                4 or 8 of them, as many as there are registers for
//!     for batch of 8 sources            more streams than a cache has ways evict each other
//!       for block of two registers      sums += factor · source, all in registers
//! ```
//!
//! | path | product by a constant |
//! |---|---|
//! | [`CpuPath::Gfni512`] | one `gf2p8affineqb`: the product is a linear map over bits, an 8 × 8 matrix |
//! | [`CpuPath::Shuffle512`], [`CpuPath::Shuffle256`] | two `pshufb`: products of the low and of the high four bits, looked up (Plank, Greenan, Miller, "Screaming Fast Galois Field Arithmetic Using Intel SIMD Instructions", 2013) |
//! | [`CpuPath::Plain`] | one table of 256 products; any processor; the slow twin of the others |
//!
//! The loops ([`sweep`]) are written over the few operations of [`lane::Lane`], so that tests run them over emulated
//! registers on any processor. Which path is taken is decided when the program runs; one that the processor lacks cannot
//! be had.

#[cfg(test)]
mod emulated;
mod lane;
mod plain;
mod sweep;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;

use thiserror::Error;

/// Instructions that Reed–Solomon runs on, best first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CpuPath {
    /// x86-64 with AVX-512F and GFNI: Ice Lake, Zen 4 and later.
    Gfni512,
    /// x86-64 with AVX-512BW: Skylake-X and later.
    Shuffle512,
    /// x86-64 with AVX2: Haswell, Zen and later.
    Shuffle256,
    /// Any processor.
    Plain,
}

/// A path that this processor does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("expected a path that this processor has ({}), got {path}; take `CpuPath::detected()`", list(), path = .0)]
pub struct PathUnavailable(pub CpuPath);

fn list() -> String {
    CpuPath::available().map(CpuPath::name).collect::<Vec<_>>().join(", ")
}

impl CpuPath {
    /// All there are, best first.
    pub const ALL: [Self; 4] = [Self::Gfni512, Self::Shuffle512, Self::Shuffle256, Self::Plain];

    /// The best that this processor has.
    pub fn detected() -> Self {
        Self::available().next().unwrap_or(Self::Plain)
    }

    /// Those that this processor has, best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|path| path.is_available())
    }

    /// Whether this processor, and its operating system, have it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Gfni512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("gfni"),
            #[cfg(target_arch = "x86_64")]
            Self::Shuffle512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"),
            #[cfg(target_arch = "x86_64")]
            Self::Shuffle256 => is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Gfni512 | Self::Shuffle512 | Self::Shuffle256 => false,
            Self::Plain => true,
        }
    }

    /// As it is printed and configured: `gfni512`, `shuffle512`, `shuffle256`, `plain`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gfni512 => "gfni512",
            Self::Shuffle512 => "shuffle512",
            Self::Shuffle256 => "shuffle256",
            Self::Plain => "plain",
        }
    }
}

impl fmt::Display for CpuPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Coefficients, prepared for one path. To hold one is the proof that the processor has the path.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    path: CpuPath,
    sources: usize,
    targets: usize,
    prepared: Prepared,
}

#[derive(Clone, Debug)]
enum Prepared {
    #[cfg(target_arch = "x86_64")]
    Affine(Vec<sweep::Group<lane::Matrix>>),
    #[cfg(target_arch = "x86_64")]
    Halves(Vec<sweep::Group<lane::HalfTables>>),
    Plain(Vec<Vec<u8>>),
}

impl Kernel {
    /// Prepares `rows[target][source]`, all rows of `sources` coefficients.
    pub(crate) fn new(path: CpuPath, sources: usize, rows: &[Vec<u8>]) -> Result<Self, PathUnavailable> {
        if !path.is_available() {
            return Err(PathUnavailable(path));
        }
        assert!(rows.iter().all(|row| row.len() == sources), "a row has a coefficient for each source");
        let prepared = match path {
            #[cfg(target_arch = "x86_64")]
            CpuPath::Gfni512 => Prepared::Affine(sweep::groups(rows, x86::GFNI512_WIDTH, lane::matrix)),
            #[cfg(target_arch = "x86_64")]
            CpuPath::Shuffle512 => Prepared::Halves(sweep::groups(rows, x86::SHUFFLE512_WIDTH, lane::half_tables)),
            #[cfg(target_arch = "x86_64")]
            CpuPath::Shuffle256 => Prepared::Halves(sweep::groups(rows, x86::SHUFFLE256_WIDTH, lane::half_tables)),
            _ => Prepared::Plain(rows.to_vec()),
        };
        Ok(Self { path, sources, targets: rows.len(), prepared })
    }

    /// Where it runs.
    pub(crate) const fn path(&self) -> CpuPath {
        self.path
    }

    /// Overwrites `targets` with their sums over `sources`.
    ///
    /// # Panics
    /// Unless there are as many of both as the matrix has, all of one length.
    pub(crate) fn apply(&self, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        assert_eq!((self.sources, self.targets), (sources.len(), targets.len()), "one strip for each row and column");
        let len = sources.first().map_or(0, |strip| strip.len());
        let one_length =
            sources.iter().all(|strip| strip.len() == len) && targets.iter().all(|strip| strip.len() == len);
        assert!(one_length, "strips of one length");
        match &self.prepared {
            Prepared::Plain(rows) => plain::apply(rows, sources, targets),
            #[cfg(target_arch = "x86_64")]
            Prepared::Affine(groups) => sweep::apply(groups, sources, targets, |job, width| {
                // SAFETY: `Kernel::new` made this variant only after it found AVX-512F and GFNI; `sweep::apply` gives
                // jobs within the strips.
                unsafe { x86::gfni512(job, width) }
            }),
            #[cfg(target_arch = "x86_64")]
            Prepared::Halves(groups) if self.path == CpuPath::Shuffle512 => {
                sweep::apply(groups, sources, targets, |job, width| {
                    // SAFETY: `Kernel::new` gave out this path only after it found AVX-512F and AVX-512BW; jobs as above.
                    unsafe { x86::shuffle512(job, width) }
                });
            }
            #[cfg(target_arch = "x86_64")]
            Prepared::Halves(groups) => sweep::apply(groups, sources, targets, |job, width| {
                // SAFETY: the only other path with this variant is `Shuffle256`, given out after AVX2 was found; jobs
                // as above.
                unsafe { x86::shuffle256(job, width) }
            }),
        }
    }
}
