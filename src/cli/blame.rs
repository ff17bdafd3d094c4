//! `blame`: which layer a path comes from.

use clap::Args;
use serde::Serialize;

use super::act::{Act, Around};
use super::diff::shown_root;
use super::fault::{self, Cause, Fault};
use super::place::{self, LookFault};
use super::print::{self, Column, Listing};
use super::{Context, inode, permit};
use crate::digest::Digest;
use crate::layer::trace::{self, Says, Word};
use crate::layer::view::{Pool, View, nearest};
use crate::mount::container;
use crate::store::history::Step;
use crate::store::record::{ContainerRecord, ImageRecord, SnapshotRecord, StoredPath};
use crate::store::{self, Store};
use crate::sys::caps::TO_LOOK;

/// Tell which layer a path comes from, and what the layers below had there
///
/// The uppermost layer comes first: what it says is what is there. Each row has a layer that has the path, or removes it,
/// or hides it. Links on the way are followed inside the image, but not the path's own.
///
/// Of a container whose changes are in memory, its mount tells what they are: all that is another than below.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl blame /etc/passwd web:1.4
  ovlctl blame /usr/lib/libc.so.6 web-1.4      # what a container has changed, too")]
pub(super) struct Blame {
    /// A path in the image
    #[arg(value_name = "PATH")]
    path: std::path::PathBuf,
    /// An image, a container or CONTAINER@SNAPSHOT
    #[arg(value_name = "IMAGE|CONTAINER")]
    name: String,
    /// Print ids in full, and instructions on a terminal that is too narrow for them, too
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    listing: Listing,
}

/// A row of `blame`: what one layer says.
#[derive(Debug, Serialize)]
struct WordRow {
    /// The layer's number, 1 is the base; `null` for what a container has changed.
    layer: Option<usize>,
    /// The snapshot in which it had changed it; `null` for what is not in one.
    snapshot: Option<String>,
    diff_id: Option<Digest>,
    chain_id: Option<Digest>,
    /// `added`, `changed`, `unchanged`, `removed`, `replaced` or `hidden`.
    action: &'static str,
    /// What has that effect: the path itself, or a directory above it.
    path: StoredPath,
    r#type: Option<&'static str>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    size: Option<u64>,
    target: Option<StoredPath>,
    /// What of it is another than in the layer below.
    what: Vec<&'static str>,
    created_by: Option<String>,
    #[serde(skip)]
    shown: Shown,
}

/// What the table shows of a row.
#[derive(Debug, Default)]
struct Shown {
    id: String,
    what: String,
    instruction: String,
}

const WORDS: &[Column<WordRow>] = &[
    Column::Text("LAYER", |row| row.layer.map_or_else(|| "-".to_owned(), |nr| nr.to_string())),
    Column::Text("DIFF ID", |row| row.shown.id.clone()),
    Column::Text("ACTION", |row| row.action.to_owned()),
    Column::Text("WHAT", |row| row.shown.what.clone()),
    Column::Free("CREATED BY", |row| row.shown.instruction.clone()),
];

/// An image, and a container or a snapshot over it where that was named.
struct Subject {
    container: Option<ContainerRecord>,
    /// The snapshots that it stands on, or is, uppermost first.
    snapshots: Vec<SnapshotRecord>,
    image: ImageRecord,
    steps: Vec<Step>,
}

/// The directories of a subject, uppermost first.
struct Views {
    /// All of them.
    all: Vec<usize>,
    /// Those that are seen.
    seen: Vec<usize>,
    /// The root of its mount, where that alone has what lies above them.
    shown: Option<usize>,
}

impl Act for Blame {
    fn names(&mut self) -> Vec<&mut String> {
        vec![&mut self.name]
    }

    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("trace", TO_LOOK)?;
        let store = context.store()?;
        let rows = self.rows(&store).map_err(|cause| {
            let path = print::name(self.path.as_os_str().as_encoded_bytes());
            Fault::new("trace", format!("{path} in '{}'", self.name), cause)
        })?;
        let columns = Column::all(WORDS, self.no_trunc);
        print::rows(self.listing, &columns, |row| row.shown.id.clone(), &rows)
    }
}

