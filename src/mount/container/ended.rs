//! The end of a mount, and of a container.

use std::fs;
use std::path::{Path, PathBuf};

use super::back::refuse_shown;
use super::mounted::{Ours, mounted_ids, overlays};
use super::{Error, work_beside};
use crate::digest::Digest;
use crate::mount::inuse::{self, InUse};
use crate::mount::patience::{self, PASSING};
use crate::mount::{self, OverlayMount};
use crate::store::record::{ContainerRecord, Upper};
use crate::store::{Change, Own, Store};
use crate::sys::lock::{Holder, Share};

/// What an unmount left.
#[derive(Debug)]
pub struct Unmounted {
    /// Where it was mounted.
    pub target: PathBuf,
    /// The container, and whether it is still there, with its changes.
    pub container: Option<(String, bool)>,
}

/// Unmounts. A container that is not to stay goes, with its changes.
pub fn unmount(
    store: &Store,
    mount: &OverlayMount,
    lazy: bool,
    remove: bool,
    waiting: &mut dyn FnMut(&[Holder]),
) -> Result<Unmounted, Error> {
    let target = mount.target.clone();
    let id = Ours::of(store)?.id_of(mount);
    let container = store.containers()?.into_iter().find(|container| Some(&container.id) == id.as_ref());
    let Some(container) = container else {
        mount::unmount_known(mount, lazy)?;
        return Ok(Unmounted { target, container: None });
    };
    let change = store.change_that_frees(Share::Shared, waiting)?;
    let (mut container, own) = change.hold_container(&container.name, waiting)?;
    let ended = mount::unmount_known(mount, lazy)?;
    let goes = remove || container.is_ephemeral();
    // A bind mount, or a copy in another namespace, shows it still: it goes with the last of them.
    let stays = !goes || (!was_the_last(store, &ended, &container) && is_mounted(store, &container)?);
    if !stays {
        drop_container(&change, &container, &own)?;
    } else if container.unfinished {
        // The command that mounted it was killed before it could say so.
        container.unfinished = false;
        change.record_container(&container)?;
    }
    Ok(Unmounted { target, container: Some((container.name, stays)) })
}

/// Whether the kernel says that what had this mount has none any more: no overlay has its upper directory. Where it was mounted
/// read-only that tells nothing. To ask takes less time than to look into the mount namespace of each process.
fn was_the_last(store: &Store, ended: &OverlayMount, container: &ContainerRecord) -> bool {
    let dirs = store.upper_and_work(container).filter(|_| ended.upper.is_some());
    dirs.is_some_and(|(upper, work)| inuse::is_surely_free(&upper, &work))
}

/// Removes a container with its changes, unless it is mounted.
pub fn remove(change: &Change<'_>, name: &str, waiting: &mut dyn FnMut(&[Holder])) -> Result<(), Error> {
    let (container, own) = change.hold_container(name, waiting)?;
    refuse_mounted(change.store(), &container)?;
    if is_mounted(change.store(), &container)? {
        return Err(Error::MountedElsewhere);
    }
    let snapshots = change.store().snapshots()?;
    let its = snapshots.iter().filter(|snapshot| snapshot.container == container.id);
    its.clone().try_for_each(|snapshot| refuse_shown(change.store(), snapshot))?;
    let dirs = dirs_there(change, &container)?;
    // Unmounted lazily it is in no table, and its last users still write to it.
    let unused = dirs.map(|(upper, work)| inuse::claim_of(&upper, &work)).transpose()?;
    drop(unused);
    drop_container(change, &container, &own)
}

/// Returns a container's upper and work directories, where it has both.
fn dirs_there(change: &Change<'_>, container: &ContainerRecord) -> Result<Option<(PathBuf, PathBuf)>, Error> {
    let Some((upper, work)) = change.store().upper_and_work(container) else { return Ok(None) };
    for path in [&upper, &work] {
        let there = path.try_exists();
        if !there.map_err(|source| Error::Directory { path: path.clone(), source })? {
            return Ok(None);
        }
    }
    Ok(Some((upper, work)))
}

