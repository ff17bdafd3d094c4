//! What takes how much room: told by records alone, but for what containers have changed.

use std::collections::{BTreeSet, HashMap};

use super::containers::is_on_disk;
use super::error::Error;
use super::images::Image;
use super::layout::DIFF;
use super::record::{self, ContainerRecord, ImageLayer, LayerRecord};
use super::{Store, stage};
use crate::digest::Digest;
use crate::sys::dir::Dir;
use crate::sys::tree;

/// What everything in a store takes. Sizes are bytes of files' contents; each file counts once.
#[derive(Debug)]
pub struct Usage {
    /// The images, as [`Store::images`] orders them.
    pub images: Vec<ImageUsage>,
    /// The layers, in the order of their ids.
    pub layers: Vec<LayerUsage>,
    /// The containers, in the order of their names.
    pub containers: Vec<ContainerUsage>,
    /// All together.
    pub total: Total,
}

/// What an image takes.
#[derive(Debug)]
pub struct ImageUsage {
    /// The image.
    pub image: Image,
    /// Its layers that other images have too.
    pub shared: u64,
    /// Its layers that no other has: what goes with it.
    pub unique: u64,
    /// What pruning takes of it; layers that several such images have are counted for each.
    pub prunable: u64,
}

/// What a layer takes.
#[derive(Debug)]
pub struct LayerUsage {
    /// Names the layer.
    pub chain_id: Digest,
    /// The sha256 of its uncompressed tar.
    pub diff_id: Digest,
    /// Its files.
    pub size: u64,
    /// How many images have it.
    pub images: usize,
    /// Whether pruning takes it.
    pub prunable: bool,
}

/// What a container takes.
#[derive(Debug)]
pub struct ContainerUsage {
    /// The container.
    pub container: ContainerRecord,
    /// What it has changed, where that is in the store and was counted.
    pub size: Option<u64>,
}

/// What all takes together: each layer once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Total {
    /// Layers, and containers as far as they were counted.
    pub size: u64,
    /// Layers of several images.
    pub shared: u64,
    /// Layers of one image, and containers.
    pub unique: u64,
    /// What pruning takes.
    pub prunable: u64,
    /// Whether removed trees are yet to be deleted: nobody counts these.
    pub deleting: bool,
}

/// What users want counted besides what records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Nothing: that is soon done, however large the store.
    Records,
    /// What containers have changed, too: their trees are walked.
    Containers,
}

impl Store {
    /// Tells what takes how much. `mounted` are the ids of images and containers that mounts show.
    pub fn usage(&self, mounted: &BTreeSet<String>, count: Count) -> Result<Usage, Error> {
        let (images, containers) = (self.images()?, self.containers()?);
        let garbage = self.garbage_of(&images, &containers, mounted)?;
        let by_id = layers(&images, &garbage.layers);
        let container = |container: ContainerRecord| {
            let counted = count == Count::Containers && is_on_disk(&container);
            let size = counted.then(|| self.changes(&container)).transpose()?;
            Ok(ContainerUsage { container, size })
        };
        let containers: Vec<ContainerUsage> =
            containers.into_iter().map(container).collect::<Result<_, Error>>()?;
        let images = images.into_iter().map(|image| image_usage(image, &by_id)).collect();
        let mut layers: Vec<LayerUsage> = by_id.into_values().collect();
        layers.sort_unstable_by_key(|layer| layer.chain_id);
        let mut total = total(&layers, &containers);
        total.deleting = stage::is_deleting(self.layout())?;
        Ok(Usage { images, layers, containers, total })
    }

    /// Counts what a container has changed.
    fn changes(&self, container: &ContainerRecord) -> Result<u64, Error> {
        Ok(tree::size(&Dir::open(&self.layout().overlay(&container.id).join(DIFF))?)?)
    }
}

