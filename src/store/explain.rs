//! What each folder of a store is for: whose it is, who needs it, and what would remove it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Store;
use super::disk::{Known, Owner, names_below};
use super::error::{Error, is_there};
use super::images::Image;
use super::layout::{DIFF, LINK, LINKS, LOWER, MERGED, WORK};
use super::record::{ContainerRecord, SnapshotRecord};
use super::snapshots::{called as called_snapshots, chain};
use crate::digest::Digest;
use crate::sys::dir::Dir;
use crate::sys::tree;

/// A file or folder at the top of the store, or the one of short names.
#[derive(Debug, Serialize)]
pub struct Folder {
    /// Its path below the store; `.` is the store's own folder, without what is in it.
    pub path: String,
    /// What it takes on the disk, with all that is in it and no row of its own.
    pub bytes: u64,
    /// What it is for.
    pub purpose: &'static str,
}

/// All that is known of one place in the store.
#[derive(Debug, Serialize)]
pub struct About {
    /// Its path below the store.
    pub path: String,
    /// What it takes on the disk, with all that is in it.
    pub bytes: u64,
    /// Whose it is, and what it is for.
    pub what: String,
    /// Who needs it.
    pub why: Vec<String>,
    /// What would remove it.
    pub goes: String,
}

/// Where what has this id is mounted.
pub type Mounts = BTreeMap<String, Vec<String>>;

const UNKNOWN: &str = "nothing of this store's";

impl Store {
    /// Tells what every folder at the top of the store is for, and what it takes: together all of it.
    pub fn folders(&self) -> Result<Vec<Folder>, Error> {
        let purposes = self.purposes();
        let known: Vec<Vec<String>> = purposes.iter().map(|(names, _)| names.clone()).collect();
        let folder = |(names, purpose): (Vec<String>, _)| Folder { path: joined(&names), bytes: 0, purpose };
        let mut folders: Vec<Folder> = purposes.into_iter().map(folder).collect();
        for place in self.places()? {
            let its = |names: &[String]| {
                place.names.starts_with(names) && (!names.is_empty() || place.names.is_empty())
            };
            let at = (0..known.len()).filter(|&nr| its(&known[nr])).max_by_key(|&nr| known[nr].len());
            if let Some(nr) = at {
                folders[nr].bytes += place.bytes;
            } else {
                let path = joined(&place.names);
                folders.push(Folder { path, bytes: place.bytes, purpose: UNKNOWN });
            }
        }
        let mut there = Vec::new();
        for folder in folders {
            if folder.bytes > 0 || is_there(self.layout().root().join(&folder.path))? {
                there.push(folder);
            }
        }
        Ok(there)
    }

    /// Every name at the top of a store, in the order of its drawing.
    fn purposes(&self) -> Vec<(Vec<String>, &'static str)> {
        let layout = self.layout();
        let table: [(PathBuf, &str); 17] = [
            (layout.root().to_owned(), "the store: for root alone, for layers have setuid files"),
            (layout.format(), "that this is a store, and its format"),
            (layout.boot(), "in which boot of the machine it was made or recovered last"),
            (layout.overlay2(), "layers, containers and snapshots, a folder each, laid out as Docker does"),
            (layout.links(), "short names of layers, so that many fit the options of a mount"),
            (layout.layers(), "a record of each layer"),
            (layout.recipes(), "how each layer's tar is made again, byte for byte: for `check --deep`"),
            (layout.images(), "a folder for each image: its record, and its config as it came"),
            (layout.names(), "which name means which image"),
            (layout.synced_names(), "the same when it was last on the disk"),
            (layout.containers(), "a record of each container"),
            (layout.snapshots(), "a record of each snapshot"),
            (layout.empty(), "an empty folder: what an image without layers shows"),
            (layout.points(), "mount points below a container in which something is run"),
            (layout.staging(), "what is being made, and what was removed and is being deleted"),
            (layout.locks(), "a file for whatever a command works on"),
            (layout.reserve(), "room that is given up where there is none left to remove anything"),
        ];
        let names = |path: PathBuf| names_below(layout.root(), &path).unwrap_or_default();
        table.into_iter().map(|(path, purpose)| (names(path), purpose)).collect()
    }

