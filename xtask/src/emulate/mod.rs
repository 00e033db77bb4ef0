//! `cargo xtask emulate`: unit tests on a processor that this machine is not.
//!
//! The kernels for AVX-512 IFMA and GFNI are worth little until they have run on those instructions, and few machines
//! that build us have them. So: build the tests, put them with a Linux kernel on a disc, boot it in Bochs, an emulator of
//! Intel processors down to the instruction, and read from its serial line how they ended. Nothing is downloaded; see
//! docs/runbooks/emulated-processor.md.

mod archive;
mod guest;
mod instructions;
mod machine;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use cargo_metadata::Message;

pub(crate) use self::guest::{is_guest, run as run_guest};

/// An emulated case costs thirty real ones. `PROPTEST_CASES` overrides it.
const PROPERTY_CASES: &str = "4";

/// `words`: the package, then filters and flags for its tests.
pub(crate) fn run(words: &[String]) -> Result<(), String> {
    let Some((package, filters)) = words.split_first() else {
        return Err("expected a package, as in: cargo xtask emulate holdfast-kzg simd".to_owned());
    };
    let parts = machine::Parts::find()?;
    let tests = unit_tests(package)?;
    let files = first_files(&tests, filters)?;
    let room = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let disc = parts.burn(room.path(), &files)?;
    eprintln!("+ bochs: {} of {package}", tests.display());
    let started = Instant::now();
    let code = parts.boot(room.path(), &disc)?;
    eprintln!("emulated for {} s", started.elapsed().as_secs());
    if code == 0 { Ok(()) } else { Err(format!("the tests of {package} failed in emulation (exit code {code})")) }
}

/// Builds the unit tests of the package's library as `cargo test` does, and says where they are.
fn unit_tests(package: &str) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words = ["test", "--package", package, "--lib", "--no-run", "--message-format=json-render-diagnostics"];
    eprintln!("+ cargo {}", words.join(" "));
    let built = Command::new(cargo)
        .args(words)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !built.status.success() {
        return Err(format!("cargo {} failed ({})", words.join(" "), built.status));
    }
    for message in Message::parse_stream(built.stdout.as_slice()) {
        let message = message.map_err(|error| format!("cargo's messages cannot be read: {error}"))?;
        if let Message::CompilerArtifact(artifact) = message
            && let (true, Some(executable)) = (artifact.profile.test, artifact.executable)
        {
            return Ok(executable.into_std_path_buf());
        }
    }
    Err(format!("expected unit tests in {package}, cargo built none"))
}

/// Everything the emulated machine has on its disc besides the kernel: this program as its first process, the tests, the
/// libraries both were linked to.
fn first_files(tests: &Path, filters: &[String]) -> Result<Vec<u8>, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program's own path is not known: {error}"))?;
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()));
    let mut archive = archive::Archive::new();
    let mut libraries = BTreeSet::new();
    for (name, program) in [(guest::INIT, own.as_path()), (guest::TESTS, tests)] {
        archive.add(Path::new(name), &read(program)?)?;
        libraries.extend(libraries_of(program)?);
    }
    for library in &libraries {
        archive.add(library, &read(library)?)?;
    }
    // One thread: the emulated machine has one processor, and a failure should not hide among others' lines.
    let mut arguments = vec!["--test-threads=1".to_owned()];
    arguments.extend(filters.iter().cloned());
    if let Some(word) = arguments.iter().find(|word| word.contains('\n')) {
        return Err(format!("expected filters of one line, got {word:?}"));
    }
    archive.add(Path::new(guest::ARGUMENTS), arguments.join("\n").as_bytes())?;
    let cases = std::env::var("PROPTEST_CASES").unwrap_or_else(|_| PROPERTY_CASES.to_owned());
    archive.add(Path::new(guest::ENVIRONMENT), format!("PROPTEST_CASES={cases}\nRUST_BACKTRACE=1").as_bytes())?;
    Ok(archive.finish())
}

/// Absolute paths in what `ldd` prints: libraries after an arrow, and the loader.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>, String> {
    let listed = Command::new("ldd").arg(program).output().map_err(|error| format!("ldd did not start: {error}"))?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    if text.contains("not found") {
        return Err(format!("{} misses libraries:\n{text}", program.display()));
    }
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}
