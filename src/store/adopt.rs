//! Containers whose records a power cut took: their directories are there, and what was synced in them.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;

use super::containers::{inscribe, is_name};
use super::error::{Error, file, filter, is_dir};
use super::layers::{names_in, read_record};
use super::layout::{CONTAINER, DIFF, LOWER, MERGED, WORK};
use super::record::{self, ContainerRecord, ImageLayer, ImageRecord, Unreadable, Upper};
use super::recover::Loss;
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

    /// Returns the directories in `overlay2` that are containers, and not layers.
    pub(super) fn container_ids(&self) -> Result<BTreeSet<String>, Error> {
        let known = self.readable_containers()?.into_iter().map(|container| container.id);
        let there = filter(known, |id| is_dir(self.layout().overlay(id)))?;
        let mut ids: BTreeSet<String> = there.into_iter().collect();
        for id in names_in(&self.layout().overlay2())?.into_iter().filter(|id| id.len() == HEX_LEN) {
            let dir = self.layout().overlay(&id);
            if is_dir(dir.join(MERGED))? || inscribed(&Dir::open(&dir)?)?.is_some() {
                ids.insert(id);
            }
        }
        Ok(ids)
    }
}

impl Change<'_> {
    /// Gives each container's directory a record and what belongs beside its `diff`. The change must be exclusive, and nothing
    /// mounted but what `mounted` names.
    pub(super) fn adopt_containers(
        &self,
        mounted: &BTreeSet<String>,
        tell: &mut dyn FnMut(Loss),
    ) -> Result<(), Error> {
        let (known, torn) = self.store.read_containers()?;
        for name in torn {
            self.stage.discard(&self.layout().containers().join(name))?;
        }
        let mut names: BTreeSet<String> = known.iter().map(|container| container.name.clone()).collect();
        for id in self.store.container_ids()?.iter().filter(|id| !mounted.contains(*id)) {
            let found = known.iter().find(|container| container.id == *id);
            let container = found.map_or_else(|| self.adopted(id, &names), |found| Ok(found.clone()))?;
            self.refit(id)?;
            // It was mounted, and the record that says so was lost.
            let finished = container.unfinished && self.has_changes(&container)?;
            let container = ContainerRecord { unfinished: container.unfinished && !finished, ..container };
            if found.is_none() || finished {
                inscribe(&Dir::open(&self.layout().overlay(id))?, &record::write(&container))?;
                self.record_container(&container)?;
            }
            if found.is_none() {
                names.insert(container.name.clone());
                let nothing_tells = container.image == Digest::NONE;
                let changes = nothing_tells.then(|| self.layout().overlay(id).join(DIFF));
                tell(Loss::Record { container: container.name, changes });
            }
        }
        Ok(())
    }

    /// Containers over an image that was lost stand on its layers again, now that they are there: under new short names.
    pub(super) fn stand_again(&self, image: &ImageRecord) -> Result<(), Error> {
        let over = self.store.containers()?.into_iter().filter(|container| container.image == image.id);
        for container in over {
            let Some((container, _own)) = self.try_hold_container(&container.name)? else { continue };
            let image = image.clone().up_to(container.at_layer);
            let top = image.layers.last();
            let below = top.map_or_else(|| Ok(Vec::new()), |top| self.store.stack(&top.chain_id))?;
            self.furnish_again(&container.id, &below)?;
        }
        Ok(())
    }

    /// Returns the record of a container that has none, as far as its directory tells; nobody has its name.
    fn adopted(&self, id: &str, names: &BTreeSet<String>) -> Result<ContainerRecord, Error> {
        let told = inscribed(&Dir::open(&self.layout().overlay(id))?)?;
        let mut container = told.filter(|told| told.id == id).map_or_else(|| self.guessed(id), Ok)?;
        if !is_name(&container.name) || names.contains(&container.name) {
            container.name = format!("recovered-{}", &id[..12]);
        }
        Ok(container)
    }

    /// A container of which its `lower` alone tells what it stands on.
    fn guessed(&self, id: &str) -> Result<ContainerRecord, Error> {
        let lower = self.lower_of(id)?;
        let stands_on = |top: &ImageLayer| match self.store.stack(&top.chain_id) {
            Ok(stack) => Ok(stack.join(":") == lower),
            Err(e) if e.kind().is_none_or(|kind| kind == ErrorKind::NotFound) => Ok(false), // it is damaged
            Err(e) => Err(e),
        };
        let fits = |image: &ImageRecord| image.layers.last().map_or(Ok(lower.is_empty()), stands_on);
        let image = filter(self.store.images()?, |image| fits(&image.record))?.into_iter().next();
        Ok(ContainerRecord {
            name: String::new(),
            id: id.to_owned(),
            image: image.as_ref().map_or(Digest::NONE, |image| image.record.id),
            at_layer: None,
            image_name: image.and_then(|image| image.names.into_iter().next()),
            created: now(),
            upper: Upper::Store,
            options: Vec::new(),
            target: None,
            remove: false,
            unfinished: false,
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

    fn has_changes(&self, container: &ContainerRecord) -> Result<bool, Error> {
        let Some((upper, _)) = self.store.upper_and_work(container) else { return Ok(false) };
        Ok(!names_in(&upper)?.is_empty())
    }

    /// Makes what is missing beside a container's `diff`, but for `lower`: that depends on an image, which may be missing.
    fn refit(&self, id: &str) -> Result<(), Error> {
        let dir = self.layout().overlay(id);
        for name in [DIFF, WORK, MERGED] {
            if !is_dir(dir.join(name))? {
                private_dir(&dir.join(name))?;
            }
        }
        self.name_again(id)
    }
}

/// Returns what a container's directory says of it; `None` where it says nothing that can be read.
fn inscribed(dir: &Dir) -> Result<Option<ContainerRecord>, Error> {
    let record = dir.xattr_self(CONTAINER)?;
    Ok(record.and_then(|record| record::read(&record).ok()))
}
