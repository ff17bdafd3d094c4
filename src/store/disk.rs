//! What the store takes on the disk: all of it is walked, and counted as `du --one-file-system` does.
//!
//! Not recorded when a layer comes in: how many blocks a file takes the filesystem decides when it writes them, and after
//! (delayed allocation, speculative preallocation, compression).

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::error::{Error, is_there};
use super::layout::{DISPLACED_SUFFIX, LINKS};
use super::record::{ContainerRecord, SnapshotRecord};
use super::{Store, layout};
use crate::digest::Digest;
use crate::sys::dir::{Dir, FileType, kind};
use crate::sys::tree;

/// A file of the store, or a folder with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its names below the store; none for the store's own folder, which is told without what is in it, as are those on the way.
    pub names: Vec<String>,
    /// What it takes on the disk.
    pub bytes: u64,
}

/// Who has a place in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A layer: its directory, short name, record and recipe.
    Layer(Digest),
    /// An image: its record and config.
    Image(Digest),
    /// A container, by its name.
    Container(String),
    /// A snapshot, by its id.
    Snapshot(String),
    /// What was removed, and is being deleted; and what is being made.
    Staged,
    /// What is left of something that is not there any more, or was never finished. Pruning takes it.
    Leftover,
    /// What the store knows nothing of.
    Unknown,
    /// The store itself: its folders, the names, locks, and the room that it keeps.
    Store,
}

/// What each owner takes.
#[derive(Debug, Default)]
pub(super) struct Disk(HashMap<Owner, u64>);

impl Disk {
    pub(super) fn of(&self, owner: &Owner) -> u64 {
        self.0.get(owner).copied().unwrap_or_default()
    }
}

/// Whom the store knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) layers: HashSet<Digest>,
    pub(super) images: HashSet<Digest>,
    /// From a container's directory to its name.
    pub(super) containers: HashMap<String, String>,
    /// The ids of snapshots.
    pub(super) snapshots: HashSet<String>,
}

impl Known {
    pub(super) fn of(
        layers: impl Iterator<Item = Digest>,
        images: impl Iterator<Item = Digest>,
        containers: &[ContainerRecord],
        snapshots: &[SnapshotRecord],
    ) -> Self {
        let dir = |container: &ContainerRecord| (container.dir(), container.name.clone());
        Self {
            layers: layers.collect(),
            images: images.collect(),
            containers: containers.iter().map(dir).collect(),
            snapshots: snapshots.iter().map(|snapshot| snapshot.id.clone()).collect(),
        }
    }

    fn layer(&self, id: &str) -> Option<Owner> {
        Digest::from_hex(id).ok().filter(|id| self.layers.contains(id)).map(Owner::Layer)
    }

    /// Whose directory in `overlay2` this is.
    fn overlay(&self, id: &str) -> Option<Owner> {
        self.layer(id)
            .or_else(|| self.containers.get(id).cloned().map(Owner::Container))
            .or_else(|| self.snapshot(id))
    }

    fn snapshot(&self, id: &str) -> Option<Owner> {
        self.snapshots.get(id).cloned().map(Owner::Snapshot)
    }
}

impl Store {
    /// Walks the store, and returns what each of its owners takes.
    pub(super) fn disk(&self, known: &Known) -> Result<Disk, Error> {
        let mut disk = Disk::default();
        for place in self.places()? {
            *disk.0.entry(self.owner(known, &place.names)?).or_default() += place.bytes;
        }
        Ok(disk)
    }

    /// Walks the store, and returns what each of its files and folders takes: together all of it. Inodes of several names count
    /// where they are met first.
    pub fn places(&self) -> Result<Vec<Place>, Error> {
        if !is_there(self.layout().root())? {
            return Ok(Vec::new());
        }
        let mut walk = Walk { places: Vec::new(), linked: HashSet::new() };
        walk.folder(Vec::new(), &Dir::open(self.layout().root())?)?;
        Ok(walk.places)
    }