    /// Finds what is meant: a path to a place in the store, one from its top, or the beginning of a name in `overlay2`.
    pub fn place(&self, text: &Path) -> Result<Option<Vec<String>>, Error> {
        let Ok(root) = self.layout().root().canonicalize() else { return Ok(None) };
        for path in [text.to_owned(), root.join(text)] {
            let found = path.canonicalize().ok().and_then(|path| names_below(&root, &path));
            if found.is_some() {
                return Ok(found);
            }
        }
        let text = text.to_string_lossy();
        let overlay2 = Dir::open(&self.layout().overlay2())?;
        let names = overlay2.names()?.into_iter().filter_map(|name| String::from_utf8(name).ok());
        let mut found =
            names.filter(|name| name.starts_with(&*text) && text.len() >= super::images::SHORTEST_ID);
        let path = |id: String| names_below(self.layout().root(), &self.layout().overlay(&id));
        Ok(found.next().filter(|_| found.next().is_none()).and_then(path))
    }

    /// Tells all of one place in the store. `mounts` are the store's own.
    pub fn about(&self, names: &[String], mounts: &Mounts) -> Result<About, Error> {
        let (images, containers) = (self.images()?, self.containers()?);
        let (layers, snapshots) = (self.layer_ids()?, self.snapshots()?);
        let ids = images.iter().map(|image| image.record.id);
        let known = Known::of(layers.into_iter(), ids, &containers, &snapshots);
        let all = All { images: &images, containers: &containers, snapshots: &snapshots, mounts };
        let (what, why, goes) = match self.owner(&known, names)? {
            Owner::Layer(id) => all.layer(self, &id)?,
            Owner::Image(id) => all.image(&id),
            Owner::Container(name) => all.container(&name),
            Owner::Snapshot(id) => all.snapshot(&id),
            Owner::Staged => (
                "being made, or removed and being deleted".to_owned(),
                Vec::new(),
                "by itself, with the next command that writes at the latest; `ovlctl prune --wait` waits for it".to_owned(),
            ),
            Owner::Leftover => (
                "left of what is not there any more".to_owned(),
                Vec::new(),
                "`ovlctl prune`".to_owned(),
            ),
            Owner::Unknown => (
                UNKNOWN.to_owned(),
                Vec::new(),
                "nothing of ovlctl's: `ovlctl check` tells more".to_owned(),
            ),
            Owner::Store => ("the store's own".to_owned(), Vec::new(), "nothing but removing the store".to_owned()),
        };
        let purposes = self.purposes();
        let purpose = purposes.iter().find(|(of, _)| of == names).map(|(_, purpose)| *purpose);
        let what = match (purpose, part(names)) {
            (Some(purpose), _) => purpose.to_owned(),
            (None, Some(part)) => format!("{part} of {what}"),
            (None, None) => what,
        };
        Ok(About { path: joined(names), bytes: self.taken(names)?, what, why, goes })
    }

    /// Counts what one place takes, with all that is in it.
    fn taken(&self, names: &[String]) -> Result<u64, Error> {
        let path = names.iter().fold(self.layout().root().to_owned(), |path, name| path.join(name));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(0) };
        Ok(tree::blocks(&Dir::open(parent)?, name.as_encoded_bytes(), &mut HashSet::new())?)
    }
}

/// What a name in a folder of `overlay2` is.
fn part(names: &[String]) -> Option<&'static str> {
    let [_, folder, name, ..] = names else { return None };
    match name.as_str() {
        _ if folder == LINKS => Some("the short name"),
        DIFF => Some("the files"),
        WORK => Some("overlayfs' scratch folder"),
        MERGED => Some("the mount point"),
        LINK | LOWER => Some("the names for a mount"),
        _ => None,
    }
}

fn joined(names: &[String]) -> String {
    if names.is_empty() { ".".to_owned() } else { names.join("/") }
}

/// What it is, who needs it, and what removes it.
type Told = (String, Vec<String>, String);

struct All<'a> {
    images: &'a [Image],
    containers: &'a [ContainerRecord],
    snapshots: &'a [SnapshotRecord],
    mounts: &'a Mounts,
}

