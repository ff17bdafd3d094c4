//! `diff`: what a container has changed, and what differs between images.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::iter;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::act::{Act, Around};
use super::fault::{Cause, Fault};
use super::place::{self, Subject};
use super::print::{self, Column};
use super::{Context, inode, permit};
use crate::layer::changes::{self, Aspect, Change, Kind};
use crate::layer::pack;
use crate::layer::view::{Node, Pool, View};
use crate::mount::container;
use crate::store::record::{ContainerRecord, SnapshotRecord, StoredPath};
use crate::store::{self, Store};
use crate::sys::caps::TO_LOOK;
use crate::sys::dir::Dir;

/// Tell what a container has changed in its image, or what differs between two of them
///
/// As `docker diff` does: A for what was added, C for what was changed, D for what was deleted, with a C for each directory
/// in which something was. Contents and all metadata count: owner, mode, extended attributes, times. An upper directory is
/// walked, and nothing else; of a container whose changes are in memory, all files are compared.
///
/// Of two, each an image or a container, it tells what became of the first in the second. Layers that both have are not
/// looked at.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl diff web-1.4                # what a container has changed
  ovlctl diff web:1.3 web:1.4        # what differs between two images
  ovlctl diff --tar web-1.4 > changes.tar")]
pub(super) struct Diff {
    /// A container, or CONTAINER@SNAPSHOT; or, where another is named, an image too
    #[arg(value_name = "CONTAINER|IMAGE")]
    name: String,
    /// What that became
    #[arg(value_name = "IMAGE|CONTAINER")]
    other: Option<String>,
    /// Print a tar, such as a layer is, of all that was added and changed, with a whiteout for what was deleted
    #[arg(long, conflicts_with_all = ["json", "stat", "quiet"])]
    tar: bool,
    /// Sum up by directories of the root
    #[arg(long)]
    stat: bool,
    /// Print JSON: one array; fields are only ever added
    #[arg(long)]
    json: bool,
    /// Print only the paths
    #[arg(short, long, conflicts_with_all = ["json", "stat"])]
    quiet: bool,
    /// Leave out the line of headings that --stat has
    #[arg(long, conflicts_with = "json")]
    no_headings: bool,
}

/// A row of `diff --json`.
#[derive(Debug, Serialize)]
struct ChangeRow {
    kind: &'static str,
    path: StoredPath,
    /// What it is now; `null` where it is gone.
    r#type: Option<&'static str>,
    /// How many bytes a file has now.
    size: Option<u64>,
    /// What of it is another; empty for a directory of which only what is in it is.
    what: Vec<&'static str>,
}

impl Act for Diff {
    fn names(&mut self) -> Vec<&mut String> {
        iter::once(&mut self.name).chain(&mut self.other).collect()
    }

    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("compare", TO_LOOK)?;
        let object = match &self.other {
            Some(other) => format!("'{}' with '{other}'", self.name),
            None => format!("'{}'", self.name),
        };
        self.compare(context).map_err(|cause| Fault::new("compare", object, cause))?
    }
}

impl Diff {
    /// Compares, and prints: what fails there is no fault of the comparison.
    fn compare(&self, context: &Context) -> Result<Result<(), Fault>, Cause> {
        let store = context.open_store()?;
        let mut pool = Pool::default();
        let (new, old) = match &self.other {
            Some(other) => (view(&store, other, &mut pool)?, view(&store, &self.name, &mut pool)?),
            None => container_views(&store, &self.name, &mut pool)?,
        };
        let (new, old) = (View::new(&pool, new), View::new(&pool, old));
        if !self.tar {
            return Ok(self.print(&changes::changes(&new, &old).map_err(store::Error::from)?));
        }
        let changes = changes::to_layer(&new, &old).map_err(store::Error::from)?;
        let left_out = print::tar(|out| pack::layer(&changes, &new, out))?;
        place::tell_left_out(&left_out);
        Ok(Ok(()))
    }

    fn print(&self, changes: &[Change]) -> Result<(), Fault> {
        if self.stat {
            let rows = sums(changes);
            return if self.json { print::json(&rows) } else { print::table(SUMS, !self.no_headings, &rows) };
        }
        if self.json {
            return print::json(&changes.iter().map(row).collect::<Vec<_>>());
        }
        let line = |change: &Change| match (self.quiet, shown(&change.path)) {
            (true, path) => path,
            (false, path) => format!("{} {path}", letter(change.kind)),
        };
        print::lines(&changes.iter().map(line).collect::<Vec<_>>())
    }
}

/// Opens an image or a container.
fn view(store: &Store, name: &str, pool: &mut Pool) -> Result<Vec<usize>, Cause> {
    match Subject::find(store, name)? {
        Subject::Image(image) => Ok(store.open_image(&image.record, pool)?),
        Subject::Snapshot(_, snapshot) => Ok(snapshot_views(store, &snapshot, pool)?.0),
        Subject::Container(_) => Ok(container_views(store, name, pool)?.0),
    }
}

