//! Cleans what a crash left in a work directory.

use std::path::Path;

use super::error::Error;
use super::inuse::{self, InUse};
use crate::sys::dir::{Dir, FileType, kind};
use crate::sys::tree;

/// Empties `work/work`, which belongs to overlayfs alone, and returns how many names were in it.
///
/// The kernel does this itself at each mount, but only two levels deep; what lies deeper makes it mount read-only
/// (ovl_workdir_cleanup_recurse). Nothing is touched while an overlay has `upper` or `work`, or might.
pub fn tidy_work(upper: &Path, work: &Path) -> Result<usize, Error> {
    let dir = Dir::open(work)?;
    let Some(found) = dir.stat(b"work")? else { return Ok(0) };
    if kind(&found) != FileType::Directory || dir.open_dir(b"work")?.names()?.is_empty() {
        return Ok(0);
    }
    if inuse::ask(upper, work)? != InUse::Free {
        return Ok(0);
    }
    let inner = dir.open_dir(b"work")?;
    // The mark of a volatile mount is no leftover: it says that changes may be missing.
    let names = inner.names()?.into_iter().filter(|name| name != b"incompat");
    let mut gone = 0;
    for name in names {
        tree::remove(&inner, &name)?;
        gone += 1;
    }
    Ok(gone)
}
