//! `holdfast completions`: for a shell's start-up files.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, failure::Failure, output};

/// Print completions for a shell, for instance `holdfast completions bash > ~/.local/share/bash-completion/completions/holdfast`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "holdfast", &mut text);
        output::line(String::from_utf8_lossy(&text).trim_end())
    }
}