impl Blame {
    fn rows(&self, store: &Store) -> Result<Vec<WordRow>, Cause> {
        let subject = Subject::find(store, &self.name)?;
        let mut pool = Pool::default();
        let Views { all, seen, shown } = subject.views(store, &mut pool)?;
        let (all, below) = (View::new(&pool, all), View::new(&pool, seen));
        let seen = shown.map_or_else(|| below.clone(), |root| View::new(&pool, vec![root]));
        let failed = |e| Cause::Store(store::Error::Call(e));
        let typed = self.path.as_os_str().as_encoded_bytes();
        let path = trace::resolve(&seen, typed).map_err(failed)?;
        if path != trace::resolve(&View::new(&pool, Vec::new()), typed).map_err(failed)? {
            fault::say(&format!("by a symbolic link this is /{}", print::name(&path)));
        }
        let words = match shown {
            Some(_) => trace::trace_shown(&seen, &below, &all, &path),
            None => trace::trace(&all, &path),
        };
        let mut words = words.map_err(failed)?;
        if words.is_empty() {
            let near = nearest(&seen, &path).map_err(failed)?;
            return Err(LookFault::Missing(path, near).into());
        }
        subject.add_opaque_roots(store, &mut words)?;
        Ok(words.iter().map(|word| self.row(&subject, &path, word)).collect())
    }

    fn row(&self, subject: &Subject, path: &[u8], word: &Word) -> WordRow {
        let layer = subject.number(word.depth);
        let record = layer.map(|nr| &subject.image.layers[nr - 1]);
        let step = subject.steps.iter().find(|step| step.layer.as_ref().map(|(nr, _)| *nr) == layer);
        let created_by = step.filter(|_| layer.is_some()).and_then(|step| step.created_by.clone());
        let instruction = match &created_by {
            Some(text) => print::text(text),
            None => subject.called(word.depth).unwrap_or_else(|| "-".to_owned()),
        };
        let id = |digest: Digest| if self.no_trunc { digest.to_string() } else { digest.short() };
        let shown = Shown {
            id: record.map_or_else(|| "-".to_owned(), |layer| id(layer.diff_id)),
            what: what(word, path),
            instruction,
        };
        let effective = match (&word.says, &word.opaque) {
            (Says::Removes(at) | Says::Replaces(at), _) | (Says::Nothing, Some(at)) => at,
            (Says::Has { .. }, _) | (Says::Nothing, None) => path,
        };
        let row = WordRow {
            layer,
            snapshot: subject.snapshot(word.depth).and_then(|snapshot| snapshot.name.clone()),
            diff_id: record.map(|layer| layer.diff_id),
            chain_id: record.map(|layer| layer.chain_id),
            action: action(word),
            path: stored(effective),
            r#type: None,
            mode: None,
            uid: None,
            gid: None,
            size: None,
            target: None,
            what: Vec::new(),
            created_by,
            shown,
        };
        let Says::Has { stat, target, what, .. } = &word.says else { return row };
        WordRow {
            r#type: Some(inode::kind(stat)),
            mode: Some(stat.st_mode & 0o7777),
            uid: Some(stat.st_uid),
            gid: Some(stat.st_gid),
            size: inode::size(stat),
            target: (!target.is_empty()).then(|| StoredPath::of(target)),
            what: what.iter().map(|aspect| inode::aspect(*aspect)).collect(),
            ..row
        }
    }
}

impl Subject {
    fn find(store: &Store, name: &str) -> Result<Self, Cause> {
        let (container, image, snapshots) = match place::Subject::find(store, name)? {
            place::Subject::Image(image) => (None, image.record, Vec::new()),
            place::Subject::Snapshot(_, snapshot) => {
                let image = container::image_below(store, &snapshot)?;
                (None, image, store.down_from(Some(&snapshot.id))?)
            }
            place::Subject::Container(over) => {
                let (image, snapshots) = (container::image_of(store, &over)?, store.stands_on(&over)?);
                (Some(over), image, snapshots)
            }
        };
        let steps = store.history(&image)?;
        Ok(Self { container, snapshots, image, steps })
    }

