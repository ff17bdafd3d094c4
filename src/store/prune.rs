//! Giving space back: what goes with an image, and what nothing needs any more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::error::{Error, file, is_there};
use super::filter::Filters;
use super::images::Image;
use super::layers::{gone, names_in};
use super::record::{self, ContainerRecord, ImageRecord, LayerRecord, SnapshotRecord};
use super::{Change, STORE_LOCK, Store, snapshots};
use crate::archive::name;
use crate::digest::Digest;
use crate::sys::{path, trace};

/// What nothing needs any more.
#[derive(Debug, Default)]
pub struct Garbage {
    /// Images without a name, or with, if these were not to keep them, which no container stands on and no mount shows.
    pub images: Vec<Image>,
    /// Layers of no image.
    pub layers: Vec<LayerRecord>,
    /// Snapshots that no container has or stands on any more.
    pub snapshots: Vec<SnapshotRecord>,
}

impl Garbage {
    /// Returns how many bytes of files go with it.
    #[must_use]
    pub fn size(&self) -> u64 {
        record::total(self.layers.iter().map(|layer| layer.size))
    }
}

/// What pruning may take, besides what nothing knows of any more.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Whether an image's names do not keep it.
    pub all: bool,
    /// Which images, containers and layers it may take.
    pub filters: Filters,
    /// The ids of containers that go before.
    pub without: BTreeSet<String>,
}

/// What [`Change::remove_image`] did.
#[derive(Debug)]
pub enum Removed {
    /// The image has other names, and keeps them.
    Untagged(String),
    /// The image is in use, and has no name any more.
    Nameless {
        /// The names it had.
        names: Vec<String>,
        /// Who needs it, each in words.
        by: Vec<String>,
    },
    /// The image is gone, and its layers that no other image has.
    Deleted {
        /// The names it had.
        names: Vec<String>,
        /// The image.
        id: Digest,
        /// The layers that went with it.
        layers: Vec<LayerRecord>,
    },
}

impl Store {
    /// Finds what nothing needs. `mounted` are the ids of images and containers that mounts show.
    pub fn garbage(&self, mounted: &BTreeSet<String>, wanted: &Wanted) -> Result<Garbage, Error> {
        self.garbage_of(&self.images()?, &self.containers()?, mounted, wanted)
    }

    /// The same of all images and containers, which were read before.
    pub(super) fn garbage_of(
        &self,
        images: &[Image],
        containers: &[ContainerRecord],
        mounted: &BTreeSet<String>,
        wanted: &Wanted,
    ) -> Result<Garbage, Error> {
        let stay = containers.iter().filter(|container| !wanted.without.contains(&container.id));
        let used: BTreeSet<Digest> = stay.map(|container| container.image).collect();
        let (mut needless, mut kept) = (Vec::new(), Vec::new());
        for image in images {
            let free = (image.names.is_empty() || wanted.all)
                && !used.contains(&image.record.id)
                && !mounted.contains(&image.record.id.hex());
            let goes =
                free && self.is_taken(&image.record, image.record.created.as_deref(), &wanted.filters)?;
            if goes { &mut needless } else { &mut kept }.push(image);
        }
        let mut layers = self.layers_but_of(kept)?;
        let its: HashSet<Digest> =
            needless.iter().flat_map(|image| &image.record.layers).map(|layer| layer.chain_id).collect();
        let filters = &wanted.filters;
        // Uppermost first: what stays keeps what it stands on.
        let mut needed = HashSet::new();
        layers.retain(|layer| {
            // One of no image has no label, and is as old as its loading.
            let is_taken = its.contains(&layer.chain_id)
                || (!filters.ask_for_labels() && filters.take_made(Some(&layer.loaded)));
            let goes = is_taken && !needed.contains(&layer.chain_id);
            needed.extend(layer.parent.filter(|_| !goes));
            goes
        });
        let snapshots = snapshots::needless(&self.snapshots()?, containers, mounted);
        Ok(Garbage { images: needless.into_iter().cloned().collect(), layers, snapshots })
    }

