//! Where a mount shall appear.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::check;
use super::error::{Error, Role};
use super::table::{self, Mount, OverlayMount};
use crate::sys::dir::Dir;
use crate::sys::mount::{self, Pinned};

/// A mount point: opened once, so that nobody can put another directory in its place.
#[derive(Debug)]
pub struct Target {
    dir: Pinned,
    path: PathBuf,
}

/// How often, and how far apart, the lock of a mount point is asked for: ten seconds in all. Who has it, mounts.
const PATIENCE: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(10);

impl Target {
    /// Pins the directory at `path`; one that shows an overlay already is refused, since the kernel would stack the new
    /// one on it without a word.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let dir = check::pin(Role::Target, path)?;
        if dir.is_removed()? {
            return Err(Error::Removed { role: Role::Target, path: path.to_owned() });
        }
        let target = Self { path: dir.path()?, dir };
        target.refuse_overlay(&table::mounts()?)?;
        Ok(target)
    }

    /// Returns the absolute path, free of symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a handle of the pinned directory.
    pub(super) fn handle(&self) -> Result<OwnedFd, Error> {
        Ok(self.dir.as_fd().try_clone_to_owned()?)
    }

    /// Waits until no other ovlctl mounts here, and looks again whether one has. The turn ends when it is dropped.
    pub(super) fn turn(&self) -> Result<Dir, Error> {
        let dir = Dir::open(&self.dir.through_proc())?;
        for _ in 0..PATIENCE {
            // A filesystem without locks has none to wait for.
            if mount::try_lock(&dir).unwrap_or(true) {
                break;
            }
            thread::sleep(PAUSE);
        }
        self.refuse_overlay(&table::mounts()?)?;
        Ok(dir)
    }

    fn refuse_overlay(&self, mounts: &[Mount]) -> Result<(), Error> {
        match table::top_at(mounts, &self.path).and_then(OverlayMount::of) {
            Some(overlay) => {
                let source_shown = overlay.source.to_string_lossy().into_owned();
                Err(Error::Mounted { target: self.path.clone(), source_shown })
            }
            None => Ok(()),
        }
    }
}
