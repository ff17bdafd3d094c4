//! After a power cut: what is not known to have been on the disk goes, and containers stay.
//!
//! A filesystem with a journal brings back directories and names as they were at some moment, each with all that came before
//! it; but files may be empty that were written shortly before. So only what has a mark is believed (see [`sync`]), and what
//! lies around it is made anew from records. A power cut meanwhile does no harm: `boot` is written last, and so the next
//! command starts from the beginning.
//!
//! [`sync`]: super::sync

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::boot::{Boot, Format, State};
use super::check::Remedy;
use super::error::{Error, filter, is_dir, is_there};
use super::layers::{gone, names_in, read_sound};
use super::layout::IMAGE_RECORD;
use super::record::{self, ImageRecord, LayerRecord, Names};
use super::sync::{is_marked, mark};
use super::{Change, Store, make_folders};
use crate::digest::{Digest, HEX_LEN};
use crate::sys::dir::Dir;
use crate::sys::filesystem;
use crate::sys::lock::{Holder, Share};

/// What was lost, or found without what tells of it.
#[derive(Debug)]
pub enum Loss {
    /// An image was removed, as it was not on the disk, or one of its layers.
    Image {
        /// Its name, or its id where it has none.
        name: String,
        /// Why.
        why: Why,
    },
    /// A layer of no image was.
    Layer {
        /// Names it.
        chain_id: Digest,
        /// Why.
        why: Why,
    },
    /// A container stands on an image that is not there.
    Below {
        /// The container.
        container: String,
        /// The image.
        image: String,
    },
    /// A container had no record, and has one again.
    Record {
        /// The container.
        container: String,
        /// Where its changes are, if nothing tells of its image.
        changes: Option<PathBuf>,
    },
    /// Names of images.
    Names,
    /// The store knew no marks: nothing was lost.
    Unmarked,
}

/// Why nobody knows whether the disk has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The machine was started anew.
    Boot,
    /// The disk failed when it was synced.
    Disk,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boot => "was not yet on the disk when the machine went down",
            Self::Disk => "could not be brought to the disk",
        })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { name, why } => write!(f, "image {name} {why}, and is removed: load it again"),
            Self::Layer { chain_id, why } => write!(f, "layer {chain_id} {why}, and is removed"),
            Self::Below { container, image } => {
                write!(f, "container '{container}' keeps its changes, but its image is gone: load {image} again")
            }
            Self::Record { container, changes: None } => {
                write!(f, "container '{container}' is back: its record was lost when the machine went down")
            }
            Self::Record { container, changes: Some(changes) } => {
                let changes = changes.display();
                write!(
                    f,
                    "container '{container}' is back, but nothing tells of its image: its changes are in {changes}"
                )
            }
            Self::Names => f.write_str(
                "the images' latest names were lost when the machine went down: `ovlctl images` lists those that are left",
            ),
            Self::Unmarked => f.write_str("the store is synced: it was made before it was known what the disk has"),
        }
    }
}

impl Store {
    /// Whether the machine was started anew since the store was made or recovered, or its disk failed.
    #[must_use]
    pub fn needs_recovery(&self) -> bool {
        !matches!(self.state, State::Nothing | State::Sound)
    }

    /// Removes what the disk may lack, and puts right what is left. `mounted` are the ids of images and containers that mounts
    /// show: what is below them stays, whatever the disk has. `tell` is told of each loss before it is removed.
    pub fn recover(
        &self,
        mounted: &BTreeSet<String>,
        waiting: &mut dyn FnMut(&[Holder]),
        tell: &mut dyn FnMut(Loss),
    ) -> Result<(), Error> {
        if !self.needs_recovery() {
            return Ok(());
        }
        let change = self.change(Share::Exclusive, waiting)?;
        // Another command may have done it while this one waited.
        let store = Self::open(self.layout().root())?;
        if !store.needs_recovery() {
            return Ok(());
        }
        let done = Change { store: &store, ..change }.recover(mounted, tell);
        done.map_err(|e| self.explained(e))
    }
}

