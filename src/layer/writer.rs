//! Two threads that write small files, a batch at a time.
//!
//! Creating an inode costs the kernel more than the tar reader's whole work for it, so files are created on threads of
//! their own, in no order. Whoever needs a file to be there, or to stay away, calls [`Writers::drain`] before.

use std::fs::File;
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::sys::CallFailed;
use crate::sys::dir::Dir;

use super::apply::SMALL;
use super::blocks::{BLOCK, ENOUGH, FEWER, Piece};
use super::error::{Error, For};
use super::meta::{Meta, Stamp};
use super::pipeline;

/// Three gain nothing on two cores: the directory's lock is the bound.
const WRITERS: usize = 2;

/// How many batches wait for a writer.
const WAITING: usize = 2;

/// How many files make a batch. It bounds, too, how many directory handles are out.
const BATCH_FILES: usize = 64;

/// How many blocks a batch holds on to before it is sent; many small files among large ones must not starve the reader.
const BATCH_BLOCKS: usize = 2;

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

/// The way to the writer threads; without a queue there are none, and files are written at once.
pub(super) struct Writers<'a> {
    queue: Option<SyncSender<Vec<Job>>>,
    stamp: &'a Stamp,
    progress: &'a Progress,
    batch: Vec<Job>,
    blocks: usize,
}

/// Runs `work`, which writes all files itself.
pub(super) fn without<T>(
    stamp: &Stamp,
    work: impl FnOnce(&mut Writers<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let progress = Progress::default();
    work(&mut Writers { queue: None, stamp, progress: &progress, batch: Vec::new(), blocks: 0 })
}

/// Runs `work` with writers at its side, and waits for all that they have to write.
pub(super) fn with<T>(
    stamp: &Stamp,
    work: impl FnOnce(&mut Writers<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let progress = Progress::default();
    let (queue, batches) = sync_channel(WAITING);
    let batches = Mutex::new(batches);
    thread::scope(|scope| {
        let mut writers =
            Writers { queue: Some(queue), stamp, progress: &progress, batch: Vec::new(), blocks: 0 };
        let mut threads = Vec::with_capacity(WRITERS);
        for _ in 0..WRITERS {
            threads.push(pipeline::spawn(scope, "writer", || write_batches(&batches, &progress, stamp))?);
        }
        let outcome = work(&mut writers).and_then(|outcome| writers.drain().map(|()| outcome));
        drop(writers); // and with it the queue, which is what ends the threads
        for thread in threads {
            pipeline::join("writer", thread)?;
        }
        outcome
    })
}

impl Writers<'_> {
    /// Leaves a file to the writers.
    pub(super) fn push(&mut self, job: Job) -> Result<(), Error> {
        if self.queue.is_none() {
            return write(&job, self.stamp);
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
        if let Some(queue) = self.queue.as_ref().filter(|_| !self.batch.is_empty()) {
            self.progress.lock().outstanding += 1;
            if queue.send(std::mem::take(&mut self.batch)).is_err() {
                self.progress.lock().outstanding -= 1; // cannot be: the receiver outlives the threads
            }
        }
        self.progress.check(&mut self.progress.lock())
    }

    /// Waits until every file is written.
    pub(super) fn drain(&mut self) -> Result<(), Error> {
        self.flush()?;
        let mut state = self.progress.lock();
        while state.outstanding > 0 {
            state = self.progress.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.progress.check(&mut state)
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

fn write_batches(batches: &Mutex<Receiver<Vec<Job>>>, progress: &Progress, stamp: &Stamp) {
    loop {
        let next = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = next else { return };
        let _done = Done(progress);
        // After a failure the rest is only taken off, so that nobody waits for room.
        for job in batch {
            if progress.lock().failed {
                break;
            }
            if let Err(fault) = write(&job, stamp) {
                progress.fail(fault);
            }
        }
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
