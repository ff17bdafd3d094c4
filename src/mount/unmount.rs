//! Takes an overlay away, and only that one.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::holders::{self, Holder};
use super::patience::{self, PASSING};
use super::table::{self, OverlayMount};
use crate::sys::Errno;
use crate::sys::mount::{self, Pinned};
use crate::sys::trace;

/// Unmounts the top-most overlay at `target`; `lazily`: also while it is in use, which goes on unseen until its last
/// user has gone. Returns what was mounted.
pub fn unmount(target: &Path, lazily: bool) -> Result<OverlayMount, Error> {
    let target = resolve(target)?;
    let mounts = table::mounts()?;
    let Some(found) = table::top_at(&mounts, &target) else { return Err(Error::NotMounted(target)) };
    let Some(overlay) = OverlayMount::of(found) else {
        return Err(Error::NotOverlay { target, filesystem: found.filesystem.clone() });
    };
    end(overlay, target, lazily)
}

/// The same for an overlay that was there a moment ago. Where it still is the top-most at its place, the table is not read
/// again, which takes a while where many layers are mounted.
pub fn unmount_known(overlay: &OverlayMount, lazily: bool) -> Result<OverlayMount, Error> {
    let on_top = Pinned::open(&overlay.target).and_then(|dir| dir.mount_id());
    if on_top.is_ok_and(|id| id == overlay.mount_id) {
        return end(overlay.clone(), overlay.target.clone(), lazily);
    }
    unmount(&overlay.target, lazily)
}

fn end(overlay: OverlayMount, target: PathBuf, lazily: bool) -> Result<OverlayMount, Error> {
    let mut holders = Vec::new();
    let gone = patience::until(PASSING, || match mount::unmount(&target, lazily) {
        Ok(()) => Ok(Some(true)),
        Err(failed) if failed.errno != Errno::BUSY => Err(Error::Kernel(failed)),
        Err(_) => {
            holders = holders::of(overlay.mount_id, &table::mounts()?);
            // Nobody to be seen, or one of us: who looks whether the target is free holds it for a moment.
            Ok(if holders.iter().all(Holder::is_passing) { None } else { Some(false) })
        }
    })?;
    if gone == Some(true) {
        trace::done(|| format!("{}: unmounted", target.display()));
        Ok(overlay)
    } else {
        Err(Error::Busy { target, holders })
    }
}

/// Returns the path that mountinfo has for `target`. The directory must not stay open: that would keep it busy.
fn resolve(target: &Path) -> Result<PathBuf, Error> {
    match Pinned::open(target).and_then(|dir| dir.path()) {
        Ok(path) => Ok(path),
        Err(failed) if failed.errno == Errno::NOENT => Err(Error::NotMounted(target.to_owned())),
        // Not to be entered, as a broken filesystem may be: mountinfo will know the name or not.
        Err(_) => Ok(std::path::absolute(target)?),
    }
}
