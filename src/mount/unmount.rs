//! Takes an overlay away, and only that one.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::error::Error;
use super::holders::{self, Holder};
use super::table::{self, OverlayMount};
use crate::sys::Errno;
use crate::sys::mount::{self, Pinned};

/// How often, and how far apart, a busy mount is asked for again that nobody seems to hold.
const PATIENCE: u32 = 25;
const PAUSE: Duration = Duration::from_millis(20);

/// Unmounts the top-most overlay at `target`; `lazily`: also while it is in use, which goes on unseen until its last
/// user has gone. Returns what was mounted.
pub fn unmount(target: &Path, lazily: bool) -> Result<OverlayMount, Error> {
    let target = resolve(target)?;
    let mounts = table::mounts()?;
    let Some(found) = table::top_at(&mounts, &target) else { return Err(Error::NotMounted(target)) };
    let Some(overlay) = OverlayMount::of(found) else {
        return Err(Error::NotOverlay { target, filesystem: found.filesystem.clone() });
    };
    let mut patience = PATIENCE;
    while let Err(failed) = mount::unmount(&target, lazily) {
        if failed.errno != Errno::BUSY {
            return Err(Error::Kernel(failed));
        }
        let holders = holders::of(overlay.mount_id, &mounts);
        if patience == 0 || !holders.iter().all(Holder::is_passing) {
            return Err(Error::Busy { target, holders });
        }
        // Nobody to be seen, or one of us: who looks whether the target is free holds it for a moment.
        patience -= 1;
        thread::sleep(PAUSE);
    }
    Ok(overlay)
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
