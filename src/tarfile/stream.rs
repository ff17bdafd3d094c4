//! The bytes of a tar, and how many have gone by.

use std::io::{self, BufRead};

use super::header::BLOCK;

pub(super) struct Stream<R> {
    pub(super) input: R,
    pub(super) position: u64,
}

impl<R: BufRead> Stream<R> {
    /// Returns the bytes at hand, none only at the end of input.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        while let Err(error) = self.input.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        self.input.fill_buf()
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.position += n as u64;
    }

    /// Hands up to `n` bytes to `take`, run by run; returns how many there were.
    fn each(&mut self, n: u64, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
        let mut left = n;
        while left > 0 {
            let run = self.fill()?;
            if run.is_empty() {
                break;
            }
            let length = usize::try_from(left).map_or(run.len(), |left| left.min(run.len()));
            take(&run[..length]);
            self.consume(length);
            left -= length as u64;
        }
        Ok(n - left)
    }

    /// Passes over `n` bytes; returns whether there were so many.
    pub(super) fn skip(&mut self, n: u64) -> io::Result<bool> {
        Ok(self.each(n, |_| ())? == n)
    }

    /// Reads `n` bytes behind those in `buffer`; returns whether there were so many.
    pub(super) fn read(&mut self, n: u64, buffer: &mut Vec<u8>) -> io::Result<bool> {
        Ok(self.each(n, |run| buffer.extend_from_slice(run))? == n)
    }

    /// Reads one block; returns how much of it there was.
    pub(super) fn block(&mut self, block: &mut [u8; BLOCK]) -> io::Result<usize> {
        let mut filled = 0;
        self.each(BLOCK as u64, |run| {
            block[filled..filled + run.len()].copy_from_slice(run);
            filled += run.len();
        })?;
        Ok(filled)
    }
}
