//! What takes how much room: told by records alone, but for what containers have changed, or by what the disk has.

use std::collections::{BTreeSet, HashMap};

use super::containers::is_on_disk;
use super::disk::{Disk, Known, Owner};
use super::error::Error;
use super::images::Image;
use super::layout::DIFF;
use super::prune::Wanted;
use super::record::{self, ContainerRecord, ImageLayer, LayerRecord, SnapshotRecord};
use super::snapshots::{called, chain};
use super::{Store, stage};
use crate::digest::Digest;
use crate::sys::dir::Dir;
use crate::sys::tree;

/// What everything in a store takes. Sizes are bytes of files' contents, each file once; or what that takes on the disk, with
/// all that belongs to it, where it was asked for ([`Count::Disk`]).
#[derive(Debug)]
pub struct Usage {
    /// The images, as [`Store::images`] orders them.
    pub images: Vec<ImageUsage>,
    /// The layers, in the order of their ids.
    pub layers: Vec<LayerUsage>,
    /// The containers, in the order of their names.
    pub containers: Vec<ContainerUsage>,
    /// The snapshots, the oldest first.
    pub snapshots: Vec<SnapshotUsage>,
    /// What the store takes besides, where the disk was asked.
    pub other: Option<Other>,
    /// All together.
    pub total: Total,
}

/// What an image takes.
#[derive(Debug)]
pub struct ImageUsage {
    /// The image.
    pub image: Image,
    /// All its layers, and what is its own.
    pub size: u64,
    /// What is its own besides layers: counted on the disk only.
    own: Own,
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

/// What a snapshot takes.
#[derive(Debug)]
pub struct SnapshotUsage {
    /// The snapshot.
    pub snapshot: SnapshotRecord,
    /// What it is called: `CONTAINER@NAME`.
    pub name: Option<String>,
    /// How many containers stand on it.
    pub containers: usize,
    /// What was changed in it, where that was counted.
    pub size: Option<u64>,
    /// Whether pruning takes it.
    pub prunable: bool,
}

/// What the store takes on the disk that is neither image, layer nor container.
#[derive(Debug, Clone, Copy, Default)]
pub struct Other {
    /// Folders, names, locks, the room that is kept.
    pub store: u64,
    /// What was removed and is being deleted, and what is being made.
    pub staged: u64,
    /// What is left of what is not there any more: pruning takes it.
    pub leftover: u64,
    /// What the store knows nothing of.
    pub unknown: u64,
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
    /// What all takes on the disk: the whole store is walked.
    Disk,
}

impl Store {
    /// Tells what takes how much. `mounted` are the ids of images and containers that mounts show.
    pub fn usage(&self, mounted: &BTreeSet<String>, count: Count) -> Result<Usage, Error> {
        let (images, containers, snapshots) = (self.images()?, self.containers()?, self.snapshots()?);
        let garbage = self.garbage_of(&images, &containers, mounted, &Wanted::default())?;
        let mut by_id = layers(&images, &garbage.layers);
        let disk = match count {
            Count::Disk => {
                let ids = images.iter().map(|image| image.record.id);
                Some(self.disk(&Known::of(by_id.keys().copied(), ids, &containers, &snapshots))?)
            }
            Count::Records | Count::Containers => None,
        };
        if let Some(disk) = &disk {
            by_id.values_mut().for_each(|layer| layer.size = disk.of(&Owner::Layer(layer.chain_id)));
        }
        let size = |owner: Owner, dir: &str, counts: bool| match (&disk, count) {
            (Some(disk), _) => Ok::<_, Error>(Some(disk.of(&owner))),
            (None, Count::Containers) if counts => Ok(Some(self.changes(dir)?)),
            (None, Count::Containers | Count::Records | Count::Disk) => Ok(None),
        };
        let names = called(&snapshots, &containers);
        let snapshot = |snapshot: &SnapshotRecord| {
            let stands = |over: &&ContainerRecord| {
                chain(&snapshots, over.base.as_deref()).iter().any(|below| below.id == snapshot.id)
            };
            Ok(SnapshotUsage {
                name: names.get(&snapshot.id).cloned(),
                containers: containers.iter().filter(stands).count(),
                size: size(Owner::Snapshot(snapshot.id.clone()), &snapshot.id, true)?,
                prunable: garbage.snapshots.iter().any(|gone| gone.id == snapshot.id),
                snapshot: snapshot.clone(),
            })
        };
        let frozen = snapshots.iter().map(snapshot).collect::<Result<Vec<_>, Error>>()?;
        let container = |container: ContainerRecord| {
            let owner = Owner::Container(container.name.clone());
            let size = size(owner, &container.dir(), is_on_disk(&container))?;
            Ok(ContainerUsage { container, size })
        };
        let containers: Vec<ContainerUsage> =
            containers.into_iter().map(container).collect::<Result<_, Error>>()?;
        let image = |image: Image| {
            let own = disk.as_ref().map_or(0, |disk| disk.of(&Owner::Image(image.record.id)));
            let goes = garbage.images.iter().any(|gone| gone.record.id == image.record.id);
            image_usage(image, &by_id, Own { size: own, goes })
        };
        let images: Vec<ImageUsage> = images.into_iter().map(image).collect();
        let mut layers: Vec<LayerUsage> = by_id.into_values().collect();
        layers.sort_unstable_by_key(|layer| layer.chain_id);
        let other = disk.as_ref().map(Other::of);
        let mut total = total(&images, &layers, &containers, &frozen, other.unwrap_or_default());
        total.deleting = stage::is_deleting(self.layout())?;
        Ok(Usage { images, layers, containers, snapshots: frozen, other, total })
    }

