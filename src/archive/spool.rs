//! An archive that cannot be read in place, because it comes through a pipe or is compressed as a whole: its members go by
//! once.
//!
//! ```text
//!   input ──► decompress ──► headers: what is where ──┬─► large tars that are not compressed, if somebody takes them: lent
//!                                                     └─► all else: into a file without a name, to be read from there
//! ```
//!
//! A member is lent with the whole input, and nothing is copied: whoever takes it reads as far as the member goes, and then
//! the input comes home, for the next header. What is taken and what it is for is in `store/arrive.rs`.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use super::bound::{Bound, Taken};
use super::decode::{Decoder, Expected};
use super::error::Error;
use super::format::{Format, HEAD};
use super::index::{Index, Outer, Passed};
use super::source::refuse_others;
use crate::limits::Limits;
use crate::sys::dir::Dir;
use crate::tarfile::{self, Kind, Member};

/// How much is read at a time, where it is not read by whoever takes a member.
const BUFFER: usize = 128 << 10;

/// What has no more bytes is kept: that costs little, and no document is lent.
const SMALL: u64 = 4 << 20;

/// Takes members of an archive as they go by.
pub trait Taker {
    /// Whether it would take the member `name`, which has `len` bytes and begins as a tar does.
    fn wants(&mut self, name: &[u8], len: u64) -> bool;

    /// Takes the bytes of the member that it wanted, and returns the number by which [`Archive::taken`] tells of it.
    ///
    /// [`Archive::taken`]: super::Archive::taken
    fn take(&mut self, bytes: Lent) -> usize;
}

/// Takes nothing.
pub(super) struct Nobody;

impl Taker for Nobody {
    fn wants(&mut self, _: &[u8], _: u64) -> bool {
        false
    }

    fn take(&mut self, _: Lent) -> usize {
        unreachable!("it wants nothing")
    }
}

/// Reads what `decoder` gives, and returns what is in it. What `taker` does not take is kept in a file in `spool` that
/// vanishes with this process.
pub(super) fn index(
    decoder: Decoder,
    spool: &Path,
    limits: &Limits,
    taker: &mut dyn Taker,
) -> Result<Index, Error> {
    let format = decoder.format();
    let mut pipe = Pipe { decoder, buffer: Vec::new(), at: 0, end: 0, fault: None };
    refuse_others(pipe.ahead(HEAD).map_err(Error::reading)?)?;
    let file = Dir::open(spool).and_then(|dir| dir.create_unnamed());
    let file = Arc::new(file.map_err(|e| cannot_be_kept(spool, e.into()))?);
    let mut arriving = Arriving { pipe: Some(Box::new(pipe)), file: Arc::clone(&file), end: 0, spool, taker };
    let index = Index::read(&mut arriving, file, 0, limits);
    // Compressed data that is damaged is a better reason than what it was decompressed to.
    let read_on = match &index {
        Ok(_) => true,
        Err(Error::Io { .. }) => false,
        Err(_) => format != Format::Plain,
    };
    if read_on {
        io::copy(&mut arriving, &mut io::sink()).map_err(Error::reading)?;
    }
    index
}

fn cannot_be_kept(spool: &Path, e: io::Error) -> Error {
    Error::io(format!("the archive cannot be kept in {}", spool.display()), e)
}

/// An archive's bytes, decompressed, as they come in.
struct Pipe {
    decoder: Decoder,
    /// Empty until it is first used.
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    /// Why nothing more can be read, where that was found by whoever took a member.
    fault: Option<io::Error>,
}

impl Pipe {
    /// Returns what comes next: so many bytes at least, except at the end of input.
    fn ahead(&mut self, least: usize) -> io::Result<&[u8]> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER];
        }
        if self.end - self.at < least {
            self.buffer.copy_within(self.at..self.end, 0);
            (self.at, self.end) = (0, self.end - self.at);
            while self.end < least {
                match self.decoder.read(&mut self.buffer[self.end..]) {
                    Ok(0) => break,
                    Ok(n) => self.end += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(&self.buffer[self.at..self.end])
    }
}

impl Read for Pipe {
    /// Reads past the buffer where that is empty.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.end {
            return self.decoder.read(buf);
        }
        let n = (&self.buffer[self.at..self.end]).read(buf)?;
        self.at += n;
        Ok(n)
    }
}

