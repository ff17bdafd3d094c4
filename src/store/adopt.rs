//! Containers and snapshots whose records a power cut took: their directories are there, and what was synced in them.

mod claims;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;

use claims::{Claim, Fate, decide};

use super::containers::is_name;
use super::error::{Error, file, filter, is_dir};
use super::images::Image;
use super::layers::{gone, names_in, read_record, read_sound};
use super::layout::{CONTAINER, DIFF, LOWER, MERGED, SNAPSHOT, WORK};
use super::record::{self, ContainerRecord, ImageLayer, ImageRecord, SnapshotRecord, Unreadable, Upper};
use super::recover::Loss;
use super::snapshots::chain;
use super::{Change, Store, now, private_dir};
use crate::digest::{Digest, HEX_LEN};
use crate::sys::dir::Dir;

impl Store {
    /// Returns the records of containers that can be read.
    pub(super) fn readable_containers(&self) -> Result<Vec<ContainerRecord>, Error> {
        Ok(self.read_containers()?.0)
    }

    /// Returns the records of containers, and the names of those files that a power cut has torn.
    fn read_containers(&self) -> Result<(Vec<ContainerRecord>, Vec<String>), Error> {
        let (mut containers, mut torn) = (Vec::new(), Vec::new());
        for name in names_in(&self.layout().containers())?.into_iter().filter(|name| name.ends_with(".json"))
        {
            match read_record::<ContainerRecord>(&self.layout().containers().join(&name)) {
                Ok(container) => containers.extend(container),
                Err(Error::Record { source: Unreadable::Damaged(_), .. }) => torn.push(name),
                Err(other) => return Err(other),
            }
        }
        Ok((containers, torn))
    }

    /// Returns the directories in `overlay2` that are containers or snapshots, and not layers.
    pub(super) fn container_ids(&self) -> Result<BTreeSet<String>, Error> {
        Ok(self.claims(&self.readable_containers()?)?.into_iter().map(|claim| claim.dir).collect())
    }

    /// Returns what is known of each directory in `overlay2` that is no layer. `known` are the records that can be read.
    fn claims(&self, known: &[ContainerRecord]) -> Result<Vec<Claim>, Error> {
        let mut claims = Vec::new();
        for dir in names_in(&self.layout().overlay2())?.into_iter().filter(|name| name.len() == HEX_LEN) {
            let place = self.layout().overlay(&dir);
            let open = Dir::open(&place)?;
            let record = known.iter().find(|container| container.dir() == dir);
            let told = inscribed::<ContainerRecord>(&open, CONTAINER)?.filter(|told| told.dir() == dir);
            let noted = read_sound::<SnapshotRecord>(&self.layout().snapshot(&dir))?;
            let snapshot = noted.map_or_else(|| inscribed(&open, SNAPSHOT), |noted| Ok(Some(noted)))?;
            let claim = Claim {
                recorded: record.is_some(),
                container: record.cloned().or(told),
                snapshot: snapshot.filter(|snapshot| snapshot.id == dir),
                changed: !names_in(&place.join(DIFF))?.is_empty(),
                dir,
            };
            if claim.container.is_some() || claim.snapshot.is_some() || is_dir(place.join(MERGED))? {
                claims.push(claim);
            }
        }
        Ok(claims)
    }
}

