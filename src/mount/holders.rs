//! Who keeps a mount busy.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::Shown;
use super::table::Mount;
use crate::sys::mount::mount_id_of;

/// One reason why a mount cannot go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A process.
    Process {
        /// Its number.
        pid: u32,
        /// Its name.
        command: String,
        /// What it does there.
        what: What,
    },
    /// Another mount, on a directory in this one.
    Mount(PathBuf),
}

impl Holder {
    /// Whether it will not stay: another ovlctl, or a process without a name, which has just ended.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Process { command, .. } if command == "ovlctl" || command.is_empty())
    }
}

/// What a process does in a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It works there.
    WorkingDirectory,
    /// It has its root there.
    Root,
    /// It was started from there.
    Program,
    /// It has this file open.
    File(PathBuf),
    /// It has this file mapped.
    Mapped(PathBuf),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command, what } => {
                write!(f, "pid {pid} ({}, {what})", command.escape_debug())
            }
            Self::Mount(target) => write!(f, "the mount on {}", Shown(target)),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkingDirectory => f.write_str("its working directory"),
            Self::Root => f.write_str("its root directory"),
            Self::Program => f.write_str("its program"),
            Self::File(path) => write!(f, "open file {}", Shown(path)),
            Self::Mapped(path) => write!(f, "mapped file {}", Shown(path)),
        }
    }
}

/// Finds who uses the mount `id`: mounts in it, and one use a process. A process that may not be looked at is not found.
#[must_use]
pub fn of(id: u64, mounts: &[Mount]) -> Vec<Holder> {
    let nested = mounts.iter().filter(|mount| mount.parent == id && mount.id != id);
    let mut found: Vec<Holder> = nested.map(|mount| Holder::Mount(mount.target.clone())).collect();
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(what) = use_by(&process.path(), id) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(Holder::Process { pid, command: command.trim_end().to_owned(), what });
        }
    }
    found
}

/// Returns the plainest use that a process makes of the mount `id`.
///
/// The mount's id is compared, not the device: files of an overlay may show their layer's (overlayfs.rst, "Inode
/// properties"), and another mount of the same overlay does not keep this one busy.
fn use_by(process: &Path, id: u64) -> Option<What> {
    let here = |link: &Path| mount_id_of(link).is_some_and(|found| found == id);
    let links = [("cwd", What::WorkingDirectory), ("root", What::Root), ("exe", What::Program)];
    if let Some((_, what)) = links.into_iter().find(|(link, _)| here(&process.join(link))) {
        return Some(what);
    }
    let first = |folder: &str| {
        let mut links = fs::read_dir(process.join(folder)).ok()?.flatten().map(|entry| entry.path());
        let link = links.find(|link| here(link))?;
        Some(fs::read_link(&link).unwrap_or(link))
    };
    first("fd").map(What::File).or_else(|| first("map_files").map(What::Mapped))
}