    /// Counts what was changed in a directory of `overlay2`.
    fn changes(&self, dir: &str) -> Result<u64, Error> {
        Ok(tree::size(&Dir::open(&self.layout().overlay(dir).join(DIFF))?)?)
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

/// What is an image's alone besides layers, and whether pruning takes it.
#[derive(Debug, Clone, Copy, Default)]
struct Own {
    size: u64,
    goes: bool,
}

fn image_usage(image: Image, layers: &HashMap<Digest, LayerUsage>, own: Own) -> ImageUsage {
    let (mut shared, mut unique) = (0_u64, own.size);
    let mut prunable = if own.goes { own.size } else { 0 };
    for layer in image.record.layers.iter().map(|layer| &layers[&layer.chain_id]) {
        let part = if layer.images > 1 { &mut shared } else { &mut unique };
        *part = layer.size.saturating_add(*part);
        prunable = layer.size.saturating_mul(layer.prunable.into()).saturating_add(prunable);
    }
    ImageUsage { image, size: shared.saturating_add(unique), own, shared, unique, prunable }
}

fn total(
    images: &[ImageUsage],
    layers: &[LayerUsage],
    containers: &[ContainerUsage],
    snapshots: &[SnapshotUsage],
    other: Other,
) -> Total {
    let sum = |counts: fn(&LayerUsage) -> bool| -> u64 {
        record::total(layers.iter().filter(|layer| counts(layer)).map(|layer| layer.size))
    };
    let owns = |counts: fn(&Own) -> bool| -> u64 {
        record::total(images.iter().filter(|image| counts(&image.own)).map(|image| image.own.size))
    };
    let frozen = |counts: fn(&SnapshotUsage) -> bool| -> u64 {
        let counted = snapshots.iter().filter(|snapshot| counts(snapshot));
        record::total(counted.filter_map(|snapshot| snapshot.size))
    };
    let of_containers = record::total(containers.iter().filter_map(|container| container.size));
    let changes = record::total([of_containers, frozen(|snapshot| snapshot.containers < 2)].into_iter());
    let common = frozen(|snapshot| snapshot.containers > 1);
    let Other { store, staged, leftover, unknown } = other;
    let all = [sum(|_| true), owns(|_| true), changes, common, store, staged, leftover, unknown];
    Total {
        size: record::total(all.into_iter()),
        shared: record::total([sum(|layer| layer.images > 1), common].into_iter()),
        unique: record::total([sum(|layer| layer.images == 1), owns(|_| true), changes].into_iter()),
        prunable: record::total(
            [
                sum(|layer| layer.prunable),
                owns(|own| own.goes),
                frozen(|snapshot| snapshot.prunable),
                leftover,
            ]
            .into_iter(),
        ),
        deleting: false,
    }
}

impl Other {
    fn of(disk: &Disk) -> Self {
        Self {
            store: disk.of(&Owner::Store),
            staged: disk.of(&Owner::Staged),
            leftover: disk.of(&Owner::Leftover),
            unknown: disk.of(&Owner::Unknown),
        }
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
            let usage = image_usage(images[nr].clone(), &layers, Own::default());
            (usage.shared, usage.unique, usage.prunable)
        };
        assert_eq!(shares(0), (1, 2 + 3, 0));
        assert_eq!(shares(1), (1, 4, 0));
        assert_eq!(shares(2), (1, 5, 5));
        let own = Own { size: 7, goes: true };
        let web = image_usage(images[0].clone(), &layers, own);
        assert_eq!((web.size, web.unique, web.prunable), (1 + 2 + 3 + 7, 2 + 3 + 7, 7));
        let layers: Vec<LayerUsage> = layers.into_values().collect();
        let other = Other { store: 100, staged: 200, leftover: 400, unknown: 800 };
        let with = total(&[web], &layers, &[], &[], other);
        assert_eq!((with.size, with.unique, with.prunable), (41 + 7 + 1500, 14 + 7, 31 + 7 + 400));
        let total = total(&[], &layers, &[], &[], Other::default());
        assert_eq!((total.size, total.shared, total.unique), (1 + 2 + 3 + 4 + 5 + 26, 1, 2 + 3 + 4 + 5));
        assert_eq!(total.prunable, 5 + 26);
    }
}
