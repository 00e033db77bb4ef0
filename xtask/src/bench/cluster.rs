//! A cluster of processes on this machine, and what putting and getting takes, as a user sees it: `holdfast up` with one
//! auditor and 16 nodes, mutual TLS over loopback, every acknowledgement behind an fsync on a real disk.
//!
//! Order: a file whose commitments are waited for; put and get of the large file (in a full run the same file, read back
//! once everything is committed); small files last, for the auditor writes ten thousand manifests to the nodes for them, and
//! would do so during a put.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    build::{self, Built, Place},
    last_object, number,
};

/// Bytes of a small file.
const SMALL_LEN: u64 = 4096;
/// Between two looks at the cluster's status.
const LOOK: Duration = Duration::from_millis(100);
/// Commitments that take longer are a failure, not a measurement.
const COMMITTED_WITHIN: Duration = Duration::from_secs(1800);
/// A cluster that does not end on SIGTERM is killed, with what it started.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How much is stored.
struct Sizes {
    large: u64,
    /// The file whose commitments are waited for; the large one itself when it is as long.
    backlog: u64,
    files: u64,
}

const FULL: Sizes = Sizes { large: 1 << 30, backlog: 1 << 30, files: 10_000 };
const QUICK: Sizes = Sizes { large: 128 << 20, backlog: 4 << 20, files: 1000 };

/// The cluster's daemons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Auditor,
    Nodes,
}

/// Processor seconds, outside and inside of the kernel.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(super) struct Spent {
    pub(super) user: f64,
    pub(super) kernel: f64,
}

/// What a put or a get cost.
pub(super) struct Cost {
    pub(super) seconds: f64,
    pub(super) client: Spent,
    pub(super) auditor: Spent,
    pub(super) nodes: Spent,
}

impl Cost {
    /// Of all together.
    pub(super) fn core_seconds(&self) -> f64 {
        [self.client, self.auditor, self.nodes].iter().map(|spent| spent.user + spent.kernel).sum()
    }
}

/// What was measured. MB are 10⁶ bytes of the user's.
pub(super) struct Figures {
    pub(super) large_bytes: u64,
    pub(super) put_mb_per_s: f64,
    pub(super) put_rss_mb: f64,
    pub(super) get_mb_per_s: f64,
    pub(super) get_rss_mb: f64,
    pub(super) put_cost: Cost,
    pub(super) get_cost: Cost,
    pub(super) small_files: u64,
    pub(super) small_len: u64,
    pub(super) small_puts_per_s: f64,
    pub(super) backlog_bytes: u64,
    /// From the put's end until every shard's commitment is accepted.
    pub(super) committed_after: f64,
    /// Processor seconds of all daemons in that time.
    pub(super) backlog_core_seconds: f64,
}

struct Cluster {
    up: Child,
    config: PathBuf,
    binary: PathBuf,
}

/// Starts a cluster, puts and gets, stops it.
pub(super) fn run(place: &Place, built: &Built, quick: bool) -> Result<Figures, String> {
    let sizes = if quick { QUICK } else { FULL };
    // In the target directory: /tmp may be memory, which has no fsync.
    fs::create_dir_all(&place.target).map_err(|error| format!("{}: {error}", place.target.display()))?;
    let home = TempDir::with_prefix_in("bench-report-", &place.target)
        .map_err(|error| format!("no directory for the cluster: {error}"))?;
    let mut cluster = Cluster::start(home.path(), &built.holdfast)?;
    let measured = cluster.measure(home.path(), &sizes);
    let stopped = cluster.stop();
    let figures = measured?;
    stopped.map(|()| figures)
}

impl Cluster {
    fn start(home: &Path, binary: &Path) -> Result<Self, String> {
        eprintln!("+ holdfast up --nodes 16 --policy 8+4 --profile production");
        let mut up = Command::new(binary)
            .args(["up", "--json", "--nodes", "16", "--policy", "8+4", "--profile", "production", "--dir"])
            .arg(home.join("cluster"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("holdfast up did not start: {error}"))?;
        let mut line = String::new();
        let stdout = up.stdout.take().ok_or("holdfast up has no output")?;
        let told = BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string());
        let config = told.and_then(|_| last_object(&line, "holdfast up")).and_then(|object| {
            let config = object.get("client").and_then(|client| client.get("config")).and_then(Value::as_str);
            config.map(PathBuf::from).ok_or_else(|| format!("expected client.config from holdfast up, got {line}"))
        });
        match config {
            Ok(config) => Ok(Self { up, config, binary: binary.into() }),
            Err(why) => {
                // What it started ends with it.
                let _ = up.kill();
                let _ = up.wait();
                Err(why)
            }
        }
    }