impl Change<'_> {
    fn recover(&self, mounted: &BTreeSet<String>, tell: &mut dyn FnMut(Loss)) -> Result<(), Error> {
        make_folders(self.layout())?;
        let (suspect, why) = match &self.store.state {
            State::Suspect(ids) => (ids.clone(), Why::Disk),
            State::WithoutMarks => (BTreeSet::new(), Why::Boot),
            State::Marked | State::Nothing | State::Sound => (self.unmarked_ids()?, Why::Boot),
        };
        let shown = self.shown(mounted)?;
        let (spared, suspect): (BTreeSet<String>, BTreeSet<String>) =
            suspect.into_iter().partition(|id| shown.contains(id));
        let lost = Lost::new(self, &suspect)?;
        self.discard_images(&lost, why, tell)?;
        self.discard_layers(&lost, why, tell)?;
        self.adopt(mounted, tell)?;
        self.remove_unfinished()?;
        for finding in self.store.check()?.findings {
            if let Some(Remedy::Furnish { .. } | Remedy::Unlink(_)) = finding.remedy {
                self.repair(&finding)?;
            }
        }
        for container in self.store.containers()? {
            if self.store.image_record(&container.image)?.is_none() && container.image != Digest::NONE {
                let image = container.image_name.unwrap_or_else(|| container.image.to_string());
                tell(Loss::Below { container: container.name, image });
            }
        }
        if self.store.state == State::WithoutMarks {
            tell(Loss::Unmarked);
        }
        self.mark_rest(spared)
    }

    /// Returns the images, and their layers, of which something is mounted.
    fn shown(&self, mounted: &BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
        let mut shown = BTreeSet::new();
        let over = self.store.readable_containers()?.into_iter();
        let over = over.filter(|container| mounted.contains(&container.id)).map(|over| over.image.hex());
        let snapshots = self.store.snapshot_records()?.into_iter();
        let over = over.chain(snapshots.filter(|s| mounted.contains(&s.shown_as())).map(|s| s.image.hex()));
        for id in over.chain(mounted.iter().cloned()) {
            let Ok(digest) = Digest::from_hex(&id) else { continue };
            let image = read_sound::<ImageRecord>(&self.layout().image(&digest).join(IMAGE_RECORD))?;
            let layers = image.iter().flat_map(|image| &image.layers);
            shown.extend(layers.map(|layer| layer.chain_id.hex()));
            shown.insert(id);
        }
        Ok(shown)
    }

    /// Returns the ids of the layers and images that have no mark.
    fn unmarked_ids(&self) -> Result<BTreeSet<String>, Error> {
        let containers = self.store.container_ids()?;
        let layers = names_in(&self.layout().overlay2())?.into_iter().filter(|id| id.len() == HEX_LEN);
        let layers = layers.filter(|id| !containers.contains(id)).map(|id| (self.layout().overlay(&id), id));
        let images = names_in(&self.layout().images())?.into_iter();
        let images = images.map(|id| (self.layout().images().join(&id), id));
        let unmarked = filter(layers.chain(images), |(place, _)| Ok(!is_marked(place)?))?;
        Ok(unmarked.into_iter().map(|(_, id)| id).collect())
    }

    /// Removes images, and names that mean none.
    fn discard_images(&self, lost: &Lost, why: Why, tell: &mut dyn FnMut(Loss)) -> Result<(), Error> {
        let known = read_sound::<Names>(&self.layout().names())?;
        if known.is_none() && (is_there(self.layout().names())? || is_there(self.layout().synced_names())?) {
            tell(Loss::Names);
        }
        let before = known.clone().map_or_else(|| self.store.names(), Ok)?;
        for id in &lost.images {
            let names = before.names.iter().filter(|(_, of)| of.hex() == *id);
            let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
            let name = if names.is_empty() { format!("sha256:{id}") } else { names.join(", ") };
            tell(Loss::Image { name, why });
            self.stage.discard(&self.layout().images().join(id))?;
        }
        let there = filter(before.names, |(_, id)| is_dir(self.layout().image(id)))?;
        let after = Names { names: there.into_iter().collect() };
        if Some(&after) == known.as_ref() || (known.is_none() && after.names.is_empty()) {
            return gone_if(&self.layout().names(), known.is_none());
        }
        self.stage.write(&self.layout().names(), &record::write(&after))
    }

    /// Removes layers, each before the one that it stands on.
    fn discard_layers(&self, lost: &Lost, why: Why, tell: &mut dyn FnMut(Loss)) -> Result<(), Error> {
        for id in &lost.layers {
            let Ok(chain_id) = Digest::from_hex(id) else {
                self.stage.discard(&self.layout().overlay(id))?;
                continue;
            };
            if !lost.of_images.contains(id) {
                tell(Loss::Layer { chain_id, why });
            }
            self.remove_layer(&chain_id)?;
        }
        Ok(())
    }

    /// Brings all to the disk, marks what has no mark yet, and notes that this is done in this boot.
    fn mark_rest(&self, spared: BTreeSet<String>) -> Result<(), Error> {
        let root = Dir::open(self.layout().root())?;
        filesystem::sync(&root)?;
        let (images, layers) = self.store.unsynced()?;
        let layers = layers.iter().filter(|id| !spared.contains(&id.hex()));
        layers.map(|id| self.layout().overlay(&id.hex())).try_for_each(|place| mark(&place))?;
        let images = images.iter().filter(|id| !spared.contains(&id.hex()));
        images.map(|id| self.layout().image(id)).try_for_each(|place| mark(&place))?;
        filesystem::sync(&root)?;
        self.stage.write_through(&self.layout().format(), &record::write(&Format { marks: true }))?;
        let boot = Boot { suspect: spared, ..Boot::now()? };
        self.stage.write_through(&self.layout().boot(), &record::write(&boot))
    }
}