/// Whether a container is mounted anywhere, in any mount namespace, and not only in another command's copy.
pub(super) fn is_mounted(store: &Store, container: &ContainerRecord) -> Result<bool, Error> {
    let gone = patience::until(PASSING, || {
        Ok::<_, Error>((!mounted_ids(store)?.contains(&container.id)).then_some(()))
    })?;
    Ok(gone.is_none())
}

fn drop_container(change: &Change<'_>, container: &ContainerRecord, own: &Own) -> Result<(), Error> {
    change.remove_container(container, own)?;
    if !change.store().snapshots()?.is_empty() {
        change.collect_snapshots(&mounted_ids(change.store())?)?;
    }
    if let Upper::At { upper, work } = &container.upper {
        leave(&upper.path(), &work.path())?;
    }
    Ok(())
}

/// Takes overlayfs' own scratch out of a work directory of the user's, unless another mount works there, and the
/// directory too where it was made for the container. The upper directory stays as it is: it is the user's.
pub(super) fn leave(upper: &Path, work: &Path) -> Result<(), Error> {
    if !upper.exists() || !work.exists() {
        return Ok(());
    }
    // Without its work directory a live overlay can write nothing more, and that directory is empty most of the time.
    let _free = match inuse::claim_of(upper, work) {
        Ok(claim) if claim.state == InUse::Free => claim,
        Ok(_) | Err(mount::Error::InUse { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    mount::tidy_work(upper, work)?;
    // What is not empty is not ours to remove.
    let _ = fs::remove_dir(work.join("work"));
    if work == work_beside(upper) {
        let _ = fs::remove_dir(work);
    }
    Ok(())
}

/// Removes containers that were to go with their mount, and are mounted nowhere any more: a command was killed, somebody
/// unmounted them by hand, or the machine was started anew.
pub fn forget_ephemeral(change: &Change<'_>) -> Result<(), Error> {
    let mut containers = change.store().containers()?;
    containers.retain(|container| !container.stays());
    if containers.is_empty() {
        return Ok(());
    }
    let store = change.store();
    let mounted = mounted_ids(store)?;
    for container in containers.into_iter().filter(|container| !mounted.contains(&container.id)) {
        // Looked at again under the container's lock: another command may be about to mount it.
        let Some((container, own)) = change.try_hold_container(&container.name)? else { continue };
        let is_shown = mounted_ids(store)?.contains(&container.id);
        if !container.stays() && !is_shown && is_unused(change, &container)? {
            drop_container(change, &container, &own)?;
        }
    }
    Ok(())
}

/// Whether no overlay has a container's upper directory, one that was unmounted lazily included.
fn is_unused(change: &Change<'_>, container: &ContainerRecord) -> Result<bool, Error> {
    let Some((upper, work)) = dirs_there(change, container)? else { return Ok(true) };
    match inuse::claim_of(&upper, &work) {
        Ok(_) => Ok(true),
        Err(mount::Error::InUse { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A container is mounted once: says no where it is in this mount namespace.
pub(super) fn refuse_mounted(store: &Store, container: &ContainerRecord) -> Result<(), Error> {
    let ours = Ours::of(store)?;
    let found = overlays()?.into_iter().find(|mount| ours.id_of(mount).as_ref() == Some(&container.id));
    found.map_or(Ok(()), |mount| Err(Error::Mounted(mount.target)))
}

/// Says where an image, or a container over it, is mounted, if it is: the store itself only knows of the container.
pub fn refuse_image_in_use(store: &Store, image: &Digest) -> Result<(), Error> {
    let mut ids = vec![image.hex()];
    let over = store.containers()?.into_iter().filter(|container| container.image == *image);
    ids.extend(over.map(|container| container.id));
    let ours = Ours::of(store)?;
    let found = overlays()?.into_iter().find(|mount| ours.id_of(mount).is_some_and(|id| ids.contains(&id)));
    found.map_or(Ok(()), |mount| Err(Error::Mounted(mount.target)))
}