/// The members of an archive as they come in.
struct Arriving<'a> {
    /// Not here while it is lent.
    pipe: Option<Box<Pipe>>,
    file: Arc<File>,
    /// Where in the file the next member goes.
    end: u64,
    spool: &'a Path,
    taker: &'a mut dyn Taker,
}

impl Arriving<'_> {
    fn pipe(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("whoever it was lent to has given it back")
    }

    /// Whether the member that comes now may be a layer that somebody wants.
    fn is_wanted(&mut self, member: &Member) -> io::Result<bool> {
        if member.stored <= SMALL {
            return Ok(false);
        }
        // A compressed layer would hold up the archive: it is inflated more slowly than it is read, by one thread a layer.
        let head = self.pipe().ahead(HEAD)?;
        let plain = Format::of(head) == Format::Plain && tarfile::begins_with_header(head);
        Ok(plain && self.taker.wants(&member.path, member.stored))
    }

    /// Lends the input for the next `len` bytes, and waits until it is back.
    fn lend(&mut self, len: u64) -> Result<Passed, Error> {
        let (home, back) = channel();
        let nr = self.taker.take(Lent { pipe: self.pipe.take(), left: len, home });
        let (mut pipe, left) = back.recv().expect("it comes home when it is dropped, at the latest");
        let fault = pipe.fault.take();
        self.pipe = Some(pipe);
        if let Some(fault) = fault {
            return Err(Error::reading(fault));
        }
        Ok(if self.pass_over(left)? { Passed::Taken(nr) } else { Passed::CutShort })
    }

    /// Returns whether there were so many bytes.
    fn pass_over(&mut self, len: u64) -> Result<bool, Error> {
        Ok(io::copy(&mut self.take(len), &mut io::sink()).map_err(Error::reading)? == len)
    }

    fn keep(&mut self, len: u64) -> Result<Passed, Error> {
        let begins = self.end;
        while self.end < begins + len {
            let pipe = self.pipe.as_mut().expect("it is lent to nobody");
            let run = pipe.ahead(1).map_err(Error::reading)?;
            let left = begins + len - self.end;
            let n = usize::try_from(left).map_or(run.len(), |left| left.min(run.len()));
            if n == 0 {
                return Ok(Passed::CutShort);
            }
            self.file.write_all_at(&run[..n], self.end).map_err(|e| cannot_be_kept(self.spool, e))?;
            self.end += n as u64;
            self.consume(n);
        }
        Ok(Passed::At(begins))
    }
}

impl Outer for Arriving<'_> {
    fn pass(&mut self, member: &Member, _: u64) -> Result<Passed, Error> {
        let len = member.stored;
        if member.kind != Kind::File || member.sparse.is_some() {
            return Ok(if self.pass_over(len)? { Passed::At(self.end) } else { Passed::CutShort });
        }
        if self.is_wanted(member).map_err(Error::reading)? { self.lend(len) } else { self.keep(len) }
    }
}

impl BufRead for Arriving<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.pipe().ahead(1)
    }

    fn consume(&mut self, n: usize) {
        self.pipe().at += n;
    }
}

impl Read for Arriving<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

/// The bytes of a member while they go by. Who has it holds up the archive, which goes on when all is read, or this dropped.
pub struct Lent {
    /// Gone home when all is read.
    pipe: Option<Box<Pipe>>,
    left: u64,
    home: Sender<(Box<Pipe>, u64)>,
}

impl Lent {
    /// Decodes it as a layer. As nobody knows of what image it is, its bytes are counted for no image.
    pub fn decoder(self, limits: &Limits) -> io::Result<Decoder> {
        let bound = Bound::of_layer(limits, &Taken::default());
        Ok(Decoder::new(Box::new(self), Expected::default())?.bounded(bound, None))
    }

    fn go_home(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            let _ = self.home.send((pipe, self.left)); // Nobody waits after a panic.
        }
    }
}

impl Read for Lent {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        let Some(pipe) = self.pipe.as_mut().filter(|_| most > 0) else { return Ok(0) };
        match pipe.read(&mut buf[..most]) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut short")),
            Ok(n) => {
                self.left -= n as u64;
                if self.left == 0 {
                    self.go_home();
                }
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                // What is wrong with the archive is told where the archive is read.
                let kind = e.kind();
                pipe.fault = Some(e);
                Err(kind.into())
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.go_home();
    }
}
