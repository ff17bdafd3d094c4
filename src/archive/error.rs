//! Why an archive cannot be used.

use std::io;

use super::choose::Listed;
use super::decode::Damaged;
use super::json::Malformed;
use crate::limits::Exceeded;
use crate::sys::CallFailed;
use crate::tarfile;

/// Why an archive, or the image asked for, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes could not be had, or not be kept; nothing is said about the archive.
    #[error("{what}")]
    Io {
        /// What could not be done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something else than an archive of images.
    #[error("not an image archive: {0}")]
    NotAnImage(String),
    /// A whole root filesystem in a tar, which is what `docker export` writes.
    #[error("not an image archive: no manifest.json, no oci-layout")]
    RootFilesystem,
    /// A directory that is no OCI layout.
    #[error("not an image archive: no manifest.json, no oci-layout")]
    Directory,
    /// An archive, all of it in a folder of this tar.
    #[error("not an image archive: no manifest.json, no oci-layout but in '{}'", .0.escape_debug())]
    InFolder(String),
    /// Damaged or hostile.
    #[error("{0}")]
    Damaged(String),
    /// More than a limit allows.
    #[error("{}{exceeded}", .document.as_ref().map_or_else(String::new, |name| format!("{}: ", name.escape_debug())))]
    Exceeded {
        /// The JSON document, where it is one.
        document: Option<String>,
        /// Which limit.
        exceeded: Exceeded,
    },
    /// The archive has no such image.
    #[error("no image '{}'{}", .asked.escape_debug(), Among(.images))]
    NoSuchImage {
        /// What was asked for.
        asked: String,
        /// What there is, the nearest name first.
        images: Vec<Listed>,
    },
    /// Several images would do.
    #[error("{} images to choose from: {}", .0.len(), Rows(.0))]
    Ambiguous(Vec<Listed>),
}

impl Error {
    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// Says of which `document` it is that it is malformed.
    pub(super) fn malformed(document: impl std::fmt::Display) -> impl FnOnce(Malformed) -> Self {
        move |fault| Self::Damaged(format!("{document}: {fault}"))
    }

    /// Tells an archive that is damaged, or none, from a file that cannot be read.
    pub(super) fn reading(source: io::Error) -> Self {
        let inner = source.get_ref();
        if let Some(&exceeded) = inner.and_then(|inner| inner.downcast_ref::<Exceeded>()) {
            return exceeded.into();
        }
        match inner.and_then(|inner| inner.downcast_ref::<Damaged>()) {
            Some(Damaged::Unsupported(what)) => Self::NotAnImage((*what).to_owned()),
            Some(damaged) => Self::Damaged(damaged.to_string()),
            None => Self::io("the archive cannot be read", source),
        }
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded { document: None, exceeded }
    }
}

impl From<CallFailed> for Error {
    fn from(failed: CallFailed) -> Self {
        Self::io("the archive cannot be read", failed.into())
    }
}

impl From<tarfile::Error> for Error {
    fn from(error: tarfile::Error) -> Self {
        match error {
            tarfile::Error::Input(source) => Self::reading(source),
            damaged @ (tarfile::Error::Damaged { .. } | tarfile::Error::Entry { .. }) => {
                Self::Damaged(format!("the archive itself: {damaged}"))
            }
        }
    }
}

/// So many images an error's line lists at most.
const MOST: usize = 20;

struct Rows<'a>(&'a [Listed]);

impl std::fmt::Display for Rows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (nr, row) in self.0.iter().take(MOST).enumerate() {
            write!(f, "{}{row}", if nr == 0 { "" } else { ", " })?;
        }
        if self.0.len() > MOST { write!(f, " and {} more", self.0.len() - MOST) } else { Ok(()) }
    }
}

struct Among<'a>(&'a [Listed]);

impl std::fmt::Display for Among<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " among {}", Rows(self.0)) }
    }
}
