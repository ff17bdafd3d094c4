//! How far work has got: counters that those who work move, and somebody else looks at now and then.
//!
//! Moving one costs an atomic addition a block, whether anybody looks or not. Whoever looks may also ask that the work be
//! ended; it ends with an error then, as it would if it could not read on. Knows no terminal.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::digest::Digest;

/// Work on some layers.
#[derive(Debug, Default)]
pub struct Progress {
    pieces: OnceLock<Vec<Piece>>,
    cancelled: Arc<AtomicBool>,
}

/// A layer that is worked on, or is there already.
#[derive(Debug)]
pub struct Piece {
    /// What names it.
    pub id: Digest,
    /// How many bytes there are to do.
    pub size: u64,
    /// Whether there is nothing to do.
    pub there: bool,
    counter: Arc<Counter>,
}

/// How much of a layer is done.
#[derive(Debug, Default)]
pub struct Counter {
    done: AtomicU64,
    ended: AtomicBool,
    cancelled: Arc<AtomicBool>,
}

impl Progress {
    /// Tells what there is to do, once.
    pub fn begin(&self, layers: impl IntoIterator<Item = (Digest, u64, bool)>) {
        let piece = |(id, size, there)| {
            let counter = Counter { cancelled: Arc::clone(&self.cancelled), ..Counter::default() };
            Piece { id, size, there, counter: Arc::new(counter) }
        };
        // Whoever begins twice goes on with what was told first.
        let _ = self.pieces.set(layers.into_iter().map(piece).collect());
    }

    /// Returns what there is to do; nothing before that is known.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        self.pieces.get().map_or(&[], Vec::as_slice)
    }

    /// Whether [`Progress::begin`] was called.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.pieces.get().is_some()
    }

    /// Returns the counter of a layer; one that nobody sees where it is none of those to do.
    #[must_use]
    pub fn counter(&self, at: usize) -> Arc<Counter> {
        self.pieces().get(at).map_or_else(Arc::default, |piece| Arc::clone(&piece.counter))
    }

    /// Returns the counter of the layer that is called so.
    #[must_use]
    pub fn counter_of(&self, id: &Digest) -> Arc<Counter> {
        let at = self.pieces().iter().position(|piece| piece.id == *id);
        self.counter(at.unwrap_or(usize::MAX))
    }

    /// Asks that the work be ended.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl Piece {
    /// Returns how many bytes are done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.counter.done.load(Ordering::Relaxed).min(self.size)
    }

    /// Whether all is done.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.counter.ended.load(Ordering::Relaxed)
    }
}

impl Counter {
    /// Adds bytes that are done; an error where the work is to be ended.
    pub fn add(&self, bytes: u64) -> io::Result<()> {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if self.cancelled.load(Ordering::Relaxed) { Err(io::Error::other("interrupted")) } else { Ok(()) }
    }

    /// Says how many bytes are done.
    pub fn set(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
    }

    /// Says that all is done.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Counts what is written.
#[derive(Debug)]
pub struct Counting<'a, W> {
    /// Where it is written to.
    pub inner: W,
    /// What counts it.
    pub counter: &'a Counter,
}

impl<W: Write> Write for Counting<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.counter.add(written as u64)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_where_it_is_counted() {
        let progress = Progress::default();
        assert!(!progress.has_begun());
        let id = Digest::of(b"a");
        progress.begin([(id, 10, false), (Digest::of(b"b"), 5, true)]);
        let counter = progress.counter_of(&id);
        let mut out = Counting { inner: Vec::new(), counter: &counter };
        out.write_all(b"1234").unwrap();
        assert_eq!((progress.pieces()[0].done(), progress.pieces()[1].there), (4, true));
        counter.set(99);
        assert_eq!(progress.pieces()[0].done(), 10, "never more than there is");
        counter.end();
        assert!(progress.pieces()[0].has_ended());
        progress.cancel();
        assert_eq!(out.write_all(b"5").unwrap_err().to_string(), "interrupted");
        // What nobody asked to see counts too, and ends by nobody.
        progress.counter(7).add(1).unwrap();
    }
}
