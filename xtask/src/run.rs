//! Runs cargo with the right words, and finds what the tests need beyond the toolchain.

use std::process::Command;

/// Runs cargo; its own output is the message.
pub(crate) fn cargo(words: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!("+ cargo {}", words.join(" "));
    let status = Command::new(cargo)
        .args(words)
        .envs(environment.iter().copied())
        .status()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed ({status})", words.join(" "))) }
}

/// Every test of the workspace. The tests of whole processes run the binary built here.
pub(crate) fn test(packages: &[String]) -> Result<(), String> {
    cargo(&["build", "--package", "holdfast"], &[])?;
    let binary = target_directory()?.join("debug").join("holdfast");
    if !binary.is_file() {
        return Err(format!("expected the binary at {}, it is not there", binary.display()));
    }
    let binary = binary.to_string_lossy().into_owned();
    let mut words = vec!["test"];
    if packages.is_empty() {
        words.push("--workspace");
    }
    for package in packages {
        words.extend(["--package", package]);
    }
    cargo(&words, &[("HOLDFAST_BIN", &binary)])
}

/// The simulation, optimised: a thousand seeds in a minute instead of an hour.
pub(crate) fn sim(rest: &[String]) -> Result<(), String> {
    let mut words = vec!["run", "--release", "--quiet", "--package", "holdfast-sim", "--"];
    words.extend(rest.iter().map(String::as_str));
    cargo(&words, &[])
}

/// Writes the descriptor snapshot that guards `proto/` against breaking changes.
pub(crate) fn proto_snapshot() -> Result<(), String> {
    cargo(&["test", "--package", "holdfast-wire", "snapshot"], &[("HOLDFAST_UPDATE_SNAPSHOT", "1")])
}

fn target_directory() -> Result<std::path::PathBuf, String> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .no_deps()
        .exec()
        .map_err(|error| format!("cargo metadata did not run: {error}"))?;
    Ok(metadata.target_directory.into_std_path_buf())
}
