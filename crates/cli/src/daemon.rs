//! What both daemons share: a small runtime, logs as JSON, and an end on a signal.
//!
//! Two worker threads, however many processors there are: a node waits for its disk, an auditor has a pool of its own
//! for what costs time, and a laptop may run seventeen of them.

use std::{future::Future, path::PathBuf};

use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::{failure::Failure, process, signals::Signals};

/// Threads that drive a daemon's sockets and timers.
const WORKERS: usize = 2;
/// Open files that a daemon asks for where it may not have as many as it likes.
const FILES_MAX: u64 = 10_240;
/// The variable that filters what is logged.
const LOG_VARIABLE: &str = "HOLDFAST_LOG";

/// How a daemon is started.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// The daemon's configuration (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// End with this process, however it ends
    #[arg(long, value_name = "PID", hide = true)]
    pub(crate) die_with_parent: Option<i32>,
}

impl DaemonArgs {
    /// Runs `daemon` until a signal; it is handed what resolves at the first one, and drains then.
    pub(crate) fn run<F, D>(&self, daemon: D) -> Result<(), Failure>
    where
        D: FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> F,
        F: Future<Output = Result<(), Failure>>,
    {
        if let Some(parent) = self.die_with_parent {
            process::die_with(parent)?;
        }
        log_as_json();
        let files = may_open();
        tell_machine(files);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
        let result = runtime.block_on(async {
            let signals = Signals::listen()?;
            daemon(Box::pin(signals.first())).await
        });
        // Work that cannot be cancelled must not keep a drained daemon from ending.
        runtime.shutdown_background();
        result
    }
}

fn log_as_json() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Asks for as many open files as this process may have at all, and says how many that is. A shell gives 1024; a volume
/// has one for each GiB, and every connection is one.
fn may_open() -> u64 {
    let ask = |files: u64| getrlimit(Resource::RLIMIT_NOFILE).map(|(now, most)| (files.min(most).max(now), most));
    let raise = |(files, most)| setrlimit(Resource::RLIMIT_NOFILE, files, most);
    // Some machines name a greatest number that they do not give.
    let asked = ask(u64::MAX).and_then(raise).or_else(|_| ask(FILES_MAX).and_then(raise));
    if let Err(error) = asked {
        warn!(%error, "the limit of open files stays as it is");
    }
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(files, _)| files)
}

/// What this build found on this machine: whoever wonders why a node is slow looks here first.
fn tell_machine(files: u64) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        kzg = holdfast_kzg::CpuPath::detected().name(),
        reed_solomon = holdfast_dispersal::CpuPath::detected().name(),
        processors = std::thread::available_parallelism().map_or(0, usize::from),
        open_files_max = files,
        "code paths chosen for this processor"
    );
}

/// Logs of a client's command, for whoever asks for them.
pub(crate) fn log_if_asked() {
    if let Ok(filter) = EnvFilter::try_from_env(LOG_VARIABLE)
        && std::env::var_os(LOG_VARIABLE).is_some()
    {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_may_open_as_many_files_as_the_machine_allows_it() {
        let (few, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
        assert!(most > 0);
        // Less than there is, for whatever other tests do meanwhile is little.
        let fewer = few.min(most / 2);
        assert_eq!(setrlimit(Resource::RLIMIT_NOFILE, fewer, most), Ok(()));
        assert!(may_open() > fewer);
    }
}
