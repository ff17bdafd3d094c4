//! Going back: snapshots of containers, and what is done with them.

use std::path::{Path, PathBuf};

use super::ended::{is_mounted, refuse_mounted};
use super::mounted::{Ours, mounted_ids, overlays};
use super::{Error, How, image_of, plan, stack};
use crate::mount::check::refuse_volatile;
use crate::mount::inuse::{self, Claim};
use crate::mount::plan::{Access, MAX_LOWER, Plan};
use crate::store::containers::{Naming, NewContainer};
use crate::store::record::{ContainerRecord, ImageRecord, SnapshotRecord, Upper};
use crate::store::{Change, Own, Store};
use crate::sys::dir::{Dir, FileType, kind};
use crate::sys::lock::Holder;

/// The attribute in which overlayfs counts the names of an inode with an index: `U-1` where all of them are in the upper
/// directory (ovl_set_nlink_common in fs/overlayfs/util.c).
const NLINK: &[u8] = b"trusted.overlay.nlink";

/// Where a container goes back to.
#[derive(Debug, Clone, Copy)]
pub enum Point<'a> {
    /// What it stands on: its last snapshot, or its image where it has none.
    Last,
    /// The snapshot of that name, which it has or stands on.
    Snapshot(&'a str),
    /// Its image.
    Image,
}

/// Freezes what a container has changed. `name` is what the snapshot is called: the next free number where nothing is said.
pub fn snapshot(
    change: &Change<'_>,
    container: &str,
    name: Option<&str>,
    waiting: &mut dyn FnMut(&[Holder]),
) -> Result<SnapshotRecord, Error> {
    let unused = Unused::hold(change, container, waiting)?;
    Ok(unused.freeze(change, name)?.1)
}

/// Takes back what a container has changed since then. Returns the snapshot that it stands on now, if that is one.
pub fn reset(
    change: &Change<'_>,
    container: &str,
    to: Point<'_>,
    waiting: &mut dyn FnMut(&[Holder]),
) -> Result<Option<SnapshotRecord>, Error> {
    let unused = Unused::hold(change, container, waiting)?;
    let container = &unused.container;
    let store = change.store();
    let point = match to {
        Point::Last => store.stands_on(container)?.into_iter().next(),
        Point::Snapshot(name) => Some(store.snapshot_of(container, name)?),
        Point::Image => None,
    };
    change.reset(container, &unused.image, point.as_ref(), &mounted_ids(change.store())?, &unused.own)?;
    Ok(point)
}

/// Makes a container that starts where another one is, or was at a snapshot. Returns it, and the snapshot that this took.
pub fn branch(
    change: &Change<'_>,
    container: &str,
    new: &str,
    from: Option<&str>,
    waiting: &mut dyn FnMut(&[Holder]),
) -> Result<(ContainerRecord, Option<SnapshotRecord>), Error> {
    // One of that name may have been left by a killed command.
    super::forget_ephemeral(change)?;
    change.free_for(new)?;
    if let Some(from) = from {
        let (container, own) = change.hold_container(container, waiting)?;
        refuse_elsewhere(&container)?;
        let snapshot = change.store().snapshot_of(&container, from)?;
        let made = stand_on(change, &container, new, Some(snapshot.id))?;
        drop(own);
        return Ok((made, None));
    }
    let unused = Unused::hold(change, container, waiting)?;
    if !change.has_changed(&unused.container, &unused.image)? {
        let base = unused.container.base.clone();
        return Ok((stand_on(change, &unused.container, new, base)?, None));
    }
    let (frozen, snapshot) = unused.freeze(change, None)?;
    Ok((stand_on(change, &frozen, new, frozen.base.clone())?, Some(snapshot)))
}

/// Makes a container like another one, on a snapshot.
fn stand_on(
    change: &Change<'_>,
    like: &ContainerRecord,
    name: &str,
    base: Option<String>,
) -> Result<ContainerRecord, Error> {
    let image = image_of(change.store(), like)?;
    let new = NewContainer {
        image: &image,
        at_layer: like.at_layer,
        image_name: like.image_name.clone(),
        upper: Upper::Store,
        options: like.options.clone(),
        target: None,
        remove: false,
        base,
    };
    let (mut container, own) = change.create_container(Naming::Exactly(name), &new)?;
    container.unfinished = false;
    if let Err(error) = change.record_container(&container) {
        // It is new, and nobody has seen it.
        let _ = change.remove_container(&container, &own);
        return Err(error.into());
    }
    Ok(container)
}

