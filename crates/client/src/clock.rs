//! The one place where the client reads clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holdfast_types::{Mono, Wall};

/// Counts from its own start, for the machines' timeouts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> Mono {
        Mono(self.0.elapsed().as_millis() as u64)
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    /// The moment of this clock as the runtime's timer knows it.
    pub(crate) fn at(&self, mono: Mono) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.0 + Duration::from_millis(mono.0))
    }
}

/// The wall clock, for records and certificates.
pub(crate) fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(since.as_millis() as u64)
}