    fn measure(&mut self, home: &Path, sizes: &Sizes) -> Result<Figures, String> {
        let path = home.join("large");
        noise(&path, sizes.backlog)?;
        let (mut put, mut put_cost) = self.costed(&["put".as_ref(), path.as_os_str()])?;
        let (began, busy) = (Instant::now(), self.busy()?);
        self.committed()?;
        let (committed_after, backlog_core_seconds) = (began.elapsed().as_secs_f64(), self.busy()? - busy);
        eprintln!(
            "{} bytes committed {committed_after:.1} s after their put, {backlog_core_seconds:.1} core-seconds",
            sizes.backlog
        );
        if sizes.large != sizes.backlog {
            noise(&path, sizes.large)?;
            (put, put_cost) = self.costed(&["put".as_ref(), path.as_os_str()])?;
        }
        let object = put.get("objects").and_then(|objects| objects.get(0)?.get("object")?.as_str());
        let object = object.ok_or_else(|| format!("expected an object's id from holdfast put, got {put}"))?;
        let back = home.join("back");
        let (get, get_cost) = self.costed(&["get".as_ref(), object.as_ref(), back.as_os_str()])?;
        eprintln!("{} bytes put in {:.2} s, got in {:.2} s", sizes.large, put_cost.seconds, get_cost.seconds);
        identical(&path, &back)?;
        let small = home.join("small");
        fs::create_dir(&small).map_err(|error| error.to_string())?;
        for number in 0..sizes.files {
            noise(&small.join(format!("{number:05}")), SMALL_LEN)?;
        }
        let puts = self.holdfast(&["put".as_ref(), small.as_os_str()])?;
        let stored = puts.get("objects").and_then(Value::as_array).map_or(0, Vec::len) as u64;
        if stored != sizes.files {
            return Err(format!("expected {} small files to be acknowledged, got {stored}", sizes.files));
        }
        let small_puts_per_s = sizes.files as f64 / number(&puts, "seconds", "holdfast put")?;
        eprintln!("{} files of {SMALL_LEN} bytes put, {small_puts_per_s:.0}/s", sizes.files);
        Ok(Figures {
            large_bytes: sizes.large,
            put_mb_per_s: number(&put, "mb_per_s", "holdfast put")?,
            put_rss_mb: number(&put, "peak_rss_mb", "holdfast put")?,
            get_mb_per_s: number(&get, "mb_per_s", "holdfast get")?,
            get_rss_mb: number(&get, "peak_rss_mb", "holdfast get")?,
            put_cost,
            get_cost,
            small_files: sizes.files,
            small_len: SMALL_LEN,
            small_puts_per_s,
            backlog_bytes: sizes.backlog,
            committed_after,
            backlog_core_seconds,
        })
    }

    fn holdfast(&self, words: &[&std::ffi::OsStr]) -> Result<Value, String> {
        let verb = words.first().map_or_else(String::new, |verb| verb.to_string_lossy().into_owned());
        let mut command = Command::new(&self.binary);
        command.args(words).arg("--json").env("HOLDFAST_CONFIG", &self.config);
        build::answer(&mut command, &format!("holdfast {verb}"))
    }

