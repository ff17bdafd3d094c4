//! Small files are left to helpers, a batch at a time, or written at once where there are none.
//!
//! Creating an inode costs the kernel more than the tar reader's whole work for it, so it is shared (`crew.rs`), and files
//! are created in no order. Whoever needs a file to be there, or to stay away, calls [`Writers::drain`] before.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::sys::CallFailed;
use crate::sys::dir::Dir;
use crate::sys::trace;

use super::apply::SMALL;
use super::blocks::{BLOCK, ENOUGH, FEWER, Piece};
use super::crew::Crew;
use super::error::{Error, For};
use super::meta::{Meta, Stamp};

/// How many files make a batch. It bounds, too, how many directory handles are out.
const BATCH_FILES: usize = 32;

/// How many blocks a batch holds on to before it is sent; many small files among large ones must not starve the reader.
const BATCH_BLOCKS: usize = 1;

// A batch, the file that is to be added to it, and what the reader waits for that fills it on: else one waits for ever.
const _: () = assert!(FEWER > BATCH_BLOCKS + SMALL as usize / BLOCK + ENOUGH);

/// A small file, ready to be written.
#[derive(Debug)]
pub(super) struct Job {
    /// Where it is made.
    pub(super) dir: Arc<Dir>,
    /// Its name there.
    pub(super) name: Box<[u8]>,
    /// The entry's name in the tar; for messages.
    pub(super) path: Vec<u8>,
    /// What it has besides its contents.
    pub(super) meta: Meta,
    /// Its contents.
    pub(super) pieces: Vec<Piece>,
}

/// Those who write a layer's small files.
pub(super) struct Writers {
    crew: Crew,
    shared: Arc<Shared>,
    batch: Vec<Job>,
    blocks: usize,
}

struct Shared {
    stamp: Arc<Stamp>,
    progress: Progress,
}

/// Runs `work`, and waits for all that is to be written then, however it ended.
pub(super) fn with<T>(
    crew: &Crew,
    stamp: &Arc<Stamp>,
    work: impl FnOnce(&mut Writers) -> Result<T, Error>,
) -> Result<T, Error> {
    let shared = Arc::new(Shared { stamp: Arc::clone(stamp), progress: Progress::default() });
    let mut writers = Writers { crew: crew.clone(), shared, batch: Vec::new(), blocks: 0 };
    let outcome = work(&mut writers);
    let written = writers.drain();
    outcome.and_then(|outcome| written.map(|()| outcome))
}

impl Writers {
    /// Leaves a file to a helper, or writes it where there is none.
    pub(super) fn push(&mut self, job: Job) -> Result<(), Error> {
        if self.batch.is_empty() && !self.crew.has_helpers() {
            return write(&job, &self.shared.stamp);
        }
        let last = self.batch.iter().rev().find_map(|job| job.pieces.last());
        let begins_block = match (last, job.pieces.first()) {
            (Some(last), Some(first)) => !last.shares_block_with(first),
            (_, first) => first.is_some(),
        };
        self.blocks += usize::from(begins_block) + job.pieces.len().saturating_sub(1);
        self.batch.push(job);
        if self.batch.len() >= BATCH_FILES || self.blocks > BATCH_BLOCKS { self.flush() } else { Ok(()) }
    }

    /// Sends off what has gathered.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.blocks = 0;
        let progress = &self.shared.progress;
        if !self.batch.is_empty() {
            progress.lock().outstanding += 1;
            let (shared, batch) = (Arc::clone(&self.shared), std::mem::take(&mut self.batch));
            let subject = trace::subject();
            self.crew.share(Box::new(move || {
                let _about = trace::within(subject);
                shared.write(batch);
            }));
        }
        progress.check(&mut progress.lock())
    }

    /// Waits until every file is written.
    pub(super) fn drain(&mut self) -> Result<(), Error> {
        let flushed = self.flush();
        let progress = &self.shared.progress;
        while progress.lock().outstanding > 0 && self.crew.help_once() {}
        let mut state = progress.lock();
        while state.outstanding > 0 {
            state = progress.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        flushed.and_then(|()| progress.check(&mut state))
    }
}

impl Shared {
    fn write(&self, batch: Vec<Job>) {
        let _done = Done(&self.progress);
        // After a failure the rest is let go.
        for job in batch {
            if self.progress.lock().failed {
                break;
            }
            if let Err(fault) = write(&job, &self.stamp) {
                self.progress.fail(fault);
            }
        }
    }
}

/// What the writers have still to do, and what they could not.
#[derive(Default)]
struct Progress {
    state: Mutex<ProgressState>,
    done: Condvar,
}

#[derive(Default)]
struct ProgressState {
    outstanding: usize,
    failed: bool,
    fault: Option<Error>,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, state: &mut ProgressState) -> Result<(), Error> {
        match state.fault.take() {
            Some(fault) => Err(fault),
            None if state.failed => Err(Error::Thread("writer", "failed before".to_owned())),
            None => Ok(()),
        }
    }

    fn fail(&self, fault: Error) {
        let mut state = self.lock();
        if !state.failed {
            (state.failed, state.fault) = (true, Some(fault));
        }
    }
}

/// Counts a batch as done, a panic in it too: nobody may wait for it for ever.
struct Done<'a>(&'a Progress);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(Error::Thread("writer", "panicked".to_owned()));
        }
        self.0.lock().outstanding -= 1;
        self.0.done.notify_all();
    }
}

fn write(job: &Job, stamp: &Stamp) -> Result<(), Error> {
    let mut file = job.dir.create(&job.name, Stamp::mode_at_birth(&job.meta)).entry(&job.path)?;
    for piece in &job.pieces {
        write_all(&mut file, piece, &job.path)?;
    }
    stamp.file(&file, &job.meta, &job.path)
}

/// Writes `bytes` where `file` stands.
pub(super) fn write_all(file: &mut File, bytes: &[u8], path: &[u8]) -> Result<(), Error> {
    let failed = |e| CallFailed::of_io(format!("write(\"{}\")", path.escape_ascii()), &e);
    file.write_all(bytes).map_err(failed).entry(path)
}