/// Removes a snapshot of a container's. Returns whether it is gone: one that something stands on loses its name only.
pub fn remove_snapshot(
    change: &Change<'_>,
    container: &str,
    name: &str,
    waiting: &mut dyn FnMut(&[Holder]),
) -> Result<bool, Error> {
    let (container, own) = change.hold_container(container, waiting)?;
    let snapshot = change.store().snapshot_of(&container, name)?;
    refuse_shown(change.store(), &snapshot)?;
    Ok(change.remove_snapshot(&snapshot, &mounted_ids(change.store())?, &own)?)
}

/// Says no where a snapshot is mounted.
pub(super) fn refuse_shown(store: &Store, snapshot: &SnapshotRecord) -> Result<(), Error> {
    let ours = Ours::of(store)?;
    let id = snapshot.shown_as();
    match overlays()?.into_iter().find(|mount| ours.id_of(mount).as_ref() == Some(&id)) {
        Some(mount) => Err(Error::Mounted(mount.target)),
        None if mounted_ids(store)?.contains(&id) => Err(Error::MountedElsewhere),
        None => Ok(()),
    }
}

/// Returns the plan by which a snapshot is looked at.
pub fn snapshot_plan(store: &Store, snapshot: &SnapshotRecord, how: &How<'_>) -> Result<Plan, Error> {
    let how = how.over(&snapshot.options)?;
    let image = image_below(store, snapshot)?;
    let lowers = stack(store, Some(&snapshot.id), &image)?;
    plan(store, lowers, Access::ReadOnly, &snapshot.shown_as(), &how)
}

/// Returns the image that a snapshot stands on, as far as it does.
pub fn image_below(store: &Store, snapshot: &SnapshotRecord) -> Result<ImageRecord, Error> {
    let called = || snapshot.image_name.clone().unwrap_or_else(|| snapshot.image.to_string());
    let image = store.image_record(&snapshot.image)?.ok_or_else(|| Error::ImageGone(called()))?;
    Ok(image.up_to(snapshot.at_layer))
}

/// A container that nobody uses, and nobody mounts meanwhile.
struct Unused {
    container: ContainerRecord,
    image: ImageRecord,
    work: PathBuf,
    own: Own,
    _claim: Claim,
}

impl Unused {
    fn hold(change: &Change<'_>, name: &str, waiting: &mut dyn FnMut(&[Holder])) -> Result<Self, Error> {
        let (container, own) = change.hold_container(name, waiting)?;
        refuse_elsewhere(&container)?;
        refuse_mounted(change.store(), &container)?;
        if is_mounted(change.store(), &container)? {
            return Err(Error::MountedElsewhere);
        }
        let image = image_of(change.store(), &container)?;
        let (upper, work) = change.store().upper_and_work(&container).ok_or(Error::InMemory)?;
        // Unmounted lazily it is in no table, and its last users still write to it.
        let claim = inuse::claim_of(&upper, &work)?;
        Ok(Self { container, image, work, own, _claim: claim })
    }

    fn freeze(
        &self,
        change: &Change<'_>,
        name: Option<&str>,
    ) -> Result<(ContainerRecord, SnapshotRecord), Error> {
        let below = change.store().below(self.container.base.as_deref(), &self.image)?;
        if below.len() >= MAX_LOWER {
            return Err(Error::Full { layers: below.len(), container: self.container.name.clone() });
        }
        let (upper, _) = change.store().upper_and_work(&self.container).ok_or(Error::InMemory)?;
        refuse_volatile(&upper, &self.work)?;
        if joins_names_below(&self.work)? {
            return Err(Error::Index(self.container.name.clone()));
        }
        Ok(change.freeze(&self.container, name, &self.own)?)
    }
}

/// Says no to what is not frozen: changes that are not in the store.
fn refuse_elsewhere(container: &ContainerRecord) -> Result<(), Error> {
    match &container.upper {
        Upper::Store => Ok(()),
        Upper::At { upper, .. } => Err(Error::NotOurs(upper.path())),
        Upper::Tmpfs { .. } => Err(Error::InMemory),
    }
}

/// Whether an index (`-o index=on`, `nfs_export=on`) makes names below mean a file that was changed under another of its names:
/// only the upper directory that it was made with has that index, and over any other these names mean the old file.
fn joins_names_below(work: &Path) -> Result<bool, Error> {
    let work = Dir::open(work)?;
    if work.stat(b"index")?.is_none() {
        return Ok(false);
    }
    let index = work.open_dir(b"index")?;
    for name in index.names()? {
        let Some(stat) = index.stat(&name)? else { continue };
        if kind(&stat) == FileType::Directory {
            continue;
        }
        let xattrs = index.xattrs(&name)?;
        if xattrs.iter().any(|(key, count)| key == NLINK && count != b"U-1") {
            return Ok(true);
        }
    }
    Ok(false)
}
