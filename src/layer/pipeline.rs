//! A layer's bytes on their way from the archive to the disk.
//!
//! ```text
//!               reader thread                       caller's thread                two writer threads
//!   blob ──► decompress, check the ──┬─► blocks ──► tar members ──┬─► batches ──► files of at most 1 MiB
//!            stored bytes' digest    │                            │   of files
//!                  ▲                 │                            └─► directories, links, devices, large files
//!                  │                 │
//!                  │                 └─► blocks ──► diff id thread: sha256 of all bytes
//!                  │                                      │
//!                  └────────── emptied buffers ◄──────────┴── whoever lets go of a block last
//! ```
//!
//! A block is read once and never copied: the diff id thread, the tar reader and the writers share it, and the bytes
//! that were hashed are the bytes that are written. There are [`BLOCKS`] buffers, so a slow disk stops the reader.
//!
//! However it ends, all threads end: each one stops when the channel that it sends to or reads from is closed, and
//! buffers come home from wherever their blocks are dropped. Knows no tar.

use std::io::{self, BufRead, Read};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::archive::blob::{self, Blob};
use crate::digest::{Digest, Hasher, Seen};

use super::error::Error;

/// How large a block is. Larger ones leave the processor's cache, smaller ones wake threads more often.
const BLOCK: usize = 512 << 10;

/// How many blocks there are. A pool without bound costs a fifth to two fifths more time in page faults.
const BLOCKS: usize = 16;

/// Decompresses `blob`, gives its bytes to `work`, and checks that they are what `diff_id` says.
///
/// All bytes count, those after the tar's end too. Where `work` finds them to be no sound tar, they are read to their end
/// all the same: if they are not those that the image names, that is the better reason.
pub(super) fn run<T>(
    blob: Blob,
    diff_id: &Digest,
    limit: u64,
    work: impl FnOnce(&mut Input) -> Result<T, Error>,
) -> Result<T, Error> {
    thread::scope(|scope| {
        let (to_work, from_reader) = sync_channel(BLOCKS + 1);
        let (to_hash, from_reader_too) = sync_channel(BLOCKS);
        let hash = spawn(scope, "diff id", move || hash(&from_reader_too))?;
        let reader = spawn(scope, "reader", move || read(blob, &Blocks::new(), &to_hash, &to_work))?;

        let mut input = Input::new(from_reader, limit);
        let outcome = match work(&mut input) {
            Err(error) if !error.may_be_damage() => Err(error),
            outcome => input.read_to_end().map_err(|_| input.fault()).and(outcome),
        };
        let ended = input.state == State::Ended;
        drop(input);

        join("reader", reader)?;
        let seen = join("diff id", hash)?;
        if ended && seen.digest != *diff_id {
            return Err(Error::Contents { found: seen.digest, wanted: *diff_id });
        }
        outcome
    })
}

/// Starts a thread that ends before `scope` does.
pub(super) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Error> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn_scoped(scope, work).map_err(|e| Error::Thread(name, format!("cannot be started: {e}")))
}

/// Waits for a thread's result; a panic becomes an error.
pub(super) fn join<T>(name: &'static str, thread: ScopedJoinHandle<'_, T>) -> Result<T, Error> {
    thread.join().map_err(|_| Error::Thread(name, "panicked".to_owned()))
}

/// What the reader sends: an end that is not told is a reader that died.
enum Message {
    Block(Arc<Block>),
    End,
    Failed(io::Error),
}

fn read(blob: Blob, blocks: &Blocks, to_hash: &SyncSender<Arc<Block>>, to_work: &SyncSender<Message>) {
    let mut decoder = match blob::decoder(blob) {
        Ok(decoder) => decoder,
        Err(e) => return drop(to_work.send(Message::Failed(e))),
    };
    loop {
        let Some(filled) = blocks.fill(&mut decoder) else { return };
        let (message, last) = match filled {
            Ok(block) if block.is_empty() => (Message::End, true),
            Ok(block) => {
                let block = Arc::new(block);
                let gone = to_hash.send(Arc::clone(&block)).is_err();
                (Message::Block(block), gone)
            }
            Err(e) => (Message::Failed(e), true),
        };
        if to_work.send(message).is_err() || last {
            return;
        }
    }
}

fn hash(blocks: &Receiver<Arc<Block>>) -> Seen {
    let mut hasher = Hasher::default();
    for block in blocks {
        hasher.update(&block);
    }
    hasher.finish()
}

/// The pool of buffers.
struct Blocks {
    free: Receiver<Vec<u8>>,
    home: SyncSender<Vec<u8>>,
}

impl Blocks {
    fn new() -> Self {
        let (home, free) = sync_channel(BLOCKS);
        for _ in 0..BLOCKS {
            home.send(Vec::new()).expect("there is room for all");
        }
        Self { free, home }
    }

    /// Fills a block, the last one perhaps not to its end; an empty one is the end.
    fn fill(&self, from: &mut impl Read) -> Option<io::Result<Block>> {
        let mut bytes = self.free.recv().ok()?;
        bytes.resize(BLOCK, 0);
        let mut block = Block { bytes, len: 0, home: self.home.clone() };
        while block.len < BLOCK {
            match from.read(&mut block.bytes[block.len..]) {
                Ok(0) => break,
                Ok(n) => block.len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Some(Err(e)),
            }
        }
        Some(Ok(block))
    }
}

/// A run of the layer's bytes. Its buffer goes home when nobody uses it any more.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    len: usize,
    home: SyncSender<Vec<u8>>,
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // There is room for all; the reader may have gone.
        let _ = self.home.try_send(std::mem::take(&mut self.bytes));
    }
}

/// A part of a block, shared.
#[derive(Debug)]
pub(super) struct Piece {
    block: Arc<Block>,
    start: usize,
    len: usize,
}

impl Piece {
    /// Whether both lie in one block.
    pub(super) fn shares_block_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.block, &other.block)
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block[self.start..self.start + self.len]
    }
}

/// The layer's bytes as they come from the reader.
pub(super) struct Input {
    messages: Receiver<Message>,
    block: Option<Arc<Block>>,
    at: usize,
    left: u64,
    limit: u64,
    state: State,
    fault: Option<Error>,
}

#[derive(PartialEq, Eq)]
enum State {
    Flowing,
    Ended,
    Failed,
}

impl Input {
    fn new(messages: Receiver<Message>, limit: u64) -> Self {
        let (block, at, fault) = (None, 0, None);
        Self { messages, block, at, left: limit, limit, state: State::Flowing, fault }
    }

    /// Shares the next `n` bytes, which `fill_buf` has just shown, without consuming them.
    pub(super) fn share(&self, n: usize) -> Piece {
        let block = Arc::clone(self.block.as_ref().expect("`fill_buf` showed bytes of it"));
        assert!(self.at + n <= block.len(), "`fill_buf` showed no more");
        Piece { block, start: self.at, len: n }
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
        match self.messages.recv() {
            Ok(Message::Block(block)) => match self.left.checked_sub(block.len() as u64) {
                None => return Err(self.fail(Error::TooMany { what: "bytes", limit: self.limit })),
                Some(left) => (self.left, self.block) = (left, Some(block)),
            },
            Ok(Message::End) => self.state = State::Ended,
            Ok(Message::Failed(e)) => return Err(self.fail(Error::Read(e))),
            Err(_) => return Err(self.fail(Error::Thread("reader", "ended early".to_owned()))),
        }
        Ok(())
    }
}

fn failed_before() -> io::Error {
    io::Error::other("reading the layer failed")
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Input {
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
        self.at += n;
    }
}
