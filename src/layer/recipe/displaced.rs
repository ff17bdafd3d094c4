//! Files that an earlier entry made and a later one of the same tar takes away.

use super::DISPLACED;
use crate::layer::error::{Error, For};
use crate::layer::settle::copy_data;
use crate::sys::dir::{Dir, FileType, kind};

/// Takes names out of a layer's tree, and keeps what the recipe needs of them.
pub(in crate::layer) struct Displaced<'a> {
    beside: &'a Dir,
    kept: u64,
    /// Where those stood of which the recipe does not know yet.
    news: Vec<Vec<u8>>,
}

impl<'a> Displaced<'a> {
    /// Keeps files in the directory [`DISPLACED`] in `beside`, on the filesystem of the tree.
    pub(in crate::layer) fn new(beside: &'a Dir) -> Self {
        Self { beside, kept: 0, news: Vec::new() }
    }

    /// Takes `name`, which is no directory, out of `dir`; `path` is where it stands in the layer.
    pub(in crate::layer) fn take(
        &mut self,
        dir: &Dir,
        name: &[u8],
        path: impl FnOnce() -> Vec<u8>,
        entry: &[u8],
    ) -> Result<(), Error> {
        let file = dir.stat(name).entry(entry)?.filter(|stat| kind(stat) == FileType::RegularFile);
        let Some(stat) = file else { return dir.unlink(name).entry(entry) };
        if self.kept == 0 {
            self.beside.mkdir(DISPLACED.as_bytes(), 0o700).map_err(Error::Call)?;
        }
        let to = self.beside.open_dir(DISPLACED.as_bytes()).map_err(Error::Call)?;
        let kept = self.kept.to_string();
        if stat.st_nlink == 1 {
            dir.rename(name, &to, kept.as_bytes()).entry(entry)?;
        } else {
            // Its other names stay, and must not show a link more than the tar gives them.
            let copy = to.create(kept.as_bytes(), 0o600).entry(entry)?;
            copy_data(&dir.open_file(name).entry(entry)?, &copy, &stat).entry(entry)?;
            dir.unlink(name).entry(entry)?;
        }
        self.kept += 1;
        self.news.push(path());
        Ok(())
    }

    /// Returns where those stood that were kept since the last time, in the order of their numbers.
    pub(in crate::layer) fn news(&mut self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.news.drain(..)
    }
}
