//! `images`, `layers`: what the store holds.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::Context;
use super::act::{Act, Around};
use super::fault::Fault;
use super::print::{self, Column, Listing};
use crate::digest::Digest;
use crate::store::images::Image;

/// List images
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl images
  ovlctl images --json | jq '.[] | {name, size}'
  ovlctl rm $(ovlctl images -q)")]
pub(super) struct Images {
    #[command(flatten)]
    listing: Listing,
}

/// A row of `images`: an image under one of its names.
#[derive(Debug, Serialize)]
struct ImageRow {
    name: Option<String>,
    id: Digest,
    manifest: Option<Digest>,
    platform: String,
    layers: usize,
    size: u64,
    created: Option<String>,
    loaded: String,
}

const IMAGES: &[Column<ImageRow>] = &[
    Column::Text("NAME", |row| row.name.clone().unwrap_or_else(|| "<none>".to_owned())),
    Column::Text("ID", |row| row.id.short()),
    Column::Text("PLATFORM", |row| row.platform.clone()),
    Column::Text("LAYERS", |row| row.layers.to_string()),
    Column::Size("SIZE", |row| Some(row.size)),
    // Configs may hold any text there.
    Column::Time("CREATED", |row| row.created.as_ref()?.parse().ok()),
];

impl Act for Images {
    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let images = context.store()?.images().map_err(|e| Fault::new("list", "images", e))?;
        let rows: Vec<ImageRow> = images.iter().flat_map(image_rows).collect();
        print::rows(self.listing, IMAGES, |row| row.id.short(), &rows)
    }
}

fn image_rows(image: &Image) -> Vec<ImageRow> {
    let row = |name: Option<&String>| ImageRow {
        name: name.cloned(),
        id: image.record.id,
        manifest: image.record.manifest,
        platform: image.record.platform.clone(),
        layers: image.record.layers.len(),
        size: image.record.size(),
        created: image.record.created.clone(),
        loaded: image.record.loaded.clone(),
    };
    if image.names.is_empty() {
        vec![row(None)]
    } else {
        image.names.iter().map(|name| row(Some(name))).collect()
    }
}

/// List layers, and which images share them
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl layers                      # all of the store
  ovlctl layers web:1.4              # of an image, the base first")]
pub(super) struct Layers {
    /// Only those of this image, the base first
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

/// A row of `layers`.
#[derive(Debug, Serialize)]
struct LayerRow {
    chain_id: Digest,
    diff_id: Digest,
    parent: Option<Digest>,
    entries: u64,
    size: u64,
    images: Vec<String>,
    loaded: String,
}

const LAYERS: &[Column<LayerRow>] = &[
    Column::Text("CHAIN ID", |row| row.chain_id.short()),
    Column::Text("DIFF ID", |row| row.diff_id.short()),
    Column::Text("PARENT", |row| row.parent.map_or_else(|| "-".to_owned(), |parent| parent.short())),
    Column::Text("ENTRIES", |row| row.entries.to_string()),
    Column::Size("SIZE", |row| Some(row.size)),
    Column::Free("IMAGES", |row| if row.images.is_empty() { "-".to_owned() } else { row.images.join(",") }),
];

impl Act for Layers {
    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let store = context.store()?;
        let failed = |e| Fault::new("list", "layers", e);
        let mut users: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for image in store.images().map_err(failed)? {
            let name = image.names.first().cloned().unwrap_or_else(|| image.record.id.short());
            for layer in &image.record.layers {
                users.entry(layer.chain_id).or_default().push(name.clone());
            }
        }
        let layers = match &self.image {
            Some(name) => {
                let failed = |e| Fault::new("list", format!("the layers of '{name}'"), e);
                let image = store.image(name).map_err(failed)?;
                let layers = image.record.layers.iter().map(|layer| store.layer(&layer.chain_id));
                layers.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(failed)?
            }
            None => store.layers().map_err(failed)?,
        };
        let row = |layer: crate::store::record::LayerRecord| LayerRow {
            chain_id: layer.chain_id,
            diff_id: layer.diff_id,
            parent: layer.parent,
            entries: layer.entries,
            size: layer.size,
            images: users.remove(&layer.chain_id).unwrap_or_default(),
            loaded: layer.loaded,
        };
        let rows: Vec<LayerRow> = layers.into_iter().map(row).collect();
        print::rows(self.listing, LAYERS, |row| row.chain_id.short(), &rows)
    }
}
