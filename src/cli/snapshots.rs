//! `snapshot`, `snapshots`, `reset`, `branch`: going back, and on from there.

use clap::Args;
use serde::Serialize;

use super::act::{Act, Around};
use super::fault::{self, Fault};
use super::print::{self, Column, Listing};
use super::sync::Syncing;
use super::{Context, permit, waiting};
use crate::digest::Digest;
use crate::mount::container::{self, Point};
use crate::store::record::{ContainerRecord, SnapshotRecord};
use crate::store::snapshots::called;
use crate::store::{self, Store};
use crate::sys::caps::TO_EXTRACT;
use crate::sys::lock::Share;

/// Freeze what a container has changed, to go back to
///
/// Takes the same time whatever was changed: nothing is copied. What is changed later goes on top, and `reset` takes it back.
/// The container must not be mounted: overlayfs cannot be given another upper directory while files are open in it. A snapshot
/// is called CONTAINER@NAME: `mount`, `ls`, `cat`, `cp`, `diff`, `blame`, `export`, `commit`, `umount` and `rm` take that.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl snapshot web-1.4                # web-1.4@1, or the next number
  ovlctl snapshot web-1.4 before")]
pub(super) struct Snapshot {
    /// The container
    container: String,
    /// What it is called; the next free number by default
    name: Option<String>,
    #[command(flatten)]
    sync: Syncing,
}

/// List snapshots
///
/// ON is what each stands on: another snapshot, or the image. AT has the containers that stand on it directly.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl snapshots
  ovlctl snapshots web-1.4")]
pub(super) struct Snapshots {
    /// Only those that this container has, or stands on
    container: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

/// Take back what a container has changed since a snapshot
///
/// As `git reset --hard` does: what was changed since is gone. Snapshots that were made later stay, and `reset` goes to them
/// too. The container must not be mounted.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl reset web-1.4                   # as its last snapshot was
  ovlctl reset web-1.4 before
  ovlctl reset web-1.4 --image           # as its image was")]
pub(super) struct Reset {
    /// The container
    container: String,
    /// The snapshot; by default the one that the container stands on, or its image
    #[arg(conflicts_with = "image")]
    name: Option<String>,
    /// Back to the image, before all snapshots
    #[arg(long)]
    image: bool,
    #[command(flatten)]
    sync: Syncing,
}

/// Make a second container that starts where another one is
///
/// Both go on for themselves. What they have in common is kept once: if the first has changed something since its last snapshot,
/// this makes another one of it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl branch web-1.4 try
  ovlctl branch web-1.4 older --from before")]
pub(super) struct Branch {
    /// The container
    container: String,
    /// The new container's name
    new: String,
    /// Start at this snapshot, whatever was changed later
    #[arg(long, value_name = "SNAPSHOT")]
    from: Option<String>,
    #[command(flatten)]
    sync: Syncing,
}

impl Act for Snapshot {
    fn names(&mut self) -> Vec<&mut String> {
        vec![&mut self.container]
    }

    fn around(&self) -> Around {
        Around::CHANGING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("make a snapshot", TO_EXTRACT)?;
        let snapshot = self
            .freeze(context)
            .map_err(|e| Fault::new("make a snapshot", format!("of '{}'", self.container), e))?;
        print::line(&full_name(&self.container, &snapshot))?;
        self.sync.run(context)
    }
}

impl Snapshot {
    fn freeze(&self, context: &Context) -> Result<SnapshotRecord, container::Error> {
        let store = context.open_store()?;
        let change = store.change(Share::Shared, &mut waiting())?;
        container::snapshot(&change, &self.container, self.name.as_deref(), &mut waiting())
    }
}

impl Act for Reset {
    fn names(&mut self) -> Vec<&mut String> {
        vec![&mut self.container]
    }

    fn around(&self) -> Around {
        Around::CHANGING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("reset", TO_EXTRACT)?;
        let point =
            self.reset(context).map_err(|e| Fault::new("reset", format!("'{}'", self.container), e))?;
        let point = match point {
            Some(SnapshotRecord { name: Some(name), .. }) => format!("snapshot '{name}'"),
            Some(SnapshotRecord { name: None, .. }) => "its last snapshot".to_owned(),
            None => "its image".to_owned(),
        };
        fault::say(&format!("container '{}' is as {point} was", self.container));
        self.sync.run(context)
    }
}

impl Reset {
    fn reset(&self, context: &Context) -> Result<Option<SnapshotRecord>, container::Error> {
        let store = context.open_store()?;
        let change = store.change_that_frees(Share::Shared, &mut waiting())?;
        let point = match &self.name {
            Some(name) => Point::Snapshot(name),
            None if self.image => Point::Image,
            None => Point::Last,
        };
        container::reset(&change, &self.container, point, &mut waiting())
    }
}

impl Act for Branch {
    fn names(&mut self) -> Vec<&mut String> {
        vec![&mut self.container]
    }

