//! What the operating system knows of processes: whose child we are, how much memory they took.

use std::fs;

use nix::{
    sys::{prctl, signal::Signal},
    unistd::{Pid, getppid},
};

use crate::failure::Failure;

/// Ties our life to our parent's, whatever ends it: a cluster on a laptop must not outlive its supervisor unseen.
pub(crate) fn die_with(parent: i32) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| Failure::Failed(format!("cannot follow the parent: {error}")))?;
    // It may have died before the call, and then no signal comes.
    if getppid() != Pid::from_raw(parent) {
        return Err(Failure::Failed(format!("process {parent}, which started this one, is gone; start it by itself")));
    }
    Ok(())
}

/// The most memory that a process had resident so far, in bytes; `None` when it is gone.
pub(crate) fn peak_rss(pid: u32) -> Option<u64> {
    of_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Our own.
pub(crate) fn own_peak_rss() -> Option<u64> {
    peak_rss(std::process::id())
}

/// The high-water mark in `/proc/PID/status`. It starts anew with each `execve`, unlike `ru_maxrss`, which a child
/// inherits from whoever forked it.
fn of_status(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read_in_bytes() {
        let text = "Name:\tholdfast\nVmPeak:\t  999 kB\nVmHWM:\t   12 kB\nVmRSS:\t    8 kB\n";
        assert_eq!(of_status(text), Some(12 * 1024));
        assert_eq!(of_status("Name:\tx\n"), None);
    }

    #[test]
    fn our_own_memory_is_known_and_plausible() {
        let bytes = own_peak_rss().unwrap();
        assert!((100_000..1 << 40).contains(&bytes), "{bytes}");
    }
}
