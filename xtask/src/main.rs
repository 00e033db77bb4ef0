//! `cargo xtask`: the chores that cargo has no word for. Everything a fresh machine needs beyond
//! the toolchain is found here, or asked for by name.

mod bench;
mod direction;
#[cfg(target_arch = "x86_64")]
mod emulate;
mod run;
mod sources;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask tidy                   dependency direction, file and function sizes, names, sans-IO rules
cargo xtask test [NAME…]           every test of the workspace (or of the named packages)
cargo xtask sim [--seeds N] [--from S]
                                   the simulated cluster, seeds S..S+N, optimised build
cargo xtask bench-report [--quick] [--json]
                                   every figure beside its peer; writes docs/performance.md
cargo xtask emulate PACKAGE [TEST…]
                                   unit tests on an emulated processor with AVX-512 IFMA and GFNI
cargo xtask proto-snapshot         accept today's proto/ as the one to stay compatible with
cargo xtask ci                     what .ci/run runs: format, clippy, tidy, docs, tests";

fn main() -> ExitCode {
    #[cfg(target_arch = "x86_64")]
    if emulate::is_guest() {
        emulate::run_guest();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = match words.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match verb {
        "tidy" => tidy(),
        "test" => run::test(rest),
        "sim" => run::sim(rest),
        "bench-report" => bench::report(rest),
        #[cfg(target_arch = "x86_64")]
        "emulate" => emulate::run(rest),
        "proto-snapshot" => run::proto_snapshot(),
        "ci" => ci(),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(format!("expected one of the verbs below, got {other:?}\n\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// All findings at once, so that one run is enough to mend them all.
fn tidy() -> Result<(), String> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .no_deps()
        .exec()
        .map_err(|error| format!("cargo metadata did not run: {error}"))?;
    let mut findings = direction::findings(&metadata);
    findings.extend(sources::findings(metadata.workspace_root.as_std_path())?);
    if findings.is_empty() {
        println!("tidy: nothing to mend");
        return Ok(());
    }
    for finding in &findings {
        println!("{finding}");
    }
    Err(format!("{} findings to mend", findings.len()))
}

fn ci() -> Result<(), String> {
    run::cargo(&["fmt", "--all", "--check"], &[])?;
    run::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    tidy()?;
    run::cargo(&["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    run::test(&[])
}
