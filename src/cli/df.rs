//! `df`: what takes how much room, and what pruning would free.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::act::{Act, Around};
use super::fault::{self, Fault};
use super::print::{self, Column};
use super::{Context, explain, permit};
use crate::digest::Digest;
use crate::mount::container;
use crate::store::images::Image;
use crate::store::record::Upper;
use crate::store::usage::{
    ContainerUsage, Count, ImageUsage, LayerUsage, Other, SnapshotUsage, Total, Usage,
};
use crate::sys::caps::TO_READ;
use crate::sys::counted;

/// Show what takes how much room
///
/// SIZE is what the files hold, or with --disk what they take on the disk, with records and recipes. SHARED is in layers that
/// other images have too, or in snapshots that several containers stand on; UNIQUE is what goes when that one is removed, PRUNABLE
/// what `prune` would free. The last line counts each layer once.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl df
  ovlctl df --containers --json | jq .total
  ovlctl df --explain                # what each folder of the store is for")]
pub(super) struct Df {
    /// Print JSON: one object; fields are only ever added
    #[arg(long)]
    json: bool,
    /// List layers too, not only those that no image has
    #[arg(long, conflicts_with = "json")]
    layers: bool,
    /// Count what containers have changed: looks at each of their files
    #[arg(long)]
    containers: bool,
    /// Count blocks of the disk, to the last: as `du -sx` does; looks at each file
    #[arg(long)]
    disk: bool,
    /// Tell what each folder of the store is for, or all of one
    #[arg(long, conflicts_with_all = ["layers", "containers", "disk"])]
    explain: bool,
    /// Leave out the line of headings
    #[arg(long, conflicts_with = "json")]
    no_headings: bool,
    /// A folder in the store, or its name in overlay2
    #[arg(requires = "explain")]
    dir: Option<PathBuf>,
}

/// What `df --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    /// What sizes are of: `contents` of files, or `disk`.
    measured: &'static str,
    images: Vec<ImageRow>,
    layers: Vec<LayerRow>,
    containers: Vec<ContainerRow>,
    snapshots: Vec<SnapshotRow>,
    total: TotalRow,
}

#[derive(Debug, Serialize)]
struct ImageRow {
    names: Vec<String>,
    id: Digest,
    layers: usize,
    size: u64,
    shared: u64,
    unique: u64,
    prunable: u64,
}

#[derive(Debug, Serialize)]
struct LayerRow {
    chain_id: Digest,
    diff_id: Digest,
    size: u64,
    images: usize,
    prunable: bool,
}

#[derive(Debug, Serialize)]
struct ContainerRow {
    name: String,
    id: String,
    image_id: Digest,
    /// Where its changes go: `store`, `tmpfs`, or the user's directory.
    upper: String,
    size: Option<u64>,
}

#[derive(Debug, Serialize)]
struct SnapshotRow {
    /// `CONTAINER@NAME`; `null` where its name was removed, and others stand on it.
    name: Option<String>,
    id: String,
    /// How many containers stand on it.
    containers: usize,
    size: Option<u64>,
    prunable: bool,
}

#[derive(Debug, Serialize)]
struct TotalRow {
    size: u64,
    shared: u64,
    unique: u64,
    prunable: u64,
    deleting: bool,
    /// What the store takes besides, where the disk was asked.
    store: Option<u64>,
    staged: Option<u64>,
    leftover: Option<u64>,
    unknown: Option<u64>,
}

/// A row of the table; what is not known of it is empty.
#[derive(Debug)]
struct Row {
    kind: &'static str,
    name: String,
    size: Option<u64>,
    shared: Option<u64>,
    unique: Option<u64>,
    prunable: Option<u64>,
}

const COLUMNS: &[Column<Row>] = &[
    Column::Text("KIND", |row| row.kind.to_owned()),
    Column::Text("NAME", |row| row.name.clone()),
    Column::Size("SIZE", |row| row.size),
    Column::Size("SHARED", |row| row.shared),
    Column::Size("UNIQUE", |row| row.unique),
    Column::Size("PRUNABLE", |row| row.prunable),
];

impl Act for Df {
    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        if self.containers {
            permit("count what containers have changed", TO_READ)?;
        } else if self.disk || self.explain {
            permit("count what the disk has", TO_READ)?;
        }
        let store = context.store()?;
        if self.explain {
            return explain::run(&store, self.dir.as_deref(), self.json, !self.no_headings);
        }
        let object = || format!("the usage of {}", context.root.display());
        let mounted = container::mounted_ids(&store).map_err(|e| Fault::new("tell", object(), e))?;
        let count = match (self.disk, self.containers) {
            (true, _) => Count::Disk,
            (false, true) => Count::Containers,
            (false, false) => Count::Records,
        };
        let usage = store.usage(&mounted, count).map_err(|e| Fault::new("tell", object(), e))?;
        if self.json {
            return print::json(&Report::from(&usage));
        }
        print::table(COLUMNS, !self.no_headings, &self.rows(&usage))?;
        if usage.total.deleting && !self.disk {
            fault::say("what was removed is still being deleted, and not counted");
        }
        if usage.containers.iter().any(|c| c.size.is_none() && matches!(c.container.upper, Upper::Store)) {
            fault::say("changes of containers are not counted: `ovlctl df --containers` does");
        }
        Ok(())
    }
}

