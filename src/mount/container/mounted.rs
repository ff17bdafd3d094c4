//! Which mounts are the store's.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use super::Error;
use crate::mount::{OverlayMount, inuse, table};
use crate::store::Store;

/// What stands before the id in a mount's source.
pub(super) const SOURCE: &str = "ovlctl:";

/// A mount of something in the store, in this mount namespace.
#[derive(Debug, Clone)]
pub struct Mounted {
    /// The id of the container or image.
    pub id: String,
    /// Where.
    pub target: PathBuf,
    /// Whether nothing can be changed.
    pub read_only: bool,
}

/// Finds the mounts that `text` means: those of a container of that name, or the uppermost overlay on that path.
pub fn find_mounts(store: &Store, text: &OsStr) -> Result<Vec<OverlayMount>, Error> {
    let overlays = overlays()?;
    if let Some(container) = store.container(text.to_str().unwrap_or_default())? {
        return Ok(overlays
            .into_iter()
            .filter(|mount| id_of(mount).as_ref() == Some(&container.id))
            .collect());
    }
    let target = fs::canonicalize(text).unwrap_or_else(|_| PathBuf::from(text));
    Ok(overlays.into_iter().rfind(|mount| mount.target == target).into_iter().collect())
}

/// Returns all mounts of what this store holds, the last one made first.
pub fn all_mounts(store: &Store) -> Result<Vec<OverlayMount>, Error> {
    let containers = store.containers()?.into_iter().map(|container| container.id);
    let images = store.images()?.into_iter().map(|image| image.record.id.hex());
    let ours: BTreeSet<String> = containers.chain(images).collect();
    let of_ours = |mount: &OverlayMount| id_of(mount).is_some_and(|id| ours.contains(&id));
    Ok(overlays()?.into_iter().rev().filter(of_ours).collect())
}

/// Returns what, of any store, is mounted in this mount namespace.
pub fn mounts() -> Result<Vec<Mounted>, Error> {
    let mounted = |mount: OverlayMount| {
        Some(Mounted { id: id_of(&mount)?, read_only: mount.read_only, target: mount.target })
    };
    Ok(overlays()?.into_iter().filter_map(mounted).collect())
}

/// Returns the ids of all images and containers that are mounted, in any mount namespace.
pub fn mounted_ids() -> Result<BTreeSet<String>, Error> {
    let elsewhere = inuse::everywhere().map_err(Error::Table)?;
    Ok(overlays()?.iter().chain(&elsewhere).filter_map(id_of).collect())
}

pub(super) fn overlays() -> Result<Vec<OverlayMount>, Error> {
    table::overlays().map_err(Error::Table)
}

pub(super) fn id_of(mount: &OverlayMount) -> Option<String> {
    Some(mount.source.to_str()?.strip_prefix(SOURCE)?.to_owned())
}
