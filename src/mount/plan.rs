//! `Plan`: all that goes into one mount, decided before anything is done.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::options::Options;
use super::script::Script;
use crate::sys::script::Slots;

/// How many lower directories overlayfs takes: OVL_MAX_STACK in fs/overlayfs/params.h.
pub const MAX_LOWER: usize = 500;

/// One overlay mount to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The lower directories, uppermost first.
    pub lowers: Vec<Lower>,
    /// Whether and where changes go.
    pub access: Access,
    /// What `-o` said.
    pub options: Options,
    /// What mountinfo shows as the source.
    pub source: String,
    /// How the layers are handed over; the best that this kernel takes where nothing is said.
    pub method: Option<Method>,
    /// The folder in which `links` finds the lowers' short names.
    pub overlay2: Option<PathBuf>,
}

/// A lower directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lower {
    /// Where it is.
    pub path: PathBuf,
    /// Its short name under `l/` in the plan's `overlay2` folder.
    pub link: Option<String>,
}

impl From<PathBuf> for Lower {
    fn from(path: PathBuf) -> Self {
        Self { path, link: None }
    }
}

/// Whether and where changes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing can be changed.
    ReadOnly,
    /// Changes go to `upper`.
    Writable {
        /// The upper directory.
        upper: PathBuf,
        /// The directory that overlayfs works in, in the same mount as `upper`.
        work: PathBuf,
    },
    /// Changes go to memory and end with the mount.
    Tmpfs {
        /// How many bytes they may take; half the memory where nothing is said (tmpfs(5)).
        size: Option<u64>,
        /// The directory whose metadata the merged root gets: the top-most layer's.
        root: PathBuf,
    },
}

/// A way to hand the layers to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// fsconfig(2), an open directory a layer.
    Fd,
    /// fsconfig(2), a string a layer.
    Path,
    /// mount(2) from inside /proc/self/fd, a number a layer.
    ProcFd,
    /// mount(2) from inside the store's `overlay2` folder, a short link a layer: Docker's own way.
    Links,
}

impl Method {
    /// All of them, the best first.
    pub const ALL: [Self; 4] = [Self::Fd, Self::Path, Self::ProcFd, Self::Links];

    /// Returns the name as `--method` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fd => "fd",
            Self::Path => "path",
            Self::ProcFd => "procfd",
            Self::Links => "links",
        }
    }
}

impl Plan {
    /// Returns a plan with `lowers`, uppermost first, that leaves all else at its default.
    #[must_use]
    pub fn new(lowers: Vec<Lower>, access: Access) -> Self {
        let source = "overlay".to_owned();
        Self { lowers, access, options: Options::default(), source, method: None, overlay2: None }
    }

    /// Says every no that can be known before the kernel is asked.
    pub fn check(&self) -> Result<(), Error> {
        super::check::check(self)
    }

    /// Returns the calls that `perform` would make to mount this on `target`, as strace(1) prints them.
    pub fn calls(&self, method: Method, target: &Path) -> Result<Vec<String>, Error> {
        let script = Script::of(self, method)?;
        let mut slots = Slots::new();
        Ok(script.calls(target).iter().map(|call| call.told(&mut slots)).collect())
    }
}
