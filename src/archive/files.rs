//! The files of an archive: names and where their bytes lie.
//!
//! Knows no image: what the files mean is for others.

use std::io::{self, Read};
use std::sync::Arc;

use super::blob::{Blob, Extent};
use super::decode::Expected;
use super::error::Error;
use super::index::{Index, Unusable, normal};
use crate::limits::{Limit, Limits};
use crate::sys::dir::Dir;

/// The files of an archive.
#[derive(Debug)]
pub(super) enum Files {
    /// Members of a tar that is read in place.
    Tar(Index),
    /// Files in a directory that lies open.
    Folder(Dir),
}

/// What became of a file's bytes.
#[derive(Debug)]
pub(super) enum Bytes {
    /// They lie here.
    At(Extent),
    /// They went by, and somebody took them.
    Taken {
        /// Under this number.
        nr: usize,
        /// How many there were.
        len: u64,
    },
}

impl Bytes {
    /// Returns how many bytes there are.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::At(extent) => extent.len(),
            Self::Taken { len, .. } => *len,
        }
    }
}

impl Files {
    /// Returns where the bytes of the file `name` are, links followed; `None` where there is none.
    pub(super) fn find(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let path = normal(b"", name.as_bytes()).ok_or_else(|| Unusable::LeadsOut.of(name))?;
        match self {
            Self::Tar(index) => index.find(path).map_err(|fault| fault.of(name)),
            Self::Folder(dir) => Ok(find_in(dir, name, &path)?.map(Bytes::At)),
        }
    }
}

/// Reads the documents of an archive, and counts their bytes: one may be named any number of times.
#[derive(Debug)]
pub(super) struct Documents<'a> {
    files: &'a Files,
    limits: &'a Limits,
    bytes: u64,
}

impl<'a> Documents<'a> {
    /// None was read yet.
    pub(super) fn new(files: &'a Files, limits: &'a Limits) -> Self {
        Self { files, limits, bytes: 0 }
    }

    /// Returns the whole of the document `name`.
    pub(super) fn named(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(found) = self.files.find(name)? else { return Ok(None) };
        self.read(name, found).map(Some)
    }

    /// Returns the whole of the document `name`, which was found there.
    pub(super) fn read(&mut self, name: &str, found: Bytes) -> Result<Vec<u8>, Error> {
        self.bytes = self.bytes.saturating_add(found.len());
        let one = self.limits.check(Limit::Json, found.len());
        one.and_then(|()| self.limits.check(Limit::Documents, self.bytes))
            .map_err(|exceeded| Error::Exceeded { document: Some(name.to_owned()), exceeded })?;
        let Bytes::At(extent) = found else {
            return Err(Error::Damaged(format!("{}: a tar, and no document", name.escape_debug())));
        };
        let mut text = Vec::with_capacity(usize::try_from(extent.len).unwrap_or_default());
        Blob::new(extent, Expected::default()).read_to_end(&mut text).map_err(Error::reading)?;
        Ok(text)
    }
}

fn find_in(dir: &Dir, name: &str, path: &[u8]) -> Result<Option<Extent>, Error> {
    let file = match dir.open_file_beneath(path).map_err(io::Error::from) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => return Err(Unusable::LeadsOut.of(name)),
        Err(e) => return Err(Error::reading(e)),
    };
    let stat = file.metadata().map_err(Error::reading)?;
    if !stat.is_file() {
        return Err(Error::Damaged(format!("'{}' is no regular file", name.escape_debug())));
    }
    Ok(Some(Extent { file: Arc::new(file), start: 0, len: stat.len(), digest: None }))
}
