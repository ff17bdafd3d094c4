//! Which exit code an error has.

use crate::cli::config;
use crate::{archive, layer, store};

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    InUse = 4,
    Cannot = 5,
    Damaged = 6,
}

impl Exit {
    /// Reads the code that another process told.
    pub(super) fn of(code: u8) -> Self {
        let all = [Self::Usage, Self::NotFound, Self::InUse, Self::Cannot, Self::Damaged];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Self::Failed)
    }
}

/// What the exit code says of an error of a configuration file.
pub(super) fn of_config(error: &config::Error) -> Exit {
    match error {
        config::Error::Syntax { .. } | config::Error::Key { .. } | config::Error::Value { .. } => Exit::Usage,
        config::Error::Read(_) | config::Error::Untrusted(_) => Exit::Failed,
    }
}

/// What the exit code says of an error of an archive.
pub(super) fn of_archive(error: &archive::Error) -> Exit {
    match error {
        archive::Error::Io { .. } => Exit::Failed,
        archive::Error::NoSuchImage { .. } => Exit::NotFound,
        archive::Error::Ambiguous(_) => Exit::Usage,
        archive::Error::NotAnImage(_)
        | archive::Error::RootFilesystem
        | archive::Error::Directory
        | archive::Error::InFolder(_)
        | archive::Error::Damaged(_)
        | archive::Error::Exceeded { .. } => Exit::Damaged,
    }
}

/// What the exit code says of an error of the store.
pub(super) fn of_store(error: &store::Error) -> Exit {
    match error {
        store::Error::NoImage { .. }
        | store::Error::NoContainer { .. }
        | store::Error::NoSubject { .. }
        | store::Error::NoSnapshot { .. }
        | store::Error::NotAnImage { .. }
        | store::Error::NotAContainer { .. } => Exit::NotFound,
        store::Error::AmbiguousId { .. }
        | store::Error::NotAContainerName(_)
        | store::Error::NotASnapshotName(_) => Exit::Usage,
        store::Error::InUse { .. }
        | store::Error::SeveralNames(_)
        | store::Error::ContainerExists(_)
        | store::Error::SnapshotExists { .. } => Exit::InUse,
        store::Error::Unfit { .. } => Exit::Cannot,
        store::Error::Layer { source, .. } => of_layer(source),
        store::Error::Blob { source, .. } => of_archive(source),
        store::Error::Record { .. } => Exit::Damaged,
        store::Error::ReadOnly(_)
        | store::Error::NoSpace(_)
        | store::Error::NoSpaceForLayer { .. }
        | store::Error::NotAStore(_)
        | store::Error::Root { .. }
        | store::Error::Pack(_)
        | store::Error::File { .. }
        | store::Error::Thread(_)
        | store::Error::Call(_) => Exit::Failed,
    }
}

/// What the exit code says of an error of a layer.
pub(super) fn of_layer(error: &layer::Error) -> Exit {
    match error {
        layer::Error::Refused { .. }
        | layer::Error::Tar(_)
        | layer::Error::Contents { .. }
        | layer::Error::Recipe(_)
        | layer::Error::Exceeded { .. } => Exit::Damaged,
        layer::Error::Read(_) if error.is_unread() => Exit::Failed,
        layer::Error::Read(_) => Exit::Damaged,
        layer::Error::Unheld { .. } => Exit::Cannot,
        layer::Error::Entry { .. } | layer::Error::Call(_) | layer::Error::Thread(..) => Exit::Failed,
    }
}