    /// Waits until no shard's commitment is pending.
    fn committed(&self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let status = match self.holdfast(&["status".as_ref()]) {
                Ok(status) => status,
                Err(error) if began.elapsed() > COMMITTED_WITHIN => return Err(error),
                // Something is not all right at this moment: a node that is late, say. It passes, or the time does.
                Err(_) => {
                    thread::sleep(LOOK);
                    continue;
                }
            };
            let pending = number(&status, "pending_commitments", "holdfast status")?;
            if pending == 0.0 {
                return Ok(());
            }
            if began.elapsed() > COMMITTED_WITHIN {
                return Err(format!("{pending} commitments are still pending after {COMMITTED_WITHIN:?}"));
            }
            thread::sleep(LOOK);
        }
    }

    /// Runs a command, and says what it cost.
    fn costed(&self, words: &[&std::ffi::OsStr]) -> Result<(Value, Cost), String> {
        let spent = || Ok::<_, String>([waited_for()?, self.spent(Who::Auditor)?, self.spent(Who::Nodes)?]);
        let (before, began) = (spent()?, Instant::now());
        let answer = self.holdfast(words)?;
        let (seconds, after) = (began.elapsed().as_secs_f64(), spent()?);
        let since =
            |at: usize| Spent { user: after[at].user - before[at].user, kernel: after[at].kernel - before[at].kernel };
        Ok((answer, Cost { seconds, client: since(0), auditor: since(1), nodes: since(2) }))
    }

    /// Processor seconds that all daemons took so far.
    fn busy(&self) -> Result<f64, String> {
        let all = [self.spent(Who::Auditor)?, self.spent(Who::Nodes)?];
        Ok(all.iter().map(|spent| spent.user + spent.kernel).sum())
    }

    /// What the cluster's daemons of one kind spent so far.
    fn spent(&self, who: Who) -> Result<Spent, String> {
        let mut all = Spent::default();
        for entry in fs::read_dir("/proc").map_err(|error| error.to_string())?.flatten() {
            // A process may end between the looks.
            let read = |name: &str| fs::read_to_string(entry.path().join(name));
            let (Ok(stat), Ok(words)) = (read("stat"), read("cmdline")) else { continue };
            let Some((parent, [user, kernel, ..])) = ticks(&stat) else { continue };
            if parent == self.up.id() && kind(&words) == Some(who) {
                all.user += in_seconds(user);
                all.kernel += in_seconds(kernel);
            }
        }
        Ok(all)
    }

    fn stop(&mut self) -> Result<(), String> {
        if let Some(pid) = rustix::process::Pid::from_raw(self.up.id() as i32) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(|error| error.to_string())?;
        }
        let began = Instant::now();
        while began.elapsed() < STOP_WITHIN {
            if self.up.try_wait().map_err(|error| error.to_string())?.is_some() {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        self.up.kill().and_then(|()| self.up.wait()).map_err(|error| error.to_string())?;
        Err(format!("the cluster did not end within {STOP_WITHIN:?} of SIGTERM"))
    }
}

/// What the words of a daemon's command line, each ended by a zero, make it.
fn kind(words: &str) -> Option<Who> {
    match words.split('\0').nth(1) {
        Some("auditor") => Some(Who::Auditor),
        Some("node") => Some(Who::Nodes),
        _ => None,
    }
}

/// What those processes spent that were waited for here: clients, but not the cluster.
fn waited_for() -> Result<Spent, String> {
    let stat = fs::read_to_string("/proc/self/stat").map_err(|error| format!("/proc/self/stat: {error}"))?;
    let (_, [_, _, user, kernel]) =
        ticks(&stat).ok_or_else(|| format!("expected times in /proc/self/stat, got {stat}"))?;
    Ok(Spent { user: in_seconds(user), kernel: in_seconds(kernel) })
}

fn in_seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Of a line of /proc/PID/stat: the parent, and the ticks outside and inside of the kernel, its own and those of its
/// children that it waited for.
fn ticks(stat: &str) -> Option<(u32, [u64; 4])> {
    // The name in brackets may hold anything; what follows the last bracket is: state, parent, …, 11 later the times.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((fields.get(1)?.parse().ok()?, [ticks(11)?, ticks(12)?, ticks(13)?, ticks(14)?]))
}

/// A file of bytes that nobody can compress.
fn noise(path: &Path, len: u64) -> Result<(), String> {
    let written = File::open("/dev/urandom").and_then(|source| {
        let mut file = File::create(path)?;
        io::copy(&mut source.take(len), &mut file)
    });
    written.map(drop).map_err(|error| format!("{} cannot be filled from /dev/urandom: {error}", path.display()))
}

fn identical(stored: &Path, back: &Path) -> Result<(), String> {
    let open = |path: &Path| File::open(path).map_err(|error| format!("{}: {error}", path.display()));
    let (mut stored, mut back) = (open(stored)?, open(back)?);
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let (a, b) = (fill(&mut stored, &mut here)?, fill(&mut back, &mut there)?);
        if here[..a] != there[..b] {
            return Err("what came back is not what was stored".into());
        }
        if a == 0 {
            return Ok(());
        }
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> Result<usize, String> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_whatever_a_process_is_called() {
        let stat = "77 (a) name) S 12 77 77 0 -1 4194560 900 0 0 0 30 5 7 9 20 0 4 0 1000 0 0";
        assert_eq!(ticks(stat), Some((12, [30, 5, 7, 9])));
        assert_eq!(ticks("77 (short) S 12"), None);
    }

    #[test]
    fn daemons_are_known_by_their_command() {
        assert_eq!(kind("/a/holdfast\0node\0--config\0f\0"), Some(Who::Nodes));
        assert_eq!(kind("/a/node\0auditor\0"), Some(Who::Auditor));
        assert_eq!(kind("/a/holdfast\0"), None);
        assert_eq!(kind(""), None);
    }
}
