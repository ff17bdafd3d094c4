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
    others(found)
}

/// Finds who keeps an overlay, of which these are the mounts, from becoming read-only: has a file open for writing or
/// mapped so, or one open that has been deleted.
#[must_use]
pub fn writers(ids: &[u64]) -> Vec<Holder> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let what = open_for_writing(&process.path(), ids).map(What::File);
        if let Some(what) = what.or_else(|| mapped_for_writing(&process.path(), ids).map(What::Mapped)) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(Holder::Process { pid, command: command.trim_end().to_owned(), what });
        }
    }
    others(found)
}

/// Leaves this process out, unless it is the only one: a shell's working directory and its `>file` are had by all that
/// it starts.
fn others(mut found: Vec<Holder>) -> Vec<Holder> {
    let ours = |holder: &Holder| matches!(holder, Holder::Process { pid, .. } if *pid == std::process::id());
    if !found.iter().all(ours) {
        found.retain(|holder| !ours(holder));
    }
    found
}

fn open_for_writing(process: &Path, ids: &[u64]) -> Option<PathBuf> {
    fs::read_dir(process.join("fdinfo")).ok()?.flatten().find_map(|info| {
        let (flags, id) = of_fdinfo(&fs::read_to_string(info.path()).ok()?)?;
        let file = fs::read_link(process.join("fd").join(info.file_name())).ok()?;
        // O_ACCMODE: O_WRONLY is 1, and O_RDWR is 2; O_PATH opens nothing.
        let writes = flags & 0o3 != 0 && flags & O_PATH == 0;
        let keeps = writes || file.as_os_str().as_encoded_bytes().ends_with(b" (deleted)");
        (keeps && ids.contains(&id)).then_some(file)
    })
}

/// On all that Linux runs on, but alpha, parisc and sparc.
const O_PATH: u32 = 0o10_000_000;

/// Reads a file's flags and its mount's id (proc_pid_fdinfo(5)).
fn of_fdinfo(text: &str) -> Option<(u32, u64)> {
    let value = |key: &str| text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim()));
    Some((u32::from_str_radix(value("flags:")?, 8).ok()?, value("mnt_id:")?.parse().ok()?))
}

fn mapped_for_writing(process: &Path, ids: &[u64]) -> Option<PathBuf> {
    let maps = fs::read_to_string(process.join("maps")).ok()?;
    maps.lines().filter_map(shared_and_writable).find_map(|range| {
        let link = process.join("map_files").join(range);
        let is_there = mount_id_of(&link).is_some_and(|id| ids.contains(&id));
        is_there.then(|| fs::read_link(&link).unwrap_or(link))
    })
}

/// Returns the addresses of a mapping that writes to its file (proc_pid_maps(5)).
fn shared_and_writable(line: &str) -> Option<&str> {
    let (range, rest) = line.split_once(' ')?;
    let rights = rest.split(' ').next()?;
    (rights.contains('w') && rights.ends_with('s')).then_some(range)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_tells_who_writes() {
        assert_eq!(of_fdinfo("pos:\t0\nflags:\t0100001\nmnt_id:\t29\nino:\t7\n"), Some((0o100_001, 29)));
        assert_eq!(of_fdinfo("pos:\t0\n"), None);
        let mapping = |rights: &str| format!("7f00-7f10 {rights} 00000000 00:1f 12    /mnt/f");
        assert_eq!(shared_and_writable(&mapping("rw-s")), Some("7f00-7f10"));
        for rights in ["rw-p", "r--s", "r-xp"] {
            assert_eq!(shared_and_writable(&mapping(rights)), None, "{rights}");
        }
    }
}
