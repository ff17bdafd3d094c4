//! How far work has got: counters that those who work move, and somebody else looks at now and then.
//!
//! Moving one costs an atomic addition a block, whether anybody looks or not. Whoever looks may also ask that the work be
//! ended; it ends with an error then, as it would if it could not read on. Knows no terminal.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Work, piece by piece.
#[derive(Debug, Default)]
pub struct Progress {
    pieces: Mutex<Vec<Piece>>,
    cancel: Arc<Cancel>,
}

/// That the work be ended.
#[derive(Debug, Default)]
struct Cancel {
    asked: AtomicBool,
    heard: AtomicBool,
}

/// What a piece of work is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// The bytes of a layer.
    Layer {
        /// Its number, from 1 on.
        nr: usize,
        /// Of how many.
        of: usize,
        /// What names it.
        id: Digest,
    },
    /// The bytes of an archive that goes by once.
    Archive,
    /// The bytes of a layer that is being made.
    NewLayer,
    /// The bytes of a tree.
    Tree,
    /// The bytes that a filesystem has got.
    Filesystem,
    /// Names that are deleted.
    Names,
}

/// A piece of work; one that is there already needs none.
#[derive(Debug, Clone)]
pub struct Piece {
    /// What it is about.
    pub what: What,
    /// How much there is to do, in bytes or names, where that is known.
    pub size: Option<u64>,
    /// Whether there is nothing to do.
    pub there: bool,
    counter: Arc<Counter>,
}

/// How much of a piece is done.
#[derive(Debug, Default)]
pub struct Counter {
    done: AtomicU64,
    ended: AtomicBool,
    cancel: Arc<Cancel>,
}

impl Progress {
    /// Tells of more that there is to do, and returns what counts it.
    pub fn begin(&self, what: What, size: Option<u64>) -> Arc<Counter> {
        self.put(what, size, false)
    }

    /// Tells of the layers of an image, the base first: what names each, its size, and whether it is there already. Returns
    /// what counts each.
    pub fn layers(&self, layers: &[(Digest, u64, bool)]) -> Vec<Arc<Counter>> {
        let of = layers.len();
        let numbered = (1..).zip(layers);
        numbered
            .map(|(nr, &(id, size, there))| self.put(What::Layer { nr, of, id }, Some(size), there))
            .collect()
    }

    /// The same as [`Progress::begin`], of what may be there already.
    pub fn put(&self, what: What, size: Option<u64>, there: bool) -> Arc<Counter> {
        let counter = Arc::new(Counter { cancel: Arc::clone(&self.cancel), ..Counter::default() });
        self.lock().push(Piece { what, size, there, counter: Arc::clone(&counter) });
        counter
    }

    /// Returns what is known so far of what there is to do.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        self.lock().clone()
    }

    /// Returns one piece, counted from 0.
    #[must_use]
    pub fn piece(&self, at: usize) -> Option<Piece> {
        self.lock().get(at).cloned()
    }

    /// Whether anything to do is known.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Returns the counter of the layer that is named so; one that nobody sees where it is none of those to do.
    #[must_use]
    pub fn counter_of(&self, layer: &Digest) -> Arc<Counter> {
        let is_it = |piece: &&Piece| matches!(piece.what, What::Layer { id, .. } if id == *layer);
        self.lock().iter().find(is_it).map_or_else(Arc::default, |piece| Arc::clone(&piece.counter))
    }

    /// Asks that the work be ended.
    pub fn cancel(&self) {
        self.cancel.asked.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked for: the work asks.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_asked()
    }

    /// An error where the work is to be ended.
    pub fn go_on(&self) -> io::Result<()> {
        self.cancel.go_on()
    }

    /// Whether the work knows that it is to end; else it waits for something.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        self.cancel.heard.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Piece>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancel {
    fn is_asked(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        if asked {
            self.heard.store(true, Ordering::Relaxed);
        }
        asked
    }

    fn go_on(&self) -> io::Result<()> {
        if self.is_asked() { Err(io::Error::other("interrupted")) } else { Ok(()) }
    }
}

impl Piece {
    /// Returns how much is done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.counter.done.load(Ordering::Relaxed).min(self.size.unwrap_or(u64::MAX))
    }

    /// Whether all is done.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.counter.ended.load(Ordering::Relaxed)
    }

    /// Says how much is done, where others do it.
    pub fn set(&self, done: u64, ended: bool) {
        self.counter.set(done);
        self.counter.ended.store(ended, Ordering::Relaxed);
    }
}

impl Counter {
    /// Adds what is done; an error where the work is to be ended.
    pub fn add(&self, more: u64) -> io::Result<()> {
        self.done.fetch_add(more, Ordering::Relaxed);
        self.cancel.go_on()
    }

    /// Says how much is done.
    pub fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    /// Whether the work is to be ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_asked()
    }

    /// Says that all is done.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Counts what goes through.
#[derive(Debug)]
pub struct Counting<T> {
    /// Where it is written to, or read from.
    pub inner: T,
    /// What counts it.
    pub counter: Arc<Counter>,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.counter.add(written as u64)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.counter.add(read as u64)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_where_it_is_counted() {
        let progress = Progress::default();
        assert!(!progress.has_begun());
        let counter = progress.begin(What::Tree, None);
        let id = Digest::of(b"a");
        progress.layers(&[(id, 10, false), (Digest::of(b"b"), 5, true)]);
        assert_eq!(progress.piece(1).unwrap().what, What::Layer { nr: 1, of: 2, id });
        let mut out = Counting { inner: Vec::new(), counter: progress.counter_of(&id) };
        out.write_all(b"1234").unwrap();
        assert_eq!(progress.pieces().iter().map(Piece::done).collect::<Vec<_>>(), [0, 4, 0]);
        out.counter.set(99);
        assert_eq!(progress.piece(1).unwrap().done(), 10, "never more than there is");
        counter.end();
        assert!(progress.piece(0).unwrap().has_ended());
        progress.cancel();
        assert!(!progress.has_heard());
        assert_eq!(out.write_all(b"5").unwrap_err().to_string(), "interrupted");
        assert!(progress.has_heard());
        let mut input = Counting { inner: &b"6"[..], counter };
        assert_eq!(input.read(&mut [0]).unwrap_err().to_string(), "interrupted");
        // What nobody asked to see counts too, and ends by nobody.
        progress.counter_of(&Digest::of(b"c")).add(1).unwrap();
    }
}