impl All<'_> {
    fn layer(&self, store: &Store, id: &Digest) -> Result<Told, Error> {
        let number = |image: &Image| image.record.layers.iter().position(|layer| layer.chain_id == *id);
        let has: Vec<(&Image, usize)> =
            self.images.iter().filter_map(|image| Some((image, number(image)?))).collect();
        let Some((first, nr)) = has.first() else {
            let goes = "`ovlctl prune`".to_owned();
            return Ok(("a layer of no image".to_owned(), Vec::new(), goes));
        };
        let mut what = format!("layer {} of {} of {}", nr + 1, first.record.layers.len(), called(first));
        let steps = store.history(&first.record)?;
        let step = steps.into_iter().find(|step| step.layer.as_ref().is_some_and(|(at, _)| *at == nr + 1));
        if let Some(instruction) = step.and_then(|step| step.created_by) {
            what = format!("{what}: {instruction}");
        }
        let images: Vec<&Image> = has.into_iter().map(|(image, _)| image).collect();
        Ok((what, self.users(&images), self.removal(&images)))
    }

    fn image(&self, id: &Digest) -> Told {
        let images: Vec<&Image> = self.images.iter().filter(|image| image.record.id == *id).collect();
        let names: Vec<String> = images.iter().map(|image| called(image)).collect();
        let what = format!("record and config of {}", names.join(", "));
        (what, self.users(&images), self.removal(&images))
    }

    fn container(&self, name: &str) -> Told {
        let container = self.containers.iter().find(|container| container.name == name);
        let image = container.and_then(|container| container.image_name.clone());
        let what = format!("container '{name}' over {}", image.unwrap_or_else(|| "an image".to_owned()));
        let targets = container.map(|container| self.targets(&container.id)).unwrap_or_default();
        let why = targets.iter().map(|target| format!("mounted on {target}")).collect();
        let goes = removed_by(&targets, &[name.to_owned()]);
        (what, why, goes)
    }

    fn snapshot(&self, id: &str) -> Told {
        let name = called_snapshots(self.snapshots, self.containers).remove(id);
        let snapshot = self.snapshots.iter().find(|snapshot| snapshot.id == id);
        let what = name.as_ref().map_or_else(|| "a snapshot".to_owned(), |name| format!("snapshot '{name}'"));
        let stands = |container: &&ContainerRecord| {
            chain(self.snapshots, container.base.as_deref()).iter().any(|below| below.id == id)
        };
        let mut why: Vec<String> = self
            .containers
            .iter()
            .filter(stands)
            .map(|container| format!("container '{}' stands on it", container.name))
            .collect();
        let targets = snapshot.map(|snapshot| self.targets(&snapshot.shown_as())).unwrap_or_default();
        let goes = match name {
            Some(name) if why.is_empty() => removed_by(&targets, &[name]),
            Some(_) | None if !why.is_empty() => "with the last container that stands on it".to_owned(),
            Some(_) | None => "`ovlctl prune`".to_owned(),
        };
        why.extend(targets.iter().map(|target| format!("mounted on {target}")));
        (what, why, goes)
    }

    fn over<'a>(&'a self, images: &'a [&Image]) -> impl Iterator<Item = &'a ContainerRecord> {
        let on = |container: &&ContainerRecord| images.iter().any(|image| image.record.id == container.image);
        self.containers.iter().filter(on)
    }

    /// Who needs any of these images, or something in them.
    fn users(&self, images: &[&Image]) -> Vec<String> {
        let mut users: Vec<String> = images.iter().map(|image| format!("image {}", called(image))).collect();
        for container in self.over(images) {
            let targets = self.targets(&container.id);
            let at = if targets.is_empty() {
                String::new()
            } else {
                format!(", mounted on {}", targets.join(", "))
            };
            users.push(format!("container '{}'{at}", container.name));
        }
        let mounted = images.iter().flat_map(|image| self.targets(&image.record.id.hex()));
        users.extend(mounted.map(|target| format!("a read-only mount on {target}")));
        users
    }

    /// What removes all of these images.
    fn removal(&self, images: &[&Image]) -> String {
        let mut targets: Vec<String> =
            self.over(images).flat_map(|container| self.targets(&container.id)).collect();
        targets.extend(images.iter().flat_map(|image| self.targets(&image.record.id.hex())));
        let mut names: Vec<String> = self.over(images).map(|container| container.name.clone()).collect();
        if names.is_empty() && targets.is_empty() && images.iter().all(|image| image.names.is_empty()) {
            return "`ovlctl prune`".to_owned();
        }
        for image in images {
            match &image.names[..] {
                [] => names.push(image.record.id.short()),
                all => names.extend(all.iter().cloned()),
            }
        }
        removed_by(&targets, &names)
    }

    fn targets(&self, id: &str) -> Vec<String> {
        self.mounts.get(id).cloned().unwrap_or_default()
    }
}

fn called(image: &Image) -> String {
    image.names.first().cloned().unwrap_or_else(|| image.record.id.short())
}

fn removed_by(targets: &[String], names: &[String]) -> String {
    let rm = format!("`ovlctl rm {}`", names.join(" "));
    if targets.is_empty() { rm } else { format!("`ovlctl umount {}`, then {rm}", targets.join(" ")) }
}
