//! Memory that goes round: blocks of a layer's bytes, shared by all who read them.

use std::io::{self, Read};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::recipe::Packer;

/// How large a block is. Larger ones leave the processor's cache, smaller ones wake threads more often.
pub(super) const BLOCK: usize = 512 << 10;

/// How many blocks there are. Each is made of new pages once, which costs the kernel as much as a dozen small files: a pool
/// without bound a fifth to two fifths more time. Too few would wait for one another (`writer.rs`).
pub(super) const BLOCKS: usize = 8;

/// Memory for layers that are unpacked one after the other.
#[derive(Default)]
pub struct Buffers {
    pub(super) pool: Pool,
    pub(super) packer: Packer,
}

/// `BLOCKS` buffers at most, made when they are needed.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<PoolState>,
    came_home: Condvar,
}

#[derive(Debug, Default)]
struct PoolState {
    free: Vec<Vec<u8>>,
    made: usize,
}

impl Pool {
    /// Takes the buffer that was used last, which the processor's cache may still have; waits where there is none.
    fn take(&self) -> Vec<u8> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(bytes) = state.free.pop() {
                return bytes;
            }
            if state.made < BLOCKS {
                state.made += 1;
                return vec![0; BLOCK];
            }
            state = self.0.came_home.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, bytes: Vec<u8>) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).free.push(bytes);
        self.0.came_home.notify_one();
    }

    /// Fills a block, the last one perhaps not to its end; an empty one is the end.
    pub(super) fn fill(&self, from: &mut impl Read) -> io::Result<Block> {
        let mut block = Block { bytes: self.take(), len: 0, home: self.clone() };
        while block.len < BLOCK {
            match from.read(&mut block.bytes[block.len..]) {
                Ok(0) => break,
                Ok(n) => block.len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(block)
    }
}

/// A run of the layer's bytes. Its buffer goes home when nobody uses it any more.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    len: usize,
    home: Pool,
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.bytes));
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
    /// Shares `len` bytes of `block`.
    pub(super) fn new(block: Arc<Block>, start: usize, len: usize) -> Self {
        assert!(start + len <= block.len(), "a piece lies in its block");
        Self { block, start, len }
    }

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
