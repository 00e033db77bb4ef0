//! A cluster as a user would start it: `holdfast up` as a child process, and the other verbs against it.
//!
//! Every process is the real binary; nothing here knows more of it than what it prints.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take here before it counts as never: a debug build, two cores, other tests beside it.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// One cluster at a time: two of them on two cores would make each other's nodes late.
///
/// Hold what it gives for the whole test.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that panicked had its turn all the same.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The binary under test.
///
/// # Panics
/// Without it: whole processes cannot be tested in its absence.
pub fn binary() -> PathBuf {
    let beside = || {
        let mut path = std::env::current_exe().ok()?;
        path.pop();
        path.pop();
        Some(path.join("holdfast"))
    };
    let path = std::env::var_os("HOLDFAST_BIN").map(PathBuf::from).or_else(beside).unwrap_or_default();
    assert!(
        path.is_file(),
        "expected the holdfast binary at {}; run the tests with `cargo xtask test`",
        path.display()
    );
    path
}

/// Waits until `done` gives something.
///
/// # Panics
/// After [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Bytes that no compressor shrinks (xorshift64).
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// What a verb printed, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Whether it exited 0.
    pub ok: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        Self {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The JSON object on its last line.
    ///
    /// # Panics
    /// If there is none.
    pub fn json(&self) -> Value {
        let last = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: no JSON in {self:?}"))
    }
}

/// A cluster of child processes. Dropped, it is killed.
pub struct Cluster {
    up: Child,
    /// Where it lives.
    pub dir: PathBuf,
    /// What `up --json` said.
    pub told: Value,
}

impl Cluster {
    /// Starts or starts again the cluster in `dir`.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn up(dir: &Path, words: &[&str]) -> Self {
        let mut up = Command::new(binary())
            .args(["up", "--json", "--dir"])
            .arg(dir)
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let out = up.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("readable");
        let Ok(told) = serde_json::from_str(&line) else {
            let _ = up.kill();
            let mut err = String::new();
            let _ = up.stderr.take().expect("piped").read_to_string(&mut err);
            panic!("`up` said {line:?} and {err}");
        };
        Self { up, dir: dir.to_owned(), told }
    }

    /// Runs a client verb against it.
    ///
    /// # Panics
    /// If the binary does not start.
    pub fn run(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().expect("the binary starts"))
    }

    /// A client verb, to be started by the test.
    pub fn command(&self, words: &[&str]) -> Command {
        let config = self.told["client"]["config"].as_str().unwrap_or_default();
        let mut command = Command::new(binary());
        command.args(words).env("HOLDFAST_CONFIG", config);
        command
    }

    /// Process ids of the daemons whose configuration's path ends like this.
    pub fn pids(&self, config: &str) -> Vec<Pid> {
        let wanted = self.dir.join(config);
        let wanted = wanted.to_string_lossy();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if words.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes()) {
                found.push(Pid::from_raw(pid));
            }
        }
        found
    }

    /// SIGKILLs the daemons of a configuration; says how many there were.
    pub fn kill(&self, config: &str) -> usize {
        let pids = self.pids(config);
        pids.iter().filter(|pid| kill(**pid, Signal::SIGKILL).is_ok()).count()
    }

    /// Ends it as Ctrl-C does, and waits.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(mut self) -> PathBuf {
        let _ = kill(Pid::from_raw(self.up.id() as i32), Signal::SIGINT);
        wait_for("the cluster to stop", || self.up.try_wait().expect("waitable"));
        self.dir.clone()
    }

    /// SIGKILLs the supervisor; its children end with it.
    ///
    /// # Panics
    /// If a child outlives it.
    pub fn stop_hard(mut self) -> PathBuf {
        let _ = self.up.kill();
        let _ = self.up.wait();
        wait_for("the children to end with their parent", || {
            self.pids("auditor/auditor.toml").is_empty().then_some(())
        });
        self.dir.clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

/// A directory of this test's own.
///
/// # Panics
/// If none can be made.
pub fn home() -> TempDir {
    tempfile::Builder::new().prefix("holdfast-test-").tempdir().expect("a directory for the test")
}
