//! Progress on stderr: bars on a terminal, lines elsewhere, and a clean end when somebody presses Ctrl-C.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{Cause, say};
use crate::cli::{look, print};
use crate::progress::{Piece, Progress};
use crate::sys::interrupt::{Ending, Signals};
use crate::sys::terminal;

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
    /// Nothing is shown.
    pub(in crate::cli) const NOTHING: Self = Self { progress: How::None };

    /// Does `work`, and shows how far it has got; `quiet`: it does not. `what` is shown above.
    pub(in crate::cli) fn during<T>(
        self,
        quiet: bool,
        work: impl FnOnce(&Progress) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        match self.progress {
            // What is said meanwhile would stand between bars.
            How::Auto if !quiet && super::is_terminal() && !look::is_verbose() => {
                watched(&mut Bars::new(), work)
            }
            How::Auto | How::Plain if self.is_wanted(quiet) => watched(&mut Lines::default(), work),
            How::Auto | How::Plain | How::None => work(&Progress::default()),
        }
    }

    /// Whether anything is shown.
    pub(in crate::cli) fn is_wanted(self, quiet: bool) -> bool {
        !quiet && (self.progress == How::Plain || (self.progress == How::Auto && super::is_terminal()))
    }
}

/// Who is told, some times a second, how far work has got.
pub(in crate::cli) trait Watcher: Send {
    /// Looks at the progress.
    fn look(&mut self, progress: &Progress);

    /// Leaves nothing on the screen that was not there.
    fn clear(&mut self);
}

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(100);

/// How long work that is to end may take for that, before the process ends without it.
const GRACE: Duration = Duration::from_secs(10);

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
            (None, Some((ending, since))) if since.elapsed() > GRACE => ending.end_by(),
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

/// A bar for each layer.
struct Bars {
    screen: MultiProgress,
    /// Each with whether it is done; none for what is not shown.
    bars: Vec<Option<(ProgressBar, bool)>>,
    since: Instant,
}

impl Bars {
    /// Nothing is shown of what is done soon.
    const SOON: Duration = Duration::from_millis(150);

    fn new() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { screen, bars: Vec::new(), since: Instant::now() }
    }

    fn begin(&mut self, pieces: &[Piece]) {
        // More than fit would scroll: those that are there are not shown then, nor those that are done.
        let all_fit = pieces.len() < terminal_rows();
        for (nr, piece) in (1..).zip(pieces) {
            if piece.there && !all_fit {
                self.bars.push(None);
                continue;
            }
            // Hidden until it has its style: each change is drawn.
            let bar = ProgressBar::hidden();
            bar.set_length(piece.size);
            bar.set_prefix(format!("{nr:>3} {}", piece.id.short()));
            bar.set_style(style(if piece.there { "{prefix}  there already" } else { "{prefix}  waits" }));
            let bar = self.screen.add(bar);
            bar.tick();
            self.bars.push(Some((bar, piece.there)));
        }
    }
}

fn terminal_rows() -> usize {
    terminal::size(&io::stderr()).filter(|size| size.rows > 0).map_or(24, |size| size.rows)
}

/// The bar gets the width that the other columns leave.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("a literal template");
    style.progress_chars("=> ").with_key("rate", rate)
}

const WORKING: &str = "{prefix}  [{wide_bar}] {binary_bytes:>11} of {binary_total_bytes:>11} {rate:>13}";
const DONE: &str = "{prefix}  [{wide_bar}] {binary_total_bytes:>11} done                       ";

/// Writes how many bytes a second there were, since the first.
fn rate(state: &ProgressState, to: &mut dyn fmt::Write) {
    let time = state.elapsed();
    if time >= PAUSE {
        let rate = u128::from(state.pos()) * 1000 / time.as_millis();
        let _ = write!(to, "{}/s", print::size(u64::try_from(rate).unwrap_or(u64::MAX)));
    }
}

impl Watcher for Bars {
    fn look(&mut self, progress: &Progress) {
        let pieces = progress.pieces();
        if pieces.is_empty() || self.since.elapsed() < Self::SOON {
            return;
        }
        if self.bars.is_empty() {
            self.begin(pieces);
        }
        let all_fit = pieces.len() < terminal_rows();
        for (bar, piece) in self.bars.iter_mut().zip(pieces) {
            let Some((shown, has_ended)) = bar.as_mut().filter(|(_, has_ended)| !has_ended) else { continue };
            if piece.has_ended() {
                // Never finished: what indicatif takes for finished it does not clear.
                *has_ended = true;
                shown.set_style(style(DONE));
                shown.set_position(piece.size);
                shown.tick();
                if !all_fit {
                    self.screen.remove(shown);
                    *bar = None;
                }
            } else if piece.done() > shown.position() {
                if shown.position() == 0 {
                    shown.set_style(style(WORKING));
                    shown.reset_elapsed();
                }
                shown.set_position(piece.done());
            }
        }
        // The bars end with their line. There the terminal would show `^C` on the next one, and what is cleared then would
        // be one line further down.
        let _ = write!(io::stderr().lock(), "\r");
    }

    fn clear(&mut self) {
        let _ = self.screen.clear();
        // Nothing is drawn anew by a bar that is dropped.
        self.screen.set_draw_target(ProgressDrawTarget::hidden());
        self.bars.clear();
    }
}

/// A line for each layer, as soon as it is done.
#[derive(Default)]
struct Lines {
    told: Vec<bool>,
}

impl Watcher for Lines {
    fn look(&mut self, progress: &Progress) {
        let pieces = progress.pieces();
        self.told.resize(pieces.len(), false);
        for (at, piece) in pieces.iter().enumerate() {
            if !self.told[at] && (piece.there || piece.has_ended()) {
                self.told[at] = true;
                say(&line(at, pieces.len(), piece));
            }
        }
    }

    fn clear(&mut self) {}
}

fn line(at: usize, of: usize, piece: &Piece) -> String {
    let done = if piece.there { "there already".to_owned() } else { print::size(piece.size) };
    format!("layer {} of {of}: {}  {done}", at + 1, piece.id.short())
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
    use crate::digest::Digest;

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
            progress.begin([(Digest::of(b"a"), 10, false)]);
            progress.counter(0).add(10).map_err(|_| Cause::NotMounted)?;
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
