//! Bars on a terminal, one for each piece of work.

mod frames;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use self::frames::Frames;
use super::{PAUSE, Watcher, name};
use crate::cli::print;
use crate::progress::{Piece, Progress, What};
use crate::sys::terminal::{self, Size};

/// A bar for each piece of work.
pub(super) struct Bars {
    screen: MultiProgress,
    /// None for what is not shown.
    bars: Vec<Option<Bar>>,
    columns: usize,
    since: Instant,
}

struct Bar {
    shown: ProgressBar,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    There,
    Waits,
    Works,
    Done,
}

impl State {
    fn of(piece: &Piece) -> Self {
        match (piece.there, piece.has_ended(), piece.done()) {
            (true, ..) => Self::There,
            (false, true, _) => Self::Done,
            (false, false, 0) => Self::Waits,
            (false, false, _) => Self::Works,
        }
    }
}

impl Bars {
    /// Nothing is shown of what is done soon.
    const SOON: Duration = Duration::from_millis(150);

    pub(super) fn new() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(
            Box::new(Frames::default()),
            20,
        ));
        Self { screen, bars: Vec::new(), columns: 0, since: Instant::now() }
    }

    fn begin(&self, piece: &Piece) -> Bar {
        // Hidden until it has its style: each change is drawn.
        let bar = ProgressBar::hidden();
        if let Some(size) = piece.size {
            bar.set_length(size);
        }
        bar.set_prefix(prefix(piece.what));
        let state = State::of(piece);
        bar.set_style(style(piece, state, self.columns));
        let shown = self.screen.add(bar);
        shown.tick();
        Bar { shown, state }
    }
}

impl Bar {
    fn look(&mut self, piece: &Piece, columns: usize, is_resized: bool) {
        let state = State::of(piece);
        if state != self.state || is_resized {
            if (self.state, state) == (State::Waits, State::Works) {
                self.shown.reset_elapsed();
            }
            self.state = state;
            self.shown.set_style(style(piece, state, columns));
            self.shown.tick();
        }
        let done = if state == State::Done { piece.size.unwrap_or(piece.done()) } else { piece.done() };
        // Never finished: what indicatif takes for finished it does not clear.
        if done != self.shown.position() {
            self.shown.set_position(done);
        }
    }
}

impl Watcher for Bars {
    fn look(&mut self, progress: &Progress) {
        let pieces = progress.pieces();
        if pieces.is_empty() || self.since.elapsed() < Self::SOON {
            return;
        }
        let Size { columns, rows } = size();
        let is_resized = columns != self.columns;
        self.columns = columns;
        // More than fit would scroll: those that are there are not shown then, nor those that are done.
        let all_fit = pieces.len() < rows;
        for (at, piece) in pieces.iter().enumerate() {
            let is_shown = all_fit || matches!(State::of(piece), State::Waits | State::Works);
            if at == self.bars.len() {
                self.bars.push(is_shown.then(|| self.begin(piece)));
            } else if let Some(bar) = &mut self.bars[at] {
                bar.look(piece, columns, is_resized);
                if !is_shown {
                    self.screen.remove(&bar.shown);
                    self.bars[at] = None;
                }
            }
        }
    }

    fn clear(&mut self) {
        let _ = self.screen.clear();
        // Nothing is drawn anew by a bar that is dropped.
        self.screen.set_draw_target(ProgressDrawTarget::hidden());
        self.bars.clear();
    }
}

fn size() -> Size {
    let Size { columns, rows } = terminal::size(&io::stderr()).unwrap_or(Size { columns: 0, rows: 0 });
    Size { columns: if columns == 0 { 80 } else { columns }, rows: if rows == 0 { 24 } else { rows } }
}

fn prefix(what: What) -> String {
    match what {
        What::Layer { nr, id, .. } => format!("{nr:>3} {}", id.short()),
        What::Archive | What::NewLayer | What::Tree | What::Filesystem | What::Names => {
            format!("{:>16}", name(what))
        }
    }
}

/// Where a line has less columns there is no room for sizes.
const WIDE: usize = 72;

fn style(piece: &Piece, state: State, columns: usize) -> ProgressStyle {
    let style = ProgressStyle::with_template(template(piece, state, columns)).expect("a literal template");
    style.progress_chars("=> ").with_key("rate", rate)
}

/// The bar gets the width that the other columns leave.
fn template(piece: &Piece, state: State, columns: usize) -> &'static str {
    match (state, piece.what, piece.size) {
        (State::There, ..) => "{prefix}  there already",
        (State::Waits, ..) => "{prefix}  waits",
        (State::Works | State::Done, What::Names, _) => "{prefix}  {pos} files",
        (State::Works, _, None) => "{prefix}  {binary_bytes:>11} {rate:>13}",
        (State::Done, _, None) => "{prefix}  {binary_bytes:>11} done",
        (State::Works, _, Some(_)) if columns < WIDE => "{prefix}  [{wide_bar}] {percent:>3}%",
        (State::Done, _, Some(_)) if columns < WIDE => "{prefix}  [{wide_bar}] done",
        (State::Works, _, Some(_)) => {
            "{prefix}  [{wide_bar}] {binary_bytes:>11} of {binary_total_bytes:>11} {rate:>13}"
        }
        (State::Done, _, Some(_)) => {
            "{prefix}  [{wide_bar}] {binary_total_bytes:>11} done                       "
        }
    }
}

/// Writes how many bytes a second there were, since the first.
fn rate(state: &ProgressState, to: &mut dyn fmt::Write) {
    let time = state.elapsed();
    if time >= PAUSE {
        let rate = u128::from(state.pos()) * 1000 / time.as_millis();
        let _ = write!(to, "{}/s", print::size(u64::try_from(rate).unwrap_or(u64::MAX)));
    }
}
