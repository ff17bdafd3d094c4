//! Guards: what is half done vanishes unless it was moved into place.
//!
//! A stage is a directory in `staging/`, locked (flock(2)) as long as its process lives. What a command makes, it makes
//! there, and renames it to where it belongs; what a command removes, it renames to there first. Whatever its end,
//! the next command finds a stage that nobody holds, and removes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Error, file};
use super::layout::Layout;
use crate::digest::hex;
use crate::sys::dir::Dir;
use crate::sys::lock::{Lock, Share};
use crate::sys::{filesystem, tree};

/// What a stage outside a store begins with.
const OUTSIDE: &str = ".ovlctl-probe-";

/// A command's own directory in `staging/`, gone with it.
#[derive(Debug)]
#[must_use]
pub struct Stage {
    staging: Dir,
    name: String,
    path: PathBuf,
    next: AtomicU64,
    _lock: Lock,
}

impl Stage {
    /// Makes an empty stage.
    pub fn new(layout: &Layout) -> Result<Self, Error> {
        Self::make(&layout.staging(), "")
    }

    /// Makes an empty stage in a directory that is no store, and removes those that killed commands left there.
    pub fn outside(folder: &Path) -> Result<Self, Error> {
        sweep_folder(folder, OUTSIDE)?;
        Self::make(folder, OUTSIDE)
    }

    fn make(folder: &Path, prefix: &str) -> Result<Self, Error> {
        let staging = Dir::open(folder)?;
        loop {
            let name = format!("{prefix}{}", hex(&filesystem::random::<16>()?));
            staging.mkdir(name.as_bytes(), 0o700)?;
            // A sweep may see the directory before it is locked, and take it for abandoned.
            let Ok(dir) = staging.open_dir(name.as_bytes()) else { continue };
            let Some(lock) = Lock::try_take(&dir, Share::Exclusive)? else { continue };
            if staging.stat(name.as_bytes())?.is_some() {
                let path = folder.join(&name);
                return Ok(Self { staging, name, path, next: AtomicU64::new(0), _lock: lock });
            }
        }
    }

    /// Returns where the stage is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a path in the stage that nothing has yet.
    #[must_use]
    pub fn fresh(&self) -> PathBuf {
        self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Puts a file with `bytes` at `path`, whole or not at all.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let fresh = self.fresh();
        fs::write(&fresh, bytes).map_err(file(&fresh))?;
        fs::rename(&fresh, path).map_err(file(path))
    }

    /// Takes the tree at `path` out of the store; it is deleted with the stage. Nothing happens where there is none.
    pub fn discard(&self, path: &Path) -> Result<(), Error> {
        match fs::rename(path, self.fresh()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file(path)(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed now, the next command's sweep removes, or its error names.
        let _ = tree::remove(&self.staging, self.name.as_bytes());
    }
}

/// Removes the stages of commands that were killed.
pub fn sweep(layout: &Layout) -> Result<(), Error> {
    sweep_folder(&layout.staging(), "")
}

/// Removes what [`Stage::outside`] left in a directory that is to become a store.
pub(super) fn sweep_outside(folder: &Path) -> Result<(), Error> {
    sweep_folder(folder, OUTSIDE)
}

/// Whether a name is that of a stage outside a store.
pub(super) fn is_outside(name: &[u8]) -> bool {
    name.starts_with(OUTSIDE.as_bytes())
}

fn sweep_folder(folder: &Path, prefix: &str) -> Result<(), Error> {
    let staging = Dir::open(folder)?;
    let ours = |name: &Vec<u8>| name.starts_with(prefix.as_bytes());
    for name in staging.names()?.into_iter().filter(ours) {
        let Ok(dir) = staging.open_dir(&name) else { continue };
        if let Some(_abandoned) = Lock::try_take(&dir, Share::Exclusive)? {
            tree::remove(&staging, &name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(root: &Path) -> Layout {
        let layout = Layout::new(root);
        fs::create_dir(layout.staging()).unwrap();
        layout
    }

    fn entries(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_stage_goes_with_what_was_not_moved_out_of_it() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = layout(scratch.path());
        let stage = Stage::new(&layout).unwrap();
        fs::create_dir(stage.fresh()).unwrap();
        stage.write(&scratch.path().join("kept"), b"kept").unwrap();
        drop(stage);
        assert_eq!(entries(&layout.staging()), 0);
        assert_eq!(fs::read(scratch.path().join("kept")).unwrap(), b"kept");
    }

    #[test]
    fn a_stage_outside_a_store_takes_what_a_killed_one_left_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        for name in [".ovlctl-probe-of-a-killed-command", "somebody-s"] {
            fs::create_dir(scratch.path().join(name)).unwrap();
        }
        let held = Stage::outside(scratch.path()).unwrap();
        let second = Stage::outside(scratch.path()).unwrap();
        assert!(held.path().exists() && second.path().exists());
        assert_eq!(entries(scratch.path()), 3);
        drop((held, second));
        assert_eq!(entries(scratch.path()), 1);
    }

    #[test]
    fn a_sweep_takes_only_what_nobody_holds() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = layout(scratch.path());
        let held = Stage::new(&layout).unwrap();
        fs::create_dir_all(layout.staging().join("of-a-killed-command/diff/etc")).unwrap();
        sweep(&layout).unwrap();
        assert_eq!(entries(&layout.staging()), 1);
        assert!(held.path().exists());
    }
}
