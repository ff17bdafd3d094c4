//! Where a mount shall appear.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check;
use super::error::{Error, Role};
use super::patience;
use super::table::{self, OverlayMount};
use crate::sys::dir::Dir;
use crate::sys::filesystem::Filesystem;
use crate::sys::mount::{self, Pinned};

/// A mount point: opened once, so that nobody can put another directory in its place.
#[derive(Debug)]
pub struct Target {
    dir: Pinned,
    path: PathBuf,
}

/// How long the lock of a mount point is asked for. Who has it, mounts.
const TURN: Duration = Duration::from_secs(10);

impl Target {
    /// Pins the directory at `path`; one that shows an overlay already is refused, since the kernel would stack the new
    /// one on it without a word.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let dir = check::pin(Role::Target, path)?;
        if dir.is_removed()? {
            return Err(Error::Removed { role: Role::Target, path: path.to_owned() });
        }
        let target = Self { path: dir.path()?, dir };
        // A directory elsewhere is no overlay's root.
        if Filesystem::of(&target.dir).map_or(true, |found| found.is_overlayfs()) {
            target.refuse_overlay()?;
        }
        Ok(target)
    }

    /// Returns the absolute path, free of symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a handle of the pinned directory.
    pub(super) fn handle(&self) -> Result<OwnedFd, Error> {
        Ok(self.dir.again()?)
    }

    /// Waits until no other ovlctl mounts here, and looks again whether one has. The turn ends when it is dropped.
    pub(super) fn turn(&self) -> Result<Dir, Error> {
        let dir = Dir::open(&self.dir.through_proc())?;
        // A filesystem without locks has none to wait for; and who does not get it, still looks what is there.
        patience::until(TURN, || Ok::<_, Error>(mount::try_lock(&dir).unwrap_or(true).then_some(())))?;
        self.refuse_overlay()?;
        Ok(dir)
    }

    fn refuse_overlay(&self) -> Result<(), Error> {
        match table::top_at(&table::mounts()?, &self.path).and_then(OverlayMount::of) {
            Some(_) => Err(Error::Mounted { target: self.path.clone() }),
            None => Ok(()),
        }
    }
}
