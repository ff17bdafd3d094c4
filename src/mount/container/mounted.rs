//! Which mounts are the store's.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Error;
use crate::mount::{OverlayMount, inuse, table};
use crate::store::layout::LINKS;
use crate::store::record::{ContainerRecord, SnapshotRecord};
use crate::store::{self, Store};

/// What stands before the id in a mount's source.
const SOURCE: &str = "ovlctl:";
/// What stands between the id and the store's identity.
const OF_STORE: char = '@';

/// A mount of something in the store, in this mount namespace.
#[derive(Debug, Clone)]
pub struct Mounted {
    /// The id of the container or image, or [`SnapshotRecord::shown_as`].
    pub id: String,
    /// Where.
    pub target: PathBuf,
    /// Whether nothing can be changed.
    pub read_only: bool,
}

/// Finds the mounts that `text` means: those of a container or snapshot of that name, or the uppermost overlay on that path.
pub fn find_mounts(store: &Store, text: &OsStr) -> Result<Vec<OverlayMount>, Error> {
    let overlays = overlays()?;
    if let Some(container) = store.container(text.to_str().unwrap_or_default())? {
        let ours = Ours::of(store)?;
        return Ok(overlays
            .into_iter()
            .filter(|mount| ours.id_of(mount).as_ref() == Some(&container.id))
            .collect());
    }
    if let Some(snapshot) = snapshot_called(store, text)? {
        let id = snapshot.shown_as();
        let ours = Ours::of(store)?;
        return Ok(overlays.into_iter().filter(|mount| ours.id_of(mount).as_ref() == Some(&id)).collect());
    }
    let target = fs::canonicalize(text).unwrap_or_else(|_| PathBuf::from(text));
    Ok(overlays.into_iter().rfind(|mount| mount.target == target).into_iter().collect())
}

/// Returns the container that is mounted on `target`; `None` where nothing or something else is.
pub fn container_on(store: &Store, target: &Path) -> Result<Option<ContainerRecord>, Error> {
    let Ok(target) = fs::canonicalize(target) else { return Ok(None) };
    match mounts(store)?.into_iter().rfind(|mounted| mounted.target == target) {
        Some(mounted) => Ok(store.container(&mounted.id)?),
        None => Ok(None),
    }
}

/// Finds the snapshot that `text` means, if it does.
fn snapshot_called(store: &Store, text: &OsStr) -> Result<Option<SnapshotRecord>, Error> {
    match store.snapshot(text.to_str().unwrap_or_default()) {
        Err(store::Error::NoSnapshot { .. }) => Ok(None),
        found => Ok(found?.map(|(_, snapshot)| snapshot)),
    }
}

/// Returns all mounts of what this store holds, the last one made first.
pub fn all_mounts(store: &Store) -> Result<Vec<OverlayMount>, Error> {
    let containers = store.containers()?.into_iter().map(|container| container.id);
    let images = store.images()?.into_iter().map(|image| image.record.id.hex());
    let snapshots = store.snapshots()?.into_iter().map(|snapshot| snapshot.shown_as());
    let held: BTreeSet<String> = containers.chain(images).chain(snapshots).collect();
    let ours = Ours::of(store)?;
    let of_ours = |mount: &OverlayMount| ours.id_of(mount).is_some_and(|id| held.contains(&id));
    Ok(overlays()?.into_iter().rev().filter(of_ours).collect())
}

/// Returns what of this store is mounted in this mount namespace.
pub fn mounts(store: &Store) -> Result<Vec<Mounted>, Error> {
    let ours = Ours::of(store)?;
    let mounted = |mount: OverlayMount| {
        Some(Mounted { id: ours.id_of(&mount)?, read_only: mount.read_only, target: mount.target })
    };
    Ok(overlays()?.into_iter().filter_map(mounted).collect())
}

/// Returns the ids of all images, containers and snapshots of this store that are mounted, in any mount namespace.
pub fn mounted_ids(store: &Store) -> Result<BTreeSet<String>, Error> {
    let ours = Ours::of(store)?;
    let elsewhere = inuse::everywhere().map_err(Error::Table)?;
    Ok(overlays()?.iter().chain(&elsewhere).filter_map(|mount| ours.id_of(mount)).collect())
}

pub(super) fn overlays() -> Result<Vec<OverlayMount>, Error> {
    table::overlays().map_err(Error::Table)
}

/// Returns the source of a mount of what has this id. An image has the same id in every store: which one has it mounted, mountinfo
/// tells by layers only where a method gives them names that mean something to others (`procfd` gives `lowerdir=3:4:5`).
pub(super) fn source(store: &Store, id: &str) -> Result<String, Error> {
    let identity = store.identity()?.map(|identity| format!("{OF_STORE}{identity}"));
    Ok(format!("{SOURCE}{id}{}", identity.unwrap_or_default()))
}

