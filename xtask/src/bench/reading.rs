//! What `benches/reading` found: a full fold of a volume beside reads alone, cold.

use std::process::Command;

use super::{
    build::{self, Built},
    number,
};

/// The fold's rate over that of reads alone that it should reach.
pub(super) const GOAL: f64 = 0.9;

/// Rates in MB/s, MB being 10⁶ bytes.
pub(super) struct Reading {
    pub(super) bytes: u64,
    /// Through the kernel's cache.
    pub(super) plain_mb_per_s: f64,
    /// Past it.
    pub(super) direct_mb_per_s: f64,
    pub(super) fold_mb_per_s: f64,
    /// Above what the process had before.
    pub(super) memory_mb: f64,
}

pub(super) fn run(built: &Built, quick: bool) -> Result<Reading, String> {
    let mut command = Command::new(&built.reading);
    command.args(quick.then_some("--quick")).arg("--json");
    let object = build::answer(&mut command, "reading")?;
    let figure = |key: &str| number(&object, key, "reading");
    Ok(Reading {
        bytes: figure("bytes")? as u64,
        plain_mb_per_s: figure("plain_mb_per_s")?,
        direct_mb_per_s: figure("direct_mb_per_s")?,
        fold_mb_per_s: figure("fold_mb_per_s")?,
        memory_mb: figure("memory_mb")?,
    })
}

impl Reading {
    /// Beside the faster way to read.
    pub(super) fn ratio(&self) -> f64 {
        self.fold_mb_per_s / self.plain_mb_per_s.max(self.direct_mb_per_s)
    }
}
