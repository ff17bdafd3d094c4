//! `IMAGE:PATH` and `CONTAINER:PATH`: what is meant, and its root to look into.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::fault::{self, Cause};
use super::{print, waiting};
use crate::layer;
use crate::layer::pack::{self, LeftOut};
use crate::mount::container::{self, Opened};
use crate::store::images::Image;
use crate::store::record::{ContainerRecord, SnapshotRecord};
use crate::store::{self, Store};
use crate::sys::copy::Unheld;
use crate::sys::dir::in_root::{Found, Last};
use crate::sys::dir::{self, Dir, FileType};
use crate::sys::lock::Share;
use crate::sys::{CallFailed, Errno, counted};

/// Why something in an image or a container could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookFault {
    /// Nothing is there; the nearest name that is.
    #[error("there is no /{}", print::name(.0))]
    Missing(Vec<u8>, Option<Vec<u8>>),
    /// It cannot be read as a file.
    #[error("it is {0}")]
    NotAFile(&'static str),
    /// It leads to something else than a directory.
    #[error("/{} is no directory", print::name(.0))]
    NotADirectory(Vec<u8>),
    /// What is there already cannot be replaced, and why.
    #[error("{0}")]
    InTheWay(&'static str),
    /// Symbolic links lead to each other, or to what is this process' own.
    #[error("its symbolic links lead in a circle, or into /proc")]
    Tangled,
    /// What was looked for is not to be found, and why.
    #[error("{0}")]
    Unfound(&'static str),
    /// A tar could not be made.
    #[error(transparent)]
    Pack(#[from] pack::Error),
    /// A tar could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] layer::Error),
    /// Another program could not do its part, and what it said.
    #[error("{0}")]
    Program(String),
    /// Nothing can be written to an image.
    #[error("'{0}' is an image, and images do not change")]
    Image(String),
    /// Nor to a snapshot.
    #[error("'{container}@{name}' is a snapshot, and snapshots do not change")]
    Snapshot {
        /// The container by which it is called.
        container: String,
        /// Its name.
        name: String,
    },
}

impl LookFault {
    /// Says what to do instead.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(_, near) => {
                near.as_ref().map(|near| format!("did you mean /{}?", print::name(near)))
            }
            Self::NotAFile("a directory") => Some("`ovlctl ls` lists it".to_owned()),
            Self::Image(name) => Some(format!("`ovlctl mount {name} TARGET` makes a container over it")),
            Self::Snapshot { container, name } => {
                Some(format!("`ovlctl branch {container} NEW --from {name}` makes a container of it"))
            }
            Self::NotAFile(_)
            | Self::NotADirectory(_)
            | Self::InTheWay(_)
            | Self::Tangled
            | Self::Unfound(_)
            | Self::Program(_)
            | Self::Pack(_)
            | Self::Unpack(_) => None,
        }
    }
}

impl From<LookFault> for Cause {
    fn from(fault: LookFault) -> Self {
        Self::Look(fault)
    }
}

/// An image, a container or a snapshot of one.
pub(super) enum Subject {
    Container(ContainerRecord),
    Image(Image),
    /// With the name of the container by which it is called.
    Snapshot(String, SnapshotRecord),
}

/// A path in an image or a container.
pub(super) struct Place {
    pub(super) subject: Subject,
    /// As it was typed, without what is before it.
    pub(super) path: Vec<u8>,
}

impl Subject {
    pub(super) fn find(store: &Store, name: &str) -> Result<Self, Cause> {
        match store.container(name)? {
            Some(container) => Ok(Self::Container(container)),
            None => match store.snapshot(name)? {
                Some((container, snapshot)) => Ok(Self::Snapshot(container.name, snapshot)),
                None => Ok(Self::Image(store.image_else(name)?)),
            },
        }
    }

    /// Says no where nothing can be written.
    pub(super) fn refuse_to_change(&self) -> Result<(), LookFault> {
        match self {
            Self::Container(_) => Ok(()),
            Self::Image(image) => {
                let name = image.names.first().cloned().unwrap_or_else(|| image.record.id.short());
                Err(LookFault::Image(name))
            }
            Self::Snapshot(container, snapshot) => Err(LookFault::Snapshot {
                container: container.clone(),
                name: snapshot.name.clone().unwrap_or_default(),
            }),
        }
    }

    /// Opens it, and does something with it.
    pub(super) fn open<T>(
        &self,
        store: &Store,
        read_only: bool,
        act: impl FnOnce(&Opened) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        match self {
            Self::Image(image) => act(&container::open_image(store, &image.record)?),
            Self::Snapshot(_, snapshot) => act(&container::open_snapshot(store, snapshot)?),
            Self::Container(container) => {
                let change = store.change(Share::Shared, &mut waiting())?;
                act(&container::open_container(&change, &container.name, read_only, &mut waiting())?)
            }
        }
    }
}

