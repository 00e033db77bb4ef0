//! How fast the committer may be: a share of one core, and less while somebody waits for the node.
//!
//! Committing costs milliseconds a blob and is never urgent, so everything else goes first: the thread has a low
//! priority, rests in proportion to the processor's time that each blob took, and steps aside while puts, reads or
//! challenges are in flight and for a moment after.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::state::State;

use super::desk::Desk;

/// Against a thread of the usual priority it gets a tenth of a core: enough that a machine which is busy with something
/// else for a day does not leave every shard to the auditor.
const NICE: i32 = 10;
/// Between two looks at whether the node is still busy.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A node that is never idle does a blob this often all the same: 127 KB/s, some percent of a core.
const STEP_ASIDE_MAX: Duration = Duration::from_secs(1);
/// And begins on a backlog at the latest after so long.
const HOLD_OFF_MAX: Duration = Duration::from_secs(60);

/// Lowers the calling thread's priority, where the system can do that for one thread. Called once, by the committer: an
/// operator whose unit forbids it must hear why a busy node is slower than another.
pub(super) fn step_back() {
    // On Linux "this process" means the calling thread.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        warn!(%error, "the committer keeps the usual priority; allow the system call setpriority");
    }
    #[cfg(not(target_os = "linux"))]
    warn!("the committer keeps the usual priority: this system cannot lower that of one thread");
}

/// The processor's time that the calling thread took so far.
pub(super) fn worked() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // Neither is ever negative, and the second is below a second.
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec.unsigned_abs() as u32)
}

/// How long to rest after having worked, so that work is `share` of the time.
pub(super) fn rest_after(worked: Duration, share: f64) -> Duration {
    worked.mul_f64(((1.0 - share) / share).max(0.0))
}

/// Waits while the node is busy, within bounds. `false` once stopped.
pub(super) fn step_aside(state: &State, desk: &Desk) -> bool {
    wait(state, desk, STEP_ASIDE_MAX)
}

/// The same before a backlog is begun on: its table of multiples costs a second of a core, which a put that is just
/// coming in is not to pay.
pub(super) fn hold_off(state: &State, desk: &Desk) -> bool {
    wait(state, desk, HOLD_OFF_MAX)
}

fn wait(state: &State, desk: &Desk, most: Duration) -> bool {
    let since = Instant::now();
    while state.is_busy() && since.elapsed() < most {
        if !desk.pause(LOOK_EVERY) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_counts_as_work() {
        let before = worked();
        std::thread::sleep(Duration::from_millis(50));
        let slept = worked();
        assert!(slept - before < Duration::from_millis(40), "{:?}", slept - before);
        while worked() == slept {
            std::hint::black_box(0);
        }
    }

    #[test]
    fn work_is_the_share_of_the_time() {
        let worked = Duration::from_millis(10);
        assert_eq!(rest_after(worked, 1.0), Duration::ZERO);
        assert_eq!(rest_after(worked, 0.5), worked);
        for share in [0.01, 0.1, 0.25, 0.9] {
            let whole = worked + rest_after(worked, share);
            let got = worked.as_secs_f64() / whole.as_secs_f64();
            assert!((got - share).abs() < 1e-6, "{share}: {got}");
        }
    }
}
