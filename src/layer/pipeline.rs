//! A layer's bytes on their way from the archive to the disk.
//!
//! ```text
//!               caller's thread                                         a helper's, or the caller's
//!   blob ──► read, check the stored ──┬─► tar members ──┬─► batches ──► files of at most 1 MiB
//!            bytes' digest; a thread  │                 │   of files
//!            of its own inflates      │                 ├─► directories, links, devices, large files
//!                  ▲                  │                 └─► recipe: all but the contents of files
//!                  │                  └─► blocks ─────────────────────► diff id: sha256 of all bytes
//!                  │                                                        │
//!                  └────────── emptied buffers ◄────────────────────────────┴── whoever lets go of a block last
//! ```
//!
//! A block is read once and never copied: the diff id, the tar reader and the writers share it, and the bytes that were
//! hashed are the bytes that are written. There are so many buffers and no more, so a slow disk stops the reader.
//!
//! What is on the right is shared with helpers (`crew.rs`), who are there as long as a processor has nothing else to do;
//! without any, and for a small layer, the caller's thread does it all, block by block. So there are as many threads as
//! processors, and few of them ever sleep. Only what must be inflated, or made by somebody else, is read on one more, since
//! it takes longest.
//!
//! Bytes whose digest is known (`Blob::hashed`) are not hashed again: there is no diff id then. What the bytes ought to be
//! is asked when all have gone by, for of a layer that comes through a pipe (`store/arrive.rs`) nobody knows before.
//!
//! However it ends, all threads end: the reader stops when the channel that it sends to is closed, and buffers come home
//! from wherever their blocks are dropped. Knows no tar.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::archive::blob::Blob;
use crate::archive::decode::{Damaged, Decoder};
use crate::archive::format::Format;
use crate::digest::Digest;
use crate::sys::dir::Dir;
use crate::sys::trace;

use super::blocks::{Block, Buffers, Piece, Pool};
use super::crew::Crew;
use super::diff_id::DiffId;
use super::error::Error;
use super::recipe::Writer;
use super::sharing::{Offer, Offered};

/// Blobs of up to so many bytes are inflated on the caller's thread.
pub const SMALL: u64 = 1 << 20;

/// Whether a reader's thread would cost more than it gains.
pub(super) fn is_small(blob: &Blob) -> bool {
    blob.stored() <= SMALL
}

/// What came of a layer's bytes: to be had by who knows which bytes they ought to be.
#[derive(Debug)]
#[must_use]
pub(super) struct Seen<T> {
    outcome: Result<T, Error>,
    /// The sha256 of the bytes, where all were read.
    contents: Option<Digest>,
}

impl<T> Seen<T> {
    /// Returns the outcome, if the bytes are those of `diff_id`; of an uncompressed `blob` too, where nobody else has
    /// compared that.
    ///
    /// Bytes that are not those that the image names are a better reason than what was found wrong with them.
    pub(super) fn named(self, diff_id: &Digest, blob: Option<&Digest>) -> Result<T, Error> {
        match (self.contents, blob) {
            (Some(found), Some(&expected)) if found != expected => {
                Err(Error::Read(Damaged::Digest { found, expected }.into()))
            }
            (Some(found), _) if found != *diff_id => Err(Error::Contents { found, wanted: *diff_id }),
            (Some(_), _) => self.outcome,
            // Nothing that was not seen whole is taken for anything.
            (None, _) => self.outcome.and(Err(Error::Thread("reader", "did not end".to_owned()))),
        }
    }

    /// Returns the outcome that is to be had, if there is one.
    pub(super) fn outcome(&self) -> Option<&T> {
        self.outcome.as_ref().ok()
    }

    /// Makes something else of the outcome.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Seen<U> {
        Seen { outcome: self.outcome.map(make), contents: self.contents }
    }
}