    /// Opens all layers, and those that are seen.
    fn views(&self, store: &Store, pool: &mut Pool) -> Result<Views, Cause> {
        let (mut upper, mut shown) = (None, None);
        if let Some(container) = &self.container {
            match store.open_upper(container)? {
                Some(dir) => upper = Some(pool.add(dir).map_err(store::Error::from)?),
                None => shown = Some(pool.add(shown_root(store, container)?).map_err(store::Error::from)?),
            }
        }
        let frozen = store.open_snapshots(self.snapshots.first().map(|top| top.id.as_str()), pool)?;
        let on = |stack: Vec<usize>| upper.into_iter().chain(frozen.clone()).chain(stack).collect();
        let all = on(store.open_layers(&self.image, pool)?);
        Ok(Views { all, seen: on(store.open_image(&self.image, pool)?), shown })
    }

    /// Returns the number of the layer so far from the top.
    fn number(&self, depth: usize) -> Option<usize> {
        Some(self.image.layers.len() - depth.checked_sub(self.above())?)
    }

    /// Returns how many directories lie above the image's layers.
    fn above(&self) -> usize {
        usize::from(self.container.is_some()) + self.snapshots.len()
    }

    fn snapshot(&self, depth: usize) -> Option<&SnapshotRecord> {
        self.snapshots.get(depth.checked_sub(usize::from(self.container.is_some()))?)
    }

    /// Returns what a directory above the image's layers is called, so far from the top.
    fn called(&self, depth: usize) -> Option<String> {
        let Some(snapshot) = self.snapshot(depth) else {
            let container = self.container.as_ref().filter(|_| depth == 0)?;
            return Some(format!("container '{}'", container.name));
        };
        let name = snapshot.name.as_ref();
        Some(name.map_or_else(|| "a snapshot".to_owned(), |name| format!("snapshot '{name}'")))
    }

    /// Overlayfs ignores a mark on a root, so there is none to be found: the records know of those that hide everything.
    fn add_opaque_roots(&self, store: &Store, words: &mut Vec<Word>) -> Result<(), Cause> {
        for (nr, layer) in self.image.layers.iter().enumerate().skip(1) {
            let depth = self.image.layers.len() - 1 - nr + self.above();
            if !store.layer(&layer.chain_id)?.is_some_and(|record| record.opaque_root) {
                continue;
            }
            match words.iter_mut().find(|word| word.depth == depth) {
                Some(word) => word.opaque = Some(Vec::new()),
                None => words.push(Word { depth, says: Says::Nothing, opaque: Some(Vec::new()) }),
            }
        }
        words.sort_by_key(|word| word.depth);
        Ok(())
    }
}

fn action(word: &Word) -> &'static str {
    match &word.says {
        Says::Has { new: true, .. } => "added",
        Says::Has { what, .. } if what.is_empty() => "unchanged",
        Says::Has { .. } => "changed",
        Says::Removes(_) => "removed",
        Says::Replaces(_) => "replaced",
        Says::Nothing => "hidden",
    }
}

/// Says in short what a layer has, or by what it takes the path away.
fn what(word: &Word, path: &[u8]) -> String {
    let by = |at: &Vec<u8>, how: &str| {
        if at == path { String::new() } else { format!("{how} /{}", print::name(at)) }
    };
    let mut text = match &word.says {
        Says::Has { stat, target, what, .. } => {
            let mut text = format!("{} {}:{}", inode::mode(stat), stat.st_uid, stat.st_gid);
            if let Some(size) = inode::size(stat) {
                text += &format!(" {}", print::size(size));
            }
            if !target.is_empty() {
                text += &format!(" -> {}", print::name(target));
            }
            if !what.is_empty() {
                let words: Vec<&str> = what.iter().map(|aspect| inode::aspect(*aspect)).collect();
                text += &format!(" ({})", words.join(", "));
            }
            text
        }
        Says::Removes(at) => by(at, "with"),
        Says::Replaces(at) => by(at, "by a file at"),
        Says::Nothing => String::new(),
    };
    if let Some(at) = &word.opaque {
        let at = print::name(at);
        text = format!("{text} /{at} starts anew").trim_start().to_owned();
    }
    if text.is_empty() { "-".to_owned() } else { text }
}

fn stored(path: &[u8]) -> StoredPath {
    StoredPath::of(&[b"/", path].concat())
}