    /// Returns the containers that pruning may take: those that nothing has mounted.
    pub fn idle_containers(
        &self,
        mounted: &BTreeSet<String>,
        filters: &Filters,
    ) -> Result<Vec<ContainerRecord>, Error> {
        let mut idle = Vec::new();
        for container in self.containers()? {
            // Its labels are its image's, as Docker gives them to it.
            let image = self.image_record(&container.image)?;
            let taken = match image {
                Some(image) => self.is_taken(&image, Some(&container.created), filters)?,
                None => !filters.ask_for_labels() && filters.take_made(Some(&container.created)),
            };
            if taken && !mounted.contains(&container.id) {
                idle.push(container);
            }
        }
        Ok(idle)
    }

    fn is_taken(&self, image: &ImageRecord, made: Option<&str>, filters: &Filters) -> Result<bool, Error> {
        if !filters.take_made(made) {
            return Ok(false);
        }
        Ok(!filters.ask_for_labels() || filters.take_labels(&self.labels(&image.id)?))
    }

    fn labels(&self, image: &Digest) -> Result<BTreeMap<String, String>, Error> {
        let config: serde_json::Value =
            serde_json::from_slice(&self.image_config(image)?).unwrap_or_default();
        let labels = config.pointer("/config/Labels").and_then(serde_json::Value::as_object);
        let text =
            |(key, value): (&String, &serde_json::Value)| Some((key.clone(), value.as_str()?.to_owned()));
        Ok(labels.into_iter().flatten().filter_map(text).collect())
    }

    /// Returns who needs an image, in words.
    pub fn users(&self, image: &Digest, mounted: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        let containers = self.containers()?.into_iter().filter(|container| container.image == *image);
        let mut users: Vec<String> =
            containers.map(|container| format!("container '{}'", container.name)).collect();
        if mounted.contains(&image.hex()) {
            users.push("a read-only mount".to_owned());
        }
        Ok(users)
    }

    /// Returns the layers that none of `images` has, each before the one that it stands on: a command that is killed while
    /// it removes them must leave none that stands on nothing.
    fn layers_but_of<'a>(
        &self,
        images: impl IntoIterator<Item = &'a Image>,
    ) -> Result<Vec<LayerRecord>, Error> {
        let needed: HashSet<Digest> =
            images.into_iter().flat_map(|image| &image.record.layers).map(|layer| layer.chain_id).collect();
        let mut others = BTreeMap::new();
        for chain_id in self.chain_ids()?.iter().filter(|chain_id| !needed.contains(chain_id)) {
            others.extend(self.layer(chain_id)?.map(|layer| (*chain_id, layer)));
        }
        let height = |layer: &LayerRecord| stack(&others, layer).count();
        let mut uppermost_first: Vec<LayerRecord> = others.values().cloned().collect();
        uppermost_first.sort_by_cached_key(|layer| Reverse(height(layer)));
        Ok(uppermost_first)
    }
}

/// Returns how many repositories have a name of an image's: Docker takes an id for all tags of one.
fn repositories(names: &[String]) -> usize {
    let repository = |name: &String| name.rsplit_once(':').map_or(name.clone(), |(name, _)| name.to_owned());
    names.iter().map(repository).collect::<BTreeSet<_>>().len()
}

/// Returns a layer and those that it stands on, as far as `layers` has them.
fn stack<'a>(
    layers: &'a BTreeMap<Digest, LayerRecord>,
    top: &'a LayerRecord,
) -> impl Iterator<Item = &'a LayerRecord> {
    std::iter::successors(Some(top), |layer| layers.get(&layer.parent?))
}

