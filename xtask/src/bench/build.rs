//! What is built for a report, in which build, and on what machine it runs.
//!
//! Three builds, none of which sees the features of another: the shipped binary by itself; the peers' package with the
//! product's crates; the peer with `simd-accel`, alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// The workspace, and where it builds.
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) target: PathBuf,
}

/// What was built.
pub(super) struct Built {
    /// The shipped binary.
    pub(super) holdfast: PathBuf,
    pub(super) peers: PathBuf,
    pub(super) rounds: PathBuf,
    pub(super) reading: PathBuf,
    /// Where the peers' packages are built: the peers' process starts the one with `simd-accel` from there.
    pub(super) peers_target: PathBuf,
}

impl Place {
    pub(super) fn find() -> Result<Self, String> {
        let metadata = cargo_metadata::MetadataCommand::new()
            .no_deps()
            .exec()
            .map_err(|error| format!("cargo metadata did not run: {error}"))?;
        Ok(Self {
            root: metadata.workspace_root.into_std_path_buf(),
            target: metadata.target_directory.into_std_path_buf(),
        })
    }
}

/// Builds everything, optimised as it is shipped.
pub(super) fn build(place: &Place) -> Result<Built, String> {
    let peers_target = place.target.join("peers");
    let manifest = |path: &str| place.root.join(path).to_string_lossy().into_owned();
    let (peers, simd) = (manifest("benches/peers/Cargo.toml"), manifest("benches/peers/simd-accel/Cargo.toml"));
    Ok(Built {
        holdfast: executable(&["build", "--package", "holdfast"], &place.target, "holdfast")?,
        peers: executable(&["build", "--manifest-path", &peers], &peers_target, "holdfast-peers")?,
        rounds: {
            executable(&["build", "--manifest-path", &simd], &simd_target(&peers_target), "holdfast-simd-accel-peer")?;
            bench(place, "audit_round")?
        },
        reading: bench(place, "reading")?,
        peers_target,
    })
}

/// Where the peers' process looks for it, one place for each set of instructions that it may be compiled for.
fn simd_target(peers_target: &Path) -> PathBuf {
    let arch = std::env::var("RUST_REED_SOLOMON_ERASURE_ARCH").unwrap_or_else(|_| "haswell".into());
    peers_target.join(format!("simd-accel-{arch}"))
}

fn bench(place: &Place, name: &str) -> Result<PathBuf, String> {
    executable(&["build", "--package", "holdfast-benches", "--bench", name], &place.target, name)
}

/// Builds one thing and answers where its executable is.
fn executable(words: &[&str], target: &Path, name: &str) -> Result<PathBuf, String> {
    let words = [words, &["--release", "--message-format", "json-render-diagnostics"]].concat();
    eprintln!("+ cargo {}", words.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(&words)
        .env("CARGO_TARGET_DIR", target)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo {} failed ({})", words.join(" "), output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let found = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let ours = message.get("target")?.get("name")?.as_str()? == name;
        ours.then(|| message.get("executable")?.as_str().map(PathBuf::from)).flatten()
    });
    found.ok_or_else(|| format!("expected cargo to say where the executable of {name} is, it did not"))
}

/// Runs a child that prints an object last; its words for people come through.
pub(super) fn answer(command: &mut Command, whose: &str) -> Result<Value, String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{whose} did not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{whose} failed ({}); it printed: {}", output.status, text.trim()));
    }
    super::last_object(&text, whose)
}

/// The commit that is measured.
pub(super) fn commit(place: &Place) -> String {
    git(place, &["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown: not a git checkout".into())
}

/// Whether what is measured is not quite that commit. What this command writes itself is left out.
pub(super) fn is_changed(place: &Place) -> bool {
    git(place, &["status", "--porcelain", "--", ".", ":!docs"]).is_some_and(|changes| !changes.is_empty())
}

fn git(place: &Place, words: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(&place.root).args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Processor, its number, memory, kernel.
pub(super) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|total| total.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(String::new, |kib| format!(", {:.0} GB of memory", kib * 1024.0 / 1e9));
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{processor}, {count} processors{memory}, {} {}", std::env::consts::OS, kernel.trim())
}
