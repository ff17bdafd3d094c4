//! Memory that goes round: blocks of a layer's bytes, shared by all who read them.

use std::io::{self, Read};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::crew::Crew;
use super::recipe::Packer;

/// How large a block is. Larger ones leave the processor's cache, smaller ones wake threads more often.
pub(super) const BLOCK: usize = 512 << 10;

/// How many blocks there are for a layer that is unpacked alone. Each is made of new pages once, which costs the kernel as
/// much as a dozen small files: a pool without bound a fifth to two fifths more time.
const BLOCKS: usize = 12;

/// How many for each where others are unpacked beside it, which have something to do while one waits. Too few would wait for
/// one another (`writer.rs`).
pub(super) const FEWER: usize = 8;

/// How many buffers are free again when a reader that found none is woken: one by one, they would wake it for each block.
pub(super) const ENOUGH: usize = 3;

/// Memory for layers that are unpacked one after the other, and those who help with that.
#[derive(Default)]
pub struct Buffers {
    pub(super) pool: Pool,
    pub(super) packer: Packer,
    crew: Crew,
}

impl Buffers {
    /// For layers that nobody else is unpacked beside.
    #[must_use]
    pub fn alone(crew: &Crew) -> Self {
        Self { crew: crew.clone(), ..Self::default() }
    }

    /// For layers that others are unpacked beside.
    #[must_use]
    pub fn beside_others(crew: &Crew) -> Self {
        Self { pool: Pool::of(FEWER), ..Self::alone(crew) }
    }

    /// Returns who helps with a layer; nobody with a `small` one, which is unpacked before he has woken.
    pub(super) fn crew(&self, small: bool) -> Crew {
        if small { Crew::default() } else { self.crew.clone() }
    }
}

/// Buffers, made when they are needed.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// How many there are at most.
    blocks: usize,
    state: Mutex<PoolState>,
    came_home: Condvar,
}

#[derive(Debug, Default)]
struct PoolState {
    free: Vec<Vec<u8>>,
    made: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::of(BLOCKS)
    }
}

impl Pool {
    fn of(blocks: usize) -> Self {
        Self(Arc::new(Shared { blocks, state: Mutex::default(), came_home: Condvar::new() }))
    }

    /// Takes the buffer that was used last, which the processor's cache may still have; waits where there is none.
    fn take(&self) -> Vec<u8> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.free.is_empty() && state.made < self.0.blocks {
            state.made += 1;
            return vec![0; BLOCK];
        }
        if state.free.is_empty() {
            let few = |state: &mut PoolState| state.free.len() < ENOUGH;
            state = self.0.came_home.wait_while(state, few).unwrap_or_else(PoisonError::into_inner);
        }
        state.free.pop().expect("there were enough")
    }

    /// Whether whoever takes a buffer now would wait for it.
    pub(super) fn is_dry(&self) -> bool {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.free.is_empty() && state.made == self.0.blocks
    }

    fn put(&self, bytes: Vec<u8>) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.free.push(bytes);
        if state.free.len() >= ENOUGH {
            self.0.came_home.notify_one();
        }
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn one_free_buffer_is_taken_at_once_and_none_is_waited_for_until_enough_are() {
        let pool = Pool::default();
        let mut out: Vec<_> = (0..BLOCKS).map(|_| pool.take()).collect();
        pool.put(out.pop().unwrap());
        out.push(pool.take());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take());
            while !waiting.is_finished() && !out.is_empty() {
                pool.put(out.pop().unwrap());
            }
            assert_eq!(waiting.join().unwrap().len(), BLOCK);
        });
        assert!(pool.0.state.lock().unwrap().free.len() + 1 >= ENOUGH);
        assert_eq!(pool.0.state.lock().unwrap().made, BLOCKS);
    }
}