impl Change<'_> {
    /// Removes the name `text`, and with its last name the image itself and what only it needs.
    ///
    /// The change must be exclusive. An image that is in use stays, with all its names; and so does one that is meant by its id
    /// and has several. Where it is forced, these go, and an image that is in use stays without a name.
    pub fn remove_image(
        &self,
        text: &str,
        mounted: &BTreeSet<String>,
        force: bool,
    ) -> Result<Removed, Error> {
        let Image { record, names } = self.store.image(text)?;
        let asked = name::normal(text).ok().filter(|name| names.contains(name));
        if let Some(name) = asked.clone().filter(|_| names.len() > 1) {
            self.edit_names(|all| {
                all.remove(&name);
            })?;
            return Ok(Removed::Untagged(name));
        }
        if asked.is_none() && repositories(&names) > 1 && !force {
            return Err(Error::SeveralNames(names));
        }
        let by = self.store.users(&record.id, mounted)?;
        if !by.is_empty() {
            if !force {
                return Err(Error::InUse { by });
            }
            self.edit_names(|all| all.retain(|_, id| *id != record.id))?;
            return Ok(Removed::Nameless { names, by });
        }
        self.edit_names(|all| all.retain(|_, id| *id != record.id))?;
        self.discard_image(&record.id)?;
        // With the image's own layers go those that a killed command left on top of them.
        let others = self.store.layers_but_of(&self.store.images()?)?;
        let by_id = others.iter().map(|layer| (layer.chain_id, layer.clone())).collect();
        let its: BTreeSet<Digest> = record.layers.iter().map(|layer| layer.chain_id).collect();
        let goes = |layer: &LayerRecord| stack(&by_id, layer).any(|below| its.contains(&below.chain_id));
        let layers: Vec<LayerRecord> = others.iter().filter(|layer| goes(layer)).cloned().collect();
        for layer in &layers {
            self.remove_layer(&layer.chain_id)?;
        }
        Ok(Removed::Deleted { names, id: record.id, layers })
    }

    /// Removes what nothing needs, and records of what was never finished. The change must be exclusive.
    pub fn remove_garbage(&self, garbage: &Garbage) -> Result<(), Error> {
        self.remove_snapshots(&garbage.snapshots)?;
        let gone: BTreeSet<Digest> = garbage.images.iter().map(|image| image.record.id).collect();
        self.edit_names(|all| all.retain(|_, id| !gone.contains(id)))?;
        for id in &gone {
            self.discard_image(id)?;
        }
        for layer in &garbage.layers {
            self.remove_layer(&layer.chain_id)?;
        }
        self.remove_unfinished()
    }

    fn discard_image(&self, id: &Digest) -> Result<(), Error> {
        self.stage.discard(&self.layout().image(id))?;
        trace::done(|| format!("image {}: removed", id.short()));
        Ok(())
    }

    /// A record is written, and a short name made, before its directory is put in place: a command killed in between leaves
    /// both. Its locks stay too; nobody else can hold one now.
    pub(super) fn remove_unfinished(&self) -> Result<(), Error> {
        for name in names_in(&self.layout().locks())?.iter().filter(|name| *name != STORE_LOCK) {
            gone(&self.layout().locks().join(name))?;
        }
        for name in names_in(&self.layout().links())? {
            let link = self.layout().links().join(&name);
            if !is_there(&link)? {
                gone(&link)?;
            }
        }
        for name in names_in(&self.layout().layers())? {
            let id = name.strip_suffix(".json").unwrap_or(&name);
            if !is_there(self.layout().overlay(id))? {
                gone(&self.layout().layers().join(&name))?;
            }
        }
        for name in names_in(&self.layout().recipes())? {
            let id = name.split('.').next().unwrap_or_default();
            if !is_there(self.layout().overlay(id))? {
                self.stage.discard(&self.layout().recipes().join(&name))?;
            }
        }
        let there: BTreeSet<String> =
            self.store.containers()?.into_iter().map(|c| c.name + ".json").collect();
        for name in names_in(&self.layout().containers())? {
            if !there.contains(&name) {
                let path = self.layout().containers().join(&name);
                path::unlink(&path).map_err(file(path))?;
            }
        }
        self.remove_unfinished_snapshots()
    }
}
