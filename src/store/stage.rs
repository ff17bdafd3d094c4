//! Guards: what is half done vanishes unless it was moved into place.
//!
//! A stage is a directory in `staging/`, locked (flock(2)) as long as its process lives. What a command makes, it makes
//! there, and renames it to where it belongs; what a command removes, it renames to there, and so it is gone for all others
//! at once. With its stage a command deletes what is small. What is large, and what a killed command left, is a stage that
//! nobody holds: [`sweep`] deletes it, in the background, one process at a time.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Error, file, is_there};
use super::layout::Layout;
use crate::digest::hex;
use crate::progress::Counter;
use crate::sys::dir::Dir;
use crate::sys::lock::{self, Holder, Lock, Share};
use crate::sys::{filesystem, path, trace, tree};

/// What a stage outside a store begins with.
const OUTSIDE: &str = ".ovlctl-probe-";

/// The file in a stage that has the id of a container that its command has frozen.
const FROZEN: &str = "frozen";

/// Makes a container writable again, given its id, that a killed command had frozen; `false` where that is to be tried again.
pub type Thaw<'a> = &'a dyn Fn(&str) -> bool;

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
        sweep_outside(folder)?;
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
        path::rename(&fresh, path).map_err(file(path))
    }

    /// The same, and the disk has it when this returns.
    pub(super) fn write_through(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let fresh = self.fresh();
        let written = fs::File::create(&fresh).and_then(|mut new| {
            new.write_all(bytes)?;
            Ok(path::fsync(&new)?)
        });
        written.map_err(file(&fresh))?;
        path::rename(&fresh, path).map_err(file(path))?;
        let folder = path.parent().unwrap_or(path);
        fs::File::open(folder).and_then(|folder| Ok(path::fsync(&folder)?)).map_err(file(folder))
    }

    /// Notes which container the stage's command is about to freeze: it is thawed by who sweeps the stage, where nobody
    /// else could any more.
    pub fn note_frozen(&self, container: &str) -> Result<(), Error> {
        self.write(&self.path.join(FROZEN), container.as_bytes())
    }

    /// Deletes the stage with all in it, however much that is; what cannot be deleted stays.
    pub(super) fn clear(&self) {
        let _ = tree::remove(&self.staging, self.name.as_bytes());
    }

    /// Takes the tree at `path` out of the store; it is deleted with the stage. Nothing happens where there is none.
    pub fn discard(&self, path: &Path) -> Result<(), Error> {
        match path::rename(path, &self.fresh()) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(file(path)(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What is left, or cannot be removed now, a sweep removes, or its error names.
        let mut small = Small::default();
        let _ =
            tree::remove_while(&self.staging, self.name.as_bytes(), &mut |dir, name| small.takes(dir, name));
    }
}

/// How much a command deletes itself: what takes no longer than starting another process does.
#[derive(Default)]
struct Small {
    entries: u32,
    bytes: u64,
}

impl Small {
    const ENTRIES: u32 = 64;
    const BYTES: u64 = 8 << 20;

    /// Counts `name` in `dir`, and says whether this is still little.
    fn takes(&mut self, dir: &Dir, name: &[u8]) -> bool {
        self.entries += 1;
        if let Ok(Some(stat)) = dir.stat(name) {
            self.bytes += tree::allocated(&stat);
        }
        self.entries <= Self::ENTRIES && self.bytes <= Self::BYTES
    }
}

/// Whether there is something for [`sweep`] to delete.
pub fn needs_sweep(layout: &Layout) -> Result<bool, Error> {
    Ok(is_there(layout.staging())? && has_abandoned(&Dir::open(&layout.staging())?)?)
}

/// Removes what [`Stage::outside`] left in a directory that is to become a store.
pub(super) fn sweep_outside(folder: &Path) -> Result<(), Error> {
    let folder = Dir::open(folder)?;
    for name in folder.names()?.iter().filter(|name| is_outside(name)) {
        let Ok(dir) = folder.open_dir(name) else { continue };
        if let Some(_abandoned) = Lock::try_take(&dir, Share::Exclusive)? {
            tree::remove(&folder, name)?;
        }
    }
    Ok(())
}

/// Whether a name is that of a stage outside a store.
pub(super) fn is_outside(name: &[u8]) -> bool {
    name.starts_with(OUTSIDE.as_bytes())
}

/// Whether what was removed is being deleted, or waits for it. Looks without taking a lock, for information only.
pub fn is_deleting(layout: &Layout) -> Result<bool, Error> {
    if !is_there(layout.staging())? {
        return Ok(false);
    }
    let staging = Dir::open(&layout.staging())?;
    let names = staging.names()?;
    let mut stages = names.iter().filter_map(|name| staging.open_dir(name).ok());
    Ok(!names.is_empty()
        && (lock::is_held(&staging)? || stages.any(|stage| !lock::is_held(&stage).unwrap_or(true))))
}

/// Deletes the stages that nobody holds, but leaves those of who has frozen a container where this process cannot `thaw`
/// that. Where another process is at it, that one does it.
pub fn sweep(layout: &Layout, thaw: Option<Thaw>) -> Result<(), Error> {
    let staging = Dir::open(&layout.staging())?;
    // Looked at again when the lock is free: whoever left something until then saw this process at it.
    while has_abandoned(&staging)? {
        let Some(_alone) = Lock::try_take(staging.open_dir(b".")?, Share::Exclusive)? else { break };
        if !delete_abandoned(&staging, thaw, &Counter::default())? {
            break;
        }
    }
    Ok(())
}

/// The same, but waits until all is gone that anybody has left so far, and counts the names that are deleted. Where that is
/// cancelled, a later one goes on.
pub fn sweep_now(
    layout: &Layout,
    thaw: Option<Thaw>,
    waiting: &mut dyn FnMut(&[Holder]),
    counter: &Counter,
) -> Result<(), Error> {
    let staging = Dir::open(&layout.staging())?;
    let _alone = Lock::take_of(&staging, Share::Exclusive, waiting)?;
    delete_abandoned(&staging, thaw, counter).map(|_| ())
}

/// Returns whether none is left for the sake of a frozen container.
fn delete_abandoned(staging: &Dir, thaw: Option<Thaw>, counter: &Counter) -> Result<bool, Error> {
    let (mut failed, mut none_left) = (Ok(()), true);
    for name in staging.names()? {
        let Ok(dir) = staging.open_dir(&name) else { continue };
        let Some(_abandoned) = Lock::try_take(&dir, Share::Exclusive)? else { continue };
        if frozen_by(&dir)?.is_some_and(|container| !thaw.is_some_and(|thaw| thaw(&container))) {
            none_left = false;
            continue;
        }
        let all = tree::remove_while(staging, &name, &mut |_, _| counter.add(1).is_ok());
        if matches!(all, Ok(true)) {
            trace::done(|| format!("staging/{}: deleted", String::from_utf8_lossy(&name)));
        }
        // One tree that cannot be removed keeps no other.
        failed = failed.and(all.map(|_| ()));
    }
    failed?;
    Ok(none_left)
}

fn has_abandoned(staging: &Dir) -> Result<bool, Error> {
    for name in staging.names()? {
        let Ok(dir) = staging.open_dir(&name) else { continue };
        if Lock::try_take(&dir, Share::Exclusive)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the id of the container that a stage's command had frozen.
fn frozen_by(stage: &Dir) -> Result<Option<String>, Error> {
    let path = stage.path().join(FROZEN);
    match fs::read_to_string(&path) {
        Ok(id) => Ok(Some(id)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(file(&path)(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Progress, What};

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
        assert!(!needs_sweep(&layout).unwrap());
        fs::create_dir_all(layout.staging().join("of-a-killed-command/diff/etc")).unwrap();
        assert!(needs_sweep(&layout).unwrap());
        sweep(&layout, None).unwrap();
        assert_eq!(entries(&layout.staging()), 1);
        assert!(held.path().exists());
        assert!(!needs_sweep(&layout).unwrap());
    }

    #[test]
    fn what_is_large_is_left_to_a_sweep() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = layout(scratch.path());
        let stage = Stage::new(&layout).unwrap();
        let tree = stage.fresh();
        fs::create_dir(&tree).unwrap();
        for nr in 0..=Small::ENTRIES {
            fs::write(tree.join(nr.to_string()), "").unwrap();
        }
        drop(stage);
        assert_eq!(entries(&layout.staging()), 1);
        assert!(needs_sweep(&layout).unwrap());
        let progress = Progress::default();
        let counter = progress.begin(What::Names, None);
        sweep_now(&layout, None, &mut |_| panic!("nobody has it"), &counter).unwrap();
        assert!(progress.pieces()[0].done() > 0);
        assert_eq!(entries(&layout.staging()), 0);
    }

    #[test]
    fn a_stage_that_tells_of_a_frozen_container_goes_when_that_is_thawed() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = layout(scratch.path());
        let stage = Stage::new(&layout).unwrap();
        stage.note_frozen("some id").unwrap();
        fs::rename(stage.path(), layout.staging().join("of-a-killed-command")).unwrap();
        drop(stage);
        sweep(&layout, None).unwrap();
        assert!(entries(&layout.staging()) == 1 && needs_sweep(&layout).unwrap());
        // Another command has the container.
        sweep(&layout, Some(&|_| false)).unwrap();
        assert_eq!(entries(&layout.staging()), 1);
        sweep(&layout, Some(&|id| id == "some id")).unwrap();
        assert_eq!(entries(&layout.staging()), 0);
    }

    #[test]
    fn two_sweeps_at_once_are_one() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = layout(scratch.path());
        let staging = Dir::open(&layout.staging()).unwrap();
        let other = Lock::try_take(&staging, Share::Exclusive).unwrap();
        fs::create_dir(layout.staging().join("of-a-killed-command")).unwrap();
        sweep(&layout, None).unwrap();
        assert_eq!(entries(&layout.staging()), 1);
        drop((other, staging));
        sweep(&layout, None).unwrap();
        assert_eq!(entries(&layout.staging()), 0);
    }
}