/// Tells a store's own mounts from others.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    store: &'a Store,
    identity: Option<String>,
}

impl<'a> Ours<'a> {
    pub(super) fn of(store: &'a Store) -> Result<Self, Error> {
        Ok(Self { store, identity: store.identity()? })
    }

    /// Returns the id of the container, snapshot or image of this store that is mounted there; `None` where it is none of this store's.
    pub(super) fn id_of(&self, mount: &OverlayMount) -> Option<String> {
        let said = mount.source.to_str()?.strip_prefix(SOURCE)?;
        let (id, is_ours) = match said.split_once(OF_STORE) {
            Some((id, store)) => (id, self.identity.as_deref() == Some(store)),
            None => (said, self.has_lowers_of(mount)),
        };
        is_ours.then(|| id.to_owned())
    }

    /// Whether a mount is this store's that was made when sources did not say so yet. Where its layers tell nothing, it is: what it
    /// might show must not be removed.
    fn has_lowers_of(&self, mount: &OverlayMount) -> bool {
        mount.lowers.iter().find_map(|lower| self.has(lower)).unwrap_or(true)
    }

    /// Whether a layer, as mountinfo has it, lies in this store; `None` where that does not say.
    fn has(&self, lower: &Path) -> Option<bool> {
        let folder = lower.parent().and_then(Path::file_name);
        if folder == Some(OsStr::new(LINKS)) {
            // By `path` and `links`. Random in each store.
            let link = self.store.layout().links().join(lower.file_name()?);
            return match fs::symlink_metadata(link) {
                Err(e) if e.kind() == ErrorKind::NotFound => Some(false),
                Ok(_) | Err(_) => Some(true),
            };
        }
        // By `fd` it was the whole path, of a store that may have another one now, or in another mount namespace.
        let lower = if lower.is_absolute() { fs::canonicalize(lower).ok()? } else { return None };
        let root = fs::canonicalize(self.store.layout().root()).ok()?;
        Some(lower.starts_with(root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store with one layer, `l/NAME`.
    fn store(root: &Path, link: &str) -> Store {
        let store = Store::open(root).unwrap();
        fs::create_dir_all(root.join("overlay2/ab/diff")).unwrap();
        fs::create_dir_all(root.join("overlay2/l")).unwrap();
        std::os::unix::fs::symlink("../ab/diff", root.join("overlay2/l").join(link)).unwrap();
        store
    }

    fn mount(source: &str, lowers: &str) -> OverlayMount {
        let line = format!("71 46 0:40 / /m ro - overlay {source} ro,{lowers},redirect_dir=nofollow");
        OverlayMount::of(&table::parse(line.as_bytes())[0]).unwrap()
    }

    #[test]
    fn a_mount_is_of_the_store_that_its_source_names() {
        let scratch = tempfile::tempdir().unwrap();
        let (here, other) = (store(&scratch.path().join("a"), "A"), store(&scratch.path().join("b"), "A"));
        let made = mount(&source(&here, "0123").unwrap(), "lowerdir=14:15");
        assert_eq!(Ours::of(&here).unwrap().id_of(&made).as_deref(), Some("0123"));
        assert_eq!(Ours::of(&other).unwrap().id_of(&made), None);
        // Wherever it is moved to.
        fs::rename(scratch.path().join("a"), scratch.path().join("c")).unwrap();
        let moved = Store::open(&scratch.path().join("c")).unwrap();
        assert_eq!(Ours::of(&moved).unwrap().id_of(&made).as_deref(), Some("0123"));
    }

    #[test]
    fn a_mount_whose_source_names_none_is_anothers_only_where_its_layers_are() {
        let scratch = tempfile::tempdir().unwrap();
        let (here, other) = (store(&scratch.path().join("a"), "A"), store(&scratch.path().join("b"), "B"));
        let at = |name: &str| scratch.path().join(name).display().to_string();
        let table = [
            (format!("lowerdir+={},lowerdir+=/elsewhere", at("a/overlay2/ab/diff")), [true, false]), // fd
            (format!("lowerdir+={}", at("a/overlay2/l/A")), [true, false]),                          // path
            ("lowerdir=14:15".to_owned(), [true, true]),                                             // procfd
            ("lowerdir=l/A:l/C".to_owned(), [true, false]),                                          // links
            (format!("lowerdir+={}", at("gone/overlay2/ab/diff")), [true, true]),
        ];
        for (lowers, ours) in table {
            let made = mount("ovlctl:0123", &lowers);
            let is_of = |store| Ours::of(store).unwrap().id_of(&made).is_some();
            assert_eq!([is_of(&here), is_of(&other)], ours, "{lowers}");
        }
        assert_eq!(Ours::of(&here).unwrap().id_of(&mount("none", "lowerdir=l/A:l/C")), None);
    }
}
