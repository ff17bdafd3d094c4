//! How far something has got, told while it goes on.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// A line on stderr, where that is a terminal, that is written anew as work goes on and vanishes at its end.
pub(in crate::cli) struct Progress {
    shown: Option<Instant>,
    seen: bool,
}

impl Progress {
    const PAUSE: Duration = Duration::from_millis(200);

    /// Nothing is shown of what is done soon.
    pub(in crate::cli) fn new() -> Self {
        Self { shown: io::stderr().is_terminal().then(Instant::now), seen: false }
    }

    /// Shows `line`, unless the last one is still fresh.
    pub(in crate::cli) fn show(&mut self, line: impl FnOnce() -> String) {
        if self.shown.is_some_and(|shown| shown.elapsed() > Self::PAUSE) {
            (self.shown, self.seen) = (Some(Instant::now()), true);
            let _ = write!(io::stderr().lock(), "\r{}\x1b[K", line());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.seen {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