    /// Returns who has the place of these names.
    pub(super) fn owner(&self, known: &Known, names: &[String]) -> Result<Owner, Error> {
        let [top, name, rest @ ..] = names else { return Ok(Owner::Store) };
        let is = |folder: PathBuf| folder.file_name() == Some(OsStr::new(top));
        let layout = self.layout();
        if is(layout.overlay2()) {
            let link = rest.first().filter(|_| name == LINKS);
            let id = link.map_or_else(|| Ok(name.clone()), |link| self.linked_id(link))?;
            return match known.overlay(&id) {
                Some(owner) => Ok(owner),
                None if name == LINKS && link.is_none() => Ok(Owner::Store),
                None if link.is_some() => self.left_of(&id),
                None => Ok(Owner::Unknown),
            };
        }
        let stem = name.strip_suffix(".json").unwrap_or(name);
        if is(layout.layers()) || is(layout.recipes()) {
            let id = stem.strip_suffix(DISPLACED_SUFFIX).unwrap_or(stem);
            return known.layer(id).map_or_else(|| self.left_of(id), Ok);
        }
        if is(layout.containers()) {
            let is_known = known.containers.values().any(|known| known == stem);
            return Ok(if is_known { Owner::Container(stem.to_owned()) } else { Owner::Leftover });
        }
        if is(layout.snapshots()) {
            return Ok(known.snapshot(stem).unwrap_or(Owner::Leftover));
        }
        if is(layout.images()) {
            let image = Digest::from_hex(name).ok().filter(|id| known.images.contains(id));
            return Ok(image.map_or(Owner::Unknown, Owner::Image));
        }
        let own = [layout.reserve(), layout.locks(), layout.empty()];
        Ok(if is(layout.staging()) {
            Owner::Staged
        } else if own.into_iter().any(is) {
            Owner::Store
        } else {
            Owner::Unknown
        })
    }

    /// Says of what belongs to a directory in `overlay2`, whose owner nobody knows, what it is.
    fn left_of(&self, id: &str) -> Result<Owner, Error> {
        let is_there = !id.is_empty() && is_there(self.layout().overlay(id))?;
        Ok(if is_there { Owner::Unknown } else { Owner::Leftover })
    }

    /// Returns the id of the directory that a short name leads to; nothing where it is none.
    fn linked_id(&self, link: &str) -> Result<String, Error> {
        let links = Dir::open(&self.layout().links())?;
        let target = match links.stat(link.as_bytes())? {
            Some(stat) if kind(&stat) == FileType::Symlink => links.read_link(link.as_bytes())?,
            Some(_) | None => Vec::new(),
        };
        Ok(layout::linked_id(&String::from_utf8_lossy(&target)).unwrap_or_default().to_owned())
    }
}

struct Walk {
    places: Vec<Place>,
    linked: HashSet<u64>,
}

impl Walk {
    /// Tells of a folder itself, and of what is in it: the store, those at its top, and that of the short names.
    fn folder(&mut self, names: Vec<String>, dir: &Dir) -> Result<(), Error> {
        let own = dir.stat_self()?;
        for name in sorted(dir)? {
            let Some(stat) = dir.stat(&name)?.filter(|stat| stat.st_dev == own.st_dev) else { continue };
            let below = [&names[..], &[shown(&name)]].concat();
            let is_folder = kind(&stat) == FileType::Directory;
            if is_folder && (names.is_empty() || (names.len() == 1 && name == LINKS.as_bytes())) {
                self.folder(below, &dir.open_dir(&name)?)?;
            } else {
                let bytes = tree::blocks(dir, &name, &mut self.linked)?;
                self.places.push(Place { names: below, bytes });
            }
        }
        self.places.push(Place { names, bytes: tree::allocated(&own) });
        Ok(())
    }
}

fn sorted(dir: &Dir) -> Result<Vec<Vec<u8>>, Error> {
    let mut names = dir.names()?;
    names.sort_unstable();
    Ok(names)
}

/// A name that is no text is none of the store's.
fn shown(name: &[u8]) -> String {
    String::from_utf8(name.to_owned()).unwrap_or_else(|_| name.escape_ascii().to_string())
}

/// Returns the names of `path` below the store; `None` where it lies elsewhere.
pub(super) fn names_below(root: &Path, path: &Path) -> Option<Vec<String>> {
    use std::os::unix::ffi::OsStrExt;
    let below = path.strip_prefix(root).ok()?;
    Some(below.iter().map(|name| shown(name.as_bytes())).collect())
}