    fn around(&self) -> Around {
        Around::CHANGING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("branch", TO_EXTRACT)?;
        let (new, snapshot) =
            self.branch(context).map_err(|e| Fault::new("branch", format!("'{}'", self.container), e))?;
        print::line(&new.name)?;
        if let Some(snapshot) = snapshot {
            fault::say(&format!("both stand on snapshot '{}'", full_name(&self.container, &snapshot)));
        }
        self.sync.run(context)
    }
}

impl Branch {
    fn branch(
        &self,
        context: &Context,
    ) -> Result<(ContainerRecord, Option<SnapshotRecord>), container::Error> {
        let store = context.open_store()?;
        let change = store.change(Share::Shared, &mut waiting())?;
        container::branch(&change, &self.container, &self.new, self.from.as_deref(), &mut waiting())
    }
}

fn full_name(container: &str, snapshot: &SnapshotRecord) -> String {
    format!("{container}@{}", snapshot.name.as_deref().unwrap_or("-"))
}

/// A row of `snapshots`.
#[derive(Debug, Serialize)]
struct SnapshotRow {
    /// What it is called, with a container before it; `null` where its name was removed, and others stand on it.
    name: Option<String>,
    id: String,
    /// The container that it was made of; `null` where that is gone.
    container: Option<String>,
    created: String,
    /// The id of the snapshot that it stands on; `null` where that is the image.
    parent: Option<String>,
    /// The containers that stand on it directly.
    at: Vec<String>,
    image: String,
    image_id: Digest,
    #[serde(skip)]
    on: String,
}

const SNAPSHOTS: &[Column<SnapshotRow>] = &[
    Column::Text("SNAPSHOT", |row| row.name.clone().unwrap_or_else(|| "-".to_owned())),
    Column::Time("CREATED", |row| row.created.parse().ok()),
    Column::Text("ON", |row| row.on.clone()),
    Column::Text("AT", |row| if row.at.is_empty() { "-".to_owned() } else { row.at.join(",") }),
];

impl Act for Snapshots {
    fn names(&mut self) -> Vec<&mut String> {
        self.container.iter_mut().collect()
    }

    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let store = context.store()?;
        let rows = match &self.container {
            Some(name) => {
                self.rows(&store).map_err(|e| Fault::new("list", format!("the snapshots of '{name}'"), e))
            }
            None => self.rows(&store).map_err(|e| Fault::new("list", "snapshots", e)),
        }?;
        print::rows(self.listing, SNAPSHOTS, |row| row.name.clone().unwrap_or_else(|| row.id.clone()), &rows)
    }
}

impl Snapshots {
    fn rows(&self, store: &Store) -> Result<Vec<SnapshotRow>, store::Error> {
        let all = store.snapshots()?;
        let containers = store.containers()?;
        let names = called(&all, &containers);
        let shown = match &self.container {
            Some(text) => {
                let container = store.container(text)?.ok_or_else(|| store.no_container(text))?;
                store.snapshots_of(&container)?
            }
            None => all,
        };
        let row = |snapshot: SnapshotRecord| SnapshotRow {
            name: names.get(&snapshot.id).cloned(),
            container: containers.iter().find(|c| c.id == snapshot.container).map(|c| c.name.clone()),
            on: match &snapshot.parent {
                Some(parent) => names.get(parent).cloned().unwrap_or_else(|| "-".to_owned()),
                None => image_name(&snapshot),
            },
            at: containers
                .iter()
                .filter(|container| container.base.as_ref() == Some(&snapshot.id))
                .map(|container| container.name.clone())
                .collect(),
            image: image_name(&snapshot),
            image_id: snapshot.image,
            created: snapshot.created,
            parent: snapshot.parent,
            id: snapshot.id,
        };
        Ok(shown.into_iter().map(row).collect())
    }
}

fn image_name(snapshot: &SnapshotRecord) -> String {
    snapshot.image_name.clone().unwrap_or_else(|| snapshot.image.short())
}
