//! The root of a container that is mounted, whoever sees it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use super::mounted::{Ours, overlays};
use super::{Error, Store, store};
use crate::mount::{OverlayMount, inuse};
use crate::store::record::ContainerRecord;
use crate::sys::Errno;
use crate::sys::dir::Dir;
use crate::sys::mount;

/// A container that is mounted.
#[derive(Debug)]
pub struct Live {
    /// Its root.
    pub root: Dir,
    /// The directory in /proc of a process in whose mount namespace it is; none where it is in this one.
    process: Option<PathBuf>,
}

impl Live {
    /// Returns a second mount of it, which nobody sees, without what is mounted inside.
    pub(super) fn copy(&self) -> Result<OwnedFd, Error> {
        let Some(process) = &self.process else { return Ok(mount::clone_tree(&self.root)?) };
        // A mount is copied in its own namespace only, which a thread may enter that has a working directory of its own.
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("copy".to_owned()).spawn_scoped(scope, || {
                mount::enter_namespace_of(process)?;
                mount::clone_tree(&self.root)
            });
            let copied = thread.map_err(Error::Table)?.join();
            Ok(copied.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
        })
    }
}

/// What a mount point gives that something else hides, and the root of a process that has ended.
const COVERED: [Errno; 3] = [Errno::NOENT, Errno::NOTDIR, Errno::SRCH];

/// Opens the root of a mounted container, in whichever mount namespace; `None` where it is mounted nowhere.
pub fn live_root(store: &Store, container: &ContainerRecord) -> Result<Option<Dir>, Error> {
    Ok(live(store, container)?.map(|live| live.root))
}

/// Opens the root of a mounted container, in this mount namespace or, by way of a process there, in any other; `None`
/// where it is mounted nowhere. Everything but this mount's own tree would be seen at second hand: what overlayfs shows
/// of an upper directory that somebody changes beneath it is undefined (overlayfs.rst, "Changes to underlying
/// filesystems").
pub(super) fn live(store: &Store, container: &ContainerRecord) -> Result<Option<Live>, Error> {
    let ours = Ours::of(store)?;
    let (mut covered, mut failed) = (None, None);
    let namespaces = inuse::namespaces().map_err(Error::Table)?;
    let elsewhere = namespaces.into_iter().map(|(process, overlays)| (Some(process), overlays));
    for (process, overlays) in std::iter::once((None, overlays()?)).chain(elsewhere) {
        let root = process.as_ref().map_or_else(|| PathBuf::from("/"), |process| process.join("root"));
        let whole = |mount: &&OverlayMount| {
            ours.id_of(mount).as_ref() == Some(&container.id) && mount.root == Path::new("/")
        };
        for mount in overlays.iter().filter(whole) {
            let path = root.join(mount.target.strip_prefix("/").unwrap_or(&mount.target));
            let found = Dir::open(&path).and_then(|dir| Ok((mount::mount_id(&dir)?, dir)));
            match found {
                Ok((id, root)) if id == mount.mount_id => return Ok(Some(Live { root, process })),
                // Another mount lies on it, or on a directory above; or its process has just ended.
                Ok(_) => covered = Some(mount.target.clone()),
                Err(e) if COVERED.contains(&e.errno) => covered = Some(mount.target.clone()),
                Err(e) => failed = Some(e),
            }
        }
    }
    match (failed, covered) {
        (Some(failed), _) => Err(failed.into()),
        (None, Some(target)) => Err(Error::Covered(target)),
        (None, None) => Ok(None),
    }
}

impl From<crate::sys::CallFailed> for Error {
    fn from(failed: crate::sys::CallFailed) -> Self {
        Self::Store(store::Error::Call(failed))
    }
}
