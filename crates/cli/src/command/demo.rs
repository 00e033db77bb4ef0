//! `holdfast demo`: the whole loop on embedded defaults.

use std::path::PathBuf;

use clap::Args;

use crate::{demo, failure::Failure, quantity};

/// What the demo takes.
#[derive(Debug, Args)]
#[command(after_help = "Exits 0 only if every step was true. Without FILE, the holdfast binary itself is stored.")]
pub(crate) struct Demo {
    /// Files to store
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Store this many incompressible bytes made from the seed, for instance 256MiB
    #[arg(long, value_name = "SIZE", value_parser = quantity::size, conflicts_with = "files")]
    size: Option<u64>,
    /// Fixes victims, offsets and made bytes; never keys
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep the cluster's directory, here; `holdfast up --dir DIR` runs it again
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print one JSON object as the last line of standard output; all else goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
}

impl Demo {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Self { files, size, seed, keep, json } = self;
        demo::run(demo::Request { files, size, seed, keep, json })
    }
}