/// What is to go, by its ids.
#[derive(Debug)]
struct Lost {
    images: Vec<String>,
    /// Uppermost first: who is interrupted must leave no layer that stands on nothing.
    layers: Vec<String>,
    /// Those of the layers that one of the images names.
    of_images: BTreeSet<String>,
}

impl Lost {
    /// With each layer goes what stands on it.
    fn new(change: &Change<'_>, suspect: &BTreeSet<String>) -> Result<Self, Error> {
        let layout = change.layout();
        let mut parents = BTreeMap::new();
        for name in names_in(&layout.layers())? {
            let record = read_sound::<LayerRecord>(&layout.layers().join(name))?;
            parents.extend(record.and_then(|layer| Some((layer.chain_id.hex(), layer.parent?.hex()))));
        }
        let stack = |id: &String| {
            let below = std::iter::successors(parents.get(id), |id| parents.get(*id));
            below.take(parents.len()).collect::<Vec<&String>>()
        };
        let there = names_in(&layout.overlay2())?;
        let goes = |id: &&String| suspect.contains(*id) || stack(id).iter().any(|id| suspect.contains(*id));
        let containers = change.store.container_ids()?;
        let layers = there.iter().filter(|id| id.len() == HEX_LEN && !containers.contains(*id));
        let mut layers: Vec<String> = layers.filter(goes).cloned().collect();
        layers.sort_by_cached_key(|id| std::cmp::Reverse(stack(id).len()));

        let (mut images, mut of_images) = (Vec::new(), BTreeSet::new());
        for id in names_in(&layout.images())? {
            let record = read_sound::<ImageRecord>(&layout.images().join(&id).join(IMAGE_RECORD))?;
            let its: Vec<String> =
                record.iter().flat_map(|image| &image.layers).map(|layer| layer.chain_id.hex()).collect();
            if suspect.contains(&id) || its.iter().any(|layer| layers.contains(layer)) {
                images.push(id);
                of_images.extend(its);
            }
        }
        Ok(Self { images, layers, of_images })
    }
}

/// Removes a file that cannot be read.
fn gone_if(path: &Path, unreadable: bool) -> Result<(), Error> {
    if unreadable { gone(path) } else { Ok(()) }
}