impl Change<'_> {
    /// Gives each container and each snapshot a record and what belongs beside its `diff`. The change must be exclusive, and
    /// nothing mounted but what `mounted` names.
    pub(super) fn adopt(&self, mounted: &BTreeSet<String>, tell: &mut dyn FnMut(Loss)) -> Result<(), Error> {
        let (known, torn) = self.store.read_containers()?;
        for name in torn {
            self.stage.discard(&self.layout().containers().join(name))?;
        }
        let mut names: BTreeSet<String> = known.iter().map(|container| container.name.clone()).collect();
        let claims = self.store.claims(&known)?;
        let is_shown = |claim: &&Claim| claim.container.as_ref().is_some_and(|of| mounted.contains(&of.id));
        let (mut containers, mut needless) = (Vec::new(), Vec::new());
        // Snapshots first: they tell what a container stands on of which nothing else does.
        for (claim, fate) in decide(&claims).into_iter().filter(|(claim, _)| !is_shown(claim)) {
            match fate {
                Fate::Snapshot(snapshot) => self.adopt_snapshot(&snapshot)?,
                Fate::Needless => needless.push(&claim.dir),
                Fate::Own(_) | Fate::Another(_) | Fate::Unknown => containers.push((claim, fate)),
            }
        }
        for (claim, fate) in containers {
            let container = match fate {
                Fate::Own(container) => container,
                Fate::Another(of) => {
                    let id = claim.dir.clone();
                    ContainerRecord { name: String::new(), id, generation: 0, ..of }
                }
                Fate::Unknown | Fate::Snapshot(_) | Fate::Needless => self.guessed(&claim.dir)?,
            };
            self.adopt_container(claim, container, &mut names, tell)?;
        }
        // Last: whose they are has another by now.
        needless.into_iter().try_for_each(|dir| self.remove_overlay(dir))
    }

    fn adopt_container(
        &self,
        claim: &Claim,
        mut container: ContainerRecord,
        names: &mut BTreeSet<String>,
        tell: &mut dyn FnMut(Loss),
    ) -> Result<(), Error> {
        self.refit(&claim.dir, &[DIFF, WORK, MERGED])?;
        // It was mounted, and the record that says so was lost.
        let finished = container.unfinished && claim.changed;
        container.unfinished &= !finished;
        if claim.recorded {
            return if finished { self.record_container(&container) } else { Ok(()) };
        }
        // The record may be there still, of an earlier generation.
        let is_known = self.store.readable_containers()?.iter().any(|known| known.id == container.id);
        if !is_known && (!is_name(&container.name) || names.contains(&container.name)) {
            container.name = format!("recovered-{}", &claim.dir[..12]);
        }
        self.record_container(&container)?;
        names.insert(container.name.clone());
        let nothing_tells = container.image == Digest::NONE;
        let changes = nothing_tells.then(|| self.layout().overlay(&claim.dir).join(DIFF));
        tell(Loss::Record { container: container.name, changes });
        Ok(())
    }

    fn adopt_snapshot(&self, snapshot: &SnapshotRecord) -> Result<(), Error> {
        self.refit(&snapshot.id, &[DIFF])?;
        let dir = Dir::open(&self.layout().overlay(&snapshot.id))?;
        if dir.xattr_self(CONTAINER)?.is_some() {
            dir.remove_xattr_self(CONTAINER)?;
        }
        for name in [WORK, MERGED] {
            self.stage.discard(&self.layout().overlay(&snapshot.id).join(name))?;
        }
        let noted = read_sound::<SnapshotRecord>(&self.layout().snapshot(&snapshot.id))?;
        if noted.as_ref() == Some(snapshot) && inscribed(&dir, SNAPSHOT)?.as_ref() == Some(snapshot) {
            return Ok(());
        }
        gone(&self.layout().snapshot(&snapshot.id))?;
        self.record_snapshot(snapshot)
    }

    /// Writes the record of a snapshot anew from what its directory says, and returns whether that says anything.
    pub(super) fn recall_snapshot(&self, id: &str) -> Result<bool, Error> {
        let dir = self.layout().overlay(id);
        if !is_dir(&dir)? {
            return Ok(false);
        }
        let told = inscribed::<SnapshotRecord>(&Dir::open(&dir)?, SNAPSHOT)?.filter(|told| told.id == id);
        told.map_or(Ok(false), |snapshot| self.record_snapshot(&snapshot).map(|()| true))
    }

    /// Containers and snapshots over an image that was lost stand on its layers again, now that they are there: under new short
    /// names.
    pub(super) fn stand_again(&self, image: &ImageRecord) -> Result<(), Error> {
        let all = self.store.snapshots()?;
        let mut snapshots: Vec<&SnapshotRecord> =
            all.iter().filter(|snapshot| snapshot.image == image.id).collect();
        // Each after the one that it stands on, whose `lower` it takes.
        snapshots.sort_by_cached_key(|snapshot| chain(&all, Some(&snapshot.id)).len());
        for snapshot in snapshots {
            let image = image.clone().up_to(snapshot.at_layer);
            self.furnish_again(&snapshot.id, &self.store.below(snapshot.parent.as_deref(), &image)?)?;
        }
        let over = self.store.containers()?.into_iter().filter(|container| container.image == image.id);
        for container in over {
            let Some((container, _own)) = self.try_hold_container(&container.name)? else { continue };
            let image = image.clone().up_to(container.at_layer);
            let below = self.store.below(container.base.as_deref(), &image)?;
            self.furnish_again(&container.dir(), &below)?;
        }
        Ok(())
    }

    /// A container of which its `lower` alone tells what it stands on.
    fn guessed(&self, id: &str) -> Result<ContainerRecord, Error> {
        let lower = self.lower_of(id)?;
        let stands_on = |top: &ImageLayer| match self.store.stack(&top.chain_id) {
            Ok(stack) => Ok(stack.join(":") == lower),
            Err(e) if e.kind().is_none_or(|kind| kind == ErrorKind::NotFound) => Ok(false), // it is damaged
            Err(e) => Err(e),
        };
        let mut snapshots = self.store.snapshot_records()?.into_iter();
        let base = snapshots
            .find(|snapshot| self.store.stack_of(&snapshot.id).is_ok_and(|stack| stack.join(":") == lower));
        let fits = |image: &ImageRecord| image.layers.last().map_or(Ok(lower.is_empty()), stands_on);
        let fits = |image: &Image| match &base {
            Some(base) => Ok(image.record.id == base.image),
            None => fits(&image.record),
        };
        let image = filter(self.store.images()?, fits)?.into_iter().next();
        Ok(ContainerRecord {
            name: String::new(),
            id: id.to_owned(),
            image: image.as_ref().map_or(Digest::NONE, |image| image.record.id),
            at_layer: base.as_ref().and_then(|base| base.at_layer),
            image_name: image.and_then(|image| image.names.into_iter().next()),
            created: now(),
            upper: Upper::Store,
            options: base.as_ref().map_or_else(Vec::new, |base| base.options.clone()),
            target: None,
            remove: false,
            unfinished: false,
            generation: 0,
            base: base.map(|base| base.id),
        })
    }

    /// Returns the short names that a container's directory lists, as they are written there.
    fn lower_of(&self, id: &str) -> Result<String, Error> {
        let path = self.layout().overlay(id).join(LOWER);
        match fs::read(&path) {
            Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(e) => Err(file(path)(e)),
        }
    }

    /// Makes those of `names` that are missing in a directory, and its short name; `lower` depends on an image, which may be missing.
    fn refit(&self, id: &str, names: &[&str]) -> Result<(), Error> {
        let dir = self.layout().overlay(id);
        for name in names {
            if !is_dir(dir.join(name))? {
                private_dir(&dir.join(name))?;
            }
        }
        self.name_again(id)
    }
}

/// Returns what a directory says of what it is of; `None` where it says nothing that can be read.
fn inscribed<T: for<'a> serde::Deserialize<'a>>(dir: &Dir, attribute: &[u8]) -> Result<Option<T>, Error> {
    let record = dir.xattr_self(attribute)?;
    Ok(record.and_then(|record| record::read(&record).ok()))
}
