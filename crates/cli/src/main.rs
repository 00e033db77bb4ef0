//! The one binary, `holdfast`: daemons, client, and whole clusters on one machine.
//!
//! | what | where |
//! |---|---|
//! | one verb, one file | [`command`] |
//! | a cluster as child processes | [`cluster`] |
//! | the demonstration | [`demo`] |
//! | what people type and read | [`quantity`], [`show`], [`output`] |
//!
//! Exit codes: see the end of `holdfast --help`.

#![deny(unsafe_code)]

mod bars;
mod cluster;
mod command;
mod connect;
mod daemon;
mod demo;
mod failure;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod memory;
mod output;
mod process;
mod processor;
mod quantity;
mod show;
mod signals;
mod words;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, error::ErrorKind};

use command::Verb;
use failure::Failure;
use output::Voice;

/// Stores data on nodes that nobody has to trust, has them prove that they hold every byte, and rebuilds what they
/// lose before it is missed.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    arg_required_else_help = true,
    after_help = "First steps:\n  holdfast demo          see it lose data, find out, and heal\n  holdfast up            keep a small cluster running here\n  \
                  holdfast put FILE      store a file (against the cluster of HOLDFAST_CONFIG)\n  holdfast status        is everything all right?\n\n\
                  Exit codes: 0 it is done and all is as it should be, 1 it is not, 2 it was asked for wrongly (also a daemon's\n\
                  configuration), 141 (as after SIGPIPE) the reader of an object's bytes went away before their end. With\n\
                  --json the last line of standard output is one object, also of a failure, with \"ok\" and \"error\"; where an\n\
                  object's bytes go to standard output, it is the last line of standard error.\n\n\
                  Logs: HOLDFAST_LOG=debug, or a filter such as holdfast_auditor=debug,info."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    if let Err(why) = processor::check() {
        let words: Vec<OsString> = std::env::args_os().skip(1).collect();
        failure::tell(voice(&words), &why, &format!("holdfast: {why}"));
        return ExitCode::FAILURE;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    memory::keep_buffers();
    let verb = match Cli::try_parse() {
        Ok(cli) => cli.verb,
        Err(error) => return refuse(&error, &std::env::args_os().skip(1).collect::<Vec<_>>()),
    };
    let voice = verb.voice();
    match verb.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(voice),
    }
}

/// What clap makes of words that it cannot take, or of a wish for help.
fn refuse(error: &clap::Error, words: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Failure::from(error).report(Voice::Words),
        };
    }
    let text = error.render().to_string();
    match voice(words) {
        Voice::Words => {
            // With its colours, where there is a terminal.
            let _ = error.print();
        }
        voice => failure::tell(voice, &in_short(error, &text), text.trim_end()),
    }
    ExitCode::from(failure::USAGE)
}

/// How whoever wrote these words wants to be answered, as far as one can tell without understanding them.
fn voice(words: &[OsString]) -> Voice {
    let mut flags = words.iter().take_while(|word| *word != "--");
    match flags.any(|word| word == "--json") {
        true if words.iter().any(|word| word == "get") && words.iter().any(|word| word == "-") => Voice::JsonAside,
        true => Voice::Json,
        false => Voice::Words,
    }
}

/// The first paragraph says what is wrong; the rest is advice for people.
fn in_short(error: &clap::Error, text: &str) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "expected a command after these words; --help lists them".into();
    }
    let first = text.split("\n\n").next().unwrap_or_default();
    let lines: Vec<&str> = first.lines().map(str::trim).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn whoever_asks_for_json_gets_refusals_so() {
        assert_eq!(voice(&words("ls --jsn")), Voice::Words);
        assert_eq!(voice(&words("ls --json --bogus")), Voice::Json);
        assert_eq!(voice(&words("put -- --json")), Voice::Words);
        assert_eq!(voice(&words("get x - --json --bogus")), Voice::JsonAside);
        let said = |line: &str| {
            let error = Cli::try_parse_from([&words("holdfast")[..], &words(line)].concat()).unwrap_err();
            in_short(&error, &error.render().to_string())
        };
        assert_eq!(said("ls --json --bogus"), "unexpected argument '--bogus' found");
        assert!(said("stat --json").contains("<OBJECT>"), "{}", said("stat --json"));
        assert!(said("audit").contains("--help"));
    }

    #[test]
    fn every_verb_and_flag_fits_the_others() {
        Cli::command().debug_assert();
    }
}
