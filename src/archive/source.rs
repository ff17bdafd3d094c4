//! From where an archive comes, and how its bytes become seekable.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blob::{Blob, Extent};
use super::decode::{Decoder, Expected};
use super::error::Error;
use super::files::Files;
use super::format::{Format, HEAD, unsupported};
use super::index::Index;
use crate::sys::dir::Dir;

/// What is copied at a time when an archive must be kept.
const COPY: usize = 512 << 10;

/// From where an archive comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, plain or compressed; a pipe; or the directory of an OCI layout.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl Source {
    /// Makes the archive's files known. What cannot be read in place is kept in `spool` in a file without a name.
    pub(super) fn files(&self, spool: &Path) -> Result<Files, Error> {
        match self {
            Self::Path(path) if path.is_dir() => Ok(Files::Folder(Dir::open(path)?)),
            Self::Path(path) => opened(File::open(path).map_err(Error::reading)?, spool),
            Self::Stdin => {
                let fd = io::stdin().as_fd().try_clone_to_owned().map_err(Error::reading)?;
                opened(File::from(fd), spool)
            }
        }
    }
}

fn opened(mut file: File, spool: &Path) -> Result<Files, Error> {
    let stat = file.metadata().map_err(Error::reading)?;
    if !stat.is_file() {
        return spooled(Box::new(file), spool);
    }
    // Standard input may be a file that was read in part.
    let start = file.stream_position().map_err(Error::reading)?;
    let whole = Extent { file: Arc::new(file), start, len: stat.len().saturating_sub(start) };
    let mut head = Vec::with_capacity(HEAD);
    let blob = || Blob::new(whole.clone(), Expected::default());
    blob().take(HEAD as u64).read_to_end(&mut head).map_err(Error::reading)?;
    match Format::of(&head) {
        Format::Plain => indexed(whole.file, start, &head),
        Format::Gzip | Format::Zstd | Format::Xz | Format::Bzip2 => spooled(Box::new(blob()), spool),
    }
}

fn indexed(file: Arc<File>, start: u64, head: &[u8]) -> Result<Files, Error> {
    if head.is_empty() {
        return Err(Error::NotAnImage("it is empty".to_owned()));
    }
    if let Some(what) = unsupported(head) {
        return Err(Error::NotAnImage(what.to_owned()));
    }
    Index::of(file, start).map(Files::Tar)
}

/// Keeps what `input` has, decompressed, in a file that vanishes with this process.
fn spooled(input: Box<dyn Read + Send>, spool: &Path) -> Result<Files, Error> {
    let mut decoder = Decoder::new(input, Expected::default()).map_err(Error::reading)?;
    let writing = |e| Error::io(format!("the archive cannot be kept in {}", spool.display()), e);
    let mut kept = Dir::open(spool).and_then(|dir| dir.create_unnamed()).map_err(|e| writing(e.into()))?;
    let (mut buffer, mut head) = (vec![0; COPY], Vec::new());
    loop {
        let n = match decoder.read(&mut buffer) {
            Ok(0) => return indexed(Arc::new(kept), 0, &head),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::reading(e)),
        };
        kept.write_all(&buffer[..n]).map_err(writing)?;
        head.extend_from_slice(&buffer[..n.min(HEAD - head.len())]);
    }
}
