//! Time as an argument. Timeouts run on the monotonic clock, grants and schedules on the wall's.

use std::{
    fmt,
    ops::{Add, Sub},
};

use serde::{Deserialize, Serialize};

/// A span in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// Whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1000)
    }

    /// As a float of seconds, for people.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.as_secs_f64())
    }
}

/// Milliseconds on a clock that never runs backwards, since an unnamed start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mono(pub u64);

impl Mono {
    /// Time from `earlier` to this; zero when `earlier` is later.
    pub const fn since(self, earlier: Mono) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for Mono {
    type Output = Mono;
    fn add(self, span: Millis) -> Mono {
        Mono(self.0.saturating_add(span.0))
    }
}

/// Milliseconds since the Unix epoch by somebody's wall clock: may jump, may be wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub u64);

impl Wall {
    /// Time from `earlier` to this; zero when `earlier` is later.
    pub const fn since(self, earlier: Wall) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for Wall {
    type Output = Wall;
    fn add(self, span: Millis) -> Wall {
        Wall(self.0.saturating_add(span.0))
    }
}

impl Sub<Millis> for Wall {
    type Output = Wall;
    fn sub(self, span: Millis) -> Wall {
        Wall(self.0.saturating_sub(span.0))
    }
}

/// Both clocks, read together by the driver and handed to a core with each event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// For timeouts.
    pub mono: Mono,
    /// For schedules, grants and records.
    pub wall: Wall,
}
