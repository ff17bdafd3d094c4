//! Putting right what a check found.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::{Finding, Remedy, leads_to};
use crate::archive::{self, Archive};
use crate::digest::Digest;
use crate::layer::Options;
use crate::store::error::{Error, is_there};
use crate::store::layers::{gone, is_link, names_in, new_link};
use crate::store::layout::{COMMITTED, DIFF, LINK, LOWER, WORK};
use crate::store::load::chain_ids;
use crate::store::record::{self, LayerRecord};
use crate::store::staged::Staged;
use crate::store::{Change, private_dir};
use crate::sys::dir::Dir;

impl Change<'_> {
    /// Puts right what records alone can tell, and returns whether that was so. No layer's files and no container's changes
    /// are touched. The change must be exclusive.
    pub fn repair(&self, finding: &Finding) -> Result<bool, Error> {
        match &finding.remedy {
            Some(Remedy::Furnish { id, below }) => self.furnish_again(id, below).map(|()| true),
            // It may have been made to lead somewhere since: another finding was about whose it is.
            Some(Remedy::Unlink(path)) => if is_there(path)? { Ok(()) } else { gone(path) }.map(|()| true),
            Some(Remedy::Recall(id)) => self.recall_snapshot(id),
            Some(Remedy::Unpack(_)) | None => Ok(false),
        }
    }

    pub(in crate::store) fn furnish_again(&self, id: &str, below: &[String]) -> Result<(), Error> {
        let dir = self.layout().overlay(id);
        if below.is_empty() {
            gone(&dir.join(LOWER))?;
        } else {
            self.stage.write(&dir.join(LOWER), below.join(":").as_bytes())?;
        }
        // Nothing is written to a snapshot any more.
        if !below.is_empty() && !is_there(self.layout().snapshot(id))? {
            match private_dir(&dir.join(WORK)) {
                Err(Error::File { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        self.name_again(id)
    }

    /// Makes the short name of a layer or a container lead to it.
    pub(in crate::store) fn name_again(&self, id: &str) -> Result<(), Error> {
        let link = self.layout().overlay(id).join(LINK);
        let named = fs::read_to_string(link).ok().filter(|link| is_link(link));
        let link = named.map_or_else(|| self.link_again(id), Ok)?;
        let path = self.layout().links().join(&link);
        if !leads_to(&path, id) {
            self.stage.discard(&path)?;
        }
        self.name_link(&link, id)
    }

    /// Gives a layer or container whose short name is lost the one that leads to it; a new one would not be the one that
    /// others have in their `lower`.
    fn link_again(&self, id: &str) -> Result<String, Error> {
        let links = self.layout().links();
        let leads_here = |name: &String| is_link(name) && leads_to(&links.join(name), id);
        let name = names_in(&links)?.into_iter().find(leads_here).map_or_else(new_link, Ok)?;
        let path = self.layout().overlay(id).join(LINK);
        self.stage.write(&path, name.as_bytes())?;
        Ok(name)
    }

    /// Refuses where one of `layers` is part of what `mounted`, the ids of images and containers, show.
    pub fn refuse_shown(&self, layers: &BTreeSet<Digest>, mounted: &BTreeSet<String>) -> Result<(), Error> {
        let mut by = Vec::new();
        let containers = self.store.containers()?;
        for image in self.store.images()? {
            if !image.record.layers.iter().any(|layer| layers.contains(&layer.chain_id)) {
                continue;
            }
            let its = containers.iter().filter(|container| container.image == image.record.id);
            let shown = its.filter(|container| mounted.contains(&container.id));
            by.extend(shown.map(|container| format!("mounted container '{}'", container.name)));
            if mounted.contains(&image.record.id.hex()) {
                by.push("a read-only mount".to_owned());
            }
        }
        if by.is_empty() { Ok(()) } else { Err(Error::InUse { by }) }
    }

    /// Unpacks those layers of an image again that are `damaged`, and returns them. Each comes in the place of its damaged
    /// one at once; nothing may be mounted that shows them. The change must be exclusive.
    pub fn unpack_again(
        &self,
        archive: &Archive,
        image: &archive::Image,
        damaged: &BTreeSet<Digest>,
        options: &Options,
    ) -> Result<Vec<LayerRecord>, Error> {
        let chain = chain_ids(image);
        let mut staged = Vec::new();
        for (at, (blob, chain_id)) in image.layers.iter().zip(&chain).enumerate() {
            if damaged.contains(chain_id) {
                staged.push(Staged::of_blob(at, blob, *chain_id));
            }
        }
        let settled = self.fill(archive, &chain, &mut staged, options)?;
        let mut records = Vec::new();
        for (layer, settled) in staged.iter().zip(&settled) {
            let record = layer.record(&chain, &settled.summary);
            match &settled.link {
                Some(link) => self.keep_layer(&settled.path, link, &record)?,
                None => self.replace(&settled.path, &record)?,
            }
            records.push(record);
        }
        Ok(records)
    }

    fn replace(&self, staged: &Path, layer: &LayerRecord) -> Result<(), Error> {
        let place = self.layout().overlay(&layer.chain_id.hex());
        // Before: what a power cut leaves of the new one is not to pass for what the disk had.
        gone(&place.join(COMMITTED))?;
        let (new, old) = (Dir::open(staged)?, Dir::open(&place)?);
        if old.stat(DIFF.as_bytes())?.is_some() {
            new.exchange(DIFF.as_bytes(), &old, DIFF.as_bytes())?;
        } else {
            new.rename(DIFF.as_bytes(), &old, DIFF.as_bytes())?;
        }
        self.keep_recipe(staged, &layer.chain_id)?;
        self.stage.write(&self.layout().layer(&layer.chain_id), &record::write(layer))
    }
}
