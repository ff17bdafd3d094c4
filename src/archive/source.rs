//! From where an archive comes, and how its bytes become seekable.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blob::{Blob, Extent};
use super::bound::Bound;
use super::decode::{Decoder, Expected};
use super::error::Error;
use super::files::Files;
use super::format::{Format, HEAD, unsupported};
use super::index::Index;
use super::spool::{self, Taker};
use crate::limits::Limits;
use crate::progress::{Counting, Progress, What};
use crate::sys;
use crate::sys::dir::Dir;

/// From where an archive comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, plain or compressed; a pipe; or the directory of an OCI layout.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl Source {
    /// Makes the archive's files known. What cannot be read in place goes by once: `taker` takes what it wants of it, and
    /// the rest is kept in `spool` in a file without a name.
    pub(super) fn files(
        &self,
        spool: &Path,
        limits: &Limits,
        progress: &Progress,
        taker: &mut dyn Taker,
    ) -> Result<Files, Error> {
        match self {
            Self::Path(path) if path.is_dir() => Ok(Files::Folder(Dir::open(path)?)),
            Self::Path(path) => {
                opened(File::open(path).map_err(Error::reading)?, spool, limits, progress, taker)
            }
            Self::Stdin => {
                let fd = io::stdin().as_fd().try_clone_to_owned().map_err(Error::reading)?;
                opened(File::from(fd), spool, limits, progress, taker)
            }
        }
    }
}

fn opened(
    mut file: File,
    spool: &Path,
    limits: &Limits,
    progress: &Progress,
    taker: &mut dyn Taker,
) -> Result<Files, Error> {
    let stat = file.metadata().map_err(Error::reading)?;
    if !stat.is_file() {
        sys::widen(&file);
        let counter = progress.begin(What::Archive, None);
        let counted = Counting { inner: file, counter: Arc::clone(&counter) };
        let decoder = Decoder::new(Box::new(counted), Expected::default()).map_err(Error::reading)?;
        let index = spool::index(decoder.bounded(Bound::of_archive(limits), None), spool, limits, taker)?;
        counter.end();
        return Ok(Files::Tar(index));
    }
    // Standard input may be a file that was read in part.
    let start = file.stream_position().map_err(Error::reading)?;
    let whole = Extent { file: Arc::new(file), start, len: stat.len().saturating_sub(start), digest: None };
    let mut head = Vec::with_capacity(HEAD);
    let blob = || Blob::new(whole.clone(), Expected::default());
    blob().take(HEAD as u64).read_to_end(&mut head).map_err(Error::reading)?;
    match Format::of(&head) {
        Format::Plain => {
            refuse_others(&head)?;
            Index::of(whole.file, start, limits).map(Files::Tar)
        }
        Format::Gzip | Format::Zstd | Format::Xz | Format::Bzip2 => {
            let counter = progress.begin(What::Archive, Some(whole.len));
            let counted = blob().counted(Arc::clone(&counter));
            let decoder = Decoder::new(Box::new(counted), Expected::default()).map_err(Error::reading)?;
            let decoder = decoder.bounded(Bound::of_archive(limits), Some(whole.len));
            let index = spool::index(decoder, spool, limits, taker)?;
            counter.end();
            Ok(Files::Tar(index))
        }
    }
}

/// Refuses what by its first bytes is no tar.
pub(super) fn refuse_others(head: &[u8]) -> Result<(), Error> {
    if head.is_empty() {
        return Err(Error::NotAnImage("it is empty".to_owned()));
    }
    if let Some(what) = unsupported(head) {
        return Err(Error::NotAnImage(what.to_owned()));
    }
    Ok(())
}
