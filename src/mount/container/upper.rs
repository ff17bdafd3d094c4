//! Where a container's changes go: into the store, into memory, or into directories of the user's.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{Error, outside};
use crate::store::record::{ContainerRecord, ImageRecord, Upper};
use crate::store::{self, Change, Store};

/// Where a new container's changes go.
#[derive(Debug, Clone, Copy)]
pub enum UpperWish<'a> {
    /// Into the store.
    Store,
    /// Into directories of the user's.
    At {
        /// The upper directory.
        upper: &'a Path,
        /// The work directory; beside `upper` where nothing is said.
        work: Option<&'a Path>,
    },
    /// Into memory.
    Tmpfs {
        /// The most it may grow to, in bytes.
        size: Option<u64>,
    },
}

/// Makes a wish a place: a work directory is made beside the user's upper directory, in the same mount.
pub(super) fn upper(store: &Store, wish: UpperWish<'_>) -> Result<Upper, Error> {
    let (upper, work) = match wish {
        UpperWish::Store => return Ok(Upper::Store),
        UpperWish::Tmpfs { size } => return Ok(Upper::Tmpfs { size }),
        UpperWish::At { upper, work } => (upper, work),
    };
    let directory = |path: &Path, source| Error::Directory { path: path.to_owned(), source };
    let upper = fs::canonicalize(upper).map_err(|e| directory(upper, e))?;
    let work = match work {
        Some(work) => fs::canonicalize(work).map_err(|e| directory(work, e))?,
        None => work_beside(&upper),
    };
    outside(store, &upper)?;
    outside(store, &work)?;
    let at = Upper::At { upper: upper.as_path().into(), work: work.as_path().into() };
    make_work(&at)?;
    Ok(at)
}

/// Makes the work directory that belongs beside the user's upper directory: another container over the same one may
/// have taken it away.
pub(super) fn make_work(upper: &Upper) -> Result<(), Error> {
    let Upper::At { upper, work } = upper else { return Ok(()) };
    let work = work.path();
    if work != work_beside(&upper.path()) {
        return Ok(());
    }
    match DirBuilder::new().mode(0o700).create(&work) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::Directory { path: work, source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns the work directory that is made for an upper directory of the user's: in the same mount, but not inside.
#[must_use]
pub fn work_beside(upper: &Path) -> PathBuf {
    let mut name = upper.to_owned().into_os_string();
    name.push(".work");
    PathBuf::from(name)
}

/// An empty upper directory of the user's gets the root's metadata from the image, as one in the store does.
pub(super) fn describe_user_upper(
    change: &Change<'_>,
    container: &ContainerRecord,
    image: &ImageRecord,
) -> Result<(), Error> {
    let Upper::At { upper, .. } = &container.upper else { return Ok(()) };
    let dir = crate::sys::dir::Dir::open(&upper.path()).map_err(store::Error::from)?;
    if !dir.names().map_err(store::Error::from)?.is_empty() {
        return Ok(());
    }
    let top = match image.layers.last() {
        Some(top) => change.store().stack(&top.chain_id)?.into_iter().next(),
        None => None,
    };
    Ok(change.describe_root(&dir, top.as_ref())?)
}
