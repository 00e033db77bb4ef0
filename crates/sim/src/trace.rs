//! What happened, in order: a digest over all of it, and the last lines for whoever reads a failure.

use std::collections::VecDeque;

/// Lines kept for a failure's report.
const KEPT: usize = 40;

/// The run's log.
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    last: VecDeque<String>,
    lines: u64,
    loud: bool,
}

impl Trace {
    /// `loud`: every line goes to standard error, too.
    pub(crate) fn new(loud: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), last: VecDeque::new(), lines: 0, loud }
    }

    pub(crate) fn note(&mut self, at: u64, what: &str) {
        let line = format!("{:>4}.{:03} {what}", at / 1000, at % 1000);
        if self.loud {
            eprintln!("{line}");
        }
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        self.lines += 1;
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    pub(crate) fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