/// Gives the bytes that come from `decoder` to `work`, and hashes them.
///
/// The recipe in `beside` sees what `work` reads. All bytes count, those after the tar's end too. Where `work` finds them to
/// be no sound tar, they are read to their end all the same, so that they can be told from those that the image names.
pub(super) fn run<T>(
    decoder: Decoder,
    small: bool,
    beside: &Dir,
    buffers: &mut Buffers,
    work: impl FnOnce(&mut Input<'_>) -> Result<T, Error>,
) -> Result<Seen<T>, Error> {
    // Reading what is stored as it is is no work.
    let here = small || decoder.format() == Format::Plain;
    let (known, crew) = (decoder.known(), buffers.crew(small));
    let reader = Reader { bytes: Box::new(decoder), pool: buffers.pool.clone() };
    let recipe = Writer::new(beside, &mut buffers.packer)?;
    if here {
        Input::new(Source::Here(Box::new(reader), crew.clone()), recipe, None, known, &crew).give_to(work)
    } else {
        run_beside(reader, recipe, None, known, &crew, work)
    }
}

/// The same with the bytes of a tar that is just being made, whose digest nobody knows yet: returns it. Contents that are
/// `offered` need not be written.
pub(super) fn run_new<T>(
    tar: impl Read + Send + 'static,
    offered: Offered,
    beside: &Dir,
    buffers: &mut Buffers,
    work: impl FnOnce(&mut Input<'_>) -> Result<T, Error>,
) -> Result<(T, Digest), Error> {
    let reader = Reader { bytes: Box::new(tar), pool: buffers.pool.clone() };
    let crew = buffers.crew(false);
    let recipe = Writer::new(beside, &mut buffers.packer)?;
    let Seen { outcome, contents } = run_beside(reader, recipe, Some(offered), None, &crew, work)?;
    let digest = contents.ok_or_else(|| Error::Thread("diff id", "saw no end".to_owned()));
    outcome.and_then(|outcome| Ok((outcome, digest?)))
}

/// The same, reading on a thread of its own.
fn run_beside<T>(
    reader: Reader,
    recipe: Writer<'_>,
    offered: Option<Offered>,
    known: Option<Digest>,
    crew: &Crew,
    work: impl FnOnce(&mut Input<'_>) -> Result<T, Error>,
) -> Result<Seen<T>, Error> {
    thread::scope(|scope| {
        let (to_work, from_reader) = channel();
        let reader = spawn(scope, "reader", move || read(reader, &to_work))?;
        let seen = Input::new(Source::Thread(from_reader), recipe, offered, known, crew).give_to(work);
        join("reader", reader)?;
        seen
    })
}

/// Starts a thread that ends before `scope` does.
pub(super) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Error> {
    let builder = thread::Builder::new().name(name.to_owned());
    let subject = trace::subject();
    let work = move || {
        let _about = trace::within(subject);
        work()
    };
    builder.spawn_scoped(scope, work).map_err(|e| Error::Thread(name, format!("cannot be started: {e}")))
}

/// Waits for a thread's result; a panic becomes an error.
pub(super) fn join<T>(name: &'static str, thread: ScopedJoinHandle<'_, T>) -> Result<T, Error> {
    thread.join().map_err(|_| Error::Thread(name, "panicked".to_owned()))
}

/// Makes blocks of a blob.
struct Reader {
    bytes: Box<dyn Read + Send>,
    pool: Pool,
}

/// What the reader has to say: an end that is not told is a reader that died.
enum Message {
    Block(Arc<Block>),
    End,
    Failed(io::Error),
}

impl Reader {
    fn next(&mut self) -> Message {
        match self.pool.fill(&mut self.bytes) {
            Ok(block) if block.is_empty() => Message::End,
            Ok(block) => Message::Block(Arc::new(block)),
            Err(e) => Message::Failed(e),
        }
    }
}

fn read(mut reader: Reader, to_work: &Sender<Message>) {
    loop {
        let message = reader.next();
        let last = !matches!(message, Message::Block(_));
        if to_work.send(message).is_err() || last {
            return;
        }
    }
}

/// The layer's bytes as they come from the reader.
pub(super) struct Input<'r> {
    source: Source,
    recipe: Writer<'r>,
    offered: Option<Offered>,
    /// What hashes the bytes, where nobody has before.
    diff_id: Option<DiffId>,
    /// Their sha256, where it need not be found out.
    known: Option<Digest>,
    block: Option<Arc<Block>>,
    at: usize,
    state: State,
    fault: Option<Error>,
}

/// Where the reader is.
enum Source {
    /// On a thread of its own.
    Thread(Receiver<Message>),
    /// Here, where it helps those who have its blocks rather than wait for them.
    Here(Box<Reader>, Crew),
}

#[derive(PartialEq, Eq)]
enum State {
    Flowing,
    Ended,
    Failed,
}

impl<'r> Input<'r> {
    fn new(
        source: Source,
        recipe: Writer<'r>,
        offered: Option<Offered>,
        known: Option<Digest>,
        crew: &Crew,
    ) -> Self {
        let diff_id = known.is_none().then(|| DiffId::new(crew));
        let (block, at, state, fault) = (None, 0, State::Flowing, None);
        Self { source, recipe, offered, diff_id, known, block, at, state, fault }
    }

    /// Lets `work` have the bytes, and reads those that it leaves.
    fn give_to<T>(mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<Seen<T>, Error> {
        let outcome = match work(&mut self) {
            Err(error) if !error.may_be_damage() => Err(error),
            outcome => self.end(outcome),
        };
        if self.state != State::Ended {
            return Ok(Seen { outcome, contents: None });
        }
        let contents = self.diff_id.map(DiffId::finish).transpose()?.or(self.known);
        Ok(Seen { outcome, contents })
    }

    fn end<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        self.read_to_end().map_err(|_| self.fault())?;
        let outcome = outcome?;
        self.recipe.finish()?;
        Ok(outcome)
    }

    /// Returns the recipe, which sees all that is consumed.
    pub(super) fn recipe(&mut self) -> &mut Writer<'r> {
        &mut self.recipe
    }

    /// Returns a file that has the contents of the entry `path` already, where one is offered.
    pub(super) fn offered(&mut self, path: &[u8]) -> Option<Offer> {
        self.offered.as_mut()?.take(path)
    }

    /// Shares the next `n` bytes, which `fill_buf` has just shown, without consuming them.
    pub(super) fn share(&self, n: usize) -> Piece {
        let block = self.block.as_ref().expect("`fill_buf` showed bytes of it");
        Piece::new(Arc::clone(block), self.at, n)
    }

    /// Returns why reading failed, once.
    pub(super) fn fault(&mut self) -> Error {
        self.fault.take().unwrap_or_else(|| Error::Read(io::ErrorKind::Other.into()))
    }

    fn read_to_end(&mut self) -> io::Result<()> {
        loop {
            let n = self.fill_buf()?.len();
            if n == 0 {
                return Ok(());
            }
            self.consume(n);
        }
    }

    fn fail(&mut self, fault: Error) -> io::Error {
        self.state = State::Failed;
        self.fault = Some(fault);
        failed_before()
    }

    fn receive(&mut self) -> io::Result<()> {
        self.block = None;
        self.at = 0;
        let message = match &mut self.source {
            Source::Thread(messages) => messages.recv(),
            Source::Here(reader, crew) => {
                while reader.pool.is_dry() && crew.help_once() {}
                Ok(reader.next())
            }
        };
        match message {
            Ok(Message::Block(block)) => {
                self.diff_id.iter().for_each(|diff_id| diff_id.add(&block));
                self.block = Some(block);
            }
            Ok(Message::End) => self.state = State::Ended,
            Ok(Message::Failed(e)) => return Err(self.fail(e.into())),
            Err(_) => return Err(self.fail(Error::Thread("reader", "ended early".to_owned()))),
        }
        Ok(())
    }
}

fn failed_before() -> io::Error {
    io::Error::other("reading the layer failed")
}

impl Read for Input<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.state == State::Flowing && self.block.as_ref().is_none_or(|block| self.at == block.len()) {
            self.receive()?;
        }
        match self.state {
            State::Flowing => Ok(self.block.as_ref().map_or(&[], |block| &block[self.at..])),
            State::Ended => Ok(&[]),
            State::Failed => Err(failed_before()),
        }
    }

    fn consume(&mut self, n: usize) {
        if let Some(block) = self.block.as_ref().filter(|_| n > 0) {
            self.recipe.pass(&block[self.at..self.at + n]);
        }
        self.at += n;
    }
}
