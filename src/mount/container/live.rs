//! The root of a container that is mounted, whoever sees it.

use std::path::{Path, PathBuf};

use super::mounted::{Ours, overlays};
use super::{Error, Store, store};
use crate::mount::{OverlayMount, inuse};
use crate::store::record::ContainerRecord;
use crate::sys::dir::Dir;
use crate::sys::mount;

/// Opens the root of a mounted container, in this mount namespace or, by way of a process there, in any other; `None`
/// where it is mounted nowhere. Everything but this mount's own tree would be seen at second hand: what overlayfs shows
/// of an upper directory that somebody changes beneath it is undefined (overlayfs.rst, "Changes to underlying
/// filesystems").
pub fn live_root(store: &Store, container: &ContainerRecord) -> Result<Option<Dir>, Error> {
    let ours = Ours::of(store)?;
    let mut covered = None;
    let namespaces = inuse::namespaces().map_err(Error::Table)?;
    let here = (PathBuf::from("/"), overlays()?);
    let elsewhere = namespaces.into_iter().map(|(process, overlays)| (process.join("root"), overlays));
    for (root, overlays) in std::iter::once(here).chain(elsewhere) {
        let whole = |mount: &&OverlayMount| {
            ours.id_of(mount).as_ref() == Some(&container.id) && mount.root == Path::new("/")
        };
        for mount in overlays.iter().filter(whole) {
            let path = root.join(mount.target.strip_prefix("/").unwrap_or(&mount.target));
            let found = Dir::open(&path).and_then(|dir| Ok((mount::mount_id(&dir)?, dir)));
            match found {
                Ok((id, dir)) if id == mount.mount_id => return Ok(Some(dir)),
                // Another mount lies on it, or its process has just ended.
                Ok(_) | Err(_) => covered = Some(mount.target.clone()),
            }
        }
    }
    covered.map_or(Ok(None), |target| Err(Error::Covered(target)))
}

impl From<crate::sys::CallFailed> for Error {
    fn from(failed: crate::sys::CallFailed) -> Self {
        Self::Store(store::Error::Call(failed))
    }
}
