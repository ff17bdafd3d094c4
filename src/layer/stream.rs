//! A tar on its way from the thread that makes it to the one that reads it. An end that is not told is an error.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// How much is handed over at once, and how often that may wait to be taken.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;

/// Where the tar goes in.
#[derive(Debug)]
pub(super) struct Inlet {
    piece: Vec<u8>,
    to: SyncSender<Vec<u8>>,
}

/// Where it comes out.
#[derive(Debug)]
pub(super) struct Outlet {
    from: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

/// Makes both ends.
pub(super) fn stream() -> (Inlet, Outlet) {
    let (to, from) = sync_channel(WAITING);
    let inlet = Inlet { piece: Vec::with_capacity(PIECE), to };
    (inlet, Outlet { from, piece: Vec::new(), at: 0, ended: false })
}

impl Inlet {
    /// Tells that this was all. Without it, reading fails at the end.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.flush()?;
        self.to.send(Vec::new()).map_err(|_| unwanted())
    }
}

impl Write for Inlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.to.send(piece).map_err(|_| unwanted())
    }
}

/// Nobody reads any more: why, the reader knows.
fn unwanted() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Read for Outlet {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.ended {
            let cut = |_| io::Error::new(io::ErrorKind::UnexpectedEof, "whoever makes the tar has stopped");
            (self.piece, self.at) = (self.from.recv().map_err(cut)?, 0);
            self.ended = self.piece.is_empty();
        }
        let n = (&self.piece[self.at..]).read(to)?;
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let (mut inlet, mut outlet) = stream();
        let bytes: Vec<u8> = (0..PIECE * 3 + 5).map(|n| n.to_le_bytes()[0]).collect();
        let expected = bytes.clone();
        let thread = std::thread::spawn(move || inlet.write_all(&bytes).and_then(|()| inlet.end()));
        let mut read = Vec::new();
        outlet.read_to_end(&mut read).unwrap();
        thread.join().unwrap().unwrap();
        assert!(read == expected);
    }

    #[test]
    fn an_end_that_is_not_told_is_an_error_on_both_sides() {
        let (mut inlet, mut outlet) = stream();
        inlet.write_all(b"text").unwrap();
        inlet.flush().unwrap();
        drop(inlet);
        let mut read = Vec::new();
        assert_eq!(outlet.read_to_end(&mut read).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read, b"text");

        let (mut inlet, outlet) = stream();
        drop(outlet);
        inlet.write_all(b"text").unwrap();
        assert_eq!(inlet.end().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
