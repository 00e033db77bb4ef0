//! The only process of the emulated machine. The kernel starts a copy of xtask as /init; it verifies the processor, runs
//! the tests and prints how they ended on the serial line, where the chore outside reads it.

use std::{fs, process::Command};

/// Where the kernel looks for its first process; a program of this name is in the emulated machine.
pub(super) const INIT: &str = "/init";
/// The unit tests.
pub(super) const TESTS: &str = "/tests";
/// Their arguments, one a line.
pub(super) const ARGUMENTS: &str = "/arguments";
/// Their environment, NAME=VALUE, one a line.
pub(super) const ENVIRONMENT: &str = "/environment";
/// Stands before the exit code in the last line.
pub(super) const ENDED: &str = "EMULATED-TESTS-ENDED-WITH ";
/// Stands before the reason why no test ran.
pub(super) const NOT_RUN: &str = "EMULATED-TESTS-NOT-RUN ";

/// Whether this process is the emulated machine's first.
pub(crate) fn is_guest() -> bool {
    std::process::id() == 1 && std::env::args().next().as_deref() == Some(INIT)
}

/// Runs the tests. Never returns: the kernel panics when its first process ends, and the last line might be lost.
pub(crate) fn run() -> ! {
    match tests() {
        Ok(code) => println!("\n{ENDED}{code}"),
        Err(reason) => println!("\n{NOT_RUN}{reason}"),
    }
    loop {
        std::thread::park();
    }
}

fn tests() -> Result<i32, String> {
    super::instructions::verify()?;
    println!("emulated: vpmadd52luq, vpmadd52huq, vgf2p8affineqb and vpshufb do what the manual says");
    let read = |path| fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"));
    let environment = read(ENVIRONMENT)?;
    let status = Command::new(TESTS)
        .args(read(ARGUMENTS)?.lines())
        .envs(environment.lines().filter_map(|line| line.split_once('=')))
        .current_dir("/tmp")
        .status()
        .map_err(|error| format!("the tests did not start: {error}"))?;
    status.code().ok_or_else(|| format!("the tests ended with {status}"))
}
