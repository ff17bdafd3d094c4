//! What can go wrong in a store.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::record::Unreadable;
use crate::sys::CallFailed;
use crate::sys::filesystem::size;
use crate::{archive, layer};

/// What else a name may mean than what was asked for.
pub const AN_IMAGE: &str = "an image";
/// The same.
pub const A_CONTAINER: &str = "a container";
/// The same.
pub const A_SNAPSHOT: &str = "a snapshot";

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing has that name or id.
    #[error("no image '{name}' in {}", root.display())]
    NoImage {
        /// What was asked for.
        name: String,
        /// The store.
        root: PathBuf,
        /// The nearest name there is.
        near: Option<String>,
    },
    /// No container has that name or id.
    #[error("no container '{name}' in {}", root.display())]
    NoContainer {
        /// What was asked for.
        name: String,
        /// The store.
        root: PathBuf,
        /// The nearest name there is.
        near: Option<String>,
    },
    /// Neither an image nor a container has that name or id.
    #[error("no image or container '{name}' in {}", root.display())]
    NoSubject {
        /// What was asked for.
        name: String,
        /// The store.
        root: PathBuf,
        /// The nearest name there is.
        near: Option<String>,
    },
    /// No image has that name, but something that stands on one.
    #[error("'{name}' is {what}, and no image")]
    NotAnImage {
        /// What was asked for.
        name: String,
        /// What that is.
        what: &'static str,
        /// A name or an id of the image that it stands on, fit for a command line.
        image: String,
    },
    /// No container has that name, but something that one can be made of.
    #[error("'{name}' is {what}, and no container")]
    NotAContainer {
        /// What was asked for.
        name: String,
        /// What that is.
        what: &'static str,
    },
    /// The start of an id that several have.
    #[error("'{prefix}' is the start of {} ids: {}", ids.len(), ids.join(", "))]
    AmbiguousId {
        /// What was asked for.
        prefix: String,
        /// The ids, shortened.
        ids: Vec<String>,
    },
    /// A name that cannot be one.
    #[error("'{}' is no name for a container: letters, digits, '_', '.' and '-', at most 128", .0.escape_debug())]
    NotAContainerName(String),
    /// A container has that name already.
    #[error("there is a container '{0}' already")]
    ContainerExists(String),
    /// A container has no snapshot of that name.
    #[error("container '{container}' has no snapshot '{}'", name.escape_debug())]
    NoSnapshot {
        /// The container.
        container: String,
        /// What was asked for.
        name: String,
        /// The nearest name there is.
        near: Option<String>,
    },
    /// A name that cannot be a snapshot's.
    #[error("'{}' is no name for a snapshot: letters, digits, '_', '.' and '-', at most 128", .0.escape_debug())]
    NotASnapshotName(String),
    /// A container has a snapshot of that name already.
    #[error("there is a snapshot '{container}@{name}' already")]
    SnapshotExists {
        /// The container.
        container: String,
        /// The name.
        name: String,
    },
    /// Something still needs it.
    #[error("in use by {}", by.join(", "))]
    InUse {
        /// Who, each in words: `container 'web'`.
        by: Vec<String>,
    },
    /// An id means an image that has names in several repositories.
    #[error("it has several names: {}", .0.join(", "))]
    SeveralNames(Vec<String>),
    /// A layer that could not be read, or not be written.
    #[error("layer {nr} of {of}")]
    Layer {
        /// Which, counted from 1, the base first.
        nr: usize,
        /// How many the image has.
        of: usize,
        /// Why.
        #[source]
        source: layer::Error,
    },
    /// The archive has no such layer, or not as its manifest says.
    #[error("layer {nr} of {of}")]
    Blob {
        /// Which, counted from 1, the base first.
        nr: usize,
        /// How many the image has.
        of: usize,
        /// Why.
        #[source]
        source: archive::Error,
    },
    /// The store's filesystem cannot be written.
    #[error("{} is on a read-only filesystem", .0.display())]
    ReadOnly(PathBuf),
    /// The store's filesystem is full.
    #[error("no space left on {}", .0.display())]
    NoSpace(PathBuf),
    /// The store's filesystem has no room for a layer.
    #[error("no space left on {}: layer {nr} of {of} needs {}more", root.display(), at_least(*.more))]
    NoSpaceForLayer {
        /// The store.
        root: PathBuf,
        /// Which, counted from 1, the base first.
        nr: usize,
        /// How many the image has.
        of: usize,
        /// How many bytes more, at least; 0 where nobody knows.
        more: u64,
    },
    /// The store's filesystem cannot hold layers.
    #[error("{} lies on {filesystem}, which cannot hold {what}", root.display())]
    Unfit {
        /// The store.
        root: PathBuf,
        /// Its filesystem.
        filesystem: String,
        /// What it lacks.
        what: &'static str,
    },
    /// A directory with other things in it.
    #[error("{} is not empty, and no store of ovlctl's", .0.display())]
    NotAStore(PathBuf),
    /// A record that is no record.
    #[error("{}", path.display())]
    Record {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Unreadable,
    },
    /// A file that could not be read or written.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is to become a layer could not be read.
    #[error(transparent)]
    Pack(#[from] layer::pack::Error),
    /// The root's metadata could not be copied to an upper directory.
    #[error("{}", path.display())]
    Root {
        /// The upper directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: layer::Error,
    },
    /// A thread that unpacks layers could not be started.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    /// A system call that failed.
    #[error(transparent)]
    Call(#[from] CallFailed),
}

impl Error {
    /// Returns what kind of error the system had, where it is the system's.
    #[must_use]
    pub fn kind(&self) -> Option<io::ErrorKind> {
        if let Self::File { source, .. } = self {
            Some(source.kind())
        } else if let Self::Call(failed) = self {
            Some(failed.kind())
        } else {
            None
        }
    }

    /// Whether a write found no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kind().is_some_and(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    }
}

/// Names the file of an input or output error.
pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { path, source }
}

/// Whether something is at `path`. That it cannot be seen is an error: who took it for gone would remove what belongs to it.
pub(super) fn is_there(path: impl AsRef<Path>) -> Result<bool, Error> {
    Ok(look(path.as_ref())?.is_some())
}

/// Whether a directory is at `path`, in the same way.
pub(super) fn is_dir(path: impl AsRef<Path>) -> Result<bool, Error> {
    Ok(look(path.as_ref())?.is_some_and(|found| found.is_dir()))
}

/// Returns what is at `path`, links followed.
pub(super) fn look(path: &Path) -> Result<Option<Metadata>, Error> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(file(path)(e)),
    }
}

/// Keeps those of which `keep` says so.
pub(super) fn filter<T>(
    all: impl IntoIterator<Item = T>,
    mut keep: impl FnMut(&T) -> Result<bool, Error>,
) -> Result<Vec<T>, Error> {
    let keep = |one: T| keep(&one).map(|kept| kept.then_some(one)).transpose();
    all.into_iter().filter_map(keep).collect()
}

fn at_least(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!("{} ", size(bytes)) }
}
