//! Progress on stderr: bars on a terminal, lines elsewhere, and a clean end when somebody presses Ctrl-C.

mod bars;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::{Cause, say};
use crate::cli::{look, print};
use crate::progress::{Piece, Progress, What};
use crate::sys::counted;
use crate::sys::interrupt::{Ending, Signals};
use bars::Bars;

/// How progress is shown.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct Showing {
    /// How progress is shown
    #[arg(long, value_name = "HOW", default_value = "auto", env = "OVLCTL_PROGRESS")]
    progress: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// A bar for each layer, where standard error is a terminal
    Auto,
    /// A line for each layer when it is done
    Plain,
    /// Not at all
    None,
}

impl Showing {
    /// Does `work`, and shows how far it has got; `quiet`: it does not. Whether or not somebody looks, it undoes what it did when
    /// a signal asks it to end.
    pub(in crate::cli) fn during<T>(
        self,
        quiet: bool,
        work: impl FnOnce(&Progress) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        watched(&mut *self.watcher(quiet), work)
    }

    /// Whether anything is shown.
    pub(in crate::cli) fn is_wanted(self, quiet: bool) -> bool {
        !quiet
            && match self.progress {
                How::Auto => super::is_terminal(),
                How::Plain => true,
                How::None => false,
            }
    }

    fn watcher(self, quiet: bool) -> Box<dyn Watcher> {
        if !self.is_wanted(quiet) {
            return Box::new(Silent);
        }
        // What is said meanwhile would stand between bars.
        let bars = self.progress == How::Auto && !look::is_verbose();
        if bars { Box::new(Bars::new()) } else { Box::new(Lines::default()) }
    }
}

/// What a verb says beside its data, where that is all one.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct Talk {
    /// Say nothing but what goes wrong
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    showing: Showing,
}

impl Talk {
    /// Does `work`, and shows how far it has got.
    pub(in crate::cli) fn during<T>(
        self,
        work: impl FnOnce(&Progress) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        self.showing.during(self.quiet, work)
    }

    /// Whether progress is shown.
    pub(in crate::cli) fn is_shown(self) -> bool {
        self.showing.is_wanted(self.quiet)
    }

    /// Says something that is not wrong.
    pub(in crate::cli) fn say(self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }
}

/// Who is told, some times a second, how far work has got.
pub(in crate::cli) trait Watcher: Send {
    /// Looks at the progress.
    fn look(&mut self, progress: &Progress);

    /// Leaves nothing on the screen that was not there.
    fn clear(&mut self) {}
}

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(100);

/// How long work that is to end may take for that, before the process ends without it.
const GRACE: Duration = Duration::from_secs(30);

/// How long it may take to hear of it: a disk may be slow, and who feeds a pipe may never do so again.
const HEARING: Duration = Duration::from_secs(5);

/// The same for what has done nothing yet, and so has nothing to undo.
const BEGINNING: Duration = Duration::from_secs(1);

/// Does `work` while a thread lets `watcher` look, and ends both when a signal asks for it: work that has cleaned up behind
/// itself becomes [`Cause::Interrupted`].
pub(in crate::cli) fn watched<T>(
    watcher: &mut dyn Watcher,
    work: impl FnOnce(&Progress) -> Result<T, Cause>,
) -> Result<T, Cause> {
    let Ok(signals) = Signals::keep() else { return work(&Progress::default()) };
    let progress = Progress::default();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = || look(watcher, &progress, &signals, &is_done);
        let Ok(watch) = thread::Builder::new().name("progress".to_owned()).spawn_scoped(scope, watch) else {
            return work(&progress);
        };
        let done = {
            let _over = Over { is_done: &is_done, watch: watch.thread() };
            work(&progress)
        };
        match watch.join() {
            Ok(Some(ending)) => Err(Cause::Interrupted(ending)),
            Ok(None) | Err(_) => done,
        }
    })
}

/// Tells the thread that looks that there is nothing more to see, also where the work panics.
struct Over<'a> {
    is_done: &'a AtomicBool,
    watch: &'a Thread,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Release);
        self.watch.unpark();
    }
}

fn look(
    watcher: &mut dyn Watcher,
    progress: &Progress,
    signals: &Signals,
    is_done: &AtomicBool,
) -> Option<Ending> {
    let mut asked: Option<(Ending, Instant)> = None;
    let grace = || match (progress.has_begun(), progress.has_heard()) {
        (false, _) => BEGINNING,
        (true, false) => HEARING,
        (true, true) => GRACE,
    };
    loop {
        thread::park_timeout(PAUSE);
        let done = is_done.load(Ordering::Acquire);
        match (signals.came(), asked) {
            (Some(ending), None) => {
                progress.cancel();
                watcher.clear();
                asked = Some((ending, Instant::now()));
            }
            // Whoever asks twice does not want to wait.
            (Some(ending), Some(_)) => ending.end_by(),
            (None, Some((ending, since))) if since.elapsed() > grace() => ending.end_by(),
            (None, _) => {}
        }
        if asked.is_none() {
            watcher.look(progress);
        }
        if done {
            watcher.clear();
            return asked.map(|(ending, _)| ending);
        }
    }
}

/// Shows nothing.
struct Silent;

impl Watcher for Silent {
    fn look(&mut self, _: &Progress) {}
}

/// A line for each piece of work, as soon as it is done.
#[derive(Default)]
struct Lines {
    told: Vec<bool>,
}

impl Watcher for Lines {
    fn look(&mut self, progress: &Progress) {
        let pieces = progress.pieces();
        self.told.resize(pieces.len(), false);
        for (piece, told) in pieces.iter().zip(&mut self.told) {
            if !*told && (piece.there || piece.has_ended()) {
                *told = true;
                say(&line(piece));
            }
        }
    }
}

fn line(piece: &Piece) -> String {
    let size = print::size(piece.size.unwrap_or(piece.done()));
    match piece.what {
        What::Layer { nr, of, id } => {
            let done = if piece.there { "there already" } else { &size };
            format!("layer {nr} of {of}: {}  {done}", id.short())
        }
        What::Names => format!("deleted: {}", counted(piece.done(), "file")),
        What::Archive | What::NewLayer | What::Tree | What::Filesystem => {
            format!("{}: {size}", name(piece.what))
        }
    }
}

/// Returns what a piece of work is called, while it is done.
fn name(what: What) -> &'static str {
    match what {
        What::Layer { .. } => "layer",
        What::Archive => "archive",
        What::NewLayer => "new layer",
        What::Tree => "tree",
        What::Filesystem => "filesystem",
        What::Names => "deleting",
    }
}

/// Returns how long something took, in words: `0.4 s`, `1 min 12 s`.
pub(in crate::cli) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<u64>, u32);

    impl Watcher for Seen {
        fn look(&mut self, progress: &Progress) {
            self.0.push(progress.pieces().iter().map(Piece::done).sum());
        }

        fn clear(&mut self) {
            self.1 += 1;
        }
    }

    #[test]
    fn the_end_is_seen_and_cleared_and_nobody_waits_for_it() {
        let mut seen = Seen::default();
        let done = watched(&mut seen, |progress| {
            let counter = progress.begin(What::Tree, Some(10));
            counter.add(10).map_err(|_| Cause::NotMounted)?;
            Ok(7)
        });
        assert_eq!(done.unwrap(), 7);
        assert_eq!((seen.0.last(), seen.1), (Some(&10), 1));
    }

    #[test]
    fn times_are_told_in_words() {
        assert_eq!(took(Duration::from_millis(440)), "0.4 s");
        assert_eq!(took(Duration::from_millis(61_900)), "1 min 1 s");
    }
}
