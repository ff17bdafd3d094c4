//! Keeping what cannot be read in place, and getting to know it on the way.
//!
//! ```text
//!             this thread                                        index thread
//!   input ──► decompress ──► block ──► the file without a name ──► block ──► headers: what is where
//!                 ▲                                                  │       sha256 of each member's data
//!                 └──────────────────── emptied blocks ◄─────────────┘
//! ```
//!
//! So a layer need not be hashed when it is unpacked. That is sound because the file has no name and mode 0600: nobody
//! but this process writes to it, other processes of root aside, which could as well change the store. What is read from
//! a file with a name is hashed as it is read, for its owner may change it at any time.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::decode::Decoder;
use super::error::Error;
use super::format::Format;
use super::index::{Index, Outer, Passed};
use super::source::refuse_others;
use crate::digest::Hasher;
use crate::limits::Limits;
use crate::sys::dir::Dir;

/// How large a block is, and how many there are: the processor's cache should still have a block when it is hashed.
const BLOCK: usize = 512 << 10;
const BLOCKS: usize = 4;

/// Keeps what `decoder` gives in a file in `spool` that vanishes with this process; returns what is in it.
pub(super) fn index(mut decoder: Decoder, spool: &Path, limits: &Limits) -> Result<Index, Error> {
    let writing = |e| Error::io(format!("the archive cannot be kept in {}", spool.display()), e);
    let file = Dir::open(spool).and_then(|dir| dir.create_unnamed()).map_err(|e| writing(e.into()))?;
    let file = Arc::new(file);

    thread::scope(|scope| {
        let (filled, arriving) = channel();
        let (emptied, empty) = channel();
        for _ in 0..BLOCKS {
            let _ = emptied.send(Block::default()); // The other end is here.
        }
        let arriving = Arriving { blocks: arriving, emptied, block: Block::default(), used: 0 };
        let kept = Arc::clone(&file);
        let index = thread::Builder::new().name("index".to_owned());
        let index = index.spawn_scoped(scope, move || read(arriving, kept, limits));
        let index = index.map_err(|e| Error::io("the index thread cannot be started", e))?;

        // Without the index thread no block comes back: it has seen the tar's end, or has found it to be none.
        for mut block in empty {
            block.fill(&mut decoder).map_err(Error::reading)?;
            if block.len == 0 {
                break;
            }
            (&*file).write_all(block.bytes()).map_err(writing)?;
            if filled.send(block).is_err() {
                break;
            }
        }
        drop(filled);
        let index = index.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Compressed data that is damaged is a better reason than what it was decompressed to.
        if index.is_ok() || decoder.format() != Format::Plain {
            io::copy(&mut decoder, &mut io::sink()).map_err(Error::reading)?;
        }
        index
    })
}

fn read(mut arriving: Arriving, file: Arc<File>, limits: &Limits) -> Result<Index, Error> {
    refuse_others(arriving.fill_buf().map_err(Error::reading)?)?;
    Index::read(arriving, file, 0, limits)
}

/// A run of the archive's bytes.
#[derive(Default)]
struct Block {
    /// Empty until the block is first used.
    buffer: Vec<u8>,
    len: usize,
}

impl Block {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Fills the block to its end, except at the end of input: a pipe gives 64 KiB at a time.
    fn fill(&mut self, from: &mut impl Read) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BLOCK];
        }
        self.len = 0;
        while self.len < BLOCK {
            match from.read(&mut self.buffer[self.len..]) {
                Ok(0) => break,
                Ok(n) => self.len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// An archive's bytes as they come in.
struct Arriving {
    blocks: Receiver<Block>,
    emptied: Sender<Block>,
    block: Block,
    used: usize,
}

impl Outer for Arriving {
    fn pass(&mut self, n: u64) -> io::Result<Passed> {
        let mut hasher = Hasher::default();
        let mut left = n;
        while left > 0 {
            let run = self.fill_buf()?;
            if run.is_empty() {
                return Ok(Passed::CutShort);
            }
            let length = usize::try_from(left).map_or(run.len(), |left| left.min(run.len()));
            hasher.update(&run[..length]);
            self.consume(length);
            left -= length as u64;
        }
        Ok(Passed::Hashed(hasher.finish().digest))
    }
}

impl BufRead for Arriving {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.block.len {
            // No more blocks are the end; why there are no more, the sender knows.
            let next = self.blocks.recv().unwrap_or_default();
            self.used = 0;
            let used = std::mem::replace(&mut self.block, next);
            let _ = self.emptied.send(used); // Where nobody fills it any more, it has done its work.
        }
        Ok(&self.block.bytes()[self.used..])
    }

    fn consume(&mut self, n: usize) {
        self.used += n;
    }
}

impl Read for Arriving {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}
