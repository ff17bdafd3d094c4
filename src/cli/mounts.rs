//! `mounts`: containers, mounted or not, and read-only mounts of images.

use clap::Args;
use serde::Serialize;

use super::Context;
use super::fault::Fault;
use super::print::{self, Column, Listing};
use crate::digest::Digest;
use crate::mount::container::{self, Mounted};
use crate::store::Store;

/// List containers, mounted or not, and read-only mounts of images
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
    Column("NAME", |row| row.name.clone().unwrap_or_else(|| "-".to_owned())),
    Column("IMAGE", |row| row.image.clone()),
    Column("LAYERS", |row| row.layers.to_string()),
    Column("ACCESS", |row| match row.read_only {
        None => "-".to_owned(),
        Some(true) => "ro".to_owned(),
        Some(false) => "rw".to_owned(),
    }),
    Column("TARGET", |row| row.target.clone().unwrap_or_else(|| "-".to_owned())),
];

impl Mounts {
    pub(super) fn run(&self, context: &Context) -> Result<(), Fault> {
        let store = context.store()?;
        let rows = rows(&store)?;
        let name = |row: &MountRow| row.name.clone().or_else(|| row.target.clone()).unwrap_or_default();
        print::rows(self.listing, MOUNTS, name, &rows)
    }
}

fn rows(store: &Store) -> Result<Vec<MountRow>, Fault> {
    let failed = |e| Fault::new("list", "mounts", e);
    let mounts = container::mounts(store).map_err(|e| Fault::new("list", "mounts", e))?;
    let images = store.images().map_err(failed)?;
    let layers =
        |id: &Digest| images.iter().find(|image| image.record.id == *id).map_or(0, |i| i.record.layers.len());
    let mut rows = Vec::new();
    for container in store.containers().map_err(failed)? {
        let row = |mount: Option<&Mounted>| MountRow {
            name: Some(container.name.clone()),
            id: Some(container.id.clone()),
            image: container.image_name.clone().unwrap_or_else(|| container.image.short()),
            image_id: container.image,
            mounted: mount.is_some(),
            read_only: mount.map(|mount| mount.read_only),
            layers: container.at_layer.unwrap_or_else(|| layers(&container.image)),
            target: mount.map(|mount| mount.target.display().to_string()),
            created: Some(container.created.clone()),
        };
        let here: Vec<&Mounted> = mounts.iter().filter(|mount| mount.id == container.id).collect();
        if here.is_empty() && container.stays() {
            rows.push(row(None));
        }
        rows.extend(here.into_iter().map(|mount| row(Some(mount))));
    }
    for image in &images {
        let id = image.record.id;
        rows.extend(mounts.iter().filter(|mount| mount.id == id.hex()).map(|mount| MountRow {
            name: None,
            id: None,
            image: image.names.first().cloned().unwrap_or_else(|| id.short()),
            image_id: id,
            mounted: true,
            read_only: Some(mount.read_only),
            layers: image.record.layers.len(),
            target: Some(mount.target.display().to_string()),
            created: None,
        }));
    }
    Ok(rows)
}
