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
        output::line(script(self.shell).trim_end())
    }
}

fn script(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_is_told_every_verb() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for verb in Cli::command().get_subcommands() {
                assert!(script.contains(verb.get_name()), "{shell} is not told of {}", verb.get_name());
            }
        }
    }

    #[test]
    fn bash_completes_a_verb_a_flag_and_a_verb_below() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script(Shell::Bash)).unwrap();
        // As readline asks: the words, which of them is being typed, and the function with command, word and the one before.
        const ASK: &str = r#"source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            _holdfast holdfast "${@: -1}" "${@: -2:1}"; printf '%s\n' "${COMPREPLY[@]}""#;
        let complete = |words: &[&str]| {
            let mut bash = Command::new("bash");
            let output = bash.args(["--norc", "-c", ASK, "bash"]).arg(file.path()).args(words).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(complete(&["holdfast", "comp"]), ["completions"]);
        assert_eq!(complete(&["holdfast", "get", "--for"]), ["--force"]);
        assert_eq!(complete(&["holdfast", "audit", "wa"]), ["watch"]);
    }
}
