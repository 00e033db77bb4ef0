//! The one binary, `holdfast`: daemons, client, and whole clusters on one machine.
//!
//! | what | where |
//! |---|---|
//! | one verb, one file | [`command`] |
//! | a cluster as child processes | [`cluster`] |
//! | the demonstration | [`demo`] |
//! | what people type and read | [`quantity`], [`show`], [`output`] |
//!
//! Exit codes: 0 it is done, 1 it is not, 2 it was asked for wrongly, 141 (as after SIGPIPE) the reader of an object's
//! bytes went away before their end.

#![forbid(unsafe_code)]

mod bars;
mod cluster;
mod command;
mod connect;
mod daemon;
mod demo;
mod failure;
mod output;
mod process;
mod quantity;
mod show;
mod signals;
mod words;

use std::process::ExitCode;

use clap::Parser;

use command::Verb;

/// Stores data on nodes that nobody has to trust, has them prove that they hold every byte, and rebuilds what they
/// lose before it is missed.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    arg_required_else_help = true,
    after_help = "First steps:\n  holdfast demo          see it lose data, find out, and heal\n  holdfast up            keep a small cluster running here\n  \
                  holdfast put FILE      store a file (against the cluster of HOLDFAST_CONFIG)\n  holdfast status        is everything all right?\n\n\
                  Logs: HOLDFAST_LOG=debug, or a filter such as holdfast_auditor=debug,info."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    let json = verb.wants_json();
    match verb.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn every_verb_and_flag_fits_the_others() {
        Cli::command().debug_assert();
    }
}
