//! One daemon as a child process: started from this very executable, watched, started again when it dies, ended with
//! us however we end.
//!
//! The kernel ends a child with the *thread* that made it. So children are made by the tasks of a runtime that has one
//! thread, the process's own.

use std::{
    fs::File,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child as Process, Command},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::failure::Failure;

/// Between a death and the next start; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(300);
/// A child that dies again and again must not take the machine with it.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A child that lived for this long died of something new.
const STEADY: Duration = Duration::from_secs(30);
/// What a child has for its drain before it is killed.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How to start a daemon.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// For people and for the log's name.
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
    /// `node` or `auditor`.
    pub(crate) verb: &'static str,
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Run,
    /// SIGKILL, and stay down.
    Down,
    /// SIGTERM, and SIGKILL after a while.
    Stop,
}

/// A daemon that is kept running.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) name: String,
    wish: watch::Sender<Wish>,
    pid: watch::Receiver<Option<u32>>,
    task: JoinHandle<()>,
}

impl Child {
    /// Starts it; `tell` hears of deaths and starts.
    pub(crate) fn keep(spec: Spec, tell: impl Fn(&str) + Send + 'static) -> Self {
        let (wish, wished) = watch::channel(Wish::Run);
        let (running, pid) = watch::channel(None);
        let name = spec.name.clone();
        let task = tokio::spawn(keep(spec, wished, running, tell));
        Self { name, wish, pid, task }
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// SIGKILL; it is gone when this returns, and stays down.
    pub(crate) async fn kill(&mut self) {
        self.wish.send_replace(Wish::Down);
        // An error means that the task is gone, and the process with it.
        let _ = self.pid.wait_for(Option::is_none).await;
    }

    /// SIGTERM, then SIGKILL; it is gone when this returns.
    pub(crate) async fn stop(self) {
        self.wish.send_replace(Wish::Stop);
        let _ = self.task.await;
    }

    /// Asks for the end without waiting for it, so that many end at once.
    pub(crate) fn ask_to_stop(&self) {
        self.wish.send_replace(Wish::Stop);
    }
}

async fn keep(
    spec: Spec,
    mut wish: watch::Receiver<Wish>,
    running: watch::Sender<Option<u32>>,
    tell: impl Fn(&str) + Send + 'static,
) {
    let mut pause = PAUSE_MIN;
    loop {
        // Whoever wished is gone: nobody wants the child any more.
        let wished = if wish.has_changed().is_err() { Wish::Stop } else { *wish.borrow_and_update() };
        match wished {
            Wish::Run => {}
            Wish::Stop => return,
            Wish::Down => {
                if wish.changed().await.is_err() {
                    return;
                }
                continue;
            }
        }
        let born = Instant::now();
        let death = match spec.start() {
            Ok(mut process) => {
                running.send_replace(process.id());
                let death = live(&mut process, &mut wish).await;
                running.send_replace(None);
                death
            }
            Err(error) => Some(format!("cannot be started: {error}")),
        };
        let Some(death) = death else { continue };
        if born.elapsed() >= STEADY {
            pause = PAUSE_MIN;
        }
        tell(&format!(
            "{} {death}; starting it again in {:.1} s (log: {})",
            spec.name,
            pause.as_secs_f64(),
            spec.log.display()
        ));
        tokio::select! {
            () = sleep(pause) => {}
            _ = wish.changed() => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Until it dies by itself, and how; `None` when it was wished for.
async fn live(process: &mut Process, wish: &mut watch::Receiver<Wish>) -> Option<String> {
    loop {
        tokio::select! {
            ended = process.wait() => {
                return Some(ended.map_or_else(|error| format!("was lost: {error}"), died));
            }
            changed = wish.changed() => {
                // A sender that is gone wants no children.
                let wished = if changed.is_err() { Wish::Stop } else { *wish.borrow() };
                match wished {
                    Wish::Run => {}
                    Wish::Down => {
                        // Only fails for what has ended already.
                        let _ = process.kill().await;
                        return None;
                    }
                    Wish::Stop => {
                        drain(process).await;
                        return None;
                    }
                }
            }
        }
    }
}

async fn drain(process: &mut Process) {
    if let Some(pid) = process.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if timeout(DRAIN_MAX, process.wait()).await.is_err() {
        let _ = process.kill().await;
    }
}

fn died(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

impl Spec {
    fn start(&self) -> Result<Process, Failure> {
        let log = File::options().append(true).create(true).open(&self.log).map_err(|e| Failure::file(&self.log, e))?;
        let child = Command::new(&self.executable)
            .arg(self.verb)
            .arg("--config")
            .arg(&self.config)
            .arg("--die-with-parent")
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us; we tell them in our own words.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        child.map_err(|error| Failure::file(&self.executable, error))
    }
}
