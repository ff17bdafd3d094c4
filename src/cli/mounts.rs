//! `mounts`: containers, mounted or not, and read-only mounts of images and snapshots.

use clap::Args;
use serde::Serialize;

use super::Context;
use super::act::{Act, Around};
use super::fault::Fault;
use super::print::{self, Column, Listing};
use crate::digest::Digest;
use crate::mount::container::{self, Mounted};
use crate::store::Store;
use crate::store::images::Image;
use crate::store::record::{ContainerRecord, SnapshotRecord};
use crate::store::snapshots::{called, chain};

/// List containers, mounted or not, and read-only mounts of images and snapshots
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl mounts
  ovlctl mounts --json | jq '.[] | select(.mounted)'")]
pub(super) struct Mounts {
    #[command(flatten)]
    listing: Listing,
}

/// A row of `mounts`.
#[derive(Debug, Serialize)]
struct MountRow {
    name: Option<String>,
    id: Option<String>,
    image: String,
    image_id: Digest,
    mounted: bool,
    read_only: Option<bool>,
    layers: usize,
    target: Option<String>,
    created: Option<String>,
}

const MOUNTS: &[Column<MountRow>] = &[
    Column::Text("NAME", |row| row.name.clone().unwrap_or_else(|| "-".to_owned())),
    Column::Text("IMAGE", |row| row.image.clone()),
    Column::Text("LAYERS", |row| row.layers.to_string()),
    Column::Text("ACCESS", |row| match row.read_only {
        None => "-".to_owned(),
        Some(true) => "ro".to_owned(),
        Some(false) => "rw".to_owned(),
    }),
    Column::Text("TARGET", |row| row.target.clone().unwrap_or_else(|| "-".to_owned())),
];

impl Act for Mounts {
    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let store = context.store()?;
        let rows = rows(&store)?;
        let name = |row: &MountRow| row.name.clone().or_else(|| row.target.clone()).unwrap_or_default();
        print::rows(self.listing, MOUNTS, name, &rows)
    }
}

fn rows(store: &Store) -> Result<Vec<MountRow>, Fault> {
    let failed = |e| Fault::new("list", "mounts", e);
    let known = Known {
        mounts: container::mounts(store).map_err(|e| Fault::new("list", "mounts", e))?,
        images: store.images().map_err(failed)?,
        snapshots: store.snapshots().map_err(failed)?,
        containers: store.containers().map_err(failed)?,
    };
    let mut rows: Vec<MountRow> =
        known.containers.iter().flat_map(|container| known.of_container(container)).collect();
    rows.extend(known.of_snapshots());
    rows.extend(known.images.iter().flat_map(|image| known.of_image(image)));
    Ok(rows)
}

/// What may be mounted, and what is.
struct Known {
    mounts: Vec<Mounted>,
    images: Vec<Image>,
    snapshots: Vec<SnapshotRecord>,
    containers: Vec<ContainerRecord>,
}

impl Known {
    /// Counts the layers below a directory that stands on a snapshot, or on an image.
    fn layers(&self, base: Option<&str>, image: &Digest, at_layer: Option<usize>) -> usize {
        let image = self.images.iter().find(|known| known.record.id == *image);
        let of_image = at_layer.or(image.map(|image| image.record.layers.len()));
        chain(&self.snapshots, base).len() + of_image.unwrap_or_default()
    }

    fn of_container(&self, container: &ContainerRecord) -> Vec<MountRow> {
        let row = |mount: Option<&Mounted>| MountRow {
            name: Some(container.name.clone()),
            id: Some(container.id.clone()),
            image: container.image_name.clone().unwrap_or_else(|| container.image.short()),
            image_id: container.image,
            mounted: mount.is_some(),
            read_only: mount.map(|mount| mount.read_only),
            layers: self.layers(container.base.as_deref(), &container.image, container.at_layer),
            target: mount.map(|mount| mount.target.display().to_string()),
            created: Some(container.created.clone()),
        };
        let here: Vec<&Mounted> = self.mounts.iter().filter(|mount| mount.id == container.id).collect();
        if here.is_empty() && container.stays() {
            return vec![row(None)];
        }
        here.into_iter().map(|mount| row(Some(mount))).collect()
    }

    fn of_snapshots(&self) -> Vec<MountRow> {
        let names = called(&self.snapshots, &self.containers);
        let row = |snapshot: &SnapshotRecord, mount: &Mounted| MountRow {
            name: names.get(&snapshot.id).cloned(),
            id: Some(snapshot.id.clone()),
            image: snapshot.image_name.clone().unwrap_or_else(|| snapshot.image.short()),
            image_id: snapshot.image,
            mounted: true,
            read_only: Some(mount.read_only),
            layers: self.layers(Some(&snapshot.id), &snapshot.image, snapshot.at_layer),
            target: Some(mount.target.display().to_string()),
            created: Some(snapshot.created.clone()),
        };
        let mut rows = Vec::new();
        for snapshot in &self.snapshots {
            let id = snapshot.shown_as();
            let its = self.mounts.iter().filter(|mount| mount.id == id);
            rows.extend(its.map(|mount| row(snapshot, mount)));
        }
        rows
    }

    fn of_image(&self, image: &Image) -> Vec<MountRow> {
        let id = image.record.id;
        let row = |mount: &Mounted| MountRow {
            name: None,
            id: None,
            image: image.names.first().cloned().unwrap_or_else(|| id.short()),
            image_id: id,
            mounted: true,
            read_only: Some(mount.read_only),
            layers: image.record.layers.len(),
            target: Some(mount.target.display().to_string()),
            created: None,
        };
        self.mounts.iter().filter(|mount| mount.id == id.hex()).map(row).collect()
    }
}
