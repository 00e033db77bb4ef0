//! Progress of puts and gets: a bar on standard error where somebody looks at it, words where not.

use std::{
    io::{self, IsTerminal},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use holdfast_client::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{output, show};

/// A bar that counts the user's bytes.
pub(crate) struct Bar {
    bar: ProgressBar,
    words: bool,
    verb: &'static str,
    /// Bytes of shards that were committed to.
    committed: AtomicU64,
}

impl Bar {
    /// Hidden unless standard error is a terminal; with `words`, notices are told in any case.
    pub(crate) fn new(verb: &'static str, words: bool) -> Self {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target).with_message(verb);
        bar.set_style(style(UNKNOWN_LENGTH));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, words, verb, committed: AtomicU64::new(0) }
    }

    /// Prints while the bar is out of the way.
    pub(crate) fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the bar off the screen, before results are printed.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn began(&self, plain_bytes: u64) {
        if plain_bytes > 0 {
            self.bar.set_length(plain_bytes);
            self.bar.set_style(style(KNOWN_LENGTH));
        }
    }

    fn plain(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn committed(&self, bytes: u64) {
        let all = self.committed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.set_message(format!("{}, committed to {} of shards", self.verb, show::bytes(all)));
    }

    fn notice(&self, text: &str) {
        if self.words {
            self.bar.suspend(|| output::note(text));
        }
    }
}

const KNOWN_LENGTH: &str = "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} eta {eta}";
const UNKNOWN_LENGTH: &str = "{msg} {spinner} {decimal_bytes} {decimal_bytes_per_sec}";

// A template that does not parse shows in the test below; the plain style is as good then.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_ones() {
        for template in [KNOWN_LENGTH, UNKNOWN_LENGTH] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
