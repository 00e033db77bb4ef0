//! The two clocks and the operating system's chance, read here and nowhere else in the auditor.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holdfast_types::{Millis, Mono, Now, Seed, Wall};

/// Since when this process counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// One that has run for a while.
    #[cfg(test)]
    pub(crate) fn started_before(span: Millis) -> Option<Self> {
        Instant::now().checked_sub(duration(span)).map(Self)
    }

    pub(crate) fn now(self) -> Now {
        Now { mono: Mono(millis(self.0.elapsed())), wall: wall() }
    }

    pub(crate) fn uptime(self) -> Millis {
        Millis(millis(self.0.elapsed()))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970; a clock set before that reads as 0.
pub(crate) fn wall() -> Wall {
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
}

pub(crate) fn duration(span: Millis) -> Duration {
    Duration::from_millis(span.0)
}

/// 32 fresh bytes.
pub(crate) fn chance() -> Result<Seed, getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(Seed(seed))
}