/// Opens a snapshot, and the image that it stands on.
pub(super) fn snapshot_views(
    store: &Store,
    snapshot: &SnapshotRecord,
    pool: &mut Pool,
) -> Result<(Vec<usize>, Vec<usize>), Cause> {
    let image = store.open_image(&container::image_below(store, snapshot)?, pool)?;
    let mut stack = store.open_snapshots(Some(&snapshot.id), pool)?;
    stack.extend(&image);
    Ok((stack, image))
}

/// Opens a container as it is, and the image that it stands on.
pub(super) fn container_views(
    store: &Store,
    name: &str,
    pool: &mut Pool,
) -> Result<(Vec<usize>, Vec<usize>), Cause> {
    let Some(container) = store.container(name)? else {
        if let Some((_, snapshot)) = store.snapshot(name)? {
            return snapshot_views(store, &snapshot, pool);
        }
        return Err(store.no_container(name).into());
    };
    let image = container::image_of(store, &container)?;
    let old = store.open_image(&image, pool)?;
    let below = store.open_below(&container, &image, pool)?;
    Ok((container_view(store, &container, &below, pool)?, old))
}

fn container_view(
    store: &Store,
    container: &ContainerRecord,
    below: &[usize],
    pool: &mut Pool,
) -> Result<Vec<usize>, Cause> {
    if let Some(upper) = store.open_upper(container)? {
        let upper = pool.add(upper).map_err(store::Error::from)?;
        return Ok([&[upper], below].concat());
    }
    Ok(vec![pool.add(shown_root(store, container)?).map_err(store::Error::from)?])
}

/// Opens the root of a container whose changes are in memory. Nobody but its mount itself has a handle of them: what it shows is
/// all that there is.
pub(super) fn shown_root(store: &Store, container: &ContainerRecord) -> Result<Dir, Cause> {
    container::live_root(store, container)?.ok_or(Cause::NotMounted)
}

/// Returns a path as `docker diff` prints it, as far as that is text.
fn shown(path: &[u8]) -> String {
    format!("/{}", print::name(path))
}

fn letter(kind: Kind) -> char {
    match kind {
        Kind::Added => 'A',
        Kind::Changed => 'C',
        Kind::Deleted => 'D',
    }
}

fn row(change: &Change) -> ChangeRow {
    let path = Path::new("/").join(OsStr::from_bytes(&change.path));
    let now = change.now.as_ref();
    ChangeRow {
        kind: match change.kind {
            Kind::Added => "added",
            Kind::Changed => "changed",
            Kind::Deleted => "deleted",
        },
        path: path.as_path().into(),
        r#type: now.map(|(_, stat)| inode::kind(stat)),
        size: now.and_then(|(_, stat)| inode::size(stat)),
        what: change.aspects.iter().map(|aspect| inode::aspect(*aspect)).collect(),
    }
}

/// A row of `diff --stat`: a name in the root, or all together.
#[derive(Debug, Default, Serialize)]
struct Sum {
    path: Option<StoredPath>,
    added: usize,
    changed: usize,
    deleted: usize,
    /// How many bytes the files have that were added or changed in their contents.
    size: u64,
}

const SUMS: &[Column<Sum>] = &[
    Column::Text("PATH", |sum| match &sum.path {
        Some(path) => print::name(path.path().as_os_str().as_bytes()),
        None => "total".to_owned(),
    }),
    Column::Text("ADDED", |sum| sum.added.to_string()),
    Column::Text("CHANGED", |sum| sum.changed.to_string()),
    Column::Text("DELETED", |sum| sum.deleted.to_string()),
    Column::Size("SIZE", |sum| Some(sum.size)),
];

fn sums(changes: &[Change]) -> Vec<Sum> {
    let (mut sums, mut total) = (BTreeMap::<&[u8], Sum>::new(), Sum::default());
    for change in changes.iter().filter(|change| !is_only_on_the_way(change)) {
        let top = change.path.split(|&byte| byte == b'/').next().unwrap_or_default();
        let sum = sums.entry(top).or_insert_with(|| {
            let path = Path::new("/").join(OsStr::from_bytes(top));
            Sum { path: Some(path.as_path().into()), ..Sum::default() }
        });
        for sum in [sum, &mut total] {
            match change.kind {
                Kind::Added => sum.added += 1,
                Kind::Changed => sum.changed += 1,
                Kind::Deleted => sum.deleted += 1,
            }
            sum.size += written(change);
        }
    }
    sums.into_values().chain([total]).collect()
}

/// Whether a directory is told of only for what is in it.
fn is_only_on_the_way(change: &Change) -> bool {
    let is_directory = matches!(change.now, Some((Node::Directory(_), _)));
    change.kind == Kind::Changed && is_directory && matches!(change.aspects[..], [] | [Aspect::Time])
}

/// Returns how many bytes of contents a change has brought.
fn written(change: &Change) -> u64 {
    let brings = change.kind == Kind::Added
        || change.aspects.iter().any(|aspect| matches!(aspect, Aspect::Contents | Aspect::Type));
    change.now.as_ref().filter(|_| brings).and_then(|(_, stat)| inode::size(stat)).unwrap_or_default()
}