impl Place {
    /// Reads `NAME` or `NAME:PATH`. An image's name may hold colons itself: a path that begins with a slash is found
    /// whatever the name is, another one where what is left of a colon is there.
    pub(super) fn find(store: &Store, text: &OsStr) -> Result<Self, Cause> {
        let bytes = text.as_bytes();
        let name = |end: usize| String::from_utf8_lossy(&bytes[..end]).into_owned();
        let place = |subject, path: &[u8]| Self { subject, path: path.to_owned() };
        if let Some(colon) = bytes.windows(2).position(|pair| pair == b":/") {
            return Ok(place(Subject::find(store, &name(colon))?, &bytes[colon + 1..]));
        }
        let error = match Subject::find(store, &name(bytes.len())) {
            Ok(subject) => return Ok(place(subject, b"/")),
            Err(error) => error,
        };
        for (colon, _) in bytes.iter().enumerate().rev().filter(|&(_, &byte)| byte == b':') {
            if let Ok(subject) = Subject::find(store, &name(colon)) {
                return Ok(place(subject, &bytes[colon + 1..]));
            }
        }
        Err(error)
    }

    /// Opens its root, and does something there.
    pub(super) fn look<T>(
        &self,
        store: &Store,
        read_only: bool,
        act: impl FnOnce(&Dir) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        self.subject.open(store, read_only, |opened| act(opened.root()))
    }
}

/// Finds a path that must be there.
pub(super) fn existing(root: &Dir, path: &[u8], last: Last) -> Result<Found, Cause> {
    match root.find(path, last).map_err(failed)? {
        Some(found) => Ok(found),
        None if path.ends_with(b"/") && !trimmed(path).is_empty() => {
            // A slash behind a file is ENOTDIR, which reads as nothing.
            existing(root, &path[..path.len() - 1], last)?;
            Err(LookFault::NotADirectory(trimmed(path)).into())
        }
        None if last == Last::Followed && root.find(path, Last::Kept).map_err(failed)?.is_some() => {
            Err(LookFault::Unfound("its symbolic link leads to nothing").into())
        }
        None => Err(LookFault::Missing(trimmed(path), near(root, path)).into()),
    }
}

/// Opens a path that must be a regular file: opening a device may do something, and a fifo would wait.
pub(super) fn file(root: &Dir, path: &[u8]) -> Result<std::fs::File, Cause> {
    let found = existing(root, path, Last::Followed)?;
    match dir::kind(&found.stat().map_err(failed)?) {
        FileType::RegularFile => found.open_file().map_err(failed),
        FileType::Directory => Err(LookFault::NotAFile("a directory").into()),
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Err(LookFault::NotAFile("no regular file").into()),
    }
}

/// Takes a call that failed for what went wrong.
pub(super) fn failed(failed: CallFailed) -> Cause {
    match failed.errno {
        Errno::LOOP => LookFault::Tangled.into(),
        _ => Cause::Store(store::Error::Call(failed)),
    }
}

/// Returns a path without the slashes around it, and what stands for a directory itself.
pub(super) fn trimmed(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

/// Warns of what no tar could take.
pub(super) fn tell_left_out(left_out: &LeftOut) {
    for (path, why) in left_out {
        fault::warn(&format!("/{} left out: {why}", print::name(&trimmed(path))));
    }
}

/// Warns of extended attributes that files could not be given, where there are any.
pub(super) fn tell_unheld(unheld: &Unheld) {
    if let Some((path, key)) = unheld.first() {
        let (path, key) = (print::name(path), print::name(key));
        let count = counted(unheld.len(), "extended attribute");
        fault::warn(&format!("{count} that the filesystem cannot hold left out, first '{key}' of '{path}'"));
    }
}

/// Finds the name beside a missing one that a slip of the fingers may have meant.
fn near(root: &Dir, path: &[u8]) -> Option<Vec<u8>> {
    let path = trimmed(path);
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let (above, name) = (&path[..slash.unwrap_or(0)], &path[slash.map_or(0, |slash| slash + 1)..]);
    let names = root.find(above, Last::Followed).ok()??.open_dir().ok()?.names().ok()?;
    let apart = |other: &Vec<u8>| strsim::generic_damerau_levenshtein(name, other);
    let near = names.into_iter().min_by_key(|other| (apart(other), other.clone()))?;
    (apart(&near) <= name.len().div_ceil(3)).then(|| trimmed(&[above, b"/", &near].concat()))
}
