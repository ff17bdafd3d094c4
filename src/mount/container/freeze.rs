//! A mounted container, frozen: nobody can change it meanwhile, in whichever namespace, and everybody can read it.
//!
//! The overlay itself becomes read-only, and with it all its mounts: freezing its filesystem (FIFREEZE) overlayfs cannot, and
//! of the upper directory's it would stop all else that lies there. A process that this one starts makes it writable again as
//! soon as this one has ended, however: killed by SIGKILL, too. Where both are killed, it is who sweeps the killed command's
//! stage ([`thaw_abandoned`]).

use std::io;

use super::mounted::{Ours, overlays};
use super::{Error, live_root};
use crate::mount::patience::{self, PASSING};
use crate::mount::{OverlayMount, holders, inuse};
use crate::store::record::ContainerRecord;
use crate::store::{Change, Store};
use crate::sys::Errno;
use crate::sys::background::Watcher;
use crate::sys::dir::Dir;
use crate::sys::lock::Share;
use crate::sys::mount::set_read_only;

/// A container that nobody can change.
#[derive(Debug)]
#[must_use]
pub struct Frozen {
    root: Dir,
    watcher: Option<Watcher>,
}

/// Freezes a container where it is mounted; `None` where it is not, or only to be read: then it is frozen already. `watch`
/// starts the process that thaws it when this one ends, given its root.
pub fn freeze(
    change: &Change<'_>,
    container: &ContainerRecord,
    watch: impl FnOnce(&Dir) -> io::Result<Watcher>,
) -> Result<Option<Frozen>, Error> {
    let store = change.store();
    let Some(root) = live_root(store, container)? else { return Ok(None) };
    // Another command was killed that had frozen it: whoever watched that thaws it in a moment.
    let thawed = patience::until(PASSING, || {
        let mounts = mounts_of(store, container)?;
        Ok::<_, Error>(mounts.iter().any(|mount| !mount.frozen).then_some(mounts))
    })?;
    let Some(mounts) = thawed else { return Ok(None) };
    change.note_frozen(container)?;
    let watcher = watch(&root).map_err(Error::Watcher)?;
    let frozen = Frozen { root, watcher: Some(watcher) };
    let mut writers = Vec::new();
    let done = patience::until(PASSING, || match set_read_only(&frozen.root, true) {
        Ok(()) => Ok(Some(true)),
        Err(failed) if failed.errno != Errno::BUSY => Err(Error::from(failed)),
        Err(_) => {
            let ids: Vec<u64> = mounts.iter().map(|mount| mount.mount_id).collect();
            writers = holders::writers(&ids);
            // Nobody to be seen: whoever it was has just gone.
            Ok(if writers.is_empty() { None } else { Some(false) })
        }
    })?;
    match done {
        Some(true) => Ok(Some(frozen)),
        Some(false) | None => Err(Error::Written(writers)),
    }
}

/// Makes a container writable again that a killed command had frozen, where it is still mounted; `false` while another command
/// has it, which may have frozen it as well.
pub fn thaw_abandoned(store: &Store, id: &str) -> Result<bool, Error> {
    let change = store.change(Share::Shared, &mut |_| {})?;
    let Some(container) = store.container(id)? else { return Ok(true) };
    let Some((container, _own)) = change.try_hold_container(&container.name)? else { return Ok(false) };
    if let Some(root) = live_root(store, &container)? {
        set_read_only(&root, false)?;
    }
    Ok(true)
}

/// Returns the mounts of a container in all namespaces.
fn mounts_of(store: &Store, container: &ContainerRecord) -> Result<Vec<OverlayMount>, Error> {
    let ours = Ours::of(store)?;
    let elsewhere = inuse::everywhere().map_err(Error::Table)?;
    let mut mounts = overlays()?;
    mounts.extend(elsewhere);
    mounts.retain(|mount| ours.id_of(mount).as_ref() == Some(&container.id));
    Ok(mounts)
}

impl Frozen {
    /// Lets it be changed again.
    pub fn thaw(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(mut watcher) = self.watcher.take() else { return Ok(()) };
        // The watcher alone does it: one that did so later than this process might thaw what another command has frozen.
        if watcher.act().unwrap_or(false) {
            return Ok(());
        }
        set_read_only(&self.root, false).map_err(Error::Thaw)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // What went wrong before is what the user is told of.
        let _ = self.end();
    }
}