/// All layers: an image's record knows the sizes of its own, and those of no image are garbage.
fn layers(images: &[Image], garbage: &[LayerRecord]) -> HashMap<Digest, LayerUsage> {
    let mut layers: HashMap<Digest, LayerUsage> = HashMap::new();
    for ImageLayer { chain_id, diff_id, size } in images.iter().flat_map(|image| &image.record.layers) {
        let new =
            LayerUsage { chain_id: *chain_id, diff_id: *diff_id, size: *size, images: 0, prunable: false };
        layers.entry(*chain_id).or_insert(new).images += 1;
    }
    for LayerRecord { chain_id, diff_id, size, .. } in garbage {
        let new =
            LayerUsage { chain_id: *chain_id, diff_id: *diff_id, size: *size, images: 0, prunable: true };
        layers.entry(*chain_id).or_insert(new).prunable = true;
    }
    layers
}

fn image_usage(image: Image, layers: &HashMap<Digest, LayerUsage>) -> ImageUsage {
    let (mut shared, mut unique, mut prunable) = (0_u64, 0_u64, 0_u64);
    for layer in image.record.layers.iter().map(|layer| &layers[&layer.chain_id]) {
        let part = if layer.images > 1 { &mut shared } else { &mut unique };
        *part = layer.size.saturating_add(*part);
        prunable = layer.size.saturating_mul(layer.prunable.into()).saturating_add(prunable);
    }
    ImageUsage { image, shared, unique, prunable }
}

fn total(layers: &[LayerUsage], containers: &[ContainerUsage]) -> Total {
    let sum = |counts: fn(&LayerUsage) -> bool| -> u64 {
        record::total(layers.iter().filter(|layer| counts(layer)).map(|layer| layer.size))
    };
    let changes = record::total(containers.iter().filter_map(|container| container.size));
    Total {
        size: sum(|_| true).saturating_add(changes),
        shared: sum(|layer| layer.images > 1),
        unique: sum(|layer| layer.images == 1).saturating_add(changes),
        prunable: sum(|layer| layer.prunable),
        deleting: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::ImageRecord;

    /// An image of layers, a letter each; a layer's size is its letter's place in the alphabet.
    fn image(name: &str, layers: &str) -> Image {
        let layer = |letter: char| ImageLayer {
            chain_id: Digest::of(letter.to_string().as_bytes()),
            diff_id: Digest::of(b"diff"),
            size: u64::from(letter) - u64::from('a') + 1,
        };
        let record = ImageRecord {
            id: Digest::of(layers.as_bytes()),
            manifest: None,
            platform: String::new(),
            created: None,
            layers: layers.chars().map(layer).collect(),
            loaded: String::new(),
        };
        Image { record, names: vec![name.to_owned()] }
    }

    fn garbage(layers: &str) -> Vec<LayerRecord> {
        let record = |layer: &ImageLayer| LayerRecord {
            chain_id: layer.chain_id,
            diff_id: layer.diff_id,
            parent: None,
            opaque_root: false,
            size: layer.size,
            entries: 0,
            loaded: String::new(),
        };
        image("", layers).record.layers.iter().map(record).collect()
    }

    #[test]
    fn a_layer_of_two_images_is_shared_and_counts_once_in_the_total() {
        let images = [image("web", "abc"), image("api", "ad"), image("old", "ae")];
        // `e` is only in an image that goes, `z` in none.
        let layers = layers(&images, &garbage("ez"));
        let shares = |nr: usize| {
            let usage = image_usage(images[nr].clone(), &layers);
            (usage.shared, usage.unique, usage.prunable)
        };
        assert_eq!(shares(0), (1, 2 + 3, 0));
        assert_eq!(shares(1), (1, 4, 0));
        assert_eq!(shares(2), (1, 5, 5));
        let total = total(&layers.into_values().collect::<Vec<_>>(), &[]);
        assert_eq!((total.size, total.shared, total.unique), (1 + 2 + 3 + 4 + 5 + 26, 1, 2 + 3 + 4 + 5));
        assert_eq!(total.prunable, 5 + 26);
    }
}