impl Df {
    fn rows(&self, usage: &Usage) -> Vec<Row> {
        let layers = usage.layers.iter().filter(|layer| self.layers || layer.images == 0);
        let mut rows: Vec<Row> = usage.images.iter().map(Row::image).collect();
        rows.extend(layers.map(Row::layer));
        rows.extend(usage.containers.iter().map(Row::container));
        rows.extend(usage.snapshots.iter().map(Row::snapshot));
        rows.extend(usage.other.iter().flat_map(Row::other));
        rows.push(Row::total(usage));
        rows
    }
}

impl Row {
    fn image(usage: &ImageUsage) -> Self {
        let Image { record, names } = &usage.image;
        Self {
            kind: "image",
            name: if names.is_empty() { record.id.short() } else { names.join(",") },
            size: Some(usage.size),
            shared: Some(usage.shared),
            unique: Some(usage.unique),
            prunable: Some(usage.prunable),
        }
    }

    fn layer(layer: &LayerUsage) -> Self {
        Self {
            kind: "layer",
            name: layer.chain_id.short(),
            size: Some(layer.size),
            shared: Some(if layer.images > 1 { layer.size } else { 0 }),
            unique: Some(if layer.images == 1 { layer.size } else { 0 }),
            prunable: Some(if layer.prunable { layer.size } else { 0 }),
        }
    }

    fn container(usage: &ContainerUsage) -> Self {
        let name = usage.container.name.clone();
        Self {
            kind: "container",
            name,
            size: usage.size,
            shared: None,
            unique: usage.size,
            prunable: usage.size.map(|_| 0),
        }
    }

    fn snapshot(usage: &SnapshotUsage) -> Self {
        let of = |counts: bool| usage.size.map(|size| if counts { size } else { 0 });
        Self {
            kind: "snapshot",
            name: usage.name.clone().unwrap_or_else(|| usage.snapshot.id[..12].to_owned()),
            size: usage.size,
            shared: of(usage.containers > 1),
            unique: of(usage.containers < 2),
            prunable: of(usage.prunable),
        }
    }

    fn other(Other { store, staged, leftover, unknown }: &Other) -> Vec<Self> {
        let row = |kind, name: &str, size: u64, prunable| Self {
            kind,
            name: name.to_owned(),
            size: Some(size),
            shared: None,
            unique: None,
            prunable: Some(prunable),
        };
        let rows = [
            row("staged", "removed or being made", *staged, 0),
            row("leftover", "of what is not there any more", *leftover, *leftover),
            row("unknown", "nothing of this store's", *unknown, 0),
        ];
        let folders = row("store", "folders, names, locks, reserve", *store, 0);
        rows.into_iter().filter(|row| row.size > Some(0)).chain([folders]).collect()
    }

    fn total(Usage { images, layers, containers, total, .. }: &Usage) -> Self {
        let counts = [
            counted(images.len(), "image"),
            counted(layers.len(), "layer"),
            counted(containers.len(), "container"),
        ];
        Self {
            kind: "total",
            name: counts.join(", "),
            size: Some(total.size),
            shared: Some(total.shared),
            unique: Some(total.unique),
            prunable: Some(total.prunable),
        }
    }
}

impl From<&Usage> for Report {
    fn from(usage: &Usage) -> Self {
        let image = |ImageUsage { image, size, shared, unique, prunable, .. }: &ImageUsage| ImageRow {
            names: image.names.clone(),
            id: image.record.id,
            layers: image.record.layers.len(),
            size: *size,
            shared: *shared,
            unique: *unique,
            prunable: *prunable,
        };
        let layer = |layer: &LayerUsage| LayerRow {
            chain_id: layer.chain_id,
            diff_id: layer.diff_id,
            size: layer.size,
            images: layer.images,
            prunable: layer.prunable,
        };
        let container = |ContainerUsage { container, size }: &ContainerUsage| ContainerRow {
            name: container.name.clone(),
            id: container.id.clone(),
            image_id: container.image,
            upper: match &container.upper {
                Upper::Store => "store".to_owned(),
                Upper::Tmpfs { .. } => "tmpfs".to_owned(),
                Upper::At { upper, .. } => upper.path().display().to_string(),
            },
            size: *size,
        };
        let snapshot = |usage: &SnapshotUsage| SnapshotRow {
            name: usage.name.clone(),
            id: usage.snapshot.id.clone(),
            containers: usage.containers,
            size: usage.size,
            prunable: usage.prunable,
        };
        let Total { size, shared, unique, prunable, deleting } = usage.total;
        let other = usage.other.as_ref();
        Self {
            measured: if other.is_some() { "disk" } else { "contents" },
            images: usage.images.iter().map(image).collect(),
            layers: usage.layers.iter().map(layer).collect(),
            containers: usage.containers.iter().map(container).collect(),
            snapshots: usage.snapshots.iter().map(snapshot).collect(),
            total: TotalRow {
                size,
                shared,
                unique,
                prunable,
                deleting,
                store: other.map(|other| other.store),
                staged: other.map(|other| other.staged),
                leftover: other.map(|other| other.leftover),
                unknown: other.map(|other| other.unknown),
            },
        }
    }
}
