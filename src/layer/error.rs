//! Why a layer could not be unpacked.

use std::io;

use crate::digest::Digest;
use crate::limits::Exceeded;
use crate::sys::CallFailed;
use crate::tarfile;

use super::path::{NAME_MAX, PATH_MAX};
use super::recipe;

/// A layer that could not be unpacked or settled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An entry asks for what no layer may do.
    #[error("entry '{}': {reason}", path.escape_ascii())]
    Refused {
        /// The entry's name in the tar.
        path: Vec<u8>,
        /// What is wrong with it.
        reason: Refusal,
    },
    /// The bytes are no tar.
    #[error("{0}")]
    Tar(tarfile::Error),
    /// The bytes could not be read or decompressed.
    #[error("{}{error}", if is_of_system(.0) { "the archive cannot be read: " } else { "" }, error = .0)]
    Read(io::Error),
    /// The uncompressed bytes are not those that the image names.
    #[error("contents are sha256:{}, the image says sha256:{}", .found.short(), .wanted.short())]
    Contents {
        /// The digest of the bytes that came.
        found: Digest,
        /// The digest that the image names.
        wanted: Digest,
    },
    /// Its tar cannot be made again.
    #[error(transparent)]
    Recipe(recipe::Fault),
    /// More than a limit allows.
    #[error("{}{exceeded}", .path.as_ref().map_or_else(String::new, |path| format!("entry '{}': ", path.escape_ascii())))]
    Exceeded {
        /// The entry's name in the tar, where it is that entry's.
        path: Option<Vec<u8>>,
        /// Which limit.
        exceeded: Exceeded,
    },
    /// The store's filesystem cannot hold an extended attribute.
    #[error("entry '{}': {filesystem} cannot hold extended attribute '{}'", path.escape_ascii(), key.escape_ascii())]
    Unheld {
        /// The entry's name in the tar.
        path: Vec<u8>,
        /// The attribute's name.
        key: Vec<u8>,
        /// The filesystem's name.
        filesystem: Box<str>,
        /// What the kernel answered.
        source: CallFailed,
    },
    /// The disk, or the kernel, would not do what an entry needs.
    #[error("entry '{}'", path.escape_ascii())]
    Entry {
        /// The entry's name in the tar, or the directory's path in the layer.
        path: Vec<u8>,
        /// The call that failed.
        source: CallFailed,
    },
    /// A call failed that belongs to no entry.
    #[error("{0}")]
    Call(CallFailed),
    /// A thread could not be started, or panicked.
    #[error("the {0} thread {1}")]
    Thread(&'static str, String),
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its path has more `..` than directories before them.
    #[error("leads out of the layer")]
    LeadsOut,
    /// Its path holds a NUL, where C would cut it.
    #[error("its name holds a NUL")]
    Nul,
    /// A component is longer than any filesystem takes.
    #[error("a name of {0} bytes, and {NAME_MAX} is the longest")]
    LongName(usize),
    /// The path, links followed, is longer than the kernel takes.
    #[error("a path of {0} bytes, and {PATH_MAX} is the longest")]
    LongPath(usize),
    /// `.wh.` with nothing, `.` or `..` after it.
    #[error("a whiteout of no name")]
    NoWhiteout,
    /// A link on the way, or a hard link's target, asks for a directory of this name.
    #[error("a directory '{}', a name of AUFS's own", .0.escape_ascii())]
    Reserved(Vec<u8>),
    /// The layer's root is something else than a directory.
    #[error("the layer's root is no directory")]
    RootNoDirectory,
    /// What overlayfs takes for a whiteout.
    #[error("a character device 0:0, which overlayfs takes for a whiteout")]
    WhiteoutDevice,
    /// Its parent directories lead through symbolic links without end.
    #[error("more than {0} symbolic links on the way")]
    TooManyLinks(usize),
    /// Its parent directories lead to and fro through symbolic links.
    #[error("more than {0} names on the way, those of symbolic links included")]
    TooManySteps(usize),
    /// Directories have one name.
    #[error("hard link to '{}', which is a directory", .0.escape_ascii())]
    LinkToDirectory(Vec<u8>),
    /// Neither this layer, up to here, nor one below has the target.
    #[error("hard link to '{}', which is not in this layer or below", .0.escape_ascii())]
    LinkToNothing(Vec<u8>),
    /// The target's name leads out of the layer, or is none.
    #[error("hard link to '{}': {why}", target.escape_ascii())]
    LinkTarget {
        /// The target as the tar has it.
        target: Vec<u8>,
        /// What is wrong with it.
        why: Box<Refusal>,
    },
}

impl Refusal {
    /// Says which entry is refused.
    pub(super) fn of(self, path: &[u8]) -> Error {
        Error::Refused { path: path.to_owned(), reason: self }
    }
}

impl Error {
    /// Whether the system could not give the layer's bytes: nothing is said about the layer.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Read(e) if is_of_system(e))
    }

    /// Whether bytes that changed on their way could be the reason.
    pub(super) fn may_be_damage(&self) -> bool {
        match self {
            Self::Tar(_) | Self::Refused { .. } => true,
            Self::Read(_)
            | Self::Contents { .. }
            | Self::Recipe(_)
            | Self::Exceeded { .. }
            | Self::Unheld { .. }
            | Self::Entry { .. }
            | Self::Call(_)
            | Self::Thread(..) => false,
        }
    }
}

impl From<io::Error> for Error {
    /// Tells bytes that are too many from bytes that cannot be had.
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Exceeded>()) {
            Some(&exceeded) => exceeded.into(),
            None => Self::Read(error),
        }
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded { path: None, exceeded }
    }
}

fn is_of_system(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
}

impl From<tarfile::Error> for Error {
    fn from(error: tarfile::Error) -> Self {
        match error {
            tarfile::Error::Input(e) => e.into(),
            error @ (tarfile::Error::Damaged { .. } | tarfile::Error::Entry { .. }) => Self::Tar(error),
        }
    }
}

/// Says which entry a failed call was for.
pub(super) trait For<T> {
    /// Names the entry.
    fn entry(self, path: &[u8]) -> Result<T, Error>;
}

impl<T> For<T> for Result<T, CallFailed> {
    fn entry(self, path: &[u8]) -> Result<T, Error> {
        self.map_err(|source| Error::Entry { path: path.to_owned(), source })
    }
}

impl<T> For<T> for Result<T, Exceeded> {
    fn entry(self, path: &[u8]) -> Result<T, Error> {
        self.map_err(|exceeded| Error::Exceeded { path: Some(path.to_owned()), exceeded })
    }
}

impl<T> For<T> for Result<T, Refusal> {
    fn entry(self, path: &[u8]) -> Result<T, Error> {
        self.map_err(|reason| reason.of(path))
    }
}
