//! What happens, as it happens: a line each, with the seconds since the beginning.

use std::time::Instant;

use crate::{failure::Failure, output};

/// Tells people; on standard error where standard output is for a program.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    began: Instant,
    to_stderr: bool,
}

impl Story {
    pub(crate) fn begin(to_stderr: bool) -> Self {
        Self { began: Instant::now(), to_stderr }
    }

    /// One line of the story.
    pub(crate) fn say(&self, stage: &str, text: &str) {
        self.plain(&format!("[{:>6.1} s] {stage:<9} {text}", self.began.elapsed().as_secs_f64()));
    }

    /// One line beside it.
    pub(crate) fn plain(&self, text: &str) {
        if self.to_stderr {
            output::note(text);
            return;
        }
        match output::line(text) {
            // The demo is judged by its exit code, read or not.
            Ok(()) | Err(Failure::ClosedPipe) => {}
            Err(failure) => output::note(&failure.to_string()),
        }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}
